//! A token service that answers whatever a test tells it to, and counts.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Form, Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::issuer::now;
use crate::demo::stand_in::jose::{Parts, SigningKey};

/// The service.
pub(crate) struct TokenService {
    pub(crate) url: String,
    pub(crate) key: Arc<SigningKey>,
    exchanges: Arc<AtomicUsize>,
}

/// What it was asked.
pub(crate) struct Asked {
    form: HashMap<String, String>,
    url: String,
    key: Arc<SigningKey>,
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    /// The claims of an honest answer, for five minutes.
    pub(crate) fn claims(&self) -> Value {
        let subject = Parts::split(self.field("subject_token")).unwrap().claims["sub"].clone();
        json!({
            "iss": self.url,
            "aud": self.field("audience"),
            "sub": subject,
            "exp": now() + 300,
            "organisationId": self.field("organisationId"),
            "permissions": ["CREDENTIAL_LIST", "CREDENTIAL_ISSUE"],
            "scope": self.field("scope"),
            "jti": uuid::Uuid::new_v4().to_string(),
        })
    }

    /// An honest token.
    pub(crate) fn token(&self) -> String {
        self.key.sign("at+jwt", &self.claims())
    }

    /// The answer with these claims.
    pub(crate) fn issue(&self, claims: &Value) -> Response {
        Json(answer(&self.key.sign("at+jwt", claims))).into_response()
    }
}

/// The answer with this token (RFC 8693, section 2.2.1).
pub(crate) fn answer(token: &str) -> Value {
    json!({
        "access_token": token,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 300,
    })
}

impl TokenService {
    /// Starts one that answers each exchange as `behaviour` says.
    pub(crate) async fn start<F, A>(behaviour: F) -> Self
    where
        F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let (listener, address) = super::listener().await;
        let url = format!("http://{address}");
        let key = Arc::new(SigningKey::generate("sts").unwrap());
        let exchanges = Arc::new(AtomicUsize::new(0));
        let keys = json!({ "keys": [key.jwk()] });
        let (count, issuer, signer) = (Arc::clone(&exchanges), url.clone(), Arc::clone(&key));
        let exchange = move |Form(form): Form<HashMap<String, String>>| {
            count.fetch_add(1, Ordering::SeqCst);
            behaviour(Asked { form, url: issuer.clone(), key: Arc::clone(&signer) })
        };
        let routes = Router::new()
            .route("/jwks", get(move || async { Json(keys) }))
            .route("/token", post(exchange));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, key, exchanges }
    }

    /// One that tells the truth.
    pub(crate) async fn honest() -> Self {
        Self::start(|asked| async move { asked.issue(&asked.claims()) }).await
    }

    /// How often it was asked.
    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }

    /// The `sts` section for it; `more` are further keys of `exchange`.
    pub(crate) fn section(&self, more: &str) -> String {
        self.section_at(&format!("{}/token", self.url), more)
    }

    /// The same, with another address to exchange at.
    pub(crate) fn section_at(&self, address: &str, more: &str) -> String {
        let url = &self.url;
        format!(
            "exchange: {{ url: '{address}', issuer: '{url}', jwks: '{url}/jwks', \
             parameters: {{ organisationId: '{{organisation}}' }}{more} }}"
        )
    }
}
