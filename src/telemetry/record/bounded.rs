//! Lists of names from outside, as far as a record shows them.

use std::sync::Arc;

/// Roles, or permissions, that a record lists at most.
pub(super) const MOST: usize = 64;

/// `None` when there is none; a name of absurd length is cut.
pub(super) fn bounded(names: &[Arc<str>]) -> Option<Vec<&str>> {
    let cut = |name: &'_ Arc<str>| name.char_indices().nth(128).map_or(name.len(), |(at, _)| at);
    let bounded = names.iter().filter_map(|name| name.get(..cut(name))).take(MOST);
    (!names.is_empty()).then(|| bounded.collect())
}
