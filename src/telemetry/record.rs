//! The access record and the audit record of one request.
//!
//! A [`Record`] is filled while the request passes and written once, by [`Record::finish`], or
//! when it is dropped unwritten (a request that panicked, or whose client vanished). Access and
//! audit records share `request_id`, `subject`, `organisation`, `route`, `decision`, `reason` and
//! `status`. No field ever holds a credential; of the query, into which protocols put codes, only
//! the shape is shown ([`query_shape()`]).
//!
//! Where no request may be served without its audit record, a first one of kind `audit_intent`
//! is on its target before anything is forwarded ([`Record::intend`]); the `audit` record follows
//! with what became of it.
//!
//! The record of a refusal holds what it takes to ask `explain` about the same request: besides
//! method, host and path, the query's shape, the organisation that the request named, and what
//! the caller held.

mod bounded;
mod issuance;
mod line;
mod query_shape;
mod resources;
mod resumed;

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use http::StatusCode;

pub use self::query_shape::query_shape;
use self::{
    bounded::{MOST, bounded},
    line::{Line, Plain},
    resources::Resources,
};
use super::{
    Format,
    metrics::{Metrics, RouteCounters},
    recent::Recent,
    sink::{Sink, Unwritten},
};
use crate::{
    identity::{Identity, Proof},
    organisation::Organisation,
    permission::Permission,
    refusal::{Reason, Refusal},
    sts::Issued,
    trace_context::TraceId,
};

/// Where records go.
pub struct Records {
    /// One record a request.
    pub access: Sink,
    /// One record a decision.
    pub audit: Sink,
    /// Counters that records feed.
    pub metrics: Metrics,
    /// The last refusals.
    pub recent: Recent,
}

/// The version of the audit records' format. A field may be added within a version; one that is
/// taken away, or means something else, makes a new one.
pub const VERSION: u32 = 1;

/// What is known of one request so far.
pub struct Record {
    records: Arc<Records>,
    routes: Arc<RouteCounters>,
    started: Instant,
    written: bool,
    /// The audit record was written before the rest.
    audited: bool,
    /// Which route, by its index in the table, once known.
    pub route_index: Option<usize>,
    /// The fields.
    pub facts: Facts,
}

/// The fields of a record.
#[derive(Default)]
pub struct Facts {
    /// The request's id; empty until the head was read strictly.
    pub request_id: Arc<str>,
    /// Its trace, where there is tracing.
    pub trace: Option<TraceId>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Cow<'static, str>,
    /// The host; as sent, where the request was refused before it was known to be ours.
    pub host: Arc<str>,
    /// The path without its query; as sent, where the request was refused for it or before.
    pub path: Box<str>,
    /// The query's shape, where something refuses.
    pub query: Option<Box<str>>,
    /// The route's pattern.
    pub route: Option<Arc<str>>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// What proved who asked.
    pub proof: Option<Proof>,
    /// Who vouched for them.
    pub issuer: Option<Arc<str>>,
    /// Who asked.
    pub subject: Option<Arc<str>>,
    /// Who acts for them.
    pub actor: Option<Arc<str>>,
    /// The technical user in whose name the upstream is called, or who acts for them there.
    pub technical_user: Option<Arc<str>>,
    /// The same with everything that is known of them; shown where something refuses, but for
    /// their roles, which tell what a request that went on was allowed by.
    pub identity: Option<Arc<Identity>>,
    /// The organisation that the request named; shown where something refuses.
    pub named: Option<Organisation>,
    /// For which organisation.
    pub organisation: Option<Organisation>,
    /// Resources that were looked up, by what they are.
    pub resources: Vec<(Box<str>, uuid::Uuid)>,
    /// What was decided.
    pub decision: Option<Verdict>,
    /// Which credential went to the upstream.
    pub credential: Option<&'static str>,
    /// Which app token that was: its `jti`.
    pub token_id: Option<Arc<str>>,
    /// For which audience a token was asked for, at the exchange endpoint.
    pub audience: Option<Arc<str>>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// More on that, for operators.
    pub detail: Option<Cow<'static, str>>,
    /// What would have refused it, on a route that is on trial.
    pub would_refuse: Option<Reason>,
    /// What happened at one of our own endpoints.
    pub event: Option<&'static str>,
    /// What the upstream answered.
    pub upstream_status: Option<u16>,
    /// The response's status; 0 when none was sent.
    pub status: u16,
    /// Bytes of the response's body.
    pub bytes: usize,
    /// Bytes of the request's body; after an upgrade, all that the client sent.
    pub received: u64,
}

