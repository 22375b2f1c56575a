//! What the configuration adds to an exchange: extra form fields, the resource and the scope,
//! with places for what differs between asks.

use std::{collections::BTreeMap, sync::Arc};

use url::Url;

use crate::{
    permission::{Permission, PermissionSet},
    sts::exchange::ExchangeRequest,
};

/// Form fields whose values may name `{organisation}`, `{audience}` and `{subject}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, Vec<Piece>>);

/// `resource` of RFC 8693, with the same places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource(Vec<Piece>);

/// `scope` of RFC 8693, in which `{permissions}` stands for the names of what the request needs:
/// a token that is asked for so carries nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What stands between the places; one longer than there are places.
    texts: Vec<Box<str>>,
    /// The scope itself, when it has no place.
    fixed: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Organisation,
    Audience,
    Subject,
}

/// Why a parameter is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterFault {
    /// Something else than the three known names stands in braces, or a brace stands alone.
    #[error("parameter {0:?}: only {{organisation}}, {{audience}} and {{subject}} are filled in")]
    UnknownPlace(String),
    /// The protocol itself has a field of this name.
    #[error("parameter {0:?} is a field of the protocol itself")]
    Reserved(String),
    /// No absolute URI, or one with a fragment (RFC 8693, section 2.1).
    #[error(
        "must be an absolute URI without a fragment, in which only {{organisation}}, \
         {{audience}} and {{subject}} are filled in"
    )]
    Resource,
    /// Characters that RFC 6749, section 3.3 keeps out, or another place.
    #[error("must be scope names with a space between them; only {{permissions}} is filled in")]
    Scope,
}

impl Parameters {
    /// Reads names and values.
    ///
    /// # Errors
    /// [`ParameterFault::UnknownPlace`] for a value with other places than the three.
    pub fn parse(fields: &BTreeMap<String, String>) -> Result<Self, ParameterFault> {
        fields
            .iter()
            .map(|(name, value)| {
                let pieces =
                    pieces(value).ok_or_else(|| ParameterFault::UnknownPlace(name.clone()))?;
                Ok((name.clone(), pieces))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn refuse_names(&self, reserved: &[&str]) -> Result<(), ParameterFault> {
        match self.0.keys().find(|name| reserved.contains(&name.as_str())) {
            Some(name) => Err(ParameterFault::Reserved(name.clone())),
            None => Ok(()),
        }
    }

    /// The fields of one request. A field that names an organisation is left out when the request
    /// has none: an empty value would be a wrong one. What is filled in is not read again.
    pub(super) fn filled<'a>(
        &'a self,
        request: &ExchangeRequest,
    ) -> impl Iterator<Item = (&'a str, String)> {
        self.0.iter().filter_map(|(name, pieces)| Some((name.as_str(), filled(pieces, request)?)))
    }
}

impl Resource {
    /// Reads a URI with places.
    ///
    /// # Errors
    /// [`ParameterFault::Resource`].
    pub fn parse(text: &str) -> Result<Self, ParameterFault> {
        let pieces = pieces(text).ok_or(ParameterFault::Resource)?;
        let mut sample = String::new();
        for piece in &pieces {
            sample.push_str(if let Piece::Text(text) = piece { text } else { "x" });
        }
        match Url::parse(&sample) {
            Ok(url) if url.fragment().is_none() => Ok(Self(pieces)),
            _ => Err(ParameterFault::Resource),
        }
    }

    /// The URI of one request; `None` when it names an organisation and the request has none.
    pub(super) fn filled(&self, request: &ExchangeRequest) -> Option<String> {
        filled(&self.0, request)
    }
}

impl Scope {
    /// Reads a scope.
    ///
    /// # Errors
    /// [`ParameterFault::Scope`].
    pub fn parse(text: &str) -> Result<Self, ParameterFault> {
        let texts: Vec<Box<str>> = text.split("{permissions}").map(Box::from).collect();
        let allowed =
            |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~') && c != '{' && c != '}';
        if text.trim().is_empty() || !texts.iter().all(|text| text.chars().all(allowed)) {
            return Err(ParameterFault::Scope);
        }
        let fixed = match &*texts {
            [text] => Some(Arc::from(text.trim())),
            _ => None,
        };
        Ok(Self { texts, fixed })
    }

    /// The scope of a request that needs these permissions; `None` when nothing is left of it.
    #[must_use]
    pub fn filled(&self, permissions: &PermissionSet) -> Option<Arc<str>> {
        if let Some(fixed) = &self.fixed {
            return Some(Arc::clone(fixed));
        }
        let names: Vec<&str> = permissions.iter().map(Permission::as_str).collect();
        let whole = self.texts.join(&names.join(" "));
        let whole = whole.split(' ').filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
        (!whole.is_empty()).then(|| whole.into())
    }
}

fn filled(pieces: &[Piece], request: &ExchangeRequest) -> Option<String> {
    let mut value = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => value.push_str(text),
            Piece::Organisation => value.push_str(&request.organisation?.to_string()),
            Piece::Audience => value.push_str(&request.audience),
            Piece::Subject => value.push_str(&request.subject),
        }
    }
    Some(value)
}

