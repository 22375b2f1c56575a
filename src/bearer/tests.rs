use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::json;

use super::{
    minting::{
        AUDIENCE, ISSUER, Minter, NOW, ORGANISATION, Token, app_rules, b64, iam_rules, key_set,
    },
    *,
};
use crate::permission::Permission;

mod claims;

const EDDSA: &[Algorithm] = &[Algorithm::EdDSA];

/// One key, its set, and rules; the token is what a test varies.
struct Case {
    minter: Minter,
    keys: KeySet,
    rules: Rules,
}

impl Case {
    fn iam() -> Self {
        let minter = Minter::ed25519("one");
        Self { keys: key_set(&[&minter], EDDSA), minter, rules: iam_rules() }
    }

    fn app() -> Self {
        Self { rules: app_rules(), ..Self::iam() }
    }

    fn token(&self) -> Token {
        match self.rules.proof {
            Proof::AppToken => Token::app(&self.minter),
            _ => Token::iam(&self.minter),
        }
    }

    fn verify(&self, token: &Token) -> Result<Identity, Rejection> {
        verify(&token.signed(&self.minter), &self.keys, &self.rules, NOW)
    }

    fn verify_text(&self, token: impl Into<String>) -> Result<Identity, Rejection> {
        verify(&SecretString::from(token.into()), &self.keys, &self.rules, NOW)
    }

    #[track_caller]
    fn refuses(&self, token: &Token, rejection: Rejection) {
        let found = self.verify(token).err();
        assert_eq!(found, Some(rejection), "{} {}", token.header, token.claims);
    }

    /// The good token's text.
    fn text(&self) -> String {
        self.token().signed(&self.minter).expose_secret().to_owned()
    }
}

#[test]
fn a_good_iam_token_proves_every_field() {
    let case = Case::iam();
    let token = case.token().signed(&case.minter);
    let identity = verify(&token, &case.keys, &case.rules, NOW).unwrap();
    assert_eq!(identity.proof, Proof::IamToken);
    assert_eq!(&*identity.issuer, ISSUER);
    assert_eq!(&*identity.subject, "ada");
    assert_eq!(identity.roles, [Arc::from("admin"), Arc::from("auditor")]);
    assert_eq!(identity.organisation, None);
    assert_eq!(identity.permissions, None, "they follow from roles");
    assert_eq!(identity.actor, None);
    assert_eq!(identity.expires, Timestamp(NOW.0 + 600));
    assert_eq!(identity.claims.get("aud"), Some(&json!(AUDIENCE)));
    assert_eq!(identity.token.expose_secret(), token.expose_secret());
}

#[test]
fn a_good_app_token_proves_every_field() {
    let case = Case::app();
    let identity = case.verify(&case.token().claim("act", json!({ "sub": "bridge" }))).unwrap();
    assert_eq!(identity.proof, Proof::AppToken);
    assert_eq!(&*identity.issuer, "https://bff.example.com");
    assert_eq!(identity.organisation.unwrap().to_string(), ORGANISATION);
    assert_eq!(identity.actor.as_deref(), Some("bridge"));
    assert!(identity.roles.is_empty());
    let permissions = identity.permissions.unwrap();
    assert_eq!(permissions.len(), 2);
    assert!(permissions.contains(&Permission::parse("CREDENTIAL_ISSUE").unwrap()));
}

#[test]
fn an_app_token_needs_its_kid_and_eddsa_and_no_typ() {
    let mut case = Case::app();
    case.refuses(&case.token().without_header("kid"), Rejection::KeyIdMissing);
    assert!(case.verify(&case.token().without_header("typ")).is_ok());
    assert!(case.verify(&case.token().header("typ", "anything")).is_ok());

    let both = &[Algorithm::EdDSA, Algorithm::ES256];
    case.minter = Minter::p256("two");
    case.keys = key_set(&[&case.minter], both);
    case.rules.algorithms = both.to_vec();
    case.refuses(&case.token(), Rejection::AlgorithmNotAllowed);
}

#[test]
fn an_iam_token_may_do_without_kid_only_if_one_key_can_be_meant() {
    let mut case = Case::iam();
    let nameless = case.token().without_header("kid");
    assert!(case.verify(&nameless).is_ok());
    let other = Minter::ed25519("other");
    case.keys = key_set(&[&case.minter, &other], EDDSA);
    case.refuses(&nameless, Rejection::KeyIdMissing);
    assert!(case.verify(&case.token()).is_ok(), "with kid");
    case.refuses(&case.token().header("kid", json!(1)), Rejection::Malformed);
}

