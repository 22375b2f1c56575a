use std::collections::BTreeMap;

use serde_json::Map;

use super::*;
use crate::{
    permission::Permission,
    roles::{Mapping, PermissionPattern, Reach, SystemRole, Tenant},
    time::Timestamp,
};

const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const B: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn organisation(text: &str) -> Organisation {
    Organisation::parse(text).unwrap()
}

fn set(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).unwrap()).collect()
}

/// `reader` may read in A; `admin` may read and issue in A and in B.
fn map() -> RoleMap {
    let role = |names: &[&str]| SystemRole {
        permissions: names.iter().map(|name| PermissionPattern::parse(name).unwrap()).collect(),
        delegation: None,
    };
    let reaches = |organisations: &[&str], name: &str| {
        let reach = |id: &&str| (Reach::One(organisation(id)), vec![name.to_owned()]);
        organisations.iter().map(reach).collect::<BTreeMap<_, _>>()
    };
    RoleMap::new(&Mapping {
        system_roles: [
            ("read".to_owned(), role(&["CREDENTIAL_LIST"])),
            ("issue".to_owned(), role(&["CREDENTIAL_LIST", "CREDENTIAL_ISSUE"])),
        ]
        .into(),
        iam_roles: [
            ("reader".to_owned(), reaches(&[A], "read")),
            ("admin".to_owned(), reaches(&[A, B], "issue")),
        ]
        .into(),
        organisations: [A, B].map(|id| (organisation(id), Tenant::default())).into(),
        known_permissions: PermissionSet::default(),
    })
    .unwrap()
}

fn caller(proof: Proof, role: &str) -> Identity {
    Identity {
        proof,
        issuer: "iam".into(),
        subject: "alice".into(),
        roles: vec![role.into()],
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::new(Map::new()),
        expires: Timestamp(1000),
        token: "t".into(),
    }
}

fn app_token(held: &[&str]) -> Identity {
    Identity {
        organisation: Some(organisation(A)),
        permissions: Some(set(held)),
        roles: vec![],
        ..caller(Proof::AppToken, "")
    }
}

fn route(permissions: &[&str]) -> Policy {
    let named = set(permissions);
    Policy {
        public: false,
        accepts: Accepts { session: true, iam: true, app: true, certificate: true },
        permissions: if named.is_empty() {
            Requirement::Nothing
        } else {
            Requirement::AnyOf(named)
        },
        roles: vec![],
        app_token: true,
        named: false,
        condition: None,
        cross_organisation: false,
        acting: Acting::Caller,
        enforce: true,
    }
}

/// A plain request that names this organisation, handed to `act`.
fn with_request<T>(named: Option<&str>, act: impl FnOnce(&Request<'_>) -> T) -> T {
    let headers = http::HeaderMap::new();
    let asked = Asked {
        method: "GET",
        path: "/api/x",
        host: "desk.example.com",
        query: None,
        headers: &headers,
        client: None,
    };
    let named = named.map(organisation);
    act(&Request { named, own: false, injected: false, assumed: false, navigation: false, asked })
}

fn decide(policy: &Policy, who: Identity, named: Option<&str>) -> Result<Permit, Reason> {
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: false };
    let who = Authentication::Authenticated(Arc::new(who));
    match with_request(named, |request| policy.decide(&who, request, rights)) {
        Decision::Forward(permit) => Ok(permit),
        Decision::Refuse(refusal) => Err(refusal.reason),
        Decision::Trial(..) => panic!("the route is not on trial"),
        Decision::Login => panic!("an authenticated caller is never sent to the login"),
    }
}

#[test]
fn verdicts() {
    let list = route(&["CREDENTIAL_LIST"]);
    let issue = route(&["CREDENTIAL_ISSUE", "CREDENTIAL_REVOKE"]);
    let anything = route(&[]);
    let reader = || caller(Proof::IamToken, "reader");
    let admin = || caller(Proof::IamToken, "admin");
    let nobody = || caller(Proof::IamToken, "cleaner");
    let verdict = |policy, who, named| decide(policy, who, named).err();

    assert_eq!(verdict(&list, reader(), None), None);
    assert_eq!(verdict(&list, reader(), Some(A)), None);
    assert_eq!(verdict(&list, reader(), Some(B)), Some(Reason::OrganisationMismatch));
    assert_eq!(verdict(&issue, reader(), None), Some(Reason::PermissionMissing));
    assert_eq!(verdict(&anything, reader(), None), None);
    assert_eq!(verdict(&issue, admin(), Some(B)), None);
    assert_eq!(verdict(&issue, admin(), None), Some(Reason::OrganisationMissing));
    assert_eq!(verdict(&anything, admin(), None), None);
    assert_eq!(verdict(&anything, nobody(), None), Some(Reason::RoleMissing));
    assert_eq!(verdict(&list, nobody(), Some(A)), Some(Reason::OrganisationMismatch));
}

