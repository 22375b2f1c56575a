//! Everything that the gateway depends on, failing in every way: whoever asks is told in time,
//! nothing is left behind, and it recovers by itself.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    demo::stand_in::sts::Handle,
    login::{Browser, location},
    support::{
        Gateway, Issuer, Provider, Recorder, Redis, Settings,
        fault::{Fault, FaultProxy, HTTP, RESP},
        gateway::client,
        holdings::Holdings,
        issuer::{AUDIENCE, now},
        listener, outside_sts, reason,
    },
};

/// Every way to fail; `huge` is how an endless answer begins.
fn faults(huge: &'static [u8]) -> [Fault; 7] {
    [
        Fault::Delay(Duration::from_secs(8)),
        Fault::Drip(Duration::from_millis(40)),
        Fault::ResetAt(5),
        Fault::HalfOpen,
        Fault::Garbage,
        Fault::Huge(huge),
        Fault::Refuse,
    ]
}

/// What one request came to.
struct Outcome {
    status: u16,
    reason: String,
    took: Duration,
}

/// One cell of the matrix.
struct Cell {
    dependency: &'static str,
    fault: &'static str,
    outcome: Outcome,
    recovered: Duration,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dependency, fault, outcome: Outcome { status, reason, took }, recovered } = self;
        let (took, recovered) = (took.as_millis(), recovered.as_millis());
        write!(f, "{dependency:<6} {fault:<10} {status} {reason:<20} {took:>6} {recovered:>6}")
    }
}

async fn outcome(request: reqwest::RequestBuilder) -> Outcome {
    let began = Instant::now();
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let took = began.elapsed();
    // An answer that passes may be endless.
    let reason = match status {
        200 => String::new(),
        // A login that went well.
        303 => return Outcome { status: 200, reason: String::new(), took },
        _ => reason(&answer.text().await.unwrap()),
    };
    Outcome { status, reason, took }
}

