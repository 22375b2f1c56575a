//! Client certificates as a credential: who shows one of a technical user is that user, and nobody
//! becomes anonymous by a bad one.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};
use reqwest::{Certificate, Client, Identity, Version};

use crate::{
    demo::stand_in::{jose::Parts, sts::Handle},
    support::{
        ACME, Gateway, OTHER, Recorder, authority::Authority, free_port, outside_sts, people,
        reason,
    },
};

struct World {
    issuer: String,
    core: Recorder,
    gateway: Gateway,
    authority: Authority,
    root: String,
}

impl World {
    async fn start(authority: Authority) -> Self {
        let (issuer, core) = (people::provider().await, Recorder::start("").await);
        let sts = outside_sts::start(&issuer, Handle::default()).await;
        let port = free_port();
        let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
        let (secret, sts) = (people::SECRET, outside_sts::section(&sts, ""));
        let text = format!(
            "public_url: https://gateway.test:{port}
listeners:
  - address: 127.0.0.1:{port}
    tls: {{ certificate: a.crt, key: a.key, client_ca: ca.pem }}
iam: {{ issuer: '{issuer}', audience: procivis-one-platform }}
allow_inline_secrets: true
technical_users:
  wrpr:
    client: {{ id: wrpr, secret: {secret} }}
    certificates: [ 'uri:spiffe://acme/wrpr', 'subject:CN=wrpr,O=Acme' ]
  bridge:
    client: {{ id: bridge, secret: {secret} }}
    organisation: {ACME}
    certificates: [ 'dns:bridge.acme.test' ]
  ghost:
    client: {{ id: nobody, secret: {secret} }}
    certificates: [ 'dns:ghost.acme.test' ]
sts: {{ {sts} }}
upstreams:
  core: {{ servers: ['{0}'], auth: {{ mode: STS, audience: one-core }} }}
  bff: {{ servers: ['{0}'], auth: {{ mode: IAM }} }}
logs: {{ format: json, level: debug }}
routes:
  - {{ path: /cron, accept: [certificate], permissions: [TASK_CREATE], upstream: core }}
  - {{ path: /either, accept: [certificate, iam], organisation: {{ query: organisationId }}, upstream: core }}
  - {{ path: /bff, accept: [certificate], upstream: bff }}
  - {{ path: /tokens, accept: [iam], upstream: core }}
  - {{ path: /open, access: public, upstream: core }}
",
            core.address
        );
        let (root, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = [("a.crt", &root), ("a.key", &key), ("ca.pem", &authority.pem)];
        let gateway = Gateway::start_from(&text, &files, port).await;
        Self { issuer, core, gateway, authority, root }
    }

    fn client(&self, identity: Option<Identity>) -> Client {
        let root = Certificate::from_pem(self.root.as_bytes()).unwrap();
        let builder = Client::builder()
            .no_proxy()
            // Each request on a connection of its own, so that TLS sessions are resumed.
            .pool_max_idle_per_host(0)
            .tls_certs_only([root])
            .resolve("gateway.test", self.gateway.address);
        identity.into_iter().fold(builder, reqwest::ClientBuilder::identity).build().unwrap()
    }

    fn named(&self, san: SanType) -> Client {
        self.client(Some(self.authority.certify(&with(&[], vec![san]))))
    }

    fn url(&self, target: &str) -> String {
        format!("https://gateway.test:{}{target}", self.gateway.address.port())
    }

    async fn get(&self, client: &Client, target: &str) -> (u16, String) {
        outcome(client.get(self.url(target)).send().await.unwrap()).await
    }

    /// The token that went to the upstream, whose requests it forgets.
    fn sent(&self) -> serde_json::Value {
        let seen = self.core.take();
        let [request] = &seen[..] else { panic!("{} requests", seen.len()) };
        let token = request.header("authorization")[0].strip_prefix("Bearer ").unwrap();
        Parts::split(token).unwrap().claims.into()
    }
}

async fn outcome(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    (status, if status == 200 { String::new() } else { reason(&body) })
}

fn with(subject: &[(DnType, &str)], also: Vec<SanType>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        parameters.distinguished_name.push(kind.clone(), *value);
    }
    parameters.subject_alt_names = also;
    parameters
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn who_shows_a_technical_users_certificate_is_that_user() {
    let world = World::start(Authority::new()).await;
    let subject = [(DnType::OrganizationName, "Acme"), (DnType::CommonName, "wrpr")];
    let by_subject = world.client(Some(world.authority.certify(&with(&subject, vec![]))));
    for client in [world.named(uri("spiffe://acme/wrpr")), by_subject] {
        for _ in ["cold", "warm"] {
            assert_eq!(world.get(&client, "/cron").await.0, 200, "{}", world.gateway.output());
            let sent = world.sent();
            assert_eq!(
                (sent["sub"].as_str(), sent["aud"].as_str()),
                (Some("wrpr"), Some("one-core"))
            );
        }
        assert_eq!(world.get(&client, "/bff").await.0, 200);
        let sent = world.sent();
        assert_eq!(sent["iss"].as_str(), Some(&*world.issuer));
        // Where a route takes none, a certificate proves nothing.
        assert_eq!(world.get(&client, "/tokens").await, refused(401, "credential_missing"));
    }
    let record = world.gateway.output();
    assert!(record.contains("\"proof\":\"certificate\""), "{record}");
    assert!(record.contains("\"credential\":\"technical_user\""), "{record}");
    assert!(world.core.take().is_empty());
}

#[tokio::test]
async fn r12_a_certificate_that_proves_nothing_is_never_anonymous() {
    let world = World::start(Authority::new()).await;
    let nobodys = [
        with(&[], vec![uri("spiffe://acme/wrpr/")]),
        with(&[], vec![dns("spiffe://acme/wrpr")]),
        with(&[(DnType::CommonName, "wrpr")], vec![]),
        with(&[(DnType::CommonName, "wrpr,O=Acme")], vec![]),
        with(&[(DnType::CommonName, "wrpr"), (DnType::OrganizationName, "Acme")], vec![]),
        // Two users at once.
        with(&[], vec![uri("spiffe://acme/wrpr"), dns("bridge.acme.test")]),
    ];
    for parameters in nobodys {
        let shown = format!("{:?}", parameters.subject_alt_names);
        let client = world.client(Some(world.authority.certify(&parameters)));
        for target in ["/cron", "/either"] {
            let found = world.get(&client, target).await;
            assert_eq!(found, refused(401, "credential_invalid"), "{shown}");
        }
        assert_eq!(world.get(&client, "/open").await.0, 200, "a public route looks at none");
        assert_eq!(world.core.take().len(), 1);
    }
    let nobody = world.client(None);
    assert_eq!(world.get(&nobody, "/cron").await, refused(401, "credential_missing"));
    // R8: what a header says of a certificate is nothing.
    let claimed =
        nobody.get(world.url("/cron")).header("x-forwarded-client-cert", "URI=spiffe://acme/wrpr");
    assert_eq!(outcome(claimed.send().await.unwrap()).await, refused(401, "credential_missing"));
    assert!(world.core.take().is_empty());
}

#[tokio::test]
async fn certificates_out_of_time_or_for_servers_are_not_let_in() {
    let world = World::start(Authority::new()).await;
    let mut expired = with(&[], vec![uri("spiffe://acme/wrpr")]);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut of_a_server = with(&[], vec![uri("spiffe://acme/wrpr")]);
    of_a_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for parameters in [expired, of_a_server] {
        let client = world.client(Some(world.authority.certify(&parameters)));
        assert!(client.get(world.url("/open")).send().await.is_err());
    }
    let theirs = Authority::new().certify(&with(&[], vec![uri("spiffe://acme/wrpr")]));
    assert!(world.client(Some(theirs)).get(world.url("/open")).send().await.is_err());
    assert!(world.core.take().is_empty());
}

#[tokio::test]
async fn a_token_that_is_sent_is_meant_and_an_organisation_that_is_bound_holds() {
    let world = World::start(Authority::new()).await;
    let client = world.named(dns("BRIDGE.acme.test"));
    let token = people::token_of(&world.issuer, "alice").await;
    let either = world.url("/either");
    let answer = client.get(&either).bearer_auth(&token).send().await.unwrap();
    assert_eq!(outcome(answer).await.0, 200);
    assert_eq!(world.sent()["sub"].as_str(), Some("alice"));
    let answer = client.get(&either).bearer_auth("a.b.c").send().await.unwrap();
    assert_eq!(outcome(answer).await, refused(401, "credential_invalid"));
    for (target, expected) in [
        ("/either".to_owned(), (200, String::new())),
        (format!("/either?organisationId={ACME}"), (200, String::new())),
        (format!("/either?organisationId={OTHER}"), refused(403, "organisation_mismatch")),
    ] {
        assert_eq!(world.get(&client, &target).await, expected, "{target}");
        if expected.0 == 200 {
            let sent = world.sent();
            assert_eq!(
                (sent["sub"].as_str(), sent["organisationId"].as_str()),
                (Some("bridge"), Some(ACME))
            );
        }
    }
    // A browser shows a certificate unasked, so another origin's page may not use it.
    let foreign = client.post(&either).header("origin", "https://evil.test").send().await.unwrap();
    assert_eq!(outcome(foreign).await, refused(403, "origin_mismatch"));
    assert!(world.core.take().is_empty());
    // A user whom the provider does not know has no token, and that is no fault of the caller's.
    let ghost = world.named(dns("ghost.acme.test"));
    assert_eq!(world.get(&ghost, "/either").await, refused(503, "iam_unavailable"));
}

/// Over HTTP/2, which is what clients speak unless told otherwise, and over HTTP/1.
#[tokio::test]
async fn every_version_of_http_has_the_certificate_of_its_connection() {
    let world = World::start(Authority::new()).await;
    let identity = || world.authority.certify(&with(&[], vec![uri("spiffe://acme/wrpr")]));
    let root = Certificate::from_pem(world.root.as_bytes()).unwrap();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let builder = Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let builder = builder.resolve("gateway.test", world.gateway.address).identity(identity());
        let client = match version {
            Version::HTTP_11 => builder.http1_only(),
            _ => builder,
        };
        let client = client.build().unwrap();
        for _ in 0..2 {
            let answer = client.get(world.url("/cron")).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            assert_eq!(world.sent()["sub"].as_str(), Some("wrpr"));
        }
    }
}

/// A session that was made while another authority counted opens nothing.
#[tokio::test]
async fn after_another_authority_nobody_comes_in_by_the_one_before() {
    let (ours, next) = (Authority::new(), Authority::new());
    let world = World::start(ours).await;
    let client = world.named(uri("spiffe://acme/wrpr"));
    for _ in ["first", "resumed"] {
        assert_eq!(world.get(&client, "/cron").await.0, 200);
    }
    std::fs::write(world.gateway.file().with_file_name("ca.pem"), &next.pem).unwrap();
    let newer = next.certify(&with(&[], vec![uri("spiffe://acme/wrpr")]));
    let newer = world.client(Some(newer));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while newer.get(world.url("/cron")).send().await.is_err() {
        assert!(std::time::Instant::now() < until, "{}", world.gateway.output());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(client.get(world.url("/cron")).send().await.is_err());
}
