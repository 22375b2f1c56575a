//! Technical users and delegation with an outside token service, and that tokens never mix.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    demo::stand_in::{jose::Parts, sts::Handle},
    support::{ACME, Gateway, OTHER, Recorder, gateway::client, outside_sts, people, reason},
};

/// Two upstreams, two technical users, two permissions: for each a route.
pub(crate) fn configuration(
    (port, admin): (u16, u16),
    iam: &str,
    core: SocketAddr,
    sts: &str,
) -> String {
    let mut routes = String::new();
    for upstream in ["core", "bridge"] {
        for user in ["wrpr", "bridge"] {
            for (word, permission) in [("list", "CREDENTIAL_LIST"), ("issue", "CREDENTIAL_ISSUE")] {
                let route = format!(
                    "  - {{ path: /{upstream}/{user}/{word}, accept: [iam], \
                     permissions: [{permission}], organisation: {{ query: organisationId }}, \
                     act_as: {{ delegate: {user} }}, upstream: {upstream} }}\n"
                );
                routes.push_str(&route);
            }
        }
    }
    let secret = people::SECRET;
    let section = outside_sts::section(sts, ", scope: '{permissions}'");
    format!(
        "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam: {{ issuer: '{iam}', audience: procivis-one-platform }}
allow_inline_secrets: true
technical_users:
  wrpr: {{ client: {{ id: wrpr, secret: {secret} }} }}
  bridge:
    client: {{ id: bridge, secret: {secret}, authentication: client_secret_post }}
    organisation: {ACME}
sts: {{ {section} }}
upstreams:
  core: {{ servers: ['{core}'], auth: {{ mode: STS, audience: one-core }} }}
  bridge: {{ servers: ['{core}'], auth: {{ mode: STS, audience: one-bridge }} }}
  bff: {{ servers: ['{core}'], auth: {{ mode: IAM }} }}
logs: {{ format: json, level: debug }}
routes:
  - {{ path: /as/cron, accept: [iam], permissions: [TASK_CREATE], act_as: {{ technical_user: wrpr }}, upstream: core }}
  - {{ path: /as/bridge, accept: [iam], roles: [admin], organisation: {{ query: organisationId }}, act_as: {{ technical_user: bridge }}, upstream: core }}
  - {{ path: /as/desk, accept: [iam], roles: [admin], act_as: {{ technical_user: wrpr }}, upstream: bff }}
{routes}"
    )
}

struct World {
    issuer: String,
    core: Recorder,
    handle: Handle,
    gateway: Gateway,
}

impl World {
    async fn start() -> Self {
        let (issuer, core) = (people::provider().await, Recorder::start("").await);
        let handle = Handle::default();
        let url = outside_sts::start(&issuer, handle.clone()).await;
        let gateway =
            Gateway::of(|port, admin| configuration((port, admin), &issuer, core.address, &url));
        Self { gateway: gateway.await, issuer, core, handle }
    }

    async fn get(&self, target: &str, token: &str) -> (u16, String) {
        let get = client().get(self.gateway.url(target)).bearer_auth(token);
        let answer = get.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        (status, if status == 200 { String::new() } else { reason(&body) })
    }

    fn sent(&self) -> String {
        let seen = self.core.take();
        let [request] = &seen[..] else { panic!("{} requests", seen.len()) };
        request.header("authorization")[0].strip_prefix("Bearer ").unwrap().to_owned()
    }
}

fn claim(token: &str, name: &str) -> String {
    Parts::split(token).unwrap().claims[name].as_str().unwrap_or_default().to_owned()
}

