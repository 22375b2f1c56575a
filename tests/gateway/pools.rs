//! Several servers of one upstream: who is asked, who is not, and what clients see of it.

mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};

use self::server::Server;
use crate::support::{Gateway, Issuer, Settings, gateway::client, reason};

/// A gateway before these servers; `keys` are further ones of the upstream.
async fn gateway(servers: &[&Server], keys: &str, ready: bool) -> (Issuer, Gateway) {
    let issuer = Issuer::start().await;
    let addresses: Vec<_> = servers.iter().map(|it| format!("'{}'", it.address)).collect();
    let mut settings = Settings::new(&issuer.url, servers[0].address);
    settings.upstreams = format!(
        "  pool: {{ servers: [{}], auth: {{ mode: IAM }}, {keys} }}\n",
        addresses.join(", ")
    );
    settings.routes.push_str(
        "  - { path: /pool, access: public, upstream: pool, websocket: true }\n  \
                       - { path: /mine, accept: [iam], upstream: pool }\n",
    );
    settings.ready = ready;
    let gateway = Gateway::start(settings).await;
    (issuer, gateway)
}

/// Asked often, so that a test need not wait.
const HEALTH: &str = "health: { path: /health, interval: 100ms, timeout: 1s, unhealthy: 2 }";

/// The sum of a metric's values with these labels.
async fn metric(gateway: &Gateway, name: &str, labels: &[&str]) -> u64 {
    let page = gateway.metrics().await;
    // Other upstreams have the same servers.
    let ours = |line: &str| !line.contains("upstream=") || line.contains("upstream=\"pool\"");
    let lines = page.lines().filter(|line| {
        let named = line.starts_with(&format!("{name}{{")) && ours(line);
        named && labels.iter().all(|label| line.contains(label))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn of(server: &Server) -> String {
    format!("server=\"{}\"", server.address)
}

/// Waits until a metric has this value.
async fn becomes(gateway: &Gateway, name: &str, labels: &[&str], value: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let is = metric(gateway, name, labels).await;
        if is == value {
            return;
        }
        assert!(Instant::now() < until, "{name} {labels:?} is {is}: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const UP: &str = "portcullis_upstream_server_up";
const IN_FLIGHT: &str = "portcullis_upstream_server_requests_in_flight";
const RETRIES: &str = "portcullis_upstream_retries_total";
const EJECTIONS: &str = "portcullis_upstream_ejections_total";

/// Status and body of one GET.
async fn get(client: &reqwest::Client, gateway: &Gateway) -> (u16, String) {
    let answer = client.get(gateway.url("/pool")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Keeps requests waiting at both, or answers them.
fn all_open(servers: [&Server; 2], open: bool) {
    for server in servers {
        server.open(open);
    }
}

async fn waits_for(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Requests that are sent until it is told to stop, and what came of them.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    /// When, and what.
    failed: Arc<Mutex<Vec<(Instant, u16)>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, clients: usize) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let failed = Arc::<Mutex<Vec<_>>>::default();
        let one = |_| {
            let (url, stop, done) = (gateway.url("/pool"), Arc::clone(&stop), Arc::clone(&done));
            let failed = Arc::clone(&failed);
            tokio::spawn(async move {
                let client = client();
                while !stop.load(SeqCst) {
                    let status = client.get(&url).send().await.unwrap().status().as_u16();
                    if status != 200 {
                        failed.lock().unwrap().push((Instant::now(), status));
                    }
                    done.fetch_add(1, SeqCst);
                }
            })
        };
        let tasks = (0..clients).map(one).collect();
        Self { stop, done, failed, tasks }
    }

    /// Waits for so many more.
    async fn more(&self, count: usize) {
        let goal = self.done.load(SeqCst) + count;
        waits_for("the load stands still", || self.done.load(SeqCst) >= goal).await;
    }

    async fn end(self) -> Vec<(Instant, u16)> {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut *self.failed.lock().unwrap())
    }
}

#[tokio::test]
async fn one_of_two_servers_is_killed_and_restarted_under_load_and_no_get_fails() {
    for keys in [HEALTH, "health: null", "balance: least_requests", "balance: { hash: cookie }"] {
        let (one, other) = (Server::start("one"), Server::start("other"));
        let (_, gateway) = gateway(&[&one, &other], keys, true).await;
        let load = Load::start(&gateway, 8);
        load.more(200).await;
        // By the client's address all of them go to one of the two.
        let (victim, stays) = if one.seen() > 0 { (&one, &other) } else { (&other, &one) };
        victim.kill().await;
        becomes(&gateway, UP, &[&of(victim)], 0).await;
        let detected = Instant::now();
        load.more(300).await;
        let at_rest = metric(&gateway, RETRIES, &["outcome=\"served\""]).await;
        let before = stays.seen();
        load.more(300).await;
        assert!(stays.seen() >= before + 250, "{keys}");
        // The server is known to be gone: nothing is tried there any more.
        let later = metric(&gateway, RETRIES, &["outcome=\"served\""]).await;
        assert_eq!(later, at_rest, "{keys}");
        victim.restart();
        becomes(&gateway, UP, &[&of(victim)], 1).await;
        let seen = victim.seen();
        waits_for("the server gets nothing", || victim.seen() > seen + 20).await;
        load.more(100).await;
        let requests = load.done.load(SeqCst);
        let failed = load.end().await;
        let after = failed.iter().filter(|(when, _)| *when > detected).count();
        assert_eq!(after, 0, "{keys}: {failed:?}");
        // Before, as many as were tried again, which the budget bounds; all of these were served.
        let tried = metric(&gateway, RETRIES, &["outcome=\"served\""]).await;
        assert!(tried >= 1 && tried <= 30 + requests as u64 / 5, "{keys}: {tried}");
        assert!(failed.is_empty(), "{keys}: {failed:?}");
    }
}

#[tokio::test]
async fn a_get_in_flight_goes_to_the_other_server_and_a_post_does_not() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let (_, gateway) = gateway(&[&one, &other], "ejection: null", true).await;
    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        all_open([&one, &other], false);
        let before = (one.seen(), other.seen());
        let request = client().request(method.clone(), gateway.url("/pool"));
        let request = if method == "POST" { request.body("once") } else { request };
        let asking = tokio::spawn(request.send());
        waits_for("nobody has it", || (one.seen(), other.seen()) != before).await;
        let (has, has_not) = if one.seen() > before.0 { (&one, &other) } else { (&other, &one) };
        let seen = has_not.seen();
        has_not.open(true);
        has.kill().await;
        let answer = asking.await.unwrap().unwrap();
        if method == "GET" {
            assert_eq!(answer.status(), 200);
            assert_eq!(has_not.seen(), seen + 1);
        } else {
            assert_eq!(answer.status(), 502);
            assert_eq!(reason(&answer.text().await.unwrap()), "upstream_failed");
            assert_eq!(has_not.seen(), seen, "it is sent once");
        }
        has.restart();
    }
}

#[tokio::test]
async fn the_budget_bounds_further_tries() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let keys = "ejection: null, retry_budget: { percent: 0, min_per_second: 1 }";
    let (_, gateway) = gateway(&[&one, &other], keys, true).await;
    one.kill().await;
    let client = client();
    let mut statuses = BTreeMap::new();
    for _ in 0..40 {
        *statuses.entry(get(&client, &gateway).await.0).or_insert(0) += 1;
    }
    // Ten for ten seconds; the tests may take longer than one of them.
    let (tried, refused) = (
        metric(&gateway, RETRIES, &["outcome=\"served\""]).await,
        metric(&gateway, RETRIES, &["outcome=\"over_budget\""]).await,
    );
    assert!((10..=14).contains(&tried), "{tried}: {statuses:?}");
    assert_eq!(tried + refused, 20, "{statuses:?}");
    assert_eq!(statuses[&502], refused, "{statuses:?}");
}

#[tokio::test]
async fn a_request_goes_where_the_fewest_are() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let (_, gateway) = gateway(&[&one, &other], "balance: least_requests", true).await;
    all_open([&one, &other], false);
    let slow = tokio::spawn(client().get(gateway.url("/pool")).send());
    waits_for("nobody has it", || one.seen() + other.seen() > 0).await;
    let (busy, free) = if one.seen() > 0 { (&one, &other) } else { (&other, &one) };
    free.open(true);
    let client = client();
    for _ in 0..20 {
        assert_eq!(get(&client, &gateway).await.0, 200);
    }
    assert_eq!((busy.seen(), free.seen()), (1, 20));
    becomes(&gateway, IN_FLIGHT, &[&of(busy)], 1).await;
    busy.open(true);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    becomes(&gateway, IN_FLIGHT, &["upstream=\"pool\""], 0).await;
    let answered =
        metric(&gateway, "portcullis_upstream_response_duration_seconds_count", &["pool"]);
    assert_eq!(answered.await, 21);
}

