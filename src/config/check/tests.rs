use std::path::Path;

use crate::config::{
    parse_from,
    tests::{Given, SESSION_KEY, faults, parse_given, sound},
};

/// A change to a sound configuration, and what must be said about it: place by key path, words.
const FAULTS: &[(&str, &str, &str)] = &[
    ("listeners: []\n", "listeners", "names no listener"),
    (
        "listeners: [{ address: '127.0.0.1:1' }, { address: '127.0.0.1:1' }]\n",
        "listeners[1].address",
        "is taken by listeners[0]",
    ),
    ("listeners: [{ address: '0.0.0.0:1' }]\n", "listeners[0].address", "plaintext: true"),
    ("listeners: [{ address: '127.0.0.1:9090' }]\n", "admin.address", "is taken by listeners[0]"),
    (
        "listeners: [{ address: '127.0.0.1:1', tls: { certificate: c, key: k, client_certificate: required } }]\n",
        "listeners[0].tls.client_certificate",
        "client_ca",
    ),
    ("trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]\n", "trusted_proxies[1]", "believes everybody"),
    ("hosts: [other.example.com]\n", "hosts", "lacks desk.example.com"),
    ("limits: { headers: 0 }\n", "limits.headers", "at least 1"),
    ("limits: { header_timeout: 0s }\n", "limits.header_timeout", "longer than zero"),
    ("limits: { body_timeout: 0s }\n", "limits.body_timeout", "longer than zero"),
    (
        "iam: { issuer: 'http://iam.example.com', audience: a, client: { id: d } }\n",
        "iam.issuer",
        "iam.plaintext: true",
    ),
    (
        "iam: { issuer: 'https://iam.example.com', audience: '', client: { id: d } }\n",
        "iam.audience",
        "is empty",
    ),
    (
        "iam: { issuer: 'https://iam.example.com', audience: a, roles: roles, client: { id: d } }\n",
        "iam.roles",
        "JSON pointer",
    ),
    (
        "iam: { issuer: 'https://iam.example.com', audience: a, algorithms: [HS256], client: { id: d } }\n",
        "iam.algorithms[0]",
        "did you mean",
    ),
    ("iam: { issuer: 'https://iam.example.com', audience: a }\n", "routes[0].accept", "iam.client"),
    (
        "iam: { issuer: 'https://iam.example.com', audience: a, client: { id: d, authentication: client_secret_post } }\n",
        "iam.client.authentication",
        "needs secret",
    ),
    (
        "routes: [{ path: /a, upstream: core, methods: [GET], organisation: { body: /o } }]\n",
        "routes[0].organisation.body",
        "GET request has no body",
    ),
    (
        "routes: [{ path: /a, upstream: core, organisation: { header: x-o, inject: true } }]\n",
        "routes[0].organisation",
        "query and body only",
    ),
    (
        "routes: [{ path: /a, upstream: core, condition: 'claim.x == 1' }]\n",
        "routes[0].condition",
        "no variable",
    ),
    (
        "routes: [{ path: /a, upstream: core, access: public, cross_organisation: true }]\n",
        "routes[0].cross_organisation",
        "never be enforced",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, ejection: { failures: 0 } } }\n",
        "upstreams.core.ejection.failures",
        "at least 1",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, ejection: { time: 0s } } }\n",
        "upstreams.core.ejection.time",
        "longer than zero",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, ejection: { time: 10m } } }\n",
        "upstreams.core.ejection.max_time",
        "shorter than",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, ejection: { max_percent: 101 } } }\n",
        "upstreams.core.ejection.max_percent",
        "more than 100",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, retry_budget: { percent: 101 } } }\n",
        "upstreams.core.retry_budget.percent",
        "more than 100",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, connections: { per_server: 0 } } }\n",
        "upstreams.core.connections.per_server",
        "at least 1",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, slow_start: 2h } }\n",
        "upstreams.core.slow_start",
        "longer than 1h",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'http://core.example.com/o.json' } } }\n",
        "upstreams.core.openapi.url",
        "upstreams.core.plaintext: true",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'ftp://core.example.com/o.json' } } }\n",
        "upstreams.core.openapi.url",
        "http or https",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'https://core/o.json', interval: 0s } } }\n",
        "upstreams.core.openapi.interval",
        "longer than zero",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'https://core/o.json', timeout: 0s } } }\n",
        "upstreams.core.openapi.timeout",
        "longer than zero",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'https://core/o.json', size: 0 } } }\n",
        "upstreams.core.openapi.size",
        "at least 1",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: STS, audience: a }, openapi: { url: 'https://core/o.json', size: 5MiB } } }\n",
        "upstreams.core.openapi.size",
        "more than 4MiB",
    ),
    ("iam: null\n", "routes[0].accept", "no iam section"),
    (
        "session: null\nroutes: [{ path: /a, accept: [session, iam], upstream: core }]\n",
        "routes[0].accept",
        "no session section",
    ),
    ("session: { keys: [] }\n", "session.keys", "names no key"),
    (
        "session: { keys: [{ file: session-key }], idle_timeout: 2d }\n",
        "session.idle_timeout",
        "absolute_timeout",
    ),
    (
        "sts: { issuer: { iss: one, keys: [{ file: issuer-key }], endpoint: true } }\n\
         routes: [{ path: /sts/token, upstream: core }]\n",
        "routes[0].path",
        "is answered by the gateway itself",
    ),
    (
        "session: { keys: [{ file: session-key }], cookie: 'a b' }\n",
        "session.cookie",
        "no cookie name",
    ),
    (
        "session: { keys: [{ file: session-key }], prefix: /a/ }\n",
        "session.prefix",
        "must be a path",
    ),
    (
        "session: { keys: [{ file: session-key }], prefix: /a }\n",
        "routes[0].path",
        "lies under session.prefix (/a, gateway.yaml:1:51)",
    ),
    (
        "session: { keys: [{ file: session-key }], after_logout: //evil.example }\n",
        "session.after_logout",
        "of this origin",
    ),
    ("sts: {}\n", "sts", "needs exchange or issuer"),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', scope: '{permission}' } }\n",
        "sts.exchange.scope",
        "only {permissions}",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', resource: core } }\n",
        "sts.exchange.resource",
        "absolute URI",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', protocol: template } }\n",
        "sts.exchange.protocol",
        "needs the key template",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', template: { body: '\"{subject_token}\"', token: /t } } }\n",
        "sts.exchange.template",
        "protocol: template",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', protocol: template, template: { body: '\"{subject_token} {org}\"', token: /t } } }\n",
        "sts.exchange.template.body",
        "{org} is not filled in",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', protocol: template, parameters: { a: b }, template: { body: '\"{subject_token}\"', token: /t } } }\n",
        "sts.exchange.parameters",
        "never used with protocol: template",
    ),
    (
        "sts: { exchange: { url: 'https://s/t', issuer: i, jwks: 'https://s/j', protocol: template, client: { id: c, secret: { file: secret }, authentication: client_secret_post }, template: { body: '\"{subject_token}\"', token: /t } } }\n",
        "sts.exchange.client.authentication",
        "client_secret_basic or none",
    ),
    ("sts: null\n", "routes[0].upstream", "there is no sts section"),
    ("sts: { issuer: { iss: one, keys: [] } }\n", "sts.issuer.keys", "names no key"),
    ("sts: { issuer: { iss: one, keys: [{ file: secret }] } }\n", "sts.issuer.keys[0]", "PKCS#8"),
    (
        "sts: { issuer: { iss: one, keys: [{ file: issuer-key }], lifetime: 10s } }\n",
        "sts.issuer.lifetime",
        "sts.cache.margin",
    ),
    (
        "sts: { breaker: { failures: 0 }, issuer: { iss: one, keys: [{ file: issuer-key }] } }\n",
        "sts.breaker.failures",
        "at least 1",
    ),
    (
        "sts: { exchange: { url: 'http://sts.example/t', issuer: i, jwks: 'https://sts.example/j' } }\n",
        "sts.exchange.url",
        "sts.exchange.plaintext: true",
    ),
    (
        "sts: { exchange: { url: 'https://sts.example/t', issuer: i, jwks: 'http://sts.example/j' } }\n",
        "sts.exchange.jwks",
        "plain HTTP",
    ),
    ("system_roles: { reader: [CRED*_LIST] }\n", "system_roles.reader[0]", "only at the end"),
    (
        "system_roles: { reader: { permissions: [a], delegation: [B] } }\n",
        "system_roles.reader.permissions[0]",
        "is no permission",
    ),
    (
        "iam_roles: { user: { '*': [raeder] } }\n",
        "iam_roles.user[\"*\"][0]",
        "did you mean `reader`?",
    ),
    (
        "iam_roles: { user: { 00000000-0000-0000-0000-000000000000: [] } }\n",
        "iam_roles.user.00000000-0000-0000-0000-000000000000",
        "none of organisations",
    ),
    (
        "iam_roles: {}\nroutes: [{ path: /a, permissions: [KEY_LIST], upstream: core }]\n",
        "routes[0].permissions",
        "come from nowhere",
    ),
    (
        "upstreams: { core: { servers: ['core:1'], auth: { mode: STS, audience: one } } }\n",
        "upstreams.core.servers[0]",
        "plaintext: true",
    ),
    (
        "upstreams: { core: { servers: [], auth: { mode: STS, audience: one } } }\n",
        "upstreams.core.servers",
        "names no server",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: NONE } } }\n",
        "routes[0].upstream",
        "takes public routes only",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: IAM, audience: a } } }\n",
        "upstreams.core.auth.audience",
        "unknown key",
    ),
    (
        "upstreams: { core: { servers: ['c:1'], tls: { server_name: '', client_certificate: c }, auth: { mode: IAM } } }\n",
        "upstreams.core.tls.server_name",
        "is empty",
    ),
    (
        "upstreams: { core: { servers: ['c:1'], tls: { server_name: c, client_certificate: c }, auth: { mode: IAM } } }\n",
        "upstreams.core.tls.client_certificate",
        "needs client_key",
    ),
    (
        "upstreams: { core: { servers: ['127.0.0.1:1'], timeouts: { read: 0s }, auth: { mode: IAM } } }\n",
        "upstreams.core.timeouts.read",
        "longer than zero",
    ),
    ("routes: [{ path: /a, upstream: cor }]\n", "routes[0].upstream", "did you mean `core`?"),
    ("routes: [{ path: /a, accept: [], upstream: core }]\n", "routes[0].accept", "lets nobody in"),
    (
        "routes: [{ path: /a, access: public, permissions: [KEY_LIST], upstream: core }]\n",
        "routes[0].permissions",
        "could never be enforced",
    ),
    (
        "routes: [{ path: /a, access: public, organisation: token, upstream: core }]\n",
        "routes[0].organisation",
        "could never be enforced",
    ),
    (
        "routes: [{ path: '/a/{id}', organisation: { path: organisation }, upstream: core }]\n",
        "routes[0].organisation.path",
        "has no parameter",
    ),
    (
        "routes: [{ path: /a, hosts: [b.example], upstream: core }]\n",
        "routes[0].hosts[0]",
        "none of the hosts answered (public_url, gateway.yaml:2:13)",
    ),
    (
        "hosts: [desk.example.com]\nroutes: [{ path: /a, hosts: [a.example], upstream: core }]\n",
        "routes[0].hosts[0]",
        "none of the hosts answered (hosts, gateway.yaml:1:8)",
    ),
    (
        "routes: [{ path: /.well-known/jwks.json, access: public, upstream: core }]\n",
        "routes[0].path",
        "can never match: the gateway itself publishes the keys of sts.issuer (gateway.yaml:",
    ),
    (
        "limits: { target: 8 }\nroutes: [{ path: '/a/{b}/cdef/{*rest}', upstream: core }]\n",
        "routes[0].path",
        "can never match: its paths have 10 bytes at least, and limits.target (gateway.yaml:1:19)",
    ),
    ("routes: [{ path: '/a;b', upstream: core }]\n", "routes[0].path", "can never match"),
    (
        "routes: [{ path: /a, methods: [GET], upstream: core }, { path: /a, methods: [POST], upstream: core }, { path: /a, methods: [POST, HEAD], upstream: core }]\n",
        "routes[2].path",
        "as routes[0] (gateway.yaml:1:18) and can never match",
    ),
    (
        "hosts: [desk.example.com, b.example]\nroutes: [{ path: /a, methods: [PUT, GET, PATCH], hosts: [b.example], upstream: core }, { path: /a, methods: [HEAD, PUT], upstream: core }]\n",
        "routes[1].path",
        "as routes[0] (gateway.yaml:2:18): HEAD, PUT; tell",
    ),
    (
        "routes: [{ path: '/a/{b}', upstream: core }, { path: '/a/{c}', methods: [GET], upstream: core }]\n",
        "routes[1].path",
        "answers the same requests as routes[0] (gateway.yaml:1:18)",
    ),
    (
        "routes: [{ path: /a, methods: [GET], upstream: core }, { path: /a, methods: [HEAD], upstream: core }]\n",
        "routes[1].path",
        "answers the same requests",
    ),
    (
        "routes: [{ path: '/a/{b}', upstream: core }, { path: '/a/{*c}', upstream: core }]\n",
        "routes[1].path",
        "cannot be told apart from /a/{b} (routes[0].path, gateway.yaml:1:18)",
    ),
];

