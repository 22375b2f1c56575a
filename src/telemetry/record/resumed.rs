//! A record that says that audit records can be written again, after they could not.

use serde::Serialize;

use super::{Format, Records, VERSION};

#[derive(Serialize)]
struct Line {
    time: jiff::Timestamp,
    kind: &'static str,
    version: u32,
    lost: u64,
}

impl Records {
    /// Tries whether audit records can be written again, when the last one could not. Without
    /// this a gateway that gets no requests, because it says that it is not ready, would never
    /// find out.
    pub async fn resume(&self) {
        if !self.audit.is_on() || self.audit.writes() {
            return;
        }
        let line = Line {
            time: jiff::Timestamp::now(),
            kind: "audit_resumed",
            version: VERSION,
            lost: self.audit.dropped(),
        };
        let mut bytes = match self.audit.format() {
            Format::Json => serde_json::to_vec(&line).unwrap_or_default(),
            Format::Text { .. } => {
                let time = line.time.strftime("%H:%M:%S%.3f");
                format!("{time} {} lost={}", line.kind, line.lost).into_bytes()
            }
        };
        bytes.push(b'\n');
        // Tried again in a while.
        let _ = self.audit.try_again(bytes).await;
    }
}