/// Until a request is served again.
async fn recovery(dependency: &str, mut again: impl AsyncFnMut() -> u16) -> Duration {
    let began = Instant::now();
    loop {
        let status = again().await;
        if status == 200 {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{dependency} stays away: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No connection, thread or memory stays behind: descriptors as before, but for some idle
/// connections, and no more memory than [`growth`].
async fn nothing_is_left(dependency: &str, gateway: &Gateway, before: Holdings) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let now = Holdings::of(gateway.process());
        let level = now.descriptors <= before.descriptors + 8
            && now.threads <= before.threads + 2
            && now.mebibytes() <= before.mebibytes() + growth(dependency);
        if level {
            return;
        }
        assert!(Instant::now() < until, "{dependency}: {before:?}, and then {now:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// MiB. The client library for Redis puts no bound on an answer, so that what comes within the
/// second that a command may take is held, and the allocator keeps some of it for later.
fn growth(dependency: &str) -> u64 {
    if dependency == "redis" { 512 } else { 32 }
}

/// Asks under each fault, and holds what comes of it against what may come of it.
async fn cells(
    dependency: &'static str,
    proxy: &FaultProxy,
    gateway: &Gateway,
    huge: &'static [u8],
    longest: Duration,
    mut ask: impl AsyncFnMut(bool) -> Outcome,
    may: impl Fn(Fault, u16, &str) -> bool,
) -> Vec<Cell> {
    // Whatever is made at the first use is no leak.
    recovery(dependency, async || ask(false).await.status).await;
    let before = Holdings::of(gateway.process());
    let mut cells = Vec::new();
    for fault in faults(huge) {
        proxy.set(fault);
        let outcome = ask(true).await;
        proxy.set(Fault::None);
        let recovered = recovery(dependency, async || ask(false).await.status).await;
        let cell = Cell { dependency, fault: fault.name(), outcome, recovered };
        let Outcome { status, reason, took } = &cell.outcome;
        assert!(may(fault, *status, reason), "{cell}");
        assert!(*took < longest, "{cell}");
        cells.push(cell);
    }
    nothing_is_left(dependency, gateway, before).await;
    cells
}

async fn core() -> Vec<Cell> {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let proxy = FaultProxy::start(core.address);
    let settings = Settings::new(&issuer.url, proxy.address)
        .route("path: /open, access: public, timeouts: { read: 500ms }");
    let gateway = Gateway::start(settings).await;
    let url = gateway.url("/open");
    let ask = async |_| outcome(client().get(&url)).await;
    let may = |fault, status, reason: &str| match fault {
        Fault::Delay(_) | Fault::HalfOpen => (status, reason) == (504, "upstream_timeout"),
        // Slower than any Core, and never silent for as long as the time-out.
        Fault::Drip(_) | Fault::Huge(_) => status == 200,
        _ => (status, reason) == (502, "upstream_failed"),
    };
    cells("core", &proxy, &gateway, HTTP, Duration::from_secs(6), ask, may).await
}

async fn token_service() -> Vec<Cell> {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let sts = outside_sts::start(&issuer.url, Handle::default()).await;
    let address = sts.trim_start_matches("http://").parse().unwrap();
    let proxy = FaultProxy::start(address);
    let mut settings = Settings::new(&issuer.url, core.address);
    let section = outside_sts::section(&sts, ", timeout: 1s");
    let through = format!("url: '{}/sts/token'", proxy.url());
    settings.sts = Some(format!(
        "{}, breaker: {{ failures: 1000, open: 1s }}",
        section.replace(&format!("url: '{sts}/sts/token'"), &through)
    ));
    let gateway = Gateway::start(settings).await;
    let url = gateway.url("/api/credential/v1");
    let mut subject = 0;
    // Another one each time, so that no token is at hand.
    let ask = async |_| {
        subject += 1;
        let token = issuer.token(&format!("user-{subject}"), "admin");
        outcome(client().get(&url).bearer_auth(token)).await
    };
    let may = |_, status, reason: &str| (status, reason) == (503, "sts_unavailable");
    cells("sts", &proxy, &gateway, HTTP, Duration::from_secs(2), ask, may).await
}

async fn redis() -> Vec<Cell> {
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let server = Redis::start(&[]);
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port).into());
    let settings = Settings::new(&provider.url, core.address).with(&format!(
        "allow_inline_secrets: true\nsession: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: \
         {{ redis: {{ url: 'redis://{}' }} }} }}\n",
        proxy.address
    ));
    let gateway = Gateway::start(settings).await;
    let browser = log_in(&gateway).await;
    let cookies: Vec<_> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (cookie, url) = (cookies.join("; "), gateway.url("/api/config/v1"));
    let ask = async |_| outcome(client().get(&url).header("cookie", &cookie)).await;
    let may = |_, status, reason: &str| (status, reason) == (503, "session_unavailable");
    cells("redis", &proxy, &gateway, RESP, Duration::from_secs(7), ask, may).await
}

async fn keys() -> Vec<Cell> {
    let (listener, address) = listener().await;
    let proxy = FaultProxy::start(address);
    let provider = Provider::known_as(listener, Some(proxy.url()));
    let core = Recorder::start("").await;
    let gateway = Gateway::start(Settings::new(&provider.url, core.address)).await;
    let stranger = Issuer::start().await;
    let claims = || {
        json!({
            "iss": provider.url, "aud": AUDIENCE, "sub": "alice", "exp": now() + 600,
            "iat": now(), "roles": ["admin"],
        })
    };
    let url = gateway.url("/api/credential/v1");
    let ask = async |failing| {
        if failing {
            // A key that nobody knows: the keys are read again, or were a moment ago.
            let unknown = stranger.sign(&claims());
            let refused = outcome(client().get(&url).bearer_auth(unknown)).await;
            assert!(matches!(refused.status, 401 | 503), "{}", refused.status);
        }
        outcome(client().get(&url).bearer_auth(provider.key.sign("JWT", &claims()))).await
    };
    // The keys that are known go on to serve.
    let may = |_, status, _: &str| status == 200;
    cells("jwks", &proxy, &gateway, HTTP, Duration::from_secs(2), ask, may).await
}

async fn identity_provider() -> Vec<Cell> {
    let (listener, address) = listener().await;
    let proxy = FaultProxy::start(address);
    let provider = Provider::known_as(listener, Some(proxy.url()));
    let core = Recorder::start("").await;
    let gateway = Gateway::start(Settings::new(&provider.url, core.address)).await;
    let ask = async |failing| {
        // The login begins well, and the provider fails when its code is to be redeemed.
        let fault = proxy.set(Fault::None);
        let mut browser = Browser::default();
        let start = browser.navigate(&gateway.url("/desk/x")).await;
        if start.status() != 302 {
            let (status, took) = (start.status().as_u16(), Duration::ZERO);
            return Outcome { status, reason: String::new(), took };
        }
        let back = location(&client().get(location(&start)).send().await.unwrap());
        if failing {
            proxy.set(fault);
        }
        let cookies: Vec<_> =
            browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let callback = client().get(back).header("cookie", cookies.join("; "));
        outcome(callback).await
    };
    let may = |_, status, reason: &str| (status, reason) == (503, "iam_unavailable");
    cells("iam", &proxy, &gateway, HTTP, Duration::from_secs(12), ask, may).await
}

async fn log_in(gateway: &Gateway) -> Browser {
    let mut browser = Browser::default();
    let start = browser.navigate(&gateway.url("/desk/x")).await;
    let back = client().get(location(&start)).send().await.unwrap();
    let done = browser.navigate(location(&back).as_str()).await;
    assert_eq!(done.status(), 303);
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r31_every_fault_of_every_dependency_is_answered_in_time_and_recovered_from() {
    let (core, sts, redis, keys, iam) =
        tokio::join!(core(), token_service(), redis(), keys(), identity_provider());
    let matrix: Vec<Cell> = [core, sts, redis, keys, iam].into_iter().flatten().collect();
    println!("what   fault      answer                       ms, recovered after");
    for cell in &matrix {
        println!("{cell}");
    }
    assert_eq!(matrix.len(), 5 * 7);
}
