//! Random numbers for ids, and for who is sampled: one draw a request, without a system call.

use aws_lc_rs::rand;

use crate::trace_context::{SpanId, TraceId};

/// One draw.
pub(super) struct Drawn {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Decides who is sampled; no part of an id, which a caller may choose.
    pub(super) chance: u64,
}

impl Drawn {
    pub(super) fn new() -> Self {
        let bytes: [u8; 32] = random();
        let (trace, rest) = halves(bytes);
        let (span, chance) = halves(rest);
        Self {
            trace: TraceId::new(trace),
            span: SpanId::new(span),
            chance: u64::from_be_bytes(chance),
        }
    }
}

/// An id for one more span.
pub(super) fn span() -> SpanId {
    SpanId::new(random())
}

/// Ids are no secret: where no random number is to be had, two of them may be the same.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = rand::fill(&mut bytes);
    bytes
}

fn halves<const N: usize, const H: usize>(bytes: [u8; N]) -> ([u8; H], [u8; H]) {
    let (mut first, mut second) = ([0; H], [0; H]);
    first.iter_mut().chain(&mut second).zip(bytes).for_each(|(to, from)| *to = from);
    (first, second)
}
