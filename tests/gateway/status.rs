//! The status page, its document and its form, from the real binary.

use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{ACME, Gateway, Issuer, Recorder, Settings, gateway::client, raw, status};

async fn document(gateway: &Gateway) -> Value {
    let answer = reqwest::get(format!("http://{}/status.json", gateway.admin)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn page(gateway: &Gateway) -> String {
    let answer = reqwest::get(format!("http://{}/status", gateway.admin)).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

async fn ask(gateway: &Gateway, question: &Value) -> (StatusCode, Value) {
    let url = format!("http://{}/explain", gateway.admin);
    let asked = client().post(url).header(header::CONTENT_TYPE, "application/json");
    let answer = asked.body(question.to_string()).send().await.unwrap();
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn world() -> (Issuer, Recorder, Gateway) {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    (issuer, core, gateway)
}

#[tokio::test]
async fn the_document_tells_what_has_happened() {
    let (issuer, _core, gateway) = world().await;
    let client: Client = client();
    let token = issuer.token("alice", "reader");
    let list = format!("/api/credential/v1?organisationId={ACME}");
    for _ in 0..4 {
        let got = client.get(gateway.url(&list)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(got.status(), 200);
    }
    let refused = client.post(gateway.url("/api/credential/v1")).bearer_auth(&token);
    let refused = refused.header("x-request-id", "seen-1").body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let nowhere = client.get(gateway.url(&format!("/none/{token}?code={token}"))).send();
    assert_eq!(nowhere.await.unwrap().status(), 404);

    let told = document(&gateway).await;
    assert_eq!((&told["version"], &told["gateway"]["ready"]), (&json!(1), &json!(true)), "{told}");
    let part = |kind: &str| {
        let parts = told["parts"].as_array().unwrap();
        parts.iter().find(|part| part["kind"] == kind).unwrap().clone()
    };
    for kind in ["iam", "sts", "sessions", "upstream", "records"] {
        assert_eq!(part(kind)["health"], "up", "{told}");
    }
    let core = part("upstream");
    assert_eq!(core["servers"][0]["health"], "up");
    let keys = told["keys"].as_array().unwrap();
    for (purpose, state) in
        [("IAM tokens", "verifies"), ("App tokens", "signs"), ("Sessions", "seals and opens")]
    {
        let known = |key: &&Value| key["purpose"] == purpose && key["state"] == state;
        assert!(keys.iter().any(|key| known(&key)), "{purpose}: {keys:?}");
    }
    let cache = &told["token_cache"];
    assert_eq!((&cache["entries"], &cache["hit_share"]), (&json!(1), &json!(0.75)), "{cache}");
    let decisions = &told["decisions"];
    assert_eq!(decisions["totals"]["forward"], 4, "{decisions}");
    assert_eq!(decisions["refusals"], json!({ "no_route": 1, "permission_missing": 1 }));
    assert!(!decisions["bins"].as_array().unwrap().is_empty());
    let routes = told["routes"]["shown"].as_array().unwrap();
    assert_eq!(routes[0]["path"], "/api/credential/v1", "the busiest first");
    assert_eq!(routes[0]["requests"]["by_status"], json!({ "2xx": 4, "4xx": 1 }));
    assert_eq!(told["routes"]["without"]["total"], 1);

    let [newest, before, ..] = &told["refusals"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!((&newest["reason"], &newest["path"]), (&json!("no_route"), &json!("/none/…")));
    for (field, value) in [
        ("request_id", "seen-1"),
        ("subject", "alice"),
        ("route", "/api/credential/v1"),
        ("reason", "permission_missing"),
    ] {
        assert_eq!(before[field], value, "{before}");
    }
    assert!(before["detail"].as_str().unwrap().contains("CREDENTIAL_ISSUE"), "{before}");

    let page = page(&gateway).await;
    for shown in ["seen-1", "permission_missing", "CREDENTIAL_ISSUE", "127.0.0.1", "/ssi/{*rest}"] {
        assert!(page.contains(shown), "{shown}");
    }
    for (what, secret) in gateway.secrets.iter().map(|(name, secret)| (*name, &**secret)) {
        // Whole, or the text of a key between its lines.
        let parts = secret.lines().filter(|line| !line.is_empty() && !line.starts_with("---"));
        for part in parts {
            for text in [&page, &told.to_string()] {
                assert!(!text.contains(part), "{what}");
            }
        }
    }
    let parts: Vec<&str> = token.split('.').collect();
    assert!(!page.contains(parts[2]) && !told.to_string().contains(parts[2]));
}

#[tokio::test]
async fn no_secret_of_the_configuration_is_shown() {
    let (_issuer, _core, gateway) = world().await;
    let url = format!("http://{}/config.json", gateway.admin);
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["iam"]["client"]["secret"], "(hidden: env TEST_CLIENT_SECRET)");
    assert_eq!(shown["session"]["keys"], json!(["(hidden: env TEST_SESSION_KEY)"]));
    assert_eq!(shown["session"]["idle_timeout"], "30m", "defaults are shown");
    let page = page(&gateway).await;
    assert!(page.contains("(hidden: env TEST_STS_KEY)"));
    for (name, secret) in &gateway.secrets {
        for part in secret.lines().filter(|it| !it.is_empty() && !it.starts_with("---")) {
            assert!(part.len() > 3 && !text.contains(part) && !page.contains(part), "{name}");
        }
    }
}

#[tokio::test]
async fn explain_answers_as_the_command_line_does() {
    let (_issuer, core, gateway) = world().await;
    let claims = json!({ "sub": "bob", "roles": ["reader"] });
    let asked = json!({
        "method": "POST", "path": "/api/credential/v1", "as": "iam", "claims": claims,
        "headers": ["Accept: application/json"], "body": "{}",
    });
    let (status, found) = ask(&gateway, &asked).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!((&found["decision"], &found["status"]), (&json!("refuse"), &json!(403)));
    assert_eq!(
        (&found["reason"], &found["subject"]),
        (&json!("permission_missing"), &json!("bob"))
    );
    let steps = found["steps"].as_array().unwrap();
    let words: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let all = "view own_endpoint route authentication organisation policy credential";
    assert_eq!(words.join(" "), all);
    let (_, found) = ask(&gateway, &json!({ "method": "GET", "path": "/ssi/x" })).await;
    assert_eq!((&found["decision"], &found["upstream"]), (&json!("forward"), &json!("core")));
    assert!(core.take().is_empty(), "nothing is sent");
    assert_eq!(document(&gateway).await["decisions"]["totals"]["refuse"], 0, "nor counted");

    for (bad, status) in [
        (json!({ "method": "GET" }), 400),
        (json!({ "method": "GET", "path": "/", "headers": ["Authorization: Bearer x"] }), 400),
        (json!({ "method": "G T", "path": "/" }), 422),
        (json!({ "method": "GET", "path": "/", "body": "x".repeat(70_000) }), 413),
    ] {
        let (got, why) = ask(&gateway, &bad).await;
        assert_eq!(got.as_u16(), status, "{why}");
        assert!(why["error"].is_string());
    }
}

#[tokio::test]
async fn other_sites_and_other_names_are_kept_out() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::of(|port, admin| {
        format!(
            "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}', hosts: [ops.internal] }}
iam: {{ issuer: '{}', audience: a }}
upstreams: {{ core: {{ servers: ['{}'], auth: {{ mode: NONE }} }} }}
routes: [ {{ path: /a, access: public, upstream: core }} ]
",
            issuer.url, core.address,
        )
    })
    .await;
    let get = async |path: &str, host: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        status(&raw(gateway.admin, head.as_bytes()).await)
    };
    for path in ["/status", "/status.json", "/config.json"] {
        for host in ["127.0.0.1:1", "[::1]:9090", "localhost", "LOCALHOST:9", "ops.internal:9090"] {
            assert_eq!(get(path, host).await, 200, "{path} {host}");
        }
        // Names that somebody else's DNS could point here (rebinding).
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "a b", ""]
        {
            let got = get(path, host).await;
            assert!(matches!(got, 400 | 421), "{path} {host}: {got}");
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(path, "portcullis.monitoring.svc").await, 200, "probes use names");
    }

    let url = format!("http://{}/explain", gateway.admin);
    let own = format!("http://{}", gateway.admin);
    let question = json!({ "method": "GET", "path": "/a" }).to_string();
    for (kind, from, status) in [
        ("application/json", &[("origin", &*own)][..], 200),
        ("application/json", &[("origin", "http://evil.example")], 403),
        ("application/json", &[("origin", "null")], 403),
        ("application/json", &[("sec-fetch-site", "cross-site")], 403),
        ("application/json", &[("host", "evil.example")], 421),
        ("text/plain", &[], 415),
        ("application/x-www-form-urlencoded", &[], 415),
    ] {
        let mut asked = client().post(&url).header(header::CONTENT_TYPE, kind);
        for (name, value) in from {
            asked = asked.header(*name, *value);
        }
        let got = asked.body(question.clone()).send().await.unwrap();
        assert_eq!(got.status(), status, "{kind} {from:?}");
    }
    let got = client().get(&url).send().await.unwrap();
    assert_eq!((got.status().as_u16(), &got.headers()["allow"]), (405, &"POST".parse().unwrap()));
    for path in ["status", "status.json", "metrics"] {
        let posted = client().post(format!("http://{}/{path}", gateway.admin)).send();
        assert_eq!(posted.await.unwrap().status(), 405, "nothing can be changed");
    }
}

#[tokio::test]
async fn the_page_may_load_nothing_and_run_only_what_is_its_own() {
    let (_issuer, _core, gateway) = world().await;
    let url = format!("http://{}/", gateway.admin);
    let list = reqwest::get(&url).await.unwrap().text().await.unwrap();
    assert!(list.contains("/status.json\n"), "programs get a list: {list}");
    let page = client().get(&url).header(header::ACCEPT, "text/html").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["cross-origin-resource-policy"], "same-origin");
    let html = page.text().await.unwrap();
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for tag in ["style", "script"] {
        let (_, rest) = html.split_once(&format!("<{tag}")).unwrap();
        let (content, _) =
            rest.split_once('>').unwrap().1.split_once(&format!("</{tag}>")).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
        assert!(policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}: {policy}");
        assert_eq!(html.matches(&format!("<{tag}")).count(), 1);
    }
}

/// `conf/status.md` names every field of the document, and none that is not there.
#[tokio::test]
async fn the_document_is_as_it_is_described() {
    let (issuer, _core, gateway) = world().await;
    let token = issuer.token("alice", "reader");
    let asked = client().post(gateway.url("/api/credential/v1")).bearer_auth(&token);
    asked.body("{}").send().await.unwrap();
    let mut found = std::collections::BTreeSet::new();
    fields("", &document(&gateway).await, &mut found);
    let described: std::collections::BTreeSet<String> = include_str!("../../conf/status.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(field, _)| field.to_owned())
        .collect();
    assert_eq!(described, found);
}

/// Words that are counted are keys as well, and no fields.
const COUNTS: [&str; 5] =
    ["outcomes", "totals", "decisions.refusals", "bins[].refusals", "by_status"];

fn fields(at: &str, value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(object) if !COUNTS.iter().any(|counts| at.ends_with(counts)) => {
            for (name, value) in object {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                fields(&at, value, found);
            }
        }
        Value::Array(elements) if elements.first().is_some_and(Value::is_object) => {
            for element in elements {
                fields(&format!("{at}[]"), element, found);
            }
        }
        _ => _ = found.insert(at.to_owned()),
    }
}
