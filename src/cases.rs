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

/// What is wanted of a value that may be none.
#[derive(Clone, Debug, Default)]
pub enum Wanted<T> {
    /// Nothing is said about it.
    #[default]
    Anything,
    /// This value, or none.
    Just(Option<T>),
}

/// What is expected of a request. What is not said may be anything.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Forwarded, refused, or sent to the login.
    pub decision: Verdict,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it is refused.
    pub reason: Option<Reason>,
    /// The route's path pattern.
    pub route: Wanted<String>,
    /// The upstream's name.
    pub upstream: Wanted<String>,
    /// For which organisation.
    pub organisation: Wanted<Organisation>,
    /// Who asks.
    pub subject: Wanted<String>,
    /// The word of the credential that the upstream gets.
    pub credential: Wanted<String>,
    /// What would refuse it, if its route were not on trial.
    pub would_refuse: Wanted<Reason>,
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
        let mut compare = |what, expected: Option<String>, got: Option<String>| {
            if expected != got {
                differences.push(Difference { what, expected, got });
            }
        };
        let word = |text: &str| Some(text.to_owned());
        compare("decision", word(self.decision.word()), word(found.decision.word()));
        if let Some(status) = self.status {
            let got = found.status.map(|status| status.to_string());
            compare("status", Some(status.to_string()), got);
        }
        if let Some(reason) = self.reason {
            let got = found.reason.and_then(|reason| word(reason.word()));
            compare("reason", word(reason.word()), got);
        }
        let id = |organisation: Organisation| organisation.to_string();
        if let Wanted::Just(expected) = self.organisation {
            compare("organisation", expected.map(id), found.organisation.map(id));
        }
        if let Wanted::Just(expected) = self.would_refuse {
            let [expected, got] = [expected, found.would_refuse]
                .map(|reason| reason.and_then(|reason| word(reason.word())));
            compare("would_refuse", expected, got);
        }
        for (what, expected, got) in [
            ("route", &self.route, found.route.clone()),
            ("upstream", &self.upstream, found.upstream.clone()),
            ("subject", &self.subject, found.subject.clone()),
            ("credential", &self.credential, found.credential.and_then(word)),
        ] {
            if let Wanted::Just(expected) = expected {
                compare(what, expected.clone(), got);
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests;
