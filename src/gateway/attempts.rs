//! The tries of one request at the servers of its upstream: which server has it, what that one
//! made of it, and whether another may have it.

use std::time::Instant;

use pingora::{Error, ErrorSource, ErrorType};

use crate::{
    admission::Grant,
    refusal::Refusal,
    request::TrustedRequest,
    telemetry::metrics::Retry,
    upstream::{
        Upstream,
        pool::{Failure, InFlight, Server, Tried, hash},
    },
};

/// The tries so far.
#[derive(Default)]
pub(super) struct Attempts {
    /// Where the request is. Held to the end of the request, however it comes, so that the server's
    /// count of requests is exact.
    current: Option<(InFlight, Instant)>,
    /// The server has answered; what goes wrong from here on is seen by the client.
    answered: bool,
    tried: Tried,
    /// Times that a server was chosen.
    made: usize,
    /// Tries beyond the first, but for those after a connection that had gone stale.
    further: usize,
    /// The present try is one beyond the first.
    again: bool,
}

/// How a request that a server broke off could be sent once more.
#[derive(Clone, Copy)]
pub(super) struct Repeatable {
    /// Twice does no more than once, and every byte is still there.
    pub(super) same: bool,
    /// There was no body.
    pub(super) bodiless: bool,
    /// The connection had served before.
    pub(super) reused: bool,
}

impl Attempts {
    /// Times that a server was chosen.
    pub(super) const fn made(&self) -> usize {
        self.made
    }

    /// Chooses a server, which has the request from now on.
    pub(super) fn next(
        &mut self,
        upstream: &Upstream,
        key: Option<u64>,
        now: Instant,
    ) -> Result<&Server, Refusal> {
        self.made += 1;
        // The server before has it no more.
        self.current = None;
        self.answered = false;
        let chosen = upstream.choose(now, key, &self.tried);
        if chosen.is_err() && std::mem::take(&mut self.again) {
            count(upstream, Retry::Failed);
        }
        Ok(self.current.insert((chosen?, now)).0.server())
    }

    /// The server cannot be connected to. Whether to try another: any request may be, since nothing
    /// has reached a server.
    pub(super) fn not_connected(&mut self, upstream: &Upstream, bodiless: bool) -> bool {
        let now = Instant::now();
        self.failed(upstream, Failure::Connect, now);
        bodiless && self.another(upstream, false, now)
    }

    /// The server has answered.
    pub(super) fn answered(&mut self, upstream: &Upstream, status: u16) {
        let Some((chosen, since)) = &self.current else { return };
        if self.answered || (status < 200 && status != SWITCHING_PROTOCOLS) {
            return;
        }
        self.answered = true;
        let now = Instant::now();
        upstream.answered(chosen.server(), status, now);
        if let Some(counters) = upstream.counters() {
            counters.answered(now.saturating_duration_since(*since));
        }
        if std::mem::take(&mut self.again) {
            count(upstream, Retry::Served);
        }
    }

    /// Something went wrong between the server and us, or between us and the client; whether to
    /// try another is noted in the error.
    pub(super) fn broke(&mut self, upstream: &Upstream, error: &mut Error, how: Repeatable) {
        let now = Instant::now();
        let by_server = *error.esource() == ErrorSource::Upstream && !self.answered;
        let late = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        match (by_server, late) {
            (true, true) => self.failed(upstream, Failure::Timeout, now),
            // A connection that had been idle may end at any time.
            (true, false) if !how.reused => self.failed(upstream, Failure::Broken, now),
            _ => {}
        }
        if !how.same {
            // As Pingora itself does (cloudflare/pingora#979).
            error.set_retry(false);
            return;
        }
        error.retry.decide_reuse(how.reused);
        let stale = error.retry();
        let fresh = by_server && !late && how.bodiless;
        let again = (stale || fresh) && !self.answered && self.another(upstream, stale, now);
        error.set_retry(again);
    }

    fn failed(&mut self, upstream: &Upstream, failure: Failure, now: Instant) {
        if let Some((chosen, _)) = &self.current {
            upstream.failed(chosen.server(), failure, now);
        }
        if std::mem::take(&mut self.again) {
            count(upstream, Retry::Failed);
        }
    }

    /// Whether there is another server, and a try for it. After a connection that had gone `stale`
    /// the same server will do where it is the only one.
    fn another(&mut self, upstream: &Upstream, stale: bool, now: Instant) -> bool {
        if !stale && self.further >= upstream.retries() {
            return false;
        }
        if let Some((chosen, _)) = &self.current {
            self.tried.add(chosen.server(), stale);
        }
        match upstream.take_retry(now, &self.tried) {
            Ok(()) => {
                self.further += usize::from(!stale);
                self.again = true;
                true
            }
            Err(why) => {
                count(upstream, Retry::Not(why));
                false
            }
        }
    }
}

/// What spreads requests over servers where that is by key: the session, else the caller, else the
/// client's address.
pub(super) fn key(grant: &Grant, request: Option<&TrustedRequest>) -> Option<u64> {
    if let Some(session) = &grant.session {
        return Some(hash(session.public_id().as_bytes()));
    }
    if let Some(identity) = grant.permit.identity() {
        return Some(hash(identity.subject.as_bytes()));
    }
    let client = request.and_then(|request| request.client)?;
    Some(match client.to_canonical() {
        std::net::IpAddr::V4(address) => hash(&address.octets()),
        std::net::IpAddr::V6(address) => hash(&address.octets()),
    })
}

fn count(upstream: &Upstream, outcome: Retry) {
    if let Some(counters) = upstream.counters() {
        counters.retry(outcome);
    }
}

const SWITCHING_PROTOCOLS: u16 = 101;
