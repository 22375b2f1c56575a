//! A server of a pool: it says who it is, can be made slow or wrong, and be killed with every
//! connection that it has.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    name: &'static str,
    state: Arc<State>,
    running: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    /// Requests that came, health checks left out.
    seen: AtomicUsize,
    status: AtomicU16,
    /// Whether requests are answered; else they wait.
    open: watch::Sender<bool>,
}

impl Server {
    /// One that answers 200.
    pub(crate) fn start(name: &'static str) -> Self {
        let (address, listener) = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let state = Arc::new(State {
            seen: AtomicUsize::new(0),
            status: AtomicU16::new(200),
            open: watch::Sender::new(true),
        });
        let running = Mutex::new(Some(run(name, listener, Arc::clone(&state))));
        Self { address, name, state, running }
    }

    /// Ends it as a process ends that is killed.
    pub(crate) async fn kill(&self) {
        let running = self.running.lock().unwrap().take().unwrap();
        running.abort();
        // Its connections end with the task.
        let _ = running.await;
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&self) {
        let (_, listener) = bind(self.address);
        let running = run(self.name, listener, Arc::clone(&self.state));
        assert!(self.running.lock().unwrap().replace(running).is_none());
    }

    /// Requests that have come.
    pub(crate) fn seen(&self) -> usize {
        self.state.seen.load(SeqCst)
    }

    /// Answers with this from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.state.status.store(status, SeqCst);
    }

    /// Keeps requests waiting, or answers them.
    pub(crate) fn open(&self, open: bool) {
        self.state.open.send_replace(open);
    }
}

fn bind(address: SocketAddr) -> (SocketAddr, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1024).unwrap();
    (listener.local_addr().unwrap(), listener)
}

fn run(name: &'static str, listener: TcpListener, state: Arc<State>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(name, stream, Arc::clone(&state)));
        }
    })
}

async fn serve(name: &'static str, mut stream: TcpStream, state: Arc<State>) {
    let (mut buffer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&piece[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        buffer.drain(..end);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while buffer.len() < length {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&piece[..read]),
            }
        }
        buffer.drain(..length);
        let mut status = 200;
        if !head.starts_with("get /health ") {
            state.seen.fetch_add(1, SeqCst);
            state.open.subscribe().wait_for(|open| *open).await.unwrap();
            status = state.status.load(SeqCst);
        }
        let switch = head.contains("upgrade: websocket");
        let answer = if switch {
            "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned()
        } else {
            let body = name.len();
            format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {body}\r\n\r\n{name}")
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if switch {
            // Until the other side ends.
            while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
            return;
        }
    }
}
