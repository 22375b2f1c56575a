//! The provider sent the browser back (OpenID Connect Core 1.0, 3.1.2.5; RFC 9207).
//!
//! Order matters: nothing is shown, asked or changed before `state` is known to be of a login
//! that this browser began (R19). From there on a failure is a page with a link: to start the
//! login again by itself could go round for ever. What the provider or a forger wrote into the
//! query is never shown.

use http::{HeaderValue, StatusCode, header};
use url::form_urlencoded;

use super::{
    Event, Login, LoginRequest, Outcome, Standing, StandingOf, flow, unsaved, with_cookies,
};
use crate::{
    answer::{Answer, escape},
    identity::Identity,
    oidc::Tokens,
    refusal::{Reason, Refusal},
    session::{Cookies, Grant, Session, State},
    time::Timestamp,
};

/// Completes a login.
pub(super) async fn step(
    login: &Login,
    request: &LoginRequest<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let callback = Callback::parse(request.query).map_err(failed_early)?;
    let cookies = login.jar().read(request.cookie_fields())?;
    let Some(pending) = flow::resume(login.jar(), &cookies, &callback.state, now) else {
        return late(login, &cookies, "/", now).await;
    };
    // A login cookie is good for one callback, whatever comes of it.
    let end = flow::end(login.jar(), &callback.state);
    let completed = match redeem(login, &callback, &pending, now).await {
        Ok((identity, tokens)) => establish(login, identity, tokens, &cookies, standing, now)
            .await
            .map_err(Failure::token),
        Err(failure) => Err(failure),
    };
    Ok(match completed {
        Ok((session, lines)) => {
            let answer = with_cookies(arrive(login, &pending.return_to), lines);
            let answer = with_cookies(answer, end);
            Outcome::about(&session, answer, Some(Event::LoginCompleted))
        }
        // Another tab was faster, and the provider has done with this login: there is nothing to
        // tell anybody, and nothing left to do.
        Err(failure) if failure.is_the_providers => {
            log::debug!("login: {}", failure.refusal.detail);
            match late(login, &cookies, &pending.return_to, now).await {
                Ok(outcome) => Outcome {
                    answer: outcome.answer.map(|answer| with_cookies(answer, end)),
                    ..outcome
                },
                Err(_) => failed(login, request, &failure, &pending.return_to, end),
            }
        }
        Err(failure) => failed(login, request, &failure, &pending.return_to, end),
    })
}

/// The page of a login that failed.
fn failed(
    login: &Login,
    request: &LoginRequest<'_>,
    failure: &Failure,
    return_to: &str,
    end: Option<HeaderValue>,
) -> Outcome {
    log::warn!(reason = failure.refusal.reason.word(); "login: {}", failure.refusal.detail);
    let page = failure_page(login, request, failure, return_to);
    Outcome {
        event: Some(Event::LoginFailed),
        reason: Some(failure.refusal.reason),
        ..Outcome::answered(with_cookies(page, end))
    }
}

/// The callback's parameters, bounded and each there at most once.
#[derive(Debug)]
pub(crate) struct Callback {
    pub(crate) state: String,
    issuer: Option<String>,
    pub(crate) result: Result<String, ProviderError>,
}

/// What `error` says, as far as it makes a difference.
#[derive(Debug)]
pub(crate) enum ProviderError {
    /// The provider asks for patience.
    Temporary,
    /// The user or the provider said no.
    Final,
}

impl Callback {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, &'static str> {
        let query = query.unwrap_or_default();
        if query.len() > LONGEST_QUERY {
            return Err("the query is too long");
        }
        let (mut state, mut code, mut issuer, mut error) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (slot, longest) = match &*name {
                "state" => (&mut state, 43),
                "code" => (&mut code, 4_096),
                "iss" => (&mut issuer, 1_024),
                "error" => (&mut error, 128),
                _ => continue,
            };
            if value.len() > longest || !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
                return Err("a parameter is too long or not plain text");
            }
            if slot.replace(value.into_owned()).is_some() {
                return Err("a parameter is there twice");
            }
        }
        let state = state.filter(|state| flow::is_state(state)).ok_or("state is not of ours")?;
        let result = match (code, error.as_deref()) {
            (Some(code), None) if !code.is_empty() => Ok(code),
            (None, Some("temporarily_unavailable" | "server_error")) => {
                Err(ProviderError::Temporary)
            }
            (None, Some(_)) => Err(ProviderError::Final),
            _ => return Err("neither code nor error is there, or both are"),
        };
        Ok(Self { state, issuer, result })
    }
}

