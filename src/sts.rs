//! The token service: one door through which an app token is had for a caller.
//!
//! Behind it stands either an outside service ([`exchange`]) or our own ([`issuer`]), and before
//! both a cache. Towards an outside service the door also makes sure that callers who wait for
//! the same token cause one exchange, that a token is renewed before it ends, that a refusal is
//! remembered for a moment, and that a service that has stopped answering is left alone.
//!
//! Tokens are cached, decisions never: whoever asks has been allowed to (R24), and what a minted
//! token carries is part of its key.

pub mod breaker;
pub mod cache;
pub mod endpoint;
pub mod exchange;
pub mod issuer;
mod outcomes;
pub mod parameter;
#[cfg(test)]
mod stand_in;
mod store;
pub mod template;
mod token;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use uuid::Uuid;

use self::{
    breaker::Breaker,
    cache::{Key, KeySpace, Lifetimes, Parts, Subject},
    exchange::{ExchangeClient, ExchangeError, ExchangeRequest},
    issuer::{Issuer, Mint, Signer},
    store::{Kept, Store},
};
pub use self::{
    outcomes::Outcomes,
    token::{Actor, AppToken, Ask, Issuance, Issued, Served},
};
use crate::{
    flight::{Flight, Flights},
    identity::Proof,
    permission::PermissionSet,
    refusal::{Reason, Refusal},
    telemetry::trace::call::carried,
    time::Timestamp,
};

/// How tokens are kept, and how a failing service is treated.
#[derive(Clone, Copy, Debug)]
pub struct StsSettings {
    /// At most so many tokens are kept.
    pub entries: u64,
    /// How long each is kept.
    pub lifetimes: Lifetimes,
    /// How long a refusal of the service is remembered.
    pub negative: Duration,
    /// So many failures in a row open the breaker.
    pub breaker_failures: u32,
    /// For so long.
    pub breaker_open: Duration,
    /// Of the configuration: tokens of one generation are not found by another.
    pub generation: u64,
}

/// Where tokens come from.
pub enum Source {
    /// An outside service.
    Exchange(Box<ExchangeClient>),
    /// Ourselves; shared with whoever publishes the keys.
    Issuer(Arc<Issuer>),
}

/// The door. Clones are the same door.
#[derive(Clone)]
pub struct Sts(Arc<Inner>);

struct Inner {
    source: Source,
    keys: KeySpace,
    store: Store,
    flights: Arc<Flights<Key, Result<Arc<AppToken>, Refusal>>>,
    breaker: Mutex<Breaker>,
    /// The breaker's time counts from here.
    since: Instant,
    outcomes: Outcomes,
    report: OnceLock<Report>,
    timing: OnceLock<Timing>,
}

