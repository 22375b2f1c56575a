//! Where an issuer has what, by its discovery document (OpenID Connect Discovery 1.0, section 4).

use bytes::Bytes;
use http::{StatusCode, header};
use url::Url;

use super::{FetchError, MAX_DOCUMENT};
use crate::http_client::{BodyError, read_body};

/// What we need of a discovery document.
#[derive(serde::Deserialize)]
pub(crate) struct Endpoints {
    issuer: String,
    pub(crate) jwks_uri: Url,
    pub(crate) token_endpoint: Option<Url>,
}

/// Reads an issuer's discovery document, which has to name that issuer byte for byte.
///
/// # Errors
/// See [`FetchError`]. Of an issuer with https no endpoint without it is taken.
pub(crate) async fn endpoints(
    client: &reqwest::Client,
    issuer: &str,
) -> Result<Endpoints, FetchError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = Url::parse(&url).map_err(|_| FetchError::Discovery("has no URL"))?;
    let secure = url.scheme() == "https";
    let body = read(client, url, "application/json").await?;
    let found: Endpoints = serde_json::from_slice(&body)
        .map_err(|_| FetchError::Discovery("lacks issuer or jwks_uri"))?;
    if found.issuer != issuer {
        return Err(FetchError::Discovery("names another issuer"));
    }
    if secure && found.jwks_uri.scheme() != "https" {
        return Err(FetchError::Discovery("of an https issuer names keys without https"));
    }
    if secure && found.token_endpoint.as_ref().is_some_and(|url| url.scheme() != "https") {
        return Err(FetchError::Discovery("of an https issuer names endpoints without https"));
    }
    Ok(found)
}

/// Reads a document of at most [`MAX_DOCUMENT`].
///
/// # Errors
/// See [`FetchError`].
pub(super) async fn read(
    client: &reqwest::Client,
    url: Url,
    accept: &'static str,
) -> Result<Bytes, FetchError> {
    let response = client
        .get(url)
        .header(header::ACCEPT, accept)
        .send()
        .await
        .map_err(|error| FetchError::Unreachable(error.without_url()))?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    read_body(response, MAX_DOCUMENT).await.map_err(|error| match error {
        BodyError::Broken(cause) => FetchError::Body(BodyError::Broken(cause.without_url())),
        too_large @ BodyError::TooLarge(_) => FetchError::Body(too_large),
    })
}
