//! Every `gateway.yaml` of `conf/deploy` has no fault once its secrets are where it says.

use std::{collections::BTreeMap, fs, process::Command};

use serde_yaml::Value;

use crate::{Directory, documents, printed, read, top};

/// Where the image and the packages put routes of Core.
const SHARED: &str = "/usr/share/portcullis/";

/// Directories below `conf/deploy` that have a `gateway.yaml`.
pub(crate) fn all() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top().join("conf/deploy")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("gateway.yaml").exists() {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    assert_eq!(found, ["compose", "kubernetes", "systemd"]);
    found
}

pub(crate) fn configuration(of: &str) -> Value {
    documents(&format!("conf/deploy/{of}/gateway.yaml")).remove(0)
}

/// Every value of a key, wherever it stands.
pub(crate) fn values_of<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Mapping(entries) => {
            for (name, value) in entries {
                if name == key {
                    found.push(value);
                }
                values_of(value, key, found);
            }
        }
        Value::Sequence(elements) => elements.iter().for_each(|it| values_of(it, key, found)),
        _ => {}
    }
}

/// Paths and variables that a configuration takes secrets from.
pub(crate) fn secrets(of: &Value, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    values_of(of, key, &mut found);
    found.into_iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// What would stand at a name such as `sts-2.pem` or `REDIS_URL`.
fn content(name: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    if name.contains("session") {
        printed(&["keys", "generate", "session"])
    } else if name.contains("sts") {
        printed(&["keys", "generate", "issuer"])
    } else if name.contains("redis") {
        "rediss://:password@redis.example.com:6379/0".to_owned()
    } else if name.contains("client") {
        "a-secret-of-the-client".to_owned()
    } else {
        panic!("nothing is known of {name}")
    }
}

#[test]
fn every_configuration_passes_check() {
    for of in all() {
        let directory = Directory::new();
        let value = configuration(&of);
        for path in secrets(&value, "file") {
            directory.put(&path, &content(path.rsplit('/').next().unwrap()));
        }
        for name in ["core-1.74.2-routes.yaml", "core-1.74.2-perimeter-routes.yaml"] {
            directory.put(&format!("{SHARED}{name}"), &read(&format!("conf/{name}")));
        }
        let root = directory.path("");
        let text = ["/run/", "/etc/", "/usr/"].iter().fold(
            read(&format!("conf/deploy/{of}/gateway.yaml")),
            |text, part| {
                text.replace(&format!(" {part}"), &format!(" {}{part}", root.trim_end_matches('/')))
                    .replace(&format!("[{part}"), &format!("[{}{part}", root.trim_end_matches('/')))
            },
        );
        directory.put("gateway.yaml", &text);
        let variables: BTreeMap<_, _> = secrets(&value, "env")
            .into_iter()
            .map(|it| (it.clone(), content(&it).trim().to_owned()))
            .collect();
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", "--config", &directory.path("gateway.yaml")])
            .envs(variables)
            .output()
            .unwrap();
        assert!(output.status.success(), "{of}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("no faults, 165 routes"), "{of}: {said}");
        // Several gateways, or one that is restarted, keep their promises.
        assert!(!said.contains("note:"), "{of}: {said}");
    }
}
