//! The gateway's own endpoints for browsers, as steps from a request to an [`Answer`].
//!
//! | under the prefix | |
//! | --- | --- |
//! | `GET login` | to the provider, remembering `return_to` |
//! | `GET callback` | the provider sent the browser back: see `callback` |
//! | `GET logout`, `POST logout` | a page with a button; the end of the session |
//! | `GET session` | who is logged in, as JSON, without any token |
//! | `POST organisation` | chooses the organisation that the session acts in |
//! | `POST backchannel-logout` | the provider ends sessions |
//! | `GET frontchannel-logout` | the provider ends this browser's session |
//!
//! Names no Pingora and no clock. Refusals come back as values; the gateway writes them as it
//! writes every other. What changes state demands our own origin, because a browser sends our
//! cookies along with requests that other sites make it send.

pub(crate) mod callback;
pub(crate) mod flow;
mod logout;
mod provider_logout;
mod return_to;
mod session_info;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use url::{Url, form_urlencoded};

use crate::{
    answer::Answer,
    identity::Identity,
    oidc::Provider,
    organisation::Organisation,
    refusal::{Reason, Refusal},
    session::{Cookies, Jar, Session},
    sessions::{Found, KeepError, PendingCookies, Sessions, VerifyIam},
    time::Timestamp,
};

pub use self::{provider_logout::VerifyLogout, return_to::return_to};

/// Where the endpoints are, and where they lead.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our origin as clients see it; redirects are built from it, never from `Host`.
    pub public_url: Url,
    /// The path that the endpoints are under, such as `/.portcullis`.
    pub prefix: String,
    /// Where a logout leads: a path of ours or an absolute URL.
    pub after_logout: String,
}

/// [`Settings`] that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No HTTP origin.
    #[error("the public URL is not an http or https URL")]
    PublicUrl,
    /// It would own every path, or none.
    #[error("the prefix is a path such as /.portcullis")]
    Prefix,
    /// It leads nowhere.
    #[error("after_logout is a path or an http or https URL")]
    AfterLogout,
}

/// What the policy says of a user: where they may act, and what they may do there.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The organisations to choose from.
    pub organisations: Vec<Choice>,
    /// Names of permissions in the identity's active organisation.
    pub permissions: Vec<String>,
}

/// An organisation that a user may act in.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// Its id.
    pub id: Organisation,
    /// What people call it.
    pub name: String,
}

/// The policy's answer about somebody.
pub type StandingOf<'a> = &'a (dyn Fn(&Identity) -> Standing + Send + Sync);

/// A request to one of the endpoints.
#[derive(Clone, Copy, Debug)]
pub struct LoginRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its canonical path.
    pub path: &'a str,
    /// What follows `?`.
    pub query: Option<&'a str>,
    /// All its headers.
    pub headers: &'a HeaderMap,
    /// Its body, already read and bounded.
    pub body: &'a Bytes,
    /// Whether a person will look at the answer.
    pub is_navigation: bool,
    /// For pages that tell of a failure.
    pub request_id: &'a str,
}

/// What a step came to.
#[derive(Debug)]
pub struct Outcome {
    /// What to write.
    pub answer: Result<Answer, Refusal>,
    /// Cookies to write with it, also with a refusal.
    pub cookies: PendingCookies,
    /// What happened, for the records; `None` where nothing did.
    pub event: Option<Event>,
    /// Who, once that is known.
    pub subject: Option<Arc<str>>,
    /// [`Session::public_id`] of the session that was made, used or ended.
    pub session: Option<String>,
    /// Why it failed; also where the answer is a page that says so.
    pub reason: Option<Reason>,
}

/// What happened to a login or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A browser was sent to the provider.
    LoginStarted,
    /// It came back, and has a session.
    LoginCompleted,
    /// It came back, and has none.
    LoginFailed,
    /// A session was ended by its user.
    Logout,
    /// Sessions were ended by the provider.
    ProviderLogout,
    /// A session acts in another organisation.
    OrganisationChosen,
}

