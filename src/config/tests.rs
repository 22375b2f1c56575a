use std::{collections::HashMap, fs};

use proptest::prelude::*;

use super::*;

/// A session key as `portcullis keys generate session` makes them.
pub(super) const SESSION_KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const ISSUER_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";

/// Secrets by the last part of their path; other files by name from where they really are.
pub(super) struct Given(HashMap<String, String>);

impl Given {
    pub(super) fn new() -> Self {
        let mut files = HashMap::new();
        for (at, name) in ["session-key", "session-1", "session-2"].iter().enumerate() {
            let key = SESSION_KEY.replacen('q', &at.to_string(), 1);
            files.insert((*name).to_owned(), key);
        }
        for name in ["issuer-key", "sts-1.pem", "sts-2.pem"] {
            files.insert(name.to_owned(), ISSUER_KEY.replace("AAAA", name));
        }
        for name in ["secret", "iam-client", "sts-client"] {
            files.insert(name.to_owned(), format!("{name}-hush\n"));
        }
        Self(files)
    }

    pub(super) fn with(mut self, name: &str, content: &str) -> Self {
        self.0.insert(name.to_owned(), content.to_owned());
        self
    }
}

impl Surroundings for Given {
    fn file(&self, path: &Path, longest: usize) -> io::Result<Vec<u8>> {
        let name = path.file_name().unwrap().to_str().unwrap();
        match self.0.get(name) {
            Some(content) => Ok(content.clone().into_bytes()),
            None => System.file(path, longest),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        // The demo's secrets are variables, since it makes them anew at every start.
        match name {
            "SECRET" | "DEMO_IAM_CLIENT_SECRET" => Some("hush".to_owned()),
            "REDIS_URL" => Some("redis://127.0.0.1".to_owned()),
            "DEMO_SESSION_KEY" => Some(SESSION_KEY.to_owned()),
            "DEMO_STS_KEY" => Some(ISSUER_KEY.to_owned()),
            _ => None,
        }
    }
}

pub(super) fn parse_given(text: &str) -> Result<Loaded, Faults> {
    parse_from(text, Path::new("gateway.yaml"), &Given::new())
}

/// What is wrong with a text, one fault a line.
pub(super) fn faults(text: &str) -> String {
    parse_given(text).map(|_| ()).unwrap_err().to_string()
}

/// A configuration without fault, with keys added or replaced; a replaced key is whole.
pub(super) fn sound(changes: &str) -> String {
    const BASE: &[(&str, &str)] = &[
        ("public_url", "https://desk.example.com"),
        ("listeners", "[{ address: '127.0.0.1:8443' }]"),
        ("iam", "{ issuer: 'https://iam.example.com', audience: one, client: { id: desk } }"),
        ("session", "{ keys: [{ file: session-key }] }"),
        ("sts", "{ issuer: { iss: one, keys: [{ file: issuer-key }] } }"),
        ("system_roles", "{ reader: [CREDENTIAL_LIST] }"),
        ("organisations", "{ 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: {} }"),
        ("iam_roles", "{ user: { '*': [reader] } }"),
        ("upstreams", "{ core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: one } } }"),
        ("routes", "[{ path: /a, upstream: core }]"),
    ];
    let mut text = changes.to_owned();
    for (key, value) in BASE {
        let given = changes.lines().any(|line| line.starts_with(&format!("{key}:")));
        if !given {
            text.extend([*key, ": ", *value, "\n"]);
        }
    }
    text
}

#[test]
fn the_base_of_these_tests_has_no_fault() {
    let loaded = parse_given(&sound("")).unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(loaded.config.iam.unwrap().issuer.as_str(), "https://iam.example.com");
    assert_eq!(loaded.config.admin.address.to_string(), "127.0.0.1:9090");
    assert_eq!(loaded.config.limits.header_bytes.bytes(), 32 * 1024);
}

#[test]
fn every_default_is_read_by_its_own_reader() {
    assert_eq!(Schemas::of::<Config>().1, Vec::<String>::new());
}

#[test]
fn the_schema_file_is_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/gateway.schema.json");
    let kept = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let is_current = kept.is_some_and(|kept: serde_json::Value| kept == schema());
    assert!(is_current, "run: portcullis schema > conf/gateway.schema.json");
}

