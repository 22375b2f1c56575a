//! The admin listener: health, readiness, metrics, and the status page. Never on a public address.
//!
//! It asks nobody who they are, so nothing on it changes anything or shows a secret. What a
//! browser could be made to read for somebody else (the page and its documents) is answered only
//! under a name that cannot be pointed here from outside: an IP address, `localhost`, or one of
//! `admin.hosts` (DNS rebinding). Probes and Prometheus come by whatever name they like.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use serde_json::json;

use crate::{
    config,
    status::{Board, render},
    time::Timestamp,
};

pub(super) struct Admin {
    board: Arc<Board>,
    hosts: Vec<Box<str>>,
}

/// What is answered.
struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    /// Of a page.
    policy: Option<&'static str>,
    allow: Option<&'static str>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// Everything there is.
const PAGES: &str = "/status\n/status.json\n/config.json\n/healthz\n/readyz\n/metrics\n";
/// Bytes of a question.
const LONGEST: usize = 64 * 1024;
/// Until the whole question is here.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

impl Admin {
    pub(super) fn new(board: Arc<Board>, settings: &config::Admin) -> Self {
        Self { board, hosts: settings.hosts.iter().map(|host| host.as_str().into()).collect() }
    }

    async fn answer(&self, session: &mut ServerSession) -> Reply {
        let head = session.req_header();
        let path = head.uri.path().to_owned();
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let asks = path == "/explain";
        if asks && head.method != Method::POST {
            let allow = Some("POST");
            return Reply { allow, ..Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n") };
        }
        if !asks && !reads {
            let allow = Some("GET, HEAD");
            return Reply { allow, ..Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n") };
        }
        let page = matches!(&*path, "/status" | "/status.json" | "/config.json" | "/explain")
            || (path == "/" && wants_html(&head.headers));
        if page && let Err(why) = self.vouched(&head.headers) {
            return Reply::text(StatusCode::MISDIRECTED_REQUEST, why);
        }
        match &*path {
            "/healthz" => Reply::text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let missing = self.board.missing();
                if missing.is_empty() {
                    Reply::text(StatusCode::OK, "ready\n")
                } else {
                    Reply::text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
                }
            }
            "/metrics" => match self.board.metrics() {
                Ok(text) => {
                    let kind = "text/plain; version=0.0.4; charset=utf-8";
                    Reply { kind, body: text, ..Reply::text(StatusCode::OK, "") }
                }
                Err(error) => {
                    log::error!("metrics cannot be written: {error}");
                    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
                }
            },
            "/status.json" => Reply::json(&self.board.status(Timestamp::now()).await),
            "/config.json" => Reply::json(&self.board.configuration()),
            "/explain" => self.explain(session).await,
            "/status" => {
                let live = head.uri.query() == Some("live");
                self.page(live).await
            }
            "/" if page => self.page(false).await,
            "/" => Reply::text(StatusCode::OK, PAGES),
            _ => Reply::text(StatusCode::NOT_FOUND, PAGES),
        }
    }

    /// `live`: without the configuration, which the script asks for when it has changed.
    async fn page(&self, live: bool) -> Reply {
        let status = self.board.status(Timestamp::now()).await;
        let configuration = if live { serde_yaml::Value::Null } else { self.board.configuration() };
        let page = render(&status, &configuration);
        let body = page.html.into_bytes();
        let policy = Some(page.policy);
        Reply { kind: HTML, body, policy, ..Reply::text(StatusCode::OK, "") }
    }

    /// A question in JSON, from our own page or from no browser: another site's script could post
    /// neither JSON without asking first nor with our origin.
    async fn explain(&self, session: &mut ServerSession) -> Reply {
        let headers = &session.req_header().headers;
        if !is_json(headers) {
            return Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/json");
        }
        if is_from_elsewhere(headers) {
            return Reply::error(StatusCode::FORBIDDEN, "the request came from another origin");
        }
        match tokio::time::timeout(PATIENCE, body(session)).await {
            Ok(Ok(body)) => {
                let (status, document) = self.board.explain(&body, Timestamp::now()).await;
                Reply { status, ..Reply::json(&document) }
            }
            Ok(Err((status, why))) => Reply::error(status, why),
            Err(_) => Reply::error(StatusCode::REQUEST_TIMEOUT, "the question takes too long"),
        }
    }

    /// Whether a request's Host is one that nobody outside can have made lead here.
    fn vouched(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        const WHY: &str = "this name is none of admin.hosts; ask by address or as localhost\n";
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(WHY) };
        let host = host.to_str().map_err(|_| WHY)?;
        let name = without_port(host).to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_address = match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => name.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        let is_ours = name == "localhost" || self.hosts.iter().any(|host| **host == *name);
        if is_address || is_ours { Ok(()) } else { Err(WHY) }
    }
}

impl Reply {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let body = text.into().into_bytes();
        Self { status, kind: TEXT, body, policy: None, allow: None }
    }

    fn json(document: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(body) => Self { kind: JSON, body, ..Self::text(StatusCode::OK, "") },
            Err(error) => {
                log::error!("the status cannot be written: {error}");
                Self::text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
            }
        }
    }

    fn error(status: StatusCode, why: &str) -> Self {
        Self { status, ..Self::json(&json!({ "error": why })) }
    }
}

/// The whole body of a question.
async fn body(session: &mut ServerSession) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(piece)) if body.len() + piece.len() <= LONGEST => {
                body.extend_from_slice(&piece);
            }
            Ok(Some(_)) => return Err((StatusCode::PAYLOAD_TOO_LARGE, "more than 64 KiB")),
            Ok(None) => return Ok(body),
            Err(_) => return Err((StatusCode::BAD_REQUEST, "the question broke off")),
        }
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|it| it.contains("text/html"));
    headers.get_all(header::ACCEPT).iter().any(accepts)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

/// What a browser says of where a request was made; other programs say nothing.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let origin = text("origin").is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_none() || authority != text("host")
    });
    site || origin
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let reply = self.answer(session).await;
        let length = reply.body.len();
        let head = session.req_header().method == Method::HEAD;
        let body = if head { Vec::new() } else { reply.body };
        let mut response = Response::builder()
            .status(reply.status)
            .header(header::CONTENT_TYPE, reply.kind)
            .header(header::CONTENT_LENGTH, length)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(header::REFERRER_POLICY, "no-referrer")
            .header(header::CONTENT_SECURITY_POLICY, reply.policy.unwrap_or(NOTHING))
            .header("cross-origin-resource-policy", "same-origin")
            .header("cross-origin-opener-policy", "same-origin");
        if let Some(allow) = reply.allow {
            response = response.header(header::ALLOW, allow);
        }
        // Every part of it is ours and well-formed.
        response.body(body).unwrap_or_else(|_| Response::new(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn other_origins_are_told_by_what_browsers_say() {
        let own = ("host", "127.0.0.1:9090");
        for (lines, elsewhere) in [
            (&[own][..], false),
            (&[own, ("origin", "http://127.0.0.1:9090"), ("sec-fetch-site", "same-origin")], false),
            (&[own, ("origin", "http://127.0.0.1:9091")], true),
            (&[own, ("origin", "null")], true),
            (&[own, ("origin", "http://127.0.0.1:9090"), ("sec-fetch-site", "same-site")], true),
            (&[own, ("sec-fetch-site", "cross-site")], true),
        ] {
            assert_eq!(is_from_elsewhere(&headers(lines)), elsewhere, "{lines:?}");
        }
    }

    #[test]
    fn ports_are_no_part_of_a_name() {
        for (host, name) in [
            ("localhost:9090", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:9090", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
