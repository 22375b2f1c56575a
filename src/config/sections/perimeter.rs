//! Compensating controls for upstreams that check nothing.

use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::config::read::{choice, section};

section! {
    /// Compensating controls for upstreams that check nothing themselves.
    pub struct Perimeter {
        /// The upstreams known to check nothing; their name has to be written here.
        acknowledge: Vec<String>,
        /// Who may come in at all.
        allow_clients: Vec<IpNet>,
        /// Bounds of the organisation look-ups.
        organisation_lookup: LookupCache = "{}",
        /// Whether a request may be served without its audit record.
        audit: AuditDemand = "required",
        /// URLs at which such an upstream would be reached around the gateway, at most 16. They are asked now and then, and any answer is told in log and metrics.
        probe: Vec<Url> = "[]",
        /// Time between two checks of the ways around the gateway.
        probe_interval: Duration = "1m",
    }
}

section! {
    /// Bounds of the organisation look-ups.
    pub struct LookupCache {
        /// Answers kept at most.
        entries: u64 = "100000",
        /// How long a resource's organisation is remembered.
        positive: Duration = "1h",
        /// How long an unknown resource is remembered.
        negative: Duration = "2s",
        /// One look-up may take this long.
        timeout: Duration = "2s",
    }
}

choice! {
    /// Whether a request may be served without its audit record.
    pub enum AuditDemand { Required = "required", BestEffort = "best_effort" }
}
