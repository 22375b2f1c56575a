//! The OIDC provider, and the clients that the gateway has there.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::config::{
    read::{choice, section},
    types::{IssuerUrl, Secret},
};
use crate::{certificate::CertificateName, organisation::Organisation};

section! {
    /// The OIDC provider.
    pub struct Iam {
        /// Issuer identifier, exactly as tokens carry it.
        issuer: IssuerUrl,
        /// Demanded in IAM tokens.
        audience: String,
        /// Accepted signature algorithms; HS* and none are refused.
        algorithms: Vec<Algorithm> = "[EdDSA]",
        /// JSON pointer to the array of role names.
        roles: String = "/roles",
        /// Clock difference that is tolerated.
        leeway: Duration = "60s",
        /// How often the provider's keys are read again.
        jwks_refresh: Duration = "10m",
        /// Introspection of opaque tokens (RFC 7662).
        introspection: Option<Introspection> = "null",
        /// The gateway's own client at the provider, for browser login.
        client: Option<IamClient> = "null",
        /// Say so to speak plain HTTP with a provider that is not loopback.
        plaintext: bool = "false",
    }
}

choice! {
    /// A signature algorithm of RFC 7518 or RFC 8037.
    pub enum Algorithm {
        EdDsa = "EdDSA", Es256 = "ES256", Es384 = "ES384",
        Rs256 = "RS256", Rs384 = "RS384", Rs512 = "RS512",
        Ps256 = "PS256", Ps384 = "PS384", Ps512 = "PS512",
    }
}

section! {
    /// Introspection of opaque tokens (RFC 7662).
    pub struct Introspection {
        /// The endpoint.
        url: Url,
        /// The client that may ask.
        client: OauthClient,
    }
}

section! {
    /// The gateway's own client at the provider.
    pub struct IamClient {
        /// `client_id`.
        id: String,
        /// Client secret, or the private key for `private_key_jwt`; omit it for a public client.
        secret: Option<Secret> = "null",
        /// How the client authenticates at the token endpoint. Default: `client_secret_basic` with a secret, `none` without.
        authentication: Option<ClientAuthentication> = "null",
        /// Scopes asked for at login.
        scopes: Vec<String> = "[openid, profile, offline_access]",
        /// RFC 8707 resource asked for at login, for providers that choose the access token's audience by it.
        resource: Option<String> = "null",
        /// PEM bundle for a private CA.
        ca: Option<PathBuf> = "null",
    }
}

section! {
    /// An OAuth client of the gateway.
    pub struct OauthClient {
        /// `client_id`.
        id: String,
        /// Client secret, or the private key for `private_key_jwt`.
        secret: Option<Secret> = "null",
        /// How the client authenticates. Default: `client_secret_basic` with a secret, `none` without.
        authentication: Option<ClientAuthentication> = "null",
    }
}

choice! {
    /// How a client authenticates at a token endpoint (OpenID Connect Core 1.0, section 9).
    pub enum ClientAuthentication {
        Basic = "client_secret_basic", Post = "client_secret_post",
        PrivateKeyJwt = "private_key_jwt", None = "none",
    }
}

section! {
    /// An identity that the gateway itself holds at the IAM provider.
    pub struct TechnicalUser {
        /// Its client there.
        client: OauthClient,
        /// Scopes asked for.
        scopes: Vec<String> = "[]",
        /// RFC 8707 resource asked for, for providers that choose the token's audience by it.
        resource: Option<String> = "null",
        /// The one organisation in which it acts; null: that of each request.
        organisation: Option<Organisation> = "null",
        /// Names in client certificates: who shows one of them is this user, on routes that accept certificates.
        certificates: Vec<CertificateName> = "[]",
    }
}
