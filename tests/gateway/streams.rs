//! What lasts: WebSockets, events, gRPC, large bodies; and that none of it outlives what allowed
//! it.

mod endings;
mod events;
mod grpc;
mod over_tls;
mod transfers;
mod websockets;

use std::sync::Arc;

use crate::{
    login::{Browser, location},
    support::{Gateway, Provider, Settings, gateway::client, sockets::Sockets},
};

/// A gateway before an upstream of WebSockets.
struct World {
    provider: Arc<Provider>,
    sockets: Sockets,
    gateway: Gateway,
}

impl World {
    async fn new(extra: &str) -> Self {
        let (provider, sockets) = (Provider::start().await, Sockets::start().await);
        let gateway = Gateway::start(settings(&provider, &sockets, extra)).await;
        Self { provider, sockets, gateway }
    }

    /// A browser with a new session.
    async fn browser(&self) -> Browser {
        let mut browser = Browser::default();
        let start = browser.navigate(&self.gateway.url("/desk/x")).await;
        let back = client().get(location(&start)).send().await.unwrap();
        let done = browser.navigate(location(&back).as_str()).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        browser
    }

    async fn log_out(&self, browser: &mut Browser) {
        let logout = client().post(self.gateway.url("/.portcullis/logout"));
        let logout = logout.header("origin", self.gateway.url(""));
        let out = browser.send(logout.header("accept", "application/json")).await;
        assert_eq!(out.status(), 200);
    }

    /// A metric's value.
    async fn metric(&self, name: &str) -> u64 {
        metric(&self.gateway, name).await
    }
}

fn settings(provider: &Provider, sockets: &Sockets, extra: &str) -> Settings {
    let upstreams = format!(
        "  live: {{ servers: ['{}'], auth: {{ mode: IAM }}, timeouts: {{ read: 30s }} }}\n",
        sockets.address
    );
    let routes = "  - { path: '/live/{*rest}', websocket: true, upstream: live }
  - { path: '/plain/{*rest}', upstream: live }
  - { path: '/quiet/{*rest}', websocket: true, timeouts: { read: 500ms }, upstream: live }
  - { path: '/closed/{*rest}', websocket: true, roles: [nobody], upstream: live }
  - { path: '/open/{*rest}', access: public, websocket: true, upstream: live }
"
    .to_owned();
    Settings { upstreams, routes, ..Settings::new(&provider.url, sockets.address).with(extra) }
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.metrics().await;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn cookies(browser: &Browser) -> String {
    let pairs: Vec<_> = browser.cookies.iter().map(|(name, it)| format!("{name}={it}")).collect();
    pairs.join("; ")
}

/// A token of the provider's that lives so many seconds, as a value of `Authorization`.
fn bearer(provider: &Provider, seconds: u64) -> String {
    let now = crate::support::issuer::now();
    let claims = serde_json::json!({
        "iss": provider.url, "aud": crate::support::issuer::AUDIENCE, "sub": "alice",
        "iat": now, "exp": now + seconds, "roles": ["both"],
    });
    format!("Bearer {}", provider.key.sign("JWT", &claims))
}
