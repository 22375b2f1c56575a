use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;

use crate::config::parse;

/// Every kind of secret, each with a text that is found nowhere else.
const EVERY_SECRET: &str = "
public_url: https://desk.example.com
listeners: [ { address: '127.0.0.1:8443' } ]
allow_inline_secrets: true
iam:
  issuer: https://iam.example.com
  audience: one
  client: { id: desk, secret: SECRET-client }
session:
  keys: [ MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= ]
  store: { redis: { url: 'redis://user:SECRET-redis@127.0.0.1:6379/0' } }
sts:
  exchange:
    url: https://sts.example.com/token?code=SECRET-query
    client: { id: desk, secret: { env: STS_SECRET } }
    parameters: { extra: SECRET-parameter, organisation: '{organisation}' }
    issuer: https://sts.example.com
    jwks: https://sts.example.com/jwks
technical_users:
  robot: { client: { id: robot, secret: SECRET-robot } }
upstreams:
  core:
    servers: ['127.0.0.1:3000']
    auth: { mode: UNSAFE_STATIC, static_token: SECRET-static-token-of-core }
organisations: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { name: Acme } }
system_roles: { reader: [CREDENTIAL_LIST] }
iam_roles: { admin: { '*': [reader] } }
perimeter: { acknowledge: [core], allow_clients: [10.0.0.0/8] }
routes:
  - { path: '/a/{id}', methods: [GET], roles: [admin], cross_organisation: true, timeouts: { read: 1500ms }, upstream: core }
logs: { audit: { file: /var/log/audit.log }, audit_chain: { key: SECRET-chain-key-0123456789abcdef0123456789abcdef } }
";

fn shown(text: &str) -> String {
    let variable = |name: &str| (name == "STS_SECRET").then(|| "SECRET-variable".to_owned());
    let loaded = parse(text, Path::new("gateway.yaml"), &variable).unwrap();
    serde_yaml::to_string(&loaded.config.shown()).unwrap()
}

#[test]
fn no_secret_is_shown_and_where_it_comes_from_is() {
    let shown = shown(EVERY_SECRET);
    assert!(!shown.contains("SECRET-"), "{shown}");
    assert!(!shown.contains("MDEyMz"), "{shown}");
    for line in [
        "secret: (hidden)",
        "- (hidden)",
        "url: (hidden)",
        "url: https://sts.example.com/token?(hidden)",
        "secret: '(hidden: env STS_SECRET)'",
        "extra: (hidden)",
        "static_token: (hidden)",
        "key: (hidden)",
        "read: 1500ms",
        "idle_timeout: 30m",
        "header_bytes: 32KiB",
        "- 10.0.0.0/8",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(!shown.contains("null") && !shown.contains("[]"), "{shown}");
}

/// What is shown is a configuration again, and the same one.
#[test]
fn what_is_shown_can_be_read_and_means_the_same() {
    for file in ["conf/minimal.yaml", "conf/demo.yaml", "conf/gateway.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let Ok(loaded) = crate::config::load_from(&path, &Everything) else {
            panic!("{file}: {}", crate::config::load_from(&path, &Everything).unwrap_err());
        };
        let mut shown = loaded.config.shown();
        // Files of routes are read into `routes` already.
        let top = shown.as_mapping_mut().unwrap();
        top.remove("include");
        top.remove("overlay");
        top.insert("allow_inline_secrets".into(), true.into());
        // The default, which a public route may not write down.
        for route in top["routes"].as_sequence_mut().unwrap() {
            let route = route.as_mapping_mut().unwrap();
            if route["access"] == "public" {
                route.remove("accept");
            }
        }
        let text = serde_yaml::to_string(&shown).unwrap();
        let text = restored(&text);
        let again = crate::config::parse_from(&text, &path, &Everything)
            .unwrap_or_else(|faults| panic!("{file}: {faults}\n{text}"));
        let (mut before, mut after) = (loaded.config, again.config);
        for config in [&mut before, &mut after] {
            config.allow_inline_secrets = true;
            config.include.clear();
            config.overlay.clear();
        }
        assert_eq!(format!("{before:#?}"), format!("{after:#?}"), "{file}");
    }
}

/// `(hidden: env NAME)` as it was written.
fn restored(text: &str) -> String {
    let mut text = text.to_owned();
    for (kind, from) in [("env", "'(hidden: env "), ("file", "'(hidden: file ")] {
        while let Some(at) = text.find(from) {
            let end = at + text[at..].find(")'").unwrap();
            let name = text[at + from.len()..end].to_owned();
            text.replace_range(at..end + 2, &format!("{{ {kind}: '{name}' }}"));
        }
    }
    text
}

/// Every file and variable is there, and holds a good key.
struct Everything;

impl crate::config::Surroundings for Everything {
    fn file(&self, path: &Path, longest: usize) -> std::io::Result<Vec<u8>> {
        match std::fs::read(path) {
            Ok(content) if content.len() <= longest => Ok(content),
            _ => Ok(key(&path.to_string_lossy()).into()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        Some(key(name))
    }
}

/// Issuers sign with a key pair, whatever the variable or file is called that holds it.
fn key(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.contains("issuer") || name.contains("sts") {
        crate::sts::issuer::generate().unwrap().expose_secret().to_owned()
    } else {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        STANDARD.encode(digest)
    }
}
