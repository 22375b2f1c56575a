use proptest::prelude::*;

use super::*;

fn acme() -> Organisation {
    Organisation::parse("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11").unwrap()
}

fn beta() -> Organisation {
    Organisation::parse("00000000-0000-4000-8000-00000000000b").unwrap()
}

fn patterns(texts: &[&str]) -> Vec<PermissionPattern> {
    texts.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect()
}

fn role(texts: &[&str]) -> SystemRole {
    SystemRole { permissions: patterns(texts), delegation: None }
}

fn names(set: &PermissionSet) -> Vec<&str> {
    set.iter().map(Permission::as_str).collect()
}

fn roles(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|&name| name.into()).collect()
}

fn mapping() -> Mapping {
    let iam = |reaches: &[(Reach, &[&str])]| {
        reaches
            .iter()
            .map(|(reach, given)| (*reach, given.iter().map(|&name| name.to_owned()).collect()))
            .collect()
    };
    let delegated =
        SystemRole { delegation: Some(PermissionSet::default()), ..role(&["CREDENTIAL_ISSUE"]) };
    Mapping {
        system_roles: BTreeMap::from([
            ("schemas".to_owned(), role(&["CREDENTIAL_SCHEMA_*", "CREDENTIAL_LIST"])),
            ("auditor".to_owned(), role(&["HISTORY_LIST", "HISTORY_DETAIL"])),
            ("everything".to_owned(), role(&["*"])),
            ("on-behalf".to_owned(), delegated),
        ]),
        iam_roles: BTreeMap::from([
            ("author".to_owned(), iam(&[(Reach::One(acme()), &["schemas"])])),
            (
                "officer".to_owned(),
                iam(&[(Reach::Every, &["auditor"]), (Reach::One(beta()), &["schemas"])]),
            ),
            ("root".to_owned(), iam(&[(Reach::Every, &["everything"])])),
            ("service".to_owned(), iam(&[(Reach::Every, &["on-behalf"])])),
            ("nothing".to_owned(), iam(&[(Reach::Every, &[])])),
        ]),
        organisations: BTreeMap::from([
            (acme(), Tenant { name: "Acme".into(), ceiling: None }),
            (
                beta(),
                Tenant {
                    name: "Beta".into(),
                    ceiling: Some(patterns(&["HISTORY_*", "CREDENTIAL_SCHEMA_LIST"])),
                },
            ),
        ]),
        known_permissions: std::iter::once(Permission::parse("WAREHOUSE_OPEN").unwrap()).collect(),
    }
}

#[test]
fn a_role_counts_only_where_it_is_mapped() {
    let map = RoleMap::new(&mapping()).unwrap();
    let author = roles(&["author"]);
    assert_eq!(map.organisations_of(&author), [acme()]);
    assert_eq!(map.permissions(&author, beta()), None);
    assert_eq!(
        names(&map.permissions(&author, acme()).unwrap()),
        [
            "CREDENTIAL_LIST",
            "CREDENTIAL_SCHEMA_CREATE",
            "CREDENTIAL_SCHEMA_DELETE",
            "CREDENTIAL_SCHEMA_DETAIL",
            "CREDENTIAL_SCHEMA_LIST",
            "CREDENTIAL_SCHEMA_SHARE",
        ]
    );
    assert_eq!(map.name(beta()).unwrap().as_ref(), "Beta");
}

#[test]
fn roles_add_up_and_the_ceiling_cuts_the_sum() {
    let map = RoleMap::new(&mapping()).unwrap();
    let both = roles(&["author", "officer", "unmapped"]);
    assert_eq!(map.organisations_of(&both), [beta(), acme()]);
    assert_eq!(map.permissions(&both, acme()).unwrap().len(), 6 + 2);
    assert_eq!(
        names(&map.permissions(&both, beta()).unwrap()),
        ["CREDENTIAL_SCHEMA_LIST", "HISTORY_DETAIL", "HISTORY_LIST"],
    );
    let root = map.permissions(&roles(&["root"]), beta()).unwrap();
    assert_eq!(
        names(&root),
        ["CREDENTIAL_SCHEMA_LIST", "HISTORY_CREATE", "HISTORY_DETAIL", "HISTORY_LIST"]
    );
}

