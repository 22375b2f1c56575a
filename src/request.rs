//! The trusted view of a request: one Host of ours, strict framing, one canonical path, the
//! client's real address. Whatever has two readings is refused here.
//!
//! Pure: it looks at a head that was read and names no socket. Pingora has parsed the head by
//! then and is more lenient than a gateway may be (RFC 9112); what it lets through and we do not
//! is refused in [`Rules::view`].

pub mod forwarded;
pub mod header;
pub mod path;

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Version, header as names, request::Parts};

use ipnet::IpNet;

use self::forwarded::TrustedProxies;
use crate::{
    certificate::PeerCertificate,
    refusal::{Reason, Refusal},
};

/// What every request is held against; made once from the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Hosts answered, lower case, without port and trailing dot.
    pub hosts: HashSet<Arc<str>>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Networks from which clients may come; `None`: from everywhere.
    pub allow_clients: Option<Vec<IpNet>>,
    /// Bytes of the whole head.
    pub header_bytes: usize,
    /// Header lines.
    pub headers: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// A head as it was read, before anything of it is believed.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Method, version and header lines as parsed.
    pub parts: &'a Parts,
    /// The request target as it will be forwarded.
    pub target: &'a [u8],
    /// The bytes of an HTTP/1 head; `None` for HTTP/2, which has no such form.
    pub raw: Option<&'a [u8]>,
    /// The other end of the connection; `None` for a socket without one.
    pub peer: Option<IpAddr>,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The client certificate of the connection.
    pub certificate: Option<&'a Arc<PeerCertificate>>,
}

/// The trusted view. Routing, policy and records know the request only through it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with one reader")]
pub struct TrustedRequest {
    /// The method, as sent.
    pub method: Method,
    /// The request target, byte for byte as forwarded.
    target: Box<str>,
    /// Where the path ends in it.
    path: usize,
    /// One of [`Rules::hosts`].
    pub host: Arc<str>,
    /// The client's address; `None` when the socket had none.
    pub client: Option<IpAddr>,
    /// Whether the client spoke TLS, here or at a trusted proxy.
    pub https: bool,
    /// What the connection itself proved; never what a header says (R8).
    pub certificate: Option<Arc<PeerCertificate>>,
    /// The caller's `X-Request-Id` when it is a plain token, else ours.
    pub request_id: Arc<str>,
    /// Whether a person's browser is going to a page (rather than a script or a program).
    pub navigation: bool,
    /// Whether it asks for more than reading: any method but GET, HEAD and OPTIONS, and a change
    /// of protocol (a WebSocket is opened with GET).
    pub changes_state: bool,
    /// Whether the client takes HTML, so that a refusal can be a page.
    pub takes_html: bool,
}

