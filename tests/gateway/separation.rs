//! Two organisations before a Core that checks nothing: with the shipped routes, nobody of one
//! reaches anything of the other, whatever they name and however they spell it.

use std::sync::{Arc, Mutex};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use reqwest::Method;
use serde_json::{Value as Json, json};
use serde_yaml::Value;

use crate::support::{ACME, Gateway, Issuer, OTHER, gateway::client, listener};

const SHIPPED: &str = include_str!("../../conf/core-1.74.2-perimeter-routes.yaml");
/// Resources of ours and of theirs; the stand-in knows by the first digit.
const MINE: &str = "a0000000-0000-4000-8000-00000000000a";
const THEIRS: &str = "b0000000-0000-4000-8000-00000000000b";
const NOBODYS: &str = "c0000000-0000-4000-8000-00000000000c";

/// What Core was asked, and whether by the gateway itself.
type Asked = Arc<Mutex<Vec<(String, bool)>>>;

async fn core(State(asked): State<Asked>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    // A request that goes through has the caller's own header.
    let own = !request.headers().contains_key("x-of-the-caller");
    let method = request.method().clone();
    asked.lock().unwrap().push((format!("{method} {path}"), own));
    let organisation = match path.rsplit('/').next().and_then(|id| id.chars().next()) {
        Some('a') if path.ends_with(MINE) => ACME,
        Some('b') if path.ends_with(THEIRS) => OTHER,
        _ if own => return StatusCode::NOT_FOUND.into_response(),
        _ => return "served".into_response(),
    };
    let told =
        json!({ "organisationId": organisation, "schema": { "organisationId": organisation } });
    ([("content-type", "application/json")], told.to_string()).into_response()
}

/// One separable operation.
struct Operation {
    method: Method,
    path: String,
    queries: Vec<String>,
    /// Pointers to organisations in the body.
    bodies: Vec<String>,
    /// Pointers to resources in the body.
    resources: Vec<String>,
}

impl Operation {
    fn all() -> Vec<Self> {
        let routes: Value = serde_yaml::from_str(SHIPPED).unwrap();
        let routes = routes["routes"].as_sequence().unwrap().iter();
        routes.filter(|route| route.get("permissions").is_some()).map(Self::read).collect()
    }

    fn read(route: &Value) -> Self {
        let places = match &route["organisation"] {
            Value::Sequence(places) => places.clone(),
            place => vec![place.clone()],
        };
        let named = |kind: &str| {
            let named = places.iter().filter_map(|place| place.get(kind)?.as_str());
            named.map(str::to_owned).collect::<Vec<_>>()
        };
        let looked_up = places.iter().filter_map(|place| place.get("lookup")?["path"].as_str());
        let in_body = looked_up.filter_map(|path| {
            let id = path.split_once('{')?.1.split('}').next()?;
            id.starts_with('/').then(|| id.to_owned())
        });
        Self {
            method: route["methods"][0].as_str().unwrap().parse().unwrap(),
            path: route["path"].as_str().unwrap().to_owned(),
            queries: named("query"),
            bodies: named("body"),
            resources: in_body.collect(),
        }
    }

    fn names_in_path(&self) -> bool {
        self.path.contains('{')
    }

    /// With this in the path, the query, and at each pointer of the body.
    fn target(&self, id: &str, organisation: Option<&str>) -> String {
        let place = |segment: &str| {
            let is_organisation = self.path.starts_with("/api/organisation/");
            let named = organisation.unwrap_or(ACME);
            match segment.starts_with('{') {
                true if is_organisation => named.to_owned(),
                true => id.to_owned(),
                false => segment.to_owned(),
            }
        };
        let path: Vec<_> = self.path.split('/').map(place).collect();
        let query = self.queries.iter().filter_map(|name| {
            let name = name.replace("[]", "%5B%5D");
            organisation.map(|named| format!("{name}={named}"))
        });
        let query: Vec<_> = query.collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", path.join("/"), query.join("&"))
    }

    /// A body with these at pointers to resources, and an organisation where one stands.
    fn body(&self, resources: &[(&str, &str)], organisation: Option<&str>) -> Option<String> {
        if self.bodies.is_empty() && self.resources.is_empty() {
            return None;
        }
        let mut body = json!({});
        for pointer in &self.bodies {
            // The top one may be left out; a copy below goes with it.
            if let Some(organisation) = organisation {
                set(&mut body, pointer, organisation);
            }
        }
        for (pointer, id) in resources {
            set(&mut body, pointer, id);
        }
        Some(body.to_string())
    }
}

/// Writes a value at a pointer, with one element where `*` stands.
fn set(body: &mut Json, pointer: &str, value: &str) {
    let mut here = body;
    for segment in pointer.split('/').skip(1) {
        here = if segment == "*" {
            if !here.is_array() {
                *here = json!([null]);
            }
            &mut here[0]
        } else {
            if !here.is_object() {
                *here = json!({});
            }
            &mut here[segment]
        };
    }
    *here = json!(value);
}

