//! A Core that has stopped taking some tokens.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};

/// Answers 401 to every token it was told to, and counts.
#[derive(Clone)]
pub(crate) struct Revoking {
    pub(crate) address: SocketAddr,
    revoked: Arc<Mutex<HashSet<String>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Revoking {
    /// Starts one. With `all`, no token is ever good.
    pub(crate) async fn start(all: bool) -> Self {
        let (listener, address) = super::listener().await;
        let core = Self { address, revoked: Arc::default(), seen: Arc::default() };
        let inner = core.clone();
        let answer = move |headers: HeaderMap, _: Request<Body>| {
            let token = headers["authorization"].to_str().unwrap().to_owned();
            inner.seen.lock().unwrap().push(token.clone());
            let refused = all || inner.revoked.lock().unwrap().contains(&token);
            async move { if refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK } }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        core
    }

    /// Takes none of the tokens any more that it has seen so far; forgets the requests.
    pub(crate) fn revoke_seen(&self) {
        self.revoked.lock().unwrap().extend(self.take());
    }

    /// The `Authorization` of every request since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}
