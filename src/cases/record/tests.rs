use super::*;
use crate::cases::tests::{outcomes, world};

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const OTHER: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn record(fields: &str) -> String {
    format!("{{\"kind\":\"access\",\"method\":\"GET\",\"host\":\"localhost\",{fields}}}\n")
}

async fn recorded(log: &str) -> Recorded {
    let (loaded, explainer) = world();
    let mut recording = Recording::default();
    recording.read(log.as_bytes(), &loaded).unwrap();
    recording.finish(&loaded, &explainer, Timestamp(1_800_000_000)).await.unwrap()
}

fn log() -> String {
    let by_bob = "\"path\":\"/api/did/v1\",\"route\":\"/api/did/v1\",\"subject\":\"bob\",\"proof\":\"iam_token\"";
    let app = by_bob.replace("iam_token", "app_token");
    let session = by_bob.replace("iam_token", "session");
    [
        record("\"path\":\"/ssi/b\",\"route\":\"/ssi/{*rest}\",\"decision\":\"forward\",\"credential\":\"passed\""),
        record("\"path\":\"/ssi/a\",\"route\":\"/ssi/{*rest}\",\"decision\":\"forward\",\"credential\":\"passed\""),
        record(&format!("{by_bob},\"roles\":[\"both\"],\"organisation\":\"{OTHER}\",\"decision\":\"forward\",\"credential\":\"app\"")),
        record(&format!("{app},\"organisation\":\"{ACME}\",\"decision\":\"forward\",\"credential\":\"app\"")),
        record(&format!("{session},\"roles\":[\"nothing\"],\"decision\":\"refuse\",\"reason\":\"role_missing\"")),
        record(&format!("{app},\"decision\":\"refuse\",\"reason\":\"permission_missing\"")).replace("GET", "POST").replace("}\n", ",\"new\":1}\n"),
        record("\"path\":\"/desk/a\",\"route\":\"/desk/{*rest}\",\"decision\":\"login\""),
        record("\"path\":\"/desk/a\",\"route\":\"/desk/{*rest}\",\"decision\":\"refuse\",\"reason\":\"session_expired\""),
        record("\"path\":\"/api/did/v1\",\"route\":\"/api/did/v1\",\"decision\":\"refuse\",\"reason\":\"credential_expired\""),
        record("\"path\":\"/api/did/v1\",\"route\":\"/api/did/v1\",\"decision\":\"refuse\",\"reason\":\"credential_invalid\""),
        record("\"path\":\"/nowhere\",\"decision\":\"refuse\",\"reason\":\"no_route\""),
        record("\"path\":\"/a\",\"decision\":\"own\""),
        record("\"path\":\"\",\"decision\":\"refuse\",\"reason\":\"malformed_request\""),
        record("\"path\":\"/ssi/a\",\"decision\":\"refuse\",\"reason\":\"draining\""),
        // Of another configuration: here it is forwarded.
        record(&format!("{by_bob},\"roles\":[\"reader\"],\"decision\":\"refuse\",\"reason\":\"permission_missing\"")),
        "12:00 some other log\n".to_owned(),
        record("\"path\":\"/ssi/a\",\"decision\":\"forward\"").replace("access", "audit"),
        "x".repeat(200_000) + "\n",
    ]
    .concat()
}

