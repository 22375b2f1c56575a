//! Who presents a bearer token: which issuer's rules and keys apply, whether it was verified a
//! moment ago, and if not, its verification.
//!
//! Drives [`crate::bearer`], [`crate::bearer::verified`] and [`crate::jwks`]. The answer has three
//! forms (nothing presented, an identity, a refusal), and what fails never turns into "nothing
//! presented". What the caller may do is not asked here.

mod presented;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};

pub use self::presented::{Presented, presented};
use crate::{
    bearer::{
        self, KeySet, Rejection, Rules, UnverifiedClaims,
        verified::{self, Scope, Verified},
    },
    identity::{Identity, Proof},
    jwks::KeySource,
    refusal::{Reason, Refusal},
    time::Timestamp,
};

/// An issuer whose tokens are accepted somewhere, and where its keys are.
#[derive(Clone)]
pub struct TrustedIssuer {
    /// What its tokens have to satisfy. For app tokens the audience is the upstream's and comes
    /// with each call; the one in here is not used.
    pub rules: Rules,
    /// Its keys.
    pub keys: KeySource,
}

/// Which tokens a route accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted<'r> {
    /// IAM tokens, for the audience of their rules.
    pub iam: bool,
    /// App tokens, for this audience: that of the route's upstream.
    pub app: Option<&'r str>,
}

/// Turns bearer tokens into identities.
pub struct Authenticator {
    issuers: Vec<(TrustedIssuer, Scope)>,
    cache: Verified,
}

/// An issuer that the route accepts, with the audience that counts here.
#[derive(Clone, Copy)]
struct Candidate<'c> {
    issuer: &'c TrustedIssuer,
    scope: Scope,
    audience: &'c str,
}

impl Authenticator {
    /// `issuers` are tried in this order where a token fits several. `cache` may be shared with
    /// the authenticator that this one replaces: its keys hold the rules.
    #[must_use]
    pub fn new(issuers: Vec<TrustedIssuer>, cache: Verified) -> Self {
        let scoped = issuers.into_iter().map(|issuer| {
            let scope = Scope::of(&issuer.rules);
            (issuer, scope)
        });
        Self { issuers: scoped.collect(), cache }
    }

    /// The same issuers and rules, with these Ed25519 keys in place of the issuers' own, and
    /// nothing remembered. For `explain`, which signs with them what a caller is said to be.
    #[must_use]
    pub(crate) fn trusting_only(self, keys: &Arc<KeySet>) -> Self {
        let trusting = self.issuers.into_iter().map(|(mut issuer, _)| {
            issuer.keys = KeySource::Local(Arc::new(ArcSwap::new(Arc::clone(keys))));
            issuer.rules.algorithms = vec![Algorithm::EdDSA];
            issuer
        });
        Self::new(trusting.collect(), Verified::new(0))
    }

    /// Whom `token` proves, on a route that accepts `accept`.
    ///
    /// # Errors
    /// `credential_expired` or `credential_invalid`, the latter also for a good token of an
    /// issuer that this route does not accept; `iam_unavailable` or `sts_unavailable` when the
    /// issuer's keys have never been reached.
    pub async fn bearer(
        &self,
        token: &SecretString,
        accept: Accepted<'_>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refusal> {
        // The cache's key holds issuer, audience and keys, so asking under each accepted issuer
        // is as safe as reading the token first, and a look-up is cheaper.
        for candidate in self.accepted(accept) {
            if let Some(identity) = self.remembered(candidate, token, now)? {
                return Ok(identity);
            }
        }
        if token.expose_secret().len() > bearer::MAX_TOKEN {
            return Err(Rejection::TooLong.into());
        }
        let unverified =
            UnverifiedClaims::read(token.expose_secret()).ok_or(Rejection::Malformed)?;
        let mut refusal = Refusal::from(Rejection::WrongIssuer);
        // The issuer chooses the keys, never the `kid` (R23). IAM provider and token service may
        // share an issuer; then the audience tells their tokens apart.
        let mut fitting = 0;
        for candidate in self.accepted(accept) {
            if unverified.iss != *candidate.issuer.rules.issuer {
                continue;
            }
            if !unverified.names(candidate.audience) {
                if fitting == 0 {
                    refusal = Rejection::WrongAudience.into();
                }
                continue;
            }
            match self.verified(candidate, token, now).await {
                Ok(identity) => return Ok(identity),
                Err(failed) if fitting == 0 => refusal = failed,
                Err(_) => {}
            }
            fitting += 1;
        }
        Err(refusal)
    }

    /// How far the clock may be off of the issuer that vouches for somebody.
    #[must_use]
    pub fn leeway(&self, identity: &Identity) -> Duration {
        let vouches =
            |rules: &Rules| rules.proof == identity.proof && *rules.issuer == *identity.issuer;
        let issuer = self.issuers.iter().find(|(issuer, _)| vouches(&issuer.rules));
        issuer.map_or(Duration::ZERO, |(issuer, _)| issuer.rules.leeway)
    }

    fn accepted<'c>(&'c self, accept: Accepted<'c>) -> impl Iterator<Item = Candidate<'c>> {
        self.issuers.iter().filter_map(move |(issuer, scope)| {
            let audience = match issuer.rules.proof {
                Proof::AppToken => accept.app?,
                Proof::IamToken if accept.iam => issuer.rules.audience.as_str(),
                Proof::IamToken | Proof::Session | Proof::Certificate | Proof::Extension => {
                    return None;
                }
            };
            Some(Candidate { issuer, scope: *scope, audience })
        })
    }

    fn remembered(
        &self,
        candidate: Candidate<'_>,
        token: &SecretString,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, Refusal> {
        let Some(keys) = candidate.issuer.keys.current() else { return Ok(None) };
        let Some(identity) = self.cache.identity(&candidate.key(&keys, token), now) else {
            return Ok(None);
        };
        bearer::in_time(&identity, candidate.issuer.rules.leeway, now)?;
        Ok(Some(identity))
    }

    async fn verified(
        &self,
        candidate: Candidate<'_>,
        token: &SecretString,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refusal> {
        let rules = candidate.issuer.rules.for_audience(candidate.audience);
        let source = &candidate.issuer.keys;
        let mut keys = match source.current() {
            Some(keys) => keys,
            None => source.keys_for_unknown_kid().await.ok_or_else(|| no_keys(rules.proof))?,
        };
        let mut verified = bearer::verify(token, &keys, &rules, now);
        if matches!(verified, Err(Rejection::UnknownKey))
            && let Some(newer) = source.keys_for_unknown_kid().await
            && newer.generation() != keys.generation()
        {
            verified = bearer::verify(token, &newer, &rules, now);
            keys = newer;
        }
        let identity = Arc::new(verified?);
        self.cache.remember(&candidate.key(&keys, token), &identity, now);
        Ok(identity)
    }
}

impl<'c> Candidate<'c> {
    fn key(self, keys: &KeySet, token: &'c SecretString) -> verified::Key<'c> {
        let Self { scope, audience, issuer: _ } = self;
        let (generation, token) = (keys.generation(), token.expose_secret());
        verified::Key { scope, audience, generation, token }
    }
}

fn no_keys(proof: Proof) -> Refusal {
    match proof {
        Proof::AppToken => {
            Refusal::new(Reason::StsUnavailable, "the token service's keys were never reached")
        }
        Proof::IamToken | Proof::Session | Proof::Certificate | Proof::Extension => {
            Refusal::new(Reason::IamUnavailable, "the IAM provider's keys were never reached")
        }
    }
}

#[cfg(test)]
mod tests;
