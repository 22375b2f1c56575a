//! Calls of ours to other services, as client spans of the request that they are made for.
//!
//! Which request that is goes along with the task ([`Current`]), so that neither the token
//! service's door nor a look-up has to know of traces; only where a task of its own is started is
//! it handed on by hand ([`carried`]). A request that is not sampled leaves nothing to find here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderValue;
use reqwest::RequestBuilder;

use super::{
    Tracer, fresh,
    span::{Clock, Finished, Kind, Span, Value},
};
use crate::trace_context::{SpanId, TRACEPARENT, TraceId, TraceParent};

tokio::task_local! {
    static CURRENT: Current;
}

/// The sampled request that a task works for.
#[derive(Clone)]
pub struct Current {
    pub(super) tracer: Arc<Tracer>,
    pub(super) trace: TraceId,
    pub(super) clock: Clock,
    /// The span that is at work: what a call becomes a part of.
    pub(super) parent: Arc<AtomicU64>,
}

impl Current {
    /// Works for this request.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// From here on calls are a part of this span.
    pub(super) fn enter(&self, span: SpanId) {
        self.parent.store(u64::from_be_bytes(*span.bytes()), Ordering::Relaxed);
    }

    fn parent(&self) -> SpanId {
        SpanId::new(self.parent.load(Ordering::Relaxed).to_be_bytes())
    }
}

/// Work for a task of its own, which still is for the request that this one works for.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let current = CURRENT.try_with(|current| {
        // The request goes on to other steps meanwhile.
        let parent = Arc::new(AtomicU64::new(current.parent.load(Ordering::Relaxed)));
        Current { parent, ..current.clone() }
    });
    async move {
        match current {
            Ok(current) => current.scope(work).await,
            Err(_) => work.await,
        }
    }
}

/// A call under way. Without a sampled request behind it, nothing.
pub struct Call(Option<(Current, Span)>);

impl Call {
    /// Begins a call to a host that the configuration names.
    #[must_use]
    pub fn begin(name: &'static str, method: &http::Method, host: Option<&str>) -> Self {
        let call = CURRENT.try_with(|current| {
            let (id, parent) = (fresh::span(), current.parent());
            let mut span = Span::begin(Kind::Client, name, id, Some(parent), current.clock.now());
            span.note("http.request.method", super::method(method.as_str()));
            if let Some(host) = host {
                span.note("server.address", Value::Text(host.into()));
            }
            (current.clone(), span)
        });
        Self(call.ok())
    }

    /// Tells the other side which trace it is a part of.
    pub fn told(&self, request: RequestBuilder) -> RequestBuilder {
        match self.header() {
            Some(header) => request.header(TRACEPARENT, header),
            None => request,
        }
    }

    /// The `traceparent` to send.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let (current, span) = self.0.as_ref()?;
        let (trace, span) = (current.trace, span.id);
        TraceParent { trace, span, flags: TraceParent::SAMPLED }.header()
    }

    /// The other side has answered.
    pub fn answered(&mut self, status: http::StatusCode) {
        if let Some((_, span)) = &mut self.0 {
            span.answered(status.as_u16());
        }
    }

    /// It did not.
    pub fn unanswered(&mut self, error: &reqwest::Error) {
        if let Some((_, span)) = &mut self.0 {
            span.failed(Value::Word(match error {
                _ if error.is_timeout() => "timeout",
                _ if error.is_connect() => "connect",
                _ => "broken",
            }));
        }
    }
}

/// A call that is given up half-way ends here as well.
impl Drop for Call {
    fn drop(&mut self) {
        if let Some((current, mut span)) = self.0.take() {
            span.end = current.clock.now();
            if !span.failed && span.attributes.iter().all(|(name, _)| *name != STATUS) {
                span.failed(Value::Word("cancelled"));
            }
            current.tracer.send(Finished { trace: current.trace, spans: vec![span] });
        }
    }
}

const STATUS: &str = "http.response.status_code";
