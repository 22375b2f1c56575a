//! A session as Redis holds it: a name that tells nothing, and a sealed body.

use aws_lc_rs::{
    digest,
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::ExposeSecret;

use crate::session::{
    Session,
    key_ring::{KeyRing, KeyRingError, Label},
};

/// The names and the key of one session's record. All of it comes from the session's id.
pub(crate) struct Record {
    /// Its place. What belongs to one session is in one slot of a cluster, by the braces.
    pub(super) key: String,
    /// The place of the lease on its refresh token.
    pub(super) lease: String,
    ring: KeyRing,
}

struct Secret;

impl KeyType for Secret {
    fn len(&self) -> usize {
        32
    }
}

impl Record {
    /// # Errors
    /// [`KeyRingError::Crypto`].
    pub(crate) fn of(id: &[u8; 16]) -> Result<Self, KeyRingError> {
        let id = Salt::new(HKDF_SHA256, b"portcullis session record").extract(id);
        let derive = |what: &[u8]| {
            let mut derived = [0; 32];
            id.expand(&[what], Secret)
                .and_then(|secret| secret.fill(&mut derived))
                .map_err(|_| KeyRingError::Crypto)?;
            Ok(derived)
        };
        let name = URL_SAFE_NO_PAD.encode(derive(b"name")?);
        Ok(Self {
            key: format!("portcullis:session:{{{name}}}"),
            lease: format!("portcullis:lease:{{{name}}}"),
            ring: KeyRing::new(vec![derive(b"key")?])?,
        })
    }

    /// # Errors
    /// [`KeyRingError::Crypto`].
    pub(crate) fn seal(&self, session: &Session) -> Result<Vec<u8>, KeyRingError> {
        let revision = session.revision.to_string();
        self.ring.seal(self.label(&revision), &session.to_bytes())
    }

    /// `None` when it is not this record's, of another revision, or of another version.
    pub(crate) fn open(&self, revision: &str, sealed: &[u8]) -> Option<Session> {
        Session::from_bytes(&self.ring.open(self.label(revision), sealed)?)
    }

    fn label<'a>(&'a self, revision: &'a str) -> Label<'a> {
        Label { purpose: "session record", name: &self.key, extra: revision }
    }
}

/// Names a session's refresh token, to those who have it.
pub(super) fn token_digest(session: &Session) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"portcullis refresh token\0");
    context.update(&session.id);
    let token = session.refresh_token.as_ref();
    context.update(token.map_or("", |token| token.expose_secret()).as_bytes());
    URL_SAFE_NO_PAD.encode(context.finish())
}
