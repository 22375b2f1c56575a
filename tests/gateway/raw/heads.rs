//! What a head claims: another target, another caller, that nobody need be asked.

use super::{Row, SMUGGLED, Upstream::Nothing, World, send};
use crate::support::status;

const CLAIMS: &[&str] = &[
    "X-Forwarded-Uri: /ssi/x",
    "X-Forwarded-Path: /ssi/x",
    "X-Forwarded-Prefix: /ssi",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URL: /ssi/x",
    "X-Original-Uri: /ssi/x",
    "X-Original-Method: HEAD",
    "X-Rewrite-URL: /ssi/x",
    "X-HTTP-Method-Override: GET",
    "X-HTTP-Method: GET",
    "X-Method-Override: GET",
    "X-Envoy-Original-Path: /ssi/x",
    "X_Original_URL: /ssi/x",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: localhost",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1;host=localhost;proto=https",
];

#[tokio::test]
async fn r01_the_request_line_alone_says_what_is_asked() {
    let world = World::start().await;
    let rows: Vec<_> = CLAIMS
        .iter()
        .flat_map(|claim| ["GET", "POST"].map(|method| (method, *claim)))
        .map(|(method, claim)| Row {
            name: format!("{method} {claim}").into(),
            bytes: format!(
                "{method} /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\n{claim}\r\n\r\n"
            )
            .into_bytes()
            .into(),
            statuses: &[401],
            upstream: Nothing,
        })
        .collect();
    world.holds(&rows).await;
    for claim in CLAIMS {
        let (name, value) = claim.split_once(": ").unwrap();
        let value = value.replace("ssi", "api/evil").replace("127.0.0.1", "192.0.2.9");
        let request = format!(
            "GET /ssi/y HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n{name}: {value}\r\n\r\n"
        );
        let (answer, _) = send(world.gateway.address, request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{claim}: {answer}");
        let [seen] = &world.core.take()[..] else { panic!("{claim}: one request") };
        assert_eq!(seen.target(), "/ssi/y", "{claim}");
        assert!(seen.head.starts_with("GET "), "{}", seen.head);
        assert!(!seen.header(name).contains(&&*value), "{claim}: {}", seen.head);
        // An empty list of proxies believes nobody.
        assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"], "{claim}");
        assert_eq!(seen.header("x-forwarded-host"), ["gateway.test"], "{claim}");
        assert_eq!(seen.header("x-forwarded-proto"), ["http"], "{claim}");
    }
}

#[tokio::test]
async fn r02_no_header_turns_authentication_off() {
    let world = World::start().await;
    let rows: Vec<_> = [
        "User-Agent: GoogleHC/1.0",
        "User-Agent: kube-probe/1.33",
        "User-Agent: ELB-HealthChecker/2.0",
        "User-Agent: Amazon-Route53-Health-Check-Service",
        "User-Agent: Consul Health Check",
        "User-Agent: portcullis",
        "X-Health-Check: 1",
        "X-Skip-Auth: true",
        "X-Internal: true",
        "X-Debug: 1",
        "X-Portcullis-Access: public",
        "X-Authenticated-User: alice",
        "X-Envoy-Internal: true",
        "X-Ssl-Client-Verify: SUCCESS",
        "X-Forwarded-Client-Cert: By=spiffe://a;URI=spiffe://b",
        "Remote-User: alice",
        "Sec-Fetch-Mode: cors",
        "Access-Control-Request-Method: GET",
        "Upgrade-Insecure-Requests: 1",
        "Purpose: prefetch",
    ]
    .iter()
    .map(|line| Row {
        name: (*line).into(),
        bytes: format!("GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n")
            .into_bytes()
            .into(),
        statuses: &[401],
        upstream: Nothing,
    })
    .collect();
    world.holds(&rows).await;
    // What is asked of health and figures is asked at the admin listener.
    let rows: Vec<_> =
        ["/healthz", "/readyz", "/livez", "/ping", "/metrics", "/status", "/robots.txt"]
            .iter()
            .map(|path| Row {
                name: (*path).into(),
                bytes: format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-probe\r\n\r\n"
                )
                .into_bytes()
                .into(),
                statuses: &[404],
                upstream: Nothing,
            })
            .collect();
    world.holds(&rows).await;
}

