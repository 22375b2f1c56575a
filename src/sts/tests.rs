mod minted;
mod storm;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::{http::StatusCode, response::IntoResponse};
use tokio::task::JoinSet;

use super::*;
use crate::{
    identity::Identity,
    organisation::Organisation,
    permission::{Permission, PermissionSet},
    sts::stand_in::{
        ACME, BETA, Call, Gate, NOW, StandIn, caller, client, issue, sts_settings, until,
    },
};

/// An [`Ask`] that owns its parts.
#[derive(Clone)]
struct Wish {
    identity: Identity,
    actor: Option<Actor>,
    organisation: Option<Organisation>,
    audience: Arc<str>,
    permissions: PermissionSet,
    scope: Option<Arc<str>>,
}

impl Wish {
    fn of(name: &str) -> Self {
        Self {
            identity: caller(name),
            actor: None,
            organisation: Organisation::parse(ACME),
            audience: "one-core".into(),
            permissions: set(&["CREDENTIAL_LIST"]),
            scope: None,
        }
    }

    async fn at(&self, sts: &Sts, now: Timestamp) -> Result<Arc<AppToken>, Refusal> {
        let ask = Ask {
            identity: &self.identity,
            actor: self.actor.as_ref(),
            organisation: self.organisation,
            audience: &self.audience,
            permissions: &self.permissions,
            scope: self.scope.as_ref(),
        };
        sts.app_token(ask, now).await.map(|served| served.token)
    }

    async fn id(&self, sts: &Sts, now: Timestamp) -> String {
        self.at(sts, now).await.unwrap().issued.id.as_deref().unwrap().to_owned()
    }
}

fn set(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).unwrap()).collect()
}