#[test]
fn the_sessions_organisation_counts_where_none_is_named() {
    let admin_in =
        |id| Identity { organisation: Some(organisation(id)), ..caller(Proof::Session, "admin") };
    let issue = route(&["CREDENTIAL_ISSUE"]);
    assert_eq!(decide(&issue, admin_in(B), None).unwrap().organisation(), Some(organisation(B)));
    assert_eq!(decide(&issue, admin_in(B), Some(A)).unwrap().organisation(), Some(organisation(A)));
    // A session that still names an organisation whose role was taken away.
    let stale =
        Identity { organisation: Some(organisation(B)), ..caller(Proof::Session, "reader") };
    let list = route(&["CREDENTIAL_LIST"]);
    assert_eq!(decide(&list, stale, None).unwrap().organisation(), Some(organisation(A)));
}

#[test]
fn an_app_token_carries_its_own_rights_and_no_others() {
    let list = route(&["CREDENTIAL_LIST"]);
    assert!(decide(&list, app_token(&["CREDENTIAL_LIST"]), None).is_ok());
    assert!(decide(&list, app_token(&["CREDENTIAL_LIST"]), Some(A)).is_ok());
    let refused = |named, held: &[&str]| decide(&list, app_token(held), named).unwrap_err();
    assert_eq!(refused(Some(B), &["CREDENTIAL_LIST"]), Reason::OrganisationMismatch);
    assert_eq!(refused(None, &["KEY_LIST"]), Reason::PermissionMissing);
    assert_eq!(refused(None, &[]), Reason::PermissionMissing);
}

#[test]
fn a_minted_token_carries_no_more_than_the_route_needs() {
    let admin = || caller(Proof::IamToken, "admin");
    let list = route(&["CREDENTIAL_LIST"]);
    assert_eq!(*decide(&list, admin(), Some(A)).unwrap().permissions(), set(&["CREDENTIAL_LIST"]));
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: true };
    let who = Authentication::Authenticated(Arc::new(admin()));
    let Decision::Forward(permit) =
        with_request(Some(A), |request| list.decide(&who, request, rights))
    else {
        panic!("allowed")
    };
    assert_eq!(*permit.permissions(), set(&["CREDENTIAL_ISSUE", "CREDENTIAL_LIST"]));
}

#[test]
fn roles_of_the_route_are_demanded_beside_its_permissions() {
    let mut policy = route(&["CREDENTIAL_LIST"]);
    policy.roles = vec!["admin".into()];
    assert!(decide(&policy, caller(Proof::IamToken, "admin"), Some(A)).is_ok());
    let refused = decide(&policy, caller(Proof::IamToken, "reader"), Some(A)).unwrap_err();
    assert_eq!(refused, Reason::RoleMissing);
}

#[test]
fn three_answers_of_authentication() {
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: false };
    let policy = route(&[]);
    let failed = |session| Authentication::Failed {
        refusal: Refusal::new(Reason::CredentialInvalid, ""),
        session,
    };
    let decide =
        |policy: &Policy, who: &Authentication, navigation| match with_request(None, |request| {
            policy.decide(who, &Request { navigation, ..*request }, rights)
        }) {
            Decision::Forward(_) => "forward".to_owned(),
            Decision::Trial(..) => "trial".to_owned(),
            Decision::Login => "login".to_owned(),
            Decision::Refuse(refusal) => refusal.reason.to_string(),
        };
    assert_eq!(decide(&policy, &Authentication::NotPresented, true), "login");
    assert_eq!(decide(&policy, &Authentication::NotPresented, false), "credential_missing");
    assert_eq!(decide(&policy, &failed(true), true), "login");
    assert_eq!(decide(&policy, &failed(true), false), "credential_invalid");
    assert_eq!(decide(&policy, &failed(false), true), "credential_invalid");
    let programs =
        Policy { accepts: Accepts { session: false, ..policy.accepts }, ..policy.clone() };
    assert_eq!(decide(&programs, &Authentication::NotPresented, true), "credential_missing");
    let public = Policy { public: true, ..policy };
    assert_eq!(decide(&public, &Authentication::NotPresented, false), "forward");
}

