//! Callers who ask too often, and those beside them who do not.

use reqwest::Response;

use crate::support::{ACME, Gateway, Issuer, OTHER, Recorder, Settings, gateway::client, reason};

async fn world(settings: impl FnOnce(Settings) -> Settings) -> (Issuer, Recorder, Gateway) {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(settings(Settings::new(&issuer.url, core.address))).await;
    (issuer, core, gateway)
}

async fn get(gateway: &Gateway, path: &str, token: Option<&str>) -> Response {
    let mut get = client().get(gateway.url(path));
    if let Some(token) = token {
        get = get.bearer_auth(token);
    }
    get.send().await.unwrap()
}

const LIST: &str = "/api/credential/v1";

#[tokio::test]
async fn each_caller_has_a_rate_of_their_own() {
    // One in a minute would do as well: the burst is what is spent here.
    let limits = "limits: { requests_per_client: { per_second: 1, burst: 5 } }\n";
    let (issuer, core, gateway) = world(|settings| settings.with(limits)).await;
    let (alice, bob) = (issuer.token("alice", "admin"), issuer.token("bob", "admin"));
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(get(&gateway, LIST, Some(&alice)).await.status().as_u16());
    }
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((5..12).contains(&served), "{statuses:?}");
    assert_eq!(core.take().len(), served, "and the upstream sees no more");
    let refused = loop {
        let answer = get(&gateway, LIST, Some(&alice)).await;
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(reason(&refused.text().await.unwrap()), "rate_limited");
    // The same address, and another caller.
    assert_eq!(get(&gateway, LIST, Some(&bob)).await.status(), 200);
    // Whoever fails to prove who they are is counted by their address, whatever they call
    // themselves.
    let mut failed = Vec::new();
    for guess in 0..20 {
        let token = format!("{bob}{guess}");
        failed.push(get(&gateway, LIST, Some(&token)).await.status().as_u16());
    }
    assert!(failed.starts_with(&[401]) && failed.contains(&429), "{failed:?}");
    // The same at our own endpoints.
    let mut callbacks = Vec::new();
    for _ in 0..10 {
        let guess = get(&gateway, "/.portcullis/callback?code=a&state=b", None).await;
        callbacks.push(guess.status().as_u16());
    }
    assert!(callbacks.contains(&429), "{callbacks:?}");
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("rate_limited"), "{metrics}");
}

#[tokio::test]
async fn a_route_can_have_a_rate_of_its_own() {
    let route = "path: /api/task/v1/run, methods: [GET], accept: [iam], permissions: \
                 [CREDENTIAL_LIST], limits: { requests: { per_second: 1, burst: 2 } }";
    let (issuer, core, gateway) = world(|settings| settings.route(route)).await;
    let alice = issuer.token("alice", "admin");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(get(&gateway, "/api/task/v1/run", Some(&alice)).await.status().as_u16());
    }
    assert!(statuses.starts_with(&[200, 200]) && statuses.contains(&429), "{statuses:?}");
    core.take();
    for _ in 0..8 {
        assert_eq!(get(&gateway, LIST, Some(&alice)).await.status(), 200, "other routes go on");
    }
}

#[tokio::test]
async fn all_callers_of_one_organisation_share_its_rate() {
    let limits = "limits: { requests_per_organisation: { per_second: 1, burst: 4 } }\n";
    let route = "path: /api/did/v1, methods: [GET], accept: [iam], permissions: [CREDENTIAL_LIST], \
                 organisation: [ { query: organisationId } ]";
    let (issuer, core, gateway) = world(|settings| settings.with(limits).route(route)).await;
    let of = |organisation| format!("/api/did/v1?organisationId={organisation}");
    // Who may not act for it takes nothing from it.
    let nobody = issuer.token("nobody", "none");
    for _ in 0..8 {
        assert_eq!(get(&gateway, &of(ACME), Some(&nobody)).await.status(), 403);
    }
    let callers = ["alice", "bob", "carol"].map(|name| issuer.token(name, "both"));
    let mut statuses = Vec::new();
    for at in 0..12 {
        let token = &callers[at % callers.len()];
        statuses.push(get(&gateway, &of(ACME), Some(token)).await.status().as_u16());
    }
    assert!(statuses.starts_with(&[200; 4]) && statuses.contains(&429), "{statuses:?}");
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(core.take().len(), served, "and the upstream sees no more");
    // The same callers for another organisation, and where it is about none.
    assert_eq!(get(&gateway, &of(OTHER), Some(&callers[0])).await.status(), 200);
    assert_eq!(get(&gateway, "/ssi/x", None).await.status(), 200);
}
