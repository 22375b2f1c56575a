//! What Core 1.74.2 makes of a request's organisation: its own crates, with its own settings, for
//! the tests and fuzz targets that compare with it.

use serde::Deserialize;
use uuid::Uuid;

use super::Organisation;

/// How Core 1.74.2 reads a query: depth 2, not strict, brackets plain or percent-encoded.
pub(crate) fn core_reads<'de, T: Deserialize<'de>>(query: &'de str) -> Option<T> {
    serde_qs::Config::new(2, false).deserialize_bytes(query.as_bytes()).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct One {
    pub(crate) organisation_id: Option<Uuid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Many {
    pub(crate) organisation_ids: Option<Vec<Uuid>>,
}

#[derive(Deserialize)]
pub(crate) struct Flat<T> {
    #[serde(flatten)]
    pub(crate) filter: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    pub(crate) organisation_id: Option<Uuid>,
    pub(crate) schema: Option<Box<Body>>,
}

/// Whatever Core accepts, and however it reads it, is what was decided on.
pub(crate) fn agrees(decided: Option<Organisation>, core: &[Uuid]) -> bool {
    match decided {
        Some(decided) => core.iter().all(|one| *one.as_bytes() == decided.into_bytes()),
        None => core.is_empty(),
    }
}
