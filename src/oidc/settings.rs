//! What has to be known about a provider, and what of it is refused before any use.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use openidconnect::{IssuerUrl, core::CoreJwsSigningAlgorithm};
use secrecy::SecretString;
use url::Url;

use crate::oauth_client::AssertionKey;

/// How the provider is found and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, compared byte for byte with what the provider says of itself. A string
    /// because a parsed URL adds a final `/` to a bare origin.
    pub issuer: String,
    /// Our client there.
    pub client_id: String,
    /// Its secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// How the secret is shown to the token endpoint.
    pub authentication: Authentication,
    /// What signs in place of a secret.
    pub assertion_key: Option<Arc<AssertionKey>>,
    /// Scopes to ask for; `openid` is always among them.
    pub scopes: Vec<String>,
    /// The resource that the access token is for (RFC 8707).
    pub resource: Option<String>,
    /// Our callback as the provider has it registered.
    pub redirect_uri: Url,
    /// What ID tokens may be signed with; asymmetric ones only.
    pub algorithms: Vec<Algorithm>,
    /// How far the provider's clock may be from ours.
    pub leeway: Duration,
}

/// How the client's secret is shown (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// In the `Authorization` header.
    Basic,
    /// In the body.
    Post,
    /// A key signs for it (`private_key_jwt`).
    PrivateKeyJwt,
    /// Not at all: a public client.
    None,
}

/// [`Settings`] that could not work or would not be safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No URL, or neither HTTP nor HTTPS.
    #[error("the issuer is not an http or https URL")]
    Issuer,
    /// `HS*` makes every holder of the client's secret an issuer.
    #[error("{0:?} cannot be used for ID tokens: list asymmetric algorithms")]
    Algorithm(Algorithm),
    /// Nothing could be verified.
    #[error("no algorithm is allowed for ID tokens")]
    NoAlgorithm,
    /// Basic and post need a secret, `private_key_jwt` a key.
    #[error("this client authentication needs a client secret, or a private key")]
    NoSecret,
}

impl Settings {
    /// The issuer, after what else has to be right was checked.
    pub(super) fn issuer(&self) -> Result<IssuerUrl, SettingsError> {
        let provable = match self.authentication {
            Authentication::Basic | Authentication::Post => self.client_secret.is_some(),
            Authentication::PrivateKeyJwt => self.assertion_key.is_some(),
            Authentication::None => true,
        };
        if !provable {
            return Err(SettingsError::NoSecret);
        }
        IssuerUrl::new(self.issuer.clone())
            .ok()
            .filter(|issuer| matches!(issuer.url().scheme(), "https" | "http"))
            .ok_or(SettingsError::Issuer)
    }

    /// The algorithms in the words of `openidconnect`.
    pub(super) fn algorithms(&self) -> Result<Vec<CoreJwsSigningAlgorithm>, SettingsError> {
        if self.algorithms.is_empty() {
            return Err(SettingsError::NoAlgorithm);
        }
        self.algorithms.iter().copied().map(asymmetric).collect()
    }
}

fn asymmetric(algorithm: Algorithm) -> Result<CoreJwsSigningAlgorithm, SettingsError> {
    Ok(match algorithm {
        Algorithm::EdDSA => CoreJwsSigningAlgorithm::EdDsa,
        Algorithm::ES256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::ES384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        Algorithm::RS256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        Algorithm::RS384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        Algorithm::RS512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
        Algorithm::PS256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        Algorithm::PS384 => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
        Algorithm::PS512 => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
        other => return Err(SettingsError::Algorithm(other)),
    })
}