#[tokio::test]
async fn records_become_cases_that_pass() {
    let recorded = recorded(&log()).await;
    let told = &recorded.yaml;
    let cases = told.split_once("\ncases:\n").unwrap().1;
    let expected = format!(
        "\
- who: {{ by: app, subject: bob, permissions: [DID_LIST, DID_RESOLVE], organisation: \"{ACME}\" }}
  request: \"GET /api/did/v1?organisationId={ACME}\"
  host: localhost
  expect: {{ decision: forward, route: /api/did/v1, credential: app, organisation: \"{ACME}\" }}
"
    );
    assert!(cases.contains(&expected), "{told}");
    assert!(cases.contains(&format!(
        "roles: [both] }}\n  request: \"GET /api/did/v1?organisationId={OTHER}\""
    )));
    assert_eq!(cases.matches("- who:").count(), 10, "{told}");
    assert!(
        cases.contains("/ssi/a") && !cases.contains("/ssi/b"),
        "one resource is enough: {told}"
    );
    for line in [
        "# 10 cases from 15 access records.",
        "# Left out: 3 lines that are no access records in JSON",
        "# Left out: 1 answers of the gateway's own endpoints",
        "# Left out: 1 that a case cannot repeat: malformed_request",
        "# Left out: 1 that a case cannot repeat: draining",
        "#   GET /api/did/v1, { by: iam, subject: bob, roles: [reader] }: { decision: refuse, reason: \
         permission_missing, route: /api/did/v1 }, here forward",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is missing in {told}");
    }
    assert!(recorded.summary.starts_with("10 cases from 15 access records; left out: 3 lines"));
    let again = outcomes(told).await;
    assert_eq!((again.outcomes.len(), again.failed().count()), (10, 0));
}

/// The record of a refusal tells more than that of a request that went on.
#[tokio::test]
async fn a_refusal_is_repeated_with_all_that_its_record_tells() {
    let log = record(&format!(
        "\"path\":\"/api/did/v1\",\"query\":\"page=*&organisationId={OTHER}\",\"named\":\"{OTHER}\",\
         \"roles\":[\"reader\"],\"route\":\"/api/did/v1\",\"proof\":\"iam_token\",\"subject\":\"bob\",\
         \"decision\":\"refuse\",\"reason\":\"organisation_mismatch\""
    )) + &record(&format!(
        "\"path\":\"/api/did/v1\",\"named\":\"{OTHER}\",\"permissions\":[\"KEY_LIST\"],\
         \"own_organisation\":\"{ACME}\",\"route\":\"/api/did/v1\",\"proof\":\"app_token\",\
         \"subject\":\"bob\",\"decision\":\"refuse\",\"reason\":\"organisation_mismatch\""
    ))
    .replace("GET", "POST");
    let told = recorded(&log).await.yaml;
    assert!(told.starts_with("# 2 cases from 2 access records"), "{told}");
    let line = format!("  request: \"GET /api/did/v1?page=*&organisationId={OTHER}\"\n");
    assert!(told.contains(&line), "{told}");
    let line = format!("permissions: [KEY_LIST], organisation: \"{ACME}\" }}\n  request: \"POST");
    assert!(told.contains(&line), "{told}");
    let line = format!("  body: {{\"organisationId\":\"{OTHER}\"}}\n");
    assert!(told.contains(&line), "{told}");
}

#[tokio::test]
async fn the_order_of_the_log_does_not_matter() {
    let log = log();
    let backwards: String = log.lines().rev().map(|line| line.to_owned() + "\n").collect();
    assert_eq!(recorded(&log).await, recorded(&backwards).await);
}

#[tokio::test]
async fn no_line_of_a_log_writes_a_line_of_a_case() {
    let forged = record(
        "\"path\":\"/ssi/a\\n- request: GET /x\",\"decision\":\"refuse\",\"reason\":\"no_route\"",
    );
    let odd = record(
        "\"path\":\"/api/did/v1\",\"route\":\"/api/did/v1\",\"proof\":\"iam_token\",\"subject\":\"a } # b\",\
         \"roles\":[\"x,\\n- request: y]\",\"true\"],\"decision\":\"refuse\",\"reason\":\"role_missing\"",
    );
    let (loaded, explainer) = world();
    let mut recording = Recording::default();
    recording.read((forged + &odd).as_bytes(), &loaded).unwrap();
    let found = recording.finish(&loaded, &explainer, Timestamp(1_800_000_000)).await;
    let told = found.unwrap().yaml;
    assert!(told.contains("# 1 cases from 2 access records"), "{told}");
    assert!(told.contains(r#"subject: "a } # b", roles: ["x,\n- request: y]", "true"]"#), "{told}");
    assert!(
        !told.lines().any(|line| line.starts_with("- request") || line.starts_with("# b")),
        "{told}"
    );
}

#[tokio::test]
async fn an_empty_log_makes_no_case() {
    let recorded = recorded("").await;
    assert!(recorded.yaml.ends_with("\ncases: []\n"), "{}", recorded.yaml);
    assert_eq!(outcomes(&recorded.yaml).await.outcomes.len(), 0);
}
