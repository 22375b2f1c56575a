use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bearer::minting::{Minter, b64, document};

const ALL: &[Algorithm] =
    &[Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::PS256];

/// The set of one key, after a change.
fn with(mut jwk: Value, change: Value) -> Result<KeySet, KeySetError> {
    let Value::Object(members) = change else { panic!("the change is no object") };
    jwk.as_object_mut().unwrap().extend(members);
    KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), ALL)
}

#[test]
fn purpose_operation_and_algorithm_of_a_key_count() {
    let ed = Minter::ed25519("ed").jwk();
    for good in [
        json!({}),
        json!({ "use": "sig" }),
        json!({ "alg": "EdDSA" }),
        json!({ "key_ops": ["verify"] }),
        json!({ "key_ops": ["sign", "verify"], "extra": { "a": 1 } }),
        json!({ "use": null, "kid": null }),
    ] {
        assert_eq!(with(ed.clone(), good.clone()).map(|keys| keys.len()), Ok(1), "{good}");
    }
    for useless in [
        json!({ "use": "enc" }),
        json!({ "use": 1 }),
        json!({ "key_ops": ["sign"] }),
        json!({ "key_ops": [] }),
        json!({ "key_ops": "verify" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RSA-OAEP" }),
        json!({ "alg": "none" }),
        json!({ "kid": 1 }),
        json!({ "kty": "EC" }),
        json!({ "kty": "OKP2" }),
        json!({ "crv": "X25519" }),
        json!({ "crv": "P-256" }),
        json!({ "x": b64([1; 31]) }),
        json!({ "x": b64([1; 33]) }),
        json!({ "x": "no base64!" }),
        json!({ "d": b64([1; 32]) }),
    ] {
        let found = with(ed.clone(), useless.clone()).err();
        assert_eq!(found, Some(KeySetError::NoUsableKey), "{useless}");
    }
}

#[test]
fn a_curve_belongs_to_one_algorithm() {
    let ec = Minter::p256("ec").jwk();
    let keys = with(ec.clone(), json!({})).unwrap();
    assert!(keys.candidates(Some("ec"), Algorithm::ES256).is_ok());
    for other in [Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256] {
        let found = keys.candidates(Some("ec"), other).err();
        assert_eq!(found, Some(Rejection::AlgorithmNotAllowed));
    }
    for useless in [json!({ "alg": "ES384" }), json!({ "crv": "P-384" }), json!({ "crv": "P-521" })]
    {
        assert_eq!(with(ec.clone(), useless).err(), Some(KeySetError::NoUsableKey));
    }
}

#[test]
fn an_rsa_key_is_long_enough_and_verifies_what_it_says() {
    let rsa = Minter::rsa("rsa").jwk();
    let keys = with(rsa.clone(), json!({})).unwrap();
    assert!(keys.candidates(Some("rsa"), Algorithm::RS256).is_ok());
    assert!(keys.candidates(Some("rsa"), Algorithm::PS256).is_ok());
    assert!(keys.candidates(Some("rsa"), Algorithm::RS512).is_err(), "not on the list");
    let keys = with(rsa.clone(), json!({ "alg": "PS256" })).unwrap();
    assert!(keys.candidates(Some("rsa"), Algorithm::RS256).is_err());

    let short = [&[0; 2], &[0xff; 128][..]].concat();
    let nearly = [&[0x7f], &[0xff; 255][..]].concat();
    for useless in [
        json!({ "n": b64([0xff; 128]) }),
        json!({ "n": b64(short) }),
        json!({ "n": b64(nearly) }),
        json!({ "n": b64([0xff; 2000]) }),
        json!({ "n": "" }),
        json!({ "e": b64([1]) }),
        json!({ "e": b64([4]) }),
        json!({ "e": "" }),
        json!({ "e": b64([0xff; 9]) }),
    ] {
        let found = with(rsa.clone(), useless.clone()).err();
        assert_eq!(found, Some(KeySetError::NoUsableKey), "{useless}");
    }
}

#[test]
fn r21_a_symmetric_key_is_never_a_key() {
    for algorithms in [ALL, &[Algorithm::HS256]] {
        for alg in [json!("HS256"), json!("EdDSA"), json!(null)] {
            let oct =
                json!({ "keys": [{ "kty": "oct", "k": b64([1; 32]), "kid": "k", "alg": alg }] });
            let found = KeySet::parse(oct.to_string().as_bytes(), algorithms).err();
            assert_eq!(found, Some(KeySetError::NoUsableKey));
        }
    }
    let ed = document(&[&Minter::ed25519("ed")]);
    assert!(KeySet::parse(&ed, &[Algorithm::HS256]).is_err());
}

#[test]
fn one_useless_key_does_not_spoil_the_set() {
    let mut keys: Vec<_> = [&Minter::ed25519("a"), &Minter::p256("b")].map(Minter::jwk).into();
    keys.extend([json!(null), json!("key"), json!({}), json!({ "kty": "oct", "k": "AAAA" })]);
    let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), ALL).unwrap();
    assert_eq!((set.len(), set.skipped()), (2, 4));
}

#[test]
fn r15_a_document_is_bounded() {
    let key = Minter::ed25519("ed").jwk();
    let of = |count| json!({ "keys": vec![key.clone(); count] }).to_string().into_bytes();
    assert_eq!(KeySet::parse(&of(MAX_KEYS), ALL).unwrap().len(), MAX_KEYS);
    assert_eq!(KeySet::parse(&of(MAX_KEYS + 1), ALL).err(), Some(KeySetError::TooManyKeys));
    let mut large = of(1);
    large.resize(MAX_DOCUMENT, b' ');
    assert!(KeySet::parse(&large, ALL).is_ok());
    large.push(b' ');
    assert_eq!(KeySet::parse(&large, ALL).err(), Some(KeySetError::TooLarge));
}

#[test]
fn what_is_no_key_set_is_malformed() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "<html>",
        r#"{"keys":{}}"#,
        r#"{"keys":[]"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(
            KeySet::parse(text.as_bytes(), ALL).err(),
            Some(KeySetError::Malformed),
            "{text}"
        );
    }
    assert_eq!(KeySet::parse(br#"{"keys":[]}"#, ALL).err(), Some(KeySetError::NoUsableKey));
}

#[test]
fn a_generation_names_keys_and_algorithms() {
    let (a, b) = (Minter::ed25519("a"), Minter::ed25519("b"));
    let of = |minters: &[&Minter], algorithms: &[Algorithm]| {
        KeySet::parse(&document(minters), algorithms).unwrap().generation()
    };
    assert_eq!(of(&[&a], ALL), of(&[&a], ALL));
    assert_ne!(of(&[&a], ALL), of(&[&b], ALL));
    assert_ne!(of(&[&a], ALL), of(&[&a, &b], ALL));
    assert_ne!(of(&[&a], ALL), of(&[&a], &[Algorithm::EdDSA]));
}

#[test]
fn bits_of_a_number() {
    for (number, length) in [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[1, 0], 9)] {
        assert_eq!(bits(number), length, "{number:?}");
    }
}

proptest! {
    #[test]
    fn never_panics(document: Vec<u8>) {
        prop_assert!(KeySet::parse(&document, ALL).is_err());
    }

    #[test]
    fn any_members_of_a_key(x in ".{0,60}", n: Vec<u8>, e: Vec<u8>, kty in "OKP|EC|RSA|oct|.") {
        let jwk = json!({ "kty": kty, "x": x, "y": x, "n": b64(n), "e": b64(e), "k": x });
        let _ = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), ALL);
    }
}
