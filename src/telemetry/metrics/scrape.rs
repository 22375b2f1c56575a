//! What other parts count and know, taken over when somebody asks for the metrics.

use std::sync::{Arc, PoisonError};

use prometheus::{Encoder, TextEncoder};

use super::{Door, Metrics, ServerState, number};
use crate::{perimeter, watch::report::Findings};

/// What other parts count, at the time of a scrape.
#[derive(Debug, Default)]
pub struct Scrape<'a> {
    /// App tokens by outcome, since the start.
    pub exchanges: &'a [(&'static str, u64)],
    /// Look-ups of organisations, by outcome, since the start.
    pub lookups: &'a [(&'static str, u64)],
    /// Attempts to renew the tokens of sessions, by outcome, since the start.
    pub refreshes: &'a [(&'static str, u64)],
    /// Sessions that requests came with, by outcome, since the start.
    pub checks: &'a [(&'static str, u64)],
    /// The token service's door, where there is one.
    pub door: Option<Door>,
    /// Lost records by kind, since the start.
    pub dropped: &'a [(&'static str, u64)],
    /// Kinds of records, and whether the last one was written.
    pub written: &'a [(&'a str, bool)],
    /// What the last look for ways around the gateway found.
    pub perimeter: Option<&'a perimeter::Findings>,
    /// Upstreams and whether requests can go to any server of each.
    pub upstreams: &'a [(&'a str, bool)],
    /// Their servers.
    pub servers: &'a [ServerState<'a>],
    /// Issuers and the age of their keys in seconds.
    pub jwks: &'a [(&'a str, Option<u64>)],
    /// Upstreams that are watched, and what the last comparison found.
    pub drift: &'a [(&'a str, Option<Arc<Findings>>)],
    /// Whether the store of sessions answers, where it is outside the process and was asked.
    pub session_store: Option<bool>,
}

impl Metrics {
    /// Takes over what others count, then writes everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self, scrape: &Scrape<'_>) -> Result<Vec<u8>, prometheus::Error> {
        self.follow(scrape);
        self.exchanges.set(scrape.door);
        for (kind, total) in scrape.dropped {
            let counter = self.records_dropped.with_label_values(&[*kind]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        for (kind, written) in scrape.written {
            self.perimeter.records.with_label_values(&[*kind]).set(i64::from(*written));
        }
        if let Some(found) = scrape.perimeter {
            self.perimeter.set(found);
        }
        self.upstreams.show(scrape.upstreams, scrape.servers);
        for (issuer, age) in scrape.jwks {
            self.jwks_age.with_label_values(&[*issuer]).set(age.map_or(-1, number));
        }
        for (upstream, found) in scrape.drift {
            self.drift.set(upstream, found.as_deref());
        }
        self.sessions.store_up.set(scrape.session_store.map_or(-1, i64::from));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Takes over what the parts of the present configuration have counted since last time.
    fn follow(&self, scrape: &Scrape<'_>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let families = [
            (&self.exchanges.outcomes, scrape.exchanges),
            (&self.perimeter.lookups, scrape.lookups),
            (&self.sessions.refreshes, scrape.refreshes),
            (&self.sessions.checks, scrape.checks),
        ];
        for (family, (counters, totals)) in families.into_iter().enumerate() {
            for (label, total) in totals {
                let seen = followed.entry((family, *label)).or_default();
                counters.with_label_values(&[*label]).inc_by(total.saturating_sub(*seen));
                *seen = (*seen).max(*total);
            }
        }
    }

    /// The last look at the parts of a configuration that another takes the place of, whose parts
    /// begin to count at zero. What requests count there that are still under way is lost.
    pub fn close_generation(&self, scrape: &Scrape<'_>) {
        self.follow(scrape);
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
