//! The filters of extensions, in the phases that they belong to. Without any, nothing is done.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
};
use pingora_proxy::Session;

use super::{RequestCx, Stage, not_admitted};
use crate::{
    extension::{Bodies, Request},
    refusal::{Reason, Refusal},
};

/// Lets filters change the head, before ours and the credential are set.
pub(super) fn request(
    session: &mut Session,
    cx: &mut RequestCx,
    out: &mut RequestHeader,
) -> Result<()> {
    if !cx.state.extensions.filters_requests() {
        return Ok(());
    }
    let has_body = !session.is_body_empty() && !is_upgrade(session);
    let (Stage::Admitted(grant), Some(request)) = (&cx.stage, &cx.request) else {
        return Err(not_admitted());
    };
    let seen = Request::new(request, &session.req_header().headers, &grant.target.label);
    match cx.state.extensions.filter_request(seen, out, has_body) {
        Ok(pieces) if pieces.is_empty() => Ok(()),
        Ok(request) => {
            // Another try begins anew.
            cx.bodies = Some(Box::new(Bodies { request, ..Bodies::default() }));
            Ok(())
        }
        Err(refusal) => Err(refused(cx, refusal)),
    }
}

/// What a filter makes of a body has no length that could be told beforehand.
pub(super) fn unknown_length(cx: &RequestCx, out: &mut RequestHeader) {
    if cx.bodies.as_ref().is_some_and(|bodies| !bodies.request.is_empty()) {
        out.remove_header(&header::CONTENT_LENGTH);
    }
}

/// Lets filters change a piece of the request's body; what they make of it is bounded as the body
/// is.
pub(super) fn request_body(
    cx: &mut RequestCx,
    body: &mut Option<Bytes>,
    is_last: bool,
) -> Result<()> {
    let Some(bodies) = cx.bodies.as_mut().filter(|bodies| !bodies.request.is_empty()) else {
        return Ok(());
    };
    let Stage::Admitted(grant) = &cx.stage else { return Err(not_admitted()) };
    let passed = bodies.request.pass(body, is_last, Reason::ConditionFailed);
    if let Err(refusal) = passed {
        return Err(refused(cx, refusal));
    }
    if bodies.request.passed() > grant.target.body {
        let detail = "filters made the body longer than it may be";
        return Err(refused(cx, Refusal::new(Reason::BodyTooLarge, detail)));
    }
    Ok(())
}

/// Lets filters change the head of an upstream's response.
pub(super) fn response(
    session: &Session,
    cx: &mut RequestCx,
    response: &mut ResponseHeader,
) -> Result<()> {
    if !cx.state.extensions.filters_responses() || response.status.is_informational() {
        return Ok(());
    }
    let (Stage::Admitted(grant), Some(request)) = (&cx.stage, &cx.request) else {
        return Err(not_admitted());
    };
    let seen = Request::new(request, &session.req_header().headers, &grant.target.label);
    match cx.state.extensions.filter_response(seen, response) {
        Ok(pieces) if pieces.is_empty() => Ok(()),
        Ok(response_pieces) => {
            let bare = session.req_header().method == Method::HEAD
                || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            if !bare {
                if session.req_header().version == http::Version::HTTP_11 {
                    response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
                }
                cx.bodies.get_or_insert_default().response = response_pieces;
            }
            Ok(())
        }
        Err(refusal) => Err(refused(cx, refusal)),
    }
}

/// Lets filters change a piece of the response's body. What fails breaks off: a part of a response
/// is not taken for the whole.
pub(super) fn response_body(
    cx: &mut RequestCx,
    body: &mut Option<Bytes>,
    is_last: bool,
) -> Result<()> {
    let Some(bodies) = cx.bodies.as_mut().filter(|bodies| !bodies.response.is_empty()) else {
        return Ok(());
    };
    let passed = bodies.response.pass(body, is_last, Reason::UpstreamFailed);
    passed.map_err(|refusal| refused(cx, refusal))
}

fn is_upgrade(session: &Session) -> bool {
    session.req_header().headers.contains_key(header::UPGRADE)
}

#[expect(clippy::unnecessary_box_returns, reason = "what Pingora's phases return")]
fn refused(cx: &mut RequestCx, refusal: Refusal) -> Box<Error> {
    let status = refusal.reason.status();
    cx.stage = Stage::Refused(refusal);
    Error::explain(ErrorType::HTTPStatus(status), "an extension refuses")
}
