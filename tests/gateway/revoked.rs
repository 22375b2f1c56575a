//! App tokens that the upstream will not take any more: one more try, and never a loop.

use crate::support::{Gateway, Issuer, Settings, gateway::client, revoking::Revoking};

struct World {
    issuer: Issuer,
    core: Revoking,
    gateway: Gateway,
}

async fn world(all: bool) -> World {
    let issuer = Issuer::start().await;
    let core = Revoking::start(all).await;
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    World { issuer, core, gateway }
}

impl World {
    fn get(&self, token: &str) -> reqwest::RequestBuilder {
        client().get(self.gateway.url("/api/credential/v1")).bearer_auth(token)
    }
}

#[tokio::test]
async fn a_revoked_token_from_the_cache_is_replaced_and_the_request_sent_once_more() {
    let world = world(false).await;
    let token = world.issuer.token("alice", "admin");
    assert_eq!(world.get(&token).send().await.unwrap().status(), 200);
    world.core.revoke_seen();
    assert_eq!(world.get(&token).send().await.unwrap().status(), 200);
    let tries = world.core.take();
    assert_eq!(tries.len(), 2);
    assert_ne!(tries[0], tries[1]);
    // The new one is what the next request takes from the cache.
    assert_eq!(world.get(&token).send().await.unwrap().status(), 200);
    assert_eq!(world.core.take(), tries[1..]);
}

#[tokio::test]
async fn a_request_with_a_body_is_not_repeated_and_its_token_is_forgotten() {
    let world = world(false).await;
    let token = world.issuer.token("alice", "admin");
    let post = || {
        let url = world.gateway.url("/api/credential/v1");
        client().post(url).bearer_auth(&token).body("{}").send()
    };
    assert_eq!(post().await.unwrap().status(), 200);
    world.core.revoke_seen();
    assert_eq!(post().await.unwrap().status(), 401);
    assert_eq!(world.core.take().len(), 1);
    assert_eq!(post().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_post_without_a_body_is_repeated_too() {
    let world = world(false).await;
    let token = world.issuer.token("alice", "admin");
    let post = || client().post(world.gateway.url("/api/credential/v1")).bearer_auth(&token).send();
    assert_eq!(post().await.unwrap().status(), 200);
    world.core.revoke_seen();
    assert_eq!(post().await.unwrap().status(), 200);
    assert_eq!(world.core.take().len(), 2);
}

#[tokio::test]
async fn the_second_401_is_the_clients_and_a_fresh_token_gets_no_second_try() {
    let world = world(true).await;
    let token = world.issuer.token("alice", "admin");
    assert_eq!(world.get(&token).send().await.unwrap().status(), 401);
    assert_eq!(world.core.take().len(), 1, "the token was issued for this very request");
    for _ in 0..3 {
        assert_eq!(world.get(&token).send().await.unwrap().status(), 401);
        assert_eq!(world.core.take().len(), 2, "once more, and no oftener");
    }
}

#[tokio::test]
async fn a_token_that_the_caller_brought_is_not_tried_again() {
    let world = world(false).await;
    let token = world.issuer.token("alice", "admin");
    assert_eq!(world.get(&token).send().await.unwrap().status(), 200);
    let issued = world.core.take().remove(0);
    let own = issued.strip_prefix("Bearer ").unwrap();
    assert_eq!(world.get(own).send().await.unwrap().status(), 200);
    world.core.revoke_seen();
    assert_eq!(world.get(own).send().await.unwrap().status(), 401);
    assert_eq!(world.core.take().len(), 1);
}
