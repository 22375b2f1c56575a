//! What of a request's way becomes spans, where requests are traced.

use std::sync::Arc;

use pingora::{protocols::l4::socket::SocketAddr, upstreams::peer::HttpPeer};
use pingora_proxy::Session;

use super::RequestCx;
use crate::{
    admission::Grant,
    telemetry::trace::{Recording, Tracer},
};

/// Finds a request's place in a trace.
pub(super) fn begin(tracer: &Arc<Tracer>, session: &Session, cx: &mut RequestCx) {
    let peer = session.client_addr().and_then(SocketAddr::as_inet).map(std::net::SocketAddr::ip);
    let trusted = cx.state.rules.trusts(peer);
    let headers = &session.req_header().headers;
    let (outgoing, recording) = tracer.begin(headers, trusted, cx.record.started());
    cx.record.facts.trace = Some(outgoing.trace());
    cx.outgoing = Some(outgoing);
    cx.recording = recording;
}

/// A server was chosen, and is about to be asked.
pub(super) fn attempts(
    recording: &mut Recording,
    session: &Session,
    grant: &Grant,
    peer: &HttpPeer,
) {
    let verb = session.req_header().method.as_str();
    recording.attempts(verb, grant.target.upstream.name(), peer._address.as_inet().copied());
}

/// The request is over, and its record written.
pub(super) fn finish(session: &Session, cx: &mut RequestCx) {
    let tls = || session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let https = cx.request.as_ref().map_or_else(tls, |request| request.https);
    cx.recording.finish(&cx.record.facts, https, session.req_header().version);
}
