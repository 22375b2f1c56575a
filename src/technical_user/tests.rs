use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{identity::Proof, oauth_client::ClientAuthentication};

const NOW: Timestamp = Timestamp(1_760_000_000);

/// What the provider's token endpoint answers, and what it was asked.
struct Endpoint {
    issuer: String,
    status: Mutex<u16>,
    body: Mutex<Value>,
    delay: Mutex<Duration>,
    asked: AtomicUsize,
    forms: Mutex<Vec<(Option<String>, String)>>,
}

impl Endpoint {
    async fn start() -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            status: Mutex::new(200),
            body: Mutex::new(json!({ "access_token": "cron:300", "token_type": "bearer" })),
            delay: Mutex::default(),
            asked: AtomicUsize::new(0),
            forms: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/token", post(token))
            .with_state(Arc::clone(&endpoint));
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    fn answers(&self, status: u16, body: Value) {
        *self.status.lock().unwrap() = status;
        *self.body.lock().unwrap() = body;
    }

    fn user(&self) -> Arc<TechnicalUser> {
        let settings = Settings {
            name: "wrpr-cron".into(),
            issuer: self.issuer.clone(),
            client: OauthClient::new("wrpr".into(), ClientAuthentication::Basic("hush".into())),
            scopes: vec!["tasks".into(), "more".into()],
            resource: Some("https://one.example.com".into()),
            organisation: None,
            verify: Arc::new(|token, now| Box::pin(async move { judge(&token, now) })),
        };
        let http = http_client::build(None, Duration::from_secs(2)).unwrap();
        Arc::new(TechnicalUser::new(settings, http))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn discovery(State(endpoint): State<Arc<Endpoint>>) -> Json<Value> {
    let issuer = &endpoint.issuer;
    Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks"),
        "token_endpoint": format!("{issuer}/token"),
    }))
}

async fn token(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    form: String,
) -> Response {
    endpoint.asked.fetch_add(1, Ordering::SeqCst);
    let authorization = headers.get("authorization").map(|it| it.to_str().unwrap().to_owned());
    endpoint.forms.lock().unwrap().push((authorization, form));
    let delay = *endpoint.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let status = StatusCode::from_u16(*endpoint.status.lock().unwrap()).unwrap();
    (status, Json(endpoint.body.lock().unwrap().clone())).into_response()
}

/// A token is `SUBJECT:SECONDS`, and good when it is the technical user's.
fn judge(token: &SecretString, now: Timestamp) -> Result<Identity, Refusal> {
    let (subject, seconds) = token.expose_secret().split_once(':').unwrap();
    if subject != "cron" {
        return Err(Refusal::new(Reason::CredentialInvalid, "not for us"));
    }
    Ok(Identity {
        proof: Proof::IamToken,
        issuer: "iam".into(),
        subject: subject.into(),
        roles: vec![],
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::new(Map::new()),
        expires: now + Duration::from_secs(seconds.parse().unwrap()),
        token: token.clone(),
    })
}

#[tokio::test]
async fn one_token_serves_everybody_until_it_is_renewed_behind_them() {
    let endpoint = Endpoint::start().await;
    let user = endpoint.user();
    *endpoint.delay.lock().unwrap() = Duration::from_millis(50);
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let user = Arc::clone(&user);
            tokio::spawn(async move { user.identity(NOW).await.unwrap().subject.clone() })
        })
        .collect();
    for one in crowd {
        assert_eq!(&*one.await.unwrap(), "cron");
    }
    assert_eq!(endpoint.asked(), 1);
    let (authorization, form) = endpoint.forms.lock().unwrap()[0].clone();
    assert!(authorization.unwrap().starts_with("Basic "));
    assert_eq!(
        form,
        "grant_type=client_credentials&scope=tasks+more&resource=https%3A%2F%2Fone.example.com"
    );
    let first = user.identity(NOW + Duration::from_secs(200)).await.unwrap();
    assert_eq!(endpoint.asked(), 1);

    endpoint.answers(200, json!({ "access_token": "cron:900", "token_type": "Bearer" }));
    *endpoint.delay.lock().unwrap() = Duration::ZERO;
    let due = NOW + Duration::from_secs(250);
    let still = user.identity(due).await.unwrap();
    assert!(Arc::ptr_eq(&first, &still), "nobody waits for the renewal");
    while endpoint.asked() < 2 || Arc::ptr_eq(&first, &user.identity(due).await.unwrap()) {
        tokio::task::yield_now().await;
    }
    let renewed = user.identity(due).await.unwrap();
    assert_eq!(renewed.token.expose_secret(), "cron:900");
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn a_provider_that_is_away_is_noticed_when_the_token_ends_and_not_asked_by_each_request() {
    let endpoint = Endpoint::start().await;
    let user = endpoint.user();
    user.identity(NOW).await.unwrap();
    endpoint.answers(500, json!({}));
    assert!(
        user.identity(NOW + Duration::from_secs(284)).await.is_ok(),
        "until 15 s before its end"
    );
    let ended = NOW + Duration::from_secs(286);
    for _ in 0..20 {
        let refusal = user.identity(ended).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::IamUnavailable);
        assert!(refusal.retry_after.is_some());
        assert!(refusal.detail.contains("wrpr-cron"), "{}", refusal.detail);
    }
    assert!(endpoint.asked() <= 3, "{} times", endpoint.asked());
}

#[tokio::test]
async fn what_is_no_token_for_it_is_not_used() {
    for (status, body, why) in [
        (
            401,
            json!({ "error": "invalid_client" }),
            "refused with 401 Unauthorized, invalid_client",
        ),
        (400, json!({ "error": "<script>" }), "refused with 400 Bad Request, no error code"),
        (200, json!({ "access_token": "alice:300", "token_type": "Bearer" }), "not accepted"),
        (200, json!({ "access_token": "cron:300", "token_type": "DPoP" }), "no bearer token"),
        (200, json!({ "access_token": "cron:0", "token_type": "Bearer" }), "no time left"),
        (200, json!({ "access_token": 7, "token_type": "Bearer" }), "holds no access_token"),
        (200, json!({ "access_token": "x".repeat(80_000), "token_type": "Bearer" }), "larger than"),
        (302, json!({}), "status 302"),
        (429, json!({}), "status 429"),
    ] {
        let endpoint = Endpoint::start().await;
        endpoint.answers(status, body);
        let refusal = endpoint.user().identity(NOW).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::IamUnavailable);
        assert!(refusal.detail.contains(why), "{why} in {}", refusal.detail);
        assert_eq!(endpoint.asked(), 1, "one attempt");
    }
}

#[test]
fn a_short_token_is_renewed_at_half_its_time_and_every_one_before_its_end() {
    for (seconds, renewed, used) in
        [(300, 225, 285), (60, 30, 45), (40, 20, 30), (4, 2, 3), (0, 0, 0)]
    {
        let term = Term::new(NOW, NOW + Duration::from_secs(seconds));
        let at = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!(term, Term { renewed: at(renewed), used: at(used) }, "{seconds}");
    }
    assert_eq!(Term::new(NOW, Timestamp(0)).used, NOW, "ended long ago");
}
