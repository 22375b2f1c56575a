use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{organisation::Organisation, sts::Actor, time::Timestamp};

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const JSON: Written<'_> = Written {
    method: "POST",
    content_type: "application/json",
    body: r#"{"jwt": "{subject_token}", "for": {"aud": "{audience}", "org": "{organisation}"}, "as": "{actor_token}", "c": "{client_id}/{scope}", "none": {}}"#,
    token: "/data/accessToken",
    expires_in: Some("/data/expiresIn"),
};

fn request(subject: &str) -> ExchangeRequest {
    ExchangeRequest {
        subject_token: subject.into(),
        subject: "alice".into(),
        actor: Some(Actor {
            subject: "bridge".into(),
            token: "actor".into(),
            expires: Timestamp(0),
        }),
        audience: "one-core".into(),
        scope: Some("a b".into()),
        organisation: Organisation::parse(ACME),
    }
}

fn faults(written: Written<'_>) -> Vec<(&'static str, String)> {
    let faults = Template::parse(written).unwrap_err();
    faults.into_iter().map(|fault| (fault.key, fault.message)).collect()
}

#[test]
fn places_of_a_json_body_are_filled() {
    let template = Template::parse(JSON).unwrap();
    let body: Value =
        serde_json::from_str(&template.body(&request("token"), Some("desk"))).unwrap();
    let expected = json!({
        "jwt": "token", "for": { "aud": "one-core", "org": ACME }, "as": "actor",
        "c": "desk/a b", "none": {},
    });
    assert_eq!(body, expected);
    let bare = ExchangeRequest { actor: None, scope: None, organisation: None, ..request("t") };
    let body: Value = serde_json::from_str(&template.body(&bare, None)).unwrap();
    assert_eq!(
        (&body["as"], &body["c"], &body["for"]["org"]),
        (&json!(""), &json!("/"), &json!(""))
    );
    assert!(template.names_the_actor());
}

#[test]
fn places_of_a_form_are_percent_encoded() {
    let written = Written {
        content_type: "application/x-www-form-urlencoded; charset=UTF-8",
        body: "token={subject_token}&organisation={organisation}&mode=core",
        ..JSON
    };
    let template = Template::parse(written).unwrap();
    assert_eq!(
        template.body(&request("a&b=c d+é{scope}"), None),
        format!("token=a%26b%3Dc+d%2B%C3%A9%7Bscope%7D&organisation={ACME}&mode=core")
    );
    assert!(!template.names_the_actor());
}

#[test]
fn every_fault_of_a_template_is_told() {
    let wrong = Written {
        method: "GET",
        content_type: "text/xml",
        body: "{subject_token} {subject}",
        token: "accessToken",
        expires_in: Some("/~2"),
    };
    let keys: Vec<_> = faults(wrong).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["method", "content_type", "token", "expires_in", "body"]);
    let body = |body| faults(Written { body, ..JSON });
    for (wrong, says) in [
        (r#"{"a": "{subject_tokens}"}"#, "{subject_tokens} is not filled in"),
        (r#"{"a": "b"}"#, "lacks {subject_token}"),
        (r#"{"a": {subject_token}}"#, "is no JSON"),
        (r#"{"a": "{subject_token}}"#, "is no JSON"),
        (r#"{"a": "\{subject_token}"}"#, "is no JSON"),
    ] {
        let found = body(wrong);
        assert!(found.len() == 1 && found[0].1.contains(says), "{wrong}: {found:?}");
    }
    assert_eq!(faults(Written { method: "post", ..JSON })[0].0, "method");
    assert_eq!(faults(Written { content_type: "application/json\n", ..JSON })[0].0, "content_type");
    assert!(Template::parse(Written { content_type: "application/vnd.a+json", ..JSON }).is_ok());
}

#[test]
fn token_and_lifetime_stand_where_the_pointers_say() {
    let template = Template::parse(JSON).unwrap();
    let read = |answer: Value| {
        let (token, lifetime) = template.read(answer.to_string().as_bytes())?;
        Some((token.expose_secret().to_owned(), lifetime))
    };
    let of = |expires| json!({ "data": { "accessToken": "t", "expiresIn": expires } });
    assert_eq!(read(of(json!(60))), Some(("t".to_owned(), Some(60))));
    assert_eq!(read(of(json!("60"))), Some(("t".to_owned(), Some(60))));
    assert_eq!(read(of(json!(null))), Some(("t".to_owned(), None)));
    for wrong in [
        of(json!(-1)),
        of(json!("soon")),
        of(json!([60])),
        json!({ "accessToken": "t" }),
        json!({ "data": { "accessToken": "" } }),
        json!({ "data": { "accessToken": 7 } }),
        json!([]),
    ] {
        assert_eq!(read(wrong.clone()), None, "{wrong}");
    }
    assert!(template.read(b"<html>").is_none());
}

proptest! {
    #[test]
    fn whatever_is_filled_in_stays_one_value(token in any::<String>()) {
        let template = Template::parse(JSON).unwrap();
        let body: Value = serde_json::from_str(&template.body(&request(&token), None)).unwrap();
        prop_assert_eq!(body["jwt"].as_str(), Some(token.as_str()));
        prop_assert_eq!(body.as_object().unwrap().len(), 5);
        let form = Written {
            content_type: "application/x-www-form-urlencoded",
            body: "a={subject_token}&b=c",
            ..JSON
        };
        let body = Template::parse(form).unwrap().body(&request(&token), None);
        let fields: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        prop_assert_eq!(fields, [("a".to_owned(), token), ("b".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn any_body_is_read_or_refused(body in "[{}a-z_\"]{0,40}") {
        let _ = Template::parse(Written { body: &body, ..JSON });
    }
}
