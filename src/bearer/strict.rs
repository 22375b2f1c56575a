//! JSON in which no object names a member twice, at any depth.
//!
//! RFC 7519, section 4 lets a reader take the last of two equal names, and readers differ: two of
//! them would see different tokens under one signature. Here such a text has no reading at all.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Reads one object that fills `json` completely. Depth is bounded by `serde_json` (128).
pub(super) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Strict(Value::Object(members))) => Some(members),
        _ => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with every member named once")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number out of bounds"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_member_named_twice_has_no_reading() {
        for json in [
            r#"{"iss":"a","iss":"b"}"#,
            r#"{"iss":"a","iss":"a"}"#,
            r#"{"act":{"sub":"a","sub":"b"}}"#,
            r#"{"list":[{"a":1,"a":2}]}"#,
            r#"{"iss":"a","\u0069ss":"b"}"#,
        ] {
            assert_eq!(object(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn only_one_whole_object_is_read() {
        for json in ["", "null", "[]", "\"a\"", "1", "{}{}", "{} x", "{", "\u{feff}{}", "{'a':1}"] {
            assert_eq!(object(json.as_bytes()), None, "{json}");
        }
        assert_eq!(object(&[b"{\"a\":\"", &[0xff_u8][..], b"\"}"].concat()), None, "not UTF-8");
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(object(deep.as_bytes()), None, "too deep");
        assert!(object(b" {} ").is_some());
    }

    proptest! {
        /// Where names are unique, the strict reading is the usual one.
        #[test]
        fn reads_as_serde_json_does(members in prop::collection::btree_map(".{0,6}", any::<(i64, f64, bool, String)>(), 0..6)) {
            let json = serde_json::to_vec(&members).unwrap();
            let usual: Map<String, Value> = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(object(&json), Some(usual));
        }

        #[test]
        fn never_panics(json: Vec<u8>) {
            let _ = object(&json);
        }
    }
}
