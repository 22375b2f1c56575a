use crate::config::tests::{faults, parse_given, sound};

const UPSTREAMS: &str =
    "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: UNSAFE_NONE } } }\n";
const PERIMETER: &str = "perimeter: { acknowledge: [core], allow_clients: [192.0.2.0/24] }\n";
const ROUTES: &str = "routes: [{ path: /api/a, methods: [GET], permissions: [CREDENTIAL_LIST], \
                      organisation: { query: organisationId }, upstream: core }]\n";

/// A configuration with an unsafe upstream that has no fault, but for these lines.
fn with(lines: &[&str]) -> String {
    let mut text = lines.concat();
    for (key, default) in
        [("upstreams:", UPSTREAMS), ("perimeter:", PERIMETER), ("routes:", ROUTES)]
    {
        if !lines.iter().any(|line| line.starts_with(key)) {
            text.push_str(default);
        }
    }
    sound(&text)
}

fn route(keys: &str) -> String {
    ROUTES.replace("methods: [GET]", &format!("methods: [GET], {keys}"))
}

#[test]
fn the_base_of_these_tests_has_no_fault() {
    for mode in ["UNSAFE_NONE", "UNSAFE_STATIC, static_token: { file: secret }"] {
        let upstreams = UPSTREAMS.replace("UNSAFE_NONE", mode);
        let loaded = parse_given(&with(&[&upstreams]));
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

/// Changed lines, and the one fault that they are.
#[test]
fn each_way_to_be_unsafe_by_accident_is_one_message() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["perimeter: { acknowledge: [], allow_clients: [192.0.2.0/24] }\n"],
            "upstreams.core.auth.mode",
            "UNSAFE_NONE: whoever reaches this upstream may do everything there",
        ),
        (
            &["perimeter: { acknowledge: [core, cor], allow_clients: [192.0.2.0/24] }\n"],
            "perimeter.acknowledge[1]",
            "unknown upstream `cor`; did you mean `core`?",
        ),
        (
            &["perimeter: { acknowledge: [core, core], allow_clients: [192.0.2.0/24] }\n"],
            "perimeter.acknowledge[1]",
            "twice",
        ),
        (
            &[
                "perimeter: { acknowledge: [core, bff], allow_clients: [192.0.2.0/24] }\n",
                "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: UNSAFE_NONE } }, \
                 bff: { servers: ['127.0.0.1:2'], auth: { mode: IAM } } }\n",
            ],
            "perimeter.acknowledge[1]",
            "`bff` has no UNSAFE_ mode",
        ),
        (&["perimeter: { acknowledge: [core] }\n"], "perimeter.allow_clients", "is missing"),
        (
            &["perimeter: { acknowledge: [core], allow_clients: [] }\n"],
            "perimeter.allow_clients",
            "nobody could come in",
        ),
        (
            &["perimeter: { acknowledge: [core], allow_clients: [192.0.2.0/24], probe: \
               ['http://desk.example.com:443/health'] }\n"],
            "perimeter.probe[0]",
            "is this gateway itself",
        ),
        (
            &["perimeter: { acknowledge: [core], allow_clients: [192.0.2.0/24], probe_interval: \
               0s }\n"],
            "perimeter.probe_interval",
            "longer than zero",
        ),
        (&["logs: { audit: off }\n"], "logs.audit", "perimeter.audit is required"),
        (&["enforce: false\n"], "enforce", "`core` (UNSAFE_NONE) refuses nobody"),
        (
            &["upstreams: { core: { servers: ['127.0.0.1:1'], enforce: false, auth: { mode: \
               UNSAFE_NONE } } }\n"],
            "upstreams.core.enforce",
            "lets every caller pass",
        ),
        (
            &["upstreams: { core: { servers: ['192.0.2.7:1'], auth: { mode: UNSAFE_NONE } } }\n"],
            "upstreams.core.servers[0]",
            "is plain HTTP to another machine",
        ),
        (
            &[
                "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: UNSAFE_STATIC, \
               static_token: a b } } }\n",
                "allow_inline_secrets: true\n",
            ],
            "upstreams.core.auth.static_token",
            "no bearer token has",
        ),
    ];
    for (lines, key_path, words) in cases {
        let found = faults(&with(lines));
        let one = found.lines().count() == 1;
        assert!(one && found.contains(&format!(": {key_path}: ")), "{lines:?}: {found}");
        assert!(found.contains(words), "{lines:?}: {found}");
    }
}