#[test]
fn every_asymmetric_family_verifies_with_its_own_key_only() {
    let all = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];
    let minters = [Minter::ed25519("ed"), Minter::p256("ec"), Minter::rsa("rsa")];
    let keys = key_set(&minters.each_ref(), &all);
    let rules = Rules { algorithms: all.to_vec(), ..iam_rules() };
    for minter in &minters {
        let token = Token::iam(minter);
        assert!(verify(&token.signed(minter), &keys, &rules, NOW).is_ok(), "{}", minter.alg());
        for other in minters.iter().filter(|other| other.kid != minter.kid) {
            // Signed as the header says, with the kid of another key: the key says no.
            let confused = token.clone().header("kid", other.kid).signed(minter);
            let found = verify(&confused, &keys, &rules, NOW).err();
            assert_eq!(found, Some(Rejection::AlgorithmNotAllowed));
        }
    }
}

#[test]
fn wrong_signature_wrong_key_unknown_key() {
    let case = Case::iam();
    let stranger = Minter::ed25519("one");
    let found = verify(&case.token().signed(&stranger), &case.keys, &case.rules, NOW).err();
    assert_eq!(found, Some(Rejection::BadSignature), "same kid, another key");
    case.refuses(&case.token().header("kid", "two"), Rejection::UnknownKey);
    case.refuses(&case.token().header("kid", ""), Rejection::UnknownKey);

    let text = case.text();
    let (signed, _) = text.rsplit_once('.').unwrap();
    for signature in [String::new(), b64([0; 64]), b64([0; 63]), b64(vec![1; 5000])] {
        let found = case.verify_text(format!("{signed}.{signature}")).err();
        assert_eq!(found, Some(Rejection::BadSignature));
    }
}

#[test]
fn a_kid_used_twice_means_either_key() {
    let mut case = Case::iam();
    let twin = Minter::ed25519("one");
    case.keys = key_set(&[&twin, &case.minter], EDDSA);
    assert!(case.verify(&case.token()).is_ok());
    let stranger = case.token().signed(&Minter::ed25519("one"));
    let found = verify(&stranger, &case.keys, &case.rules, NOW).err();
    assert_eq!(found, Some(Rejection::BadSignature));
}

#[test]
fn r21_alg_none_is_refused_in_every_spelling() {
    let case = Case::iam();
    for alg in ["none", "None", "NONE", "nOnE", "", "EdDSA ", "eddsa", "Ed25519"] {
        let token = case.token().header("alg", alg);
        case.refuses(&token, Rejection::AlgorithmNotAllowed);
        let unsigned =
            format!("{}.{}.", b64(token.header.to_string()), b64(token.claims.to_string()));
        assert_eq!(case.verify_text(unsigned).err(), Some(Rejection::AlgorithmNotAllowed));
    }
    case.refuses(&case.token().header("alg", json!(["EdDSA"])), Rejection::Malformed);
    case.refuses(&case.token().without_header("alg"), Rejection::Malformed);
}

#[test]
fn r21_a_public_key_is_no_shared_secret_even_if_hmac_is_listed() {
    let all = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];
    let rules = Rules { algorithms: all.to_vec(), ..iam_rules() };
    for minter in [Minter::ed25519("k"), Minter::p256("k"), Minter::rsa("k")] {
        let keys = key_set(&[&minter], &all);
        for secret in minter.public_forms() {
            let token = Token::iam(&minter).header("alg", "HS256");
            let signed =
                format!("{}.{}", b64(token.header.to_string()), b64(token.claims.to_string()));
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            let token = SecretString::from(format!("{signed}.{}", b64(mac)));
            let found = verify(&token, &keys, &rules, NOW).err();
            assert_eq!(found, Some(Rejection::AlgorithmNotAllowed), "{}", minter.alg());
        }
    }
}

#[test]
fn r21_an_algorithm_off_the_list_is_refused_whatever_the_set_holds() {
    let rsa = Minter::rsa("rsa");
    let keys = key_set(&[&rsa], &[Algorithm::RS256]);
    let found = verify(&Token::iam(&rsa).signed(&rsa), &keys, &iam_rules(), NOW).err();
    assert_eq!(found, Some(Rejection::AlgorithmNotAllowed), "the rules list EdDSA alone");

    let ed = Minter::ed25519("ed");
    let keys = KeySet::parse(&minting::document(&[&rsa, &ed]), EDDSA).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (1, 1), "and so does the set");
}

