//! Where a request names its organisation, read as Core reads it.
//!
//! Whatever cannot be read with certainty as Core would read it is refused: a parameter that
//! stands there twice, a value that is no UUID, two places that disagree.

use http::HeaderMap;

use super::{Organisation, body, invalid, parse, query};
use crate::refusal::Refusal;

/// One place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A query parameter.
    Query(Box<str>),
    /// A path parameter, by its name in the pattern.
    Path(Box<str>),
    /// A header.
    Header(Box<str>),
    /// A JSON pointer into the body.
    Body(Box<str>),
    /// The session's active organisation; its holder's only one where none is chosen.
    Session,
    /// The token's own organisation.
    Token,
}

/// A place, and whether the organisation is written there where the request leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The place; query or body when `inject` is set.
    pub place: Place,
    /// Whether to write it.
    pub inject: bool,
}

/// The parts of a request in which an organisation can stand.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Without its question mark.
    pub query: Option<&'a str>,
    /// Every header line.
    pub headers: &'a HeaderMap,
    /// The whole body; `None` when there is none.
    pub body: Option<&'a [u8]>,
}

/// What a request becomes by having its organisation written into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The new query.
    pub query: Option<String>,
    /// The new body.
    pub body: Option<Vec<u8>>,
}

/// The organisation that a request names in these places; `None` when it names none.
///
/// # Errors
/// `organisation_invalid` when what stands there cannot be read, or two places disagree.
pub fn read<'a>(
    places: &[Named],
    parts: Parts<'_>,
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Organisation>, Refusal> {
    if parts.body.is_some() && places.iter().any(Named::is_in_body) {
        body::is_json(parts.headers)?;
    }
    let mut named = None;
    for Named { place, .. } in places {
        let here = match place {
            Place::Query(name) => query::read(name, parts.query)?,
            Place::Path(name) => parameter(name).map(parse).transpose()?,
            Place::Header(name) => in_header(name, parts.headers)?,
            Place::Body(pointer) => {
                parts.body.map(|body| body::read(body, pointer)).transpose()?.flatten()
            }
            // What the caller brings is the policy's to compare.
            Place::Session | Place::Token => None,
        };
        if let (Some(before), Some(here)) = (named, here)
            && before != here
        {
            return Err(invalid("two places name different organisations"));
        }
        named = named.or(here);
    }
    Ok(named)
}

/// Writes the decided organisation where these places say so and the request leaves it out, so
/// that Core cannot fall back to another.
///
/// # Errors
/// `organisation_missing` when a body has no object for it.
pub fn write(
    places: &[Named],
    parts: Parts<'_>,
    organisation: Organisation,
) -> Result<Rewritten, Refusal> {
    let mut new = Rewritten::default();
    for Named { place, .. } in places.iter().filter(|named| named.inject) {
        match (place, parts.body) {
            (Place::Query(name), _) => {
                let query = new.query.as_deref().or(parts.query);
                if query::read(name, query)?.is_none() {
                    new.query = Some(query::with(name, organisation, query));
                }
            }
            (Place::Body(pointer), Some(sent)) => {
                let sent = new.body.as_deref().unwrap_or(sent);
                if let Some(written) = body::with(sent, pointer, organisation)? {
                    new.body = Some(written);
                }
            }
            _ => {}
        }
    }
    Ok(new)
}

impl Named {
    /// Whether the body has to be read to know.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Body(_))
    }
}

fn in_header(name: &str, headers: &HeaderMap) -> Result<Option<Organisation>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            parse(value.to_str().map_err(|_| invalid("the header is not ASCII"))?).map(Some)
        }
        (Some(_), Some(_)) => Err(invalid("the header stands there twice")),
    }
}

#[cfg(test)]
mod tests;