#[test]
fn each_way_to_open_a_route_by_accident_is_one_message() {
    let public =
        |path: &str| format!("routes: [{{ path: '{path}', access: public, upstream: core }}]\n");
    let cases = [
        (route("enforce: false"), "enforce", "refuses nobody"),
        (public("/api/a"), "access", "takes in /api,"),
        (public("/{*rest}"), "access", "takes in /api,"),
        (public("/{one}/a"), "access", "takes in /api,"),
        (public("/a{one}/a"), "access", "takes in /api,"),
        (public("/vc-api/credentials/issue"), "access", "takes in /vc-api,"),
        (ROUTES.replace("/api/a", "'/api/{*rest}'"), "path", "a route for each operation"),
        (
            ROUTES.replace("permissions: [CREDENTIAL_LIST], ", ""),
            "",
            "asks its callers for nothing",
        ),
        (
            ROUTES.replace("{ query: organisationId }", "session"),
            "organisation",
            "keeps no organisations apart",
        ),
        (
            ROUTES.replace("organisation: { query: organisationId }, ", ""),
            "organisation",
            "keeps no organisations apart",
        ),
        (
            ROUTES.replace("{ query: organisationId }", "{ header: x-organisation }"),
            "organisation",
            "keeps no organisations apart",
        ),
        (route("accept: [app]"), "accept", "lets nobody in"),
    ];
    for (routes, key, words) in cases {
        let found = faults(&with(&[&routes]));
        let path =
            if key.is_empty() { ": routes[0]: ".into() } else { format!(": routes[0].{key}: ") };
        assert!(found.lines().count() == 1 && found.contains(&path), "{routes}: {found}");
        assert!(found.contains(words), "{routes}: {found}");
    }
    for routes in [
        public("/ssi/{*rest}"),
        public("/.well-known/{*rest}"),
        public("/health"),
        public("/apis"),
        ROUTES.replace("organisation: { query: organisationId }", "cross_organisation: true"),
        ROUTES.replace("permissions: [CREDENTIAL_LIST]", "roles: [operator]"),
    ] {
        let loaded = parse_given(&with(&[&routes]));
        assert!(loaded.is_ok(), "{routes}: {}", loaded.unwrap_err());
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let upstreams = "upstreams: { core: { servers: ['core.example.com:1'], enforce: false, auth: { \
                     mode: UNSAFE_NONE } } }\n";
    let routes = "routes: [{ path: /api/a, access: public, enforce: false, upstream: core }]\n";
    let found = faults(&sound(&format!("enforce: false\n{upstreams}{routes}")));
    for expected in [
        "upstreams.core.auth.mode: UNSAFE_NONE",
        "perimeter: is missing",
        ": enforce: false lets",
        "upstreams.core.enforce: false lets",
        "upstreams.core.servers[0]: is plain HTTP",
        "routes[0].access: public takes in /api",
        "routes[0].enforce: false lets",
    ] {
        assert!(found.contains(expected), "{expected} is missing in {found}");
    }
    assert_eq!(found.lines().count(), 7, "{found}");
}

#[test]
fn who_may_act_where_has_to_be_known() {
    let routes = ROUTES.replace("permissions: [CREDENTIAL_LIST]", "roles: [operator]");
    let found = faults(&with(&[&routes, "iam_roles: {}\n"]));
    assert!(found.contains("routes[0].upstream: ") && found.contains("iam_roles"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
}
