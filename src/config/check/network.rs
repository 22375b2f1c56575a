//! Addresses, hosts and plain text on the wire.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use url::Url;

use super::{Draft, Notes, count, path};
use crate::config::{
    key_path::KeyPath,
    read::Read,
    sections::{Admin, ClientCertificate, Rate, Upstream},
    types::is_loopback,
    yaml::Node,
};
use crate::policy::import::LONGEST_DOCUMENT;

/// A rate that lets something through.
pub(super) fn rate(rate: Option<&Rate>, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let Some(rate) = rate else { return };
    let counts = [("per_second", rate.per_second.into()), ("burst", rate.burst.into())];
    notes.at_least_one(here, &counts);
    if rate.per_second > FASTEST {
        let message =
            format!("is more than {FASTEST}, which no client reaches; leave the rate out");
        notes.fault(&here.key("per_second"), message);
    }
}

/// Times between two requests are counted in nanoseconds.
const FASTEST: u32 = 1_000_000;

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    listeners(draft, notes);
    hosts(draft, notes);
    trusted_proxies(notes);
    if let Some(limits) = draft.limits.get() {
        let counts = [
            ("header_bytes", limits.header_bytes.bytes()),
            ("headers", count(limits.headers)),
            ("target", limits.target.bytes()),
            ("connections_per_client", count(limits.connections_per_client)),
        ];
        notes.at_least_one(&path("limits"), &counts);
        let spans =
            [("header_timeout", limits.header_timeout), ("body_timeout", limits.body_timeout)];
        notes.above_zero(&path("limits"), &spans);
        for (key, bound) in [
            ("requests_per_client", &limits.requests_per_client),
            ("requests_per_organisation", &limits.requests_per_organisation),
        ] {
            rate(bound.as_ref(), &path("limits").key(key), notes);
        }
    }
    if notes.root.key("upstreams").is_some_and(|node| node.entries().is_empty()) {
        notes.fault(&path("upstreams"), "names no upstream");
    }
    for (name, upstream) in &draft.upstreams {
        if let Some(each) = upstream.get() {
            self::upstream(each, &path("upstreams").key(name.as_str()), notes);
        }
    }
}

/// Notes a URL that would carry credentials or keys in plain text over a network.
pub(super) fn plain_text(
    url: &Url,
    allowed: bool,
    at: &KeyPath,
    word: &str,
    notes: &mut Notes<'_, '_>,
) {
    let local = url.host_str().is_some_and(is_loopback);
    if url.scheme() == "http" && !local && !allowed {
        let message =
            format!("is plain HTTP to another machine; write https, or say so with {word}: true");
        notes.fault(at, message);
    }
}

fn listeners(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let all = path("listeners");
    if draft.listeners.is_empty() && notes.root.at(&all).is_some_and(is_list) {
        notes.fault(&all, "names no listener; clients could not come in");
    }
    let mut seen: BTreeMap<SocketAddr, KeyPath> = BTreeMap::new();
    for (at, listener) in draft.listeners.iter().enumerate() {
        let Some(listener) = listener.get() else { continue };
        let here = all.index(at);
        let address = listener.address;
        if let Some(first) = seen.get(&address) {
            notes.fault(&here.key("address"), format!("{address} is taken by {first}"));
        } else if address.port() != 0 {
            seen.insert(address, here.clone());
        }
        let local = address.ip().to_canonical().is_loopback();
        if listener.tls.is_none() && !local && !listener.plaintext {
            let message = "listens without TLS for other machines; add tls, or say so with \
                           plaintext: true";
            notes.fault(&here.key("address"), message);
        }
        if let Some(tls) = &listener.tls
            && tls.client_ca.is_none()
            && tls.client_certificate == ClientCertificate::Required
        {
            let message = "demands client certificates, and no client_ca says which";
            notes.fault(&here.key("tls").key("client_certificate"), message);
        }
    }
    // Left out, the admin listener stands where its default says.
    let admin = match draft.admin.get() {
        Some(admin) => Some(admin.address),
        None if draft.admin.is_absent() => default_admin(notes),
        None => None,
    };
    if let Some((address, listener)) = admin.and_then(|address| seen.get_key_value(&address)) {
        let message =
            format!("{address} is taken by {listener}; the admin listener is never public");
        notes.fault(&path("admin.address"), message);
    }
}

fn default_admin(notes: &mut Notes<'_, '_>) -> Option<SocketAddr> {
    let empty = Node {
        position: notes.root.position.clone(),
        value: crate::config::yaml::Value::Mapping(Vec::new()),
    };
    notes.cx.muted(|cx| Admin::read(&empty, cx)).map(|admin| admin.address)
}

