use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;

/// The key of RFC 8037, appendix A.1: PKCS#8 version 1 around its `d`.
const RFC_8037: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

const RFC_8037_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

const NOW: Timestamp = Timestamp(1_760_000_000);

fn issuer(keys: Vec<SecretString>) -> Result<Issuer, KeyError> {
    let settings = IssuerSettings {
        iss: "https://desk.example.com".into(),
        keys: keys.into_iter().map(SigningKey::from).collect(),
        lifetime: Duration::from_mins(5),
        delegated_lifetime: Duration::from_mins(1),
        core_jwks_lifetime: Duration::from_mins(10),
    };
    Issuer::new(settings, NOW)
}

fn permissions() -> PermissionSet {
    ["CREDENTIAL_LIST", "CREDENTIAL_ISSUE"]
        .iter()
        .map(|name| Permission::parse(name).unwrap())
        .collect()
}

fn minted(issuer: &Issuer, actor: Option<&str>) -> Issued {
    let actor = actor.map(Arc::from);
    let mint = Mint {
        subject: &"user-1".into(),
        organisation: Organisation::parse("6B1E5F0A2D2C4C1C9F0E0D9F5A5B7A11"),
        audience: "one-core",
        permissions: &permissions(),
        actor: actor.as_ref(),
    };
    issuer.mint(&issuer.signer(), mint, NOW, "token-1".into()).unwrap()
}

/// Core's checks in Core's order (v1.74.2), with nothing of this module.
fn as_core_reads(
    token: &str,
    jwks: &[u8],
    iss: &str,
    aud: &str,
    now: u64,
) -> Result<Value, &'static str> {
    const LEEWAY: u64 = 60;
    let keys: Value = serde_json::from_slice(jwks).map_err(|_| "key set")?;
    let mut by_kid = std::collections::HashMap::new();
    for key in keys["keys"].as_array().ok_or("key set")? {
        if key["kty"] != "OKP" || key["crv"] != "Ed25519" {
            return Err("a key that Core cannot read fails the whole set");
        }
        let x = URL_SAFE_NO_PAD.decode(key["x"].as_str().ok_or("x")?).map_err(|_| "x")?;
        by_kid.insert(key["kid"].as_str().ok_or("kid")?.to_owned(), x);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { return Err("not three parts") };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "base64");
    let parsed = |part| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| "JSON");
    let (head, claims) = (parsed(header)?, parsed(payload)?);
    if head["alg"] != "EdDSA" {
        return Err("alg");
    }
    let kid = head["kid"].as_str().ok_or("kid")?;
    if claims["iss"] != iss {
        return Err("iss");
    }
    if claims["aud"] != aud {
        return Err("aud");
    }
    if claims["exp"].as_u64().ok_or("exp")? < now - LEEWAY {
        return Err("exp");
    }
    if claims["nbf"].as_u64().ok_or("nbf")? > now + LEEWAY {
        return Err("nbf");
    }
    let key = by_kid.get(kid).ok_or("unknown kid")?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(format!("{header}.{payload}").as_bytes(), &decode(signature)?)
        .map_err(|_| "signature")?;
    claims["sub"].as_str().ok_or("sub")?;
    uuid::Uuid::parse_str(claims["organisationId"].as_str().ok_or("organisationId")?)
        .map_err(|_| "organisationId")?;
    Ok(claims)
}

#[test]
fn a_minted_token_passes_every_check_of_core() {
    let issuer = issuer(vec![generate().unwrap(), generate().unwrap()]).unwrap();
    let token = minted(&issuer, None);
    let read = |aud, now| {
        let text = token.token.expose_secret();
        as_core_reads(text, &issuer.jwks_document().0, "https://desk.example.com", aud, now)
    };
    let claims = read("one-core", NOW.0).unwrap();
    let expected = json!({
        "iss": "https://desk.example.com",
        "aud": "one-core",
        "sub": "user-1",
        "iat": NOW.0,
        "nbf": NOW.0,
        "exp": NOW.0 + 300,
        "jti": "token-1",
        "organisationId": "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11",
        "permissions": ["CREDENTIAL_ISSUE", "CREDENTIAL_LIST"],
    });
    assert_eq!(claims, expected);
    assert_eq!(read("one-core", NOW.0 + 361), Err("exp"));
    assert_eq!(read("one-wrpr", NOW.0), Err("aud"), "a token for Core is for Core alone");
    assert_eq!((token.expires, token.id.as_deref()), (Timestamp(NOW.0 + 300), Some("token-1")));
}

#[test]
fn r34_minted_tokens_are_typed_short_and_name_their_key() {
    let issuer = issuer(vec![SecretString::from(RFC_8037)]).unwrap();
    let token = minted(&issuer, None);
    let header = jsonwebtoken::decode_header(token.token.expose_secret()).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.kid.as_deref(), Some(RFC_8037_THUMBPRINT));
    assert_eq!(header.alg, Algorithm::EdDSA);
}

#[test]
fn a_delegated_token_names_the_actor_and_lives_shorter() {
    let issuer = issuer(vec![generate().unwrap()]).unwrap();
    let token = minted(&issuer, Some("bridge"));
    let text = token.token.expose_secret();
    let claims =
        as_core_reads(text, &issuer.jwks_document().0, issuer.iss(), "one-core", NOW.0).unwrap();
    assert_eq!(claims["act"], json!({ "sub": "bridge" }));
    assert_eq!(claims["exp"], NOW.0 + 60);
    assert_eq!(token.actor.as_deref(), Some("bridge"));
}

#[test]
fn the_first_key_signs_and_all_are_published_under_their_thumbprints() {
    let issuer = issuer(vec![RFC_8037.into(), generate().unwrap()]).unwrap();
    let document: Value = serde_json::from_slice(&issuer.jwks_document().0).unwrap();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(
        keys[0],
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": RFC_8037_THUMBPRINT,
        })
    );
    assert_eq!(&**issuer.signer().kid(), RFC_8037_THUMBPRINT);
    let parsed: jsonwebtoken::jwk::JwkSet = serde_json::from_value(document).unwrap();
    assert_eq!(parsed.keys.len(), 2);
}

#[test]
fn keys_that_cannot_sign_are_refused_by_position() {
    let good = || generate().unwrap();
    let public = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let truncated = RFC_8037.replace("rAMcrn9g", "rAMc");
    let twice = format!("{RFC_8037}{}", good().expose_secret());
    assert_eq!(issuer(vec![]).unwrap_err(), KeyError::NoKey);
    for wrong in ["", "secret", public, truncated.as_str(), twice.as_str()] {
        let error = issuer(vec![good(), wrong.into()]).unwrap_err();
        assert_eq!(error, KeyError::NotEd25519(2), "{wrong}");
    }
    let repeated = issuer(vec![RFC_8037.into(), good(), RFC_8037.into()]).unwrap_err();
    assert_eq!(repeated, KeyError::Repeated(3));
}

#[test]
fn nothing_shows_the_private_key() {
    let issuer = issuer(vec![RFC_8037.into()]).unwrap();
    let shown = format!("{issuer:?} {:?}", minted(&issuer, None));
    assert!(!shown.contains("MC4CAQ") && !shown.contains("eyJ"), "{shown}");
}
