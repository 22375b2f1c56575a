//! From a configuration to its parts at work.
//!
//! Nothing here talks to the network. What a file holds and the configuration's own checks could
//! not see (a key that is no key, an unreadable certificate) is reported with its key path, all
//! at once, like every other fault.

mod identity_provider;
mod lookups;
mod routes;
mod technical_users;
mod token_service;
mod tracing;
mod upstreams;
mod watches;

pub(crate) use self::{
    upstreams::{certificates, private_key},
    watches::compared,
};

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, sync::Arc, time::Instant};

use reqwest::Client;
use url::Url;

use crate::{
    admission::{Browsers, Rates, State},
    authentication::{Accepted, Authenticator, TrustedIssuer},
    bearer::verified::Verified,
    config::{self, Config, Loaded, RedisUrl},
    extension::Extensions,
    http_client,
    jwks::Jwks,
    listener::upgrade,
    login::{self, Login},
    oauth_client::{AssertionKey, ClientAuthentication, OauthClient},
    oidc::Provider,
    perimeter::{self, Perimeter},
    rate_limit::{Buckets, Rate},
    request::{Rules, forwarded::TrustedProxies},
    route::TableError,
    session::{cookie, key_ring::KeyRing},
    sessions::{CookieStore, Limits, RedisStore, Sessions, Store, VerifyIam},
    sts::issuer::watch::KeyFiles,
    telemetry::trace,
    upstream::Upstream,
    watch::Watch,
};

/// A configuration's parts, and what has to run in the background for them.
pub struct Assembly {
    /// What requests are decided by.
    pub state: State,
    /// The IAM provider's keys.
    pub iam_keys: Option<Arc<Jwks>>,
    /// The outside token service's keys.
    pub sts_keys: Option<Arc<Jwks>>,
    /// Our own token service's key files.
    pub key_files: Option<KeyFiles>,
    /// The IAM provider, for logins.
    pub provider: Option<Arc<Provider>>,
    /// The watch over ways around the gateway, where an upstream checks nothing.
    pub perimeter: Option<Arc<Perimeter>>,
    /// Upstreams whose documents are compared with the routes.
    pub watches: Vec<Arc<Watch>>,
    /// The share of requests that are traced, and where their spans go.
    pub tracing: Option<Box<(f64, trace::Settings)>>,
}

/// Something that the configuration's own checks could not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Where: a key path.
    pub key_path: String,
    /// What, and what to do.
    pub message: String,
}

/// Collects defects; a part that has one is `None`.
#[derive(Default)]
struct Defects(Vec<Defect>);

impl Defects {
    fn add(&mut self, key_path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Defect { key_path: key_path.into(), message: message.into() });
    }

    /// The value, or a defect at this place.
    fn take<T, E: ToString>(&mut self, key_path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key_path, error.to_string())).ok()
    }
}

/// Makes the parts.
///
/// # Errors
/// Every defect found.
pub fn assemble(loaded: &Loaded) -> Result<Assembly, Vec<Defect>> {
    assemble_with(loaded, &Arc::default())
}

/// Makes the parts for a program with extensions.
///
/// # Errors
/// Every defect found.
pub(crate) fn assemble_with(
    loaded: &Loaded,
    extensions: &Arc<Extensions>,
) -> Result<Assembly, Vec<Defect>> {
    assemble_after(loaded, None, extensions)
}

/// Makes the parts of a configuration that takes the place of another. What the one before knows
/// of sessions and signing keys goes on.
///
/// # Errors
/// Every defect found.
pub(crate) fn assemble_after(
    loaded: &Loaded,
    before: Option<&State>,
    extensions: &Arc<Extensions>,
) -> Result<Assembly, Vec<Defect>> {
    let config = &loaded.config;
    let mut defects = Defects::default();
    let iam = identity_provider::http(config, &mut defects);
    let iam_issuer = iam.as_ref().and_then(|http| identity_provider::issuer(config, http));
    let token_service::Parts { sts, trusted, keys: sts_keys, key_files } =
        token_service::assemble(config, before.and_then(|it| it.sts.as_ref()), &mut defects);
    let issuers: Vec<TrustedIssuer> =
        iam_issuer.iter().map(|(issuer, _)| issuer.clone()).chain(trusted).collect();
    let verified = Verified::new(VERIFIED_TOKENS);
    let authenticator = || Authenticator::new(issuers.clone(), verified.clone());
    let provider =
        iam.as_ref().and_then(|http| identity_provider::provider(config, http, &mut defects));
    let logout = identity_provider::logout_tokens(config, iam_issuer.as_ref());
    let sessions = before.and_then(|before| Some(&*before.browsers.as_ref()?.sessions));
    let at_provider = provider.as_ref().zip(logout);
    let browsers = browsers(config, at_provider, authenticator, sessions, &mut defects);
    let roles = token_service::roles(config, &mut defects);
    let known = before.map_or(&[][..], |before| &before.upstreams);
    let upstreams = upstreams::assemble(config, extensions, known, &mut defects);
    let verify = verify_iam(authenticator());
    let users = technical_users::assemble(config, iam.as_ref(), &verify, &mut defects);
    let mut lookups = lookups::assemble(config, &upstreams, &mut defects);
    let ends = routes::Ends { upstreams: &upstreams, technical_users: &users, extensions };
    let routes = routes::assemble(config, ends, &mut lookups, &mut defects);
    let watches = watches::assemble(loaded, &mut defects);
    let perimeter = perimeter(config, &upstreams, &mut defects);
    if let Some(socket) = &config.server.upgrade_socket {
        defects.take("server.upgrade_socket", upgrade::private(socket));
    }
    let tracing = tracing::assemble(config, &mut defects);
    let (Some(routes), true) = (routes, defects.0.is_empty()) else { return Err(defects.0) };
    let state = State {
        rules: rules(config),
        public_host: config.public_url.host().into(),
        public_authority: authority(config),
        routes,
        upstreams: upstreams.into_values().collect(),
        browsers,
        authenticator: authenticator(),
        certificates: technical_users::by_certificate(config, &users),
        roles,
        carry_all: token_service::carries_all(config),
        sts,
        body_timeout: config.limits.body_timeout,
        audit_required: config
            .perimeter
            .as_ref()
            .is_some_and(|perimeter| perimeter.audit == config::AuditDemand::Required),
        rates: Arc::new(rates(config)),
        lookups: lookups.known(),
        exchange: token_service::audiences(config),
        extensions: Arc::clone(extensions),
    };
    let iam_keys = iam_issuer.map(|(_, keys)| keys);
    Ok(Assembly { state, iam_keys, sts_keys, key_files, provider, perimeter, watches, tracing })
}

