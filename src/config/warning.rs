//! Permissions that lead nowhere: a route that demands one which no system role grants lets nobody
//! in, and a role that grants one which no route demands grants nothing.
//!
//! Neither is a fault. Whoever includes all routes of Core keeps most of them closed on purpose,
//! and a role may be meant for a route that comes later.

mod perimeter;

use std::collections::BTreeMap;

use super::{
    Loaded,
    check::path,
    key_path::KeyPath,
    sections::{Accept, Access, ActAs, Config, MintedPermissions},
};
use crate::{
    permission::{Permission, Requirement},
    roles::PermissionPattern,
};

pub(super) fn of(loaded: &Loaded) -> Vec<(KeyPath, String)> {
    let mut warnings = perimeter::of(&loaded.config);
    warnings.extend(in_vain(loaded));
    warnings.extend(nobody(&loaded.config));
    warnings
}

fn in_vain(loaded: &Loaded) -> Vec<(KeyPath, String)> {
    let config = &loaded.config;
    let issuer = config.sts.as_ref().and_then(|sts| sts.issuer.as_ref());
    // Then an outside token service says what its tokens permit.
    if issuer.is_none() && config.iam_roles.is_empty() {
        return Vec::new();
    }
    let mut warnings = demanded_in_vain(loaded, issuer.is_some());
    // A token that carries all that its subject holds is of use beyond what routes demand.
    if issuer.is_none_or(|issuer| issuer.permissions != MintedPermissions::All) {
        warnings.extend(granted_in_vain(loaded));
    }
    warnings
}

/// Technical users in whose name nothing is done.
fn nobody(config: &Config) -> impl Iterator<Item = (KeyPath, String)> {
    let used = |name: &str| {
        config.routes.iter().any(|route| match &route.act_as {
            ActAs::Caller => false,
            ActAs::TechnicalUser(user) | ActAs::Delegate(user) => user == name,
        })
    };
    let unused = config.technical_users.keys().filter(move |name| !used(name));
    unused
        .map(|name| (path("technical_users").key(name.as_str()), "no route acts as it".to_owned()))
}

/// One warning a file: where nearly every route of an included file is closed, a line for each
/// would hide the others.
fn demanded_in_vain(loaded: &Loaded, issuer_is_ours: bool) -> Vec<(KeyPath, String)> {
    let config = &loaded.config;
    let granted = Granted::of(config);
    let mut by_file: BTreeMap<&str, (KeyPath, String, usize)> = BTreeMap::new();
    for (at, route) in config.routes.iter().enumerate() {
        // What a foreign token service puts into its app tokens is not known here.
        let foreign = route.accept.contains(&Accept::App) && !issuer_is_ours;
        if foreign || route.access == Access::Public || granted.lets_pass(&route.permissions) {
            continue;
        }
        let here = path("routes").index(at).key("permissions");
        let file = &*loaded.places.nearest(&here).file;
        let demanded = || route.permissions.to_string();
        by_file.entry(file).or_insert_with(|| (here, demanded(), 0)).2 += 1;
    }
    let roles = loaded.places.nearest(&path("system_roles"));
    let warning = |(here, demanded, count): (KeyPath, String, usize)| {
        let more = match count - 1 {
            0 => String::new(),
            more => format!("; nor what {more} more routes of this file demand"),
        };
        let message = format!("nobody passes: no system role ({roles}) grants {demanded}{more}");
        (here, message)
    };
    by_file.into_values().map(warning).collect()
}

fn granted_in_vain(loaded: &Loaded) -> Vec<(KeyPath, String)> {
    let config = &loaded.config;
    let demanded: Vec<Permission> = config
        .routes
        .iter()
        .flat_map(|route| route.permissions.named().iter().cloned().collect::<Vec<_>>())
        .collect();
    let routes = loaded.places.nearest(&path("routes"));
    let mut warnings = Vec::new();
    for (name, role) in &config.system_roles {
        let role_at = path("system_roles").key(name.as_str());
        let inner = role_at.key("permissions");
        let list = if loaded.places.at(&inner).is_some() { inner } else { role_at };
        for (at, written) in role.permissions.iter().enumerate() {
            let Some(pattern) = PermissionPattern::parse(written) else { continue };
            if !demanded.iter().any(|permission| pattern.covers(permission)) {
                let message = format!("grants {written}, which no route ({routes}) demands");
                warnings.push((list.index(at), message));
            }
        }
    }
    warnings
}

