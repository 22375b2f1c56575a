//! One client on one kept connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Sends one request again and again.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, request: String) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, request: request.into_bytes(), buffer: vec![0; 16 * 1024] }
    }

    /// Asks so many times, one after the other; each has to be answered with 200.
    pub(crate) fn ask(&mut self, times: usize) {
        for _ in 0..times {
            let answer = self.once();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }

    /// The whole answer to one request.
    pub(crate) fn once(&mut self) -> &str {
        self.stream.write_all(&self.request).unwrap();
        let mut read = 0;
        loop {
            let more = self.stream.read(self.buffer.get_mut(read..).unwrap()).unwrap();
            assert!(more > 0, "closed within an answer");
            read += more;
            let text = std::str::from_utf8(self.buffer.get(..read).unwrap()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= length(head)
            {
                return std::str::from_utf8(self.buffer.get(..read).unwrap()).unwrap();
            }
        }
    }
}

/// What a head says that its body has.
pub(crate) fn length(head: &str) -> usize {
    header(head, "content-length").map_or(0, |value| value.parse().unwrap())
}

/// The first value of a header.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
