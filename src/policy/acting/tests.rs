use std::collections::BTreeMap;

use serde_json::Map;

use super::*;
use crate::{
    identity::Proof,
    permission::Permission,
    roles::{Mapping, PermissionPattern, Reach, RoleMap, SystemRole, Tenant},
    time::Timestamp,
};

const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const B: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn org(text: &str) -> Organisation {
    Organisation::parse(text).unwrap()
}

fn set(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).unwrap()).collect()
}

/// In A: `cron` may TASK_CREATE and KEY_LIST, `clerk` CREDENTIAL_ISSUE for any user and KEY_LIST
/// for those with CREDENTIAL_LIST, `reader` CREDENTIAL_LIST. `reader` counts in B too.
fn map() -> RoleMap {
    let role = |names: &[&str], delegation: Option<&[&str]>| SystemRole {
        permissions: names.iter().map(|name| PermissionPattern::parse(name).unwrap()).collect(),
        delegation: delegation.map(set),
    };
    let here = |organisations: &[&str], names: &[&str]| {
        let given =
            |id: &&str| (Reach::One(org(id)), names.iter().map(|&name| name.to_owned()).collect());
        organisations.iter().map(given).collect::<BTreeMap<_, Vec<String>>>()
    };
    RoleMap::new(&Mapping {
        system_roles: [
            ("tasks".to_owned(), role(&["TASK_CREATE", "KEY_LIST"], None)),
            ("read".to_owned(), role(&["CREDENTIAL_LIST"], None)),
            ("for-all".to_owned(), role(&["CREDENTIAL_ISSUE"], Some(&[]))),
            ("for-readers".to_owned(), role(&["KEY_LIST"], Some(&["CREDENTIAL_LIST"]))),
        ]
        .into(),
        iam_roles: [
            ("cron".to_owned(), here(&[A], &["tasks"])),
            ("clerk".to_owned(), here(&[A], &["for-all", "for-readers"])),
            ("reader".to_owned(), here(&[A, B], &["read"])),
            ("guest".to_owned(), here(&[A], &[])),
        ]
        .into(),
        organisations: [A, B].map(|id| (org(id), Tenant::default())).into(),
        known_permissions: PermissionSet::default(),
    })
    .unwrap()
}

fn somebody(subject: &str, role: &str) -> Arc<Identity> {
    Arc::new(Identity {
        proof: Proof::IamToken,
        issuer: "iam".into(),
        subject: subject.into(),
        roles: vec![role.into()],
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::new(Map::new()),
        expires: Timestamp(1000),
        token: "t".into(),
    })
}

fn permit(caller: &Arc<Identity>, here: Option<&str>, demanded: &[&str]) -> Permit {
    let demanded = set(demanded);
    Permit {
        identity: Some(Arc::clone(caller)),
        organisation: here.map(org),
        permissions: demanded.clone(),
        requirement: if demanded.is_empty() {
            Requirement::Nothing
        } else {
            Requirement::AnyOf(demanded)
        },
        trial: false,
    }
}

fn names(permit: &Permit) -> Vec<&str> {
    permit.permissions().iter().map(Permission::as_str).collect()
}

#[test]
fn a_technical_user_takes_what_the_route_demands_and_it_holds_itself() {
    let (map, user, alice) = (map(), somebody("cron", "cron"), somebody("alice", "reader"));
    let rights = |carry_all| Rights::Roles { map: &map, carry_all };
    let taken = |here, demanded: &[&str], home: Option<&str>, carry_all| {
        permit(&alice, here, demanded).taken_over(&user, home.map(org), rights(carry_all))
    };
    let own = taken(Some(A), &["TASK_CREATE"], None, false).unwrap();
    assert_eq!(
        (names(&own), own.identity().unwrap().subject.as_ref()),
        (vec!["TASK_CREATE"], "cron")
    );
    let all = taken(Some(A), &["TASK_CREATE"], None, true).unwrap();
    assert_eq!(names(&all), ["KEY_LIST", "TASK_CREATE"]);
    let told_by_role = taken(Some(A), &[], None, false).unwrap();
    assert_eq!(names(&told_by_role), ["KEY_LIST", "TASK_CREATE"]);
    let at_home = taken(None, &["TASK_CREATE"], Some(A), false).unwrap();
    assert_eq!(at_home.organisation(), Some(org(A)));
    for (here, demanded, home, reason) in [
        (Some(A), "CREDENTIAL_LIST", None, Reason::PermissionMissing),
        (Some(B), "TASK_CREATE", None, Reason::OrganisationMismatch),
        (Some(A), "TASK_CREATE", Some(B), Reason::OrganisationMismatch),
        (Some(B), "TASK_CREATE", Some(A), Reason::OrganisationMismatch),
        (None, "TASK_CREATE", None, Reason::OrganisationMissing),
    ] {
        let refusal = taken(here, &[demanded], home, false).unwrap_err();
        assert_eq!(refusal.reason, reason, "{here:?} {demanded} {home:?}");
    }
}