fn pieces(mut rest: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    while let Some((text, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}')?;
        pieces.push(Piece::Text(closed(text)?));
        pieces.push(match place {
            "organisation" => Piece::Organisation,
            "audience" => Piece::Audience,
            "subject" => Piece::Subject,
            _ => return None,
        });
        rest = after;
    }
    pieces.push(Piece::Text(closed(rest)?));
    Some(pieces)
}

fn closed(text: &str) -> Option<String> {
    (!text.contains('}')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::organisation::Organisation;

    fn parse(value: &str) -> Result<Parameters, ParameterFault> {
        Parameters::parse(&BTreeMap::from([("p".to_owned(), value.to_owned())]))
    }

    fn request(organisation: Option<&str>) -> ExchangeRequest {
        ExchangeRequest {
            subject_token: "t".into(),
            subject: "{audience}".into(),
            actor: None,
            audience: "one-core".into(),
            scope: None,
            organisation: organisation.and_then(Organisation::parse),
        }
    }

    fn filled(value: &str, organisation: Option<&str>) -> Option<String> {
        let parameters = parse(value).unwrap();
        parameters.filled(&request(organisation)).next().map(|(_, value)| value)
    }

    #[test]
    fn places_are_filled_once_and_in_order() {
        let id = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
        assert_eq!(filled("{organisation}", Some(id)).as_deref(), Some(id));
        assert_eq!(
            filled("a {audience}/{subject}", None).as_deref(),
            Some("a one-core/{audience}"),
            "what a subject is called is not a place"
        );
        assert_eq!(filled("{organisation}", None), None);
        assert_eq!(filled("", None).as_deref(), Some(""));
    }

    #[test]
    fn other_places_and_reserved_names_are_refused() {
        for wrong in ["{org}", "{", "}", "{subject", "subject}", "{}", "{{subject}}"] {
            assert_eq!(parse(wrong), Err(ParameterFault::UnknownPlace("p".into())), "{wrong}");
        }
        let parameters = parse("x").unwrap();
        assert!(parameters.refuse_names(&["q"]).is_ok());
        assert_eq!(parameters.refuse_names(&["p"]), Err(ParameterFault::Reserved("p".into())));
    }

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment() {
        let id = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
        let resource = Resource::parse("https://{audience}.example.com/{organisation}").unwrap();
        let filled = resource.filled(&request(Some(id))).unwrap();
        assert_eq!(filled, format!("https://one-core.example.com/{id}"));
        assert_eq!(resource.filled(&request(None)), None);
        assert!(Resource::parse("urn:one:core").is_ok());
        for wrong in ["", "core", "/core", "https://a.example.com/#part", "https://{org}/", "{"] {
            assert_eq!(Resource::parse(wrong), Err(ParameterFault::Resource), "{wrong}");
        }
    }

    #[test]
    fn a_scope_asks_for_what_the_request_needs() {
        let needs = |names: &[&str]| -> PermissionSet {
            names.iter().filter_map(|name| crate::permission::Permission::parse(name)).collect()
        };
        let filled =
            |scope: &str, names: &[&str]| Scope::parse(scope).unwrap().filled(&needs(names));
        let two = ["KEY_LIST", "DID_LIST"];
        assert_eq!(filled("api", &two).as_deref(), Some("api"));
        assert_eq!(filled("{permissions}", &two).as_deref(), Some("DID_LIST KEY_LIST"));
        assert_eq!(filled("a {permissions} z", &two).as_deref(), Some("a DID_LIST KEY_LIST z"));
        assert_eq!(filled("a {permissions}", &[]).as_deref(), Some("a"));
        assert_eq!(filled("{permissions}", &[]), None);
        for wrong in ["", " ", "{permission}", "a\"b", "a\nb", "ä", "{permissions", "}"] {
            assert_eq!(Scope::parse(wrong), Err(ParameterFault::Scope), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn text_without_braces_stays_as_it_is(value in "[^{}]{0,40}") {
            prop_assert_eq!(filled(&value, None), Some(value));
        }

        #[test]
        fn any_text_is_read_or_refused(value in "[{}a-z]{0,40}") {
            let _ = parse(&value);
        }
    }
}
