//! TLS of the listeners. The one module that knows which TLS stack there is.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::TlsSettings;
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    assembly::{certificates, private_key},
    config::ListenerTls,
};

/// TLS 1.2 and 1.3, HTTP/2 by ALPN; and its certificate, which can be replaced.
///
/// # Errors
/// When certificate and key cannot be read or do not belong together.
pub(super) fn settings(files: &ListenerTls) -> Result<(TlsSettings, Arc<Certificate>), String> {
    let certificate = Arc::new(Certificate(ArcSwap::from_pointee(read(files)?)));
    // Pingora sets TLS 1.2 and 1.3 by itself and would panic on a bad file, so it gets none.
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
    settings.set_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    settings.enable_h2();
    Ok((settings, certificate))
}

/// Reads a certificate and its key.
///
/// # Errors
/// When they cannot be read or do not belong together.
pub(super) fn read(files: &ListenerTls) -> Result<CertifiedKey, String> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let key = any_supported_type(&key).map_err(|error| format!("the key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| "certificate and key do not belong together".to_owned())?;
    Ok(certified)
}

/// One certificate for every name. Handshakes that have begun end with the one they began with.
#[derive(Debug)]
pub(super) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    pub(super) fn replace(&self, certified: CertifiedKey) {
        self.0.store(Arc::new(certified));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
