//! The request and answer of a token service that does not speak RFC 8693, as the configuration
//! describes them: a body with places, and where in the answer the token stands.
//!
//! What is filled in is escaped as the content type demands, and is not read again, so nothing
//! that stands in a token or a name can become part of the body's own structure.

use std::fmt::Write as _;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::form_urlencoded;

use crate::sts::exchange::ExchangeRequest;

/// How one token service is asked, and how it answers.
#[derive(Debug)]
pub struct Template {
    method: Method,
    content_type: String,
    escape: Escape,
    pieces: Vec<Piece>,
    token: String,
    expires_in: Option<String>,
}

/// A template as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// `Content-Type` of the request.
    pub content_type: &'a str,
    /// Its body.
    pub body: &'a str,
    /// JSON pointer to the token in the answer.
    pub token: &'a str,
    /// JSON pointer to its lifetime in seconds.
    pub expires_in: Option<&'a str>,
}

/// What is wrong with a template, and under which key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateFault {
    /// The key.
    pub key: &'static str,
    /// What, and what to write.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Json,
    Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SubjectToken,
    ActorToken,
    Organisation,
    Audience,
    Scope,
    ClientId,
}

const PLACES: [(&str, Place); 6] = [
    ("subject_token", Place::SubjectToken),
    ("actor_token", Place::ActorToken),
    ("organisation", Place::Organisation),
    ("audience", Place::Audience),
    ("scope", Place::Scope),
    ("client_id", Place::ClientId),
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn parse(written: Written<'_>) -> Result<Self, Vec<TemplateFault>> {
        let mut faults = Vec::new();
        let mut wrong = |key, message: &str| {
            faults.push(TemplateFault { key, message: message.to_owned() });
        };
        let method = [Method::POST, Method::PUT].into_iter().find(|m| *m == written.method);
        if method.is_none() {
            wrong("method", "must be POST or PUT; nothing else carries a token in its body");
        }
        let escape = escape(written.content_type);
        if escape.is_none() {
            wrong(
                "content_type",
                "must be application/json or application/x-www-form-urlencoded; how to write a \
                 token into anything else is not known",
            );
        }
        for (key, pointer) in [("token", Some(written.token)), ("expires_in", written.expires_in)] {
            if pointer.is_some_and(|pointer| !is_pointer(pointer)) {
                wrong(key, "must be a JSON pointer such as /accessToken");
            }
        }
        let pieces = match pieces(written.body) {
            Ok(pieces) => pieces,
            Err(name) => {
                let known = PLACES.map(|(name, _)| format!("{{{name}}}")).join(" ");
                wrong("body", &format!("{{{name}}} is not filled in; known are {known}"));
                Vec::new()
            }
        };
        if !pieces.is_empty() && !pieces.contains(&Piece::Place(Place::SubjectToken)) {
            wrong("body", "lacks {subject_token}; the service would not learn who is asking");
        }
        if escape == Some(Escape::Json) && !pieces.is_empty() && !is_json(&pieces) {
            wrong("body", "is no JSON once its places are filled in; each stands inside quotes");
        }
        let (Some(method), Some(escape), true) = (method, escape, faults.is_empty()) else {
            return Err(faults);
        };
        Ok(Self {
            method,
            content_type: written.content_type.to_owned(),
            escape,
            pieces,
            token: written.token.to_owned(),
            expires_in: written.expires_in.map(str::to_owned),
        })
    }

    /// Whether the service learns who acts for the subject.
    #[must_use]
    pub fn names_the_actor(&self) -> bool {
        self.pieces.contains(&Piece::Place(Place::ActorToken))
    }

    pub(super) const fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The body of one request. What the request has not got is filled in as nothing.
    pub(super) fn body(&self, request: &ExchangeRequest, client_id: Option<&str>) -> String {
        let organisation = request.organisation.map(|id| id.to_string());
        fill(&self.pieces, self.escape, |place| match place {
            Place::SubjectToken => request.subject_token.expose_secret(),
            Place::ActorToken => {
                request.actor.as_ref().map_or("", |actor| actor.token.expose_secret())
            }
            Place::Organisation => organisation.as_deref().unwrap_or_default(),
            Place::Audience => &request.audience,
            Place::Scope => request.scope.as_deref().unwrap_or_default(),
            Place::ClientId => client_id.unwrap_or_default(),
        })
    }

    /// Token and lifetime out of an answer; `None` when it has no token at its place, or
    /// something else than a number of seconds at the other.
    pub(crate) fn read(&self, answer: &[u8]) -> Option<(SecretString, Option<u64>)> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let token = answer.pointer(&self.token)?.as_str().filter(|token| !token.is_empty())?;
        let lifetime = self.expires_in.as_deref().and_then(|pointer| answer.pointer(pointer));
        let lifetime = match lifetime {
            None | Some(Value::Null) => None,
            Some(Value::String(seconds)) => Some(seconds.parse().ok()?),
            Some(seconds) => Some(seconds.as_u64()?),
        };
        Some((token.into(), lifetime))
    }
}

/// How values are written into a body of this type.
fn escape(content_type: &str) -> Option<Escape> {
    let essence = content_type.split(';').next()?.trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Some(Escape::Json),
        "application/x-www-form-urlencoded" => Some(Escape::Form),
        // RFC 6839, section 3.1.
        other if other.starts_with("application/") && other.ends_with("+json") => {
            Some(Escape::Json)
        }
        _ => None,
    }
    .filter(|_| http::HeaderValue::from_str(content_type).is_ok())
}

/// A name in braces is a place; any other brace is text, as JSON is full of them.
fn pieces(body: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = body;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let inner = from.strip_prefix('{').unwrap_or_default();
        let name = inner.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        if let Some(name) = name {
            let known = PLACES.iter().find(|(known, _)| *known == name);
            let (_, place) = known.ok_or_else(|| name.to_owned())?;
            pieces.extend([Piece::Text(std::mem::take(&mut text)), Piece::Place(*place)]);
            rest = inner.get(name.len() + 1..).unwrap_or_default();
        } else {
            text.push('{');
            rest = inner;
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn fill<'v>(pieces: &[Piece], escape: Escape, value: impl Fn(Place) -> &'v str) -> String {
    let mut body = String::new();
    for piece in pieces {
        match (piece, escape) {
            (Piece::Text(text), _) => body.push_str(text),
            (Piece::Place(place), Escape::Form) => {
                body.extend(form_urlencoded::byte_serialize(value(*place).as_bytes()));
            }
            (Piece::Place(place), Escape::Json) => {
                let quoted = Value::from(value(*place)).to_string();
                // Its own quotes stand in the template already.
                let inner = quoted.get(1..quoted.len().saturating_sub(1));
                let _ = body.write_str(inner.unwrap_or_default());
            }
        }
    }
    body
}

/// Whether every place stands inside a string: a lone quote would end it, unless it is escaped
/// there; a letter outside of one is no JSON.
fn is_json(pieces: &[Piece]) -> bool {
    ["x", "\""].iter().all(|sample| {
        let filled = fill(pieces, Escape::Json, |_| sample);
        serde_json::from_str::<Value>(&filled).is_ok()
    })
}

/// RFC 6901, section 3. The whole answer is no token.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests;