#[test]
fn faults_of_sections_taken_together() {
    for (change, path, words) in FAULTS {
        let found = faults(&sound(change));
        let said = found.lines().any(|line| {
            line.split_once(&format!(": {path}: "))
                .is_some_and(|(_, message)| message.contains(words))
        });
        assert!(said, "{change}expected {path}: {words}\nfound {found}");
    }
}

#[test]
fn routes_of_one_path_may_differ_by_method_or_host() {
    for routes in [
        "[{ path: /a, methods: [GET], upstream: core }, { path: /a, methods: [POST], upstream: core }]",
        "[{ path: /a, hosts: [a.example], upstream: core }, { path: /a, hosts: [desk.example.com], upstream: core }]",
        "[{ path: '/a/{b}', hosts: [a.example], upstream: core }, { path: '/a/{*c}', hosts: [desk.example.com], upstream: core }]",
        "[{ path: '/a/{b}', upstream: core }, { path: /a/b, upstream: core }, { path: '/{*c}', upstream: core }]",
    ] {
        let hosts = "hosts: [desk.example.com, a.example]\n";
        let loaded = parse_given(&sound(&format!("{hosts}routes: {routes}\n")));
        assert!(loaded.is_ok(), "{routes}: {}", loaded.unwrap_err());
    }
}

