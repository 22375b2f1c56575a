//! The organisation in the query, read as Core reads it: with `serde_qs`, plain and with
//! brackets.
//!
//! `serde_qs` folds many spellings into one field (`a`, `a[]`, `a[0]`, `[a]`, with brackets plain
//! or percent-encoded), and which it takes depends on the field's type, which we do not know. So
//! one spelling counts, the configured one, once; any other that comes near it is refused.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{Organisation, invalid, parse};
use crate::refusal::Refusal;

/// Core's switch that takes a list out of its organisation.
const CROSS: &str = "showSystemHistory";

/// The organisation that the parameter `name` names, such as `organisationId` or
/// `organisationIds[]`; `None` when it is not there.
///
/// # Errors
/// `organisation_invalid` when it stands there twice, in another spelling, or is no UUID.
pub fn read(name: &str, query: Option<&str>) -> Result<Option<Organisation>, Refusal> {
    let base = base(name);
    let mut named = None;
    for (key, value) in pairs(query) {
        if !is_near(&key, base) {
            continue;
        }
        if *key != *name {
            return Err(invalid("the query names the organisation in another spelling"));
        }
        if named.is_some() {
            return Err(invalid("the query parameter stands there twice"));
        }
        let value = value.ok_or_else(|| invalid("the query parameter has no value"))?;
        // A plus may be a space, and is no part of a UUID either way.
        let value = percent_decode_str(value).decode_utf8();
        named = Some(parse(&value.map_err(|_| invalid("not UTF-8"))?)?);
    }
    Ok(named)
}

/// Whether the query asks for more than one organisation's things: anything that comes near
/// Core's switch and is not exactly one `showSystemHistory=false`.
#[must_use]
pub fn crosses(query: Option<&str>) -> bool {
    let mut near = pairs(query).filter(|(key, _)| is_near(key, CROSS));
    match (near.next(), near.next()) {
        (None, _) => false,
        (Some((key, value)), None) => key != CROSS || value != Some("false"),
        (Some(_), Some(_)) => true,
    }
}

/// The query with the parameter at its end, its brackets percent-encoded as clients do it.
#[must_use]
pub fn with(name: &str, organisation: Organisation, query: Option<&str>) -> String {
    let name = name.replace('[', "%5B").replace(']', "%5D");
    match query {
        None | Some("") => format!("{name}={organisation}"),
        Some(query) => format!("{query}&{name}={organisation}"),
    }
}

/// The name without its brackets.
fn base(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// Decoded keys with their values as they stand there.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Option<&str>)> {
    query.unwrap_or_default().split('&').map(|piece| {
        let (key, value) =
            piece.split_once('=').map_or((piece, None), |(key, value)| (key, Some(value)));
        (percent_decode_str(key).decode_utf8_lossy(), value)
    })
}

/// Whether some reader could take the key for the field, whatever stands around its name.
/// Refusing `organisationIdentifier` as well costs nothing: Core knows no such parameter.
fn is_near(key: &str, base: &str) -> bool {
    key.contains(base)
}
