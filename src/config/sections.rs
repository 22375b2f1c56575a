//! Every section of `gateway.yaml`: one declaration each, from which the type, its reader, the
//! JSON Schema and the reference are made. A default is written as an operator would write it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ipnet::IpNet;
use url::Url;

use super::{
    read::{choice, section},
    types::{
        Audience, ByteSize, HostName, IssuerUrl, OrganisationPlaces, Origin, PathPattern, Secret,
        ServerAddress,
    },
};
use crate::{
    organisation::Organisation,
    permission::{Permission, Requirement},
};

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

section! {
    /// One address on which clients come in.
    pub struct Listener {
        /// IP address and port.
        address: std::net::SocketAddr,
        /// TLS; without it the listener speaks plain HTTP.
        tls: Option<ListenerTls> = "null",
        /// Say so to listen without TLS on an address that is not loopback.
        plaintext: bool = "false",
    }
}

section! {
    /// TLS of a listener.
    pub struct ListenerTls {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
        /// PEM bundle; set it to ask for client certificates.
        client_ca: Option<PathBuf> = "null",
        /// Whether a client must bring a certificate.
        client_certificate: ClientCertificate = "optional",
    }
}

choice! {
    /// Whether a client must bring a certificate.
    pub enum ClientCertificate { Optional = "optional", Required = "required" }
}

section! {
    /// The admin listener.
    pub struct Admin {
        /// IP address and port.
        address: std::net::SocketAddr = "127.0.0.1:9090",
    }
}

section! {
    /// Bounds on what a request may cost.
    pub struct Limits {
        /// Whole head: request line and header lines together.
        header_bytes: ByteSize = "32KiB",
        /// Header lines.
        headers: usize = "100",
        /// Request target, in bytes.
        target: ByteSize = "8KiB",
        /// Request body; a route can set its own.
        body: ByteSize = "10MiB",
        /// From the first byte to the end of the head; not enforced in this version.
        header_timeout: Duration = "10s",
        /// Connections from one client address; not enforced in this version.
        connections_per_client: usize = "1000",
        /// Requests from one client address, or from one caller once known.
        requests_per_client: Option<Rate> = "null",
    }
}

