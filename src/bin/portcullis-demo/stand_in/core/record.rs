//! What the stand-in received, for tests to look at, and the control port that shows it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Json, Router, extract::State, routing::get};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use serde::Serialize;
use tokio::net::TcpListener;

use super::super::jose::{self, Claims};

/// One request, as it came.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// The request target, byte for byte.
    pub(crate) target: String,
    /// In order; names in lower case, as the HTTP library hands them on.
    pub(crate) headers: Vec<(String, String)>,
    /// At most the first 64 KiB.
    pub(crate) body: String,
    /// Claims of the bearer token, not verified.
    pub(crate) claims: Option<Claims>,
}

impl Received {
    pub(crate) fn new(head: &Parts, body: Option<&Bytes>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let token = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        Self {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            body: body.map(|body| text(body.get(..BODY_KEPT).unwrap_or(body))).unwrap_or_default(),
            claims: token.and_then(jose::Parts::split).map(|parts| parts.claims),
        }
    }
}

const KEPT: usize = 1_000;
const BODY_KEPT: usize = 64 * 1024;

/// The last thousand requests. Cheap to clone; every clone sees the same.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<VecDeque<Received>>>);

impl Recorder {
    /// Writes one down, and forgets the oldest when there are too many.
    pub(crate) fn add(&self, received: Received) {
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(received);
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.kept().iter().cloned().collect()
    }

    /// Forgets them.
    pub(crate) fn clear(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Received>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `GET` and `DELETE /_stand-in/requests`, on a port that is no upstream's.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve_control(listener: TcpListener, recorder: Recorder) -> io::Result<()> {
    let show = |State(recorder): State<Recorder>| async move { Json(recorder.all()) };
    let forget = |State(recorder): State<Recorder>| async move {
        recorder.clear();
        StatusCode::NO_CONTENT
    };
    let router =
        Router::new().route("/_stand-in/requests", get(show).delete(forget)).with_state(recorder);
    axum::serve(listener, router).await
}
