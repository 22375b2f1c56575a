//! `portcullis policy`: a file of routes from a document, and the difference between the two.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::support::{free_port, gateway::secrets};

const SAMPLE: &str = include_str!("../../src/policy/testdata/openapi.yaml");

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).envs(secrets()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("portcullis-policy-{}-{}", std::process::id(), free_port());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const GATEWAY: &str = "\
public_url: http://localhost:8080
listeners: [ { address: '127.0.0.1:8080' } ]
iam: { issuer: 'http://127.0.0.1:8081', audience: a, client: { id: desk } }
session: { keys: [ { env: TEST_SESSION_KEY } ] }
sts: { issuer: { iss: 'http://localhost:8080', keys: [ { env: TEST_STS_KEY } ] } }
system_roles: { all: ['*'] }
organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: {} }
iam_roles: { user: { '*': [all] } }
upstreams:
  core: { servers: ['127.0.0.1:3000'], auth: { mode: STS, audience: one-core } }
  bff: { servers: ['127.0.0.1:3001'], auth: { mode: IAM } }
include: [core.yaml]
overlay: [overlay.yaml]
routes:
  - { path: '/{*rest}', accept: [session], upstream: bff }
";

/// A difference is told without looking at organisations, so the test does without them.
fn without_organisations(routes: &str) -> String {
    let lines = routes.lines().filter(|line| {
        !line.trim_start().starts_with("organisation:") && !line.starts_with("    - { body:")
    });
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// `policy diff` for these routes and overlay: exit code, standard output, standard error.
fn diff(routes: &str, overlay: &str, document: &str) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let config = folder.write("gateway.yaml", GATEWAY);
    folder.write("core.yaml", &without_organisations(routes));
    folder.write("overlay.yaml", overlay);
    let document = folder.write("openapi", document);
    let output = portcullis(&["policy", "diff", "--config", &config, &document]);
    let here = format!("{}/", folder.0.display());
    let told = |bytes: &[u8]| text(bytes).replace(&here, "");
    (output.status.code(), told(&output.stdout), told(&output.stderr))
}

#[test]
fn an_import_is_the_same_bytes_from_file_and_standard_input() {
    let folder = Folder::new();
    let path = folder.write("openapi.yaml", SAMPLE);
    let from_file = portcullis(&["policy", "import", &path]);
    assert_eq!(from_file.status.code(), Some(0), "{}", text(&from_file.stderr));
    assert_eq!(text(&from_file.stdout), include_str!("../../src/policy/testdata/routes.yaml"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "import", "-", "--upstream", "one"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(SAMPLE.as_bytes()).unwrap();
    let piped = text(&child.wait_with_output().unwrap().stdout);
    let expected = text(&from_file.stdout)
        .replace("upstream: core", "upstream: one")
        .replace("--upstream core openapi.yaml", "--upstream one -");
    assert_eq!(piped, expected);
}

#[test]
fn an_import_reads_a_running_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", SAMPLE.len());
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(SAMPLE.as_bytes()).unwrap();
        text(&request)
    });
    let url = format!("http://{address}/api-docs/openapi.json");
    let output = portcullis(&["policy", "import", "--from", &url]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(upstream.join().unwrap().starts_with("GET /api-docs/openapi.json HTTP/1.1\r\n"));
    let printed = text(&output.stdout);
    assert!(printed.contains(&format!("--upstream core --from {url}\n")), "{printed}");
    let rules = |text: &str| text.split_once("\nroutes:\n").unwrap().1.to_owned();
    assert_eq!(rules(&printed), rules(include_str!("../../src/policy/testdata/routes.yaml")));
}

#[test]
fn an_import_says_what_is_wrong() {
    let folder = Folder::new();
    let wrong = folder.write("wrong.yaml", "openapi: 2.0");
    let nowhere = folder.0.join("nowhere");
    for (arguments, code, words) in [
        (&[wrong.as_str()][..], 1, "wrong.yaml: is no OpenAPI document"),
        (&[nowhere.to_str().unwrap()], 1, "No such file"),
        (&["--from", "http://core.example.com/api-docs/openapi.json"], 1, "use https"),
        (&["--from", "ftp://127.0.0.1/"], 1, "neither http nor https"),
        (&["--from", "http://127.0.0.1:1/"], 1, "cannot be read"),
        (&[], 2, "OPENAPI"),
        (&[wrong.as_str(), "--from", "http://127.0.0.1/"], 2, "cannot be used with"),
    ] {
        let output = portcullis(&[&["policy", "import"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_difference_is_told_with_its_place_and_none_is_silence() {
    let imported = include_str!("../../src/policy/testdata/routes.yaml");
    assert_eq!(diff(imported, "[]", SAMPLE), (Some(0), String::new(), String::new()));
    let overlay = "\
- { path: /api/cache/v1, methods: [DELETE], permissions: [KEY_LIST], upstream: core }
- { path: /api/by-hand/v1, methods: [GET], permissions: [KEY_LIST], upstream: core }
";
    let (code, out, err) = diff(imported, overlay, SAMPLE);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    assert_eq!(
        out,
        "GET /api/by-hand/v1: no operation is like this rule (overlay.yaml:2)\n\
         DELETE /api/cache/v1: the rule asks for any of KEY_LIST, the document for any of \
         CACHE_DELETE (overlay.yaml:1)\n"
    );
}

#[test]
fn faults_come_before_differences() {
    let (code, out, err) = diff("routes: [ { path: /a, upstream: cor } ]\n", "[]", SAMPLE);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("core.yaml:1:") && err.contains("did you mean `core`?"), "{err}");
    let (code, out, err) = diff("[]", "[]", "[");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("openapi: is no OpenAPI document"), "{err}");
}

/// The document of Core lies beside the repository, and is no part of it.
#[test]
fn core_1_74_2_agrees_with_its_shipped_routes_and_three_changes_are_three_lines() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/core-openapi-1.74.2.json");
    let document = match fs::read_to_string(&path) {
        Ok(document) => document,
        Err(_) if std::env::var_os("PORTCULLIS_WITHOUT_CORE_DOCUMENT").is_some() => return,
        Err(error) => panic!(
            "{}: {error}; put it there, or set PORTCULLIS_WITHOUT_CORE_DOCUMENT to go without",
            path.display()
        ),
    };
    let shipped = include_str!("../../conf/core-1.74.2-routes.yaml");
    assert_eq!(diff(shipped, "[]", &document), (Some(0), String::new(), String::new()));
    let removed = "\
- path: /api/task/v1/run
  methods: [POST]
  accept: [session, iam, app]
  permissions: [TASK_CREATE]
  upstream: core
";
    assert!(shipped.contains(removed) && shipped.contains("permissions: [KEY_GENERATE_CSR]"));
    let changed = shipped
        .replace(removed, "")
        .replace("permissions: [KEY_GENERATE_CSR]", "permissions: [KEY_CREATE]");
    let added =
        "- { path: /api/key/v1/extra, methods: [GET], permissions: [KEY_LIST], upstream: core }";
    let (code, out, err) = diff(&changed, added, &document);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let lines: Vec<_> = out.lines().collect();
    let starts = [
        "GET /api/key/v1/extra: no operation",
        "POST /api/key/v1/{id}/generate-csr: the rule asks for any of KEY_CREATE, the document",
        "POST /api/task/v1/run: no route",
    ];
    assert_eq!(lines.len(), starts.len(), "{out}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}
