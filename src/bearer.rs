//! Verification of one bearer token: a JWT in JWS compact form (RFC 7519, RFC 7515), an IAM token
//! or an app token. [`logout_token`] is the one other kind of token that is read here.
//!
//! Pure: the keys are given, the time is given, and nothing is remembered. [`keys`] reads a key
//! set, [`verified`] remembers what was proven, [`crate::authentication`] drives all three.
//!
//! The rules follow RFC 8725: the algorithm comes from the key and the allow-list (R21), the
//! token's header never brings a key, and `iss`, `aud` and `exp` have to be there and have to be
//! of the right type (R22), which the JWT library alone does not see to.

mod claims;
pub mod keys;
pub mod logout_token;
#[cfg(test)]
pub(crate) mod minting;
mod rejection;
mod strict;
pub mod verified;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::{claims::in_time, keys::KeySet, rejection::Rejection};
use crate::{
    identity::{Identity, Proof},
    time::Timestamp,
};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What is demanded of the tokens of one issuer.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What such a token proves: [`Proof::AppToken`] brings Core's rules for app tokens (EdDSA,
    /// `kid`, organisation, permissions, actor); any other the rules for IAM tokens (roles).
    pub proof: Proof,
    /// `iss`, byte for byte.
    pub issuer: Arc<str>,
    /// What `aud` has to be or contain.
    pub audience: String,
    /// The algorithms that are accepted at all; HMAC is not, even if it is listed.
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be off, in either direction; whole seconds count.
    pub leeway: Duration,
    /// The JSON pointer (RFC 6901) to an IAM token's array of roles; `None`: it has no roles.
    pub roles: Option<String>,
}

impl Rules {
    /// The same rules for another audience.
    #[must_use]
    pub fn for_audience(&self, audience: &str) -> Self {
        Self { audience: audience.to_owned(), ..self.clone() }
    }
}

/// Verifies a token completely: form, algorithm, issuer, audience, signature, time and claims.
///
/// Issuer and audience come before the signature because they say whether these rules and keys
/// are the right ones at all; everything that describes the caller is read after it.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify(
    token: &SecretString,
    keys: &KeySet,
    rules: &Rules,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    let parts = Parts::split(token.expose_secret())?;
    let header = Header::read(parts.header)?;
    let algorithm = header.algorithm(rules)?;
    let unverified_claims = decoded_object(parts.claims)?;
    claims::addressed(&unverified_claims, rules)?;
    let kid = header.kid(rules.proof)?;
    let signed = keys
        .candidates(kid, algorithm)?
        .iter()
        .any(|key| key.verifies(parts.signed.as_bytes(), parts.signature, algorithm));
    if !signed {
        return Err(Rejection::BadSignature);
    }
    claims::identity(unverified_claims, rules, token, now)
}

/// Whom the token says it is from, only to choose the keys that can tell whether that is true.
///
/// Nobody has vouched for the answer: it must not reach a policy, a log or an upstream.
#[must_use]
pub fn unverified_issuer(token: &str) -> Option<String> {
    UnverifiedClaims::read(token).map(|claims| claims.iss)
}

/// The claims that choose rules and keys, before anybody has vouched for them.
#[derive(Deserialize)]
pub(crate) struct UnverifiedClaims {
    pub(crate) iss: String,
    #[serde(default)]
    aud: Value,
}

impl UnverifiedClaims {
    pub(crate) fn read(token: &str) -> Option<Self> {
        let parts = Parts::split(token).ok()?;
        serde_json::from_slice(&decoded(parts.claims).ok()?).ok()
    }

    /// Whether the token says that it is meant for `audience`.
    pub(crate) fn names(&self, audience: &str) -> bool {
        let is_it = |value: &Value| value.as_str() == Some(audience);
        is_it(&self.aud) || self.aud.as_array().is_some_and(|several| several.iter().any(is_it))
    }
}

/// The three parts of a compact JWS, still encoded.
struct Parts<'t> {
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
    /// Header and claims with the dot between: what was signed.
    signed: &'t str,
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN {
            return Err(Rejection::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        // A fourth part would leave a dot in the claims, which is no base64url.
        Ok(Self { header, claims, signature, signed })
    }
}

/// The JOSE header: it says which key was used, and is believed in nothing else.
struct Header(Map<String, Value>);

impl Header {
    /// Parameters by which a token would bring its own key (`jwk`, `jku`, `x5u`) or change how
    /// it is to be read (`crit`; `b64` is never of use in a JWT, RFC 7797, section 7).
    const FORBIDDEN: [&str; 5] = ["crit", "b64", "jwk", "jku", "x5u"];

    fn read(encoded: &str) -> Result<Self, Rejection> {
        let header = decoded_object(encoded)?;
        if Self::FORBIDDEN.iter().any(|parameter| header.contains_key(*parameter)) {
            return Err(Rejection::HeaderForbidden);
        }
        Ok(Self(header))
    }

    fn algorithm(&self, rules: &Rules) -> Result<Algorithm, Rejection> {
        let name = self.0.get("alg").and_then(Value::as_str).ok_or(Rejection::Malformed)?;
        // `none` has no parse.
        let algorithm: Algorithm = name.parse().map_err(|_| Rejection::AlgorithmNotAllowed)?;
        let symmetric = algorithm.family() == AlgorithmFamily::Hmac;
        let for_core = rules.proof != Proof::AppToken || algorithm == Algorithm::EdDSA;
        if !symmetric && for_core && rules.algorithms.contains(&algorithm) {
            Ok(algorithm)
        } else {
            Err(Rejection::AlgorithmNotAllowed)
        }
    }

    /// Core finds the key of an app token by `kid` alone.
    fn kid(&self, proof: Proof) -> Result<Option<&str>, Rejection> {
        match self.0.get("kid") {
            Some(kid) => kid.as_str().map(Some).ok_or(Rejection::Malformed),
            None if proof == Proof::AppToken => Err(Rejection::KeyIdMissing),
            None => Ok(None),
        }
    }
}

fn decoded_object(encoded: &str) -> Result<Map<String, Value>, Rejection> {
    strict::object(&decoded(encoded)?).ok_or(Rejection::Malformed)
}

/// Without padding, white space or stray bits in the last character: one text has one encoding.
fn decoded(encoded: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Rejection::Malformed)
}

#[cfg(test)]
mod tests;
