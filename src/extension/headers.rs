//! The headers that a filter may read and change: all that the gateway does not manage.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{error::Error, request::SECRET};
use crate::request::header::is_dropped;

/// Headers on their way. Those that the gateway manages can be neither seen nor changed:
/// credentials, cookies, identity and forwarding headers, and everything that frames a message.
pub struct Headers<'a>(Head<'a>);

enum Head<'a> {
    Request(&'a mut RequestHeader),
    Response(&'a mut ResponseHeader),
}

impl<'a> Headers<'a> {
    pub(super) const fn request(head: &'a mut RequestHeader) -> Self {
        Self(Head::Request(head))
    }

    pub(super) const fn response(head: &'a mut ResponseHeader) -> Self {
        Self(Head::Response(head))
    }

    fn all(&self) -> &HeaderMap {
        match &self.0 {
            Head::Request(head) => &head.headers,
            Head::Response(head) => &head.headers,
        }
    }

    /// The first line of this name, if it is visible ASCII.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = HeaderName::try_from(name).ok()?;
        if is_managed(&name) {
            return None;
        }
        self.all().get(name)?.to_str().ok()
    }

    /// Sets a header, in place of every line that it has.
    ///
    /// # Errors
    /// When the name is managed by the gateway, or name or value are none that HTTP has.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = (free(name)?, HeaderValue::try_from(value)?);
        let set = match &mut self.0 {
            Head::Request(head) => head.insert_header(name, value),
            Head::Response(head) => head.insert_header(name, value),
        };
        set.map_err(|_| Error::new("the header cannot be set"))
    }

    /// Takes every line of a header away.
    ///
    /// # Errors
    /// When the name is managed by the gateway, or none that HTTP has.
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        let name = free(name)?;
        match &mut self.0 {
            Head::Request(head) => head.remove_header(&name),
            Head::Response(head) => head.remove_header(&name),
        };
        Ok(())
    }
}

fn free(name: &str) -> Result<HeaderName, Error> {
    let name = HeaderName::try_from(name)?;
    if is_managed(&name) {
        return Err(Error::new(format!("{name} is managed by the gateway")));
    }
    Ok(name)
}

/// Whether a header is the gateway's own business, on the way there and back.
pub(super) fn is_managed(name: &HeaderName) -> bool {
    is_dropped(name) || SECRET.contains(name) || MANAGED.contains(name)
}

/// Beside credentials and what is dropped from outside.
const MANAGED: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::SET_COOKIE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
