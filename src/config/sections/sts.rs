//! The token service, another one or our own.

use std::{collections::BTreeMap, time::Duration};

use url::Url;

use super::OauthClient;
use crate::config::{
    read::{choice, section},
    types::Secret,
};
use crate::sts::template::Written;

section! {
    /// The token service: exactly one of `exchange` and `issuer`.
    pub struct Sts {
        /// Another service's exchange endpoint.
        exchange: Option<Exchange> = "null",
        /// This gateway as the token service.
        issuer: Option<Issuer> = "null",
        /// The cache of issued tokens.
        cache: TokenCache = "{}",
        /// When the exchange endpoint is left alone.
        breaker: Breaker = "{}",
    }
}

section! {
    /// An outside token service.
    pub struct Exchange {
        /// The token endpoint.
        url: Url,
        /// `rfc8693`, or `template` for a service that speaks otherwise.
        protocol: ExchangeProtocol = "rfc8693",
        /// The gateway's own client there.
        client: Option<OauthClient> = "null",
        /// RFC 8693 `requested_token_type`.
        requested_token_type: String = "urn:ietf:params:oauth:token-type:access_token",
        /// RFC 8693 `resource`, for services that choose the audience by it; `{organisation}`, `{audience}` and `{subject}` are filled in.
        resource: Option<String> = "null",
        /// RFC 8693 `scope`; `{permissions}` stands for those of the route's permissions that the caller holds, as far as that is known here.
        scope: Option<String> = "null",
        /// Extra form fields; `{organisation}`, `{audience}` and `{subject}` are filled in.
        parameters: BTreeMap<String, String> = "{}",
        /// The request and answer of a service that does not speak RFC 8693.
        template: Option<ExchangeTemplate> = "null",
        /// What issued tokens must carry as `iss`.
        issuer: String,
        /// Where the keys of issued tokens are published.
        jwks: Url,
        /// One exchange may take this long.
        timeout: Duration = "3s",
        /// Clock difference that is tolerated in issued tokens.
        leeway: Duration = "60s",
        /// Say so to speak plain HTTP with a service that is not loopback.
        plaintext: bool = "false",
    }
}

choice! {
    /// What the token service speaks.
    pub enum ExchangeProtocol { Rfc8693 = "rfc8693", Template = "template" }
}

section! {
    /// The request and answer of a token service that does not speak RFC 8693.
    pub struct ExchangeTemplate {
        /// HTTP method, POST or PUT.
        method: String = "POST",
        /// Content type of the request: JSON or a form.
        content_type: String = "application/json",
        /// Body with `{subject_token}`, `{actor_token}`, `{organisation}`, `{audience}`, `{scope}` and `{client_id}` filled in, escaped as the content type demands.
        body: String,
        /// JSON pointer to the issued token.
        token: String,
        /// JSON pointer to its lifetime in seconds.
        expires_in: Option<String> = "null",
    }
}

impl ExchangeTemplate {
    /// As whoever makes requests from it reads it.
    pub(crate) fn written(&self) -> Written<'_> {
        Written {
            method: &self.method,
            content_type: &self.content_type,
            body: &self.body,
            token: &self.token,
            expires_in: self.expires_in.as_deref(),
        }
    }
}

section! {
    /// The gateway as the token service.
    pub struct Issuer {
        /// `iss` of the tokens.
        iss: String,
        /// Ed25519 private keys, PKCS#8 PEM; all are published, the first signs. Files are read again when they change.
        keys: Vec<Secret>,
        /// Life of an app token.
        lifetime: Duration = "5m",
        /// Life of a delegated token.
        delegated_lifetime: Duration = "60s",
        /// Which permissions a token carries.
        permissions: MintedPermissions = "route",
        /// Answer RFC 8693 at /sts/token: any IAM token, for the audience of any upstream.
        endpoint: bool = "false",
        /// Core's `ttlJwks`: a new key is published this long, and up to a minute more, before it signs.
        core_jwks_lifetime: Duration = "600s",
    }
}

choice! {
    /// Which permissions a minted token carries: those of the route that the caller holds, or every one.
    pub enum MintedPermissions { Route = "route", All = "all" }
}

section! {
    /// The cache of issued tokens.
    pub struct TokenCache {
        /// Tokens kept at most.
        entries: u64 = "100000",
        /// A token this close to its end is not handed out.
        margin: Duration = "15s",
        /// Renewed in the background from here on, while it still serves.
        refresh_ahead: Duration = "30s",
        /// How long a 4xx of the token service is remembered.
        negative: Duration = "5s",
    }
}

section! {
    /// When the exchange endpoint is left alone.
    pub struct Breaker {
        /// Failures in a row that open it.
        failures: u32 = "5",
        /// How long it stays open.
        open: Duration = "10s",
    }
}
