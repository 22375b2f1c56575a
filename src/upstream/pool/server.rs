//! What is known of one server: every number of it an atomic, so that requests on all threads read
//! and write it without waiting for each other.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Ejection, Moment, Thresholds, hash};

/// One server. It is the same one for as long as its address is in use, across reloads.
pub struct Server {
    address: SocketAddr,
    /// Tells servers apart where keys are spread over them; the same in every replica.
    pub(super) salt: u64,
    in_flight: AtomicU32,
    /// [`Health`], packed.
    health: AtomicU32,
    /// Failures since the last answer.
    failures: AtomicU32,
    /// It cannot be connected to. Ends when somebody can, and not by time.
    unreachable: AtomicBool,
    /// Zero: it never was.
    ejected_until: AtomicU64,
    /// How often lately.
    ejections: AtomicU32,
    /// When it began to get requests; zero: with the pool.
    since: AtomicU64,
}

impl Server {
    /// `since` when it joins others that are at work.
    pub(super) fn new(address: SocketAddr, since: Option<Moment>) -> Self {
        Self {
            address,
            salt: hash(address.to_string().as_bytes()),
            in_flight: AtomicU32::new(0),
            health: AtomicU32::new(Health::UNKNOWN.packed()),
            failures: AtomicU32::new(0),
            unreachable: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            since: AtomicU64::new(since.map_or(0, |since| since.0)),
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that it has now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether health checks find it well; it is until one has failed.
    #[must_use]
    pub fn is_up(&self) -> bool {
        Health::of(self.health.load(Relaxed)).up
    }

    /// Whether it could not be connected to the last few times.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.unreachable.load(Relaxed)
    }

    /// Whether it is left out for having failed requests.
    #[must_use]
    pub fn is_ejected(&self, now: Moment) -> bool {
        now.0 < self.ejected_until.load(Relaxed)
    }

    /// When its ejection ends, where it is ejected.
    #[must_use]
    pub(super) fn ejected_for(&self, now: Moment) -> Option<Duration> {
        let left = self.ejected_until.load(Relaxed).checked_sub(now.0)?;
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Whether requests may go to it.
    #[must_use]
    pub fn is_usable(&self, now: Moment) -> bool {
        self.is_up() && !self.is_unreachable() && !self.is_ejected(now)
    }

    /// Its share of a full one's requests, in thousandths: from a tenth up to all within
    /// `slow_start` of its coming.
    pub(super) fn share(&self, now: Moment, slow_start: Duration) -> u32 {
        let since = self.since.load(Relaxed).max(self.ejected_until.load(Relaxed));
        if since == 0 || slow_start.is_zero() {
            return FULL;
        }
        let elapsed = u128::from(now.0.saturating_sub(since));
        let share = elapsed * u128::from(FULL) / slow_start.as_millis().max(1);
        u32::try_from(share).unwrap_or(FULL).clamp(LEAST, FULL)
    }

    /// A health check is over. Tells when that changed what is thought of the server.
    pub(super) fn checked(&self, passed: bool, of: Thresholds, now: Moment) -> Option<bool> {
        let next = |packed| Some(Health::of(packed).after(passed, of).packed());
        let before = self.health.fetch_update(Relaxed, Relaxed, next).unwrap_or_else(|same| same);
        let (before, after) = (Health::of(before), Health::of(before).after(passed, of));
        if passed {
            self.reached(now);
        }
        if before.up == after.up {
            return None;
        }
        if after.up {
            self.failures.store(0, Relaxed);
            self.since.store(now.0, Relaxed);
        }
        Some(after.up)
    }

    /// Nobody checks its health any more.
    pub(super) fn unchecked(&self) {
        self.health.store(Health::UNKNOWN.packed(), Relaxed);
    }

    /// It answered a request.
    pub(super) fn served(&self, now: Moment) {
        // Mostly there is nothing to write, and other threads keep their copy of the line.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        self.reached(now);
    }

    /// It failed a request; whether that makes `bound` of them in a row.
    pub(super) fn failed(&self, bound: u32) -> bool {
        let add = |failures: u32| Some(failures.saturating_add(1));
        let before = self.failures.fetch_update(Relaxed, Relaxed, add).unwrap_or(u32::MAX);
        before.saturating_add(1) >= bound
    }

    /// Leaves it out, longer each time; a time without ejection as long as `time` makes up for one.
    pub(super) fn eject(&self, by: &Ejection, now: Moment) -> Duration {
        let quiet = u128::from(now.0.saturating_sub(self.ejected_until.load(Relaxed)));
        let forgiven = u32::try_from(quiet / by.time.as_millis().max(1)).unwrap_or(u32::MAX);
        let count = self.ejections.load(Relaxed).saturating_sub(forgiven).saturating_add(1);
        let length = by.time.saturating_mul(count).min(by.max_time);
        self.ejections.store(count, Relaxed);
        self.ejected_until.store((now + length).0, Relaxed);
        self.failures.store(0, Relaxed);
        length
    }

    /// It cannot be connected to; whether that is news.
    pub(super) fn lost(&self) -> bool {
        self.failures.store(0, Relaxed);
        !self.unreachable.swap(true, Relaxed)
    }

    /// It can be connected to; whether that is news.
    pub fn reached(&self, now: Moment) -> bool {
        if !self.unreachable.load(Relaxed) || !self.unreachable.swap(false, Relaxed) {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.since.store(now.0, Relaxed);
        true
    }
}

/// What health checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Health {
    up: bool,
    /// Whether there was a check at all.
    known: bool,
    /// Checks in a row that say the opposite.
    against: u16,
}

impl Health {
    const UNKNOWN: Self = Self { up: true, known: false, against: 0 };
    const UP: u32 = 1 << 17;
    const KNOWN: u32 = 1 << 16;

    const fn of(packed: u32) -> Self {
        let [.., high, low] = packed.to_be_bytes();
        Self {
            up: packed & Self::UP != 0,
            known: packed & Self::KNOWN != 0,
            against: u16::from_be_bytes([high, low]),
        }
    }

    const fn packed(self) -> u32 {
        let [high, low] = self.against.to_be_bytes();
        let flags = if self.up { Self::UP } else { 0 } | if self.known { Self::KNOWN } else { 0 };
        flags | u32::from_be_bytes([0, 0, high, low])
    }

    /// The first check decides by itself: a gateway that starts beside a dead server asks nobody
    /// to wait for it.
    fn after(self, passed: bool, of: Thresholds) -> Self {
        if self.up == passed {
            return Self { known: true, against: 0, ..self };
        }
        let bound = if passed { of.healthy } else { of.unhealthy };
        let against = self.against.saturating_add(1);
        if !self.known || u32::from(against) >= bound {
            return Self { up: passed, known: true, against: 0 };
        }
        Self { known: true, against, ..self }
    }
}

/// A request at a server: the server counts it until this is dropped, whichever way that comes.
pub struct InFlight(Arc<Server>);

impl InFlight {
    /// `None` when the server has `most` already.
    pub(super) fn begin(server: &Arc<Server>, most: Option<u32>) -> Option<Self> {
        match most {
            None => _ = server.in_flight.fetch_add(1, Relaxed),
            Some(most) => {
                let add = |count: u32| (count < most).then(|| count + 1);
                server.in_flight.fetch_update(Relaxed, Relaxed, add).ok()?;
            }
        }
        Some(Self(Arc::clone(server)))
    }

    /// Which server.
    #[must_use]
    pub const fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The whole share.
pub(super) const FULL: u32 = 1000;
/// The share of a server that has just come. Less would tell too little of how it does.
const LEAST: u32 = 100;
