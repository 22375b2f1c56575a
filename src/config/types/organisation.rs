//! Where a request names its organisation.

use serde_json::{Value as Json, json};

use crate::config::{
    key_path::Step,
    read::{Key, Read, Reader, Schemas, section},
    sections::OrganisationKey,
    yaml::{Node, Value},
};
use crate::organisation::Organisation;

/// Where a route's requests name their organisation; several must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrganisationPlaces {
    /// The places; none: the route asks for no organisation.
    pub places: Vec<OrganisationPlace>,
}

/// A place, and what happens where the request leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganisationPlace {
    /// The place.
    pub place: Place,
    /// Whether the gateway writes the organisation there: query and body only.
    pub inject: bool,
}

/// One place where an organisation can stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `{ query: NAME }`: a query parameter.
    Query(String),
    /// `{ path: NAME }`: a parameter of the path pattern.
    Path(String),
    /// `{ header: NAME }`: a header, lower case.
    Header(String),
    /// `{ body: POINTER }`: a JSON pointer into the body (RFC 6901).
    Body(String),
    /// `{ lookup: … }`: a resource of Core that knows.
    Lookup {
        /// Path of the resource, with the route's parameters.
        path: String,
        /// JSON pointer into its answer.
        pointer: String,
    },
    /// `session`: chosen in the session.
    Session,
    /// `token`: the token's own.
    Token,
}

section! {
    /// A mapping that names one place.
    struct PlaceKeys {
        /// A query parameter.
        query: Option<String> = "null",
        /// A parameter of the path pattern.
        path: Option<String> = "null",
        /// A header.
        header: Option<String> = "null",
        /// JSON pointer into the body.
        body: Option<String> = "null",
        /// Set it in the query or the body when the request leaves it out.
        inject: bool = "false",
        /// A resource of Core that knows.
        lookup: Option<LookupKeys> = "null",
    }
}

section! {
    /// A resource of Core whose answer names the organisation.
    struct LookupKeys {
        /// Path of the resource. Its id comes from a parameter of the route, `/api/credential/v1/{id}`, or from the body, `/api/key/v1/{/keys/*}`, where `*` stands for each element of an array.
        path: String,
        /// JSON pointer into the answer.
        pointer: String,
    }
}

/// RFC 6901: `/a/b`, with `~` only as `~0` or `~1`. The whole document is no place for a value.
pub(crate) fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && escapes && !text.chars().any(char::is_control)
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let sign = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || sign(b))
}

impl Read for OrganisationPlaces {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Sequence(_)) {
            return Some(Self { places: vec![place(node, cx)?] });
        }
        let elements = node.elements();
        let read: Vec<_> = elements
            .iter()
            .enumerate()
            .filter_map(|(at, element)| cx.within(Step::Index(at), |cx| place(element, cx)))
            .collect();
        (read.len() == elements.len()).then_some(Self { places: read })
    }

    fn schema(schemas: &mut Schemas) -> Json {
        let place = json!({
            "anyOf": [{ "enum": ["session", "token"] }, PlaceKeys::schema(schemas)],
        });
        json!({ "anyOf": [place, { "type": "array", "items": place }] })
    }
}

fn place(node: &Node, cx: &mut Reader<'_>) -> Option<OrganisationPlace> {
    if matches!(node.value, Value::Scalar { .. }) {
        let is_token = cx.word(node, &[("session", false), ("token", true)])?;
        let place = if is_token { Place::Token } else { Place::Session };
        return Some(OrganisationPlace { place, inject: false });
    }
    let PlaceKeys { query, path, header, body, inject, lookup } = PlaceKeys::read(node, cx)?;
    let takes_injection = body.is_some() || query.is_some();
    let mut named = [
        query.map(Place::Query),
        path.map(Place::Path),
        header.map(|name| Place::Header(name.to_ascii_lowercase())),
        body.map(Place::Body),
        lookup.map(|LookupKeys { path, pointer }| Place::Lookup { path, pointer }),
    ]
    .into_iter()
    .flatten();
    let (Some(place), None) = (named.next(), named.next()) else {
        let message = "must name exactly one of query, path, header, body, lookup; write a list \
                       when several places must agree";
        cx.fault(&node.position, message);
        return None;
    };
    if inject && !takes_injection {
        cx.fault(&node.position, "inject goes with query and body only");
        return None;
    }
    let wrong = match &place {
        Place::Query(name) | Place::Path(name) if name.is_empty() => Some("the name is empty"),
        Place::Header(name) if !is_token(name) => Some("is not the name of a header"),
        Place::Body(pointer) | Place::Lookup { pointer, .. } if !is_pointer(pointer) => {
            Some("needs a JSON pointer such as /organisationId")
        }
        Place::Lookup { path, .. } if !path.starts_with('/') => {
            Some("lookup.path must begin with `/`")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        cx.fault(&node.position, wrong);
        return None;
    }
    Some(OrganisationPlace { place, inject })
}

impl Read for Organisation {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "an organisation's UUID")?;
        match Self::parse(text) {
            Some(organisation) => Some(organisation),
            None => cx.wrong(node, "is not an organisation's UUID"),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "format": "uuid" })
    }
}

impl Key for Organisation {
    fn key(text: &str) -> Result<Self, &'static str> {
        Self::parse(text).ok_or("an organisation's UUID")
    }

    fn schema() -> Json {
        json!({ "format": "uuid" })
    }
}

impl Key for OrganisationKey {
    fn key(text: &str) -> Result<Self, &'static str> {
        match (text, Organisation::parse(text)) {
            ("*", _) => Ok(Self::Every),
            (_, Some(organisation)) => Ok(Self::One(organisation)),
            (_, None) => Err("an organisation's UUID or `*`"),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "const": "*" }, { "format": "uuid" }] })
    }
}
