//! Permissions, sets of them, and what a route demands of a set.

pub mod core;

use std::{collections::BTreeSet, fmt, sync::Arc};

/// One permission: a SCREAMING_SNAKE name such as `CREDENTIAL_ISSUE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(Arc<str>);

impl Permission {
    /// Accepts `A-Z`, `0-9` and `_`, from a letter on, at most 64 characters.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let first = name.bytes().next()?;
        let rest = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        (first.is_ascii_uppercase() && rest && name.len() <= 64).then(|| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The permissions somebody holds: sorted, each once. A clone is the same set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet(Arc<[Permission]>);

impl PermissionSet {
    /// Whether the set has this one.
    #[must_use]
    pub fn contains(&self, permission: &Permission) -> bool {
        self.0.binary_search(permission).is_ok()
    }

    /// In order of name.
    pub fn iter(&self) -> std::slice::Iter<'_, Permission> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        // Most routes name what their callers hold, and that set is shared as it is.
        let shared = || self.iter().filter(|held| other.contains(held));
        match shared().count() {
            all if all == other.len() => other.clone(),
            all if all == self.len() => self.clone(),
            _ => Self(shared().cloned().collect()),
        }
    }
}

/// The names, or `nothing`.
impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        self.iter().enumerate().try_for_each(|(at, permission)| {
            write!(f, "{}{permission}", if at == 0 { "" } else { ", " })
        })
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a PermissionSet {
    type Item = &'a Permission;
    type IntoIter = std::slice::Iter<'a, Permission>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a route demands of the permissions that its caller holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Authentication is enough.
    Nothing,
    /// At least one of them, as Core's `x-permissions` mean it.
    AnyOf(PermissionSet),
    /// Every one of them.
    AllOf(PermissionSet),
}

impl Requirement {
    /// Whether a holder of `held` meets it.
    #[must_use]
    pub fn met_by(&self, held: &PermissionSet) -> bool {
        match self {
            Self::Nothing => true,
            Self::AnyOf(named) => named.iter().any(|permission| held.contains(permission)),
            Self::AllOf(named) => named.iter().all(|permission| held.contains(permission)),
        }
    }

    /// The permissions that it names.
    #[must_use]
    pub fn named(&self) -> PermissionSet {
        match self {
            Self::Nothing => PermissionSet::default(),
            Self::AnyOf(named) | Self::AllOf(named) => named.clone(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, named) = match self {
            Self::Nothing => return f.write_str("no permission"),
            Self::AnyOf(named) => ("any of", named),
            Self::AllOf(named) => ("all of", named),
        };
        write!(f, "{words} {named}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> PermissionSet {
        names.iter().map(|name| Permission::parse(name).unwrap()).collect()
    }

    #[test]
    fn requirements() {
        let held = set(&["B", "C"]);
        assert!(Requirement::Nothing.met_by(&set(&[])));
        assert!(Requirement::AnyOf(set(&["A", "B"])).met_by(&held));
        assert!(!Requirement::AnyOf(set(&["A"])).met_by(&held));
        assert!(!Requirement::AnyOf(set(&[])).met_by(&held), "an empty list lets nobody in");
        assert!(Requirement::AllOf(set(&["B", "C"])).met_by(&held));
        assert!(!Requirement::AllOf(set(&["A", "B"])).met_by(&held));
        assert_eq!(Requirement::AnyOf(set(&["B", "A"])).to_string(), "any of A, B");
    }

    #[test]
    fn names() {
        assert!(Permission::parse("X509_CERTIFICATE_SIGN").is_some());
        for wrong in ["", "credential_issue", "_A", "A-B", "A B", "9A"] {
            assert!(Permission::parse(wrong).is_none(), "{wrong}");
        }
    }
}
