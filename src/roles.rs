//! What IAM roles are worth: IAM role -> system roles -> permissions, for each organisation.
//!
//! The whole mapping is worked out once, when it is built; a request only picks sets up. Which
//! roles a caller has is not decided here: they come out of a verified IAM token.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    organisation::Organisation,
    permission::{Permission, PermissionSet, core},
};

/// Either a permission's whole name, or how names begin (`CREDENTIAL_SCHEMA_*`, `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionPattern {
    /// This one.
    Name(Permission),
    /// Every known permission whose name begins so; empty for `*`.
    Prefix(Box<str>),
}

impl PermissionPattern {
    /// Reads a name, or a prefix with `*` at its end and nowhere else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            None => Permission::parse(text).map(Self::Name),
            Some("") => Some(Self::Prefix("".into())),
            Some(prefix) => {
                Permission::parse(prefix).map(|prefix| Self::Prefix(prefix.as_str().into()))
            }
        }
    }

    /// Whether it stands for this permission.
    #[must_use]
    pub fn covers(&self, permission: &Permission) -> bool {
        match self {
            Self::Name(name) => name == permission,
            Self::Prefix(prefix) => permission.as_str().starts_with(&**prefix),
        }
    }

    fn expand<'a>(&'a self, known: &'a PermissionSet) -> impl Iterator<Item = &'a Permission> {
        let (named, prefix) = match self {
            Self::Name(name) => (Some(name), None),
            Self::Prefix(prefix) => (None, Some(prefix)),
        };
        let begun = move |name: &&Permission| {
            prefix.is_some_and(|prefix| name.as_str().starts_with(&**prefix))
        };
        named.into_iter().chain(known.iter().filter(begun))
    }
}

/// A named set of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemRole {
    /// What it grants.
    pub permissions: Vec<PermissionPattern>,
    /// Set: it counts only for a service that acts on behalf of a user, never for its holder's
    /// own requests; for any user when empty, else for users who hold one of these.
    pub delegation: Option<PermissionSet>,
}

/// Where an IAM role counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// In every organisation that is listed (`*`).
    Every,
    /// In this one.
    One(Organisation),
}

/// What is known of an organisation.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// For people.
    pub name: Arc<str>,
    /// Permissions that nobody exceeds here, whatever their roles.
    pub ceiling: Option<Vec<PermissionPattern>>,
}

/// What a mapping is built from.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// System roles by name.
    pub system_roles: BTreeMap<String, SystemRole>,
    /// For each IAM role, where it counts and which system roles it gives there.
    pub iam_roles: BTreeMap<String, BTreeMap<Reach, Vec<String>>>,
    /// The organisations.
    pub organisations: BTreeMap<Organisation, Tenant>,
    /// Names that wildcards cover besides Core's own: those that routes demand.
    pub known_permissions: PermissionSet,
}

/// A rule of the mapping that could never do what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleFault {
    /// An IAM role gives a system role that does not exist.
    #[error("IAM role {iam_role:?} gives system role {system_role:?}, which is not defined")]
    UnknownSystemRole {
        /// The IAM role.
        iam_role: String,
        /// The missing one.
        system_role: String,
    },
    /// An IAM role counts in an organisation that is not listed.
    #[error("IAM role {iam_role:?} names organisation {organisation}, which is not listed")]
    UnknownOrganisation {
        /// The IAM role.
        iam_role: String,
        /// The missing one.
        organisation: Organisation,
    },
    /// A wildcard begins no known name.
    #[error("{place}: {prefix}* matches no known permission")]
    EmptyPattern {
        /// A system role's or organisation's name.
        place: String,
        /// What stands before the `*`.
        prefix: Box<str>,
    },
}

/// The mapping, worked out.
#[derive(Debug, Default)]
pub struct RoleMap {
    /// Ceilings are applied already.
    grants: HashMap<Box<str>, BTreeMap<Organisation, Arc<PermissionSet>>>,
    /// The same for roles that count on behalf of users only.
    delegations: HashMap<Box<str>, BTreeMap<Organisation, Vec<Delegation>>>,
    names: BTreeMap<Organisation, Arc<str>>,
}

/// What a service may do on behalf of some users.
#[derive(Clone, Debug)]
struct Delegation {
    /// Any of these makes a user one of them; empty: every user is.
    users: PermissionSet,
    permissions: PermissionSet,
}

impl Delegation {
    fn covers(&self, held: &PermissionSet) -> bool {
        self.users.is_empty() || self.users.iter().any(|permission| held.contains(permission))
    }
}

