//! What we read of a token response beyond OpenID Connect Core, and nothing that it has to hold:
//! a member of another type is as good as none.

use std::{sync::Arc, time::Duration};

use openidconnect::{
    AdditionalClaims, ExtraTokenFields, IdTokenClaims, IdTokenFields, StandardTokenResponse,
    core::{
        CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Timestamp;

/// The answer of the token endpoint.
pub(crate) type TokenAnswer = StandardTokenResponse<
    IdTokenFields<
        SessionClaims,
        RefreshEnd,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// The claims of an ID token.
pub(super) type IdClaims = IdTokenClaims<SessionClaims, CoreGenderClaim>;

/// What an ID token says of the provider's session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SessionClaims {
    /// OpenID Connect Front-Channel Logout 1.0, section 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Value>,
    /// OpenID Connect Enterprise Extensions 1.0 (draft): seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_expiry: Option<Value>,
}

impl AdditionalClaims for SessionClaims {}

impl SessionClaims {
    /// `sid`, where it is a name that a cookie can carry.
    pub(super) fn provider_session(&self) -> Option<Arc<str>> {
        let sid = self.sid.as_ref()?.as_str()?;
        (1..=255).contains(&sid.len()).then(|| sid.into())
    }

    /// The end of the provider's session.
    pub(super) fn session_end(&self) -> Option<Timestamp> {
        self.session_expiry.as_ref()?.as_u64().map(Timestamp)
    }
}

/// Keycloak's end of a refresh token, and so of its session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RefreshEnd {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<Value>,
}

impl ExtraTokenFields for RefreshEnd {}

impl RefreshEnd {
    /// When the refresh token is over; 0 stands for never.
    pub(super) fn at(&self, now: Timestamp) -> Option<Timestamp> {
        let seconds = self.refresh_expires_in.as_ref()?.as_u64()?;
        (seconds > 0).then(|| now + Duration::from_secs(seconds))
    }
}

/// The earlier of two ends, where there are any.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
