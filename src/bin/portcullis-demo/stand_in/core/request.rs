//! Query, body and path parameters as Core reads them: everything not declared is an error.

use std::{borrow::Cow, collections::HashSet};

use bytes::Bytes;
use http::{header, request::Parts};
use serde_json::{Map, Value};
use url::form_urlencoded;
use uuid::Uuid;

use super::operations::{Field, Operation, OrganisationAt};

/// Why a request is 400. The text names parameters, not values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InputError(pub(crate) String);

/// What an operation is given.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) body: Map<String, Value>,
    /// Organisations that the request names where the operation looks for them.
    pub(crate) organisations: Vec<Uuid>,
    pub(crate) system_history: bool,
    pub(crate) page: Page,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Page {
    pub(crate) number: usize,
    pub(crate) size: usize,
}

impl Input {
    /// Reads a request for `operation`; `body` is `None` when it was too large.
    ///
    /// # Errors
    /// The first thing that Core would answer with 400.
    pub(crate) fn read(
        operation: &Operation,
        head: &Parts,
        body: Option<Bytes>,
        parameters: &[(String, String)],
    ) -> Result<Self, InputError> {
        let mut input = Self { parameters: parameters.to_vec(), ..Self::default() };
        for (name, value) in parameters {
            let is_id = name == "id" || name.ends_with("_id") || name.ends_with("Id");
            if is_id && Uuid::parse_str(value).is_err() {
                return Err(invalid("path", name));
            }
        }
        input.read_query(operation, head.uri.query().unwrap_or_default())?;
        input.read_body(operation, head, &body.ok_or_else(|| invalid("body", "too large"))?)?;
        Ok(input)
    }

    fn read_query(&mut self, operation: &Operation, query: &str) -> Result<(), InputError> {
        let mut seen = HashSet::<Cow<'_, str>>::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = operation.query.iter().any(|field| field.name == name);
            let repeated = seen.contains(&name) && !name.ends_with("[]");
            if !known || repeated {
                return Err(invalid("query", &name));
            }
            match name.as_ref() {
                "page" => self.page.number = number(&name, &value, usize::MAX)?,
                "pageSize" => self.page.size = number(&name, &value, 1_000)?,
                "showSystemHistory" => {
                    self.system_history = value.parse().map_err(|_| invalid("query", &name))?;
                }
                "organisationId" | "organisationIds[]" => {
                    let id = Uuid::parse_str(&value).map_err(|_| invalid("query", &name))?;
                    self.organisations.push(id);
                }
                _ => {}
            }
            seen.insert(name);
        }
        demand(&operation.query, "query", |name| seen.contains(name))
    }

    fn read_body(
        &mut self,
        operation: &Operation,
        head: &Parts,
        body: &[u8],
    ) -> Result<(), InputError> {
        let Some(rule) = &operation.body else { return Ok(()) };
        if body.is_empty() && !rule.required {
            return Ok(());
        }
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(invalid("header", "content-type"));
        }
        let document: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| invalid("body", "not a JSON object"))?;
        if let Some(members) = &rule.members {
            let known = |name: &&String| members.iter().any(|field| field.name == *name);
            if let Some(name) = document.keys().find(|name| !known(name)) {
                return Err(invalid("body", name));
            }
            demand(members, "body", |name| document.contains_key(name))?;
        }
        if operation.organisation == OrganisationAt::Body
            && let Some(value) = document.get("organisationId").filter(|value| !value.is_null())
        {
            let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
            self.organisations.push(id.ok_or_else(|| invalid("body", "organisationId"))?);
        }
        self.body = document;
        Ok(())
    }
}

fn demand(fields: &[Field], place: &str, present: impl Fn(&str) -> bool) -> Result<(), InputError> {
    match fields.iter().find(|field| field.required && !present(field.name)) {
        Some(missing) => Err(invalid(place, missing.name)),
        None => Ok(()),
    }
}

fn number(name: &str, value: &str, most: usize) -> Result<usize, InputError> {
    value.parse().ok().filter(|number| *number <= most).ok_or_else(|| invalid("query", name))
}

fn invalid(place: &str, name: &str) -> InputError {
    InputError(format!("Invalid {place}: {name}"))
}
