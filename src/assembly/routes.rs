//! The route table.

use std::{collections::BTreeMap, sync::Arc};

use super::Defects;
use crate::{
    admission::Target,
    config::{self, Accept, Access, Config},
    credential::Demand,
    organisation::place::Place,
    policy::{Accepts, Policy},
    route::{Methods, Pattern, RouteTable},
    upstream::Upstream,
};

pub(super) fn assemble(
    config: &Config,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    defects: &mut Defects,
) -> Option<RouteTable<Target>> {
    let mut routes = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        // A route whose upstream has a defect is not a defect of its own.
        let Some(upstream) = upstreams.get(&route.upstream) else { continue };
        let pattern = Pattern {
            path: route.path.as_str().into(),
            hosts: route.hosts.iter().map(|host| host.as_str().into()).collect(),
            methods: Methods::new(route.methods.iter().map(|method| method.as_str())),
        };
        routes.push((pattern, target(config, route, upstream)));
    }
    RouteTable::new(routes)
        .map_err(|error| {
            let (key_path, message) = super::conflict(&error);
            defects.add(key_path, message);
        })
        .ok()
}

fn target(config: &Config, route: &config::Route, upstream: &Arc<Upstream>) -> Target {
    let takes = |kind| route.accept.contains(&kind);
    Target {
        label: route.path.as_str().into(),
        policy: Policy {
            public: route.access == Access::Public,
            accepts: Accepts {
                session: takes(Accept::Session),
                iam: takes(Accept::Iam),
                app: takes(Accept::App),
            },
            permissions: route.permissions.clone(),
            roles: route.roles.iter().map(|role| role.as_str().into()).collect(),
            app_token: matches!(upstream.demand(), Demand::AppToken(_)),
        },
        places: route.organisation.places.iter().filter_map(place).collect(),
        upstream: Arc::clone(upstream),
        body: route.limits.body.unwrap_or(config.limits.body).bytes(),
        read: route.timeouts.read,
        write: route.timeouts.write,
    }
}

/// The session's and the token's own organisation are what counts where nothing else is named.
fn place(place: &config::Place) -> Option<Place> {
    match place {
        config::Place::Query(name) => Some(Place::Query(name.as_str().into())),
        config::Place::Path(name) => Some(Place::Path(name.as_str().into())),
        config::Place::Header(name) => Some(Place::Header(name.as_str().into())),
        _ => None,
    }
}
