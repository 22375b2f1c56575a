//! Verifying an ID token (OpenID Connect Core 1.0, sections 3.1.3.7 and 3.1.3.8).
//!
//! `openidconnect` checks signature, `iss`, `aud`, `exp` and `nonce`. It has no leeway, accepts
//! any `iat`, ignores `azp` and leaves `at_hash` to its caller; those are added here.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use openidconnect::{
    AccessTokenHash, ClaimsVerificationError, Nonce, OAuth2TokenResponse,
    SignatureVerificationError, TokenResponse, core::CoreJwsSigningAlgorithm,
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    discovery::Client,
    response::{IdClaims, TokenAnswer},
};
use crate::time::Timestamp;

/// What an ID token has to agree with.
pub(super) struct Rules<'a> {
    pub(super) client_id: &'a str,
    pub(super) algorithms: &'a [CoreJwsSigningAlgorithm],
    pub(super) binding: Binding<'a>,
    pub(super) leeway: Duration,
    pub(super) now: Timestamp,
}

/// What ties an ID token to what we asked for.
#[derive(Clone, Copy)]
pub(super) enum Binding<'a> {
    /// The nonce of a login.
    Login(&'a SecretString),
    /// The subject of a session whose tokens are renewed; such a token need have no nonce (OpenID
    /// Connect Core 1.0, section 12.2).
    Subject(&'a str),
}

/// Whom an ID token is about.
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) provider_session: Option<Arc<str>>,
    pub(super) session_end: Option<Timestamp>,
}

/// Why an ID token is not acceptable; without anything that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    Missing,
    /// The provider may have a new key.
    NoMatchingKey,
    Algorithm,
    Signature,
    Issuer,
    Audience,
    AuthorizedParty,
    Nonce,
    Expired,
    IssuedInFuture,
    AccessTokenHash,
    Subject,
    AnotherSubject,
    Malformed,
}

impl Rejection {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Missing => "there is no ID token",
            Self::NoMatchingKey => "no key of the provider matches the ID token",
            Self::Algorithm => "the ID token's algorithm is not allowed",
            Self::Signature => "the ID token's signature is wrong",
            Self::Issuer => "the ID token is of another issuer",
            Self::Audience => "the ID token is for another client",
            Self::AuthorizedParty => "the ID token was issued to another client",
            Self::Nonce => "the ID token is of another login",
            Self::Expired => "the ID token has expired",
            Self::IssuedInFuture => "the ID token was issued in the future",
            Self::AccessTokenHash => "the ID token belongs to another access token",
            Self::AnotherSubject => "the ID token is about another subject",
            Self::Subject => "the ID token's subject is empty or too long",
            Self::Malformed => "the ID token is malformed",
        }
    }
}

/// Verifies the ID token of a token response.
pub(super) fn verify(
    client: &Client,
    response: &TokenAnswer,
    rules: &Rules<'_>,
) -> Result<Subject, Rejection> {
    let token = response.id_token().ok_or(Rejection::Missing)?;
    // The verifier compares `exp` with this clock and knows no leeway, so the clock has it.
    let lenient = SystemTime::UNIX_EPOCH + Duration::from_secs((rules.now - rules.leeway).0);
    let verifier = client
        .id_token_verifier()
        .set_allowed_algs(rules.algorithms.iter().cloned())
        .set_time_fn(move || lenient.into());
    let claims = match rules.binding {
        Binding::Login(nonce) => {
            token.claims(&verifier, &Nonce::new(nonce.expose_secret().to_owned()))
        }
        Binding::Subject(_) => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
    };
    let claims = claims.map_err(|error| rejection(&error))?;

    let latest_issue = rules.now + rules.leeway;
    if !u64::try_from(claims.issue_time().timestamp()).is_ok_and(|at| at <= latest_issue.0) {
        return Err(Rejection::IssuedInFuture);
    }
    if claims.authorized_party().is_some_and(|party| party.as_str() != rules.client_id) {
        return Err(Rejection::AuthorizedParty);
    }
    if let Some(expected) = claims.access_token_hash() {
        let algorithm = token.signing_alg().map_err(|_| Rejection::Algorithm)?;
        let key = token.signing_key(&verifier).map_err(|_| Rejection::NoMatchingKey)?;
        let actual = AccessTokenHash::from_token(response.access_token(), algorithm, key)
            .map_err(|_| Rejection::AccessTokenHash)?;
        if actual != *expected {
            return Err(Rejection::AccessTokenHash);
        }
    }
    // At most 255 characters (OpenID Connect Core 1.0, section 2).
    let subject = claims.subject().as_str();
    if subject.is_empty() || subject.len() > 255 {
        return Err(Rejection::Subject);
    }
    if matches!(rules.binding, Binding::Subject(expected) if expected != subject) {
        return Err(Rejection::AnotherSubject);
    }
    let session = claims.additional_claims();
    Ok(Subject {
        id: subject.to_owned(),
        name: name(claims),
        provider_session: session.provider_session(),
        session_end: session.session_end(),
    })
}

/// What to call the subject; not an identity, and cut to what a cookie can carry.
fn name(claims: &IdClaims) -> Option<String> {
    claims
        .name()
        .and_then(|name| name.get(None))
        .map(|name| name.as_str())
        .or_else(|| claims.preferred_username().map(|name| name.as_str()))
        .or_else(|| claims.email().map(|address| address.as_str()))
        .map(|name| name.chars().filter(|c| !c.is_control()).take(128).collect())
}

fn rejection(error: &ClaimsVerificationError) -> Rejection {
    match error {
        ClaimsVerificationError::Expired(_) => Rejection::Expired,
        ClaimsVerificationError::InvalidAudience(_) => Rejection::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => Rejection::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => Rejection::Nonce,
        ClaimsVerificationError::InvalidSubject(_) => Rejection::Subject,
        ClaimsVerificationError::SignatureVerification(error) => match error {
            SignatureVerificationError::NoMatchingKey => Rejection::NoMatchingKey,
            SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::UnsupportedAlg(_)
            | SignatureVerificationError::NoSignature => Rejection::Algorithm,
            _ => Rejection::Signature,
        },
        _ => Rejection::Malformed,
    }
}
