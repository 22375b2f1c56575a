//! A stand-in for BFF with its Desk: takes IAM tokens alone, and serves one page that shows what
//! the gateway makes of the person in front of it.
//!
//! The page calls Core through the gateway, from the same origin; BFF calls nothing but the IAM
//! provider's key set.

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    jose::{Claims, IamTokens},
    uncached,
};

/// How the stand-in is set up.
pub(crate) struct Settings {
    /// The IAM provider; logout ends there, so the page's policy lets a form lead to it.
    pub(crate) iam_issuer: String,
    /// Demanded `aud` of IAM tokens.
    pub(crate) iam_audience: String,
}

/// Answers requests on `listener`.
///
/// # Errors
/// When no HTTP client can be made or the listener fails.
pub(crate) async fn serve(listener: TcpListener, settings: Settings) -> io::Result<()> {
    let tokens = IamTokens::new(&settings.iam_issuer, &settings.iam_audience)?;
    let bff = Arc::new(Bff { tokens, policy: policy(&settings.iam_issuer) });
    let router = Router::new()
        .route("/", get(async || Html(include_str!("bff/desk.html"))))
        .route("/desk.js", get(async || typed("text/javascript", include_str!("bff/desk.js"))))
        .route("/desk.css", get(async || typed("text/css", include_str!("bff/desk.css"))))
        .route("/api/desk/v1/me", get(me))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(Arc::clone(&bff), guard))
        .with_state(bff);
    axum::serve(listener, router).await
}

struct Bff {
    tokens: IamTokens,
    policy: String,
}

/// Every path wants a valid IAM token: BFF's check cannot be configured away.
async fn guard(State(bff): State<Arc<Bff>>, mut request: Request, next: Next) -> Response {
    let claims = match bearer(request.headers()) {
        Some(token) => bff.tokens.verified(token).await,
        None => None,
    };
    let mut response = match claims {
        Some(claims) => {
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    };
    if let Ok(policy) = bff.policy.parse() {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    // `no-referrer` would make the logout form's Origin null, which the gateway refuses.
    let referrer = http::HeaderValue::from_static("same-origin");
    response.headers_mut().insert(header::REFERRER_POLICY, referrer);
    uncached(response)
}

async fn me(request: Request) -> Json<Value> {
    let claims = request.extensions().get::<Claims>();
    let claim = |name: &str| claims.and_then(|claims| claims.get(name)).cloned();
    Json(json!({"sub": claim("sub"), "name": claim("name"), "roles": claim("roles")}))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn typed(kind: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], body)
}

/// Scripts and styles from here alone. A form may lead to the provider as well, because browsers
/// apply `form-action` to the redirects that follow.
fn policy(iam_issuer: &str) -> String {
    let iam = url::Url::parse(iam_issuer).map(|url| url.origin().ascii_serialization());
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
        iam.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis::time::Timestamp;

    use super::{
        super::{client, jose::SigningKey},
        *,
    };

    #[tokio::test]
    async fn only_an_iam_token_opens_it() {
        let key = SigningKey::generate("iam").unwrap();
        let iam = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", iam.local_addr().unwrap());
        let keys = json!({"keys": [key.jwk()]});
        let router = Router::new().route("/jwks", get(async move || Json(keys)));
        tokio::spawn(async { axum::serve(iam, router).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let settings = Settings { iam_issuer: issuer.clone(), iam_audience: "platform".into() };
        tokio::spawn(serve(listener, settings));

        let claims = |audience: &str| {
            json!({"iss": issuer, "aud": audience, "sub": "alice", "roles": ["r"],
                   "exp": Timestamp::now() + Duration::from_secs(60)})
        };
        let good = key.sign("JWT", &claims("platform"));
        let app = key.sign("STS", &claims("one-core"));
        let client = client(Duration::from_secs(5)).unwrap();
        let call = async |path: &str, token: &str| {
            let request = client.get(format!("{url}{path}")).bearer_auth(token);
            request.send().await.unwrap()
        };
        for (path, token, status) in [
            ("/", "", 401),
            ("/", &app, 401),
            ("/api/desk/v1/me", &app, 401),
            ("/", &good, 200),
            ("/nowhere", &good, 404),
        ] {
            assert_eq!(call(path, token).await.status(), status, "{path}");
        }
        let page = call("/", &good).await;
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains(&format!("form-action 'self' {issuer};")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let me: Value =
            serde_json::from_slice(&call("/api/desk/v1/me", &good).await.bytes().await.unwrap())
                .unwrap();
        assert_eq!(me, json!({"sub": "alice", "name": null, "roles": ["r"]}));
    }
}
