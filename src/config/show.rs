//! The configuration at work, as an operator would write it: with every default that has a value,
//! every secret hidden, and nothing of keys that are null or empty.
//!
//! Each type says how it is shown, and a section shows its fields; a type that does not say so
//! does not compile. What may hold a secret without being one by type (extra form fields and the
//! body of an exchange, queries of URLs) is hidden as well.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde_yaml::{Mapping, Value};
use url::Url;

use super::{
    Accept, ActAs, Balance, Config, LogTarget, OrganisationKey, OrganisationPlaces, SessionStore,
    SystemRole, UpstreamAuth,
    types::{
        ByteSize, HostName, IssuerUrl, Origin, PathPattern, Place, Secret, SecretSource,
        ServerAddress,
    },
};
use crate::{
    certificate::CertificateName,
    organisation::Organisation,
    permission::{Permission, PermissionSet, Requirement},
};

/// In place of a secret.
pub(crate) const HIDDEN: &str = "(hidden)";

/// How a value is shown.
pub(crate) trait Show {
    fn show(&self) -> Value;
}

/// How a key of a map is shown.
pub(crate) trait ShowKey {
    fn show_key(&self) -> String;
}

impl Config {
    /// The whole configuration, secrets hidden, in the order of the reference.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut shown = self.show();
        for path in MAY_HOLD_SECRETS {
            hide(&mut shown, path);
        }
        shown
    }
}

/// Texts that are no secrets by type, and may well be written with one.
const MAY_HOLD_SECRETS: [&[&str]; 2] =
    [&["sts", "exchange", "parameters"], &["sts", "exchange", "template", "body"]];

/// Hides every text at the end of a path, or below it.
fn hide(value: &mut Value, path: &[&str]) {
    match (value, path.split_first()) {
        (Value::Mapping(fields), Some((first, rest))) => {
            if let Some(value) = fields.get_mut(*first) {
                hide(value, rest);
            }
        }
        (Value::Mapping(fields), None) => {
            fields.iter_mut().for_each(|(_, value)| *value = HIDDEN.into());
        }
        (value, None) => *value = HIDDEN.into(),
        (_, Some(_)) => {}
    }
}

/// A mapping without what is null or empty.
pub(crate) fn section(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Sequence(elements) => !elements.is_empty(),
        Value::Mapping(fields) => !fields.is_empty(),
        _ => true,
    };
    let told = fields.into_iter().filter(|(_, value)| says(value));
    Value::Mapping(told.map(|(key, value)| (key.into(), value)).collect())
}

fn only(key: &'static str, value: Value) -> Value {
    Value::Mapping(Mapping::from_iter([(key.into(), value)]))
}

impl Show for Secret {
    fn show(&self) -> Value {
        match self.source() {
            SecretSource::Given => HIDDEN.into(),
            SecretSource::File(path) => format!("(hidden: file {})", path.display()).into(),
            SecretSource::Variable(name) => format!("(hidden: env {name})").into(),
        }
    }
}

macro_rules! as_they_are {
    ($($kind:ty),*) => {$(
        impl Show for $kind {
            fn show(&self) -> Value {
                self.clone().into()
            }
        }
    )*};
}

macro_rules! by_text {
    ($($kind:ty),*) => {$(
        impl Show for $kind {
            fn show(&self) -> Value {
                self.to_string().into()
            }
        }
    )*};
}

as_they_are!(bool, u32, u64, usize, f64, String);
by_text!(SocketAddr, IpNet, HostName, Origin, ServerAddress, Permission, Organisation);

impl Show for PathBuf {
    fn show(&self) -> Value {
        self.display().to_string().into()
    }
}

impl Show for CertificateName {
    fn show(&self) -> Value {
        self.to_string().into()
    }
}

impl Show for PathPattern {
    fn show(&self) -> Value {
        self.as_str().into()
    }
}

/// User names and passwords are refused when it is read.
impl Show for Url {
    fn show(&self) -> Value {
        let mut url = self.clone();
        if url.query().is_some() {
            url.set_query(None);
            return format!("{url}?{HIDDEN}").into();
        }
        url.as_str().into()
    }
}

impl Show for IssuerUrl {
    fn show(&self) -> Value {
        self.as_str().into()
    }
}

impl Show for Duration {
    fn show(&self) -> Value {
        let millis = self.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let whole = units.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
        match whole {
            Some((unit, length)) => format!("{}{unit}", millis / length).into(),
            None if millis == 0 => "0s".into(),
            None => format!("{millis}ms").into(),
        }
    }
}

