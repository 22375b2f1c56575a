use std::collections::HashMap;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair,
    },
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;

const NOW: Timestamp = Timestamp(1_760_000_000);

fn pem(der: &[u8]) -> SecretString {
    let lines = STANDARD.encode(der);
    let lines: Vec<_> =
        lines.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")).into()
}

fn fields(client: &OauthClient) -> HashMap<String, String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let endpoint = "https://iam.example.com/token".parse().unwrap();
    client.prove(&mut form, &endpoint, NOW).unwrap();
    form_urlencoded::parse(form.finish().as_bytes()).into_owned().collect()
}

fn part(assertion: &str, at: usize) -> Value {
    let part = assertion.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_signed_with_the_algorithm_of_the_keys_kind() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let eddsa_der = ed.to_pkcs8v1().unwrap();
    let p256_der = ec.to_pkcs8v1().unwrap();
    let rsa_der: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let keys: [(_, &[u8], &[u8], &'static dyn VerificationAlgorithm); 3] = [
        ("EdDSA", eddsa_der.as_ref(), ed.public_key().as_ref(), &ED25519),
        ("ES256", p256_der.as_ref(), ec.public_key().as_ref(), &ECDSA_P256_SHA256_FIXED),
        ("RS256", rsa_der.as_ref(), rsa.public_key().as_ref(), &RSA_PKCS1_2048_8192_SHA256),
    ];
    for (algorithm, private, public, verification) in keys {
        let key = AssertionKey::new(&pem(private)).unwrap();
        let how = ClientAuthentication::PrivateKeyJwt(key);
        let client = OauthClient::new("portcullis".to_owned(), how);
        let form = fields(&client);
        assert_eq!(form["client_assertion_type"], JWT_BEARER);
        assert_eq!(form["client_id"], "portcullis");
        assert_eq!(form.len(), 3);
        assert!(client.authorization().is_none());
        let assertion = &form["client_assertion"];
        assert_eq!(part(assertion, 0)["alg"], algorithm);
        let claims = part(assertion, 1);
        for (name, value) in
            [("iss", "portcullis"), ("sub", "portcullis"), ("aud", "https://iam.example.com/token")]
        {
            assert_eq!(claims[name], value);
        }
        assert_eq!(claims["exp"].as_u64().unwrap() - NOW.0, 60);
        assert_ne!(claims["jti"], part(&fields(&client)["client_assertion"], 1)["jti"]);
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(verification, public);
        public.verify(signed.as_bytes(), &signature).unwrap();
    }
}

#[test]
fn what_is_no_single_key_of_these_kinds_is_refused() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let twice = pem(ed.as_ref()).expose_secret().repeat(2);
    let public = pem(ed.as_ref()).expose_secret().replace("PRIVATE", "PUBLIC");
    let wrong = [
        pem(p384.to_pkcs8v1().unwrap().as_ref()),
        twice.into(),
        public.into(),
        "a shared secret".into(),
        "".into(),
    ];
    for (at, text) in wrong.iter().enumerate() {
        assert_eq!(AssertionKey::new(text).err(), Some(NoAssertionKey), "{at}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let how =
        [ClientAuthentication::Basic("hush".into()), ClientAuthentication::Post("hush".into())];
    for how in how {
        let client = OauthClient::new("portcullis".to_owned(), how);
        assert!(!format!("{client:?} {:?}", client.authorization()).contains("hush"));
        assert!(!format!("{:?}", client.authorization()).contains(&STANDARD.encode(":hush")));
    }
}
