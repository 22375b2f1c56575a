//! Upstreams that check nothing themselves: what has to stand in their place, or the gateway does
//! not start.
//!
//! Such an upstream serves whoever reaches it, in every organisation. So each of its operations
//! needs a rule here that asks for no less than the upstream itself would, and nothing of the
//! file may take that rule away again.

use std::collections::BTreeMap;

use url::Url;

use super::{Draft, Notes, Part, path};
use crate::config::{
    key_path::KeyPath,
    sections::{Accept, Access, ActAs, LogTarget, Route, UpstreamAuth},
    suggest::{hint, quoted},
    types::{OrganisationPlace, Origin, Place},
};
use crate::{config::AuditDemand, permission::Requirement};

/// Names of upstreams that check nothing, with the word of their mode.
type Unchecked<'d> = BTreeMap<&'d str, &'static str>;

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let unchecked: Unchecked<'_> = draft
        .upstreams
        .iter()
        .filter_map(|(name, upstream)| Some((name.as_str(), mode(&upstream.get()?.auth)?)))
        .collect();
    acknowledged(draft, &unchecked, notes);
    networks(draft, &unchecked, notes);
    audit(draft, notes);
    lookups(draft, notes);
    probes(draft, notes);
    switched_off(draft, &unchecked, notes);
    for (name, upstream) in &draft.upstreams {
        let Some(UpstreamAuth::UnsafeStatic { static_token }) = upstream.get().map(|it| &it.auth)
        else {
            continue;
        };
        // Core compares what follows `Bearer ` byte for byte.
        if !static_token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            let here = path("upstreams").key(name.as_str()).key("auth").key("static_token");
            notes.fault(&here, "has a character that no bearer token has, such as a space");
        }
    }
    for (here, route) in draft.routes() {
        if let Some(mode) = unchecked.get(route.upstream.as_str()) {
            self::route(route, mode, &here, draft, notes);
        }
    }
}

/// The word of a mode in which nothing is checked.
const fn mode(auth: &UpstreamAuth) -> Option<&'static str> {
    match auth {
        UpstreamAuth::UnsafeNone => Some("UNSAFE_NONE"),
        UpstreamAuth::UnsafeStatic { .. } => Some("UNSAFE_STATIC"),
        UpstreamAuth::Sts { .. }
        | UpstreamAuth::Iam
        | UpstreamAuth::None
        | UpstreamAuth::Extension { .. } => None,
    }
}

fn acknowledged(draft: &Draft, unchecked: &Unchecked<'_>, notes: &mut Notes<'_, '_>) {
    let here = path("perimeter.acknowledge");
    let none = Vec::new();
    let named = match &draft.acknowledged {
        Part::Read(named) => named,
        Part::Absent => &none,
        Part::Faulty => return,
    };
    for (name, mode) in unchecked {
        if !named.iter().any(|one| one == name) {
            let message = format!(
                "{mode}: whoever reaches this upstream may do everything there, and this gateway \
                 alone is to prevent it; write its name into perimeter.acknowledge"
            );
            notes.fault(&path("upstreams").key(*name).key("auth").key("mode"), message);
        }
    }
    for (at, name) in named.iter().enumerate() {
        let here = here.index(at);
        if !draft.upstreams.contains_key(name) {
            let known = hint(name, unchecked.keys().copied());
            notes.fault(&here, format!("unknown upstream {}{known}", quoted(name)));
        } else if draft.upstreams.get(name).is_some_and(|upstream| upstream.get().is_some())
            && !unchecked.contains_key(name.as_str())
        {
            let name = quoted(name);
            notes.fault(&here, format!("{name} has no UNSAFE_ mode; take it off the list"));
        } else if named.iter().take(at).any(|earlier| earlier == name) {
            notes.fault(&here, "stands in the list twice");
        }
    }
}

fn networks(draft: &Draft, unchecked: &Unchecked<'_>, notes: &mut Notes<'_, '_>) {
    if draft.perimeter.is_absent() && !unchecked.is_empty() {
        let message = "is missing, and an upstream checks nothing itself; perimeter.allow_clients \
                       has to name the networks that clients may come from";
        notes.fault(&path("perimeter"), message);
    }
    let here = path("perimeter.allow_clients");
    let is_there = notes.root.at(&here).is_some_and(|node| !node.is_null());
    if is_there && draft.perimeter.get().is_some_and(|it| it.allow_clients.is_empty()) {
        notes.fault(&here, "names no network; nobody could come in");
    }
}

fn audit(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let required =
        draft.perimeter.get().is_some_and(|perimeter| perimeter.audit == AuditDemand::Required);
    let off = draft.logs.get().is_some_and(|logs| logs.audit == LogTarget::Off);
    if required && off {
        let message = "is off, and perimeter.audit is required; no request could be served";
        notes.fault(&path("logs.audit"), message);
    }
}

fn lookups(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let Some(bounds) = draft.perimeter.get().map(|perimeter| &perimeter.organisation_lookup) else {
        return;
    };
    let here = path("perimeter.organisation_lookup");
    notes.above_zero(&here, &[("positive", bounds.positive), ("timeout", bounds.timeout)]);
    notes.at_least_one(&here, &[("entries", bounds.entries)]);
}