#[tokio::test]
async fn a_caller_stays_with_a_server_and_only_those_of_a_lost_one_move() {
    let servers = ["one", "two", "three"].map(Server::start);
    let all: Vec<_> = servers.iter().collect();
    let keys = format!("balance: {{ hash: cookie }}, slow_start: 0s, {HEALTH}");
    let (issuer, gateway) = gateway(&all, &keys, true).await;
    let tokens: Vec<_> = (0..24).map(|at| issuer.token(&format!("user-{at}"), "admin")).collect();
    let client = client();
    let where_all_are = async || {
        let mut all = Vec::new();
        for token in &tokens {
            let answer = client.get(gateway.url("/mine")).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            all.push(answer.text().await.unwrap());
        }
        all
    };
    let before = where_all_are().await;
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    assert_eq!(where_all_are().await, before);
    servers[1].kill().await;
    becomes(&gateway, UP, &[&of(&servers[1])], 0).await;
    for (was, is) in before.iter().zip(where_all_are().await) {
        assert_eq!(*was != is, *was == "two", "{was} to {is}");
    }
    servers[1].restart();
    becomes(&gateway, UP, &[&of(&servers[1])], 1).await;
    assert_eq!(where_all_are().await, before);
}

#[tokio::test]
async fn when_all_are_down_the_answer_is_503_at_once() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    one.kill().await;
    other.kill().await;
    // Known from the start where health is checked, and by what requests meet elsewhere.
    for (keys, first) in [(HEALTH, 503), ("health: null", 502)] {
        let (_, gateway) = gateway(&[&one, &other], keys, false).await;
        let client = client();
        let (status, _) = get(&client, &gateway).await;
        assert_eq!(status, first, "{keys}");
        while get(&client, &gateway).await.0 == 502 {}
        for _ in 0..20 {
            let answer = client.get(gateway.url("/pool")).send().await.unwrap();
            assert_eq!(answer.status(), 503, "{keys}");
            assert!(answer.headers().contains_key("retry-after"));
            assert_eq!(reason(&answer.text().await.unwrap()), "upstream_unavailable");
        }
        becomes(&gateway, "portcullis_upstream_ready", &["upstream=\"pool\""], 0).await;
        assert_eq!(metric(&gateway, UP, &["upstream=\"pool\""]).await, 0);
        if first == 502 {
            assert_eq!(metric(&gateway, EJECTIONS, &["cause=\"unreachable\""]).await, 2);
        }
        // No request has to find out that one is back.
        one.restart();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match get(&client, &gateway).await {
                (200, who) => break assert_eq!(who, "one"),
                (status, _) => assert_eq!(status, 503, "{keys}"),
            }
            assert!(Instant::now() < until, "{keys}: {}", gateway.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        one.kill().await;
    }
}

