use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use secrecy::ExposeSecret as _;

use super::*;
use crate::{
    identity::Proof,
    refusal::Reason,
    request::{Head, Rules, TrustedRequest, forwarded::TrustedProxies},
    telemetry::sink::target::Target,
    time::Timestamp,
};

const NOW: Timestamp = Timestamp(1_800_000_000);

fn request(lines: &[(&str, &str)]) -> (TrustedRequest, HeaderMap) {
    let mut parts = http::Request::builder().uri("/a").method(Method::POST).body(()).unwrap();
    for (name, value) in [("host", "desk.test")].iter().chain(lines) {
        let name = HeaderName::try_from(*name).unwrap();
        parts.headers_mut().append(name, value.parse().unwrap());
    }
    let (parts, ()) = parts.into_parts();
    let rules = Rules {
        hosts: ["desk.test".into()].into(),
        trusted_proxies: TrustedProxies::new(Vec::new()),
        allow_clients: None,
        header_bytes: 4096,
        headers: 64,
        target: 1024,
    };
    let raw = "POST /a HTTP/1.1\r\nHost: desk.test\r\n\r\n";
    let head = Head {
        parts: &parts,
        target: b"/a",
        raw: Some(raw.as_bytes()),
        peer: None,
        tls: false,
        certificate: None,
    };
    let viewed = rules.view(head, || "id".into()).unwrap();
    (viewed, parts.headers)
}

/// Does what the header `x-do` says.
struct Scripted;

#[async_trait]
impl Authenticate for Scripted {
    fn credential_headers(&self) -> Vec<String> {
        vec!["x-do".to_owned()]
    }

    async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error> {
        match request.header("x-do")? {
            None => Ok(Authentication::NotPresented),
            Some("fail") => Ok(Authentication::failed("it is bad")),
            Some("err") => Err(Error::new("the directory is away")),
            Some("panic") => panic!("a secret"),
            Some("hang") => std::future::pending().await,
            Some("late") => {
                Ok(Authentication::subject("late").expires_at(SystemTime::UNIX_EPOCH).into())
            }
            Some("nobody") => Ok(Authentication::subject("").into()),
            Some("nowhere") => Ok(Authentication::subject("a").organisation("here").into()),
            Some(name) => Ok(Authentication::subject(name)
                .role("reader")
                .claim("sub", "somebody else")
                .claim("iss", "https://iam.example.com")
                .claim("grade", 3)
                .into()),
        }
    }
}

fn extensions(program: Portcullis) -> Arc<Extensions> {
    program.sound().unwrap().0
}

fn scripted() -> Arc<Extensions> {
    let program = Portcullis::new().authenticator("scripted", Scripted);
    extensions(program.time_limit(Duration::from_millis(20)))
}

/// What becomes of a request with this header, in one word; `None`: nothing was presented.
async fn outcome(lines: &[(&str, &str)]) -> Option<&'static str> {
    let extensions = scripted();
    let accepted = [extensions.authenticator("scripted").unwrap()];
    let (request, headers) = request(lines);
    let seen = Request::new(&request, &headers, "/a");
    match extensions.authenticate(&accepted, seen, NOW).await {
        Ok(None) => None,
        Ok(Some(Ok(_))) => Some("authenticated"),
        Ok(Some(Err(refusal))) | Err(refusal) => Some(refusal.reason.word()),
    }
}

#[tokio::test]
async fn an_authenticator_has_three_answers_and_everything_else_refuses() {
    for (word, expected) in [
        ("alice", "authenticated"),
        ("fail", "credential_invalid"),
        ("late", "credential_expired"),
        ("err", "iam_unavailable"),
        ("panic", "iam_unavailable"),
        ("hang", "iam_unavailable"),
        ("nobody", "iam_unavailable"),
        ("nowhere", "iam_unavailable"),
    ] {
        assert_eq!(outcome(&[("x-do", word)]).await, Some(expected), "{word}");
    }
    assert_eq!(outcome(&[]).await, None);
    let twice = [("x-do", "alice"), ("x-do", "bob")];
    assert_eq!(outcome(&twice).await, Some("duplicate_header"));
}

#[tokio::test]
async fn whom_an_extension_recognises_is_nobody_of_another_issuer() {
    let extensions = scripted();
    let accepted = [extensions.authenticator("scripted").unwrap()];
    let (request, headers) = request(&[("x-do", "alice")]);
    let seen = Request::new(&request, &headers, "/a");
    let identity = extensions.authenticate(&accepted, seen, NOW).await.unwrap().unwrap().unwrap();
    assert_eq!(identity.proof, Proof::Extension);
    assert_eq!((&*identity.issuer, &*identity.subject), ("authenticator:scripted", "alice"));
    assert_eq!(identity.claims["sub"], "alice");
    assert_eq!(identity.claims["iss"], "authenticator:scripted");
    assert_eq!(identity.claims["grade"], 3);
    assert!(identity.permissions.is_none() && identity.token.expose_secret().is_empty());
    assert!(identity.expires > NOW);
}

#[test]
fn only_authenticators_see_credentials_and_nobody_sees_what_is_dropped() {
    let lines = [("authorization", "Basic x"), ("x-forwarded-user", "root"), ("x-plain", "y")];
    let (request, headers) = request(&lines);
    let seen = Request::new(&request, &headers, "/a");
    assert_eq!(seen.header("authorization").unwrap(), None);
    assert_eq!(seen.with_credentials().header("Authorization").unwrap(), Some("Basic x"));
    for it in [seen, seen.with_credentials()] {
        assert_eq!(it.header("x-forwarded-user").unwrap(), None);
        assert_eq!(it.header("X-Plain").unwrap(), Some("y"));
    }
}

