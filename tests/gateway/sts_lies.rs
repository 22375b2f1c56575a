//! Every lie that a token service can tell: nothing is forwarded on any of them.

use std::time::{Duration, Instant};

use crate::{
    demo::stand_in::sts::{Faults, Handle, WrongAnswer},
    support::{
        ACME, Gateway, Issuer, OTHER, Recorder, Settings, gateway::client, outside_sts, people,
        reason,
    },
};

struct World {
    core: Recorder,
    handle: Handle,
    gateway: Gateway,
    token: String,
}

async fn world() -> World {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let handle = Handle::default();
    let url = outside_sts::start(&issuer.url, handle.clone()).await;
    let mut settings = Settings::new(&issuer.url, core.address);
    settings.sts = Some(outside_sts::section(&url, ", timeout: 1s"));
    let gateway = Gateway::start(settings).await;
    World { core, handle, gateway, token: issuer.token("alice", "admin") }
}

impl World {
    async fn list(&self) -> (u16, String) {
        let list = client().get(self.gateway.url("/api/credential/v1")).bearer_auth(&self.token);
        let answer = list.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        (status, if status == 200 { String::new() } else { reason(&body) })
    }
}

/// The lie is refused, Core sees nothing of it, and the truth serves right after: a lie is not
/// remembered, neither as a token nor against the caller.
async fn refused(lie: Faults, status: u16, reason: &str) {
    let world = world().await;
    world.handle.set_faults(lie.clone());
    assert_eq!(world.list().await, (status, reason.to_owned()), "{lie:?}");
    assert!(world.core.seen().is_empty(), "{lie:?}");
    world.handle.set_faults(Faults::default());
    assert_eq!(world.list().await.0, 200, "{}", world.gateway.output());
    assert_eq!(world.core.take().len(), 1);
}

#[tokio::test]
async fn a_wrong_issuer() {
    let issuer = Some("https://sts.example.com".to_owned());
    refused(Faults { issuer, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn a_wrong_audience() {
    let audience = Some("one-bridge".to_owned());
    refused(Faults { audience, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn a_wrong_organisation() {
    let organisation = Some(OTHER.to_owned());
    refused(Faults { organisation, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn an_expired_token() {
    refused(Faults { expired: true, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn another_subject() {
    let subject = Some("mallory".to_owned());
    refused(Faults { subject, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn an_actor_that_nobody_asked_for() {
    let actor = Some("wrpr".to_owned());
    refused(Faults { actor, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn ten_megabytes() {
    let answer = Some(WrongAnswer::Huge);
    refused(Faults { answer, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn a_page_of_html() {
    let answer = Some(WrongAnswer::Html);
    refused(Faults { answer, ..Faults::default() }, 503, "sts_unavailable").await;
}

#[tokio::test]
async fn a_redirect() {
    let answer = Some(WrongAnswer::Redirect);
    refused(Faults { answer, ..Faults::default() }, 503, "sts_unavailable").await;
}

/// What a token permits is the token service's to say, so this one is kept like any other.
#[tokio::test]
async fn missing_permissions() {
    let world = world().await;
    let permissions = Some(vec!["KEY_LIST".to_owned()]);
    world.handle.set_faults(Faults { permissions, ..Faults::default() });
    assert_eq!(world.list().await, (403, "permission_missing".to_owned()));
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn a_slow_drip() {
    let world = world().await;
    world.handle.set_faults(Faults { drip: true, ..Faults::default() });
    let started = Instant::now();
    assert_eq!(world.list().await, (503, "sts_unavailable".to_owned()));
    // A token of its size would take a minute and more to drip.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn another_actor() {
    let (issuer, core) = (people::provider().await, Recorder::start("").await);
    let handle = Handle::default();
    let url = outside_sts::start(&issuer, handle.clone()).await;
    let gateway = Gateway::of(|port, admin| {
        super::acting::configuration((port, admin), &issuer, core.address, &url)
    });
    let gateway = gateway.await;
    let alice = people::token_of(&issuer, "alice").await;
    let target = format!("/core/wrpr/list?organisationId={ACME}");
    let ask = async || {
        let get = client().get(gateway.url(&target)).bearer_auth(&alice);
        get.send().await.unwrap().status().as_u16()
    };
    let actor = Some("bridge".to_owned());
    handle.set_faults(Faults { actor, ..Faults::default() });
    assert_eq!(ask().await, 503);
    assert!(core.seen().is_empty());
    handle.set_faults(Faults::default());
    assert_eq!(ask().await, 200);
}
