//! Roles and routes: names that nobody declared, and rules that could never be enforced.

use std::{collections::BTreeMap, sync::Arc};

use super::{Draft, Notes, network::rate, path};
use crate::{
    config::{
        key_path::KeyPath,
        sections::{Accept, Access, Method, OrganisationKey, Route, UpstreamAuth},
        suggest::{hint, quoted},
        types::{OrganisationPlace, Place},
        yaml::Node,
    },
    organisation::lookup::Template,
    permission::{Permission, Requirement},
    policy::condition::Condition,
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    system_roles(draft, notes);
    ceilings(notes);
    iam_roles(draft, notes);
    let mut lacking = Lacking::default();
    for (here, each) in draft.routes() {
        route(each, &here, draft, &mut lacking, notes);
    }
    lacking.report(notes);
}

/// What routes lack that would be one section elsewhere: for an included file, of hundreds of
/// routes perhaps, one message.
#[derive(Default)]
struct Lacking(BTreeMap<(Arc<str>, String, usize), (KeyPath, usize)>);

impl Lacking {
    fn note(&mut self, here: KeyPath, message: impl Into<String>, notes: &Notes<'_, '_>) {
        let file = Arc::clone(&notes.root.nearest(&here).file);
        let own = if file == notes.root.position.file { self.0.len() + 1 } else { 0 };
        self.0.entry((file, message.into(), own)).or_insert((here, 0)).1 += 1;
    }

    fn report(self, notes: &mut Notes<'_, '_>) {
        for ((_, message, _), (here, count)) in self.0 {
            match count - 1 {
                0 => notes.fault(&here, message),
                1 => notes.fault(&here, format!("{message}; so does 1 more route of this file")),
                more => {
                    notes.fault(&here, format!("{message}; so do {more} more routes of this file"));
                }
            }
        }
    }
}

/// A permission, or the beginning of one with `*` at its end.
fn is_permission_pattern(text: &str) -> bool {
    match text.strip_suffix('*') {
        Some("") => true,
        Some(beginning) => Permission::parse(beginning).is_some(),
        None => Permission::parse(text).is_some(),
    }
}

fn permission_patterns(names: &[String], here: &KeyPath, notes: &mut Notes<'_, '_>) {
    for (at, name) in names.iter().enumerate() {
        if !is_permission_pattern(name) {
            let name = quoted(name);
            let message = format!("{name} is no permission; `*` stands only at the end of a name");
            notes.fault(&here.index(at), message);
        }
    }
}

fn system_roles(draft: &Draft, notes: &mut Notes<'_, '_>) {
    for (name, role) in &draft.system_roles {
        let Some(role) = role.get() else { continue };
        let here = path("system_roles").key(name.as_str());
        let list = notes.root.at(&here).is_some_and(|node| node.entries().is_empty());
        let permissions = if list { here.clone() } else { here.key("permissions") };
        permission_patterns(&role.permissions, &permissions, notes);
        for (at, user) in role.delegation.iter().flatten().enumerate() {
            if Permission::parse(user).is_none() {
                let message = format!("{} is no permission", quoted(user));
                notes.fault(&here.key("delegation").index(at), message);
            }
        }
    }
}

fn ceilings(notes: &mut Notes<'_, '_>) {
    let root = notes.root;
    for entry in root.key("organisations").map(Node::entries).unwrap_or_default() {
        let here = path("organisations").key(entry.key.as_str()).key("ceiling");
        let ceiling = entry.node.key("ceiling").map(Node::elements).unwrap_or_default();
        let names: Vec<String> =
            ceiling.iter().map(|node| node.text().unwrap_or_default().to_owned()).collect();
        permission_patterns(&names, &here, notes);
    }
}

fn iam_roles(draft: &Draft, notes: &mut Notes<'_, '_>) {
    for (role, per_organisation) in draft.iam_roles.get().into_iter().flatten() {
        let here = path("iam_roles").key(role.as_str());
        // The key as it is written, which may be another spelling of the same UUID.
        let written: Vec<_> =
            notes.root.at(&here).map(Node::entries).unwrap_or_default().iter().collect();
        for (organisation, system_roles) in per_organisation {
            let spelling = written.iter().find(|entry| spells(&entry.key, organisation));
            let here = here.key(spelling.map_or("*", |entry| entry.key.as_str()));
            match organisation {
                OrganisationKey::One(one) if !draft.organisations.contains(one) => {
                    notes.fault(&here, "is none of organisations");
                }
                OrganisationKey::Every if draft.organisations.is_empty() => {
                    notes.fault(
                        &here,
                        "`*` stands for every one of organisations, and there is none",
                    );
                }
                _ => {}
            }
            for (at, name) in system_roles.iter().enumerate() {
                if !draft.system_roles.contains_key(name) {
                    let known = draft.system_roles.keys().map(String::as_str);
                    let message =
                        format!("unknown system role {}{}", quoted(name), hint(name, known));
                    notes.fault(&here.index(at), message);
                }
            }
        }
    }
}

