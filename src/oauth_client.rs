//! The gateway as a client of a token endpoint, and how it proves that it is the one
//! (RFC 6749, section 2.3; RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9).
//!
//! Exchanges at the token service and the client credentials of technical users go through here,
//! so that both prove themselves alike.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use crate::time::Timestamp;

/// How a client proves itself.
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// `private_key_jwt`.
    PrivateKeyJwt(AssertionKey),
    /// A public client: its id alone.
    None,
}

/// A client of the gateway at some token endpoint.
pub struct OauthClient {
    id: String,
    authentication: ClientAuthentication,
    /// `Authorization`, when the client proves itself by Basic.
    header: Option<HeaderValue>,
}

/// An assertion could not be signed. Does not happen with keys that [`AssertionKey::new`] took.
#[derive(Debug, thiserror::Error)]
#[error("the client assertion could not be signed")]
pub struct SigningFailed;

impl OauthClient {
    /// A client with this `client_id`.
    #[must_use]
    pub fn new(id: String, authentication: ClientAuthentication) -> Self {
        let header = match &authentication {
            ClientAuthentication::Basic(secret) => basic(&id, secret),
            _ => None,
        };
        Self { id, authentication, header }
    }

    /// `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of `Authorization`, where the proof stands there.
    #[must_use]
    pub const fn authorization(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    /// Adds the fields of the form in which the client names and proves itself to `endpoint`.
    ///
    /// # Errors
    /// See [`SigningFailed`].
    pub fn prove(
        &self,
        form: &mut form_urlencoded::Serializer<'_, String>,
        endpoint: &Url,
        now: Timestamp,
    ) -> Result<(), SigningFailed> {
        match &self.authentication {
            ClientAuthentication::Basic(_) => {}
            ClientAuthentication::Post(secret) => {
                form.append_pair("client_id", &self.id)
                    .append_pair("client_secret", secret.expose_secret());
            }
            ClientAuthentication::PrivateKeyJwt(key) => {
                let assertion = key.assertion(&self.id, endpoint, now)?;
                form.append_pair("client_id", &self.id);
                for (name, value) in assertion.fields() {
                    form.append_pair(name, value);
                }
            }
            ClientAuthentication::None => {
                form.append_pair("client_id", &self.id);
            }
        }
        Ok(())
    }
}

/// Shows which client and how, never its secret.
impl fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match &self.authentication {
            ClientAuthentication::Basic(_) => "client_secret_basic",
            ClientAuthentication::Post(_) => "client_secret_post",
            ClientAuthentication::PrivateKeyJwt(_) => "private_key_jwt",
            ClientAuthentication::None => "none",
        };
        f.debug_struct("OauthClient")
            .field("id", &self.id)
            .field("how", &how)
            .finish_non_exhaustive()
    }
}

/// A private key that signs client assertions. Its kind decides the algorithm.
pub struct AssertionKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// A signed proof of who the client is, good for one request.
#[derive(Debug)]
pub struct Assertion(SecretString);

impl Assertion {
    /// The fields of a form in which it is shown (RFC 7521, section 4.2).
    #[must_use]
    pub fn fields(&self) -> [(&'static str, &str); 2] {
        [("client_assertion_type", JWT_BEARER), ("client_assertion", self.0.expose_secret())]
    }
}

/// Shows the kind, never the key.
impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The text is no key that signs assertions.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one private key in PEM for private_key_jwt: Ed25519, P-256 or RSA in PKCS#8")]
pub struct NoAssertionKey;

impl AssertionKey {
    /// Reads a private key in PEM: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256).
    ///
    /// # Errors
    /// See [`NoAssertionKey`].
    pub fn new(pem: &SecretString) -> Result<Self, NoAssertionKey> {
        let pem = pem.expose_secret();
        // Of several keys in one file the parser would silently take the first.
        if pem.matches("-----BEGIN").count() != 1 {
            return Err(NoAssertionKey);
        }
        let pem = pem.as_bytes();
        let read = [
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
        ];
        // The parser tells kinds apart, not curves or sizes; signing does.
        read.into_iter()
            .filter_map(|(algorithm, key)| Some(Self { algorithm, key: key.ok()? }))
            .find(|key| key.sign(&Claims::of("", "", Timestamp(0))).is_ok())
            .ok_or(NoAssertionKey)
    }

    /// A JWT that proves the client to one endpoint, once and for a short time.
    ///
    /// # Errors
    /// See [`SigningFailed`].
    pub fn assertion(
        &self,
        client: &str,
        endpoint: &Url,
        now: Timestamp,
    ) -> Result<Assertion, SigningFailed> {
        self.sign(&Claims::of(client, endpoint.as_str(), now)).map(Assertion)
    }

    fn sign(&self, claims: &Claims<'_>) -> Result<SecretString, SigningFailed> {
        let header = Header::new(self.algorithm);
        let signed = jsonwebtoken::encode(&header, claims, &self.key);
        signed.map(SecretString::from).map_err(|_| SigningFailed)
    }
}

/// RFC 7523, section 3.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: Timestamp,
    exp: Timestamp,
}

impl<'a> Claims<'a> {
    fn of(client: &'a str, endpoint: &'a str, now: Timestamp) -> Self {
        Self {
            iss: client,
            sub: client,
            aud: endpoint,
            jti: Uuid::new_v4().to_string(),
            iat: now,
            exp: now + ASSERTION_LIFETIME,
        }
    }
}

/// Longer than a request takes, and shorter than a log is read in.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// RFC 6749, section 2.3.1: id and secret are form-encoded before they are joined.
fn basic(id: &str, secret: &SecretString) -> Option<HeaderValue> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
