//! Technical users, and the routes that act as one or let one act for the caller.

use std::collections::BTreeMap;

use super::{Draft, Notes, Part, credentials::oauth_client, path};
use crate::{
    certificate::CertificateName,
    config::{
        key_path::KeyPath,
        sections::{
            Accept, Access, ActAs, ClientAuthentication, Route, SystemRole, Upstream, UpstreamAuth,
        },
        suggest::{hint, quoted},
    },
    permission::Requirement,
    sts::template::Template,
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    technical_users(draft, notes);
    for (here, each) in draft.routes() {
        if let ActAs::TechnicalUser(name) | ActAs::Delegate(name) = &each.act_as {
            route(each, name, &here, draft, notes);
        }
    }
}

fn technical_users(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let here = path("technical_users");
    if !draft.technical_users.is_empty() && draft.iam.is_absent() {
        notes.fault(&here, "get their tokens from the IAM provider, and there is no iam section");
    }
    let mut known: BTreeMap<&CertificateName, KeyPath> = BTreeMap::new();
    for (name, user) in &draft.technical_users {
        let (here, Some(user)) = (here.key(name.as_str()), user.get()) else { continue };
        for (at, certificate) in user.certificates.iter().enumerate() {
            let here = here.key("certificates").index(at);
            if let Some(first) = known.get(certificate) {
                notes.fault(&here, format!("stands at {first} already; one name is one user's"));
            } else {
                known.insert(certificate, here);
            }
        }
        let client = &user.client;
        let at = here.key("client");
        oauth_client(client.secret.as_ref(), client.authentication, &at, notes);
        // RFC 6749, section 4.4: only a confidential client has credentials to show.
        let public = client.authentication == Some(ClientAuthentication::None);
        if public || (client.secret.is_none() && client.authentication.is_none()) {
            notes.fault(&at.key("secret"), "is missing; a public client has no token of its own");
        }
        if user.scopes.iter().any(|scope| scope.is_empty() || scope.contains(char::is_whitespace)) {
            notes.fault(&here.key("scopes"), "has an entry that is not one scope");
        }
        if let Some(organisation) = user.organisation
            && !draft.organisations.is_empty()
            && !draft.organisations.contains(&organisation)
        {
            notes.fault(&here.key("organisation"), "is none of organisations");
        }
    }
}

fn route(route: &Route, name: &str, here: &KeyPath, draft: &Draft, notes: &mut Notes<'_, '_>) {
    let at = here.key("act_as");
    if !draft.technical_users.contains_key(name) {
        let known = hint(name, draft.technical_users.keys().map(String::as_str));
        notes.fault(&at, format!("unknown technical user {}{known}", quoted(name)));
    }
    if route.access == Access::Public {
        let message = "is a rule that could never be enforced, for the route is public; leave it \
                       out, or write access: required";
        return notes.fault(&at, message);
    }
    let upstream = draft.upstreams.get(&route.upstream).and_then(Part::get);
    on_trial(route, upstream, here, draft, notes);
    let mode = upstream.map(|upstream| &upstream.auth);
    if matches!(route.act_as, ActAs::Delegate(_)) {
        delegate(route, name, mode, here, draft, notes);
    } else if route.permissions == Requirement::Nothing
        && route.roles.is_empty()
        && route.condition.is_none()
    {
        let message = format!(
            "lets everybody who can log in act as {}; demand permissions, roles or a condition",
            quoted(name)
        );
        notes.fault(&at, message);
    }
}

/// What a route on trial would refuse goes on with what the caller holds, which is for nobody
/// else to lend.
fn on_trial(
    route: &Route,
    upstream: Option<&Upstream>,
    here: &KeyPath,
    draft: &Draft,
    notes: &mut Notes<'_, '_>,
) {
    let off = [
        (!route.enforce, "enforce"),
        (upstream.is_some_and(|upstream| !upstream.enforce), "enforce of its upstream"),
        (draft.enforce.get() == Some(&false), "enforce of the whole gateway"),
    ];
    if let Some((_, which)) = off.iter().find(|(off, _)| *off) {
        let message = format!(
            "cannot be on trial: {which} is false, and whoever is refused would act as somebody \
             else all the same"
        );
        notes.fault(&here.key("act_as"), message);
    }
}

fn delegate(
    route: &Route,
    name: &str,
    mode: Option<&UpstreamAuth>,
    here: &KeyPath,
    draft: &Draft,
    notes: &mut Notes<'_, '_>,
) {
    let (at, name) = (here.key("act_as"), quoted(name));
    if matches!(mode, Some(UpstreamAuth::Iam | UpstreamAuth::Extension { .. })) {
        let message = format!(
            "needs an app token that names {name} as its actor, and upstream {} takes none",
            quoted(&route.upstream)
        );
        notes.fault(&at, message);
    }
    if route.accept.contains(&Accept::App) {
        let message = "takes app tokens, which are not exchanged again; with act_as: delegate it \
                       is session, iam or both";
        notes.fault(&here.key("accept"), message);
    }
    let template = draft.exchange.get().and_then(|exchange| exchange.template.as_ref());
    if let Some(Ok(template)) = template.map(|template| Template::parse(template.written()))
        && !template.names_the_actor()
    {
        let message = format!("needs {{actor_token}} in sts.exchange.template, to name {name}");
        notes.fault(&at, message);
    }
    let mapped =
        !draft.issuer.is_absent() || draft.iam_roles.get().is_some_and(|roles| !roles.is_empty());
    let delegates =
        |role: &Part<SystemRole>| role.get().is_none_or(|role| role.delegation.is_some());
    if mapped && !draft.system_roles.values().any(delegates) {
        let message = format!(
            "never succeeds: no system role has delegation, so {name} may do nothing on behalf \
             of anybody"
        );
        notes.fault(&at, message);
    }
}

#[cfg(test)]
mod tests;
