//! Raw requests over sockets: whatever the bytes are, they lead to one request upstream or to
//! none, and it is the one that was decided on.
//!
//! Every row is sent twice, each time on a connection of its own: alone, and with another request
//! behind it in the same packet. That other request must never be served.

mod bodies;
mod bytes;
mod framing;
mod headers;
mod heads;
mod lines;
mod pipelines;
mod tokens;

use std::{borrow::Cow, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Gateway, Issuer, Recorder, Settings, status};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    /// The upstream gets this request target, once.
    Gets(&'static str),
    /// It gets nothing.
    Nothing,
    /// It gets nothing, and the client's connection is at its end.
    NothingAndClosed,
    /// It may get the head of this target, never an end; and the client's connection is at its
    /// end.
    NeverWhole(&'static str),
}

/// One request.
struct Row {
    name: Cow<'static, str>,
    bytes: Cow<'static, [u8]>,
    statuses: &'static [u16],
    upstream: Upstream,
}

const fn row(
    name: &'static str,
    bytes: &'static [u8],
    statuses: &'static [u16],
    upstream: Upstream,
) -> Row {
    Row { name: Cow::Borrowed(name), bytes: Cow::Borrowed(bytes), statuses, upstream }
}

struct World {
    issuer: Issuer,
    core: Recorder,
    gateway: Gateway,
}

/// How long a connection may take to end that has to.
const AT_AN_END: Duration = Duration::from_secs(4);

const SMUGGLED: &[u8] = b"GET /ssi/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

impl World {
    async fn start() -> Self {
        let issuer = Issuer::start().await;
        let core = Recorder::start("").await;
        let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
        Self { issuer, core, gateway }
    }

    /// Sends every row in both ways.
    async fn holds(&self, rows: &[Row]) {
        for row in rows {
            let Row { name, bytes, .. } = row;
            if matches!(row.upstream, Upstream::NothingAndClosed | Upstream::NeverWhole(_)) {
                // Nothing of the client's asks for the end.
                let (answer, closed) = send(self.gateway.address, bytes).await;
                assert!(closed, "{name}: the connection stays open: {answer}");
                self.judge(row, &answer);
            }
            let (answer, closed) = send(self.gateway.address, &[bytes, SMUGGLED].concat()).await;
            assert!(closed, "{name}: more bytes than a request, and it stays open: {answer}");
            self.judge(row, &answer);
        }
        assert!(self.core.garbage().is_empty(), "{:?}", self.core.garbage());
        self.lives().await;
    }

    fn judge(&self, row: &Row, answer: &str) {
        let Row { name, statuses, upstream, .. } = row;
        let answer = answer.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        if answer.is_empty() {
            assert!(statuses.is_empty(), "{name}: no answer");
        } else {
            assert!(statuses.contains(&status(answer)), "{name}: {answer}");
            let others = answer.matches("HTTP/1.1 ").count();
            assert_eq!(others, 1, "{name}: {answer}");
        }
        let (begun, whole) = (self.core.take_begun(), self.core.take());
        let targets: Vec<_> = whole.iter().map(|seen| seen.target()).collect();
        match upstream {
            Upstream::Gets(target) => {
                assert_eq!(
                    (&begun[..], &targets[..]),
                    (&[(*target).to_owned()][..], &[*target][..]),
                    "{name}"
                );
            }
            Upstream::Nothing | Upstream::NothingAndClosed => {
                assert!(begun.is_empty(), "{name} reached the upstream as {begun:?}");
            }
            Upstream::NeverWhole(target) => {
                assert!(targets.is_empty(), "{name} reached the upstream whole: {targets:?}");
                assert!(
                    begun.len() <= 1 && begun.iter().all(|one| one == target),
                    "{name}: {begun:?}"
                );
            }
        }
    }

    /// It still serves whoever asks as one should.
    async fn lives(&self) {
        let plain = b"GET /ssi/alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let (answer, _) = send(self.gateway.address, plain).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(self.core.take_begun(), ["/ssi/alive"]);
        self.core.take();
    }
}

/// Sends bytes, and keeps its own half open; what came back, and whether the other end closed.
async fn send(address: SocketAddr, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(AT_AN_END, stream.read_to_end(&mut answer)).await.is_ok();
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}
