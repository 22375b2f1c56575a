//! Policy test cases: requests in YAML, each with the decision that is expected of it.
//!
//! The code that serves decides ([`crate::explain`]), so a case that passes here is a request
//! that is answered so. What no case touches is told as well ([`coverage`]): a rule that nobody
//! asked about is a rule that nobody noticed changing. [`record`] makes cases of access records.

pub mod coverage;
mod read;
pub mod record;
pub mod report;

use serde::Serialize;

use self::coverage::Coverage;
pub use self::read::{LONGEST_CASES, read};
use crate::{
    config::{Fault, Faults, Loaded, Position},
    explain::{Explainer, Explanation, Question},
    organisation::Organisation,
    refusal::Reason,
    telemetry::record::Verdict,
    time::Timestamp,
};

/// A request, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it stands.
    pub place: Position,
    /// Which of its file's cases it is, from 0 on.
    pub index: usize,
    /// What its author calls it; otherwise its request line.
    pub name: String,
    /// The request.
    pub question: Question,
    /// What is expected.
    pub expected: Expected,
}

/// What is expected of a request. What is not said may be anything; `Some(None)` expects none.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Forwarded, refused, or sent to the login.
    pub decision: Verdict,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it is refused.
    pub reason: Option<Reason>,
    /// The route's path pattern.
    pub route: Option<Option<String>>,
    /// The upstream's name.
    pub upstream: Option<Option<String>>,
    /// For which organisation.
    pub organisation: Option<Option<Organisation>>,
    /// Who asks.
    pub subject: Option<Option<String>>,
    /// The word of the credential that the upstream gets.
    pub credential: Option<Option<String>>,
    /// What would refuse it, if its route were not on trial.
    pub would_refuse: Option<Option<Reason>>,
}

/// Where an expectation was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key under `expect`.
    pub what: &'static str,
    /// The word expected; `None`: none.
    pub expected: Option<String>,
    /// What it is.
    pub got: Option<String>,
}

/// What became of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// Empty when it passed.
    pub differences: Vec<Difference>,
    /// The whole way of its request.
    pub explanation: Explanation,
}

/// What became of all cases, in their order.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// One for each case.
    pub outcomes: Vec<Outcome>,
    /// What they touched.
    pub coverage: Coverage,
}

/// Puts every case to the code that serves.
///
/// # Errors
/// Each case whose request or caller cannot exist, at its place.
pub async fn run(
    cases: Vec<Case>,
    loaded: &Loaded,
    explainer: &Explainer,
    now: Timestamp,
) -> Result<Outcomes, Faults> {
    let mut faults = Faults::default();
    let mut coverage = Coverage::new(loaded);
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        match explainer.explain(&case.question, now).await {
            Ok(explanation) => {
                coverage.note(&explanation);
                let differences = case.expected.differences(&explanation);
                outcomes.push(Outcome { case, differences, explanation });
            }
            Err(unanswerable) => faults.add(Fault {
                position: case.place,
                key_path: format!("cases[{}]", case.index),
                message: unanswerable.to_string(),
            }),
        }
    }
    if faults.is_empty() { Ok(Outcomes { outcomes, coverage }) } else { Err(faults.sorted()) }
}

impl Outcomes {
    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.differences.is_empty())
    }
}

impl Expected {
    /// What is not as expected.
    #[must_use]
    pub fn differences(&self, found: &Explanation) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut compare = |what, expected: Option<Option<String>>, got: Option<String>| {
            if let Some(expected) = expected
                && expected != got
            {
                differences.push(Difference { what, expected, got });
            }
        };
        let word = |text: &str| Some(text.to_owned());
        compare("decision", Some(word(self.decision.word())), word(found.decision.word()));
        compare(
            "status",
            self.status.map(|status| Some(status.to_string())),
            found.status.map(|status| status.to_string()),
        );
        compare(
            "reason",
            self.reason.map(|reason| word(reason.word())),
            found.reason.and_then(|reason| word(reason.word())),
        );
        compare("route", self.route.clone(), found.route.clone());
        compare("upstream", self.upstream.clone(), found.upstream.clone());
        let id = |organisation: Organisation| organisation.to_string();
        compare(
            "organisation",
            self.organisation.map(|expected| expected.map(id)),
            found.organisation.map(id),
        );
        compare("subject", self.subject.clone(), found.subject.clone());
        compare("credential", self.credential.clone(), found.credential.and_then(word));
        compare(
            "would_refuse",
            self.would_refuse.map(|expected| expected.and_then(|reason| word(reason.word()))),
            found.would_refuse.and_then(|reason| word(reason.word())),
        );
        differences
    }
}

#[cfg(test)]
mod tests;