/// The files of certificates and their keys, which are read beside the configuration's own.
#[must_use]
pub fn files(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<Option<&PathBuf>> = Vec::new();
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        files.extend([Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
        files.extend(tls.more.iter().flat_map(|more| [Some(&more.certificate), Some(&more.key)]));
    }
    for upstream in config.upstreams.values() {
        files.push(upstream.openapi.as_ref().and_then(|document| document.ca.as_ref()));
        if let Some(tls) = &upstream.tls {
            files.extend([&tls.ca, &tls.client_certificate, &tls.client_key].map(Option::as_ref));
        }
    }
    files.push(config.iam.as_ref().and_then(|iam| iam.client.as_ref()?.ca.as_ref()));
    files.push(config.tracing.as_ref().and_then(|tracing| tracing.ca.as_ref()));
    if let Some(config::SessionStore::Redis(redis)) = config.session.as_ref().map(|it| &it.store) {
        files.push(redis.ca.as_ref());
    }
    files.into_iter().flatten().cloned().collect()
}

/// Verified tokens that are remembered: about as many callers as a gateway has at once.
const VERIFIED_TOKENS: u64 = 100_000;

fn rules(config: &Config) -> Rules {
    Rules {
        hosts: hosts(config).into_iter().map(Arc::from).collect(),
        trusted_proxies: TrustedProxies::new(config.trusted_proxies.clone()),
        allow_clients: config.perimeter.as_ref().map(|perimeter| perimeter.allow_clients.clone()),
        header_bytes: config.limits.header_bytes.as_usize(),
        headers: config.limits.headers,
        target: config.limits.target.as_usize(),
    }
}

fn rates(config: &Config) -> Rates {
    let client = config.limits.requests_per_client.as_ref().and_then(rate);
    let organisation = config.limits.requests_per_organisation.as_ref().and_then(rate);
    let any = client.is_some()
        || organisation.is_some()
        || config.routes.iter().any(|it| it.limits.requests.is_some());
    Rates { client, organisation, buckets: any.then(Buckets::default), since: Instant::now() }
}

/// The configuration's own checks have seen to it that neither is zero.
fn rate(rate: &config::Rate) -> Option<Rate> {
    Some(Rate {
        per_second: NonZeroU32::new(rate.per_second)?,
        burst: NonZeroU32::new(rate.burst)?,
    })
}

fn perimeter(
    config: &Config,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    defects: &mut Defects,
) -> Option<Arc<Perimeter>> {
    let written = config.perimeter.as_ref()?;
    let unchecked = upstreams.values().filter(|upstream| upstream.demand().is_unsafe());
    let listeners = config.listeners.iter().map(|listener| listener.address);
    let settings = perimeter::Settings {
        upstreams: unchecked.map(Arc::clone).collect(),
        own: listeners.chain([config.admin.address]).collect(),
        probes: written.probe.clone(),
        interval: written.probe_interval,
    };
    defects.take("perimeter.probe", Perimeter::new(settings)).map(Arc::new)
}

/// The hosts answered.
fn hosts(config: &Config) -> Vec<Box<str>> {
    let public = std::slice::from_ref(config.public_url.host_name());
    let hosts = if config.hosts.is_empty() { public } else { &config.hosts };
    hosts.iter().map(|host| host.as_str().into()).collect()
}

/// The public origin without its scheme: what upstreams see as Host.
fn authority(config: &Config) -> Box<str> {
    let origin = config.public_url.as_str();
    origin.split_once("://").map_or(origin, |(_, authority)| authority).into()
}

/// Sessions exist where a provider is configured to make them, and to end them.
fn browsers(
    config: &Config,
    provider: Option<(&Arc<Provider>, login::VerifyLogout)>,
    authenticator: impl Fn() -> Authenticator,
    before: Option<&Sessions>,
    defects: &mut Defects,
) -> Option<Browsers> {
    let (settings, (provider, verify_logout)) = (config.session.as_ref()?, provider?);
    // The configuration's own checks have seen to it that every key is one.
    let keys = settings.keys.iter().filter_map(|key| key.decoded()?.try_into().ok()).collect();
    let ring = defects.take("session.keys", KeyRing::new(keys))?;
    let cookies = cookie::Settings {
        name: settings.cookie.clone(),
        secure: config.public_url.is_https(),
        same_site: match settings.same_site {
            config::SameSite::Lax => cookie::SameSite::Lax,
            config::SameSite::Strict => cookie::SameSite::Strict,
            config::SameSite::None => cookie::SameSite::None,
        },
    };
    let jar = Arc::new(defects.take("session.cookie", cookie::Jar::new(&cookies, ring))?);
    let verify_iam = verify_iam(authenticator());
    let limits = Limits { idle: settings.idle_timeout, absolute: settings.absolute_timeout };
    let store = session_store(&settings.store, &jar, limits, before, defects)?;
    let verify = Arc::clone(&verify_iam);
    let sessions = Sessions::new(jar, store, limits, Arc::clone(provider), verify, before);
    let sessions = Arc::new(sessions);
    let login = login::Settings {
        public_url: public_url(config, defects)?,
        prefix: settings.prefix.clone(),
        after_logout: settings.after_logout.clone(),
    };
    let (at_work, provider) = (Arc::clone(&sessions), Arc::clone(provider));
    let login = Login::new(login, at_work, provider, verify_iam, verify_logout);
    Some(Browsers { sessions, login: defects.take("session", login)? })
}

/// Judges tokens as bearer tokens are judged.
fn verify_iam(authenticator: Authenticator) -> VerifyIam {
    let judge = Arc::new(authenticator);
    Arc::new(move |token, now| {
        let judge = Arc::clone(&judge);
        Box::pin(async move {
            let accept = Accepted { iam: true, app: None };
            judge.bearer(&token, accept, now).await.map(|identity| (*identity).clone())
        })
    })
}

fn session_store(
    store: &config::SessionStore,
    jar: &Arc<cookie::Jar>,
    limits: Limits,
    before: Option<&Sessions>,
    defects: &mut Defects,
) -> Option<Store> {
    let config::SessionStore::Redis(redis) = store else {
        if let Some(Store::Cookie(before)) = before.map(Sessions::store) {
            return Some(Store::Cookie(CookieStore::after(before, Arc::clone(jar))));
        }
        return Some(Store::Cookie(CookieStore::new(Arc::clone(jar), limits.idle)));
    };
    let ca = match &redis.ca {
        Some(path) => Some(defects.take("session.store.redis.ca", std::fs::read(path))?),
        None => None,
    };
    let url = RedisUrl::parse(redis.url.expose());
    let url = defects.take("session.store.redis.url", url)?;
    let store = RedisStore::new(Arc::clone(jar), limits, &url, ca.as_deref());
    Some(Store::Redis(defects.take("session.store.redis", store)?))
}

fn public_url(config: &Config, defects: &mut Defects) -> Option<Url> {
    defects.take("public_url", Url::parse(config.public_url.as_str()))
}

/// A client for one outside service, with its private CA.
fn http(
    ca: Option<&std::path::PathBuf>,
    timeout: std::time::Duration,
    key_path: &str,
    defects: &mut Defects,
) -> Option<Client> {
    let pem = match ca {
        Some(path) => Some(defects.take(key_path, std::fs::read(path))?),
        None => None,
    };
    defects.take(key_path, http_client::build(pem.as_deref(), timeout))
}

/// The gateway's client at some token endpoint.
fn oauth_client(
    client: &config::OauthClient,
    key_path: &str,
    defects: &mut Defects,
) -> Option<OauthClient> {
    use config::ClientAuthentication as How;
    let authentication = match (client.authentication, &client.secret) {
        (_, None) | (Some(How::None), _) => ClientAuthentication::None,
        (Some(How::Basic) | None, Some(secret)) => {
            ClientAuthentication::Basic(secret.expose().into())
        }
        (Some(How::Post), Some(secret)) => ClientAuthentication::Post(secret.expose().into()),
        (Some(How::PrivateKeyJwt), Some(secret)) => {
            let key = AssertionKey::new(&secret.expose().into());
            ClientAuthentication::PrivateKeyJwt(defects.take(&format!("{key_path}.secret"), key)?)
        }
    };
    Some(OauthClient::new(client.id.clone(), authentication))
}

fn conflict(error: &TableError) -> (String, String) {
    match error {
        TableError::Conflict(one, other) => {
            (format!("routes[{other}].path"), format!("matches the same requests as routes[{one}]"))
        }
        TableError::Pattern(at, why) => (format!("routes[{at}].path"), why.clone()),
    }
}
