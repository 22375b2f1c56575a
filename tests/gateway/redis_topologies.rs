//! Sessions in a Redis of several servers: a master that fails over to its replica under the eyes
//! of a Sentinel, and a cluster of three.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    login::{Browser, location},
    support::{Gateway, Provider, Recorder, Redis, Settings, gateway::client},
};

async fn gateway(provider: &Arc<Provider>, core: &Recorder, url: &str) -> Gateway {
    let settings = Settings::new(&provider.url, core.address).with(&format!(
        "allow_inline_secrets: true
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: {{ redis: {{ url: '{url}' }} }} }}
"
    ));
    Gateway::start(settings).await
}

async fn log_in(gateway: &Gateway) -> Browser {
    let mut browser = Browser::default();
    let start = browser.navigate(&gateway.url("/desk/x")).await;
    let back = client().get(location(&start)).send().await.unwrap();
    let done = browser.navigate(location(&back).as_str()).await;
    assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
    browser
}

async fn status(gateway: &Gateway, browser: &Browser) -> u16 {
    browser.clone().fetch(&gateway.url("/desk/x")).await.status().as_u16()
}

/// What `redis-cli` says to a command.
fn ask(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Until a server says this to a command.
async fn until(port: u16, command: &[&str], says: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(port, command).contains(says) {
        assert!(Instant::now() < deadline, "{command:?}: {}", ask(port, command));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Sentinel writes its own configuration, so it has one of its own.
struct Folder(PathBuf);

impl Folder {
    fn new(port: u16) -> Self {
        let path =
            std::env::temp_dir().join(format!("portcullis-sentinel-{}-{port}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn sessions_outlive_a_failover_that_a_sentinel_makes() {
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let mut master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    until(replica.port, &["info", "replication"], "master_link_status:up").await;
    let folder = Folder::new(master.port);
    let file = folder.0.join("sentinel.conf");
    let settings = format!(
        "sentinel monitor sessions 127.0.0.1 {} 1\nsentinel down-after-milliseconds sessions 500\n\
         sentinel failover-timeout sessions 5000\n",
        master.port
    );
    fs::write(&file, settings).unwrap();
    let sentinel = Redis::sentinel(&file);
    until(sentinel.port, &["sentinel", "replicas", "sessions"], &replica.port.to_string()).await;

    let url = format!("redis+sentinel://127.0.0.1:{}/sessions", sentinel.port);
    let gateway = gateway(&provider, &core, &url).await;
    let browser = log_in(&gateway).await;
    assert_eq!(status(&gateway, &browser).await, 200);
    until(replica.port, &["dbsize"], ask(master.port, &["dbsize"]).trim()).await;
    master.stop();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match status(&gateway, &browser).await {
            200 => break,
            // Never a login, and never an error of another kind.
            other => assert_eq!(other, 503),
        }
        assert!(Instant::now() < deadline, "{}", gateway.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ask(replica.port, &["role"]).starts_with("master"), "by the replica");
    let another = log_in(&gateway).await;
    assert_eq!(status(&gateway, &another).await, 200, "which is written to as well");
}

#[tokio::test]
async fn sessions_live_in_a_cluster_of_three() {
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let folder = Folder::new(0);
    let nodes: Vec<Redis> = (0..3)
        .map(|at| {
            let file = folder.0.join(format!("nodes-{at}.conf"));
            let file = file.to_str().unwrap();
            Redis::start(&["--cluster-enabled", "yes", "--cluster-config-file", file])
        })
        .collect();
    let addresses: Vec<String> =
        nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        until(node.port, &["cluster", "info"], "cluster_state:ok").await;
    }
    // From one of the nodes the others are found.
    let gateway =
        gateway(&provider, &core, &format!("redis+cluster://{}", addresses.first().unwrap())).await;
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(log_in(&gateway).await);
    }
    for browser in &browsers {
        assert_eq!(status(&gateway, browser).await, 200);
    }
    let spread = nodes.iter().filter(|node| ask(node.port, &["dbsize"]).trim() != "0").count();
    assert!(spread > 1, "sessions are on {spread} of three nodes");
    let logout = client().post(gateway.url("/.portcullis/logout"));
    let logout = logout.header("origin", gateway.url("")).header("accept", "text/html");
    let (first, others) = browsers.split_first().unwrap();
    assert_eq!(first.clone().send(logout).await.status(), 303);
    assert_eq!(status(&gateway, first).await, 401);
    for browser in others {
        assert_eq!(status(&gateway, browser).await, 200);
    }
}
