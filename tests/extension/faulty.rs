//! Extensions that fail in every way, each when a request asks for it; what a gateway makes of that
//! is for `tests/gateway/extension.rs` to look at.
#![expect(clippy::panic, reason = "they are to fail")]

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use portcullis::extension::{
    AuditRecord, AuditSink, Authenticate, Authentication, BodyFilter, Bytes, Credential,
    CredentialSource, Error, Headers, Permit, PolicyCheck, Portcullis, Request, RequestFilter,
    ResponseFilter, Verdict, async_trait,
};

/// Fails as the request asks this extension to: `x-fault: WHO-HOW`.
fn fail(who: &str, request: &Request<'_>) -> Result<(), Error> {
    match request.header("x-fault")?.and_then(|fault| fault.strip_prefix(who)) {
        Some("-panic") => panic!("as asked for"),
        Some("-error") => Err(Error::new("as asked for")),
        _ => Ok(()),
    }
}

async fn hang(who: &str, request: &Request<'_>) -> Result<(), Error> {
    if request.header("x-fault")? == Some(&format!("{who}-hang")) {
        std::future::pending::<()>().await;
    }
    fail(who, request)
}

struct Faulty;

#[async_trait]
impl Authenticate for Faulty {
    fn credential_headers(&self) -> Vec<String> {
        vec!["x-name".to_owned()]
    }

    async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error> {
        hang("authenticator", request).await?;
        Ok(match request.header("x-name")? {
            None => Authentication::NotPresented,
            Some("mallory") => Authentication::failed("not mallory"),
            Some(name) => Authentication::subject(name).role("admin").into(),
        })
    }
}

#[async_trait]
impl PolicyCheck for Faulty {
    async fn check(&self, request: &Request<'_>, _: &Permit) -> Result<Verdict, Error> {
        hang("check", request).await?;
        Ok(Verdict::Pass)
    }
}

/// Fails for `alice` alone, since it sees no request.
#[async_trait]
impl CredentialSource for Faulty {
    async fn credential(&self, permit: &Permit) -> Result<Credential, Error> {
        match permit.caller().map(|caller| caller.subject()) {
            Some("no-source") => Err(Error::new("as asked for")),
            Some("panic-source") => panic!("as asked for"),
            Some("torn-source") => Ok(Credential::bearer("a\r\nx-evil: b")),
            _ => Ok(Credential::bearer("good")),
        }
    }
}

impl RequestFilter for Faulty {
    fn head(&self, request: &Request<'_>, headers: &mut Headers<'_>) -> Result<(), Error> {
        fail("request", request)?;
        match request.header("x-fault")? {
            Some("request-authorization") => headers.set("authorization", "Bearer mine"),
            Some("request-identity") => headers.set("x-forwarded-user", "root"),
            _ => Ok(()),
        }
    }

    fn body(&self, request: &Request<'_>) -> Option<Box<dyn BodyFilter>> {
        let faulty = request.header("x-fault").ok()? == Some("request-body");
        faulty.then(|| Box::new(Faulty) as Box<dyn BodyFilter>)
    }
}

impl ResponseFilter for Faulty {
    fn head(&self, request: &Request<'_>, _: u16, _: &mut Headers<'_>) -> Result<(), Error> {
        fail("response", request)
    }

    fn body(&self, request: &Request<'_>, _: u16) -> Option<Box<dyn BodyFilter>> {
        let faulty = request.header("x-fault").ok()? == Some("response-body");
        faulty.then(|| Box::new(Faulty) as Box<dyn BodyFilter>)
    }
}

impl BodyFilter for Faulty {
    fn piece(&mut self, _: Bytes) -> Result<Bytes, Error> {
        panic!("as asked for")
    }
}

/// Writes nothing while the file is there.
struct Sink(PathBuf);

impl AuditSink for Sink {
    fn write(&mut self, _: &[AuditRecord<'_>]) -> io::Result<()> {
        match fs::read_to_string(&self.0) {
            Ok(how) if how == "panic" => panic!("as asked for"),
            Ok(_) => Err(io::Error::other("as asked for")),
            Err(_) => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    Portcullis::new()
        .authenticator("faulty", Faulty)
        .check(Faulty)
        .credential_source("faulty", Faulty)
        .request_filter(Faulty)
        .response_filter(Faulty)
        .audit_sink(Sink(std::env::var_os("SINK_FAILS").unwrap_or_default().into()))
        .time_limit(Duration::from_millis(300))
        .main()
}
