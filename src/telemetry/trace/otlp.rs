//! Spans as OTLP has them (OpenTelemetry Protocol 1.x, binary protobuf).

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{
        self as wire, ResourceSpans, ScopeSpans, Status, span::SpanKind, status::StatusCode,
    },
};
use prost::Message as _;

use super::span::{Finished, Kind, Span, Value};

/// A request to the collector with all these spans.
pub(super) fn request(service: &str, instance: &str, traces: &[Finished]) -> Vec<u8> {
    let resource = [
        ("service.name", service),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let spans = traces
        .iter()
        .flat_map(|finished| finished.spans.iter().map(|span| one(span, finished)))
        .collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.to_owned() }];
    let attributes = resource.map(|(name, value)| attribute(name, text(value))).into();
    let resource = Resource { attributes, ..Resource::default() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans,
        schema_url: SCHEMA.to_owned(),
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans the collector would not have, by its answer to a request that it took.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or_default()
}

/// Which version of the semantic conventions the names follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.36.0";

fn one(span: &Span, finished: &Finished) -> wire::Span {
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Internal => SpanKind::Internal,
    };
    let attributes = span.attributes.iter().map(|(name, value)| {
        attribute(
            name,
            match value {
                Value::Word(word) => text(word),
                Value::Shared(word) => text(word),
                Value::Text(words) => text(words),
                Value::Number(number) => any_value::Value::IntValue(*number),
            },
        )
    });
    wire::Span {
        trace_id: finished.trace.bytes().to_vec(),
        span_id: span.id.bytes().to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
        flags: u32::from(crate::trace_context::TraceParent::SAMPLED),
        name: span.name.clone().into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes.collect(),
        status: span
            .failed
            .then(|| Status { code: StatusCode::Error.into(), message: String::new() }),
        ..wire::Span::default()
    }
}

fn attribute(name: &str, value: any_value::Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}
