//! `portcullis policy test`: cases that hold, cases that do not, and cases made of records.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{
    ACME, Gateway, Issuer, OTHER, Recorder, Settings, gateway::client, gateway::secrets,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `portcullis policy test` with standard input; secrets of the demo come from the same keys.
fn policy_test(arguments: &[&str], input: &str) -> Output {
    let secrets = secrets();
    let demo = ["DEMO_SESSION_KEY", "DEMO_STS_KEY", "DEMO_IAM_CLIENT_SECRET"];
    let demo = demo.into_iter().zip(secrets.iter().map(|(_, secret)| secret.clone()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "test"])
        .args(arguments)
        .current_dir(ROOT)
        .envs(demo)
        .envs(secrets.clone())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that ends before it reads its input is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const DEMO: &[&str] = &["--config", "conf/demo.yaml"];

#[test]
fn the_cases_of_the_demo_hold() {
    let output = policy_test(&[DEMO, &["conf/demo-cases.yaml"]].concat(), "");
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    assert!(told.starts_with("15 cases, all passed\nroutes: 6 of 117 touched; untouched:\n"));
    assert!(told.contains("\n  GET /health (conf/demo.yaml:"), "{told}");
    assert!(told.contains("\npermissions: 3 of 90 touched; untouched:\n"), "{told}");
}

#[test]
fn a_case_that_does_not_hold_is_told_with_its_place_and_its_way() {
    let cases = "
- { request: GET /health, expect: forward }
- { who: { roles: [organization_reader] }, request: POST /api/credential/v1, expect: forward }
";
    let output = policy_test(&[DEMO, &["-"]].concat(), cases);
    let told = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""), "{told}");
    let mut lines = told.lines();
    assert_eq!(
        lines.next().unwrap(),
        "standard input:3: POST /api/credential/v1: expected decision forward, got decision refuse"
    );
    let way: Vec<_> = lines.by_ref().take_while(|line| line.starts_with("    ")).collect();
    assert!(way.iter().any(|line| line.starts_with("    route ")), "{told}");
    assert!(way.last().unwrap().contains("needs any of CREDENTIAL_ISSUE"), "{told}");
    let output = policy_test(&[DEMO, &["--json", "-"]].concat(), cases);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["total"], &report["failed"]), (&2.into(), &1.into()));
    assert_eq!(report["cases"][1]["explanation"]["reason"], "permission_missing");
    assert_eq!(report["routes"]["untouched"].as_array().unwrap().len(), 115);
}

#[test]
fn faults_of_cases_and_configuration_exit_with_78_and_wrong_usage_with_2() {
    let wrong = "- { who: { rules: [a] }, request: GET /a, expect: forwarded }\n- { who: b, request: GET /a }\n";
    let output = policy_test(&[DEMO, &["-", "nowhere.yaml"]].concat(), wrong);
    let told = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(78), ""), "{told}");
    for line in [
        "nowhere.yaml:1:1: cannot be read",
        "standard input:1:12: cases[0].who.rules: unknown key; did you mean `roles`?",
        "standard input:1:51: cases[0].expect: `forwarded` is no decision",
        "standard input:2:3: cases[1].expect: is missing",
        "standard input:2:10: cases[1].who: `b` is none of callers; did you mean `nobody`?",
    ] {
        let found = told
            .lines()
            .any(|told| told.starts_with(line.trim_end_matches("; did you mean `nobody`?")));
        assert!(found, "{line} is missing in {told}");
    }
    assert_eq!(policy_test(&["--config", "nowhere.yaml", "-"], "").status.code(), Some(78));
    assert_eq!(policy_test(DEMO, "").status.code(), Some(2));
}

/// Two organisations, Core's routes as they are imported, and no other.
fn core_alone() -> String {
    format!(
        "
public_url: http://localhost:8080
listeners: [ {{ address: '127.0.0.1:8080' }} ]
iam: {{ issuer: 'http://127.0.0.1:9', audience: a, client: {{ id: desk }} }}
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ] }}
sts: {{ issuer: {{ iss: 'http://localhost:8080', keys: [ {{ env: TEST_STS_KEY }} ] }} }}
system_roles: {{ all: ['*'] }}
organisations:
  aaaaaaaa-0000-4000-8000-000000000001: {{}}
  bbbbbbbb-0000-4000-8000-000000000002: {{}}
iam_roles: {{ everything: {{ '*': [all] }} }}
upstreams:
  core: {{ servers: ['127.0.0.1:9'], auth: {{ mode: STS, audience: one-core }} }}
include: ['{ROOT}/conf/core-1.74.2-routes.yaml']
routes: []
"
    )
}

/// Each endpoint at which Core 1.74.2 checks no organisation, and whether its request names one:
/// then it is checked here.
const UNCHECKED_BY_CORE: &[(&str, &str, bool)] = &[
    ("GET", "/api/organisation/v1", false),
    ("POST", "/api/organisation/v1", false),
    ("GET", "/api/organisation/v1/", true),
    ("PATCH", "/api/organisation/v1/", true),
    ("POST", "/api/history/v1", true),
    ("GET", "/api/trust-entity/v1?", true),
    ("POST", "/api/trust-entity/v1", true),
    ("GET", "/api/trust-entity/v1/", false),
    ("PATCH", "/api/trust-entity/v1/", false),
    ("POST", "/api/trust-entity/remote/v1", false),
    ("GET", "/api/trust-entity/remote/v1/", false),
    ("PATCH", "/api/trust-entity/remote/v1/", false),
    ("GET", "/api/trust-anchor/v1", false),
    ("POST", "/api/trust-anchor/v1", false),
    ("GET", "/api/trust-anchor/v1/", false),
    ("DELETE", "/api/trust-anchor/v1/", false),
    ("GET", "/api/did/v1/", false),
    ("POST", "/api/identifier/v1/resolve-trust-entity", false),
    ("POST", "/api/wallet-unit/v1/", false),
    ("DELETE", "/api/wallet-unit/v1/", false),
    ("GET", "/api/holder-wallet-unit/v1/", false),
    ("POST", "/api/holder-wallet-unit/v1/", false),
    ("POST", "/api/interaction/v1/presentation-submit", false),
    ("POST", "/api/interaction/v2/presentation-submit", false),
    ("POST", "/api/interaction/v1/presentation-reject", false),
    ("POST", "/api/signature/v1/revocation-check", false),
    ("POST", "/api/task/v1/run", false),
    ("DELETE", "/api/cache/v1", false),
];