fn probes(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let Some(perimeter) = draft.perimeter.get() else { return };
    let here = path("perimeter");
    notes.above_zero(&here, &[("probe_interval", perimeter.probe_interval)]);
    if perimeter.probe.len() > MOST_PROBES {
        notes.fault(&here.key("probe"), format!("names more than {MOST_PROBES} URLs"));
    }
    for (at, url) in perimeter.probe.iter().enumerate() {
        let here = here.key("probe").index(at);
        let port = url.port_or_known_default();
        let is_ours = |origin: &Origin| {
            Url::parse(origin.as_str()).is_ok_and(|ours| {
                ours.host_str() == url.host_str() && ours.port_or_known_default() == port
            })
        };
        if draft.public_url.get().is_some_and(is_ours) {
            notes.fault(&here, "is this gateway itself, which answers of course");
        }
    }
}

const MOST_PROBES: usize = 16;

/// `enforce: false` where it would let requests pass that nobody else refuses.
fn switched_off(draft: &Draft, unchecked: &Unchecked<'_>, notes: &mut Notes<'_, '_>) {
    if let (Some(false), Some((name, mode))) = (draft.enforce.get(), unchecked.first_key_value()) {
        let message =
            format!("false lets every caller pass, and {} ({mode}) refuses nobody", quoted(name));
        notes.fault(&path("enforce"), message);
    }
    for (name, mode) in unchecked {
        let upstream = draft.upstreams.get(*name).and_then(Part::get);
        if upstream.is_some_and(|upstream| !upstream.enforce) {
            let message = format!("false lets every caller pass, and {mode} refuses nobody");
            notes.fault(&path("upstreams").key(*name).key("enforce"), message);
        }
    }
}

fn route(route: &Route, mode: &str, here: &KeyPath, draft: &Draft, notes: &mut Notes<'_, '_>) {
    let name = quoted(&route.upstream);
    let upstream = format!("{name} ({mode})");
    if !route.enforce {
        let message = format!("false lets every caller pass, and {upstream} refuses nobody");
        notes.fault(&here.key("enforce"), message);
    }
    if route.act_as != ActAs::Caller {
        let message = format!("is never used: {upstream} takes nobody's token");
        notes.fault(&here.key("act_as"), message);
    }
    match route.access {
        Access::Public => public(route, &upstream, here, notes),
        Access::Required => required(route, &upstream, here, draft, notes),
    }
}

/// Anybody may do what a public route leads to, so it leads to no management.
fn public(route: &Route, upstream: &str, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    if let Some(management) = MANAGEMENT.iter().find(|it| may_reach(route.path.as_str(), it)) {
        let message = format!(
            "public takes in /{management}, where {upstream} would do everything for anybody; \
             write access: required, or a narrower path"
        );
        notes.fault(&here.key("access"), message);
    }
}

fn required(
    route: &Route,
    upstream: &str,
    here: &KeyPath,
    draft: &Draft,
    notes: &mut Notes<'_, '_>,
) {
    if route.path.is_wide() {
        let message = format!(
            "takes in operations that nobody has looked at, and {upstream} checks none of them; \
             write a route for each operation"
        );
        notes.fault(&here.key("path"), message);
    }
    let demands = route.permissions != Requirement::Nothing
        || !route.roles.is_empty()
        || route.condition.is_some();
    if !demands {
        let message = format!(
            "asks its callers for nothing, and {upstream} asks for nothing either; name \
             permissions, roles or a condition"
        );
        notes.fault(here, message);
    }
    let told = |OrganisationPlace { place, .. }: &OrganisationPlace| {
        matches!(place, Place::Query(_) | Place::Path(_) | Place::Body(_) | Place::Lookup { .. })
    };
    if !route.cross_organisation && !route.organisation.places.iter().any(told) {
        let message = format!(
            "does not tell whose things a request is about, and {upstream} keeps no organisations \
             apart: name the place in query, path or body, or a lookup; or write \
             cross_organisation: true where the operation belongs to none"
        );
        notes.fault(&here.key("organisation"), message);
    }
    if route.accept == [Accept::App] {
        let message = format!("lets nobody in: {upstream} has no audience that an app token names");
        notes.fault(&here.key("accept"), message);
    }
    let no_roles = match &draft.iam_roles {
        Part::Absent => true,
        Part::Faulty => false,
        Part::Read(roles) => roles.is_empty(),
    };
    // Where permissions are demanded that is a fault of every route.
    if no_roles && route.permissions == Requirement::Nothing {
        let message = format!(
            "{upstream} is told by nobody who may act in which organisation; iam_roles has to say"
        );
        notes.fault(&here.key("upstream"), message);
    }
}

/// First segments of paths that manage: Core's API, and the one that needs no authentication in
/// any mode.
const MANAGEMENT: [&str; 2] = ["api", "vc-api"];

/// Whether a pattern matches a path with this first segment.
fn may_reach(pattern: &str, first: &str) -> bool {
    let segment = pattern.split('/').nth(1).unwrap_or_default();
    match segment.split_once('{') {
        None => segment == first,
        Some((literal, _)) => first.starts_with(literal),
    }
}

#[cfg(test)]
mod tests;
