//! W3C Trace Context: which trace a request is part of, and what the next server hears of it.
//!
//! Pure: it reads header lines and draws no random number; ids are made of bytes that are given.
//! A `traceparent` that is not well-formed, or stands there twice, is as good as none, and a
//! `tracestate` counts only beside a good `traceparent` (section 3.3). Every part is bounded.

use std::fmt;

use http::{HeaderMap, HeaderValue};

/// The header that names trace and parent.
pub const TRACEPARENT: &str = "traceparent";
/// The header with what tracing systems tell each other beside it.
pub const TRACESTATE: &str = "tracestate";

/// A trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The whole trace.
    pub trace: TraceId,
    /// Whoever sends the header.
    pub span: SpanId,
    /// [`Self::SAMPLED`] and [`Self::RANDOM`]; no other flag has a meaning.
    pub flags: u8,
}

impl TraceId {
    /// An id of random bytes.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(if u128::from_be_bytes(random) == 0 { 1_u128.to_be_bytes() } else { random })
    }

    /// Its bytes, as OTLP has them.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// An id of random bytes.
    #[must_use]
    pub const fn new(random: [u8; 8]) -> Self {
        Self(if u64::from_be_bytes(random) == 0 { 1_u64.to_be_bytes() } else { random })
    }

    /// Its bytes, as OTLP has them.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl TraceParent {
    /// The caller may have recorded its part of the trace.
    pub const SAMPLED: u8 = 1;
    /// The trace's id is random (Trace Context Level 2).
    pub const RANDOM: u8 = 2;

    /// The request's, when there is one good one. What a later version adds is left out.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next()?.as_bytes();
        if lines.next().is_some() {
            return None;
        }
        Self::parse(line)
    }

    /// Section 3.2: `version-trace-parent-flags` in lower-case hex. A later version may be longer.
    fn parse(line: &[u8]) -> Option<Self> {
        let (&head, rest) = line.split_first_chunk::<LENGTH>()?;
        let [version] = hex(head.get(..2)?)?;
        match version {
            0 if rest.is_empty() => {}
            0 | 0xff => return None,
            _ if rest.is_empty() || rest.starts_with(b"-") => {}
            _ => return None,
        }
        if [2, 35, 52].into_iter().any(|at| head.get(at) != Some(&b'-')) {
            return None;
        }
        let trace = TraceId(hex(head.get(3..35)?)?);
        let span = SpanId(hex(head.get(36..52)?)?);
        let [flags] = hex(head.get(53..)?)?;
        let known = if version == 0 { Self::SAMPLED | Self::RANDOM } else { Self::SAMPLED };
        let is_one = trace.0 != [0; 16] && span.0 != [0; 8];
        is_one.then_some(Self { trace, span, flags: flags & known })
    }

    /// Whether the sender may have recorded it.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The header of version 00, the only one that there is.
    #[must_use]
    pub fn header(self) -> Option<HeaderValue> {
        let mut line = [b'-'; LENGTH];
        let parts = [(0, &[0][..]), (3, &self.trace.0), (36, &self.span.0), (53, &[self.flags])];
        for (at, bytes) in parts {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            for (place, digit) in line.get_mut(at..)?.iter_mut().zip(digits) {
                *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            }
        }
        HeaderValue::from_bytes(&line).ok()
    }
}

/// The request's `tracestate`, for whoever takes its `traceparent` over: in one line, whole where
/// it fits into 512 characters, and nothing of it where a part is malformed (section 3.3).
#[must_use]
pub fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let first = lines.next()?;
    let more: Vec<_> = lines.collect();
    if more.is_empty() && first.len() <= LONGEST_STATE {
        return members(first.as_bytes()).is_some().then(|| first.clone());
    }
    let size: usize = first.len() + more.iter().map(|line| line.len() + 1).sum::<usize>();
    if size > LONGEST_READ {
        return None;
    }
    let lines: Vec<&[u8]> = std::iter::once(first).chain(more).map(HeaderValue::as_bytes).collect();
    let joined = lines.join(&b","[..]);
    let mut kept = members(&joined)?;
    let length = |kept: &[&[u8]]| kept.iter().map(|each| each.len() + 1).sum::<usize>();
    // The long ones go first, then those that have been there longest.
    if length(&kept) > LONGEST_STATE + 1 {
        kept.retain(|each| each.len() <= LONG_MEMBER);
    }
    while length(&kept) > LONGEST_STATE + 1 {
        kept.pop();
    }
    (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b","[..])).ok())?
}

/// The members of a list without its empty ones; `None` when one is malformed, stands there twice
/// or is one too many.
fn members(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut members: Vec<&[u8]> = Vec::new();
    let key = |member: &[u8]| member.iter().position(|&byte| byte == b'=');
    for member in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let (name, value) = member.split_at_checked(key(member)?)?;
        if !is_key(name) || !is_value(value.get(1..)?) || members.len() == MOST_MEMBERS {
            return None;
        }
        if members.iter().any(|known| known.get(..name.len() + 1) == member.get(..name.len() + 1)) {
            return None;
        }
        members.push(member);
    }
    (!members.is_empty()).then_some(members)
}

/// Section 3.3.1.3.1.
fn is_key(name: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.first().is_some_and(letter)
        && name.len() <= LONGEST_KEY
        && name.iter().all(|byte| letter(byte) || b"_-*/@".contains(byte))
}

/// Section 3.3.1.3.2; blanks around it are gone already.
fn is_value(value: &[u8]) -> bool {
    let plain = |&byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(&byte);
    (1..=LONGEST_VALUE).contains(&value.len()) && value.iter().all(plain)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Lower-case hex.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// Of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// What has to be handed on of a `tracestate` at least, and is at most (section 3.3.1.5).
const LONGEST_STATE: usize = 512;
/// Of all its lines; a longer one is not looked at.
const LONGEST_READ: usize = 8 * 1024;
/// A member that is let go of first.
const LONG_MEMBER: usize = 128;
const MOST_MEMBERS: usize = 32;
const LONGEST_KEY: usize = 256;
const LONGEST_VALUE: usize = 256;

#[cfg(test)]
mod tests;
