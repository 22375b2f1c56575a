use super::*;
use crate::policy::import;

fn document(version: &str) -> Document {
    let text =
        format!("{{ openapi: 3.1.0, info: {{ title: Core, version: {version} }}, paths: {{}} }}");
    import::read(&text).unwrap()
}

fn missing(path: &str) -> Difference {
    Difference {
        path: path.into(),
        method: "GET".into(),
        place: Some("routes.yaml:7".into()),
        kind: Kind::NoOperation,
    }
}

fn lines(told: Vec<(Level, String)>) -> Vec<String> {
    told.into_iter().map(|(level, line)| format!("{level} {line}")).collect()
}

#[test]
fn a_difference_is_told_once_and_once_more_when_it_is_gone() {
    let mut reporter = Reporter::default();
    let core = document("'1'");
    assert_eq!(lines(reporter.compared(&core, vec![])), ["INFO routes agree with Core 1"]);
    assert!(reporter.compared(&core, vec![]).is_empty());
    let told = lines(reporter.compared(&core, vec![missing("/a"), missing("/b")]));
    let whole =
        "between routes and Core 1; nothing was changed, `portcullis policy diff` tells all";
    assert_eq!(
        told,
        [
            "WARN policy drift: GET /a: no operation is like this rule (routes.yaml:7)".to_owned(),
            "WARN policy drift: GET /b: no operation is like this rule (routes.yaml:7)".to_owned(),
            format!("WARN 2 differences {whole}"),
        ]
    );
    assert!(reporter.compared(&core, vec![missing("/b"), missing("/a")]).is_empty());
    let told = lines(reporter.compared(&core, vec![missing("/b")]));
    assert_eq!(
        told,
        [
            "INFO policy drift is gone: GET /a: no operation is like this rule (routes.yaml:7)"
                .to_owned(),
            format!("WARN 1 difference {whole}"),
        ]
    );
    let told = lines(reporter.compared(&core, vec![]));
    assert_eq!(told.last().unwrap(), "INFO routes agree with Core 1");
}

#[test]
fn another_version_is_told_though_nothing_else_differs() {
    let mut reporter = Reporter::default();
    reporter.compared(&document("'1'"), vec![]);
    let told = lines(reporter.compared(&document("'2'"), vec![]));
    assert_eq!(told, ["INFO routes agree with Core 2"]);
}

#[test]
fn a_document_that_cannot_be_read_is_told_once_for_each_cause_and_forgets_nothing() {
    let mut reporter = Reporter::default();
    let core = document("'1'");
    reporter.compared(&core, vec![missing("/a")]);
    let served = "routes are served as they are, and compared once it is read";
    let told = lines(reporter.unread("answers 503 Service Unavailable"));
    let expected = format!("WARN the OpenAPI document answers 503 Service Unavailable; {served}");
    assert_eq!(told, [expected]);
    assert!(reporter.unread("answers 503 Service Unavailable").is_empty());
    assert_eq!(reporter.unread("is not UTF-8 text").len(), 1);
    let told = lines(reporter.compared(&core, vec![missing("/a")]));
    assert_eq!(told, ["INFO the OpenAPI document is read: Core 1"]);
    assert_eq!(reporter.unread("is not UTF-8 text").len(), 1, "it is news again");
}

#[test]
fn an_upstream_can_neither_forge_lines_nor_fill_the_log() {
    let mut reporter = Reporter::default();
    let forged = document(&format!("\"1\\nWARN all is lost{}\"", "x".repeat(100_000)));
    let many = (0..10_000).map(|at| missing(&format!("/{at}"))).collect();
    let told = lines(reporter.compared(&forged, many));
    assert_eq!(told.len(), TOLD_AT_ONCE + 2);
    assert_eq!(
        told[TOLD_AT_ONCE],
        format!("WARN policy drift: and {} more", 10_000 - TOLD_AT_ONCE)
    );
    assert!(told.iter().all(|line| !line.contains('\n') && line.len() < 1000), "{told:?}");
    let told = lines(reporter.unread(&format!("\u{1b}[2J\n{}", "é".repeat(10_000))));
    assert!(!told[0].contains(['\n', '\u{1b}']) && told[0].len() < 1000, "{told:?}");
}

#[test]
fn findings_count_by_kind() {
    let differences = [
        missing("/a"),
        missing("/b"),
        Difference { kind: Kind::Access { open: true }, ..missing("/c") },
    ];
    let found = Findings::new(Timestamp(7), &differences);
    assert_eq!(found.checked, Timestamp(7));
    assert_eq!(
        found.counts,
        [
            ("no_route", 0),
            ("no_operation", 2),
            ("public_rule", 1),
            ("public_operation", 0),
            ("permissions", 0),
        ]
    );
}
