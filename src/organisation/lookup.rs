//! Whose a resource is, for requests that name a resource and no organisation: what to ask the
//! upstream, and how to read its answer. Asks nobody itself; [`crate::lookup`] does.
//!
//! Core's ids are UUIDs. Nothing else is ever put into the path of a look-up, and it is written in
//! one spelling, so that no id can lead the look-up to another resource than the request.

use std::ops::ControlFlow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Organisation, body, invalid};
use crate::refusal::Refusal;

/// Most resources that one request may name; Core's own lists are shorter.
pub const MOST: usize = 64;

/// A path with the place of one resource's id: `/api/credential/v1/{id}` takes it from a parameter
/// of the route, `/api/key/v1/{/keys/*}` from the body, by a JSON pointer in which `*` stands for
/// every element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: Box<str>,
    id: Id,
    after: Box<str>,
}

/// Where a request has the id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    Parameter(Box<str>),
    Body(Box<str>),
}

impl Template {
    /// Reads a path with exactly one `{…}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const ONE: &str = "needs one resource's id as {parameter} or {/body/pointer}";
        let (before, rest) = text.split_once('{').ok_or(ONE)?;
        let (id, after) = rest.split_once('}').ok_or(ONE)?;
        if [before, after].iter().any(|part| part.contains(['{', '}'])) {
            return Err("has more than one id; one resource tells whose it is");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        let path = before.starts_with('/') && before.ends_with('/') && !before.contains("//");
        let ends = after.is_empty() || after.starts_with('/');
        let dots = [before, after].iter().any(|part| part.contains("/.") || part.contains("//"));
        if !path || !ends || dots || ![before, after].iter().all(|part| part.chars().all(plain)) {
            return Err("must be a path such as /api/credential/v1/{id}, its id a whole segment");
        }
        let id = match id.strip_prefix('/') {
            Some(_) => Id::Body(id.into()),
            None if id.is_empty() || id.starts_with('*') => return Err(ONE),
            None => Id::Parameter(id.into()),
        };
        Ok(Self { before: before.into(), id, after: after.into() })
    }

    /// The parameter of the route that it takes the id from.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        match &self.id {
            Id::Parameter(name) => Some(name),
            Id::Body(_) => None,
        }
    }

    /// Whether the body has the id.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self.id, Id::Body(_))
    }

    /// The path of the look-up.
    #[must_use]
    pub fn path(&self, id: Uuid) -> String {
        format!("{}{}{}", self.before, id.as_hyphenated(), self.after)
    }

    /// The same resource is the same place, wherever a request names it.
    #[must_use]
    pub fn place(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }

    /// Adds the ids that a request has here to `ids`; a body that leaves them out has none.
    ///
    /// # Errors
    /// `organisation_invalid` when what stands there is no UUID, or there are more than [`MOST`].
    pub fn ids<'a>(
        &self,
        parameter: impl Fn(&str) -> Option<&'a str>,
        body: Option<&[u8]>,
        ids: &mut Vec<Uuid>,
    ) -> Result<(), Refusal> {
        match (&self.id, body) {
            (Id::Parameter(name), _) => match parameter(name) {
                Some(value) => add(value, ids),
                None => Ok(()),
            },
            (Id::Body(pointer), Some(body)) => {
                let mut refused = Ok(());
                body::each(body, pointer, &mut |value| {
                    refused = serde_json::from_str::<String>(value)
                        .map_err(|_| invalid("a resource's id in the body is not a string"))
                        .and_then(|value| add(&value, ids));
                    if refused.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                refused
            }
            (Id::Body(_), None) => Ok(()),
        }
    }
}

fn add(value: &str, ids: &mut Vec<Uuid>) -> Result<(), Refusal> {
    let id = Uuid::try_parse(value);
    let id =
        id.map_err(|_| invalid("a resource's id is no UUID, so nobody can say whose it is"))?;
    if !ids.contains(&id) {
        if ids.len() >= MOST {
            return Err(invalid("the request names more resources than are looked up"));
        }
        ids.push(id);
    }
    Ok(())
}

/// Whose a resource is, by the upstream's answer.
///
/// # Errors
/// When the answer does not say, or can be read in two ways.
pub fn told(answer: &[u8], pointer: &str) -> Result<Organisation, &'static str> {
    match body::read(answer, pointer) {
        Ok(Some(organisation)) => Ok(organisation),
        Ok(None) => Err("its answer names no organisation"),
        Err(_) => Err("its answer cannot be read for certain"),
    }
}

/// Every element of a JSON array, as it stands there.
pub(super) fn elements(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;
