//! Many callers at once.

use super::*;

/// So many callers at once, each in a task of its own.
fn storm(sts: &Sts, callers: usize) -> JoinSet<Result<Arc<AppToken>, Refusal>> {
    let mut asking = JoinSet::new();
    for _ in 0..callers {
        let sts = sts.clone();
        asking.spawn(async move { Wish::of("alice").at(&sts, NOW).await });
    }
    asking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_storm_of_a_thousand_is_one_exchange() {
    let gate = Gate::new();
    let service = StandIn::gated(&gate).await;
    let sts = service.sts(sts_settings());
    let asking = storm(&sts, 1000);
    until(|| count(&sts.outcomes().coalesced) == 999).await;
    gate.open();
    let tokens = asking.join_all().await;
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().issued.subject.as_ref() == "alice"));
    assert_eq!(service.calls(), 1);
    assert_eq!(count(&sts.outcomes().miss), 1);
    Wish::of("alice").at(&sts, NOW).await.unwrap();
    assert_eq!((service.calls(), count(&sts.outcomes().hit)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_a_failing_service_is_at_most_the_breakers_number_of_calls() {
    let service =
        StandIn::start(|_| async { StatusCode::INTERNAL_SERVER_ERROR.into_response() }).await;
    let sts = service.sts(sts_settings());
    for _ in 0..10 {
        for answer in storm(&sts, 100).join_all().await {
            assert_eq!(answer.unwrap_err().reason, Reason::StsUnavailable);
        }
    }
    assert_eq!(service.calls(), 5);
    assert!(!sts.breaker_is_closed());
    let refusal = Wish::of("bob").at(&sts, NOW).await.unwrap_err();
    let wait = refusal.retry_after.unwrap();
    assert!(wait > Duration::from_secs(30) && wait <= Duration::from_mins(1), "{wait:?}");
    assert!(count(&sts.outcomes().breaker_open) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_waiter_of_a_silent_service_is_answered_in_time() {
    let never = Gate::new();
    let service = StandIn::gated(&never).await;
    let mut settings = service.settings();
    settings.timeout = Duration::from_secs(1);
    let sts = Sts::new(Source::Exchange(client(settings).into()), sts_settings());
    let started = Instant::now();
    let answers = storm(&sts, 200).join_all().await;
    let took = started.elapsed();
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(service.calls(), 1);
    // Time-out and 100 ms, and as much again for a machine with other things to do.
    assert!(took < Duration::from_millis(2200), "{took:?}");
}

#[tokio::test]
async fn a_waiter_who_leaves_does_not_cancel_the_flight() {
    let gate = Gate::new();
    let service = StandIn::gated(&gate).await;
    let sts = service.sts(sts_settings());
    let mut first = storm(&sts, 1);
    until(|| service.calls() == 1).await;
    first.shutdown().await;
    let second = storm(&sts, 1);
    until(|| count(&sts.outcomes().coalesced) == 1).await;
    gate.open();
    assert!(second.join_all().await.iter().all(Result::is_ok));
    assert_eq!(service.calls(), 1);
}

#[tokio::test]
async fn a_slow_key_holds_up_no_other() {
    let gate = Gate::new();
    let slow = gate.clone();
    let service = StandIn::start(move |call: Call| {
        let slow = slow.clone();
        async move {
            if call.field("subject_token").contains("alice") {
                slow.passed().await;
            }
            issue(&call.claims())
        }
    })
    .await;
    let sts = service.sts(sts_settings());
    let waiting = storm(&sts, 3);
    until(|| service.calls() == 1).await;
    for name in ["bob", "carol", "dave"] {
        Wish::of(name).at(&sts, NOW).await.unwrap();
    }
    assert_eq!(count(&sts.outcomes().miss), 4);
    gate.open();
    assert!(waiting.join_all().await.iter().all(Result::is_ok));
}
