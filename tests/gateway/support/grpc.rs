//! An upstream that speaks HTTP/2 as gRPC does, by hand, and a client for it. Messages are bytes
//! with a head of five (a flag and a length), which nobody here looks into.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// An upstream. `/…/Unary` waits for the whole message and answers once, `/…/Watch` answers with
/// three messages, `/…/Chat` with each that comes, `/…/Wait` with a head and nothing more,
/// `/…/Fail` with trailers alone, and `/…/Sum` with the number of bytes that came.
#[derive(Clone)]
pub(crate) struct Grpc {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<http::request::Parts>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Grpc {
    pub(crate) async fn start() -> Self {
        Self::behind(None).await
    }

    /// Starts one that speaks TLS.
    pub(crate) async fn behind(tls: Option<TlsAcceptor>) -> Self {
        let (listener, address) = super::listener().await;
        let (heads, connections, open) = (Arc::default(), Arc::default(), Arc::default());
        let grpc = Self { address, heads, connections, open };
        let this = grpc.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let (this, tls) = (this.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => this.connection(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                this.connection(stream).await;
                            }
                        }
                    }
                });
            }
        });
        grpc
    }

    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Ok(mut connection) = server::handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let this = self.clone();
            tokio::spawn(async move {
                this.open.fetch_add(1, Ordering::SeqCst);
                let _ = this.call(request, respond).await;
                this.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn call(
        &self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (head, mut body) = request.into_parts();
        let call = head.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        self.heads.lock().unwrap().push(head);
        let answer = Response::builder().status(200).header("content-type", "application/grpc");
        if call == "Fail" {
            let answer = answer.header("grpc-status", "5").header("grpc-message", "nothing there");
            respond.send_response(answer.body(()).unwrap(), true)?;
            return Ok(());
        }
        if call == "Unary" {
            let message = whole(&mut body).await?;
            let mut stream = respond.send_response(answer.body(()).unwrap(), false)?;
            send(&mut stream, message).await;
            return stream.send_trailers(trailers("0"));
        }
        if call == "Sum" {
            let mut sum = 0;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                sum += piece.len();
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let mut stream = respond.send_response(answer.body(()).unwrap(), false)?;
            send(&mut stream, sum.to_string().into()).await;
            return stream.send_trailers(trailers("0"));
        }
        let mut stream = respond.send_response(answer.body(()).unwrap(), false)?;
        match &*call {
            "Watch" => {
                for message in ["one", "two", "three"] {
                    send(&mut stream, message.into()).await;
                }
            }
            "Chat" => {
                while let Some(piece) = body.data().await {
                    let piece = piece?;
                    let _ = body.flow_control().release_capacity(piece.len());
                    send(&mut stream, piece).await;
                }
            }
            _ => {
                // Until it is reset.
                let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                return Ok(());
            }
        }
        stream.send_trailers(trailers("0"))
    }

    pub(crate) fn heads(&self) -> Vec<http::request::Parts> {
        self.heads.lock().unwrap().clone()
    }

    /// Waits until no call is left.
    pub(crate) async fn all_over(&self, within: Duration) {
        let over = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(within, over).await.unwrap();
    }
}

fn trailers(status: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", "as it should be".parse().unwrap());
    trailers
}

/// Everything of a body.
pub(crate) async fn whole(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let _ = body.flow_control().release_capacity(piece.len());
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Sends a piece, as fast as the other side takes it.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes) {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        let part = piece.split_to(room.min(piece.len()));
        if stream.send_data(part, false).is_err() {
            return;
        }
    }
}

/// A connection of HTTP/2 to a gateway, by prior knowledge.
pub(crate) async fn connect(gateway: SocketAddr) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway).await.unwrap();
    stream.set_nodelay(true).unwrap();
    over(stream).await
}

/// The same on a stream that is there already.
pub(crate) async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> client::SendRequest<Bytes> {
    let (client, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// Begins a call.
pub(crate) async fn call(
    client: &client::SendRequest<Bytes>,
    method: &str,
    lines: &[(&str, &str)],
) -> (client::ResponseFuture, SendStream<Bytes>) {
    call_at(client, &format!("http://localhost/tasks.v1.Tasks/{method}"), lines).await
}

/// Begins a call to this URL.
pub(crate) async fn call_at(
    client: &client::SendRequest<Bytes>,
    url: &str,
    lines: &[(&str, &str)],
) -> (client::ResponseFuture, SendStream<Bytes>) {
    let mut request =
        Request::post(url).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request.body(()).unwrap(), false).unwrap()
}
