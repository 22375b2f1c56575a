//! The code flow over a real socket: the happy way, and every way in which it is refused.

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis::time::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::{Url, form_urlencoded};

use super::{
    super::{
        client,
        jose::{self, IamTokens},
    },
    Client, Settings, User, serve,
};

const REDIRECT: &str = "http://localhost:8080/.portcullis/callback";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters-of-text";

struct Iam {
    issuer: String,
    client: reqwest::Client,
}

impl Iam {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let desk = Client {
            id: "desk".into(),
            secret: "s:e c".into(),
            redirects: vec![REDIRECT.into()],
            after_logout: vec!["http://localhost:8080/".into()],
            roles: None,
        };
        let program = Client {
            id: "program".into(),
            secret: "p".into(),
            roles: Some(vec!["organization_reader".into()]),
            ..desk.clone()
        };
        let alice = User {
            name: "alice".into(),
            password: "alice".into(),
            full_name: "Alice".into(),
            roles: vec!["organization_admin".into()],
        };
        tokio::spawn(serve(
            listener,
            Settings {
                issuer: issuer.clone(),
                audience: "platform".into(),
                lifetime: Duration::from_secs(300),
                clients: vec![desk, program],
                users: vec![alice],
            },
        ));
        Self { issuer, client: client(Duration::from_secs(5)).unwrap() }
    }

    async fn authorize(&self, change: &[(&str, &str)], cookie: &str) -> Reply {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        let mut values = HashMap::from([
            ("response_type", "code"),
            ("client_id", "desk"),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile offline_access"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ]);
        values.extend(change.iter().copied());
        values.retain(|_, value| !value.is_empty());
        let url = Url::parse_with_params(&format!("{}/authorize", self.issuer), values).unwrap();
        Reply::of(self.client.get(url).header("cookie", cookie).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(format!("{}{path}", self.issuer)).body(form);
        let kind = "application/x-www-form-urlencoded";
        Reply::of(request.header("content-type", kind).send().await.unwrap()).await
    }

    async fn log_in(&self, page: &Reply, password: &str) -> Reply {
        let (_, rest) = page.body.split_once("name=\"request\" value=\"").unwrap();
        let (request, _) = rest.split_once('"').unwrap();
        let form = [("request", request), ("user", "alice"), ("password", password)];
        self.post("/login", &form).await
    }

    async fn code(&self) -> String {
        let page = self.authorize(&[], "").await;
        self.log_in(&page, "alice").await.sent("code")
    }

    async fn token(&self, change: &[(&str, &str)]) -> Reply {
        let mut form = HashMap::from([
            ("grant_type", "authorization_code"),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("client_id", "desk"),
            ("client_secret", "s:e c"),
        ]);
        form.extend(change.iter().copied());
        self.post("/token", &form.into_iter().collect::<Vec<_>>()).await
    }
}

struct Reply {
    status: u16,
    location: Option<Url>,
    cookie: Option<String>,
    policy: String,
    body: String,
}

impl Reply {
    async fn of(response: reqwest::Response) -> Self {
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        Self {
            status: response.status().as_u16(),
            location: header("location").map(|location| location.parse().unwrap()),
            cookie: header("set-cookie").map(|line| line.split(';').next().unwrap().to_owned()),
            policy: header("content-security-policy").unwrap_or_default(),
            body: response.text().await.unwrap(),
        }
    }

    /// A parameter of the redirect back to the client.
    fn sent(&self, name: &str) -> String {
        let location = self.location.as_ref().unwrap();
        assert!(location.as_str().starts_with(REDIRECT), "{location}");
        let mut pairs = location.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[tokio::test]
async fn a_user_logs_in_once_and_is_known_in_the_next_tab() {
    let iam = Iam::start().await;
    let page = iam.authorize(&[], "").await;
    assert_eq!(page.status, 200);
    assert!(page.policy.contains("form-action 'self' http://localhost:8080;"), "{}", page.policy);
    assert_eq!(iam.log_in(&page, "wrong").await.status, 401);
    let back = iam.log_in(&page, "alice").await;
    assert_eq!((back.status, back.sent("state")), (303, "st".to_owned()));
    assert_eq!(back.sent("iss"), iam.issuer);
    assert_eq!(iam.log_in(&page, "alice").await.status, 400, "one page, one code");

    let cookie = back.cookie.unwrap();
    assert_eq!(iam.authorize(&[("prompt", "none")], "").await.sent("error"), "login_required");
    assert_ne!(iam.authorize(&[("prompt", "none")], &cookie).await.sent("code"), "");
    assert_ne!(iam.authorize(&[], &cookie).await.sent("code"), "");
    assert_eq!(iam.authorize(&[("prompt", "login")], &cookie).await.status, 200);

    let out = "/end-session?client_id=desk&post_logout_redirect_uri=http://localhost:8080/";
    let request = iam.client.get(format!("{}{out}", iam.issuer)).header("cookie", &cookie);
    let out = Reply::of(request.send().await.unwrap()).await;
    assert_eq!(out.location.unwrap().as_str(), "http://localhost:8080/");
    assert_eq!(iam.authorize(&[], &cookie).await.status, 200, "the session has ended");
}

#[tokio::test]
async fn a_code_becomes_tokens_once() {
    let iam = Iam::start().await;
    let code = iam.code().await;
    let answer = iam.token(&[("code", &code)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    let tokens = IamTokens::new(&iam.issuer, "platform").unwrap();
    let access = tokens.verified(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(access["sub"], "alice");
    assert_eq!(access["roles"], json!(["organization_admin"]));
    let id = answer["id_token"].as_str().unwrap();
    assert!(tokens.verified(id).await.is_none(), "an ID token is no access token");
    let id = jose::Parts::split(id).unwrap().claims;
    assert_eq!((&id["aud"], &id["nonce"]), (&json!("desk"), &json!("no")));
    assert!(id["exp"].as_u64().unwrap() > Timestamp::now().0);
    assert_eq!(iam.token(&[("code", &code)]).await.json(), json!({"error": "invalid_grant"}));
}

#[tokio::test]
async fn codes_are_bound_to_client_redirect_and_verifier() {
    let iam = Iam::start().await;
    for (name, value, status, error) in [
        ("code_verifier", "another-verifier-of-more-than-43-characters-x", 400, "invalid_grant"),
        ("redirect_uri", "http://localhost:8080/", 400, "invalid_grant"),
        ("client_secret", "wrong", 401, "invalid_client"),
        ("client_id", "nobody", 401, "invalid_client"),
        ("grant_type", "password", 400, "unsupported_grant_type"),
    ] {
        let code = iam.code().await;
        let answer = iam.token(&[("code", &code), (name, value)]).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"error": error})), "{name}");
    }
    let code = iam.code().await;
    let other = [("code", code.as_str()), ("client_id", "program"), ("client_secret", "p")];
    assert_eq!(iam.token(&other).await.json(), json!({"error": "invalid_grant"}));
}

#[tokio::test]
async fn wrong_requests_are_refused_where_it_is_safe() {
    let iam = Iam::start().await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "http://localhost:8080/.portcullis/callback/"),
        ("redirect_uri", "http://evil.example/"),
        ("redirect_uri", ""),
    ] {
        let reply = iam.authorize(&[(name, value)], "").await;
        assert_eq!((reply.status, reply.location), (400, None), "{name}={value}");
    }
    for (name, value, error) in [
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
    ] {
        let reply = iam.authorize(&[(name, value)], "").await;
        assert_eq!((reply.sent("error"), reply.sent("state")), (error.into(), "st".into()));
    }
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_second_use_ends_the_family() {
    let iam = Iam::start().await;
    let code = iam.code().await;
    let first = iam.token(&[("code", &code)]).await.json();
    let first = first["refresh_token"].as_str().unwrap().to_owned();
    let refresh = async |token: &str| {
        iam.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    let second = refresh(&first).await.json();
    let second = second["refresh_token"].as_str().unwrap();
    assert_ne!(first, second);
    assert_eq!(refresh(&first).await.json(), json!({"error": "invalid_grant"}));
    assert_eq!(refresh(second).await.json(), json!({"error": "invalid_grant"}));
}

#[tokio::test]
async fn programs_authenticate_in_header_or_form() {
    let iam = Iam::start().await;
    let form = [("grant_type", "client_credentials"), ("client_id", "program")];
    let answer = iam.token(&[form[0], form[1], ("client_secret", "p")]).await.json();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(jose::Parts::split(token).unwrap().claims["sub"], "program");
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
    assert_eq!(iam.token(&[form[0]]).await.json(), json!({"error": "unauthorized_client"}));

    let request = iam.client.post(format!("{}/token", iam.issuer));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.basic_auth("desk", Some("s%3Ae+c")).body("grant_type=refresh_token");
    let answer = Reply::of(request.send().await.unwrap()).await;
    assert_eq!(answer.json(), json!({"error": "invalid_grant"}), "the client was accepted");
}