#[test]
fn every_example_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Those of `patterns` are driven from end to end by `tests/gateway/patterns.rs`.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
        if is_yaml && text.lines().any(|line| line.starts_with("public_url:")) {
            found += 1;
            let loaded = parse_from(&text, &path, &Given::new());
            assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
        }
    }
    assert!(found >= 2, "gateway.yaml and minimal.yaml at least, found {found}");
}

#[test]
fn the_shipped_routes_of_core_load_whole() {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/core-1.74.2-routes.yaml");
    let loaded = parse_given(&sound(&format!("include: [{include}]\nroutes: []\n")));
    assert!(loaded.as_ref().is_ok_and(|loaded| loaded.config.routes.len() > 100), "{loaded:?}");
}

#[test]
fn the_shipped_perimeter_loads_whole_before_a_core_that_checks_nothing() {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/core-1.74.2-perimeter-routes.yaml");
    let with = |mode: &str| {
        sound(&format!(
            "include: [{include}]\nroutes: []\nsts: null\nperimeter: {{ acknowledge: [core], \
             allow_clients: [192.0.2.0/24] }}\nupstreams: {{ core: {{ servers: ['127.0.0.1:1'], \
             auth: {{ mode: {mode} }} }} }}\n"
        ))
    };
    for mode in ["UNSAFE_NONE", "UNSAFE_STATIC, static_token: { file: secret }"] {
        let loaded = parse_given(&with(mode));
        assert!(loaded.as_ref().is_ok_and(|it| it.config.routes.len() > 100), "{loaded:?}");
    }
    let trusted = format!("include: [{include}]\nroutes: []\n");
    assert!(faults(&sound(&trusted)).contains("has a lookup, which is for upstreams with"));
}

#[test]
fn the_shipped_routes_load_where_no_browser_logs_in() {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/core-1.74.2-routes.yaml");
    let rest = format!("session: null\ninclude: [{include}]\nroutes: []\n");
    let loaded = parse_given(&sound(&rest));
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    // Nothing is left to accept without a provider and a token service.
    let found = faults(&sound(&format!("{rest}iam: null\nsts: null\n")));
    let sessions = found.lines().filter(|line| line.contains("takes sessions"));
    let [one] = sessions.collect::<Vec<_>>()[..] else { panic!("one line a file: {found}") };
    assert!(one.contains("routes[3].accept") && one.contains("more routes of this file"), "{one}");
}

#[test]
fn the_readmes_example_loads() {
    let readme = include_str!("../../README.md");
    let yaml = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let given = Given::new().with("session", SESSION_KEY).with("sts.pem", ISSUER_KEY);
    let loaded = parse_from(yaml, Path::new("README.md"), &given);
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}

#[test]
fn every_key_is_known_to_the_reader() {
    let text = include_str!("testdata/every-key.yaml");
    let given = Given::new().with("routes.yaml", "[]").with("overlay.yaml", "[]");
    let mut tree = Faults::default();
    let root = yaml::parse("every-key.yaml", text, &mut tree).unwrap();
    let mut cx = Reader::new(Path::new(""), &given);
    cx.inline_secrets = true;
    let config = Config::read(&root, &mut cx);
    assert!(config.is_some(), "{}", cx.faults);
    // The other way round: the example names every key of every section.
    let schema = schema();
    for (section, described) in schema["$defs"].as_object().unwrap() {
        for key in described["properties"].as_object().unwrap().keys() {
            let named = text.contains(&format!("{key}:"));
            assert!(named, "{section}.{key} is missing in testdata/every-key.yaml");
        }
    }
}

