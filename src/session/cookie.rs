//! Our cookies (RFC 6265): reading them from a request, hiding them from upstreams, and the
//! `Set-Cookie` lines of a session.
//!
//! A session's sealed bytes are base64url, cut into [`CHUNK`]-byte pieces: `NAME` holds
//! `count.piece`, `NAME.1` and so on hold the rest. The count is one digit, judged before any
//! work (R15); whether the pieces belong together is the seal's to say.
//!
//! Login cookies, `NAME-login.…`, are only collected and hidden here; `login::flow` reads them.

#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;

use super::{
    Session,
    key_ring::{KeyRing, KeyRingError, Label},
    ticket::Ticket,
};
use crate::{
    refusal::{Reason, Refusal},
    time::Timestamp,
};

/// Whether browsers send our cookies with requests that other sites cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// With top-level navigations.
    Lax,
    /// Always; browsers demand HTTPS.
    None,
}

/// How our cookies are named and guarded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name without a prefix.
    pub name: String,
    /// Whether clients see us over HTTPS: adds `__Host-` and `Secure`.
    pub secure: bool,
    /// For the session cookie; login cookies are always `Lax`.
    pub same_site: SameSite,
}

/// The name in [`Settings`] is no cookie name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie's name is 1 to 64 letters, digits, `-` and `_`, without a `__Host-` prefix")]
pub struct InvalidName;

/// Our cookies and the keys that seal them.
#[derive(Debug)]
pub struct Jar {
    session: String,
    login: String,
    secure: bool,
    same_site: SameSite,
    ring: KeyRing,
}

/// Those cookies of one request that are ours.
#[derive(Clone, Debug, Default)]
pub struct Cookies<'a> {
    chunks: Chunks<'a>,
    logins: Vec<(&'a str, &'a [u8])>,
}

/// The pieces of a session's cookie.
pub(crate) type Chunks<'a> = [Option<&'a [u8]>; MAX_CHUNKS];

/// Which pieces of a session's cookie a browser holds: those that its next one does not need have
/// to be cleared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces([bool; MAX_CHUNKS]);

/// What a request's session cookie came to.
#[derive(Debug)]
pub enum Opened {
    /// There is none.
    NotPresented,
    /// It is one that we sealed. Whether it still counts is for [`Session::check`].
    Session(Box<Session>),
    /// There is one and it is not ours, not whole or not for this cookie; with what is wrong.
    Failed(&'static str),
}

/// What a request's cookie came to, where sessions are kept elsewhere.
pub(crate) enum OpenedTicket {
    NotPresented,
    Ticket(Ticket),
    /// As [`Opened::Failed`].
    Failed(&'static str),
}

/// Why a session cannot be sent to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// Browsers would not keep it.
    #[error("the session takes {size} bytes of cookies and {limit} is the most")]
    TooLarge {
        /// Its sealed and encoded size in bytes.
        size: usize,
        /// The most that is sent.
        limit: usize,
    },
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] KeyRingError),
}

