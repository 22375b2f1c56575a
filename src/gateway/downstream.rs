//! The side of the client: our own endpoints, our own answers, what an upstream's response may
//! tell.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
};
use pingora_proxy::Session;
use uuid::Uuid;

use super::RequestCx;
use crate::{
    admission::{OwnEndpoint, State},
    answer::Answer,
    login::{Event, LoginRequest},
    refusal::{Reason, Refusal},
    request::{TrustedRequest, declared_body},
    sts::{
        endpoint::{self, Asked},
        issuer::Issuer,
    },
    telemetry::record::{Facts, Verdict},
    time::Timestamp,
};

/// How long a client may take, and how long its connection is kept for another request.
pub(super) fn bound(session: &mut Session, body_timeout: Duration) {
    let chunked = session.req_header().headers.contains_key(header::TRANSFER_ENCODING);
    if chunked {
        // Pingora reads lines of chunks leniently (no size, a bare LF in an extension) and shows
        // them to nobody. Whoever reads them otherwise in front of us finds no next request.
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        // Pingora keeps an idle connection for ever. The guard keeps what Pingora switched off.
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
    }
    session.set_read_timeout(Some(body_timeout));
    session.set_write_timeout(Some(WRITE_TIMEOUT));
    session.set_total_drain_timeout(Some(super::DRAIN_TIMEOUT));
}

/// The answer of one of our own endpoints; `None` when the path is none of them.
pub(super) async fn own_endpoint(
    state: &State,
    request: &TrustedRequest,
    session: &mut Session,
    cx: &mut RequestCx,
    now: Timestamp,
) -> Result<Option<Answer>, Refusal> {
    let Some(own) = state.own_endpoint(request.path()) else { return Ok(None) };
    cx.record.facts.route = Some(own.label().into());
    cx.record.facts.decision = Some(Verdict::Own);
    state.within_rate_of_address(request.client)?;
    let browsers = match own {
        OwnEndpoint::Keys(issuer) => {
            return jwks(request, &session.req_header().headers, issuer).map(Some);
        }
        OwnEndpoint::Exchange(audiences) => {
            return exchange(state, audiences, request, session, cx, now).await.map(Some);
        }
        OwnEndpoint::Session(browsers) => browsers,
    };
    cx.record.facts.route = Some(browsers.login.prefix().into());
    cx.record.facts.decision = Some(Verdict::Own);
    let body = small_body(session, OWN_BODY).await?;
    let asked = LoginRequest {
        method: &request.method,
        path: request.path(),
        query: request.query(),
        headers: &session.req_header().headers,
        body: &body,
        is_navigation: request.navigation,
        request_id: &request.request_id,
    };
    let outcome = browsers.login.step(&asked, &|identity| state.standing(identity), now).await;
    let facts = &mut cx.record.facts;
    facts.event = outcome.event.map(Event::word);
    facts.subject = outcome.subject;
    facts.reason = outcome.reason;
    cx.cookies = outcome.cookies;
    outcome.answer.map(Some)
}

/// Sends a navigation to the provider.
pub(super) async fn start_login(
    state: &State,
    request: &TrustedRequest,
    session: &Session,
    now: Timestamp,
) -> Result<Answer, Refusal> {
    let (browsers, cookies) = state.login_cookies(&session.req_header().headers)?;
    browsers.login.start(request.target(), &cookies, now).await
}

/// Reads a whole body that the decision looks into; Pingora sends it on from its own copy.
/// `None` when there is none.
///
/// # Errors
/// `body_too_large` beyond `bound` bytes, or when it does not fit into Pingora's copy;
/// `request_timeout`; `malformed_request` when the client breaks off.
pub(super) async fn replayable_body(
    session: &mut Session,
    bound: usize,
) -> Result<Option<Bytes>, Refusal> {
    session.as_mut().enable_retry_buffering();
    let body = small_body(session, bound).await?;
    if session.as_ref().retry_buffer_truncated() {
        return Err(Refusal::new(Reason::BodyTooLarge, "more than can be kept for the upstream"));
    }
    Ok((!body.is_empty()).then_some(body))
}