fn is_list(node: &Node) -> bool {
    matches!(node.value, crate::config::yaml::Value::Sequence(_))
}

fn hosts(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let (Some(public), Some(hosts)) = (draft.public_url.get(), draft.hosts.get()) else { return };
    if !hosts.is_empty() && !hosts.contains(public.host_name()) {
        let message = format!("lacks {}, the host of public_url", public.host());
        notes.fault(&path("hosts"), message);
    }
}

fn trusted_proxies(notes: &mut Notes<'_, '_>) {
    let root = notes.root;
    let networks = root.key("trusted_proxies").map(Node::elements).unwrap_or_default();
    for (at, node) in networks.iter().enumerate() {
        let network = notes.cx.muted(|cx| IpNet::read(node, cx));
        if network.is_some_and(|network| network.prefix_len() == 0) {
            let message = "believes everybody: any client could name itself any address; list the \
                           proxies";
            notes.fault(&path("trusted_proxies").index(at), message);
        }
    }
}

fn upstream(upstream: &Upstream, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    if upstream.servers.is_empty() {
        notes.fault(&here.key("servers"), "names no server");
    }
    for (at, server) in upstream.servers.iter().enumerate() {
        if upstream.tls.is_none() && !upstream.plaintext && !server.is_loopback() {
            let message = "is plain HTTP to another machine; add tls to the upstream, or say so \
                           with plaintext: true";
            notes.fault(&here.key("servers").index(at), message);
        }
        if upstream.servers.iter().take(at).any(|earlier| earlier == server) {
            notes.fault(&here.key("servers").index(at), "stands in the list twice");
        }
    }
    if let Some(tls) = &upstream.tls {
        let here = here.key("tls");
        if tls.server_name.trim().is_empty() {
            notes.fault(&here.key("server_name"), "is empty; name what the certificate names");
        }
        match (&tls.client_certificate, &tls.client_key) {
            (Some(_), None) => notes.fault(&here.key("client_certificate"), "needs client_key"),
            (None, Some(_)) => notes.fault(&here.key("client_key"), "needs client_certificate"),
            _ => {}
        }
    }
    if let Some(health) = &upstream.health {
        let here = here.key("health");
        if !health.path.starts_with('/') {
            notes.fault(&here.key("path"), "must begin with `/`");
        }
        notes.above_zero(&here, &[("interval", health.interval), ("timeout", health.timeout)]);
        let counts = [("healthy", count(health.healthy)), ("unhealthy", count(health.unhealthy))];
        notes.at_least_one(&here, &counts);
    }
    if let Some(openapi) = &upstream.openapi {
        let word = here.key("plaintext").to_string();
        let here = here.key("openapi");
        plain_text(&openapi.url, upstream.plaintext, &here.key("url"), &word, notes);
        let spans = [("interval", openapi.interval), ("timeout", openapi.timeout)];
        notes.above_zero(&here, &spans);
        notes.at_least_one(&here, &[("size", openapi.size.bytes())]);
        if openapi.size.as_usize() > LONGEST_DOCUMENT {
            notes.fault(&here.key("size"), "is more than 4MiB, which no document may have");
        }
    }
    pool(upstream, here, notes);
    let timeouts = &upstream.timeouts;
    let spans = [("connect", timeouts.connect), ("read", timeouts.read), ("write", timeouts.write)];
    notes.above_zero(&here.key("timeouts"), &spans);
}

/// How servers are chosen, and when not.
fn pool(upstream: &Upstream, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let share = |percent: usize, at: &KeyPath, notes: &mut Notes<'_, '_>| {
        if percent > 100 {
            notes.fault(at, "is more than 100, which is all");
        }
    };
    if let Some(ejection) = &upstream.ejection {
        let here = here.key("ejection");
        notes.at_least_one(&here, &[("failures", count(ejection.failures))]);
        notes.above_zero(&here, &[("time", ejection.time)]);
        if ejection.max_time < ejection.time {
            notes.fault(&here.key("max_time"), "is shorter than `time`");
        }
        share(ejection.max_percent, &here.key("max_percent"), notes);
    }
    if let Some(budget) = &upstream.retry_budget {
        share(budget.percent, &here.key("retry_budget").key("percent"), notes);
    }
    if let Some(most) = upstream.connections.per_server {
        notes.at_least_one(&here.key("connections"), &[("per_server", count(most))]);
    }
    if upstream.slow_start > SLOWEST_START {
        notes.fault(&here.key("slow_start"), "is longer than 1h, in which no server warms up");
    }
}

const SLOWEST_START: Duration = Duration::from_hours(1);
