//! Access and audit records.

use super::{Draft, Notes, path};
use crate::config::sections::{LogFormat, LogTarget};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let Some(logs) = draft.logs.get() else { return };
    if let (LogTarget::File(access), LogTarget::File(audit)) = (&logs.access, &logs.audit)
        && access == audit
    {
        notes.fault(&path("logs.audit.file"), "is the file of the access records as well");
    }
    let Some(chain) = &logs.audit_chain else { return };
    let here = path("logs.audit_chain");
    if !matches!(logs.audit, LogTarget::File(_)) {
        notes.fault(&here, "needs a file to go on in: write logs.audit: { file: PATH }");
    }
    if logs.format == Some(LogFormat::Text) {
        notes.fault(&here, "chains JSON records only; leave logs.format out, or write json");
    }
    if chain.key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST_KEY) {
        let message = "is shorter than 32 characters; make one with `portcullis keys generate \
                       session`";
        notes.fault(&here.key("key"), message);
    }
}

/// As much as RFC 2104 section 3 asks for: the length of the hash.
const SHORTEST_KEY: usize = 32;
