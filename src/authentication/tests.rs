use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;

use super::*;
use crate::{
    bearer::minting::{AUDIENCE, Minter, NOW, Token, app_rules, document, iam_rules, key_set},
    jwks::provider::Provider,
};

const EDDSA: &[Algorithm] = &[Algorithm::EdDSA];
const IAM: Accepted<'static> = Accepted { iam: true, app: None };
const CORE: Accepted<'static> = Accepted { iam: false, app: Some("one-core") };

fn local(rules: Rules, minters: &[&Minter]) -> TrustedIssuer {
    let keys = KeySource::Local(Arc::new(ArcSwap::from_pointee(key_set(minters, EDDSA))));
    TrustedIssuer { rules, keys }
}

fn remote(rules: Rules, provider: &Provider) -> TrustedIssuer {
    TrustedIssuer { rules, keys: KeySource::Remote(Arc::new(provider.jwks(EDDSA))) }
}

fn authenticator(issuers: impl Into<Vec<TrustedIssuer>>) -> Authenticator {
    Authenticator::new(issuers.into(), Verified::new(1000))
}

/// Asks twice, cold and warm (R24), and demands the same answer.
async fn ask(
    authenticator: &Authenticator,
    token: &SecretString,
    accept: Accepted<'_>,
) -> Result<Arc<Identity>, Reason> {
    let cold = authenticator.bearer(token, accept, NOW).await;
    let warm = authenticator.bearer(token, accept, NOW).await;
    match (cold, warm) {
        (Ok(cold), Ok(warm)) => {
            assert!(Arc::ptr_eq(&cold, &warm), "the second answer is remembered");
            Ok(warm)
        }
        (Err(cold), Err(warm)) => {
            assert_eq!(cold.reason, warm.reason);
            assert_eq!(cold.detail, warm.detail);
            Err(warm.reason)
        }
        (cold, warm) => panic!("cold {cold:?}, warm {warm:?}"),
    }
}

#[tokio::test]
async fn r24_a_warm_token_is_accepted_only_where_a_cold_one_is() {
    let (iam, sts) = (Minter::ed25519("one"), Minter::ed25519("one"));
    let gate = authenticator([local(iam_rules(), &[&iam]), local(app_rules(), &[&sts])]);
    let (iam_token, app_token) = (Token::iam(&iam).signed(&iam), Token::app(&sts).signed(&sts));
    // The second round finds everything warm.
    for _ in 0..2 {
        assert_eq!(ask(&gate, &iam_token, IAM).await.unwrap().proof, Proof::IamToken);
        assert_eq!(ask(&gate, &app_token, CORE).await.unwrap().proof, Proof::AppToken);
        let either = Accepted { iam: true, app: Some("one-core") };
        assert_eq!(ask(&gate, &iam_token, either).await.unwrap().proof, Proof::IamToken);
        assert_eq!(ask(&gate, &app_token, either).await.unwrap().proof, Proof::AppToken);

        let refused = Err(Reason::CredentialInvalid);
        assert_eq!(ask(&gate, &iam_token, CORE).await.map(drop), refused);
        assert_eq!(ask(&gate, &app_token, IAM).await.map(drop), refused);
        let wrpr = Accepted { iam: false, app: Some("wrpr") };
        assert_eq!(ask(&gate, &app_token, wrpr).await.map(drop), refused);
        assert_eq!(ask(&gate, &app_token, Accepted::default()).await.map(drop), refused);
    }
}

#[tokio::test]
async fn r23_the_same_kid_in_two_issuers_means_two_keys() {
    let (a, b) = (Minter::ed25519("one"), Minter::ed25519("one"));
    let rules_b = Rules { issuer: "https://b.example".into(), ..iam_rules() };
    let gate = authenticator([local(iam_rules(), &[&a]), local(rules_b, &[&b])]);
    let (from_a, from_b) = (Token::iam(&a), Token::iam(&b).claim("iss", "https://b.example"));
    assert!(ask(&gate, &from_a.signed(&a), IAM).await.is_ok());
    assert_eq!(&*ask(&gate, &from_b.signed(&b), IAM).await.unwrap().issuer, "https://b.example");
    let refused = Err(Reason::CredentialInvalid);
    assert_eq!(ask(&gate, &from_b.signed(&a), IAM).await.map(drop), refused);
    assert_eq!(ask(&gate, &from_a.signed(&b), IAM).await.map(drop), refused);
    let stranger = from_a.claim("iss", "https://c.example").signed(&a);
    assert_eq!(ask(&gate, &stranger, IAM).await.map(drop), refused);
}

