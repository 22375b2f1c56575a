//! TLS of the listeners. The one module that knows which TLS stack there is.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use pingora::listeners::tls::TlsSettings;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::{
    assembly::{certificates, private_key},
    config::{ClientCertificate, ListenerTls},
};

/// What a listener shows, and whom it lets in. Both can be replaced while it listens; handshakes
/// that have begun end with what they began with.
pub(crate) struct Tls {
    shown: Arc<Shown>,
    clients: Option<Arc<Clients>>,
}

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
    pub(super) fn new(material: Material) -> Self {
        let Material { shown, clients } = material;
        Self {
            shown: Arc::new(Shown(ArcSwap::from_pointee(shown))),
            clients: clients.map(|clients| Arc::new(Clients(ArcSwap::from_pointee(clients)))),
        }
    }

    /// TLS 1.2 and 1.3, HTTP/2 by ALPN.
    ///
    /// # Errors
    /// In words of Pingora, should it not want to.
    pub(super) fn settings(&self) -> Result<TlsSettings, String> {
        // Pingora sets TLS 1.2 and 1.3 by itself and would panic on a bad file, so it gets none.
        let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
        settings.set_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        if let Some(clients) = &self.clients {
            settings.set_client_cert_verifier(Arc::clone(clients) as Arc<dyn ClientCertVerifier>);
        }
        settings.enable_h2();
        Ok(settings)
    }

    /// For handshakes from now on. Whether client certificates are asked for stays.
    pub(super) fn replace(&self, material: Material) {
        self.shown.0.store(Arc::new(material.shown));
        if let (Some(clients), Some(next)) = (&self.clients, material.clients) {
            clients.0.store(Arc::new(next));
        }
    }
}

/// Certificates by name; the first for a client that names no host, or one that none is for.
#[derive(Debug)]
struct Shown(ArcSwap<Vec<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |certified: &&Arc<CertifiedKey>| {
            let leaf = certified.cert.first().map(ParsedCertificate::try_from);
            named.as_ref().zip(leaf).is_some_and(|(name, leaf)| {
                leaf.is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok())
            })
        };
        shown.iter().find(fits).or_else(|| shown.first()).cloned()
    }
}

/// Whoever shows a certificate of these authorities.
#[derive(Debug)]
struct Clients(ArcSwap<Arc<dyn ClientCertVerifier>>);

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.0.load().offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.load().client_auth_mandatory()
    }

    /// None: they are a hint, and would have to live as long as the listener.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}
