//! An upstream that shows its static token to a client has given it away; some servers write
//! request headers into their answers. Their bodies are theirs, their headers pass here.

use http::{HeaderMap, HeaderName};

/// Names of the headers that show the token.
pub(super) fn of(token: &str, headers: &HeaderMap) -> Vec<HeaderName> {
    let credential = format!("Bearer {token}");
    // A short word stands in many a header by chance.
    let sought = if token.len() < DISTINCT { &credential } else { token };
    let shows = |value: &[u8]| value.windows(sought.len()).any(|part| part == sought.as_bytes());
    headers
        .keys()
        .filter(|name| headers.get_all(*name).iter().any(|it| shows(it.as_bytes())))
        .cloned()
        .collect()
}

/// Bytes that no header holds by chance.
const DISTINCT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_the_token() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-plain", "a test"),
            ("x-echo", "authorization: Bearer test"),
            ("x-long", "a-token-that-is-long-enough"),
            ("x-twice", "harmless"),
            ("x-twice", "<a-token-that-is-long-enough>"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let names = |token| of(token, &headers).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("test"), ["x-echo"]);
        let mut long = names("a-token-that-is-long-enough");
        long.sort();
        assert_eq!(long, ["x-long", "x-twice"]);
    }
}
