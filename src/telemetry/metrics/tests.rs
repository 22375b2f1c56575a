use std::fmt::Write as _;

use super::*;

/// Every metric that `conf/alerts.yaml` names is one of ours.
#[test]
fn alerts_look_at_metrics_that_there_are() {
    let rules: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../../../conf/alerts.yaml")).unwrap();
    let metrics = Metrics::new(true).unwrap();
    let known = |name: &str| {
        metrics.described().iter().any(|it| name.strip_prefix(&*it.name).is_some_and(is_series))
    };
    let mut found = 0;
    for rule in rules["groups"][0]["rules"].as_sequence().unwrap() {
        assert!(rule["alert"].is_string() && rule["annotations"]["summary"].is_string());
        let expression = rule["expr"].as_str().unwrap();
        let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
        for name in expression.split(word).filter(|it| it.starts_with("portcullis_")) {
            found += 1;
            assert!(known(name), "{name} in {expression}");
        }
        for quoted in expression.split("reason=\"").skip(1) {
            let reason = quoted.split('"').next().unwrap();
            assert!(Reason::ALL.iter().any(|known| known.word() == reason), "{reason}");
        }
    }
    assert!(found >= 8, "{found}");
}

/// What a histogram's name has at its end.
fn is_series(end: &str) -> bool {
    ["", "_bucket", "_sum", "_count"].contains(&end)
}

const LIST: &str = "conf/metrics.md";
const HEAD: &str = "\
# Every metric

What `/metrics` of the admin listener shows, in Prometheus' text format. Made of the metrics'
own help texts; the test `metrics` holds it against the binary and, with `UPDATE=1`, writes it anew.

A name ends in its unit (`_seconds`, `_bytes`), a counter's in `_total`. Labels hold words of the
configuration (`route`, `upstream`) or fixed ones, never anything of a request, so that their number
is bounded; `reason` is one of the [reasons of refusals](troubleshooting.md), `issuer` is `iam` or
`sts`, `kind` of records `access` or `audit`. `metrics.per_route: false` leaves routes out. Buckets of
times go from 0.5 ms to 10 s. A counter begins with the process and goes on over reloads.

| metric | kind | labels | |
| --- | --- | --- | --- |
";

/// A metric that is not in the list is one that nobody finds.
#[test]
fn the_list_has_every_metric() {
    let metrics = Metrics::new(true).unwrap();
    let mut list = HEAD.to_owned();
    for Described { name, kind, labels, help } in metrics.described() {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        writeln!(list, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &list).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written == list, "run: UPDATE=1 cargo test --lib metrics::");
}

/// Names are for years, and people guess them.
#[test]
fn names_have_their_unit_and_kind() {
    let metrics = Metrics::new(true).unwrap();
    assert!(metrics.described().len() > 30);
    for Described { name, kind, help, .. } in metrics.described() {
        let ours = name.starts_with("portcullis_") || name.starts_with("process_");
        assert!(ours && !help.is_empty(), "{name}");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
        assert_eq!(*kind == "histogram", name.ends_with("_duration_seconds"), "{name}");
    }
}

/// Of a request nothing comes into a label, so that there is an end to them.
#[test]
fn requests_make_no_labels() {
    let metrics = Metrics::new(true).unwrap();
    let routes = metrics.routes(&["/a/{id}"]);
    let lines = |facts: &Facts| {
        metrics.request_began();
        metrics.request_ended(facts, &routes, None, 0.1);
        let text = String::from_utf8(metrics.render(&Scrape::default()).unwrap()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let facts = |at: usize| Facts {
        path: format!("/{at}").into(),
        host: format!("{at}.test").into(),
        subject: Some(format!("s{at}").into()),
        method: format!("M{at}").into(),
        decision: Some(Verdict::Refuse),
        reason: Some(Reason::NoRoute),
        status: 404,
        ..Facts::default()
    };
    let before = lines(&facts(0));
    let after = (1..50).map(|at| lines(&facts(at))).max().unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_failed_login_is_told_by_its_reason() {
    let metrics = Metrics::new(true).unwrap();
    let routes = metrics.routes(&[]);
    let facts = Facts {
        event: Some("login_failed"),
        reason: Some(Reason::IamUnavailable),
        ..Facts::default()
    };
    metrics.request_ended(&facts, &routes, None, 0.1);
    let door = Some(Door { entries: 7, breaker_open: true });
    let scrape = Scrape { door, checks: &[("active", 2)], ..Scrape::default() };
    let text = String::from_utf8(metrics.render(&scrape).unwrap()).unwrap();
    for line in [
        "portcullis_login_failures_total{reason=\"iam_unavailable\"} 1",
        "portcullis_login_events_total{event=\"login_failed\"} 1",
        "portcullis_app_token_cache_entries 7",
        "portcullis_sts_breaker_open 1",
        "portcullis_session_checks_total{outcome=\"active\"} 2",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = String::from_utf8(metrics.render(&Scrape::default()).unwrap()).unwrap();
    assert!(text.contains("portcullis_sts_breaker_open -1"), "{text}");
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