#[test]
fn session_keys_have_to_be_keys() {
    for (key, words) in [
        ("not base64!", "is not base64"),
        ("AAAA", "is not 32 bytes"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "is weak"),
        ("AAECAwQFBgABAgMEBQYAAQIDBAUGAAECAwQFBgABAgM", "is weak"),
        (SESSION_KEY, "is the same key as an earlier one"),
    ] {
        let given = Given::new().with("other", key).with("session-key", SESSION_KEY);
        let text = sound("session: { keys: [{ file: session-key }, { file: other }] }\n");
        let found = parse_from(&text, Path::new("g.yaml"), &given).unwrap_err().to_string();
        assert!(found.contains(&format!("session.keys[1]: {words}")), "{found}");
        assert!(!found.contains(key), "a fault tells no secret");
    }
    let url_safe = SESSION_KEY.replace('+', "-").replace('/', "_").replace('=', "");
    let given = Given::new().with("session-key", &url_safe);
    assert!(parse_from(&sound(""), Path::new("g.yaml"), &given).is_ok());
}

#[test]
fn a_redis_url_is_taken_apart_at_load_and_never_quoted() {
    let with = |store: &str| {
        sound(&format!(
            "allow_inline_secrets: true\nsession: {{ keys: [{{ file: session-key }}], store: {{ redis: {store} }} }}\n"
        ))
    };
    for (store, key_path, words) in [
        ("{ url: 'http://:hunter2@redis' }", "url", "begins with none of redis://"),
        ("{ url: 'redis://hunter2@localhost' }", "url", "cannot be read"),
        ("{ url: 'redis+cluster://:hunter2@localhost/1' }", "url", "ends otherwise"),
        ("{ url: 'redis://:hunter2@redis.internal' }", "url", "write rediss"),
        ("{ url: 'redis://localhost,redis.internal/desk' }", "url", "several hosts"),
        ("{ url: 'redis://localhost', ca: ca.pem }", "ca", "is never used"),
        ("{}", "url", "is missing"),
    ] {
        let found = faults(&with(store));
        let fault = format!("session.store.redis.{key_path}: ");
        assert!(found.contains(&fault) && found.contains(words), "{store}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    for store in [
        "{ url: 'redis://127.0.0.1' }",
        "{ url: 'redis://:hunter2@redis.internal/1', plaintext: true }",
        "{ url: 'rediss://desk:hunter2@redis.internal', ca: ca.pem }",
        "{ url: 'rediss+sentinel://one,two/desk' }",
        "{ url: 'redis+cluster://[::1]:7001' }",
    ] {
        let loaded = parse_given(&with(store)).unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }
}
