//! The phases of Pingora, and nothing but driving: read strictly, decide, forward or answer,
//! record. The only `impl ProxyHttp`.
//!
//! Nothing is forwarded without a [`Grant`]: the phases towards the upstream look for one and
//! fail closed. Every response, whoever wrote it, carries the pending session cookies and the
//! request id.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use secrecy::ExposeSecret as _;

use crate::{
    admission::{Admitted, Grant, State, Target},
    answer::Answer,
    connection::{Connection, Serving},
    credential::Credential,
    extension::Bodies,
    live::Live,
    refusal::{Reason, Refusal},
    request::{Head, TrustedRequest},
    sessions::PendingCookies,
    telemetry::{
        record::{Record, Records, query_shape},
        trace::{Outgoing, Recording, Tracer},
    },
    time::Timestamp,
};

mod attempts;
mod attested;
mod downstream;
mod echo;
mod filters;
mod streams;
mod tracing;
mod upstream_request;

use self::attempts::{Attempts, Repeatable};
pub(crate) use self::downstream::fresh_id;
use self::streams::Lasting;

/// The gateway: the current configuration, and where records go.
pub struct Gateway {
    live: Arc<ArcSwap<Live>>,
    records: Arc<Records>,
}

/// One request's way.
pub struct RequestCx {
    record: Record,
    stage: Stage,
    /// Written by whichever phase sends a response.
    cookies: PendingCookies,
    request: Option<TrustedRequest>,
    state: Arc<State>,
    body_seen: u64,
    /// What the bodies pass, where filters of extensions want them.
    bodies: Option<Box<Bodies>>,
    /// Whether the body was asked for here, so that the upstream need not be asked.
    expect_answered: bool,
    attempts: Attempts,
    /// A second token was asked for, since the upstream would not take the first.
    renewal: Renewal,
    /// What is known of it as one that may last.
    lasting: Option<Lasting>,
    /// Where requests are traced.
    tracer: Option<Arc<Tracer>>,
    /// What the upstream is told of the trace, once that is settled.
    outgoing: Option<Outgoing>,
    recording: Recording,
    /// Held to the end: the client's next head is not awaited before.
    serving: Option<Serving>,
}

/// Whether the upstream is asked again with a new app token. Happens once at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// It has not come to that.
    None,
    /// The new token is there, and the failed try has not been cleared away yet.
    Due,
    /// The last try had the new token.
    Done,
}

/// How far a request has come. Only [`Stage::Admitted`] is forwarded.
enum Stage {
    /// Nothing is decided.
    Received,
    /// It goes on.
    Admitted(Box<Grant>),
    /// A refusal in a phase that can only fail; `fail_to_proxy` answers with it.
    Refused(Refusal),
}

impl Gateway {
    /// A gateway that decides by whatever is at work when a request begins.
    #[must_use]
    pub const fn new(live: Arc<ArcSwap<Live>>, records: Arc<Records>) -> Self {
        Self { live, records }
    }

    /// Who is asking, for what, and may they?
    async fn admit(session: &mut Session, cx: &mut RequestCx) -> Result<Next, Refusal> {
        let request = Self::view(session, cx)?;
        let state = Arc::clone(&cx.state);
        let now = Timestamp::now();
        if let Some(answer) = downstream::own_endpoint(&state, &request, session, cx, now).await? {
            cx.request = Some(request);
            return Ok(Next::Answer(answer));
        }
        let next = Self::decide(&state, &request, session, cx, now).await;
        cx.request = Some(request);
        next
    }

