//! The steps of a request's way, told to whoever wants to know.
//!
//! `explain` listens, so what it prints was noted by the code that serves. In the server a sampled
//! request has a listener, which makes spans of steps ([`crate::telemetry::trace`]); for `()`
//! nothing of this is left after compilation, not even the words.

use crate::refusal::Refusal;

/// A step, in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// One host of ours, strict framing, one canonical path.
    View,
    /// Whether the gateway itself answers.
    OwnEndpoint,
    /// Host, method and path.
    Route,
    /// Who asks.
    Authentication,
    /// For which organisation.
    Organisation,
    /// Roles, permissions, condition.
    Policy,
    /// What the upstream is shown.
    Credential,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::View,
        Self::OwnEndpoint,
        Self::Route,
        Self::Authentication,
        Self::Organisation,
        Self::Policy,
        Self::Credential,
    ];

    /// The word in `explain`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::OwnEndpoint => "own_endpoint",
            Self::Route => "route",
            Self::Authentication => "authentication",
            Self::Organisation => "organisation",
            Self::Policy => "policy",
            Self::Credential => "credential",
        }
    }
}

/// Listens to the way of one request. A refusal belongs to the step that was entered last.
pub trait Trace {
    /// The way has come to this step, and every step before has let it pass.
    fn enter(&mut self, _step: Step) {}

    /// What the step at hand found. Called only if somebody listens.
    fn found(&mut self, _what: impl FnOnce() -> String) {}

    /// The step at hand refuses, and its route is on trial.
    fn would_refuse(&mut self, _refusal: &Refusal) {}
}

/// Nobody listens.
impl Trace for () {}
