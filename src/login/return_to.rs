//! Where a browser goes after its login: a path of this origin, or `/` (R17).
//!
//! Open redirects live where two readers see two targets, so a path is taken only when it means
//! the same raw, decoded once and decoded twice. What is taken is sent back byte for byte behind
//! the configured origin, never behind a `Host`.

/// `wanted` when it is safe to go to, `/` otherwise. Nothing under `prefix` is: going back to
/// our own login or logout would loop or undo the login.
#[must_use]
pub fn return_to<'a>(wanted: &'a str, prefix: &str) -> &'a str {
    if is_safe(wanted, prefix) { wanted } else { "/" }
}

fn is_safe(wanted: &str, prefix: &str) -> bool {
    // Browsers send none of these raw in a request target.
    let plain = wanted.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>#".contains(&b));
    if wanted.len() > LONGEST || !plain {
        return false;
    }
    let path = wanted.split('?').next().unwrap_or_default();
    let (whole, path) = (wanted.as_bytes(), path.as_bytes());
    let (whole_1, path_1) = (decode(whole), decode(path));
    let (whole_2, path_2) = (decode(&whole_1), decode(&path_1));
    [whole, &whole_1, &whole_2].into_iter().all(has_one_reading)
        && [path, &path_1, &path_2].into_iter().all(|path| is_foreign(path, prefix.as_bytes()))
}

fn has_one_reading(target: &[u8]) -> bool {
    target.starts_with(b"/")
        && !target.starts_with(b"//")
        && !target.iter().any(|b| b.is_ascii_control() || *b == b'\\')
}

/// Neither under `prefix` nor able to get there by a `..` that somebody resolves.
fn is_foreign(path: &[u8], prefix: &[u8]) -> bool {
    let ours = path.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'/' | b';', ..]));
    let dots = path.split(|b| matches!(b, b'/' | b';')).any(|part| part == b"." || part == b"..");
    !ours && !dots
}

/// One percent-decoding; what is no escape stays as it is.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = (byte == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let value =
            escape.and_then(|(&[high, low], after)| Some((hex(high)? << 4 | hex(low)?, after)));
        let (byte, after) = value.unwrap_or((byte, after));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Sealed into a cookie together with the rest of a login, it has to fit.
const LONGEST: usize = 2_048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    const PREFIX: &str = "/.portcullis";

    #[test]
    fn paths_of_ours_are_kept() {
        for path in [
            "/",
            "/a",
            "/a/b?c=d&e=f%20g",
            "/a//b",
            "/%C3%A9",
            "/?next=https://elsewhere.example/",
            "/.portcullis-guide",
            "/a%zz%2",
        ] {
            assert_eq!(return_to(path, PREFIX), path);
        }
    }

    #[test]
    fn r17_everything_else_becomes_the_root() {
        for hostile in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/%5Cevil.example",
            "/%255cevil.example",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%252Fevil.example",
            "%2F%2Fevil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\tevil",
            "/\r\nSet-Cookie: a=b",
            "/%0d%0aLocation:x",
            "/%250d%250aLocation:x",
            "/%00",
            "/%7f",
            "/a b",
            "/é",
            "/a#b",
            "/\"><script>",
            "@evil.example",
            ".evil.example",
            "/..//evil.example",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/%252e%252e/b",
            "/..;/b",
            "/.portcullis",
            "/.portcullis/login",
            "/.portcullis/login?return_to=/",
            "/.portcullis/callback",
            "/.portcullis/logout",
            "/%2eportcullis/logout",
            "/.portcullis%2flogout",
            "/%252eportcullis/logout",
            "/.portcullis;a/logout",
        ] {
            assert_eq!(return_to(hostile, PREFIX), "/", "{hostile:?}");
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        assert_eq!(return_to(&long, PREFIX), "/");
        assert_eq!(return_to(&long[..LONGEST], PREFIX), &long[..LONGEST]);
    }

    /// Strings near the edge: random text rarely is.
    fn near_the_edge() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("/"),
            Just("\\"),
            Just("%2f"),
            Just("%5C"),
            Just("%252F"),
            Just("%25"),
            Just("."),
            Just(".."),
            Just("%2e"),
            Just("@"),
            Just("?"),
            Just("evil.example"),
            Just(":"),
            Just("\t"),
            Just("%0a"),
            Just(".portcullis"),
            Just("login"),
            Just("a"),
            Just("é"),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn r17_stays_on_this_origin(wanted in near_the_edge()) {
            let path = return_to(&wanted, PREFIX);
            let origin = "https://desk.example.com";
            let absolute = Url::parse(&format!("{origin}{path}")).unwrap();
            let relative = Url::parse(origin).unwrap().join(path).unwrap();
            prop_assert_eq!(absolute.origin().ascii_serialization(), origin);
            prop_assert_eq!(absolute.as_str(), relative.as_str());
            prop_assert!(!absolute.path().starts_with("//"));
            prop_assert!(!absolute.path().starts_with("/.portcullis/"));
        }

        #[test]
        fn r17_idempotent_and_never_invented(wanted in near_the_edge()) {
            let path = return_to(&wanted, PREFIX);
            prop_assert_eq!(return_to(path, PREFIX), path);
            prop_assert!(path == wanted || path == "/");
        }

        #[test]
        fn r17_any_text_yields_a_header_value(wanted: String) {
            let path = return_to(&wanted, PREFIX);
            prop_assert!(http::HeaderValue::from_str(path).is_ok());
            prop_assert!(path.starts_with('/') && path.len() <= LONGEST);
        }

        #[test]
        fn r17_what_is_safe_stays_safe_decoded(wanted in near_the_edge()) {
            let once = decode(return_to(&wanted, PREFIX).as_bytes());
            let twice = decode(&once);
            for view in [once, twice] {
                prop_assert!(!view.starts_with(b"//") && !view.contains(&b'\\'));
            }
        }
    }
}
