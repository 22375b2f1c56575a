//! Audit records that are waited for.

use super::{Next, RequestCx};
use crate::{
    login::Event,
    refusal::{Reason, Refusal},
    sessions::PendingCookies,
};

/// No service without its audit record: what is next, once that is written. A refusal serves
/// nobody and so does a logout; neither waits.
pub(super) async fn attested(next: Next, cx: &mut RequestCx) -> Result<Next, Refusal> {
    let written = match &next {
        Next::Forward(_) => cx.record.intend().await,
        Next::Answer(answer) if cx.record.facts.event.is_some_and(gives) => {
            cx.record.attest(answer.status).await
        }
        Next::Answer(_) => Ok(()),
    };
    match written {
        Ok(()) => Ok(next),
        Err(unwritten) => {
            if matches!(next, Next::Answer(_)) {
                // What a login gave. A session that was only renewed is still written.
                cx.cookies = PendingCookies::default();
            }
            Err(Refusal::new(Reason::AuditUnavailable, unwritten.to_string()))
        }
    }
}

/// Whether an event at one of our own endpoints gives the caller something.
fn gives(event: &'static str) -> bool {
    ![Event::Logout.word(), Event::ProviderLogout.word()].contains(&event)
}