fn after(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Honest until `broken` is set, then answers with this status.
async fn breakable(status: u16) -> (StandIn, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let service = StandIn::start(move |call: Call| {
        let broken = switch.load(Ordering::SeqCst);
        async move {
            if broken {
                StatusCode::from_u16(status).unwrap().into_response()
            } else {
                issue(&call.claims())
            }
        }
    })
    .await;
    (service, broken)
}

/// Every combination of two subjects, organisations, audiences, actors and scopes.
fn matrix() -> Vec<Wish> {
    let mut wishes = Vec::new();
    for bits in 0..32_u8 {
        let pick = |bit: u8| bits & (1 << bit) == 0;
        let actor = |name: &str| Actor {
            subject: name.into(),
            token: format!("IAM:{name}:1").into(),
            expires: after(36_000),
        };
        wishes.push(Wish {
            organisation: Organisation::parse(if pick(0) { ACME } else { BETA }),
            audience: if pick(1) { "one-core" } else { "one-wrpr" }.into(),
            actor: Some(actor(if pick(2) { "bridge" } else { "wrpr" })),
            scope: Some(if pick(3) { "read" } else { "write" }.into()),
            ..Wish::of(if pick(4) { "alice" } else { "bob" })
        });
    }
    wishes
}

#[tokio::test]
async fn r20_r24_no_two_different_asks_ever_share_a_token_cold_or_warm() {
    let service = StandIn::honest().await;
    let sts = service.sts(sts_settings());
    let mut seen = std::collections::HashMap::new();
    for round in ["cold", "warm"] {
        for (at, wish) in matrix().iter().enumerate() {
            let token = wish.at(&sts, NOW).await.unwrap();
            let issued = &token.issued;
            let expected = wish.actor.as_ref().map(|actor| &actor.subject);
            assert_eq!(issued.subject, wish.identity.subject, "{round}");
            assert_eq!(issued.actor.as_ref(), expected, "{round}");
            assert_eq!(issued.organisation, wish.organisation, "{round}");
            let id = issued.id.clone().unwrap();
            assert_eq!(*seen.entry(id).or_insert(at), at, "{round}: a token was shared");
        }
    }
    assert_eq!((seen.len(), service.calls()), (32, 32));
}

#[tokio::test]
async fn a_token_is_renewed_once_in_the_background_while_it_serves() {
    let gate = Gate::new();
    let shut = gate.clone();
    let service = StandIn::start(move |call: Call| {
        let shut = shut.clone();
        async move {
            let mut claims = call.claims();
            if call.number > 1 {
                shut.passed().await;
                claims["exp"] = (NOW.0 + 600).into();
            }
            issue(&claims)
        }
    })
    .await;
    let sts = service.sts(sts_settings());
    let alice = Wish::of("alice");
    for now in [NOW, after(199)] {
        assert_eq!(alice.id(&sts, now).await, "issued-1");
    }
    assert_eq!(service.calls(), 1);
    for _ in 0..20 {
        assert_eq!(alice.id(&sts, after(230)).await, "issued-1", "the old one serves");
    }
    until(|| service.calls() == 2).await;
    gate.open();
    until(|| count(&sts.outcomes().refreshed_ahead) == 1).await;
    // The count comes just before the token is in its place; what waits for the flight has it.
    until_id(&alice, &sts, after(230), "issued-2").await;
    assert_eq!(alice.id(&sts, after(400)).await, "issued-2");
    assert_eq!(service.calls(), 2);
}

async fn until_id(wish: &Wish, sts: &Sts, now: Timestamp, id: &str) {
    let come = async {
        while wish.id(sts, now).await != id {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), come).await.unwrap();
}

#[tokio::test]
async fn a_failed_renewal_is_not_repeated_at_once() {
    let (service, broken) = breakable(500).await;
    let mut settings = service.settings();
    settings.timeout = Duration::from_secs(10);
    let sts = Sts::new(Source::Exchange(client(settings).into()), sts_settings());
    let alice = Wish::of("alice");
    alice.at(&sts, NOW).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    for (now, failed) in [(230, 1), (239, 1), (240, 2), (284, 3)] {
        for _ in 0..10 {
            assert_eq!(alice.id(&sts, after(now)).await, "issued-1");
        }
        until(|| count(&sts.outcomes().failed) == failed).await;
    }
    assert_eq!(service.calls(), 4);
    let refusal = alice.at(&sts, after(285)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::StsUnavailable, "past its end it serves no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_token_there_is_exactly_one_flight() {
    let service = StandIn::start(|call: Call| async move {
        let mut claims = call.claims();
        claims["exp"] = (NOW.0 + 300 * call.number as u64).into();
        issue(&claims)
    })
    .await;
    let mut settings = sts_settings();
    settings.lifetimes.refresh_ahead = Duration::ZERO;
    let sts = service.sts(settings);
    let alice = Wish::of("alice");
    assert_eq!(alice.id(&sts, NOW).await, "issued-1");
    assert_eq!(alice.id(&sts, after(284)).await, "issued-1");
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (sts, alice) = (sts.clone(), alice.clone());
        asking.spawn(async move { alice.id(&sts, after(285)).await });
    }
    let ids: std::collections::BTreeSet<_> = asking.join_all().await.into_iter().collect();
    assert_eq!(ids.iter().map(String::as_str).collect::<Vec<_>>(), ["issued-2"]);
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn r26_a_refusal_at_renewal_ends_the_old_token() {
    let (service, broken) = breakable(400).await;
    let sts = service.sts(sts_settings());
    let alice = Wish::of("alice");
    alice.at(&sts, NOW).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let _still_served_or_refused = alice.at(&sts, after(230)).await;
    until(|| count(&sts.outcomes().refused) == 1).await;
    let come = async {
        while alice.at(&sts, after(230)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), come).await.unwrap();
    let refusal = alice.at(&sts, after(230)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::StsRefused);
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn a_refusal_is_remembered_briefly() {
    let (service, broken) = breakable(400).await;
    broken.store(true, Ordering::SeqCst);
    let sts = service.sts(sts_settings());
    let alice = Wish::of("alice");
    for now in [0, 0, 4] {
        let refusal = alice.at(&sts, after(now)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::StsRefused);
    }
    assert_eq!((service.calls(), count(&sts.outcomes().negative)), (1, 2));
    assert_eq!(Wish::of("bob").at(&sts, NOW).await.unwrap_err().reason, Reason::StsRefused);
    assert_eq!(service.calls(), 2, "what alice may not is not held against bob");
    broken.store(false, Ordering::SeqCst);
    // One second more than `negative`: a second may have gone by in the exchange.
    alice.at(&sts, after(6)).await.unwrap();
    assert!(sts.breaker_is_closed());
}

#[tokio::test]
async fn a_failure_is_never_remembered() {
    let (service, broken) = breakable(503).await;
    broken.store(true, Ordering::SeqCst);
    let sts = service.sts(sts_settings());
    let alice = Wish::of("alice");
    for calls in 1..=3 {
        assert_eq!(alice.at(&sts, NOW).await.unwrap_err().reason, Reason::StsUnavailable);
        assert_eq!(service.calls(), calls);
    }
    broken.store(false, Ordering::SeqCst);
    alice.at(&sts, NOW).await.unwrap();
}

#[tokio::test]
async fn cached_tokens_serve_while_the_breaker_is_open_and_a_probe_closes_it() {
    let (service, broken) = breakable(500).await;
    let mut settings = sts_settings();
    settings.breaker_open = Duration::from_millis(50);
    let sts = service.sts(settings);
    let (alice, bob) = (Wish::of("alice"), Wish::of("bob"));
    alice.at(&sts, NOW).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(bob.at(&sts, NOW).await.is_err());
    }
    assert!(!sts.breaker_is_closed());
    for _ in 0..1000 {
        alice.at(&sts, NOW).await.unwrap();
    }
    broken.store(false, Ordering::SeqCst);
    let come = async {
        while bob.at(&sts, NOW).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), come).await.unwrap();
    assert!(sts.breaker_is_closed());
}

#[tokio::test]
async fn a_lie_about_one_caller_does_not_close_the_door_for_others() {
    let service = StandIn::start(|call: Call| async move {
        let mut claims = call.claims();
        if claims["sub"] == "alice" {
            claims["sub"] = "mallory".into();
        }
        issue(&claims)
    })
    .await;
    let sts = service.sts(sts_settings());
    for _ in 0..10 {
        let refusal = Wish::of("alice").at(&sts, NOW).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::StsUnavailable);
    }
    Wish::of("bob").at(&sts, NOW).await.unwrap();
}

