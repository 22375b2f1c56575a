use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::bearer::{
    KeySet,
    minting::{Minter, NOW, Token, app_rules, iam_rules, key_set},
    verify,
};

struct Case {
    token: SecretString,
    identity: Arc<Identity>,
    keys: KeySet,
}

impl Case {
    fn expiring_in(seconds: u64) -> Self {
        let minter = Minter::ed25519("one");
        let token = Token::iam(&minter).claim("exp", NOW.0 + seconds).signed(&minter);
        let keys = key_set(&[&minter], &[Algorithm::EdDSA]);
        let identity = Arc::new(verify(&token, &keys, &iam_rules(), NOW).unwrap());
        Self { token, identity, keys }
    }

    fn key<'a>(&'a self, rules: &'a Rules) -> Key<'a> {
        Key {
            scope: Scope::of(rules),
            audience: &rules.audience,
            generation: self.keys.generation(),
            token: self.token.expose_secret(),
        }
    }
}

#[test]
fn an_entry_ends_with_its_token_and_after_five_minutes_at_most() {
    for (lifetime, counted) in [(20, 20), (300, 300), (3600, 300)] {
        let case = Case::expiring_in(lifetime);
        let rules = iam_rules();
        let (cache, key) = (Verified::new(10), case.key(&rules));
        cache.remember(&key, &case.identity, NOW);
        let at = |after| cache.identity(&key, Timestamp(NOW.0 + after));
        assert!(Arc::ptr_eq(&at(0).unwrap(), &case.identity));
        assert!(at(counted - 1).is_some(), "{lifetime}");
        assert!(at(counted).is_none(), "{lifetime}");
    }
}

#[test]
fn a_token_in_its_leeway_is_not_remembered() {
    let case = Case::expiring_in(0);
    let rules = iam_rules();
    let (cache, key) = (Verified::new(10), case.key(&rules));
    cache.remember(&key, &case.identity, NOW);
    assert!(cache.identity(&key, Timestamp(NOW.0 - 1)).is_none());
}

#[test]
fn r20_r24_the_key_names_everything_that_was_decided_by() {
    let case = Case::expiring_in(600);
    let rules = iam_rules();
    let key = case.key(&rules);
    assert!(key == case.key(&rules));
    let other_keys = key_set(&[&Minter::ed25519("one")], &[Algorithm::EdDSA]);
    let cache = Verified::new(100);
    cache.remember(&key, &case.identity, NOW);
    assert!(cache.identity(&key, NOW).is_some());
    let different = [
        Rules { proof: app_rules().proof, ..rules.clone() },
        Rules { issuer: "https://other.example".into(), ..rules.clone() },
        Rules { leeway: Duration::ZERO, ..rules.clone() },
        Rules { algorithms: vec![Algorithm::ES256], ..rules.clone() },
        Rules { algorithms: vec![], ..rules.clone() },
        Rules { roles: None, ..rules.clone() },
        Rules { roles: Some(String::new()), ..rules.clone() },
        rules.for_audience("other"),
        // The same bytes in a row, divided otherwise.
        Rules {
            issuer: format!("{}p", rules.issuer).into(),
            audience: rules.audience[1..].into(),
            ..rules.clone()
        },
    ];
    for other in &different {
        assert!(key != case.key(other), "{other:?}");
        assert!(cache.identity(&case.key(other), NOW).is_none(), "{other:?}");
    }
    for other in [
        Key { generation: other_keys.generation(), ..key },
        Key { token: &key.token[1..], ..key },
        Key { token: &key.token[..key.token.len() - 1], ..key },
        Key { audience: "", ..key },
    ] {
        assert!(key != other && cache.identity(&other, NOW).is_none());
    }
}

/// A hash that is the same for all of them does not make them the same.
#[test]
fn r20_tokens_that_collide_are_still_two() {
    #[derive(Clone, Default)]
    struct Constant;
    impl std::hash::BuildHasher for Constant {
        type Hasher = Self;
        fn build_hasher(&self) -> Self {
            Self
        }
    }
    impl Hasher for Constant {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }
    let (one, other) = (Case::expiring_in(600), Case::expiring_in(601));
    let rules = iam_rules();
    let cache = moka::sync::Cache::builder().build_with_hasher(Constant);
    for case in [&one, &other] {
        let Key { scope, audience, generation, .. } = case.key(&rules);
        let identity = Arc::clone(&case.identity);
        cache.insert(
            Proven { scope, audience: audience.into(), generation, identity },
            case.identity.expires,
        );
    }
    for case in [&one, &other] {
        assert_eq!(cache.get(&case.key(&rules)), Some(case.identity.expires));
    }
    assert_eq!(cache.get(&Key { token: "x", ..one.key(&rules) }), None);
}

#[test]
fn r20_an_identity_is_remembered_under_its_own_token_alone() {
    let (one, other) = (Case::expiring_in(600), Case::expiring_in(601));
    let (rules, cache) = (iam_rules(), Verified::new(10));
    cache.remember(&one.key(&rules), &other.identity, NOW);
    assert!(cache.identity(&one.key(&rules), NOW).is_none());
    assert!(cache.identity(&other.key(&rules), NOW).is_none());
}

#[test]
fn r15_the_cache_is_bounded_and_large_tokens_weigh_more() {
    let case = Case::expiring_in(600);
    let cache = Verified::new(8);
    let rules = iam_rules();
    for n in 0..1000_u32 {
        let token = n.to_string();
        let identity = Identity { token: token.clone().into(), ..(*case.identity).clone() };
        let key = Key { token: &token, ..case.key(&rules) };
        cache.remember(&key, &Arc::new(identity), NOW);
    }
    cache.entries.run_pending_tasks();
    assert!(cache.entries.entry_count() <= 8);

    let mut large = (*case.identity).clone();
    large.token = "x".repeat(16 * 1024).into();
    let entry = |identity| Entry { identity, until: NOW };
    assert_eq!(weight(&entry(Arc::clone(&case.identity))), 1);
    assert_eq!(weight(&entry(Arc::new(large))), 9);
}
