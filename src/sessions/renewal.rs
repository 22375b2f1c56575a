//! Having tokens renewed: one attempt at a time for a session, in a task of its own.
//!
//! A request that leaves takes no attempt with it, because what comes of it is wanted all the same:
//! the refresh token may be good for one use. Its result is in the store before anybody hears of
//! it, so whoever comes later finds it there and never shows the old token again.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    VerifyIam,
    refreshes::Refreshes,
    store::{Fence, Lease, Store},
};
use crate::{
    flight::{Flight, Flights, Seat},
    oidc::{Provider, RefreshError},
    session::{
        Session,
        refresh::{self, Next, Outcome, Renewal},
        revocation::Mark,
    },
    time::Timestamp,
};

/// Has tokens renewed.
pub(super) struct Renewer {
    store: Arc<Store>,
    provider: Arc<Provider>,
    verify_iam: VerifyIam,
    flights: Arc<Flights<SessionId, Landed>>,
    /// Sessions whose last attempt brought nothing.
    failures: Cache<SessionId, Failure>,
    slots: Arc<Semaphore>,
    refreshes: Refreshes,
}

type SessionId = [u8; 16];

/// What a request gets that wants new tokens.
pub(super) enum Attempt {
    /// A place among those who wait.
    UnderWay(Seat<Landed>),
    /// The last attempt brought nothing; there is none before this moment.
    Paused(Timestamp),
}

/// What an attempt came to.
#[derive(Clone)]
pub(super) enum Landed {
    Renewed(Arc<Session>),
    Kept { retry: Timestamp },
    Ended(&'static str),
}

#[derive(Clone, Copy)]
struct Failure {
    in_a_row: u32,
    retry: Timestamp,
}

impl Renewer {
    /// With the attempts that are under way at the one `before`, whose place it takes.
    pub(super) fn new(
        store: Arc<Store>,
        provider: Arc<Provider>,
        verify_iam: VerifyIam,
        before: Option<&Self>,
    ) -> Self {
        let (flights, failures, slots) = match before {
            Some(Self { flights, failures, slots, .. }) => {
                (Arc::clone(flights), failures.clone(), Arc::clone(slots))
            }
            None => (
                Flights::new(),
                Cache::builder()
                    .max_capacity(MOST_FAILURES)
                    .time_to_live(FAILURE_REMEMBERED)
                    .build(),
                Arc::new(Semaphore::new(MOST_AT_ONCE)),
            ),
        };
        let refreshes = Refreshes::default();
        Self { store, provider, verify_iam, flights, failures, slots, refreshes }
    }

    /// What came of every attempt so far.
    pub(super) const fn refreshes(&self) -> &Refreshes {
        &self.refreshes
    }

    /// Joins the attempt that is under way for a session, or begins one.
    pub(super) fn attempt(self: &Arc<Self>, session: &Session, now: Timestamp) -> Attempt {
        let failure = self.failures.get(&session.id);
        if let Some(failure) = failure
            && now < failure.retry
        {
            return Attempt::Paused(failure.retry);
        }
        let (seat, flight) = self.flights.board(session.id);
        if let Some(flight) = flight {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                log::warn!("{MOST_AT_ONCE} refreshes are under way; another one has to wait");
                return Attempt::Paused(now + Duration::from_secs(1));
            };
            let (renewer, session) = (Arc::clone(self), session.clone());
            tokio::spawn(async move {
                renewer.fly(flight, session, now).await;
                drop(slot);
            });
        }
        Attempt::UnderWay(seat)
    }

    async fn fly(&self, flight: Flight<SessionId, Landed>, session: Session, now: Timestamp) {
        // The last attempt may have failed between this one's look at it and its start.
        if let Some(failure) = self.failures.get(&session.id)
            && now < failure.retry
        {
            flight.land(Landed::Kept { retry: failure.retry });
            return;
        }
        let started = Instant::now();
        let lease = self.store.lease(&session, now).await;
        let asked = matches!(lease, Lease::Granted(_));
        let landed = match lease {
            // Another one landed between the look into the store and this one's start.
            Lease::Newer(newer) => Landed::Renewed(Arc::from(newer)),
            Lease::Ended => Landed::Ended("the session was ended"),
            Lease::Granted(fence) => self.renew(fence, session, now + started.elapsed()).await,
            Lease::Spent => self.spent(&session, now + started.elapsed()).await,
            Lease::Unreachable => {
                self.pause(&session, now + started.elapsed() + Duration::from_secs(1))
            }
        };
        self.refreshes.count(&landed, asked);
        flight.land(landed);
    }

