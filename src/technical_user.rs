//! Identities that the gateway itself holds at the IAM provider: client credentials
//! (RFC 6749, section 4.4), renewed before they end.
//!
//! One token serves every request that acts as the technical user. While it is good nobody waits:
//! it is renewed in the background, and a provider that is away is noticed only when it ends.
//! What the provider issues is verified like any caller's IAM token before it is used.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::{
    flight::{Flight, Flights},
    http_client::{self, read_body},
    identity::Identity,
    jwks::discovery,
    oauth_client::{OauthClient, SigningFailed},
    organisation::Organisation,
    refusal::{Reason, Refusal},
    sessions::VerifyIam,
    sts::Actor,
    time::Timestamp,
};

/// Who it is, and where its tokens come from.
pub struct Settings {
    /// The name by which routes know it.
    pub name: Arc<str>,
    /// The IAM provider's issuer identifier.
    pub issuer: String,
    /// Its client there.
    pub client: OauthClient,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// The resource that its tokens are for (RFC 8707).
    pub resource: Option<String>,
    /// The one organisation in which it acts; `None`: that of each request.
    pub organisation: Option<Organisation>,
    /// Judges its tokens.
    pub verify: VerifyIam,
}

/// One technical user.
pub struct TechnicalUser {
    settings: Settings,
    http: reqwest::Client,
    current: ArcSwapOption<Held>,
    flights: Arc<Flights<(), Result<Arc<Identity>, Refusal>>>,
    failure: Mutex<Option<Failure>>,
}

/// The identity that is good now.
struct Held {
    identity: Arc<Identity>,
    term: Term,
}

/// The last attempt failed: until then nobody tries again.
#[derive(Clone)]
struct Failure {
    until: Instant,
    refusal: Refusal,
}

/// From when on a token is renewed, and until when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    renewed: Timestamp,
    used: Timestamp,
}

impl Term {
    /// Of a token that was got at `now`: it is left alone for its last seconds, in which it might
    /// end on its way, and renewed a minute before that; a short one at half its time.
    fn new(now: Timestamp, expires: Timestamp) -> Self {
        let whole = expires.since(now);
        let used = whole.saturating_sub(MARGIN.min(whole / 4));
        let renewed = used.saturating_sub(AHEAD).max(whole / 2).min(used);
        Self { renewed: now + renewed, used: now + used }
    }
}

/// What a token endpoint answers (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
}

/// What it answers when it refuses (section 5.2).
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// Why there is no token.
struct Failed {
    why: String,
    /// The provider has decided; asking again soon is of no use.
    refused: bool,
}

impl TechnicalUser {
    /// One that has no token yet. `http` has to come from [`crate::http_client::build`].
    #[must_use]
    pub fn new(settings: Settings, http: reqwest::Client) -> Self {
        Self {
            settings,
            http,
            current: ArcSwapOption::empty(),
            flights: Flights::new(),
            failure: Mutex::new(None),
        }
    }

    /// The name by which routes know it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// The one organisation in which it acts; `None`: that of each request.
    #[must_use]
    pub const fn organisation(&self) -> Option<Organisation> {
        self.settings.organisation
    }

    /// Who it is, with an IAM token that is good now.
    ///
    /// # Errors
    /// `iam_unavailable` when the provider gives none, within [`PATIENCE`].
    pub async fn identity(self: &Arc<Self>, now: Timestamp) -> Result<Arc<Identity>, Refusal> {
        if let Some(held) = self.current.load_full().filter(|held| now < held.term.used) {
            if held.term.renewed <= now
                && self.remembered().is_none()
                && let (_, Some(flight)) = self.flights.board(())
            {
                tokio::spawn(Arc::clone(self).fly(flight, now));
            }
            return Ok(Arc::clone(&held.identity));
        }
        if let Some(failure) = self.remembered() {
            let wait = failure.until.saturating_duration_since(Instant::now());
            return Err(failure.refusal.retry_after(wait));
        }
        let (seat, flight) = self.flights.board(());
        if let Some(flight) = flight {
            tokio::spawn(Arc::clone(self).fly(flight, now));
        }
        seat.landed().await.unwrap_or_else(|| Err(self.unavailable("the attempt broke off")))
    }

