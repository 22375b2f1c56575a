//! Traces: spans of a sampled request, exported by OTLP off its way.
//!
//! Off by default, and then nothing of this is there. With tracing on each request has a place in
//! a trace (its caller's, or a new one), which its records name and the upstream hears of; only
//! for a sampled one are spans made. Who asked, from where and with what is not in them: that
//! stands in the access record with the same trace id, behind whatever keeps records safe.

pub mod call;
mod export;
mod fresh;
mod otlp;
pub mod span;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Version};

pub use self::export::{Exporter, Settings};
use self::{
    call::Current,
    span::{Clock, Finished, Kind, Span, Value},
};
use crate::{
    refusal::Reason,
    step::{Step, Trace},
    telemetry::record::{Facts, Verdict},
    trace_context::{self, SpanId, TraceId, TraceParent},
};

/// Which requests are traced, and where their spans go.
pub struct Tracer {
    /// A number drawn from all of 64 bits is below it as often as a request is sampled.
    threshold: u64,
    all: bool,
    exporter: Exporter,
}

/// What the upstream is told of the trace.
pub struct Outgoing {
    /// Trace and parent.
    pub parent: TraceParent,
    /// What others have said of it.
    pub state: Option<HeaderValue>,
}

/// The spans of a request that is under way; of one that is not sampled, nothing.
#[derive(Default)]
pub struct Recording(Option<Box<Sampled>>);

struct Sampled {
    current: Current,
    request: Span,
    over: Vec<Span>,
    /// The step at hand.
    step: Option<Span>,
    /// The try of an upstream at hand.
    attempt: Option<Span>,
    attempts: u32,
}

impl Tracer {
    /// `sample` is the share of requests that are traced, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
    #[expect(clippy::cast_precision_loss, reason = "a share need not be that exact")]
    pub fn new(sample: f64, exporter: Exporter) -> Self {
        Self { threshold: (sample * u64::MAX as f64) as u64, all: sample >= 1.0, exporter }
    }

    /// The place of a request in a trace. Its caller's trace goes on; whether it is sampled is
    /// taken over from a trusted caller only, or anybody could have every request traced. `began`
    /// is when its head was read.
    #[must_use]
    pub fn begin(
        self: &Arc<Self>,
        headers: &HeaderMap,
        trusted: bool,
        began: Instant,
    ) -> (Outgoing, Recording) {
        let parent = TraceParent::read(headers);
        let state = parent.and_then(|_| trace_context::state(headers));
        let drawn = fresh::Drawn::new();
        let sampled = match parent {
            Some(parent) if trusted => parent.is_sampled(),
            _ => self.all || drawn.chance < self.threshold,
        };
        let (trace, random) = parent
            .map_or((drawn.trace, 0), |parent| (parent.trace, parent.flags & TraceParent::RANDOM));
        let flags = random | if sampled { TraceParent::SAMPLED } else { 0 };
        let outgoing = Outgoing { parent: TraceParent { trace, span: drawn.span, flags }, state };
        if !sampled {
            return (outgoing, Recording(None));
        }
        let clock = Clock::since(began);
        let above = parent.map(|parent| parent.span);
        let request = Span::begin(Kind::Server, "", drawn.span, above, clock.beginning());
        let current = Current { tracer: Arc::clone(self), trace, clock, parent: Arc::default() };
        current.enter(drawn.span);
        let sampled = Sampled {
            current,
            request,
            over: Vec::with_capacity(6),
            step: None,
            attempt: None,
            attempts: 0,
        };
        (outgoing, Recording(Some(Box::new(sampled))))
    }

    /// Exports what is queued, within a few seconds; later spans are lost.
    pub fn close(&self) {
        self.exporter.close();
    }

    fn send(&self, finished: Finished) {
        self.exporter.send(finished);
    }
}

impl Outgoing {
    /// With tracing off: the caller's trace goes on as if we were not there, or a new one begins,
    /// which nobody has asked to be sampled.
    #[must_use]
    pub fn untraced(headers: &HeaderMap) -> Self {
        if let Some(parent) = TraceParent::read(headers) {
            return Self { parent, state: trace_context::state(headers) };
        }
        let drawn = fresh::Drawn::new();
        let parent = TraceParent { trace: drawn.trace, span: drawn.span, flags: 0 };
        Self { parent, state: None }
    }

    /// Which trace it is.
    #[must_use]
    pub const fn trace(&self) -> TraceId {
        self.parent.trace
    }
}

impl Recording {
    /// What the tasks of this request work for.
    #[must_use]
    pub fn current(&self) -> Option<Current> {
        self.0.as_ref().map(|sampled| sampled.current.clone())
    }

    /// The steps are over, and this is what refused, if one did.
    pub fn decided(&mut self, refused: Option<Reason>) {
        let Some(sampled) = &mut self.0 else { return };
        if let (Some(step), Some(reason)) = (&mut sampled.step, refused) {
            step.note("portcullis.reason", Value::Word(reason.word()));
            if reason.status() >= 500 {
                step.failed(Value::Word(reason.word()));
            }
        }
        sampled.leave_step();
    }

