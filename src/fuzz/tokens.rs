//! Tokens that somebody brings, with keys that are known here.

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{choice, halves};
use crate::{
    bearer::{self, KeySet, Rules, logout_token},
    identity::{Identity, Proof},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp(1_800_000_000);
const LEEWAY: u64 = 60;

struct World {
    pair: Ed25519KeyPair,
    keys: KeySet,
}

/// The same key in every run, so that a corpus can hold tokens that were signed.
static WORLD: LazyLock<Option<World>> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).ok()?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let document = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
    let keys = KeySet::parse(document.to_string().as_bytes(), &[Algorithm::EdDSA]).ok()?;
    Some(World { pair, keys })
});

fn rules(proof: Proof) -> Rules {
    Rules {
        proof,
        issuer: "https://iam.example.com".into(),
        audience: "one".to_owned(),
        algorithms: vec![Algorithm::EdDSA],
        leeway: Duration::from_secs(LEEWAY),
        roles: (proof == Proof::IamToken).then(|| "/roles".to_owned()),
    }
}

/// A token as it came, or header and claims that are signed here: what is accepted was signed by
/// our key, is in time, from the issuer, for the audience; and one changed character ends it.
pub(super) fn token(input: &[u8]) {
    let Some(world) = &*WORLD else { return };
    let (chosen, rest) = choice(input);
    let token = if chosen & 1 == 0 {
        String::from_utf8_lossy(rest).into_owned()
    } else {
        let (header, claims) = halves(rest);
        signed(world, header, claims)
    };
    if let Some(issuer) = bearer::unverified_issuer(&token) {
        assert!(token.len() > issuer.len());
    }
    let is_other = |token: &str, proof| {
        let token = SecretString::from(token);
        bearer::verify(&token, &world.keys, &rules(proof), NOW).is_err()
    };
    for proof in [Proof::IamToken, Proof::AppToken] {
        let secret = SecretString::from(token.as_str());
        let Ok(identity) = bearer::verify(&secret, &world.keys, &rules(proof), NOW) else {
            continue;
        };
        accepted(world, &token, &identity, proof);
        let mut other = token.clone().into_bytes();
        let at = usize::from(chosen >> 1) * 11 % other.len();
        if let Some(byte) = other.get_mut(at) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        assert!(is_other(&String::from_utf8_lossy(&other), proof), "a changed character passes");
    }
    let secret = SecretString::from(token.as_str());
    let rules = rules(Proof::IamToken);
    if let Ok(logout) = logout_token::verify(&secret, &world.keys, &rules, NOW) {
        assert!(was_signed(world, &token), "a logout token nobody signed");
        assert!(logout.subject.is_some() || logout.provider_session.is_some());
        // `nonce` would make it an ID token, which must log nobody out.
        assert!(part(&token, 1).is_some_and(|claims| claims.get("nonce").is_none()));
    }
}

fn accepted(world: &World, token: &str, identity: &Identity, proof: Proof) {
    assert!(was_signed(world, token), "nobody signed it");
    assert_eq!(identity.token.expose_secret(), token);
    let (Some(header), Some(claims)) = (part(token, 0), part(token, 1)) else {
        return assert!(token.is_empty(), "no JSON is accepted");
    };
    assert_eq!(header.get("alg"), Some(&json!("EdDSA")));
    for name in ["crit", "b64", "jku", "jwk", "x5u", "x5c"] {
        assert!(header.get(name).is_none(), "{name} is accepted");
    }
    assert_eq!(claims.get("iss"), Some(&json!("https://iam.example.com")));
    let is_one = |value: &Value| value.as_str() == Some("one");
    let aud = claims.get("aud").cloned().unwrap_or_default();
    assert!(is_one(&aud) || aud.as_array().is_some_and(|all| all.iter().any(is_one)));
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age of the world fit")]
    let (now, leeway) = (NOW.0 as f64, LEEWAY as f64);
    assert!(seconds("exp").is_some_and(|exp| exp + leeway > now - 1.0), "expired");
    if claims.get("nbf").is_some() {
        assert!(seconds("nbf").is_some_and(|nbf| nbf - leeway < now + 1.0), "not yet valid (R22)");
    }
    assert_eq!(claims.get("sub").and_then(Value::as_str), Some(&*identity.subject));
    assert!(!identity.subject.is_empty());
    match proof {
        Proof::AppToken => {
            assert!(identity.organisation.is_some() || identity.permissions.is_some());
        }
        _ => assert!(identity.permissions.is_none() && identity.actor.is_none()),
    }
}

fn signed(world: &World, header: &[u8], claims: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signature =
        URL_SAFE_NO_PAD.encode(world.pair.sign(format!("{header}.{claims}").as_bytes()));
    format!("{header}.{claims}.{signature}")
}

fn was_signed(world: &World, token: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let key = UnparsedPublicKey::new(&ED25519, world.pair.public_key().as_ref());
    key.verify(signed.as_bytes(), &signature).is_ok()
}

fn part(token: &str, at: usize) -> Option<Value> {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(at)?).ok()?;
    serde_json::from_slice(&part).ok()
}
