//! A client's connection under guard: everything that Pingora reads from it passes
//! [`Pace`], and every connection has a [`Place`](crate::connection::crowd::Place).

use std::{
    fmt,
    io::{Error, ErrorKind, IoSlice, Result},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora::{
    apps::ServerApp,
    http::ResponseHeader,
    protocols::{
        ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
        Stream, TimingDigest, UniqueID,
        raw_connect::ProxyDigest,
        tls::{SslDigest, TlsRef},
    },
    server::ShutdownWatch,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{Doors, secured, tls::Tls};
use crate::{
    answer::Answer,
    connection::{Connection, Cut, Pace, Patience, crowd::Crowd},
    gateway::fresh_id,
    listener::upgrade::End,
    refusal::{Reason, Refusal},
    telemetry::{
        metrics::Handshake,
        record::{Record, Records},
    },
};

/// Lets connections in, or not, and puts them under guard.
#[derive(Clone)]
pub(super) struct Guard {
    crowd: Arc<Crowd>,
    records: Arc<Records>,
    patience: Patience,
}

impl Guard {
    pub(super) const fn new(crowd: Arc<Crowd>, records: Arc<Records>, patience: Patience) -> Self {
        Self { crowd, records, patience }
    }

    /// `None` when its address has all connections that it may have.
    fn admit(&self, address: Option<IpAddr>) -> Option<Arc<Connection>> {
        let address = address?;
        if let Some(place) = self.crowd.enter(address) {
            return Some(Arc::new(Connection::new(place)));
        }
        self.records.metrics.connections.cut(Cut::Crowded);
        log::debug!(client:% = address; "closed at once: {}", Cut::Crowded.word());
        None
    }
}

/// What Pingora keeps beside a stream for its requests.
fn digest(connection: Arc<Connection>) -> pingora::Result<ProxyDigest> {
    // It was made for answers of a CONNECT proxy, and wants one.
    let nothing = Box::new(ResponseHeader::build(200, Some(0))?);
    Ok(ProxyDigest::new(nothing, Some(Box::new(connection))))
}

fn address(digest: Option<&SocketDigest>) -> Option<IpAddr> {
    digest?.peer_addr()?.as_inet().map(std::net::SocketAddr::ip)
}

/// An application whose connections are under guard, from before their TLS handshake.
pub(super) struct Guarded<A> {
    app: Arc<A>,
    guard: Guard,
    doors: Doors,
    end: Arc<End>,
}

impl<A> Guarded<A> {
    pub(super) fn new(app: A, guard: Guard, doors: Doors, end: Arc<End>) -> Self {
        Self { app: Arc::new(app), guard, doors, end }
    }

    /// What a connection is encrypted with, by the address that it came to.
    fn tls(&self, stream: &Stream) -> Result<Option<&Tls>> {
        if let [(_, tls)] = &*self.doors {
            return Ok(tls.as_ref());
        }
        // Whoever cannot be placed is not taken for a client of a listener without TLS.
        let digest = stream.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr()?.as_inet());
        let local = local.ok_or(ErrorKind::AddrNotAvailable)?;
        let here = local.ip().to_canonical();
        let same_port = || self.doors.iter().filter(|(door, _)| door.port() == local.port());
        let exact = same_port().find(|(door, _)| door.ip().to_canonical() == here);
        let any = || same_port().find(|(door, _)| door.ip().is_unspecified());
        let (_, tls) = exact.or_else(any).ok_or(ErrorKind::AddrNotAvailable)?;
        Ok(tls.as_ref())
    }

    /// The stream that requests come on.
    async fn opened(&self, stream: Stream, connection: &Connection) -> Option<Stream> {
        let metrics = &self.guard.records.metrics.connections;
        let client = address(stream.get_socket_digest().as_deref());
        let client = client.map(|address| address.to_string()).unwrap_or_default();
        let tls = match self.tls(&stream) {
            Ok(None) => return Some(stream),
            Ok(Some(tls)) => tls,
            Err(error) => {
                log::warn!(client; "closed: {error}");
                return None;
            }
        };
        let acceptor = tls.acceptor();
        let handshake = secured::handshake(&acceptor, stream, connection);
        match tokio::time::timeout(self.guard.patience.head, handshake).await {
            Ok(Ok(stream)) => {
                metrics.handshake(spoken(&stream));
                Some(stream)
            }
            Ok(Err(broken)) => {
                metrics.handshake(broken.outcome());
                log::debug!(client; "no TLS handshake: {broken}");
                None
            }
            Err(_) => {
                metrics.handshake(Handshake::TimedOut);
                metrics.cut(Cut::SlowHandshake);
                log::debug!(client; "closed: {}", Cut::SlowHandshake.word());
                None
            }
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guarded<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let connection = self.guard.admit(address(stream.get_socket_digest().as_deref()))?;
        let stream = self.opened(stream, &connection).await?;
        let digest = Arc::new(digest(Arc::clone(&connection)).ok()?);
        let mut pace = Pace::new(self.guard.patience, Instant::now());
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            pace.speaks_http2();
        }
        let records = Arc::clone(&self.guard.records);
        records.metrics.connections.opened();
        let stream = Paced {
            connection,
            records,
            served: 0,
            stream,
            digest,
            pace,
            timer: None,
            ahead: Vec::new(),
            closed: false,
            replacement: None,
        };
        self.app.process_new(Box::new(stream), shutdown).await
    }

    /// Cuts off connections that wait for a request: at once, or when another process has taken
    /// over and their clients may be about to send one, as late as can be.
    async fn cleanup(&self) {
        while self.end.lingers_until().is_some_and(|until| Instant::now() < until)
            && self.guard.crowd.open() > 0
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.app.cleanup().await;
    }
}

/// How often it is looked whether the last connection has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The version of TLS that a stream speaks.
fn spoken(stream: &Stream) -> Handshake {
    match stream.get_ssl_digest() {
        Some(digest) if digest.version == "TLSv1_3" || digest.version == "TLSv1.3" => {
            Handshake::Tls13
        }
        _ => Handshake::Tls12,
    }
}

/// A stream that ends when its client does not keep pace.
struct Paced {
    stream: Stream,
    connection: Arc<Connection>,
    /// Requests of it that were served when the client was last read from.
    served: usize,
    records: Arc<Records>,
    digest: Arc<ProxyDigest>,
    pace: Pace,
    /// Made when a client lets us wait while it owes something, which few do.
    timer: Option<Pin<Box<Sleep>>>,
    /// Read to tell HTTP/2 from HTTP/1, and not handed on yet.
    ahead: Vec<u8>,
    closed: bool,
    /// What is left of an answer in place of one of Pingora's.
    replacement: Option<Bytes>,
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.records.metrics.connections.closed();
    }
}

