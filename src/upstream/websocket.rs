//! Connections for WebSockets.
//!
//! cloudflare/pingora#946: Pingora takes the end of the handshake's empty body for the end of the
//! WebSocket, when it has read `101` before. It looks for both at once and in any order, so a fast
//! server, or a slow moment here, ends a WebSocket that has just begun. On these connections
//! nothing is read in the two polls after a write: in the first one whatever else is ready is done,
//! and the second one is there because tokio lets a task that was busy do nothing at all in one.

use std::{
    io::{Error, ErrorKind, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    ErrorType,
    connectors::L4Connect,
    prelude::HttpPeer,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
    upstreams::peer::HttpUpstreamRequestPolicy,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Lets a request become a WebSocket, on a connection of its own. `connect` bounds how long it
/// takes to be there.
pub(super) fn prepare(peer: &mut HttpPeer, connect: Duration) {
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::default();
    peer.options.custom_l4 = Some(Arc::new(Connector { connect }));
    // No connection for anything else becomes one for a WebSocket, nor the other way round.
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.group_key ^= OWN_GROUP;
}

const OWN_GROUP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Polls of a read after a write that find nothing.
const HELD: u8 = 2;

#[derive(Debug)]
struct Connector {
    connect: Duration,
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let failed = |error: Error| {
            let kind = match error.kind() {
                ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            pingora::Error::because(kind, format!("connecting to {address}"), error)
        };
        let SocketAddr::Inet(inet) = address else {
            return Err(failed(ErrorKind::Unsupported.into()));
        };
        let connected = tokio::time::timeout(self.connect, TcpStream::connect(inet)).await;
        let stream = connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let stream = Held { stream: stream.map_err(failed)?, held: 0 };
        Ok(VirtualSocketStream::new(Box::new(stream)).into())
    }
}

/// A stream on which what was written has a start over what is read.
#[derive(Debug)]
struct Held {
    stream: TcpStream,
    held: u8,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.held > 0 {
            self.held -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        self.held = HELD;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for Held {
    fn set_socket_option(&self, option: VirtualSockOpt) -> Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // None is asked for.
            _ => Ok(()),
        }
    }
}
