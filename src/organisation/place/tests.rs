use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    organisation::core_reader::{Body, Flat, Many, One, agrees, core_reads},
    refusal::Reason,
};

const A: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const B: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn named(place: Place) -> Named {
    Named { place, inject: false }
}

fn in_query_as(name: &str, query: &str) -> Result<Option<Organisation>, Reason> {
    let headers = HeaderMap::new();
    let parts = Parts { query: Some(query), headers: &headers, body: None };
    read(&[named(Place::Query(name.into()))], parts, |_| None).map_err(|refusal| refusal.reason)
}

fn in_query(query: &str) -> Result<Option<Organisation>, Reason> {
    in_query_as("organisationId", query)
}

fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers
}

#[test]
fn a_query_parameter() {
    let a = Ok(Organisation::parse(A));
    assert_eq!(in_query(&format!("page=0&organisationId={A}")), a);
    assert_eq!(in_query(&format!("organis%61tionId={A}")), a);
    assert_eq!(in_query(&format!("organisationId={}", A.to_uppercase())), a);
    assert_eq!(in_query(&format!("organisationId=%7B{A}%7d")), a);
    assert_eq!(in_query("page=0"), Ok(None));
    assert_eq!(in_query_as("organisationIds[]", &format!("organisationIds[]={A}")), a);
    assert_eq!(in_query_as("organisationIds[]", &format!("organisationIds%5B%5d={A}")), a);
    for wrong in [
        "organisationId=".to_owned(),
        "organisationId".to_owned(),
        format!("organisationId={A}&organisationId={B}"),
        format!("organisationId={A}&organisationId={A}"),
        format!("organisationId={A}+"),
        format!("organisationId={A},{B}"),
        format!("organisationId[]={A}"),
        format!("organisationId[0]={A}"),
        format!("organisationId%5B%5D={A}"),
        format!("[organisationId]={A}"),
        format!("organisationIds={A}"),
        format!("x;organisationId={A}"),
        format!("+organisationId={A}"),
        format!("organisationId={A}&organisationId[x]={B}"),
    ] {
        assert_eq!(in_query(&wrong), Err(Reason::OrganisationInvalid), "{wrong}");
    }
    for wrong in ["organisationIds", "organisationIds[0]", "organisationIds[][]"] {
        let query = format!("{wrong}={A}");
        let read = in_query_as("organisationIds[]", &query);
        assert_eq!(read, Err(Reason::OrganisationInvalid), "{wrong}");
    }
    let twice = format!("organisationIds[]={A}&organisationIds%5B%5D={B}");
    assert!(in_query_as("organisationIds[]", &twice).is_err());
}

#[test]
fn a_switch_across_organisations_is_seen_in_any_spelling() {
    for across in [
        "showSystemHistory=true",
        "showSystemHistory=TRUE",
        "showSystemHistory=1",
        "showSystemHistory",
        "showSystemHistory=",
        "showSystemHistory=%74rue",
        "show%53ystemHistory=true",
        "showSystemHistory[]=true",
        "page=0&showSystemHistory=false&showSystemHistory=true",
    ] {
        assert!(query::crosses(Some(across)), "{across}");
    }
    for within in [None, Some(""), Some("page=0"), Some("a=1&showSystemHistory=false")] {
        assert!(!query::crosses(within), "{within:?}");
    }
}