section! {
    /// A rate with a burst.
    pub struct Rate {
        /// Requests a second, on the long run.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    }
}

section! {
    /// The OIDC provider.
    pub struct Iam {
        /// Issuer identifier, exactly as tokens carry it.
        issuer: IssuerUrl,
        /// Demanded in IAM tokens.
        audience: String,
        /// Accepted signature algorithms; HS* and none are refused.
        algorithms: Vec<Algorithm> = "[EdDSA]",
        /// JSON pointer to the array of role names.
        roles: String = "/roles",
        /// Clock difference that is tolerated.
        leeway: Duration = "60s",
        /// How often the provider's keys are read again.
        jwks_refresh: Duration = "10m",
        /// Introspection of opaque tokens (RFC 7662).
        introspection: Option<Introspection> = "null",
        /// The gateway's own client at the provider, for browser login.
        client: Option<IamClient> = "null",
        /// Say so to speak plain HTTP with a provider that is not loopback.
        plaintext: bool = "false",
    }
}

choice! {
    /// A signature algorithm of RFC 7518 or RFC 8037.
    pub enum Algorithm {
        EdDsa = "EdDSA", Es256 = "ES256", Es384 = "ES384",
        Rs256 = "RS256", Rs384 = "RS384", Rs512 = "RS512",
        Ps256 = "PS256", Ps384 = "PS384", Ps512 = "PS512",
    }
}

section! {
    /// Introspection of opaque tokens (RFC 7662).
    pub struct Introspection {
        /// The endpoint.
        url: Url,
        /// The client that may ask.
        client: OauthClient,
    }
}

section! {
    /// The gateway's own client at the provider.
    pub struct IamClient {
        /// `client_id`.
        id: String,
        /// Client secret, or the private key for `private_key_jwt`; omit it for a public client.
        secret: Option<Secret> = "null",
        /// How the client authenticates at the token endpoint. Default: `client_secret_basic` with a secret, `none` without.
        authentication: Option<ClientAuthentication> = "null",
        /// Scopes asked for at login.
        scopes: Vec<String> = "[openid, profile, offline_access]",
        /// RFC 8707 resource asked for at login, for providers that choose the access token's audience by it.
        resource: Option<String> = "null",
        /// PEM bundle for a private CA.
        ca: Option<PathBuf> = "null",
    }
}

section! {
    /// An OAuth client of the gateway.
    pub struct OauthClient {
        /// `client_id`.
        id: String,
        /// Client secret, or the private key for `private_key_jwt`.
        secret: Option<Secret> = "null",
        /// How the client authenticates. Default: `client_secret_basic` with a secret, `none` without.
        authentication: Option<ClientAuthentication> = "null",
    }
}

choice! {
    /// How a client authenticates at a token endpoint (OpenID Connect Core 1.0, section 9).
    pub enum ClientAuthentication {
        Basic = "client_secret_basic", Post = "client_secret_post",
        PrivateKeyJwt = "private_key_jwt", None = "none",
    }
}

section! {
    /// Browser sessions.
    pub struct Session {
        /// login, callback, logout, session and organisation live under it.
        prefix: String = "/.portcullis",
        /// Cookie name; sent with `__Host-` in front when `public_url` is https.
        cookie: String = "portcullis",
        /// The session cookie's SameSite.
        same_site: SameSite = "lax",
        /// 32-byte keys in base64; the first seals, all open.
        keys: Vec<Secret>,
        /// Where the session is kept.
        store: SessionStore = "cookie",
        /// Without a request for this long, the session ends.
        idle_timeout: Duration = "30m",
        /// The session ends this long after login, whatever happens.
        absolute_timeout: Duration = "12h",
        /// Path to which logout leads.
        after_logout: String = "/",
    }
}

choice! {
    /// A cookie's SameSite attribute.
    pub enum SameSite { Lax = "lax", Strict = "strict", None = "none" }
}

section! {
    /// Redis as the session store.
    pub struct Redis {
        /// redis://, rediss://, redis+sentinel:// or redis+cluster:// URL.
        url: Secret,
    }
}

section! {
    /// The token service: exactly one of `exchange` and `issuer`.
    pub struct Sts {
        /// Another service's exchange endpoint.
        exchange: Option<Exchange> = "null",
        /// This gateway as the token service.
        issuer: Option<Issuer> = "null",
        /// The cache of issued tokens.
        cache: TokenCache = "{}",
        /// When the exchange endpoint is left alone.
        breaker: Breaker = "{}",
    }
}

section! {
    /// An outside token service.
    pub struct Exchange {
        /// The token endpoint.
        url: Url,
        /// `rfc8693`, or `template` for a service that speaks otherwise.
        protocol: ExchangeProtocol = "rfc8693",
        /// The gateway's own client there.
        client: Option<OauthClient> = "null",
        /// RFC 8693 `requested_token_type`.
        requested_token_type: String = "urn:ietf:params:oauth:token-type:access_token",
        /// RFC 8693 `scope`; `{permissions}` stands for the route's permissions.
        scope: Option<String> = "null",
        /// Extra form fields; `{organisation}`, `{audience}` and `{subject}` are filled in.
        parameters: BTreeMap<String, String> = "{}",
        /// The request and answer of a service that does not speak RFC 8693.
        template: Option<ExchangeTemplate> = "null",
        /// What issued tokens must carry as `iss`.
        issuer: String,
        /// Where the keys of issued tokens are published.
        jwks: Url,
        /// One exchange may take this long.
        timeout: Duration = "3s",
        /// Clock difference that is tolerated in issued tokens.
        leeway: Duration = "60s",
        /// Say so to speak plain HTTP with a service that is not loopback.
        plaintext: bool = "false",
    }
}

choice! {
    /// What the token service speaks.
    pub enum ExchangeProtocol { Rfc8693 = "rfc8693", Template = "template" }
}

section! {
    /// The request and answer of a token service that does not speak RFC 8693.
    pub struct ExchangeTemplate {
        /// HTTP method.
        method: String = "POST",
        /// Content type of the request.
        content_type: String = "application/json",
        /// Body with `{subject_token}`, `{organisation}`, `{audience}` and `{scope}` filled in.
        body: String,
        /// JSON pointer to the issued token.
        token: String,
        /// JSON pointer to its lifetime in seconds.
        expires_in: Option<String> = "null",
    }
}

section! {
    /// The gateway as the token service.
    pub struct Issuer {
        /// `iss` of the tokens.
        iss: String,
        /// Ed25519 private keys, PKCS#8 PEM; the first signs, all are published.
        keys: Vec<Secret>,
        /// Life of an app token.
        lifetime: Duration = "5m",
        /// Life of a delegated token.
        delegated_lifetime: Duration = "60s",
        /// Which permissions a token carries.
        permissions: MintedPermissions = "route",
        /// Answer RFC 8693 at /sts/token.
        endpoint: bool = "false",
        /// Core's `ttlJwks`: publish a new key, as the second of `keys`, this long before it is made the first.
        core_jwks_lifetime: Duration = "600s",
    }
}

choice! {
    /// Which permissions a minted token carries: those of the route that the caller holds, or every one.
    pub enum MintedPermissions { Route = "route", All = "all" }
}

section! {
    /// The cache of issued tokens.
    pub struct TokenCache {
        /// Tokens kept at most.
        entries: u64 = "100000",
        /// A token this close to its end is not handed out.
        margin: Duration = "15s",
        /// Renewed in the background from here on, while it still serves.
        refresh_ahead: Duration = "30s",
        /// How long a 4xx of the token service is remembered.
        negative: Duration = "5s",
    }
}

section! {
    /// When the exchange endpoint is left alone.
    pub struct Breaker {
        /// Failures in a row that open it.
        failures: u32 = "5",
        /// How long it stays open.
        open: Duration = "10s",
    }
}

section! {
    /// An organisation.
    pub struct OrganisationEntry {
        /// For people.
        name: Option<String> = "null",
        /// Permissions nobody exceeds here; null: no ceiling.
        ceiling: Option<Vec<String>> = "null",
    }
}

section! {
    /// An identity that the gateway itself holds at the IAM provider.
    pub struct TechnicalUser {
        /// Its client there.
        client: OauthClient,
        /// Scopes asked for.
        scopes: Vec<String> = "[]",
        /// The organisation in which it acts.
        organisation: Option<Organisation> = "null",
    }
}

section! {
    /// A set of servers that answer alike.
    pub struct Upstream {
        /// host:port each; names are resolved again in the background.
        servers: Vec<ServerAddress>,
        /// TLS towards the servers.
        tls: Option<UpstreamTls> = "null",
        /// Say so for plain HTTP to an address that is not loopback.
        plaintext: bool = "false",
        /// What the upstream demands of a request.
        auth: UpstreamAuth,
        /// How a server is chosen.
        balance: Balance = "round_robin",
        /// Active health checks; null: none.
        health: Option<Health> = "null",
        /// How long each step may take.
        timeouts: Timeouts = "{}",
        /// Further tries, where it is safe.
        retries: usize = "1",
        /// false: every route to it only records what would have been refused.
        enforce: bool = "true",
    }
}

section! {
    /// TLS towards an upstream.
    pub struct UpstreamTls {
        /// Name in the certificate, sent as SNI.
        server_name: String,
        /// PEM bundle for a private CA.
        ca: Option<PathBuf> = "null",
        /// PEM chain with which the gateway introduces itself.
        client_certificate: Option<PathBuf> = "null",
        /// Its private key.
        client_key: Option<PathBuf> = "null",
    }
}

section! {
    /// Active health checks.
    pub struct Health {
        /// GET this path; any 2xx is healthy.
        path: String,
        /// Time between checks.
        interval: Duration = "5s",
        /// One check may take this long.
        timeout: Duration = "1s",
        /// Good checks until a server counts as healthy.
        healthy: usize = "1",
        /// Bad checks until it does not.
        unhealthy: usize = "3",
    }
}

section! {
    /// How long each step towards an upstream may take.
    pub struct Timeouts {
        /// TCP and TLS together.
        connect: Duration = "2s",
        /// Between two reads.
        read: Duration = "60s",
        /// Between two writes.
        write: Duration = "60s",
        /// An idle connection is kept this long.
        idle: Duration = "60s",
    }
}

section! {
    /// Compensating controls for upstreams that check nothing themselves.
    pub struct Perimeter {
        /// The upstreams known to check nothing; their name has to be written here.
        acknowledge: Vec<String>,
        /// Who may come in at all.
        allow_clients: Vec<IpNet>,
        /// Bounds of the organisation look-ups.
        organisation_lookup: LookupCache = "{}",
        /// Whether a request may be served without its audit record.
        audit: AuditDemand = "required",
    }
}

section! {
    /// Bounds of the organisation look-ups.
    pub struct LookupCache {
        /// Answers kept at most.
        entries: u64 = "100000",
        /// How long a resource's organisation is remembered.
        positive: Duration = "1h",
        /// How long an unknown resource is remembered.
        negative: Duration = "2s",
        /// One look-up may take this long.
        timeout: Duration = "2s",
    }
}

choice! {
    /// Whether a request may be served without its audit record.
    pub enum AuditDemand { Required = "required", BestEffort = "best_effort" }
}

section! {
    /// What is reachable, for whom, and with which credential.
    pub struct Route {
        /// Pattern as Core writes it: `/api/credential/v1/{id}`, `/ssi/{*rest}`.
        path: PathPattern,
        /// Hosts of this route; default: all that are answered.
        hosts: Vec<HostName> = "[]",
        /// Methods; default: every one. GET stands for HEAD as well.
        methods: Vec<Method> = "[]",
        /// Whether a credential is asked for.
        access: Access = "required",
        /// Credentials accepted.
        accept: Vec<Accept> = "[session, iam]",
        /// Permissions demanded: a list for any of, `{ all: [...] }` for all of.
        permissions: Requirement = "[]",
        /// IAM roles, any of which is demanded.
        roles: Vec<String> = "[]",
        /// Where the request names its organisation.
        organisation: OrganisationPlaces = "[]",
        /// Whether a query may reach beyond the organisation (`showSystemHistory=true`).
        cross_organisation: bool = "false",
        /// In whose name the upstream is called.
        act_as: ActAs = "caller",
        /// CEL over claims, request and organisation; must be true.
        condition: Option<String> = "null",
        /// false: decide, record what would have been refused, let it pass.
        enforce: bool = "true",
        /// Bounds of this route.
        limits: RouteLimits = "{}",
        /// Time-outs of this route, where they differ from the upstream's.
        timeouts: RouteTimeouts = "{}",
        /// Name of the upstream.
        upstream: String,
    }
}

choice! {
    /// A request method.
    pub enum Method {
        Get = "GET", Head = "HEAD", Post = "POST", Put = "PUT", Patch = "PATCH",
        Delete = "DELETE", Options = "OPTIONS",
    }
}

choice! {
    /// Whether a credential is asked for.
    pub enum Access { Required = "required", Public = "public" }
}

choice! {
    /// A kind of credential.
    pub enum Accept { Session = "session", Iam = "iam", App = "app", Certificate = "certificate" }
}

section! {
    /// Bounds of one route.
    pub struct RouteLimits {
        /// Request body.
        body: Option<ByteSize> = "null",
        /// Requests from one caller.
        requests: Option<Rate> = "null",
    }
}

section! {
    /// Time-outs of one route.
    pub struct RouteTimeouts {
        /// Between two reads.
        read: Option<Duration> = "null",
        /// Between two writes.
        write: Option<Duration> = "null",
    }
}

section! {
    /// Access records, audit records and diagnostics.
    pub struct Logs {
        /// Diagnostics from this level on.
        level: Level = "info",
        /// json or text; default: text on a terminal, json otherwise.
        format: Option<LogFormat> = "null",
        /// Where access records go.
        access: LogTarget = "stdout",
        /// Where audit records go.
        audit: LogTarget = "stdout",
    }
}

choice! {
    /// A level of diagnostics.
    pub enum Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
}

choice! {
    /// How records are written.
    pub enum LogFormat { Json = "json", Text = "text" }
}

section! {
    /// Prometheus metrics.
    pub struct Metrics {
        /// Whether the route is a label.
        per_route: bool = "true",
    }
}

section! {
    /// Traces by OTLP.
    pub struct Tracing {
        /// The collector.
        otlp: Url,
        /// Share of requests that are traced, 0 to 1.
        sample: f64 = "0.01",
    }
}

section! {
    /// The process itself.
    pub struct Server {
        /// Worker threads; default: one for each core.
        threads: Option<usize> = "null",
        /// Time that requests under way are given at the end.
        grace: Duration = "10s",
        /// Socket over which a new process takes the listeners; in a private directory.
        upgrade_socket: Option<PathBuf> = "null",
    }
}

/// The key of an organisation in `iam_roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrganisationKey {
    /// `*`: every organisation listed under `organisations`.
    Every,
    /// One of them.
    One(Organisation),
}