impl Paced {
    /// Reads from the client, as long as it keeps pace.
    fn poll_client(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.closed {
            return Poll::Ready(Ok(()));
        }
        let served = self.connection.served();
        if served != self.served {
            self.served = served;
            self.pace.served();
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) else {
            let cut = ready!(self.poll_deadline(cx));
            return Poll::Ready(self.close(cut, cx));
        };
        read?;
        let busy = self.connection.is_serving();
        let received = buf.filled().get(before..).unwrap_or_default();
        if received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.pace.received(received, busy, Instant::now()) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(cut) => {
                buf.set_filled(before);
                Poll::Ready(self.close(cut, cx))
            }
        }
    }

    /// Ready when the client has let us wait too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        let Some((until, cut)) = self.pace.deadline(self.connection.is_serving()) else {
            return Poll::Pending;
        };
        let until = tokio::time::Instant::from_std(until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).map(|()| cut)
    }

    fn tell(&self, cut: Cut) {
        self.records.metrics.connections.cut(cut);
        let client = address(self.stream.get_socket_digest().as_deref());
        let client = client.map(|address| address.to_string()).unwrap_or_default();
        log::debug!(client; "closed: {}", cut.word());
    }

    /// The record of what never became a request, and its answer as it goes over the wire.
    fn refuse(&self, refusal: &Refusal) -> Vec<u8> {
        let routes = Arc::new(self.records.metrics.routes(&[]));
        let mut record = Record::begin(Arc::clone(&self.records), routes, Instant::now());
        record.facts.request_id = fresh_id();
        record.facts.client = address(self.stream.get_socket_digest().as_deref());
        record.refused(refusal);
        let answer = Answer::refusal(refusal, &record.facts.request_id, false);
        let wire = wire(&answer, &record.facts.request_id);
        record.finish(answer.status.as_u16(), answer.body.len());
        wire
    }

    /// Writes an answer of ours in place of Pingora's own, which it gives to what is no request
    /// and never shows us: 400, or 405 for CONNECT. Theirs has no reason and names the server.
    fn poll_replaced(&mut self, cx: &mut Context<'_>, theirs: &[u8]) -> Poll<Result<usize>> {
        if self.replacement.is_none() {
            self.tell(Cut::Malformed);
            let reason = if theirs.starts_with(b"HTTP/1.1 405") {
                Reason::MethodNotAllowed
            } else {
                Reason::MalformedRequest
            };
            let answer = self.refuse(&Refusal::new(reason, "no request that could be read"));
            self.replacement = Some(answer.into());
        }
        while let Some(left) = self.replacement.as_mut().filter(|left| !left.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            left.advance(written.min(left.len()));
        }
        // All of theirs, whatever more of it there is.
        Poll::Ready(Ok(theirs.len()))
    }

    /// Whether what is written now is none of a request's answer.
    fn is_theirs(&self) -> bool {
        self.pace.is_http1() && !self.connection.is_serving()
    }

    /// The end. A client of HTTP/1 is told why, if it reads; there is no better moment, and none
    /// to wait for.
    fn close(&mut self, cut: Cut, cx: &mut Context<'_>) -> Result<()> {
        self.closed = true;
        self.tell(cut);
        if cut == Cut::SlowHead && self.pace.is_http1() {
            let answer = self.refuse(&Refusal::new(Reason::RequestTimeout, cut.word()));
            let told = Pin::new(&mut self.stream).poll_write(cx, &answer);
            if matches!(told, Poll::Ready(Ok(_))) {
                // What is not sent at once is not waited for.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
        }
        Err(Error::new(ErrorKind::TimedOut, cut.word()))
    }
}

