//! Our own token service: mints app tokens as Core reads them, and the key set that goes with
//! them.
//!
//! Tokens are JWTs signed with Ed25519 (RFC 8037), typed `at+jwt` (RFC 9068) so that nothing that
//! wants an ID or logout token takes one (R34). The key set holds OKP keys only: one RSA or EC key
//! among them and Core refuses all. Who may have which token is not decided here.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use crate::{
    organisation::Organisation,
    permission::{Permission, PermissionSet},
    sts::Issued,
    time::Timestamp,
};

/// How an [`Issuer`] issues.
pub struct IssuerSettings {
    /// `iss` of its tokens.
    pub iss: Arc<str>,
    /// Private Ed25519 keys, PKCS#8 in PEM. The first signs, all are published.
    pub keys: Vec<SecretString>,
    /// How long a caller's own token lives.
    pub lifetime: Duration,
    /// How long a delegated token lives.
    pub delegated_lifetime: Duration,
}

/// What a token will say.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    /// `sub`.
    pub subject: &'a Arc<str>,
    /// `organisationId`: a token is for one organisation or for none.
    pub organisation: Option<Organisation>,
    /// `aud`: the one upstream that it is for.
    pub audience: &'a str,
    /// `permissions`.
    pub permissions: &'a PermissionSet,
    /// `act.sub`; makes it a delegated token.
    pub actor: Option<&'a Arc<str>>,
}

/// Why the keys cannot be used. Positions count from 1, as the list is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("no key to sign with")]
    NoKey,
    /// Not exactly one private Ed25519 key.
    #[error("key {0} is not one Ed25519 private key in PKCS#8 PEM")]
    NotEd25519(usize),
    /// The same key a second time.
    #[error("key {0} is in the list twice")]
    Repeated(usize),
    /// No randomness, or no memory.
    #[error("the key could not be generated")]
    NotGenerated,
}

/// A token could not be signed. Does not happen with keys that [`Issuer::new`] took.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// Mints app tokens.
pub struct Issuer {
    iss: Arc<str>,
    lifetime: Duration,
    delegated_lifetime: Duration,
    key: EncodingKey,
    header: Header,
    kid: Arc<str>,
    jwks: Bytes,
}

impl Issuer {
    /// Reads the keys.
    ///
    /// # Errors
    /// When there is no key, or one is not a private Ed25519 key, or one is repeated.
    pub fn new(settings: IssuerSettings) -> Result<Self, KeyError> {
        let mut signing = None;
        let mut published: Vec<PublicKey> = Vec::new();
        for (at, pem) in settings.keys.iter().enumerate() {
            let (private, public) = read(pem).ok_or(KeyError::NotEd25519(at + 1))?;
            if published.iter().any(|other| other.kid == public.kid) {
                return Err(KeyError::Repeated(at + 1));
            }
            let kid = Arc::clone(&public.kid);
            signing.get_or_insert((private, kid));
            published.push(public);
        }
        let (key, kid) = signing.ok_or(KeyError::NoKey)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid.to_string());
        let keys: Vec<_> = published.iter().map(PublicKey::jwk).collect();
        Ok(Self {
            iss: settings.iss,
            lifetime: settings.lifetime,
            delegated_lifetime: settings.delegated_lifetime,
            key,
            header,
            kid,
            jwks: json!({ "keys": keys }).to_string().into(),
        })
    }

    /// A token that is valid from `now` on for the configured time. `jti` has to be unique among
    /// all tokens of this issuer.
    ///
    /// # Errors
    /// See [`SigningFailed`].
    pub fn mint(
        &self,
        mint: Mint<'_>,
        now: Timestamp,
        jti: Arc<str>,
    ) -> Result<Issued, SigningFailed> {
        let lifetime = if mint.actor.is_some() { self.delegated_lifetime } else { self.lifetime };
        let expires = now + lifetime;
        let claims = Claims {
            iss: &self.iss,
            aud: mint.audience,
            sub: mint.subject,
            iat: now,
            nbf: now,
            exp: expires,
            jti: &jti,
            organisation_id: mint.organisation.map(|organisation| organisation.to_string()),
            permissions: mint.permissions.iter().map(Permission::as_str).collect(),
            act: mint.actor.map(|actor| Act { sub: actor }),
        };
        let token =
            jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|_| SigningFailed)?;
        Ok(Issued {
            token: token.into(),
            subject: Arc::clone(mint.subject),
            actor: mint.actor.cloned(),
            organisation: mint.organisation,
            permissions: mint.permissions.clone(),
            expires,
            id: Some(jti),
        })
    }

    /// `iss` of the tokens.
    #[must_use]
    pub fn iss(&self) -> &Arc<str> {
        &self.iss
    }

    /// `kid` of the key that signs: its JWK thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &Arc<str> {
        &self.kid
    }

    /// The public keys as a JWK set (RFC 7517), the same bytes each time.
    #[must_use]
    pub fn jwks_document(&self) -> Bytes {
        self.jwks.clone()
    }
}

/// Shows which issuer and key, never the key itself.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("iss", &self.iss)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A new private key, PKCS#8 (version 1, which OpenSSL reads too) in PEM.
///
/// # Errors
/// [`KeyError::NotGenerated`] when the system gives no randomness.
pub fn generate() -> Result<SecretString, KeyError> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| KeyError::NotGenerated)?;
    // 48 bytes of DER: one line of base64, which PEM breaks after 64 characters.
    let line = STANDARD.encode(document.as_ref());
    Ok(format!("{PEM_BEGIN}\n{line}\n-----END PRIVATE KEY-----\n").into())
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: Timestamp,
    nbf: Timestamp,
    exp: Timestamp,
    jti: &'a str,
    #[serde(rename = "organisationId", skip_serializing_if = "Option::is_none")]
    organisation_id: Option<String>,
    permissions: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act<'a>>,
}

#[derive(Serialize)]
struct Act<'a> {
    sub: &'a str,
}

struct PublicKey {
    x: String,
    kid: Arc<str>,
}

impl PublicKey {
    fn jwk(&self) -> serde_json::Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": self.x,
            "use": "sig",
            "alg": "EdDSA",
            "kid": *self.kid,
        })
    }
}

fn read(pem: &SecretString) -> Option<(EncodingKey, PublicKey)> {
    let pem = pem.expose_secret();
    // Of several keys in one file the parser would silently take the first.
    if pem.matches("-----BEGIN").count() != 1 {
        return None;
    }
    let private = EncodingKey::from_ed_pem(pem.as_bytes()).ok()?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_bytes()).ok()?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    // The members that RFC 8037, appendix A.3 demands, in order and without white space.
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes())).into();
    Some((private, PublicKey { x, kid }))
}

#[cfg(test)]
mod tests;
