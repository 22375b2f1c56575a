//! TLS on a client's connection. Pingora would do the handshake itself and give it a minute; here
//! it is under guard, and what a client showed in it is known to the connection.

use std::{
    io::{IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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

use crate::{certificate::PeerCertificate, connection::Connection};

/// Answers a client's hello. The certificate that it shows, and that was found to be one of our
/// authority, is noted for `connection`.
///
/// # Errors
/// A handshake that fails, a certificate that cannot be read included.
pub(super) async fn handshake(
    acceptor: &Acceptor,
    stream: Stream,
    connection: &Connection,
) -> pingora::Result<Stream> {
    let stream = acceptor.tls_handshake(Plain(stream)).await?;
    if let Some(der) = stream.get_ssl().and_then(|tls| tls.peer_certificate_der()) {
        // A certificate without a name is nobody's, and no route takes it.
        if let Some(certificate) = PeerCertificate::read(der) {
            connection.show(certificate);
        }
    }
    Ok(Box::new(stream))
}

/// The stream below TLS.
#[derive(Debug)]
struct Plain(Stream);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Peek for Plain {}

impl Ssl for Plain {}

#[async_trait]
impl Shutdown for Plain {
    async fn shutdown(&mut self) {
        self.0.shutdown().await;
    }
}

impl UniqueID for Plain {
    fn id(&self) -> i32 {
        self.0.id()
    }
}

impl GetTimingDigest for Plain {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.0.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.0.get_write_pending_time()
    }
}

impl GetProxyDigest for Plain {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.get_proxy_digest()
    }
}

impl GetSocketDigest for Plain {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_socket_digest()
    }
}