    /// The decision, with the body where the route looks into it and the caller is known.
    async fn decide(
        state: &State,
        request: &TrustedRequest,
        session: &mut Session,
        cx: &mut RequestCx,
        now: Timestamp,
    ) -> Result<Next, Refusal> {
        let headers = &session.req_header().headers;
        let RequestCx { record, cookies, recording, .. } = cx;
        let (facts, index) = (&mut record.facts, &mut record.route_index);
        let identified =
            state.identify(request, headers, facts, index, cookies, now, recording).await?;
        state.within_rates(&identified, request.client)?;
        let needed = identified.needs_body();
        let body = match needed {
            Some(bound) => downstream::replayable_body(session, bound).await?,
            None => None,
        };
        let headers = &session.req_header().headers;
        let body = body.as_deref();
        match state.decide(identified, request, headers, body, facts, now, recording).await? {
            Admitted::Forward(grant) => {
                cx.expect_answered = needed.is_some();
                Ok(Next::Forward(grant))
            }
            Admitted::Login => {
                downstream::start_login(state, request, session, now).await.map(Next::Answer)
            }
        }
    }

    /// The trusted view; from here on the record knows the request.
    fn view(session: &Session, cx: &mut RequestCx) -> Result<TrustedRequest, Refusal> {
        let read = session.req_header();
        let raw = session
            .as_downstream()
            .as_http1()
            .map(pingora::protocols::http::v1::server::HttpSession::get_headers_raw_bytes);
        let head = Head {
            parts: read,
            target: read.raw_path(),
            raw: raw.as_deref(),
            peer: session
                .client_addr()
                .and_then(|address| address.as_inet())
                .map(std::net::SocketAddr::ip),
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
            certificate: connection(session).and_then(|connection| connection.certificate()),
        };
        let facts = &mut cx.record.facts;
        facts.client = head.peer;
        facts.method = downstream::method_word(&read.method);
        let viewed = cx.state.rules.view(head, downstream::fresh_id);
        let request = viewed.inspect_err(|_| {
            facts.client = cx.state.rules.client(head);
            downstream::as_sent(read, facts);
        })?;
        facts.request_id.clone_from(&request.request_id);
        facts.client = request.client;
        facts.host.clone_from(&request.host);
        facts.path = request.path().into();
        Ok(request)
    }
}

/// What `request_filter` does next.
enum Next {
    Forward(Box<Grant>),
    Answer(Answer),
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestCx;

    fn new_ctx(&self) -> RequestCx {
        let live = self.live.load();
        let (records, routes) = (Arc::clone(&self.records), Arc::clone(&live.routes));
        RequestCx {
            record: Record::begin(records, routes, Instant::now()),
            stage: Stage::Received,
            cookies: PendingCookies::default(),
            request: None,
            state: Arc::clone(&live.state),
            body_seen: 0,
            bodies: None,
            expect_answered: false,
            attempts: Attempts::default(),
            renewal: Renewal::None,
            lasting: None,
            tracer: live.tracer.clone(),
            outgoing: None,
            recording: Recording::default(),
            serving: None,
        }
    }

