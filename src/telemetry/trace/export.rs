//! Spans leave the request's way at once: a bounded queue, and one thread that sends them to the
//! collector in batches.
//!
//! A full queue drops spans and counts them; a collector that is slow or down never slows a
//! request. A batch is tried a few times and then given up, so that the queue moves on.

use std::{
    cell::Cell,
    io,
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::{Instant, sleep, timeout_at},
};
use url::Url;

use super::{otlp, span::Finished};
use crate::{
    http_client::{self, read_body},
    telemetry::metrics::TraceMetrics,
};

/// Where spans go.
#[derive(Clone)]
pub struct Settings {
    /// From [`http_client::build`].
    pub http: reqwest::Client,
    /// Where the collector takes traces.
    pub url: Url,
    /// What it demands beside.
    pub headers: HeaderMap,
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
}

/// Sends spans to a collector.
pub struct Exporter {
    queue: mpsc::Sender<Finished>,
    metrics: TraceMetrics,
    /// Dropped, it ends the thread as well, once that has sent what is queued.
    worker: Mutex<Option<(watch::Sender<bool>, JoinHandle<()>)>>,
}

impl Exporter {
    /// Starts a thread that sends what it is given.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: Settings, metrics: TraceMetrics) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let worker = Worker {
            settings,
            metrics: metrics.clone(),
            works: Cell::new(true),
            in_hand: Cell::new(0),
        };
        let thread = std::thread::Builder::new()
            .name("trace export".to_owned())
            .spawn(move || runtime.block_on(worker.run(spans, stopped)))?;
        Ok(Self { queue, metrics, worker: Mutex::new(Some((stop, thread))) })
    }

    /// One whose queue nobody empties but the test.
    #[cfg(test)]
    pub(super) fn without_collector(
        room: usize,
        metrics: TraceMetrics,
    ) -> (Self, mpsc::Receiver<Finished>) {
        let (queue, spans) = mpsc::channel(room);
        (Self { queue, metrics, worker: Mutex::new(None) }, spans)
    }

    /// Hands over spans.
    pub(super) fn send(&self, finished: Finished) {
        if let Err(TrySendError::Full(lost) | TrySendError::Closed(lost)) =
            self.queue.try_send(finished)
        {
            self.metrics.dropped(count(&lost));
        }
    }

    /// Sends what is queued, for [`CLOSING`] at most, and ends the thread.
    pub(super) fn close(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = worker {
            stop.send_replace(true);
            // One that panicked has nothing left to send.
            let _ = thread.join();
        }
    }
}

/// Sampled requests that may wait, each with about ten spans of some hundred bytes.
const QUEUE: usize = 4096;
/// Spans in one request to the collector, and how long they are gathered.
const BATCH: u64 = 512;
const LINGER: Duration = Duration::from_secs(1);
/// A batch is tried this often, with a growing pause between, or the one that the collector asks
/// for where that is not too long.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// For what is queued at the end.
const CLOSING: Duration = Duration::from_secs(3);
/// Of an answer, which says how much was rejected.
const LARGEST_ANSWER: usize = 64 * 1024;

struct Worker {
    settings: Settings,
    metrics: TraceMetrics,
    /// Whether the last batch arrived.
    works: Cell<bool>,
    /// Spans of the batch under way.
    in_hand: Cell<u64>,
}

/// Why a batch did not arrive.
struct Failure {
    why: String,
    /// Whether, and after which pause at least, it may another time.
    again: Option<Duration>,
}

impl Worker {
    async fn run(self, mut queue: mpsc::Receiver<Finished>, stop: watch::Receiver<bool>) {
        let late = async {
            stopped(&mut stop.clone()).await;
            sleep(CLOSING).await;
        };
        tokio::select! {
            () = self.work(&mut queue, stop.clone()) => return,
            () = late => {}
        }
        queue.close();
        let mut lost = self.in_hand.get();
        while let Ok(finished) = queue.try_recv() {
            lost += count(&finished);
        }
        self.metrics.failed(lost);
    }

    async fn work(&self, queue: &mut mpsc::Receiver<Finished>, mut stop: watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                biased;
                first = queue.recv() => first,
                () = stopped(&mut stop) => None,
            };
            let Some(first) = first else { return };
            let mut spans = count(&first);
            let mut batch = vec![first];
            let deadline = Instant::now() + LINGER;
            while spans < BATCH {
                let next = tokio::select! {
                    biased;
                    next = timeout_at(deadline, queue.recv()) => next.ok().flatten(),
                    () = stopped(&mut stop) => None,
                };
                let Some(next) = next else { break };
                spans += count(&next);
                batch.push(next);
            }
            self.in_hand.set(spans);
            self.export(&batch, spans, &mut stop).await;
            self.in_hand.set(0);
        }
    }

    async fn export(&self, batch: &[Finished], spans: u64, stop: &mut watch::Receiver<bool>) {
        let Settings { service, instance, .. } = &self.settings;
        let body = Bytes::from(otlp::request(service, instance, batch));
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            let failure = match self.post(body.clone()).await {
                Ok(rejected) => {
                    self.metrics.exported(spans.saturating_sub(rejected));
                    self.metrics.rejected(rejected.min(spans));
                    if !self.works.replace(true) {
                        log::warn!("traces arrive at the collector again");
                    }
                    return;
                }
                Err(failure) => failure,
            };
            let is_last = attempt == TRIES || failure.again.is_none() || *stop.borrow();
            // Once, and not for every batch: the metric counts those.
            if self.works.replace(false) {
                log::warn!("traces do not arrive at the collector: {}", failure.why);
            }
            if is_last {
                break;
            }
            let asked = failure.again.unwrap_or_default();
            tokio::select! {
                () = sleep(pause.max(asked).min(LONGEST_PAUSE)) => {}
                () = stopped(stop) => {}
            }
            pause *= 2;
        }
        self.metrics.failed(spans);
    }

    /// One request to the collector (OTLP 1.x, OTLP/HTTP); says how many spans it rejected.
    async fn post(&self, body: Bytes) -> Result<u64, Failure> {
        let Settings { http, url, headers, .. } = &self.settings;
        let asking = http
            .post(url.clone())
            .headers(headers.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let answer = asking.send().await.map_err(|error| Failure {
            why: http_client::describe(&error.without_url()),
            again: Some(Duration::ZERO),
        })?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Failure { why: format!("status {status}"), again: again(&answer) });
        }
        // It was taken, whatever the answer says beside.
        let answer = read_body(answer, LARGEST_ANSWER).await.unwrap_or_default();
        Ok(otlp::rejected(&answer))
    }
}

/// Those that OTLP calls retryable, and how long the collector asks to wait.
fn again(answer: &reqwest::Response) -> Option<Duration> {
    let retryable = matches!(
        answer.status(),
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let asked = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = asked.and_then(|text| text.parse().ok()).unwrap_or_default();
    retryable.then(|| Duration::from_secs(seconds))
}

/// Comes back when the end has been asked for, now or before.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could ask has gone: the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn count(finished: &Finished) -> u64 {
    u64::try_from(finished.spans.len()).unwrap_or(u64::MAX)
}