impl Event {
    /// The stable word in access and audit records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LoginStarted => "login_started",
            Self::LoginCompleted => "login_completed",
            Self::LoginFailed => "login_failed",
            Self::Logout => "logout",
            Self::ProviderLogout => "provider_logout",
            Self::OrganisationChosen => "organisation_chosen",
        }
    }
}

/// The endpoints.
pub struct Login {
    prefix: String,
    origin: String,
    after_logout: HeaderValue,
    sessions: Arc<Sessions>,
    provider: Arc<Provider>,
    verify_iam: VerifyIam,
    verify_logout: VerifyLogout,
}

impl Login {
    /// The endpoints of one public origin.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn new(
        settings: Settings,
        sessions: Arc<Sessions>,
        provider: Arc<Provider>,
        verify_iam: VerifyIam,
        verify_logout: VerifyLogout,
    ) -> Result<Self, SettingsError> {
        let Settings { public_url, prefix, after_logout } = settings;
        if !matches!(public_url.scheme(), "https" | "http") {
            return Err(SettingsError::PublicUrl);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if prefix.len() < 2
            || !prefix.starts_with('/')
            || prefix.ends_with('/')
            || !prefix.bytes().all(plain)
        {
            return Err(SettingsError::Prefix);
        }
        let origin = public_url.origin().ascii_serialization();
        let destination = public_url
            .join(&after_logout)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http"))
            .and_then(|url| HeaderValue::try_from(url.as_str()).ok())
            .ok_or(SettingsError::AfterLogout)?;
        Ok(Self {
            prefix,
            origin,
            after_logout: destination,
            sessions,
            provider,
            verify_iam,
            verify_logout,
        })
    }

    /// Whether a path is under the prefix, and so never an upstream's.
    #[must_use]
    pub fn owns(&self, path: &str) -> bool {
        self.endpoint(path).is_some()
    }

    /// The path that the endpoints are under.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Answers a request for a path that is [owned](Self::owns).
    pub async fn step(
        &self,
        request: &LoginRequest<'_>,
        standing: StandingOf<'_>,
        now: Timestamp,
    ) -> Outcome {
        let endpoint = self.endpoint(request.path).unwrap_or_default();
        let step = match (endpoint, request.method.as_str()) {
            ("login", "GET") => self.log_in(request, now).await,
            ("callback", "GET") => callback::step(self, request, standing, now).await,
            ("logout", "GET") => Ok(logout::page(self)),
            ("logout", "POST") => logout::step(self, request, now).await,
            ("session", "GET") => session_info::show(self, request, standing, now).await,
            ("organisation", "POST") => {
                session_info::choose_organisation(self, request, standing, now).await
            }
            ("backchannel-logout", "POST") => Ok(provider_logout::back(self, request, now).await),
            ("frontchannel-logout", "GET") => provider_logout::front(self, request, now).await,
            ("login" | "callback" | "session" | "frontchannel-logout", _) => {
                Err(method_not_allowed("GET"))
            }
            ("logout", _) => Err(method_not_allowed("GET, POST")),
            ("organisation" | "backchannel-logout", _) => Err(method_not_allowed("POST")),
            _ => Err(Refusal::new(Reason::NoRoute, "no such endpoint under the prefix")),
        };
        step.unwrap_or_else(Outcome::refused)
    }

    /// `302` to the provider, for a navigation that needs a login. Afterwards the browser is
    /// sent to `wanted` when that is a path of ours, else to `/`.
    ///
    /// # Errors
    /// [`Reason::IamUnavailable`].
    pub async fn start(
        &self,
        wanted: &str,
        cookies: &Cookies<'_>,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let authorization = self.provider.authorize().await?;
        let unsendable =
            || Refusal::new(Reason::IamUnavailable, "the authorization request cannot be sent");
        let location =
            HeaderValue::try_from(authorization.url.as_str()).map_err(|_| unsendable())?;
        let return_to = return_to(wanted, &self.prefix);
        let cookie =
            flow::begin(self.jar(), &authorization, return_to, now).ok_or_else(unsendable)?;
        let mut lines = flow::make_room(self.jar(), cookies, now);
        lines.push(cookie);
        // What no longer counts goes now (R13). A session that counts stays until it is
        // replaced: else any site could end it with a link to here.
        // One that cannot be looked up just now stays, too.
        if cookies.has_session()
            && let Err(refusal) = self.sessions.peek(cookies, now).await
            && refusal.reason.status() < 500
        {
            lines.extend(self.jar().clear());
        }
        Ok(with_cookies(Answer::found(location), lines))
    }

    async fn log_in(&self, request: &LoginRequest<'_>, now: Timestamp) -> Result<Outcome, Refusal> {
        let cookies = self.jar().read(request.cookie_fields())?;
        let query = request.query.unwrap_or_default().as_bytes();
        let mut wanted = form_urlencoded::parse(query).filter(|(name, _)| name == "return_to");
        let wanted = match (wanted.next(), wanted.next()) {
            (Some((_, path)), None) => path,
            _ => "/".into(),
        };
        let answer = self.start(&wanted, &cookies, now).await?;
        Ok(Outcome { event: Some(Event::LoginStarted), ..Outcome::answered(answer) })
    }

    /// The URL that a page of ours leads to for a login that comes back to it: the page that
    /// sent the request, where the browser says which (`Referer`).
    #[must_use]
    pub fn url_for(&self, headers: &HeaderMap) -> String {
        let url = format!("{}{}/login", self.origin, self.prefix);
        let page = headers.get(header::REFERER).and_then(|page| page.to_str().ok());
        let page = page.and_then(|page| page.strip_prefix(self.origin.as_str()));
        match page.map(|page| return_to(page, &self.prefix)) {
            Some(page) if page != "/" => {
                let page: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
                format!("{url}?return_to={page}")
            }
            _ => url,
        }
    }

    /// Browser sessions.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn jar(&self) -> &Jar {
        self.sessions.jar()
    }

    fn endpoint<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.prefix)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

