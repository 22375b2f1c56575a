//! Tokens that we mint ourselves.

use std::collections::HashMap;

use super::*;
use crate::sts::issuer::{self, IssuerSettings};

/// A door before an issuer of our own.
pub(super) fn own() -> Sts {
    let settings = IssuerSettings {
        iss: "https://desk.example.com".into(),
        keys: vec![issuer::generate().unwrap().into()],
        lifetime: Duration::from_mins(5),
        delegated_lifetime: Duration::from_mins(1),
        core_jwks_lifetime: Duration::from_mins(10),
    };
    let issuer = Issuer::new(settings, NOW).unwrap();
    Sts::new(Source::Issuer(issuer.into()), sts_settings())
}

#[tokio::test]
async fn minted_tokens_are_cached_until_the_margin() {
    let sts = own();
    let alice = Wish::of("alice");
    let first = alice.id(&sts, NOW).await;
    assert_eq!(alice.id(&sts, after(284)).await, first);
    assert_ne!(alice.id(&sts, after(285)).await, first);
    assert_eq!((count(&sts.outcomes().miss), count(&sts.outcomes().hit)), (2, 1));
    let mut renewed = alice.clone();
    renewed.identity.token = "IAM:alice:2".into();
    let second = alice.id(&sts, after(285)).await;
    assert_eq!(renewed.id(&sts, after(285)).await, second, "it says the same for a new IAM token");
}

#[tokio::test]
async fn r24_r26_other_permissions_are_another_token_at_once() {
    let sts = own();
    let mut alice = Wish::of("alice");
    for names in [&["CREDENTIAL_LIST"][..], &["CREDENTIAL_LIST", "CREDENTIAL_ISSUE"], &[]] {
        alice.permissions = set(names);
        for _cold_and_warm in 0..2 {
            let token = alice.at(&sts, NOW).await.unwrap();
            assert_eq!(token.issued.permissions, alice.permissions);
        }
    }
    assert_eq!((count(&sts.outcomes().miss), count(&sts.outcomes().hit)), (3, 3));
}

#[tokio::test]
async fn r20_minted_tokens_are_never_shared_either() {
    let sts = own();
    let mut seen = HashMap::new();
    for _cold_and_warm in 0..2 {
        for wish in matrix() {
            let token = wish.at(&sts, NOW).await.unwrap();
            let expected = (
                wish.identity.subject.clone(),
                wish.organisation,
                wish.audience.clone(),
                wish.actor.clone().map(|actor| actor.subject),
                wish.scope.clone(),
            );
            assert_eq!(token.issued.subject, expected.0);
            assert_eq!(token.issued.organisation, expected.1);
            let id = token.issued.id.clone().unwrap();
            assert_eq!(*seen.entry(id).or_insert(expected.clone()), expected);
        }
    }
    assert_eq!(seen.len(), 32);
}
