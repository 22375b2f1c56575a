//! A question as bytes on a wire, and those bytes as the server reads them: with Pingora's own
//! session, so that whatever its parser mends, drops or refuses is mended, dropped and refused
//! here as well.

use std::{io::Cursor, net::IpAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::protocols::http::v1::server::HttpSession;

use super::{Question, Unanswerable};
use crate::{
    refusal::{Reason, Refusal},
    request::{Head, declared_body},
};

/// The request as a client would write it, with these further header lines.
pub(super) fn write(
    question: &Question,
    public_host: &str,
    further: &[(HeaderName, HeaderValue)],
) -> Result<Vec<u8>, Unanswerable> {
    let host = question.host.as_deref().unwrap_or(public_host);
    for (what, text) in [("method", &*question.method), ("path", &*question.target), ("host", host)]
    {
        // They would end the line, and so be another request than the one that is asked about.
        if text.contains(['\r', '\n', '\0']) {
            return Err(Unanswerable::new(format!("the {what} has a line break")));
        }
    }
    if Method::from_bytes(question.method.as_bytes()).is_err() {
        return Err(Unanswerable::new("the method is none that HTTP could carry"));
    }
    let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", question.method, question.target)
        .into_bytes();
    let framed = |(name, _): &(HeaderName, HeaderValue)| {
        *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
    };
    let body = question.body.as_deref().unwrap_or_default();
    if question.body.is_some() && !question.headers.iter().any(framed) {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    for (name, value) in question.headers.iter().chain(further) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

/// A request as the server has read it.
pub(super) struct Received {
    session: HttpSession,
    raw: Bytes,
    body: Option<Bytes>,
}

impl Received {
    /// Reads a head that is there as a whole; `body` follows it on the wire.
    pub(super) async fn read(head: Vec<u8>, body: Option<Bytes>) -> Result<Self, Refusal> {
        let malformed = |detail: String| Refusal::new(Reason::MalformedRequest, detail);
        let mut session = HttpSession::new(Box::new(Cursor::new(head)));
        match session.read_request().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(malformed("there is no request".into())),
            Err(error) => return Err(malformed(error.etype().as_str().to_owned())),
        }
        if session.req_header().method == Method::CONNECT {
            let detail = "tunnels are not made";
            return Err(Refusal::new(Reason::MethodNotAllowed, detail));
        }
        let raw = session.get_headers_raw_bytes();
        Ok(Self { session, raw, body: body.filter(|body| !body.is_empty()) })
    }

    pub(super) fn head(&self, client: Option<IpAddr>) -> Head<'_> {
        let read = self.session.req_header();
        Head {
            parts: read,
            target: read.raw_path(),
            raw: Some(&self.raw),
            peer: client,
            tls: false,
            certificate: None,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.session.req_header().headers
    }

    /// The whole body, as the server reads one that the decision looks into.
    pub(super) fn body(&self, bound: usize) -> Result<Option<&[u8]>, Refusal> {
        declared_body(self.headers(), bound as u64)?;
        match self.body.as_deref() {
            Some(body) if body.len() > bound => {
                Err(Refusal::new(Reason::BodyTooLarge, format!("more than {bound} bytes")))
            }
            body => Ok(body),
        }
    }
}