impl Jar {
    /// The jar for one public origin.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(settings: &Settings, ring: KeyRing) -> Result<Self, InvalidName> {
        let name = settings.name.as_str();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if name.is_empty() || name.len() > 64 || !plain || name.starts_with("__") {
            return Err(InvalidName);
        }
        let session = format!("{}{name}", if settings.secure { "__Host-" } else { "" });
        Ok(Self {
            login: format!("{session}-login."),
            session,
            secure: settings.secure,
            same_site: settings.same_site,
            ring,
        })
    }

    /// Whether a cookie of this name is ours.
    #[must_use]
    pub fn owns(&self, name: &[u8]) -> bool {
        !matches!(self.kind(name), Kind::Other)
    }

    /// Picks our cookies out of a request's `Cookie` fields (HTTP/2 may send several).
    ///
    /// # Errors
    /// [`Reason::DuplicateHeader`] when one of them is there twice: which one the browser means,
    /// and who set the other, cannot be known (R9).
    pub fn read<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Cookies<'a>, Refusal> {
        let mut cookies = Cookies::default();
        for (name, value) in fields.into_iter().flat_map(pairs) {
            match self.kind(name) {
                Kind::Other | Kind::Ignored => {}
                Kind::Chunk(at) => {
                    if let Some(slot) = cookies.chunks.get_mut(at)
                        && slot.replace(value).is_some()
                    {
                        return Err(duplicate());
                    }
                }
                Kind::Login(name) => {
                    if cookies.logins.iter().any(|(seen, _)| *seen == name) {
                        return Err(duplicate());
                    }
                    if cookies.logins.len() < MAX_LOGINS_READ {
                        cookies.logins.push((name, value));
                    }
                }
            }
        }
        Ok(cookies)
    }

    /// The `Cookie` value for an upstream: every cookie of ours gone, the others byte for byte
    /// and in order, joined by `; `. `None` when nothing is left.
    pub fn strip<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>) -> Option<HeaderValue> {
        let mut kept: Vec<u8> = Vec::new();
        for piece in fields.into_iter().flat_map(pieces) {
            if matches!(self.kind(split(piece).0), Kind::Other) {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(piece);
            }
        }
        if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept).ok() }
    }

    /// Opens the session cookie.
    #[must_use]
    pub fn open(&self, cookies: &Cookies<'_>) -> Opened {
        match self.unseal(cookies, SESSION) {
            None => Opened::NotPresented,
            Some(Err(why)) => Opened::Failed(why),
            Some(Ok(plain)) => Session::from_bytes(&plain)
                .map_or(Opened::Failed("the session is of another version"), |session| {
                    Opened::Session(Box::new(session))
                }),
        }
    }

    /// Opens the cookie of a session that is kept elsewhere.
    pub(crate) fn open_ticket(&self, cookies: &Cookies<'_>) -> OpenedTicket {
        match self.unseal(cookies, TICKET) {
            None => OpenedTicket::NotPresented,
            Some(Err(why)) => OpenedTicket::Failed(why),
            Some(Ok(plain)) => Ticket::from_bytes(&plain).map_or(
                OpenedTicket::Failed("the ticket is of another version"),
                OpenedTicket::Ticket,
            ),
        }
    }

    /// The `Set-Cookie` lines that store a session and clear those of the request's pieces that
    /// it no longer needs.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn save(
        &self,
        session: &Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, SaveError> {
        self.write(SESSION, &session.to_bytes(), session.ends, replaces, now)
    }

    /// The same for a session that is kept elsewhere.
    pub(crate) fn save_ticket(
        &self,
        ticket: &Ticket,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, SaveError> {
        self.write(TICKET, &ticket.to_bytes(), ticket.ends, replaces, now)
    }

    fn write(
        &self,
        purpose: &str,
        plain: &[u8],
        ends: Timestamp,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, SaveError> {
        let encoded = URL_SAFE_NO_PAD.encode(self.ring.seal(self.label(purpose), plain)?);
        let count = encoded.len().div_ceil(CHUNK);
        if count > MAX_CHUNKS {
            let (size, limit) = (encoded.len(), CHUNK * MAX_CHUNKS);
            return Err(SaveError::TooLarge { size, limit });
        }
        let left = ends.since(now);
        let mut rest = encoded.as_str();
        let mut lines = Vec::with_capacity(count);
        for at in 0..count {
            let (piece, after) = rest.split_at(rest.len().min(CHUNK));
            rest = after;
            let value = if at == 0 { format!("{count}.{piece}") } else { piece.to_owned() };
            lines.extend(self.line(&self.chunk_name(at), &value, left, self.same_site));
        }
        let stale = (count..MAX_CHUNKS).filter(|&at| replaces.0.get(at) == Some(&true));
        lines.extend(stale.filter_map(|at| self.expire(&self.chunk_name(at), self.same_site)));
        Ok(lines)
    }

    /// The `Set-Cookie` lines that end the session in the browser, whatever it holds.
    #[must_use]
    pub fn clear(&self) -> Vec<HeaderValue> {
        (0..MAX_CHUNKS).filter_map(|at| self.expire(&self.chunk_name(at), self.same_site)).collect()
    }

    /// What seals the login cookies.
    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// What login cookies' names begin with.
    pub(crate) fn login_prefix(&self) -> &str {
        &self.login
    }

    /// The `Set-Cookie` line of a login cookie. `Lax` whatever the session's setting is: the
    /// callback is a navigation that another site causes.
    pub(crate) fn login_line(&self, name: &str, value: &str, age: Duration) -> Option<HeaderValue> {
        self.line(name, value, age, SameSite::Lax)
    }

    /// The `Set-Cookie` line that removes a login cookie.
    pub(crate) fn clear_login(&self, name: &str) -> Option<HeaderValue> {
        self.expire(name, SameSite::Lax)
    }

    /// Whether the browser withholds the session cookie from a navigation that another site
    /// began, redirects included.
    pub(crate) fn withheld_after_redirect(&self) -> bool {
        self.same_site == SameSite::Strict
    }

    /// `None` when no piece of a session cookie is there.
    fn unseal(
        &self,
        cookies: &Cookies<'_>,
        purpose: &str,
    ) -> Option<Result<Vec<u8>, &'static str>> {
        match cookies.chunks {
            // A browser that lost its first piece still has to be told to log in again.
            [None, ..] if cookies.chunks.iter().any(Option::is_some) => {
                Some(Err("the session cookie's first piece is missing"))
            }
            [None, ..] => None,
            [Some(first), ref rest @ ..] => Some(join(first, rest).and_then(|sealed| {
                let plain = self.ring.open(self.label(purpose), &sealed);
                plain.ok_or("no key of ours opens the session cookie")
            })),
        }
    }

    fn label<'a>(&'a self, purpose: &'a str) -> Label<'a> {
        Label { purpose, name: &self.session, extra: "" }
    }

    fn chunk_name(&self, at: usize) -> String {
        if at == 0 { self.session.clone() } else { format!("{}.{at}", self.session) }
    }

    fn kind<'a>(&self, name: &'a [u8]) -> Kind<'a> {
        if let Some(rest) = name.strip_prefix(self.session.as_bytes()) {
            match rest {
                [] => return Kind::Chunk(0),
                [b'.', digit @ b'1'..=b'9'] if usize::from(digit - b'0') < MAX_CHUNKS => {
                    return Kind::Chunk(usize::from(digit - b'0'));
                }
                [b'.', ..] => return Kind::Ignored,
                _ => {}
            }
        }
        if !name.starts_with(self.login.as_bytes()) {
            return Kind::Other;
        }
        // Bounded, since these names go back into `Set-Cookie` lines that clear them.
        let longest = self.login.len() + 64;
        match std::str::from_utf8(name) {
            Ok(name) if name.len() <= longest && name.bytes().all(is_token) => Kind::Login(name),
            _ => Kind::Ignored,
        }
    }

    fn line(
        &self,
        name: &str,
        value: &str,
        age: Duration,
        same_site: SameSite,
    ) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let same_site = match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let age = age.as_secs();
        // Names and values are tokens and base64url, so this never fails.
        HeaderValue::try_from(format!(
            "{name}={value}; Path=/; HttpOnly{secure}; SameSite={same_site}; Max-Age={age}"
        ))
        .ok()
    }

    fn expire(&self, name: &str, same_site: SameSite) -> Option<HeaderValue> {
        self.line(name, "", Duration::ZERO, same_site)
    }
}