impl Show for ByteSize {
    fn show(&self) -> Value {
        let bytes = self.bytes();
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let whole = units.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
        match whole {
            Some((unit, size)) => format!("{}{unit}", bytes / size).into(),
            None => bytes.into(),
        }
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Value {
        self.iter().map(Show::show).collect()
    }
}

impl<K: ShowKey, T: Show> Show for BTreeMap<K, T> {
    fn show(&self) -> Value {
        Value::Mapping(self.iter().map(|(key, it)| (key.show_key().into(), it.show())).collect())
    }
}

impl ShowKey for String {
    fn show_key(&self) -> String {
        self.clone()
    }
}

impl ShowKey for Organisation {
    fn show_key(&self) -> String {
        self.to_string()
    }
}

impl ShowKey for OrganisationKey {
    fn show_key(&self) -> String {
        match self {
            Self::Every => "*".to_owned(),
            Self::One(organisation) => organisation.to_string(),
        }
    }
}

impl Show for Requirement {
    fn show(&self) -> Value {
        let names = |set: &PermissionSet| set.iter().map(Permission::as_str).collect::<Value>();
        match self {
            Self::Nothing => Value::Null,
            Self::AnyOf(any) => names(any),
            Self::AllOf(all) => only("all", names(all)),
        }
    }
}

impl Show for SystemRole {
    fn show(&self) -> Value {
        let permissions = self.permissions.show();
        match &self.delegation {
            None => permissions,
            // An empty list says something here: of any user.
            Some(of) => Value::Mapping(Mapping::from_iter([
                ("permissions".into(), permissions),
                ("delegation".into(), of.show()),
            ])),
        }
    }
}

impl Show for UpstreamAuth {
    fn show(&self) -> Value {
        let with = |mode: &str, key, value| section([("mode", mode.into()), (key, value)]);
        match self {
            Self::Sts { audience } => with("STS", "audience", audience.show()),
            Self::Iam => only("mode", "IAM".into()),
            Self::None => only("mode", "NONE".into()),
            Self::UnsafeNone => only("mode", "UNSAFE_NONE".into()),
            Self::UnsafeStatic { static_token } => {
                with("UNSAFE_STATIC", "static_token", static_token.show())
            }
            Self::Extension { source } => with("EXTENSION", "source", source.show()),
        }
    }
}

impl Show for Balance {
    fn show(&self) -> Value {
        match self {
            Self::RoundRobin => "round_robin".into(),
            Self::LeastRequests => "least_requests".into(),
            Self::HashCookie => only("hash", "cookie".into()),
        }
    }
}

impl Show for SessionStore {
    fn show(&self) -> Value {
        match self {
            Self::Cookie => "cookie".into(),
            Self::Redis(redis) => only("redis", redis.show()),
        }
    }
}

impl Show for Accept {
    fn show(&self) -> Value {
        match self {
            Self::Session => "session".into(),
            Self::Iam => "iam".into(),
            Self::App => "app".into(),
            Self::Certificate => "certificate".into(),
            Self::Authenticator(name) => only("authenticator", name.show()),
        }
    }
}

impl Show for ActAs {
    fn show(&self) -> Value {
        match self {
            Self::Caller => "caller".into(),
            Self::TechnicalUser(name) => only("technical_user", name.show()),
            Self::Delegate(name) => only("delegate", name.show()),
        }
    }
}

impl Show for LogTarget {
    fn show(&self) -> Value {
        match self {
            Self::Stdout => "stdout".into(),
            Self::Stderr => "stderr".into(),
            Self::Off => "off".into(),
            Self::File(path) => only("file", path.show()),
            Self::Syslog(path) => only("syslog", path.show()),
        }
    }
}

impl Show for OrganisationPlaces {
    fn show(&self) -> Value {
        let place = |place: &Place| match place {
            Place::Query(name) => ("query", name.show()),
            Place::Path(name) => ("path", name.show()),
            Place::Header(name) => ("header", name.show()),
            Place::Body(pointer) => ("body", pointer.show()),
            Place::Lookup { path, pointer } => {
                ("lookup", section([("path", path.show()), ("pointer", pointer.show())]))
            }
            Place::Session => ("session", Value::Null),
            Place::Token => ("token", Value::Null),
        };
        let shown = self.places.iter().map(|it| match (place(&it.place), it.inject) {
            ((word, Value::Null), _) => word.into(),
            (named, false) => section([named]),
            (named, true) => section([named, ("inject", true.into())]),
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests;