#[test]
fn a_star_covers_core_its_bff_and_the_names_that_routes_use() {
    let map = RoleMap::new(&mapping()).unwrap();
    let root = map.permissions(&roles(&["root"]), acme()).unwrap();
    assert_eq!(root.len(), core::PERMISSIONS.len() + core::BFF_PERMISSIONS.len() + 1);
    for name in ["WAREHOUSE_OPEN", "STS_IAM_ROLE_LIST"] {
        assert!(root.contains(&Permission::parse(name).unwrap()), "{name}");
    }
}

#[test]
fn a_role_for_delegation_or_without_system_roles_gives_its_holder_nothing() {
    let map = RoleMap::new(&mapping()).unwrap();
    for role in ["service", "nothing", "never-heard-of", "", "Author"] {
        assert_eq!(map.permissions(&roles(&[role]), acme()), None, "{role}");
        assert!(map.organisations_of(&roles(&[role])).is_empty(), "{role}");
    }
}

#[test]
fn roles_for_delegation_count_for_the_users_that_they_name() {
    let held = |names: &[&str]| -> PermissionSet {
        names.iter().map(|name| Permission::parse(name).unwrap()).collect()
    };
    let mut mapping = mapping();
    let of_auditors = SystemRole {
        delegation: Some(held(&["HISTORY_LIST", "HISTORY_DETAIL"])),
        ..role(&["HISTORY_CREATE", "KEY_LIST"])
    };
    mapping.system_roles.insert("of-auditors".into(), of_auditors);
    let given = vec!["of-auditors".to_owned(), "auditor".to_owned()];
    mapping.iam_roles.insert("clerk".into(), [(Reach::Every, given)].into());
    let map = RoleMap::new(&mapping).unwrap();
    let delegated = |names: &[&str], organisation, user: &[&str]| {
        map.delegated(&roles(names), organisation, &held(user))
    };
    let given = delegated(&["service"], acme(), &[]).unwrap();
    assert_eq!(names(&given), ["CREDENTIAL_ISSUE"], "for any user");
    let given = delegated(&["service"], beta(), &["KEY_LIST"]).unwrap();
    assert!(given.is_empty(), "the ceiling holds for services too");
    assert_eq!(delegated(&["clerk"], acme(), &[]), None);
    assert_eq!(delegated(&["clerk"], acme(), &["KEY_LIST"]), None);
    for user in [&["HISTORY_LIST"][..], &["HISTORY_DETAIL", "KEY_LIST"]] {
        let given = delegated(&["clerk"], acme(), user).unwrap();
        assert_eq!(names(&given), ["HISTORY_CREATE", "KEY_LIST"], "without its own permissions");
    }
    let given = delegated(&["clerk", "service", "root"], acme(), &["HISTORY_LIST"]).unwrap();
    assert_eq!(names(&given), ["CREDENTIAL_ISSUE", "HISTORY_CREATE", "KEY_LIST"]);
    for none in ["author", "root", "nothing", "never-heard-of"] {
        assert_eq!(delegated(&[none], acme(), &["HISTORY_LIST"]), None, "{none}");
    }
    // What it may do by itself is not more for that.
    let own = map.permissions(&roles(&["clerk"]), acme()).unwrap();
    assert_eq!(names(&own), ["HISTORY_DETAIL", "HISTORY_LIST"]);
}

#[test]
fn every_fault_is_found_in_one_run() {
    let mut mapping = mapping();
    let stranger = Organisation::parse("00000000-0000-4000-8000-00000000000c").unwrap();
    mapping.system_roles.insert("typo".into(), role(&["CREDENTAIL_*"]));
    let given = BTreeMap::from([(Reach::One(stranger), vec!["missing".to_owned()])]);
    mapping.iam_roles.insert("lost".into(), given);
    let faults = RoleMap::new(&mapping).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
    let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in ["CREDENTAIL_*", "\"missing\"", &stranger.to_string()] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn patterns_are_names_or_prefixes() {
    for wrong in ["", "**", "A*B", "*A", "a*", "_*", "A B*", "A-*", &"A".repeat(65)] {
        assert_eq!(PermissionPattern::parse(wrong), None, "{wrong}");
    }
    assert_eq!(PermissionPattern::parse("A_*"), Some(PermissionPattern::Prefix("A_".into())));
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_none(text in "\\PC{0,80}") {
        if let Some(pattern) = PermissionPattern::parse(&text) {
            let read = match pattern {
                PermissionPattern::Name(name) => name.as_str().to_owned(),
                PermissionPattern::Prefix(prefix) => format!("{prefix}*"),
            };
            prop_assert_eq!(read, text);
        }
    }
}
