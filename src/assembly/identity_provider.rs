//! The IAM provider's parts: the issuer of IAM tokens, and the provider that logs people in.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use reqwest::Client;
use secrecy::SecretString;

use super::Defects;
use crate::{
    authentication::TrustedIssuer,
    bearer::{Rejection, Rules, logout_token},
    config::{self, Config},
    identity::Proof,
    jwks::{Jwks, KeySource, Place},
    login::VerifyLogout,
    oauth_client::AssertionKey,
    oidc::{self, Provider},
    refusal::{Reason, Refusal},
};

pub(super) fn http(config: &Config, defects: &mut Defects) -> Option<Client> {
    let iam = config.iam.as_ref()?;
    let ca = iam.client.as_ref().and_then(|client| client.ca.as_ref());
    super::http(ca, TIMEOUT, "iam.client.ca", defects)
}

/// Who issues IAM tokens, and the keys that a background task keeps fresh.
pub(super) fn issuer(config: &Config, http: &Client) -> Option<(TrustedIssuer, Arc<Jwks>)> {
    let iam = config.iam.as_ref()?;
    let algorithms = algorithms(&iam.algorithms);
    let place = Place::Discovered { issuer: iam.issuer.as_str().to_owned() };
    let keys = Jwks::new(place, algorithms.clone(), http.clone(), iam.jwks_refresh);
    let keys = Arc::new(keys);
    let rules = Rules {
        proof: Proof::IamToken,
        issuer: iam.issuer.as_str().into(),
        audience: iam.audience.clone(),
        algorithms,
        leeway: iam.leeway,
        roles: Some(iam.roles.clone()),
    };
    Some((TrustedIssuer { rules, keys: KeySource::Remote(Arc::clone(&keys)) }, keys))
}

/// Judges the provider's logout tokens, with the keys and algorithms of its other tokens; they are
/// for our client there.
pub(super) fn logout_tokens(
    config: &Config,
    issuer: Option<&(TrustedIssuer, Arc<Jwks>)>,
) -> Option<VerifyLogout> {
    let client = config.iam.as_ref()?.client.as_ref()?;
    let (issuer, _) = issuer?;
    let rules = Arc::new(issuer.rules.for_audience(&client.id));
    let source = issuer.keys.clone();
    Some(Arc::new(move |token, now| {
        let (rules, source) = (Arc::clone(&rules), source.clone());
        Box::pin(async move {
            let token = SecretString::from(token);
            let unreached = || Refusal::new(Reason::IamUnavailable, "its keys were never reached");
            let keys = match source.current() {
                Some(keys) => keys,
                None => source.keys_for_unknown_kid().await.ok_or_else(unreached)?,
            };
            match logout_token::verify(&token, &keys, &rules, now) {
                Err(Rejection::UnknownKey) => {
                    let newer = source.keys_for_unknown_kid().await.unwrap_or(keys);
                    Ok(logout_token::verify(&token, &newer, &rules, now)?)
                }
                verdict => Ok(verdict?),
            }
        })
    }))
}

/// The provider, where the gateway is a client of it.
pub(super) fn provider(
    config: &Config,
    http: &Client,
    defects: &mut Defects,
) -> Option<Arc<Provider>> {
    let (iam, session) = (config.iam.as_ref()?, config.session.as_ref()?);
    let client = iam.client.as_ref()?;
    let callback = format!("{}/callback", session.prefix);
    let callback = super::public_url(config, defects)?.join(&callback);
    let by_key = client.authentication == Some(config::ClientAuthentication::PrivateKeyJwt);
    let assertion_key = match &client.secret {
        Some(secret) if by_key => {
            let key = AssertionKey::new(&secret.expose().into());
            Some(Arc::new(defects.take("iam.client.secret", key)?))
        }
        _ => None,
    };
    let settings = oidc::Settings {
        issuer: iam.issuer.as_str().to_owned(),
        client_id: client.id.clone(),
        client_secret: client.secret.as_ref().map(|secret| secret.expose().into()),
        authentication: match (client.authentication, &client.secret) {
            (Some(config::ClientAuthentication::Post), _) => oidc::Authentication::Post,
            (Some(config::ClientAuthentication::PrivateKeyJwt), _) => {
                oidc::Authentication::PrivateKeyJwt
            }
            (Some(config::ClientAuthentication::None), _) | (None, None) => {
                oidc::Authentication::None
            }
            _ => oidc::Authentication::Basic,
        },
        assertion_key,
        scopes: client.scopes.clone(),
        resource: client.resource.clone(),
        redirect_uri: defects.take("session.prefix", callback)?,
        algorithms: algorithms(&iam.algorithms),
        leeway: iam.leeway,
    };
    defects.take("iam.client", Provider::new(settings, http.clone())).map(Arc::new)
}

fn algorithms(named: &[config::Algorithm]) -> Vec<Algorithm> {
    named
        .iter()
        .map(|algorithm| match algorithm {
            config::Algorithm::EdDsa => Algorithm::EdDSA,
            config::Algorithm::Es256 => Algorithm::ES256,
            config::Algorithm::Es384 => Algorithm::ES384,
            config::Algorithm::Rs256 => Algorithm::RS256,
            config::Algorithm::Rs384 => Algorithm::RS384,
            config::Algorithm::Rs512 => Algorithm::RS512,
            config::Algorithm::Ps256 => Algorithm::PS256,
            config::Algorithm::Ps384 => Algorithm::PS384,
            config::Algorithm::Ps512 => Algorithm::PS512,
        })
        .collect()
}

/// One call to the provider may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);