/// Answers with a refusal, and notes it.
pub(super) async fn refuse(
    session: &mut Session,
    cx: &mut RequestCx,
    refusal: &Refusal,
) -> Result<bool> {
    cx.record.refused(refusal);
    if cx.record.facts.request_id.is_empty() {
        cx.record.facts.request_id = fresh_id();
    }
    let as_page = cx.request.as_ref().is_some_and(|request| {
        request.takes_html && matches!(request.method, Method::GET | Method::HEAD)
    });
    let mut answer = Answer::refusal(refusal, &cx.record.facts.request_id, as_page);
    // Who sent a token of their own has no use for a page.
    let token = session.req_header().headers.contains_key(header::AUTHORIZATION);
    if let Some(browsers) = &cx.state.browsers
        && refusal.reason.status() == 401
        && !token
    {
        answer = answer.with_login(&browsers.login.url_for(&session.req_header().headers));
    }
    if closes(refusal.reason) {
        // What follows on the connection cannot be told from this request.
        session.set_keepalive(None);
        answer = answer.with(header::CONNECTION, HeaderValue::from_static("close"));
    }
    write(session, cx, answer).await
}

/// Writes an answer of our own, with the pending cookies.
pub(super) async fn write(
    session: &mut Session,
    cx: &mut RequestCx,
    answer: Answer,
) -> Result<bool> {
    let Answer { status, headers, body } = answer;
    let mut head = ResponseHeader::build(status, Some(headers.len() + 4))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    for cookie in pending_cookies(cx) {
        head.append_header(header::SET_COOKIE, cookie)?;
    }
    if cx.record.facts.request_id.is_empty() {
        cx.record.facts.request_id = fresh_id();
    }
    head.insert_header(REQUEST_ID, &*cx.record.facts.request_id)?;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        head.set_content_length(body.len())?;
    }
    let bare = body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(head), bare).await.map_err(pingora::Error::into_down)?;
    if !bare {
        session.write_response_body(Some(body), true).await.map_err(pingora::Error::into_down)?;
    }
    drain_http2(session).await;
    Ok(true)
}

/// The last touches on an upstream's response: our cookies and the request id in, everything out
/// that tells of the inside or looks like ours (R35).
pub(super) fn finish_upstream_response(
    cx: &mut RequestCx,
    response: &mut ResponseHeader,
) -> Result<()> {
    for name in [header::SERVER, HeaderName::from_static("x-powered-by")] {
        response.remove_header(&name);
    }
    let ours = |line: &HeaderValue| {
        let name = line.as_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        let browsers = cx.state.browsers.as_ref();
        browsers.is_some_and(|browsers| browsers.sessions.jar().owns(name.trim_ascii()))
    };
    if response.headers.get_all(header::SET_COOKIE).iter().any(ours) {
        let kept: Vec<_> = response
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter(|line| !ours(line))
            .cloned()
            .collect();
        response.remove_header(&header::SET_COOKIE);
        for line in kept {
            response.append_header(header::SET_COOKIE, line)?;
        }
    }
    let cookies = pending_cookies(cx);
    if !cookies.is_empty() {
        response.insert_header(header::CACHE_CONTROL, "no-store")?;
    }
    for cookie in cookies {
        response.append_header(header::SET_COOKIE, cookie)?;
    }
    response.insert_header(REQUEST_ID, &*cx.record.facts.request_id)
}

/// What the browser has to be told of its session by now.
fn pending_cookies(cx: &mut RequestCx) -> Vec<HeaderValue> {
    let sessions = cx.state.browsers.as_ref().map(|browsers| &*browsers.sessions);
    cx.cookies.take(sessions, Timestamp::now())
}

/// What a failure on the way to, or from, the upstream is called.
pub(super) fn refusal_of(error: &Error) -> Refusal {
    let detail = error.etype().as_str().to_owned();
    let reason = match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(413)) => Reason::BodyTooLarge,
        (ErrorSource::Downstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Reason::RequestTimeout
        }
        (ErrorSource::Downstream, _) => Reason::MalformedRequest,
        (
            _,
            ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout,
        ) => Reason::UpstreamTimeout,
        _ => Reason::UpstreamFailed,
    };
    Refusal::new(reason, detail)
}

/// A request id of ours.
pub(crate) fn fresh_id() -> Arc<str> {
    let mut buffer = Uuid::encode_buffer();
    (&*Uuid::new_v4().as_hyphenated().encode_lower(&mut buffer)).into()
}

/// Notes where a request that cannot be viewed says that it is going: for the record alone, and
/// bounded.
pub(super) fn as_sent(head: &RequestHeader, facts: &mut Facts) {
    let bounded = |bytes: &[u8]| -> Box<str> {
        String::from_utf8_lossy(bytes.get(..LONGEST_AS_SENT).unwrap_or(bytes)).into()
    };
    let path = head.raw_path().split(|&byte| byte == b'?').next().unwrap_or_default();
    facts.path = bounded(path);
    let host = head.headers.get(header::HOST);
    facts.host = host.map_or_else(Arc::default, |host| bounded(host.as_bytes()).into());
}

