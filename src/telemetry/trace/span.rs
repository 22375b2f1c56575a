//! One span: what was done within a trace, from when to when.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::trace_context::{SpanId, TraceId};

/// Spans of one trace that are over.
#[derive(Debug)]
pub struct Finished {
    /// Their trace.
    pub trace: TraceId,
    /// The spans.
    pub spans: Vec<Span>,
}

/// A span. Its attributes are named as OpenTelemetry's semantic conventions name them, those of
/// our own begin with `portcullis.`; none ever holds a credential, a query or who asked.
#[derive(Debug)]
pub struct Span {
    /// Names it.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// Its side.
    pub kind: Kind,
    /// What was done.
    pub name: Cow<'static, str>,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// More about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// On which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request of a client.
    Server,
    /// A call of ours.
    Client,
    /// Work of our own.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A fixed word.
    Word(&'static str),
    /// A word of the configuration.
    Shared(Arc<str>),
    /// A text.
    Text(Box<str>),
    /// A number.
    Number(i64),
}

/// Tells the time of one trace's spans: the wall's clock is read once, so that none ends before it
/// begins.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: u64,
    began: Instant,
}

impl Clock {
    /// `began` is this many nanoseconds ago, at most.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nanoseconds, and nothing is decided by them")]
    pub fn since(began: Instant) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = now.saturating_sub(began.elapsed());
        Self { wall: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX), began }
    }

    /// When it began.
    #[must_use]
    pub const fn beginning(&self) -> u64 {
        self.wall
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> u64 {
        let passed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.wall.saturating_add(passed)
    }
}

impl Span {
    /// One that begins at `start`.
    #[must_use]
    pub fn begin(
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        id: SpanId,
        parent: Option<SpanId>,
        start: u64,
    ) -> Self {
        let (name, attributes) = (name.into(), Vec::new());
        Self { id, parent, kind, name, start, end: start, attributes, failed: false }
    }

    /// Says more about it.
    pub fn note(&mut self, name: &'static str, value: Value) {
        self.attributes.push((name, value));
    }

    /// The status that a call of ours was answered with (semantic conventions, HTTP client).
    pub fn answered(&mut self, status: u16) {
        self.note("http.response.status_code", Value::Number(status.into()));
        if status >= 400 {
            self.failed(Value::Text(status.to_string().into()));
        }
    }

    /// It came to nothing, and why in one word; the first one counts.
    pub fn failed(&mut self, why: Value) {
        if !std::mem::replace(&mut self.failed, true) {
            self.note("error.type", why);
        }
    }
}
