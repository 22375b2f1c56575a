//! Core's rules for an app token, in Core's order. Written apart from the gateway's reader.

use std::{collections::BTreeSet, time::Duration};

use portcullis::time::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::super::jose::{Claims, KeySet, Parts, has_audience};

/// `stsTokenValidation`, less the keys.
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) leeway: Duration,
}

/// What Core keeps of an accepted token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) subject: String,
    pub(crate) actor: Option<String>,
    pub(crate) organisation: Option<Uuid>,
    pub(crate) permissions: BTreeSet<String>,
}

impl Rules {
    /// Reads and checks a token.
    ///
    /// # Errors
    /// The first rule that it breaks; Core's answer is the same bare 401 for each.
    pub(crate) fn check(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<Session, &'static str> {
        // Core's decoder trims dots and white space before it splits.
        let token = token.trim_matches(|c: char| c == '.' || c.is_whitespace());
        let parts = Parts::split(token).ok_or("decode")?;
        let session = read(&parts.claims)?;
        if parts.header.get("alg").is_none_or(|alg| alg != "EdDSA") {
            return Err("alg");
        }
        let kid = parts.header.get("kid").and_then(Value::as_str).ok_or("kid missing")?;
        if parts.claims.get("iss").is_none_or(|issuer| *issuer != self.issuer) {
            return Err("iss");
        }
        if !has_audience(&parts.claims, &self.audience) {
            return Err("aud");
        }
        let leeway = self.leeway.as_secs_f64();
        let now = Duration::from_secs(now.0).as_secs_f64();
        if time(&parts.claims, "exp")?.is_none_or(|expiry| expiry < now - leeway) {
            return Err("exp");
        }
        if time(&parts.claims, "nbf")?.is_some_and(|start| start > now + leeway) {
            return Err("nbf");
        }
        if !keys.get(kid).is_some_and(|key| parts.signed_by(key)) {
            return Err("signature");
        }
        session.ok_or("sub missing")
    }
}

/// The session in the claims; `None` without a subject, which Core notices last.
fn read(claims: &Claims) -> Result<Option<Session>, &'static str> {
    let organisation = match claims.get("organisationId") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
            Some(id.ok_or("organisationId")?)
        }
    };
    let permissions = match claims.get("permissions") {
        None => BTreeSet::new(),
        Some(value) => {
            serde_json::from_value(value.clone()).map_err(|_| "permissions is no list of names")?
        }
    };
    let actor = claims.get("act").and_then(|act| act.get("sub")).and_then(Value::as_str);
    let subject = claims.get("sub").and_then(Value::as_str);
    Ok(subject.map(|subject| Session {
        subject: subject.to_owned(),
        actor: actor.map(str::to_owned),
        organisation,
        permissions,
    }))
}

/// A time in seconds, fractions allowed; of another type it fails the token.
fn time(claims: &Claims, name: &str) -> Result<Option<f64>, &'static str> {
    claims.get(name).map(|value| value.as_f64().ok_or("a time is no number")).transpose()
}
