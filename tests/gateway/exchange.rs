//! An outside token service: one exchange however many wait, and nothing forwarded without one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Form, Json, Router,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::json;

use crate::{
    demo::stand_in::jose::{Parts, SigningKey},
    support::{
        ACME, Gateway, Issuer, Recorder, Settings, gateway::client, issuer::now, listener, reason,
    },
};

/// A token service that counts, and answers as the test wants.
struct Service {
    url: String,
    exchanges: Arc<AtomicUsize>,
}

/// What it does with an exchange.
#[derive(Clone, Copy)]
enum Behaviour {
    Issue(&'static [&'static str]),
    Fail,
    Refuse,
    OtherOrganisation,
}

impl Service {
    async fn start(behaviour: Behaviour) -> Self {
        let (listener, address) = listener().await;
        let url = format!("http://{address}");
        let key = Arc::new(SigningKey::generate("sts").unwrap());
        let keys = json!({ "keys": [key.jwk()] });
        let exchanges = Arc::new(AtomicUsize::new(0));
        let (count, issuer) = (Arc::clone(&exchanges), url.clone());
        let exchange = move |Form(form): Form<Vec<(String, String)>>| {
            let (count, key, issuer) = (Arc::clone(&count), Arc::clone(&key), issuer.clone());
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                // Long enough for every caller of a storm to come and wait.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                answer(behaviour, &form, &key, &issuer)
            }
        };
        let routes = Router::new()
            .route("/jwks", get(move || async { Json(keys) }))
            .route("/token", post(exchange));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, exchanges }
    }

    fn section(&self) -> String {
        let url = &self.url;
        format!(
            "exchange: {{ url: '{url}/token', issuer: '{url}', jwks: '{url}/jwks', \
             parameters: {{ organisationId: '{{organisation}}' }} }}"
        )
    }
}

fn answer(
    behaviour: Behaviour,
    form: &[(String, String)],
    key: &SigningKey,
    issuer: &str,
) -> axum::response::Response {
    let field = |name: &str| {
        let value = form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    let (permissions, organisation) = match behaviour {
        Behaviour::Fail => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Behaviour::Refuse => {
            let error = Json(json!({ "error": "invalid_grant" }));
            return (StatusCode::BAD_REQUEST, error).into_response();
        }
        Behaviour::Issue(permissions) => (permissions, field("organisationId")),
        Behaviour::OtherOrganisation => {
            (&["CREDENTIAL_LIST"][..], "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11".to_owned())
        }
    };
    let subject = field("subject_token");
    let subject = Parts::split(&subject).unwrap().claims["sub"].clone();
    let token = key.sign(
        "at+jwt",
        &json!({
            "iss": issuer, "aud": field("audience"), "sub": subject, "exp": now() + 300,
            "organisationId": organisation, "permissions": permissions,
        }),
    );
    Json(json!({
        "access_token": token,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 300,
    }))
    .into_response()
}

struct World {
    issuer: Issuer,
    core: Recorder,
    service: Service,
    gateway: Gateway,
}

async fn world(behaviour: Behaviour) -> World {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let service = Service::start(behaviour).await;
    let mut settings = Settings::new(&issuer.url, core.address);
    settings.sts = Some(service.section());
    let gateway = Gateway::start(settings).await;
    World { issuer, core, service, gateway }
}

impl World {
    async fn list(&self) -> (u16, String) {
        let token = self.issuer.token("alice", "admin");
        let list = client().get(self.gateway.url("/api/credential/v1")).bearer_auth(token);
        let answer = list.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_requests_with_one_token_make_one_exchange() {
    let world = world(Behaviour::Issue(&["CREDENTIAL_LIST"])).await;
    let token = world.issuer.token("alice", "admin");
    let client = client();
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let list = client.get(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
            tokio::spawn(async move { list.send().await.unwrap().status() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(world.service.exchanges.load(Ordering::SeqCst), 1);
    let seen = world.core.take();
    assert_eq!(seen.len(), 1000);
    let tokens: std::collections::BTreeSet<_> =
        seen.iter().map(|request| request.header("authorization")[0].to_owned()).collect();
    assert_eq!(tokens.len(), 1);
    let issued = tokens.first().unwrap().strip_prefix("Bearer ").unwrap();
    assert_ne!(issued, token);
    assert_eq!(Parts::split(issued).unwrap().claims["organisationId"], ACME);
    let metrics = world.gateway.metrics().await;
    assert!(metrics.contains("portcullis_app_tokens_total{outcome=\"coalesced\"}"), "{metrics}");
}

#[tokio::test]
async fn permissions_that_the_issued_token_lacks_are_refused() {
    let world = world(Behaviour::Issue(&["KEY_LIST"])).await;
    let (status, body) = world.list().await;
    assert_eq!((status, &*reason(&body)), (403, "permission_missing"));
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_service_is_403_and_remembered() {
    let world = world(Behaviour::Refuse).await;
    let token = world.issuer.token("alice", "admin");
    for _ in 0..3 {
        let list = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
        let answer = list.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(reason(&answer.text().await.unwrap()), "sts_refused");
    }
    assert_eq!(world.service.exchanges.load(Ordering::SeqCst), 1);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn a_failing_service_is_503_with_a_time_to_come_back() {
    let world = world(Behaviour::Fail).await;
    let token = world.issuer.token("alice", "admin");
    let list = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(token);
    let answer = list.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(reason(&answer.text().await.unwrap()), "sts_unavailable");
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn a_token_for_another_organisation_is_not_used() {
    let world = world(Behaviour::OtherOrganisation).await;
    let (status, body) = world.list().await;
    assert_eq!((status, &*reason(&body)), (503, "sts_unavailable"));
    assert!(world.core.seen().is_empty());
}
