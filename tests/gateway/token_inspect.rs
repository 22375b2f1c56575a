//! `portcullis token inspect`, beside a gateway that takes the same tokens.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, Recorder, Settings, gateway::client};

async fn world() -> (Issuer, Recorder, Gateway) {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    (issuer, core, gateway)
}

/// Runs it with this on standard input, away from the test's own tasks.
async fn inspect(gateway: &Gateway, input: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .args(["token", "inspect", "--config"])
        .arg(gateway.configuration())
        .args(more)
        .envs(gateway.secrets.clone())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // It may have ended already, over the configuration.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test]
async fn a_token_is_shown_and_judged_as_the_gateway_judges_it() {
    let (issuer, core, gateway) = world().await;
    let token = issuer.token("alice", "admin");
    let signature = token.rsplit('.').next().unwrap();
    for input in [token.clone(), format!("{token}\n"), format!("Bearer {token}\n")] {
        let output = inspect(&gateway, &input, &[]).await;
        let told = text(&output);
        assert_eq!(output.status.code(), Some(0), "{told}");
        for part in ["\"sub\": \"alice\"", "\"alg\":\"EdDSA\"", "✓ as IAM token: alice", "(in 0h 0"]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(told.contains("✗ as app token for one-core: credential_invalid"), "{told}");
        assert!(!told.contains(signature), "the signature makes it a credential");
    }
    let list = client().get(gateway.url("/api/credential/v1")).bearer_auth(&token);
    assert_eq!(list.send().await.unwrap().status(), 200);
    let seen = core.take();
    let app = seen[0].header("authorization")[0].replace("Bearer ", "");
    // Our own issuer's keys are at hand in the same configuration.
    let output = inspect(&gateway, &app, &["--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let accepted: Vec<_> = told["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|verdict| verdict["accepted"] == true)
        .map(|verdict| verdict["as"].as_str().unwrap())
        .collect();
    assert_eq!((accepted, output.status.code()), (vec!["app token for one-core"], Some(0)));
    assert_eq!(told["claims"]["aud"], "one-core");
}

#[tokio::test]
async fn what_does_not_count_is_told_with_its_reason_and_what_is_no_token_is_said() {
    let (issuer, _, gateway) = world().await;
    let wrong = |name: &str, value: Value| {
        let mut claims = issuer.claims("alice", "admin");
        claims[name] = value;
        issuer.sign(&claims)
    };
    for (token, part) in [
        (wrong("exp", json!(1)), "✗ as IAM token: credential_expired"),
        (wrong("aud", json!("elsewhere")), "✗ as IAM token: credential_invalid"),
        (issuer.token("alice", "admin") + "A", "✗ as IAM token: credential_invalid"),
    ] {
        let output = inspect(&gateway, &token, &[]).await;
        let told = text(&output);
        assert!(told.contains(part), "{part} in {told}");
        assert_eq!(output.status.code(), Some(1));
    }
    for none in ["", "opaque", "a.b", "a.b.c.d", "e30.W10.x", &"x".repeat(40_000)] {
        let output = inspect(&gateway, none, &[]).await;
        assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    }
    // A name that would move the cursor of a terminal.
    let output = inspect(&gateway, &wrong("sub", json!("al\u{1b}[2Jice")), &[]).await;
    assert!(!text(&output).contains('\u{1b}'));
}
