//! Every way in which a request is turned away, in one table.
//!
//! A [`Refusal`] has two audiences. The client learns its status, a title and one stable word,
//! the [`Reason`]; the same word stands in the access record, the audit record, the metric's
//! label and in `explain`. What helps an operator (which rule, which claim) is the `detail`: it
//! goes to the log and never to the client, and it must never hold a credential.
//!
//! No status code of a refusal is written anywhere else.

use std::{borrow::Cow, fmt, time::Duration};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal, $status:literal, $title:literal;)+) => {
        /// Why a request was refused: one word that clients, dashboards and alerts rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the table in README.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// One sentence for people, the same for every request.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

reasons! {
    /// The request breaks HTTP's grammar or a rule that keeps two readers from reading it apart.
    MalformedRequest = "malformed_request", 400, "The request is malformed.";
    /// The path has more than one reading.
    AmbiguousPath = "ambiguous_path", 400, "The path has more than one reading.";
    /// A header that decides something was sent twice.
    DuplicateHeader = "duplicate_header", 400, "A header that may be sent once was sent more than once.";
    /// The route needs an organisation and nothing names one.
    OrganisationMissing = "organisation_missing", 400, "The request names no organisation.";
    /// What names the organisation is not a UUID, or two places disagree.
    OrganisationInvalid = "organisation_invalid", 400, "The organisation cannot be read with certainty.";
    /// A login's callback that belongs to no login of this browser.
    InvalidCallback = "invalid_callback", 400, "This login cannot be completed. Please start again.";
    /// No credential was presented.
    CredentialMissing = "credential_missing", 401, "A credential is required.";
    /// A credential was presented and is not acceptable.
    CredentialInvalid = "credential_invalid", 401, "The credential is not valid here.";
    /// The credential was good and its time is over.
    CredentialExpired = "credential_expired", 401, "The credential has expired.";
    /// The session's idle or absolute time is over.
    SessionExpired = "session_expired", 401, "The session has ended. Please log in again.";
    /// The caller lacks the route's permissions in this organisation.
    PermissionMissing = "permission_missing", 403, "A required permission is missing.";
    /// The caller has no role that counts in this organisation.
    RoleMissing = "role_missing", 403, "A required role is missing.";
    /// The route's condition is false, or could not be evaluated.
    ConditionFailed = "condition_failed", 403, "A condition of this route is not met.";
    /// The request names an organisation in which the caller may not act.
    OrganisationMismatch = "organisation_mismatch", 403, "The organisation is not one of the caller's.";
    /// The client's network or certificate is not on the list.
    ClientNotAllowed = "client_not_allowed", 403, "This client is not allowed here.";
    /// The service may not act for this user.
    DelegationNotAllowed = "delegation_not_allowed", 403, "Acting on behalf of this user is not allowed.";
    /// A state-changing request of ours came from another origin.
    OriginMismatch = "origin_mismatch", 403, "The request came from another origin.";
    /// The token service refused the exchange.
    StsRefused = "sts_refused", 403, "The token service refused the exchange.";
    /// No route has this path.
    NoRoute = "no_route", 404, "There is nothing here.";
    /// A route has this path, with other methods.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here.";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time.";
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, "The body is too large.";
    /// The request target is longer than the limit.
    TargetTooLong = "target_too_long", 414, "The request target is too long.";
    /// The Host is none of ours.
    UnknownHost = "unknown_host", 421, "This host is not served here.";
    /// Too many requests from this client or caller.
    RateLimited = "rate_limited", 429, "Too many requests.";
    /// The head is larger than the limit.
    HeadersTooLarge = "headers_too_large", 431, "The request's headers are too large.";
    /// The upstream could not be reached or broke off.
    UpstreamFailed = "upstream_failed", 502, "The upstream failed.";
    /// The store of sessions gives no answer.
    SessionUnavailable = "session_unavailable", 503, "Sessions cannot be looked up just now.";
    /// The IAM provider does not answer, so nobody can be authenticated or logged in.
    IamUnavailable = "iam_unavailable", 503, "The identity provider is not available.";
    /// The token service does not answer.
    StsUnavailable = "sts_unavailable", 503, "The token service is not available.";
    /// No server of the upstream is healthy.
    UpstreamUnavailable = "upstream_unavailable", 503, "The upstream is not available.";
    /// The audit record cannot be written.
    AuditUnavailable = "audit_unavailable", 503, "The audit log is not available.";
    /// The gateway is shutting down.
    Draining = "draining", 503, "The gateway is shutting down.";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "The upstream did not answer in time.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A request turned away: what the client learns, and what the log adds.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The stable word; status and title follow from it.
    pub reason: Reason,
    /// For the log alone. Never holds a credential or any part of one.
    pub detail: Cow<'static, str>,
    /// `Retry-After`, rounded up to whole seconds; 503 and 429 always carry one.
    pub retry_after: Option<Duration>,
    /// `Allow`, for a 405.
    pub allow: Option<String>,
}

impl Refusal {
    /// A refusal with what the operator should know of it.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(reason.status(), 429 | 503).then_some(Duration::from_secs(5));
        Self { reason, detail: detail.into(), retry_after, allow: None }
    }

    /// The same, with the time after which another try is worth it.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The `WWW-Authenticate` value that goes with it, where one does (RFC 6750, section 3).
    ///
    /// `error` is left out when nothing was presented, as 3.1 asks.
    #[must_use]
    pub const fn challenge(&self) -> Option<&'static str> {
        match self.reason {
            Reason::CredentialMissing => Some("Bearer realm=\"portcullis\""),
            Reason::CredentialInvalid | Reason::CredentialExpired | Reason::SessionExpired => {
                Some("Bearer realm=\"portcullis\", error=\"invalid_token\"")
            }
            Reason::PermissionMissing | Reason::RoleMissing => {
                Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\"")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_snake_case() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        words.sort_unstable();
        let before = words.len();
        words.dedup();
        assert_eq!(words.len(), before);
    }

    #[test]
    fn every_503_and_429_says_when_to_come_back() {
        for &reason in Reason::ALL {
            let carries = Refusal::new(reason, "").retry_after.is_some();
            assert_eq!(carries, matches!(reason.status(), 429 | 503), "{reason}");
        }
    }
}
