//! Our exchange endpoint (RFC 8693): what a request asks for, and the answers.
//!
//! Whoever holds an IAM token may exchange it; there are no clients here, so one that presents
//! its own credentials is told that they count for nothing. `organisationId` names the
//! organisation and `scope` the permissions, as another gateway's `sts.exchange` sends them.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::form_urlencoded;

use crate::{
    answer::Answer,
    bearer::MAX_TOKEN,
    organisation::Organisation,
    permission::{Permission, PermissionSet},
    refusal::{Reason, Refusal},
    sts::AppToken,
    time::Timestamp,
};

/// Where it is.
pub const PATH: &str = "/sts/token";
/// The largest form that it reads, in bytes: a token, and as much as the rest may need.
pub const LARGEST: usize = MAX_TOKEN + 8 * 1024;

/// A well-formed request.
#[derive(Debug)]
pub struct Asked {
    /// Whose token is wanted.
    pub subject_token: SecretString,
    /// Who is to act for its subject, by their own token.
    pub actor_token: Option<SecretString>,
    /// For which upstream.
    pub audience: Option<String>,
    /// In which organisation.
    pub organisation: Option<Organisation>,
    /// With which permissions at most; `None` for all.
    pub permissions: Option<PermissionSet>,
    issued_token_type: &'static str,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// RFC 6749, section 5.2; RFC 8693, section 2.2.2.
    pub error: &'static str,
    /// For the client's developer.
    pub description: &'static str,
    /// For records.
    pub reason: Reason,
    /// When it is worth another try.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// An error with its description.
    #[must_use]
    pub const fn new(error: &'static str, reason: Reason, description: &'static str) -> Self {
        Self { error, description, reason, retry_after: None }
    }

    /// What a refusal of the subject token, or of the token service, is called here. RFC 8693
    /// demands `invalid_request` for a subject token that is of no use, whatever the cause.
    #[must_use]
    pub fn from_refusal(refusal: &Refusal) -> Self {
        let reason = refusal.reason;
        let (error, description) = match reason {
            _ if reason.status() >= 500 => (UNAVAILABLE, "the token cannot be issued now"),
            Reason::CredentialExpired => (INVALID_REQUEST, "subject_token has expired"),
            Reason::DelegationNotAllowed => {
                (INVALID_REQUEST, "this actor may not act on behalf of this subject")
            }
            _ => (INVALID_REQUEST, "subject_token is no valid IAM token"),
        };
        Self { retry_after: refusal.retry_after, ..Self::new(error, reason, description) }
    }

    /// The same for the actor token.
    #[must_use]
    pub fn of_actor(refusal: &Refusal) -> Self {
        let fault = Self::from_refusal(refusal);
        let description = match refusal.reason {
            reason if reason.status() >= 500 => return fault,
            Reason::CredentialExpired => "actor_token has expired",
            _ => "actor_token is no valid IAM token",
        };
        Self { description, ..fault }
    }

    /// The answer (RFC 6749, section 5.2).
    #[must_use]
    pub fn answer(&self) -> Answer {
        let status = match self.error {
            INVALID_CLIENT => StatusCode::UNAUTHORIZED,
            UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "error": self.error, "error_description": self.description });
        let answer = json_answer(status, &body);
        match status {
            StatusCode::UNAUTHORIZED => answer.with(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"portcullis\""),
            ),
            StatusCode::SERVICE_UNAVAILABLE => {
                let after = self.retry_after.map_or(1, |after| after.as_secs().max(1));
                answer.with(header::RETRY_AFTER, HeaderValue::from(after))
            }
            _ => answer,
        }
    }
}

