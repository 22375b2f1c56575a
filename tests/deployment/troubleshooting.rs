//! `conf/troubleshooting.md`: what to look at, by `reason`.

use std::collections::BTreeSet;

use portcullis::refusal::Reason;
use serde_json::Value;

use crate::{metrics, printed, read};

const FILE: &str = "conf/troubleshooting.md";

#[test]
fn every_reason_has_its_section_with_its_status_and_something_in_it() {
    let text = read(FILE);
    let sections: Vec<(&str, &str)> =
        text.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let named: BTreeSet<String> = sections.iter().map(|(head, _)| (*head).to_owned()).collect();
    let known: BTreeSet<String> = Reason::ALL
        .iter()
        .map(|reason| format!("`{}` ({})", reason.word(), reason.status()))
        .collect();
    assert_eq!(named, known);
    assert_eq!(sections.len(), known.len(), "a reason has two sections");
    for (head, body) in sections {
        assert!(body.trim().len() > 30, "{head} says nothing");
    }
}

/// Keys in backticks are keys of the configuration, metrics are metrics.
#[test]
fn what_it_names_is_there() {
    let (text, metrics) = (read(FILE), metrics());
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let keys = serde_json::to_string(&schema).unwrap();
    let mut seen = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let name = quoted.split('{').next().unwrap();
        if name.starts_with("portcullis_") {
            assert!(metrics.iter().any(|it| it == name), "{name} is no metric");
            seen += 1;
        }
        let is_key = |part: &str| {
            !part.is_empty()
                && part.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        };
        let path: Vec<_> = quoted.split(':').next().unwrap().split('.').collect();
        if path.len() > 1 && path.iter().all(|part| is_key(part)) {
            for part in path {
                assert!(keys.contains(&format!("\"{part}\":")), "{part} of {quoted} is no key");
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}
