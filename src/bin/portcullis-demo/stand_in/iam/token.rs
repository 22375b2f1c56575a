//! `/token`: codes, client credentials and refresh tokens become access tokens.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Json,
    extract::{Form, State},
    response::{IntoResponse, Response},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    super::random_token,
    Client, Provider, same,
    state::{Family, Grant, Refresh},
};

#[derive(Deserialize)]
pub(crate) struct TokenForm {
    grant_type: String,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    scope: Option<String>,
}

/// An error of RFC 6749, section 5.2.
struct TokenError(&'static str);

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.0}));
        if self.0 != "invalid_client" {
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
        let challenge = HeaderValue::from_static("Basic realm=\"demo-iam\"");
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], body).into_response()
    }
}

/// `POST /token`.
pub(crate) async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    provider
        .grant(&headers, &form)
        .map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

/// An access token for what was granted.
pub(crate) fn access_token(provider: &Provider, grant: &Grant) -> String {
    let settings = &provider.settings;
    let now = Timestamp::now();
    let mut claims = json!({
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": grant.subject,
        "client_id": grant.client,
        "roles": grant.roles,
        "iat": now,
        "exp": now + settings.lifetime,
    });
    if let Some(name) = &grant.full_name {
        set(&mut claims, "name", json!(name));
    }
    // No two tokens alike, as a provider's are not.
    if let Ok(id) = random_token() {
        set(&mut claims, "jti", json!(id));
    }
    provider.key.sign("JWT", &claims)
}

impl Provider {
    fn grant(&self, headers: &HeaderMap, form: &TokenForm) -> Result<Json<Value>, TokenError> {
        let client = self.authenticate(headers, form).ok_or(TokenError("invalid_client"))?;
        match form.grant_type.as_str() {
            "authorization_code" => self.code(client, form),
            "client_credentials" => self.client_credentials(client, form),
            "refresh_token" => self.refresh(client, form),
            _ => Err(TokenError("unsupported_grant_type")),
        }
    }

    fn authenticate(&self, headers: &HeaderMap, form: &TokenForm) -> Option<&Client> {
        let (id, secret) = match headers.get(header::AUTHORIZATION) {
            Some(value) => basic(value)?,
            None => (form.client_id.clone()?, form.client_secret.clone()?),
        };
        self.client(&id).filter(|client| same(&client.secret, &secret))
    }

    fn code(&self, client: &Client, form: &TokenForm) -> Result<Json<Value>, TokenError> {
        let now = Timestamp::now();
        let invalid = || TokenError("invalid_grant");
        let code = form.code.as_deref().and_then(|code| self.book().take_code(code, now));
        let code = code.ok_or_else(invalid)?;
        let verifier = form.code_verifier.as_deref().unwrap_or_default();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        if code.request.client != client.id
            || form.redirect_uri.as_ref() != Some(&code.request.redirect)
            || !same(&challenge, &code.request.challenge)
        {
            return Err(invalid());
        }
        let user = self.user(&code.login.user).ok_or_else(invalid)?;
        let grant = Grant {
            client: client.id.clone(),
            subject: user.name.clone(),
            full_name: Some(user.full_name.clone()),
            roles: user.roles.clone(),
            scopes: code.request.scopes,
            nonce: code.request.nonce,
            login: Some(code.login.at),
        };
        let family = random_token().map_err(|_| TokenError("server_error"))?;
        self.tokens(grant, Some(family))
    }

    fn client_credentials(
        &self,
        client: &Client,
        form: &TokenForm,
    ) -> Result<Json<Value>, TokenError> {
        let roles = client.roles.clone().ok_or(TokenError("unauthorized_client"))?;
        let grant = Grant {
            client: client.id.clone(),
            subject: client.id.clone(),
            full_name: None,
            roles,
            scopes: form
                .scope
                .iter()
                .flat_map(|scope| scope.split(' '))
                .map(str::to_owned)
                .collect(),
            nonce: None,
            login: None,
        };
        self.tokens(grant, None)
    }

    fn refresh(&self, client: &Client, form: &TokenForm) -> Result<Json<Value>, TokenError> {
        let token = form.refresh_token.as_deref().unwrap_or_default();
        let used = self.book().use_refresh(token, &client.id, Timestamp::now());
        match used {
            Refresh::Granted(grant, family) => self.tokens(grant, Some(family)),
            Refresh::Refused => Err(TokenError("invalid_grant")),
        }
    }

    fn tokens(&self, grant: Grant, family: Option<Family>) -> Result<Json<Value>, TokenError> {
        let asked = |scope: &str| grant.scopes.iter().any(|one| one == scope);
        let mut answer = json!({
            "access_token": access_token(self, &grant),
            "token_type": "Bearer",
            "expires_in": self.settings.lifetime.as_secs(),
            "scope": grant.scopes.join(" "),
        });
        if let Some(login) = grant.login.filter(|_| asked("openid")) {
            set(&mut answer, "id_token", json!(self.id_token(&grant, login)));
        }
        if let Some(family) = family.filter(|_| asked("offline_access")) {
            let token = random_token().map_err(|_| TokenError("server_error"))?;
            set(&mut answer, "refresh_token", json!(token));
            self.book().add_refresh(token, grant, family, Timestamp::now());
        }
        Ok(Json(answer))
    }

    fn id_token(&self, grant: &Grant, login: Timestamp) -> String {
        let now = Timestamp::now();
        let mut claims = json!({
            "iss": self.settings.issuer,
            "aud": grant.client,
            "sub": grant.subject,
            "name": grant.full_name,
            "auth_time": login,
            "iat": now,
            "exp": now + self.settings.lifetime,
        });
        if let Some(nonce) = &grant.nonce {
            set(&mut claims, "nonce", json!(nonce));
        }
        self.key.sign("JWT", &claims)
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// Name and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let pair = format!("x={part}");
        form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}
