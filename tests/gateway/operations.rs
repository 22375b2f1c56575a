//! Every operation of Core that asks for a permission, with the shipped routes: who holds one of
//! its permissions and no other gets there, who holds all others does not.

use std::{collections::BTreeSet, fmt::Write as _};

use reqwest::{Client, Method};
use serde_json::json;
use serde_yaml::Value;

use crate::{
    demo::stand_in::jose::Parts,
    support::{ACME, Gateway, Issuer, Recorder, gateway::client, reason},
};

/// Made from Core's own document; a unit test compares the two where the document is.
const SHIPPED: &str = include_str!("../../conf/core-1.74.2-routes.yaml");

/// One route of the shipped file.
struct Operation {
    method: Method,
    /// Path and query, with values.
    target: String,
    body: Option<String>,
    permissions: BTreeSet<String>,
}

impl Operation {
    /// `None` for one that asks for no permission.
    fn read(route: &Value) -> Option<Self> {
        let names = route.get("permissions")?.as_sequence().unwrap();
        let mut target = String::new();
        let mut body = None;
        let places = match route.get("organisation") {
            Some(Value::Sequence(places)) => places.clone(),
            place => place.into_iter().cloned().collect(),
        };
        let place = |kind: &str| {
            places.iter().filter_map(move |place| place.get(kind)?.as_str()).collect::<Vec<_>>()
        };
        for segment in route["path"].as_str().unwrap().split('/').skip(1) {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            target.push('/');
            target.push_str(match name {
                Some(name) if place("path").contains(&name) => ACME,
                Some(_) => "00000000-0000-4000-8000-000000000000",
                None => segment,
            });
        }
        for name in place("query") {
            let name = name.replace("[]", "%5B%5D");
            write!(target, "?{name}={ACME}").unwrap();
        }
        let pointers = place("body");
        if !pointers.is_empty() {
            let mut document = json!({ "schema": {} });
            for pointer in pointers {
                let (object, key) = pointer.rsplit_once('/').unwrap();
                document.pointer_mut(object).unwrap()[key] = json!(ACME);
            }
            body = Some(document.to_string());
        }
        assert!(!target.contains(['{', '}']), "{target}");
        Some(Self {
            method: route["methods"][0].as_str().unwrap().parse().unwrap(),
            target,
            body,
            permissions: names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        })
    }

    /// The status, and the reason of a refusal.
    async fn ask(&self, client: &Client, gateway: &Gateway, token: &str) -> (u16, String) {
        let mut request =
            client.request(self.method.clone(), gateway.url(&self.target)).bearer_auth(token);
        if let Some(body) = &self.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, if status == 200 { String::new() } else { reason(&text) })
    }

    fn without(&self) -> String {
        self.permissions.iter().cloned().collect::<Vec<_>>().join("_or_")
    }
}

fn operations() -> Vec<Operation> {
    let file: Value = serde_yaml::from_str(SHIPPED).unwrap();
    let routes = file["routes"].as_sequence().unwrap().iter();
    let api = |route: &&Value| route["path"].as_str().unwrap().starts_with("/api/");
    routes.filter(api).filter_map(Operation::read).collect()
}

/// A role `only_P` for each permission, and a role `all_but_P_or_Q` for each set of them.
fn roles(operations: &[Operation]) -> (BTreeSet<&String>, String) {
    let every: BTreeSet<_> = operations.iter().flat_map(|each| &each.permissions).collect();
    let mut system = String::new();
    for name in &every {
        writeln!(system, "  only_{name}: [{name}]").unwrap();
    }
    let sets: BTreeSet<_> =
        operations.iter().map(|each| (each.without(), &each.permissions)).collect();
    for (name, set) in sets {
        let others: Vec<_> =
            every.iter().filter(|name| !set.contains(**name)).map(|name| name.as_str()).collect();
        assert_eq!(others.len(), every.len() - set.len());
        writeln!(system, "  all_but_{name}: [{}]", others.join(", ")).unwrap();
    }
    let mut mapped = String::new();
    for line in system.lines() {
        let name = line.trim_start().split(':').next().unwrap();
        writeln!(mapped, "  {name}: {{ {ACME}: [{name}] }}").unwrap();
    }
    let yaml = format!("system_roles:\n{system}iam_roles:\n{mapped}");
    (every, yaml)
}

#[tokio::test]
async fn every_operation_lets_in_who_has_its_permission_and_nobody_else() {
    let operations = operations();
    assert_eq!(operations.len(), 110, "the document has so many with x-permissions");
    let (every, roles) = roles(&operations);
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let gateway = Gateway::of(|port, admin| {
        format!(
            "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam: {{ issuer: '{}', audience: procivis-one-platform, client: {{ id: desk }} }}
sts: {{ issuer: {{ iss: 'http://localhost:{port}', keys: [ {{ env: TEST_STS_KEY }} ] }} }}
organisations: {{ {ACME}: {{ name: Acme }} }}
{roles}upstreams: {{ core: {{ servers: ['{}'], auth: {{ mode: STS, audience: one-core }} }} }}
include: ['{}/conf/core-1.74.2-routes.yaml']
logs: {{ format: json }}
",
            issuer.url,
            core.address,
            env!("CARGO_MANIFEST_DIR"),
        )
    })
    .await;
    let client = client();
    // Nobody logs in here, so the same file of routes takes a browser for an API client.
    let page = client.get(gateway.url("/api/credential/v1")).header("accept", "text/html");
    assert_eq!(page.send().await.unwrap().status(), 401);
    let missing = (403, "permission_missing".to_owned());
    let mut asked = 0;
    for operation in &operations {
        let what = format!("{} {}", operation.method, operation.target);
        let others = issuer.token("carol", &format!("all_but_{}", operation.without()));
        assert_eq!(operation.ask(&client, &gateway, &others).await, missing, "{what}");
        assert!(core.take().is_empty(), "{what} went on");
        for name in &operation.permissions {
            let one = issuer.token("alice", &format!("only_{name}"));
            let answer = operation.ask(&client, &gateway, &one).await;
            assert_eq!(answer, (200, String::new()), "{what} with {name}");
            let [seen] = &core.take()[..] else { panic!("{what}: one request") };
            assert!(seen.head.starts_with(&format!("{what} HTTP/1.1\r\n")), "{}", seen.head);
            assert_eq!(seen.body, operation.body.clone().unwrap_or_default().into_bytes());
            // What Core gets says the same, and serves as a credential of its own.
            let app = seen.header("authorization")[0].strip_prefix("Bearer ").unwrap();
            let claims = Parts::split(app).unwrap().claims;
            assert_eq!(claims["permissions"], json!([name]), "{what}");
            assert_eq!(claims["organisationId"], ACME, "{what}");
            assert_eq!(operation.ask(&client, &gateway, app).await.0, 200, "{what} with {name}");
            assert_eq!(core.take().len(), 1);
            let other = operations.iter().find(|other| !other.permissions.contains(name)).unwrap();
            assert_eq!(other.ask(&client, &gateway, app).await, missing, "{}", other.target);
            assert!(core.take().is_empty(), "{what} went on");
            asked += 1;
        }
    }
    assert!(asked > operations.len() && every.len() > 80, "{asked}, {}", every.len());
}
