//! Keys and tokens for tests: a good token, of which a test changes one thing.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{KeySet, Rules};
use crate::{identity::Proof, time::Timestamp};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);
pub(crate) const ISSUER: &str = "https://iam.example.com/realms/one";
pub(crate) const AUDIENCE: &str = "procivis-one-platform";
pub(crate) const ORGANISATION: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

/// A key pair and the `kid` under which it is published.
pub(crate) struct Minter {
    pub(crate) kid: &'static str,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(&'static RsaKeyPair),
}

/// Generating an RSA key takes a while, so the tests share one.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Minter {
    pub(crate) fn ed25519(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn p256(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid, pair: Pair::P256(pair) }
    }

    pub(crate) fn rsa(kid: &'static str) -> Self {
        Self { kid, pair: Pair::Rsa(&RSA) }
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public key, with `kid` and nothing optional.
    pub(crate) fn jwk(&self) -> Value {
        let kid = self.kid;
        match &self.pair {
            Pair::Ed25519(pair) => {
                let x = b64(pair.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": b64(x), "y": b64(y) })
            }
            Pair::Rsa(pair) => {
                let n = b64(pair.public_key().modulus().big_endian_without_leading_zero());
                let e = b64(pair.public_key().exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": kid, "n": n, "e": e })
            }
        }
    }

    /// The public key in every form that somebody might take for a shared secret.
    pub(crate) fn public_forms(&self) -> Vec<Vec<u8>> {
        let (raw, der) = match &self.pair {
            Pair::Ed25519(pair) => {
                let key = pair.public_key();
                (key.as_ref().to_vec(), key.as_der().unwrap().as_ref().to_vec())
            }
            Pair::P256(pair) => {
                let key = pair.public_key();
                (key.as_ref().to_vec(), key.as_der().unwrap().as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                (key.as_ref().to_vec(), key.as_der().unwrap().as_ref().to_vec())
            }
        };
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
        let lines: Vec<_> = base64.as_bytes().chunks(64).collect();
        let body = lines.join(&b'\n');
        let pem = [b"-----BEGIN PUBLIC KEY-----\n", &*body, b"\n-----END PUBLIC KEY-----\n"];
        vec![raw, der, pem.concat()]
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// Signs exactly these texts, whatever they are.
    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> SecretString {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}").into()
    }
}

/// A token to be: header and claims are changed freely, then it is signed.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Token {
    /// A good IAM token of `minter`, for [`iam_rules`].
    pub(crate) fn iam(minter: &Minter) -> Self {
        Self {
            header: json!({ "alg": minter.alg(), "kid": minter.kid, "typ": "JWT" }),
            claims: json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "ada",
                "iat": NOW.0 - 10, "exp": NOW.0 + 600, "roles": ["admin", "auditor"],
            }),
        }
    }

    /// A good app token of `minter`, for [`app_rules`].
    pub(crate) fn app(minter: &Minter) -> Self {
        Self {
            header: json!({ "alg": minter.alg(), "kid": minter.kid, "typ": "STS" }),
            claims: json!({
                "iss": "https://bff.example.com", "aud": "one-core", "sub": "ada",
                "exp": NOW.0 + 600, "organisationId": ORGANISATION,
                "permissions": ["CREDENTIAL_LIST", "CREDENTIAL_ISSUE"],
            }),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.as_object_mut().unwrap().remove(name).unwrap();
        self
    }

    pub(crate) fn without_claim(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name).unwrap();
        self
    }

    pub(crate) fn signed(&self, minter: &Minter) -> SecretString {
        minter.sign_texts(&self.header.to_string(), &self.claims.to_string())
    }
}

pub(crate) fn iam_rules() -> Rules {
    Rules {
        proof: Proof::IamToken,
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        algorithms: vec![Algorithm::EdDSA],
        leeway: std::time::Duration::from_mins(1),
        roles: Some("/roles".into()),
    }
}

pub(crate) fn app_rules() -> Rules {
    Rules {
        proof: Proof::AppToken,
        issuer: "https://bff.example.com".into(),
        audience: "one-core".into(),
        roles: None,
        ..iam_rules()
    }
}

/// The JWKS document of these keys.
pub(crate) fn document(minters: &[&Minter]) -> Vec<u8> {
    let keys: Vec<_> = minters.iter().map(|minter| minter.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(crate) fn key_set(minters: &[&Minter], algorithms: &[Algorithm]) -> KeySet {
    KeySet::parse(&document(minters), algorithms).unwrap()
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