/// Is told of every issued token.
type Report = Box<dyn Fn(&Issuance<'_>) + Send + Sync>;

/// Is told how long each exchange took.
type Timing = Box<dyn Fn(Duration) + Send + Sync>;

/// One trip to the token service.
struct Errand {
    key: Key,
    request: ExchangeRequest,
    /// The end of the subject's and the actor's token, whichever is first.
    presented: Timestamp,
    /// The token that this one is to replace, for a renewal.
    replacing: Option<Arc<AppToken>>,
}

impl Sts {
    /// A door with an empty cache.
    #[must_use]
    pub fn new(source: Source, settings: StsSettings) -> Self {
        let generation = settings.generation.to_le_bytes();
        let keys = match &source {
            Source::Exchange(client) => {
                let [url, id, kind] = client.identity().map(str::as_bytes);
                KeySpace::new(&[b"exchange", url, id, kind, &generation])
            }
            Source::Issuer(issuer) => {
                KeySpace::new(&[b"issuer", issuer.iss().as_bytes(), &generation])
            }
        };
        Self(Arc::new(Inner {
            source,
            keys,
            store: Store::new(settings.entries, settings.lifetimes, settings.negative),
            flights: Flights::new(),
            breaker: Mutex::new(Breaker::new(settings.breaker_failures, settings.breaker_open)),
            since: Instant::now(),
            outcomes: Outcomes::default(),
            report: OnceLock::new(),
            timing: OnceLock::new(),
        }))
    }

    /// The app token for an ask: the cached one, or a new one.
    ///
    /// # Errors
    /// `sts_refused` when the service says no, `sts_unavailable` when it says nothing within the
    /// exchange's time-out (100 ms more for those who wait for another's exchange), and
    /// `delegation_not_allowed` for a chain of more than one actor.
    pub async fn app_token(&self, ask: Ask<'_>, now: Timestamp) -> Result<Served, Refusal> {
        exchangeable(&ask)?;
        self.presentable(&ask)?;
        let scope = self.0.scope(&ask);
        let ask = Ask { scope: scope.as_ref(), ..ask };
        let signer = self.issuer().map(|issuer| issuer.signer());
        let key = self.0.key(&ask, signer.as_ref());
        if let Some(kept) = self.0.store.serving(&key, now).await {
            Outcomes::count(&self.0.outcomes.hit);
            self.renew_ahead(&kept, &ask, now);
            return Ok(Served { token: Arc::clone(&kept.token), cached: true });
        }
        let token = match (&self.0.source, signer) {
            (Source::Issuer(issuer), signer) => {
                let signer = signer.unwrap_or_else(|| issuer.signer());
                self.0.mint((issuer, &signer), key, &ask, now).await?
            }
            (Source::Exchange(client), _) => {
                if let Some(refusal) = self.0.store.remembered(&key, now).await {
                    Outcomes::count(&self.0.outcomes.negative);
                    return Err(refusal);
                }
                let errand = Errand::new(key, &ask, None);
                self.wait_for(errand, client.timeout() + WAITING_ON, now).await?
            }
        };
        Ok(Served { token, cached: false })
    }

    /// What the token for an ask would carry; `None` when only an outside service can tell, which
    /// is not asked. For `explain`.
    ///
    /// # Errors
    /// `sts_refused` or `delegation_not_allowed` when no token is had for such an ask at all.
    pub fn foresee<'a>(&self, ask: &Ask<'a>) -> Result<Option<&'a PermissionSet>, Refusal> {
        exchangeable(ask)?;
        self.presentable(ask)?;
        Ok(self.issuer().map(|_| ask.permissions))
    }

    /// An outside service is shown a token of the caller's; one whom an extension recognised may
    /// have none, and nobody's token is the same as another's.
    fn presentable(&self, ask: &Ask<'_>) -> Result<(), Refusal> {
        if self.issuer().is_none() && ask.identity.token.expose_secret().is_empty() {
            let detail = "the caller has no IAM token that could be exchanged";
            return Err(Refusal::new(Reason::StsRefused, detail));
        }
        Ok(())
    }

    /// Forgets a token that the upstream would not take, unless it has been replaced since.
    pub async fn evict(&self, token: &Arc<AppToken>) {
        self.0.store.forget(token).await;
    }

    /// Tells `report` of every token that is issued from now on; only the first call counts.
    pub fn report_to(&self, report: impl Fn(&Issuance<'_>) + Send + Sync + 'static) {
        if self.0.report.set(Box::new(report)).is_err() {
            log::debug!("sts: issued tokens are reported already");
        }
    }

    /// Tells `timing` how long each exchange takes from now on; only the first call counts.
    pub fn time_to(&self, timing: impl Fn(Duration) + Send + Sync + 'static) {
        if self.0.timing.set(Box::new(timing)).is_err() {
            log::debug!("sts: exchanges are timed already");
        }
    }

    /// How many tokens are kept, about.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.0.store.kept()
    }

    /// What came of the asks so far.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.0.outcomes
    }

    /// Tokens in the cache.
    pub async fn cached(&self) -> u64 {
        self.0.store.entries().await
    }

    /// Whether the breaker lets exchanges pass.
    #[must_use]
    pub fn breaker_is_closed(&self) -> bool {
        self.0.with_breaker(|breaker, _| breaker.is_closed())
    }

    /// Our own issuer, if that is the source.
    #[must_use]
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &self.0.source {
            Source::Issuer(issuer) => Some(issuer),
            Source::Exchange(_) => None,
        }
    }

    /// Joins the key's flight, or starts one. A flight is a task of its own: it goes on when the
    /// one who started it leaves.
    async fn wait_for(
        &self,
        errand: Errand,
        at_most: Duration,
        now: Timestamp,
    ) -> Result<Arc<AppToken>, Refusal> {
        let (seat, flight) = self.0.flights.board(errand.key);
        match flight {
            None => Outcomes::count(&self.0.outcomes.coalesced),
            Some(flight) => {
                tokio::spawn(carried(Arc::clone(&self.0).fly(flight, errand, now)));
            }
        }
        match tokio::time::timeout(at_most, seat.landed()).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Refusal::new(Reason::StsUnavailable, "the exchange broke off")),
            Err(_) => Err(Refusal::new(Reason::StsUnavailable, "the exchange takes too long")),
        }
    }

    /// Starts a renewal in the background when the token is due for one.
    fn renew_ahead(&self, kept: &Kept, ask: &Ask<'_>, now: Timestamp) {
        let Source::Exchange(client) = &self.0.source else { return };
        let pause = client.timeout().max(RENEWAL_PAUSE);
        if !kept.lease.claim_renewal(now, pause) {
            return;
        }
        let errand = Errand::new(kept.token.key, ask, Some(Arc::clone(&kept.token)));
        if let (_, Some(flight)) = self.0.flights.board(errand.key) {
            tokio::spawn(carried(Arc::clone(&self.0).fly(flight, errand, now)));
        }
    }
}

