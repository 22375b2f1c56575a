//! Keys and a client secret, made anew at every start and handed to the gateway in its
//! environment alone: nothing of them is ever on disk.

use aws_lc_rs::{
    rand::{SystemRandom, fill},
    signature::Ed25519KeyPair,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};

/// What `conf/demo.yaml` takes from the environment.
pub(crate) struct Secrets {
    iam_client: SecretString,
    session_key: SecretString,
    sts_key: SecretString,
}

impl Secrets {
    /// Makes them.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn generate() -> Result<Self, String> {
        Ok(Self {
            iam_client: random()?.into(),
            session_key: random()?.into(),
            sts_key: signing_key()?.into(),
        })
    }

    /// The secret of the gateway's client, for the provider.
    pub(crate) fn iam_client(&self) -> &str {
        self.iam_client.expose_secret()
    }

    /// Name and value of each variable.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("DEMO_IAM_CLIENT_SECRET", self.iam_client.expose_secret()),
            ("DEMO_SESSION_KEY", self.session_key.expose_secret()),
            ("DEMO_STS_KEY", self.sts_key.expose_secret()),
        ]
    }
}

/// 256 random bits, in base64.
fn random() -> Result<String, String> {
    let mut bytes = [0; 32];
    fill(&mut bytes).map_err(|_| "the system gives no randomness")?;
    Ok(STANDARD.encode(bytes))
}

/// An Ed25519 key in PKCS#8, version 1: the form that every tool reads (RFC 8410).
fn signing_key() -> Result<String, String> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| "the system gives no randomness")?;
    let body = STANDARD.encode(document.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_asks_for_just_these() {
        let config = include_str!("../../../conf/demo.yaml");
        let secrets = Secrets::generate().unwrap();
        for (name, value) in secrets.environment() {
            assert!(config.contains(&format!("{{ env: {name} }}")), "{name}");
            assert!(!value.is_empty());
        }
        assert_eq!(config.matches("{ env: ").count(), 3);
    }

    #[test]
    fn keys_can_be_read_back() {
        let (one, other) = (signing_key().unwrap(), signing_key().unwrap());
        assert_ne!(one, other);
        assert!(jsonwebtoken::EncodingKey::from_ed_pem(one.as_bytes()).is_ok());
        assert_eq!(STANDARD.decode(random().unwrap()).unwrap().len(), 32);
    }
}