fn spells(text: &str, key: &OrganisationKey) -> bool {
    match key {
        OrganisationKey::Every => text == "*",
        OrganisationKey::One(one) => crate::organisation::Organisation::parse(text) == Some(*one),
    }
}

fn route(
    route: &Route,
    here: &KeyPath,
    draft: &Draft,
    lacking: &mut Lacking,
    notes: &mut Notes<'_, '_>,
) {
    if !draft.upstreams.contains_key(&route.upstream) {
        let known = draft.upstreams.keys().map(String::as_str);
        let name = quoted(&route.upstream);
        let message = format!("unknown upstream {name}{}", hint(&route.upstream, known));
        notes.fault(&here.key("upstream"), message);
    }
    places(route, here, notes);
    if let Some(Err(wrong)) = route.condition.as_deref().map(Condition::compile) {
        notes.fault(&here.key("condition"), wrong);
    }
    for (key, span) in [("read", route.timeouts.read), ("write", route.timeouts.write)] {
        notes.above_zero(
            &here.key("timeouts"),
            &span.map(|span| (key, span)).into_iter().collect::<Vec<_>>(),
        );
    }
    rate(route.limits.requests.as_ref(), &here.key("limits").key("requests"), notes);
    match route.access {
        Access::Public => public(route, here, notes),
        Access::Required => required(route, here, draft, lacking, notes),
    }
}

/// Places that the route's requests do not have.
fn places(route: &Route, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let here = here.key("organisation");
    let list = notes.root.at(&here).is_some_and(|node| !node.elements().is_empty());
    for (at, OrganisationPlace { place, .. }) in route.organisation.places.iter().enumerate() {
        let here = if list { here.index(at) } else { here.clone() };
        match place {
            Place::Path(name) if !route.path.parameters().any(|known| known == name) => {
                let known = hint(name, route.path.parameters());
                let message = format!("the path has no parameter {}{known}", quoted(name));
                notes.fault(&here.key("path"), message);
            }
            Place::Body(_) => {
                let bodiless = |method: &&Method| {
                    matches!(method, Method::Get | Method::Head | Method::Options)
                };
                if let Some(method) = route.methods.iter().find(bodiless) {
                    let message = format!("a {} request has no body to look into", method.as_str());
                    notes.fault(&here.key("body"), message);
                }
            }
            Place::Lookup { path, .. } => {
                let template = match Template::parse(path) {
                    Ok(template) => template,
                    Err(wrong) => {
                        notes.fault(&here.key("lookup").key("path"), wrong);
                        continue;
                    }
                };
                let parameter = template.parameter();
                if let Some(name) = parameter
                    && !route.path.parameters().any(|known| known == name)
                {
                    let known = hint(name, route.path.parameters());
                    let message = format!("the route has no parameter {}{known}", quoted(name));
                    notes.fault(&here.key("lookup").key("path"), message);
                }
            }
            _ => {}
        }
    }
}

/// Nobody is asked for a credential, so nothing about one can be demanded.
fn public(route: &Route, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let accept = notes.root.at(&here.key("accept")).is_some();
    for (key, demanded) in [
        ("permissions", route.permissions != Requirement::Nothing),
        ("roles", !route.roles.is_empty()),
        ("organisation", !route.organisation.places.is_empty()),
        ("condition", route.condition.is_some()),
        ("cross_organisation", route.cross_organisation),
        ("accept", accept),
    ] {
        if demanded {
            let message = "is a rule that could never be enforced, for the route is public; leave \
                           it out, or write access: required";
            notes.fault(&here.key(key), message);
        }
    }
}

