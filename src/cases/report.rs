//! The outcome of cases, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Difference, Outcome, Outcomes,
    coverage::{Route, Touched},
};
use crate::explain::{Explanation, StepVerdict};

/// For people: a line for each case that failed, with the steps of its way below it; how many
/// there were; what none of them touched.
#[must_use]
pub fn text(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    let mut failed = 0;
    for outcome in outcomes.failed() {
        failed += 1;
        failure(outcome, &mut text);
    }
    let total = outcomes.outcomes.len();
    let _ = match failed {
        0 => writeln!(text, "{total} cases, all passed"),
        failed => writeln!(text, "{total} cases, {failed} failed"),
    };
    let routes = outcomes.coverage.routes();
    summary("routes", &routes, &mut text);
    for route in routes.untouched.iter().take(NAMED) {
        let Route { path, methods, hosts, file, line } = route;
        let methods = if methods.is_empty() { "*".to_owned() } else { methods.join(",") };
        let hosts = if hosts.is_empty() { String::new() } else { hosts.join(",") + " " };
        let _ = writeln!(text, "  {hosts}{methods} {path} ({file}:{line})");
    }
    rest(&routes, &mut text);
    let permissions = outcomes.coverage.permissions();
    summary("permissions", &permissions, &mut text);
    for name in permissions.untouched.iter().take(NAMED) {
        let _ = writeln!(text, "  {name}");
    }
    rest(&permissions, &mut text);
    text
}

/// Untouched routes, and untouched permissions, that are named.
const NAMED: usize = 20;

fn rest<T>(of: &Touched<T>, text: &mut String) {
    if let Some(rest) = of.untouched.len().checked_sub(NAMED).filter(|rest| *rest > 0) {
        let _ = writeln!(text, "  … and {rest} more, which --json names");
    }
}

fn summary<T>(what: &str, of: &Touched<T>, text: &mut String) {
    let Touched { total, touched, untouched } = of;
    let more = if untouched.is_empty() { "" } else { "; untouched:" };
    let _ = writeln!(text, "{what}: {touched} of {total} touched{more}");
}

fn failure(outcome: &Outcome, text: &mut String) {
    let place = &outcome.case.place;
    let wanted: Vec<_> =
        outcome.differences.iter().map(|each| told(each, each.expected.as_deref())).collect();
    let got: Vec<_> =
        outcome.differences.iter().map(|each| told(each, each.got.as_deref())).collect();
    let _ = writeln!(
        text,
        "{}:{}: {}: expected {}, got {}",
        place.file,
        place.line,
        plain(&outcome.case.name),
        wanted.join(", "),
        got.join(", ")
    );
    for step in &outcome.explanation.steps {
        if step.verdict != StepVerdict::Skip {
            let verdict = word(step.verdict);
            let detail = plain(&step.detail);
            let _ = writeln!(text, "    {:<15}{verdict:<13}{detail}", step.step);
        }
    }
}

fn told(difference: &Difference, value: Option<&str>) -> String {
    format!("{} {}", difference.what, value.unwrap_or("none"))
}

/// On one line, whatever a request brought.
fn plain(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { ' ' } else { each }).collect()
}

const fn word(verdict: StepVerdict) -> &'static str {
    match verdict {
        StepVerdict::Pass => "pass",
        StepVerdict::Answer => "answer",
        StepVerdict::Login => "login",
        StepVerdict::WouldRefuse => "would refuse",
        StepVerdict::Refuse => "refuse",
        StepVerdict::Skip => "skip",
    }
}

/// For machines: one object. The way is told of cases that failed alone.
///
/// # Errors
/// As `serde_json` gives them.
pub fn json(outcomes: &Outcomes) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'o> {
        total: usize,
        failed: usize,
        cases: Vec<Told<'o>>,
        routes: Touched<&'o Route>,
        permissions: Touched<&'o str>,
    }
    #[derive(Serialize)]
    struct Told<'o> {
        file: &'o str,
        line: usize,
        name: &'o str,
        passed: bool,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        differences: &'o [Difference],
        #[serde(skip_serializing_if = "Option::is_none")]
        explanation: Option<&'o Explanation>,
    }
    let cases = outcomes.outcomes.iter().map(|outcome| {
        let Outcome { case, differences, explanation } = outcome;
        let passed = differences.is_empty();
        Told {
            file: &case.place.file,
            line: case.place.line,
            name: &case.name,
            passed,
            differences,
            explanation: (!passed).then_some(explanation),
        }
    });
    let report = Report {
        total: outcomes.outcomes.len(),
        failed: outcomes.failed().count(),
        cases: cases.collect(),
        routes: outcomes.coverage.routes(),
        permissions: outcomes.coverage.permissions(),
    };
    serde_json::to_string(&report).map(|json| json + "\n")
}