/// A login that failed after its state was known, and what its page says of it.
struct Failure {
    refusal: Refusal,
    text: &'static str,
    /// The provider did not complete it, as it does not when the user logged in elsewhere.
    is_the_providers: bool,
}

impl Failure {
    fn new(refusal: impl Into<Refusal>) -> Self {
        let refusal = refusal.into();
        let text = match refusal.reason {
            Reason::IamUnavailable => {
                "The identity provider did not answer. Please try again soon."
            }
            _ => "The identity provider did not complete this login.",
        };
        let is_the_providers = refusal.reason == Reason::InvalidCallback;
        Self { refusal, text, is_the_providers }
    }

    /// The access token, or what was made of it, is at fault; whether the user tries again
    /// makes no difference, whoever runs the gateway has to act.
    fn token(refusal: Refusal) -> Self {
        if refusal.reason.status() >= 500 {
            return Self::new(refusal);
        }
        let text = "The identity provider logged you in, and its access token is not acceptable \
                    to this gateway. Please tell the people who run it.";
        Self { refusal, text, is_the_providers: false }
    }
}

/// From the callback to a verified identity.
async fn redeem(
    login: &Login,
    callback: &Callback,
    pending: &flow::Pending,
    now: Timestamp,
) -> Result<(Identity, Tokens), Failure> {
    let invalid = |detail| Failure::new(Refusal::new(Reason::InvalidCallback, detail));
    let provider = &login.provider;
    if !provider.is_from_here(callback.issuer.as_deref()).await.map_err(Failure::new)? {
        let foreign = invalid("the callback is not of the configured issuer");
        return Err(Failure { is_the_providers: false, ..foreign });
    }
    let code = match &callback.result {
        Ok(code) => code.clone(),
        Err(ProviderError::Final) => return Err(invalid("the provider refused the login")),
        Err(ProviderError::Temporary) => {
            let detail = "the provider says that it is not available";
            return Err(Failure::new(Refusal::new(Reason::IamUnavailable, detail)));
        }
    };
    let tokens = provider
        .exchange(code, &pending.verifier, &pending.nonce, now)
        .await
        .map_err(Failure::new)?;
    let identity =
        (login.verify_iam)(tokens.access_token.clone(), now).await.map_err(Failure::token)?;
    if *identity.subject != *tokens.subject {
        let detail = "ID token and access token are about different subjects";
        return Err(Failure::token(Refusal::new(Reason::CredentialInvalid, detail)));
    }
    Ok((identity, tokens))
}

