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
    /// Nothing; the upstream takes public routes only (`NONE`).
    Nothing,
    /// Nothing, and it checks nothing either: whoever reaches it may do everything
    /// (`UNSAFE_NONE`).
    Unchecked,
    /// The one token that everybody shows who may do everything (`UNSAFE_STATIC`).
    Static(Arc<SecretString>),
    /// The caller's IAM token.
    IamToken,
    /// An app token for this audience.
    AppToken(Arc<str>),
}

impl Demand {
    /// Whether the upstream leaves it to this gateway alone to know callers, to ask for their
    /// permissions and to keep organisations apart.
    #[must_use]
    pub const fn is_unsafe(&self) -> bool {
        matches!(self, Self::Unchecked | Self::Static(_))
    }
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
    /// The upstream's static token.
    Static(Arc<SecretString>),
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
            Self::Static(_) => "static",
        }
    }

    /// The bearer token to send, where there is one.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        match self {
            Self::None | Self::Passed => None,
            Self::Iam(token) | Self::Own(token) => Some(token),
            Self::App(served) => Some(&served.token.issued.token),
            Self::Static(token) => Some(token),
        }
    }
}

/// For operators: whose and for what, never the token.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Passed => "whatever the caller sent, untouched",
            Self::Iam(_) => "the caller's IAM token",
            Self::Own(_) => "the caller's own app token",
            Self::App(_) => "an app token of the token service",
            Self::Static(_) => "the upstream's static token",
        })
    }
}

/// Shows the kind, never the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.word()).finish()
    }
}

/// What [`obtain`] will do.
pub enum Plan<'p> {
    /// It is at hand.
    Ready(Credential),
    /// Ask the token service for an app token.
    Ask(&'p Sts, Ask<'p>),
}

/// Which credential a request needs, without asking anybody for it.
///
/// # Errors
/// `credential_invalid` when the caller's credential is of a kind that cannot serve this
/// upstream; `sts_unavailable` when there is no token service to ask.
pub fn plan<'p>(
    permit: &'p Permit,
    demand: &'p Demand,
    sts: Option<&'p Sts>,
) -> Result<Plan<'p>, Refusal> {
    // The static token as well is for those only whom this gateway knows: a public route leads to
    // protocol endpoints, which take tokens of their own and never that one.
    let Some(identity) = permit.identity() else { return Ok(Plan::Ready(Credential::Passed)) };
    Ok(match demand {
        Demand::Nothing | Demand::Unchecked => Plan::Ready(Credential::None),
        Demand::Static(token) => Plan::Ready(Credential::Static(Arc::clone(token))),
        Demand::IamToken if identity.proof == Proof::AppToken => {
            return Err(Refusal::new(
                Reason::CredentialInvalid,
                "the upstream takes IAM tokens and the caller brought an app token",
            ));
        }
        Demand::IamToken => Plan::Ready(Credential::Iam(identity.token.clone())),
        Demand::AppToken(_) if identity.proof == Proof::AppToken => {
            Plan::Ready(Credential::Own(identity.token.clone()))
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
            Plan::Ask(sts, ask)
        }
    })
}

/// Gets the credential that the upstream demands, and settles what the policy left to the
/// token service.
///
/// # Errors
/// Those of [`plan`]; `sts_refused`, `sts_unavailable`, or `permission_missing` when the issued
/// token does not carry what the route demands.
pub async fn obtain(
    permit: &Permit,
    demand: &Demand,
    sts: Option<&Sts>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    match plan(permit, demand, sts)? {
        Plan::Ready(credential) => Ok(credential),
        Plan::Ask(sts, ask) => {
            let served = sts.app_token(ask, now).await?;
            permit.settle(&served.token.issued.permissions)?;
            Ok(Credential::App(served))
        }
    }
}
