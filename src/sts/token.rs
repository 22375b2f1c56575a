//! App tokens, those who act with them, and the wish for one: plain values.

use std::sync::Arc;

use secrecy::SecretString;

use crate::{
    identity::Identity, organisation::Organisation, permission::PermissionSet, sts::cache::Key,
    time::Timestamp,
};

/// A caller's wish for an app token. Only for somebody whose request is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The caller.
    pub identity: &'a Identity,
    /// Who acts for the caller, for a delegated token.
    pub actor: Option<&'a Actor>,
    /// The organisation that the request is about.
    pub organisation: Option<Organisation>,
    /// The upstream's audience.
    pub audience: &'a Arc<str>,
    /// What a minted token will carry. An outside service decides that itself, and is asked for
    /// these where the configured scope names them.
    pub permissions: &'a PermissionSet,
    /// In place of the configured scope of an exchange.
    pub scope: Option<&'a Arc<str>>,
}

/// A service that acts for a caller, with its own verified IAM token.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `sub` of its token.
    pub subject: Arc<str>,
    /// The token.
    pub token: SecretString,
    /// The token's end.
    pub expires: Timestamp,
}

/// A token as it came from a token service.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: SecretString,
    /// `sub`.
    pub subject: Arc<str>,
    /// `act.sub`.
    pub actor: Option<Arc<str>>,
    /// `organisationId`.
    pub organisation: Option<Organisation>,
    /// `permissions`.
    pub permissions: PermissionSet,
    /// When it ends: `exp`, or earlier when the service says so.
    pub expires: Timestamp,
    /// `jti`, which is for records what the token is for Core.
    pub id: Option<Arc<str>>,
}

/// A token has just been issued: what records say of it.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    /// `issuer` for ourselves, `exchange` for an outside service.
    pub source: &'static str,
    /// The one upstream that it is for.
    pub audience: &'a str,
    /// The token; records show everything of it but itself.
    pub issued: &'a Issued,
}

/// An app token that may be handed to an upstream now.
#[derive(Debug)]
pub struct AppToken {
    /// The token and what it says.
    pub issued: Issued,
    /// Where it is kept.
    pub(super) key: Key,
}

/// An app token as it was handed out.
#[derive(Clone, Debug)]
pub struct Served {
    /// The token.
    pub token: Arc<AppToken>,
    /// Whether it had been issued before it was asked for, so that a new one may be better.
    pub cached: bool,
}
