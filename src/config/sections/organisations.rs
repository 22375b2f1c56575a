//! Organisations, and what roles permit in them.

use crate::config::read::section;
use crate::organisation::Organisation;

section! {
    /// An organisation.
    pub struct OrganisationEntry {
        /// For people.
        name: Option<String> = "null",
        /// Permissions nobody exceeds here; null: no ceiling.
        ceiling: Option<Vec<String>> = "null",
    }
}

/// The key of an organisation in `iam_roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrganisationKey {
    /// `*`: every organisation listed under `organisations`.
    Every,
    /// One of them.
    One(Organisation),
}

/// A named set of permissions: a list, or `{ permissions, delegation }`.
#[derive(Clone, Debug)]
pub struct SystemRole {
    /// Names; `*` only at the end of one.
    pub permissions: Vec<String>,
    /// `Some`: only on behalf of a user; empty: any user, else users who hold one of the listed.
    pub delegation: Option<Vec<String>>,
}
