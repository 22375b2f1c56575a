//! Stand-ins for what surrounds the gateway: IAM provider, Procivis One Core, BFF and an outside
//! token service. Real HTTP servers with real keys, for the demo and for tests; never part of the
//! gateway, and unfit for production: their users have passwords that everybody knows.
//!
//! Each is `serve(listener, settings)`, and ends only with an error of the listener or when its
//! task is aborted. An integration test takes them in whole:
//!
//! ```ignore
//! #[path = "../../src/bin/portcullis-demo"]
//! mod demo {
//!     pub(crate) mod stand_in;
//! }
//! ```

use std::time::Duration;

use axum::response::Response;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header};

pub(crate) mod bff;
pub(crate) mod core;
pub(crate) mod iam;
pub(crate) mod jose;
pub(crate) mod sts;

/// 256 random bits in base64url: a code, a refresh token, a session at the provider.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn random_token() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| std::io::Error::other("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A client for one stand-in to ask another; it gives up after `timeout`.
///
/// # Errors
/// When the platform's certificate roots cannot be read.
pub(crate) fn client(timeout: Duration) -> std::io::Result<reqwest::Client> {
    // Fails when one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    portcullis::http_client::build(None, timeout).map_err(std::io::Error::other)
}

/// Sets the headers that every answer of a stand-in carries.
pub(crate) fn uncached(mut response: Response) -> Response {
    let headers: [(HeaderName, &'static str); 2] =
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
