//! Another configuration takes the place of the one at work, and nobody notices but by what it
//! says.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::Certificate;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Notify,
};

use crate::{
    login::Browser,
    refresh::World,
    support::{Gateway, Issuer, Recorder, Settings, gateway::client},
};

const OPEN: &str = "path: /open, access: public";

/// The value of a metric that has no label, or these.
async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.metrics().await;
    let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const TAKEN: &str = "portcullis_reloads_total{outcome=\"taken\"}";
const REFUSED: &str = "portcullis_reloads_total{outcome=\"refused\"}";

/// Sends SIGHUP, and waits until that came to something.
async fn reload(gateway: &Gateway, outcome: &str) {
    let before = metric(gateway, outcome).await;
    gateway.signal("HUP");
    arrives(gateway, outcome, before + 1).await;
}

async fn arrives(gateway: &Gateway, outcome: &str, count: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while metric(gateway, outcome).await < count {
        assert!(Instant::now() < until, "{outcome} is not {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    client().get(gateway.url(path)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_hundred_reloads_under_load_and_not_one_request_fails() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address).route(OPEN)).await;
    let token = issuer.token("alice", "admin");
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|at| {
            let (stop, served, token) = (Arc::clone(&stop), Arc::clone(&served), token.clone());
            // Half of them through the token service, whose cache begins anew.
            let url = gateway.url(if at % 2 == 0 { "/open" } else { "/api/credential/v1" });
            tokio::spawn(async move {
                let client = client();
                while !stop.load(Ordering::Relaxed) {
                    let mut get = client.get(&url);
                    if at % 2 == 1 {
                        get = get.bearer_auth(&token);
                    }
                    let answer = get.send().await.unwrap();
                    assert_eq!(answer.status(), 200, "{url}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let file = gateway.file();
    for round in 0..100 {
        // Each is another configuration: a route that the last one did not have.
        let (from, to) = (format!("path: /open{round}"), format!("path: /open{}", round + 1));
        if round == 0 {
            change(&file, "logs:", "  - { path: /open1, access: public, upstream: core }\nlogs:");
        } else {
            change(&file, &from, &to);
        }
        reload(&gateway, TAKEN).await;
        assert_eq!(status(&gateway, &format!("/open{}", round + 1)).await, 200);
        assert_eq!(status(&gateway, &format!("/open{round}")).await, 404);
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 400, "{served:?}");
    // What was counted goes on: the counters of a hundred token services are one, but for the
    // requests that were under way when one closed.
    let page = gateway.metrics().await;
    let tokens: usize = page
        .lines()
        .filter(|line| line.starts_with("portcullis_app_tokens_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    let asked = core.take().iter().filter(|seen| seen.target() == "/api/credential/v1").count();
    assert!(tokens + 2 * 100 >= asked && tokens > asked / 2, "{tokens} of {asked}");
}

#[tokio::test]
async fn a_request_ends_under_the_configuration_it_began_with() {
    let issuer = Issuer::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, may) = (Arc::clone(&asked), Arc::clone(&answer));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(read > 0);
        told.notify_one();
        may.notified().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await.unwrap();
    });
    let gateway = Gateway::start(Settings::new(&issuer.url, slow).route(OPEN)).await;
    let under_way = tokio::spawn(client().get(gateway.url("/open")).send());
    asked.notified().await;
    change(&gateway.file(), "{ path: /open, access: public", "{ path: /shut, access: public");
    reload(&gateway, TAKEN).await;
    assert_eq!(status(&gateway, "/open").await, 404);
    answer.notify_one();
    let answer = under_way.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "slow");
}

#[tokio::test]
async fn a_configuration_that_is_of_no_use_changes_nothing() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address).route(OPEN)).await;
    let file = gateway.file();
    let good = fs::read_to_string(&file).unwrap();
    // From, to, and what is said of it.
    let core_line = format!("servers: ['{}']", core.address);
    let cases = [
        ("hosts: [localhost", "hostz: [localhost", "hosts"),
        ("hosts: [localhost", "hosts: [local host", "hosts[0]"),
        ("audience: procivis-one-platform", "audience: ''", "iam.audience"),
        ("{ env: TEST_STS_KEY }", "{ env: TEST_NO_SUCH_KEY }", "sts.issuer.keys[0]"),
        ("{ env: TEST_STS_KEY }", "{ env: TEST_CLIENT_SECRET }", "sts.issuer.keys"),
        ("{ env: TEST_SESSION_KEY }", "{ env: TEST_CLIENT_SECRET }", "session.keys"),
        ("both: {", "both: [", "gateway.yaml:"),
        ("[issuer]", "[no-such-role]", "iam_roles"),
        ("accept: [session, iam, app]", "accept: [session, iam, ap]", "accept[2]"),
        ("upstream: core", "upstream: cort", "upstream"),
        ("path: /open", "path: open", "path"),
        ("path: /open,", "path: /api/config/v1,", "routes["),
        ("access: public, upstream", "access: pubic, upstream", "access"),
        ("limits: { body: 1KiB }", "limits: { body: much }", "limits"),
        ("read: 300ms", "read: 300", "timeouts"),
        (&core_line, "servers: []", "servers"),
        (&core_line, "servers: ['core.example.com:80']", "plaintext"),
        ("mode: IAM", "mode: UNSAFE_NONE", "perimeter"),
        ("audience: one-core }", "audience: one-core, x: 1 }", "auth"),
        ("level: debug", "level: loud", "logs.level"),
        // Good, and settled when the process started.
        ("level: debug", "level: info", "logs"),
        ("admin: { address: '127.0.0.1:", "admin: { address: '127.0.0.2:", "admin"),
    ];
    assert!(cases.len() > 20);
    for (from, to, said) in cases {
        let seen = gateway.output().len();
        change(&file, from, to);
        reload(&gateway, REFUSED).await;
        assert_eq!(status(&gateway, "/open").await, 200, "{to}");
        let output = gateway.output();
        let news = output.get(seen..).unwrap_or_default();
        let told =
            news.lines().any(|line| line.contains("\"level\":\"error\"") && line.contains(said));
        assert!(told, "{to}: {said} is not in {news}");
        fs::write(&file, &good).unwrap();
    }
    assert_eq!(metric(&gateway, "portcullis_config_last_reload_successful").await, 0);
    reload(&gateway, TAKEN).await;
    assert_eq!(metric(&gateway, "portcullis_config_last_reload_successful").await, 1);
}

#[tokio::test]
async fn files_that_change_are_noticed() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let settings = Settings::new(&issuer.url, core.address);
    let gateway = Gateway::start(settings).await;
    let routes = gateway.file().with_file_name("more.yaml");
    fs::write(&routes, "routes:\n  - { path: /one, access: public, upstream: core }\n").unwrap();
    change(&gateway.file(), "system_roles:", "include: [more.yaml]\nsystem_roles:");
    arrives(&gateway, TAKEN, 1).await;
    assert_eq!(status(&gateway, "/one").await, 200);
    fs::write(&routes, "routes:\n  - { path: /two, access: public, upstream: core }\n").unwrap();
    arrives(&gateway, TAKEN, 2).await;
    assert_eq!(status(&gateway, "/one").await, 404);
    assert_eq!(status(&gateway, "/two").await, 200);
}

#[tokio::test]
async fn sessions_and_what_ended_them_outlive_a_reload() {
    let world = World::new("").await;
    let mut browser = world.browser(600).await;
    let (kept, mut other): (Browser, Browser) = (browser.clone(), world.browser(600).await);
    let page = world.gateway.url("/api/config/v1");
    let logout = client().post(world.gateway.url("/.portcullis/logout"));
    browser.send(logout.header("origin", world.gateway.url(""))).await;
    reload(&world.gateway, TAKEN).await;
    assert_eq!(other.fetch(&page).await.status(), 200, "a session goes on");
    // R13: what somebody kept of one that was ended is of no use.
    assert_eq!(kept.clone().fetch(&page).await.status(), 401);
}

/// The name that a server's certificate was made for is in it as it is.
fn names(certificate: &[u8], name: &str) -> bool {
    certificate.windows(name.len()).any(|part| part == name.as_bytes())
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_connections_with_the_old_one_live_on() {
    let core = Recorder::start("").await;
    let [one, two] = ["one.test", "two.test"].map(|name| {
        generate_simple_self_signed(["localhost".to_owned(), name.to_owned()]).unwrap()
    });
    let pem =
        |made: &CertifiedKey<rcgen::KeyPair>| (made.cert.pem(), made.signing_key.serialize_pem());
    let ((one_pem, one_key), (two_pem, two_key)) = (pem(&one), pem(&two));
    let port = crate::support::free_port();
    let text = format!(
        "public_url: https://localhost:{port}\n\
         listeners: [ {{ address: '127.0.0.1:{port}', tls: {{ certificate: tls.crt, key: tls.key }} }} ]\n\
         upstreams: {{ core: {{ servers: ['{}'], auth: {{ mode: NONE }} }} }}\n\
         routes: [ {{ path: '/{{*rest}}', access: public, upstream: core }} ]\n",
        core.address,
    );
    let files = [("tls.crt", &one_pem), ("tls.key", &one_key)];
    let gateway = Gateway::start_from(&text, &files, port).await;
    let trusting = || {
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(
                [&one_pem, &two_pem].map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap()),
            )
            .tls_info(true)
            .build()
            .unwrap()
    };
    let shown = async |client: &reqwest::Client| {
        let answer = client.get(format!("https://localhost:{port}/x")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        let certificate = info.peer_certificate().unwrap();
        if names(certificate, "one.test") { "one" } else { "two" }
    };
    let connected = trusting();
    assert_eq!(shown(&connected).await, "one");
    // A key that does not belong to the certificate changes nothing, whatever it is read by.
    let directory = gateway.file();
    let directory = directory.parent().unwrap();
    fs::write(directory.join("tls.key"), &two_key).unwrap();
    arrives(&gateway, REFUSED, 1).await;
    assert_eq!(shown(&trusting()).await, "one");
    fs::write(directory.join("tls.crt"), &two_pem).unwrap();
    arrives(&gateway, TAKEN, 1).await;
    assert_eq!(shown(&trusting()).await, "two");
    assert_eq!(shown(&connected).await, "one", "the connection from before goes on");
}

#[tokio::test]
async fn a_drain_fails_readiness_waits_for_requests_and_then_ends_at_once() {
    let issuer = Issuer::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, may) = (Arc::clone(&asked), Arc::clone(&answer));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        told.notify_one();
        may.notified().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await.unwrap();
    });
    let settings = Settings::new(&issuer.url, slow).route(OPEN);
    let settings = settings.with("server: { grace: 20s, drain_delay: 500ms }\n");
    let mut gateway = Gateway::start(settings).await;
    let under_way = tokio::spawn(client().get(gateway.url("/open")).send());
    asked.notified().await;
    let began = Instant::now();
    gateway.signal("TERM");
    let ready = format!("http://{}/readyz", gateway.admin);
    let until = Instant::now() + Duration::from_millis(450);
    while reqwest::get(&ready).await.unwrap().status() == 200 {
        assert!(Instant::now() < until, "it is still ready");
    }
    assert_eq!(status(&gateway, "/no-such-route").await, 404, "it still listens");
    while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answer.notify_one();
    let answer = under_way.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "slow"));
    let ended = gateway.ended().await;
    assert!(ended.success(), "{ended}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it waited for nothing: {:?}",
        began.elapsed()
    );
    gateway.says(&["\"kind\":\"access\"", "\"path\":\"/open\"", "\"status\":200"]).await;
}
