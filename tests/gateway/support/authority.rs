//! Certificates of an authority that nobody else knows.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::Identity;

/// An authority of somebody's own.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Identity {
        self.certify(&CertificateParams::new(vec!["client.test".to_owned()]).unwrap())
    }

    /// A client of it with a certificate of the test's own.
    pub(crate) fn certify(&self, parameters: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let pem = self.signed(parameters, &key);
        Identity::from_pem((pem + &key.serialize_pem()).as_bytes()).unwrap()
    }

    /// A certificate of it for a key, in PEM.
    pub(crate) fn signed(&self, parameters: &CertificateParams, key: &KeyPair) -> String {
        parameters.signed_by(key, &self.issuer).unwrap().pem()
    }
}
