use super::*;

/// Every metric that `conf/alerts.yaml` names is one of ours.
#[test]
fn alerts_look_at_metrics_that_there_are() {
    let rules: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../../../conf/alerts.yaml")).unwrap();
    let source = concat!(
        include_str!("../metrics.rs"),
        include_str!("connections.rs"),
        include_str!("reloads.rs"),
        include_str!("streams.rs"),
        include_str!("traces.rs"),
    );
    let mut found = 0;
    for rule in rules["groups"][0]["rules"].as_sequence().unwrap() {
        assert!(rule["alert"].is_string() && rule["annotations"]["summary"].is_string());
        let expression = rule["expr"].as_str().unwrap();
        let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
        for name in expression.split(word).filter(|it| it.starts_with("portcullis_")) {
            found += 1;
            assert!(source.contains(&format!("\"{name}\",")), "{name} in {expression}");
        }
        for quoted in expression.split("reason=\"").skip(1) {
            let reason = quoted.split('"').next().unwrap();
            assert!(Reason::ALL.iter().any(|known| known.word() == reason), "{reason}");
        }
    }
    assert!(found >= 8, "{found}");
}

#[test]
fn what_is_counted_is_shown() {
    let metrics = Metrics::new(true).unwrap();
    let routes = metrics.routes(&["/a/{id}"]);
    let facts = Facts {
        status: 403,
        decision: Some(Verdict::Refuse),
        reason: Some(Reason::PermissionMissing),
        ..Facts::default()
    };
    metrics.request_began();
    metrics.request_ended(&facts, &routes, Some(0), 0.002);
    let scrape = Scrape { exchanges: &[("hit", 3)], ..Scrape::default() };
    let text = String::from_utf8(metrics.render(&scrape).unwrap()).unwrap();
    for line in [
        "portcullis_requests_total{route=\"/a/{id}\",status=\"4xx\"} 1",
        "portcullis_refusals_total{reason=\"permission_missing\"} 1",
        "portcullis_decisions_total{decision=\"refuse\"} 1",
        "portcullis_requests_in_flight 0",
        "portcullis_app_tokens_total{outcome=\"hit\"} 3",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Another configuration's parts count from zero, and what is shown goes on.
    metrics.close_generation(&Scrape { exchanges: &[("hit", 5)], ..Scrape::default() });
    let scrape = Scrape { exchanges: &[("hit", 2)], ..Scrape::default() };
    let text = String::from_utf8(metrics.render(&scrape).unwrap()).unwrap();
    assert!(text.contains("portcullis_app_tokens_total{outcome=\"hit\"} 7"), "{text}");
}
