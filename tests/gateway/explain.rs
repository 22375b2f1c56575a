//! `portcullis explain`, as an operator meets it.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    ACME, Gateway, Issuer, OTHER, Recorder, Settings, free_port,
    gateway::{client, secrets},
};

/// A directory with a configuration; it goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(issuer: &str) -> Self {
        let name = format!("portcullis-explain-{}-{}", std::process::id(), free_port());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let place = Self(directory);
        place.write("gateway.yaml", &config(issuer));
        place
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).unwrap();
    }

    /// Runs `explain` in this directory.
    fn explain(&self, arguments: &[&str]) -> Output {
        self.explain_with(arguments, "", &[])
    }

    fn explain_with(&self, arguments: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("explain")
            .args(arguments)
            .current_dir(&self.0)
            .envs(secrets())
            .env_remove("COLUMNS")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who reads nothing from there may be gone.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Decision, status, reason and route of `--json`, with the exit code.
    fn outcome(&self, arguments: &[&str], input: &str) -> (Value, Option<i32>) {
        let output = self.explain_with(&[arguments, &["--json"]].concat(), input, &[]);
        let printed: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let [decision, status, reason, route] =
            ["decision", "status", "reason", "route"].map(|key| printed[key].clone());
        (json!([decision, status, reason, route]), output.status.code())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(issuer: &str) -> String {
    format!(
        "public_url: http://localhost:8080
listeners: [ {{ address: '127.0.0.1:8080' }} ]
iam:
  issuer: {issuer}
  audience: procivis-one-platform
  client: {{ id: desk, secret: {{ env: TEST_CLIENT_SECRET }} }}
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ] }}
sts: {{ issuer: {{ iss: 'http://localhost:8080', keys: [ {{ env: TEST_STS_KEY }} ] }} }}
system_roles: {{ issuer: [CREDENTIAL_ISSUE, CREDENTIAL_LIST], reader: [CREDENTIAL_LIST] }}
organisations: {{ {ACME}: {{ name: Acme }}, {OTHER}: {{ name: Other }} }}
iam_roles: {{ admin: {{ {ACME}: [issuer] }}, reader: {{ {ACME}: [reader] }} }}
technical_users: {{ cron: {{ client: {{ id: cron, secret: {{ env: TEST_CLIENT_SECRET }} }}, organisation: {ACME} }} }}
upstreams:
  core: {{ servers: ['127.0.0.1:3000'], auth: {{ mode: STS, audience: one-core }} }}
  bff: {{ servers: ['127.0.0.1:3001'], auth: {{ mode: IAM }} }}
routes:
  - {{ path: /api/credential/v1, methods: [GET], accept: [iam, app], permissions: [CREDENTIAL_LIST], organisation: {{ query: organisationId }}, upstream: core }}
  - {{ path: /api/credential/v1, methods: [POST], accept: [iam, app], permissions: [CREDENTIAL_ISSUE], organisation: {{ body: /organisationId }}, upstream: core }}
  - {{ path: /api/cron/v1, accept: [iam], permissions: [CREDENTIAL_LIST], organisation: {{ query: organisationId }}, act_as: {{ technical_user: cron }}, upstream: core }}
  - {{ path: /api/trial/v1, accept: [iam], permissions: [CREDENTIAL_ISSUE], enforce: false, upstream: core }}
  - {{ path: '/desk/{{*rest}}', accept: [session], upstream: bff }}
"
    )
}

const AWAY: &str = "http://127.0.0.1:9";
const BOB: &str = r#"{ "sub": "bob", "roles": ["reader"] }"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn who_acts_is_told_without_asking_the_provider() {
    let place = Place::new(AWAY);
    place.write("bob.json", BOB);
    let bob = ["--config", "gateway.yaml", "GET", "/api/cron/v1", "--claims", "bob.json"];
    let (printed, code) = place.outcome(&bob, "");
    assert_eq!((printed, code), (json!(["forward", 200, null, "/api/cron/v1"]), Some(0)));
    let told = text(&place.explain(&bob).stdout);
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(&format!("the app token in {ACME} of technical user cron")), "{told}");
    let other = format!("/api/cron/v1?organisationId={OTHER}");
    let elsewhere = ["--config", "gateway.yaml", "GET", &other, "--claims", "bob.json"];
    let (printed, code) = place.outcome(&elsewhere, "");
    assert_eq!((&printed[2], code), (&json!("organisation_mismatch"), Some(1)));
}