#[test]
fn a_service_gets_for_a_user_what_its_roles_for_such_users_give() {
    let map = map();
    let rights = |carry_all| Rights::Roles { map: &map, carry_all };
    let (clerk, reader, guest) =
        (somebody("clerk", "clerk"), somebody("rosa", "reader"), somebody("gil", "guest"));
    let delegated = |caller: &Arc<Identity>, demanded: &[&str], carry_all| {
        permit(caller, Some(A), demanded).delegated(&clerk, None, rights(carry_all))
    };
    let permit = delegated(&guest, &["CREDENTIAL_ISSUE"], false).unwrap();
    assert_eq!(names(&permit), ["CREDENTIAL_ISSUE"]);
    assert_eq!(permit.identity().unwrap().subject.as_ref(), "gil", "the subject is the user");
    assert_eq!(
        names(&delegated(&guest, &["CREDENTIAL_ISSUE"], true).unwrap()),
        ["CREDENTIAL_ISSUE"]
    );
    let both = delegated(&reader, &["KEY_LIST"], true).unwrap();
    assert_eq!(names(&both), ["CREDENTIAL_ISSUE", "KEY_LIST"]);
    assert_eq!(names(&delegated(&reader, &["KEY_LIST"], false).unwrap()), ["KEY_LIST"]);
    let lacking = delegated(&guest, &["KEY_LIST"], false).unwrap_err();
    assert_eq!(lacking.reason, Reason::PermissionMissing);
    let own = delegated(&reader, &["CREDENTIAL_LIST"], false).unwrap_err();
    assert_eq!(own.reason, Reason::PermissionMissing, "the user's own are not lent");
}

#[test]
fn nobody_acts_without_a_role_for_it_nor_for_themselves_nor_in_a_chain() {
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: false };
    let (clerk, rosa) = (somebody("clerk", "clerk"), somebody("rosa", "reader"));
    let delegated_already = Arc::new(Identity { actor: Some("other".into()), ..(*rosa).clone() });
    let acting_already = Identity { actor: Some("other".into()), ..(*clerk).clone() };
    let refused = |caller: &Arc<Identity>, service: &Identity, here, rights| {
        permit(caller, here, &[]).delegated(service, None, rights).unwrap_err().reason
    };
    for (caller, service) in [
        (&rosa, &*somebody("cron", "cron")),
        (&clerk, &*clerk),
        (&delegated_already, &*clerk),
        (&rosa, &acting_already),
    ] {
        let reason = refused(caller, service, Some(A), rights);
        assert_eq!(reason, Reason::DelegationNotAllowed, "{caller:?} {service:?}");
    }
    assert_eq!(refused(&rosa, &clerk, Some(B), rights), Reason::DelegationNotAllowed, "not there");
    assert_eq!(refused(&rosa, &clerk, None, rights), Reason::OrganisationMissing);
    assert_eq!(refused(&clerk, &clerk, Some(A), Rights::Issued), Reason::DelegationNotAllowed);
    let other_issuer = Arc::new(Identity { issuer: "elsewhere".into(), ..(*clerk).clone() });
    assert!(permit(&other_issuer, Some(A), &[]).delegated(&clerk, None, rights).is_ok());
}

#[test]
fn what_only_the_token_service_knows_is_left_to_it() {
    let (cron, alice) = (somebody("cron", "cron"), somebody("alice", "reader"));
    let open = permit(&alice, Some(A), &["TASK_CREATE"]);
    assert!(open.is_open(Rights::Issued));
    assert!(!permit(&alice, Some(A), &[]).is_open(Rights::Issued));
    assert!(!open.is_open(Rights::Roles { map: &map(), carry_all: false }));
    let told = Arc::new(Identity { permissions: Some(set(&["TASK_CREATE"])), ..(*alice).clone() });
    assert!(!permit(&told, Some(A), &["TASK_CREATE"]).is_open(Rights::Issued));
    for taken in
        [open.taken_over(&cron, None, Rights::Issued), open.delegated(&cron, None, Rights::Issued)]
    {
        let taken = taken.unwrap();
        assert_eq!(names(&taken), ["TASK_CREATE"], "what the service is asked for");
        assert!(taken.settle(&set(&["KEY_LIST"])).is_err(), "and what it has to issue");
    }
}
