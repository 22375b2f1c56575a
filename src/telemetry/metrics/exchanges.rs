//! App tokens, and the token service behind them.

use prometheus::{Histogram, IntCounterVec, IntGauge};

use super::{catalogue::Catalogue, number};

/// What is known of the token service's door at the time of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Tokens that are kept.
    pub entries: u64,
    /// Whether exchanges are not even tried.
    pub breaker_open: bool,
}

/// App tokens.
pub struct ExchangeMetrics {
    pub(super) outcomes: IntCounterVec,
    /// Exchanges at an outside token service.
    pub seconds: Histogram,
    entries: IntGauge,
    breaker_open: IntGauge,
}

impl ExchangeMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        Ok(Self {
            outcomes: catalogue.counters(
                "portcullis_app_tokens_total",
                "App tokens asked for, by outcome: hit in the cache, miss, coalesced with \
                 another's exchange, refreshed_ahead in the background, negative (a refusal that \
                 is remembered), refused, failed, breaker_open.",
                &["outcome"],
            )?,
            seconds: catalogue.seconds(
                "portcullis_exchange_duration_seconds",
                "Time of an exchange at an outside token service, whatever came of it, until its \
                 token is verified.",
            )?,
            entries: catalogue
                .gauge("portcullis_app_token_cache_entries", "App tokens that are kept, about.")?,
            breaker_open: catalogue.gauge(
                "portcullis_sts_breaker_open",
                "Whether the token service is left alone, since it did not answer; -1: there is \
                 none.",
            )?,
        })
    }

    pub(super) fn set(&self, door: Option<Door>) {
        self.entries.set(door.map_or(0, |door| number(door.entries)));
        self.breaker_open.set(door.map_or(-1, |door| i64::from(door.breaker_open)));
    }
}
