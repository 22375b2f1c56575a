use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    fake::{Fake, NOW, Script, Token, provider},
    *,
};
use crate::oauth_client::AssertionKey;

/// One whole login against the fake.
async fn login(fake: &Fake, provider: &Arc<Provider>) -> Result<Tokens, Error> {
    let started = provider.authorize().await?;
    fake.with(|script| script.nonce = started.nonce.expose_secret().to_owned());
    exchange(provider, &started).await
}

async fn exchange(provider: &Arc<Provider>, started: &Authorization) -> Result<Tokens, Error> {
    let code = "the-code".to_owned();
    provider.exchange(code, &started.verifier, &started.nonce, Timestamp(NOW)).await
}

async fn login_with(change: impl FnOnce(&mut Script)) -> Result<Tokens, Error> {
    let fake = Fake::start().await;
    fake.with(change);
    login(&fake, &fake.provider()).await
}

async fn unacceptable(change: impl FnOnce(&mut Script)) -> &'static str {
    match login_with(change).await {
        Err(Error::Unacceptable(word)) => word,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// An ID token with one claim changed, or left out when `value` is null.
async fn with_claim(name: &'static str, value: Value) -> &'static str {
    unacceptable(|script| {
        script.id_token = Box::new(move |claims| {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        });
    })
    .await
}

fn query(url: &Url, name: &str) -> Vec<String> {
    url.query_pairs().filter(|(n, _)| n == name).map(|(_, value)| value.into_owned()).collect()
}

#[tokio::test]
async fn a_whole_login() {
    let fake = Fake::start().await;
    let settings = Settings { resource: Some("https://api.example".into()), ..fake.settings() };
    let provider = provider(settings);
    let started = provider.authorize().await.unwrap();

    assert!(started.url.as_str().starts_with(&format!("{}/authorize?", fake.issuer)));
    assert_eq!(query(&started.url, "response_type"), ["code"]);
    assert_eq!(query(&started.url, "client_id"), ["desk"]);
    assert_eq!(query(&started.url, "scope"), ["openid profile"]);
    assert_eq!(query(&started.url, "resource"), ["https://api.example"]);
    assert_eq!(query(&started.url, "state"), [started.state.as_str()]);
    assert_eq!(query(&started.url, "nonce"), [started.nonce.expose_secret()]);
    assert_eq!(query(&started.url, "code_challenge_method"), ["S256"]);
    let verifier = started.verifier.expose_secret();
    let challenge = digest::digest(&digest::SHA256, verifier.as_bytes());
    assert_eq!(query(&started.url, "code_challenge"), [URL_SAFE_NO_PAD.encode(challenge)]);
    assert_eq!(started.state.len(), 43);

    fake.with(|script| script.nonce = started.nonce.expose_secret().to_owned());
    let tokens = exchange(&provider, &started).await.unwrap();
    assert_eq!(tokens.subject, "alice");
    assert_eq!(tokens.name.as_deref(), Some("Alice Example"));
    assert_eq!(tokens.expires_in, Some(Duration::from_mins(5)));
    assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "refresh");
    assert_eq!(tokens.id_token.expose_secret().split('.').count(), 3);

    let seen = fake.seen.lock().unwrap();
    let (authorization, form) = &seen.exchanges[0];
    assert!(authorization.as_ref().unwrap().starts_with("Basic "));
    let sent = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(sent("code"), Some("the-code"));
    assert_eq!(sent("code_verifier"), Some(verifier));
    assert_eq!(sent("resource"), Some("https://api.example"));
    assert_eq!(sent("redirect_uri"), Some("https://desk.example.com/.portcullis/callback"));
    assert_eq!(sent("client_secret"), None);
    assert_eq!(seen.discoveries, 1);
}

#[tokio::test]
async fn a_public_client_sends_its_id_and_no_secret() {
    let fake = Fake::start().await;
    let settings = Settings { authentication: Authentication::None, ..fake.settings() };
    assert!(settings.client_secret.is_some());
    login(&fake, &provider(settings)).await.unwrap();
    let seen = fake.seen.lock().unwrap();
    let (authorization, form) = &seen.exchanges[0];
    assert_eq!(*authorization, None);
    assert!(form.contains(&("client_id".into(), "desk".into())), "{form:?}");
    assert!(!form.iter().any(|(name, _)| name == "client_secret"), "{form:?}");
}

#[tokio::test]
async fn a_client_with_a_key_signs_each_of_its_requests_and_sends_no_secret() {
    let fake = Fake::start().await;
    let pem = crate::sts::issuer::generate().unwrap();
    let settings = Settings {
        authentication: Authentication::PrivateKeyJwt,
        assertion_key: Some(Arc::new(AssertionKey::new(&pem).unwrap())),
        ..fake.settings()
    };
    let provider = provider(settings);
    let tokens = login(&fake, &provider).await.unwrap();
    // Whether the answer is any good is not the question here.
    let _ = provider.refresh(&tokens.refresh_token.unwrap(), "alice", Timestamp(NOW)).await;
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.exchanges.len(), 2, "the code, and the refresh token");
    let mut ids = Vec::new();
    for (authorization, form) in &seen.exchanges {
        let sent = |name: &str| {
            let value = form.iter().find(|(known, _)| known == name);
            value.map(|(_, value)| value.as_str())
        };
        assert_eq!((authorization.as_ref(), sent("client_secret")), (None, None));
        assert_eq!(sent("client_id"), Some("desk"));
        assert_eq!(
            sent("client_assertion_type"),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        let claims = sent("client_assertion").unwrap().split('.').nth(1).unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!((&claims["iss"], &claims["sub"]), (&"desk".into(), &"desk".into()));
        assert_eq!(claims["aud"], format!("{}/token", fake.issuer));
        ids.push(claims["jti"].to_string());
    }
    assert_ne!(ids[0], ids[1], "each is good for one request");
}

#[tokio::test]
async fn id_tokens_that_are_not_for_this_login_are_refused() {
    for (name, value, word) in [
        ("nonce", json!("another"), "the ID token is of another login"),
        ("nonce", Value::Null, "the ID token is of another login"),
        ("aud", json!("another"), "the ID token is for another client"),
        ("aud", json!(["desk", "another"]), "the ID token is for another client"),
        ("iss", json!("https://evil.example"), "the ID token is of another issuer"),
        ("azp", json!("another"), "the ID token was issued to another client"),
        ("exp", json!(NOW - 60), "the ID token has expired"),
        ("iat", json!(NOW + 61), "the ID token was issued in the future"),
        ("at_hash", json!("AAAA"), "the ID token belongs to another access token"),
        ("sub", json!(""), "the ID token's subject is empty or too long"),
        ("exp", json!("never"), "the token endpoint's answer is not a token response"),
    ] {
        assert_eq!(with_claim(name, value.clone()).await, word, "{name} = {value}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    login_with(|script| {
        script.id_token = Box::new(|claims| {
            claims["exp"] = (NOW - 59).into();
            claims["iat"] = (NOW + 60).into();
        });
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn r21_algorithms_come_from_the_settings_and_not_from_header_or_metadata() {
    let word = unacceptable(|script| script.algorithm = Some(Algorithm::HS256)).await;
    assert_eq!(word, "the ID token's algorithm is not allowed");
    let word = unacceptable(|script| script.algorithm = None).await;
    assert_eq!(word, "the ID token's algorithm is not allowed");
}

#[tokio::test]
async fn a_foreign_key_under_a_known_name_is_refused() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    provider.warm().await.unwrap();
    fake.with(|script| script.key = Fake::spare_key());
    let error = login(&fake, &provider).await.err().unwrap();
    assert_eq!(error, Error::Unacceptable("the ID token's signature is wrong"));
}

#[tokio::test]
async fn unknown_keys_are_looked_for_and_not_on_every_request() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    provider.warm().await.unwrap();
    fake.with(|script| (script.key, script.kid) = (Fake::spare_key(), "2"));
    let error = login(&fake, &provider).await.err().unwrap();
    assert_eq!(error, Error::Unacceptable("no key of the provider matches the ID token"));
    assert_eq!(fake.seen.lock().unwrap().discoveries, 1, "too soon to ask again");
    provider.age(RENEW_AT_MOST);
    login(&fake, &provider).await.unwrap();
    assert_eq!(fake.seen.lock().unwrap().discoveries, 2);
}

#[tokio::test]
async fn old_knowledge_serves_while_it_is_renewed() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    provider.warm().await.unwrap();
    provider.age(REFRESH + Duration::from_secs(1));
    let before = provider.current.load_full().unwrap().at;
    provider.authorize().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while provider.current.load_full().unwrap().at == before {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(fake.seen.lock().unwrap().discoveries, 2);
}

#[tokio::test]
async fn r31_a_provider_that_misbehaves_is_unavailable() {
    for (token, word) in [
        (Token::Redirect, "it redirects, which is not followed"),
        (Token::Huge, "its answer is too large"),
        (Token::Broken, "something before it answers in its place"),
    ] {
        let fake = Fake::start().await;
        fake.with(|script| script.token = token);
        let error = login(&fake, &fake.provider()).await.err().unwrap();
        assert_eq!(error, Error::Unavailable(word));
        assert_eq!(fake.seen.lock().unwrap().redirected, 0);
        assert_eq!(Refusal::from(error).reason, Reason::IamUnavailable);
    }
}

#[tokio::test]
async fn a_refused_code_says_the_providers_word_and_not_its_description() {
    let error = login_with(|script| script.token = Token::Error("invalid_grant")).await;
    assert_eq!(error.err().unwrap(), Error::Refused("invalid_grant"));
    let error = login_with(|script| script.token = Token::Error("<script>")).await;
    assert_eq!(error.err().unwrap(), Error::Refused("other"));
}

#[tokio::test]
async fn a_provider_that_is_down_is_remembered_for_a_moment() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fake = Fake::start().await;
    let settings = Settings { issuer: format!("http://{closed}"), ..fake.settings() };
    let provider = provider(settings);
    let error = provider.authorize().await.err().unwrap();
    assert_eq!(error, Error::Unavailable("it cannot be reached"));
    let at = provider.failure.lock().unwrap().as_ref().unwrap().0;
    provider.authorize().await.err().unwrap();
    assert_eq!(provider.failure.lock().unwrap().as_ref().unwrap().0, at, "not asked again");
    let refusal = Refusal::from(error);
    assert_eq!(refusal.reason, Reason::IamUnavailable);
    assert_eq!(refusal.retry_after, Some(FAILURE_REMEMBERED));
}

#[tokio::test]
async fn however_many_wait_there_is_one_discovery() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let (a, b, c) = tokio::join!(provider.warm(), provider.warm(), provider.warm());
    a.and(b).and(c).unwrap();
    assert_eq!(fake.seen.lock().unwrap().discoveries, 1);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    let error = login_with(|script| {
        script.metadata = Box::new(|document| document["issuer"] = "https://evil.example".into());
    })
    .await;
    assert_eq!(error.err().unwrap(), Error::Unavailable("its metadata names another issuer"));
}