/// The method for records, without an allocation for those that are usual.
pub(super) fn method_word(method: &Method) -> Cow<'static, str> {
    const USUAL: [&str; 7] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    USUAL.iter().find(|word| **word == method.as_str()).map_or_else(
        || Cow::Owned(method.as_str().chars().take(16).collect()),
        |word| Cow::Borrowed(*word),
    )
}

/// Longer than the idle time-outs of common load balancers (60 s), so that the one in front
/// closes first.
const KEEPALIVE_SECONDS: u64 = 75;
/// Between two writes to a client.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
const REQUEST_ID: &str = "X-Request-Id";
/// The largest body that one of our own endpoints reads.
const OWN_BODY: usize = 8 * 1024;
/// What is read of a body that nobody wants, so that an HTTP/2 client sees our answer.
const DRAINED: usize = 64 * 1024;
/// Bytes of a path or host that could not be viewed.
const LONGEST_AS_SENT: usize = 512;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The exchange endpoint. What is not granted is answered as OAuth has it, and recorded as a
/// refusal of ours.
async fn exchange(
    state: &State,
    audiences: &[Arc<str>],
    request: &TrustedRequest,
    session: &mut Session,
    cx: &mut RequestCx,
    now: Timestamp,
) -> Result<Answer, Refusal> {
    if request.method != Method::POST {
        return Err(OwnEndpoint::only_posted());
    }
    let body = small_body(session, endpoint::LARGEST).await?;
    let headers = &session.req_header().headers;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let asked = if headers.contains_key(header::AUTHORIZATION) {
        Err(endpoint::no_clients())
    } else {
        Asked::read(kind, &body)
    };
    let facts = &mut cx.record.facts;
    let answer = match asked {
        Ok(asked) => state
            .exchange(&asked, audiences, facts, now)
            .await
            .map(|token| asked.answer(&token, now)),
        Err(fault) => Err(fault),
    };
    Ok(answer.unwrap_or_else(|fault| {
        cx.record.refused(&Refusal::new(fault.reason, fault.description));
        fault.answer()
    }))
}

/// The keys that Core reads. Public, and worth caching for less than a rotation takes.
fn jwks(request: &TrustedRequest, headers: &HeaderMap, issuer: &Issuer) -> Result<Answer, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(OwnEndpoint::only_read());
    }
    let (document, tag) = issuer.jwks_document();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let is_known = known
        .flat_map(|list| list.split(','))
        .any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == &*tag);
    let mut answer = if is_known {
        Answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut answer = Answer::empty(StatusCode::OK)
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.body = document;
        answer
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer = answer.with(header::ETAG, tag);
    }
    let caching = format!("public, max-age={}", issuer.max_age().as_secs());
    for (name, value) in &mut answer.headers {
        if *name == header::CACHE_CONTROL
            && let Ok(caching) = HeaderValue::from_str(&caching)
        {
            *value = caching;
        }
    }
    Ok(answer)
}

/// Reads a whole small body, within bytes and time.
async fn small_body(session: &mut Session, bound: usize) -> Result<Bytes, Refusal> {
    declared_body(&session.req_header().headers, bound as u64)?;
    if session.req_header().headers.contains_key(header::EXPECT) {
        // Without it a careful client sends nothing and both wait.
        let _ = session.write_continue_response().await;
    }
    let read = async {
        let mut body = BytesMut::new();
        while let Some(piece) = session.read_request_body().await.map_err(|error| {
            Refusal::new(Reason::MalformedRequest, error.etype().as_str().to_owned())
        })? {
            if body.len() + piece.len() > bound {
                return Err(Refusal::new(Reason::BodyTooLarge, format!("more than {bound} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(BODY_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| Err(Refusal::new(Reason::RequestTimeout, "the body took too long")))
}

/// An HTTP/2 stream that is answered before its body was read ends in a reset, which some
/// clients show in place of the answer. So a bounded part of the body is read and dropped.
async fn drain_http2(session: &mut Session) {
    if session.as_downstream().as_http2().is_none() {
        return;
    }
    let drain = async {
        let mut seen = 0;
        while let Ok(Some(piece)) = session.read_request_body().await {
            seen += piece.len();
            if seen > DRAINED {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(super::DRAIN_TIMEOUT, drain).await;
}

/// Refusals after which the rest of the connection cannot be trusted.
const fn closes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MalformedRequest
            | Reason::DuplicateHeader
            | Reason::HeadersTooLarge
            | Reason::TargetTooLong
            | Reason::RequestTimeout
            | Reason::BodyTooLarge
    )
}

#[cfg(test)]
mod tests;
