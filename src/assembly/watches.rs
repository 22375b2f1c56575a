//! Watches of upstreams, and what they and `portcullis policy diff` hold a document against.

use std::sync::Arc;

use super::Defects;
use crate::{
    config::{Access, Loaded},
    policy::drift::{Compared, Rule},
    route::{Methods, Pattern},
    watch::{Settings, Watch},
};

pub(super) fn assemble(loaded: &Loaded, defects: &mut Defects) -> Vec<Arc<Watch>> {
    let mut watches = Vec::new();
    for (name, upstream) in &loaded.config.upstreams {
        let Some(openapi) = &upstream.openapi else { continue };
        // A server with a certificate of a private CA shows the same one here.
        let of_upstream = upstream.tls.as_ref().and_then(|tls| tls.ca.as_ref());
        let key_path = match openapi.ca {
            None if of_upstream.is_some() => format!("upstreams.{name}.tls.ca"),
            _ => format!("upstreams.{name}.openapi.ca"),
        };
        let ca = openapi.ca.as_ref().or(of_upstream);
        let client = super::http(ca, openapi.timeout, &key_path, defects);
        let settings = Settings {
            upstream: name.as_str().into(),
            url: openapi.url.clone(),
            interval: openapi.interval,
            size: openapi.size.as_usize(),
            compared: compared(loaded, name),
        };
        watches.extend(client.map(|client| Arc::new(Watch::new(settings, client))));
    }
    watches
}

/// The routes of a configuration as they stand towards one of its upstreams.
pub(crate) fn compared(loaded: &Loaded, upstream: &str) -> Compared {
    let config = &loaded.config;
    let rules = config.routes.iter().enumerate().map(|(at, route)| {
        let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
        let place = loaded
            .position(&format!("routes[{at}].path"))
            .map(|position| format!("{}:{}", position.file, position.line));
        Rule {
            pattern: Pattern {
                path: route.path.clone(),
                hosts: route.hosts.iter().map(|host| host.as_str().into()).collect(),
                methods: Methods::new(methods.iter().copied()),
            },
            methods,
            ours: route.upstream == upstream,
            public: route.access == Access::Public,
            permissions: route.permissions.clone(),
            place: place.unwrap_or_default(),
        }
    });
    Compared { rules: rules.collect(), hosts: super::hosts(config) }
}
