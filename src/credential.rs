//! The one credential that a request takes to its upstream. Only a [`Permit`] gets one.

use std::{fmt, sync::Arc};

use secrecy::SecretString;

use crate::{
    identity::Proof,
    policy::Permit,
    refusal::{Reason, Refusal},
    sts::{Ask, Served, Sts},
    time::Timestamp,
};

/// What an upstream demands of a request.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Nothing; the route is public or the upstream takes no credential.
    Nothing,
    /// The caller's IAM token.
    IamToken,
    /// An app token for this audience.
    AppToken(Arc<str>),
}

/// What goes into the upstream's `Authorization`.
#[derive(Clone)]
pub enum Credential {
    /// Nothing.
    None,
    /// Whatever the caller sent, untouched: public routes, whose protocols have tokens of
    /// their own (OpenID4VCI access tokens, wallet attestations).
    Passed,
    /// The caller's IAM token.
    Iam(SecretString),
    /// The app token that the caller brought.
    Own(SecretString),
    /// An app token of ours.
    App(Served),
}

impl Credential {
    /// The word in records and in `explain`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passed => "passed",
            Self::Iam(_) => "iam",
            Self::Own(_) | Self::App(_) => "app",
        }
    }

    /// The bearer token to send, where there is one.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        match self {
            Self::None | Self::Passed => None,
            Self::Iam(token) | Self::Own(token) => Some(token),
            Self::App(served) => Some(&served.token.issued.token),
        }
    }
}

/// Shows the kind, never the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.word()).finish()
    }
}

/// Gets the credential that the upstream demands, and settles what the policy left to the
/// token service.
///
/// # Errors
/// `sts_refused`, `sts_unavailable`, or `permission_missing` when the issued token does not
/// carry what the route demands. `credential_invalid` when the caller's credential is of a kind
/// that cannot serve this upstream.
pub async fn obtain(
    permit: &Permit,
    demand: &Demand,
    sts: Option<&Sts>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    let Some(identity) = permit.identity() else { return Ok(Credential::Passed) };
    match demand {
        Demand::Nothing => Ok(Credential::None),
        Demand::IamToken if identity.proof == Proof::AppToken => Err(Refusal::new(
            Reason::CredentialInvalid,
            "the upstream takes IAM tokens and the caller brought an app token",
        )),
        Demand::IamToken => Ok(Credential::Iam(identity.token.clone())),
        Demand::AppToken(_) if identity.proof == Proof::AppToken => {
            Ok(Credential::Own(identity.token.clone()))
        }
        Demand::AppToken(audience) => {
            let sts = sts.ok_or_else(|| {
                Refusal::new(Reason::StsUnavailable, "no token service is configured")
            })?;
            let ask = Ask {
                identity,
                actor: None,
                organisation: permit.organisation(),
                audience,
                permissions: permit.permissions(),
                scope: None,
            };
            let served = sts.app_token(ask, now).await?;
            permit.settle(&served.token.issued.permissions)?;
            Ok(Credential::App(served))
        }
    }
}
