//! Where the commands of a document are run: a directory with a gateway, its neighbours, and the
//! files that an operator has by then. The only programs there are those of [`super::commands`].

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::commands;
use crate::{Directory, free_port, printed, read, top};

pub(super) const ORGANISATION: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const ISSUER: &str = "https://keycloak.example.com/realms/one";
/// Absolute paths of documents, which are below the place here.
const ROOTS: [&str; 4] =
    ["/run/secrets", "/etc/portcullis", "/usr/local/bin", "/var/lib/portcullis"];

pub(super) struct Place {
    pub(super) directory: Directory,
    neighbours: Vec<Child>,
    /// What stands in documents, and what it is here.
    pub(super) moved: Vec<(String, String)>,
    pub(super) ports: [u16; 2],
}

/// The first configuration of README.
pub(super) fn example() -> String {
    let readme = read("README.md");
    readme.split("```yaml\n").nth(1).and_then(|it| it.split("```").next()).unwrap().to_owned()
}

impl Place {
    /// Secrets and certificates, and nobody who runs.
    pub(super) fn with_files() -> Self {
        let place = Self {
            directory: Directory::new(),
            neighbours: Vec::new(),
            moved: Vec::new(),
            ports: [free_port(), free_port()],
        };
        let key = rcgen::generate_simple_self_signed(["desk.example.com".to_owned()]).unwrap();
        place.write("etc/portcullis/tls.crt", &key.cert.pem());
        place.write("etc/portcullis/tls.key", &key.signing_key.serialize_pem());
        place.write("run/secrets/session", &printed(&["keys", "generate", "session"]));
        place.write("run/secrets/sts.pem", &printed(&["keys", "generate", "issuer"]));
        place.write("run/secrets/iam-client", "desk");
        place.write("run/secrets/redis-url", "rediss://:password@redis.example.com:6379/0");
        place
    }

    /// With a gateway that serves, and records of what it served.
    pub(super) fn new() -> Self {
        let mut place = Self::with_files();
        let iam = place.neighbour(&["iam"]);
        // It could not read the gateway's keys, whose name leads elsewhere.
        let core = place.neighbour(&["core", "--unsafe-none"]);
        let [port, _] = place.ports;
        place.moved = vec![
            (ISSUER.to_owned(), iam.clone()),
            ("core.internal:3000".to_owned(), core.trim_start_matches("http://").to_owned()),
            ("0.0.0.0:8443".to_owned(), format!("127.0.0.1:{port}")),
        ];
        place.write("gateway.yaml", &place.gateway());
        place.write("alice.json", r#"{"sub": "alice", "roles": ["organization_admin"]}"#);
        place.write("bob.json", r#"{"sub": "bob", "roles": ["organization_reader"]}"#);
        place.write("new.json", "{}");
        place.write(
            "cases.yaml",
            "cases:\n  - { who: { roles: [organization_admin] }, request: GET /api/credential/v1, \
             expect: forward }\n  - { who: { roles: [organization_reader] }, request: POST \
             /api/credential/v1, expect: forward }\n",
        );
        place.link("conf", &top().join("conf"));
        place.link("target/release/portcullis", Path::new(env!("CARGO_BIN_EXE_portcullis")));
        for name in ["compose.yaml", "env.example", "gateway.yaml", "keycloak-realm.json"] {
            place.write(&format!("compose/{name}"), &read(&format!("conf/deploy/compose/{name}")));
        }
        fs::create_dir_all(place.path().join("usr/local/bin")).unwrap();
        commands::equip(&place);
        let begin = format!(
            "portcullis run --config gateway.yaml\n\
             for user in alice bob; do\n\
             curl -fsS {iam}/demo/token -H 'content-type: application/json' \
             -d \"{{\\\"user\\\":\\\"$user\\\",\\\"password\\\":\\\"$user\\\"}}\" | jq -r .access_token > token-$user\n\
             curl -sS -o list.json https://desk.example.com/api/credential/v1?organisationId={ORGANISATION} \
             -H \"authorization: Bearer $(cat token-$user)\" -H \"x-request-id: of-$user\"\n\
             done\n\
             cp token-alice token\n"
        );
        let (good, said) = place.run("the beginning", &begin, "");
        assert!(good, "{said}");
        place
    }

    fn gateway(&self) -> String {
        let [_, admin] = self.ports;
        let root = self.path().display();
        let more = format!(
            "admin: {{ address: '127.0.0.1:{admin}' }}\n\
             server: {{ grace: 1s, upgrade_socket: {root}/upgrade/socket }}\n\
             logs: {{ format: json, access: {{ file: {root}/access.log }}, audit: {{ file: \
             {root}/audit.log }}, audit_chain: {{}} }}\n"
        );
        self.moved(&example()) + &more
    }

    /// One of the demo's stand-ins; where it is.
    fn neighbour(&mut self, part: &[&str]) -> String {
        let Some(demo) = option_env!("CARGO_BIN_EXE_portcullis-demo") else {
            panic!("this test is built with the feature `demo` (--all-features)");
        };
        let mut child = Command::new(demo)
            .args(part)
            .args(["--port", "0", "--gateway-url", "https://desk.example.com"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        // A pipe that nobody empties would stop it some day.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        self.neighbours.push(child);
        line.trim().split_once(": ").unwrap().1.to_owned()
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory.0
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        self.directory.put(name, content);
    }

    fn link(&self, name: &str, to: &Path) {
        let at = self.path().join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, at).unwrap();
    }

    /// A text of a document, for this place.
    pub(super) fn moved(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (there, here) in &self.moved {
            text = text.replace(there, here);
        }
        for root in ROOTS {
            text = text.replace(root, &format!("{}{root}", self.path().display()));
        }
        text
    }

    /// The other way round: what a program says here, as a document has it.
    pub(super) fn as_documented(&self, said: &str) -> String {
        let mut said = said.replace(&*self.path().to_string_lossy(), "");
        for (there, here) in &self.moved {
            said = said.replace(here, there);
        }
        said
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.neighbours {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Gateways are started by scripts, and start each other; all of them work in this directory.
        let place = self.path().canonicalize().unwrap_or_else(|_| self.path().to_owned());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let here = fs::read_link(entry.path().join("cwd"));
            if here.is_ok_and(|it| it.starts_with(&place)) {
                let process = entry.file_name();
                let _ =
                    Command::new("kill").arg("-KILL").arg(process).stderr(Stdio::null()).status();
            }
        }
    }
}