/// Two subjects, organisations, audiences, actors and scopes: 32 tokens, each for one of them.
#[tokio::test]
async fn no_two_asks_that_differ_in_anything_share_a_token() {
    let world = World::start().await;
    // `bridge` is bound to one organisation, so the other half of its tokens does not exist.
    let mut tokens = BTreeMap::new();
    let mut refused = 0;
    for round in ["cold", "warm"] {
        for user in ["alice", "rosa"] {
            let token = people::token_of(&world.issuer, user).await;
            let mine = if round == "cold" { token.clone() } else { String::new() };
            if round == "cold" {
                tokens.insert(format!("own {user}"), mine);
            }
            let token = tokens[&format!("own {user}")].clone();
            for (organisation, upstream, actor, scope) in each() {
                let target = format!("/{upstream}/{actor}/{scope}?organisationId={organisation}");
                let (status, why) = world.get(&target, &token).await;
                let key = format!("{user} {target}");
                if actor == "bridge" && organisation == OTHER {
                    assert_eq!((status, &*why), (403, "organisation_mismatch"), "{key}");
                    refused += 1;
                    continue;
                }
                // The stand-in gives a reader CREDENTIAL_LIST alone.
                if user == "rosa" && scope == "issue" {
                    assert_eq!((status, &*why), (403, "permission_missing"), "{key}");
                    continue;
                }
                assert_eq!(status, 200, "{key}: {why}");
                let sent = world.sent();
                assert_eq!(claim(&sent, "sub"), user, "{key}");
                assert_eq!(claim(&sent, "organisationId"), organisation, "{key}");
                assert_eq!(claim(&sent, "aud"), format!("one-{upstream}"), "{key}");
                assert_eq!(Parts::split(&sent).unwrap().claims["act"]["sub"], actor, "{key}");
                match tokens.insert(key.clone(), sent.clone()) {
                    None => assert_eq!(round, "cold", "{key}"),
                    Some(before) => assert_eq!(before, sent, "{key} is cached"),
                }
            }
        }
    }
    assert!(world.core.seen().is_empty());
    let own = tokens.len();
    let distinct: std::collections::BTreeSet<_> = tokens.into_values().collect();
    assert_eq!((distinct.len(), own), (2 + 12 + 6, 2 + 12 + 6));
    assert_eq!(refused, 2 * 2 * 4);
    // Those that rosa may not use are cached as well, and were asked for once.
    assert_eq!(world.handle.exchanges(), 2 * 12);
}

fn each() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    [ACME, OTHER].into_iter().flat_map(|organisation| {
        ["core", "bridge"].into_iter().flat_map(move |upstream| {
            ["wrpr", "bridge"].into_iter().flat_map(move |actor| {
                ["list", "issue"]
                    .into_iter()
                    .map(move |scope| (organisation, upstream, actor, scope))
            })
        })
    })
}

#[tokio::test]
async fn the_callers_own_token_tells_first_whether_they_may() {
    let world = World::start().await;
    let rosa = people::token_of(&world.issuer, "rosa").await;
    assert_eq!(world.get("/as/cron", &rosa).await, (403, "permission_missing".to_owned()));
    assert_eq!(world.handle.exchanges(), 1, "hers, and not the technical user's");
    let alice = people::token_of(&world.issuer, "alice").await;
    assert_eq!(world.get("/as/cron", &alice).await.0, 200);
    let sent = world.sent();
    assert_eq!(claim(&sent, "sub"), "wrpr");
    assert_eq!(world.handle.exchanges(), 3);
    assert_eq!(world.get("/as/cron", &alice).await.0, 200);
    assert_eq!((world.sent() == sent, world.handle.exchanges()), (true, 3));
}

#[tokio::test]
async fn a_technical_user_acts_where_it_is_bound_to_and_nowhere_else() {
    let world = World::start().await;
    let alice = people::token_of(&world.issuer, "alice").await;
    assert_eq!(world.get("/as/bridge", &alice).await.0, 200);
    let sent = world.sent();
    assert_eq!(
        (claim(&sent, "sub"), claim(&sent, "organisationId")),
        ("bridge".into(), ACME.into())
    );
    let elsewhere = format!("/as/bridge?organisationId={OTHER}");
    assert_eq!(world.get(&elsewhere, &alice).await, (403, "organisation_mismatch".to_owned()));
    let rosa = people::token_of(&world.issuer, "rosa").await;
    assert_eq!(world.get("/as/bridge", &rosa).await, (403, "role_missing".to_owned()));
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn an_upstream_of_iam_tokens_gets_the_technical_users_own() {
    let world = World::start().await;
    let alice = people::token_of(&world.issuer, "alice").await;
    assert_eq!(world.get("/as/desk", &alice).await.0, 200);
    let sent = world.sent();
    assert_eq!((claim(&sent, "iss"), claim(&sent, "sub")), (world.issuer.clone(), "wrpr".into()));
    assert_eq!(world.handle.exchanges(), 0);
}

#[tokio::test]
async fn no_secret_and_no_token_of_a_technical_user_is_logged() {
    let world = World::start().await;
    let alice = people::token_of(&world.issuer, "alice").await;
    assert_eq!(world.get("/as/cron", &alice).await.0, 200);
    assert_eq!(world.get("/as/desk", &alice).await.0, 200);
    let sent: Vec<_> = world
        .core
        .take()
        .iter()
        .map(|request| request.header("authorization")[0].replace("Bearer ", ""))
        .collect();
    let output = world.gateway.output();
    assert_eq!(sent.len(), 2);
    for secret in sent.iter().map(String::as_str).chain([people::SECRET, &alice]) {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!output.contains(signature), "{secret} in the log");
    }
}
