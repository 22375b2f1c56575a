//! An upstream that writes down every byte of every request and answers each with 200.
//!
//! Raw on purpose: an HTTP library would hide how a request was framed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What came, request by request.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    seen: Vec<Received>,
    begun: Vec<String>,
    connections: usize,
    garbage: Vec<String>,
}

/// One request as it stood on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// Every value of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// Every header name, in lower case.
    pub(crate) fn names(&self) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

impl Recorder {
    /// Starts one that answers `200` and these further header lines.
    pub(crate) async fn start(lines: &'static str) -> Self {
        let (listener, address) = super::listener().await;
        let log = Arc::<Mutex<Log>>::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&kept), lines));
            }
        });
        Self { address, log }
    }

    /// Everything so far.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.log.lock().unwrap().seen.clone()
    }

    /// Everything so far, which is then forgotten.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.log.lock().unwrap().seen)
    }

    /// The targets of requests that began, whether or not they came to an end; then forgotten.
    pub(crate) fn take_begun(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap().begun)
    }

    /// How often anybody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// Bytes that were no request as a server would want it.
    pub(crate) fn garbage(&self) -> Vec<String> {
        self.log.lock().unwrap().garbage.clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>, lines: &'static str) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = until(&mut stream, &mut buffer, b"\r\n\r\n").await else { return };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let line: Vec<_> = head.lines().next().unwrap_or_default().split(' ').collect();
        let [_, target, "HTTP/1.1"] = line[..] else {
            log.lock().unwrap().garbage.push(head);
            return;
        };
        log.lock().unwrap().begun.push(target.to_owned());
        let request = Received { head, body: Vec::new() };
        let mut body = Vec::new();
        if request.header("transfer-encoding") == ["chunked"] {
            loop {
                let Some(end) = until(&mut stream, &mut buffer, b"\r\n").await else { return };
                let size = String::from_utf8_lossy(&buffer[..end - 2]).into_owned();
                let Ok(size) = usize::from_str_radix(&size, 16) else {
                    log.lock().unwrap().garbage.push(size);
                    return;
                };
                buffer.drain(..end);
                if !fill(&mut stream, &mut buffer, size + 2).await {
                    return;
                }
                body.extend(buffer.drain(..size));
                buffer.drain(..2);
                if size == 0 {
                    break;
                }
            }
        } else if let [length] = request.header("content-length")[..] {
            let length = length.parse().unwrap();
            if !fill(&mut stream, &mut buffer, length).await {
                return;
            }
            body.extend(buffer.drain(..length));
        }
        log.lock().unwrap().seen.push(Received { body, ..request });
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            return Some(at + mark.len());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> bool {
    while buffer.len() < length {
        if !stream.read_buf(buffer).await.is_ok_and(|read| read > 0) {
            return false;
        }
    }
    true
}
