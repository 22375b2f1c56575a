use super::*;
use crate::{telemetry::metrics::TraceMetrics, trace_context::TRACEPARENT};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn tracer(sample: f64) -> (Arc<Tracer>, tokio::sync::mpsc::Receiver<Finished>) {
    let metrics = TraceMetrics::unseen().unwrap();
    let (exporter, spans) = Exporter::without_collector(2, metrics);
    (Arc::new(Tracer::new(sample, exporter)), spans)
}

fn headers(flags: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, format!("00-{TRACE}-{SPAN}-{flags}").parse().unwrap());
    headers.insert("tracestate", "congo=1".parse().unwrap());
    headers
}

#[test]
fn the_share_decides_and_only_a_trusted_caller_may_decide_otherwise() {
    for (sample, trusted, flags, sampled) in [
        (1.0, false, None, true),
        (0.0, false, None, false),
        (1.0, false, Some("00"), true),
        (0.0, false, Some("01"), false),
        (1.0, true, Some("00"), false),
        (0.0, true, Some("01"), true),
        (0.0, true, None, false),
        (1.0, true, None, true),
    ] {
        let (tracer, _) = tracer(sample);
        let headers = flags.map(headers).unwrap_or_default();
        let (outgoing, recording) = tracer.begin(&headers, trusted, Instant::now());
        let case = format!("{sample} {trusted} {flags:?}");
        assert_eq!(outgoing.parent.is_sampled(), sampled, "{case}");
        assert_eq!(recording.current().is_some(), sampled, "{case}");
        assert_eq!(outgoing.trace().to_string() == TRACE, flags.is_some(), "{case}");
        assert_eq!(outgoing.state.is_some(), flags.is_some(), "{case}");
        assert_ne!(outgoing.parent.header().unwrap().to_str().unwrap()[36..52], *SPAN, "{case}");
    }
}

#[test]
fn a_share_between_is_kept_to() {
    let (tracer, _) = tracer(0.25);
    // One trace id for all: a caller who chooses it chooses nothing.
    let headers = headers("01");
    let sampled = (0..4000).filter(|_| {
        let (outgoing, _) = tracer.begin(&headers, false, Instant::now());
        outgoing.parent.is_sampled()
    });
    let sampled = sampled.count();
    // Eight standard deviations to either side.
    assert!((780..1220).contains(&sampled), "{sampled}");
}

#[test]
fn a_state_without_a_good_parent_is_left_out() {
    let (tracer, _) = tracer(1.0);
    let mut headers = headers("01");
    headers.insert(TRACEPARENT, "00-nonsense".parse().unwrap());
    let (outgoing, _) = tracer.begin(&headers, true, Instant::now());
    assert!(outgoing.state.is_none() && outgoing.trace().to_string() != TRACE);
    let untraced = Outgoing::untraced(&headers);
    assert!(untraced.state.is_none() && !untraced.parent.is_sampled());
}

#[test]
fn with_tracing_off_a_good_parent_passes_as_it_came() {
    let untraced = Outgoing::untraced(&headers("01"));
    let line = untraced.parent.header().unwrap();
    assert_eq!(line.to_str().unwrap(), format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(untraced.state.unwrap(), "congo=1");
}

#[test]
fn steps_and_tries_are_parts_of_the_request() {
    let (tracer, mut spans) = tracer(1.0);
    let (outgoing, mut recording) = tracer.begin(&headers("01"), false, Instant::now());
    for step in Step::ALL {
        recording.enter(step);
    }
    recording.decided(None);
    let upstream: Arc<str> = "core".into();
    recording.attempts("GET", &upstream, Some("127.0.0.1:80".parse().unwrap()));
    recording.attempt_failed("ConnectRefused");
    recording.attempts("GET", &upstream, None);
    let told = recording.parent(outgoing.parent.span);
    recording.answered(200);
    let facts = Facts {
        method: "GET".into(),
        route: Some("/a/{id}".into()),
        path: "/a/1".into(),
        status: 200,
        ..Facts::default()
    };
    recording.finish(&facts, true, Version::HTTP_11);
    recording.finish(&facts, true, Version::HTTP_11);
    let finished = spans.try_recv().unwrap();
    assert!(spans.try_recv().is_err(), "once");
    assert_eq!(finished.trace.to_string(), TRACE);
    let names: Vec<_> = finished.spans.iter().map(|span| &*span.name).collect();
    let steps = ["authentication", "organisation", "policy", "credential"];
    assert_eq!(names[..4], steps);
    assert_eq!(names[4..], ["upstream", "upstream", "GET /a/{id}"]);
    let request = finished.spans.last().unwrap();
    assert_eq!(request.id, outgoing.parent.span);
    assert_eq!(request.parent.unwrap().bytes(), &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert!(!request.failed);
    for span in &finished.spans[..6] {
        assert_eq!(span.parent, Some(request.id), "{}", span.name);
        assert!(request.start <= span.start && span.start <= span.end && span.end <= request.end);
    }
    assert!(finished.spans[4].failed && !finished.spans[5].failed);
    assert_eq!(finished.spans[5].id, told);
    let resent = ("http.request.resend_count", Value::Number(1));
    assert!(finished.spans[5].attributes.contains(&resent));
}

#[test]
fn what_finds_no_room_is_counted() {
    let metrics = TraceMetrics::unseen().unwrap();
    let (exporter, _spans) = Exporter::without_collector(1, metrics.clone());
    let tracer = Arc::new(Tracer::new(1.0, exporter));
    for _ in 0..3 {
        let (_, mut recording) = tracer.begin(&HeaderMap::new(), false, Instant::now());
        recording.enter(Step::Policy);
        recording.finish(&Facts::default(), false, Version::HTTP_2);
    }
    assert_eq!(metrics.lost(), 4);
}

#[test]
fn the_collector_can_read_it() {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use prost::Message as _;

    let parent = TraceParent::read(&headers("01")).unwrap();
    let mut span = Span::begin(Kind::Client, "exchange", parent.span, None, 5);
    span.answered(503);
    span.end = 7;
    let finished = Finished { trace: parent.trace, spans: vec![span] };
    let bytes = otlp::request("edge", "one", &[finished]);
    let read = ExportTraceServiceRequest::decode(&*bytes).unwrap();
    let resource = &read.resource_spans[0];
    let service = &resource.resource.as_ref().unwrap().attributes[0];
    assert!(format!("{service:?}").contains("edge"));
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5, 7));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: String::new(),
        }),
    };
    assert_eq!(otlp::rejected(&answer.encode_to_vec()), 3);
    assert_eq!(otlp::rejected(b"no protobuf"), 0);
    assert_eq!(otlp::rejected(b""), 0);
}
