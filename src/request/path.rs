//! One path, one reading.
//!
//! The path is matched as it stands and forwarded as it stands, so every spelling that another
//! reader could take for a different path is refused: nothing is rewritten (R3, R10). What is
//! left is canonical in the sense of RFC 3986, section 6.2.2, but for the case of hex digits.

use crate::refusal::{Reason, Refusal};

/// Where the path of an origin-form target ends and its query begins (the length of the path).
///
/// # Errors
/// `malformed_request` for what is no origin-form target at all, `ambiguous_path` for a path
/// with more than one reading.
pub fn split(target: &str) -> Result<usize, Refusal> {
    let malformed = |detail: &'static str| Refusal::new(Reason::MalformedRequest, detail);
    if !target.starts_with('/') {
        return Err(malformed("target is not in origin-form"));
    }
    if let Some(byte) = target.bytes().find(|byte| !byte.is_ascii_graphic()) {
        return Err(malformed(if byte.is_ascii() {
            "target has a space or a control character"
        } else {
            "target is not ASCII"
        }));
    }
    if target.contains('#') {
        return Err(ambiguous("a fragment"));
    }
    let end = target.find('?').unwrap_or(target.len());
    canonical(target.get(..end).unwrap_or_default()).map_err(ambiguous)?;
    Ok(end)
}

/// Whether a path has one reading only; the error says what the second would come from.
///
/// # Errors
/// A word for the log.
pub fn canonical(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("no leading slash");
    }
    let mut decoded = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" if !last => return Err("an empty segment"),
            "." | ".." => return Err("a dot segment"),
            _ => {}
        }
        if segment.contains('%') {
            decode(segment, &mut decoded)?;
        }
        if segment.bytes().any(|byte| !allowed(byte)) {
            return Err("a character that readers treat differently");
        }
    }
    Ok(())
}

/// RFC 3986 `pchar` without `;`, which some servers cut off as a path parameter.
const fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
                | b'%'
        )
}

/// Checks the escapes of one segment.
fn decode(segment: &str, decoded: &mut Vec<u8>) -> Result<(), &'static str> {
    decoded.clear();
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex).ok_or("a broken escape")?;
        let low = bytes.next().and_then(hex).ok_or("a broken escape")?;
        let byte = high << 4 | low;
        match byte {
            b'/' | b'\\' => return Err("an escaped slash"),
            b'%' => return Err("an escaped percent sign"),
            b'#' | b'?' | b';' => return Err("an escaped delimiter"),
            b'-' | b'.' | b'_' | b'~' => return Err("an escape that was not needed"),
            0..=0x1f | 0x7f => return Err("an escaped control character"),
            _ if byte.is_ascii_alphanumeric() => return Err("an escape that was not needed"),
            _ => decoded.push(byte),
        }
    }
    // Core decodes parameters as UTF-8 and refuses the rest; overlong forms end here as well.
    std::str::from_utf8(decoded).map(drop).map_err(|_| "an escape that is not UTF-8")
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn ambiguous(detail: &'static str) -> Refusal {
    Refusal::new(Reason::AmbiguousPath, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_with_one_reading() {
        for path in [
            "/",
            "/api/credential/v1",
            "/api/credential/v1/",
            "/api/did-resolver/v1/did:web:example.com%3A3000",
            "/a/%C3%A9/b",
            "/a,b/(c)/d@e",
            "/.well-known/jwks.json",
            "/a/...",
            "/%20",
        ] {
            assert_eq!(canonical(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn r03_a_fragment_is_refused() {
        for target in ["/a#b", "/a%23b", "/#", "/a?b#c"] {
            assert_eq!(split(target).unwrap_err().reason, Reason::AmbiguousPath, "{target}");
        }
    }

    #[test]
    fn r10_second_readings_are_refused() {
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/%2e",
            "/%2E%2e/a",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a;b",
            "/a;jsessionid=1/b",
            "/a%3bb",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%61pi",
            "/api%2Dx",
            "/a%7Eb",
            "/%252e",
            "/a%3fb",
            "/%c0%af",
            "/%ff",
            "/a\"b",
            "/a<b",
            "/a|b",
            "/a^b",
            "/a`b",
            "/a{b}",
            "/a[b]",
        ] {
            assert!(canonical(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_query_begins_at_the_first_question_mark() {
        assert_eq!(split("/a/b?c=/../d?e").unwrap(), 4);
        assert_eq!(split("/a").unwrap(), 2);
        for target in ["*", "http://a/b", "", "a/b", "/a b", "/a\tb", "/\u{e9}"] {
            assert_eq!(split(target).unwrap_err().reason, Reason::MalformedRequest, "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(target in "\\PC{0,60}") {
            let _ = split(&target);
        }

        /// What is accepted decodes to the same segments however often it is decoded.
        #[test]
        fn an_accepted_path_has_one_reading(path in "(/[a-z.%0-9A-F;\\\\]{0,6}){1,5}") {
            if canonical(&path).is_ok() {
                let once = percent_decode(&path);
                prop_assert_eq!(path.matches('/').count(), once.matches('/').count());
                prop_assert_eq!(percent_decode(&once), once.clone());
                prop_assert!(!once.contains("/../") && !once.contains("/./") && !once.contains("//"));
            }
        }
    }

    fn percent_decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            match (byte, tail) {
                (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                    bytes.push(hex(*high).unwrap() << 4 | hex(*low).unwrap());
                    rest = after;
                }
                _ => {
                    bytes.push(byte);
                    rest = tail;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
