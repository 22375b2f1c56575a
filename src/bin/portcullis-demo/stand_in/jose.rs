//! Ed25519 keys, JWTs (RFC 7519, RFC 8037) and key sets (RFC 7517), as far as the stand-ins need.
//!
//! Written apart from the gateway's own reader, so that one mistake cannot hide in both.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis::{http_client::read_body, time::Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::random_token;

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// Public keys by `kid`.
pub(crate) type KeySet = HashMap<String, Vec<u8>>;

/// A private key with its name.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    kid: String,
}

impl SigningKey {
    /// A new key whose `kid` no earlier run had.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn generate(prefix: &str) -> io::Result<Self> {
        let pair = Ed25519KeyPair::generate().map_err(|_| io::Error::other("no randomness"))?;
        let mark: String = random_token()?.chars().take(8).collect();
        Ok(Self { pair, kid: format!("{prefix}-{mark}") })
    }

    /// A compact JWS over `claims`.
    pub(crate) fn sign(&self, kind: &str, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "EdDSA", "typ": kind, "kid": self.kid}), claims)
    }

    /// The same with a header of the caller's making.
    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref()),
        })
    }

    /// The public half, as a set for [`verified`].
    pub(crate) fn key_set(&self) -> KeySet {
        HashMap::from([(self.kid.clone(), self.pair.public_key().as_ref().to_vec())])
    }
}

/// A token taken apart. Nothing of it is verified.
pub(crate) struct Parts<'a> {
    pub(crate) header: Claims,
    pub(crate) claims: Claims,
    input: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Reads a compact JWS of exactly three parts.
    pub(crate) fn split(token: &'a str) -> Option<Self> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        Some(Self {
            header: decode(header)?,
            claims: decode(claims)?,
            input,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether `key` signed it.
    pub(crate) fn signed_by(&self, key: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(self.input.as_bytes(), &self.signature).is_ok()
    }
}

/// The claims of a token that one of `keys` signed for `audience` in the name of `issuer`, and
/// that has not expired.
pub(crate) fn verified(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    audience: &str,
    now: Timestamp,
) -> Option<Claims> {
    let parts = Parts::split(token)?;
    let kid = parts.header.get("kid")?.as_str()?;
    let key = keys.get(kid)?;
    let ours = parts.header.get("alg")? == "EdDSA"
        && parts.claims.get("iss")? == issuer
        && has_audience(&parts.claims, audience)
        && parts.claims.get("exp")?.as_u64()? > now.0
        && parts.signed_by(key);
    ours.then_some(parts.claims)
}

/// Whether `aud`, a string or an array, names `audience`.
pub(crate) fn has_audience(claims: &Claims, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

/// Reads a key set; `None` when it is none. Keys without a name are passed over, and a named key
/// that is not an Ed25519 key spoils the set, as it does for Core.
pub(crate) fn read_key_set(document: &[u8]) -> Option<KeySet> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let mut keys = KeySet::new();
    for key in document.get("keys")?.as_array()? {
        let Some(kid) = key.get("kid").and_then(Value::as_str) else { continue };
        if key.get("kty")? != "OKP" || key.get("crv")? != "Ed25519" {
            return None;
        }
        keys.insert(kid.to_owned(), URL_SAFE_NO_PAD.decode(key.get("x")?.as_str()?).ok()?);
    }
    Some(keys)
}

/// Fetches a key set once.
///
/// # Errors
/// When the server does not answer 200 with a key set of at most 64 KiB.
pub(crate) async fn fetch_key_set(client: &reqwest::Client, url: &str) -> io::Result<KeySet> {
    let response = client.get(url).send().await.map_err(io::Error::other)?;
    if response.status() != 200 {
        return Err(io::Error::other(format!("{url} answered {}", response.status())));
    }
    let body = read_body(response, 64 * 1024).await.map_err(io::Error::other)?;
    read_key_set(&body).ok_or_else(|| io::Error::other(format!("{url} holds no Ed25519 key set")))
}

/// Reads IAM tokens with the provider's published keys, for BFF and the outside token service.
pub(crate) struct IamTokens {
    client: reqwest::Client,
    url: String,
    issuer: String,
    audience: String,
    keys: Mutex<(Arc<KeySet>, Option<Instant>)>,
}

impl IamTokens {
    /// Of the provider `issuer`, whose keys are at `/jwks` below it.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(issuer: &str, audience: &str) -> io::Result<Self> {
        Ok(Self {
            client: super::client(Duration::from_secs(3))?,
            url: format!("{issuer}/jwks"),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            keys: Mutex::default(),
        })
    }

    /// The claims of a valid token. A `kid` not yet known is looked for at the provider, at most
    /// once a second.
    pub(crate) async fn verified(&self, token: &str) -> Option<Claims> {
        let kid = Parts::split(token)?.header.get("kid")?.as_str()?.to_owned();
        let keys = self.keys_with(&kid).await;
        verified(token, &keys, &self.issuer, &self.audience, Timestamp::now())
    }

    /// Held over the fetch, so that callers who come together wait for one answer.
    async fn keys_with(&self, kid: &str) -> Arc<KeySet> {
        let mut held = self.keys.lock().await;
        let due = held.1.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
        if due && !held.0.contains_key(kid) {
            held.1 = Some(Instant::now());
            if let Ok(keys) = fetch_key_set(&self.client, &self.url).await {
                held.0 = Arc::new(keys);
            }
        }
        Arc::clone(&held.0)
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Option<Claims> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn only_a_token_for_us_in_time_is_verified() {
        let key = SigningKey::generate("k").unwrap();
        let other = SigningKey::generate("k").unwrap();
        let good = json!({"iss": "i", "aud": ["x", "a"], "exp": 1_001, "sub": "s"});
        let check = |token: &str| verified(token, &key.key_set(), "i", "a", NOW);
        assert_eq!(check(&key.sign("JWT", &good)).unwrap()["sub"], "s");
        for (name, value) in [
            ("iss", json!("j")),
            ("aud", json!("x")),
            ("exp", json!(1_000)),
            ("exp", json!("1001")),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert!(check(&key.sign("JWT", &claims)).is_none(), "{claims}");
        }
        assert!(check(&other.sign("JWT", &good)).is_none());
        let forged = json!({"alg": "EdDSA", "kid": key.kid});
        assert!(check(&other.sign_as(&forged, &good)).is_none());
        let none = json!({"alg": "none", "kid": key.kid});
        assert!(check(&key.sign_as(&none, &good)).is_none());
    }

    #[test]
    fn one_named_key_of_another_kind_spoils_a_set() {
        let key = SigningKey::generate("k").unwrap();
        let rsa = json!({"kty": "RSA", "kid": "r"});
        let nameless = json!({"kty": "RSA"});
        let read = |keys: Value| read_key_set(json!({"keys": keys}).to_string().as_bytes());
        assert_eq!(read(json!([key.jwk(), nameless])), Some(key.key_set()));
        assert_eq!(read(json!([key.jwk(), rsa])), None);
        assert_eq!(read_key_set(b"<html>"), None);
    }
}
