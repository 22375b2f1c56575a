//! One audit record for each app token that is issued, whoever waits for it. Requests that are
//! forwarded with it name its id.

use serde::Serialize;

use super::{Format, Plain, Records, VERSION};
use crate::{organisation::Organisation, sts::Issuance};

#[derive(Serialize)]
struct Line<'a> {
    time: jiff::Timestamp,
    kind: &'static str,
    version: u32,
    event: &'static str,
    source: &'static str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    organisation: Option<Organisation>,
    audience: &'a str,
    token_id: Option<&'a str>,
    expires: u64,
}

impl Records {
    /// Writes one.
    pub fn issued(&self, issuance: &Issuance<'_>) {
        if !self.audit.is_on() {
            return;
        }
        let Issuance { source, audience, issued } = *issuance;
        let line = Line {
            time: jiff::Timestamp::now(),
            kind: "audit",
            version: VERSION,
            event: "app_token_issued",
            source,
            subject: &issued.subject,
            actor: issued.actor.as_deref(),
            organisation: issued.organisation,
            audience,
            token_id: issued.id.as_deref(),
            expires: issued.expires.0,
        };
        let mut bytes = match self.audit.format() {
            Format::Json => serde_json::to_vec(&line).unwrap_or_default(),
            Format::Text { .. } => line.text().into_bytes(),
        };
        bytes.push(b'\n');
        self.audit.send(bytes);
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        let mut text = format!("{} {:<6}", self.time.strftime("%H:%M:%S%.3f"), self.kind);
        let organisation = self.organisation.map(|organisation| organisation.to_string());
        for (name, value) in [
            ("event", Some(self.event)),
            ("source", Some(self.source)),
            ("subject", Some(self.subject)),
            ("actor", self.actor),
            ("organisation", organisation.as_deref()),
            ("audience", Some(self.audience)),
            ("token_id", self.token_id),
        ] {
            if let Some(value) = value {
                text.extend([" ", name, "=", &Plain(value).to_string()]);
            }
        }
        text
    }
}
