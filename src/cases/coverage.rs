//! What the cases of a run touched, and what none of them did.
//!
//! A route is touched by a case that it decides, whatever the decision. A permission is touched
//! by a case that is forwarded with it on a route that names it, or refused (or, on trial, would
//! be) for the lack of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{config::Loaded, explain::Explanation, permission::Permission, refusal::Reason};

/// Collects what is touched.
#[derive(Clone, Debug)]
pub struct Coverage {
    routes: Vec<(Route, bool)>,
    demanded: Vec<BTreeSet<Permission>>,
    permissions: BTreeMap<Permission, bool>,
}

/// One route, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its path pattern.
    pub path: String,
    /// Its methods; none stands for every one.
    pub methods: Vec<&'static str>,
    /// Its hosts; none stands for every one.
    pub hosts: Vec<String>,
    /// The file in which it stands.
    pub file: String,
    /// The line there.
    pub line: usize,
}

/// Touched and untouched things of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Touched<T> {
    /// How many there are.
    pub total: usize,
    /// How many were touched.
    pub touched: usize,
    /// The others.
    pub untouched: Vec<T>,
}

impl Coverage {
    /// Of a configuration of which nothing is touched yet.
    #[must_use]
    pub fn new(loaded: &Loaded) -> Self {
        let mut coverage =
            Self { routes: Vec::new(), demanded: Vec::new(), permissions: BTreeMap::new() };
        for (at, route) in loaded.config.routes.iter().enumerate() {
            let place = loaded.position(&format!("routes[{at}].path"));
            let described = Route {
                path: route.path.to_string(),
                methods: route.methods.iter().map(|method| method.as_str()).collect(),
                hosts: route.hosts.iter().map(ToString::to_string).collect(),
                file: place.map(|place| place.file.to_string()).unwrap_or_default(),
                line: place.map_or(0, |place| place.line),
            };
            let named: BTreeSet<_> = route.permissions.named().iter().cloned().collect();
            coverage.permissions.extend(named.iter().map(|name| (name.clone(), false)));
            coverage.routes.push((described, false));
            coverage.demanded.push(named);
        }
        coverage
    }

    /// Notes what one case touched.
    pub fn note(&mut self, found: &Explanation) {
        let Some(index) = found.route_index else { return };
        if let Some((_, touched)) = self.routes.get_mut(index) {
            *touched = true;
        }
        for permission in &found.permissions {
            self.permissions.insert(permission.clone(), true);
        }
        let missing = Some(Reason::PermissionMissing);
        if found.reason == missing || found.would_refuse == missing {
            for permission in self.demanded.get(index).into_iter().flatten() {
                self.permissions.insert(permission.clone(), true);
            }
        }
    }

    /// The routes, in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> Touched<&Route> {
        counted(self.routes.iter().map(|(route, touched)| (route, *touched)))
    }

    /// The permissions that routes demand, by name.
    #[must_use]
    pub fn permissions(&self) -> Touched<&str> {
        counted(self.permissions.iter().map(|(name, touched)| (name.as_str(), *touched)))
    }
}

fn counted<T>(all: impl Iterator<Item = (T, bool)>) -> Touched<T> {
    let mut counted = Touched { total: 0, touched: 0, untouched: Vec::new() };
    for (each, touched) in all {
        counted.total += 1;
        if touched {
            counted.touched += 1;
        } else {
            counted.untouched.push(each);
        }
    }
    counted
}