    /// None: bodies pass as they are, and the default module would cost every request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, cx: &mut RequestCx) -> Result<()> {
        cx.serving = connection(session).map(Connection::serve);
        downstream::bound(session, cx.state.body_timeout);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, cx: &mut RequestCx) -> Result<bool> {
        if let Some(tracer) = cx.tracer.take() {
            tracing::begin(&tracer, session, cx);
        }
        let admitted = match cx.recording.current() {
            // Not in every request's memory.
            Some(request) => Box::pin(request.scope(Self::admit(session, cx))).await,
            None => Self::admit(session, cx).await,
        };
        cx.recording.decided(admitted.as_ref().err().map(|refusal| refusal.reason));
        let next = match admitted {
            Ok(next) if cx.state.audit_required => attested::attested(next, cx).await,
            next => next,
        };
        match next {
            Ok(Next::Forward(grant)) => {
                cx.stage = Stage::Admitted(grant);
                Ok(false)
            }
            Ok(Next::Answer(answer)) => downstream::write(session, cx, answer).await,
            Err(refusal) => downstream::refuse(session, cx, &refusal).await,
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        cx: &mut RequestCx,
    ) -> Result<Box<HttpPeer>> {
        streams::at_request(session, cx);
        let Stage::Admitted(grant) = &cx.stage else { return Err(not_admitted()) };
        let Target { upstream, read, write, websocket, .. } = &*grant.target;
        let key = upstream.wants_key().then(|| attempts::key(grant, cx.request.as_ref())).flatten();
        match cx.attempts.next(upstream, key, Instant::now()) {
            Ok(server) => {
                let mut peer = upstream.peer(server, *read, *write);
                if *websocket && streams::is_handshake(session.req_header()) {
                    upstream.for_websocket(&mut peer);
                }
                tracing::attempts(&mut cx.recording, session, grant, &peer);
                Ok(Box::new(peer))
            }
            Err(refusal) => {
                cx.stage = Stage::Refused(refusal);
                Err(Error::explain(ErrorType::HTTPStatus(503), "no healthy server"))
            }
        }
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        cx: &mut RequestCx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        cx.recording.attempt_failed(error.etype().as_str());
        let Stage::Admitted(grant) = &cx.stage else { return error };
        // A body has not been read yet, but may be large.
        let bodiless = session.is_body_empty();
        error.set_retry(cx.attempts.not_connected(&grant.target.upstream, bodiless));
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        out: &mut RequestHeader,
        cx: &mut RequestCx,
    ) -> Result<()> {
        filters::request(session, cx, out)?;
        let (Stage::Admitted(grant), Some(request)) = (&cx.stage, &cx.request) else {
            return Err(not_admitted());
        };
        // Another try sends the body again, from its first byte.
        cx.body_seen = 0;
        if cx.expect_answered {
            out.remove_header(&http::header::EXPECT);
        }
        let outgoing = cx.outgoing.get_or_insert_with(|| Outgoing::untraced(&out.headers));
        let parent = cx.recording.parent(outgoing.parent.span);
        upstream_request::finish(&cx.state, grant, request, (outgoing, parent), out)?;
        filters::unknown_length(cx, out);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        cx: &mut RequestCx,
    ) -> Result<()> {
        let Stage::Admitted(grant) = &cx.stage else { return Err(not_admitted()) };
        let is_first = cx.body_seen == 0;
        cx.body_seen += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if session.was_upgraded() {
            return Ok(());
        }
        if cx.body_seen > grant.target.body {
            let detail = format!("more than {} bytes", grant.target.body);
            cx.stage = Stage::Refused(Refusal::new(Reason::BodyTooLarge, detail));
            return Err(Error::explain(ErrorType::HTTPStatus(413), "body too large"));
        }
        if let (Some(new), Some(piece)) = (&grant.new_body, body.as_mut()) {
            // The whole new body goes in place of the first piece, and nothing in place of others.
            let is_first = is_first && !piece.is_empty();
            *piece = if is_first { new.clone() } else { Bytes::new() };
        }
        filters::request_body(cx, body, end_of_stream)?;
        // cloudflare/pingora#935: an empty last piece is written as a second end of the chunked
        // body, and the next request on that connection belongs to somebody else.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    /// An upstream that answers 401 to a cached app token of ours may know that it was revoked:
    /// another one is tried, once, where the request can be sent again.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        cx: &mut RequestCx,
    ) -> Result<()> {
        let status = response.status.as_u16();
        cx.record.facts.upstream_status = Some(status);
        streams::at_response(session, response, cx);
        cx.recording.answered(status);
        if let Stage::Admitted(grant) = &cx.stage {
            cx.attempts.answered(&grant.target.upstream, status);
        }
        if response.status != StatusCode::UNAUTHORIZED || cx.renewal != Renewal::None {
            return Ok(());
        }
        let Stage::Admitted(grant) = &mut cx.stage else { return Err(not_admitted()) };
        let now = Timestamp::now();
        if !cx.state.disown(grant).await {
            return Ok(());
        }
        let upstream = &grant.target.upstream;
        let (id, name) = (&cx.record.facts.request_id, upstream.name());
        log::info!(request_id:% = id, upstream:% = name; "a cached app token was answered with 401");
        if cx.attempts.made() > upstream.retries() || !session.is_body_empty() {
            return Ok(());
        }
        let renewing = cx.state.renew(grant, &mut cx.record.facts, now);
        let renewed = match cx.recording.current() {
            Some(request) => request.scope(renewing).await,
            None => renewing.await,
        };
        if let Err(refusal) = renewed {
            cx.stage = Stage::Refused(refusal);
            return Err(Error::explain(ErrorType::HTTPStatus(503), "no new app token"));
        }
        cx.renewal = Renewal::Due;
        let mut again = Error::explain(ErrorType::HTTPStatus(401), "the app token was refused");
        again.set_retry(true);
        Err(again)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        cx: &mut RequestCx,
        client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        if cx.renewal == Renewal::Due {
            // Refused before anything was done about it, so that any method may be repeated.
            cx.renewal = Renewal::Done;
            error.set_retry(true);
        } else if let Stage::Admitted(grant) = &cx.stage {
            let how = Repeatable {
                same: session.req_header().method.is_idempotent()
                    && !session.as_ref().retry_buffer_truncated(),
                bodiless: session.is_body_empty(),
                reused: client_reused,
            };
            cx.attempts.broke(&grant.target.upstream, &mut error, how);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        cx: &mut RequestCx,
    ) -> Result<()> {
        if let Stage::Admitted(grant) = &cx.stage
            && let Credential::Static(token) = &grant.credential
        {
            for name in echo::of(token.expose_secret(), &response.headers) {
                response.remove_header(&name);
                let upstream = grant.target.upstream.name();
                log::warn!(upstream:% = upstream, header:% = name; "the upstream shows its static token");
            }
        }
        filters::response(session, cx, response)?;
        cx.record.facts.status = response.status.as_u16();
        downstream::finish_upstream_response(cx, response)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        cx: &mut RequestCx,
    ) -> Result<Option<Duration>> {
        filters::response_body(cx, body, end_of_stream)?;
        // For a record that is written without the last phase.
        cx.record.facts.bytes += body.as_ref().map_or(0, Bytes::len);
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        cx: &mut RequestCx,
    ) -> FailToProxy {
        let refusal = match &cx.stage {
            Stage::Refused(refusal) => refusal.clone(),
            _ => downstream::refusal_of(error),
        };
        if matches!(error.esource(), ErrorSource::Upstream) {
            cx.recording.attempt_failed(error.etype().as_str());
        }
        let gone = matches!(error.esource(), ErrorSource::Downstream)
            && matches!(
                error.etype(),
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed
            );
        if gone {
            cx.record.facts.detail = Some("the client left".into());
        } else {
            cx.record.refused(&refusal);
        }
        if gone || session.response_written().is_some() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        // Pingora closes it after this; who is told does not send another request into that.
        session.set_keepalive(None);
        // A client that no longer listens is no news.
        let _ = downstream::refuse(session, cx, &refusal).await;
        FailToProxy { error_code: refusal.reason.status(), can_reuse_downstream: false }
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        cx: &RequestCx,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        // Told already.
        cx.renewal != Renewal::None
    }

    fn suppress_error_log(&self, _: &Session, _: &RequestCx, _: &Error) -> bool {
        // The access record says what happened, to whom and why.
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, cx: &mut RequestCx) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        if let Some(error) = error
            && cx.record.facts.detail.is_none()
        {
            cx.record.facts.detail = Some(error.etype().as_str().to_owned().into());
        }
        let facts = &mut cx.record.facts;
        facts.received = cx.body_seen;
        if facts.is_refused() {
            let query = cx.request.as_ref().and_then(TrustedRequest::query);
            facts.query = query.map(query_shape);
        }
        cx.record.finish(status, session.body_bytes_sent());
        tracing::finish(session, cx);
    }
}

impl Drop for RequestCx {
    fn drop(&mut self) {
        if let Some(refusal) = self.lasting.as_ref().and_then(Lasting::ended) {
            streams::note_end(&mut self.record, refusal, self.body_seen);
        }
    }
}

/// The connection that a request came on.
fn connection(session: &Session) -> Option<&Arc<Connection>> {
    session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

/// A phase towards the upstream was reached without a grant. It fails closed.
#[expect(clippy::unnecessary_box_returns, reason = "what Pingora's phases return")]
fn not_admitted() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "no grant")
}

const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
