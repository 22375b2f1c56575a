//! The trusted view of a request's head, and the path in it.

use std::{net::IpAddr, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::choice;
use crate::{
    authentication::{Presented, presented},
    login::return_to,
    request::{Head, Rules, canonical_host, forwarded::TrustedProxies, header, path},
    trace_context::TraceParent,
};

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    hosts: ["desk.example.com".into(), "localhost".into(), "[::1]".into()].into(),
    trusted_proxies: TrustedProxies::new("10.0.0.0/8".parse().into_iter().collect()),
    allow_clients: None,
    header_bytes: 32 * 1024,
    headers: 100,
    target: 8 * 1024,
});

/// A head as lines, of which the first is method and target: what is accepted has one host of
/// ours and one path, is what will be forwarded, and comes from where it says only as far as the
/// hops are trusted.
pub(super) fn head(input: &[u8]) {
    let (chosen, raw) = choice(input);
    let mut lines = raw.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut first = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let Ok(method) = Method::from_bytes(method) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(300) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = Uri::try_from(target).unwrap_or_default();
    parts.version = if chosen & 1 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
    parts.headers = headers;
    let is_trusted = chosen & 2 != 0;
    let peer = if is_trusted { IpAddr::from([10, 0, 0, 1]) } else { IpAddr::from([192, 0, 2, 1]) };
    let raw = (chosen & 1 == 0).then_some(raw);
    let head = Head {
        parts: &parts,
        target,
        raw,
        peer: Some(peer),
        tls: chosen & 4 != 0,
        certificate: None,
    };
    aliases(&parts.headers);
    authorization(&parts.headers);
    let client = RULES.client(head);
    if !is_trusted {
        assert_eq!(client, Some(peer), "an untrusted hop is believed");
    }
    let Ok(view) = RULES.view(head, || "fresh".into()) else { return };
    assert_eq!(view.client, client);
    assert!(RULES.hosts.contains(&view.host));
    assert_eq!(canonical_host(&view.host).as_deref(), Some(&*view.host));
    assert_eq!(view.target().as_bytes(), target, "another target than that decided on");
    assert!(target.starts_with(view.path().as_bytes()));
    one_reading(view.path());
    assert!((1..=128).contains(&view.request_id.len()));
    assert!(view.request_id.bytes().all(|byte| byte.is_ascii_graphic()));
    if !is_trusted {
        assert_eq!(view.https, head.tls, "a scheme is believed of an untrusted hop");
    }
    assert!(!view.navigation || matches!(view.method, Method::GET | Method::HEAD));
}

/// Whatever stands for a managed name is dropped with it (R5).
fn aliases(headers: &HeaderMap) {
    for name in headers.keys() {
        for (from, to) in [('-', "_"), ('-', "."), ('_', "-"), ('.', "-")] {
            let alias = HeaderName::try_from(name.as_str().replace(from, to));
            if let (true, Ok(alias)) = (header::is_dropped(name) && to != "-", alias) {
                assert!(header::is_dropped(&alias), "{name} is dropped and {alias} is not");
            }
        }
    }
    if let Some(parent) = TraceParent::read(headers) {
        assert!(parent.header().is_some_and(|line| line.len() == 55));
    }
}

fn authorization(headers: &HeaderMap) {
    let lines = || headers.get_all("authorization").iter();
    match presented(lines()) {
        Ok(Presented::Nothing) => assert_eq!(lines().count(), 0),
        Ok(_) => assert_eq!(lines().count(), 1),
        Err(_) => assert!(lines().count() > 1),
    }
}

/// A target: what is accepted reads the same raw and decoded, and so does where a login may
/// return to.
pub(super) fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(end) = path::split(text) {
        let read = text.get(..end);
        assert!(read.is_some(), "the path ends inside a character");
        one_reading(read.unwrap_or_default());
        assert!(text.get(end..).is_some_and(|rest| rest.is_empty() || rest.starts_with('?')));
        assert_eq!(path::split(read.unwrap_or_default()).ok(), Some(end));
    }
    let to = return_to(text, "/.portcullis");
    assert!(to == "/" || to == text);
    // Wherever a browser is, this leads to a path of the same origin.
    let origin = url::Url::parse("https://desk.example.com/a/b").ok();
    let led = origin.as_ref().and_then(|origin| origin.join(to).ok());
    assert_eq!(led.map(|led| led.origin()), origin.map(|origin| origin.origin()), "{to:?}");
    if let Some(host) = canonical_host(text) {
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
}

fn one_reading(path: &str) {
    assert_eq!(path::canonical(path), Ok(()));
    let once = decoded(path.as_bytes());
    assert_eq!(decoded(&once), once, "decoding twice makes another path of {path:?}");
    let slashes = |path: &[u8]| path.split(|byte| *byte == b'/').count();
    assert_eq!(slashes(path.as_bytes()), slashes(&once), "{path:?}");
    for odd in ["//", "/./", "/../", "\\", ";", "#", "?"] {
        assert!(!once.windows(odd.len()).any(|window| window == odd.as_bytes()), "{path:?}");
    }
    assert!(!once.ends_with(b"/.") && !once.ends_with(b"/.."), "{path:?}");
    assert!(std::str::from_utf8(&once).is_ok(), "{path:?}");
    assert!(!once.iter().any(u8::is_ascii_control), "{path:?}");
}

/// By the library, which is not what [`path::canonical`] decodes with.
fn decoded(path: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(path).collect()
}
