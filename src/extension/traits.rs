//! The traits that extensions implement.

use std::{borrow::Cow, fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;

use super::{AuditRecord, Authentication, Error, Headers, Permit, Request};

/// Says who asks, by a credential of its own kind.
///
/// ```
/// use portcullis::extension::{Authenticate, Authentication, Error, Request, async_trait};
///
/// /// Machines on the loopback network.
/// struct Local;
///
/// #[async_trait]
/// impl Authenticate for Local {
///     fn credential_headers(&self) -> Vec<String> {
///         Vec::new()
///     }
///
///     async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error> {
///         Ok(match request.client() {
///             Some(client) if client.is_loopback() => {
///                 Authentication::subject("local").role("operator").into()
///             }
///             _ => Authentication::NotPresented,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// The headers in which its credential comes. They are taken out of every request before it is
    /// forwarded, on public routes too; `Authorization` always is.
    fn credential_headers(&self) -> Vec<String>;

    /// Who asks. Called for each request to a route that accepts it, in the order of the route's
    /// list and before sessions and tokens are looked at.
    async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error>;
}

/// Refuses what the policy has allowed. It cannot allow anything.
///
/// ```
/// use portcullis::extension::{Error, Permit, PolicyCheck, Request, Verdict, async_trait};
///
/// /// No deletion by whoever is an apprentice.
/// struct Apprentices;
///
/// #[async_trait]
/// impl PolicyCheck for Apprentices {
///     async fn check(&self, request: &Request<'_>, permit: &Permit) -> Result<Verdict, Error> {
///         let apprentice = |role| role == "apprentice";
///         let caller = permit.caller();
///         if request.method() == "DELETE" && caller.is_some_and(|it| it.roles().any(apprentice)) {
///             return Ok(Verdict::refuse("apprentices delete nothing"));
///         }
///         Ok(Verdict::Pass)
///     }
/// }
/// ```
#[async_trait]
pub trait PolicyCheck: Send + Sync + 'static {
    /// Asked of every request that would be forwarded, public ones too, before any credential is
    /// had for it. On a route that is on trial (`enforce: false`) a refusal is only recorded.
    async fn check(&self, request: &Request<'_>, permit: &Permit) -> Result<Verdict, Error>;
}

/// The answer of a [`PolicyCheck`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It stays allowed, as far as this check goes.
    Pass,
    /// It is refused: 403 `condition_failed`. What it says is for the records.
    Refuse(Cow<'static, str>),
}

impl Verdict {
    /// It is refused.
    #[must_use]
    pub fn refuse(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Refuse(why.into())
    }
}

/// Gets the credential that an upstream demands, for upstreams with `auth: { mode: EXTENSION }`.
///
/// ```
/// use portcullis::extension::{Credential, CredentialSource, Error, Permit, async_trait};
///
/// /// A service with one account for each organisation.
/// struct Accounts;
///
/// #[async_trait]
/// impl CredentialSource for Accounts {
///     async fn credential(&self, permit: &Permit) -> Result<Credential, Error> {
///         let organisation = permit.organisation().ok_or(Error::new("of no organisation"))?;
///         Ok(Credential::basic(&organisation.to_string(), "the account's password"))
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialSource: Send + Sync + 'static {
    /// The credential for a request that is allowed. Only the policy makes a [`Permit`], so nobody
    /// else can ask. It is asked for each request, so what takes long to get is for it to keep.
    async fn credential(&self, permit: &Permit) -> Result<Credential, Error>;
}

/// The value of `Authorization` towards an upstream. It does not print.
#[derive(Clone)]
pub struct Credential(pub(crate) SecretString);

impl Credential {
    /// `Bearer` and a token.
    #[must_use]
    pub fn bearer(token: &str) -> Self {
        Self(format!("Bearer {token}").into())
    }

