//! What of an access record is read.

use serde::Deserialize;

/// One record, as [`crate::telemetry::record`] writes it; other fields are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    pub(super) kind: String,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) route: Option<String>,
    pub(super) proof: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) roles: Vec<String>,
    pub(super) organisation: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) would_refuse: Option<String>,
}
