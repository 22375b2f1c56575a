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
    let text = written(Format::Text, |mut record| {
        record.facts.path = "/a\nFORGED".into();
        record.refused(&Refusal::new(Reason::NoRoute, "x"));
        record.refused(&Refusal::new(Reason::UpstreamFailed, "y"));
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("reason=no_route"), "{text}");
}
