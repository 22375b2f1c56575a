use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{identity::Proof, time::Timestamp};

fn identity(claims: serde_json::Value) -> Identity {
    let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
    Identity {
        proof: Proof::IamToken,
        issuer: "https://iam.example.com".into(),
        subject: "alice".into(),
        roles: vec!["admin".into()],
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::new(claims),
        expires: Timestamp(0),
        token: "secret".to_owned().into(),
    }
}

fn ask(source: &str, claims: serde_json::Value) -> Result<bool, &'static str> {
    let mut headers = HeaderMap::new();
    headers.insert("x-kind", "batch".parse().unwrap());
    headers.insert("authorization", "Bearer x".parse().unwrap());
    let asked = Asked {
        method: "GET",
        path: "/api/x",
        host: "desk.example.com",
        query: Some("a=b"),
        headers: &headers,
        client: "192.0.2.7".parse().ok(),
    };
    let here = Organisation::parse("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11");
    Condition::compile(source).unwrap().holds(&identity(claims), here, &asked)
}

#[test]
fn true_and_false() {
    let claims = || json!({ "amr": ["pwd", "mfa"], "level": 3, "share": 0.5, "a": { "b": "c" } });
    for source in [
        "true",
        r#"claims.amr.exists(m, m == "mfa")"#,
        r#""mfa" in claims.amr && size(claims.amr) == 2"#,
        "claims.level >= 2 && claims.share < 1.0",
        r#"has(claims.a.b) && claims.a["b"].startsWith("c")"#,
        "!has(claims.missing)",
        r#"request.method == "GET" && request.path.startsWith("/api/")"#,
        r#"request.host == "desk.example.com" && request.query == "a=b""#,
        r#"request.headers["x-kind"] == "batch" && request.client == "192.0.2.7""#,
        r#"!("authorization" in request.headers)"#,
        r#"organisation == "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11""#,
        r#"subject == "alice" && "admin" in roles"#,
        r#"claims.amr.all(m, ["pwd", "mfa"].exists(known, known == m))"#,
        r#"claims.amr.filter(m, m != "pwd").map(m, m + "!") == ["mfa!"]"#,
    ] {
        assert_eq!(ask(source, claims()), Ok(true), "{source}");
    }
    assert_eq!(ask(r#"claims.amr.exists(m, m == "hwk")"#, claims()), Ok(false));
}

#[test]
fn what_is_neither_fails() {
    for source in
        ["claims.amr", "claims.missing == 1", "claims.amr > 3", "claims.n / 0 == 1", "subject"]
    {
        assert!(ask(source, json!({ "amr": ["mfa"], "n": 1 })).is_err(), "{source}");
    }
    let many: Vec<_> = (0..2000).collect();
    assert!(ask("claims.many.exists(m, m == 1)", json!({ "many": many })).is_err());
}

#[test]
fn faults_are_found_before_any_request() {
    for (source, words) in [
        ("claims.amr.exists(m, m ==", "is not CEL"),
        ("", "is not CEL"),
        ("claim.amr == 1", "no variable `claim`"),
        ("[1].all(m, n == m)", "no variable `n`"),
        ("request.body == ''", "no request.body"),
        ("subject.matches('a')", "no function `matches`"),
        ("now() > 1", "no function `now`"),
        ("Thing{a: 1} == 1", "no type `Thing`"),
        ("1 + 2", "neither true nor false"),
        ("'yes'", "neither true nor false"),
        ("claims.a.all(a, claims.b.all(b, a == b))", "loop within a loop"),
    ] {
        let fault = Condition::compile(source).err().unwrap_or_default();
        assert!(fault.contains(words), "{source}: {fault:?}");
    }
    assert!(Condition::compile(&" ".repeat(LONGEST + 1)).is_err());
    assert!(Condition::compile(&format!("{}true{}", "(".repeat(500), ")".repeat(500))).is_err());
    assert!(Condition::compile(&"1+".repeat(900)).is_err());
    let long = format!("{}subject == 'x'", "subject == 'y' || ".repeat(40));
    assert!(Condition::compile(&long).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_compiled_or_refused(source in r#"[a-z.\[\](){}!&|=<>+"',:? 0-9]{0,60}"#) {
        let _ = Condition::compile(&source);
    }
}
