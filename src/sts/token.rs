//! App tokens and those who act with them: plain values.

use std::sync::Arc;

use secrecy::SecretString;

use crate::{
    organisation::Organisation, permission::PermissionSet, sts::cache::Key, time::Timestamp,
};

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

/// An app token that may be handed to an upstream now.
#[derive(Debug)]
pub struct AppToken {
    /// The token and what it says.
    pub issued: Issued,
    /// Where it is kept.
    pub(super) key: Key,
}