#[test]
fn what_the_gateway_manages_cannot_be_touched() {
    let mut out = RequestHeader::build("GET", b"/", None).unwrap();
    for name in ["authorization", "cookie", "x-forwarded-for", "x-plain"] {
        out.insert_header(name.to_owned(), "before").unwrap();
    }
    let mut headers = Headers::request(&mut out);
    for name in [
        "Authorization",
        "cookie",
        "host",
        "x-forwarded-for",
        "X_Forwarded_For",
        "x-session-id",
        "x-request-id",
        "traceparent",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "set-cookie",
        "no name",
    ] {
        assert!(headers.get(name).is_none(), "{name}");
        assert!(headers.set(name, "x").is_err(), "{name}");
        assert!(headers.remove(name).is_err(), "{name}");
    }
    assert_eq!(headers.get("X-Plain"), Some("before"));
    headers.set("x-plain", "after").unwrap();
    assert!(headers.set("x-plain", "a\r\nb").is_err());
    headers.remove("x-none").unwrap();
    assert_eq!(out.headers["authorization"], "before");
    assert_eq!(out.headers["x-plain"], "after");
}

struct Upper;

impl BodyFilter for Upper {
    fn piece(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        assert!(!piece.starts_with(b"panic"), "asked to");
        Ok(piece.to_ascii_uppercase().into())
    }

    fn end(&mut self) -> Result<Bytes, Error> {
        Ok("!".into())
    }
}

struct Bodily;

impl ResponseFilter for Bodily {
    fn body(&self, _: &Request<'_>, _: u16) -> Option<Box<dyn BodyFilter>> {
        Some(Box::new(Upper))
    }
}

#[test]
fn a_body_passes_every_filter_in_pieces() {
    let extensions = extensions(Portcullis::new().response_filter(Bodily).response_filter(Bodily));
    let (request, headers) = request(&[]);
    let mut response = ResponseHeader::build(200, None).unwrap();
    response.insert_header("content-length", "4").unwrap();
    let seen = Request::new(&request, &headers, "/a");
    let mut pieces = extensions.filter_response(seen, &mut response).unwrap();
    assert!(!response.headers.contains_key("content-length"));
    let mut pass = |piece: Option<&'static str>, is_last| {
        let mut piece = piece.map(Bytes::from);
        pieces.pass(&mut piece, is_last, Reason::UpstreamFailed).map(|()| piece)
    };
    assert_eq!(pass(Some("ab"), false).unwrap().unwrap(), "AB");
    // To Pingora, no piece is the end.
    assert_eq!(pass(Some(""), false).unwrap().unwrap(), "");
    // The second one has the first one's end for a piece, and an end of its own.
    assert_eq!(pass(Some("c"), true).unwrap().unwrap(), "C!!");
    let refusal = pass(Some("panic"), false).unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamFailed);
    assert!(!refusal.detail.contains("asked to"), "{}", refusal.detail);
}

#[test]
fn a_program_with_faults_does_not_start() {
    struct Greedy;
    #[async_trait]
    impl Authenticate for Greedy {
        fn credential_headers(&self) -> Vec<String> {
            ["host", "no name", "authorization", "x-key"].map(ToOwned::to_owned).to_vec()
        }

        async fn authenticate(&self, _: &Request<'_>) -> Result<Authentication, Error> {
            Ok(Authentication::NotPresented)
        }
    }
    let program = Portcullis::new()
        .authenticator("a b", Scripted)
        .authenticator("one", Scripted)
        .authenticator("one", Greedy)
        .time_limit(Duration::ZERO);
    let faults = program.sound().err().unwrap();
    for said in ["\"a b\": a name", "two of that name", "\"host\"", "\"no name\"", "time limit"] {
        assert!(faults.contains(said), "{said}: {faults}");
    }
    assert_eq!(faults.lines().count(), 5, "{faults}");
}

#[test]
fn an_unknown_name_is_told_with_those_there_are() {
    let why = scripted().authenticator("scriptet").err().unwrap();
    assert!(why.contains("\"scriptet\"") && why.contains("\"scripted\""), "{why}");
    assert!(Extensions::default().source("x").unwrap_err().contains("has none"));
}

struct Shared(Arc<Mutex<Vec<String>>>, bool);

impl AuditSink for Shared {
    fn write(&mut self, records: &[AuditRecord<'_>]) -> io::Result<()> {
        for record in records {
            assert_ne!(record.field("kind"), Some("panic".into()));
            self.0.lock().unwrap().push(record.json().to_owned());
        }
        if self.1 { Ok(()) } else { Err(io::Error::other("full")) }
    }
}

#[test]
fn every_sink_gets_every_record_and_one_that_fails_is_told() {
    let kept: Vec<_> = (0..2).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
    let tee = |second| {
        let [one, two] = [0, 1].map(|at: usize| Arc::clone(&kept[at]));
        let sinks: Sinks = vec![Box::new(Shared(one, second)), Box::new(Shared(two, true))];
        Tee::new(None, sinks)
    };
    let line = |text: &str| vec![format!("{text}\n").into_bytes()];
    tee(true).write(&line("{\"kind\":\"audit\"}")).unwrap();
    assert!(tee(false).write(&line("{\"kind\":\"audit\"}")).is_err());
    for kept in &kept {
        assert_eq!(*kept.lock().unwrap(), ["{\"kind\":\"audit\"}", "{\"kind\":\"audit\"}"]);
    }
    let failed = tee(true).write(&line("{\"kind\":\"panic\"}")).unwrap_err();
    assert!(failed.to_string().contains("panicked"), "{failed}");
}