#[test]
fn places_have_to_agree() {
    let places = [
        named(Place::Query("o".into())),
        named(Place::Path("id".into())),
        named(Place::Header("x-o".into())),
        named(Place::Body("/o".into())),
    ];
    let mut headers = json_headers();
    headers.insert("x-o", A.parse().unwrap());
    let (query, body) = (format!("o={A}"), format!(r#"{{"o":"{A}"}}"#));
    let parts = Parts { query: Some(&query), headers: &headers, body: Some(body.as_bytes()) };
    assert_eq!(read(&places, parts, |_| Some(A)).unwrap(), Organisation::parse(A));
    assert!(read(&places, parts, |_| Some(B)).is_err());
    let other = format!(r#"{{"o":"{B}"}}"#);
    let parts = Parts { body: Some(other.as_bytes()), ..parts };
    assert!(read(&places, parts, |_| Some(A)).is_err());
    headers.append("x-o", A.parse().unwrap());
    let parts = Parts { query: None, headers: &headers, body: None };
    assert!(read(&places, parts, |_| None).is_err());
}

#[test]
fn it_is_written_where_it_is_left_out() {
    let inject = |place| Named { place, inject: true };
    let places = [
        inject(Place::Query("organisationIds[]".into())),
        inject(Place::Body("/organisationId".into())),
        inject(Place::Body("/schema/organisationId".into())),
    ];
    let here = Organisation::parse(A).unwrap();
    let headers = json_headers();
    let body = br#"{"schema":{"x":1}}"#;
    let parts = Parts { query: Some("page=0"), headers: &headers, body: Some(body) };
    let new = write(&places, parts, here).unwrap();
    assert_eq!(new.query, Some(format!("page=0&organisationIds%5B%5D={A}")));
    let body = new.body.clone().map(|body| String::from_utf8(body).unwrap());
    let expected =
        format!(r#"{{"organisationId":"{A}","schema":{{"organisationId":"{A}","x":1}}}}"#);
    assert_eq!(body, Some(expected));
    // What was written is what is read, and a second time nothing is left out.
    let parts = Parts { query: new.query.as_deref(), headers: &headers, body: new.body.as_deref() };
    assert_eq!(read(&places, parts, |_| None).unwrap(), Some(here));
    assert_eq!(write(&places, parts, here).unwrap(), Rewritten::default());
}

/// Otherwise the properties below would hold of nothing.
#[test]
fn core_takes_what_is_taken_here() {
    let here = Uuid::parse_str(A).unwrap();
    for query in [format!("organisationId={A}"), format!("organis%61tionId=%7B{A}%7D&page=0")] {
        assert!(in_query(&query).unwrap().is_some());
        assert_eq!(core_reads::<One>(&query).unwrap().organisation_id, Some(here), "{query}");
    }
    for query in [format!("organisationIds[]={A}"), format!("organisationIds%5B%5D={A}")] {
        assert!(in_query_as("organisationIds[]", &query).unwrap().is_some());
        let core = core_reads::<Many>(&query).unwrap().organisation_ids;
        assert_eq!(core, Some(vec![here]), "{query}");
    }
}

fn uuids() -> impl Strategy<Value = String> {
    let spelling = |text: &'static str| {
        prop_oneof![
            4 => Just(text.to_owned()),
            1 => Just(text.to_uppercase()),
            1 => Just(text.replace('-', "")),
            1 => Just(format!("{{{text}}}")),
            1 => Just(format!("%7B{text}%7D")),
            1 => Just(format!("urn:uuid:{text}")),
            1 => Just(text.replace('a', "%61")),
            1 => Just(format!("{text} ")),
            1 => Just(format!("{text}+")),
        ]
    };
    prop_oneof![4 => spelling(A), 4 => spelling(B), 1 => "[ -%'-~]{0,6}"]
}

fn keys() -> impl Strategy<Value = String> {
    let base = prop_oneof![
        Just("organisationId"),
        Just("organisationIds"),
        Just("organis%61tionId"),
        Just("organisation%49ds"),
        Just("organisationid"),
        Just("page"),
    ];
    let tail = prop_oneof![
        6 => Just(""),
        6 => Just("[]"),
        3 => Just("%5B%5D"),
        1 => Just("%5b]"),
        1 => Just("[%5D"),
        1 => Just("[0]"),
        1 => Just("[1]"),
        1 => Just("%5B0%5D"),
        1 => Just("[x]"),
        1 => Just("[][]"),
        1 => Just("%255B%255D"),
        1 => Just("."),
        1 => Just("+"),
        1 => Just("%00"),
    ];
    let head = prop_oneof![12 => Just(""), 1 => Just("["), 1 => Just("+"), 1 => Just("x;")];
    (head, base, tail).prop_map(|(head, base, tail)| format!("{head}{base}{tail}"))
}

fn queries() -> impl Strategy<Value = String> {
    let equals = prop_oneof![12 => Just("="), 1 => Just(""), 1 => Just("%3D"), 1 => Just("==")];
    let pair = (keys(), equals, uuids())
        .prop_map(|(key, equals, value)| format!("{key}{equals}{value}").replace(' ', "%20"));
    let glue = prop_oneof![12 => Just("&"), 1 => Just("&&"), 1 => Just(";"), 1 => Just("%26")];
    (proptest::collection::vec((pair, glue), 0..4)).prop_map(|pairs| {
        pairs.into_iter().flat_map(|(pair, glue)| [pair, glue.to_owned()]).collect::<String>()
    })
}

fn bodies() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        6 => uuids().prop_map(|text| format!("{text:?}")),
        1 => uuids().prop_map(|text| format!("{text:?}").replace('6', "\\u0036")),
        2 => Just("null".to_owned()),
        1 => uuids().prop_map(|text| format!("[{text:?}]")),
        1 => Just("1".to_owned()),
    ];
    let key = prop_oneof![
        6 => Just("organisationId"),
        1 => Just("organisation\\u0049d"),
        1 => Just("organisationid"),
        1 => Just("x"),
    ];
    let member = (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let members = proptest::collection::vec(member.clone(), 0..3);
    let schema = proptest::collection::vec(member, 0..3);
    let frame = prop_oneof![
        8 => Just(("{", "}")), 1 => Just((" {", "} ")), 1 => Just(("[", "]")),
        1 => Just(("{", "},")), 1 => Just(("\u{feff}{", "}")),
    ];
    let array = uuids().prop_map(|text| format!("[{text:?},null]"));
    let nested = (frame, members, schema).prop_map(|((open, close), mut members, schema)| {
        members.push(format!("\"schema\":{{{}}}", schema.join(",")));
        format!("{open}{}{close}", members.join(","))
    });
    prop_oneof![8 => nested, 1 => array]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_query_is_read_or_refused(query in "[ -~]{0,80}") {
        let _ = in_query(&query);
    }

    /// The gateway refuses, or Core's own reader finds nothing else than what was decided.
    #[test]
    fn a_query_is_refused_or_read_as_core_reads_it(query in queries()) {
        if let Ok(decided) = in_query(&query) {
            for core in [
                core_reads::<One>(&query).map(|one| one.organisation_id),
                core_reads::<Flat<One>>(&query).map(|flat| flat.filter.organisation_id),
                serde_urlencoded::from_str::<One>(&query).ok().map(|one| one.organisation_id),
            ].into_iter().flatten() {
                prop_assert!(agrees(decided, core.as_slice()), "{decided:?} {core:?}");
            }
        }
        if let Ok(decided) = in_query_as("organisationIds[]", &query) {
            for core in [
                core_reads::<Many>(&query).map(|many| many.organisation_ids),
                core_reads::<Flat<Many>>(&query).map(|flat| flat.filter.organisation_ids),
            ].into_iter().flatten() {
                let core = core.unwrap_or_default();
                prop_assert!(agrees(decided, &core) && core.len() <= 1, "{decided:?} {core:?}");
            }
        }
    }

    /// What is written is what Core reads, and so nothing to fall back to.
    #[test]
    fn what_is_written_is_what_core_reads(query in queries(), body in bodies()) {
        let here = Organisation::parse(A).unwrap();
        let inject = |place| Named { place, inject: true };
        let headers = json_headers();
        let parts = Parts { query: Some(&query), headers: &headers, body: Some(body.as_bytes()) };
        let bare = read(&[named(Place::Query("organisationId".into()))], parts, |_| None);
        if let (Ok(None), Ok(new)) =
            (bare, write(&[inject(Place::Query("organisationId".into()))], parts, here))
            && let Some(one) = core_reads::<One>(&new.query.clone().unwrap())
        {
            prop_assert!(one.organisation_id.is_some_and(|one| agrees(Some(here), &[one])));
        }
        let bare = read(&[named(Place::Query("organisationIds[]".into()))], parts, |_| None);
        if let (Ok(None), Ok(new)) =
            (bare, write(&[inject(Place::Query("organisationIds[]".into()))], parts, here))
            && let Some(many) = core_reads::<Many>(&new.query.clone().unwrap())
        {
            let ids = many.organisation_ids.unwrap_or_default();
            prop_assert!(ids.len() == 1 && agrees(Some(here), &ids), "{ids:?}");
        }
        let place = [inject(Place::Body("/organisationId".into()))];
        if let (Ok(None), Ok(new)) = (read(&place, parts, |_| None), write(&place, parts, here)) {
            let new = new.body.unwrap();
            if let Ok(core) = serde_json::from_slice::<Body>(&new) {
                prop_assert!(core.organisation_id.is_some_and(|one| agrees(Some(here), &[one])));
            }
        }
    }

    #[test]
    fn a_body_is_refused_or_read_as_core_reads_it(body in bodies()) {
        let places = [
            named(Place::Body("/organisationId".into())),
            named(Place::Body("/schema/organisationId".into())),
        ];
        let headers = json_headers();
        let parts = Parts { query: None, headers: &headers, body: Some(body.as_bytes()) };
        if let (Ok(decided), Ok(core)) =
            (read(&places, parts, |_| None), serde_json::from_str::<Body>(&body))
        {
            let inner = core.schema.and_then(|schema| schema.organisation_id);
            let both: Vec<_> = core.organisation_id.into_iter().chain(inner).collect();
            prop_assert!(agrees(decided, &both), "{decided:?} {both:?}");
            prop_assert!(decided.is_none() || !both.is_empty());
        }
    }
}
