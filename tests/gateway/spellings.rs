//! Spellings of paths and headers, raw over sockets: whatever reaches the upstream was decided on
//! byte for byte.

use crate::support::{Gateway, Issuer, Recorder, Settings, raw, reason, status};

async fn world() -> (Issuer, Recorder, Gateway) {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    (issuer, core, gateway)
}

/// Other spellings of the protected `/api/credential/v1` and detours to it from the public
/// `/ssi/…`, each with what becomes of it without a credential.
const PATHS: &[(&str, u16, &str)] = &[
    ("/api/credential/v1", 401, "credential_missing"),
    ("/api/credential/v1?", 401, "credential_missing"),
    ("/api/credential/v1?a=/ssi/x", 401, "credential_missing"),
    ("/api/credential/v1?/../ssi/x", 401, "credential_missing"),
    ("/api/credential/v1/", 404, "no_route"),
    ("/api/credential/v1/x/y", 404, "no_route"),
    ("/API/credential/v1", 404, "no_route"),
    ("/Api/Credential/V1", 404, "no_route"),
    ("/api/credential/v1%20", 404, "no_route"),
    ("/api/credential/v10", 404, "no_route"),
    ("/api/credential", 404, "no_route"),
    ("/api", 404, "no_route"),
    ("/", 404, "no_route"),
    ("/ssi", 404, "no_route"),
    ("/sSi/x", 404, "no_route"),
    ("/api/credential/v1/%20", 401, "credential_missing"),
    ("/api/credential/v1/a:b", 401, "credential_missing"),
    ("//api/credential/v1", 400, "ambiguous_path"),
    ("///api/credential/v1", 400, "ambiguous_path"),
    ("/api//credential/v1", 400, "ambiguous_path"),
    ("/api/credential//v1", 400, "ambiguous_path"),
    ("/api/credential/v1//", 400, "ambiguous_path"),
    ("/./api/credential/v1", 400, "ambiguous_path"),
    ("/api/./credential/v1", 400, "ambiguous_path"),
    ("/api/credential/v1/.", 400, "ambiguous_path"),
    ("/api/credential/v1/..", 400, "ambiguous_path"),
    ("/../api/credential/v1", 400, "ambiguous_path"),
    ("/x/../api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/../api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/x/../../api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/..", 400, "ambiguous_path"),
    ("/ssi/.", 400, "ambiguous_path"),
    ("/ssi//../api/credential/v1", 400, "ambiguous_path"),
    ("/ssi//x", 400, "ambiguous_path"),
    ("/ssi/%2e%2e/api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%2E%2E/api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/.%2e/api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%2e./api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%2e%2e%2fapi/credential/v1", 400, "ambiguous_path"),
    ("/ssi/..%2fapi/credential/v1", 400, "ambiguous_path"),
    ("/ssi/..%2Fapi%2Fcredential%2Fv1", 400, "ambiguous_path"),
    ("/ssi/..%5capi/credential/v1", 400, "ambiguous_path"),
    ("/ssi/..\\api\\credential\\v1", 400, "ambiguous_path"),
    ("/ssi\\..\\api\\credential\\v1", 400, "ambiguous_path"),
    ("\\api\\credential\\v1", 400, "malformed_request"),
    ("/\\api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%252e%252e/api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%25%32%65%25%32%65/api", 400, "ambiguous_path"),
    ("/%2fapi/credential/v1", 400, "ambiguous_path"),
    ("/api%2fcredential%2fv1", 400, "ambiguous_path"),
    ("/api%2Fcredential/v1", 400, "ambiguous_path"),
    ("/%61pi/credential/v1", 400, "ambiguous_path"),
    ("/ap%69/credential/v1", 400, "ambiguous_path"),
    ("/api/%63redential/v1", 400, "ambiguous_path"),
    ("/api/credential/%76%31", 400, "ambiguous_path"),
    ("/api/credential/v1%2f", 400, "ambiguous_path"),
    ("/api/credential/v1%2e", 400, "ambiguous_path"),
    ("/api/credential/v1%00", 400, "ambiguous_path"),
    ("/api/credential/v1%0d%0a", 400, "ambiguous_path"),
    ("/api/credential/v1%09", 400, "ambiguous_path"),
    ("/api/credential/v1%7f", 400, "ambiguous_path"),
    ("/api/credential/v1;x", 400, "ambiguous_path"),
    ("/api/credential/v1;jsessionid=1", 400, "ambiguous_path"),
    ("/api;x/credential/v1", 400, "ambiguous_path"),
    ("/ssi;/../api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/..;/api/credential/v1", 400, "ambiguous_path"),
    ("/ssi/%3b/x", 400, "ambiguous_path"),
    ("/ssi/..%3b/api/credential/v1", 400, "ambiguous_path"),
    ("/api/credential/v1%3fa", 400, "ambiguous_path"),
    ("/api/credential/v1%23", 400, "ambiguous_path"),
    ("/ssi/x%23/../../api", 400, "ambiguous_path"),
    ("/ssi/%", 400, "ambiguous_path"),
    ("/ssi/%2", 400, "ambiguous_path"),
    ("/ssi/%zz", 400, "ambiguous_path"),
    ("/ssi/%u002e", 400, "ambiguous_path"),
    ("/ssi/%c0%ae%c0%ae/api", 400, "ambiguous_path"),
    ("/ssi/%c0%af", 400, "ambiguous_path"),
    ("/ssi/%e0%80%af", 400, "ambiguous_path"),
    ("/ssi/%ff", 400, "ambiguous_path"),
    ("/ssi/%7E", 400, "ambiguous_path"),
    ("/ssi/|", 400, "ambiguous_path"),
    ("/ssi/^", 400, "ambiguous_path"),
    ("/ssi/`", 400, "malformed_request"),
    ("/ssi/{x}", 400, "ambiguous_path"),
    ("/ssi/[x]", 400, "ambiguous_path"),
    ("api/credential/v1", 400, "malformed_request"),
    ("*", 400, "malformed_request"),
    ("?", 400, "malformed_request"),
    ("http://localhost/api/credential/v1", 400, "malformed_request"),
    ("http://localhost/ssi/x", 400, "malformed_request"),
];

