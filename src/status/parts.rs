//! Whom the gateway depends on, and how they are: one [`Part`] each.

use serde::Serialize;

use super::keys::ago;
use crate::{
    config::{Config, SessionStore},
    jwks::Jwks,
    live::Live,
    telemetry::{record::Records, sink::Sink},
    time::Timestamp,
    upstream::Upstream,
};

/// Something that the gateway depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// Its name: a fixed word, or an upstream's.
    pub(super) name: String,
    /// `iam`, `sts`, `sessions`, `upstream`, `records`, `perimeter`.
    pub(super) kind: &'static str,
    /// How it is.
    pub(super) health: Health,
    /// What is known, in one line.
    pub(super) detail: String,
    /// Its servers, where they are known one by one.
    pub(super) servers: Vec<ServerNow>,
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Health {
    /// As it should be.
    Up,
    /// It serves, and something is wrong.
    Degraded,
    /// It does not serve.
    Down,
    /// Nobody has asked yet.
    Unknown,
}

impl Health {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServerNow {
    pub(super) address: String,
    pub(super) health: Health,
}

/// Every part, in the order in which a request meets them.
pub(super) fn of(live: &Live, records: &Records, now: Timestamp) -> Vec<Part> {
    let config = &live.loaded.config;
    let mut parts = Vec::new();
    parts.extend(iam(live, config, now));
    parts.extend(sts(live, config, now));
    parts.extend(sessions(live, config));
    parts.extend(live.state.upstreams.iter().map(|upstream| self::upstream(upstream, live)));
    parts.extend(perimeter(live, now));
    parts.extend([("access", &records.access), ("audit", &records.audit)].map(self::records));
    parts
}

fn part(
    name: impl Into<String>,
    kind: &'static str,
    health: Health,
    detail: impl Into<String>,
) -> Part {
    Part { name: name.into(), kind, health, detail: detail.into(), servers: Vec::new() }
}

/// The keys of an issuer tell whether it answers.
fn issuer(keys: &Jwks, now: Timestamp) -> (Health, String) {
    let read = keys.last_success().map(|read| ago(now.since(read)));
    match (keys.current(), read, keys.is_failing()) {
        (Some(_), Some(read), false) => (Health::Up, format!("keys read {read}")),
        (Some(_), Some(read), true) => {
            (Health::Degraded, format!("does not answer; keys of {read} are used"))
        }
        (None, _, true) => (Health::Down, "does not answer, and no key is known".to_owned()),
        (None, ..) | (Some(_), None, _) => (Health::Unknown, "keys are not read yet".to_owned()),
    }
}

fn keys_of<'l>(live: &'l Live, name: &str) -> Option<&'l Jwks> {
    live.keys.iter().find(|(known, _)| *known == name).map(|(_, keys)| &**keys)
}

fn iam(live: &Live, config: &Config, now: Timestamp) -> Option<Part> {
    let iam = config.iam.as_ref()?;
    let (health, how) = issuer(keys_of(live, "iam")?, now);
    Some(part("IAM provider", "iam", health, format!("{}: {how}", iam.issuer)))
}

fn sts(live: &Live, config: &Config, now: Timestamp) -> Option<Part> {
    let (sts, settings) = (live.state.sts.as_ref()?, config.sts.as_ref()?);
    if let Some(own) = sts.issuer() {
        let detail = format!("built in, issues as {}", own.iss());
        return Some(part("Token service", "sts", Health::Up, detail));
    }
    let exchange = settings.exchange.as_ref()?;
    let (health, how) = keys_of(live, "sts").map(|keys| issuer(keys, now))?;
    let (health, how) = if sts.breaker_is_closed() {
        (health, how)
    } else {
        (Health::Down, "the breaker is open: exchanges fail".to_owned())
    };
    let host = exchange.url.host_str().unwrap_or_default();
    Some(part("Token service", "sts", health, format!("{host}: {how}")))
}

fn sessions(live: &Live, config: &Config) -> Option<Part> {
    let browsers = live.state.browsers.as_ref()?;
    let (health, detail) = match (&config.session.as_ref()?.store, browsers.sessions.is_up()) {
        (SessionStore::Cookie, _) => (Health::Up, "sealed in the browser's cookie"),
        (SessionStore::Redis(_), Some(true)) => (Health::Up, "Redis answers"),
        (SessionStore::Redis(_), Some(false)) => (Health::Down, "Redis does not answer"),
        (SessionStore::Redis(_), None) => (Health::Unknown, "Redis was not asked yet"),
    };
    Some(part("Sessions", "sessions", health, detail))
}

fn upstream(upstream: &Upstream, live: &Live) -> Part {
    let servers: Vec<_> = upstream
        .states()
        .iter()
        .map(|state| ServerNow {
            address: state.server.to_string(),
            health: match (state.up, state.ejected) {
                (true, false) => Health::Up,
                (true, true) => Health::Degraded,
                (false, _) => Health::Down,
            },
        })
        .collect();
    let healthy = servers.iter().filter(|server| server.health == Health::Up).count();
    let all = servers.len();
    let (health, mut detail) = match (healthy, all) {
        (_, 0) => (Health::Down, "no address is known".to_owned()),
        (0, _) => (Health::Down, format!("none of {all} servers is healthy")),
        (some, all) if some < all => {
            (Health::Degraded, format!("{some} of {all} servers are healthy"))
        }
        (1, _) => (Health::Up, "1 server".to_owned()),
        (all, _) => (Health::Up, format!("{all} servers")),
    };
    if !upstream.checks_health() {
        detail.push_str("; not checked, since health is not configured");
    }
    let watch = live.watches.iter().find(|watch| watch.upstream() == &**upstream.name());
    let drift = watch.and_then(|watch| watch.found());
    let drift = drift.map_or(0, |found| found.counts.iter().map(|(_, count)| count).sum());
    if drift > 0 {
        detail = format!("{detail}; {drift} differences between its document and the routes");
    }
    let health = if drift > 0 && health == Health::Up { Health::Degraded } else { health };
    Part { servers, ..part(&**upstream.name(), "upstream", health, detail) }
}

fn perimeter(live: &Live, now: Timestamp) -> Option<Part> {
    let found = live.perimeter.as_ref()?.found();
    let (health, detail) = match found {
        None => (Health::Unknown, "ways around the gateway were not looked for yet".to_owned()),
        Some(found) if found.breaches.is_empty() => {
            let when = ago(now.since(found.checked));
            (Health::Up, format!("no way around the gateway was found {when}"))
        }
        Some(found) => {
            let ways = found.breaches.iter().map(ToString::to_string);
            (Health::Down, ways.collect::<Vec<_>>().join("; "))
        }
    };
    Some(part("Perimeter", "perimeter", health, detail))
}

fn records((name, sink): (&'static str, &Sink)) -> Part {
    let dropped = sink.dropped();
    let (health, detail) = match (sink.is_on(), sink.writes(), dropped) {
        (false, ..) => (Health::Up, "off".to_owned()),
        (true, false, _) => (Health::Down, format!("cannot be written; {dropped} are lost")),
        (true, true, 0) => (Health::Up, "are written".to_owned()),
        (true, true, _) => (Health::Degraded, format!("are written; {dropped} were lost")),
    };
    let name = if name == "audit" { "Audit records" } else { "Access records" };
    part(name, "records", health, detail)
}