/// Each file beside the faults that it must give.
#[test]
fn invalid_files_give_the_expected_faults() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/testdata/invalid");
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found += 1;
            let name = path.file_name().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            let faults = parse_from(&text, Path::new(name), &Given::new()).map(|_| ());
            assert_eq!(format!("{}\n", faults.unwrap_err()), expected, "{}", name.display());
        }
    }
    assert!(found >= 4, "found {found}");
}

#[test]
fn secrets_come_from_files_and_variables_and_never_show() {
    let client = |secret: &str| {
        format!(
            "iam: {{ issuer: 'https://i.example', audience: a, client: {{ id: d, secret: {secret} }} }}\n"
        )
    };
    for (secret, expected) in [("{ file: secret }", "secret-hush"), ("{ env: SECRET }", "hush")] {
        let loaded = parse_given(&sound(&client(secret))).unwrap();
        assert!(!format!("{loaded:?}").contains("hush"));
        let client = loaded.config.iam.unwrap().client.unwrap();
        assert_eq!(client.secret.unwrap().expose(), expected);
    }
    for (secret, words) in [
        ("hush", "must not stand here"),
        ("[hush]", "must be { file: PATH }"),
        ("{ text: hush }", "unknown key"),
        ("{ env: NOWHERE }", "is not set"),
        ("{ file: nowhere }", "cannot be read"),
    ] {
        let found = faults(&sound(&client(secret)));
        assert!(found.contains(words) && !found.contains("hush"), "{found}");
    }
    let inline = format!("allow_inline_secrets: true\n{}", client("hush"));
    let loaded = parse_given(&sound(&inline)).unwrap();
    assert!(!format!("{loaded:?}").contains("hush"), "not even the tree keeps it");
    let empty = Given::new().with("secret", "\n");
    let found = parse_from(&sound(&client("{ file: secret }")), Path::new("g.yaml"), &empty);
    assert!(found.unwrap_err().to_string().contains("the secret is empty"));
}

#[test]
fn what_is_not_available_is_refused_and_not_ignored() {
    let text = include_str!("testdata/every-key.yaml");
    let given = Given::new().with("routes.yaml", "[]").with("overlay.yaml", "[]");
    let found = parse_from(text, Path::new("g.yaml"), &given).unwrap_err();
    let refused: Vec<_> = found
        .iter()
        .filter(|fault| fault.message.contains("is not available in this version"))
        .map(|fault| fault.key_path.as_str())
        .collect();
    assert_eq!(refused, ["iam.introspection"]);
}

#[test]
fn a_file_that_is_not_there_is_one_fault() {
    let found = load(Path::new("/nowhere/gateway.yaml")).unwrap_err().to_string();
    assert!(found.starts_with("/nowhere/gateway.yaml:1:1: cannot be read: "), "{found}");
}

#[test]
fn one_faulty_section_hides_no_fault_of_another() {
    let text = sound(
        "iam: { issuer: nonsense }\nlisteners: []\nroutes: [{ path: wrong, upstream: core }, \
         { path: /a, upstream: cor }]\n",
    );
    let found = faults(&text);
    for expected in [
        "iam.issuer: ",
        "iam.audience: is missing",
        "listeners: names no listener",
        "routes[0].path: `wrong` must begin with `/`",
        "routes[1].upstream: unknown upstream `cor`; did you mean `core`?",
    ] {
        assert!(found.contains(expected), "{expected} is missing in {found}");
    }
    assert_eq!(found.lines().count(), 5, "and nothing that only follows from them: {found}");
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,200}") {
        let _ = parse_given(&text);
    }

    /// Lines of a good file, some of them lost, doubled or cut.
    #[test]
    fn any_damage_is_survived(edits in proptest::collection::vec((0_usize..140, 0_usize..4, 0_usize..60), 0..8)) {
        let whole = include_str!("testdata/every-key.yaml");
        let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        for (at, what, column) in edits {
            let at = at % lines.len();
            match what {
                0 => _ = lines.remove(at),
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at] = lines[at].chars().take(column).collect(),
                _ => lines[at] = lines[at].chars().skip(column).collect(),
            }
        }
        prop_assert!(parse_given(&lines.join("\n")).is_err());
    }
}
