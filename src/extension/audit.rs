//! Audit records on their way to sinks of one's own.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::Value;

use super::{guard::PANICKED, traits::AuditSink};
use crate::telemetry::sink::target::Target;

/// One audit record: a JSON object of the documented fields.
#[derive(Clone, Copy, Debug)]
pub struct AuditRecord<'a>(&'a str);

impl<'a> AuditRecord<'a> {
    /// As it is written: one JSON object, without a line feed.
    #[must_use]
    pub const fn json(&self) -> &'a str {
        self.0
    }

    /// One of its fields: `kind`, `subject`, `decision`, `reason` and so on.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        match serde_json::from_str(self.0) {
            Ok(Value::Object(mut fields)) => fields.remove(name),
            _ => None,
        }
    }
}

/// The sinks of a program.
pub(crate) type Sinks = Vec<Box<dyn AuditSink>>;

/// A target and every sink besides: what is written is written to all of them.
pub(crate) struct Tee {
    first: Option<Box<dyn Target>>,
    sinks: Sinks,
}

impl Tee {
    pub(crate) fn new(first: Option<Box<dyn Target>>, sinks: Sinks) -> Self {
        Self { first, sinks }
    }
}

impl Target for Tee {
    /// Nobody is left out because another one failed.
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut written = self.first.as_mut().map_or(Ok(()), |first| first.write(lines));
        let texts = lines.iter().filter_map(|line| std::str::from_utf8(line).ok());
        let records: Vec<_> = texts.map(|text| AuditRecord(text.trim_end_matches('\n'))).collect();
        for sink in &mut self.sinks {
            let kept = catch_unwind(AssertUnwindSafe(|| sink.write(&records)))
                .unwrap_or_else(|_| Err(io::Error::other(PANICKED)))
                .map_err(|error| io::Error::new(error.kind(), format!("audit sink: {error}")));
            written = written.and(kept);
        }
        written
    }
}
