//! Names of permissions that nobody knows: a rule that demands one lets nobody in, and a role
//! that grants one grants nothing.
//!
//! Known are Core's own, those of its BFF, and whatever `known_permissions` lists, here or in a
//! generated file of routes. A name that is nearly a known one is a slip and always a fault; any
//! other unknown name is one as long as `strict_permissions` stands.

use std::collections::BTreeSet;

use super::{Draft, Notes, Part, path};
use crate::{
    config::{
        key_path::KeyPath,
        suggest::{nearest, quoted},
        yaml::Node,
    },
    permission::{Permission, core},
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let further: &[Permission] = match &draft.known_permissions {
        Part::Absent => &[],
        Part::Read(names) => names,
        // Its own fault is reported; what it was to say is not known.
        Part::Faulty => return,
    };
    let strict = match &draft.strict_permissions {
        Part::Absent => true,
        Part::Read(strict) => *strict,
        Part::Faulty => return,
    };
    let own = core::PERMISSIONS.iter().chain(core::BFF_PERMISSIONS).copied();
    let known: BTreeSet<&str> = own.chain(further.iter().map(Permission::as_str)).collect();
    for (here, node) in names(notes.root) {
        let Some(name) = node.text() else { continue };
        if let Some(message) = fault(name, &known, strict) {
            notes.fault(&here, message);
        }
    }
}

fn fault(name: &str, known: &BTreeSet<&str>, strict: bool) -> Option<String> {
    if let Some(beginning) = name.strip_suffix('*') {
        Permission::parse(beginning)?;
        let matches = known.iter().any(|known| known.starts_with(beginning));
        return (!matches).then(|| format!("{} matches no permission that is known", quoted(name)));
    }
    // What is no name at all is reported where it is read.
    Permission::parse(name)?;
    if known.contains(name) {
        return None;
    }
    let unknown = format!("unknown permission {}", quoted(name));
    let all: Vec<&str> = known.iter().copied().collect();
    match nearest(name, &all) {
        Some(near) => Some(format!("{unknown}; did you mean `{near}`?")),
        None if strict => Some(format!("{unknown}; add it to known_permissions if there is one")),
        None => None,
    }
}

/// Every value that is to be the name of a permission, or the beginning of one with `*`.
fn names(root: &Node) -> Vec<(KeyPath, &Node)> {
    let mut found = Vec::new();
    for (at, route) in list(root.key("routes")) {
        let here = path("routes").index(at).key("permissions");
        let demanded = route.key("permissions");
        add(&here, demanded, &mut found);
        add(&here.key("all"), demanded.and_then(|demanded| demanded.key("all")), &mut found);
    }
    for role in root.key("system_roles").map(Node::entries).unwrap_or_default() {
        let here = path("system_roles").key(role.key.as_str());
        add(&here, Some(&role.node), &mut found);
        for key in ["permissions", "delegation"] {
            add(&here.key(key), role.node.key(key), &mut found);
        }
    }
    for organisation in root.key("organisations").map(Node::entries).unwrap_or_default() {
        let here = path("organisations").key(organisation.key.as_str()).key("ceiling");
        add(&here, organisation.node.key("ceiling"), &mut found);
    }
    found
}

fn add<'n>(here: &KeyPath, node: Option<&'n Node>, found: &mut Vec<(KeyPath, &'n Node)>) {
    found.extend(list(node).map(|(at, name)| (here.index(at), name)));
}

fn list(node: Option<&Node>) -> impl Iterator<Item = (usize, &Node)> {
    node.map(Node::elements).unwrap_or_default().iter().enumerate()
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{faults, parse_given, sound};

    fn with_route(permissions: &str, more: &str) -> String {
        sound(&format!(
            "{more}routes: [{{ path: /a, permissions: {permissions}, upstream: core }}]\n"
        ))
    }

    #[test]
    fn a_misspelt_permission_is_a_fault_even_when_strictness_is_off() {
        for more in ["", "strict_permissions: false\n"] {
            let found = faults(&with_route("[KEY_LIST, CREDENTAIL_LIST]", more));
            assert!(
                found.ends_with(
                    "routes[0].permissions[1]: unknown permission `CREDENTAIL_LIST`; did you mean \
                     `CREDENTIAL_LIST`?"
                ),
                "{found}"
            );
            assert_eq!(found.lines().count(), 1);
        }
        let found = faults(&with_route("{ all: [KEY_LISTS] }", ""));
        assert!(found.contains("routes[0].permissions.all[0]: unknown permission"), "{found}");
    }

    #[test]
    fn an_unknown_permission_is_a_fault_unless_it_is_declared_or_strictness_is_off() {
        let found = faults(&with_route("[WAREHOUSE_OPEN]", ""));
        assert!(found.contains("routes[0].permissions[0]: unknown permission"), "{found}");
        assert!(found.contains("known_permissions"), "{found}");
        for more in ["known_permissions: [WAREHOUSE_OPEN]\n", "strict_permissions: false\n"] {
            let loaded = parse_given(&with_route("[WAREHOUSE_OPEN]", more));
            assert!(loaded.is_ok(), "{more}: {}", loaded.unwrap_err());
        }
        assert!(parse_given(&with_route("[STS_IAM_ROLE_EDIT, KEY_LIST]", "")).is_ok());
    }

    #[test]
    fn a_declared_permission_may_be_near_to_one_of_core() {
        let text = with_route("[CREDENTIAL_LISTS]", "known_permissions: [CREDENTIAL_LISTS]\n");
        assert!(parse_given(&text).is_ok());
    }

    #[test]
    fn roles_and_ceilings_are_looked_at_as_well() {
        let text = sound(
            "system_roles: { reader: [KEY_LIST, CREDENTIALS_*], other: { permissions: [KEY_LOST], \
             delegation: [KEY_LAST] } }\n\
             organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { ceiling: [DIDS_*] } }\n",
        );
        let found = faults(&text);
        for expected in [
            "system_roles.reader[1]: `CREDENTIALS_*` matches no permission",
            "system_roles.other.permissions[0]: unknown permission `KEY_LOST`; did you mean `KEY_LIST`?",
            "system_roles.other.delegation[0]: unknown permission `KEY_LAST`",
            "organisations.6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11.ceiling[0]: `DIDS_*` matches no",
        ] {
            assert!(found.contains(expected), "{expected} is missing in {found}");
        }
        assert_eq!(found.lines().count(), 4, "{found}");
    }
}