impl TrustedRequest {
    /// The canonical path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.get(..self.path).unwrap_or_default()
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.get(self.path + 1..)
    }

    /// Path and query as they are forwarded.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl Rules {
    /// Reads a head strictly.
    ///
    /// `fresh_id` makes a request id where the caller brought none that can be used.
    ///
    /// # Errors
    /// `client_not_allowed` before anything else; a refusal of kind 400, 414, 421 or 431. Nothing
    /// of the request may then be used.
    pub fn view(
        &self,
        head: Head<'_>,
        fresh_id: impl FnOnce() -> Arc<str>,
    ) -> Result<TrustedRequest, Refusal> {
        let headers = &head.parts.headers;
        let forwarded = self.trusted_proxies.read(headers, head.peer, head.tls);
        self.allowed(forwarded.client)?;
        self.size(head)?;
        framing(head)?;
        target_as_sent(head)?;
        for name in SENT_ONCE {
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(Refusal::new(Reason::DuplicateHeader, name.as_str().to_owned()));
            }
        }
        let host = self.host(head)?;
        let target = std::str::from_utf8(head.target)
            .map_err(|_| Refusal::new(Reason::MalformedRequest, "target is not ASCII"))?;
        let path = path::split(target)?;
        let takes_html = takes_html(headers);
        Ok(TrustedRequest {
            method: head.parts.method.clone(),
            target: target.into(),
            path,
            host,
            client: forwarded.client,
            https: forwarded.https,
            certificate: head.certificate.cloned(),
            request_id: header::plain_token(headers, "x-request-id", 128)
                .map_or_else(fresh_id, Into::into),
            navigation: navigates(&head.parts.method, headers, takes_html),
            changes_state: !matches!(
                head.parts.method,
                Method::GET | Method::HEAD | Method::OPTIONS
            ) || headers.contains_key(names::UPGRADE),
            takes_html,
        })
    }

    /// The address that a request comes from, whether or not it can be viewed.
    #[must_use]
    pub fn client(&self, head: Head<'_>) -> Option<IpAddr> {
        self.trusted_proxies.read(&head.parts.headers, head.peer, head.tls).client
    }

    /// Whether the other end of the connection is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.trusted_proxies.trusts(peer.to_canonical()))
    }

    /// Who cannot be placed is outside.
    fn allowed(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(networks) = &self.allow_clients else { return Ok(()) };
        match client {
            Some(client) if networks.iter().any(|network| network.contains(&client)) => Ok(()),
            _ => Err(Refusal::new(
                Reason::ClientNotAllowed,
                "the client's address is in none of perimeter.allow_clients",
            )),
        }
    }

    fn size(&self, head: Head<'_>) -> Result<(), Refusal> {
        if head.target.len() > self.target {
            let detail = format!("target of {} bytes", head.target.len());
            return Err(Refusal::new(Reason::TargetTooLong, detail));
        }
        let headers = &head.parts.headers;
        if headers.len() > self.headers {
            let detail = format!("{} header lines", headers.len());
            return Err(Refusal::new(Reason::HeadersTooLarge, detail));
        }
        let bytes = head.raw.map_or_else(
            || headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum(),
            <[u8]>::len,
        );
        if bytes > self.header_bytes {
            return Err(Refusal::new(Reason::HeadersTooLarge, format!("head of {bytes} bytes")));
        }
        Ok(())
    }

    /// RFC 9112, section 3.2: exactly one Host; for HTTP/2 the authority (RFC 9113, section 8.3.1).
    fn host(&self, head: Head<'_>) -> Result<Arc<str>, Refusal> {
        let malformed = |detail: &'static str| Refusal::new(Reason::MalformedRequest, detail);
        let mut lines = head.parts.headers.get_all(names::HOST).iter();
        let line = lines.next().map(|value| value.to_str()).transpose();
        let line = line.map_err(|_| malformed("Host is not ASCII"))?;
        let authority = head.parts.uri.authority().map(http::uri::Authority::as_str);
        let named = match (head.raw.is_some(), line, authority) {
            // Absolute-form: HTTP/1 clients use it towards forward proxies, which this is not.
            (true, _, Some(_)) => return Err(malformed("target is not in origin-form")),
            (true, Some(host), None) => host,
            (false, host, Some(authority)) => {
                if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
                    return Err(malformed("Host and :authority disagree"));
                }
                authority
            }
            _ => return Err(malformed("no Host")),
        };
        let host = canonical_host(named).ok_or_else(|| malformed("Host is malformed"))?;
        let ours = self.hosts.get(&*host).map(Arc::clone);
        ours.ok_or_else(|| Refusal::new(Reason::UnknownHost, format!("host {host}")))
    }
}

