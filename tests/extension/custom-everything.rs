//! Every kind of extension but the authenticator: a check, a credential source, and filters for
//! both directions. `custom-everything run --config FILE`.

use std::process::ExitCode;

use portcullis::extension::{
    BodyFilter, Bytes, Credential, CredentialSource, Error, Headers, Permit, PolicyCheck,
    Portcullis, Request, RequestFilter, ResponseFilter, Verdict, async_trait,
};

/// Whoever changes something names the ticket that it is for.
struct Tickets;

#[async_trait]
impl PolicyCheck for Tickets {
    async fn check(&self, request: &Request<'_>, permit: &Permit) -> Result<Verdict, Error> {
        let exempt = |role| role == "emergency";
        let reads = matches!(request.method(), "GET" | "HEAD");
        if reads || permit.caller().is_some_and(|it| it.roles().any(exempt)) {
            return Ok(Verdict::Pass);
        }
        Ok(match request.header("x-ticket")? {
            Some(ticket) if ticket.starts_with("CHG-") => Verdict::Pass,
            _ => Verdict::refuse("a change without a ticket"),
        })
    }
}

/// An old service with one account for each organisation.
struct Accounts;

#[async_trait]
impl CredentialSource for Accounts {
    async fn credential(&self, permit: &Permit) -> Result<Credential, Error> {
        let organisation = permit.organisation().ok_or(Error::new("for no organisation"))?;
        Ok(Credential::basic(&organisation.to_string(), "sesame"))
    }
}

/// Tells the service which ticket it was, in the header that it knows, and who asked for it.
struct Ticket;

impl RequestFilter for Ticket {
    fn head(&self, request: &Request<'_>, headers: &mut Headers<'_>) -> Result<(), Error> {
        if let Some(ticket) = request.header("x-ticket")? {
            headers.set("x-change", ticket)?;
        }
        headers.remove("x-ticket")
    }

    fn body(&self, request: &Request<'_>) -> Option<Box<dyn BodyFilter>> {
        (request.path() == "/notes").then(|| Box::new(Signed) as Box<dyn BodyFilter>)
    }
}

/// A last line for notes.
struct Signed;

impl BodyFilter for Signed {
    fn piece(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        Ok(piece)
    }

    fn end(&mut self) -> Result<Bytes, Error> {
        Ok("\n-- by the gateway".into())
    }
}

/// No digit leaves the house in plain text.
struct Masked;

impl ResponseFilter for Masked {
    fn head(&self, _: &Request<'_>, _: u16, headers: &mut Headers<'_>) -> Result<(), Error> {
        headers.set("x-masked", "digits")
    }

    fn body(&self, _: &Request<'_>, status: u16) -> Option<Box<dyn BodyFilter>> {
        (status == 200).then(|| Box::new(Mask) as Box<dyn BodyFilter>)
    }
}

struct Mask;

impl BodyFilter for Mask {
    fn piece(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let masked = piece.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte });
        Ok(masked.collect())
    }
}

fn main() -> ExitCode {
    Portcullis::new()
        .check(Tickets)
        .credential_source("accounts", Accounts)
        .request_filter(Ticket)
        .response_filter(Masked)
        .main()
}
