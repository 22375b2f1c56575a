use proptest::prelude::*;

use super::*;
use crate::refusal::Reason;

const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const B: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn ids(template: &str, parameter: Option<&str>, body: Option<&str>) -> Result<Vec<String>, Reason> {
    let mut ids = Vec::new();
    Template::parse(template)
        .unwrap()
        .ids(|_| parameter, body.map(str::as_bytes), &mut ids)
        .map_err(|refusal| refusal.reason)?;
    Ok(ids.iter().map(ToString::to_string).collect())
}

#[test]
fn a_path_has_the_place_of_one_id() {
    let template = Template::parse("/api/credential/v1/{id}").unwrap();
    assert_eq!(template.parameter(), Some("id"));
    assert_eq!(template.path(Uuid::parse_str(A).unwrap()), format!("/api/credential/v1/{A}"));
    let of_body = Template::parse("/api/key/v1/{/keys/*}/x").unwrap();
    assert!(of_body.is_in_body());
    assert_eq!(of_body.path(Uuid::parse_str(A).unwrap()), format!("/api/key/v1/{A}/x"));
    for wrong in [
        "",
        "/api/x",
        "/api/{a}/{b}",
        "/api/{}",
        "/api/{*rest}",
        "api/{id}",
        "/api/x{id}",
        "/api/{id}x",
        "/api//{id}",
        "/api/../{id}",
        "/api/{id}/..",
        "/api/{id}?a=b",
        "/api/{id",
        "/api/%2e/{id}",
        "//evil.example/{id}",
        "/api/{id}#",
        "/a b/{id}",
    ] {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn only_ids_go_on_and_in_one_spelling() {
    let template = "/api/credential/v1/{id}";
    for spelling in [A, &A.to_uppercase(), &A.replace('-', ""), &format!("urn:uuid:{A}")] {
        assert_eq!(ids(template, Some(spelling), None), Ok(vec![A.to_owned()]), "{spelling}");
    }
    for wrong in ["", "..", "1", &format!("{A}/.."), &format!("{A}?x"), "%2e%2e", &format!(" {A}")]
    {
        let refused = ids(template, Some(wrong), None);
        assert_eq!(refused, Err(Reason::OrganisationInvalid), "{wrong}");
    }
}

#[test]
fn the_body_names_one_or_many_or_none() {
    let one = |body: &str| ids("/api/x/v1/{/a/b}", None, Some(body));
    assert_eq!(one(&format!(r#"{{"a":{{"b":"{A}"}}}}"#)), Ok(vec![A.to_owned()]));
    for none in ["{}", r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":{"b":null}}"#] {
        assert_eq!(one(none), Ok(vec![]), "{none}");
    }
    let many = |body: &str| ids("/api/x/v1/{/a/*/id}", None, Some(body));
    let list = format!(r#"{{"a":[{{"id":"{A}"}},{{"id":"{B}"}},{{"id":"{A}"}},{{}}]}}"#);
    assert_eq!(many(&list), Ok(vec![A.to_owned(), B.to_owned()]));
    for wrong in [
        format!(r#"{{"a":{{"id":"{A}"}}}}"#),
        format!(r#"{{"a":["{A}"]}}"#),
        format!(r#"{{"a":[[{{"id":"{A}"}}]]}}"#),
        format!(r#"{{"a":[{{"id":"{A}","id":"{B}"}}]}}"#),
        format!(r#"{{"a":[{{"id":"{A}"}}],"a":[]}}"#),
        r#"{"a":[{"id":1}]}"#.to_owned(),
        r#"{"a":[{"id":"x"}]}"#.to_owned(),
        r#"{"a":"x"}"#.to_owned(),
        "[]".to_owned(),
        "nonsense".to_owned(),
    ] {
        assert_eq!(many(&wrong), Err(Reason::OrganisationInvalid), "{wrong}");
    }
    let crowd: Vec<_> =
        (0..=MOST as u128).map(|at| format!("\"{}\"", Uuid::from_u128(at))).collect();
    let crowd = |count: usize| format!(r#"{{"a":[{}]}}"#, crowd[..count].join(","));
    assert_eq!(ids("/x/{/a/*}", None, Some(&crowd(MOST))).unwrap().len(), MOST);
    assert!(ids("/x/{/a/*}", None, Some(&crowd(MOST + 1))).is_err());
}

#[test]
fn an_answer_says_whose_or_nothing_for_certain() {
    let organisation = Organisation::parse(A).unwrap();
    let answer = format!(r#"{{"id":"{B}","schema":{{"organisationId":"{A}"}}}}"#);
    assert_eq!(told(answer.as_bytes(), "/schema/organisationId"), Ok(organisation));
    for lie in [
        "{}",
        "[]",
        "",
        r#"{"schema":{"organisationId":null}}"#,
        r#"{"schema":{"organisationId":7}}"#,
        r#"{"schema":{"organisationId":"acme"}}"#,
        "<html>",
    ] {
        assert!(told(lie.as_bytes(), "/schema/organisationId").is_err(), "{lie}");
    }
    let twice = format!(r#"{{"organisationId":"{A}","organisationId":"{B}"}}"#);
    assert!(told(twice.as_bytes(), "/organisationId").is_err());
}

proptest! {
    /// Whatever a request names, a look-up asks for one id below the template's own path.
    #[test]
    fn no_id_leads_elsewhere(value in "\\PC{0,60}") {
        let template = Template::parse("/api/credential/v1/{id}").unwrap();
        let mut ids = Vec::new();
        if template.ids(|_| Some(&value), None, &mut ids).is_ok() {
            let path = template.path(ids[0]);
            let id = path.strip_prefix("/api/credential/v1/").unwrap();
            prop_assert_eq!(id.len(), 36);
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in "\\PC{0,80}") {
        let mut ids = Vec::new();
        let template = Template::parse("/x/{/a/*/b}").unwrap();
        let _ = template.ids(|_| None, Some(body.as_bytes()), &mut ids);
    }
}
