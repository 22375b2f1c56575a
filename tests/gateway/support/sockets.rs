//! An upstream of WebSockets, and a client for them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::server::{Request, Response},
        http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    },
};

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// An upstream that echoes messages. A path that ends with `refused` is answered 403, one with
/// `hello` greets first, one with `bye` closes with code 4001.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    open: Arc<AtomicUsize>,
}

impl Sockets {
    pub(crate) async fn start() -> Self {
        Self::behind(None).await
    }

    /// Starts one that speaks TLS.
    pub(crate) async fn behind(tls: Option<TlsAcceptor>) -> Self {
        let (listener, address) = super::listener().await;
        let sockets = Self { address, heads: Arc::default(), open: Arc::default() };
        tokio::spawn(sockets.clone().accept(listener, tls));
        sockets
    }

    async fn accept(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        while let Ok((stream, _)) = listener.accept().await {
            let (this, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                this.open.fetch_add(1, Ordering::SeqCst);
                match tls {
                    None => this.serve(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            this.serve(stream).await;
                        }
                    }
                }
                this.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    #[expect(clippy::result_large_err, reason = "the crate's own type")]
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut path = String::new();
        let look = |request: &Request, response: Response| {
            request.uri().path().clone_into(&mut path);
            self.heads.lock().unwrap().push((path.clone(), request.headers().clone()));
            if path.ends_with("refused") {
                let body = Some("not here".to_owned());
                return Err(Response::builder().status(StatusCode::FORBIDDEN).body(body).unwrap());
            }
            Ok(response)
        };
        let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
        if path.ends_with("hello") {
            let _ = socket.send(Message::text("hello")).await;
        }
        while let Some(Ok(message)) = socket.next().await {
            if path.ends_with("bye") && message.is_text() {
                let code = tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::from(
                    4001_u16,
                );
                let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                    code,
                    reason: "bye".into(),
                };
                let _ = socket.close(Some(frame)).await;
            } else if (message.is_text() || message.is_binary())
                && socket.send(message).await.is_err()
            {
                return;
            }
        }
    }

    /// Handshakes that came: their paths and headers.
    pub(crate) fn heads(&self) -> Vec<(String, HeaderMap)> {
        self.heads.lock().unwrap().clone()
    }

    /// Waits until no connection to it is left.
    pub(crate) async fn all_closed(&self, within: Duration) {
        let closed = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(within, closed).await.unwrap();
    }
}

/// Opens a WebSocket at a gateway, with these header lines.
pub(crate) async fn open(
    gateway: SocketAddr,
    path: &str,
    lines: &[(&str, &str)],
) -> Result<(Socket, HeaderMap), Box<Refused>> {
    let mut request =
        format!("ws://localhost:{}{path}", gateway.port()).into_client_request().unwrap();
    for (name, value) in lines {
        request
            .headers_mut()
            .append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    let stream = TcpStream::connect(gateway).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, answer)) => Ok((socket, answer.headers().clone())),
        Err(Error::Http(answer)) => Err(Box::new(Refused {
            status: answer.status().as_u16(),
            body: String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into(),
        })),
        Err(other) => panic!("{other}"),
    }
}

/// The answer in place of a WebSocket.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends a text and waits for it to come back.
pub(crate) async fn echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
    assert_eq!(answer.unwrap().unwrap(), Message::text(text));
}

/// Waits until a WebSocket is over; how long it took. Nobody says goodbye.
pub(crate) async fn torn(socket: &mut Socket, within: Duration) -> Duration {
    let began = std::time::Instant::now();
    let next = tokio::time::timeout(within, socket.next()).await;
    match next.unwrap() {
        None | Some(Err(_)) => began.elapsed(),
        Some(Ok(message)) => panic!("{message:?}"),
    }
}
