//! Browser sessions.

use std::{path::PathBuf, time::Duration};

use crate::config::{
    read::{choice, section},
    types::Secret,
};

section! {
    /// Browser sessions.
    pub struct Session {
        /// login, callback, logout, session and organisation live under it.
        prefix: String = "/.portcullis",
        /// Cookie name; sent with `__Host-` in front when `public_url` is https.
        cookie: String = "portcullis",
        /// The session cookie's SameSite.
        same_site: SameSite = "lax",
        /// 32-byte keys in base64; the first seals, all open.
        keys: Vec<Secret>,
        /// Where the session is kept.
        store: SessionStore = "cookie",
        /// Without a request for this long, the session ends.
        idle_timeout: Duration = "30m",
        /// The session ends this long after login, whatever happens.
        absolute_timeout: Duration = "12h",
        /// Path to which logout leads.
        after_logout: String = "/",
    }
}

choice! {
    /// A cookie's SameSite attribute.
    pub enum SameSite { Lax = "lax", Strict = "strict", None = "none" }
}

section! {
    /// Redis as the session store.
    pub struct Redis {
        /// redis://, redis+sentinel:// or redis+cluster:// URL; rediss in place of redis for TLS.
        url: Secret,
        /// CA certificates in PEM, in place of the system's, for TLS.
        ca: Option<PathBuf> = "null",
        /// Say so to go without TLS to another machine.
        plaintext: bool = "false",
    }
}

/// Where the session is kept: `cookie`, or `{ redis: { url } }`.
#[derive(Clone, Debug)]
pub enum SessionStore {
    /// Sealed in the cookie.
    Cookie,
    /// In Redis.
    Redis(Redis),
}
