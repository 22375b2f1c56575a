//! Two routes for one request, and routes for no request.
//!
//! Routes of one shape may share a path as long as hosts or methods tell them apart. Shapes that
//! the router cannot keep apart (`/a/{id}` beside `/a/{*rest}`) are found by asking the router.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Notes, path};
use crate::admission::JWKS_PATH;
use crate::config::{
    key_path::KeyPath,
    sections::{Method, Route},
    types::{HostName, PathPattern},
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    same_request(draft, notes);
    out_of_reach(draft, notes);
    let Some(hosts) = answered(draft) else { return };
    for (here, route) in draft.routes() {
        for (at, host) in route.hosts.iter().enumerate() {
            if !hosts.contains(host) {
                let listed = if draft.hosts.is_absent() { "public_url" } else { "hosts" };
                let place = notes.root.nearest(&path(listed));
                let message = format!(
                    "{host} is none of the hosts answered ({listed}, {place}), so it can never \
                     match; add it to hosts"
                );
                notes.fault(&here.key("hosts").index(at), message);
            }
        }
    }
    let mut reported = BTreeSet::new();
    for host in &hosts {
        indistinct(draft, host, &mut reported, notes);
    }
}

/// The hosts that are answered; `None` when that could not be read.
fn answered(draft: &Draft) -> Option<BTreeSet<HostName>> {
    match &draft.hosts {
        super::Part::Read(hosts) if !hosts.is_empty() => Some(hosts.iter().cloned().collect()),
        super::Part::Faulty => None,
        _ => draft.public_url.get().map(|public| BTreeSet::from([public.host_name().clone()])),
    }
}

fn same_request(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let mut by_shape: BTreeMap<String, Vec<(KeyPath, &Route)>> = BTreeMap::new();
    for (here, route) in draft.routes() {
        by_shape.entry(route.path.shape()).or_default().push((here, route));
    }
    for group in by_shape.values() {
        for (at, (here, route)) in group.iter().enumerate() {
            let before = || group.iter().take(at);
            let Some((earlier, shared)) = before().find_map(|(earlier, other)| {
                let shared = shared_methods(route, other);
                (!shared.is_empty()).then_some((earlier, shared))
            }) else {
                continue;
            };
            let place = notes.root.nearest(&earlier.key("path"));
            let never = methods(route).iter().all(|method| {
                before().any(|(_, other)| {
                    methods(other).contains(method) && answers_every_host_of(other, route)
                })
            });
            let what = if never {
                " and can never match".to_owned()
            } else {
                format!(": {}", shared.into_iter().collect::<Vec<_>>().join(", "))
            };
            let message = format!(
                "answers the same requests as {earlier} ({place}){what}; tell them apart by \
                 methods or hosts, or drop one"
            );
            notes.fault(&here.key("path"), message);
        }
    }
}

/// Methods that two routes of one shape both answer, on a host of both.
fn shared_methods(one: &Route, other: &Route) -> BTreeSet<&'static str> {
    let hosts = one.hosts.is_empty()
        || other.hosts.is_empty()
        || one.hosts.iter().any(|host| other.hosts.contains(host));
    if hosts {
        methods(one).intersection(&methods(other)).copied().collect()
    } else {
        BTreeSet::new()
    }
}

fn answers_every_host_of(one: &Route, other: &Route) -> bool {
    let all = |host| one.hosts.contains(host);
    one.hosts.is_empty() || (!other.hosts.is_empty() && other.hosts.iter().all(all))
}

/// What a route answers: GET stands for HEAD as well, and no method for every one.
fn methods(route: &Route) -> BTreeSet<&'static str> {
    let written = if route.methods.is_empty() { Method::ALL } else { &*route.methods };
    let mut methods: BTreeSet<_> = written.iter().map(|method| method.as_str()).collect();
    if methods.contains(Method::Get.as_str()) {
        methods.insert(Method::Head.as_str());
    }
    methods
}

/// Routes that no request reaches, whatever the other routes are.
fn out_of_reach(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let longest = draft.limits.get().map(|limits| limits.target.as_usize());
    for (here, route) in draft.routes() {
        let here = here.key("path");
        let shortest = route.path.shortest_match();
        if let Some(longest) = longest.filter(|longest| shortest > *longest) {
            let place = notes.root.nearest(&path("limits.target"));
            let message = format!(
                "can never match: its paths have {shortest} bytes at least, and limits.target \
                 ({place}) lets {longest} pass"
            );
            notes.fault(&here, message);
        }
        if route.path.as_str() == JWKS_PATH && !draft.issuer.is_absent() {
            let place = notes.root.nearest(&path("sts.issuer"));
            let message = format!(
                "can never match: the gateway itself publishes the keys of sts.issuer ({place}) \
                 there"
            );
            notes.fault(&here, message);
        }
    }
}

fn indistinct(
    draft: &Draft,
    host: &HostName,
    reported: &mut BTreeSet<KeyPath>,
    notes: &mut Notes<'_, '_>,
) {
    let mut router = matchit::Router::new();
    let mut shapes = BTreeMap::new();
    for (here, route) in draft.routes() {
        let here = here.key("path");
        let answers_host = route.hosts.is_empty() || route.hosts.contains(host);
        if !answers_host || shapes.contains_key(&route.path.shape()) {
            continue;
        }
        shapes.insert(route.path.shape(), here.clone());
        if let Err(error) = router.insert(route.path.as_str(), ())
            && reported.insert(here.clone())
        {
            let message = match error {
                matchit::InsertError::Conflict { with } => {
                    let other = PathPattern::parse(&with).ok();
                    let other = other.and_then(|with| shapes.get(&with.shape()));
                    let place = other.map_or_else(String::new, |other| {
                        format!(" ({other}, {})", notes.root.nearest(other))
                    });
                    format!(
                        "cannot be told apart from {with}{place}; name the segments that it is \
                         about"
                    )
                }
                error => format!("is no pattern: {error}"),
            };
            notes.fault(&here, message);
        }
    }
}
