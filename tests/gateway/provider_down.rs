//! The IAM provider is down: 503 where it is needed, never a loop, and everything else serves.

use std::time::Duration;

use crate::support::{Gateway, Issuer, Recorder, Settings, free_port, gateway::client, reason};

#[tokio::test]
async fn what_needs_the_provider_is_503_and_the_rest_serves() {
    let core = Recorder::start("").await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut settings = Settings::new(&nobody, core.address);
    settings.ready = false;
    let gateway = Gateway::start(settings).await;
    let ready = client().get(format!("http://{}/readyz", gateway.admin)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("no iam keys"));

    let token = Issuer::start().await.token("alice", "admin");
    let mut forged = token.split('.').map(str::to_owned).collect::<Vec<_>>();
    forged[1] = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
        let claims = BASE64.decode(&forged[1]).unwrap();
        let mut claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        claims["iss"] = nobody.into();
        BASE64.encode(claims.to_string())
    };
    let bearer = client().get(gateway.url("/api/config/v1")).bearer_auth(forged.join("."));
    let navigation = client().get(gateway.url("/desk/start")).header("sec-fetch-mode", "navigate");
    for request in [bearer, navigation] {
        let started = std::time::Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(reason(&answer.text().await.unwrap()), "iam_unavailable");
    }
    // Without a credential it is not the provider's fault.
    let nothing = client().get(gateway.url("/api/config/v1")).send().await.unwrap();
    assert_eq!(nothing.status(), 401);
    assert!(core.seen().is_empty());
    let public = client().get(gateway.url("/ssi/schema/v1/1")).send().await.unwrap();
    assert_eq!(public.status(), 200);
}