impl Facts {
    /// Notes who asked.
    pub fn caller(&mut self, identity: &Arc<Identity>) {
        self.identity = Some(Arc::clone(identity));
        self.proof = Some(identity.proof);
        self.issuer = Some(Arc::clone(&identity.issuer));
        self.subject = Some(Arc::clone(&identity.subject));
        self.actor.clone_from(&identity.actor);
    }

    /// Notes a resource that the request is about; `path` is where its kind is found.
    pub fn resource(&mut self, path: &str, id: uuid::Uuid) {
        self.resources.push((path.into(), id));
    }

    /// Notes the app token that goes to the upstream.
    pub fn issued(&mut self, issued: &Issued) {
        self.token_id.clone_from(&issued.id);
        if issued.actor.is_some() {
            self.actor.clone_from(&issued.actor);
        }
    }

    /// Whether something refuses the request, in earnest or on trial.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.reason.is_some() || self.would_refuse.is_some()
    }

    /// Notes a refusal that was not enforced; the first one counts.
    pub fn would_refuse(&mut self, refusal: &Refusal) {
        if self.would_refuse.is_none() {
            self.would_refuse = Some(refusal.reason);
            self.detail = Some(refusal.detail.clone());
        }
    }
}

/// The outcomes of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Forwarded.
    Forward,
    /// Sent to the login.
    Login,
    /// Refused.
    Refuse,
    /// Answered by one of our own endpoints.
    Own,
}

impl Verdict {
    /// The word in records and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Login => "login",
            Self::Refuse => "refuse",
            Self::Own => "own",
        }
    }
}

impl Record {
    /// Begins a record.
    #[must_use]
    pub fn begin(records: Arc<Records>, routes: Arc<RouteCounters>, started: Instant) -> Self {
        records.metrics.request_began();
        let facts = Facts::default();
        Self { records, routes, started, written: false, audited: false, route_index: None, facts }
    }

