//! A collector of traces (OTLP over HTTP) that reads what it is sent with the protocol's own
//! types, and can be told to be slow or broken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;

use super::hex;

/// The collector. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

/// What it does with a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Behaviour {
    #[default]
    Takes,
    /// It answers after so long.
    Slow(Duration),
    /// It answers with this status.
    Fails(u16),
    /// It answers with this many bytes.
    Chatters(usize),
}

#[derive(Default)]
struct Seen {
    behaviour: Behaviour,
    requests: Vec<(HeaderMap, Bytes)>,
    spans: Vec<Seized>,
    asked: usize,
}

/// A span as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seized {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let (listener, address) = super::listener().await;
        let seen = Arc::<Mutex<Seen>>::default();
        let routes =
            axum::Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url: format!("http://{address}"), seen }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.seen.lock().unwrap().behaviour = behaviour;
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Seized> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// Everything that was taken, head and body.
    pub(crate) fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// How often anybody has asked, taken or not.
    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().asked
    }

    /// Waits for the spans of a trace whose request was on this path, its own span last.
    pub(crate) async fn trace_of(&self, path: &str) -> Vec<Seized> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let spans = self.spans();
            let at = |span: &&Seized| {
                span.kind == 2 && span.attributes.get("url.path").is_some_and(|it| it == path)
            };
            if let Some(request) = spans.iter().find(at) {
                let of_it = |span: &&Seized| span.trace == request.trace;
                return spans.iter().filter(of_it).cloned().collect();
            }
            assert!(Instant::now() < deadline, "no {path} in {spans:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    let behaviour = {
        let mut seen = seen.lock().unwrap();
        seen.asked += 1;
        seen.behaviour
    };
    let answer = match behaviour {
        Behaviour::Takes => StatusCode::OK.into_response(),
        Behaviour::Slow(time) => {
            tokio::time::sleep(time).await;
            StatusCode::OK.into_response()
        }
        Behaviour::Fails(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Behaviour::Chatters(bytes) => vec![0xff; bytes].into_response(),
    };
    let mut seen = seen.lock().unwrap();
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let spans = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
    seen.spans.extend(spans.flat_map(|it| it.spans).map(seized));
    seen.requests.push((headers, body));
    answer
}

fn seized(span: Span) -> Seized {
    let attribute = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    Seized {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        failed: span.status.is_some_and(|status| status.code == 2),
        attributes: span
            .attributes
            .into_iter()
            .map(|pair| (pair.key, attribute(pair.value.and_then(|value| value.value))))
            .collect(),
    }
}
