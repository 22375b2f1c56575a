//! An IAM provider that publishes a key and nothing more: the test makes the tokens.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::demo::stand_in::jose::SigningKey;

/// The provider, and its private key.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) key: SigningKey,
}

pub(crate) const AUDIENCE: &str = "procivis-one-platform";

impl Issuer {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let (listener, address) = super::listener().await;
        let url = format!("http://{address}");
        let key = SigningKey::generate("iam").unwrap();
        let discovery = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        });
        let keys = json!({ "keys": [key.jwk()] });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(move || async { Json(discovery) }))
            .route("/jwks", get(move || async { Json(keys) }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, key }
    }

    /// The name of its key.
    pub(crate) fn kid(&self) -> String {
        self.key.jwk()["kid"].as_str().unwrap().to_owned()
    }

    /// The claims of a good token; a test changes one of them.
    pub(crate) fn claims(&self, subject: &str, role: &str) -> Value {
        let now = now();
        json!({
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "roles": [role],
        })
    }

    /// A good token.
    pub(crate) fn token(&self, subject: &str, role: &str) -> String {
        self.sign(&self.claims(subject, role))
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.key.sign("JWT", claims)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    portcullis::time::Timestamp::now().0
}