    /// A server of the upstream is about to be asked.
    pub fn attempts(&mut self, verb: &str, upstream: &Arc<str>, server: Option<SocketAddr>) {
        let Some(sampled) = &mut self.0 else { return };
        sampled.leave_attempt();
        let (id, parent) = (fresh::span(), sampled.request.id);
        let now = sampled.current.clock.now();
        let mut span = Span::begin(Kind::Client, "upstream", id, Some(parent), now);
        span.note("http.request.method", method(verb));
        span.note("portcullis.upstream", Value::Shared(Arc::clone(upstream)));
        if let Some(server) = server {
            span.note("server.address", Value::Text(server.ip().to_string().into()));
            span.note("server.port", Value::Number(server.port().into()));
        }
        if sampled.attempts > 0 {
            span.note("http.request.resend_count", Value::Number(sampled.attempts.into()));
        }
        sampled.attempts += 1;
        sampled.attempt = Some(span);
    }

    /// Who is the parent of whatever the upstream does; `own` where that is the request itself.
    #[must_use]
    pub fn parent(&self, own: SpanId) -> SpanId {
        let attempt = self.0.as_ref().and_then(|sampled| sampled.attempt.as_ref());
        attempt.map_or(own, |span| span.id)
    }

    /// The upstream has answered.
    pub fn answered(&mut self, status: u16) {
        if let Some(span) = self.0.as_mut().and_then(|sampled| sampled.attempt.as_mut()) {
            span.answered(status);
        }
    }

    /// The try has failed.
    pub fn attempt_failed(&mut self, why: &str) {
        if let Some(span) = self.0.as_mut().and_then(|sampled| sampled.attempt.as_mut()) {
            span.failed(Value::Text(why.into()));
        }
    }

    /// The request is over; its spans go on their way.
    pub fn finish(&mut self, facts: &Facts, https: bool, version: Version) {
        let Some(mut sampled) = self.0.take() else { return };
        sampled.leave_step();
        sampled.leave_attempt();
        let Sampled { current, request: mut span, over: mut spans, .. } = *sampled;
        describe(&mut span, facts, https, version);
        span.end = current.clock.now();
        spans.push(span);
        current.tracer.send(Finished { trace: current.trace, spans });
    }
}

/// The steps that are spans.
impl Trace for Recording {
    fn enter(&mut self, step: Step) {
        let Some(sampled) = &mut self.0 else { return };
        sampled.leave_step();
        if matches!(
            step,
            Step::Authentication | Step::Organisation | Step::Policy | Step::Credential
        ) {
            let (id, parent) = (fresh::span(), sampled.request.id);
            let now = sampled.current.clock.now();
            sampled.step = Some(Span::begin(Kind::Internal, step.word(), id, Some(parent), now));
            sampled.current.enter(id);
        }
    }
}

impl Sampled {
    fn leave_step(&mut self) {
        if let Some(mut span) = self.step.take() {
            span.end = self.current.clock.now();
            self.over.push(span);
            self.current.enter(self.request.id);
        }
    }

    fn leave_attempt(&mut self) {
        if let Some(mut span) = self.attempt.take() {
            span.end = self.current.clock.now();
            self.over.push(span);
        }
    }
}

/// Semantic conventions, HTTP server: what was asked, on which route, and what came of it.
fn describe(span: &mut Span, facts: &Facts, https: bool, version: Version) {
    let word = method(&facts.method);
    let Value::Word(verb) = word else { return };
    let verb = if verb == OTHER { "HTTP" } else { verb };
    span.name = match &facts.route {
        Some(route) => format!("{verb} {route}").into(),
        None => verb.into(),
    };
    span.note("http.request.method", word);
    span.note("url.scheme", Value::Word(if https { "https" } else { "http" }));
    span.note("url.path", Value::Text(facts.path.clone()));
    if !facts.host.is_empty() {
        span.note("server.address", Value::Text((&*facts.host).into()));
    }
    if let Some(version) = version_word(version) {
        span.note("network.protocol.version", Value::Word(version));
    }
    if let Some(route) = &facts.route {
        span.note("http.route", Value::Shared(Arc::clone(route)));
    }
    if facts.status != 0 {
        span.note("http.response.status_code", Value::Number(facts.status.into()));
    }
    if facts.status >= 500 {
        let reason = facts.reason.map(Reason::word);
        let status = || Value::Text(facts.status.to_string().into());
        span.failed(reason.map_or_else(status, Value::Word));
    }
    span.note("portcullis.request_id", Value::Text((&*facts.request_id).into()));
    let words = [
        ("portcullis.decision", facts.decision.map(Verdict::word)),
        ("portcullis.reason", facts.reason.map(Reason::word)),
        ("portcullis.would_refuse", facts.would_refuse.map(Reason::word)),
        ("portcullis.credential", facts.credential),
        ("portcullis.event", facts.event),
    ];
    for (name, word) in words {
        if let Some(word) = word {
            span.note(name, Value::Word(word));
        }
    }
    if let Some(upstream) = &facts.upstream {
        span.note("portcullis.upstream", Value::Shared(Arc::clone(upstream)));
    }
}

/// Anything may stand there, and whoever counts by it wants few words.
fn method(method: &str) -> Value {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    Value::Word(KNOWN.into_iter().find(|known| *known == method).unwrap_or(OTHER))
}

fn version_word(version: Version) -> Option<&'static str> {
    [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")]
        .into_iter()
        .find_map(|(known, word)| (known == version).then_some(word))
}

const OTHER: &str = "_OTHER";

#[cfg(test)]
mod tests;
