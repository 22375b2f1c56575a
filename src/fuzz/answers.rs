//! What those say whom the gateway asks: a token service, Redis, an issuer.

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{choice, halves};
use crate::{
    bearer::keys::KeySet,
    config::RedisUrl,
    oidc::response::TokenAnswer,
    session::Session,
    sessions::redis_store::record::Record,
    sts::{
        exchange::answer::{ACCESS_TOKEN, Answer, error_code},
        template::{Template, Written},
    },
};
use secrecy::ExposeSecret as _;

/// An answer of a token service, by RFC 8693 and by a template, or its error.
pub(super) fn sts_answer(input: &[u8]) {
    let (pointer, body) = halves(input);
    if let Ok(answer) = Answer::read(body, ACCESS_TOKEN) {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        assert_eq!(text("access_token"), Some(answer.token.expose_secret()));
        assert_eq!(json.get("expires_in").and_then(Value::as_u64), answer.lifetime);
        let kind = text("token_type").unwrap_or_default().to_ascii_lowercase();
        assert!(["bearer", "n_a"].contains(&&*kind), "{kind}");
    }
    if let Some(code) = error_code(body) {
        assert!((1..=64).contains(&code.len()));
        assert!(code.bytes().all(|byte| byte.is_ascii_graphic()), "{code:?} in a log line");
    }
    let pointer = std::str::from_utf8(pointer).unwrap_or("/t");
    let template = Template::parse(Written {
        method: "POST",
        content_type: "application/json",
        body: r#"{"token":"{subject_token}"}"#,
        token: pointer,
        expires_in: Some("/expiresIn"),
    });
    if let Ok(template) = template
        && let Some((token, _)) = template.read(body)
    {
        assert!(!token.expose_secret().is_empty());
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let there = json.pointer(pointer).and_then(Value::as_str);
        assert_eq!(there, Some(token.expose_secret()));
    }
}

/// A key set or a token response of the provider.
pub(super) fn documents(input: &[u8]) {
    let (chosen, document) = choice(input);
    if chosen & 1 == 0 {
        let allowed = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];
        let Ok(set) = KeySet::parse(document, &allowed) else { return };
        let json: Value = serde_json::from_slice(document).unwrap_or_default();
        let all = json.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
        assert_eq!(set.len() + set.skipped(), all.len());
        let may_verify = |key: &&Value| {
            let kind = key.get("kty").and_then(Value::as_str);
            kind.is_some_and(|kind| ["OKP", "EC", "RSA"].contains(&kind)) && key.get("d").is_none()
        };
        // A shared secret or a private key verifies nothing (R21).
        assert!(set.len() <= all.iter().filter(may_verify).count());
        let again = KeySet::parse(document, &allowed);
        assert!(again.is_ok_and(|again| again.generation() == set.generation()));
    } else {
        let _ = serde_json::from_slice::<TokenAnswer>(document);
    }
}

/// A session's record in Redis, and the URL that leads there.
pub(super) fn redis(input: &[u8]) {
    let (chosen, rest) = choice(input);
    let Ok(record) = Record::of(&[chosen; 16]) else { return };
    let (revision, body) = halves(rest);
    let revision = String::from_utf8_lossy(revision);
    // Whoever writes into Redis has no key.
    assert!(record.open(&revision, body).is_none(), "a record nobody sealed");
    if let Some(session) = Session::from_bytes(body) {
        let Ok(mut sealed) = record.seal(&session) else { return };
        let own = session.revision.to_string();
        let opened = record.open(&own, &sealed).map(|session| session.to_bytes());
        assert_eq!(opened, Some(session.to_bytes()));
        assert!(own == revision || record.open(&revision, &sealed).is_none(), "another revision");
        let other = Record::of(&[chosen.wrapping_add(1); 16]);
        assert!(other.is_ok_and(|other| other.open(&own, &sealed).is_none()), "another's record");
        let length = sealed.len();
        if let Some(byte) = sealed.get_mut(usize::from(chosen) * 7 % length) {
            *byte ^= 1;
            assert!(record.open(&own, &sealed).is_none(), "a changed bit opens");
        }
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Ok(url) = RedisUrl::parse(text)
    {
        assert!(!url.hosts.is_empty());
        if let Some(password) = &url.password
            && password.expose_secret().len() > 8
        {
            assert!(!format!("{url:?}").contains(password.expose_secret()), "a password prints");
        }
    }
}
