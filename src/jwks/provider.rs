//! A provider of keys for tests: a real server whose answer can be changed, and that counts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use jsonwebtoken::Algorithm;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use url::Url;

use super::{Jwks, Place};
use crate::http_client;

/// Serves one answer at `/jwks.json` until it is given another.
pub(crate) struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<(StatusCode, Vec<u8>)>,
    asked: watch::Sender<usize>,
    /// Each answer takes a permit; [`Provider::hold`] takes them all away.
    gate: Semaphore,
}

impl Provider {
    pub(crate) async fn serving(document: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new((StatusCode::OK, document)),
            asked: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
        });
        let router = Router::new().route("/jwks.json", get(answer)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub(crate) fn answer(&self, status: u16, body: impl Into<Vec<u8>>) {
        let status = StatusCode::from_u16(status).unwrap();
        *self.shared.answer.lock().unwrap() = (status, body.into());
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Waits until it was asked this often.
    pub(crate) async fn asked(&self, times: usize) {
        self.shared.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// Answers nobody until [`Provider::release`].
    pub(crate) fn hold(&self) {
        self.shared.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.shared.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Its keys, read by a client of its own.
    pub(crate) fn jwks(&self, algorithms: &[Algorithm]) -> Jwks {
        jwks_at(self.address, algorithms, Duration::from_secs(5))
    }
}

/// The keys at `/jwks.json` of this address, asked with a time-out.
pub(crate) fn jwks_at(address: SocketAddr, algorithms: &[Algorithm], timeout: Duration) -> Jwks {
    // Installed by whichever test is first; the others find it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = http_client::build(None, timeout).unwrap();
    let url = Url::parse(&format!("http://{address}/jwks.json")).unwrap();
    Jwks::new(Place::Fixed(url), algorithms.to_vec(), client, Duration::from_mins(10))
}

async fn answer(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.asked.send_modify(|asked| *asked += 1);
    shared.gate.acquire().await.unwrap().forget();
    let (status, body) = shared.answer.lock().unwrap().clone();
    // Where a redirect would lead is a good document, so following it would show.
    (status, [(header::LOCATION, "/jwks.json"), (header::CONTENT_TYPE, "text/plain")], body)
}
