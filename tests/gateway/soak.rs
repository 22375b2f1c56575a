//! Mixed traffic for a while, with reloads, new signing keys and a Core that fails now and then:
//! every answer is one that may be given, and memory, descriptors and threads are level at the end.
//!
//! `SOAK_SECONDS` says how long; `make soak` takes half an hour.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    login::{Browser, location},
    support::{
        Gateway, Provider, Recorder, Settings,
        fault::{Fault, FaultProxy},
        free_port,
        gateway::client,
        holdings::Holdings,
        issuer::{AUDIENCE, now},
    },
};

/// When nobody says otherwise: long enough to meet each kind of trouble.
const SECONDS: u64 = 12;

/// What everybody shares.
struct Soak {
    gateway: Gateway,
    provider: Arc<Provider>,
    core: FaultProxy,
    key: PathBuf,
    /// Core fails now, or did a moment ago.
    troubled: AtomicBool,
    over: AtomicBool,
    /// Answers by kind of request and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Soak {
    async fn start() -> Arc<Self> {
        let provider = Provider::start().await;
        let recorder = Recorder::start("").await;
        let core = FaultProxy::start(recorder.address);
        // It would keep what it saw of half an hour.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                recorder.take();
            }
        });
        let port = free_port();
        let key = std::env::temp_dir().join(format!("portcullis-soak-{port}.pem"));
        fs::write(&key, new_key()).unwrap();
        let mut settings = Settings::new(&provider.url, core.address)
            .with("logs: { format: json, level: warn, access: off, audit: off }\n")
            .route("path: /open, access: public, timeouts: { read: 2s }");
        settings.bff = recorder_of_pages().await;
        settings.port = Some(port);
        settings.sts = Some(format!(
            "issuer: {{ iss: 'http://localhost:{port}', keys: [ {{ file: '{}' }} ] }}",
            key.display()
        ));
        let gateway = Gateway::start(settings).await;
        Arc::new(Self {
            gateway,
            provider,
            core,
            key,
            troubled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            answers: Mutex::default(),
        })
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Counts an answer, and holds it against what may be given.
    fn note(&self, kind: &'static str, status: u16, expected: u16, troubled: bool) {
        *self.answers.lock().unwrap().entry((kind, status)).or_default() += 1;
        let troubled = troubled || self.troubled.load(Ordering::Relaxed);
        let may = status == expected || (troubled && matches!(status, 502..=504));
        assert!(may, "{kind}: {status}: {}", self.gateway.output());
    }

    fn troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// One kind of request, again and again. Nobody asks as fast as they can.
    async fn ask(
        self: Arc<Self>,
        kind: &'static str,
        expected: u16,
        request: impl Fn(&reqwest::Client, &Self) -> reqwest::RequestBuilder,
    ) {
        let client = client();
        while self.goes_on() {
            let troubled = self.troubled();
            let status = request(&client, &self).send().await.unwrap().status().as_u16();
            self.note(kind, status, expected, troubled);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn token(&self, subject: &str) -> String {
        let claims = json!({
            "iss": self.provider.url, "aud": AUDIENCE, "sub": subject, "iat": now(),
            "exp": now() + 300, "roles": ["admin"],
        });
        self.provider.key.sign("JWT", &claims)
    }

    /// Logs in, looks at a page, logs out.
    async fn browse(self: Arc<Self>) {
        while self.goes_on() {
            let mut browser = Browser::default();
            let start = browser.navigate(&self.gateway.url("/desk/x")).await;
            self.note("login", start.status().as_u16(), 302, false);
            let back = client().get(location(&start)).send().await.unwrap();
            let done = browser.navigate(location(&back).as_str()).await;
            self.note("callback", done.status().as_u16(), 303, false);
            let page = browser.fetch(&self.gateway.url("/desk/x")).await;
            self.note("page", page.status().as_u16(), 200, false);
            let logout = client().post(self.gateway.url("/.portcullis/logout"));
            browser.send(logout.header("origin", self.gateway.url(""))).await;
            let after = browser.fetch(&self.gateway.url("/desk/x")).await;
            self.note("after logout", after.status().as_u16(), 401, false);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Goes away in the middle of a request.
    async fn abort(self: Arc<Self>) {
        while self.goes_on() {
            let mut stream = TcpStream::connect(self.gateway.address).await.unwrap();
            let half =
                b"POST /open HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 99999\r\n\r\nx";
            stream.write_all(half).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Core is asked again soon after it is well again, however busy the machine is.
    async fn recovers(&self) {
        let (client, until) = (client(), Instant::now() + Duration::from_secs(30));
        while client.get(self.gateway.url("/open")).send().await.unwrap().status() != 200 {
            assert!(Instant::now() < until, "not in half a minute: {}", self.gateway.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A reload each second, a new key each fifth, a fault of Core each third; seconds of quiet.
    async fn trouble(self: Arc<Self>) {
        let faults = [Fault::HalfOpen, Fault::ResetAt(5), Fault::Garbage, Fault::Refuse];
        for second in 1_u64.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if !self.goes_on() {
                return;
            }
            self.gateway.signal("HUP");
            if second % 5 == 0 {
                // At once, as mounted secrets change.
                let next = self.key.with_extension("next");
                fs::write(&next, new_key()).unwrap();
                fs::rename(&next, &self.key).unwrap();
            }
            if second % 3 == 0 {
                let fault = faults[usize::try_from(second / 3).unwrap() % faults.len()];
                self.troubled.store(true, Ordering::Relaxed);
                self.core.set(fault);
                tokio::time::sleep(Duration::from_millis(300)).await;
                self.core.set(Fault::None);
                self.recovers().await;
                // Longer than any time-out of those who asked meanwhile.
                tokio::time::sleep(Duration::from_millis(2_700)).await;
                self.troubled.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary directory.
        let _ = fs::remove_file(&self.key);
    }
}

fn new_key() -> String {
    portcullis::sts::issuer::generate().unwrap().expose_secret().to_owned()
}

/// Pages that never fail, and are not kept.
async fn recorder_of_pages() -> std::net::SocketAddr {
    let pages = Recorder::start("").await;
    let address = pages.address;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pages.take();
        }
    });
    address
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_traffic_with_reloads_keys_and_faults_leaves_nothing_behind() {
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().unwrap());
    let soak = Soak::start().await;
    let mut traffic = JoinSet::new();
    traffic.spawn(Arc::clone(&soak).ask("bearer", 200, |client: &reqwest::Client, soak: &Soak| {
        let user = format!("user-{}", now() % 50);
        client.get(soak.gateway.url("/api/credential/v1")).bearer_auth(soak.token(&user))
    }));
    traffic.spawn(Arc::clone(&soak).ask(
        "no credential",
        401,
        |client: &reqwest::Client, soak: &Soak| client.get(soak.gateway.url("/api/credential/v1")),
    ));
    traffic.spawn(Arc::clone(&soak).ask("forged", 401, |client: &reqwest::Client, soak: &Soak| {
        client.get(soak.gateway.url("/api/credential/v1")).bearer_auth(soak.token("eve") + "x")
    }));
    traffic.spawn(Arc::clone(&soak).ask(
        "large body",
        200,
        |client: &reqwest::Client, soak: &Soak| {
            client.post(soak.gateway.url("/open")).body(vec![b'x'; 256 << 10])
        },
    ));
    traffic.spawn(Arc::clone(&soak).ask(
        "body too large",
        413,
        |client: &reqwest::Client, soak: &Soak| {
            let post =
                client.post(soak.gateway.url("/api/credential/v1")).body(vec![b'x'; 8 << 10]);
            post.bearer_auth(soak.token("alice"))
        },
    ));
    traffic.spawn(Arc::clone(&soak).browse());
    traffic.spawn(Arc::clone(&soak).abort());
    traffic.spawn(Arc::clone(&soak).trouble());

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut samples = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(250)).await;
        samples.push(Holdings::of(soak.gateway.process()));
        // A client that met a wrong answer has panicked.
        while let Some(ended) = traffic.try_join_next() {
            ended.unwrap();
        }
    }
    soak.over.store(true, Ordering::Relaxed);
    while let Some(ended) = traffic.join_next().await {
        ended.unwrap();
    }
    for ((kind, status), count) in &*soak.answers.lock().unwrap() {
        println!("{kind:<16} {status} {count}");
    }
    let quarter = samples.len() / 4;
    let of =
        |part: &[Holdings], what: fn(&Holdings) -> u64| median(part.iter().map(what).collect());
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    for (name, what, slack) in [
        ("memory, MiB", (|it| it.mebibytes()) as fn(&Holdings) -> u64, 16),
        ("descriptors", |it| it.descriptors, 30),
        ("threads", |it| it.threads, 4),
    ] {
        let (before, after) = (of(early, what), of(late, what));
        println!("{name:<16} {before} in the second quarter, {after} in the last");
        assert!(after <= before + before / 10 + slack, "{name}: {before}, then {after}");
    }
    let until = Instant::now() + Duration::from_secs(10);
    let says = async |line| soak.gateway.metrics().await.contains(line);
    while !says("portcullis_requests_in_flight 0\n").await {
        assert!(Instant::now() < until, "a request never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let none = says("portcullis_reloads_total{outcome=\"refused\"} 0\n").await;
    assert!(none, "a reload was refused: {}", soak.gateway.output());
    assert!(!says("portcullis_reloads_total{outcome=\"taken\"} 0\n").await, "no reload");
}
