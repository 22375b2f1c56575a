//! Two routes for one request, and routes for no request.
//!
//! Routes of one shape may share a path as long as hosts or methods tell them apart. Shapes that
//! the router cannot keep apart (`/a/{id}` beside `/a/{*rest}`) are found by asking the router.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Notes};
use crate::config::{
    key_path::KeyPath,
    sections::{Method, Route},
    types::HostName,
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    same_request(draft, notes);
    let Some(hosts) = answered(draft) else { return };
    for (here, route) in draft.routes() {
        for (at, host) in route.hosts.iter().enumerate() {
            if !hosts.contains(host) {
                let message = format!("{host} is none of the hosts answered; add it to hosts");
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
            let earlier = group.iter().take(at).find(|(_, earlier)| overlap(earlier, route));
            if let Some((earlier, _)) = earlier {
                let place = notes.root.nearest(&earlier.key("path")).clone();
                let message = format!(
                    "answers the same requests as {earlier} ({place}); tell them apart by \
                     methods or hosts, or drop one"
                );
                notes.fault(&here.key("path"), message);
            }
        }
    }
}

fn overlap(one: &Route, other: &Route) -> bool {
    let hosts = one.hosts.is_empty()
        || other.hosts.is_empty()
        || one.hosts.iter().any(|host| other.hosts.contains(host));
    let methods = one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|&method| answers(other, method))
        || other.methods.iter().any(|&method| answers(one, method));
    hosts && methods
}

/// GET stands for HEAD as well.
fn answers(route: &Route, method: Method) -> bool {
    route.methods.contains(&method)
        || (method == Method::Head && route.methods.contains(&Method::Get))
}

fn indistinct(
    draft: &Draft,
    host: &HostName,
    reported: &mut BTreeSet<KeyPath>,
    notes: &mut Notes<'_, '_>,
) {
    let mut router = matchit::Router::new();
    let mut shapes = BTreeSet::new();
    for (here, route) in draft.routes() {
        let here = here.key("path");
        let answers_host = route.hosts.is_empty() || route.hosts.contains(host);
        if !answers_host || !shapes.insert(route.path.shape()) {
            continue;
        }
        if let Err(error) = router.insert(route.path.as_str(), ())
            && reported.insert(here.clone())
        {
            let message = match error {
                matchit::InsertError::Conflict { with } => {
                    format!("cannot be told apart from {with}; name the segments that it is about")
                }
                error => format!("is no pattern: {error}"),
            };
            notes.fault(&here, message);
        }
    }
}
