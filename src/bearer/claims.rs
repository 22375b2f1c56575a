//! What the claims of a token have to say (RFC 7519, section 4.1; an app token's as Core reads
//! them). Wrong JSON types are refused, never taken for absence (R22).

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{Rejection, Rules};
use crate::{
    identity::{Identity, Proof},
    organisation::Organisation,
    permission::{Permission, PermissionSet},
    time::Timestamp,
};

/// 9999-12-31T23:59:59Z. Beyond it lies an issuer that counts milliseconds, and a token without
/// end; Core cannot read such a time either.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Whether the token comes from the issuer and is meant for the audience that the rules name.
pub(super) fn addressed(claims: &Map<String, Value>, rules: &Rules) -> Result<(), Rejection> {
    if claims.get("iss").and_then(Value::as_str) != Some(&*rules.issuer) {
        return Err(Rejection::WrongIssuer);
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == rules.audience,
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string)
                && audiences.iter().any(|audience| audience.as_str() == Some(&rules.audience))
        }
        _ => false,
    };
    if for_us { Ok(()) } else { Err(Rejection::WrongAudience) }
}

/// The identity that verified claims prove.
pub(super) fn identity(
    claims: Map<String, Value>,
    rules: &Rules,
    token: &SecretString,
    now: Timestamp,
) -> Result<Identity, Rejection> {
    let expires = Times::read(&claims)?.check(rules.leeway, now)?;
    let subject = name(claims.get("sub")).ok_or(Rejection::SubjectInvalid)?;
    let mut identity = Identity {
        proof: rules.proof,
        issuer: Arc::clone(&rules.issuer),
        subject,
        roles: Vec::new(),
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::default(),
        expires,
        token: token.clone(),
    };
    // What the pointer walks over is a `Value`; the members move in and out of it.
    let claims = Value::Object(claims);
    match rules.proof {
        Proof::AppToken => {
            identity.organisation = organisation(claims.get("organisationId"))?;
            identity.permissions = Some(permissions(claims.get("permissions"))?);
            identity.actor = actor(claims.get("act"))?;
        }
        Proof::IamToken | Proof::Session | Proof::Certificate | Proof::Extension => {
            let listed = rules.roles.as_deref().and_then(|pointer| claims.pointer(pointer));
            identity.roles = listed.map_or(Ok(Vec::new()), roles)?;
        }
    }
    if let Value::Object(claims) = claims {
        identity.claims = Arc::new(claims);
    }
    Ok(identity)
}

/// Whether an identity's token, verified before, is within its time now.
///
/// # Errors
/// [`Rejection::Expired`] or [`Rejection::NotYetValid`].
pub fn in_time(identity: &Identity, leeway: Duration, now: Timestamp) -> Result<(), Rejection> {
    Times::read(&identity.claims)?.check(leeway, now).map(|_| ())
}

/// The end of a token that is within its time.
pub(super) fn times(
    claims: &Map<String, Value>,
    leeway: Duration,
    now: Timestamp,
) -> Result<Timestamp, Rejection> {
    Times::read(claims)?.check(leeway, now)
}

/// `exp` and `nbf`, in seconds with fractions.
struct Times {
    expires: f64,
    not_before: Option<f64>,
}

impl Times {
    fn read(claims: &Map<String, Value>) -> Result<Self, Rejection> {
        let numeric = |name| claims.get(name).map(numeric_date).transpose();
        numeric("iat")?;
        Ok(Self {
            expires: numeric("exp")?.ok_or(Rejection::BadTime)?,
            not_before: numeric("nbf")?,
        })
    }

    /// The bounds are Core's: both ends belong to the token's time.
    fn check(&self, leeway: Duration, now: Timestamp) -> Result<Timestamp, Rejection> {
        // `now` has whole seconds, so rounding inwards changes no comparison with it.
        let expires = whole_seconds(self.expires.floor());
        let not_before = whole_seconds(self.not_before.unwrap_or(0.0).ceil());
        if expires < now - leeway {
            Err(Rejection::Expired)
        } else if not_before > now + leeway {
            Err(Rejection::NotYetValid)
        } else {
            Ok(expires)
        }
    }
}

/// `NumericDate`: a number, fractions allowed.
fn numeric_date(value: &Value) -> Result<f64, Rejection> {
    value.as_f64().filter(|seconds| *seconds <= LAST_SECOND).ok_or(Rejection::BadTime)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, at most LAST_SECOND, and times before 1970 are meant to become 0"
)]
fn whole_seconds(seconds: f64) -> Timestamp {
    Timestamp(seconds as u64)
}

/// A subject's or actor's name: 1 to 255 bytes (OpenID Connect Core, section 2), and nothing that
/// could end a line in somebody's log.
fn name(value: Option<&Value>) -> Option<Arc<str>> {
    let name = value?.as_str()?;
    let usable = (1..=255).contains(&name.len()) && !name.chars().any(char::is_control);
    usable.then(|| name.into())
}

/// Absent and `null` are the same to Core: a token without organisation.
fn organisation(value: Option<&Value>) -> Result<Option<Organisation>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => {
            Organisation::parse(id).map(Some).ok_or(Rejection::OrganisationInvalid)
        }
        Some(_) => Err(Rejection::OrganisationInvalid),
    }
}

fn roles(value: &Value) -> Result<Vec<Arc<str>>, Rejection> {
    let names = strings(value).ok_or(Rejection::RolesInvalid)?;
    Ok(names.into_iter().map(Arc::from).collect())
}

/// Unknown permissions are tolerated, as Core does; what is no permission's name grants nothing.
fn permissions(value: Option<&Value>) -> Result<PermissionSet, Rejection> {
    let Some(value) = value else { return Ok(PermissionSet::default()) };
    let names = strings(value).ok_or(Rejection::PermissionsInvalid)?;
    Ok(names.into_iter().filter_map(Permission::parse).collect())
}

/// Only the outermost actor counts (RFC 8693, section 4.1); an `act` that names nobody would
/// leave a delegated call without its author.
fn actor(value: Option<&Value>) -> Result<Option<Arc<str>>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(act) => name(act.get("sub")).map(Some).ok_or(Rejection::ActorInvalid),
    }
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}
