//! The route table.

use std::{collections::BTreeMap, sync::Arc};

use super::{Defects, lookups::Kinds};
use crate::{
    admission::Target,
    config::{self, Accept, Access, Config},
    credential::{ActAs, Demand},
    extension::{Authenticator, Extensions},
    organisation::place::{Named, Place},
    policy::{Accepts, Acting, Policy, condition::Condition},
    route::{Methods, Pattern, RouteTable},
    technical_user::TechnicalUser,
    upstream::Upstream,
};

/// What routes lead to, by name.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) upstreams: &'a BTreeMap<String, Arc<Upstream>>,
    pub(super) technical_users: &'a BTreeMap<String, Arc<TechnicalUser>>,
    pub(super) extensions: &'a Extensions,
}

pub(super) fn assemble(
    config: &Config,
    Ends { upstreams, technical_users, extensions }: Ends<'_>,
    lookups: &mut Kinds,
    defects: &mut Defects,
) -> Option<RouteTable<Arc<Target>>> {
    let mut routes = Vec::with_capacity(config.routes.len());
    for (at, route) in config.routes.iter().enumerate() {
        // A route whose upstream has a defect is not a defect of its own.
        let Some(upstream) = upstreams.get(&route.upstream) else { continue };
        let pattern = Pattern {
            path: route.path.clone(),
            hosts: route.hosts.iter().map(|host| host.as_str().into()).collect(),
            methods: Methods::new(route.methods.iter().map(|method| method.as_str())),
        };
        // Its faults were found by the configuration's own checks, with their positions.
        let condition = match route.condition.as_deref().map(Condition::compile) {
            None => None,
            Some(Ok(condition)) => Some(condition),
            Some(Err(why)) => {
                defects.add(format!("routes[{at}].condition"), why);
                continue;
            }
        };
        // Nor is one whose technical user has one.
        let Some(act_as) = act_as(&route.act_as, technical_users) else { continue };
        let lookups = lookups.of(route, upstream);
        let target = target(config, route, upstream, condition);
        let authenticators = authenticators(at, route, extensions, defects);
        routes.push((pattern, Arc::new(Target { authenticators, lookups, act_as, ..target })));
    }
    RouteTable::new(routes)
        .map_err(|error| {
            let (key_path, message) = super::conflict(&error);
            defects.add(key_path, message);
        })
        .ok()
}

fn target(
    config: &Config,
    route: &config::Route,
    upstream: &Arc<Upstream>,
    condition: Option<Condition>,
) -> Target {
    let enforced = config.upstreams.get(&route.upstream).is_none_or(|upstream| upstream.enforce);
    let takes = |kind| route.accept.contains(&kind);
    let unsafe_upstream = upstream.demand().is_unsafe();
    Target {
        label: route.path.as_str().into(),
        policy: Policy {
            public: route.access == Access::Public,
            accepts: Accepts {
                // What nobody here could judge is not accepted, though a list that serves more
                // than one gateway names it.
                session: takes(Accept::Session) && config.session.is_some(),
                iam: takes(Accept::Iam) && config.iam.is_some(),
                app: takes(Accept::App) && config.sts.is_some(),
                certificate: takes(Accept::Certificate),
            },
            permissions: route.permissions.clone(),
            roles: route.roles.iter().map(|role| role.as_str().into()).collect(),
            app_token: matches!(upstream.demand(), Demand::AppToken(_)) || unsafe_upstream,
            named: unsafe_upstream && !route.cross_organisation,
            condition,
            cross_organisation: route.cross_organisation,
            acting: match &route.act_as {
                config::ActAs::Caller => Acting::Caller,
                config::ActAs::TechnicalUser(_) => Acting::TechnicalUser,
                config::ActAs::Delegate(_) => Acting::Delegate,
            },
            enforce: config.enforce && enforced && route.enforce,
        },
        authenticators: None,
        places: route.organisation.places.iter().filter_map(place).collect(),
        lookups: Vec::new(),
        upstream: Arc::clone(upstream),
        act_as: ActAs::Caller,
        rate: route.limits.requests.as_ref().and_then(super::rate),
        body: route.limits.body.unwrap_or(config.limits.body).bytes(),
        read: route.timeouts.read,
        write: route.timeouts.write,
        websocket: route.websocket,
    }
}

/// Those of extensions that the route accepts.
fn authenticators(
    at: usize,
    route: &config::Route,
    extensions: &Extensions,
    defects: &mut Defects,
) -> Option<Arc<[Authenticator]>> {
    let mut accepted = Vec::new();
    for (place, accept) in route.accept.iter().enumerate() {
        if let Accept::Authenticator(name) = accept {
            let path = format!("routes[{at}].accept[{place}].authenticator");
            accepted.extend(defects.take(&path, extensions.authenticator(name)));
        }
    }
    (!accepted.is_empty()).then(|| accepted.into())
}

fn act_as(
    act_as: &config::ActAs,
    technical_users: &BTreeMap<String, Arc<TechnicalUser>>,
) -> Option<ActAs> {
    let user = |name: &String| technical_users.get(name).map(Arc::clone);
    Some(match act_as {
        config::ActAs::Caller => ActAs::Caller,
        config::ActAs::TechnicalUser(name) => ActAs::TechnicalUser(user(name)?),
        config::ActAs::Delegate(name) => ActAs::Delegate(user(name)?),
    })
}

/// Where a request itself names it; look-ups are apart.
fn place(place: &config::OrganisationPlace) -> Option<Named> {
    let inject = place.inject;
    let place = match &place.place {
        config::Place::Query(name) => Place::Query(name.as_str().into()),
        config::Place::Path(name) => Place::Path(name.as_str().into()),
        config::Place::Header(name) => Place::Header(name.as_str().into()),
        config::Place::Body(pointer) => Place::Body(pointer.as_str().into()),
        config::Place::Session => Place::Session,
        config::Place::Token => Place::Token,
        config::Place::Lookup { .. } => return None,
    };
    Some(Named { place, inject })
}