impl<'a> LoginRequest<'a> {
    fn cookie_fields(&self) -> impl Iterator<Item = &'a [u8]> {
        self.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes)
    }
}

impl Outcome {
    fn answered(answer: Answer) -> Self {
        let cookies = PendingCookies::default();
        Self {
            answer: Ok(answer),
            cookies,
            event: None,
            subject: None,
            session: None,
            reason: None,
        }
    }

    fn about(session: &Session, answer: Answer, event: Option<Event>) -> Self {
        Self {
            event,
            subject: Some(Arc::clone(&session.subject)),
            session: Some(session.public_id()),
            ..Self::answered(answer)
        }
    }

    fn refused(refusal: Refusal) -> Self {
        let reason = Some(refusal.reason);
        let cookies = PendingCookies::default();
        Self { answer: Err(refusal), cookies, event: None, subject: None, session: None, reason }
    }
}

fn with_cookies(answer: Answer, lines: impl IntoIterator<Item = HeaderValue>) -> Answer {
    lines.into_iter().fold(answer, |answer, line| answer.with(header::SET_COOKIE, line))
}

fn method_not_allowed(allow: &str) -> Refusal {
    let refusal = Refusal::new(Reason::MethodNotAllowed, "not a method of this endpoint");
    Refusal { allow: Some(allow.to_owned()), ..refusal }
}

/// A session that cannot be written is one that its tokens make impossible.
fn unsaved(error: KeepError) -> Refusal {
    let reason = match error {
        KeepError::Save(_) => Reason::CredentialInvalid,
        KeepError::Ended => Reason::SessionExpired,
        KeepError::Unreachable(_) => Reason::SessionUnavailable,
    };
    Refusal::new(reason, error.to_string())
}
