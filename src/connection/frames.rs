//! The outline of HTTP/2 (RFC 9113, section 4.1): where frames begin and end, nothing of what is in
//! them.

/// Reads along.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to come of the preface, or of the present frame's payload.
    left: usize,
    /// The present frame's header, as far as it came.
    header: [u8; HEADER],
    header_len: usize,
    /// Whether a header block was begun and its last frame is not through.
    in_block: bool,
    /// Whether `left` counts what belongs to a head: the preface, or a header block's frame.
    of_head: bool,
}

/// What a client has begun and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: it stands between two frames.
    Nothing,
    /// The preface or a header block.
    Head,
    /// Some other frame.
    Rest,
}

const PREFACE: usize = 24;
const HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

impl Frames {
    pub(super) const fn new() -> Self {
        Self { left: PREFACE, header: [0; HEADER], header_len: 0, in_block: false, of_head: true }
    }

    /// What is unfinished after these bytes, and how many streams they reset.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> (Waiting, u32) {
        let mut resets = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let Some((&byte, rest)) = bytes.split_first() else { break };
            if let Some(slot) = self.header.get_mut(self.header_len) {
                *slot = byte;
            }
            self.header_len += 1;
            bytes = rest;
            if self.header_len == HEADER {
                self.header_len = 0;
                resets += u32::from(self.begin());
            }
        }
        (self.waiting(), resets)
    }

    /// A frame's header is whole. Whether it resets a stream.
    const fn begin(&mut self) -> bool {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.of_head = matches!(kind, HEADERS | CONTINUATION);
        if self.of_head {
            self.in_block = flags & END_HEADERS == 0;
        }
        kind == RST_STREAM
    }

    const fn waiting(&self) -> Waiting {
        if self.in_block || (self.left > 0 && self.of_head) {
            Waiting::Head
        } else if self.left > 0 || self.header_len > 0 {
            Waiting::Rest
        } else {
            Waiting::Nothing
        }
    }
}
