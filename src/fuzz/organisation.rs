//! The organisation in query and body, and Core's own readers beside ours.

use http::{HeaderMap, HeaderValue, header};

use super::{choice, halves};
use crate::{
    organisation::{
        Organisation,
        core_reader::{Body, Flat, Many, One, agrees, core_reads},
        lookup,
        place::{Named, Parts, Place, read, write},
        query,
    },
    route::PathPattern,
};

const HERE: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

fn json() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json)])
}

fn places(inject: bool) -> [[Named; 1]; 3] {
    [
        Place::Query("organisationId".into()),
        Place::Query("organisationIds[]".into()),
        Place::Body("/organisationId".into()),
    ]
    .map(|place| [Named { place, inject }])
}

/// A query and a body: what is read stays read, and what is left out is written so that it is
/// read, with nothing else changed.
pub(super) fn organisation(input: &[u8]) {
    let (query, body) = halves(input);
    let (Ok(query), Some(here)) = (std::str::from_utf8(query), Organisation::parse(HERE)) else {
        return;
    };
    let headers = json();
    let parts = Parts { query: Some(query), headers: &headers, body: Some(body) };
    for place in &places(true) {
        let Ok(named) = read(place, parts, |_| None) else { continue };
        assert_eq!(read(place, parts, |_| None).ok(), Some(named));
        let Ok(new) = write(place, parts, here) else { continue };
        if named.is_some() {
            assert!(new.query.is_none() && new.body.is_none(), "one that is named is overwritten");
            continue;
        }
        let query = new.query.as_deref().or(parts.query);
        let written = Parts { query, body: new.body.as_deref().or(parts.body), ..parts };
        assert_eq!(read(place, written, |_| None).ok(), Some(Some(here)), "{query:?}");
        if let Some(new) = &new.query {
            assert!(new.starts_with(query_before(parts)), "the query was changed: {new}");
        }
    }
    let _ = query::crosses(Some(query));
    if let Ok(theirs) = lookup::told(body, "/schema/organisationId") {
        assert!(String::from_utf8_lossy(body).len() >= theirs.to_string().len() - 4);
    }
}

fn query_before(parts: Parts<'_>) -> &str {
    parts.query.unwrap_or_default()
}

/// Differential: the gateway refuses, or Core's own crates (`serde_qs`, `serde_urlencoded`,
/// `serde_json`, `matchit`) find what was decided on and nothing else.
pub(super) fn core(input: &[u8]) {
    let (chosen, rest) = choice(input);
    match chosen % 3 {
        0 => query_as_core(rest),
        1 => body_as_core(rest),
        _ => path_as_core(rest),
    }
}

fn query_as_core(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    // What no target can hold never comes here.
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return;
    }
    let headers = HeaderMap::new();
    let parts = Parts { query: Some(query), headers: &headers, body: None };
    let [one, many, _] = places(false);
    if let Ok(decided) = read(&one, parts, |_| None) {
        let ways = [
            core_reads::<One>(query).map(|one| one.organisation_id),
            core_reads::<Flat<One>>(query).map(|flat| flat.filter.organisation_id),
            serde_urlencoded::from_str::<One>(query).ok().map(|one| one.organisation_id),
        ];
        for core in ways.into_iter().flatten() {
            assert!(agrees(decided, core.as_slice()), "{decided:?} {core:?}");
        }
    }
    if let Ok(decided) = read(&many, parts, |_| None) {
        let ways = [
            core_reads::<Many>(query).map(|many| many.organisation_ids),
            core_reads::<Flat<Many>>(query).map(|flat| flat.filter.organisation_ids),
        ];
        for core in ways.into_iter().flatten() {
            let core = core.unwrap_or_default();
            assert!(agrees(decided, &core) && core.len() <= 1, "{decided:?} {core:?}");
        }
    }
}

fn body_as_core(body: &[u8]) {
    let places = ["/organisationId", "/schema/organisationId"]
        .map(|pointer| Named { place: Place::Body(pointer.into()), inject: false });
    let headers = json();
    let parts = Parts { query: None, headers: &headers, body: Some(body) };
    if let (Ok(decided), Ok(core)) =
        (read(&places, parts, |_| None), serde_json::from_slice::<Body>(body))
    {
        let inner = core.schema.and_then(|schema| schema.organisation_id);
        let both: Vec<_> = core.organisation_id.into_iter().chain(inner).collect();
        assert!(agrees(decided, &both), "{decided:?} {both:?}");
        assert!(decided.is_none() || !both.is_empty());
    }
}

/// A pattern and a path: one that we take, Core's router takes, and both find the same values.
fn path_as_core(input: &[u8]) {
    let (pattern, path) = halves(input);
    let (Ok(pattern), Ok(path)) = (std::str::from_utf8(pattern), std::str::from_utf8(path)) else {
        return;
    };
    let Ok(ours) = PathPattern::parse(pattern) else { return };
    let mut core = matchit::Router::new();
    assert!(core.insert(pattern, ()).is_ok(), "Core cannot hold {pattern}");
    if crate::request::path::canonical(path).is_err() {
        return;
    }
    let route = crate::route::Pattern {
        path: ours,
        hosts: Vec::new(),
        methods: crate::route::Methods::EVERY,
    };
    let Ok(table) = crate::route::RouteTable::new(vec![(route, ())]) else { return };
    let found = table.find("localhost", &http::Method::GET, path).ok();
    let theirs = core.at(path).ok();
    if let Some(theirs) = &theirs {
        assert!(found.is_some(), "Core has a route for {path} by {pattern}");
        for (name, value) in theirs.params.iter() {
            assert_eq!(found.as_ref().and_then(|found| found.parameter(name)), Some(value));
        }
    } else if found.is_some() {
        // The one difference: `/a/{*rest}` covers `/a/` here, which leads to no parameter.
        assert!(path.ends_with('/') && pattern.starts_with(path), "{pattern} {path}");
    }
}
