//! What the stand-in remembers: resources by collection, each of one organisation.
//!
//! One rule serves every operation. `POST` on a collection makes a resource, `GET` lists or shows,
//! `PATCH` merges, `DELETE` removes; anything below a resource (`/share`, `/revoke`) needs the
//! resource to be there and only says that it was done.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{operations::Operation, request::Input};

/// How an operation ended.
pub(crate) enum Outcome {
    Done,
    Answer(Value),
    /// The resource is another organisation's.
    Foreign,
    /// There is no such resource.
    Unknown,
}

struct Resource {
    organisation: Option<Uuid>,
    body: Map<String, Value>,
}

type Collections = BTreeMap<String, BTreeMap<Uuid, Resource>>;

/// Every resource.
pub(crate) struct Store(Mutex<Collections>);

const ORGANISATIONS: &str = "/api/organisation/v1";

impl Store {
    /// Empty but for organisations.
    pub(crate) fn with_organisations(organisations: Vec<(Uuid, String)>) -> Self {
        let entries = organisations.into_iter().map(|(id, name)| {
            let body = Map::from_iter([("name".to_owned(), name.into())]);
            (id, Resource { organisation: None, body })
        });
        Self(Mutex::new(BTreeMap::from([(ORGANISATIONS.to_owned(), entries.collect())])))
    }

    /// Does what `operation` says, for `organisation` (`None`: for all).
    pub(crate) fn perform(
        &self,
        operation: &Operation,
        input: Input,
        organisation: Option<Uuid>,
    ) -> Outcome {
        let (collection, rest) = split(operation.path);
        match operation.path {
            "/api/config/v1" => return Outcome::Answer(configuration()),
            "/api/build-info/v1" => return Outcome::Answer(json!({"appVersion": "v1.74.2"})),
            _ => {}
        }
        let mut collections = self.collections();
        let resources = collections.entry(collection.to_owned()).or_default();
        let id = input.parameters.first().and_then(|(_, id)| Uuid::parse_str(id).ok());
        match (&operation.method, rest, id) {
            (&Method::POST, "", _) => create(resources, input, organisation),
            (&Method::GET, "", _) => list(resources, &input, organisation),
            (_, rest, Some(id)) if rest.starts_with("/{") => {
                one(resources, id, rest, operation, input, organisation)
            }
            (&Method::GET, _, _) => Outcome::Unknown,
            _ if operation.status.as_u16() == 204 => Outcome::Done,
            _ => Outcome::Answer(json!({})),
        }
    }

    fn collections(&self) -> MutexGuard<'_, Collections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create(
    resources: &mut BTreeMap<Uuid, Resource>,
    input: Input,
    organisation: Option<Uuid>,
) -> Outcome {
    let named = input.body.get("id").and_then(Value::as_str);
    let id = named.and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_else(Uuid::new_v4);
    resources.insert(id, Resource { organisation, body: input.body });
    Outcome::Answer(json!({"id": id}))
}

fn list(
    resources: &BTreeMap<Uuid, Resource>,
    input: &Input,
    organisation: Option<Uuid>,
) -> Outcome {
    let visible = resources
        .iter()
        .filter(|(_, one)| one.organisation.is_none() || one.organisation == organisation)
        .collect::<Vec<_>>();
    let size = input.page.size.max(1);
    let values = visible
        .iter()
        .skip(input.page.number.saturating_mul(size))
        .take(input.page.size)
        .map(|(id, one)| shown(**id, one))
        .collect::<Vec<_>>();
    Outcome::Answer(json!({
        "values": values,
        "totalItems": visible.len(),
        "totalPages": visible.len().div_ceil(size),
    }))
}

fn one(
    resources: &mut BTreeMap<Uuid, Resource>,
    id: Uuid,
    rest: &str,
    operation: &Operation,
    input: Input,
    organisation: Option<Uuid>,
) -> Outcome {
    let Some(resource) = resources.get_mut(&id) else { return Outcome::Unknown };
    if organisation.is_some() && resource.organisation.is_some_and(|of| Some(of) != organisation) {
        return Outcome::Foreign;
    }
    let below = rest.matches('/').count() > 1;
    match (&operation.method, below) {
        (&Method::GET, false) => Outcome::Answer(shown(id, resource)),
        (&Method::PATCH, false) => {
            resource.body.extend(input.body);
            Outcome::Done
        }
        (&Method::DELETE, false) => {
            resources.remove(&id);
            Outcome::Done
        }
        _ if operation.status.as_u16() == 204 => Outcome::Done,
        _ => Outcome::Answer(json!({"id": id})),
    }
}

fn shown(id: Uuid, resource: &Resource) -> Value {
    let mut body = resource.body.clone();
    body.insert("id".to_owned(), json!(id));
    if let Some(organisation) = resource.organisation {
        body.insert("organisationId".to_owned(), json!(organisation));
        // Where Core shows it for a credential.
        body.insert("schema".to_owned(), json!({"organisationId": organisation}));
    }
    Value::Object(body)
}

/// A path as its collection (up to the version) and what follows.
fn split(path: &str) -> (&str, &str) {
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut end = 0;
    for part in path.split('/').skip(1) {
        end += 1 + part.len();
        if is_version(part) {
            return path.split_at_checked(end).unwrap_or((path, ""));
        }
    }
    (path, "")
}

fn configuration() -> Value {
    json!({
        "issuanceProtocol": {"OPENID4VCI_FINAL1": {"enabled": true}},
        "verificationProtocol": {"OPENID4VP_FINAL1": {"enabled": true}},
        "format": {"SD_JWT_VC": {"enabled": true}, "MDOC": {"enabled": true}},
        "keyAlgorithm": {"EDDSA": {"enabled": true}, "ECDSA": {"enabled": true}},
    })
}
