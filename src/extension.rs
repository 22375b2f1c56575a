//! A gateway of one's own, in Rust: what the configuration cannot say.
//!
//! [`Portcullis`] is the `portcullis` program with parts of one's own in it. Everything that stands
//! in `gateway.yaml` stays as it is, and nothing gets wider by an extension: it may say who asks,
//! refuse what the policy allowed, bring a credential for what the policy allowed, change headers
//! and bodies that the gateway does not manage, and see every audit record. Only the policy lets
//! anything pass.
//!
//! | trait | when it is asked | what it may do | how the file names it |
//! | --- | --- | --- | --- |
//! | [`Authenticate`] | on a route that accepts it, before sessions and tokens | say who asks | `accept: [{ authenticator: NAME }]` |
//! | [`PolicyCheck`] | once the policy has allowed a request | refuse it | not at all: it is asked of every route |
//! | [`CredentialSource`] | once everything has allowed it | get what the upstream demands | `auth: { mode: EXTENSION, source: NAME }` |
//! | [`RequestFilter`] | on the way to the upstream | change headers and body | not at all |
//! | [`ResponseFilter`] | on the way back | change headers and body | not at all |
//! | [`AuditSink`] | for every audit record | keep it | not at all: beside `logs.audit` |
//!
//! **Whatever fails refuses.** An error, a panic, or no answer within [`Portcullis::time_limit`]
//! refuses that request and no other: 503 `iam_unavailable` for an authenticator, 403
//! `condition_failed` for a check or a request filter, 503 `sts_unavailable` for a credential
//! source, 502 `upstream_failed` for a response filter. A sink that fails is a sink that did not
//! write: with `perimeter.audit: required` nothing is forwarded.
//!
//! A filter is called on the thread that serves, so it must not wait for anything; an audit sink has
//! a thread of its own. What has no extension pays nothing for them.
//!
//! ```no_run
//! use portcullis::extension::{Authenticate, Authentication, Error, Portcullis, Request, async_trait};
//!
//! struct Badge;
//!
//! #[async_trait]
//! impl Authenticate for Badge {
//!     fn credential_headers(&self) -> Vec<String> {
//!         vec!["x-badge".to_owned()]
//!     }
//!
//!     async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error> {
//!         Ok(match request.header("x-badge")? {
//!             None => Authentication::NotPresented,
//!             Some("0f4c6d") => Authentication::subject("night-porter").role("reader").into(),
//!             Some(_) => Authentication::failed("no such badge"),
//!         })
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Portcullis::new().authenticator("badge", Badge).main()
//! }
//! ```
//!
//! Two whole programs are in `tests/extension`: `cargo run --example custom-authenticator` and
//! `cargo run --example custom-everything`.

mod audit;
mod error;
mod filter;
mod guard;
mod headers;
mod program;
mod registered;
mod request;
mod subject;
mod traits;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use serde_json;

pub use self::{
    audit::AuditRecord,
    error::Error,
    headers::Headers,
    program::Portcullis,
    request::{Caller, Request},
    subject::{Authentication, Subject},
    traits::{
        AuditSink, Authenticate, BodyFilter, Credential, CredentialSource, PolicyCheck,
        RequestFilter, ResponseFilter, Verdict,
    },
};
pub(crate) use self::{
    audit::{Sinks, Tee},
    filter::Bodies,
    registered::{Authenticator, Extensions, Source},
};
pub use crate::{organisation::Organisation, policy::Permit};

#[cfg(test)]
mod tests;