    /// `Basic` and a user with a password (RFC 7617).
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        Self(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into())
    }

    /// Any other scheme with what follows it.
    #[must_use]
    pub fn of_scheme(scheme: &str, credential: &str) -> Self {
        Self(format!("{scheme} {credential}").into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Changes requests on their way to the upstream, once they are allowed.
///
/// ```
/// use portcullis::extension::{Error, Headers, Request, RequestFilter};
///
/// struct Tenant;
///
/// impl RequestFilter for Tenant {
///     fn head(&self, request: &Request<'_>, headers: &mut Headers<'_>) -> Result<(), Error> {
///         let tenant = request.host().split('.').next().unwrap_or_default();
///         headers.set("x-tenant", tenant)
///     }
/// }
/// ```
pub trait RequestFilter: Send + Sync + 'static {
    /// Reads and changes headers. A second try at the upstream begins with the headers as they
    /// came.
    ///
    /// # Errors
    /// Whatever it returns refuses the request.
    fn head(&self, request: &Request<'_>, headers: &mut Headers<'_>) -> Result<(), Error> {
        let _ = (request, headers);
        Ok(())
    }

    /// What the body passes; not asked where there is none. The decision has been made by then: a
    /// filter must leave alone what the route reads in the body, its organisation above all.
    fn body(&self, request: &Request<'_>) -> Option<Box<dyn BodyFilter>> {
        let _ = request;
        None
    }
}

/// Changes what an upstream answers. The gateway's own answers pass none.
///
/// ```
/// use portcullis::extension::{Error, Headers, Request, ResponseFilter};
///
/// struct NoFrames;
///
/// impl ResponseFilter for NoFrames {
///     fn head(&self, _: &Request<'_>, _: u16, headers: &mut Headers<'_>) -> Result<(), Error> {
///         headers.set("x-frame-options", "DENY")
///     }
/// }
/// ```
pub trait ResponseFilter: Send + Sync + 'static {
    /// Reads and changes headers.
    ///
    /// # Errors
    /// Whatever it returns refuses the response.
    fn head(
        &self,
        request: &Request<'_>,
        status: u16,
        headers: &mut Headers<'_>,
    ) -> Result<(), Error> {
        let _ = (request, status, headers);
        Ok(())
    }

    /// What the body passes; not asked where there is none.
    fn body(&self, request: &Request<'_>, status: u16) -> Option<Box<dyn BodyFilter>> {
        let _ = (request, status);
        None
    }
}

/// One body on its way, piece by piece as it comes. Pieces are of any length; what is compressed
/// stays so.
///
/// ```
/// use portcullis::extension::{BodyFilter, Bytes, Error};
///
/// struct Loud;
///
/// impl BodyFilter for Loud {
///     fn piece(&mut self, piece: Bytes) -> Result<Bytes, Error> {
///         Ok(piece.to_ascii_uppercase().into())
///     }
/// }
/// assert_eq!(Loud.piece("quiet".into()).unwrap(), "QUIET");
/// ```
pub trait BodyFilter: Send + Sync + 'static {
    /// What goes on in place of this piece; may be empty.
    ///
    /// # Errors
    /// Whatever it returns ends the exchange: a request that is not all sent is refused, a response
    /// breaks off.
    fn piece(&mut self, piece: Bytes) -> Result<Bytes, Error>;

    /// What is left to send after the last piece.
    ///
    /// # Errors
    /// As for a piece.
    fn end(&mut self) -> Result<Bytes, Error> {
        Ok(Bytes::new())
    }
}

/// Keeps audit records, beside `logs.audit`.
///
/// ```
/// use std::io;
/// use portcullis::extension::{AuditRecord, AuditSink};
///
/// struct Refusals(Vec<String>);
///
/// impl AuditSink for Refusals {
///     fn write(&mut self, records: &[AuditRecord<'_>]) -> io::Result<()> {
///         let refused = records.iter().filter(|it| it.field("decision") == Some("refuse".into()));
///         self.0.extend(refused.map(|it| it.json().to_owned()));
///         Ok(())
///     }
/// }
/// ```
pub trait AuditSink: Send + 'static {
    /// Keeps these records. Called on a thread of its own, with all that have come since the last
    /// call; when it returns they are where they are meant to be.
    ///
    /// # Errors
    /// When not every one of them is kept. They count as lost, here and in `logs.audit`, and with
    /// `perimeter.audit: required` the requests that wait for them are refused.
    fn write(&mut self, records: &[AuditRecord<'_>]) -> io::Result<()>;
}