/// An answer in HTTP/1.1, after which the connection ends.
fn wire(answer: &Answer, id: &str) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    let length = answer.body.len().to_string();
    let ours = [
        ("content-length", length.as_bytes()),
        ("connection", b"close"),
        ("x-request-id", id.as_bytes()),
    ];
    let headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in headers.chain(ours) {
        wire.extend_from_slice(name.as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(&answer.body);
    wire
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.ahead.is_empty() {
            return self.poll_client(cx, buf);
        }
        let taken = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..taken).unwrap_or_default());
        self.ahead.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        if self.is_theirs() {
            return self.poll_replaced(cx, buf);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.is_theirs() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_replaced(cx, first.map_or(&[], |buf| &**buf));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Pingora looks at the first bytes of a plain connection, to tell HTTP/2. Its own way waits for
/// 24 of them without any bound, which a request of HTTP/1 need not even have.
#[async_trait]
impl Peek for Paced {
    async fn try_peek(&mut self, buf: &mut [u8]) -> Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let mut first = [0; PREFACE.len()];
        let mut seen = 0;
        while PREFACE.get(..seen) == first.get(..seen) && seen < PREFACE.len() {
            let rest = first.get_mut(seen..).unwrap_or_default();
            match self.read(rest).await? {
                0 => break,
                read => seen += read,
            }
        }
        let first = first.get(..seen).unwrap_or_default();
        if first == PREFACE {
            self.pace.speaks_http2();
            self.pace.received(first, false, Instant::now()).ok();
        }
        self.ahead = first.to_vec();
        for (to, from) in buf.iter_mut().zip(first) {
            *to = *from;
        }
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Paced {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Paced {
    fn id(&self) -> i32 {
        self.stream.id()
    }
}

impl Ssl for Paced {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Paced {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Paced {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for Paced {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}
