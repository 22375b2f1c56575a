//! TLS of the listeners. The one module that knows which TLS stack there is.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use rustls::{
    RootCertStore, ServerConfig,
    client::verify_server_name,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::ServerName,
    server::{
        ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{
    assembly::{certificates, private_key},
    config::{ClientCertificate, ListenerTls},
};

/// What a listener shows, and whom it lets in. It is replaced whole while the listener listens:
/// handshakes that have begun end with what they began with, and sessions that were made under
/// the one before are not resumed, so that nobody comes in by an authority that is gone.
pub(crate) struct Tls(ArcSwap<Acceptor>);

/// The same, read and found to be in order.
pub(crate) struct Material {
    shown: Vec<Arc<CertifiedKey>>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Reads the certificates of a listener.
///
/// # Errors
/// Which key below `listeners[…].tls` is of no use, and why.
pub(crate) fn read(files: &ListenerTls) -> Result<Material, (String, String)> {
    let mut shown = Vec::new();
    let first = certified(&files.certificate, &files.key);
    shown.push(Arc::new(first.map_err(|why| ("certificate".to_owned(), why))?));
    for (at, more) in files.more.iter().enumerate() {
        let more = certified(&more.certificate, &more.key);
        shown.push(Arc::new(more.map_err(|why| (format!("more[{at}]"), why))?));
    }
    let clients = match &files.client_ca {
        Some(ca) => {
            Some(verifier(ca, files.client_certificate).map_err(|why| ("client_ca".into(), why))?)
        }
        None => None,
    };
    Ok(Material { shown, clients })
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = certificates(certificate)?;
    let key = private_key(key)?;
    let key = any_supported_type(&key).map_err(|error| format!("the key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| "certificate and key do not belong together".to_owned())?;
    Ok(certified)
}

fn verifier(ca: &Path, demand: ClientCertificate) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let verifier = match demand {
        ClientCertificate::Required => verifier,
        ClientCertificate::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| error.to_string())
}

impl Tls {
    /// What a listener begins with.
    ///
    /// # Errors
    /// In the words of rustls.
    pub(super) fn new(material: Material) -> Result<Self, String> {
        Ok(Self(ArcSwap::from_pointee(material.acceptor()?)))
    }

    /// For one handshake.
    pub(super) fn acceptor(&self) -> Arc<Acceptor> {
        self.0.load_full()
    }

    /// For handshakes from now on.
    pub(super) fn replace(&self, acceptor: Acceptor) {
        self.0.store(Arc::new(acceptor));
    }
}

impl Material {
    /// TLS 1.2 and 1.3, HTTP/2 by ALPN.
    ///
    /// # Errors
    /// In the words of rustls.
    pub(super) fn acceptor(self) -> Result<Acceptor, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS12, &TLS13])
            .map_err(|error| error.to_string())?;
        let builder = match self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Shown(self.shown)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Acceptor::from_server_config(Arc::new(config)))
    }
}

/// Certificates by name; the first for a client that names no host, or one that none is for.
#[derive(Debug)]
struct Shown(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |certified: &&Arc<CertifiedKey>| {
            let leaf = certified.cert.first().map(ParsedCertificate::try_from);
            named.as_ref().zip(leaf).is_some_and(|(name, leaf)| {
                leaf.is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok())
            })
        };
        self.0.iter().find(fits).or_else(|| self.0.first()).cloned()
    }
}
