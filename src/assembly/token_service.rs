//! The token service's parts: our own issuer or another's exchange, the issuer of app tokens that
//! callers bring, and the mapping of roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::Algorithm;

use super::Defects;
use crate::{
    authentication::{Accepted, Authenticator, TrustedIssuer},
    bearer::{Rules, verified::Verified},
    config::{self, Config},
    identity::Proof,
    jwks::{Jwks, KeySource, Place},
    permission::PermissionSet,
    roles::{Mapping, PermissionPattern, Reach, RoleMap, SystemRole, Tenant},
    sts::{
        Source, Sts, StsSettings,
        cache::Lifetimes,
        exchange::{ExchangeClient, ExchangeSettings, Protocol},
        issuer::{
            Issuer, IssuerSettings, SigningKey,
            watch::{KeyFiles, Origin},
        },
        parameter::{Parameters, Resource, Scope},
        template::Template,
    },
    time::Timestamp,
};

/// What the rest needs of the token service.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) sts: Option<Sts>,
    /// Whose app tokens count.
    pub(super) trusted: Option<TrustedIssuer>,
    /// The outside service's keys.
    pub(super) keys: Option<Arc<Jwks>>,
    /// Our own keys' files.
    pub(super) key_files: Option<KeyFiles>,
}

pub(super) fn assemble(config: &Config, before: Option<&Sts>, defects: &mut Defects) -> Parts {
    let Some(sts) = &config.sts else { return Parts::default() };
    let settings = settings(sts);
    if let Some(issuer) = &sts.issuer {
        return own_issuer(issuer, settings, before, defects).unwrap_or_default();
    }
    let exchange = sts.exchange.as_ref().and_then(|exchange| exchange_client(exchange, defects));
    let Some((source, trusted, keys)) = exchange else { return Parts::default() };
    Parts {
        sts: Some(Sts::new(source, settings)),
        trusted: Some(trusted),
        keys: Some(keys),
        key_files: None,
    }
}

/// Whether minted tokens carry every permission of the caller.
pub(super) fn carries_all(config: &Config) -> bool {
    let issuer = config.sts.as_ref().and_then(|sts| sts.issuer.as_ref());
    issuer.is_some_and(|issuer| issuer.permissions == config::MintedPermissions::All)
}

/// For which audiences our endpoint issues tokens; `None` when it is off.
pub(super) fn audiences(config: &Config) -> Option<Arc<[Arc<str>]>> {
    let issuer = config.sts.as_ref().and_then(|sts| sts.issuer.as_ref())?;
    let audiences = config.upstreams.values().filter_map(|upstream| match &upstream.auth {
        config::UpstreamAuth::Sts { audience } => Some(Arc::from(audience.as_str())),
        _ => None,
    });
    let audiences: BTreeSet<Arc<str>> = audiences.collect();
    issuer.endpoint.then(|| audiences.into_iter().collect())
}

/// The mapping of roles: always with our own issuer, which knows nothing else; with an outside
/// service only where roles are mapped here, else its tokens say what is permitted.
pub(super) fn roles(config: &Config, defects: &mut Defects) -> Option<RoleMap> {
    let own = config.sts.as_ref().is_some_and(|sts| sts.issuer.is_some());
    if !own && config.iam_roles.is_empty() {
        return None;
    }
    let mapping = Mapping {
        system_roles: config
            .system_roles
            .iter()
            .map(|(name, role)| {
                (
                    name.clone(),
                    SystemRole {
                        permissions: patterns(&role.permissions),
                        delegation: role.delegation.as_ref().map(|names| {
                            names
                                .iter()
                                .filter_map(|name| crate::permission::Permission::parse(name))
                                .collect()
                        }),
                    },
                )
            })
            .collect(),
        iam_roles: config
            .iam_roles
            .iter()
            .map(|(role, reaches)| {
                let reaches: BTreeMap<_, _> = reaches
                    .iter()
                    .map(|(key, roles)| {
                        let reach = match key {
                            config::OrganisationKey::Every => Reach::Every,
                            config::OrganisationKey::One(organisation) => Reach::One(*organisation),
                        };
                        (reach, roles.clone())
                    })
                    .collect();
                (role.clone(), reaches)
            })
            .collect(),
        organisations: config
            .organisations
            .iter()
            .map(|(id, entry)| {
                (
                    *id,
                    Tenant {
                        name: entry.name.as_deref().unwrap_or_default().into(),
                        ceiling: entry.ceiling.as_ref().map(|names| patterns(names)),
                    },
                )
            })
            .collect(),
        known_permissions: config
            .routes
            .iter()
            .flat_map(|route| route.permissions.named().iter().cloned().collect::<Vec<_>>())
            .chain(config.known_permissions.iter().cloned())
            .collect::<PermissionSet>(),
    };
    match RoleMap::new(&mapping) {
        Ok(map) => Some(map),
        Err(faults) => {
            for fault in faults {
                defects.add("iam_roles", fault.to_string());
            }
            None
        }
    }
}

fn patterns(names: &[String]) -> Vec<PermissionPattern> {
    names.iter().filter_map(|name| PermissionPattern::parse(name)).collect()
}