#[test]
fn a_refusal_says_which_step_and_why() {
    let place = Place::new(AWAY);
    place.write("bob.json", BOB);
    place.write("new.json", &json!({ "organisationId": ACME }).to_string());
    let asked = ["POST", "/api/credential/v1", "--claims", "bob.json", "--body", "new.json"];
    let output = place.explain(&asked);
    let expected = format!(
        "  ✓ view            POST /api/credential/v1 on localhost
  ✓ own_endpoint    none of the gateway's own
  ✓ route           /api/credential/v1 to upstream core
  ✓ authentication  bob by an IAM token of {AWAY}, roles: reader
  ✓ organisation    the request names {ACME}
                    it is about {ACME}
  ✗ policy          needs any of CREDENTIAL_ISSUE
                    the caller holds CREDENTIAL_LIST
                    permission_missing: needs any of CREDENTIAL_ISSUE
  · credential

refuse 403 permission_missing
"
    );
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(1)));
    // As narrow as a terminal may be, and never in colour into a pipe.
    for env in [&[("COLUMNS", "40")][..], &[("COLUMNS", "40"), ("NO_COLOR", "1")]] {
        let narrow = text(&place.explain_with(&asked, "", env).stdout);
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(narrow.ends_with("refuse 403 permission_missing\n") && !narrow.contains('\x1b'));
    }
}

#[test]
fn what_is_not_refused_exits_with_0() {
    let place = Place::new(AWAY);
    let (of_bob, list) = (["--claims", "-"], "/api/credential/v1");
    let path = format!("{list}?organisationId={ACME}");
    for (arguments, input, expected) in [
        (&["GET", &path, "--claims", "-"][..], BOB, json!(["forward", 200, null, list])),
        (
            &["GET", "/desk/a", "-H", "Accept: text/html"],
            "",
            json!(["login", 302, null, "/desk/{*rest}"]),
        ),
        (&["GET", "/.portcullis/login"], "", json!(["own", null, null, "/.portcullis"])),
        (
            &["GET", "/.well-known/jwks.json"],
            "",
            json!(["own", 200, null, "/.well-known/jwks.json"]),
        ),
        (
            &["GET", "/desk/a", "--as", "session", of_bob[0], "-"],
            BOB,
            json!(["forward", 200, null, "/desk/{*rest}"]),
        ),
        (
            &["GET", "/api/trial/v1", of_bob[0], "-"],
            BOB,
            json!(["forward", 200, null, "/api/trial/v1"]),
        ),
        (
            &["GET", list, "--as", "app", of_bob[0], "-"],
            r#"{ "sub": "s", "permissions": ["CREDENTIAL_LIST"] }"#,
            json!(["forward", 200, null, list]),
        ),
    ] {
        assert_eq!(place.outcome(arguments, input), (expected, Some(0)), "{arguments:?}");
    }
    let trial = place.explain_with(&["GET", "/api/trial/v1", "--claims", "-"], BOB, &[]);
    let trial = text(&trial.stdout);
    assert!(trial.contains("  ! policy          needs any of CREDENTIAL_ISSUE\n"), "{trial}");
    let end = format!(
        "on trial: without it, 403 permission_missing\n\
         forward to core, credential app, organisation {ACME}\n"
    );
    assert!(trial.ends_with(&end), "{trial}");
}

