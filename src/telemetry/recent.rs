//! The last refusals, for the status page: a bounded memory that is written only where something
//! refuses.
//!
//! It holds what the access record holds of them and no more, cut to a length that a page can
//! show. A word that is long enough to be a token is left out.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::record::{Facts, Verdict};
use crate::{identity::Proof, organisation::Organisation, refusal::Reason};

/// Refusals that are remembered.
pub const REMEMBERED: usize = 100;

/// The last refusals.
#[derive(Default)]
pub struct Recent(Mutex<VecDeque<Arc<Refused>>>);

/// A request that was refused, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// When.
    pub time: jiff::Timestamp,
    /// Its id, as in the access record.
    pub request_id: Box<str>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Box<str>,
    /// The host.
    pub host: Box<str>,
    /// The path, without query.
    pub path: Box<str>,
    /// The route's pattern.
    pub route: Option<Box<str>>,
    /// Who asked.
    pub subject: Option<Box<str>>,
    /// What proved it.
    pub proof: Option<&'static str>,
    /// Their IAM roles.
    pub roles: Vec<Box<str>>,
    /// For which organisation, or the one that the request named.
    pub organisation: Option<Organisation>,
    /// The status of the answer; 0 when none was sent.
    pub status: u16,
    /// Why.
    pub reason: &'static str,
    /// More on that.
    pub detail: Option<Box<str>>,
    /// Whether it was let pass, because its route is on trial.
    pub on_trial: bool,
    /// Whether it failed after it had been forwarded.
    pub forwarded: bool,
}

impl Recent {
    /// Notes a request that is over, if something refused it.
    pub fn note(&self, facts: &Facts) {
        let Some(reason) = facts.reason.or(facts.would_refuse) else { return };
        let refused = Arc::new(Refused::of(facts, reason));
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if ring.len() >= REMEMBERED { ring.pop_front() } else { None };
        ring.push_back(refused);
        drop(ring);
        // Freed without the lock.
        drop(oldest);
    }

    /// The newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Arc<Refused>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().rev().map(Arc::clone).collect()
    }
}

impl Refused {
    fn of(facts: &Facts, reason: Reason) -> Self {
        let caller = facts.identity.as_deref();
        let roles = caller.map_or(&[][..], |caller| &caller.roles);
        Self {
            time: jiff::Timestamp::now(),
            request_id: cut(&facts.request_id, WORD),
            client: facts.client,
            method: cut(&facts.method, WORD),
            host: cut(&facts.host, WORD),
            path: cut(&without_tokens(before_query(&facts.path)), PATH),
            route: facts.route.as_deref().map(|route| cut(route, PATH)),
            subject: facts.subject.as_deref().map(|subject| cut(subject, WORD)),
            proof: facts.proof.map(Proof::word),
            roles: roles.iter().take(ROLES).map(|role| cut(role, WORD)).collect(),
            organisation: facts.organisation.or(facts.named),
            status: facts.status,
            reason: reason.word(),
            detail: facts.detail.as_deref().map(|it| cut(&without_tokens(it), DETAIL)),
            on_trial: facts.reason.is_none(),
            forwarded: facts.decision == Some(Verdict::Forward) && facts.reason.is_some(),
        }
    }
}

/// Characters of a word.
const WORD: usize = 128;
/// Of a path.
const PATH: usize = 256;
/// Of a detail.
const DETAIL: usize = 400;
const ROLES: usize = 16;
/// A longer part of a path may be a token; a UUID has 36.
const LONGEST_PART: usize = 40;

fn cut(text: &str, most: usize) -> Box<str> {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// A text in which whatever is long enough to be a token is left out. Names of permissions may be
/// as long, and are no tokens.
fn without_tokens(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "-_.~+%=".contains(c);
    let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match rest.find(|c| !in_word(c)) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        let (word, after) = rest.split_at(end);
        kept.push_str(if word.len() > LONGEST_PART && !is_name(word) { "…" } else { word });
        rest = after;
    }
    kept
}

/// What stands before a query, which the path of a request that could not be read may still have.
fn before_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &str, reason: Option<Reason>) -> Facts {
        Facts { path: path.into(), reason, ..Facts::default() }
    }

    #[test]
    fn only_refusals_are_remembered_the_newest_first_and_not_too_many() {
        let recent = Recent::default();
        recent.note(&facts("/forwarded", None));
        assert!(recent.newest().is_empty());
        for at in 0..250 {
            recent.note(&facts(&format!("/{at}"), Some(Reason::NoRoute)));
        }
        let paths: Vec<_> = recent.newest().iter().map(|one| one.path.to_string()).collect();
        let expected: Vec<_> = (150..250).rev().map(|at| format!("/{at}")).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn on_trial_counts_and_says_so() {
        let recent = Recent::default();
        let tried = Facts { would_refuse: Some(Reason::RoleMissing), ..facts("/a", None) };
        recent.note(&tried);
        let [one] = &recent.newest()[..] else { panic!("one") };
        assert_eq!((one.reason, one.on_trial), ("role_missing", true));
    }

    #[test]
    fn what_may_be_a_token_in_a_path_is_left_out_and_a_uuid_is_not() {
        let uuid = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
        let token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.abcdefghijkl";
        let seen = without_tokens(before_query(&format!("/api/{uuid}/{token}/x?code={token}")));
        assert_eq!(seen, format!("/api/{uuid}/…/x"));
        let long = "A_PERMISSION_WITH_A_NAME_LONGER_THAN_A_UUID_IS";
        let detail = format!("ö: no route for /a/{token}, nor {long} for {uuid}");
        assert_eq!(without_tokens(&detail), format!("ö: no route for /a/…, nor {long} for {uuid}"));
        assert_eq!(cut(&"ä".repeat(200), 128).chars().count(), 129);
    }
}
