use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{
    super::minting::{AUDIENCE, ISSUER, Minter, NOW, Token, iam_rules, key_set},
    *,
};

fn token() -> Token {
    Token {
        header: json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" }),
        claims: json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "sid": "s-1", "jti": "j-1",
            "iat": NOW.0 - 1, "exp": NOW.0 + 120, "events": { EVENT: {} },
        }),
    }
}

fn judged_at(token: &Token, now: Timestamp) -> Result<LogoutToken, Rejection> {
    let minter = Minter::ed25519("one");
    let keys = key_set(&[&minter], &[Algorithm::EdDSA]);
    verify(&token.signed(&minter), &keys, &iam_rules(), now)
}

fn judged(token: &Token) -> Result<LogoutToken, Rejection> {
    judged_at(token, NOW)
}

#[test]
fn a_good_one_names_session_and_subject() {
    let found = judged(&token()).unwrap();
    assert_eq!(found.id, "j-1");
    assert_eq!(found.subject.as_deref(), Some("ada"));
    assert_eq!(found.provider_session.as_deref(), Some("s-1"));
    assert!(judged_at(&token(), found.remember_until).is_err(), "it need not be remembered");
    for claim in ["sub", "sid"] {
        judged(&token().without_claim(claim)).unwrap();
    }
    for typ in ["JWT", "application/logout+jwt", "LOGOUT+JWT"] {
        judged(&token().header("typ", typ)).unwrap();
    }
    judged(&token().without_header("typ")).unwrap();
}

#[test]
fn every_rule_of_section_2_6_is_kept() {
    let far = (NOW + iam_rules().leeway).0 + 1;
    for (token, expected) in [
        (token().header("alg", "none"), Rejection::AlgorithmNotAllowed),
        (token().header("alg", "HS256"), Rejection::AlgorithmNotAllowed),
        (token().header("kid", "two"), Rejection::UnknownKey),
        (token().header("typ", "at+jwt"), Rejection::NotALogoutToken),
        (token().header("typ", 1), Rejection::NotALogoutToken),
        (token().header("crit", json!(["x"])), Rejection::HeaderForbidden),
        (token().claim("iss", "https://evil.example"), Rejection::WrongIssuer),
        (token().claim("aud", "another"), Rejection::WrongAudience),
        (token().without_claim("aud"), Rejection::WrongAudience),
        (token().without_claim("exp"), Rejection::BadTime),
        (token().claim("exp", NOW.0 - 1_000), Rejection::Expired),
        (token().claim("exp", "soon"), Rejection::BadTime),
        (token().without_claim("iat"), Rejection::BadTime),
        (token().claim("iat", "now"), Rejection::BadTime),
        (token().claim("iat", far), Rejection::NotYetValid),
        (token().without_claim("events"), Rejection::NotALogoutToken),
        (token().claim("events", json!({ EVENT: true })), Rejection::NotALogoutToken),
        (token().claim("events", json!([EVENT])), Rejection::NotALogoutToken),
        (token().claim("nonce", "n"), Rejection::NotALogoutToken),
        (token().claim("nonce", Value::Null), Rejection::NotALogoutToken),
        (token().without_claim("jti"), Rejection::NotALogoutToken),
        (token().claim("jti", 1), Rejection::SubjectInvalid),
        (token().without_claim("sub").without_claim("sid"), Rejection::SubjectInvalid),
        (token().claim("sub", ""), Rejection::SubjectInvalid),
        (token().claim("sid", json!({})), Rejection::SubjectInvalid),
        (token().claim("sid", "x".repeat(256)), Rejection::SubjectInvalid),
    ] {
        assert_eq!(judged(&token).unwrap_err(), expected, "{} {}", token.header, token.claims);
    }
}

#[test]
fn neither_an_id_token_nor_a_forged_one_logs_anybody_out() {
    let id_token = token().header("typ", "JWT").without_claim("events").claim("nonce", "n");
    assert_eq!(judged(&id_token).unwrap_err(), Rejection::NotALogoutToken);
    let (ours, theirs) = (Minter::ed25519("one"), Minter::ed25519("one"));
    let keys = key_set(&[&ours], &[Algorithm::EdDSA]);
    let forged = token().signed(&theirs);
    assert_eq!(verify(&forged, &keys, &iam_rules(), NOW).unwrap_err(), Rejection::BadSignature);
}
