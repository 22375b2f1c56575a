//! Which server of an upstream gets a request.
//!
//! Pure and lock-free: no clock (`now` is an argument), no network, and no allocation to choose.
//! Health checks, look-ups of names and requests tell what they met; the next choice goes by it.
//! A server gets requests while it is
//! - up: its health checks pass, where there are any;
//! - reachable: one that could not be connected to a few times in a row is left out until somebody
//!   can again, which is tried in the background and not with a client's request;
//! - not ejected: one that fails requests in a row is left out for a while, longer each time, and
//!   never so many at once that nobody is left.

mod budget;
mod server;

use std::{
    net::SocketAddr,
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

pub use self::{
    budget::{Budget, Ledger},
    server::{InFlight, Server},
};

/// Milliseconds since the process's first pool, and one, so that zero is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// `now`, where the count began at `start`.
    #[must_use]
    pub fn at(now: Instant, start: Instant) -> Self {
        let elapsed = now.saturating_duration_since(start).as_millis();
        Self(u64::try_from(elapsed).unwrap_or(u64::MAX - 1).saturating_add(1))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(length))
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// The one with the fewest requests in flight; of many servers, the better of two.
    LeastRequests,
    /// By the request's key: rendezvous hashing, so that a server that goes moves only its own
    /// keys, and takes them back when it returns.
    Hash,
}

/// When a server that fails requests is left out.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// Failures in a row.
    pub failures: u32,
    /// For how long at first; twice that the second time, and so on.
    pub time: Duration,
    /// At most.
    pub max_time: Duration,
    /// Servers left out at once, in hundredths of all. Those that cannot be connected to count,
    /// and are left out even beyond it.
    pub max_percent: u32,
}

/// Health checks in a row that change what is thought of a server; the first one does by itself.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Good ones.
    pub healthy: u32,
    /// Bad ones.
    pub unhealthy: u32,
}

/// What a pool goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How a server is chosen.
    pub balance: Balance,
    /// Of health checks, where there are any.
    pub health: Option<Thresholds>,
    /// `None`: no server is left out for what requests met.
    pub ejection: Option<Ejection>,
    /// How long a server that comes takes to get its whole share.
    pub slow_start: Duration,
    /// Requests in flight to one server.
    pub per_server: Option<u32>,
    /// Of further tries; `None`: no bound but each request's own.
    pub budget: Option<Budget>,
}

/// In turn, and no rule more.
impl Default for Rules {
    fn default() -> Self {
        Self {
            balance: Balance::RoundRobin,
            health: None,
            ejection: None,
            slow_start: Duration::ZERO,
            per_server: None,
            budget: None,
        }
    }
}

/// What a request met at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// It broke off before it answered.
    Broken,
    /// It answered 502, 503 or 504.
    Status,
}

/// What came of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The server is left out until it can be connected to.
    Unreachable,
    /// The server is left out for as long.
    Ejected(Duration),
}

/// Why no server can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No name has resolved.
    Unknown,
    /// No server is well. The time, where one is left out only for that long.
    Unwell(Option<Duration>),
    /// Every server has as many requests as it may.
    Full,
}

/// Servers that a request has been to.
#[derive(Default)]
pub struct Tried(Vec<(Arc<Server>, bool)>);

impl Tried {
    /// Adds one. `again`: it may be chosen once more when there is no other.
    pub fn add(&mut self, server: &Arc<Server>, again: bool) {
        self.0.push((Arc::clone(server), again));
    }

    fn holds(&self, server: &Arc<Server>, last_resort: bool) -> bool {
        self.0.iter().any(|(tried, again)| Arc::ptr_eq(tried, server) && !(last_resort && *again))
    }
}

/// The servers of one upstream.
pub struct Pool {
    rules: Rules,
    servers: ArcSwap<Vec<Arc<Server>>>,
    ledger: Arc<Ledger>,
    /// One ejection at a time, so that two together do not go beyond the share.
    ejecting: AtomicBool,
}

impl Pool {
    /// An empty pool. What the one before counts of further tries goes on, and its servers are
    /// known by the time [`Pool::set`] names them again.
    #[must_use]
    pub fn new(rules: Rules, before: Option<&Self>) -> Self {
        let servers = before.map(|before| before.servers.load_full()).unwrap_or_default();
        if rules.health.is_none() {
            servers.iter().for_each(|server| server.unchecked());
        }
        let ledger = before.map_or_else(Arc::default, |before| Arc::clone(&before.ledger));
        Self { rules, servers: ArcSwap::new(servers), ledger, ejecting: AtomicBool::new(false) }
    }