    /// The counters that it feeds.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.records.metrics
    }

    /// When the request's head was read.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Writes that the request is about to be forwarded, and waits until that is written.
    ///
    /// # Errors
    /// [`Unwritten`]; then it must not be forwarded, and the record says that it was not.
    pub async fn intend(&mut self) -> Result<(), Unwritten> {
        let audit = &self.records.audit;
        let written = audit.confirm(self.line(Kind::Intent, audit.format())).await;
        if written.is_err() {
            self.facts.decision = None;
            self.facts.credential = None;
            self.facts.token_id = None;
        }
        written
    }

    /// Writes the audit record of what happened at one of our own endpoints, and waits until it
    /// is written. `status` is that of the answer to come.
    ///
    /// # Errors
    /// [`Unwritten`]; then what happened must not be answered with success.
    pub async fn attest(&mut self, status: StatusCode) -> Result<(), Unwritten> {
        self.facts.status = status.as_u16();
        let audit = &self.records.audit;
        audit.confirm(self.line(Kind::Audit, audit.format())).await?;
        self.audited = true;
        Ok(())
    }

    /// Notes a refusal; the first one counts.
    pub fn refused(&mut self, refusal: &Refusal) {
        if self.facts.reason.is_none() {
            self.facts.reason = Some(refusal.reason);
            self.facts.detail = Some(refusal.detail.clone());
        }
        // What was forwarded, or sent to the login, stays so when something fails afterwards.
        if matches!(self.facts.decision, None | Some(Verdict::Own)) {
            self.facts.decision = Some(Verdict::Refuse);
        }
    }

    /// Writes the record; a second call does nothing.
    pub fn finish(&mut self, status: u16, bytes: usize) {
        self.facts.status = status;
        self.facts.bytes = bytes;
        self.write();
    }

    fn write(&mut self) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let facts = &self.facts;
        self.records.metrics.request_ended(facts, &self.routes, self.route_index, seconds);
        self.records.recent.note(facts);
        if self.records.access.is_on() {
            let line = self.line(Kind::Access, self.records.access.format());
            self.records.access.send(line);
        }
        // Our own endpoints decide nothing, unless something happened there: a login, a logout.
        let decided = match facts.decision {
            Some(Verdict::Own) => facts.event.is_some(),
            Some(Verdict::Forward | Verdict::Login | Verdict::Refuse) => true,
            None => false,
        };
        if decided && !self.audited && self.records.audit.is_on() {
            let line = self.line(Kind::Audit, self.records.audit.format());
            self.records.audit.send(line);
        }
    }

    fn line(&self, kind: Kind, format: Format) -> Vec<u8> {
        let seconds = self.started.elapsed().as_secs_f64();
        let is_over = kind != Kind::Intent;
        let facts = &self.facts;
        let refused = facts.is_refused();
        let caller = facts.identity.as_ref().filter(|_| refused);
        let line = Line {
            time: jiff::Timestamp::now(),
            kind: kind.word(),
            version: (kind != Kind::Access).then_some(VERSION),
            request_id: &facts.request_id,
            trace_id: facts.trace,
            client: facts.client,
            method: &facts.method,
            host: &facts.host,
            path: &facts.path,
            query: facts.query.as_deref(),
            named: facts.named.filter(|_| refused),
            roles: facts.identity.as_ref().and_then(|caller| bounded(&caller.roles)),
            permissions: caller
                .and_then(|caller| caller.permissions.as_ref())
                .map(|held| held.iter().map(Permission::as_str).take(MOST).collect()),
            own_organisation: caller.and_then(|caller| caller.organisation),
            route: facts.route.as_deref(),
            resources: facts
                .route
                .as_deref()
                .filter(|_| kind != Kind::Access)
                .and_then(|route| Resources::of(route, &facts.path, &facts.resources)),
            upstream: facts.upstream.as_deref(),
            proof: facts.proof.map(Proof::word),
            issuer: facts.issuer.as_deref(),
            subject: facts.subject.as_deref(),
            actor: facts.actor.as_deref(),
            technical_user: facts.technical_user.as_deref(),
            organisation: facts.organisation,
            decision: facts.decision.map(Verdict::word),
            credential: facts.credential,
            token_id: facts.token_id.as_deref(),
            audience: facts.audience.as_deref(),
            reason: facts.reason.map(Reason::word),
            would_refuse: facts.would_refuse.map(Reason::word),
            detail: facts.detail.as_deref(),
            event: facts.event,
            upstream_status: facts.upstream_status,
            status: is_over.then_some(facts.status),
            bytes: is_over.then_some(facts.bytes),
            bytes_received: Some(facts.received).filter(|&received| received > 0),
            duration_ms: is_over.then_some((seconds * 1e6).round() / 1e3),
        };
        let mut bytes = match format {
            Format::Json => json(&line),
            Format::Text { coloured } => line.text(coloured).into_bytes(),
        };
        bytes.push(b'\n');
        bytes
    }
}

/// Most lines find room without growing.
fn json(line: &Line<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_LINE);
    match serde_json::to_writer(&mut bytes, line) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One a request.
    Access,
    /// Something is about to be forwarded.
    Intent,
    /// Something was decided.
    Audit,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Intent => "audit_intent",
            Self::Audit => "audit",
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write();
    }
}

/// Bytes of a line, and some to spare.
const USUAL_LINE: usize = 1024;

#[cfg(test)]
mod tests;