impl<'a> Cookies<'a> {
    /// Whether the request carried any piece of a session.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.chunks.iter().any(Option::is_some)
    }

    /// Which pieces of a session it carried.
    #[must_use]
    pub fn pieces(&self) -> Pieces {
        Pieces(self.chunks.map(|chunk| chunk.is_some()))
    }

    /// The pieces of a session that it carried.
    pub(crate) const fn chunks(&self) -> Chunks<'a> {
        self.chunks
    }

    /// Login cookies: whole name and value, in the order of the request.
    pub(crate) fn logins(&self) -> &[(&'a str, &'a [u8])] {
        &self.logins
    }
}

enum Kind<'a> {
    Other,
    Chunk(usize),
    Login(&'a str),
    /// In our name space and of no use: hidden from upstreams all the same.
    Ignored,
}

/// Puts a session's pieces together; every bound is checked before anything is copied.
fn join(first: &[u8], rest: &[Option<&[u8]>]) -> Result<Vec<u8>, &'static str> {
    let [digit @ b'1'..=b'9', b'.', piece @ ..] = first else {
        return Err("the session cookie has no count");
    };
    let more = usize::from(digit - b'1');
    let Some(rest) = rest.get(..more) else {
        return Err("the session cookie counts more pieces than there can be");
    };
    let mut joined = Vec::with_capacity(CHUNK * (more + 1));
    for piece in std::iter::once(Some(piece)).chain(rest.iter().copied()) {
        match piece {
            None | Some([]) => return Err("a piece of the session cookie is missing"),
            Some(piece) if piece.len() > CHUNK => {
                return Err("a piece of the session cookie is too large");
            }
            Some(piece) => joined.extend_from_slice(piece),
        }
    }
    URL_SAFE_NO_PAD.decode(joined).map_err(|_| "the session cookie is not base64url")
}

/// The cookies of one field, without the blanks around them.
fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|&b| b == b';').map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pieces(field).map(split)
}

/// Name and value; a piece without `=` is a name, so that it cannot hide one of ours.
fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = piece.splitn(2, |&b| b == b'=').map(<[u8]>::trim_ascii);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn duplicate() -> Refusal {
    Refusal::new(Reason::DuplicateHeader, "one of our cookies was sent twice")
}

/// Purposes: neither opens as the other.
const SESSION: &str = "session";
const TICKET: &str = "session ticket";

/// Bytes of value in one cookie; with name and attributes this stays under the 4,096 that
/// browsers are asked to keep (RFC 6265, section 6.1).
const CHUNK: usize = 3_800;

/// With the default limit of 32 KiB for a whole head, more would shut their owner out.
pub(crate) const MAX_CHUNKS: usize = 5;

/// Far more than the gateway lets a browser keep.
const MAX_LOGINS_READ: usize = 64;
