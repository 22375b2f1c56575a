//! A token service for tests, on a real socket, with tokens that are easy to read and to forge.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use url::{Url, form_urlencoded};

use crate::{
    http_client,
    identity::{Identity, Proof},
    organisation::Organisation,
    permission::Permission,
    refusal::{Reason, Refusal},
    sts::{
        Source, Sts, StsSettings,
        cache::Lifetimes,
        exchange::{ExchangeClient, ExchangeSettings, Protocol, Verifier},
        parameter::Parameters,
    },
    time::Timestamp,
};

pub(super) const ISSUER: &str = "https://sts.example.com";
pub(super) const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
pub(super) const BETA: &str = "00000000-0000-4000-8000-00000000000b";
pub(super) const NOW: Timestamp = Timestamp(1_760_000_000);

/// What the stand-in was asked.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) headers: HeaderMap,
    pub(super) form: HashMap<String, String>,
    /// The body as it came.
    pub(super) body: String,
    /// From 1 on.
    pub(super) number: usize,
}

impl Call {
    pub(super) fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    /// The claims of an honest answer. The subject of token `IAM:NAME:…` is NAME.
    pub(super) fn claims(&self) -> Value {
        let name = |token: &str| token.split(':').nth(1).unwrap_or_default().to_owned();
        let mut claims = json!({
            "iss": ISSUER,
            "aud": self.field("audience"),
            "sub": name(self.field("subject_token")),
            "exp": NOW.0 + 300,
            "jti": format!("issued-{}", self.number),
            "permissions": ["CREDENTIAL_LIST"],
            "scope": self.field("scope"),
        });
        if let Some(organisation) = self.form.get("organisationId") {
            claims["organisationId"] = json!(organisation);
        }
        if let Some(actor) = self.form.get("actor_token") {
            claims["act"] = json!({ "sub": name(actor) });
        }
        claims
    }
}

/// A token that the test's verifier reads.
pub(super) fn token(claims: &Value) -> String {
    URL_SAFE_NO_PAD.encode(claims.to_string())
}

/// The answer that hands out these claims.
pub(super) fn issue(claims: &Value) -> Response {
    Json(json!({
        "access_token": token(claims),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
    }))
    .into_response()
}

pub(super) struct StandIn {
    pub(super) url: Url,
    calls: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<Call>>>,
}

impl StandIn {
    /// Answers every request at any path as `behaviour` says.
    pub(super) async fn start<F, A>(behaviour: F) -> Self
    where
        F: Fn(Call) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let (calls, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let seen = (Arc::clone(&calls), Arc::clone(&last));
        let answer = move |State((calls, last)): State<Seen>, headers: HeaderMap, body: String| {
            let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
            let form = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let call = Call { headers, form, body, number };
            *last.lock().unwrap() = Some(call.clone());
            behaviour(call)
        };
        let app = Router::new().route("/{*any}", any(answer)).with_state(seen);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sts/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url: url.parse().unwrap(), calls, last }
    }

    /// One that tells the truth.
    pub(super) async fn honest() -> Self {
        Self::start(|call| async move { issue(&call.claims()) }).await
    }

    /// One that tells the truth once the gate is open.
    pub(super) async fn gated(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::start(move |call| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                issue(&call.claims())
            }
        })
        .await
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn last(&self) -> Call {
        self.last.lock().unwrap().clone().unwrap()
    }

    pub(super) fn settings(&self) -> ExchangeSettings {
        let fields = [("organisationId".to_owned(), "{organisation}".to_owned())];
        ExchangeSettings {
            url: self.url.clone(),
            client: None,
            protocol: Protocol::Rfc8693 {
                requested_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
                resource: None,
                parameters: Parameters::parse(&fields.into()).unwrap(),
            },
            scope: None,
            timeout: Duration::from_secs(20),
            verifier: verifier(),
        }
    }

    /// A door to this service.
    pub(super) fn sts(&self, settings: StsSettings) -> Sts {
        Sts::new(Source::Exchange(client(self.settings()).into()), settings)
    }
}

type Seen = (Arc<AtomicUsize>, Arc<Mutex<Option<Call>>>);

/// Keeps answers back until it is opened.
#[derive(Clone)]
pub(super) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(super) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

pub(super) fn sts_settings() -> StsSettings {
    StsSettings {
        entries: 10_000,
        lifetimes: Lifetimes {
            margin: Duration::from_secs(15),
            refresh_ahead: Duration::from_secs(100),
        },
        negative: Duration::from_secs(5),
        breaker_failures: 5,
        breaker_open: Duration::from_mins(1),
        generation: 1,
    }
}

pub(super) fn client(settings: ExchangeSettings) -> ExchangeClient {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = http_client::build(None, settings.timeout).unwrap();
    ExchangeClient::new(settings, http).unwrap()
}

/// Reads the claims and checks issuer, audience and time: what verification proper does, without
/// the signature.
pub(super) fn verifier() -> Verifier {
    Arc::new(|token, audience, now| {
        Box::pin(async move {
            let refuse = |detail: &'static str| Refusal::new(Reason::CredentialInvalid, detail);
            let claims = URL_SAFE_NO_PAD.decode(token.expose_secret()).unwrap_or_default();
            let claims: Value = serde_json::from_slice(&claims).map_err(|_| refuse("shape"))?;
            let expires = Timestamp(claims["exp"].as_u64().ok_or_else(|| refuse("exp"))?);
            if claims["iss"] != ISSUER {
                return Err(refuse("iss"));
            }
            if claims["aud"] != *audience {
                return Err(refuse("aud"));
            }
            if expires + Duration::from_mins(1) < now {
                return Err(refuse("exp"));
            }
            let permissions = claims["permissions"].as_array().map(|names| {
                names.iter().filter_map(|name| Permission::parse(name.as_str()?)).collect()
            });
            Ok(Arc::new(Identity {
                proof: Proof::AppToken,
                issuer: ISSUER.into(),
                subject: claims["sub"].as_str().unwrap_or_default().into(),
                roles: Vec::new(),
                organisation: claims["organisationId"].as_str().and_then(Organisation::parse),
                permissions,
                actor: claims["act"]["sub"].as_str().map(Arc::from),
                claims: Arc::new(claims.as_object().unwrap().clone()),
                expires,
                token,
            }))
        })
    })
}

/// A caller with an IAM token that outlives every app token.
pub(super) fn caller(name: &str) -> Identity {
    Identity {
        proof: Proof::IamToken,
        issuer: "https://iam.example.com".into(),
        subject: name.into(),
        roles: Vec::new(),
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::default(),
        expires: Timestamp(NOW.0 + 36_000),
        token: format!("IAM:{name}:1").into(),
    }
}

/// Waits until something has come about, which it has to within the time of a slow machine.
pub(super) async fn until(what: impl Fn() -> bool) {
    let come = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), come).await.expect("it never came about");
}
