//! What `explain` hears of a request's way.

use serde::Serialize;

use crate::{
    refusal::Refusal,
    step::{Step, Trace},
};

/// One step, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// The step's word.
    pub step: &'static str,
    /// What it came to.
    pub verdict: StepVerdict,
    /// What it saw; empty when the way did not come so far.
    pub detail: String,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVerdict {
    /// The request goes on.
    Pass,
    /// It is answered here, by the gateway itself.
    Answer,
    /// A person has to log in first.
    Login,
    /// It goes on because its route is on trial.
    WouldRefuse,
    /// It is refused.
    Refuse,
    /// The way ended before, or this kind of route has no such step.
    Skip,
}

/// Notes a request's way.
#[derive(Debug, Default)]
pub(super) struct Steps {
    entered: Vec<(Step, StepVerdict, Vec<String>)>,
    at: usize,
}

impl Trace for Steps {
    fn enter(&mut self, step: Step) {
        let known = self.entered.iter().position(|(known, ..)| *known == step);
        self.at = known.unwrap_or_else(|| {
            self.entered.push((step, StepVerdict::Pass, Vec::new()));
            self.entered.len() - 1
        });
    }

    fn found(&mut self, what: impl FnOnce() -> String) {
        if let Some((.., found)) = self.entered.get_mut(self.at) {
            found.push(what());
        }
    }

    fn would_refuse(&mut self, refusal: &Refusal) {
        self.end(StepVerdict::WouldRefuse, refusal.to_string());
    }
}

impl Steps {
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.end(StepVerdict::Refuse, refusal.to_string());
    }

    pub(super) fn login(&mut self) {
        self.end(StepVerdict::Login, "a navigation without a session is sent to the login".into());
    }

    pub(super) fn answer(&mut self, what: &str) {
        self.end(StepVerdict::Answer, what.into());
    }

    /// Every step in order, also those that were not reached.
    pub(super) fn finish(mut self) -> Vec<Passage> {
        let passage = |step: Step| {
            let at = self.entered.iter().position(|(entered, ..)| *entered == step);
            let (verdict, found) = at.map_or((StepVerdict::Skip, Vec::new()), |at| {
                let (_, verdict, found) = self.entered.swap_remove(at);
                (verdict, found)
            });
            Passage { step: step.word(), verdict, detail: found.join("; ") }
        };
        Step::ALL.map(passage).into()
    }

    fn end(&mut self, how: StepVerdict, why: String) {
        if let Some((_, verdict, found)) = self.entered.get_mut(self.at) {
            *verdict = how;
            found.push(why);
        }
    }
}
