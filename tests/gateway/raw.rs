//! Raw requests over sockets: whatever the bytes are, they lead to one request upstream or to
//! none, and it is the one that was decided on.
//!
//! Every row is sent twice, each time on a connection of its own: alone, and with another request
//! behind it in the same packet. That other request must never be served.

mod bodies;
mod bytes;
mod frames;
mod framing;
mod headers;
mod heads;
mod http2;
mod lines;
mod order;
mod pingora;
mod pipelines;
mod tokens;

use std::{borrow::Cow, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Gateway, Issuer, Recorder, Settings, recorder::Received, status};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    /// The upstream gets this request target, once.
    Gets(&'static str),
    /// It gets this request target, once, and the client's connection is at its end.
    GetsAndCloses(&'static str),
    /// It gets nothing.
    Nothing,
    /// It gets nothing, and the client's connection is at its end.
    NothingAndClosed,
    /// It may get a head of [`CUT`], never an end; and the client's connection is at its end.
    NeverWhole,
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

/// The target of requests whose body has no end.
const CUT: &str = "/ssi/cut";

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
        let mut faults = Vec::new();
        for row in rows {
            let Row { name, bytes, .. } = row;
            let mut check = |(answer, closed): (String, bool)| {
                let fault =
                    if closed { self.fault(row, &answer) } else { Some("stays open".into()) };
                faults.extend(fault.map(|fault| format!("{name}: {fault}: {answer}\n")));
            };
            if !matches!(row.upstream, Upstream::Gets(_) | Upstream::Nothing) {
                // Nothing of the client's asks for the end.
                check(send(self.gateway.address, bytes).await);
            }
            // More bytes than a request has end the connection in any case.
            check(send(self.gateway.address, &[bytes, SMUGGLED].concat()).await);
        }
        assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.concat());
        assert!(self.core.garbage().is_empty(), "{:?}", self.core.garbage());
        self.lives().await;
    }

    /// What is wrong with an answer, or with what became of the request.
    fn fault(&self, row: &Row, answer: &str) -> Option<String> {
        let (begun, whole) = (self.begun(), self.core.take());
        let targets: Vec<_> = whole.iter().map(Received::target).collect();
        let is_right = match row.upstream {
            Upstream::Gets(target) | Upstream::GetsAndCloses(target) => {
                begun == [target] && targets == [target]
            }
            Upstream::Nothing | Upstream::NothingAndClosed => begun.is_empty(),
            Upstream::NeverWhole => begun.is_empty() && targets.is_empty(),
        };
        if !is_right {
            return Some(format!("{begun:?} begun and {targets:?} whole upstream"));
        }
        let answer = answer.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        if answer.matches("HTTP/1.1 ").count() != 1 {
            return Some("not one answer".to_owned());
        }
        (!row.statuses.contains(&status(answer))).then(|| "another status".to_owned())
    }

    /// The targets of requests that began, but for those that are known to be cut short: they
    /// may reach the upstream after the client has its answer.
    fn begun(&self) -> Vec<String> {
        self.core.take_begun().into_iter().filter(|target| target != CUT).collect()
    }

    /// It still serves whoever asks as one should.
    async fn lives(&self) {
        let plain = b"GET /ssi/alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let (answer, _) = send(self.gateway.address, plain).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(self.begun(), ["/ssi/alive"]);
        let whole = self.core.take();
        assert!(whole.iter().map(Received::target).eq(["/ssi/alive"]), "{whole:?}");
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