#[tokio::test]
async fn an_evicted_token_is_replaced_and_its_successor_is_not_evicted() {
    let service = StandIn::honest().await;
    let sts = service.sts(sts_settings());
    let alice = Wish::of("alice");
    let old = alice.at(&sts, NOW).await.unwrap();
    sts.evict(&old).await;
    let new = alice.at(&sts, NOW).await.unwrap();
    assert!(!Arc::ptr_eq(&old, &new));
    sts.evict(&old).await;
    assert!(Arc::ptr_eq(&alice.at(&sts, NOW).await.unwrap(), &new));
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn a_token_too_short_to_keep_serves_those_who_waited() {
    let service = StandIn::start(|call: Call| async move {
        let mut claims = call.claims();
        claims["exp"] = (NOW.0 + 12).into();
        issue(&claims)
    })
    .await;
    let sts = service.sts(sts_settings());
    for calls in 1..=2 {
        Wish::of("alice").at(&sts, NOW).await.unwrap();
        assert_eq!(service.calls(), calls);
    }
}

#[tokio::test]
async fn r34_an_app_token_is_not_exchanged_and_chains_have_one_actor() {
    let service = StandIn::honest().await;
    let sts = service.sts(sts_settings());
    let mut app = Wish::of("alice");
    app.identity.proof = Proof::AppToken;
    assert_eq!(app.at(&sts, NOW).await.unwrap_err().reason, Reason::StsRefused);
    let mut chained = matrix().remove(0);
    chained.identity.actor = Some("wrpr".into());
    assert_eq!(chained.at(&sts, NOW).await.unwrap_err().reason, Reason::DelegationNotAllowed);
    assert_eq!(service.calls(), 0);
}

#[tokio::test]
async fn nothing_shows_a_token() {
    let service = StandIn::honest().await;
    let sts = service.sts(sts_settings());
    let token = matrix().remove(0).at(&sts, NOW).await.unwrap();
    let shown = format!("{sts:?} {:?} {token:?} {:?}", minted::own(), caller("alice"));
    let secret = token.issued.token.expose_secret();
    assert!(!shown.contains("IAM:") && !shown.contains(secret), "{shown}");
}
