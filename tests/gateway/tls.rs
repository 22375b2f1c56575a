//! TLS towards clients: which versions, which certificate, and whose certificates are let in.

use rcgen::generate_simple_self_signed;
use reqwest::{Certificate, Client, Version};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Gateway, Recorder, authority::Authority, free_port};

const HOSTS: [&str; 2] = ["one.test", "two.test"];

struct World {
    core: Recorder,
    gateway: Gateway,
    roots: Vec<String>,
}

impl World {
    /// One with a certificate for each of the hosts, and what `tls` adds.
    async fn new(tls: &str, ca: &str) -> Self {
        let core = Recorder::start("").await;
        let [one, two] = HOSTS.map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
        let port = free_port();
        let text = format!(
            "public_url: https://one.test:{port}\n\
             hosts: [one.test, two.test, three.test]\n\
             listeners: [ {{ address: '127.0.0.1:{port}', tls: {{ certificate: one.crt, key: one.key, \
             more: [ {{ certificate: two.crt, key: two.key }} ] {tls} }} }} ]\n\
             upstreams: {{ core: {{ servers: ['{}'], auth: {{ mode: NONE }} }} }}\n\
             routes: [ {{ path: '/{{*rest}}', access: public, upstream: core }} ]\n",
            core.address,
        );
        let (one_key, two_key) = (one.signing_key.serialize_pem(), two.signing_key.serialize_pem());
        let roots = vec![one.cert.pem(), two.cert.pem()];
        let ca = ca.to_owned();
        let files = [
            ("one.crt", &roots[0]),
            ("one.key", &one_key),
            ("two.crt", &roots[1]),
            ("two.key", &two_key),
            ("ca.pem", &ca),
        ];
        let gateway = Gateway::start_from(&text, &files, port).await;
        Self { core, gateway, roots }
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let roots = self.roots.iter().map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
        let builder = Client::builder().no_proxy().tls_certs_only(roots).tls_info(true);
        HOSTS
            .iter()
            .chain(&["three.test"])
            .fold(builder, |builder, host| builder.resolve(host, self.gateway.address))
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/x", self.gateway.address.port())
    }

    async fn is_let_in(&self, client: reqwest::ClientBuilder) -> bool {
        match client.build().unwrap().get(self.url("one.test")).send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                true
            }
            Err(error) => {
                assert!(!error.is_timeout(), "{error}");
                false
            }
        }
    }
}

#[tokio::test]
async fn each_name_has_its_certificate_and_http2_is_spoken() {
    let world = World::new("", "").await;
    for host in HOSTS {
        let answer = world.client().build().unwrap().get(world.url(host)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        let shown = info.peer_certificate().unwrap();
        assert!(shown.windows(host.len()).any(|part| part == host.as_bytes()), "{host}");
    }
    // One that no certificate is for gets the first, and does not believe it.
    let other = world.client().build().unwrap().get(world.url("three.test")).send().await;
    assert!(other.unwrap_err().is_connect());
    let old = world.client().http1_only().tls_version_max(reqwest::tls::Version::TLS_1_2);
    let old = old.build().unwrap().get(world.url("two.test")).send().await.unwrap();
    assert_eq!((old.status().as_u16(), old.version()), (200, Version::HTTP_11));
    assert_eq!(world.core.take().len(), 3);
}

#[tokio::test]
async fn only_clients_of_our_authority_are_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (demand, without) in [("required", false), ("optional", true)] {
        let tls = format!(", client_ca: ca.pem, client_certificate: {demand}");
        let world = World::new(&tls, &ours.pem).await;
        assert!(world.is_let_in(world.client().identity(ours.client())).await, "{demand}");
        assert!(!world.is_let_in(world.client().identity(theirs.client())).await, "{demand}");
        assert_eq!(world.is_let_in(world.client()).await, without, "{demand}");
        assert_eq!(world.core.take().len(), 1 + usize::from(without));

        // Another authority, without a restart.
        std::fs::write(world.gateway.file().with_file_name("ca.pem"), &theirs.pem).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !world.is_let_in(world.client().identity(theirs.client())).await {
            assert!(std::time::Instant::now() < until, "{}", world.gateway.output());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(!world.is_let_in(world.client().identity(ours.client())).await, "{demand}");
    }
}

/// A ClientHello for TLS `minor` of SSL 3, with two suites of that time.
fn hello(minor: u8) -> Vec<u8> {
    let body = [&[3, minor][..], &[7; 32], &[0], &[0, 4, 0xc0, 0x13, 0, 0x2f], &[1, 0]].concat();
    let handshake = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    [&[22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake].concat()
}

/// An alert that ends it, and never a ServerHello.
#[tokio::test]
async fn older_versions_than_tls_1_2_are_refused() {
    let world = World::new("", "").await;
    for minor in [0, 1, 2] {
        let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
        stream.write_all(&hello(minor)).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert_eq!(said.first(), Some(&21), "TLS 1.{minor}: {said:?}");
        assert_eq!(said.get(5), Some(&2), "fatal");
    }
    let metrics = world.gateway.metrics().await;
    assert!(metrics.contains("portcullis_tls_handshakes_total{outcome=\"failed\"} 3"), "{metrics}");
}

/// By the version that was spoken; who looks whether a port is open breaks nothing.
#[tokio::test]
async fn handshakes_are_counted_by_how_they_ended() {
    let world = World::new("", "").await;
    let before = handshakes(&world).await;
    let newer = world.client().build().unwrap();
    let older = world.client().tls_version_max(reqwest::tls::Version::TLS_1_2).build().unwrap();
    // Each on a connection of its own.
    for (client, host) in [(&newer, HOSTS[0]), (&older, HOSTS[0]), (&older, HOSTS[1])] {
        assert_eq!(client.get(world.url(host)).send().await.unwrap().status(), 200);
    }
    drop(TcpStream::connect(world.gateway.address).await.unwrap());
    let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n").await.unwrap();
    let expected = [before[0] + 2, before[1] + 1, before[2] + 1, before[3] + 1, before[4]];
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let found = handshakes(&world).await;
        if found == expected {
            break;
        }
        assert!(std::time::Instant::now() < until, "{found:?}, not {expected:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// As the metric has them now, in this order: TLS 1.2, TLS 1.3, no hello, failed, timed out.
async fn handshakes(world: &World) -> [u64; 5] {
    let metrics = world.gateway.metrics().await;
    ["tls12", "tls13", "no_hello", "failed", "timed_out"].map(|outcome| {
        let line = format!("portcullis_tls_handshakes_total{{outcome=\"{outcome}\"}} ");
        let (_, count) = metrics.split_once(&line).unwrap();
        count.lines().next().unwrap().parse().unwrap()
    })
}