#[tokio::test]
async fn one_issuer_for_both_kinds_is_told_apart_by_audience() {
    let minter = Minter::ed25519("one");
    let app = Rules { issuer: iam_rules().issuer, ..app_rules() };
    let either = Accepted { iam: true, app: Some("one-core") };
    let iam_token = Token::iam(&minter).signed(&minter);
    let app_token = Token::app(&minter).claim("iss", &*app.issuer).signed(&minter);
    let issuers = [local(iam_rules(), &[&minter]), local(app, &[&minter])];
    for issuers in [issuers.clone(), {
        let [iam, app] = issuers;
        [app, iam]
    }] {
        let gate = authenticator(issuers);
        assert_eq!(ask(&gate, &iam_token, either).await.unwrap().proof, Proof::IamToken);
        assert_eq!(ask(&gate, &app_token, either).await.unwrap().proof, Proof::AppToken);
    }
}

#[tokio::test]
async fn a_token_that_fits_two_issuers_gets_the_first_that_verifies() {
    let (iam, sts) = (Minter::ed25519("iam"), Minter::ed25519("sts"));
    let app = Rules { issuer: iam_rules().issuer, ..app_rules() };
    let gate = authenticator([local(iam_rules(), &[&iam]), local(app, &[&sts])]);
    let both = serde_json::json!([AUDIENCE, "one-core"]);
    let token = Token::iam(&sts).claim("aud", both).signed(&sts);
    let either = Accepted { iam: true, app: Some("one-core") };
    assert_eq!(ask(&gate, &token, either).await.unwrap().proof, Proof::AppToken);
}

#[tokio::test]
async fn r24_time_is_checked_again_on_a_warm_token() {
    let minter = Minter::ed25519("one");
    let gate = authenticator([local(iam_rules(), &[&minter])]);
    let token = Token::iam(&minter).claim("nbf", NOW.0).claim("exp", NOW.0 + 100).signed(&minter);
    assert!(ask(&gate, &token, IAM).await.is_ok());
    let at =
        async |seconds| gate.bearer(&token, IAM, Timestamp(seconds)).await.map_err(|r| r.reason);
    assert!(at(NOW.0 + 99).await.is_ok());
    assert!(at(NOW.0 + 160).await.is_ok(), "within leeway, verified again");
    assert_eq!(at(NOW.0 + 161).await.unwrap_err(), Reason::CredentialExpired);
    assert_eq!(at(NOW.0 - 61).await.unwrap_err(), Reason::CredentialInvalid, "clock set back");
}

#[tokio::test]
async fn a_removed_key_counts_at_once_even_for_a_warm_token() {
    let (old, new) = (Minter::ed25519("old"), Minter::ed25519("new"));
    let keys = Arc::new(ArcSwap::from_pointee(key_set(&[&old], EDDSA)));
    let issuer = TrustedIssuer { rules: app_rules(), keys: KeySource::Local(Arc::clone(&keys)) };
    let gate = authenticator([issuer]);
    let token = Token::app(&old).signed(&old);
    assert!(ask(&gate, &token, CORE).await.is_ok());
    keys.store(Arc::new(key_set(&[&new], EDDSA)));
    assert_eq!(ask(&gate, &token, CORE).await.map(drop), Err(Reason::CredentialInvalid));
    assert!(ask(&gate, &Token::app(&new).signed(&new), CORE).await.is_ok());
}

#[tokio::test]
async fn a_cache_shared_over_a_reload_keeps_to_the_new_rules() {
    let minter = Minter::ed25519("one");
    let cache = Verified::new(10);
    let of = |rules| Authenticator::new(vec![local(rules, &[&minter])], cache.clone());
    let token = Token::iam(&minter).signed(&minter);
    let first = ask(&of(iam_rules()), &token, IAM).await.unwrap();
    let again = ask(&of(iam_rules()), &token, IAM).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let without_roles = of(Rules { roles: None, ..iam_rules() });
    assert!(ask(&without_roles, &token, IAM).await.unwrap().roles.is_empty());
    let other_audience = of(iam_rules().for_audience("other"));
    assert!(ask(&other_audience, &token, IAM).await.is_err());
}

