//! A token service that fails: whoever waits is told in time, and cached tokens go on serving.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{
    demo::stand_in::sts::{Faults, Handle},
    support::{
        Gateway, Issuer, Recorder, Settings,
        gateway::client,
        outside_sts::{self, Mortal},
        reason,
    },
};

const BREAKER: u64 = 5;

struct World {
    issuer: Issuer,
    core: Recorder,
    handle: Handle,
    sts: Mortal,
    gateway: Gateway,
}

async fn world(timeout: &str) -> World {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let handle = Handle::default();
    let sts = Mortal::start(&issuer.url, handle.clone()).await;
    let mut settings = Settings::new(&issuer.url, core.address);
    let exchange = outside_sts::section(&sts.url, &format!(", timeout: {timeout}"));
    settings.sts = Some(format!(
        "{exchange}, breaker: {{ failures: {BREAKER}, open: 60s }}, \
         cache: {{ margin: 1s, refresh_ahead: 0s }}"
    ));
    let gateway = Gateway::start(settings).await;
    World { issuer, core, handle, sts, gateway }
}

impl World {
    /// So many requests with one token, and what became of each: status, reason and time.
    async fn ask(
        &self,
        token: &str,
        requests: usize,
        at_once: usize,
    ) -> Vec<(u16, String, Duration)> {
        let mut asking = JoinSet::new();
        let client = client();
        for first in 0..at_once {
            let (client, url) = (client.clone(), self.gateway.url("/api/credential/v1"));
            let token = token.to_owned();
            asking.spawn(async move {
                let mut answers = Vec::new();
                for _ in (first..requests).step_by(at_once) {
                    let started = Instant::now();
                    let answer = client.get(&url).bearer_auth(&token).send().await.unwrap();
                    let status = answer.status().as_u16();
                    let retry_after = answer.headers().contains_key("retry-after");
                    assert_eq!(retry_after, status == 503);
                    let body = answer.text().await.unwrap();
                    let why = if status == 200 { String::new() } else { reason(&body) };
                    answers.push((status, why, started.elapsed()));
                }
                answers
            });
        }
        asking.join_all().await.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_storm_on_a_service_that_answers_500_makes_few_calls() {
    let world = world("3s").await;
    world.handle.set_faults(Faults { status: Some(500), ..Faults::default() });
    let answers = world.ask(&world.issuer.token("alice", "admin"), 1000, 1000).await;
    for (status, why, _) in &answers {
        assert_eq!((*status, why.as_str()), (503, "sts_unavailable"));
    }
    let calls = world.handle.exchanges();
    assert!((1..=BREAKER).contains(&calls), "{calls} calls");
    assert!(world.core.seen().is_empty());
}

/// The gateway's own records say how long each was kept; three seconds are this machine's, which
/// has a thousand answers to write at one moment while other tests run. Twice the time-out would be
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_silent_service_waits_for_its_time_out_and_no_longer() {
    let world = world("4s").await;
    world.handle.set_faults(Faults { delay: 60_000, ..Faults::default() });
    let answers = world.ask(&world.issuer.token("alice", "admin"), 1000, 1000).await;
    let statuses: Vec<_> = answers.iter().filter(|(status, ..)| *status == 503).collect();
    assert_eq!(statuses.len(), 1000);
    assert!(world.handle.exchanges() <= BREAKER, "{} calls", world.handle.exchanges());
    let mut kept: Vec<f64> = world
        .gateway
        .output()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|record| record["kind"] == "access" && record["reason"] == "sts_unavailable")
        .map(|record| record["duration_ms"].as_f64().unwrap())
        .collect();
    kept.sort_by(f64::total_cmp);
    assert_eq!(kept.len(), 1000);
    eprintln!("kept waiting: median {} ms, longest {} ms", kept[500], kept[999]);
    assert!(kept[999] <= 4_100.0 + 3_000.0, "{} ms", kept[999]);
    assert!(world.core.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_is_noticed_when_tokens_end_and_answered_for_at_once() {
    let mut world = world("3s").await;
    let (alice, bob) = (world.issuer.token("alice", "admin"), world.issuer.token("bob", "admin"));
    assert_eq!(world.ask(&alice, 1, 1).await[0].0, 200);
    world.handle.set_faults(Faults { lifetime: Some(4), ..Faults::default() });
    assert_eq!(world.ask(&bob, 1, 1).await[0].0, 200);
    let warm = Instant::now();
    world.sts.kill();
    // Bob's token lives for four seconds, of which the last is not used.
    let bobs = async {
        loop {
            let (status, why, _) = world.ask(&bob, 1, 1).await.remove(0);
            if status != 200 {
                assert_eq!((status, why.as_str()), (503, "sts_unavailable"));
                return warm.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (alices, ended) = tokio::join!(world.ask(&alice, 10_000, 64), bobs);
    assert_eq!(alices.iter().filter(|(status, ..)| *status == 200).count(), 10_000);
    assert!(ended > Duration::from_millis(1_900), "not before their end: {ended:?}");
    let calls = world.handle.exchanges();
    let mut cold: Vec<_> = world
        .ask(&bob, 200, 1)
        .await
        .into_iter()
        .map(|(status, why, time)| {
            assert_eq!((status, why.as_str()), (503, "sts_unavailable"));
            time
        })
        .collect();
    cold.sort();
    eprintln!("refused: median {:?}, longest {:?}", cold[100], cold[199]);
    assert!(cold[190] < Duration::from_millis(50), "{:?}", cold[190]);
    assert!(cold[199] < Duration::from_secs(1), "nowhere near a time-out: {:?}", cold[199]);
    assert_eq!(world.handle.exchanges(), calls);
    assert_eq!(world.ask(&alice, 1, 1).await[0].0, 200, "and cached tokens serve on");
}
