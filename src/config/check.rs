//! What single values cannot say: faults of sections taken together.
//!
//! The checks run on every section that could be read, whether or not another one could, so
//! that one run tells everything. They note faults and decide nothing else.

mod access;
mod acting;
mod credentials;
mod network;
mod overlap;
mod perimeter;
mod permissions;
mod records;
mod streams;
mod tracing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    key_path::KeyPath,
    read::{Read, Reader},
    sections::{
        Admin, Breaker, Exchange, Iam, Issuer, Limits, Listener, Logs, OrganisationKey, Perimeter,
        Route, Session, SystemRole, TechnicalUser, TokenCache, Tracing, Upstream,
    },
    types::{HostName, Origin},
    yaml::Node,
};
use crate::{organisation::Organisation, permission::Permission};

/// Notes every fault that is one of sections taken together.
pub(super) fn report(root: &Node, cx: &mut Reader<'_>) {
    let draft = cx.muted(|cx| Draft::read(root, cx));
    let mut notes = Notes { root, cx };
    network::report(&draft, &mut notes);
    credentials::report(&draft, &mut notes);
    access::report(&draft, &mut notes);
    acting::report(&draft, &mut notes);
    overlap::report(&draft, &mut notes);
    permissions::report(&draft, &mut notes);
    perimeter::report(&draft, &mut notes);
    records::report(&draft, &mut notes);
    streams::report(&draft, &mut notes);
    tracing::report(&draft, &mut notes);
}

/// A section: not there, there and faulty, or read.
enum Part<T> {
    Absent,
    /// Its own fault is reported; nothing that depends on it can be said.
    Faulty,
    Read(T),
}

impl<T> Part<T> {
    fn of(node: Option<&Node>, cx: &mut Reader<'_>) -> Self
    where
        T: Read,
    {
        match node {
            None => Self::Absent,
            Some(node) if node.is_null() => Self::Absent,
            Some(node) => T::read(node, cx).map_or(Self::Faulty, Self::Read),
        }
    }

    const fn get(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// As much of the configuration as could be read.
struct Draft {
    public_url: Part<Origin>,
    hosts: Part<Vec<HostName>>,
    listeners: Vec<Part<Listener>>,
    admin: Part<Admin>,
    limits: Part<Limits>,
    enforce: Part<bool>,
    iam: Part<Iam>,
    session: Part<Session>,
    sts_given: bool,
    exchange: Part<Exchange>,
    issuer: Part<Issuer>,
    cache: Part<TokenCache>,
    breaker: Part<Breaker>,
    system_roles: BTreeMap<String, Part<SystemRole>>,
    organisations: BTreeSet<Organisation>,
    known_permissions: Part<Vec<Permission>>,
    strict_permissions: Part<bool>,
    iam_roles: Part<BTreeMap<String, BTreeMap<OrganisationKey, Vec<String>>>>,
    technical_users: BTreeMap<String, Part<TechnicalUser>>,
    upstreams: BTreeMap<String, Part<Upstream>>,
    perimeter: Part<Perimeter>,
    /// By itself, so that it counts where another key of the perimeter is faulty.
    acknowledged: Part<Vec<String>>,
    routes: Vec<Part<Route>>,
    logs: Part<Logs>,
    tracing: Part<Tracing>,
}

impl Draft {
    fn read(root: &Node, cx: &mut Reader<'_>) -> Self {
        fn elements<T: Read>(node: Option<&Node>, cx: &mut Reader<'_>) -> Vec<Part<T>> {
            let elements = node.map(Node::elements).unwrap_or_default();
            elements.iter().map(|element| Part::of(Some(element), cx)).collect()
        }
        fn entries<T: Read>(node: Option<&Node>, cx: &mut Reader<'_>) -> BTreeMap<String, Part<T>> {
            let entries = node.map(Node::entries).unwrap_or_default();
            entries.iter().map(|e| (e.key.clone(), Part::of(Some(&e.node), cx))).collect()
        }
        let organisations = root.key("organisations").map(Node::entries).unwrap_or_default();
        let sts = root.key("sts").filter(|node| !node.is_null());
        let of_sts = |key| sts.and_then(|sts| sts.key(key));
        Self {
            public_url: Part::of(root.key("public_url"), cx),
            hosts: Part::of(root.key("hosts"), cx),
            listeners: elements(root.key("listeners"), cx),
            admin: Part::of(root.key("admin"), cx),
            limits: Part::of(root.key("limits"), cx),
            enforce: Part::of(root.key("enforce"), cx),
            iam: Part::of(root.key("iam"), cx),
            session: Part::of(root.key("session"), cx),
            sts_given: sts.is_some(),
            exchange: Part::of(of_sts("exchange"), cx),
            issuer: Part::of(of_sts("issuer"), cx),
            cache: Part::of(of_sts("cache"), cx),
            breaker: Part::of(of_sts("breaker"), cx),
            system_roles: entries(root.key("system_roles"), cx),
            organisations: organisations
                .iter()
                .filter_map(|entry| Organisation::parse(&entry.key))
                .collect(),
            known_permissions: Part::of(root.key("known_permissions"), cx),
            strict_permissions: Part::of(root.key("strict_permissions"), cx),
            iam_roles: Part::of(root.key("iam_roles"), cx),
            technical_users: entries(root.key("technical_users"), cx),
            upstreams: entries(root.key("upstreams"), cx),
            perimeter: Part::of(root.key("perimeter"), cx),
            acknowledged: Part::of(
                root.key("perimeter").and_then(|perimeter| perimeter.key("acknowledge")),
                cx,
            ),
            routes: elements(root.key("routes"), cx),
            logs: Part::of(root.key("logs"), cx),
            tracing: Part::of(root.key("tracing"), cx),
        }
    }

    /// The routes that could be read, each with its key path.
    fn routes(&self) -> impl Iterator<Item = (KeyPath, &Route)> {
        let routes = KeyPath::default().key("routes");
        self.routes
            .iter()
            .enumerate()
            .filter_map(move |(at, route)| Some((routes.index(at), route.get()?)))
    }
}

/// Notes faults at the places of key paths.
struct Notes<'r, 'a> {
    root: &'r Node,
    cx: &'r mut Reader<'a>,
}

impl Notes<'_, '_> {
    fn fault(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.cx.fault_at(self.root.nearest(path), path, message);
    }

    /// Whether a list was written without an element, rather than with faulty ones.
    fn is_written_empty(&self, path: &KeyPath) -> bool {
        self.root.at(path).is_some_and(|node| node.elements().is_empty())
    }

    /// A span of time that must not be zero.
    fn above_zero(&mut self, path: &KeyPath, spans: &[(&str, Duration)]) {
        for (key, span) in spans {
            if span.is_zero() {
                self.fault(&path.key(*key), "must be longer than zero");
            }
        }
    }

    /// Counts that must not be zero.
    fn at_least_one(&mut self, path: &KeyPath, counts: &[(&str, u64)]) {
        for (key, count) in counts {
            if *count == 0 {
                self.fault(&path.key(*key), "must be at least 1");
            }
        }
    }
}

/// A key path from the root.
pub(super) fn path(text: &'static str) -> KeyPath {
    text.split('.').fold(KeyPath::default(), |path, key| path.key(key))
}

/// For [`Notes::at_least_one`].
fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
