//! What the provider remembers: logins under way, sessions, codes, refresh tokens. All of it is
//! bounded and lives in memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use portcullis::time::Timestamp;

use super::User;

/// A code is good for this long, and once.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// A login page, for this long.
const LOGIN_LIFETIME: Duration = Duration::from_secs(600);
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3_600);
/// Entries of each kind; the oldest goes first.
const BOUND: usize = 10_000;

/// An authorization request that passed every check and waits for its user.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) redirect: String,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: String,
    pub(crate) scopes: Vec<String>,
}

/// Who logged in, and when.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) at: Timestamp,
}

/// A code, and what it stands for.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) request: Request,
    pub(crate) login: Login,
}

/// What access and ID tokens are made from.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) client: String,
    pub(crate) subject: String,
    pub(crate) full_name: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) login: Option<Timestamp>,
}

impl Grant {
    /// For the demo's command line.
    pub(crate) fn for_demo(user: &User) -> Self {
        Self {
            client: "demo-command-line".to_owned(),
            subject: user.name.clone(),
            full_name: Some(user.full_name.clone()),
            roles: user.roles.clone(),
            scopes: Vec::new(),
            nonce: None,
            login: None,
        }
    }
}

/// What using a refresh token came to.
pub(crate) enum Refresh {
    Granted(Grant, Family),
    /// Unknown, or used a second time; then its whole family has been revoked.
    Refused,
}

/// All refresh tokens that go back to one login.
pub(crate) type Family = String;

struct Kept<V> {
    entries: HashMap<String, (Timestamp, V)>,
    order: VecDeque<String>,
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V> Kept<V> {
    fn insert(&mut self, key: String, expires: Timestamp, value: V) {
        if self.order.len() == BOUND
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, (expires, value));
    }

    fn find(&self, key: &str, now: Timestamp) -> Option<&V> {
        self.entries.get(key).filter(|(expires, _)| *expires > now).map(|(_, value)| value)
    }

    fn take(&mut self, key: &str, now: Timestamp) -> Option<V> {
        let (expires, value) = self.entries.remove(key)?;
        self.order.retain(|kept| kept != key);
        (expires > now).then_some(value)
    }
}

/// The provider's memory.
#[derive(Default)]
pub(crate) struct Book {
    logins: Kept<Request>,
    sessions: Kept<Login>,
    codes: Kept<Code>,
    refresh: Kept<(Grant, Family)>,
    used: Kept<Family>,
    revoked: HashSet<Family>,
}

impl Book {
    pub(crate) fn begin_login(&mut self, id: String, request: Request, now: Timestamp) {
        self.logins.insert(id, now + LOGIN_LIFETIME, request);
    }

    /// The login under way, which stays until it succeeds.
    pub(crate) fn login(&self, id: &str, now: Timestamp) -> Option<Request> {
        self.logins.find(id, now).cloned()
    }

    pub(crate) fn finish_login(&mut self, id: &str, now: Timestamp) -> Option<Request> {
        self.logins.take(id, now)
    }

    pub(crate) fn begin_session(&mut self, id: String, login: Login) {
        self.sessions.insert(id, login.at + SESSION_LIFETIME, login);
    }

    pub(crate) fn session(&self, id: &str, now: Timestamp) -> Option<Login> {
        self.sessions.find(id, now).cloned()
    }

    pub(crate) fn end_session(&mut self, id: &str) {
        self.sessions.take(id, Timestamp(0));
    }

    pub(crate) fn add_code(&mut self, id: String, code: Code, now: Timestamp) {
        self.codes.insert(id, now + CODE_LIFETIME, code);
    }

    /// Whatever comes of it, the code is gone.
    pub(crate) fn take_code(&mut self, id: &str, now: Timestamp) -> Option<Code> {
        self.codes.take(id, now)
    }

    pub(crate) fn add_refresh(
        &mut self,
        token: String,
        grant: Grant,
        family: Family,
        now: Timestamp,
    ) {
        self.refresh.insert(token, now + SESSION_LIFETIME, (grant, family));
    }

    /// Uses a refresh token up. A second use means that it was stolen from one of two holders,
    /// and ends both (RFC 9700, section 4.14.2).
    pub(crate) fn use_refresh(&mut self, token: &str, client: &str, now: Timestamp) -> Refresh {
        if let Some(family) = self.used.find(token, now).cloned() {
            self.revoked.insert(family);
            return Refresh::Refused;
        }
        if self.refresh.find(token, now).is_none_or(|(grant, _)| grant.client != client) {
            return Refresh::Refused;
        }
        let Some((grant, family)) = self.refresh.take(token, now) else { return Refresh::Refused };
        self.used.insert(token.to_owned(), now + SESSION_LIFETIME, family.clone());
        if self.revoked.contains(&family) {
            return Refresh::Refused;
        }
        Refresh::Granted(grant, family)
    }
}
