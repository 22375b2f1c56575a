//! The organisation in a JSON body, read as Core reads it: with `serde_json` into a struct.
//!
//! On the pointer's way every level has to be an object whose keys are unique: `serde_json`
//! fills a struct from an array as well, by position, and which of two equal keys counts depends
//! on the struct. Writing an organisation into a body leaves every other byte as it was.

use std::{borrow::Cow, collections::HashSet, fmt, ops::ControlFlow, ops::Range};

use http::{HeaderMap, header};
use serde::de::{DeserializeSeed as _, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Organisation, invalid, lookup::elements, parse};
use crate::refusal::{Reason, Refusal};

/// The largest body that is read before it is forwarded: what Pingora can replay.
pub const LARGEST: usize = 64 * 1024;

/// Whether a body of these headers is one that Core reads as JSON. A body that is not is refused
/// on a route that looks into it: nobody can say what Core makes of it.
///
/// # Errors
/// `organisation_invalid` for any other kind, or one that is encoded.
pub fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(invalid("the body is encoded"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut parts = kind.unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| {
        parameter.eq_ignore_ascii_case("charset=utf-8")
            || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
    });
    if json && utf8 { Ok(()) } else { Err(invalid("the body is not application/json")) }
}

/// The organisation at a JSON pointer (RFC 6901); `None` when nothing or `null` stands there.
///
/// # Errors
/// `organisation_invalid` when the body cannot be read with certainty, or no UUID stands there.
pub fn read(body: &[u8], pointer: &str) -> Result<Option<Organisation>, Refusal> {
    match find(text(body)?, pointer)? {
        Slot::Value(organisation) => Ok(Some(organisation)),
        Slot::Null(_) | Slot::Absent { .. } | Slot::Nowhere => Ok(None),
    }
}

/// The body with the organisation at the pointer, where nothing or `null` stood: a new member
/// comes first in its object. `None` when one stands there already.
///
/// # Errors
/// As [`read`]; `organisation_missing` when there is no object to write it into.
pub fn with(
    body: &[u8],
    pointer: &str,
    organisation: Organisation,
) -> Result<Option<Vec<u8>>, Refusal> {
    let text = text(body)?;
    let (span, new) = match find(text, pointer)? {
        Slot::Value(_) => return Ok(None),
        Slot::Null(span) => (span, format!("\"{organisation}\"")),
        Slot::Absent { at, alone } => {
            let key = segments(pointer).last().unwrap_or_default();
            let key = serde_json::Value::from(&*key);
            let comma = if alone { "" } else { "," };
            (at..at, format!("{key}:\"{organisation}\"{comma}"))
        }
        Slot::Nowhere => {
            let detail = "the body has no object to write the organisation into";
            return Err(Refusal::new(Reason::OrganisationMissing, detail));
        }
    };
    let (Some(before), Some(after)) = (body.get(..span.start), body.get(span.end..)) else {
        return Err(invalid("the body cannot be written"));
    };
    Ok(Some([before, new.as_bytes(), after].concat()))
}

/// Hands every value at a pointer to `found`, in which a segment `*` stands for each element of an
/// array; what is left out or `null` has none. `found` may end it.
///
/// # Errors
/// `organisation_invalid` when the body cannot be read with certainty.
pub(super) fn each(
    body: &[u8],
    pointer: &str,
    found: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), Refusal> {
    let body = text(body)?.trim_matches([' ', '\t', '\r', '\n']);
    let segments: Vec<_> = segments(pointer).collect();
    walk(body, &segments, found).map(drop)
}

fn walk(
    here: &str,
    way: &[Cow<'_, str>],
    found: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Refusal> {
    let go_on = Ok(ControlFlow::Continue(()));
    if here == "null" {
        return go_on;
    }
    match way.split_first() {
        None => Ok(found(here)),
        Some((segment, rest)) if segment == "*" => {
            let all =
                elements(here).ok_or_else(|| invalid("the body has no array in its place"))?;
            for element in all {
                if walk(element.get(), rest, found)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            go_on
        }
        Some((segment, rest)) => match object(here, segment)?.value {
            Some(value) => walk(value, rest, found),
            None => go_on,
        },
    }
}

/// What stands at a pointer; offsets are bytes of the body.
enum Slot {
    Value(Organisation),
    Null(Range<usize>),
    /// The object is there and the member is not; it would stand at `at`.
    Absent {
        at: usize,
        alone: bool,
    },
    /// The object itself is not there.
    Nowhere,
}

fn text(body: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| invalid("the body is not UTF-8"))?;
    // Grammar and trailing bytes, once for the whole body.
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| invalid("the body is not JSON"))?;
    Ok(text)
}

fn segments(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(|segment| {
        if segment.contains('~') {
            Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(segment)
        }
    })
}

fn find(text: &str, pointer: &str) -> Result<Slot, Refusal> {
    let mut here = text.trim_matches([' ', '\t', '\r', '\n']);
    let mut start = text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len();
    let mut segments = segments(pointer).peekable();
    while let Some(segment) = segments.next() {
        let object = object(here, &segment)?;
        let Some(value) = object.value else {
            // The brace is one byte.
            let slot = Slot::Absent { at: start + 1, alone: object.is_empty };
            return Ok(if segments.peek().is_none() { slot } else { Slot::Nowhere });
        };
        // Both are parts of the same text, so the distance is the offset.
        start += value.as_ptr() as usize - here.as_ptr() as usize;
        here = value;
        if here == "null" {
            let slot = Slot::Null(start..start + here.len());
            return Ok(if segments.peek().is_none() { slot } else { Slot::Nowhere });
        }
    }
    let value: String =
        serde_json::from_str(here).map_err(|_| invalid("the body's value is not a string"))?;
    parse(&value).map(Slot::Value)
}

/// One level: the raw value of one key, and whether there is any.
struct Object<'a> {
    value: Option<&'a str>,
    is_empty: bool,
}

