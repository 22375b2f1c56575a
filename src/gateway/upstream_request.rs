//! The side of the upstream: what a request looks like when it leaves.
//!
//! Written after Pingora has taken out what `Connection` nominates, so no client can have our
//! headers removed (CVE-2026-105299, R7). First everything managed goes, then ours come (R6).

use http::{HeaderName, HeaderValue, Version, header, header::InvalidHeaderValue};
use pingora::{Result, http::RequestHeader};
use secrecy::ExposeSecret;

use crate::{
    admission::{Grant, State},
    credential::Credential,
    request::{TrustedRequest, header::is_dropped},
    stream::Kind,
    telemetry::trace::Outgoing,
    trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceParent},
};

/// Makes the head that the upstream sees. The request target is the one that was decided on:
/// as it came, or with the organisation that it left out. The span `parent` is told as the one
/// that asks.
pub(super) fn finish(
    state: &State,
    grant: &Grant,
    request: &TrustedRequest,
    (trace, parent): (&Outgoing, SpanId),
    out: &mut RequestHeader,
) -> Result<()> {
    let dropped: Vec<HeaderName> =
        out.headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in dropped {
        out.remove_header(&name);
    }
    if out.version == Version::HTTP_2 {
        hop_by_hop(out)?;
    }
    if let Some(target) = &grant.new_target {
        out.set_raw_path(target.as_bytes())?;
    }
    if let Some(body) = &grant.new_body {
        out.remove_header(&header::TRANSFER_ENCODING);
        out.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    cookies(state, out)?;
    if !matches!(grant.credential, Credential::Passed) {
        out.remove_header(&header::AUTHORIZATION);
    }
    let authorization = match &grant.credential {
        Credential::Extension(given) => Some(HeaderValue::try_from(given.0.expose_secret())),
        other => other.token().map(|token| bearer(token.expose_secret())),
    };
    if let Some(value) = authorization {
        let mut value = value.map_err(|_| super::not_admitted())?;
        value.set_sensitive(true);
        out.insert_header(header::AUTHORIZATION, value)?;
    }
    let host = state.host_for_upstream(&request.host);
    if out.headers.get(header::HOST).is_none_or(|sent| sent != host) {
        out.insert_header(header::HOST, host)?;
    }
    out.insert_header("X-Request-Id", &*request.request_id)?;
    if let Some(line) = (TraceParent { span: parent, ..trace.parent }).header() {
        out.insert_header(TRACEPARENT, line)?;
    }
    if let Some(state) = &trace.state {
        out.insert_header(TRACESTATE, state.clone())?;
    }
    if let Some(session) = &grant.session {
        out.insert_header("X-Session-Id", session.public_id())?;
    }
    if let Some(client) = request.client {
        out.insert_header("X-Forwarded-For", client.to_string())?;
    }
    let proto = if request.https { "https" } else { "http" };
    out.insert_header("X-Forwarded-Proto", HeaderValue::from_static(proto))?;
    out.insert_header("X-Forwarded-Host", host)
}

/// Takes out what is between the client and us alone (RFC 9110, section 7.6.1). Pingora does it
/// for HTTP/1, and for what goes from there to HTTP/2, but not from HTTP/2 to HTTP/2. Servers of
/// gRPC want to hear that trailers are understood, which they are.
fn hop_by_hop(out: &mut RequestHeader) -> Result<()> {
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        HeaderName::from_static("http2-settings"),
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        out.remove_header(&name);
    }
    if Kind::of(&out.headers) == Kind::Grpc {
        out.insert_header(header::TE, "trailers")?;
    }
    Ok(())
}

/// Our cookies out, the others as they were, in one line (HTTP/2 may bring several).
fn cookies(state: &State, out: &mut RequestHeader) -> Result<()> {
    if !out.headers.contains_key(header::COOKIE) {
        return Ok(());
    }
    let fields = out.headers.get_all(header::COOKIE).iter();
    let kept = if let Some(browsers) = &state.browsers {
        browsers.sessions.jar().strip(fields.map(HeaderValue::as_bytes))
    } else {
        let joined = fields.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
        HeaderValue::from_bytes(&joined).ok()
    };
    out.remove_header(&header::COOKIE);
    kept.map_or(Ok(()), |kept| out.insert_header(header::COOKIE, kept))
}

/// Written into what it will take, at once.
fn bearer(token: &str) -> std::result::Result<HeaderValue, InvalidHeaderValue> {
    let mut value = String::with_capacity(BEARER.len() + token.len());
    value.push_str(BEARER);
    value.push_str(token);
    HeaderValue::try_from(value)
}

const BEARER: &str = "Bearer ";
