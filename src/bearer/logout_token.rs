//! The provider's logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4 and 2.6).
//!
//! Read as strictly as the tokens that let somebody in: one that is forged, of another client or
//! replayed would log people out. Whether it came before is for its reader to remember.

#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{Header, KeySet, Parts, Rejection, Rules, claims, decoded_object};
use crate::{identity::Proof, time::Timestamp};

/// Who is logged out, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// `jti`: a token counts once.
    pub id: String,
    /// `sub`: all of this subject's sessions, where `provider_session` names none.
    pub subject: Option<String>,
    /// `sid`: the sessions that belong to this one of the provider.
    pub provider_session: Option<String>,
    /// From here on it would be refused as expired, so `id` need not be remembered for longer.
    pub remember_until: Timestamp,
}

/// Verifies a logout token, with the rules of the provider's ID tokens: `rules.audience` is the
/// gateway's client.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn verify(
    token: &SecretString,
    keys: &KeySet,
    rules: &Rules,
    now: Timestamp,
) -> Result<LogoutToken, Rejection> {
    let parts = Parts::split(token.expose_secret())?;
    let header = Header::read(parts.header)?;
    // An ID token and a logout token say almost the same; `typ` and `events` tell them apart.
    match header.0.get("typ").map(Value::as_str) {
        None => {}
        Some(Some(typ)) if TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)) => {}
        Some(_) => return Err(Rejection::NotALogoutToken),
    }
    let algorithm = header.algorithm(rules)?;
    let claims = decoded_object(parts.claims)?;
    claims::addressed(&claims, rules)?;
    let kid = header.kid(Proof::IamToken)?;
    let signed = keys
        .candidates(kid, algorithm)?
        .iter()
        .any(|key| key.verifies(parts.signed.as_bytes(), parts.signature, algorithm));
    if !signed {
        return Err(Rejection::BadSignature);
    }
    let expires = claims::times(&claims, rules.leeway, now)?;
    let issued = claims.get("iat").and_then(Value::as_f64).ok_or(Rejection::BadTime)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age of the world fit")]
    if issued > (now + rules.leeway).0 as f64 {
        return Err(Rejection::NotYetValid);
    }
    // A nonce makes it an ID token that somebody tries to pass off (section 2.4).
    let is_logout =
        claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object);
    if !is_logout || claims.contains_key("nonce") {
        return Err(Rejection::NotALogoutToken);
    }
    let (subject, provider_session) = (name(&claims, "sub")?, name(&claims, "sid")?);
    if subject.is_none() && provider_session.is_none() {
        return Err(Rejection::SubjectInvalid);
    }
    Ok(LogoutToken {
        id: name(&claims, "jti")?.ok_or(Rejection::NotALogoutToken)?,
        subject,
        provider_session,
        remember_until: expires + rules.leeway + std::time::Duration::from_secs(1),
    })
}

/// A claim that, where it is there, is a name.
fn name(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, Rejection> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let name = value.as_str().filter(|name| (1..=255).contains(&name.len()));
    name.filter(|name| !name.chars().any(char::is_control))
        .map(|name| Some(name.to_owned()))
        .ok_or(Rejection::SubjectInvalid)
}

/// `logout+jwt` is recommended and many providers leave it out.
const TYPES: [&str; 3] = ["logout+jwt", "application/logout+jwt", "JWT"];

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
