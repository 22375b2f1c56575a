//! The upstreams, with their TLS files read.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use pingora::utils::tls::{CertKey, WrappedX509};

use super::Defects;
use crate::{
    config::{self, Config, Protocol, UpstreamAuth},
    credential::Demand,
    extension::Extensions,
    upstream::{
        Health, ServerName, Settings, Timeouts, Tls, Upstream,
        pool::{Balance, Budget, Ejection, Rules, Thresholds},
    },
};

/// Those of a configuration that takes the place of another know what it knows of their servers.
pub(super) fn assemble(
    config: &Config,
    extensions: &Extensions,
    before: &[Arc<Upstream>],
    defects: &mut Defects,
) -> BTreeMap<String, Arc<Upstream>> {
    let mut upstreams = BTreeMap::new();
    for (name, upstream) in &config.upstreams {
        let path = format!("upstreams.{name}");
        let tls = match &upstream.tls {
            Some(tls) => match self::tls(tls, &path, defects) {
                Some(tls) => Some(tls),
                None => continue,
            },
            None => None,
        };
        let settings = Settings {
            name: name.as_str().into(),
            servers: upstream
                .servers
                .iter()
                .map(|server| (server.host.clone(), server.port))
                .collect(),
            tls,
            demand: match &upstream.auth {
                UpstreamAuth::Sts { audience } => Demand::AppToken(audience.as_str().into()),
                UpstreamAuth::Iam => Demand::IamToken,
                UpstreamAuth::None => Demand::Nothing,
                UpstreamAuth::UnsafeNone => Demand::Unchecked,
                UpstreamAuth::UnsafeStatic { static_token } => {
                    Demand::Static(Arc::new(static_token.expose().into()))
                }
                UpstreamAuth::Extension { source } => {
                    let source =
                        defects.take(&format!("{path}.auth.source"), extensions.source(source));
                    match source {
                        Some(source) => Demand::Extension(source),
                        None => continue,
                    }
                }
            },
            health: upstream.health.as_ref().map(|health| Health {
                path: health.path.clone(),
                interval: health.interval,
                timeout: health.timeout,
                thresholds: Thresholds {
                    healthy: bounded(health.healthy),
                    unhealthy: bounded(health.unhealthy),
                },
            }),
            timeouts: Timeouts {
                connect: upstream.timeouts.connect,
                read: upstream.timeouts.read,
                write: upstream.timeouts.write,
                idle: upstream.timeouts.idle,
            },
            http2: upstream.protocol == Protocol::Http2,
            retries: upstream.retries,
            rules: rules(upstream),
        };
        let before = before.iter().find(|before| **before.name() == **name).map(|before| &**before);
        let made = Upstream::new(settings, group(name, upstream.tls.as_ref()), before);
        if let Some(upstream) = defects.take(&path, made) {
            upstreams.insert(name.clone(), Arc::new(upstream));
        }
    }
    upstreams
}

fn rules(upstream: &config::Upstream) -> Rules {
    Rules {
        balance: match upstream.balance {
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::LeastRequests => Balance::LeastRequests,
            config::Balance::HashCookie => Balance::Hash,
        },
        // The upstream knows its health check.
        health: None,
        ejection: upstream.ejection.as_ref().map(|ejection| Ejection {
            failures: bounded(ejection.failures),
            time: ejection.time,
            max_time: ejection.max_time,
            max_percent: bounded(ejection.max_percent),
        }),
        slow_start: upstream.slow_start,
        per_server: upstream.connections.per_server.map(bounded),
        budget: upstream.retry_budget.as_ref().map(|budget| Budget {
            percent: bounded(budget.percent),
            min_per_second: bounded(budget.min_per_second),
        }),
    }
}

fn bounded(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Names a pool of connections: those of one upstream that were made under the same trust. Pingora
/// keeps connections apart by address and name, and not by the authorities they were judged by, so
/// that one from before a reload would be used after it.
fn group(name: &str, tls: Option<&config::UpstreamTls>) -> u64 {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    };
    add(name.as_bytes());
    if let Some(tls) = tls {
        add(tls.server_name.as_bytes());
        for file in [&tls.ca, &tls.client_certificate, &tls.client_key] {
            // What cannot be read is a defect, and told elsewhere.
            add(&file.as_ref().map(|file| fs::read(file).unwrap_or_default()).unwrap_or_default());
        }
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

fn tls(tls: &config::UpstreamTls, path: &str, defects: &mut Defects) -> Option<Tls> {
    let key = |name: &str| format!("{path}.tls.{name}");
    let server_name = ServerName::new(&tls.server_name).ok_or("must not be empty");
    let server_name = defects.take(&key("server_name"), server_name)?;
    let ca = match &tls.ca {
        Some(file) => {
            let certificates = defects.take(&key("ca"), certificates(file))?;
            let parsed: Option<Vec<_>> =
                certificates.into_iter().map(|der| wrap(der.to_vec())).collect();
            let parsed = defects.take(&key("ca"), parsed.ok_or("holds no X.509 certificate"))?;
            Some(Arc::from(parsed))
        }
        None => None,
    };
    let client = match (&tls.client_certificate, &tls.client_key) {
        (Some(chain), Some(private)) => {
            let chain = defects.take(&key("client_certificate"), certificates(chain))?;
            let private = defects.take(&key("client_key"), private_key(private))?;
            let chain = chain.into_iter().map(|der| der.to_vec()).collect();
            Some(Arc::new(CertKey::new(chain, private.secret_der().to_vec())))
        }
        _ => None,
    };
    Some(Tls { server_name, ca, client })
}

/// The certificates of a PEM file.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    if read.is_empty() {
        return Err(format!("{} holds no certificate", file.display()));
    }
    Ok(read)
}

/// The private key of a PEM file.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| format!("{} holds no private key: {error}", file.display()))
}

fn wrap(der: Vec<u8>) -> Option<WrappedX509> {
    // Pingora's own parser panics on what is no certificate, so rustls reads it first.
    rustls::RootCertStore::empty().add(der.clone().into()).ok()?;
    Some(WrappedX509::new(der, pingora::utils::tls::parse_x509))
}
