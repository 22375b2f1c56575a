use http::Request;
use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules {
        hosts: ["desk.example.com".into(), "[::1]".into()].into(),
        trusted_proxies: TrustedProxies::default(),
        allow_clients: None,
        header_bytes: 1024,
        headers: 10,
        target: 64,
    }
}

/// Parses what Pingora would hand over for these lines.
fn view(raw: &str) -> Result<TrustedRequest, Refusal> {
    let (line, rest) = raw.split_once('\n').unwrap();
    let mut words = line.trim().splitn(3, ' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request::builder().method(method);
    if target.starts_with("http") {
        request = request.uri(target);
    }
    if words.next() == Some("HTTP/1.0") {
        request = request.version(Version::HTTP_10);
    }
    let chunked = rest.to_ascii_lowercase().contains("transfer-encoding");
    for header in rest.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = header.split_once(':').unwrap();
        // As Pingora does: Content-Length is gone when there is a transfer coding.
        if !(chunked && name.eq_ignore_ascii_case("content-length")) {
            request = request.header(name, value.trim());
        }
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let head = Head {
        parts: &parts,
        target: target.as_bytes(),
        raw: Some(raw.as_bytes()),
        peer: Some(IpAddr::from([192, 0, 2, 1])),
        tls: false,
        certificate: None,
    };
    rules().view(head, || "fresh".into())
}

fn refused(raw: &str) -> Reason {
    view(raw).expect_err(raw).reason
}

#[test]
fn a_plain_request() {
    let request =
        view("GET /a/b?c=d HTTP/1.1\r\nHost: DESK.example.com.:8443\r\nAccept: text/html\r\n")
            .unwrap();
    assert_eq!((request.path(), request.query()), ("/a/b", Some("c=d")));
    assert_eq!(&*request.host, "desk.example.com");
    assert_eq!(&*request.request_id, "fresh");
    assert!(request.navigation && !request.https);
    assert!(view("GET / HTTP/1.1\r\nHost: [::1]:80\r\n").is_ok());
    assert_eq!(view("GET / HTTP/1.1\r\nHost: [::1]\r\n").unwrap().query(), None);
    assert_eq!(view("GET /? HTTP/1.1\r\nHost: [::1]\r\n").unwrap().query(), Some(""));
}

#[test]
fn r11_the_host_is_compared_in_one_form() {
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: evil.example.com\r\n"), Reason::UnknownHost);
    for host in
        ["", "a b", "u@desk.example.com", "desk.example.com:x", "desk.example.com:123456", "[::1"]
    {
        let raw = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
        assert_eq!(refused(&raw), Reason::MalformedRequest, "{host}");
    }
    assert_eq!(refused("GET / HTTP/1.1\r\nAccept: a\r\n"), Reason::MalformedRequest);
    let many: Rules =
        Rules { hosts: (0..1000).map(|n| format!("h{n}.example.com").into()).collect(), ..rules() };
    for n in 0..1000 {
        assert!(many.hosts.contains(&*canonical_host(&format!("H{n}.Example.COM.:443")).unwrap()));
    }
}

#[test]
fn r03_a_fragment_that_was_dropped_before_is_refused() {
    let raw = "\r\nGET /a#b HTTP/1.1\r\nHost: [::1]\r\n\r\n";
    let request = Request::builder().uri("/a").header("host", "[::1]").body(()).unwrap();
    let (parts, ()) = request.into_parts();
    let head = Head {
        parts: &parts,
        target: b"/a",
        raw: Some(raw.as_bytes()),
        peer: None,
        tls: false,
        certificate: None,
    };
    assert_eq!(rules().view(head, || "x".into()).unwrap_err().reason, Reason::AmbiguousPath);
    let other = Head { raw: Some(b"GET /c HTTP/1.1\r\nHost: [::1]\r\n\r\n"), ..head };
    assert_eq!(rules().view(other, || "x".into()).unwrap_err().reason, Reason::MalformedRequest);
    let same = Head { raw: Some(b"\r\nGET /a HTTP/1.1\r\nHost: [::1]\r\n\r\n"), ..head };
    assert!(rules().view(same, || "x".into()).is_ok());
}

#[test]
fn r09_what_decides_is_sent_once() {
    for name in ["Host", "Authorization", "Content-Type", "Origin"] {
        let raw = format!("GET / HTTP/1.1\r\nHost: [::1]\r\n{name}: a\r\n{name}: a\r\n");
        assert_eq!(refused(&raw), Reason::DuplicateHeader, "{name}");
    }
}

#[test]
fn r29_framing_is_strict() {
    for lines in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length:",
        "Expect: 200-ok",
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: [::1]\r\n{lines}\r\n");
        assert_eq!(refused(&raw), Reason::MalformedRequest, "{lines}");
    }
    let old = "POST / HTTP/1.0\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(refused(old), Reason::MalformedRequest);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: [::1]\n\r\n"), Reason::MalformedRequest);
    assert_eq!(refused("GET http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\n"), Reason::MalformedRequest);
    assert!(view("POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: Chunked\r\n").is_ok());
}

#[test]
fn sizes_are_bounded() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: [::1]\r\n", "a".repeat(64));
    assert_eq!(refused(&long), Reason::TargetTooLong);
    let large = format!("GET / HTTP/1.1\r\nHost: [::1]\r\nA: {}\r\n", "a".repeat(1024));
    assert_eq!(refused(&large), Reason::HeadersTooLarge);
    let many = format!("GET / HTTP/1.1\r\nHost: [::1]\r\n{}", "a: b\r\n".repeat(10));
    assert_eq!(refused(&many), Reason::HeadersTooLarge);
}

#[test]
fn navigations() {
    let navigates = |lines: &str| {
        view(&format!("GET / HTTP/1.1\r\nHost: [::1]\r\n{lines}\r\n")).unwrap().navigation
    };
    assert!(navigates("Sec-Fetch-Mode: navigate"));
    assert!(navigates("Accept: text/html,application/xhtml+xml"));
    assert!(!navigates("Sec-Fetch-Mode: cors\r\nAccept: text/html"));
    assert!(!navigates("Accept: */*"));
    assert!(!navigates("Accept: application/json"));
    let post = view("POST / HTTP/1.1\r\nHost: [::1]\r\nSec-Fetch-Mode: navigate\r\n").unwrap();
    assert!(!post.navigation);
}

#[test]
fn a_request_id_is_kept_when_it_is_a_plain_token() {
    let id = |value: &str| {
        let raw = format!("GET / HTTP/1.1\r\nHost: [::1]\r\nX-Request-Id: {value}\r\n");
        view(&raw).unwrap().request_id
    };
    assert_eq!(&*id("abc-123"), "abc-123");
    for odd in ["a b", "a\"b", &"a".repeat(129), "<script>"] {
        assert_eq!(&*id(odd), "fresh", "{odd}");
    }
}

proptest! {
    #[test]
    fn any_host_is_read_or_refused(host in "\\PC{0,40}") {
        if let Some(canonical) = canonical_host(&host) {
            prop_assert_eq!(canonical_host(&canonical), Some(canonical.clone()));
        }
    }
}