/// A new session with a new id (R14), and the lines that replace the old one.
async fn establish(
    login: &Login,
    identity: Identity,
    tokens: Tokens,
    cookies: &Cookies<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<(Session, Vec<HeaderValue>), Refusal> {
    let Standing { organisations, .. } = standing(&identity);
    let grant = Grant {
        identity: Identity { token: tokens.access_token, ..identity },
        name: tokens.name,
        id_token: Some(tokens.id_token),
        refresh_token: tokens.refresh_token,
        provider_session: tokens.provider_session,
        provider_ends: tokens.provider_ends,
    };
    let mut session = Session::begin(grant, now, login.sessions.limits().absolute)
        .map_err(|error| Refusal::new(Reason::IamUnavailable, error.to_string()))?;
    if session.token_expires <= now {
        return Err(Refusal::new(Reason::CredentialExpired, "the access token is over at once"));
    }
    // The verifier has a leeway and a session has none: a session that is over at once would
    // send the browser back to the provider, and round again.
    if let State::Expired(limit) = login.sessions.check(&session, now) {
        let detail = format!("the session would be over at once by its {limit:?} limit");
        return Err(Refusal::new(Reason::CredentialExpired, detail));
    }
    // Who may act in one organisation only has nothing to choose.
    if let [only] = organisations.as_slice() {
        session.organisation = Some(only.id);
    }
    let lines = login.sessions.begin(&session, cookies, now).await.map_err(unsaved)?;
    Ok((session, lines))
}

/// A tab that comes back after another one logged in, or whose login was too old: with a
/// session there is nothing left to do.
async fn late(
    login: &Login,
    cookies: &Cookies<'_>,
    path: &str,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    match login.sessions.peek(cookies, now).await {
        Ok(session) => Ok(Outcome::about(&session, arrive(login, path), None)),
        Err(_) => Err(failed_early("no login of this browser has this state")),
    }
}

/// Sends the browser where it wanted to go. A `Strict` cookie is withheld from a redirect that
/// the provider's page began, so then a page of ours has to begin the navigation.
fn arrive(login: &Login, path: &str) -> Answer {
    if !login.jar().withheld_after_redirect() {
        return go(login, path);
    }
    let target = escape(&format!("{}{path}", login.origin));
    let onward = format!(
        "<meta http-equiv=\"refresh\" content=\"0;url={target}\"><p><a href=\"{target}\">Continue</a></p>"
    );
    Answer::page(StatusCode::OK, "Logged in", "You are being taken to your page.", &onward)
}

fn go(login: &Login, path: &str) -> Answer {
    // `return_to` lets only printable ASCII through.
    HeaderValue::try_from(format!("{}{path}", login.origin))
        .map_or_else(|_| Answer::see_other(HeaderValue::from_static("/")), Answer::see_other)
}

fn failure_page(
    login: &Login,
    request: &LoginRequest<'_>,
    failure: &Failure,
    return_to: &str,
) -> Answer {
    let reason = failure.refusal.reason;
    let plain = Answer::refusal(&failure.refusal, request.request_id, false);
    if !request.is_navigation {
        return plain;
    }
    let again: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    let again = escape(&format!("{}/login?return_to={again}", login.prefix));
    let text = format!("{} ({}, request {})", failure.text, reason.word(), request.request_id);
    let controls = format!("<p><a href=\"{again}\">Try again</a></p>");
    let page = Answer::page(plain.status, reason.title(), &text, &controls);
    let kept = [header::RETRY_AFTER, header::WWW_AUTHENTICATE];
    plain
        .headers
        .into_iter()
        .filter(|(name, _)| kept.contains(name))
        .fold(page, |page, (name, value)| page.with(name, value))
}

fn failed_early(detail: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidCallback, detail)
}

/// Room for a long code and for what some providers add.
const LONGEST_QUERY: usize = 8_192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> String {
        "s".repeat(43)
    }

    #[test]
    fn what_a_provider_sends_is_read() {
        let query = format!("state={}&code=a%2Fb&iss=https%3A%2F%2Fiam&session_state=x", state());
        let callback = Callback::parse(Some(&query)).unwrap();
        assert_eq!(callback.result.unwrap(), "a/b");
        assert_eq!(callback.issuer.as_deref(), Some("https://iam"));
        let query = format!("error=access_denied&error_description=%3Cb%3E&state={}", state());
        assert!(matches!(Callback::parse(Some(&query)).unwrap().result, Err(ProviderError::Final)));
    }

    #[test]
    fn r19_missing_doubled_and_oversize_parameters_are_refused() {
        let ok = format!("state={}", state());
        let long = |name: &str, length| format!("{ok}&code=c&{name}={}", "x".repeat(length));
        for query in [
            String::new(),
            "code=c".into(),
            "state=&code=c".into(),
            format!("state={}&code=c", "s".repeat(42)),
            format!("state={}&code=c", "s".repeat(44)),
            format!("state={}%20&code=c", "s".repeat(42)),
            ok.clone(),
            format!("{ok}&code="),
            format!("{ok}&code=c&error=e"),
            format!("{ok}&{ok}&code=c"),
            format!("{ok}&code=c&code=c"),
            format!("{ok}&code=c&iss=a&iss=a"),
            format!("{ok}&error=a&error=a"),
            format!("{ok}&code=a%00b"),
            format!("{ok}&code=a%0d%0ab"),
            format!("{ok}&code={}", "x".repeat(4_097)),
            long("iss", 1_025),
            long("session_state", 8_192),
            format!("{ok}&error={}", "x".repeat(129)),
        ] {
            assert!(Callback::parse(Some(&query)).is_err(), "{query}");
        }
        assert!(Callback::parse(None).is_err());
    }

    proptest! {
        #[test]
        fn r19_hostile_queries_never_panic(
            query in "((state|code|iss|error|x)(=[ -~]{0,50})?&){0,6}[ -~]{0,20}",
            other: String,
        ) {
            for query in [query, other] {
                if let Ok(callback) = Callback::parse(Some(&query)) {
                    prop_assert!(flow::is_state(&callback.state));
                }
            }
        }
    }
}
