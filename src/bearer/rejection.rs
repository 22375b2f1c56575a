//! Why a token is not accepted. No variant holds any part of the token.

use std::fmt;

use crate::refusal::{Reason, Refusal};

macro_rules! rejections {
    ($($(#[doc = $doc:literal])+ $variant:ident = $detail:literal;)+) => {
        /// Why [`verify`](super::verify) refused a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rejection {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Rejection {
            /// Every rejection, in the order in which they are tried.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// One fixed sentence for the log: it quotes nothing from the token.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

rejections! {
    /// Longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    TooLong = "the token is too long";
    /// Not three base64url parts, or header or claims are no strict JSON object.
    Malformed = "the token is not a well-formed JWS in compact form";
    /// `crit`, `b64`, `jwk`, `jku` or `x5u`: the token wants to choose its own rules or keys.
    HeaderForbidden = "the token's header has a parameter that is never accepted";
    /// `alg` is unknown, not on the allow-list, or not one that the key is for.
    AlgorithmNotAllowed = "the token's algorithm is not allowed";
    /// `iss` is not the one that the rules name.
    WrongIssuer = "the token's issuer is another";
    /// `aud` does not contain the audience, or is neither string nor array of strings.
    WrongAudience = "the token is for another audience";
    /// No `kid`, and more than one key could be meant, or an app token.
    KeyIdMissing = "the token names no key";
    /// The key set has no key of this `kid`.
    UnknownKey = "the token's key is unknown";
    /// No candidate key verifies the signature.
    BadSignature = "the token's signature is wrong";
    /// `exp` is missing, or `exp`, `nbf` or `iat` is not a number that is a time.
    BadTime = "the token's exp, nbf or iat is not a time";
    /// Its time is over.
    Expired = "the token has expired";
    /// Its time has not begun.
    NotYetValid = "the token is not valid yet";
    /// `sub` is missing, empty, longer than 255 bytes, or has control characters.
    SubjectInvalid = "the token's subject is missing or unusable";
    /// `typ`, `events`, `nonce` or `jti` is not that of a logout token.
    NotALogoutToken = "the token is not a logout token";
    /// `organisationId` is not a UUID.
    OrganisationInvalid = "the token's organisation is not a UUID";
    /// `permissions` is not an array of strings.
    PermissionsInvalid = "the token's permissions are not an array of strings";
    /// `act` is present and names no actor.
    ActorInvalid = "the token's act claim names no actor";
    /// What the roles' pointer points at is not an array of strings.
    RolesInvalid = "the token's roles are not an array of strings";
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let reason = match rejection {
            Rejection::Expired => Reason::CredentialExpired,
            _ => Reason::CredentialInvalid,
        };
        Self::new(reason, rejection.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_expired_token_is_called_expired() {
        for &rejection in Rejection::ALL {
            let refusal = Refusal::from(rejection);
            let expired = refusal.reason == Reason::CredentialExpired;
            assert_eq!(expired, rejection == Rejection::Expired, "{rejection}");
            assert_eq!(refusal.reason.status(), 401);
            assert_eq!(refusal.detail, rejection.detail());
        }
    }
}
