//! `/authorize` and the login form behind it.
//!
//! A request whose client or redirect is not known is answered here and never redirected
//! (RFC 6749, section 4.1.2.1); every other fault goes back to the client with `state` and `iss`.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Form, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis::time::Timestamp;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{
    super::random_token,
    Provider, page,
    state::{Code, Login, Request},
};

const COOKIE: &str = "demo_iam_session";

/// `GET /authorize`: a code at once for somebody known, else the login page.
pub(crate) async fn authorize(
    State(provider): State<Arc<Provider>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let mut values = HashMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if values.insert(name.into_owned(), value.into_owned()).is_some() {
            return page::fault("A parameter is repeated.");
        }
    }
    let mut take = |name: &str| values.remove(name);
    let (client, redirect) = (take("client_id"), take("redirect_uri"));
    let known = client.as_deref().and_then(|id| provider.client(id));
    let (Some(client), Some(redirect)) = (known, redirect) else {
        return page::fault("The client or its redirect address is missing or not known.");
    };
    if !client.redirects.contains(&redirect) {
        return page::fault("The redirect address is not registered for this client.");
    }
    let request = Request {
        client: client.id.clone(),
        redirect,
        state: take("state"),
        nonce: take("nonce"),
        challenge: take("code_challenge").unwrap_or_default(),
        scopes: take("scope").unwrap_or_default().split(' ').map(str::to_owned).collect(),
    };
    let refuse = |error| provider.send_back(&request, &[("error", error)]);
    if take("response_type").as_deref() != Some("code") {
        return refuse("unsupported_response_type");
    }
    if !request.scopes.iter().any(|scope| scope == "openid") {
        return refuse("invalid_scope");
    }
    // 43 characters: SHA-256 in base64url (RFC 7636, section 4.2).
    if request.challenge.len() != 43 || take("code_challenge_method").as_deref() != Some("S256") {
        return refuse("invalid_request");
    }
    let prompt = take("prompt").unwrap_or_default();
    let oldest = take("max_age").and_then(|age| age.parse::<u64>().ok());
    let now = Timestamp::now();
    let login = session_cookie(&headers)
        .and_then(|session| provider.book().session(session, now))
        .filter(|login| oldest.is_none_or(|age| now.since(login.at).as_secs() <= age));
    match (prompt.as_str(), login) {
        ("" | "none", Some(login)) => provider.send_code(request, login),
        ("none", None) => refuse("login_required"),
        _ => match random_token() {
            Ok(id) => {
                let answer = page::login(&id, &request, None);
                provider.book().begin_login(id, request, now);
                answer
            }
            Err(_) => refuse("server_error"),
        },
    }
}

/// The login form.
#[derive(Deserialize)]
pub(crate) struct LoginForm {
    request: String,
    user: String,
    password: String,
}

/// `POST /login`: back to the client with a code, or the page again.
pub(crate) async fn login(
    State(provider): State<Arc<Provider>>,
    Form(form): Form<LoginForm>,
) -> Response {
    let now = Timestamp::now();
    let Some(request) = provider.book().login(&form.request, now) else {
        return page::fault("This login has ended. Go back to the application and start again.");
    };
    let Some(user) = provider.login(&form.user, &form.password) else {
        let fault = Some("User or password is wrong.");
        return (StatusCode::UNAUTHORIZED, page::login(&form.request, &request, fault))
            .into_response();
    };
    let login = Login { user: user.name.clone(), at: now };
    let Ok(session) = random_token() else {
        return provider.send_back(&request, &[("error", "server_error")]);
    };
    let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age=28800");
    {
        let mut book = provider.book();
        // Another tab may have finished the same page meanwhile; one login gives one code.
        if book.finish_login(&form.request, now).is_none() {
            return page::fault("This login has ended. Go back to the application.");
        }
        book.begin_session(session, login.clone());
    }
    ([(header::SET_COOKIE, cookie)], provider.send_code(request, login)).into_response()
}

impl Provider {
    fn send_code(&self, request: Request, login: Login) -> Response {
        let Ok(id) = random_token() else {
            return self.send_back(&request, &[("error", "server_error")]);
        };
        let answer = self.send_back(&request, &[("code", &id)]);
        self.book().add_code(id, Code { request, login }, Timestamp::now());
        answer
    }

    fn send_back(&self, request: &Request, parameters: &[(&str, &str)]) -> Response {
        let Ok(mut target) = Url::parse(&request.redirect) else {
            return page::fault("The redirect address is not a URL.");
        };
        target.query_pairs_mut().extend_pairs(parameters);
        if let Some(state) = &request.state {
            target.query_pairs_mut().append_pair("state", state);
        }
        target.query_pairs_mut().append_pair("iss", &self.settings.issuer);
        see_other(target.as_str())
    }
}

/// `303 See Other`: the browser follows with GET, and takes no form with it.
pub(crate) fn see_other(target: &str) -> Response {
    match HeaderValue::from_str(target) {
        Ok(target) => (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response(),
        Err(_) => page::fault("The redirect address is not a URL."),
    }
}

/// The provider's own session in a request.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split("; ")).filter_map(|one| one.split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// `Set-Cookie` that ends it.
pub(crate) fn forget_session_cookie() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}
