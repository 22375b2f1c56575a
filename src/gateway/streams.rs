//! Requests that may last: recognised by their head or by that of their answer, counted, and tied
//! to what allowed them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::{RequestCx, Stage};
use crate::{
    admission::{Grant, State},
    certificate::PeerCertificate,
    identity::Proof,
    refusal::Refusal,
    stream::{self, Kind, Tether},
    telemetry::{
        metrics::OpenStream,
        record::{Facts, Record},
    },
};

/// A request that may last.
pub(super) struct Lasting {
    kind: Kind,
    open: OpenStream,
    /// Why we ended it.
    ended: Arc<OnceLock<Refusal>>,
}

impl Lasting {
    /// Why it was ended before its time.
    pub(super) fn ended(&self) -> Option<&Refusal> {
        self.ended.get()
    }
}

/// Ties a request that is about to be forwarded, when it may take long by itself.
pub(super) fn at_request(session: &mut Session, cx: &mut RequestCx) {
    let Stage::Admitted(grant) = &cx.stage else { return };
    let headers = &session.req_header().headers;
    let kind = Kind::of(headers);
    let quiet = grant.target.read.unwrap_or_else(|| grant.target.upstream.read_timeout());
    let lasts = kind == Kind::Grpc || quiet > PATIENCE;
    if lasts || (!session.as_mut().is_body_empty() && is_long(&session.req_header().headers)) {
        tie(cx, if kind == Kind::Grpc { kind } else { Kind::Transfer });
    }
}

/// Ties a request whose answer begins, when that may take long.
pub(super) fn at_response(session: &mut Session, response: &ResponseHeader, cx: &mut RequestCx) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        // How long both sides may say nothing is the upstream's time-out alone.
        session.set_read_timeout(None);
        tie(cx, Kind::WebSocket);
        return;
    }
    let bodiless = response.status.is_informational()
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || session.req_header().method == Method::HEAD;
    if !bodiless && is_long(&response.headers) {
        tie(cx, Kind::of(&response.headers));
    }
}

/// Whether a request is the handshake of a WebSocket (RFC 6455, section 4.1), with nothing that
/// could be read in two ways.
pub(super) fn is_handshake(head: &RequestHeader) -> bool {
    let upgrades = head.headers.get(header::UPGRADE);
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && upgrades.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && !head.headers.contains_key(header::CONTENT_LENGTH)
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
}

/// A body that takes long, or of which nobody knows when it ends.
fn is_long(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse::<u64>().ok()).is_none_or(|length| length > LONG)
}

fn tie(cx: &mut RequestCx, kind: Kind) {
    let Stage::Admitted(grant) = &cx.stage else { return };
    if let Some(lasting) = &mut cx.lasting {
        if lasting.kind != kind && kind != Kind::Transfer {
            lasting.kind = kind;
            lasting.open = cx.record.metrics().streams.open(kind);
        }
        return;
    }
    let ended = Arc::<OnceLock<Refusal>>::default();
    let open = cx.record.metrics().streams.open(kind);
    let shown = cx.request.as_ref().and_then(|request| request.certificate.as_ref());
    if let Some(tether) = tether(&cx.state, grant, &cx.record.facts, shown) {
        let ended = Arc::clone(&ended);
        stream::end_after(async move {
            let _ = ended.set(tether.broken().await);
        });
    }
    cx.lasting = Some(Lasting { kind, open, ended });
}

/// What a request hangs on; `None` where nobody asked who it is from.
fn tether(
    state: &State,
    grant: &Grant,
    facts: &Facts,
    shown: Option<&Arc<PeerCertificate>>,
) -> Option<Tether> {
    let identity = facts.identity.as_ref()?;
    match (&grant.session, &state.browsers) {
        (Some(session), Some(browsers)) => {
            let session = Box::new(session.to_session());
            Some(Tether::Session(Arc::clone(&browsers.sessions), session))
        }
        _ if identity.proof == Proof::Certificate => Some(Tether::Token(shown?.ends())),
        _ => Some(Tether::Token(identity.expires + state.authenticator.leeway(identity))),
    }
}

/// What the record has to say of a request that was ended; its last phase never came.
pub(super) fn note_end(record: &mut Record, refusal: &Refusal, received: u64) {
    record.facts.received = received;
    record.metrics().streams.ended(refusal.reason);
    record.refused(refusal);
}

/// Bytes of a body that is there in a moment.
const LONG: u64 = 1024 * 1024;
/// A time-out of reads within which a quiet request ends by itself, whoever it is from.
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_a_plain_get() {
        let head = |method: &str, lines: &[(&'static str, &'static str)]| {
            let mut head = RequestHeader::build(method, b"/", None).unwrap();
            for (name, value) in lines {
                head.append_header(*name, *value).unwrap();
            }
            head
        };
        assert!(is_handshake(&head("GET", &[("Upgrade", "WebSocket")])));
        assert!(!is_handshake(&head("GET", &[])));
        assert!(!is_handshake(&head("GET", &[("Upgrade", "websocket, h2c")])));
        assert!(!is_handshake(&head("POST", &[("Upgrade", "websocket")])));
        for body in [("Content-Length", "0"), ("Transfer-Encoding", "chunked")] {
            assert!(!is_handshake(&head("GET", &[("Upgrade", "websocket"), body])), "{body:?}");
        }
        let mut old = head("GET", &[("Upgrade", "websocket")]);
        old.set_version(Version::HTTP_10);
        assert!(!is_handshake(&old));
    }

    #[test]
    fn long_bodies() {
        let headers = |length: Option<&'static str>| {
            let length = length.map(|it| (header::CONTENT_LENGTH, it.parse().unwrap()));
            length.into_iter().collect::<HeaderMap>()
        };
        assert!(is_long(&headers(None)));
        assert!(is_long(&headers(Some("1048577"))));
        assert!(!is_long(&headers(Some("1048576"))));
    }
}
