//! The program that extensions are built into.

use std::{fmt, path::Path, process::ExitCode, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    AuditSink, Authenticate, CredentialSource, PolicyCheck, RequestFilter, ResponseFilter,
    audit::Sinks,
    headers::is_managed,
    registered::{Authenticator, Extensions, Source},
};
use crate::cli;

/// The `portcullis` program with extensions.
///
/// Names are what `gateway.yaml` calls extensions by: letters, digits, `-` and `_`. A name that is
/// used twice, or is none, is told when the program starts, which then does not.
#[derive(Default)]
#[must_use = "it does nothing until it is run"]
pub struct Portcullis {
    extensions: Extensions,
    sinks: Sinks,
    faults: Vec<String>,
}

impl Portcullis {
    /// One without any extension, which is the program as it is shipped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets routes accept `{ authenticator: NAME }`.
    pub fn authenticator(mut self, name: &str, authenticator: impl Authenticate) -> Self {
        self.name("authenticator", name, self.extensions.authenticators.contains_key(name));
        for header in authenticator.credential_headers() {
            match HeaderName::try_from(&header) {
                // It never reaches an upstream in any case.
                Ok(http::header::AUTHORIZATION) => {}
                Ok(header) if !is_managed(&header) => {
                    self.extensions.credential_headers.push(header);
                }
                _ => self.faults.push(format!(
                    "authenticator {name:?}: no credential comes in the header {header:?}"
                )),
            }
        }
        let issuer = format!("authenticator:{name}").into();
        let authenticator = Authenticator { issuer, of: Arc::new(authenticator) };
        self.extensions.authenticators.insert(name.to_owned(), authenticator);
        self
    }

    /// Lets upstreams have `auth: { mode: EXTENSION, source: NAME }`.
    pub fn credential_source(mut self, name: &str, source: impl CredentialSource) -> Self {
        self.name("credential source", name, self.extensions.sources.contains_key(name));
        let source = Source { name: name.into(), of: Arc::new(source), limit: Duration::default() };
        self.extensions.sources.insert(name.to_owned(), source);
        self
    }

    /// Asks this check too, after those before it.
    pub fn check(mut self, check: impl PolicyCheck) -> Self {
        self.extensions.checks.push(Arc::new(check));
        self
    }

    /// Lets requests pass this filter too, after those before it.
    pub fn request_filter(mut self, filter: impl RequestFilter) -> Self {
        self.extensions.request_filters.push(Arc::new(filter));
        self
    }

    /// Lets responses pass this filter too, after those before it.
    pub fn response_filter(mut self, filter: impl ResponseFilter) -> Self {
        self.extensions.response_filters.push(Arc::new(filter));
        self
    }

    /// Gives every audit record to this sink too. Audit records are then JSON everywhere, on a
    /// terminal as well.
    pub fn audit_sink(mut self, sink: impl AuditSink) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// How long an authenticator, check or credential source may take for one answer; five seconds
    /// unless it is said here, a minute at most.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        if limit.is_zero() || limit > LONGEST {
            self.faults.push(format!("a time limit of {limit:?} is none; up to {LONGEST:?}"));
        }
        self.extensions.limit = Some(limit);
        self
    }

    /// Does what the command line says, as `portcullis` does: `run`, `check`, `explain` and the
    /// rest, with these extensions.
    #[must_use]
    pub fn main(self) -> ExitCode {
        match self.sound() {
            Ok((extensions, sinks)) => cli::extended(&extensions, sinks),
            Err(faults) => cli::fail(&faults),
        }
    }

    /// Serves by this configuration until a signal ends it; what `run --config FILE` does.
    #[must_use]
    pub fn run(self, configuration: impl AsRef<Path>) -> ExitCode {
        match self.sound() {
            Ok((extensions, sinks)) => cli::serve(configuration.as_ref(), &extensions, sinks),
            Err(faults) => cli::fail(&faults),
        }
    }

    fn name(&mut self, what: &str, name: &str, is_taken: bool) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            self.faults.push(format!("{what} {name:?}: a name has letters, digits, - and _"));
        }
        if is_taken {
            self.faults.push(format!("{what} {name:?}: there are two of that name"));
        }
    }

    pub(super) fn sound(self) -> Result<(Arc<Extensions>, Sinks), String> {
        if self.faults.is_empty() {
            Ok((Arc::new(self.extensions), self.sinks))
        } else {
            Err(self.faults.join("\n"))
        }
    }
}

/// Nobody waits longer for an answer.
const LONGEST: Duration = Duration::from_mins(1);

impl fmt::Debug for Portcullis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portcullis")
            .field("authenticators", &self.extensions.authenticators.keys())
            .field("credential_sources", &self.extensions.sources.keys())
            .finish_non_exhaustive()
    }
}