#[tokio::test]
async fn r04_a_query_never_changes_the_route() {
    let world = World::start().await;
    let rows: Vec<_> = [
        "?/ssi/x",
        "?path=/ssi/x",
        "?x=/ssi/",
        "??/ssi/x",
        "?/../ssi/x",
        "?&/ssi/x",
        "?%2fssi%2fx",
        "?;/ssi/x",
        "?_method=GET",
        "?url=http://localhost/ssi/x",
        "?access=public",
        "?debug=1",
        "?/ssi/{*rest}",
        "?$",
        "?.*/ssi/.*",
        "?%0a/ssi/x",
        "?x=/healthz",
    ]
    .iter()
    .map(|query| Row {
        name: (*query).into(),
        bytes: format!("GET /api/credential/v1{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .into_bytes()
            .into(),
        statuses: &[401],
        upstream: Nothing,
    })
    .collect();
    world.holds(&rows).await;
}

#[tokio::test]
async fn r06_what_we_do_not_set_is_not_the_clients_to_set() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    // No session, so there is no X-Session-Id of ours either; a public route has no identity.
    for (target, credential) in [
        ("/ssi/x", String::new()),
        ("/api/credential/v1", format!("Authorization: Bearer {token}\r\n")),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{credential}\
             X-Session-Id: evil\r\nX-User: evil\r\nX-Remote-User: evil\r\nX-Client-Cert: evil\r\n\
             X-Auth-Request-Email: evil\r\nX-Request-Id: e v i l\r\ntraceparent: evil\r\n\r\n"
        );
        let (answer, _) = send(world.gateway.address, request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{answer}");
        let [seen] = &world.core.take()[..] else { panic!("{target}: one request") };
        assert!(!seen.head.contains("evil") && !seen.head.contains("e v i l"), "{}", seen.head);
        for name in ["x-session-id", "x-user", "x-remote-user", "x-client-cert"] {
            assert!(seen.header(name).is_empty(), "{name}: {}", seen.head);
        }
        assert_eq!(seen.header("x-request-id").len(), 1);
        assert_eq!(seen.header("traceparent").len(), 1);
    }
}

#[tokio::test]
async fn r07_pingora_nominations_take_nothing_away_that_we_set() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    let ours = [
        "authorization",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "traceparent",
        "host",
    ];
    let nominations = ours.iter().map(|name| (*name).to_owned()).chain([
        "Authorization, X-Request-Id, X-Forwarded-For".to_owned(),
        "AUTHORIZATION".to_owned(),
        "authorization\r\nConnection: x-forwarded-for".to_owned(),
        "x_forwarded_for, x.request.id".to_owned(),
    ]);
    for nominated in nominations {
        let request = format!(
            "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             X-Request-Id: mine\r\nConnection: {nominated}\r\n\r\n"
        );
        let request = [request.as_bytes(), SMUGGLED].concat();
        let (answer, _) = send(world.gateway.address, &request).await;
        let (begun, seen) = (world.core.take_begun(), world.core.take());
        match status(&answer) {
            200 => {
                let [seen] = &seen[..] else { panic!("{nominated}: one request") };
                for name in ours {
                    assert_eq!(seen.header(name).len(), 1, "{nominated}: {name}: {}", seen.head);
                }
                assert!(seen.header("authorization")[0].starts_with("Bearer "), "{}", seen.head);
                assert!(!seen.head.contains(&token), "{nominated}: it is Core's, not the caller's");
            }
            // Pingora takes no nomination of these.
            400 => assert!(
                begun.is_empty()
                    && (nominated.contains("forwarded")
                        || nominated == "host"
                        || nominated.contains("Forwarded")),
                "{nominated}: {answer}"
            ),
            other => panic!("{nominated}: {other}"),
        }
    }
}

#[tokio::test]
async fn r16_an_answer_of_ours_never_contacts_the_upstream() {
    let world = World::start().await;
    // What the gateway itself asks of it while starting, such as a probe, is not a request's.
    let before = world.core.connections();
    let body = "a".repeat(4096);
    let rows: Vec<_> = [
        ("a login", "POST /desk/x", "Sec-Fetch-Mode: navigate\r\n", &[401][..]),
        ("a navigation", "GET /desk/x", "Sec-Fetch-Mode: navigate\r\n", &[302]),
        (
            "a navigation with a forged session",
            "GET /desk/x",
            "Sec-Fetch-Mode: navigate\r\nCookie: portcullis=1.AAAA\r\n",
            &[302, 400, 401],
        ),
        ("a forged session", "GET /desk/x", "Cookie: portcullis=1.AAAA\r\n", &[400, 401]),
        ("99999999 pieces", "GET /desk/x", "Cookie: portcullis=99999999.AAAA\r\n", &[400, 401]),
        ("an empty session", "GET /desk/x", "Cookie: portcullis=\r\n", &[400, 401]),
        ("pieces alone", "GET /desk/x", "Cookie: portcullis.1=a; portcullis.2=b\r\n", &[400, 401]),
        ("no credential", "POST /api/credential/v1", "", &[401]),
        ("a bad one", "POST /api/credential/v1", "Authorization: Bearer a.b.c\r\n", &[401]),
        ("no route", "POST /nowhere", "", &[404]),
        ("no method", "DELETE /api/config/v1", "", &[405]),
        ("no host", "POST /ssi//x", "", &[400]),
        ("a callback", "GET /.portcullis/callback?code=a&state=b", "", &[400]),
        ("a logout", "POST /.portcullis/logout", "", &[400, 401, 403]),
    ]
    .into_iter()
    .map(|(name, line, lines, statuses)| Row {
        name: name.into(),
        bytes: format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\
             Content-Length: 4096\r\n\r\n{body}"
        )
        .into_bytes()
        .into(),
        statuses,
        upstream: Nothing,
    })
    .collect();
    for row in &rows {
        let (answer, _) = send(world.gateway.address, &row.bytes).await;
        assert_eq!(world.fault(row, &answer), None, "{}: {answer}", row.name);
    }
    assert_eq!(world.core.connections(), before, "nobody even connected");
    world.lives().await;
}