fn object<'a>(text: &'a str, key: &str) -> Result<Object<'a>, Refusal> {
    if !text.starts_with('{') {
        return Err(invalid("the body is not an object where one is needed"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Level(key).deserialize(&mut reader).map_err(|_| invalid("a key of the body stands there twice"))
}

/// Reads one object for one key, and refuses a key that stands there twice.
struct Level<'k>(&'k str);

impl<'de> serde::de::DeserializeSeed<'de> for Level<'_> {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Object<'de>, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
        let mut seen = HashSet::new();
        let mut value = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                value = Some(map.next_value::<&'de RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if !seen.insert(key) {
                return Err(serde::de::Error::custom("a key stands there twice"));
            }
        }
        Ok(Object { value, is_empty: seen.is_empty() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

    fn at(body: &str, pointer: &str) -> Result<Option<String>, Reason> {
        read(body.as_bytes(), pointer)
            .map(|named| named.map(|named| named.to_string()))
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_member_by_its_pointer() {
        let named = Ok(Some(A.to_owned()));
        assert_eq!(at(&format!(r#"{{"organisationId":"{A}"}}"#), "/organisationId"), named);
        assert_eq!(at(&format!(" {{\"a\":{{\"b\" : \"{A}\"}}}}\n"), "/a/b"), named);
        assert_eq!(at(&format!(r#"{{"\u006frg":"{{{A}}}"}}"#), "/org"), named);
        assert_eq!(at(&format!(r#"{{"a/b~":"{A}"}}"#), "/a~1b~0"), named);
        for none in ["{}", r#"{"organisationId":null}"#, r#"{"x":{"organisationId":1}}"#] {
            assert_eq!(at(none, "/organisationId"), Ok(None), "{none}");
        }
        assert_eq!(at(r#"{"schema":null}"#, "/schema/organisationId"), Ok(None));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for body in [
            format!(r#"{{"o":"{A}","o":"{A}"}}"#),
            format!(r#"{{"o":"{A}","\u006f":null}}"#),
            format!(r#"{{"o":"{A}","x":1,"x":2}}"#),
            format!(r#"["{A}"]"#),
            format!(r#"{{"o":["{A}"]}}"#),
            format!(r#"{{"o":"{A}"}} {{}}"#),
            format!(r#"{{"o":"{A}",}}"#),
            format!("\u{feff}{{\"o\":\"{A}\"}}"),
            format!("{{'o':'{A}'}}"),
            format!(r#"{{"o":"{A} "}}"#),
            r#"{"o":1}"#.to_owned(),
            r#"{"o":""}"#.to_owned(),
            r#"{"o":"\ud800"}"#.to_owned(),
            "null".to_owned(),
            String::new(),
        ] {
            assert_eq!(at(&body, "/o"), Err(Reason::OrganisationInvalid), "{body}");
        }
        assert_eq!(at(r#"{"o":["x"]}"#, "/o/p"), Err(Reason::OrganisationInvalid));
        assert!(read(b"{\"o\":\"\xff\"}", "/o").is_err());
    }

    #[test]
    fn writing_leaves_the_other_bytes() {
        let here = Organisation::parse(A).unwrap();
        let with = |body: &str, pointer: &str| {
            let written = with(body.as_bytes(), pointer, here).map_err(|refusal| refusal.reason)?;
            Ok::<_, Reason>(written.map(|body| String::from_utf8(body).unwrap()))
        };
        for (body, pointer, written) in [
            ("{}", "/o", format!(r#"{{"o":"{A}"}}"#)),
            (" { } ", "/o", format!(r#" {{"o":"{A}" }} "#)),
            (r#"{ "x" : 1.0e2 }"#, "/o", format!(r#"{{"o":"{A}", "x" : 1.0e2 }}"#)),
            (r#"{"o": null,"x":1}"#, "/o", format!(r#"{{"o": "{A}","x":1}}"#)),
            (r#"{"s":{"é":1}}"#, "/s/o", format!(r#"{{"s":{{"o":"{A}","é":1}}}}"#)),
            (r#"{"x":1}"#, "/a~1\"", format!(r#"{{"a/\"":"{A}","x":1}}"#)),
        ] {
            assert_eq!(with(body, pointer), Ok(Some(written)), "{body}");
        }
        assert_eq!(with(&format!(r#"{{"o":"{A}"}}"#), "/o"), Ok(None));
        assert_eq!(with("{}", "/s/o"), Err(Reason::OrganisationMissing));
        assert_eq!(with("[]", "/o"), Err(Reason::OrganisationInvalid));
    }

    #[test]
    fn only_plain_json_is_looked_into() {
        let kind = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, line.parse().unwrap());
            is_json(&headers).is_ok()
        };
        for good in ["application/json", "Application/JSON; charset=UTF-8"] {
            assert!(kind(good), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=utf-16", "application/x+json", ""] {
            assert!(!kind(bad), "{bad}");
        }
        assert!(is_json(&HeaderMap::new()).is_err());
    }
}
