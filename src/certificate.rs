//! What a client certificate says of its holder (RFC 5280), and how operators write it.
//!
//! A name counts whole, byte for byte, and only as a value that was parsed: a subject is compared
//! part by part, so no part can pass for another by what stands in it. Whether the certificate is
//! one of our authority the handshake has settled; what is left for each request is its time.

use std::{fmt, str::FromStr};

use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    x509::X509Name,
};

use crate::time::Timestamp;

/// One name by which a certificate can be known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateName {
    /// The subject, as RFC 4514 orders it: the most specific part first.
    Subject(Vec<(Box<str>, Box<str>)>),
    /// A DNS name of its subject alternative names, lower case.
    Dns(Box<str>),
    /// A URI of its subject alternative names, such as a SPIFFE id.
    Uri(Box<str>),
    /// An address for e-mail of its subject alternative names.
    Email(Box<str>),
}

/// The certificate that a client showed, and that an authority of ours has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    names: Vec<CertificateName>,
    begins: Timestamp,
    ends: Timestamp,
}

/// Why a text is no name of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be subject:, dns:, uri: or email: and a name as it stands in the certificate, such as \
     `subject:CN=wrpr,O=Acme` (RFC 4514: the most specific part first) or \
     `uri:spiffe://acme/wrpr`"
)]
pub struct NotAName;

impl PeerCertificate {
    /// Reads a certificate in DER. One that cannot be read whole has no name and no time, and so
    /// proves nothing; but it was shown.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        let unreadable =
            Self { names: Vec::new(), begins: Timestamp(0), ends: Timestamp(u64::MAX) };
        Self::parse(der).unwrap_or(unreadable)
    }

    fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut names: Vec<_> = subject(certificate.subject()).into_iter().collect();
        if let Ok(Some(also)) = certificate.subject_alternative_name() {
            names.extend(also.value.general_names.iter().take(MOST_NAMES).filter_map(|name| {
                match name {
                    GeneralName::DNSName(name) => {
                        Some(CertificateName::Dns(name.to_ascii_lowercase().into()))
                    }
                    GeneralName::URI(uri) => Some(CertificateName::Uri((*uri).into())),
                    GeneralName::RFC822Name(name) => Some(CertificateName::Email((*name).into())),
                    _ => None,
                }
            }));
        }
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        let validity = certificate.validity();
        let begins = Timestamp(seconds(validity.not_before).unwrap_or_default());
        let ends = Timestamp(seconds(validity.not_after)?);
        Some(Self { names, begins, ends })
    }

    /// Every name that it has.
    pub fn names(&self) -> impl Iterator<Item = &CertificateName> {
        self.names.iter()
    }

    /// Its last second.
    #[must_use]
    pub const fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whether it is in its time (RFC 5280, section 4.1.2.5: both ends belong to it). A
    /// connection may outlive its certificate.
    #[must_use]
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        (self.begins..=self.ends).contains(&now)
    }
}

/// A subject whose parts can be told apart; `None` where one of them is several at once, or is no
/// text.
fn subject(name: &X509Name<'_>) -> Option<CertificateName> {
    let mut parts = Vec::new();
    for set in name.iter_rdn() {
        let mut attributes = set.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else { return None };
        let oid = attribute.attr_type().to_id_string();
        let kind = KINDS.iter().find(|(_, known)| *known == oid).map_or(&*oid, |(kind, _)| *kind);
        parts.push((kind.into(), attribute.as_str().ok()?.into()));
    }
    parts.reverse();
    (!parts.is_empty()).then_some(CertificateName::Subject(parts))
}

/// Names for kinds of attributes (RFC 4514, section 3; RFC 4519; RFC 2985 for the last).
const KINDS: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// More alternative names than that are not looked at.
const MOST_NAMES: usize = 64;

impl FromStr for CertificateName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (kind, name) = text.split_once(':').ok_or(NotAName)?;
        let plain = !name.is_empty() && name.len() <= 1024 && !name.contains(char::is_control);
        if !plain || name.trim() != name {
            return Err(NotAName);
        }
        match kind {
            "subject" => parts(name).map(Self::Subject).ok_or(NotAName),
            "dns" if name.is_ascii() => Ok(Self::Dns(name.to_ascii_lowercase().into())),
            "uri" if name.contains(':') => Ok(Self::Uri(name.into())),
            "email" if name.contains('@') => Ok(Self::Email(name.into())),
            _ => Err(NotAName),
        }
    }
}

/// The parts of a subject in the string form of RFC 4514, without its hexadecimal values and
/// without several attributes in one part.
fn parts(text: &str) -> Option<Vec<(Box<str>, Box<str>)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim().to_ascii_uppercase();
        let known = KINDS.iter().any(|(name, _)| *name == kind);
        let oid = kind.contains('.') && kind.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !known && !oid {
            return None;
        }
        let kind = KINDS.iter().find(|(_, oid)| *oid == kind).map_or(&*kind, |(name, _)| *name);
        let (value, after) = value(after)?;
        parts.push((kind.into(), value.into()));
        match after {
            None => return Some(parts),
            Some(after) => rest = after,
        }
    }
}

/// One value, to its end or to the next comma that is not escaped, and what follows that.
fn value(text: &str) -> Option<(String, Option<&str>)> {
    let text = text.trim_start_matches(' ');
    if text.starts_with('#') {
        return None;
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ',' => return finished(value).zip(Some(text.get(at + 1..))),
            '+' | ';' | '"' | '<' | '>' => return None,
            '\\' => match characters.next()?.1 {
                escaped @ (',' | '+' | ';' | '"' | '<' | '>' | '\\' | '=' | '#' | ' ') => {
                    value.push(escaped);
                }
                _ => return None,
            },
            _ => value.push(character),
        }
    }
    finished(value).map(|value| (value, None))
}

fn finished(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::Subject(parts) => {
                f.write_str("subject:")?;
                for (at, (kind, value)) in parts.iter().enumerate() {
                    write!(f, "{}{kind}=", if at == 0 { "" } else { "," })?;
                    let last = value.chars().count().saturating_sub(1);
                    for (at, character) in value.chars().enumerate() {
                        let outer = at == 0 || at == last;
                        if matches!(character, ',' | '+' | ';' | '"' | '<' | '>' | '\\')
                            || (outer && character == ' ')
                            || (at == 0 && character == '#')
                        {
                            f.write_str("\\")?;
                        }
                        write!(f, "{character}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
