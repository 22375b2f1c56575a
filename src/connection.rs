//! What one client connection may cost before a request is there to be judged: time for a head,
//! time without progress, resets, and how many connections one address holds.
//!
//! Pingora bounds each read by a minute and nothing by the whole, so that a head may trickle in
//! for hours (#447), and it reads the first bytes of a plain connection without any bound. Nothing
//! here reads or writes: [`Pace`] is shown the bytes that arrive and says until when it waits.

pub mod crowd;
mod frames;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{
    crowd::Place,
    frames::{Frames, Waiting},
};
use crate::certificate::PeerCertificate;

/// What all requests of a connection know of it.
pub struct Connection {
    certificate: OnceLock<Arc<PeerCertificate>>,
    serving: AtomicUsize,
    served: AtomicUsize,
    _place: Place,
}

/// A request that is being served. Until it is dropped its connection owes no head.
pub struct Serving(Arc<Connection>);

impl Connection {
    /// A connection that has its place.
    #[must_use]
    pub const fn new(place: Place) -> Self {
        Self {
            certificate: OnceLock::new(),
            serving: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            _place: place,
        }
    }

    /// Notes the certificate that its client showed in the handshake. The first one stays.
    pub fn show(&self, certificate: PeerCertificate) {
        let _ = self.certificate.set(Arc::new(certificate));
    }

    /// The certificate that its client showed.
    #[must_use]
    pub fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        self.certificate.get()
    }

    /// Notes that a request's head is whole.
    #[must_use]
    pub fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Whether any request of it is being served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0
    }

    /// How many requests of it have been served; wraps.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.served.fetch_add(1, Ordering::Relaxed);
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a client may take its time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// From the connection to its first byte, and between two bytes of what is no head.
    pub silence: Duration,
}

/// Why a connection is closed by us, outside of any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A head took longer than `limits.header_timeout`.
    SlowHead,
    /// Nothing came where something had to.
    Silent,
    /// More streams were reset than any browser does (CVE-2023-44487).
    Resets,
    /// Its address holds `limits.connections_per_client` already.
    Crowded,
    /// A TLS handshake took longer than `limits.header_timeout`.
    SlowHandshake,
    /// What it sent is no HTTP, or asks for a tunnel; answered 400 or 405.
    Malformed,
}

impl Cut {
    /// All of them, for the metric.
    pub const ALL: [Self; 6] = [
        Self::SlowHead,
        Self::Silent,
        Self::Resets,
        Self::Crowded,
        Self::SlowHandshake,
        Self::Malformed,
    ];

    /// The word in the metric and in logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Silent => "silent",
            Self::Resets => "resets",
            Self::Crowded => "crowded",
            Self::SlowHandshake => "slow_handshake",
            Self::Malformed => "malformed",
        }
    }
}

/// Whether a client keeps pace, told from the bytes that it sends.
#[derive(Debug)]
pub struct Pace {
    patience: Patience,
    phase: Phase,
    http2: Option<Frames>,
    resets: Resets,
}

/// What the client owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its first byte, since the connection was made.
    Opened(Instant),
    /// Nothing: between two requests, or while one is served.
    Idle,
    /// The rest of a head that began then.
    Head(Instant),
    /// The rest of something else, of which a part came then.
    Rest(Instant),
}

impl Pace {
    /// The pace of a connection made at `now`. HTTP/1 until told otherwise.
    #[must_use]
    pub const fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, phase: Phase::Opened(now), http2: None, resets: Resets::new(now) }
    }

    /// The client speaks HTTP/2; said before any byte is shown.
    pub const fn speaks_http2(&mut self) {
        self.http2 = Some(Frames::new());
    }

    /// Whether it is HTTP/1, where an answer can be written at any time.
    #[must_use]
    pub const fn is_http1(&self) -> bool {
        self.http2.is_none()
    }

    /// Shows bytes that came. `busy` tells that a request of this connection is being served, so
    /// that over HTTP/1 they belong to its body.
    ///
    /// # Errors
    /// [`Cut::Resets`].
    pub fn received(&mut self, bytes: &[u8], busy: bool, now: Instant) -> Result<(), Cut> {
        let Some(frames) = &mut self.http2 else {
            self.phase = match self.phase {
                _ if busy => Phase::Idle,
                Phase::Head(since) => Phase::Head(since),
                _ => Phase::Head(now),
            };
            return Ok(());
        };
        let (waiting, resets) = frames.read(bytes);
        self.phase = match (waiting, self.phase) {
            (Waiting::Nothing, _) => Phase::Idle,
            (Waiting::Head, Phase::Head(since)) => Phase::Head(since),
            (Waiting::Head, _) => Phase::Head(now),
            (Waiting::Rest, _) => Phase::Rest(now),
        };
        self.resets.add(resets, now)
    }

    /// Until when more has to come, and what it is called when it does not; `None` for no limit
    /// of ours.
    #[must_use]
    pub fn deadline(&self, busy: bool) -> Option<(Instant, Cut)> {
        match self.phase {
            Phase::Idle => None,
            // A request is served, so its head was whole.
            Phase::Opened(_) | Phase::Head(_) if busy && self.is_http1() => None,
            Phase::Opened(since) | Phase::Rest(since) => {
                Some((since + self.patience.silence, Cut::Silent))
            }
            Phase::Head(since) => Some((since + self.patience.head, Cut::SlowHead)),
        }
    }

    /// The request whose head came is served; over HTTP/1 the next byte begins another.
    pub fn served(&mut self) {
        if self.is_http1() {
            self.phase = Phase::Idle;
        }
    }
}

/// Resets in the present window.
#[derive(Debug)]
struct Resets {
    since: Instant,
    seen: u32,
}

impl Resets {
    const fn new(now: Instant) -> Self {
        Self { since: now, seen: 0 }
    }

    fn add(&mut self, seen: u32, now: Instant) -> Result<(), Cut> {
        if seen == 0 {
            return Ok(());
        }
        if now.saturating_duration_since(self.since) >= RESET_WINDOW {
            *self = Self::new(now);
        }
        self.seen = self.seen.saturating_add(seen);
        if self.seen > RESETS { Err(Cut::Resets) } else { Ok(()) }
    }
}

/// A browser that leaves a page resets the 100 streams that it may have, and may do so twice.
const RESETS: u32 = 250;
const RESET_WINDOW: Duration = Duration::from_secs(10);
