//! Where a request names its organisation, read as Core reads it.
//!
//! Whatever cannot be read with certainty as Core would read it is refused: a parameter that
//! stands there twice, a value that is no UUID, two places that disagree.

use http::HeaderMap;
use url::form_urlencoded;

use super::Organisation;
use crate::refusal::{Reason, Refusal};

/// One place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A query parameter.
    Query(Box<str>),
    /// A path parameter, by its name in the pattern.
    Path(Box<str>),
    /// A header.
    Header(Box<str>),
}

/// The organisation that a request names in these places; `None` when it names none.
///
/// # Errors
/// `organisation_invalid` when what stands there cannot be read, or two places disagree.
pub fn read<'a>(
    places: &[Place],
    query: Option<&str>,
    headers: &HeaderMap,
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Organisation>, Refusal> {
    let mut named = None;
    for place in places {
        let here = match place {
            Place::Query(name) => in_query(name, query)?,
            Place::Path(name) => parameter(name).map(parse).transpose()?,
            Place::Header(name) => in_header(name, headers)?,
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

fn in_query(name: &str, query: Option<&str>) -> Result<Option<Organisation>, Refusal> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse(&value).map(Some),
        (Some(_), Some(_)) => Err(invalid("the query parameter stands there twice")),
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

fn parse(text: &str) -> Result<Organisation, Refusal> {
    Organisation::parse(text).ok_or_else(|| invalid("not a UUID"))
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Reason::OrganisationInvalid, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
    const B: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

    fn in_query(query: &str) -> Result<Option<Organisation>, Reason> {
        let places = [Place::Query("organisationId".into())];
        read(&places, Some(query), &HeaderMap::new(), |_| None).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_query_parameter() {
        assert_eq!(in_query(&format!("page=0&organisationId={A}")), Ok(Organisation::parse(A)));
        assert_eq!(in_query(&format!("organis%61tionId={A}")), Ok(Organisation::parse(A)));
        assert_eq!(
            in_query(&format!("organisationId={}", A.to_uppercase())),
            Ok(Organisation::parse(A))
        );
        assert_eq!(in_query("page=0"), Ok(None));
        for wrong in [
            "organisationId=".to_owned(),
            "organisationId".to_owned(),
            format!("organisationId={A}&organisationId={B}"),
            format!("organisationId={A}&organisationId={A}"),
            format!("organisationId={A}+"),
            format!("organisationId={A},{B}"),
        ] {
            assert_eq!(in_query(&wrong), Err(Reason::OrganisationInvalid), "{wrong}");
        }
    }

    #[test]
    fn places_have_to_agree() {
        let places =
            [Place::Query("o".into()), Place::Path("id".into()), Place::Header("x-o".into())];
        let mut headers = HeaderMap::new();
        headers.insert("x-o", A.parse().unwrap());
        let query = format!("o={A}");
        let named = read(&places, Some(&query), &headers, |_| Some(A));
        assert_eq!(named.unwrap(), Organisation::parse(A));
        assert!(read(&places, Some(&query), &headers, |_| Some(B)).is_err());
        headers.append("x-o", A.parse().unwrap());
        assert!(read(&places, None, &headers, |_| None).is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "[ -~]{0,80}") {
            let _ = in_query(&query);
        }
    }
}
