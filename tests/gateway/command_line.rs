//! The command line, as an operator meets it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::support::{Gateway, Issuer, Recorder, Settings, free_port, gateway::secrets};

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).envs(secrets()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(content: &str) -> Self {
        let name = format!("portcullis-cli-{}-{}.yaml", std::process::id(), free_port());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Five faults of five kinds, on lines 3, 11, 13, 16 and 18.
const FIVE_FAULTS: &str = "\
public_url: http://localhost:8080
listeners: [ { address: '127.0.0.1:8080' } ]
limits: { header_byte: 32KiB }
iam: { issuer: http://127.0.0.1:8081, audience: a }
system_roles: { reader: [CREDENTIAL_LIST] }
sts: { issuer: { iss: http://localhost:8080, keys: [ { env: TEST_STS_KEY } ] } }
organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: {} }
iam_roles: { reader: { '*': [reader] } }
upstreams:
  core:
    servers: ['core.internal:3000']
    auth: { mode: STS, audience: one-core }
    timeouts: { read: fast }
routes:
  - path: /api/a
    upstream: cor
    accept: [iam]
  - { path: /api/b, upstream: core, accept: [iam], permissions: [credential_list] }
";

/// The same without them.
fn good() -> String {
    FIVE_FAULTS
        .replace("header_byte:", "header_bytes:")
        .replace("core.internal", "127.0.0.1")
        .replace("fast", "5s")
        .replace("upstream: cor\n", "upstream: core\n")
        .replace("credential_list", "CREDENTIAL_LIST")
}

#[test]
fn check_prints_every_fault_with_its_place_and_exits_78() {
    let file = File::new(FIVE_FAULTS);
    let output = portcullis(&["check", "--config", file.path()]);
    assert_eq!(output.status.code(), Some(78));
    let printed = text(&output.stderr);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 5, "{printed}");
    for (line, number) in lines.iter().zip([3, 11, 13, 16, 18]) {
        let start = format!("{}:{number}:", file.path());
        assert!(line.starts_with(&start), "{line} does not start with {start}");
    }
    for word in
        ["header_bytes", "plaintext", "upstreams.core.timeouts.read", "core", "credential_list"]
    {
        assert!(printed.contains(word), "{word} in {printed}");
    }
    // `run` says the same, before a port is bound.
    let run = portcullis(&["run", "--config", file.path()]);
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(78), printed));
}

#[test]
fn check_warns_of_permissions_that_lead_nowhere_and_exits_0() {
    let file =
        File::new(&good().replace("reader: [CREDENTIAL_LIST]", "reader: [CREDENTIAL_DETAIL]"));
    let output = portcullis(&["check", "--config", file.path()]);
    assert_eq!(output.status.code(), Some(0));
    let warned = text(&output.stderr).replace(file.path(), "g.yaml");
    assert_eq!(
        warned,
        "g.yaml:5:26: warning: system_roles.reader[0]: grants CREDENTIAL_DETAIL, which no route \
         (g.yaml:15:3) demands\n\
         g.yaml:18:65: warning: routes[1].permissions: nobody passes: no system role \
         (g.yaml:5:15) grants any of CREDENTIAL_LIST\n"
    );
    assert!(text(&output.stdout).ends_with("no faults, 2 routes\n"));
}

#[test]
fn check_is_silent_about_a_good_file_but_for_one_line() {
    let file = File::new(&good());
    let output = portcullis(&["check", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn check_says_what_sessions_in_cookies_cannot_promise() {
    let with = |scopes: &str, session: &str| {
        File::new(&format!(
            "\
public_url: http://localhost:8080
allow_inline_secrets: true
listeners: [ {{ address: '127.0.0.1:8080' }} ]
iam: {{ issuer: 'http://127.0.0.1:8081', audience: a, client: {{ id: desk, scopes: [{scopes}] }} }}
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ]{session} }}
upstreams: {{ bff: {{ servers: ['127.0.0.1:3000'], auth: {{ mode: IAM }} }} }}
routes: [ {{ path: /desk, accept: [session], upstream: bff }} ]
"
        ))
    };
    let redis = ", store: { redis: { url: 'redis://:hunter2@127.0.0.1' } }";
    for (scopes, session, notes) in
        [("openid, offline_access", "", 1), ("openid", "", 0), ("openid, offline_access", redis, 0)]
    {
        let file = with(scopes, session);
        let output = portcullis(&["check", "-c", file.path()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        assert_eq!(printed.matches("note: session.store: cookie").count(), notes, "{printed}");
        assert_eq!(printed.lines().count(), 1 + notes, "{printed}");
    }
}

#[test]
fn a_missing_file_is_said_plainly() {
    let output = portcullis(&["check", "--config", "/nowhere/gateway.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("/nowhere/gateway.yaml"), "{}", text(&output.stderr));
}

#[test]
fn generated_keys_are_ready_for_use() {
    let session = portcullis(&["keys", "generate", "session"]);
    assert_eq!(text(&session.stdout).trim().len(), 44);
    assert_ne!(session.stdout, portcullis(&["keys", "generate", "session"]).stdout);
    let issuer = text(&portcullis(&["keys", "generate", "issuer"]).stdout);
    assert!(issuer.starts_with("-----BEGIN PRIVATE KEY-----"), "{issuer}");
    assert!(jsonwebtoken::EncodingKey::from_ed_pem(issuer.as_bytes()).is_ok());
}

#[test]
fn the_schema_is_the_one_that_is_shipped() {
    let printed: serde_json::Value =
        serde_json::from_slice(&portcullis(&["schema"]).stdout).unwrap();
    let shipped = include_str!("../../conf/gateway.schema.json");
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(shipped).unwrap());
}

#[test]
fn completions_and_help_are_there_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = portcullis(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 500, "{shell}");
    }
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["explain", "--help"],
        &["policy", "--help"],
        &["policy", "import", "--help"],
        &["policy", "diff", "--help"],
        &["keys", "--help"],
        &["keys", "generate", "--help"],
        &["schema", "--help"],
        &["completions", "--help"],
        &["--version"],
    ] {
        let output = portcullis(command);
        assert!(output.status.success() && !output.stdout.is_empty(), "{command:?}");
    }
    assert_eq!(portcullis(&["serve"]).status.code(), Some(2));
}

#[test]
fn a_port_that_is_taken_is_said_and_not_waited_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = File::new(&good().replace("127.0.0.1:8080'", &format!("127.0.0.1:{port}'")));
    let output = portcullis(&["run", "--config", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stderr);
    assert!(printed.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{printed}");
}

/// What `check --connect` says of a gateway's configuration, and its exit code.
async fn connect(gateway: &Gateway, change: impl Fn(&str) -> String) -> (String, i32) {
    let file = gateway.file().with_file_name("other.yaml");
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    std::fs::write(&file, change(&text)).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "--connect", "--config"])
        .arg(&file)
        .envs(gateway.secrets.clone())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (said + &String::from_utf8_lossy(&output.stderr), output.status.code().unwrap())
}

