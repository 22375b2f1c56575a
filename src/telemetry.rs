//! What an operator sees: one access record a request, one audit record where something was
//! decided, diagnostics, metrics, traces.

pub mod metrics;
pub mod recent;
pub mod record;
pub mod sink;
pub mod trace;

use std::io::Write as _;

use env_logger::{Builder, Target, fmt::Formatter};
use log::{LevelFilter, Record, kv};
use serde_json::{Map, Value};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people, one record a line, in columns.
    Text {
        /// For a terminal that shows colours.
        coloured: bool,
    },
}

/// Starts diagnostics on standard error. Called once; a second call does nothing.
///
/// Pingora tells of every broken connection at `error`; what matters of it stands in the access
/// record, so its own lines are shown from `warn` on only when `debug` is asked for.
pub fn start_diagnostics(level: LevelFilter, format: Format) {
    let mut builder = Builder::new();
    builder.filter_level(level).target(Target::Stderr);
    if level < LevelFilter::Debug {
        for noisy in ["pingora_proxy", "pingora_core", "pingora_load_balancing", "pingora_pool"] {
            builder.filter_module(noisy, LevelFilter::Off);
        }
        builder.filter_module("pingora_core::server", level.min(LevelFilter::Warn));
        builder.filter_module("pingora_core::listeners", level.min(LevelFilter::Warn));
    }
    // From debug on Pingora writes down heads as they are, credentials that servers echo among them.
    let heads = if level < LevelFilter::Debug { LevelFilter::Off } else { LevelFilter::Info };
    for writes_heads in ["pingora_core::protocols::http", "pingora_proxy"] {
        builder.filter_module(writes_heads, heads);
    }
    match format {
        Format::Json => builder.format(json_line),
        // It finds out about colours by itself.
        Format::Text { .. } => builder.format_target(false).format_timestamp_millis(),
    };
    if builder.try_init().is_err() {
        log::debug!("diagnostics were started before");
    }
}

fn json_line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    struct Fields(Map<String, Value>);
    impl<'kvs> kv::VisitSource<'kvs> for Fields {
        fn visit_pair(
            &mut self,
            key: kv::Key<'kvs>,
            value: kv::Value<'kvs>,
        ) -> Result<(), kv::Error> {
            self.0.insert(key.to_string(), Value::String(value.to_string()));
            Ok(())
        }
    }
    let mut fields = Fields(Map::new());
    fields.0.insert("time".into(), out.timestamp_millis().to_string().into());
    fields.0.insert("kind".into(), "diagnostic".into());
    fields.0.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    fields.0.insert("target".into(), record.target().into());
    fields.0.insert("message".into(), record.args().to_string().into());
    // A field that cannot be visited is left out; the line is written all the same.
    let _ = record.key_values().visit(&mut fields);
    writeln!(out, "{}", Value::Object(fields.0))
}
