//! Whatever names a metric names one that there is: dashboard, alert rules, documents.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use crate::{Directory, metrics, named, read, tool, top};

/// The dashboard's panels show metrics that there are, each under a number of its own.
#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("conf/grafana-dashboard.json")).unwrap();
    let known = metrics();
    let (mut ids, mut shown, mut places) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["id"]);
        assert!(panel["title"].is_string());
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for place in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(places.insert(place), "{} lies over another", panel["title"]);
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains(r#"{job=~"$job",instance=~"$instance""#), "{expression}");
            let names = named(expression);
            assert!(!names.is_empty(), "{expression} shows nothing of ours");
            shown.extend(names);
        }
    }
    for name in &shown {
        assert!(known.contains(name), "{name}");
    }
    for name in known.iter().filter(|it| it.starts_with("portcullis_")) {
        assert!(shown.contains(name), "no panel: {name}");
    }
}

/// What a document tells to look at is there to be seen.
#[test]
fn documents_name_metrics_that_there_are() {
    let known = metrics();
    let mut documents = vec!["README.md".into(), "CHANGELOG.md".into()];
    let mut directories = vec!["conf".into()];
    while let Some(directory) = directories.pop() {
        let _: &std::path::PathBuf = &directory;
        for entry in fs::read_dir(top().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if top().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "md" || it == "yaml") {
                documents.push(path);
            }
        }
    }
    let mut found = BTreeSet::new();
    for document in documents {
        let text = read(document.to_str().unwrap());
        for name in named(&text) {
            assert!(known.contains(&name), "{name} in {}", document.display());
            found.insert(name);
        }
    }
    assert!(found.len() >= known.len(), "the list of every metric is one of the documents");
}

/// Prometheus' own tool reads the rules, and what the dashboard asks as rules.
#[test]
fn promtool_takes_rules_and_questions() {
    let rules = top().join("conf/alerts.yaml");
    if let Some(output) = tool("promtool", &["check", "rules", rules.to_str().unwrap()]) {
        assert!(output.status.success(), "{output:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("conf/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut asked = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (at, target) in targets.enumerate() {
        // What Grafana fills in.
        let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
        let expression = serde_json::Value::String(expression);
        writeln!(asked, "      - {{ record: 'panel:{at}', expr: {expression} }}").unwrap();
    }
    let directory = Directory::new();
    directory.put("dashboard.yaml", &asked);
    let file = directory.path("dashboard.yaml");
    if let Some(output) = tool("promtool", &["check", "rules", &file]) {
        assert!(output.status.success(), "{output:?}");
    }
}