#[tokio::test]
async fn check_connect_asks_everybody() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    let (told, exit) = connect(&gateway, str::to_owned).await;
    let server = core.address.to_string();
    assert!(
        told.contains("ok    iam.issuer, keys: ") && told.contains("keys that can be used"),
        "{told}"
    );
    assert!(told.contains(&format!("ok    upstreams.core, {server}: connects")), "{told}");
    assert_eq!(exit, 0, "{told}");

    let nobody = format!("127.0.0.1:{}", free_port());
    let (told, exit) = connect(&gateway, |text| text.replace(&server, &nobody)).await;
    assert!(told.contains(&format!("FAIL  upstreams.core, {nobody}: ")), "{told}");
    assert_eq!(exit, 69, "{told}");
    let away = format!("http://{nobody}");
    let (told, exit) = connect(&gateway, |text| text.replace(&issuer.url, &away)).await;
    assert!(told.contains("FAIL  iam.issuer, keys: ") && exit == 69, "{told}");
    let (told, exit) = connect(&gateway, |text| text.replace("iam:", "iamb:")).await;
    assert!(told.contains("iamb") && !told.contains("ok  ") && exit == 78, "{told}");
}

/// Sound, but for what a test changes.
const SECRETS: &str = "\
public_url: http://localhost:8080
listeners: [ { address: '127.0.0.1:8080' } ]
allow_inline_secrets: true
iam: { issuer: http://127.0.0.1:8081, audience: a, client: { id: desk, secret: { env: TEST_CLIENT_SECRET } } }
session: { keys: [ SESSION ] }
sts: { issuer: { iss: http://localhost:8080, keys: [ ISSUER ] } }
organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: {} }
upstreams: { core: { servers: ['SERVER'], auth: { mode: STS, audience: one-core } } }
routes: [ { path: /a, upstream: core, accept: [session] } ]
";

#[test]
fn r25_no_secret_has_a_default_and_no_check_is_off_by_accident() {
    let of = |session: &str, issuer: &str, server: &str| {
        let text = SECRETS
            .replace("SESSION", session)
            .replace("ISSUER", issuer)
            .replace("'SERVER'", server);
        let file = File::new(&text);
        let output = portcullis(&["check", "--config", file.path()]);
        (output.status.code(), text_of(&output))
    };
    let (key, issuer, server) =
        ("{ env: TEST_SESSION_KEY }", "{ env: TEST_STS_KEY }", "'127.0.0.1:3000'");
    let (code, printed) = of(key, issuer, server);
    assert_eq!(code, Some(0), "{printed}");
    let tls = "'core.internal:3000'], tls: { server_name: '' }, retries: 0, timeouts: { connect: 1s }, x: [";
    let refused = [
        ("no session key", of("", issuer, server), "session.keys"),
        ("an empty one", of("{ env: PORTCULLIS_TEST_NOTHING }", issuer, server), "session.keys[0]"),
        ("zeros", of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", issuer, server), "weak"),
        ("a short one", of("c2VjcmV0", issuer, server), "session.keys[0]"),
        ("a word", of("secret", issuer, server), "session.keys[0]"),
        ("no issuer key", of(key, "", server), "sts.issuer.keys"),
        ("no PEM", of(key, "secret", server), "sts.issuer.keys[0]"),
        ("plain text to another machine", of(key, issuer, "'core.internal:3000'"), "plain HTTP"),
        ("TLS to nobody by name", of(key, issuer, tls), "upstreams.core.tls.server_name"),
    ];
    for (name, (code, printed), word) in refused {
        assert_eq!(code, Some(78), "{name}: {printed}");
        assert!(printed.contains(word), "{name}: {printed}");
        assert!(
            !printed.contains("c2VjcmV0") && !printed.contains("AAAAAAAA"),
            "{name}: {printed}"
        );
    }
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}