#[test]
fn what_core_does_not_check_is_checked_where_its_requests_name_an_organisation() {
    let folder = std::env::temp_dir();
    let config = folder.join(format!("portcullis-core-cases-{}.yaml", std::process::id()));
    std::fs::write(&config, core_alone()).unwrap();
    let path = config.to_str().unwrap();
    let output = policy_test(&["--json", "--config", path, "conf/core-1.74.2-cases.yaml"], "");
    std::fs::remove_file(&config).unwrap();
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    let names: Vec<&str> = report["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["name"].as_str().unwrap())
        .collect();
    // The file that is shipped has a case for each, and its expectations are those meant here.
    let shipped = std::fs::read_to_string(Path::new(ROOT).join("conf/core-1.74.2-cases.yaml"));
    let shipped = shipped.unwrap();
    for (method, path, named) in UNCHECKED_BY_CORE {
        let request = format!("{method} {path}");
        let is_it = |line: &str| {
            let rest = line.split_once(&request).map(|(_, rest)| rest);
            rest.is_some_and(|rest| {
                !rest.is_empty()
                    && (path.ends_with(['/', '?']) || rest.starts_with([',', ' ', '\'']))
            })
        };
        assert!(names.iter().any(|name| name.starts_with(&request)), "{request} has no case");
        let expects = |word: &str| {
            let ending = format!("expect: {word} }}");
            shipped.lines().any(|line| is_it(line) && line.ends_with(&ending))
        };
        assert!(expects("forward"), "{request}");
        let refusal = if *named { "organisation_mismatch" } else { "permission_missing" };
        assert!(expects(refusal), "{request}: {refusal}");
    }
    let closed = shipped.lines().filter(|line| line.contains("swiyu") && line.contains("no_route"));
    assert_eq!(closed.count(), 3);
}

#[tokio::test]
async fn what_a_gateway_recorded_is_decided_again() {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let settings = Settings::new(&issuer.url, core.address)
        .route("path: /api/did/v1, methods: [GET], organisation: { query: organisationId }")
        .route("path: /api/did/v1, methods: [POST], organisation: { body: /organisationId }");
    let gateway = Gateway::start(settings).await;
    let (admin, reader) = (issuer.token("alice", "admin"), issuer.token("bob", "reader"));
    let json = ("content-type", "application/json");
    let body = format!("{{\"organisationId\":\"{ACME}\"}}");
    for (request, status) in [
        (client().get(gateway.url("/ssi/a")), 200),
        (client().get(gateway.url("/nowhere")), 404),
        (client().get(gateway.url("/api/credential/v1")), 401),
        (client().get(gateway.url("/api/credential/v1")).bearer_auth("x"), 401),
        (client().get(gateway.url("/api/credential/v1")).bearer_auth(&reader), 200),
        (client().get(gateway.url("/api/credential/v1")).bearer_auth(&admin), 200),
        (client().post(gateway.url("/api/credential/v1")).bearer_auth(&admin), 200),
        (client().post(gateway.url("/api/credential/v1")).bearer_auth(&reader), 403),
        (client().get(gateway.url("/desk/a")).header("accept", "text/html"), 302),
        (
            client()
                .get(gateway.url(&format!("/api/did/v1?organisationId={ACME}&x=y")))
                .bearer_auth(&admin),
            200,
        ),
        (
            client()
                .post(gateway.url("/api/did/v1"))
                .bearer_auth(issuer.token("carol", "both"))
                .header(json.0, json.1)
                .body(body.clone()),
            200,
        ),
        (client().get(gateway.url("/.portcullis/session")), 401),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{}", answer.url());
    }
    let config = gateway.configuration();
    let config = ["--config", config.to_str().unwrap()];
    // A record is written once its answer is, by another thread.
    let records = || gateway.output().lines().filter(|l| l.contains("\"kind\":\"access\"")).count();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while records() < 12 {
        assert!(std::time::Instant::now() < deadline, "{}", gateway.output());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let output = policy_test(&[&config[..], &["--record"]].concat(), &gateway.output());
    let (cases, summary) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert!(summary.starts_with("11 cases from 12 access records; left out: "), "{summary}{cases}");
    assert!(!cases.contains(OTHER) && !cases.contains("decides otherwise"), "{cases}");
    for token in [&admin, &reader] {
        assert!(!cases.contains(token.as_str()));
    }
    let output = policy_test(&[&config[..], &["-"]].concat(), &cases);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    assert!(told.starts_with("11 cases, all passed\n"), "{told}");
    // Another log, the same cases: what happened twice is one case.
    let twice = gateway.output() + &gateway.output();
    let again = text(&policy_test(&[&config[..], &["--record"]].concat(), &twice).stdout);
    let cases_of = |text: &str| text.split_once("\ncases:").unwrap().1.to_owned();
    assert_eq!(cases_of(&again), cases_of(&cases));
}