#[tokio::test]
async fn a_server_that_is_full_is_passed_over_and_all_full_is_503_at_once() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let keys = "connections: { per_server: 2 }";
    let (_, gateway) = gateway(&[&one, &other], keys, true).await;
    all_open([&one, &other], false);
    let slow: Vec<_> =
        (0..4).map(|_| tokio::spawn(client().get(gateway.url("/pool")).send())).collect();
    waits_for("they are not all there", || (one.seen(), other.seen()) == (2, 2)).await;
    for _ in 0..10 {
        let answer = client().get(gateway.url("/pool")).send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_eq!(reason(&answer.text().await.unwrap()), "upstream_unavailable");
    }
    assert_eq!((one.seen(), other.seen()), (2, 2));
    all_open([&one, &other], true);
    for answer in slow {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    becomes(&gateway, IN_FLIGHT, &["upstream=\"pool\""], 0).await;
    assert_eq!(get(&client(), &gateway).await.0, 200);
}

#[tokio::test]
async fn what_a_server_has_is_counted_to_the_end_whatever_that_is() {
    let one = Server::start("one");
    let (_, gateway) = gateway(&[&one], "connections: { per_server: 1 }", true).await;
    let full = || metric(&gateway, IN_FLIGHT, &["upstream=\"pool\""]);
    // A client that leaves before the answer.
    one.open(false);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "GET /pool HTTP/1.1\r\nHost: localhost\r\n";
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    waits_for("it has not come", || one.seen() == 1).await;
    assert_eq!(full().await, 1);
    drop(stream);
    becomes(&gateway, IN_FLIGHT, &["upstream=\"pool\""], 0).await;
    one.open(true);
    // A WebSocket has its place for as long as it is open.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(format!("{head}{upgrade}").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    assert_eq!(full().await, 1);
    assert_eq!(get(&client(), &gateway).await.0, 503);
    drop(stream);
    becomes(&gateway, IN_FLIGHT, &["upstream=\"pool\""], 0).await;
    assert_eq!(get(&client(), &gateway).await.0, 200);
}