    /// What it goes by.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// These are the servers from now on, [`MOST_SERVERS`] of them at most. One that was there
    /// before is the same one.
    pub fn set(&self, addresses: impl IntoIterator<Item = SocketAddr>, now: Moment) {
        let known = self.servers.load();
        let since = (!known.is_empty()).then_some(now);
        let server = |address| {
            let known = known.iter().find(|server| server.address() == address);
            known.map_or_else(|| Arc::new(Server::new(address, since)), Arc::clone)
        };
        let servers = addresses.into_iter().take(MOST_SERVERS).map(server).collect();
        self.servers.store(Arc::new(servers));
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// Whether any server can get requests.
    #[must_use]
    pub fn is_usable(&self, now: Moment) -> bool {
        self.servers.load().iter().any(|server| server.is_usable(now))
    }

    /// Chooses a server for a request with this key, other than those that it has been to, and
    /// counts the request there.
    ///
    /// # Errors
    /// When no server can be had.
    pub fn choose(
        &self,
        now: Moment,
        key: Option<u64>,
        tried: &Tried,
    ) -> Result<InFlight, Unavailable> {
        let servers = self.servers.load();
        // A further try takes nobody's turn; else each request after it would meet the same server.
        let first = tried.0.is_empty();
        let turn = if first { self.ledger.turn(now) } else { self.ledger.last() };
        let begin = |mut from: Candidates| {
            while let Some(at) = self.pick(&servers, &from, turn, key, now) {
                let chosen =
                    servers.get(at).and_then(|it| InFlight::begin(it, self.rules.per_server));
                if chosen.is_some() {
                    return chosen;
                }
                from.remove(at);
            }
            None
        };
        let usable = |last_resort| {
            Candidates::of(&servers, |it| it.is_usable(now) && !tried.holds(it, last_resort))
        };
        let chosen = begin(usable(false));
        let chosen = chosen.or_else(|| (!first).then(|| begin(usable(true)))?);
        chosen.ok_or_else(|| self.unavailable(&servers, now))
    }

    /// Whether [`Pool::choose`] would find one, as things are.
    #[must_use]
    pub fn has_another(&self, now: Moment, tried: &Tried) -> bool {
        let free =
            |server: &Server| self.rules.per_server.is_none_or(|most| server.in_flight() < most);
        let servers = self.servers.load();
        servers.iter().any(|it| it.is_usable(now) && !tried.holds(it, true) && free(it))
    }

    /// Takes one further try out of the budget.
    #[must_use]
    pub fn may_retry(&self, now: Moment) -> bool {
        self.ledger.retry(self.rules.budget, now)
    }

    /// A server answered.
    pub fn served(server: &Server, now: Moment) {
        server.served(now);
    }

    /// A server failed a request.
    pub fn failed(&self, server: &Server, failure: Failure, now: Moment) -> Option<Consequence> {
        let ejection = self.rules.ejection.as_ref()?;
        if !server.failed(ejection.failures) {
            return None;
        }
        if failure == Failure::Connect {
            return server.lost().then_some(Consequence::Unreachable);
        }
        if self.ejecting.swap(true, Relaxed) {
            // Its next failure is another occasion.
            return None;
        }
        let length = self.may_eject(server, ejection, now).then(|| server.eject(ejection, now));
        self.ejecting.store(false, Relaxed);
        length.map(Consequence::Ejected)
    }

    /// A health check of the server at this address is over. Tells when the server is thought of
    /// otherwise from now on.
    pub fn checked(&self, address: SocketAddr, passed: bool, now: Moment) -> Option<bool> {
        let thresholds = self.rules.health?;
        let servers = self.servers.load();
        let server = servers.iter().find(|server| server.address() == address)?;
        server.checked(passed, thresholds, now)
    }

    fn may_eject(&self, server: &Server, ejection: &Ejection, now: Moment) -> bool {
        let servers = self.servers.load();
        let is_out = |it: &Server| it.is_ejected(now) || it.is_unreachable();
        let out = servers.iter().filter(|it| is_out(it)).count() + 1;
        let within = out * 100 <= servers.len() * ejection.max_percent as usize;
        let others = servers.iter().filter(|it| it.address() != server.address());
        !is_out(server) && within && others.into_iter().any(|it| it.is_usable(now))
    }

    fn unavailable(&self, servers: &[Arc<Server>], now: Moment) -> Unavailable {
        if servers.is_empty() {
            return Unavailable::Unknown;
        }
        let full = |it: &Server| self.rules.per_server.is_some_and(|most| it.in_flight() >= most);
        if servers.iter().any(|it| it.is_usable(now) && full(it)) {
            return Unavailable::Full;
        }
        let waiting = servers.iter().filter(|it| it.is_up() && !it.is_unreachable());
        Unavailable::Unwell(waiting.filter_map(|it| it.ejected_for(now)).min())
    }

    /// One of the candidates.
    fn pick(
        &self,
        servers: &[Arc<Server>],
        from: &Candidates,
        turn: u64,
        key: Option<u64>,
        now: Moment,
    ) -> Option<usize> {
        let share = |at: usize| {
            servers.get(at).map_or(0, |server| server.share(now, self.rules.slow_start))
        };
        match (self.rules.balance, key) {
            (Balance::Hash, Some(key)) => rendezvous(servers, from, key, share),
            (Balance::LeastRequests, _) => least(servers, from, turn, share),
            (Balance::RoundRobin, _) | (Balance::Hash, None) => in_turn(from, turn, share),
        }
    }
}

/// In turn; one that has just come lets some of its turns pass on to the next.
fn in_turn(from: &Candidates, turn: u64, share: impl Fn(usize) -> u32) -> Option<usize> {
    let count = from.len();
    let first = from.nth(within(turn, count))?;
    for step in 0..count {
        let at = from.nth(within(turn.wrapping_add(step as u64), count))?;
        let share = share(at);
        if share >= server::FULL || drawn(turn ^ ((step as u64) << 48)) < share {
            return Some(at);
        }
    }
    Some(first)
}

/// The one with the least to do for its share; equal ones in turn.
fn least(
    servers: &[Arc<Server>],
    from: &Candidates,
    turn: u64,
    share: impl Fn(usize) -> u32,
) -> Option<usize> {
    let count = from.len();
    let load = |at: usize| {
        let in_flight = servers.get(at).map_or(0, |server| server.in_flight());
        (u64::from(in_flight) + 1) * u64::from(server::FULL) / u64::from(share(at).max(1))
    };
    if count > LOOKED_AT {
        let (one, other) = (mix(turn), mix(!turn));
        let (one, other) = (within(one, count), within(other, count - 1));
        let other = if other >= one { other + 1 } else { other };
        let (one, other) = (from.nth(one)?, from.nth(other)?);
        return Some(if load(other) < load(one) { other } else { one });
    }
    let rotated =
        (0..count).filter_map(|step| from.nth(within(turn.wrapping_add(step as u64), count)));
    rotated.min_by_key(|at| load(*at))
}

/// The one that scores highest with this key. One that has just come takes its keys bit by bit, so
/// that each moves once.
fn rendezvous(
    servers: &[Arc<Server>],
    from: &Candidates,
    key: u64,
    share: impl Fn(usize) -> u32,
) -> Option<usize> {
    let score = |at: &usize| mix(key ^ servers.get(*at).map_or(0, |server| server.salt));
    let takes = |at: &usize| {
        let share = share(*at);
        share >= server::FULL || drawn(score(at)) < share
    };
    let taking = from.iter().filter(takes).max_by_key(score);
    taking.or_else(|| from.iter().max_by_key(score))
}

/// A key of these bytes: FNV-1a, and spread. The same in every process.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, add))
}

