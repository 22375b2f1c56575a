//! Keys in use: whose, which, and how old. Never a key.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    config::{Config, Secret, SecretSource},
    live::Live,
    time::Timestamp,
};

/// A key, or a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct KeyInUse {
    /// What it is for.
    pub(super) purpose: &'static str,
    /// Its `kid`, or where it comes from; never the key.
    pub(super) id: String,
    /// What it does at the moment.
    pub(super) state: String,
    /// Seconds since it was read, published, or its file was written; null: nobody knows.
    pub(super) age_seconds: Option<u64>,
}

pub(super) fn of(live: &Live, now: Timestamp) -> Vec<KeyInUse> {
    let mut keys = Vec::new();
    for (name, jwks) in &live.keys {
        let purpose = if *name == "iam" { "IAM tokens" } else { "App tokens" };
        let age = jwks.last_success().map(|read| now.since(read).as_secs());
        let Some(set) = jwks.current() else { continue };
        let known = set.ids().map(str::to_owned).take(MOST);
        let unnamed = set.len().saturating_sub(set.ids().count());
        let ids = known.chain((unnamed > 0).then(|| format!("{unnamed} without an id")));
        let key = |id| KeyInUse { purpose, id, state: "verifies".to_owned(), age_seconds: age };
        keys.extend(ids.map(key));
    }
    keys.extend(own(live, now));
    keys.extend(sessions(&live.loaded.config, now));
    keys
}

/// Those of the built-in token service.
fn own(live: &Live, now: Timestamp) -> Vec<KeyInUse> {
    let issuer = live.state.sts.as_ref().and_then(|sts| sts.issuer());
    let held = issuer.map(|issuer| issuer.held()).unwrap_or_default();
    let key = |held: crate::sts::issuer::HeldKey| KeyInUse {
        purpose: "App tokens",
        id: held.kid.to_string(),
        state: match (held.signs, held.until) {
            (true, _) => "signs".to_owned(),
            (false, None) => "published".to_owned(),
            (false, Some(until)) => {
                format!("retired, published {} more", length(until.since(now)))
            }
        },
        age_seconds: (held.since.0 > 0).then(|| now.since(held.since).as_secs()),
    };
    held.into_iter().map(key).collect()
}

/// Those that seal sessions have no name; where they come from is one.
fn sessions(config: &Config, now: Timestamp) -> Vec<KeyInUse> {
    let keys = config.session.as_ref().map(|session| &session.keys[..]).unwrap_or_default();
    let key = |(at, key): (usize, &Secret)| KeyInUse {
        purpose: "Sessions",
        id: match key.source() {
            SecretSource::Given => format!("session.keys[{at}]"),
            SecretSource::File(path) => format!("file {}", path.display()),
            SecretSource::Variable(name) => format!("env {name}"),
        },
        state: if at == 0 { "seals and opens" } else { "opens" }.to_owned(),
        age_seconds: key.file().and_then(written).map(|written| now.since(written).as_secs()),
    };
    keys.iter().enumerate().map(key).collect()
}

fn written(file: &Path) -> Option<Timestamp> {
    Some(std::fs::metadata(file).ok()?.modified().ok()?.into())
}

/// Keys of one issuer that are listed.
const MOST: usize = 16;

/// `12 s`, `3 min`, `5 h`, `2 d`.
pub(super) fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

pub(super) fn ago(time: Duration) -> String {
    if time.as_secs() < 2 { "just now".to_owned() } else { format!("{} ago", length(time)) }
}
