//! HTTP/2 written by hand: frames, and header blocks without compression (RFC 9113, RFC 7541).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header block: every field literal, not indexed, not compressed.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of seven bits.
            match text.len() {
                short @ 0..127 => block.push(u8::try_from(short).unwrap()),
                long => {
                    block.push(127);
                    let mut rest = long - 127;
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A whole request without a body.
pub(super) fn get(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Status of each answer, by stream.
    pub(super) statuses: Vec<(u32, u16)>,
    /// Streams whose answer came to its end.
    pub(super) ended: Vec<u32>,
    /// Streams that were reset, and the error code.
    pub(super) reset: Vec<(u32, u32)>,
    /// The error code of the connection's end.
    pub(super) goaway: Option<u32>,
    /// Content of the answers.
    pub(super) content: Vec<u8>,
    /// Whether the other end closed.
    pub(super) closed: bool,
}

impl Heard {
    pub(super) fn status(&self, stream: u32) -> Option<u16> {
        self.statuses.iter().find(|(one, _)| *one == stream).map(|(_, status)| *status)
    }

    pub(super) fn is_reset(&self, stream: u32) -> bool {
        self.reset.iter().any(|(one, _)| *one == stream)
    }
}

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    pub(super) heard: Heard,
}

impl Connection {
    /// Connects, and says what HTTP/2 begins with.
    pub(super) async fn open(address: SocketAddr) -> Self {
        let mut connection = Self::silent(address).await;
        connection.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        connection
    }

    /// Connects and says nothing.
    pub(super) async fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, buffer: Vec::new(), heard: Heard::default() }
    }

    /// Writes; the other end may have closed already.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads until `enough` says so, the other end closes, or time is up; whether it was enough.
    pub(super) async fn until(&mut self, enough: impl Fn(&Heard) -> bool) -> bool {
        let reading = async {
            loop {
                while let Some(frame) = self.next() {
                    self.take(&frame).await;
                }
                if enough(&self.heard) || self.heard.closed {
                    return;
                }
                let read = self.stream.read_buf(&mut self.buffer).await;
                self.heard.closed = !read.is_ok_and(|read| read > 0);
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(4), reading).await;
        enough(&self.heard)
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let head = self.buffer.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        (self.buffer.len() >= 9 + length).then(|| self.buffer.drain(..9 + length).collect())
    }

    async fn take(&mut self, bytes: &[u8]) {
        let (kind, flags) = (bytes[3], bytes[4]);
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (stream, payload) = (word(5), &bytes[9..]);
        match kind {
            HEADERS => self.heard.statuses.push((stream, first_status(payload))),
            DATA => self.heard.content.extend(payload),
            RST_STREAM => self.heard.reset.push((stream, word(9))),
            GOAWAY => self.heard.goaway = Some(word(13)),
            SETTINGS if flags & 1 == 0 => self.send(&frame(SETTINGS, 1, 0, &[])).await,
            PING if flags & 1 == 0 => self.send(&frame(PING, 1, 0, payload)).await,
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.heard.ended.push(stream);
        }
    }
}

/// `:status` of a header block: the first field, an entry of the static table or a literal with
/// a name of it, three digits, compressed or not. On a connection's later answers it may be an
/// entry of the dynamic table, which is 0 here.
fn first_status(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let start = block.iter().position(|byte| byte >> 5 != 1).unwrap_or(0);
    let block = &block[start..];
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x08 | 0x48 | 0x18 => {
            let length = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + length];
            if block[1] & 0x80 == 0 {
                return std::str::from_utf8(text).unwrap().parse().unwrap();
            }
            let bits = text.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            let mut left = length * 8;
            let mut status = 0;
            for _ in 0..3 {
                // RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 have six.
                let five = u16::try_from(bits >> (left - 5) & 0x1f).unwrap();
                let (digit, width) = if five < 3 {
                    (five, 5)
                } else {
                    (u16::try_from(bits >> (left - 6) & 0x3f).unwrap() - 0b01_1001 + 3, 6)
                };
                status = status * 10 + digit;
                left -= width;
            }
            status
        }
        _ => 0,
    }
}