#[test]
fn refusals_of_every_early_step() {
    let place = Place::new(AWAY);
    let list = "/api/credential/v1";
    for (arguments, input, expected) in [
        (
            &["GET", list, "--host", "elsewhere.test"][..],
            "",
            json!(["refuse", 421, "unknown_host", null]),
        ),
        (&["GET", "/api//a"], "", json!(["refuse", 400, "ambiguous_path", null])),
        (&["GET", "/nowhere"], "", json!(["refuse", 404, "no_route", null])),
        (&["PUT", list], "", json!(["refuse", 405, "method_not_allowed", null])),
        (&["GET", list], "", json!(["refuse", 401, "credential_missing", list])),
        (
            &["GET", list, "-H", "Authorization: Basic eDp5"],
            "",
            json!(["refuse", 401, "credential_invalid", list]),
        ),
        (
            &["GET", list, "--claims", "-", "--at", "2026-01-31T12:00:00Z"],
            r#"{ "sub": "bob", "roles": ["reader"], "exp": 1769860739 }"#,
            json!(["refuse", 401, "credential_expired", list]),
        ),
    ] {
        assert_eq!(place.outcome(arguments, input), (expected, Some(1)), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_token_is_verified_with_the_issuers_keys() {
    let issuer = Issuer::start().await;
    let place = Place::new(&issuer.url);
    let token = issuer.token("bob", "reader");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    place.write("token", &format!("Bearer {token}\n"));
    tokio::task::spawn_blocking(move || {
        let list = "/api/credential/v1";
        let forward = (json!(["forward", 200, null, list]), Some(0));
        let refused = (json!(["refuse", 401, "credential_invalid", list]), Some(1));
        assert_eq!(place.outcome(&["GET", list, "--token", "-"], &token), forward);
        assert_eq!(place.outcome(&["GET", list, "--token", "@token"], ""), forward);
        assert_eq!(place.outcome(&["GET", list, "--token", &forged], ""), refused);
        let output = place.explain_with(&["GET", list, "--token", "-"], &token, &[]);
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(!printed.contains(&token[..20]), "{printed}");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_issuer_that_is_away_is_said_plainly() {
    let issuer = Issuer::start().await;
    let token = {
        let mut claims = issuer.claims("bob", "reader");
        claims["iss"] = json!(AWAY);
        issuer.sign(&claims)
    };
    let place = Place::new(AWAY);
    let output = place.explain_with(&["GET", "/api/credential/v1", "--token", "-"], &token, &[]);
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{printed}");
    assert!(
        printed.contains("the IAM provider's keys: the key set cannot be reached"),
        "{printed}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_usage_and_faults_have_codes_of_their_own() {
    let place = Place::new(AWAY);
    let list = "/api/credential/v1";
    place.write("list.json", "[]");
    for (arguments, code, says) in [
        (&["GET"][..], 2, "PATH"),
        (&["GET", list, "--as", "app"], 2, "--claims"),
        (&["GET", list, "--claims", "a", "--token", "b"], 2, "cannot be used with"),
        (&["GET", list, "--claims", "-", "--body", "-"], 2, "one thing only"),
        (&["GET", list, "--claims", "-", "--organisation", ACME], 2, "--as session"),
        (&["GET", list, "--header", "no colon"], 2, "NAME: VALUE"),
        (&["GET", list, "--at", "noon"], 2, "is no time"),
        (&["GET", "/a\nb"], 2, "line break"),
        (&["GET", list, "--claims", "missing.json"], 66, "missing.json"),
        (&["GET", list, "--claims", "list.json"], 66, "no JSON object of claims"),
    ] {
        let output = place.explain(arguments);
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(says), "{arguments:?}: {printed}");
    }
    place.write("gateway.yaml", &config(AWAY).replace("upstream: bff", "upstream: bf"));
    let output = place.explain(&["GET", list]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("gateway.yaml:"), "{}", text(&output.stderr));
}

/// From a log line to `explain`: what the record of a refusal holds is enough to get the same
/// refusal again, and no more than that.
#[tokio::test]
async fn a_refusals_record_can_be_asked_about() {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let route = "path: /api/did/v1, accept: [iam], permissions: [CREDENTIAL_ISSUE], \
                 organisation: { query: organisationId }";
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address).route(route)).await;
    let token = issuer.token("bob", "reader");
    let target = format!("/api/did/v1?organisationId={ACME}&code=sesame");
    let answer = client().get(gateway.url(&target)).bearer_auth(&token).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    client().get(gateway.url("/api//did?code=sesame")).send().await.unwrap();
    let record = |is: &dyn Fn(&Value) -> bool| {
        let output = gateway.output();
        let mut lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["kind"] == "access" && is(line))
    };
    let about = |is: &dyn Fn(&Value) -> bool| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match record(is) {
                Some(line) => return line,
                None if std::time::Instant::now() > until => panic!("{}", gateway.output()),
                None => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
    };
    let line = about(&|line| line["request_id"] == id.as_str());
    assert_eq!(line["query"], format!("organisationId={ACME}&code=*"));
    assert_eq!((&line["roles"], &line["named"]), (&json!(["reader"]), &json!(ACME)));
    let text_of = |key: &str| line[key].as_str().unwrap().to_owned();
    let claims = json!({ "sub": line["subject"], "iss": line["issuer"], "roles": line["roles"] });
    let asked = format!("{}?{}", text_of("path"), text_of("query"));
    let place = Place::new(&issuer.url);
    place.write("gateway.yaml", &std::fs::read_to_string(gateway.file()).unwrap());
    let arguments = [&text_of("method"), &asked, "--host", &text_of("host"), "--claims", "-"]
        .map(|argument: &str| argument.to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (told, exit) = place.outcome(&arguments, &claims.to_string());
    assert_eq!(
        (told, exit),
        (json!(["refuse", line["status"], line["reason"], line["route"]]), Some(1))
    );
    // What could not even be viewed is recorded as it was sent, without its query.
    let line = about(&|line| line["reason"] == "ambiguous_path");
    assert_eq!(line["path"], "/api//did");
    assert!(line["host"].as_str().unwrap().starts_with("localhost"), "{line}");
    for line in gateway.output().lines().filter(|line| !line.contains("\"kind\":\"diagnostic\"")) {
        assert!(!line.contains("sesame") && !line.contains(&token[..20]), "{line}");
    }
}