/// Spreads a number over all bits (the finaliser of `SplitMix64`).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Thousandths that a number falls to.
fn drawn(number: u64) -> u32 {
    u32::try_from(mix(number) % u64::from(server::FULL)).unwrap_or_default()
}

/// A place among `count`.
fn within(number: u64, count: usize) -> usize {
    usize::try_from(number % (count.max(1) as u64)).unwrap_or_default()
}

/// Places of servers that may be chosen.
#[derive(Clone, Copy, Default)]
struct Candidates {
    places: [u64; MOST_SERVERS / 64],
    count: usize,
}

impl Candidates {
    fn of(servers: &[Arc<Server>], may: impl Fn(&Arc<Server>) -> bool) -> Self {
        let mut candidates = Self::default();
        for (at, server) in servers.iter().enumerate() {
            if let Some(word) = candidates.places.get_mut(at / 64)
                && may(server)
            {
                *word |= 1 << (at % 64);
                candidates.count += 1;
            }
        }
        candidates
    }

    fn remove(&mut self, at: usize) {
        if let Some(word) = self.places.get_mut(at / 64)
            && *word & (1 << (at % 64)) != 0
        {
            *word &= !(1 << (at % 64));
            self.count -= 1;
        }
    }

    const fn len(&self) -> usize {
        self.count
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.places.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(at * 64 + bit)
            })
        })
    }

    fn nth(&self, nth: usize) -> Option<usize> {
        self.iter().nth(nth)
    }
}

/// More servers than this are not asked; names may resolve to any number.
pub const MOST_SERVERS: usize = 256;
/// Of more servers than this, two are compared and not all.
const LOOKED_AT: usize = 8;

#[cfg(test)]
mod tests;
