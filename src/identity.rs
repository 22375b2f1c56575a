//! Who is asking, once that has been proven.

use std::{fmt, sync::Arc};

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{organisation::Organisation, permission::PermissionSet, time::Timestamp};

/// A caller whose credential was verified. Only [`crate::bearer`], [`crate::session`]
/// and [`crate::extension`] make one, and nothing else may set an identity header or ask for a credential (R32 in spirit:
/// unverified claims never have this type).
#[derive(Clone)]
pub struct Identity {
    /// What proved it.
    pub proof: Proof,
    /// `iss` of the token; identity is issuer and subject together.
    pub issuer: Arc<str>,
    /// `sub` of the token.
    pub subject: Arc<str>,
    /// IAM roles; empty for an app token.
    pub roles: Vec<Arc<str>>,
    /// The app token's `organisationId`, the session's active organisation, or the one that a
    /// certificate's technical user is bound to.
    pub organisation: Option<Organisation>,
    /// The app token's `permissions`; `None` where they follow from roles or from an exchange.
    pub permissions: Option<PermissionSet>,
    /// `act.sub` of a delegated app token.
    pub actor: Option<Arc<str>>,
    /// Every verified claim, for conditions.
    pub claims: Arc<Map<String, Value>>,
    /// The end of the token that proves it (`exp`, without leeway).
    pub expires: Timestamp,
    /// The token itself: the IAM token (also a session's), or the app token.
    pub token: SecretString,
}

/// The kind of credential behind an [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A session cookie; `token` is the IAM token inside.
    Session,
    /// A bearer IAM token.
    IamToken,
    /// A bearer app token.
    AppToken,
    /// What an authenticator of an extension recognises; `token` is empty unless it said one.
    Extension,
    /// The client certificate of a technical user; `token` is that user's IAM token.
    Certificate,
}

impl Proof {
    /// The word in records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::IamToken => "iam_token",
            Self::AppToken => "app_token",
            Self::Extension => "extension",
            Self::Certificate => "certificate",
        }
    }
}

impl Identity {
    /// Whether it is a technical user that acts in one organisation alone, and that is not `here`.
    #[must_use]
    pub fn is_bound_elsewhere(&self, here: Organisation) -> bool {
        self.proof == Proof::Certificate && self.organisation.is_some_and(|home| home != here)
    }
}

/// Who and by what, for operators: never the token, and no claim but the roles.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.proof {
            Proof::Session => "a session",
            Proof::IamToken => "an IAM token",
            Proof::AppToken => "an app token",
            Proof::Extension => "an extension",
            Proof::Certificate => "the token of a certificate's technical user",
        };
        write!(f, "{} by {by} of {}", self.subject, self.issuer)?;
        if let Some(actor) = &self.actor {
            write!(f, ", for whom {actor} acts")?;
        }
        if self.proof != Proof::AppToken {
            write!(f, ", roles: {}", if self.roles.is_empty() { "none" } else { "" })?;
            write!(f, "{}", self.roles.join(", "))?;
        }
        Ok(())
    }
}

/// Shows who, never the token or the claims.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("proof", &self.proof)
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}
