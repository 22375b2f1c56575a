//! The dashboard for Grafana and the metrics that there are.

use crate::read;

/// The dashboard's panels show metrics that there are, each under a number of its own.
#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("conf/grafana-dashboard.json")).unwrap();
    let source = crate::metrics();
    let (mut ids, mut shown) = (std::collections::BTreeSet::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["id"]);
        assert!(panel["title"].is_string());
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
            let names = expression.split(word).filter(|it| it.starts_with("portcullis_"));
            let before = shown.len();
            shown.extend(names.map(|it| it.trim_end_matches("_bucket").to_owned()));
            assert!(shown.len() > before, "{expression} shows nothing of ours");
            let chosen = expression.matches("{job=~\"$job\",instance=~\"$instance\"").count();
            assert_eq!(chosen, shown.len() - before, "{expression} shows what was not chosen");
        }
    }
    for name in &shown {
        assert!(source.contains(&format!("\"{name}\",")), "{name}");
    }
    for name in source.split('"').filter(|it| it.starts_with("portcullis_")) {
        let name = name.split(['{', ' ']).next().unwrap();
        assert!(name == "portcullis_" || shown.iter().any(|it| it == name), "no panel: {name}");
    }
}