#[test]
fn what_the_issued_token_lacks_is_refused_at_the_end() {
    let who = Authentication::Authenticated(Arc::new(caller(Proof::IamToken, "x")));
    let policy = route(&["CREDENTIAL_LIST"]);
    let Decision::Forward(permit) =
        with_request(None, |request| policy.decide(&who, request, Rights::Issued))
    else {
        panic!("left to the token service")
    };
    assert!(permit.settle(&set(&["CREDENTIAL_LIST", "KEY_LIST"])).is_ok());
    let refusal = permit.settle(&set(&["KEY_LIST"])).unwrap_err();
    assert_eq!(refusal.reason, Reason::PermissionMissing);
}

#[test]
fn the_request_itself_can_be_refused() {
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: false };
    let admin = Identity { organisation: Some(organisation(A)), ..caller(Proof::Session, "admin") };
    let who = |identity: &Identity| Authentication::Authenticated(Arc::new(identity.clone()));
    let ask = |policy: &Policy, who: &Authentication, request: &Request<'_>| match policy
        .decide(who, request, rights)
    {
        Decision::Refuse(refusal) => Some(refusal.reason),
        _ => None,
    };
    let policy = route(&[]);
    with_request(Some(B), |request| {
        assert_eq!(ask(&policy, &who(&admin), request), None);
        let own = Request { own: true, ..*request };
        assert_eq!(ask(&policy, &who(&admin), &own), Some(Reason::OrganisationMismatch));
    });
    with_request(None, |request| {
        let two = caller(Proof::IamToken, "admin");
        let injected = Request { injected: true, ..*request };
        assert_eq!(ask(&policy, &who(&two), request), None);
        assert_eq!(ask(&policy, &who(&two), &injected), Some(Reason::OrganisationMissing));
        let across = Asked { query: Some("showSystemHistory=true"), ..request.asked };
        let across = Request { asked: across, ..*request };
        assert_eq!(ask(&policy, &who(&admin), &across), Some(Reason::OrganisationMismatch));
        let allowed = Policy { cross_organisation: true, ..policy.clone() };
        assert_eq!(ask(&allowed, &who(&admin), &across), None);
        let conditional = |source: &str| Policy {
            condition: Some(Condition::compile(source).unwrap()),
            ..policy.clone()
        };
        assert_eq!(ask(&conditional("subject == 'alice'"), &who(&admin), request), None);
        for fails in ["subject == 'bob'", "claims.missing == 1", "subject"] {
            let refused = ask(&conditional(fails), &who(&admin), request);
            assert_eq!(refused, Some(Reason::ConditionFailed), "{fails}");
        }
    });
}

#[test]
fn on_trial_a_refusal_is_noted_and_gives_no_more_than_is_held() {
    let map = map();
    let rights = Rights::Roles { map: &map, carry_all: false };
    let policy = Policy { enforce: false, ..route(&["CREDENTIAL_ISSUE"]) };
    let who = Authentication::Authenticated(Arc::new(caller(Proof::IamToken, "reader")));
    for (named, reason) in
        [(None, Reason::PermissionMissing), (Some(B), Reason::OrganisationMismatch)]
    {
        let decision = with_request(named, |request| policy.decide(&who, request, rights));
        let Decision::Trial(permit, refusal) = decision else { panic!("{decision:?}") };
        assert_eq!(refusal.reason, reason);
        assert_eq!(permit.organisation(), Some(organisation(A)));
        assert_eq!(*permit.permissions(), set(&["CREDENTIAL_LIST"]));
    }
    let failed = Authentication::Failed {
        refusal: Refusal::new(Reason::CredentialInvalid, ""),
        session: false,
    };
    for nobody in [failed, Authentication::NotPresented] {
        let decision = with_request(None, |request| policy.decide(&nobody, request, rights));
        assert!(matches!(decision, Decision::Refuse(refusal) if refusal.reason.status() == 401));
    }
    // Where the token service says what is held, its word is noted and not enforced either.
    let decision = with_request(None, |request| policy.decide(&who, request, Rights::Issued));
    let Decision::Forward(permit) = decision else { panic!("{decision:?}") };
    assert!(permit.settle(&set(&[])).is_ok());
    assert_eq!(permit.unmet(&set(&[])).unwrap().reason, Reason::PermissionMissing);
}