/// What can be granted at all: by a system role, and within the ceiling of some organisation.
struct Granted {
    roles: Vec<PermissionPattern>,
    /// `None` when an organisation has no ceiling.
    ceilings: Option<Vec<PermissionPattern>>,
}

impl Granted {
    fn of(config: &Config) -> Self {
        let read = |name: &String| PermissionPattern::parse(name);
        let roles = config.system_roles.values().flat_map(|role| &role.permissions);
        let ceilings = config.organisations.values().map(|each| each.ceiling.as_ref());
        let ceilings: Option<Vec<_>> = ceilings.collect();
        Self {
            roles: roles.filter_map(read).collect(),
            ceilings: ceilings.map(|all| all.into_iter().flatten().filter_map(read).collect()),
        }
    }

    fn has(&self, permission: &Permission) -> bool {
        let covers = |patterns: &[PermissionPattern]| {
            patterns.iter().any(|pattern| pattern.covers(permission))
        };
        covers(&self.roles) && self.ceilings.as_ref().is_none_or(|ceilings| covers(ceilings))
    }

    fn lets_pass(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Nothing => true,
            Requirement::AnyOf(named) => named.iter().any(|permission| self.has(permission)),
            Requirement::AllOf(named) => named.iter().all(|permission| self.has(permission)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse_from;
    use crate::config::tests::{Given, parse_given, sound};
    use std::path::Path;

    fn warnings(changes: &str) -> Vec<String> {
        let loaded = parse_given(&sound(changes)).unwrap();
        loaded.warnings().iter().map(ToString::to_string).collect()
    }

    const ROUTES: &str =
        "routes: [{ path: /a, permissions: [KEY_LIST, KEY_CREATE], upstream: core }]\n";

    #[test]
    fn a_permission_that_no_role_grants_and_one_that_no_route_demands() {
        let roles = "system_roles: { reader: [CREDENTIAL_LIST] }\n";
        let found = warnings(&format!("{roles}{ROUTES}"));
        assert_eq!(
            found,
            [
                "gateway.yaml:1:26: system_roles.reader[0]: grants CREDENTIAL_LIST, which no route \
                 (gateway.yaml:2:9) demands",
                "gateway.yaml:2:35: routes[0].permissions: nobody passes: no system role \
                 (gateway.yaml:1:15) grants any of KEY_CREATE, KEY_LIST",
            ]
        );
    }

    #[test]
    fn what_is_granted_and_demanded_is_no_warning() {
        for change in [
            "system_roles: { reader: [KEY_LIST] }\n",
            "system_roles: { reader: { permissions: ['KEY_*'] } }\n",
            "system_roles: { reader: ['*'] }\n",
        ] {
            assert_eq!(warnings(&format!("{change}{ROUTES}")), [""; 0], "{change}");
        }
        let all = ROUTES.replace("[KEY_LIST, KEY_CREATE]", "{ all: [KEY_LIST, KEY_CREATE] }");
        let found = warnings(&format!("system_roles: {{ reader: [KEY_LIST] }}\n{all}"));
        assert!(found.len() == 1 && found[0].contains("all of KEY_CREATE, KEY_LIST"), "{found:?}");
    }

    #[test]
    fn a_ceiling_takes_away_and_a_token_of_all_permissions_may_carry_more() {
        let roles = "system_roles: { reader: ['KEY_*', DID_LIST] }\n";
        let ceiling =
            "organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { ceiling: [DID_LIST] } }\n";
        let found = warnings(&format!("{roles}{ceiling}{ROUTES}"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].contains("nobody passes"), "{found:?}");
        let all = "sts: { issuer: { iss: one, keys: [{ file: issuer-key }], permissions: all } }\n";
        assert_eq!(warnings(&format!("{roles}{all}{ROUTES}")), [""; 0]);
    }

    #[test]
    fn an_included_file_is_one_line() {
        let given = Given::new().with(
            "more.yaml",
            "- { path: /b, permissions: [DID_LIST], upstream: core }\n\
             - { path: /c, permissions: [DID_CREATE], upstream: core }\n",
        );
        let roles = "system_roles: { reader: [KEY_LIST] }\n";
        let text = sound(&format!("include: [more.yaml]\n{roles}{ROUTES}"));
        let loaded = parse_from(&text, Path::new("gateway.yaml"), &given).unwrap();
        let found: Vec<_> = loaded.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["more.yaml:1:28: routes[1].permissions: nobody passes: no system role \
              (gateway.yaml:2:15) grants any of DID_LIST; nor what 1 more routes of this file \
              demand"]
        );
    }
}
