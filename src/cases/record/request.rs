//! The request that a record is of, as far as it can be made again, and its case in YAML.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::line::Line;
use crate::{
    config::{Config, Place, Route},
    refusal::Reason,
    route::Methods,
};

/// A request that can be put again.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    host: String,
    who: Who,
    headers: Vec<(String, String)>,
    body: Option<Json>,
    expect: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug)]
enum Who {
    Nobody,
    /// Keys and values in the notation of cases.
    Described(Vec<(&'static str, String)>),
}

impl Request {
    /// `None` when it depended on what no record holds: bytes, time, load, others.
    pub(super) fn of(line: &Line, config: &Config) -> Option<Self> {
        if line.path.is_empty() || line.host.is_empty() {
            return None;
        }
        let mut request = Self {
            method: line.method.clone(),
            target: line.path.clone(),
            host: line.host.clone(),
            who: Who::Nobody,
            headers: Vec::new(),
            body: None,
            expect: Vec::new(),
        };
        let decision = line.decision.as_deref()?;
        request.expect.push(("decision", plain(decision)));
        match decision {
            "forward" => {
                request.expects("route", line.route.as_deref());
                request.expects("credential", line.credential.as_deref());
                request.expects("organisation", line.organisation.as_deref());
                request.expects("would_refuse", line.would_refuse.as_deref());
                request.called_by(line, config);
            }
            "login" => {
                request.expects("route", line.route.as_deref());
                request.headers.push(("accept".into(), "text/html".into()));
            }
            "refuse" => request.refused(line, config)?,
            _ => return None,
        }
        Some(request)
    }

    fn refused(&mut self, line: &Line, config: &Config) -> Option<()> {
        let word = line.reason.as_deref()?;
        self.expects("reason", Some(word));
        let reason = Reason::ALL.iter().find(|reason| reason.word() == word)?;
        let over = |by: &str| vec![("by", by.to_owned()), ("claims", "{ exp: 1 }".to_owned())];
        match reason {
            Reason::NoRoute | Reason::MethodNotAllowed | Reason::AmbiguousPath => return Some(()),
            Reason::CredentialMissing => {}
            Reason::CredentialInvalid => {
                self.headers.push(("authorization".into(), "Bearer none".into()));
            }
            Reason::CredentialExpired => self.who = Who::Described(over("iam")),
            Reason::SessionExpired => self.who = Who::Described(over("session")),
            Reason::OrganisationMissing
            | Reason::OrganisationInvalid
            | Reason::OrganisationMismatch
            | Reason::PermissionMissing
            | Reason::RoleMissing
            | Reason::ConditionFailed => self.called_by(line, config),
            _ => return None,
        }
        self.expects("route", line.route.as_deref());
        Some(())
    }

    fn expects(&mut self, what: &'static str, value: Option<&str>) {
        self.expect.extend(value.map(|value| (what, plain(value))));
    }

    /// Describes the caller, and names the organisation where the route looks for it.
    fn called_by(&mut self, line: &Line, config: &Config) {
        let Some(proof) = line.proof.as_deref() else { return };
        let by = match proof {
            "session" => "session",
            "app_token" => "app",
            _ => "iam",
        };
        let route = route(line, config);
        let mut who = vec![("by", by.to_owned())];
        who.extend(line.subject.as_deref().map(|subject| ("subject", plain(subject))));
        who.extend(line.actor.as_deref().map(|actor| ("actor", plain(actor))));
        let organisation = line.organisation.as_deref();
        let named = organisation.is_some_and(|here| self.name(here, route));
        match by {
            "app" => {
                let lacks = line.reason.as_deref() == Some(Reason::PermissionMissing.word());
                let named = route.filter(|_| !lacks).map(|route| route.permissions.named());
                let names: Vec<_> = named.iter().flat_map(|named| named.iter()).collect();
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                who.push(("permissions", format!("[{}]", names.join(", "))));
                who.extend(organisation.map(|here| ("organisation", plain(here))));
            }
            _ => {
                let roles: Vec<_> = line.roles.iter().map(|role| plain(role)).collect();
                who.push(("roles", format!("[{}]", roles.join(", "))));
                let chosen = organisation.filter(|_| by == "session" && !named);
                who.extend(chosen.map(|here| ("organisation", plain(here))));
            }
        }
        self.who = Who::Described(who);
    }

    /// Writes the organisation where the route reads it; whether there is such a place.
    fn name(&mut self, organisation: &str, route: Option<&Route>) -> bool {
        let mut named = false;
        for place in route.into_iter().flat_map(|route| &route.organisation.places) {
            match &place.place {
                Place::Query(name) => {
                    let sign = if self.target.contains('?') { '&' } else { '?' };
                    let name: String =
                        url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
                    let _ = write!(self.target, "{sign}{name}={organisation}");
                }
                Place::Header(name) => self.headers.push((name.clone(), organisation.to_owned())),
                Place::Body(pointer) => {
                    let body = self.body.get_or_insert_with(|| Json::Object(Map::new()));
                    insert(body, pointer, organisation);
                }
                Place::Path(_) => {}
                Place::Session | Place::Token | Place::Lookup { .. } => continue,
            }
            named = true;
        }
        named
    }

    /// The caller, in the notation of cases.
    pub(super) fn who(&self) -> String {
        match &self.who {
            Who::Nobody => "nobody".to_owned(),
            Who::Described(keys) => mapping(keys),
        }
    }

    /// What is expected, in the notation of cases.
    pub(super) fn expect(&self) -> String {
        mapping(&self.expect)
    }

    /// Everything else that tells two requests on one route apart.
    pub(super) fn rest(&self) -> String {
        format!("{} {} {:?}", self.method, self.host, self.headers)
    }

    pub(super) fn render(&self, to: &mut String) {
        let _ = writeln!(to, "- who: {}", self.who());
        let _ = writeln!(to, "  request: {}", quoted(&format!("{} {}", self.method, self.target)));
        let _ = writeln!(to, "  host: {}", plain(&self.host));
        if !self.headers.is_empty() {
            let lines: Vec<_> = self
                .headers
                .iter()
                .map(|(name, value)| format!("{}: {}", plain(name), plain(value)))
                .collect();
            let _ = writeln!(to, "  headers: {{ {} }}", lines.join(", "));
        }
        if let Some(body) = &self.body {
            let _ = writeln!(to, "  body: {body}");
        }
        let _ = writeln!(to, "  expect: {}", self.expect());
    }
}

/// The route of a record in this configuration.
fn route<'c>(line: &Line, config: &'c Config) -> Option<&'c Route> {
    let method = http::Method::from_bytes(line.method.as_bytes()).ok()?;
    config.routes.iter().find(|route| {
        let methods = Methods::new(route.methods.iter().map(|method| method.as_str()));
        Some(route.path.as_str()) == line.route.as_deref()
            && methods.contains(&method)
            && (route.hosts.is_empty() || route.hosts.iter().any(|host| host.as_str() == line.host))
    })
}

fn insert(body: &mut Json, pointer: &str, value: &str) {
    let mut here = body;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !here.is_object() {
            *here = Json::Object(Map::new());
        }
        let Json::Object(object) = here else { return };
        here = object.entry(step).or_insert(Json::Null);
    }
    *here = value.into();
}

fn mapping(keys: &[(&'static str, String)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{ {} }}", keys.join(", "))
}

/// A word without quotes where YAML cannot take it for anything else.
fn plain(text: &str) -> String {
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    let special = ["true", "false", "null", "nan", "inf", "infinity"];
    if begins && word && !special.contains(&&*text.to_ascii_lowercase()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