/// Refuses a body that says beforehand that it is too large, before any of it is read.
///
/// # Errors
/// `body_too_large` beyond `bound` bytes.
pub fn declared_body(headers: &HeaderMap, bound: u64) -> Result<(), Refusal> {
    let declared = headers.get(names::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.map(str::parse::<u64>) {
        Some(Ok(length)) if length <= bound => Ok(()),
        None => Ok(()),
        Some(_) => {
            Err(Refusal::new(Reason::BodyTooLarge, format!("more than {bound} bytes announced")))
        }
    }
}

/// A host as it is compared: lower case, without port and without one trailing dot (R11).
/// `None` when it is not a host with an optional port.
#[must_use]
pub fn canonical_host(authority: &str) -> Option<Box<str>> {
    let port_at = match authority.rfind(']') {
        Some(end) => authority.get(end + 1..)?.find(':').map(|at| end + 1 + at),
        None => authority.find(':'),
    };
    let (host, port) = match port_at {
        Some(at) => (authority.get(..at)?, authority.get(at + 1..)?),
        None => (authority, ""),
    };
    if port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some(v6) = host.strip_prefix('[') {
        let v6 = v6.strip_suffix(']')?;
        v6.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(host.to_ascii_lowercase().into());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let fits = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    fits.then(|| host.to_ascii_lowercase().into())
}

/// Headers that decide something and have one value (R9). `Cookie` is not among them: HTTP/2
/// sends it in several lines.
const SENT_ONCE: [names::HeaderName; 8] = [
    names::HOST,
    names::AUTHORIZATION,
    names::CONTENT_LENGTH,
    names::TRANSFER_ENCODING,
    names::CONTENT_TYPE,
    names::EXPECT,
    names::ORIGIN,
    names::PROXY_AUTHORIZATION,
];

/// RFC 9112, section 6, without its leniencies.
fn framing(head: Head<'_>) -> Result<(), Refusal> {
    let malformed = |detail: &'static str| Err(Refusal::new(Reason::MalformedRequest, detail));
    let headers = &head.parts.headers;
    match head.parts.version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => {}
        _ => return malformed("unknown HTTP version"),
    }
    if let Some(coding) = headers.get(names::TRANSFER_ENCODING) {
        if head.parts.version != Version::HTTP_11 {
            return malformed("Transfer-Encoding outside HTTP/1.1");
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return malformed("a transfer coding other than chunked");
        }
        // Pingora has already dropped a Content-Length that came with it, so the bytes tell.
        if head.raw.is_some_and(|raw| has_line(raw, b"content-length")) {
            return malformed("Content-Length beside Transfer-Encoding");
        }
    }
    if let Some(length) = headers.get(names::CONTENT_LENGTH)
        && (length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return malformed("Content-Length is not a number");
    }
    if let Some(expect) = headers.get(names::EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return malformed("an expectation other than 100-continue");
    }
    if head.raw.is_some_and(has_bare_line_feed) {
        return malformed("a line ends with a bare LF");
    }
    Ok(())
}

/// What is looked at is what was sent: Pingora drops a fragment, which other readers take for a
/// part of the path (R3).
fn target_as_sent(head: Head<'_>) -> Result<(), Refusal> {
    let Some(raw) = head.raw else { return Ok(()) };
    // Empty lines may come first (RFC 9112, section 2.2).
    let mut lines = raw.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    match line.split(|&byte| byte == b' ').nth(1) {
        Some(sent) if sent == head.target => Ok(()),
        Some(sent) if sent.contains(&b'#') => {
            Err(Refusal::new(Reason::AmbiguousPath, "a fragment"))
        }
        _ => Err(Refusal::new(Reason::MalformedRequest, "the target was rewritten as it was read")),
    }
}

fn has_bare_line_feed(raw: &[u8]) -> bool {
    let before = |at: usize| at.checked_sub(1).and_then(|at| raw.get(at));
    memchr::memchr_iter(b'\n', raw).any(|at| before(at) != Some(&b'\r'))
}

fn has_line(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|&byte| byte == b'\n').any(|line| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    })
}

/// A navigation may be answered with a redirect; everything else gets a status. Browsers say so
/// with `Sec-Fetch-Mode` (Fetch Metadata); older ones only by what they accept.
fn navigates(method: &Method, headers: &HeaderMap, takes_html: bool) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode.as_bytes() == b"navigate",
        None => takes_html,
    }
}

fn takes_html(headers: &HeaderMap) -> bool {
    headers.get_all(names::ACCEPT).iter().any(|accept| {
        accept.as_bytes().split(|&byte| byte == b',').any(|range| {
            let kind = range.split(|&byte| byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
        })
    })
}

#[cfg(test)]
mod tests;
