//! The process, and what it tells of itself.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use url::Url;

use crate::config::{
    read::{choice, section},
    types::Secret,
};

section! {
    /// Access records, audit records and diagnostics.
    pub struct Logs {
        /// Diagnostics from this level on.
        level: Level = "info",
        /// json or text; default: text on a terminal, json otherwise.
        format: Option<LogFormat> = "null",
        /// Where access records go.
        access: LogTarget = "stdout",
        /// Where audit records go.
        audit: LogTarget = "stdout",
        /// Chains the records of an audit file, so that `portcullis audit verify` finds one that is gone or changed.
        audit_chain: Option<AuditChain> = "null",
    }
}

section! {
    /// A chain of hashes over audit records.
    pub struct AuditChain {
        /// Makes the hashes HMACs, which nobody can make anew without it; null: plain SHA-256.
        key: Option<Secret> = "null",
    }
}

choice! {
    /// A level of diagnostics.
    pub enum Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
}

choice! {
    /// How records are written.
    pub enum LogFormat { Json = "json", Text = "text" }
}

section! {
    /// Prometheus metrics.
    pub struct Metrics {
        /// Whether the route is a label.
        per_route: bool = "true",
    }
}

section! {
    /// Traces by OTLP.
    pub struct Tracing {
        /// The collector, which takes OTLP over HTTP; without a path, traces go to `/v1/traces`.
        otlp: Url,
        /// Share of requests that are traced, 0 to 1; a trusted proxy's choice goes before it.
        sample: f64 = "0.01",
        /// PEM bundle for a private CA.
        ca: Option<PathBuf> = "null",
        /// Headers that the collector demands.
        headers: BTreeMap<String, Secret> = "{}",
        /// Say so for plain HTTP to a collector that is not loopback.
        plaintext: bool = "false",
        /// `service.name` of the spans.
        service: String = "portcullis",
    }
}

section! {
    /// The process itself.
    pub struct Server {
        /// Worker threads; default: one for each core.
        threads: Option<usize> = "null",
        /// Time that requests under way are given at the end; the process ends as soon as there is none.
        grace: Duration = "10s",
        /// How long the gateway says that it is not ready, before it takes no more connections.
        drain_delay: Duration = "0s",
        /// Socket over which a new process takes the listeners (`portcullis run --upgrade`); in a directory of its own, which is made where it is not there, and which only the gateway's user may enter. null: no process can.
        upgrade_socket: Option<PathBuf> = "null",
    }
}

/// Where records go: `stdout`, `stderr`, `off`, `{ file: PATH }` or `{ syslog: SOCKET }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// Appended to a file.
    File(PathBuf),
    /// To the local syslog, by its socket.
    Syslog(PathBuf),
}
