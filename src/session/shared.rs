//! A state of a session that requests share, so that what follows from it is worked out once.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use super::Session;
use crate::identity::Identity;

/// One state of a session. It never changes; a newer state is another one.
pub struct Shared {
    session: Session,
    identity: OnceLock<Arc<Identity>>,
    public_id: OnceLock<Box<str>>,
}

impl Shared {
    /// Nothing is worked out yet.
    #[must_use]
    pub fn new(session: Session) -> Arc<Self> {
        Arc::new(Self { session, identity: OnceLock::new(), public_id: OnceLock::new() })
    }

    /// As [`Session::identity`].
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(self.identity.get_or_init(|| Arc::new(self.session.identity())))
    }

    /// As [`Session::public_id`].
    #[must_use]
    pub fn public_id(&self) -> &str {
        self.public_id.get_or_init(|| self.session.public_id().into())
    }

    /// The same state for whoever makes another one of it.
    #[must_use]
    pub fn to_session(&self) -> Session {
        self.session.clone()
    }
}

impl Deref for Shared {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// As a [`Session`].
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}