#[tokio::test]
async fn an_unknown_kid_looks_once_and_finds_the_rotated_key() {
    let (old, new) = (Minter::ed25519("old"), Minter::ed25519("new"));
    let provider = Provider::serving(document(&[&old])).await;
    let gate = authenticator([remote(iam_rules(), &provider)]);
    assert!(ask(&gate, &Token::iam(&old).signed(&old), IAM).await.is_ok(), "fetches the first set");
    assert_eq!(provider.count(), 1);

    let provider = Provider::serving(document(&[&old])).await;
    let issuer = remote(iam_rules(), &provider);
    let KeySource::Remote(jwks) = &issuer.keys else { panic!() };
    jwks.refresh().await.unwrap();
    provider.answer(200, document(&[&new]));
    let gate = authenticator([issuer]);
    assert!(ask(&gate, &Token::iam(&new).signed(&new), IAM).await.is_ok());
    assert_eq!(provider.count(), 2);
    for kid in ["x", "y", "z"] {
        let token = Token::iam(&new).header("kid", kid).signed(&new);
        assert_eq!(ask(&gate, &token, IAM).await.map(drop), Err(Reason::CredentialInvalid));
    }
    assert_eq!(provider.count(), 2, "made-up kids are no load on the provider");
}

#[tokio::test]
async fn a_known_key_is_not_held_up_by_a_fetch() {
    let minter = Minter::ed25519("one");
    let provider = Provider::serving(document(&[&minter])).await;
    let issuer = remote(iam_rules(), &provider);
    let KeySource::Remote(jwks) = issuer.keys.clone() else { panic!() };
    jwks.refresh().await.unwrap();
    let gate = authenticator([issuer]);
    provider.hold();
    let fetching = tokio::spawn(async move { jwks.keys_for_unknown_kid().await });
    provider.asked(2).await;
    assert!(ask(&gate, &Token::iam(&minter).signed(&minter), IAM).await.is_ok());
    assert!(!fetching.is_finished());
    provider.release();
    assert!(fetching.await.unwrap().is_some());
}

#[tokio::test]
async fn r31_without_any_keys_nobody_is_authenticated_and_the_answer_says_who_is_away() {
    let minter = Minter::ed25519("one");
    let provider = Provider::serving(document(&[&minter])).await;
    provider.answer(500, "");
    let gate = authenticator([remote(iam_rules(), &provider), remote(app_rules(), &provider)]);
    let (iam, app) = (Token::iam(&minter).signed(&minter), Token::app(&minter).signed(&minter));
    assert_eq!(ask(&gate, &iam, IAM).await.map(drop), Err(Reason::IamUnavailable));
    assert_eq!(ask(&gate, &app, CORE).await.map(drop), Err(Reason::StsUnavailable));
    // A token that is no issuer's is wrong whoever is away.
    let stranger = Token::iam(&minter).claim("iss", "https://c.example").signed(&minter);
    assert_eq!(ask(&gate, &stranger, IAM).await.map(drop), Err(Reason::CredentialInvalid));
    assert_eq!(provider.count(), 2, "each issuer was tried once");
}

#[tokio::test]
async fn r15_a_huge_token_is_refused_unread() {
    let gate = authenticator([local(iam_rules(), &[&Minter::ed25519("one")])]);
    let refusal = gate.bearer(&"a".repeat(100_000).into(), IAM, NOW).await.unwrap_err();
    assert_eq!(refusal.detail, Rejection::TooLong.detail());
}

#[tokio::test]
async fn an_expired_token_is_called_expired_only_if_it_was_good() {
    let (minter, stranger) = (Minter::ed25519("one"), Minter::ed25519("one"));
    let gate = authenticator([local(iam_rules(), &[&minter])]);
    let expired = Token::iam(&minter).claim("exp", NOW.0 - Duration::from_secs(61).as_secs());
    let found = ask(&gate, &expired.signed(&minter), IAM).await.map(drop);
    assert_eq!(found, Err(Reason::CredentialExpired));
    let found = ask(&gate, &expired.signed(&stranger), IAM).await.map(drop);
    assert_eq!(found, Err(Reason::CredentialInvalid));
}

proptest! {
    #[test]
    fn r12_r18_garbage_is_never_an_identity(token in "[ -~]{0,200}|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
        let gate = authenticator([local(iam_rules(), &[&Minter::ed25519("one")])]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let accept = Accepted { iam: true, app: Some("one-core") };
        let refusal = runtime.block_on(ask(&gate, &token.into(), accept)).map(drop);
        prop_assert_eq!(refusal, Err(Reason::CredentialInvalid));
    }
}