    fn remembered(&self) -> Option<Failure> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().filter(|failure| Instant::now() < failure.until)
    }

    /// A flight is a task of its own: it goes on when those who wait for it leave.
    async fn fly(
        self: Arc<Self>,
        flight: Flight<(), Result<Arc<Identity>, Refusal>>,
        now: Timestamp,
    ) {
        // Another flight may have landed between this one's look and its start.
        if let Some(held) = self.current.load_full().filter(|held| now < held.term.renewed) {
            return flight.land(Ok(Arc::clone(&held.identity)));
        }
        let attempt = tokio::time::timeout(PATIENCE, self.log_in(now));
        let timed_out = |_| Err(Failed { why: "it takes too long".into(), refused: false });
        let result = attempt.await.unwrap_or_else(timed_out);
        flight.land(result.map_err(|failed| self.failed(&failed)));
    }

    fn failed(&self, failed: &Failed) -> Refusal {
        let name = &*self.settings.name;
        log::warn!(technical_user = name; "no token at the IAM provider: {}", failed.why);
        let refusal = self.unavailable(&failed.why);
        let pause = if failed.refused { REFUSAL_REMEMBERED } else { FAILURE_REMEMBERED };
        let failure = Failure { until: Instant::now() + pause, refusal: refusal.clone() };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        refusal.retry_after(pause)
    }

    fn unavailable(&self, why: &str) -> Refusal {
        let detail = format!("technical user {} has no IAM token: {why}", self.settings.name);
        Refusal::new(Reason::IamUnavailable, detail)
    }

    async fn log_in(&self, now: Timestamp) -> Result<Arc<Identity>, Failed> {
        let transient = |why: String| Failed { why, refused: false };
        let refused = |why: String| Failed { why, refused: true };
        let started = Instant::now();
        let found = discovery::endpoints(&self.http, &self.settings.issuer).await;
        let found = found.map_err(|error| transient(error.to_string()))?;
        let nowhere = || refused("the provider has no token endpoint".to_owned());
        let endpoint = found.token_endpoint.ok_or_else(nowhere)?;
        let token = self.ask(endpoint, now).await?;
        let now = now + started.elapsed();
        let identity = (self.settings.verify)(token, now).await.map_err(|refusal| {
            let why = format!("its token is not accepted: {refusal}");
            if refusal.reason.status() >= 500 { transient(why) } else { refused(why) }
        })?;
        let term = Term::new(now, identity.expires);
        let identity = Arc::new(identity);
        if term.used <= now {
            return Err(refused("its token has no time left".to_owned()));
        }
        let held = Held { identity: Arc::clone(&identity), term };
        self.current.store(Some(Arc::new(held)));
        Ok(identity)
    }

    fn form(&self, endpoint: &Url, now: Timestamp) -> Result<String, SigningFailed> {
        let Settings { client, scopes, resource, .. } = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        if let Some(resource) = resource {
            form.append_pair("resource", resource);
        }
        client.prove(&mut form, endpoint, now)?;
        Ok(form.finish())
    }

    async fn ask(&self, endpoint: Url, now: Timestamp) -> Result<SecretString, Failed> {
        let transient = |why: String| Failed { why, refused: false };
        let form = self.form(&endpoint, now).map_err(|error| transient(error.to_string()))?;
        let mut asking = self
            .http
            .post(endpoint)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(proof) = self.settings.client.authorization() {
            asking = asking.header(header::AUTHORIZATION, proof.clone());
        }
        // The address may hold what does not belong into a log.
        let answer = asking
            .send()
            .await
            .map_err(|error| transient(http_client::describe(&error.without_url())))?;
        let status = answer.status();
        let body = read_body(answer, BODY_LIMIT).await;
        let body = body.map_err(|error| transient(error.describe()))?;
        match status {
            StatusCode::OK => {}
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(transient(format!("status {status}")));
            }
            _ if status.is_client_error() => {
                let code = serde_json::from_slice::<ErrorAnswer>(&body).ok();
                let code = code.map(|answer| answer.error).filter(|code| is_plain(code));
                let code = code.as_deref().unwrap_or("no error code");
                return Err(Failed {
                    why: format!("refused with {status}, {code}"),
                    refused: true,
                });
            }
            _ => return Err(transient(format!("status {status}"))),
        }
        // JSON is UTF-8 (RFC 8259, section 8.1), also in what is not looked at here.
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let answer: Answer = serde_json::from_str(text)
            .map_err(|_| transient("its answer holds no access_token and token_type".into()))?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Failed { why: "its token is no bearer token".into(), refused: true });
        }
        Ok(answer.access_token.into())
    }
}

impl Actor {
    /// The actor of a delegated token, by its verified IAM token.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self {
            subject: Arc::clone(&identity.subject),
            token: identity.token.clone(),
            expires: identity.expires,
        }
    }
}

/// Shows who, never what proves it.
impl fmt::Debug for TechnicalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TechnicalUser")
            .field("name", &self.settings.name)
            .field("client", &self.settings.client)
            .finish_non_exhaustive()
    }
}

/// An error code may go into a log; whatever else stands there may not.
fn is_plain(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// For everything that it takes to get a token.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The end of a token's time in which it is not used any more.
const MARGIN: Duration = Duration::from_secs(15);
/// So long before that it is renewed.
const AHEAD: Duration = Duration::from_mins(1);
/// As long as the provider is left alone after it did not answer.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(1);
/// And after it refused: somebody has to change something first.
const REFUSAL_REMEMBERED: Duration = Duration::from_secs(10);
/// No token response comes near it.
const BODY_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests;