/// Credentials that nothing here could judge.
fn credentials(
    route: &Route,
    here: &KeyPath,
    draft: &Draft,
    lacking: &mut Lacking,
    notes: &mut Notes<'_, '_>,
) {
    let accepts = |kind| route.accept.contains(&kind);
    let accept = here.key("accept");
    let (iam, session) = (!draft.iam.is_absent(), !draft.session.is_absent());
    let shown = draft
        .listeners
        .iter()
        .filter_map(super::Part::get)
        .any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
    let users = draft.technical_users.values().filter_map(super::Part::get);
    let named = users.into_iter().any(|user| !user.certificates.is_empty());
    let certificates = shown && named;
    let judged = (iam && accepts(Accept::Iam))
        || (iam && session && accepts(Accept::Session))
        || (draft.sts_given && accepts(Accept::App))
        || (certificates && accepts(Accept::Certificate))
        || by_extension(route);
    // The default, and a file that serves many gateways, name more than one of them may know.
    let included = notes.root.nearest(here).file != notes.root.position.file;
    let general = included || notes.root.at(&accept).is_none();
    let wanted = |section: bool| !(section || general && judged);
    let mut lacks = |message: &str| lacking.note(accept.clone(), message, notes);
    if (accepts(Accept::Iam) && wanted(iam)) || (accepts(Accept::Session) && session && !iam) {
        lacks("takes credentials of the IAM provider, and there is no iam section");
    }
    if accepts(Accept::Session) && wanted(session) {
        lacks(
            "takes sessions, and there is no session section; write accept: [iam] where no browser \
             logs in",
        );
    }
    let client = draft.iam.get().is_none_or(|iam| iam.client.is_some());
    if accepts(Accept::Session) && session && !client {
        lacks("takes sessions, and nobody can log in without iam.client");
    }
    if accepts(Accept::App) && wanted(draft.sts_given) {
        lacks("takes app tokens, and there is no sts section to say whose");
    }
    if accepts(Accept::Certificate) && wanted(shown) {
        lacks("takes certificates, and no listener has tls.client_ca to ask for one");
    }
    if accepts(Accept::Certificate) && wanted(named) {
        lacks("takes certificates, and no technical user has certificates to be known by");
    }
}

/// Whether it accepts what an extension recognises. Which there are is for the program to say.
fn by_extension(route: &Route) -> bool {
    route.accept.iter().any(|accept| matches!(accept, Accept::Authenticator(_)))
}

fn required(
    route: &Route,
    here: &KeyPath,
    draft: &Draft,
    lacking: &mut Lacking,
    notes: &mut Notes<'_, '_>,
) {
    let accepts = |kind| route.accept.contains(&kind);
    if notes.is_written_empty(&here.key("accept")) {
        notes.fault(&here.key("accept"), "lets nobody in; name a credential, or leave it out");
    }
    let by_iam = [Accept::Iam, Accept::Session, Accept::Certificate].into_iter().any(accepts)
        || by_extension(route);
    credentials(route, here, draft, lacking, notes);
    let Some(upstream) = draft.upstreams.get(&route.upstream).and_then(super::Part::get) else {
        return;
    };
    let is_unsafe =
        matches!(upstream.auth, UpstreamAuth::UnsafeNone | UpstreamAuth::UnsafeStatic { .. });
    let lookup = |it: &OrganisationPlace| matches!(it.place, Place::Lookup { .. });
    if !is_unsafe && route.organisation.places.iter().any(lookup) {
        let message = format!(
            "has a lookup, which is for upstreams with auth mode UNSAFE_NONE or UNSAFE_STATIC; {} \
             knows its callers and keeps their organisations apart",
            quoted(&route.upstream)
        );
        lacking.note(here.key("organisation"), message, notes);
    }
    match upstream.auth {
        UpstreamAuth::None => {
            let message = format!(
                "{} has auth mode NONE, which takes public routes only",
                quoted(&route.upstream)
            );
            lacking.note(here.key("upstream"), message, notes);
        }
        UpstreamAuth::Sts { .. } if !draft.sts_given => {
            let message = format!(
                "{} has auth mode STS, and there is no sts section",
                quoted(&route.upstream)
            );
            lacking.note(here.key("upstream"), message, notes);
        }
        _ => {}
    }
    // An outside token service says what its tokens permit; everything else is said by iam_roles.
    let by_outside_service =
        matches!(upstream.auth, UpstreamAuth::Sts { .. }) && !draft.exchange.is_absent();
    let no_roles = match &draft.iam_roles {
        super::Part::Absent => true,
        super::Part::Faulty => false,
        super::Part::Read(roles) => roles.is_empty(),
    };
    if route.permissions != Requirement::Nothing && by_iam && no_roles && !by_outside_service {
        let message = "come from nowhere: without iam_roles no caller has any permission here";
        lacking.note(here.key("permissions"), message, notes);
    }
}
