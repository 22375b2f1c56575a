//! A TCP proxy that stands between the gateway and something that it depends on, and fails in the
//! way that a test tells it to, from one moment to the next.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

/// What becomes of an answer on its way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It passes.
    None,
    /// It is held back for so long.
    Delay(Duration),
    /// A byte comes this long after the one before.
    Drip(Duration),
    /// After so many bytes the connection is reset.
    ResetAt(usize),
    /// The connection is taken, what comes is read, and nothing is ever said.
    HalfOpen,
    /// Something that is no protocol comes back, and then the end.
    Garbage,
    /// The answer begins like this and goes on for [`HUGE`] bytes.
    Huge(&'static [u8]),
    /// Nobody listens.
    Refuse,
}

impl Fault {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Delay(_) => "delay",
            Self::Drip(_) => "drip",
            Self::ResetAt(_) => "reset",
            Self::HalfOpen => "half-open",
            Self::Garbage => "garbage",
            Self::Huge(_) => "huge",
            Self::Refuse => "refuse",
        }
    }
}

/// An HTTP answer whose end is the connection's.
pub(crate) const HTTP: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

/// A bulk string of a tebibyte (RESP2).
pub(crate) const RESP: &[u8] = b"$1099511627776\r\n";

/// Far more than anything here takes for an answer.
const HUGE: usize = 256 << 20;

/// The proxy; its connections end with the test.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    fault: watch::Sender<Fault>,
}

impl FaultProxy {
    /// Starts one before `target`.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let (address, listener) = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (fault, watched) = watch::channel(Fault::None);
        tokio::spawn(accept(address, target, listener, watched));
        Self { address, fault }
    }

    /// Fails like this from now on, connections that are open included. Whatever has suffered
    /// under one fault ends with it. What it was until now.
    pub(crate) fn set(&self, fault: Fault) -> Fault {
        self.fault.send_replace(fault)
    }

    /// The origin of it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A socket that keeps the port while nobody listens, and a listener.
fn bind(address: SocketAddr) -> (SocketAddr, (TcpSocket, TcpListener)) {
    let kept = TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.bind(address).unwrap();
    let address = kept.local_addr().unwrap();
    let listener = listen(address);
    (address, (kept, listener))
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn accept(
    address: SocketAddr,
    target: SocketAddr,
    (_kept, listener): (TcpSocket, TcpListener),
    mut fault: watch::Receiver<Fault>,
) {
    let mut listener = Some(listener);
    loop {
        if *fault.borrow_and_update() == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(address));
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = accepted => {
                tokio::spawn(pass(stream, target, fault.clone()));
            }
            changed = fault.changed() => if changed.is_err() { return },
        }
    }
}

/// One connection: clean until a fault is felt on it, and then that fault's.
async fn pass(mut client: TcpStream, target: SocketAddr, mut fault: watch::Receiver<Fault>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut asked, mut answered) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        let now = *fault.borrow_and_update();
        if now == Fault::Refuse {
            return;
        }
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                if matches!(now, Fault::HalfOpen | Fault::Garbage | Fault::Huge(_)) {
                    return Box::pin(suffer(client, now, &[], fault)).await;
                }
                if server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if now != Fault::None {
                    let answer = &answered[..read];
                    return Box::pin(suffer(client, now, answer, fault)).await;
                }
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
            changed = fault.changed() => if changed.is_err() { return },
        }
    }
}

/// The rest of a connection under a fault, until that is over or the client has gone.
async fn suffer(
    client: TcpStream,
    fault: Fault,
    answer: &[u8],
    mut watched: watch::Receiver<Fault>,
) {
    let (mut reading, mut writing) = client.into_split();
    let gone = async {
        let mut sink = [0; 4096];
        while reading.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    let failing = async {
        match fault {
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                let _ = writing.write_all(answer).await;
            }
            Fault::Drip(pause) => {
                for byte in answer {
                    tokio::time::sleep(pause).await;
                    if writing.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
                // Whoever has it all may ask again.
                std::future::pending::<()>().await;
            }
            Fault::ResetAt(at) => {
                let _ = writing.write_all(&answer[..at.min(answer.len())]).await;
                writing.as_ref().set_zero_linger().unwrap();
            }
            Fault::Garbage => {
                let _ = writing.write_all(b"\x00\xff\x16\x03\x01 neither this nor that\r\n").await;
            }
            Fault::Huge(head) => {
                let _ = writing.write_all(head).await;
                let piece = [b' '; 16 << 10];
                for _ in 0..HUGE / piece.len() {
                    if writing.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            }
            Fault::HalfOpen | Fault::None | Fault::Refuse => std::future::pending().await,
        }
    };
    tokio::select! {
        () = failing => {}
        () = gone => {}
        _ = watched.changed() => {}
    }
}
