//! TLS of the listeners. The one module that knows which TLS stack there is.

use std::sync::Arc;

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

/// TLS 1.2 and 1.3, HTTP/2 by ALPN.
///
/// # Errors
/// When certificate and key cannot be read or do not belong together.
pub(super) fn settings(files: &ListenerTls) -> Result<TlsSettings, String> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let key = any_supported_type(&key).map_err(|error| format!("the key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| "certificate and key do not belong together".to_owned())?;
    // Pingora sets TLS 1.2 and 1.3 by itself and would panic on a bad file, so it gets none.
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
    settings.set_cert_resolver(Arc::new(Certificate(Arc::new(certified))));
    settings.enable_h2();
    Ok(settings)
}

/// One certificate for every name.
#[derive(Debug)]
struct Certificate(Arc<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
