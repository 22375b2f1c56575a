//! The request that a record is of, as far as it can be made again, and its case in YAML.

use std::fmt::{self, Write as _};

use http::Method;
use serde_json::{Map, Value as Json};

use super::line::Line;
use crate::{
    config::{Config, HostName, Place, Route},
    permission::{Permission, PermissionSet},
    refusal::Reason,
    request::path,
    route::Methods,
};

/// A request that can be put again.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: String,
    pub(super) target: String,
    host: String,
    who: Who,
    headers: Vec<(String, String)>,
    body: Option<Json>,
    expect: Vec<(&'static str, String)>,
}

/// For a list of those that were left out.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}: {}", self.method, self.target, self.who(), self.expect())
    }
}

#[derive(Clone, Debug)]
enum Who {
    Nobody,
    /// Keys and values in the notation of cases.
    Described(Vec<(&'static str, String)>),
}

impl Request {
    /// `None` when it depended on what no record holds (bytes, time, load, others), or when the
    /// record is none that a gateway writes.
    pub(super) fn of(line: &Line, config: &Config) -> Option<Self> {
        let query = line.query.iter().map(|query| format!("?{query}"));
        let target = line.path.clone() + &query.collect::<String>();
        path::split(&target).ok()?;
        Method::from_bytes(line.method.as_bytes()).ok()?;
        HostName::parse(&line.host)?;
        let mut request = Self {
            method: line.method.clone(),
            target,
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
                let organisation = line.organisation.map(|id| id.to_string());
                request.expects("organisation", organisation.as_deref());
                if let Some(word) = line.would_refuse.as_deref() {
                    request.expects("would_refuse", Some(reason(word)?.word()));
                }
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
        let reason = reason(word)?;
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
        let mut named = false;
        if let Some(organisation) = line.named.or(line.organisation) {
            named = self.name(&organisation.to_string(), route, line.query.is_some());
        }
        let own = match by {
            "app" => line.own_organisation.or(line.organisation),
            // Where the request names none, it was the one that the user had chosen.
            "session" => line.own_organisation.or(line.organisation.filter(|_| !named)),
            _ => None,
        };
        if by == "app" {
            who.push((
                "permissions",
                list(permissions(line, route).iter().map(Permission::as_str)),
            ));
        } else {
            who.push(("roles", list(line.roles.iter().map(String::as_str))));
        }
        who.extend(own.map(|own| ("organisation", plain(&own.to_string()))));
        self.who = Who::Described(who);
    }

    /// Writes the organisation where the route reads it; whether there is such a place.
    fn name(&mut self, organisation: &str, route: Option<&Route>, query_known: bool) -> bool {
        let mut named = false;
        for place in route.into_iter().flat_map(|route| &route.organisation.places) {
            match &place.place {
                Place::Query(_) if query_known => {}
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

/// What an app token carried: as recorded, else what the route demands, unless it lacked that.
fn permissions(line: &Line, route: Option<&Route>) -> PermissionSet {
    if let Some(names) = &line.permissions {
        return names.iter().filter_map(|name| Permission::parse(name)).collect();
    }
    let lacked = line.reason.as_deref() == Some(Reason::PermissionMissing.word());
    let route = route.filter(|_| !lacked);
    route.map_or_else(PermissionSet::default, |route| route.permissions.named())
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", words.map(plain).collect::<Vec<_>>().join(", "))
}

fn reason(word: &str) -> Option<Reason> {
    Reason::ALL.iter().find(|reason| reason.word() == word).copied()
}

/// The route of a record in this configuration.
fn route<'c>(line: &Line, config: &'c Config) -> Option<&'c Route> {
    let method = Method::from_bytes(line.method.as_bytes()).ok()?;
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
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
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