/// Spellings that are one path each, on the public route.
const FORWARDED: &[&str] = &[
    "/ssi/x",
    "/ssi/",
    "/ssi/a/b/c",
    "/ssi/did:web:example.com%3A3000",
    "/ssi/%C3%A9",
    "/ssi/a%20b",
    "/ssi/a+b,c=d&e!f$g'h(i)j*k@l~m-n_o.p",
    "/ssi/...",
    "/ssi/x?a=b&c=%2e%2e%2f",
    "/ssi/x?a=../../api",
    "/ssi/x?%00",
    "/ssi/x??",
    "/ssi/API/credential/v1",
];

#[tokio::test]
async fn r10_no_spelling_reaches_the_upstream_undecided() {
    let (_, core, gateway) = world().await;
    assert!(PATHS.len() + FORWARDED.len() >= 80);
    for (target, expected, word) in PATHS {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.address, request.as_bytes()).await;
        assert_eq!(status(&answer), *expected, "{target}: {answer}");
        assert_eq!(word_of(&answer), *word, "{target}");
        assert!(core.take().is_empty(), "{target} reached the upstream");
    }
    for target in FORWARDED {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&raw(gateway.address, request.as_bytes()).await), 200, "{target}");
        let [seen] = &core.take()[..] else { panic!("{target}: one request") };
        assert_eq!(seen.target(), *target, "forwarded byte for byte");
    }
}

#[tokio::test]
async fn r10_with_a_credential_the_same_spellings_lead_nowhere_else() {
    let (issuer, core, gateway) = world().await;
    let token = issuer.token("alice", "admin");
    for (target, without, word) in PATHS {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = raw(gateway.address, request.as_bytes()).await;
        if *without == 401 {
            assert_eq!(status(&answer), 200, "{target}: {answer}");
            assert_eq!(core.take()[0].target(), *target);
        } else {
            assert_eq!((status(&answer), &*word_of(&answer)), (*without, *word), "{target}");
            assert!(core.take().is_empty(), "{target} reached the upstream");
        }
    }
}

/// What is no HTTP at all is answered below us, with an empty 400 and a closed connection.
fn word_of(answer: &str) -> String {
    if answer.ends_with("\r\n\r\n") {
        assert!(answer.contains("Connection: close"), "{answer}");
        "malformed_request".to_owned()
    } else {
        reason(answer)
    }
}

#[tokio::test]
async fn bytes_that_pingora_rewrites_are_decided_on_as_they_are_forwarded() {
    let (_, core, gateway) = world().await;
    for target in
        [&b"/ssi/a\"b"[..], b"/ssi/a<b", b"/ssi/\xc3\xa9", b"/ssi/a\0b", b"/ssi/a\x01b", b"/ssi/#x"]
    {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.address, &request).await;
        let seen = core.take();
        match status(&answer) {
            200 => {
                let [seen] = &seen[..] else { panic!("{target:?}: one request") };
                assert!(portcullis::request::path::canonical(seen.target()).is_ok(), "{seen:?}");
            }
            400 => assert!(seen.is_empty(), "{target:?}"),
            other => panic!("{target:?}: {other}"),
        }
    }
}

