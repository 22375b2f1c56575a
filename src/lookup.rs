//! Asks upstreams whose their resources are, for those that keep no organisations apart.
//!
//! A resource does not move from one organisation to another, so an answer is kept long; that
//! there is no such resource, only for a moment. However many requests wait for one answer, the
//! upstream is asked once. What is not an answer is never kept, and whoever asked is refused: a
//! request goes on only when it is known whose things it is about.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode, header};
use moka::{future::Cache, policy::EvictionPolicy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    flight::{Flight, Flights},
    http_client::{self, read_body},
    organisation::{
        Organisation,
        lookup::{Template, told},
    },
    refusal::{Reason, Refusal},
    telemetry::trace::call::{Call, carried},
    time::Timestamp,
    upstream::Upstream,
};

/// Bounds of look-ups.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Answers kept at most.
    pub entries: u64,
    /// How long a resource's organisation is remembered.
    pub positive: Duration,
    /// How long an unknown resource is remembered.
    pub negative: Duration,
    /// One look-up may take this long.
    pub timeout: Duration,
}

/// How an upstream is asked.
pub struct Source {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// From [`http_client::towards`], with the upstream's own addresses.
    pub http: reqwest::Client,
    /// Scheme and authority, as in `https://core.internal`; who that is, `http` knows.
    pub origin: String,
    /// What the upstream demands of everybody.
    pub token: Option<Arc<SecretString>>,
}

/// One kind of resource that tells whose it is.
pub struct Lookup {
    /// Another for each upstream, path and pointer.
    pub number: u32,
    /// What to ask.
    pub template: Template,
    /// Where its answer says it.
    pub pointer: Box<str>,
    /// Whom to ask.
    pub source: Arc<Source>,
}

/// What is known of resources.
pub struct Lookups {
    settings: Settings,
    known: Cache<Key, Known>,
    flights: Arc<Flights<Key, Answer>>,
    /// Turns: however many resources are asked for, the upstream has this many look-ups at once.
    turns: Semaphore,
    outcomes: Outcomes,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    lookup: u32,
    id: Uuid,
}

/// Whose it is; `None`: there is no such resource.
type Answer = Result<Option<Organisation>, Refusal>;

#[derive(Clone, Copy)]
struct Known {
    organisation: Option<Organisation>,
    until: Timestamp,
}

/// Counters that only grow: each look-up counts once.
#[derive(Debug, Default)]
struct Outcomes {
    hit: AtomicU64,
    asked: AtomicU64,
    coalesced: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
}

impl Lookups {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let known = Cache::builder()
            .max_capacity(settings.entries)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(settings.positive.max(settings.negative).max(Duration::from_secs(1)))
            .build();
        let (flights, turns) = (Flights::new(), Semaphore::new(AT_ONCE));
        Arc::new(Self { settings, known, flights, turns, outcomes: Outcomes::default() })
    }

    /// Whose a resource is; `None` when the upstream knows no such resource.
    ///
    /// # Errors
    /// `upstream_unavailable`, `upstream_timeout` or `upstream_failed` when it does not say.
    pub async fn organisation(
        self: &Arc<Self>,
        lookup: &Arc<Lookup>,
        id: Uuid,
        now: Timestamp,
    ) -> Answer {
        let key = Key { lookup: lookup.number, id };
        if let Some(known) = self.serving(&key, now).await {
            count(&self.outcomes.hit);
            return Ok(known.organisation);
        }
        let (seat, flight) = self.flights.board(key);
        match flight {
            None => count(&self.outcomes.coalesced),
            // A task of its own: it goes on when the one who began it leaves.
            Some(flight) => {
                tokio::spawn(carried(Arc::clone(self).fly(flight, key, Arc::clone(lookup), now)));
            }
        }
        let broken = || Err(failed(&lookup.source.upstream, "the look-up broke off"));
        seat.landed().await.unwrap_or_else(broken)
    }

    /// What came of look-ups so far, by name.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        let Outcomes { hit, asked, coalesced, unknown, failed } = &self.outcomes;
        [
            ("hit", hit),
            ("asked", asked),
            ("coalesced", coalesced),
            ("unknown", unknown),
            ("failed", failed),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    async fn serving(&self, key: &Key, now: Timestamp) -> Option<Known> {
        self.known.get(key).await.filter(|known| now < known.until)
    }

    async fn fly(
        self: Arc<Self>,
        flight: Flight<Key, Answer>,
        key: Key,
        lookup: Arc<Lookup>,
        now: Timestamp,
    ) {
        // Another flight may have landed between this one's look and its start.
        if let Some(known) = self.serving(&key, now).await {
            count(&self.outcomes.hit);
            return flight.land(Ok(known.organisation));
        }
        let upstream = &lookup.source.upstream;
        let asking = tokio::time::timeout(self.settings.timeout, async {
            // Never closed.
            let _turn = self.turns.acquire().await;
            lookup.ask(key.id).await
        });
        let late = |_| {
            let detail = format!("{} did not say in time whose a resource is", upstream.name());
            Err(Refusal::new(Reason::UpstreamTimeout, detail))
        };
        let answer = asking.await.unwrap_or_else(late);
        match &answer {
            Ok(organisation) => {
                let (outcome, kept) = match organisation {
                    Some(_) => (&self.outcomes.asked, self.settings.positive),
                    None => (&self.outcomes.unknown, self.settings.negative),
                };
                count(outcome);
                let known = Known { organisation: *organisation, until: now + kept };
                self.known.insert(key, known).await;
            }
            Err(refusal) => {
                count(&self.outcomes.failed);
                let upstream = &**upstream.name();
                log::warn!(upstream; "whose a resource is cannot be known: {}", refusal.detail);
            }
        }
        flight.land(answer);
    }
}

impl Lookup {
    async fn ask(&self, id: Uuid) -> Answer {
        let Source { upstream, http, origin, token } = &*self.source;
        let mut asking = http
            .get(format!("{origin}{}", self.template.path(id)))
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            asking = asking.bearer_auth(token.expose_secret());
        }
        let host = origin.split_once("://").map(|(_, authority)| authority);
        let mut call = Call::begin("look-up", &Method::GET, host);
        let answer = call.told(asking).send().await.map_err(|error| {
            call.unanswered(&error);
            let error = error.without_url();
            let why = http_client::describe(&error);
            let detail = format!("{} was not asked whose a resource is: {why}", upstream.name());
            let reason = if error.is_timeout() {
                Reason::UpstreamTimeout
            } else {
                Reason::UpstreamUnavailable
            };
            Refusal::new(reason, detail)
        })?;
        call.answered(answer.status());
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(failed(upstream, &format!("status {status}"))),
        }
        let body = read_body(answer, LARGEST).await;
        let body = body.map_err(|error| failed(upstream, &error.describe()))?;
        told(&body, &self.pointer).map(Some).map_err(|why| failed(upstream, why))
    }
}

/// The addresses of an upstream, as the rest of the gateway knows them.
pub struct Servers(pub Arc<Upstream>);

impl Resolve for Servers {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.healthy().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Shows what is asked, never with which token.
impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("template", &self.template)
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}

fn failed(upstream: &Upstream, why: &str) -> Refusal {
    let detail = format!("{} does not say whose a resource is: {why}", upstream.name());
    Refusal::new(Reason::UpstreamFailed, detail)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Look-ups under way at once.
const AT_ONCE: usize = 64;

/// A credential's claims may hold pictures.
const LARGEST: usize = 8 << 20;
