//! The one credential that a request takes to its upstream. Only a [`Permit`] gets one.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    extension::{self, Source},
    identity::{Identity, Proof},
    policy::{Permit, Rights},
    refusal::{Reason, Refusal},
    sts::{Actor, Ask, Served, Sts},
    technical_user::TechnicalUser,
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
    /// What an extension knows how to get.
    Extension(Source),
}

impl Demand {
    /// Whether the upstream leaves it to this gateway alone to know callers, to ask for their
    /// permissions and to keep organisations apart.
    #[must_use]
    pub const fn is_unsafe(&self) -> bool {
        matches!(self, Self::Unchecked | Self::Static(_))
    }
}

/// In whose name the upstream is called.
#[derive(Clone, Debug, Default)]
pub enum ActAs {
    /// The caller's.
    #[default]
    Caller,
    /// A technical user's own.
    TechnicalUser(Arc<TechnicalUser>),
    /// The caller's, by a technical user on their behalf.
    Delegate(Arc<TechnicalUser>),
}

impl ActAs {
    /// The technical user, where there is one.
    #[must_use]
    pub const fn technical_user(&self) -> Option<&Arc<TechnicalUser>> {
        match self {
            Self::Caller => None,
            Self::TechnicalUser(user) | Self::Delegate(user) => Some(user),
        }
    }
}

/// For whom a token was issued that goes to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The caller.
    Caller,
    /// A technical user, who stands in the caller's place.
    TechnicalUser,
    /// The caller, with a technical user as its actor.
    Delegate,
}

/// What goes into the upstream's `Authorization`.
#[derive(Clone)]
pub enum Credential {
    /// Nothing.
    None,
    /// Whatever the caller sent, untouched: public routes, whose protocols have tokens of
    /// their own (OpenID4VCI access tokens, wallet attestations).
    Passed,
    /// An IAM token.
    Iam(SecretString, Holder),
    /// The app token that the caller brought.
    Own(SecretString),
    /// An app token of ours.
    App(Served, Holder),
    /// The upstream's static token.
    Static(Arc<SecretString>),
    /// What an extension gave.
    Extension(extension::Credential),
}

impl Credential {
    /// The word in records and in `explain`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passed => "passed",
            Self::Iam(_, holder) => holder.word("iam"),
            Self::Own(_) => "app",
            Self::App(_, holder) => holder.word("app"),
            Self::Static(_) => "static",
            Self::Extension(_) => "extension",
        }
    }

    /// The bearer token to send, where there is one.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        match self {
            Self::None | Self::Passed | Self::Extension(_) => None,
            Self::Iam(token, _) | Self::Own(token) => Some(token),
            Self::App(served, _) => Some(&served.token.issued.token),
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
            Self::Iam(_, Holder::Caller) => "the caller's IAM token",
            Self::Iam(..) => "the technical user's IAM token",
            Self::Own(_) => "the caller's own app token",
            Self::App(_, Holder::Caller) => "an app token of the token service",
            Self::App(_, Holder::TechnicalUser) => "the technical user's app token",
            Self::App(_, Holder::Delegate) => "a delegated app token of the token service",
            Self::Static(_) => "the upstream's static token",
            Self::Extension(_) => "a credential of an extension",
        })
    }
}

/// Shows the kind, never the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.word()).finish()
    }
}

impl Holder {
    const fn word(self, own: &'static str) -> &'static str {
        match self {
            Self::Caller => own,
            Self::TechnicalUser => "technical_user",
            Self::Delegate => "delegated",
        }
    }
}

/// What [`obtain`] will do for a caller in their own name.
pub enum Plan<'p> {
    /// It is at hand.
    Ready(Credential),
    /// Ask the token service for an app token.
    Ask(&'p Sts, Ask<'p>),
    /// Ask an extension.
    Extension(&'p Source),
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
        Demand::IamToken if identity.token.expose_secret().is_empty() => {
            return Err(Refusal::new(
                Reason::CredentialInvalid,
                "the upstream takes IAM tokens and the caller came without one",
            ));
        }
        Demand::IamToken => Plan::Ready(Credential::Iam(identity.token.clone(), holder(identity))),
        Demand::AppToken(_) if identity.proof == Proof::AppToken => {
            Plan::Ready(Credential::Own(identity.token.clone()))
        }
        Demand::Extension(source) => Plan::Extension(source),
        Demand::AppToken(audience) => {
            let sts = sts.ok_or_else(|| {
                Refusal::new(Reason::StsUnavailable, "no token service is configured")
            })?;
            Plan::Ask(sts, wish(permit, identity, None, audience))
        }
    })
}