/// A named set of permissions: a list, or `{ permissions, delegation }`.
#[derive(Clone, Debug)]
pub struct SystemRole {
    /// Names; `*` only at the end of one.
    pub permissions: Vec<String>,
    /// `Some`: only on behalf of a user; empty: any user, else users who hold one of the listed.
    pub delegation: Option<Vec<String>>,
}

/// What the upstream demands of a request; tagged by `mode`.
#[derive(Clone, Debug)]
pub enum UpstreamAuth {
    /// `STS`: an app token for this audience.
    Sts {
        /// `aud` of the app token.
        audience: Audience,
    },
    /// `IAM`: the caller's IAM token (BFF).
    Iam,
    /// `NONE`: no credential, public routes only.
    None,
    /// `UNSAFE_NONE`: the upstream checks nothing.
    UnsafeNone,
    /// `UNSAFE_STATIC`: one static token for everybody.
    UnsafeStatic {
        /// The token.
        static_token: Secret,
    },
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// `round_robin`.
    RoundRobin,
    /// `least_requests`.
    LeastRequests,
    /// `{ hash: cookie }`: one session, one server.
    HashCookie,
}

/// Where the session is kept: `cookie`, or `{ redis: { url } }`.
#[derive(Clone, Debug)]
pub enum SessionStore {
    /// Sealed in the cookie.
    Cookie,
    /// In Redis.
    Redis(Redis),
}

/// In whose name the upstream is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActAs {
    /// `caller`.
    Caller,
    /// `{ technical_user: NAME }`.
    TechnicalUser(String),
    /// `{ delegate: NAME }`: NAME on behalf of the caller.
    Delegate(String),
}

/// Where records go: `stdout`, `stderr`, `off` or `{ file: PATH }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// Appended to a file.
    File(PathBuf),
}
