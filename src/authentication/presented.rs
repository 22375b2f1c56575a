//! What a request's `Authorization` header presents (RFC 9110, section 11.6.2; RFC 6750, section
//! 2.1). Tokens in the query or the body are not read at all.

use http::HeaderValue;
use secrecy::SecretString;

use crate::{
    bearer::MAX_TOKEN,
    refusal::{Reason, Refusal},
};

/// The three answers. Only [`Presented::Nothing`] may lead on to another way to authenticate.
#[derive(Debug)]
pub enum Presented {
    /// No `Authorization` at all.
    Nothing,
    /// A bearer token of lawful syntax; nothing else is known of it.
    Bearer(SecretString),
    /// Something else, and why it is of no use; the request counts as badly authenticated.
    Unusable(&'static str),
}

/// Reads all `Authorization` fields of a request.
///
/// The scheme's case does not count, one or more spaces follow it, and the token is a `token68`
/// of at most [`MAX_TOKEN`] bytes with nothing around it.
///
/// # Errors
/// `duplicate_header` for more than one field: readers differ in which one counts.
pub fn presented<'h>(
    authorization: impl IntoIterator<Item = &'h HeaderValue>,
) -> Result<Presented, Refusal> {
    let mut fields = authorization.into_iter();
    let Some(field) = fields.next() else { return Ok(Presented::Nothing) };
    if fields.next().is_some() {
        return Err(Refusal::new(Reason::DuplicateHeader, "more than one Authorization"));
    }
    Ok(match token(field) {
        Ok(token) => Presented::Bearer(SecretString::from(token)),
        Err(why) => Presented::Unusable(why),
    })
}

fn token(field: &HeaderValue) -> Result<&str, &'static str> {
    let field = field.to_str().map_err(|_| "Authorization is not visible ASCII")?;
    if field.is_empty() {
        return Err("Authorization is empty");
    }
    let (scheme, rest) = field.split_once(' ').unwrap_or((field, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("Authorization has another scheme than Bearer");
    }
    let token = rest.trim_start_matches(' ');
    if token.len() > MAX_TOKEN {
        return Err("the bearer token is too long");
    }
    if !is_token68(token) {
        return Err("Authorization has no well-formed bearer token");
    }
    Ok(token)
}

/// `token68` of RFC 9110, section 11.2. Every byte is looked at, whatever the one before was: that
/// takes a few instructions for sixteen of them, and some for each if it ended at the first.
fn is_token68(text: &str) -> bool {
    #[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte is what is avoided")]
    fn belongs(byte: u8) -> bool {
        let between = |first: u8, count: u8| byte.wrapping_sub(first) < count;
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // From `-` on: - . / and the digits.
        letter | between(b'-', 13) | (byte == b'_') | (byte == b'~') | (byte == b'+')
    }
    let body = text.trim_end_matches('=').as_bytes();
    !body.is_empty() && body.iter().fold(true, |all, &byte| all & belongs(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn read(value: &[u8]) -> Presented {
        presented([&HeaderValue::from_bytes(value).unwrap()]).unwrap()
    }

    #[test]
    fn nothing_is_only_the_absence_of_the_header() {
        assert!(matches!(presented([]), Ok(Presented::Nothing)));
        assert!(matches!(read(b""), Presented::Unusable(_)));
    }

    #[test]
    fn a_bearer_token_in_every_lawful_spelling() {
        for value in ["Bearer a.b-c_~+/=", "bearer a.b-c_~+/=", "BEARER   a.b-c_~+/="] {
            let Presented::Bearer(token) = read(value.as_bytes()) else { panic!("{value}") };
            assert_eq!(token.expose_secret(), "a.b-c_~+/=", "{value}");
        }
    }

    #[test]
    fn r18_whatever_else_is_presented_is_unusable_and_never_nothing() {
        for value in [
            "Basic dXNlcjpwYXNz",
            "Bearer",
            "Bearer ",
            "Bearer\ta",
            "Bearer \ta",
            " Bearer a",
            "Bearer a ",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a=b",
            "Bearer ==",
            "Bearer \"a\"",
            "Bearera",
            "Bearer: a",
            "DPoP a",
            "a.b.c",
        ] {
            assert!(matches!(read(value.as_bytes()), Presented::Unusable(_)), "{value}");
        }
        assert!(matches!(read(b"Bearer \xff"), Presented::Unusable(_)));
    }

    #[test]
    fn every_byte_belongs_into_a_token_or_does_not() {
        for byte in 0..=u8::MAX {
            let lawful = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            let Ok(text) = std::str::from_utf8(std::slice::from_ref(&byte)) else { continue };
            assert_eq!(is_token68(text), lawful, "{byte}");
            assert_eq!(is_token68(&format!("{}{text}{}", "a".repeat(40), "b".repeat(40))), lawful);
        }
    }

    #[test]
    fn r15_a_token_is_bounded() {
        let of = |length| read(format!("Bearer {}", "a".repeat(length)).as_bytes());
        assert!(matches!(of(MAX_TOKEN), Presented::Bearer(_)));
        assert!(matches!(of(MAX_TOKEN + 1), Presented::Unusable(_)));
    }

    #[test]
    fn r9_two_headers_are_refused_even_if_equal() {
        let one = HeaderValue::from_static("Bearer a");
        let refusal = presented([&one, &one]).unwrap_err();
        assert_eq!(refusal.reason, Reason::DuplicateHeader);
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert!(!format!("{:?}", read(b"Bearer sesame")).contains("sesame"));
    }

    proptest! {
        #[test]
        fn what_is_read_stands_in_the_header(value: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&value)
                && let Ok(Presented::Bearer(token)) = presented([&value])
            {
                let text = value.to_str().unwrap();
                prop_assert!(text.ends_with(token.expose_secret()));
                prop_assert!(is_token68(token.expose_secret()));
                prop_assert_eq!(&text[..6].to_ascii_lowercase(), "bearer");
            }
        }
    }
}
