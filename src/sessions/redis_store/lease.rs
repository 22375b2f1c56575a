//! The right to show a refresh token, and what comes of it.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    RedisStore, Unreachable, eval, random,
    record::{Record, token_digest},
    script, sealed,
};
use crate::{
    session::Session,
    sessions::store::{Fence, Lease},
};

/// Who has a lease, and the task that renews it.
pub(in crate::sessions) struct Holder {
    owner: String,
    keeper: JoinHandle<()>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl RedisStore {
    /// Waits as long as another process holds the lease, within bounds.
    pub(in crate::sessions) async fn lease(&self, session: &Session) -> Lease {
        let (Ok(record), Some(owner)) = (Record::of(&session.id), random()) else {
            return Lease::Unreachable;
        };
        let mut command = eval(script::LEASE, &[&record.key, &record.lease]);
        command.arg(&owner).arg(millis(LEASE)).arg(token_digest(session));
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut pause = SHORTEST_POLL;
        while Instant::now() < deadline {
            let Ok(words) = self.words(&command).await else { return Lease::Unreachable };
            match words.first().map(String::as_str) {
                Some("granted") => {
                    let Some(number) = words.get(1).and_then(|fence| fence.parse().ok()) else {
                        return Lease::Unreachable;
                    };
                    let keeper = tokio::spawn(self.keeper(record, owner.clone()));
                    return Lease::Granted(Fence {
                        number,
                        holder: Some(Holder { owner, keeper }),
                    });
                }
                Some("newer") => {
                    return match self.read(&record).await {
                        Ok(Some(Ok(newer))) => Lease::Newer(Box::new(newer)),
                        Ok(_) => Lease::Ended,
                        Err(Unreachable) => Lease::Unreachable,
                    };
                }
                Some("spent") => return Lease::Spent,
                Some("ended") => return Lease::Ended,
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_POLL);
        }
        Lease::Unreachable
    }

    /// Renews a lease until it is dropped, or has been held for longer than any provider takes.
    fn keeper(&self, record: Record, owner: String) -> impl Future<Output = ()> + use<> {
        let redis = Arc::clone(&self.redis);
        async move {
            let mut command = eval(script::RENEW, &[&record.key, &record.lease]);
            command.arg(owner).arg(millis(LEASE));
            let end = Instant::now() + LONGEST_LEASE;
            while Instant::now() < end {
                tokio::time::sleep(LEASE / 4).await;
                // A renewal that fails is tried again in time; the fence guards against the rest.
                if redis.run::<Vec<String>>(&command).await.is_ok_and(|words| words == ["lost"]) {
                    return;
                }
            }
        }
    }

    /// A refresh token that was used up must not be lost to a moment without Redis, so this goes
    /// on for a while.
    pub(in crate::sessions) async fn commit(
        &self,
        fence: &Fence,
        session: Session,
    ) -> Result<Option<Session>, Unreachable> {
        let deadline = Instant::now() + LONGEST_COMMIT;
        let mut pause = SHORTEST_POLL;
        loop {
            match self.commit_once(fence, session.clone()).await {
                Ok(Committed::Kept(session)) => return Ok(Some(*session)),
                Ok(Committed::Lost) => return Ok(None),
                Err(Unreachable) if Instant::now() >= deadline => return Err(Unreachable),
                Ok(Committed::Conflict) | Err(Unreachable) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_POLL);
        }
    }

    async fn commit_once(&self, fence: &Fence, session: Session) -> Result<Committed, Unreachable> {
        let Ok(record) = Record::of(&session.id) else { return Ok(Committed::Lost) };
        // The organisation may have been changed since the lease.
        let Some(Ok(newest)) = self.read(&record).await? else { return Ok(Committed::Lost) };
        let token = newest.access_token.expose_secret();
        if token == session.access_token.expose_secret()
            && token_digest(&newest) == token_digest(&session)
        {
            // The one before this one was kept, and its answer lost.
            return Ok(Committed::Kept(Box::new(newest)));
        }
        let revision = newest.revision.saturating_add(1);
        let session = Session {
            organisation: newest.organisation,
            last_seen: newest.last_seen,
            revision,
            ..session
        };
        let Ok(sealed) = sealed(&record, &session) else {
            log::error!(session = session.public_id(); "the session has become too large to keep");
            return Ok(Committed::Lost);
        };
        let owner = fence.holder.as_ref().map_or("", |holder| holder.owner.as_str());
        let mut command = eval(script::COMMIT, &[&record.key, &record.lease]);
        command.arg(newest.revision);
        self.expiry_from_seen(&mut command, &session);
        command.arg(revision).arg(sealed).arg(token_digest(&session));
        command.arg(fence.number).arg(owner);
        Ok(match self.word(&command).await?.as_str() {
            "kept" => Committed::Kept(Box::new(session)),
            "conflict" => Committed::Conflict,
            _ => Committed::Lost,
        })
    }

    /// Ends a lease that brought nothing; `unused` when the token can be shown again.
    pub(in crate::sessions) async fn release(
        &self,
        fence: &Fence,
        session: &Session,
        unused: bool,
    ) {
        let (Ok(record), Some(holder)) = (Record::of(&session.id), &fence.holder) else { return };
        let mut command = eval(script::RELEASE, &[&record.key, &record.lease]);
        command.arg(&holder.owner).arg(fence.number).arg(i32::from(unused));
        // Failing that, the lease ends by itself, and its intent stays.
        let _ = self.word(&command).await;
    }
}

enum Committed {
    Kept(Box<Session>),
    /// The session was ended, or somebody else had a later lease.
    Lost,
    Conflict,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A dead holder keeps others waiting so long; a living one renews it.
pub(super) const LEASE: Duration = Duration::from_secs(3);
const LONGEST_LEASE: Duration = Duration::from_mins(1);
/// Longer than a provider may take, and a dead holder's lease.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const LONGEST_COMMIT: Duration = Duration::from_secs(30);
const SHORTEST_POLL: Duration = Duration::from_millis(25);
const LONGEST_POLL: Duration = Duration::from_millis(250);
