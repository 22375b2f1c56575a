//! What the claims of a token that is otherwise good may say.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn issuer() {
    let case = Case::iam();
    for issuer in
        [json!("https://evil.example"), json!(format!("{ISSUER}/")), json!([ISSUER]), json!(null)]
    {
        case.refuses(&case.token().claim("iss", issuer), Rejection::WrongIssuer);
    }
    case.refuses(&case.token().without_claim("iss"), Rejection::WrongIssuer);
}

#[test]
fn audience() {
    let case = Case::iam();
    for good in [json!(AUDIENCE), json!([AUDIENCE]), json!(["other", AUDIENCE])] {
        assert!(case.verify(&case.token().claim("aud", good)).is_ok());
    }
    for wrong in [
        json!("other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 1]),
        json!({ AUDIENCE: AUDIENCE }),
        json!(1),
        json!(null),
    ] {
        case.refuses(&case.token().claim("aud", wrong), Rejection::WrongAudience);
    }
    case.refuses(&case.token().without_claim("aud"), Rejection::WrongAudience);
}

#[test]
fn time_has_cores_bounds_with_leeway_on_both_sides() {
    let case = Case::iam();
    let (now, leeway) = (NOW.0, case.rules.leeway.as_secs());
    // The same in fractions, for which there is no lossless cast.
    let (earliest, latest) = (1_799_999_940.0, 1_800_000_060.0);
    assert_eq!(
        (json!(now - leeway).as_f64(), json!(now + leeway).as_f64()),
        (Some(earliest), Some(latest))
    );
    for good in [json!(now - leeway), json!(now), json!(earliest + 0.5), json!(1e11)] {
        assert!(case.verify(&case.token().claim("exp", good.clone())).is_ok(), "{good}");
    }
    for late in [json!(now - leeway - 1), json!(earliest - 0.5), json!(0), json!(-5)] {
        case.refuses(&case.token().claim("exp", late), Rejection::Expired);
    }
    for good in [json!(now + leeway), json!(latest - 0.5), json!(0), json!(-1)] {
        assert!(case.verify(&case.token().claim("nbf", good.clone())).is_ok(), "{good}");
    }
    for early in [json!(now + leeway + 1), json!(latest + 0.5)] {
        case.refuses(&case.token().claim("nbf", early), Rejection::NotYetValid);
    }
    let fraction = case.verify(&case.token().claim("exp", latest + 7.9)).unwrap();
    assert_eq!(fraction.expires, Timestamp(now + 67));
}

#[test]
fn r22_times_of_wrong_type_are_refused() {
    let case = Case::iam();
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("1900000000"),
            json!("x"),
            json!(null),
            json!(true),
            json!([1_900_000_000]),
            json!({}),
            json!(1e300),
            json!(1_900_000_000_000_u64),
        ] {
            case.refuses(&case.token().claim(name, value), Rejection::BadTime);
        }
    }
    case.refuses(&case.token().without_claim("exp"), Rejection::BadTime);
    assert!(case.verify(&case.token().without_claim("iat")).is_ok(), "iat is optional");
}

#[test]
fn subject() {
    for case in [Case::iam(), Case::app()] {
        for wrong in [
            json!(""),
            json!("a".repeat(256)),
            json!(7),
            json!(null),
            json!(["ada"]),
            json!("a\nb"),
        ] {
            case.refuses(&case.token().claim("sub", wrong), Rejection::SubjectInvalid);
        }
        case.refuses(&case.token().without_claim("sub"), Rejection::SubjectInvalid);
        assert!(case.verify(&case.token().claim("sub", "a".repeat(255))).is_ok());
    }
}

#[test]
fn roles_come_from_the_pointer() {
    let mut case = Case::iam();
    assert!(case.verify(&case.token().without_claim("roles")).unwrap().roles.is_empty());
    for wrong in [json!("admin"), json!(["admin", 1]), json!({}), json!(null)] {
        case.refuses(&case.token().claim("roles", wrong), Rejection::RolesInvalid);
    }
    case.rules.roles = Some("/realm_access/roles".into());
    let nested = case.token().claim("realm_access", json!({ "roles": ["operator"] }));
    assert_eq!(case.verify(&nested).unwrap().roles, [Arc::from("operator")]);
    case.rules.roles = None;
    assert!(case.verify(&case.token()).unwrap().roles.is_empty());
}

#[test]
fn organisation_as_core_reads_it() {
    let case = Case::app();
    let simple = case.token().claim("organisationId", ORGANISATION.replace('-', ""));
    let identity = case.verify(&simple).unwrap();
    assert_eq!(identity.organisation.unwrap().to_string(), ORGANISATION);
    for none in [
        case.token().without_claim("organisationId"),
        case.token().claim("organisationId", json!(null)),
    ] {
        assert_eq!(case.verify(&none).unwrap().organisation, None);
    }
    for wrong in [json!("acme"), json!(""), json!(7), json!([ORGANISATION])] {
        case.refuses(&case.token().claim("organisationId", wrong), Rejection::OrganisationInvalid);
    }
}

#[test]
fn permissions_as_core_reads_them() {
    let case = Case::app();
    let held = |token: Token| case.verify(&token).unwrap().permissions.unwrap();
    assert!(held(case.token().without_claim("permissions")).is_empty());
    assert!(held(case.token().claim("permissions", json!([]))).is_empty());
    let unknown = held(case.token().claim("permissions", json!(["NEW_ONE", "no permission"])));
    assert_eq!(unknown.iter().map(Permission::as_str).collect::<Vec<_>>(), ["NEW_ONE"]);
    for wrong in [json!("CREDENTIAL_LIST"), json!([1]), json!(["A", null]), json!({}), json!(null)]
    {
        case.refuses(&case.token().claim("permissions", wrong), Rejection::PermissionsInvalid);
    }
}

#[test]
fn an_act_claim_names_its_actor() {
    let case = Case::app();
    let nested = json!({ "sub": "bridge", "act": { "sub": "earlier" } });
    let actor = case.verify(&case.token().claim("act", nested)).unwrap().actor;
    assert_eq!(actor.as_deref(), Some("bridge"), "the outermost");
    assert_eq!(case.verify(&case.token()).unwrap().actor, None);
    for wrong in [json!("bridge"), json!({}), json!({ "sub": 1 }), json!({ "sub": "" })] {
        case.refuses(&case.token().claim("act", wrong), Rejection::ActorInvalid);
    }
}

#[test]
fn in_time_is_the_same_check_again() {
    let case = Case::iam();
    let identity = case.verify(&case.token().claim("nbf", NOW.0)).unwrap();
    let at = |now| in_time(&identity, case.rules.leeway, Timestamp(now));
    assert_eq!(at(NOW.0), Ok(()));
    assert_eq!(at(NOW.0 + 660), Ok(()));
    assert_eq!(at(NOW.0 + 661), Err(Rejection::Expired));
    assert_eq!(at(NOW.0 - 61), Err(Rejection::NotYetValid));
}

proptest! {
    /// Signed claims of any shape give an identity or a rejection, never a panic, and an identity
    /// only with the subject that was signed.
    #[test]
    fn signed_claims_of_any_type(
        name in prop::sample::select(vec!["iss", "aud", "sub", "exp", "nbf", "iat", "organisationId", "permissions", "act"]),
        value in any_json(),
    ) {
        let case = Case::app();
        let token = case.token().claim(name, value);
        if let Ok(identity) = case.verify(&token) {
            prop_assert_eq!(token.claims["sub"].as_str(), Some(&*identity.subject));
            prop_assert!(token.claims["exp"].is_number());
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