struct World {
    asked: Asked,
    gateway: Gateway,
    token: String,
}

impl World {
    async fn start() -> Self {
        let (issuer, asked) = (Issuer::start().await, Asked::default());
        let (listener, address) = listener().await;
        let routes = axum::Router::new().fallback(any(core)).with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/conf");
        let gateway = Gateway::of(|port, admin| {
            format!(
                "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam: {{ issuer: '{}', audience: procivis-one-platform }}
system_roles: {{ all: ['*'] }}
organisations: {{ {ACME}: {{}}, {OTHER}: {{}} }}
iam_roles: {{ admin: {{ {ACME}: [all] }}, stranger: {{ {OTHER}: [all] }} }}
upstreams: {{ core: {{ servers: ['{address}'], auth: {{ mode: UNSAFE_NONE }} }} }}
perimeter: {{ acknowledge: [core], allow_clients: [127.0.0.0/8], organisation_lookup: {{ negative: 0s }} }}
logs: {{ format: json, level: warn, access: off }}
include: ['{directory}/core-1.74.2-perimeter-routes.yaml']
routes: []
",
                issuer.url
            )
        });
        Self { gateway: gateway.await, token: issuer.token("alice", "admin"), asked }
    }

    async fn ask(&self, operation: &Operation, target: &str, body: Option<String>) -> u16 {
        let mut request = client()
            .request(operation.method.clone(), self.gateway.url(target))
            .bearer_auth(&self.token)
            .header("x-of-the-caller", "1");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Whether anything but look-ups has come to Core since the last time.
    fn served(&self) -> bool {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        assert!(asked.iter().all(|(what, own)| !own || what.starts_with("GET ")), "{asked:?}");
        asked.iter().any(|(_, own)| !own)
    }
}

/// Spellings of one id that a UUID parser takes, or that somebody may hope for.
fn spellings(id: &str) -> [String; 5] {
    [
        id.to_owned(),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("urn:uuid:{id}"),
        format!("%7B{id}%7D"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_one_organisation_reaches_anything_of_the_other() {
    let world = World::start().await;
    let operations = Operation::all();
    assert!(operations.len() > 70, "{}", operations.len());
    let (mut served, mut refused) = (0, 0);
    for operation in &operations {
        let Operation { method, path, .. } = operation;
        let each =
            |id| operation.resources.iter().map(move |at| (at.as_str(), id)).collect::<Vec<_>>();
        // What is all their own is served, so that the refusals below are worth something.
        let own = operation.body(&each(MINE), Some(ACME));
        let status = world.ask(operation, &operation.target(MINE, Some(ACME)), own).await;
        assert!(status == 200 && world.served(), "{method} {path}: {status}");
        served += 1;
        let mut hostile: Vec<(String, Option<String>)> = Vec::new();
        let own = || operation.body(&each(MINE), Some(ACME));
        if operation.names_in_path() {
            for id in spellings(THEIRS).into_iter().chain([NOBODYS.to_owned()]) {
                hostile.push((operation.target(&id, Some(OTHER)), own()));
            }
        }
        for spelling in spellings(OTHER) {
            if !operation.queries.is_empty() {
                hostile.push((operation.target(MINE, Some(&spelling)), own()));
            }
        }
        if !operation.bodies.is_empty() {
            for spelling in &spellings(OTHER)[..4] {
                let body = operation.body(&each(MINE), Some(spelling));
                hostile.push((operation.target(MINE, Some(ACME)), body));
            }
        }
        for foreign in &operation.resources {
            for spelling in &spellings(THEIRS)[..4] {
                // One foreign thing among one's own, with and without an organisation of one's own.
                let mixed: Vec<_> = operation
                    .resources
                    .iter()
                    .map(|at| (at.as_str(), if at == foreign { spelling.as_str() } else { MINE }))
                    .collect();
                for organisation in [Some(ACME), None, Some(OTHER)] {
                    let body = operation.body(&mixed, organisation);
                    hostile.push((operation.target(MINE, Some(ACME)), body));
                }
                let alone = [(foreign.as_str(), spelling.as_str())];
                hostile.push((operation.target(MINE, Some(ACME)), operation.body(&alone, None)));
            }
        }
        assert!(!hostile.is_empty(), "{method} {path} names nothing");
        for (target, body) in hostile {
            let status = world.ask(operation, &target, body.clone()).await;
            assert!(matches!(status, 400 | 403 | 404), "{method} {target} {body:?}: {status}");
            assert!(!world.served(), "{method} {target} {body:?} came through");
            refused += 1;
        }
    }
    eprintln!(
        "{served} operations served with one's own, {refused} requests for another's refused"
    );
}