impl Inner {
    /// The ask's own scope, else the configured one with what the ask needs filled in.
    fn scope(&self, ask: &Ask<'_>) -> Option<Arc<str>> {
        match (&self.source, ask.scope) {
            (Source::Exchange(client), None) => client.scope(ask.permissions),
            (_, scope) => scope.cloned(),
        }
    }

    /// With a signer, the key of a token that it signs: tokens of a key that signs no more are
    /// not found any more.
    fn key(&self, ask: &Ask<'_>, signer: Option<&Signer>) -> Key {
        let identity = ask.identity;
        let (subject, actor) = match signer {
            None => (
                Subject::Token(identity.token.expose_secret()),
                ask.actor.map(|actor| actor.token.expose_secret()),
            ),
            Some(signer) => (
                Subject::Named {
                    signer: signer.kid(),
                    issuer: &identity.issuer,
                    subject: &identity.subject,
                    permissions: ask.permissions,
                },
                ask.actor.map(|actor| &*actor.subject),
            ),
        };
        let (audience, scope) = (&**ask.audience, ask.scope.map(|scope| &**scope));
        self.keys.key(&Parts { subject, actor, audience, scope, organisation: ask.organisation })
    }

    async fn mint(
        &self,
        (source, signer): (&Issuer, &Signer),
        key: Key,
        ask: &Ask<'_>,
        now: Timestamp,
    ) -> Result<Arc<AppToken>, Refusal> {
        Outcomes::count(&self.outcomes.miss);
        let mint = Mint {
            subject: &ask.identity.subject,
            organisation: ask.organisation,
            audience: ask.audience,
            permissions: ask.permissions,
            actor: ask.actor.map(|actor| &actor.subject),
        };
        let id = Uuid::new_v4().to_string().into();
        match source.mint(signer, mint, now, id) {
            Ok(issued) => {
                self.report("issuer", ask.audience, &issued);
                Ok(self.store.keep(key, issued, presented(ask), now).await)
            }
            Err(error) => {
                Outcomes::count(&self.outcomes.failed);
                log::error!("sts: {error}");
                Err(Refusal::new(Reason::StsUnavailable, error.to_string()))
            }
        }
    }

    fn report(&self, source: &'static str, audience: &str, issued: &Issued) {
        if let Some(report) = self.report.get() {
            report(&Issuance { source, audience, issued });
        }
    }

    async fn fly(
        self: Arc<Self>,
        flight: Flight<Key, Result<Arc<AppToken>, Refusal>>,
        errand: Errand,
        now: Timestamp,
    ) {
        // A flight with the same key may have landed between this one's look into the cache and
        // its start.
        let result = match self.landed_before(&errand, now).await {
            Some(result) => result,
            None => self.run(&errand, now).await,
        };
        flight.land(result);
    }

    async fn landed_before(
        &self,
        errand: &Errand,
        now: Timestamp,
    ) -> Option<Result<Arc<AppToken>, Refusal>> {
        if let Some(kept) = self.store.serving(&errand.key, now).await {
            let known = errand.replacing.as_ref();
            if known.is_none_or(|known| !Arc::ptr_eq(known, &kept.token)) {
                return Some(Ok(Arc::clone(&kept.token)));
            }
        }
        self.store.remembered(&errand.key, now).await.map(Err)
    }

