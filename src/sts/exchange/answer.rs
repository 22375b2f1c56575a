//! What a token service answers (RFC 8693, section 2.2; RFC 6749, section 5.2).

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{ExchangeError, unavailable};

/// A token that nobody has looked at, and how long it lives by the service's own word.
pub(crate) struct Answer {
    pub(crate) token: SecretString,
    pub(crate) lifetime: Option<u64>,
}

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Section 2.2.1 of RFC 8693.
#[derive(Deserialize)]
struct TokenResponse {
    #[serde(deserialize_with = "secret")]
    access_token: SecretString,
    issued_token_type: Option<String>,
    token_type: String,
    expires_in: Option<u64>,
}

impl Answer {
    /// Reads the answer to a request for a token of the type `requested`.
    pub(crate) fn read(body: &[u8], requested: &str) -> Result<Self, ExchangeError> {
        // JSON is UTF-8 (RFC 8259, section 8.1), also in what is not looked at here. The parser's own
        // message could quote the token.
        let text = std::str::from_utf8(body).unwrap_or_default();
        let response: TokenResponse = serde_json::from_str(text)
            .map_err(|_| unavailable("the answer is not a token response"))?;
        response.check(requested)?;
        Ok(Self { token: response.access_token, lifetime: response.expires_in })
    }
}

impl TokenResponse {
    fn check(&self, requested: &str) -> Result<(), ExchangeError> {
        // `N_A` is RFC 8693's word for a token that is used in some other way than its type says.
        let usable =
            ["Bearer", "N_A"].iter().any(|kind| self.token_type.eq_ignore_ascii_case(kind));
        // Left out by services that know one type only; one that we cannot use is a fault.
        let kind = self.issued_token_type.as_deref();
        let expected = kind.is_none_or(|kind| [requested, ACCESS_TOKEN, JWT].contains(&kind));
        let fault = if !usable {
            "token_type is neither Bearer nor N_A"
        } else if !expected {
            "issued_token_type is not the one asked for"
        } else {
            return Ok(());
        };
        Err(ExchangeError::Unacceptable(fault.to_owned()))
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// `error` of RFC 6749, section 5.2, when it is fit for a log line.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: String,
    }
    let code = serde_json::from_slice::<ErrorResponse>(body).ok()?.error;
    let plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    (plain && (1..=64).contains(&code.len())).then_some(code)
}
