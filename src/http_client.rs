//! The one way to make an HTTP client towards IAM provider and token service.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

/// A client with bounded time that follows no redirect (a provider that redirects its token
/// endpoint, or is made to, would send our secrets to wherever it points) and asks no proxy.
///
/// # Errors
/// When `ca` holds no certificate, or the platform's roots cannot be read.
pub fn build(ca: Option<&[u8]>, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = builder(timeout);
    if let Some(ca) = ca {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(ca)?);
    }
    builder.build()
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
}

/// The same towards an upstream: `ca` in place of the platform's roots, `client` as the gateway's
/// certificate chain and key in PEM, and addresses from `servers`, whatever the name.
///
/// # Errors
/// As [`build`], and when `client` holds no certificate with its key.
pub fn towards(
    ca: Option<&[u8]>,
    client: Option<&[u8]>,
    servers: Arc<impl reqwest::dns::Resolve + 'static>,
    timeout: Duration,
    http2: bool,
) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = builder(timeout).dns_resolver(servers);
    if http2 {
        builder = builder.http2_prior_knowledge();
    }
    if let Some(ca) = ca {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(ca)?);
    }
    if let Some(client) = client {
        builder = builder.identity(reqwest::Identity::from_pem(client)?);
    }
    builder.build()
}

/// For so long an idle connection is used again. A request that is sent just as the other side
/// closes one is lost, and a code or a refresh token with it, so this stays below the five seconds
/// after which the least patient of servers (Node.js) close theirs.
const IDLE: Duration = Duration::from_secs(4);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the bound.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke or the time ran out.
    #[error("the answer broke off: {0}")]
    Broken(#[from] reqwest::Error),
}

impl BodyError {
    /// What happened, without the address, which may hold what does not belong into a log.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Broken(error) => describe(&error.without_url()),
            too_large @ Self::TooLarge(_) => too_large.to_string(),
        }
    }
}

/// reqwest's own words stop at "error sending request"; what happened is among the causes.
#[must_use]
pub fn describe(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Reads a body of at most `bound` bytes.
///
/// # Errors
/// See [`BodyError`]; the client's own time-out bounds the time.
pub async fn read_body(mut response: reqwest::Response, bound: usize) -> Result<Bytes, BodyError> {
    if response.content_length().is_some_and(|length| length > bound as u64) {
        return Err(BodyError::TooLarge(bound));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > bound {
            return Err(BodyError::TooLarge(bound));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
