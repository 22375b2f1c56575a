//! Readers of the types that Rust and its usual crates bring.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde_json::{Value as Json, json};
use url::Url;

use super::{Key, Read, Reader, Schemas};
use crate::config::{
    key_path::Step,
    suggest::quoted,
    yaml::{Node, Value},
};

/// Ten years: any span beyond it is a slip, and arithmetic with it could overflow.
const LONGEST: Duration = Duration::from_hours(87600);

impl Read for bool {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => cx.expected(node, "true or false"),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "boolean" })
    }
}

/// A plain number, not a quoted text.
fn number<T: std::str::FromStr>(node: &Node, cx: &mut Reader<'_>, what: &str) -> Option<T> {
    match &node.value {
        Value::Scalar { text, plain: true } if !node.is_null() => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => cx.wrong(node, &format!("is not {what}")),
        },
        _ => cx.expected(node, what),
    }
}

macro_rules! whole_numbers {
    ($($kind:ty),*) => {$(
        impl Read for $kind {
            fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
                number(node, cx, &format!("a whole number from 0 to {}", <$kind>::MAX))
            }

            fn schema(_: &mut Schemas) -> Json {
                json!({ "type": "integer", "minimum": 0 })
            }
        }
    )*};
}

whole_numbers!(u32, u64, usize);

impl Read for f64 {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let number: Self = number(node, cx, "a number")?;
        if number.is_finite() { Some(number) } else { cx.wrong(node, "is not a number") }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "number" })
    }
}

/// What YAML would take for a number or a truth value has to be quoted to be a text.
impl Read for String {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "a text")?;
        let plain = matches!(node.value, Value::Scalar { plain: true, .. });
        if plain && (matches!(text, "true" | "false") || text.parse::<f64>().is_ok()) {
            return cx.wrong(node, "must be a text; put it in quotes");
        }
        Some(text.to_owned())
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string" })
    }
}

impl Read for PathBuf {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "the path of a file")?;
        if text.is_empty() || text.contains('\0') {
            return cx.wrong(node, "is not the path of a file");
        }
        Some(cx.resolve(text))
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Read for SocketAddr {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "an IP address with a port, such as 127.0.0.1:8443 or [::1]:8443";
        let text = cx.text(node, what)?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "examples": ["127.0.0.1:8443"] })
    }
}

impl Read for IpNet {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "a network such as 10.0.0.0/8, or one IP address";
        let text = cx.text(node, what)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::from(address));
        }
        match text.parse::<Self>() {
            Ok(network) if network.trunc() == network => Some(network),
            Ok(network) => cx.wrong(node, &format!("is no network; write `{}`", network.trunc())),
            Err(_) => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "examples": ["10.0.0.0/8", "192.0.2.7"] })
    }
}

/// http or https; not quoted in a fault, for a URL may hold a password.
impl Read for Url {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "an http or https URL";
        let text = cx.text(node, what)?;
        let url = Self::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            cx.fault(&node.position, format!("is not {what}"));
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            cx.fault(&node.position, "must not hold a user name or password");
            return None;
        }
        if url.fragment().is_some() {
            cx.fault(&node.position, "must not have a fragment (`#…`)");
            return None;
        }
        Some(url)
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "format": "uri", "pattern": "^https?://" })
    }
}

impl Read for Duration {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "a duration such as 500ms, 30s, 15m, 12h or 7d";
        let text = cx.text(node, what)?;
        match duration(text) {
            Some(duration) if duration <= LONGEST => Some(duration),
            Some(_) => cx.wrong(node, "is longer than ten years"),
            None => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["30s"] })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let count: u64 = digits.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(count)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(count.saturating_mul(seconds)))
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if node.is_null() { Some(None) } else { T::read(node, cx).map(Some) }
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [T::schema(schemas), { "type": "null" }] })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Value::Sequence(elements) = &node.value else {
            return cx.expected(node, "a list");
        };
        let read: Self = elements
            .iter()
            .enumerate()
            .filter_map(|(at, element)| cx.within(Step::Index(at), |cx| T::read(element, cx)))
            .collect();
        cx.whole(read.len() == elements.len()).then_some(read)
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "type": "array", "items": T::schema(schemas) })
    }
}

impl<K: Key, T: Read> Read for BTreeMap<K, T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            return cx.expected(node, "a mapping");
        };
        let mut read = Self::new();
        for entry in entries {
            cx.within(Step::Key(entry.key.clone()), |cx| {
                let value = T::read(&entry.node, cx);
                match (K::key(&entry.key), value) {
                    (Err(what), _) => {
                        let message = format!("the key {} is not {what}", quoted(&entry.key));
                        cx.fault(&entry.position, message);
                    }
                    (Ok(key), _) if read.contains_key(&key) => {
                        cx.fault(&entry.position, "stands here twice, in another spelling");
                    }
                    (Ok(key), Some(value)) => _ = read.insert(key, value),
                    (Ok(_), None) => {}
                }
            });
        }
        (read.len() == entries.len()).then_some(read)
    }

    fn schema(schemas: &mut Schemas) -> Json {
        let (keys, values) = (K::schema(), T::schema(schemas));
        json!({ "type": "object", "propertyNames": keys, "additionalProperties": values })
    }
}

impl Key for String {
    fn key(text: &str) -> Result<Self, &'static str> {
        let printable = !text.is_empty() && !text.chars().any(char::is_control);
        if printable { Ok(text.to_owned()) } else { Err("a name") }
    }

    fn schema() -> Json {
        json!({ "minLength": 1 })
    }
}