impl RoleMap {
    /// Works a mapping out.
    ///
    /// # Errors
    /// Every fault there is, not just the first.
    pub fn new(mapping: &Mapping) -> Result<Self, Vec<RoleFault>> {
        let faults = faults(mapping);
        if !faults.is_empty() {
            return Err(faults);
        }
        let known = known(mapping);
        let roles: BTreeMap<&str, (Option<&PermissionSet>, PermissionSet)> = mapping
            .system_roles
            .iter()
            .map(|(name, role)| {
                (name.as_str(), (role.delegation.as_ref(), expand(&role.permissions, &known)))
            })
            .collect();
        let ceilings: BTreeMap<Organisation, PermissionSet> = mapping
            .organisations
            .iter()
            .filter_map(|(&id, tenant)| Some((id, expand(tenant.ceiling.as_ref()?, &known))))
            .collect();
        let within = |organisation: Organisation, granted: PermissionSet| match ceilings
            .get(&organisation)
        {
            Some(ceiling) => granted.intersection(ceiling),
            None => granted,
        };
        let mut map = Self::default();
        for (iam_role, reaches) in &mapping.iam_roles {
            let (mut grants, mut delegations) = (BTreeMap::new(), BTreeMap::new());
            for &organisation in mapping.organisations.keys() {
                let given: Vec<_> = [Reach::Every, Reach::One(organisation)]
                    .into_iter()
                    .filter_map(|reach| reaches.get(&reach))
                    .flatten()
                    .filter_map(|name| roles.get(name.as_str()))
                    .collect();
                let mut own = given.iter().filter(|(users, _)| users.is_none()).peekable();
                if own.peek().is_some() {
                    let granted = own.flat_map(|(_, granted)| granted).cloned().collect();
                    grants.insert(organisation, Arc::new(within(organisation, granted)));
                }
                let delegated = given.iter().filter_map(|(users, granted)| {
                    let permissions = within(organisation, granted.clone());
                    Some(Delegation { users: (*users)?.clone(), permissions })
                });
                let delegated: Vec<_> = delegated.collect();
                if !delegated.is_empty() {
                    delegations.insert(organisation, delegated);
                }
            }
            map.grants.insert(iam_role.as_str().into(), grants);
            map.delegations.insert(iam_role.as_str().into(), delegations);
        }
        let names = mapping.organisations.iter();
        map.names = names.map(|(&id, tenant)| (id, Arc::clone(&tenant.name))).collect();
        Ok(map)
    }

    /// The organisations in which these roles count, in order of id.
    #[must_use]
    pub fn organisations_of(&self, roles: &[Arc<str>]) -> Vec<Organisation> {
        let mut counting =
            roles.iter().filter_map(|role| self.grants.get(&**role)).filter(|it| !it.is_empty());
        let Some(first) = counting.next() else { return Vec::new() };
        let mut theirs: Vec<_> = first.keys().copied().collect();
        let one = theirs.len();
        theirs.extend(counting.flat_map(BTreeMap::keys));
        if theirs.len() > one {
            theirs.sort_unstable();
            theirs.dedup();
        }
        theirs
    }

    /// What these roles permit in an organisation; `None` when none of them counts there, which
    /// is not the same as a role that permits nothing.
    #[must_use]
    pub fn permissions(
        &self,
        roles: &[Arc<str>],
        organisation: Organisation,
    ) -> Option<Arc<PermissionSet>> {
        let mut sets = roles.iter().filter_map(|role| self.grants.get(&**role)?.get(&organisation));
        let first = sets.next()?;
        // Most callers have one role that counts: that set is shared as it is.
        let Some(second) = sets.next() else { return Some(Arc::clone(first)) };
        let all = [first, second].into_iter().chain(sets);
        Some(Arc::new(all.flat_map(|set| set.iter()).cloned().collect()))
    }

    /// What a service with these roles may do in an organisation on behalf of a user who holds
    /// `held` there; `None` when none of its roles counts for that user.
    #[must_use]
    pub fn delegated(
        &self,
        roles: &[Arc<str>],
        organisation: Organisation,
        held: &PermissionSet,
    ) -> Option<PermissionSet> {
        let mut counting = roles
            .iter()
            .filter_map(|role| self.delegations.get(&**role)?.get(&organisation))
            .flatten()
            .filter(|delegation| delegation.covers(held))
            .peekable();
        counting.peek()?;
        Some(counting.flat_map(|delegation| delegation.permissions.iter()).cloned().collect())
    }

    /// An organisation's name; `None` when it is not listed.
    #[must_use]
    pub fn name(&self, organisation: Organisation) -> Option<&Arc<str>> {
        self.names.get(&organisation)
    }
}

fn known(mapping: &Mapping) -> PermissionSet {
    let names = core::PERMISSIONS.iter().chain(core::BFF_PERMISSIONS);
    let core = names.filter_map(|name| Permission::parse(name));
    core.chain(mapping.known_permissions.iter().cloned()).collect()
}

fn expand(patterns: &[PermissionPattern], known: &PermissionSet) -> PermissionSet {
    patterns.iter().flat_map(|pattern| pattern.expand(known)).cloned().collect()
}

fn faults(mapping: &Mapping) -> Vec<RoleFault> {
    let known = known(mapping);
    let roles = mapping.system_roles.iter().map(|(name, role)| (name.clone(), &role.permissions));
    let ceilings = mapping
        .organisations
        .iter()
        .filter_map(|(id, tenant)| Some((id.to_string(), tenant.ceiling.as_ref()?)));
    let mut faults = Vec::new();
    for (place, patterns) in roles.chain(ceilings) {
        for pattern in patterns {
            if let PermissionPattern::Prefix(prefix) = pattern
                && pattern.expand(&known).next().is_none()
            {
                let (place, prefix) = (place.clone(), prefix.clone());
                faults.push(RoleFault::EmptyPattern { place, prefix });
            }
        }
    }
    for (iam_role, reaches) in &mapping.iam_roles {
        for (reach, given) in reaches {
            if let &Reach::One(organisation) = reach
                && !mapping.organisations.contains_key(&organisation)
            {
                let iam_role = iam_role.clone();
                faults.push(RoleFault::UnknownOrganisation { iam_role, organisation });
            }
            for role in given.iter().filter(|role| !mapping.system_roles.contains_key(*role)) {
                let (iam_role, system_role) = (iam_role.clone(), role.clone());
                faults.push(RoleFault::UnknownSystemRole { iam_role, system_role });
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests;