/// Headers that only the gateway may set, or that claim another target, in many spellings.
const MANAGED: &[&str] = &[
    "X-Forwarded-For",
    "x-forwarded-for",
    "X_Forwarded_For",
    "X.Forwarded.For",
    "X-Forwarded_For",
    "X-Forwarded-Host",
    "X_FORWARDED_HOST",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
    "X-Forwarded-Method",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Client-Cert",
    "Forwarded",
    "FORWARDED",
    "X-Real-IP",
    "X_Real_IP",
    "X.Real.IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Original-Uri",
    "X_Original_URL",
    "X-Rewrite-URL",
    "X.Rewrite.Url",
    "X-HTTP-Method-Override",
    "X_HTTP_Method_Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Session-Id",
    "X_Session_Id",
    "X.Session.Id",
    "X~Session~Id",
    "X-Portcullis-User",
    "X-Auth-Request-User",
    "X-Remote-User",
    "Remote-User",
    "X_Remote_User",
    "X-Envoy-Original-Path",
    "Content_Type",
    "Transfer_Encoding",
    "Content_Length",
    "Proxy",
];

#[tokio::test]
async fn r05_foreign_identity_headers_never_reach_the_upstream() {
    let (_, core, gateway) = world().await;
    let (client_set, answer_names) =
        ("evil", ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
    for name in MANAGED {
        let request = format!(
            "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n{name}: {client_set}\r\n\
             Connection: close\r\n\r\n"
        );
        assert_eq!(status(&raw(gateway.address, request.as_bytes()).await), 200, "{name}");
        let [seen] = &core.take()[..] else { panic!("{name}: one request") };
        assert!(!seen.head.contains(client_set), "{name}: {}", seen.head);
        for ours in answer_names {
            assert_eq!(seen.header(ours).len(), 1, "{name}: {}", seen.head);
        }
    }
}

#[tokio::test]
async fn only_known_headers_are_added() {
    let (_, core, gateway) = world().await;
    let request = "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    raw(gateway.address, request.as_bytes()).await;
    let mut names = core.take()[0].names();
    names.sort();
    let allowed = [
        "host",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, allowed);
}

#[tokio::test]
async fn r07_connection_cannot_take_our_headers_away() {
    let (issuer, core, gateway) = world().await;
    let token = issuer.token("alice", "admin");
    for nominated in ["authorization", "x-request-id", "x-session-id", "cookie", "traceparent"] {
        let request = format!(
            "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Connection: close, {nominated}\r\n\r\n"
        );
        let answer = raw(gateway.address, request.as_bytes()).await;
        let seen = core.take();
        if status(&answer) == 200 {
            let [seen] = &seen[..] else { panic!("one request") };
            assert_eq!(seen.header("authorization").len(), 1, "{nominated}: {}", seen.head);
            assert!(seen.header("authorization")[0].starts_with("Bearer "));
            assert_eq!(seen.header("x-request-id").len(), 1, "{nominated}");
        } else {
            assert!(seen.is_empty(), "{nominated}");
        }
    }
}

/// Heads that HTTP forbids or reads two ways; each is refused and the connection closed.
const HEADS: &[(&str, &str)] = &[
    ("no Host", "GET /ssi/x HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
    ("two other Hosts", "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"),
    ("an empty Host", "GET /ssi/x HTTP/1.1\r\nHost:\r\n\r\n"),
    ("userinfo", "GET /ssi/x HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
    (
        "CL and TE",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE and CL",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "gzip, chunked",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked, identity",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE twice",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE in 1.0",
        "POST /ssi/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("CL +5", "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nabcde"),
    (
        "CL twice",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    ),
    ("CL 5, 5", "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nabcde"),
    (
        "CL conflict",
        "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    ),
    ("bare LF", "GET /ssi/x HTTP/1.1\nHost: localhost\n\n"),
    ("one bare LF", "GET /ssi/x HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"),
    ("obs-fold", "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
    ("space before colon", "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n"),
    (
        "two Authorizations",
        "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    ),
    (
        "two Content-Types",
        "GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n",
    ),
    (
        "two of our cookies",
        "GET /desk/x HTTP/1.1\r\nHost: localhost\r\nCookie: portcullis=1.a; portcullis=1.b\r\n\r\n",
    ),
    ("an odd expectation", "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\n\r\n"),
];

#[tokio::test]
async fn r29_a_head_with_two_readings_is_refused_and_the_connection_closed() {
    let (_, core, gateway) = world().await;
    for (name, head) in HEADS {
        // Whatever follows on the connection must not become a request.
        let smuggled = "GET /ssi/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = raw(gateway.address, format!("{head}{smuggled}").as_bytes()).await;
        assert_eq!(status(&answer), 400, "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer}");
        assert!(core.take().is_empty(), "{name} reached the upstream");
    }
}

#[tokio::test]
async fn trace_and_unknown_methods_are_405_with_allow() {
    let (_, core, gateway) = world().await;
    for method in ["TRACE", "PROPFIND", "get", "CONNECT"] {
        let request =
            format!("{method} /ssi/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.address, request.as_bytes()).await;
        assert!(matches!(status(&answer), 400 | 405), "{method}: {answer}");
        assert!(core.take().is_empty());
    }
    let request =
        "DELETE /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, request.as_bytes()).await;
    assert_eq!(status(&answer), 405);
    assert!(answer.to_ascii_lowercase().contains("allow: get, head, post"), "{answer}");
}