#[tokio::test]
async fn a_server_that_fails_requests_gets_none_for_a_while() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let keys = "ejection: { failures: 3, time: 1s, max_time: 1s }, slow_start: 0s";
    let (_, gateway) = gateway(&[&one, &other], keys, true).await;
    one.answer(503);
    let client = client();
    let mut failed = 0;
    while metric(&gateway, EJECTIONS, &["cause=\"failures\""]).await < 1 {
        failed += usize::from(get(&client, &gateway).await.0 == 503);
        assert!(failed <= 3, "{}", gateway.output());
    }
    assert_eq!(failed, 3);
    // What it answers is not ours to hide, and an answer is never asked for again.
    assert_eq!(one.seen(), 3);
    for _ in 0..10 {
        assert_eq!(get(&client, &gateway).await, (200, "other".to_owned()));
    }
    // Never the last one.
    other.answer(503);
    one.answer(200);
    for _ in 0..10 {
        let (status, _) = get(&client, &gateway).await;
        assert!([200, 503].contains(&status), "{status}");
    }
    let until = Instant::now() + Duration::from_secs(20);
    while get(&client, &gateway).await != (200, "one".to_owned()) {
        assert!(Instant::now() < until, "it does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_known_of_servers_outlives_a_reload() {
    let (one, other) = (Server::start("one"), Server::start("other"));
    let (_, gateway) = gateway(&[&one, &other], "health: null", true).await;
    let client = client();
    one.kill().await;
    while metric(&gateway, EJECTIONS, &["cause=\"unreachable\""]).await < 1 {
        assert_eq!(get(&client, &gateway).await.0, 200);
    }
    other.open(false);
    let slow = tokio::spawn(client.get(gateway.url("/pool")).send());
    waits_for("nobody has it", || other.seen() > 0).await;
    becomes(&gateway, IN_FLIGHT, &[&of(&other)], 1).await;
    let tried = metric(&gateway, RETRIES, &["outcome=\"served\""]).await;
    let text = fs::read_to_string(gateway.file()).unwrap();
    fs::write(gateway.file(), text.replace("path: /mine", "path: /yours")).unwrap();
    gateway.signal("HUP");
    becomes(&gateway, "portcullis_reloads_total", &["taken"], 1).await;
    assert_eq!(metric(&gateway, UP, &[&of(&one)]).await, 0);
    assert_eq!(metric(&gateway, IN_FLIGHT, &[&of(&other)]).await, 1);
    other.open(true);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    for _ in 0..20 {
        assert_eq!(get(&client, &gateway).await, (200, "other".to_owned()));
    }
    assert_eq!(metric(&gateway, RETRIES, &["outcome=\"served\""]).await, tried, "none was tried");
    becomes(&gateway, IN_FLIGHT, &["upstream=\"pool\""], 0).await;
    one.restart();
    becomes(&gateway, UP, &[&of(&one)], 1).await;
}
