//! The real binary with a configuration of the test's.

use std::{
    fs,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use super::{ACME, OTHER, free_port};

/// What a test wants of its gateway; the rest is as in [`Settings::yaml`].
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) core: SocketAddr,
    pub(crate) bff: SocketAddr,
    /// The `sts` section; by default the built-in issuer.
    pub(crate) sts: Option<String>,
    /// Further upstreams, as lines of the section.
    pub(crate) upstreams: String,
    /// Further routes, as lines of the list.
    pub(crate) routes: String,
    /// Further sections.
    pub(crate) extra: String,
    /// The port to listen on; by default a free one.
    pub(crate) port: Option<u16>,
    /// Whether to wait until it is ready, or only until it lives.
    pub(crate) ready: bool,
    /// An example of this package in place of the shipped program.
    pub(crate) example: Option<&'static str>,
    /// What its environment holds besides.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// A whole configuration in place of the rest, with PORT and ADMIN where those belong.
    pub(crate) whole: Option<String>,
}

/// A gateway at work; it ends with the test.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    directory: Arc<Directory>,
    /// What the environment holds.
    pub(crate) secrets: [(&'static str, String); 3],
    child: Child,
}

impl Settings {
    pub(crate) fn new(issuer: &str, core: SocketAddr) -> Self {
        Self {
            issuer: issuer.to_owned(),
            core,
            bff: core,
            sts: None,
            upstreams: String::new(),
            routes: String::new(),
            extra: String::new(),
            port: None,
            ready: true,
            example: None,
            environment: Vec::new(),
            whole: None,
        }
    }

    pub(crate) fn with(mut self, extra: &str) -> Self {
        self.extra.push_str(extra);
        self
    }

    /// One more route, in YAML's flow style.
    pub(crate) fn route(mut self, route: &str) -> Self {
        self.routes.extend(["  - { ", route, ", upstream: core }\n"]);
        self
    }

    fn yaml(&self, port: u16, admin: u16) -> String {
        if let Some(whole) = &self.whole {
            return whole.replace("PORT", &port.to_string()).replace("ADMIN", &admin.to_string());
        }
        let Self { issuer, core, bff, extra, upstreams, routes, .. } = self;
        let own = format!(
            "issuer: {{ iss: 'http://localhost:{port}', keys: [ {{ env: TEST_STS_KEY }} ] }}"
        );
        let sts = self.sts.as_deref().unwrap_or(&own);
        let session = if extra.contains("session:") {
            String::new()
        } else {
            "session: { keys: [ { env: TEST_SESSION_KEY } ] }".to_owned()
        };
        let logs =
            if extra.contains("logs:") { "" } else { "logs: { format: json, level: debug }" };
        format!(
            "public_url: http://localhost:{port}
hosts: [localhost, gateway.test]
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam:
  issuer: {issuer}
  audience: procivis-one-platform
  client: {{ id: desk, secret: {{ env: TEST_CLIENT_SECRET }} }}
sts: {{ {sts} }}
system_roles:
  issuer: [CREDENTIAL_ISSUE, CREDENTIAL_LIST]
  reader: [CREDENTIAL_LIST]
organisations: {{ {ACME}: {{ name: Acme }}, {OTHER}: {{ name: Other }} }}
iam_roles:
  admin: {{ {ACME}: [issuer] }}
  reader: {{ {ACME}: [reader] }}
  both: {{ {ACME}: [issuer], {OTHER}: [issuer] }}
upstreams:
  core: {{ servers: ['{core}'], auth: {{ mode: STS, audience: one-core }} }}
  bff: {{ servers: ['{bff}'], auth: {{ mode: IAM }} }}
{upstreams}routes:
  - {{ path: '/ssi/{{*rest}}', access: public, upstream: core }}
  - {{ path: '/ssi/slow/{{id}}', access: public, timeouts: {{ read: 300ms }}, upstream: core }}
  - {{ path: /api/config/v1, methods: [GET], accept: [session, iam, app], upstream: core }}
  - {{ path: /api/credential/v1, methods: [GET], accept: [session, iam, app], permissions: [CREDENTIAL_LIST], upstream: core }}
  - {{ path: /api/credential/v1, methods: [POST], accept: [session, iam, app], permissions: [CREDENTIAL_ISSUE], limits: {{ body: 1KiB }}, upstream: core }}
  - {{ path: '/api/credential/v1/{{id}}', methods: [GET], permissions: [CREDENTIAL_LIST], upstream: core }}
  - {{ path: /api/desk/v1/me, accept: [session, iam], upstream: bff }}
  - {{ path: '/desk/{{*rest}}', accept: [session], upstream: bff }}
{routes}{logs}
{session}
{extra}
"
        )
    }
}

impl Gateway {
    /// Starts one and waits until it serves.
    pub(crate) async fn start(settings: Settings) -> Self {
        let port = settings.port.unwrap_or_else(free_port);
        let page = if settings.ready { "readyz" } else { "healthz" };
        let mut program = settings.example.map_or_else(shipped, example);
        program.envs(settings.environment.clone());
        Self::spawn(program, port, page, &[], |admin| settings.yaml(port, admin)).await
    }

    /// Starts one with a file of the test's own, given its port and its admin port.
    pub(crate) async fn of(file: impl FnOnce(u16, u16) -> String) -> Self {
        let port = free_port();
        Self::spawn(shipped(), port, "readyz", &[], |admin| file(port, admin)).await
    }

    /// Starts one with a whole configuration but for its admin listener, and files beside it.
    pub(crate) async fn start_from(text: &str, files: &[(&str, &String)], port: u16) -> Self {
        let whole = |admin| format!("{text}\nadmin: {{ address: '127.0.0.1:{admin}' }}\n");
        Self::spawn(shipped(), port, "readyz", files, whole).await
    }

    async fn spawn(
        mut program: Command,
        port: u16,
        page: &str,
        files: &[(&str, &String)],
        yaml: impl FnOnce(u16) -> String,
    ) -> Self {
        super::crypto();
        let admin = free_port();
        let directory =
            std::env::temp_dir().join(format!("portcullis-test-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("gateway.yaml");
        fs::write(&file, yaml(admin)).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        // Appended to, since two processes may write at once.
        let output = directory.join("output");
        let _ = fs::remove_file(&output);
        let output = fs::File::options().create(true).append(true).open(output).unwrap();
        let secrets = secrets();
        let child = program
            .args(["run", "--config"])
            .arg(&file)
            .envs(secrets.clone())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut gateway = Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            admin: SocketAddr::from(([127, 0, 0, 1], admin)),
            directory: Arc::new(Directory(directory)),
            secrets,
            child,
        };
        gateway.wait(page).await;
        gateway
    }

    /// Another one takes over, by the same file; when this returns it serves.
    pub(crate) async fn upgrade(&self) -> Self {
        let output = self.directory.join("output");
        let output = fs::File::options().append(true).open(output).unwrap();
        let child = shipped()
            .args(["run", "--upgrade", "--config"])
            .arg(self.file())
            .envs(self.secrets.clone())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let next = Self {
            address: self.address,
            admin: self.admin,
            directory: Arc::clone(&self.directory),
            secrets: self.secrets.clone(),
            child,
        };
        let process = next.process();
        next.says(&[&format!("handed over to process {process};")]).await;
        next
    }

    async fn wait(&mut self, page: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(answer) = reqwest::get(format!("http://{}/{page}", self.admin)).await
                && answer.status() == 200
                && tokio::net::TcpStream::connect(self.address).await.is_ok()
            {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.unwrap().success());
    }

    /// How it ended by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.unwrap().unwrap()
    }

    /// Kills it, as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Its configuration.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("gateway.yaml")
    }

    /// A URL of the gateway.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://localhost:{}{target}", self.address.port())
    }

    /// Everything that it has printed: diagnostics, access and audit records.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }

    /// Waits for a line of its output that holds all of these; lines are written behind requests.
    pub(crate) async fn says(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let output = self.output();
            let line = output.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            if let Some(line) = line {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "{parts:?} is not in {output}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The file with which it was started.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.join("gateway.yaml")
    }

    /// The metrics page.
    pub(crate) async fn metrics(&self) -> String {
        let page = reqwest::get(format!("http://{}/metrics", self.admin)).await.unwrap();
        page.text().await.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary directory.
        let _ = self.child.start_kill();
    }
}

/// A directory that goes with the last who needs it.
struct Directory(PathBuf);

impl Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program as it is shipped.
fn shipped() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
}

/// An example, which `cargo test` builds unless it is told to build one test alone.
fn example(name: &str) -> Command {
    let shipped = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    let program = shipped.with_file_name("examples").join(name);
    assert!(program.is_file(), "cargo build --all-features --example {name}");
    Command::new(program)
}

/// Throw-away secrets for the configuration above.
pub(crate) fn secrets() -> [(&'static str, String); 3] {
    use secrecy::ExposeSecret;
    let issuer = portcullis::sts::issuer::generate().unwrap();
    [
        ("TEST_SESSION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        ("TEST_STS_KEY", issuer.expose_secret().to_owned()),
        ("TEST_CLIENT_SECRET", "client-secret-of-the-test".to_owned()),
    ]
}

/// A client that follows no redirect and keeps no cookie.
pub(crate) fn client() -> reqwest::Client {
    super::crypto();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}
