//! The admin listener: health, readiness, metrics. Never on a public address.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};

use crate::{live::Live, telemetry::record::Records};

pub(super) struct Admin {
    live: Arc<ArcSwap<Live>>,
    records: Arc<Records>,
    draining: Arc<AtomicBool>,
}

impl Admin {
    pub(super) const fn new(
        live: Arc<ArcSwap<Live>>,
        records: Arc<Records>,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self { live, records, draining }
    }

    /// What is missing for the gateway to be ready; empty when it is.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            missing.push("draining".to_owned());
        }
        let live = self.live.load();
        missing.extend(live.without_keys().map(|name| format!("no {name} keys")));
        let state = &live.state;
        if state.audit_required && !self.records.audit.writes() {
            missing.push("audit records cannot be written".to_owned());
        }
        for upstream in &state.upstreams {
            if !upstream.is_ready() {
                missing.push(format!("no healthy server in {}", upstream.name()));
            }
        }
        missing
    }

    fn metrics(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.live.load().scrape(&self.records, |scrape| self.records.metrics.render(scrape))
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, Vec<u8>) {
        const TEXT: &str = "text/plain; charset=utf-8";
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"only GET\n".to_vec());
        }
        match path {
            "/healthz" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" => {
                let missing = self.missing();
                if missing.is_empty() {
                    (StatusCode::OK, TEXT, b"ready\n".to_vec())
                } else {
                    let text = missing.join("\n") + "\n";
                    (StatusCode::SERVICE_UNAVAILABLE, TEXT, text.into_bytes())
                }
            }
            "/metrics" => match self.metrics() {
                Ok(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
                Err(error) => {
                    log::error!("metrics cannot be written: {error}");
                    (StatusCode::INTERNAL_SERVER_ERROR, TEXT, b"see the log\n".to_vec())
                }
            },
            "/" => (StatusCode::OK, TEXT, b"/healthz\n/readyz\n/metrics\n".to_vec()),
            _ => (StatusCode::NOT_FOUND, TEXT, b"/healthz /readyz /metrics\n".to_vec()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let (status, kind, body) = self.answer(&head.method, head.uri.path());
        let length = body.len();
        let body = if head.method == Method::HEAD { Vec::new() } else { body };
        let response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, length)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .body(body);
        // Every part of it is ours and well-formed.
        response.unwrap_or_else(|_| Response::new(Vec::new()))
    }
}
