//! Why an extension has no answer.

use std::{borrow::Cow, fmt};

use crate::refusal::{Reason, Refusal};

/// Why an extension has no answer. Every error of the standard form becomes one by `?`.
///
/// What it says goes into the records of the request, for operators, and never to the client. It
/// must hold no credential.
pub struct Error(Kind);

enum Kind {
    /// It is the request's own fault.
    Request(Refusal),
    Failed(Cow<'static, str>),
}

impl Error {
    /// An error that says this.
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Failed(why.into()))
    }

    pub(super) fn request(reason: Reason, detail: String) -> Self {
        Self(Kind::Request(Refusal::new(reason, detail)))
    }

    /// What the request is refused with; `reason` where it is not the request's own fault.
    pub(super) fn refusal(self, who: &str, reason: Reason) -> Refusal {
        match self.0 {
            Kind::Request(refusal) => refusal,
            Kind::Failed(why) => Refusal::new(reason, said(who, &why)),
        }
    }
}

/// What somebody said, for a record: bounded, since it is not ours.
pub(super) fn said(who: &str, what: &str) -> String {
    let end = what.char_indices().nth(LONGEST).map_or(what.len(), |(at, _)| at);
    format!("{who}: {}", what.get(..end).unwrap_or_default())
}

/// Characters of what an extension says that a record shows.
const LONGEST: usize = 256;

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Kind::Failed(error.to_string().into()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Request(refusal) => f.debug_tuple("Error").field(refusal).finish(),
            Kind::Failed(why) => f.debug_tuple("Error").field(why).finish(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Request(refusal) => refusal.fmt(f),
            Kind::Failed(why) => f.write_str(why),
        }
    }
}
