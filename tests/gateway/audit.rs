//! Audit records in a chained file, and what finds their faults.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use reqwest::header::AUTHORIZATION;
use serde_json::Value;

use crate::support::{Gateway, Issuer, Recorder, Settings, free_port, gateway::client};

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("portcullis-audit-{}-{}", std::process::id(), free_port());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("key"), "a key of thirty-two bytes or more\n").unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn verify(&self, files: &[&Path]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["audit", "verify", "--key"])
            .arg(self.file("key"))
            .args(files)
            .output()
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until the file has so many lines, and returns them.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{count} records awaited: {text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A gateway with a chained audit file, and requests that it decided.
async fn decides(issuer: &Issuer, core: &Recorder, place: &Place, requests: usize) -> Gateway {
    let (audit, key) = (place.file("audit.log"), place.file("key"));
    let logs = format!(
        "logs: {{ audit: {{ file: '{}' }}, audit_chain: {{ key: {{ file: '{}' }} }} }}",
        audit.display(),
        key.display()
    );
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address).with(&logs)).await;
    let token = issuer.sign(&issuer.claims("alice", "admin"));
    for _ in 0..requests {
        let url = gateway.url("/api/credential/v1");
        let answer =
            client().get(url).header(AUTHORIZATION, format!("Bearer {token}")).send().await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    gateway
}

#[tokio::test]
async fn a_chained_audit_file_survives_a_restart_and_betrays_every_change() {
    let (issuer, core, place) = (Issuer::start().await, Recorder::start("").await, Place::new());
    let file = place.file("audit.log");
    let first = decides(&issuer, &core, &place, 3).await;
    let so_far = lines(&file, 3).await.len();
    drop(first);
    let _second = decides(&issuer, &core, &place, 3).await;
    let all = lines(&file, so_far + 3).await;
    for (at, line) in all.iter().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["kind"], &record["seq"]), (&"audit".into(), &at.into()));
    }
    let whole = place.verify(&[&file]);
    let said = String::from_utf8(whole.stdout).unwrap();
    assert!(whole.status.success() && said.contains("all as written"), "{said}");

    let verify = |name: &str, lines: &[String]| {
        let tampered = place.file(name);
        fs::write(&tampered, lines.concat()).unwrap();
        let output = place.verify(&[&tampered]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let mut removed = all.clone();
    removed.remove(2);
    let said = verify("removed", &removed);
    assert!(said.contains("removed:3: 1 missing before record 3"), "{said}");
    let mut changed = all.clone();
    changed[1] = changed[1].replace("alice", "mallo");
    let said = verify("changed", &changed);
    assert!(said.contains("changed:2: record 1 was changed"), "{said}");
    assert!(said.contains(&format!("{} records, 1 of them broken", all.len())), "{said}");
    let mut moved = all.clone();
    moved.swap(1, 2);
    let said = verify("moved", &moved);
    assert!(said.contains("moved:3: record 1 stands where 3 should"), "{said}");

    // Rotated, in their order and not.
    let (old, new) = (place.file("old"), place.file("new"));
    fs::write(&old, all[..4].concat()).unwrap();
    fs::write(&new, all[4..].concat()).unwrap();
    assert!(place.verify(&[&old, &new]).status.success());
    assert!(!place.verify(&[&new, &old]).status.success());
}