#[test]
fn r21_the_header_brings_no_key_and_no_extension() {
    let case = Case::iam();
    let own = Minter::ed25519("one");
    for (name, value) in [
        ("jwk", own.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("jwk", json!(null)),
    ] {
        let token = case.token().header(name, value);
        case.refuses(&token, Rejection::HeaderForbidden);
        let found = verify(&token.signed(&own), &case.keys, &case.rules, NOW).err();
        assert_eq!(found, Some(Rejection::HeaderForbidden));
    }
    let certificate = case.token().header("x5c", json!([b64("no certificate")]));
    assert!(case.verify(&certificate).is_ok(), "x5c is tolerated");
    let found = verify(&certificate.signed(&own), &case.keys, &case.rules, NOW).err();
    assert_eq!(found, Some(Rejection::BadSignature), "and never believed");
}

#[test]
fn r18_what_is_no_compact_jws_is_malformed() {
    let case = Case::iam();
    let good = case.text();
    assert!(case.verify_text(good.clone()).is_ok());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for text in [
        String::new(),
        "garbage".into(),
        "..".into(),
        "...".into(),
        format!("{header}.{claims}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}..{claims}.{signature}"),
        format!(" {good}"),
        format!("{header}. {claims}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}.{claims}\n.{signature}"),
        format!("{claims}.{claims}.{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
    ] {
        assert_eq!(case.verify_text(text.clone()).err(), Some(Rejection::Malformed), "{text}");
    }
    for text in [format!("{good}="), format!("{good} "), format!("{good}\n"), format!("{good}+/")] {
        assert_eq!(case.verify_text(text.clone()).err(), Some(Rejection::BadSignature), "{text}");
    }
}

#[test]
fn r15_a_huge_token_is_not_looked_at() {
    let case = Case::iam();
    let padded = |length| case.token().claim("padding", "x".repeat(length)).signed(&case.minter);
    let large = padded(11_500);
    assert!(large.expose_secret().len() < MAX_TOKEN);
    assert!(verify(&large, &case.keys, &case.rules, NOW).is_ok());
    let found = verify(&padded(13_000), &case.keys, &case.rules, NOW).err();
    assert_eq!(found, Some(Rejection::TooLong));
    assert_eq!(unverified_issuer(padded(13_000).expose_secret()), None);
}

#[test]
fn a_member_named_twice_is_refused_although_signed() {
    let case = Case::iam();
    let Token { header, claims } = case.token();
    let twice =
        |object: &Value, member: &str| object.to_string().replacen('{', &format!("{{{member},"), 1);
    let header = header.to_string();
    for claims in [twice(&claims, r#""sub":"eve""#), twice(&claims, r#""\u0069ss":"x""#)] {
        let token = case.minter.sign_texts(&header, &claims);
        let found = verify(&token, &case.keys, &case.rules, NOW).err();
        assert_eq!(found, Some(Rejection::Malformed), "{claims}");
    }
    let header = twice(&case.token().header, r#""alg":"none""#);
    let token = case.minter.sign_texts(&header, &claims.to_string());
    assert_eq!(verify(&token, &case.keys, &case.rules, NOW).err(), Some(Rejection::Malformed));
    for whole in ["[]", "null", "\"x\"", "7"] {
        let token = case.minter.sign_texts(&case.token().header.to_string(), whole);
        assert_eq!(verify(&token, &case.keys, &case.rules, NOW).err(), Some(Rejection::Malformed));
        let token = case.minter.sign_texts(whole, &claims.to_string());
        assert_eq!(verify(&token, &case.keys, &case.rules, NOW).err(), Some(Rejection::Malformed));
    }
}

#[test]
fn the_unverified_issuer_is_what_the_token_says() {
    let case = Case::iam();
    assert_eq!(unverified_issuer(&case.text()).as_deref(), Some(ISSUER));
    let wrong = case.token().claim("iss", json!([ISSUER])).signed(&case.minter);
    assert_eq!(unverified_issuer(wrong.expose_secret()), None);
    assert_eq!(unverified_issuer("garbage"), None);
}

#[test]
fn no_rejection_and_no_debug_shows_the_token() {
    let case = Case::iam();
    let identity = case.verify(&case.token()).unwrap();
    let shown = format!("{identity:?} {:?} {:?}", case.keys, case.rules);
    let text = case.text();
    assert!(text.split('.').all(|part| !shown.contains(part)));
    for rejection in Rejection::ALL {
        assert!(!rejection.to_string().contains('{'));
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_verifies(token: String) {
        let case = Case::iam();
        prop_assert!(case.verify_text(token.clone()).is_err());
        let _ = unverified_issuer(&token);
    }

    #[test]
    fn arbitrary_parts_never_verify(header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>) {
        let case = Case::iam();
        let token = format!("{}.{}.{}", b64(header), b64(claims), b64(signature));
        prop_assert!(case.verify_text(token).is_err());
    }

    /// Not one bit of a good token can be changed, its last character's unused bits included.
    #[test]
    fn any_flipped_byte_of_a_good_token_fails(at: prop::sample::Index, flip in 1_u8..=127) {
        let case = Case::iam();
        let mut token = case.text().into_bytes();
        let at = at.index(token.len());
        token[at] ^= flip;
        if let Ok(token) = String::from_utf8(token) {
            prop_assert!(case.verify_text(token).is_err());
        }
    }
}
