//! TLS on a client's connection. Pingora would do the handshake itself and give it a minute; here
//! it is under guard, and what a client showed in it is known to the connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    listeners::tls::Acceptor,
    protocols::{
        GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
        Stream, TimingDigest, UniqueID, raw_connect::ProxyDigest,
    },
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{certificate::PeerCertificate, connection::Connection, telemetry::metrics::Handshake};

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The client left before it said anything.
    #[error("left without a hello")]
    NoHello,
    /// In the words of Pingora.
    #[error("{0}")]
    Failed(Box<pingora::Error>),
}

impl Broken {
    /// What it is counted as.
    pub(super) const fn outcome(&self) -> Handshake {
        match self {
            Self::NoHello => Handshake::NoHello,
            Self::Failed(_) => Handshake::Failed,
        }
    }
}

/// Answers a client's hello. The certificate that it shows, and that was found to be one of our
/// authority, is noted for `connection`.
///
/// # Errors
/// [`Broken`].
pub(super) async fn handshake(
    acceptor: &Acceptor,
    stream: Stream,
    connection: &Connection,
) -> Result<Stream, Broken> {
    let heard = Arc::new(AtomicBool::new(false));
    let plain = Plain { stream, unheard: Some(Arc::clone(&heard)) };
    let stream = acceptor.tls_handshake(plain).await.map_err(|error| {
        if heard.load(Ordering::Relaxed) { Broken::Failed(error) } else { Broken::NoHello }
    })?;
    if let Some(der) = stream.get_ssl().and_then(|tls| tls.peer_certificate_der()) {
        connection.show(PeerCertificate::read(der));
    }
    Ok(Box::new(stream))
}

/// The stream below TLS.
#[derive(Debug)]
struct Plain {
    stream: Stream,
    /// Set and let go with the first byte.
    unheard: Option<Arc<AtomicBool>>,
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before
            && let Some(heard) = self.unheard.take()
        {
            heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Peek for Plain {}

impl Ssl for Plain {}

#[async_trait]
impl Shutdown for Plain {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Plain {
    fn id(&self) -> i32 {
        self.stream.id()
    }
}

impl GetTimingDigest for Plain {
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

impl GetProxyDigest for Plain {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Plain {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}