    /// Another process was about to show the refresh token and never said what came of it.
    async fn spent(&self, session: &Session, now: Timestamp) -> Landed {
        if now < session.token_expires {
            return self.pause(session, session.token_expires);
        }
        let why = "the tokens are over, and what would renew them may have been used already";
        log::warn!(session = session.public_id(), subject = &*session.subject; "refresh: {why}");
        let mark = Mark::Session(&session.id);
        let _ = self.store.revoke(mark, Timestamp(u64::MAX), session.ends, now).await;
        Landed::Ended(why)
    }

    fn pause(&self, session: &Session, retry: Timestamp) -> Landed {
        let failures = self.failures.get(&session.id).map_or(0, |failure| failure.in_a_row);
        let failure = Failure { in_a_row: failures.saturating_add(1), retry };
        self.failures.insert(session.id, failure);
        Landed::Kept { retry }
    }

    async fn renew(&self, fence: Fence, session: Session, now: Timestamp) -> Landed {
        let started = Instant::now();
        let outcome = self.ask(&session, now).await;
        // Tokens without a refresh token came for one that stays good.
        let unused = matches!(
            outcome,
            Outcome::Unavailable { may_be_used: false }
                | Outcome::Unacceptable { refresh_token: None, .. }
        );
        let now = now + started.elapsed();
        let failures = self.failures.get(&session.id).map_or(0, |failure| failure.in_a_row);
        let public_id = session.public_id();
        match refresh::conclude(&session, outcome, failures, now) {
            Next::Renewed(new) => {
                self.failures.invalidate(&session.id);
                let kept = match self.store.commit(&fence, *new, now).await {
                    Ok(Some(kept)) => kept,
                    Ok(None) => return Landed::Ended("the session was ended"),
                    Err(error) => {
                        log::error!(session = public_id; "refresh: new tokens are lost: {error}");
                        return self.pause(&session, now + Duration::from_secs(1));
                    }
                };
                log::debug!(session = public_id; "refresh: the session has new tokens");
                Landed::Renewed(Arc::new(kept))
            }
            Next::Kept { session: newer, retry } => {
                let failure = Failure { in_a_row: failures.saturating_add(1), retry };
                self.failures.insert(session.id, failure);
                if let Some(newer) = newer {
                    // Only the refresh token is new, which the store has to know of.
                    let _ = self.store.commit(&fence, *newer, now).await;
                } else {
                    self.store.release(fence, &session, unused).await;
                }
                Landed::Kept { retry }
            }
            Next::Ended(why) => {
                log::warn!(session = public_id, subject = &*session.subject; "refresh: {why}");
                self.failures.invalidate(&session.id);
                let mark = Mark::Session(&session.id);
                let _ = self.store.revoke(mark, Timestamp(u64::MAX), session.ends, now).await;
                Landed::Ended(why)
            }
        }
    }

    /// One request to the provider, and the judgement of what it brings.
    async fn ask(&self, session: &Session, now: Timestamp) -> Outcome {
        let Some(refresh_token) = &session.refresh_token else { return Outcome::Refused };
        let asked = self.provider.refresh(refresh_token, &session.subject, now).await;
        let refreshed = match asked {
            Ok(refreshed) => refreshed,
            Err(error) => {
                log::warn!(session = session.public_id(); "refresh: {error}");
                return match error {
                    RefreshError::Refused => Outcome::Refused,
                    RefreshError::Unavailable { may_be_used, .. } => {
                        Outcome::Unavailable { may_be_used }
                    }
                    RefreshError::Unacceptable { refresh_token, why } => {
                        let for_now = matches!(why, crate::oidc::Error::Unavailable(_));
                        Outcome::Unacceptable { refresh_token, for_now }
                    }
                };
            }
        };
        match (self.verify_iam)(refreshed.access_token, now).await {
            Ok(identity) => Outcome::Renewed(Box::new(Renewal {
                identity,
                id_token: refreshed.id_token,
                refresh_token: refreshed.refresh_token,
                provider_session: refreshed.provider_session,
                provider_ends: refreshed.provider_ends,
            })),
            Err(refusal) => {
                log::warn!(session = session.public_id(); "refresh: the access token: {refusal}");
                Outcome::Unacceptable {
                    refresh_token: refreshed.refresh_token,
                    for_now: refusal.reason.status() >= 500,
                }
            }
        }
    }
}

/// Refreshes under way at once, over all sessions.
const MOST_AT_ONCE: usize = 512;
const MOST_FAILURES: u64 = 100_000;
/// Longer than the longest pause; a failure that keeps a refresh token back to the end of its
/// session's tokens is remembered as long as access tokens commonly live.
const FAILURE_REMEMBERED: Duration = Duration::from_hours(1);