/// Whose token it is that a caller has.
fn holder(identity: &Identity) -> Holder {
    match identity.proof {
        Proof::Certificate => Holder::TechnicalUser,
        Proof::Session | Proof::IamToken | Proof::AppToken | Proof::Extension => Holder::Caller,
    }
}

fn wish<'a>(
    permit: &'a Permit,
    identity: &'a Identity,
    actor: Option<&'a Actor>,
    audience: &'a Arc<str>,
) -> Ask<'a> {
    Ask {
        identity,
        actor,
        organisation: permit.organisation(),
        audience,
        permissions: permit.permissions(),
        scope: None,
    }
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The token service.
    pub sts: Option<&'a Sts>,
    /// Where it stands what somebody may do.
    pub rights: Rights<'a>,
}

/// Gets the credential that the upstream demands, and settles what the policy left to the
/// token service.
///
/// # Errors
/// Those of [`plan`], [`TechnicalUser::identity`], [`Permit::taken_over`] and
/// [`Permit::delegated`]; `sts_refused`, `sts_unavailable`, or `permission_missing` when the
/// issued token does not carry what the route demands.
pub async fn obtain(
    permit: &Permit,
    demand: &Demand,
    act_as: &ActAs,
    sources: Sources<'_>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    match act_as {
        ActAs::Caller => own(permit, demand, sources.sts, now).await,
        ActAs::TechnicalUser(user) => taken_over(permit, demand, user, sources, now).await,
        ActAs::Delegate(user) => delegated(permit, demand, user, sources, now).await,
    }
}

/// The credential of a technical user who does what the caller has been allowed to do.
async fn taken_over(
    permit: &Permit,
    demand: &Demand,
    user: &Arc<TechnicalUser>,
    Sources { sts, rights }: Sources<'_>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    let home = user.organisation();
    permit.at_home(home)?;
    // Nobody does through a technical user what they may not do themselves. With an outside token
    // service only their own app token tells.
    if permit.is_open(rights) {
        own(permit, demand, sts, now).await?;
    }
    let identity = user.identity(now).await?;
    if matches!(demand, Demand::IamToken) {
        return Ok(Credential::Iam(identity.token.clone(), Holder::TechnicalUser));
    }
    let permit = permit.taken_over(&identity, home, rights)?;
    match own(&permit, demand, sts, now).await? {
        Credential::App(served, _) => Ok(Credential::App(served, Holder::TechnicalUser)),
        other => Ok(other),
    }
}

/// A token for the caller with a technical user as its actor.
async fn delegated(
    permit: &Permit,
    demand: &Demand,
    user: &Arc<TechnicalUser>,
    Sources { sts, rights }: Sources<'_>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    let home = user.organisation();
    permit.at_home(home)?;
    let service = user.identity(now).await?;
    let permit = permit.delegated(&service, home, rights)?;
    let (Demand::AppToken(audience), Some(sts), Some(caller)) = (demand, sts, permit.identity())
    else {
        return Err(Refusal::new(Reason::StsUnavailable, "nobody issues delegated tokens"));
    };
    let actor = Actor::of(&service);
    let served = sts.app_token(wish(&permit, caller, Some(&actor), audience), now).await?;
    permit.settle(&served.token.issued.permissions)?;
    Ok(Credential::App(served, Holder::Delegate))
}

/// The credential of whoever a permit is for, in their own name.
async fn own(
    permit: &Permit,
    demand: &Demand,
    sts: Option<&Sts>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    match plan(permit, demand, sts)? {
        Plan::Ready(credential) => Ok(credential),
        Plan::Extension(source) => Box::pin(source.obtain(permit)).await.map(Credential::Extension),
        Plan::Ask(sts, ask) => {
            let served = sts.app_token(ask, now).await?;
            permit.settle(&served.token.issued.permissions)?;
            let holder = permit.identity().map_or(Holder::Caller, |identity| holder(identity));
            Ok(Credential::App(served, holder))
        }
    }
}
