use super::*;
use crate::telemetry::sink::tests::Shared;

fn written(format: Format, fill: impl FnOnce(Record)) -> String {
    let out = Shared::default();
    let records = Arc::new(Records {
        access: out.sink(format),
        audit: Sink::off(),
        metrics: Metrics::new(false).unwrap(),
        recent: Recent::default(),
    });
    let routes = Arc::new(records.metrics.routes(&[]));
    fill(Record::begin(Arc::clone(&records), routes, Instant::now()));
    records.access.close();
    String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_record_is_written_once_whatever_the_way_out() {
    let finished = written(Format::Json, |mut record| record.finish(200, 5));
    let dropped = written(Format::Json, drop);
    for (line, status) in [(finished, 200), (dropped, 0)] {
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["status"], status);
    }
}

#[test]
fn a_refusal_is_a_decision_also_at_our_own_endpoints() {
    for (before, after) in
        [(None, "refuse"), (Some(Verdict::Own), "refuse"), (Some(Verdict::Forward), "forward")]
    {
        let line = written(Format::Json, |mut record| {
            record.facts.decision = before;
            record.refused(&Refusal::new(Reason::OriginMismatch, "x"));
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["decision"], after);
    }
}

#[test]
fn a_line_cannot_be_forged() {
    let text = written(Format::Text { coloured: true }, |mut record| {
        record.facts.path = "/a\n\u{1b}[31mFORGED".into();
        record.refused(&Refusal::new(Reason::NoRoute, "x"));
        record.refused(&Refusal::new(Reason::UpstreamFailed, "y"));
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("no_route") && !text.contains("\u{1b}[31mFORGED"), "{text}");
}

#[test]
fn text_is_in_columns_and_has_colours_where_they_are_wanted() {
    let one = |coloured, status, method: &'static str| {
        written(Format::Text { coloured }, |mut record| {
            record.facts.method = method.into();
            record.facts.path = "/here".into();
            record.facts.decision = Some(Verdict::Forward);
            record.finish(status, 5);
        })
    };
    let columns: Vec<_> = [(200, "GET"), (404, "OPTIONS"), (0, "POST")]
        .map(|(status, method)| one(false, status, method).find("/here"))
        .into();
    assert!(columns[0].is_some() && columns.iter().all(|at| *at == columns[0]), "{columns:?}");
    assert!(!one(false, 200, "GET").contains('\u{1b}'));
    for (status, colour) in [(204, "32m"), (303, "36m"), (401, "33m"), (502, "31m"), (0, "31m")] {
        let text = one(true, status, "GET");
        assert!(text.contains(&format!("\u{1b}[{colour}{status:>3}\u{1b}[0m")), "{text:?}");
    }
}

/// `conf/records.md` tells of every field that a record can have, and of no other.
#[test]
fn every_field_is_documented() {
    let out = (Shared::default(), Shared::default());
    let records = Arc::new(Records {
        access: out.0.sink(Format::Json),
        audit: out.1.sink(Format::Json),
        metrics: Metrics::new(false).unwrap(),
        recent: Recent::default(),
    });
    let routes = Arc::new(records.metrics.routes(&[]));
    let whole = |reason| {
        let mut record = Record::begin(Arc::clone(&records), Arc::clone(&routes), Instant::now());
        let (organisation, name) = (Organisation::parse(ACME), |text: &str| Some(text.into()));
        record.facts = Facts {
            trace: Some(TraceId::new([7; 16])),
            query: Some("?a=".into()),
            route: name("/a/{id}"),
            path: "/a/1".into(),
            upstream: name("core"),
            actor: name("actor"),
            technical_user: name("cron"),
            identity: Some(Arc::new(Identity {
                proof: Proof::AppToken,
                issuer: "iss".into(),
                subject: "sub".into(),
                roles: vec!["admin".into()],
                organisation,
                permissions: Some(
                    std::iter::once(Permission::parse("CREDENTIAL_LIST").unwrap()).collect(),
                ),
                actor: None,
                claims: Arc::default(),
                expires: crate::time::Timestamp(0),
                token: "".into(),
            })),
            named: organisation,
            organisation,
            resources: vec![("/a/{id}".into(), uuid::Uuid::nil())],
            decision: Some(Verdict::Refuse),
            credential: Some("app"),
            token_id: name("jti"),
            audience: name("one-core"),
            reason,
            detail: Some("why".into()),
            would_refuse: Some(Reason::RoleMissing),
            event: Some("login_failed"),
            upstream_status: Some(200),
            ..Facts::default()
        };
        record.finish(403, 5);
    };
    whole(Some(Reason::PermissionMissing));
    records.access.close();
    records.audit.close();
    let text = include_str!("../../../conf/records.md");
    let (access, audit) = (&out.0, &out.1);
    for (kind, out) in [("access", access), ("audit", audit)] {
        let line = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        let fields: std::collections::BTreeSet<_> = line.as_object().unwrap().keys().collect();
        let mark = format!("| {kind} ");
        let documented = text
            .lines()
            .filter(|row| row.starts_with("| `"))
            .filter(|row| row.contains("| both ") || row.contains(&mark));
        let documented: std::collections::BTreeSet<String> =
            documented.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
        assert_eq!(
            fields.into_iter().cloned().collect::<std::collections::BTreeSet<_>>(),
            documented
        );
    }
}

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
