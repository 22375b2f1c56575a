//! Every section of `gateway.yaml`: one declaration each, from which the type, its reader, the
//! JSON Schema and the reference are made. A default is written as an operator would write it.

mod iam;
mod network;
mod operation;
mod organisations;
mod perimeter;
mod route;
mod session;
mod sts;
mod upstream;

pub use self::{
    iam::{
        Algorithm, ClientAuthentication, Iam, IamClient, Introspection, OauthClient, TechnicalUser,
    },
    network::{Admin, ClientCertificate, Limits, Listener, ListenerTls, Rate},
    operation::{AuditChain, Level, LogFormat, LogTarget, Logs, Metrics, Server, Tracing},
    organisations::{OrganisationEntry, OrganisationKey, SystemRole},
    perimeter::{AuditDemand, LookupCache, Perimeter},
    route::{Accept, Access, ActAs, Method, Route, RouteLimits, RouteTimeouts},
    session::{Redis, SameSite, Session, SessionStore},
    sts::{
        Breaker, Exchange, ExchangeProtocol, ExchangeTemplate, Issuer, MintedPermissions, Sts,
        TokenCache,
    },
    upstream::{Balance, Health, Protocol, Timeouts, Upstream, UpstreamAuth, UpstreamTls},
};

use std::{collections::BTreeMap, path::PathBuf};

use ipnet::IpNet;

use crate::config::{
    read::section,
    types::{HostName, Origin},
};
use crate::organisation::Organisation;
use crate::permission::Permission;

section! {
    /// The whole file.
    pub struct Config {
        /// Origin that clients see; redirects and cookies are built from it, never from Host.
        public_url: Origin,
        /// Hosts answered; anything else is 421. Default: the host of `public_url`.
        hosts: Vec<HostName> = "[]",
        /// Where clients come in.
        listeners: Vec<Listener>,
        /// Health, readiness, metrics and the status page; never on a public listener.
        admin: Admin = "{}",
        /// Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; empty believes nobody.
        trusted_proxies: Vec<IpNet> = "[]",
        /// Bounds on what a request may cost.
        limits: Limits = "{}",
        /// false: every route only records what would have been refused, once it knows who asks.
        enforce: bool = "true",
        /// The OIDC provider.
        iam: Option<Iam> = "null",
        /// Browser sessions.
        session: Option<Session> = "null",
        /// The token service: another one's exchange endpoint, or this gateway's own issuer.
        sts: Option<Sts> = "null",
        /// Named sets of permissions.
        system_roles: BTreeMap<String, SystemRole> = "{}",
        /// The organisations that the built-in issuer and the role mapping know.
        organisations: BTreeMap<Organisation, OrganisationEntry> = "{}",
        /// Names of permissions beside those of Core and its BFF.
        known_permissions: Vec<Permission> = "[]",
        /// Whether a permission that is known nowhere is a fault; a misspelt one always is.
        strict_permissions: bool = "true",
        /// IAM role, then organisation, then system roles.
        iam_roles: BTreeMap<String, BTreeMap<OrganisationKey, Vec<String>>> = "{}",
        /// Identities that the gateway itself holds at the IAM provider.
        technical_users: BTreeMap<String, TechnicalUser> = "{}",
        /// The servers behind the gateway, by name.
        upstreams: BTreeMap<String, Upstream>,
        /// Compensating controls for upstreams that check nothing themselves.
        perimeter: Option<Perimeter> = "null",
        /// Files of routes, relative to this one.
        include: Vec<PathBuf> = "[]",
        /// Files of routes that win over included ones of the same hosts, shape of path and methods.
        overlay: Vec<PathBuf> = "[]",
        /// What is reachable, and for whom; most specific path wins, order does not matter.
        routes: Vec<Route> = "[]",
        /// Access records, audit records and diagnostics.
        logs: Logs = "{}",
        /// Prometheus metrics.
        metrics: Metrics = "{}",
        /// Traces by OTLP; null switches them off.
        tracing: Option<Tracing> = "null",
        /// The process itself.
        server: Server = "{}",
        /// Whether secrets may stand in this file; otherwise only `{ file: … }` and `{ env: … }`.
        allow_inline_secrets: bool = "false",
    }
}