#[tokio::test]
async fn r23_the_callback_names_its_issuer_when_the_provider_promises_to() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    assert!(provider.is_from_here(None).await.unwrap());
    assert!(provider.is_from_here(Some(&fake.issuer)).await.unwrap());
    assert!(!provider.is_from_here(Some("https://evil.example")).await.unwrap());
    let promising = Fake::start().await;
    promising.with(|script| {
        script.metadata = Box::new(|document| {
            document["authorization_response_iss_parameter_supported"] = true.into();
        });
    });
    assert!(!promising.provider().is_from_here(None).await.unwrap());
}

#[test]
fn settings_that_cannot_be_safe_are_refused() {
    let settings = || Settings {
        issuer: "https://iam.example".into(),
        client_id: "desk".into(),
        client_secret: None,
        authentication: Authentication::None,
        assertion_key: None,
        scopes: vec![],
        resource: None,
        redirect_uri: "https://desk.example/callback".parse().unwrap(),
        algorithms: vec![Algorithm::EdDSA],
        leeway: Duration::ZERO,
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = || crate::http_client::build(None, Duration::from_secs(1)).unwrap();
    let refused = |settings| Provider::new(settings, http()).err();
    assert_eq!(refused(settings()), None);
    for (wrong, error) in [
        (Settings { issuer: "iam".into(), ..settings() }, SettingsError::Issuer),
        (Settings { issuer: "ftp://iam".into(), ..settings() }, SettingsError::Issuer),
        (Settings { algorithms: vec![], ..settings() }, SettingsError::NoAlgorithm),
        (
            Settings { algorithms: vec![Algorithm::HS256], ..settings() },
            SettingsError::Algorithm(Algorithm::HS256),
        ),
        (Settings { authentication: Authentication::Post, ..settings() }, SettingsError::NoSecret),
        (
            Settings {
                authentication: Authentication::PrivateKeyJwt,
                client_secret: Some("not a key".into()),
                ..settings()
            },
            SettingsError::NoSecret,
        ),
    ] {
        assert_eq!(refused(wrong), Some(error));
    }
}

#[test]
fn an_https_issuer_leads_nowhere_but_https() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = crate::http_client::build(None, Duration::from_secs(1)).unwrap();
    let transport = Transport::new(http, true);
    assert!(transport.accepts("https") && !transport.accepts("http"));
}

impl Provider {
    /// Makes what is known as old as it would be after `by`.
    fn age(&self, by: Duration) {
        let current = self.current.load_full().unwrap();
        let at = current.at.checked_sub(by).unwrap();
        let aged = Discovered {
            client: current.client.clone(),
            token_endpoint: current.token_endpoint.clone(),
            names_itself: current.names_itself,
            end_session: current.end_session.clone(),
            at,
        };
        self.current.store(Some(Arc::new(aged)));
    }
}
