use crate::config::tests::{faults, parse_given, sound};

const USERS: &str =
    "technical_users: { cron: { client: { id: wrpr, secret: { file: secret } } } }\n";
const ROLES: &str = "system_roles: { reader: [CREDENTIAL_LIST], login: { permissions: \
                     [CREDENTIAL_ISSUE], delegation: [] } }\n";

/// A sound configuration with a route of these keys, and these lines in place of others.
fn with(route: &str, lines: &[&str]) -> String {
    let mut text = lines.concat();
    for (key, default) in [("technical_users:", USERS), ("system_roles:", ROLES)] {
        if !lines.iter().any(|line| line.starts_with(key)) {
            text.push_str(default);
        }
    }
    sound(&format!("{text}routes: [{{ path: /a, upstream: core, {route} }}]\n"))
}

const TAKE_OVER: &str = "permissions: [CREDENTIAL_LIST], act_as: { technical_user: cron }";
const DELEGATE: &str = "permissions: [CREDENTIAL_ISSUE], act_as: { delegate: cron }";

#[test]
fn what_is_sound_has_no_fault() {
    for route in [
        TAKE_OVER,
        DELEGATE,
        "roles: [user], act_as: { technical_user: cron }",
        "condition: 'true', act_as: { technical_user: cron }",
    ] {
        let loaded = parse_given(&with(route, &[]));
        assert!(loaded.is_ok(), "{route}: {}", loaded.unwrap_err());
    }
}

/// A route, changed lines, and the one fault that they are.
#[test]
fn each_rule_that_could_not_hold_is_one_message() {
    let trial = format!("{TAKE_OVER}, enforce: false");
    let app = format!("{DELEGATE}, accept: [iam, app]");
    let cases: &[(&str, &[&str], &str, &str)] = &[
        (
            "permissions: [CREDENTIAL_LIST], act_as: { technical_user: corn }",
            &[],
            "routes[0].act_as",
            "unknown technical user `corn`; did you mean `cron`?",
        ),
        (
            "act_as: { technical_user: cron }",
            &[],
            "routes[0].act_as",
            "lets everybody who can log in act as `cron`",
        ),
        (
            "access: public, act_as: { technical_user: cron }",
            &[],
            "routes[0].act_as",
            "could never be enforced, for the route is public",
        ),
        (&trial, &[], "routes[0].act_as", "enforce is false"),
        (TAKE_OVER, &["enforce: false\n"], "routes[0].act_as", "of the whole gateway"),
        (&app, &[], "routes[0].accept", "are not exchanged again"),
        (
            DELEGATE,
            &["system_roles: { reader: [CREDENTIAL_LIST, CREDENTIAL_ISSUE] }\n"],
            "routes[0].act_as",
            "no system role has delegation",
        ),
        (
            DELEGATE,
            &["upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: IAM } } }\n"],
            "routes[0].act_as",
            "takes none",
        ),
        (
            TAKE_OVER,
            &["technical_users: { cron: { client: { id: wrpr } } }\n"],
            "technical_users.cron.client.secret",
            "a public client has no token of its own",
        ),
        (
            TAKE_OVER,
            &["technical_users: { cron: { client: { id: wrpr, secret: { file: secret } }, \
               organisation: 00000000-0000-4000-8000-00000000000b } }\n"],
            "technical_users.cron.organisation",
            "is none of organisations",
        ),
        (
            TAKE_OVER,
            &["technical_users: { cron: { client: { id: wrpr, secret: { file: secret } }, \
               scopes: ['a b'] } }\n"],
            "technical_users.cron.scopes",
            "not one scope",
        ),
    ];
    for (route, lines, place, message) in cases {
        let found = faults(&with(route, lines));
        assert!(found.contains(place) && found.contains(message), "{route} {lines:?}: {found}");
        assert_eq!(found.lines().count(), 1, "{route} {lines:?}: {found}");
    }
}

#[test]
fn without_a_provider_there_are_no_technical_users() {
    let text = with(TAKE_OVER, &["iam: null\n", "session: null\n"]);
    assert!(faults(&text).contains("technical_users: get their tokens from the IAM provider"));
}

#[test]
fn a_template_has_to_name_the_actor() {
    let sts = |body: &str| {
        format!(
            "sts: {{ exchange: {{ url: 'https://sts.example.com', issuer: i, \
             jwks: 'https://sts.example.com/j', protocol: template, template: {{ method: POST, \
             content_type: application/json, body: '{body}', token: /t }} }} }}\n"
        )
    };
    let without = sts(r#"{"t": "{subject_token}"}"#);
    assert!(faults(&with(DELEGATE, &[&without])).contains("needs {actor_token}"));
    let with_it = sts(r#"{"t": "{subject_token}", "a": "{actor_token}"}"#);
    let loaded = parse_given(&with(DELEGATE, &[&with_it]));
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}

#[test]
fn a_technical_user_that_no_route_acts_as_is_told() {
    let text = sound(USERS);
    let loaded = parse_given(&text).unwrap();
    let warnings: Vec<_> = loaded.warnings().into_iter().map(|it| it.to_string()).collect();
    assert!(
        warnings.iter().any(|it| it.contains("technical_users.cron: no route acts as it")),
        "{warnings:?}"
    );
}

const SHOWN: &str = "listeners: [{ address: '127.0.0.1:1', tls: { certificate: c, key: k, \
                     client_ca: ca } }]\n";
const NAMED: &str = "technical_users: { cron: { client: { id: wrpr, secret: { file: secret } }, \
                     certificates: ['uri:spiffe://acme/wrpr'] } }\n";

#[test]
fn a_certificate_is_asked_for_and_somebodys() {
    let route = "accept: [certificate], permissions: [CREDENTIAL_LIST]";
    let loaded = parse_given(&with(route, &[SHOWN, NAMED]));
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    for (lines, words) in [
        (&[NAMED][..], "routes[0].accept: takes certificates, and no listener has tls.client_ca"),
        (&[SHOWN], "routes[0].accept: takes certificates, and no technical user has certificates"),
    ] {
        let found = faults(&with(route, lines));
        assert!(found.contains(words) && found.lines().count() == 1, "{found}");
    }
}

#[test]
fn one_name_in_a_certificate_is_one_users() {
    let users = "technical_users: { a: { client: { id: a, secret: { file: secret } }, certificates: \
                 ['dns:a.test'] }, b: { client: { id: b, secret: { file: secret } }, certificates: \
                 ['dns:A.test', 'wrong'] } }\n";
    let found = faults(&with(TAKE_OVER.replace("cron", "a").as_str(), &[users]));
    assert!(found.contains("technical_users.b.certificates[1]: "), "{found}");
    assert!(found.contains("subject:, dns:, uri: or email:"), "{found}");
    let users = users.replace(", 'wrong'", "");
    let found = faults(&with(TAKE_OVER.replace("cron", "a").as_str(), &[&users]));
    let twice = "technical_users.b.certificates[0]: stands at technical_users.a.certificates[0]";
    assert!(found.contains(twice), "{found}");
}
