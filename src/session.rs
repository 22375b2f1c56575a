//! A browser's session: what it holds and whether it still counts.
//!
//! Pure: [`cookie`] carries it between requests, [`key_ring`] seals it, [`refresh`] says when its
//! tokens are renewed and what comes of it, [`revocation`] which sessions were ended before their
//! time. `login` makes sessions and `sessions` puts them to work.
//!
//! Without a refresh token a session ends with its IAM token. With one it lives on, to the
//! earliest of its idle time-out, its absolute time-out and the end that the provider names.

pub mod cookie;
pub mod key_ring;
pub mod refresh;
pub mod revocation;
mod shared;
pub(crate) mod ticket;

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    identity::{Identity, Proof},
    organisation::Organisation,
    time::Timestamp,
};

pub use self::{
    cookie::{Cookies, Jar, Opened, Pieces},
    shared::Shared,
};

/// One browser's login.
#[derive(Clone)]
pub struct Session {
    /// Random, new at every login (R14); leaves the gateway as [`Session::public_id`] alone.
    pub id: [u8; 16],
    /// `iss` of the IAM token.
    pub issuer: Arc<str>,
    /// `sub` of the IAM token.
    pub subject: Arc<str>,
    /// What people call the subject, where the provider says.
    pub name: Option<String>,
    /// The provider's name for its own session (`sid` of the ID token), which a logout there names.
    pub provider_session: Option<Arc<str>>,
    /// IAM roles as verified at login or at the last refresh (R26).
    pub roles: Vec<Arc<str>>,
    /// The IAM token.
    pub access_token: SecretString,
    /// When the IAM token came.
    pub token_since: Timestamp,
    /// The IAM token's `exp`.
    pub token_expires: Timestamp,
    /// The ID token, which a logout at the provider names.
    pub id_token: Option<SecretString>,
    /// What would renew the IAM token.
    pub refresh_token: Option<SecretString>,
    /// When the login was completed.
    pub began: Timestamp,
    /// The last request that was written down; slides in steps, see [`Session::check`].
    pub last_seen: Timestamp,
    /// The end that no activity moves, frozen at login.
    pub ends: Timestamp,
    /// The end that the provider names; each refresh may bring another.
    pub provider_ends: Option<Timestamp>,
    /// Counts what was changed since the login: of two states of one session the higher is newer.
    pub revision: u32,
    /// The organisation that the user acts in.
    pub organisation: Option<Organisation>,
}

/// Whether a session counts at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Active,
    /// It does, and [`Session::seen`] must be saved again for the idle time-out to slide.
    Touch,
    /// It does not.
    Expired(Limit),
}

/// The limit at which a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing was asked for too long.
    Idle,
    /// The login is too long ago.
    Absolute,
    /// The provider's session is over.
    Provider,
    /// The IAM token's `exp` is over, and nothing renews it.
    Token,
}

/// What a completed login knows.
pub struct Grant {
    /// The verified IAM token.
    pub identity: Identity,
    /// What people call the subject.
    pub name: Option<String>,
    /// The verified ID token.
    pub id_token: Option<SecretString>,
    /// What would renew the IAM token.
    pub refresh_token: Option<SecretString>,
    /// `sid` of the ID token.
    pub provider_session: Option<Arc<str>>,
    /// The end that the provider names.
    pub provider_ends: Option<Timestamp>,
}

impl Limit {
    /// What is told of it in the log.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Idle => "the session was idle for too long",
            Self::Absolute => "the session's absolute time is over",
            Self::Provider => "the provider's session is over",
            Self::Token => "the session's IAM token is over",
        }
    }
}

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes are available")]
pub struct NoRandomness;