impl Asked {
    /// Reads a form (RFC 8693, section 2.1).
    ///
    /// # Errors
    /// Whatever of it is missing, there twice, or nothing that we do.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, Fault> {
        let kind = content_type.and_then(|value| value.split(';').next()).map(str::trim);
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(FORM)) {
            return Err(malformed("the body is not application/x-www-form-urlencoded"));
        }
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name, value).is_some() {
                return Err(malformed("a parameter is there twice"));
            }
        }
        // A parameter without a value counts as left out (RFC 6749, section 3.2).
        fields.retain(|_, value| !value.is_empty());
        let mut take = |name: &str| fields.remove(name).map(std::borrow::Cow::into_owned);
        if take("client_secret").or_else(|| take("client_assertion")).is_some() {
            return Err(no_clients());
        }
        match take("grant_type") {
            None => return Err(malformed("grant_type is missing")),
            Some(grant) if grant == GRANT => {}
            Some(_) => {
                let error = "unsupported_grant_type";
                return Err(Fault::new(error, Reason::MalformedRequest, "only token exchange"));
            }
        }
        if take("resource").is_some() {
            return Err(no_target("name the target by audience, not by resource"));
        }
        let subject_token = take("subject_token").ok_or(malformed("subject_token is missing"))?;
        if token_type(take("subject_token_type").as_deref()).is_none() {
            return Err(malformed("subject_token_type is neither access_token nor jwt"));
        }
        let actor_token = match (take("actor_token"), take("actor_token_type")) {
            (None, None) => None,
            (None, Some(_)) => return Err(malformed("actor_token_type without actor_token")),
            (Some(_), None) => return Err(malformed("actor_token_type is missing")),
            (Some(_), kind) if token_type(kind.as_deref()).is_none() => {
                return Err(malformed("actor_token_type is neither access_token nor jwt"));
            }
            (Some(token), _) => Some(SecretString::from(token)),
        };
        let wanted = take("requested_token_type");
        let issued_token_type = match &wanted {
            None => ACCESS_TOKEN,
            Some(_) => token_type(wanted.as_deref())
                .ok_or(malformed("requested_token_type is neither access_token nor jwt"))?,
        };
        let organisation = match take("organisationId") {
            None => None,
            Some(text) => Some(Organisation::parse(&text).ok_or(Fault::new(
                INVALID_REQUEST,
                Reason::OrganisationInvalid,
                "organisationId is no UUID",
            ))?),
        };
        let permissions = match take("scope") {
            None => None,
            Some(scope) => Some(read_scope(&scope).ok_or(no_scope("scope is no list of names"))?),
        };
        let subject_token = subject_token.into();
        let audience = take("audience");
        Ok(Self {
            subject_token,
            actor_token,
            audience,
            organisation,
            permissions,
            issued_token_type,
        })
    }

    /// The answer with the token (RFC 8693, section 2.2.1).
    #[must_use]
    pub fn answer(&self, token: &AppToken, now: Timestamp) -> Answer {
        let issued = &token.issued;
        let names: Vec<_> = issued.permissions.iter().map(Permission::as_str).collect();
        let body = json!({
            "access_token": issued.token.expose_secret(),
            "issued_token_type": self.issued_token_type,
            "token_type": "Bearer",
            "expires_in": issued.expires.since(now).as_secs(),
            "scope": names.join(" "),
        });
        json_answer(StatusCode::OK, &body)
    }
}

/// Client credentials mean nothing here.
#[must_use]
pub const fn no_clients() -> Fault {
    let why = "this token service has no clients; send no client credentials";
    Fault::new(INVALID_CLIENT, Reason::ClientNotAllowed, why)
}

/// The audience is none of ours.
#[must_use]
pub const fn no_target(why: &'static str) -> Fault {
    Fault::new("invalid_target", Reason::MalformedRequest, why)
}

/// Nothing of the scope can be had.
#[must_use]
pub const fn no_scope(why: &'static str) -> Fault {
    Fault::new("invalid_scope", Reason::PermissionMissing, why)
}

/// The caller has no rights where the token is asked for.
#[must_use]
pub const fn no_grant(reason: Reason, why: &'static str) -> Fault {
    Fault::new("invalid_grant", reason, why)
}

/// The request itself is wrong.
#[must_use]
pub const fn malformed(why: &'static str) -> Fault {
    Fault::new(INVALID_REQUEST, Reason::MalformedRequest, why)
}

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const INVALID_REQUEST: &str = "invalid_request";
const INVALID_CLIENT: &str = "invalid_client";
const UNAVAILABLE: &str = "temporarily_unavailable";

fn token_type(uri: Option<&str>) -> Option<&'static str> {
    [ACCESS_TOKEN, JWT].into_iter().find(|known| Some(*known) == uri)
}

fn read_scope(scope: &str) -> Option<PermissionSet> {
    scope.split(' ').filter(|name| !name.is_empty()).map(Permission::parse).collect()
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    Answer::json(status, "application/json", body)
        .with(header::PRAGMA, HeaderValue::from_static("no-cache"))
}

#[cfg(test)]
mod tests;
