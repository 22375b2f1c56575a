//! What of a query may stand in a log.

use percent_encoding::percent_decode_str;

use crate::organisation::Organisation;

/// Parameters that are shown at most.
const MOST: usize = 32;
/// Bytes of a parameter's name that is shown.
const LONGEST: usize = 64;
/// In place of what is not shown. It can be asked about as it stands.
const HIDDEN: &str = "*";

/// The query's parameters in order, with `*` for each value that may be a secret, which is every
/// one but what decides: an organisation's id, and Core's switch that reaches beyond it.
#[must_use]
pub fn query_shape(query: &str) -> Box<str> {
    let mut pieces = query.split('&');
    let mut shown: Vec<String> = pieces.by_ref().take(MOST).map(piece).collect();
    if pieces.next().is_some() {
        shown.push(HIDDEN.to_owned());
    }
    shown.join("&").into()
}

fn piece(piece: &str) -> String {
    // What stands alone may be a code, whatever it looks like.
    let Some((name, value)) = piece.split_once('=') else {
        return if piece.is_empty() { String::new() } else { HIDDEN.to_owned() };
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(&byte);
    if name.len() > LONGEST || !name.bytes().all(plain) {
        return format!("{HIDDEN}={HIDDEN}");
    }
    let decoded = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    let is_organisation = || {
        let value = percent_decode_str(value).decode_utf8_lossy();
        Organisation::parse(&value).is_some()
    };
    let decides = (decoded.contains("organisation") && is_organisation())
        || (decoded.contains("showsystemhistory") && matches!(value, "true" | "false"));
    format!("{name}={}", if decides || value.is_empty() { value } else { HIDDEN })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_decides_is_shown_and_nothing_else() {
        let id = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
        for (query, shape) in [
            (format!("organisationId={id}"), format!("organisationId={id}")),
            (format!("organis%61tionId={id}&page=1"), format!("organis%61tionId={id}&page=*")),
            (format!("organisationIds%5B%5D={id}"), format!("organisationIds%5B%5D={id}")),
            (format!("state={id}"), "state=*".to_owned()),
            ("organisationId=sesame".to_owned(), "organisationId=*".to_owned()),
            ("showSystemHistory=true".to_owned(), "showSystemHistory=true".to_owned()),
            ("sesame".to_owned(), "*".to_owned()),
            ("code=sesame&empty=&&a b=c".to_owned(), "code=*&empty=&&*=*".to_owned()),
            (format!("{}=1", "a".repeat(65)), "*=*".to_owned()),
        ] {
            assert_eq!(*query_shape(&query), *shape, "{query}");
        }
        assert_eq!(query_shape(&"a=b&".repeat(40)).matches('&').count(), MOST);
    }

    proptest! {
        #[test]
        fn no_value_of_another_name_is_shown(value in "[A-Za-z0-9]{8,40}") {
            let shape = query_shape(&format!("code={value}&organisationId={value}x&{value}"));
            prop_assert!(!shape.contains(&value));
        }
    }
}
