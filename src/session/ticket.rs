//! What a browser holds of a session that is kept elsewhere.
//!
//! The id is the one secret: the name under which the session is kept and the key that opens it
//! both come from it, and neither leads back to it. So who reads the store alone opens nothing,
//! and who has a ticket alone, which is sealed as every cookie of ours, has nothing to open. The
//! names of endings (see [`revocation`](super::revocation)) are there so that they are looked up
//! together with the session.

use super::{Session, revocation::Mark};
use crate::time::Timestamp;

/// A session's ticket.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The session's id.
    pub(crate) id: [u8; 16],
    /// The session's end.
    pub(crate) ends: Timestamp,
    /// What would end every session of its subject.
    pub(crate) subject: [u8; 32],
    /// What would end every session that belongs to its session of the provider.
    pub(crate) provider_session: Option<[u8; 32]>,
}

impl Ticket {
    pub(crate) fn of(session: &Session) -> Self {
        let provider_session = session.provider_session.as_deref();
        Self {
            id: session.id,
            ends: session.ends,
            subject: Mark::Subject(&session.subject).key(),
            provider_session: provider_session.map(|sid| Mark::ProviderSession(sid).key()),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.ends.0.to_be_bytes());
        bytes.extend_from_slice(&self.subject);
        bytes.extend_from_slice(self.provider_session.as_ref().map_or(&[], |key| key.as_slice()));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk::<1>()?;
        let (&id, rest) = rest.split_first_chunk::<16>()?;
        let (&ends, rest) = rest.split_first_chunk::<8>()?;
        let (&subject, rest) = rest.split_first_chunk::<32>()?;
        let provider_session = match rest {
            [] => None,
            key => Some(key.try_into().ok()?),
        };
        let ends = Timestamp(u64::from_be_bytes(ends));
        (version == VERSION).then_some(Self { id, ends, subject, provider_session })
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_bytes_undoes_to_bytes_and_takes_nothing_else() {
        let whole = Ticket {
            id: [1; 16],
            ends: Timestamp(2_000_000_000),
            subject: [2; 32],
            provider_session: Some([3; 32]),
        };
        let without = Ticket { provider_session: None, ..whole.clone() };
        for ticket in [whole, without] {
            let bytes = ticket.to_bytes();
            assert!(Ticket::from_bytes(&bytes) == Some(ticket));
            assert!(Ticket::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
            assert!(Ticket::from_bytes(&bytes[..bytes.len() - 1]).is_none());
            assert!(Ticket::from_bytes(&[&[9], &bytes[1..]].concat()).is_none());
        }
    }
}
