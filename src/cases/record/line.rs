//! What of an access record is read.

use serde::Deserialize;

use crate::organisation::Organisation;

/// One record, as [`crate::telemetry::record`] writes it; other fields are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    pub(super) kind: String,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    /// With `*` in place of values that may be secrets.
    pub(super) query: Option<String>,
    pub(super) route: Option<String>,
    pub(super) proof: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) roles: Vec<String>,
    /// For an app token.
    pub(super) permissions: Option<Vec<String>>,
    /// That of the token or session.
    pub(super) own_organisation: Option<Organisation>,
    /// That which the request named, where it was refused.
    pub(super) named: Option<Organisation>,
    /// That which was decided on.
    pub(super) organisation: Option<Organisation>,
    pub(super) decision: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) would_refuse: Option<String>,
}