fn settings(sts: &config::Sts) -> StsSettings {
    /// A configuration that is read again finds none of the tokens of the one before.
    static GENERATION: AtomicU64 = AtomicU64::new(0);
    StsSettings {
        entries: sts.cache.entries,
        lifetimes: Lifetimes { margin: sts.cache.margin, refresh_ahead: sts.cache.refresh_ahead },
        negative: sts.cache.negative,
        breaker_failures: sts.breaker.failures,
        breaker_open: sts.breaker.open,
        generation: GENERATION.fetch_add(1, Ordering::Relaxed),
    }
}

fn own_issuer(
    issuer: &config::Issuer,
    settings: StsSettings,
    before: Option<&Sts>,
    defects: &mut Defects,
) -> Option<Parts> {
    let now = Timestamp::now();
    let own = IssuerSettings {
        iss: issuer.iss.as_str().into(),
        keys: issuer.keys.iter().map(signing_key).collect(),
        lifetime: issuer.lifetime,
        delegated_lifetime: issuer.delegated_lifetime,
        core_jwks_lifetime: issuer.core_jwks_lifetime,
    };
    // One that is at work knows which keys Core has seen, and which tokens are still about.
    let at_work = before.and_then(Sts::issuer).filter(|issuer| issuer.is_as(&own));
    let own = match at_work {
        Some(at_work) => {
            let keys: Vec<_> = own.keys.into_iter().map(|key| key.pem).collect();
            defects.take("sts.issuer.keys", at_work.replace_keys(&keys, now))?;
            Arc::clone(at_work)
        }
        None => Arc::new(defects.take("sts.issuer.keys", Issuer::new(own, now))?),
    };
    let keys = KeySource::Local(Arc::clone(own.verifying()));
    let rules = app_rules(&issuer.iss, Duration::ZERO);
    let origins = issuer.keys.iter().map(|key| match key.file() {
        Some(path) => Origin::File(path.to_owned(), key.expose().into()),
        None => Origin::Fixed(key.expose().into()),
    });
    let key_files = KeyFiles::new(Arc::clone(&own), origins.collect());
    Some(Parts {
        sts: Some(Sts::new(Source::Issuer(own), settings)),
        trusted: Some(TrustedIssuer { rules, keys }),
        keys: None,
        key_files: Some(key_files),
    })
}

/// How old a key is, nobody says after a restart but its file. A key from elsewhere counts as
/// old: its place in the list is all there is to go by.
fn signing_key(key: &config::Secret) -> SigningKey {
    let modified = key.file().and_then(|path| path.metadata().ok()?.modified().ok());
    SigningKey { pem: key.expose().into(), since: modified.map_or(Timestamp(0), Timestamp::from) }
}

fn exchange_client(
    exchange: &config::Exchange,
    defects: &mut Defects,
) -> Option<(Source, TrustedIssuer, Arc<Jwks>)> {
    let http = super::http(None, exchange.timeout, "sts.exchange.url", defects)?;
    let keys = Jwks::new(
        Place::Fixed(exchange.jwks.clone()),
        vec![Algorithm::EdDSA],
        http.clone(),
        JWKS_REFRESH,
    );
    let keys = Arc::new(keys);
    let rules = app_rules(&exchange.issuer, exchange.leeway);
    let trusted = TrustedIssuer { rules, keys: KeySource::Remote(Arc::clone(&keys)) };
    let judge = Arc::new(Authenticator::new(vec![trusted.clone()], Verified::new(1024)));
    let client = match &exchange.client {
        Some(client) => Some(super::oauth_client(client, "sts.exchange.client", defects)?),
        None => None,
    };
    let scope = exchange.scope.as_deref().map(Scope::parse).transpose();
    let settings = ExchangeSettings {
        url: exchange.url.clone(),
        client,
        protocol: protocol(exchange, defects)?,
        scope: defects.take("sts.exchange.scope", scope)?,
        timeout: exchange.timeout,
        verifier: Arc::new(move |token, audience, now| {
            let judge = Arc::clone(&judge);
            Box::pin(async move {
                let accept = Accepted { iam: false, app: Some(&audience) };
                judge.bearer(&token, accept, now).await
            })
        }),
    };
    let client = defects.take("sts.exchange.parameters", ExchangeClient::new(settings, http))?;
    Some((Source::Exchange(Box::new(client)), trusted, keys))
}

fn protocol(exchange: &config::Exchange, defects: &mut Defects) -> Option<Protocol> {
    if let Some(template) = &exchange.template {
        return match Template::parse(template.written()) {
            Ok(template) => Some(Protocol::Template(Box::new(template))),
            Err(faults) => {
                for fault in faults {
                    defects.add(format!("sts.exchange.template.{}", fault.key), fault.message);
                }
                None
            }
        };
    }
    let resource = exchange.resource.as_deref().map(Resource::parse).transpose();
    let parameters = Parameters::parse(&exchange.parameters);
    Some(Protocol::Rfc8693 {
        requested_token_type: exchange.requested_token_type.clone(),
        resource: defects.take("sts.exchange.resource", resource)?,
        parameters: defects.take("sts.exchange.parameters", parameters)?,
    })
}

fn app_rules(issuer: &str, leeway: Duration) -> Rules {
    Rules {
        proof: Proof::AppToken,
        issuer: issuer.into(),
        audience: String::new(),
        algorithms: vec![Algorithm::EdDSA],
        leeway,
        roles: None,
    }
}

const JWKS_REFRESH: Duration = Duration::from_mins(10);