    async fn run(&self, errand: &Errand, now: Timestamp) -> Result<Arc<AppToken>, Refusal> {
        let Source::Exchange(client) = &self.source else {
            return Err(Refusal::new(Reason::StsUnavailable, "there is nothing to exchange with"));
        };
        let pass = match self.with_breaker(Breaker::allow) {
            Ok(pass) => pass,
            Err(remaining) => {
                Outcomes::count(&self.outcomes.breaker_open);
                return Err(Refusal::new(Reason::StsUnavailable, "the breaker is open")
                    .retry_after(remaining));
            }
        };
        if errand.replacing.is_none() {
            Outcomes::count(&self.outcomes.miss);
        }
        let started = Instant::now();
        let result = client.exchange(&errand.request, now).await;
        let taken = started.elapsed();
        if let Some(timing) = self.timing.get() {
            timing(taken);
        }
        let now = now + taken;
        self.with_breaker(|breaker, at| match &result {
            Err(ExchangeError::Unavailable(_)) => breaker.failure(&pass, at),
            // A refusal and a lie are answers too. If they opened the breaker, one caller whose
            // token the service cannot handle could close the door for everybody.
            Ok(_) | Err(ExchangeError::Refused { .. } | ExchangeError::Unacceptable(_)) => {
                breaker.success(&pass);
            }
        });
        match result {
            Ok(issued) => {
                if errand.replacing.is_some() {
                    Outcomes::count(&self.outcomes.refreshed_ahead);
                }
                self.report("exchange", &errand.request.audience, &issued);
                Ok(self.store.keep(errand.key, issued, errand.presented, now).await)
            }
            Err(error) => Err(self.failed(errand, &error, now).await),
        }
    }

    async fn failed(&self, errand: &Errand, error: &ExchangeError, now: Timestamp) -> Refusal {
        let audience = &errand.request.audience;
        log::warn!("sts: no token for audience {audience:?}: {error}");
        if !matches!(error, ExchangeError::Refused { .. }) {
            Outcomes::count(&self.outcomes.failed);
            return Refusal::new(Reason::StsUnavailable, error.to_string());
        }
        Outcomes::count(&self.outcomes.refused);
        let refusal = Refusal::new(Reason::StsRefused, error.to_string());
        self.store.refuse(errand.key, refusal.clone(), now).await;
        refusal
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut breaker, self.since.elapsed())
    }
}

impl Errand {
    fn new(key: Key, ask: &Ask<'_>, replacing: Option<Arc<AppToken>>) -> Self {
        let request = ExchangeRequest {
            subject_token: ask.identity.token.clone(),
            subject: Arc::clone(&ask.identity.subject),
            actor: ask.actor.cloned(),
            audience: Arc::clone(ask.audience),
            scope: ask.scope.cloned(),
            organisation: ask.organisation,
        };
        Self { key, request, presented: presented(ask), replacing }
    }
}

/// Shows the source, never a token.
impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::Exchange(client) => f.debug_tuple("Sts").field(client).finish(),
            Source::Issuer(issuer) => f.debug_tuple("Sts").field(issuer).finish(),
        }
    }
}

/// How much longer one waits for another's exchange than that may take.
const WAITING_ON: Duration = Duration::from_millis(100);

/// A renewal that failed is not tried again before.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// An app token is an end product: exchanged again, it could only gain what it was issued without
/// (R34). And an actor acts for a user, not for another actor.
fn exchangeable(ask: &Ask<'_>) -> Result<(), Refusal> {
    if ask.identity.proof == Proof::AppToken {
        return Err(Refusal::new(Reason::StsRefused, "an app token is not exchanged again"));
    }
    if ask.actor.is_some() && ask.identity.actor.is_some() {
        let detail = "the caller's token is a delegated one already";
        return Err(Refusal::new(Reason::DelegationNotAllowed, detail));
    }
    Ok(())
}

fn presented(ask: &Ask<'_>) -> Timestamp {
    let subject = ask.identity.expires;
    ask.actor.map_or(subject, |actor| actor.expires.min(subject))
}

#[cfg(test)]
mod tests;
