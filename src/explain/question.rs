//! What `explain` is asked: a request that nobody sends, and who would send it.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Kind;
use crate::organisation::Organisation;

/// A request that somebody could send.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The method, as it would be sent.
    pub method: String,
    /// Path and query, as they would be sent.
    pub target: String,
    /// `Host`; by default that of the public origin.
    pub host: Option<String>,
    /// Further header lines, in order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; `Content-Length` is added, unless the headers frame it.
    pub body: Option<Bytes>,
    /// The other end of the connection; `None`: an address that may come in, where that counts,
    /// and otherwise none that is known.
    pub client: Option<IpAddr>,
    /// Who asks.
    pub who: Who,
}

/// Who asks a [`Question`].
#[derive(Clone, Debug, Default)]
pub enum Who {
    /// Nobody, or whoever the question's own headers prove.
    #[default]
    Nobody,
    /// The bearer of a token, which is verified with the issuer's keys.
    Bearer(SecretString),
    /// The bearer of a token with these claims, whose signature is taken to be good. Missing
    /// `iss`, `aud`, `exp` and `sub` are filled in; what is there is judged as it stands.
    Claims {
        /// Which kind of token.
        kind: Kind,
        /// Its claims.
        claims: Map<String, Value>,
    },
    /// A browser that has logged in with an IAM token of these claims.
    Session {
        /// The claims of the IAM token, filled in as above.
        claims: Map<String, Value>,
        /// The organisation that the user has chosen.
        organisation: Option<Organisation>,
    },
}

impl Question {
    /// The same with a body: JSON, unless its headers say otherwise.
    #[must_use]
    pub fn carrying(mut self, body: Bytes) -> Self {
        if !self.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
            let json = HeaderValue::from_static("application/json");
            self.headers.push((header::CONTENT_TYPE, json));
        }
        self.body = Some(body);
        self
    }
}

/// A header line such as `Accept: text/html`.
///
/// # Errors
/// Why it is none.
pub fn header_line(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("has no colon; write NAME: VALUE")?;
    let name = name.parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value =
        value.trim().parse().map_err(|_| "the value has characters that no header can carry")?;
    Ok((name, value))
}
