//! Extra form fields of an exchange, with places for what differs between asks.

use std::collections::BTreeMap;

use crate::sts::exchange::ExchangeRequest;

/// Form fields whose values may name `{organisation}`, `{audience}` and `{subject}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, Vec<Piece>>);

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
        self.0.iter().filter_map(|(name, pieces)| {
            let mut value = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => value.push_str(text),
                    Piece::Organisation => value.push_str(&request.organisation?.to_string()),
                    Piece::Audience => value.push_str(&request.audience),
                    Piece::Subject => value.push_str(&request.subject),
                }
            }
            Some((name.as_str(), value))
        })
    }
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
