//! Another process takes over while clients come and go, and nobody notices.

use std::{
    fs,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    login::Browser,
    refresh::World,
    support::{Gateway, Issuer, Recorder, Settings, gateway::client},
};

const OPEN: &str = "path: /open, access: public";

/// A place for a socket; the directory is for the gateway to make.
fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("portcullis-up-{}", uuid::Uuid::new_v4())).join("socket")
}

fn server(socket: &Path) -> String {
    format!("server: {{ upgrade_socket: '{}', grace: 5s }}\n", socket.display())
}

/// Clients that ask without a pause until they are stopped: each has a connection that it keeps, and
/// makes new ones.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, token: &str) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let two = || Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
        let mut tasks = Vec::new();
        for at in 0..4 {
            let (stop, served, token) = (Arc::clone(&stop), Arc::clone(&served), token.to_owned());
            let url = gateway.url(if at % 2 == 0 { "/open" } else { "/api/credential/v1" });
            let kept = if at == 3 { two() } else { client() };
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    for client in [&kept, &client()] {
                        let asked = client.get(&url).bearer_auth(&token);
                        let answer = asked.send().await.unwrap_or_else(|error| {
                            panic!("client {at} of {url}: {error:?}");
                        });
                        assert_eq!(answer.status(), 200, "{url}");
                        answer.bytes().await.unwrap();
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        Self { stop, served, tasks }
    }

    /// Waits until so many more have been served.
    async fn goes_on(&self, more: usize) {
        let (from, until) = (self.served.load(Ordering::Relaxed), Instant::now() + LONG);
        while self.served.load(Ordering::Relaxed) < from + more {
            assert!(Instant::now() < until, "nobody is served any more");
            assert!(!self.tasks.iter().any(tokio::task::JoinHandle::is_finished), "one has failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn five_upgrades_under_load_and_not_one_request_fails() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let socket = socket();
    let audit = socket.with_file_name("audit.log");
    let settings = Settings::new(&issuer.url, core.address).route(OPEN).with(&server(&socket));
    let settings = settings.with(&format!(
        "logs: {{ format: json, access: off, audit: {{ file: '{}' }}, audit_chain: {{}} }}\n",
        audit.display()
    ));
    fs::create_dir(socket.parent().unwrap()).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut gateway = Gateway::start(settings).await;
    let load = Load::start(&gateway, &issuer.token("alice", "admin"));
    for _ in 0..5 {
        load.goes_on(50).await;
        let next = gateway.upgrade().await;
        assert!(gateway.ended().await.success(), "the one before drains and ends");
        gateway = next;
        load.goes_on(50).await;
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(load.end().await > 500);
    gateway.signal("TERM");
    gateway.ended().await;
    // Six processes have written to one chain, two at a time.
    let verified = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["audit", "verify"])
        .arg(&audit)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
}

/// Tries to take over with this file.
fn attempt(gateway: &Gateway, file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--upgrade", "--config"])
        .arg(file)
        .envs(gateway.secrets.clone())
        .output()
        .unwrap()
}

#[tokio::test]
async fn who_does_not_come_to_serve_changes_nothing() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let socket = socket();
    let settings = Settings::new(&issuer.url, core.address).route(OPEN).with(&server(&socket));
    let mut gateway = Gateway::start(settings).await;
    let directory = socket.parent().unwrap();
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    let load = Load::start(&gateway, &issuer.token("alice", "admin"));
    let text = fs::read_to_string(gateway.file()).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let file = gateway.file().with_file_name("other.yaml");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        file
    };

    // A configuration that is of no use.
    let failed = attempt(&gateway, &other("upstream: core", "upstream: cort"));
    assert_eq!(failed.status.code(), Some(78));
    load.goes_on(50).await;
    // One that asks for what cannot be had: it ends when it has the sockets already.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("listeners: [ {{ address: '{}' }}, ", taken.local_addr().unwrap());
    let failed = attempt(&gateway, &other("listeners: [ ", &more));
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("cannot listen on"));
    load.goes_on(50).await;
    // One that has no audit log to write.
    let failed = attempt(&gateway, &other("logs: {", "logs: { audit: { file: /proc/no/file },"));
    assert_eq!(failed.status.code(), Some(1));
    // One without --upgrade, by mistake.
    let failed = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config"])
        .arg(gateway.file())
        .envs(gateway.secrets.clone())
        .output()
        .unwrap();
    assert_eq!(failed.status.code(), Some(1));
    // Somebody who takes the sockets and says nothing, or something else.
    for word in ["", "serving!"] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let read = stream.read(&mut [0; 512]).unwrap();
        assert!(read > 0);
        std::io::Write::write_all(&mut stream, word.as_bytes()).unwrap();
    }
    gateway.says(&["nothing was handed over", "speaks another language"]).await;
    // A signal that would make others end.
    gateway.signal("QUIT");
    gateway.says(&["SIGQUIT", "--upgrade"]).await;
    load.goes_on(50).await;
    load.end().await;

    // And then one that does come to serve.
    let next = gateway.upgrade().await;
    assert!(gateway.ended().await.success());
    assert_eq!(client().get(next.url("/open")).send().await.unwrap().status(), 200);
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_a_fault() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let socket = socket();
    let settings = Settings::new(&issuer.url, core.address).route(OPEN).with(&server(&socket));
    let gateway = Gateway::start(settings).await;
    let directory = socket.parent().unwrap();
    let check = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", "--config"])
            .arg(file)
            .envs(gateway.secrets.clone())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&gateway.file()).0, Some(0));
    for mode in [0o770, 0o701, 0o710, 0o722] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        let (exit, said) = check(&gateway.file());
        assert_eq!(exit, Some(78), "{mode:o}: {said}");
        assert!(said.contains("server.upgrade_socket") && said.contains("others may"), "{said}");
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    // And without any socket nothing is taken over.
    let text = fs::read_to_string(gateway.file()).unwrap();
    let other = gateway.file().with_file_name("other.yaml");
    fs::write(&other, text.replace(&server(&socket), "")).unwrap();
    let failed = attempt(&gateway, &other);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("upgrade_socket is not set"));
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_in_nobodys_way() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let socket = socket();
    let with = || Settings::new(&issuer.url, core.address).route(OPEN).with(&server(&socket));
    let mut first = Gateway::start(with()).await;
    let until = Instant::now() + LONG;
    while !socket.exists() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    assert!(socket.exists());
    // Nobody is there any more, and it says so.
    let failed = attempt(&first, &first.file());
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nobody hands listeners over"));
    let mut second = Gateway::start(with()).await;
    let third = second.upgrade().await;
    assert!(second.ended().await.success());
    assert_eq!(client().get(third.url("/open")).send().await.unwrap().status(), 200);
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn sessions_and_idle_connections_live_through_an_upgrade() {
    let socket = socket();
    let mut world = World::new(&server(&socket)).await;
    let mut browser: Browser = world.browser(600).await;
    let page = world.gateway.url("/api/config/v1");
    assert_eq!(browser.fetch(&page).await.status(), 200);
    // A connection that has asked once and is silent while the other process takes over.
    let mut idle = tokio::net::TcpStream::connect(world.gateway.address).await.unwrap();
    let ask = b"GET /api/config/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut answer = vec![0; 4096];
    idle.write_all(ask).await.unwrap();
    let read = idle.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 401"));

    let next = world.gateway.upgrade().await;
    world.gateway.says(&["handed over to process"]).await;
    // It is answered still, and told that this was the last time.
    idle.write_all(ask).await.unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(world.gateway.ended().await.success());
    assert_eq!(browser.fetch(&page).await.status(), 200, "the session goes on");
    drop(next);
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
}