impl Session {
    /// A new session, with a new id.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn begin(grant: Grant, now: Timestamp, absolute: Duration) -> Result<Self, NoRandomness> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| NoRandomness)?;
        let Grant { identity, name, id_token, refresh_token, provider_session, provider_ends } =
            grant;
        Ok(Self {
            id,
            issuer: identity.issuer,
            subject: identity.subject,
            name,
            provider_session,
            roles: identity.roles,
            access_token: identity.token,
            token_since: now,
            token_expires: identity.expires,
            id_token,
            refresh_token,
            began: now,
            last_seen: now,
            ends: now + absolute,
            provider_ends,
            revision: 0,
            organisation: None,
        })
    }

    /// Whether it counts now. `idle` and `absolute` are today's settings: shortening `absolute`
    /// also ends sessions that began before, lengthening it does not revive them.
    ///
    /// [`State::Touch`] comes once a tenth of `idle` (at least a second) has passed since
    /// [`Session::last_seen`], so not every response sets a cookie; a user is therefore cut off
    /// between nine tenths of `idle` and `idle` after the last request.
    #[must_use]
    pub fn check(&self, now: Timestamp, idle: Duration, absolute: Duration) -> State {
        let unseen = now.since(self.last_seen);
        if now >= self.ends.min(self.began + absolute) {
            State::Expired(Limit::Absolute)
        } else if unseen >= idle {
            State::Expired(Limit::Idle)
        } else if self.provider_ends.is_some_and(|end| now >= end) {
            State::Expired(Limit::Provider)
        } else if now >= self.token_expires && self.refresh_token.is_none() {
            State::Expired(Limit::Token)
        } else if unseen >= (idle / 10).max(Duration::from_secs(1)) {
            State::Touch
        } else {
            State::Active
        }
    }

    /// The same session after a request at `now`, to be saved.
    #[must_use]
    pub fn seen(mut self, now: Timestamp) -> Self {
        self.last_seen = self.last_seen.max(now);
        self
    }

    /// When it ends if nothing but its idle time-out is kept from ending it.
    #[must_use]
    pub fn last_moment(&self, absolute: Duration) -> Timestamp {
        let ends = self.ends.min(self.began + absolute);
        let ends = self.provider_ends.map_or(ends, |end| end.min(ends));
        if self.refresh_token.is_some() { ends } else { ends.min(self.token_expires) }
    }

    /// This state of a session, or a newer one with what only this request knows: when the
    /// session was last seen.
    #[must_use]
    pub fn or_newer(self, other: &Self) -> Self {
        if other.id != self.id || other.revision <= self.revision {
            return self;
        }
        Self { last_seen: self.last_seen.max(other.last_seen), ..other.clone() }
    }

    /// The same session in another organisation, as a newer state.
    #[must_use]
    pub fn acting_in(self, organisation: Organisation) -> Self {
        let revision = self.revision.saturating_add(1);
        Self { organisation: Some(organisation), revision, ..self }
    }

    /// Who is asking. The claims are those of the IAM token, which was verified when it came and
    /// has been under our seal since.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            proof: Proof::Session,
            issuer: Arc::clone(&self.issuer),
            subject: Arc::clone(&self.subject),
            roles: self.roles.clone(),
            organisation: self.organisation,
            permissions: None,
            actor: None,
            claims: Arc::new(self.claims()),
            expires: self.token_expires,
            token: self.access_token.clone(),
        }
    }

    /// A hash that names the session to upstreams and in records, and opens nothing.
    #[must_use]
    pub fn public_id(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"portcullis session id\0");
        context.update(&self.id);
        let digest = context.finish();
        URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default())
    }

    /// An opaque token has no claims but those that the gateway itself recorded.
    fn claims(&self) -> Map<String, Value> {
        let payload = self.access_token.expose_secret().split('.').nth(1);
        payload
            .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .unwrap_or_else(|| {
                let mut claims = Map::new();
                claims.insert("iss".into(), Value::from(&*self.issuer));
                claims.insert("sub".into(), Value::from(&*self.subject));
                claims.insert("exp".into(), Value::from(self.token_expires.0));
                claims
            })
    }

    /// The compact form that is sealed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let record = Record {
            version: VERSION,
            id: URL_SAFE_NO_PAD.encode(self.id),
            issuer: &*self.issuer,
            subject: &*self.subject,
            name: self.name.as_deref(),
            provider_session: self.provider_session.as_deref(),
            roles: self.roles.iter().map(|role| &**role).collect(),
            access_token: self.access_token.expose_secret(),
            token_since: self.token_since,
            token_expires: self.token_expires,
            id_token: self.id_token.as_ref().map(ExposeSecret::expose_secret),
            refresh_token: self.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            began: self.began,
            last_seen: self.last_seen,
            ends: self.ends,
            provider_ends: self.provider_ends,
            revision: self.revision,
            organisation: self.organisation,
        };
        // Strings and numbers alone always serialise.
        serde_json::to_vec(&record).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record: Record<String> = serde_json::from_slice(bytes).ok()?;
        if record.version != VERSION {
            return None;
        }
        Some(Self {
            id: URL_SAFE_NO_PAD.decode(record.id).ok()?.try_into().ok()?,
            issuer: record.issuer.into(),
            subject: record.subject.into(),
            name: record.name,
            provider_session: record.provider_session.map(Into::into),
            roles: record.roles.into_iter().map(Into::into).collect(),
            access_token: record.access_token.into(),
            token_since: record.token_since,
            token_expires: record.token_expires,
            id_token: record.id_token.map(Into::into),
            refresh_token: record.refresh_token.map(Into::into),
            began: record.began,
            last_seen: record.last_seen,
            ends: record.ends,
            provider_ends: record.provider_ends,
            revision: record.revision,
            organisation: record.organisation,
        })
    }
}

/// Shows which and whose, never a token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.public_id())
            .field("subject", &self.subject)
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

/// A [`Session`] as sealed: one letter a field, since cookies are small. A field may be added
/// with `default`; any other change is a new [`VERSION`].
#[derive(Serialize, Deserialize)]
struct Record<S> {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "d")]
    id: String,
    #[serde(rename = "i")]
    issuer: S,
    #[serde(rename = "s")]
    subject: S,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<S>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    provider_session: Option<S>,
    #[serde(rename = "r")]
    roles: Vec<S>,
    #[serde(rename = "a")]
    access_token: S,
    #[serde(rename = "w")]
    token_since: Timestamp,
    #[serde(rename = "x")]
    token_expires: Timestamp,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    id_token: Option<S>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<S>,
    #[serde(rename = "b")]
    began: Timestamp,
    #[serde(rename = "l")]
    last_seen: Timestamp,
    #[serde(rename = "e")]
    ends: Timestamp,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    provider_ends: Option<Timestamp>,
    #[serde(rename = "c")]
    revision: u32,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    organisation: Option<Organisation>,
}

const VERSION: u8 = 2;
