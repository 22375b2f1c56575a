//! Whom an authenticator has recognised.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{
    identity::{Identity, Proof},
    organisation::Organisation,
    time::Timestamp,
};

/// What an authenticator found: three answers, so that a bad credential never becomes anonymous.
#[derive(Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// The request has no credential of this kind; the next kind that the route accepts is tried.
    NotPresented,
    /// This is who asks.
    Authenticated(Subject),
    /// There is a credential, and it proves nothing: 401 `credential_invalid`, whatever else the
    /// request brings. What it says is for the records, and must hold no part of the credential.
    Failed(Cow<'static, str>),
}

impl Authentication {
    /// Begins to say who asks: their name, by which records, limits and the upstream's app token
    /// know them.
    #[must_use]
    pub fn subject(name: impl Into<String>) -> Subject {
        Subject {
            name: name.into(),
            roles: Vec::new(),
            organisation: None,
            claims: Map::new(),
            expires: None,
            token: None,
        }
    }

    /// There is a credential, and it proves nothing.
    #[must_use]
    pub fn failed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(why.into())
    }
}

impl From<Subject> for Authentication {
    fn from(subject: Subject) -> Self {
        Self::Authenticated(subject)
    }
}

/// Who asks, as an authenticator says. What they may do is for `iam_roles` to say, by their roles.
///
/// Their issuer is `authenticator:NAME`, so that they are never taken for somebody of the IAM
/// provider with the same name. The app token that an upstream gets has the name alone: choose
/// names that no subject of the IAM provider has.
pub struct Subject {
    name: String,
    roles: Vec<Arc<str>>,
    organisation: Option<String>,
    claims: Map<String, Value>,
    expires: Option<SystemTime>,
    token: Option<SecretString>,
}

impl Subject {
    /// Adds an IAM role, which `iam_roles` maps to permissions in organisations.
    #[must_use]
    pub fn role(mut self, role: impl AsRef<str>) -> Self {
        self.roles.push(role.as_ref().into());
        self
    }

    /// The organisation in which they act when the request names none: a UUID.
    #[must_use]
    pub fn organisation(mut self, id: impl Into<String>) -> Self {
        self.organisation = Some(id.into());
        self
    }

    /// A claim, for conditions. `sub` and `iss` are set by the gateway.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// When their credential ends. No app token for them lives longer than that; default: five
    /// minutes from now, since they are authenticated anew with each request.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// An IAM token of theirs, for upstreams that take IAM tokens and for an outside token service.
    /// The gateway does not look into it.
    #[must_use]
    pub fn iam_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(SecretString::from(token.into()));
        self
    }

    /// Whether the time of their credential is over.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| Timestamp::from(at) <= now)
    }

    /// The identity, vouched for by `issuer`.
    ///
    /// # Errors
    /// What about it no identity can have.
    pub(super) fn identity(
        mut self,
        issuer: &Arc<str>,
        now: Timestamp,
    ) -> Result<Identity, &'static str> {
        let fits = |text: &str| {
            !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
        };
        if !fits(&self.name) {
            return Err("the subject is empty, too long or has control characters");
        }
        if self.roles.len() > MOST_ROLES || !self.roles.iter().all(|role| fits(role)) {
            return Err("there are too many roles, or one that is no role");
        }
        let organisation = match self.organisation.as_deref().map(Organisation::parse) {
            None => None,
            Some(Some(organisation)) => Some(organisation),
            Some(None) => return Err("the organisation is no UUID"),
        };
        self.claims.insert("sub".to_owned(), self.name.as_str().into());
        self.claims.insert("iss".to_owned(), (&**issuer).into());
        Ok(Identity {
            proof: Proof::Extension,
            issuer: Arc::clone(issuer),
            subject: self.name.into(),
            roles: self.roles,
            organisation,
            permissions: None,
            actor: None,
            claims: Arc::new(self.claims),
            expires: self.expires.map_or(now + BELIEVED_FOR, Timestamp::from),
            token: self.token.unwrap_or_default(),
        })
    }
}

/// Shows who, and no claim or token.
impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Bytes of a subject or role.
const LONGEST: usize = 256;
const MOST_ROLES: usize = 1024;
const BELIEVED_FOR: std::time::Duration = std::time::Duration::from_mins(5);
