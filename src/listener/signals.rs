//! The end of the process: by a signal, or because another one has taken over, which a signal may
//! start.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{supervisor, upgrade::End};
use crate::{connection::crowd::Crowd, live::Live, telemetry::record::Records};

/// SIGTERM drains, SIGINT (Ctrl-C) ends at once; so does another process that takes over end this
/// one, which then drains.
pub(super) struct Signals {
    pub(super) draining: Arc<AtomicBool>,
    pub(super) records: Arc<Records>,
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) crowd: Arc<Crowd>,
    /// Between telling that we are not ready and taking no more connections.
    pub(super) delay: Duration,
    pub(super) grace: Duration,
    pub(super) upgrade_socket: Option<PathBuf>,
    /// Hears of the process that has taken over.
    pub(super) handed_over: Mutex<Option<oneshot::Receiver<i32>>>,
    pub(super) end: Arc<End>,
    /// Told once signals are heard.
    pub(super) listening: Sender<()>,
}

impl Signals {
    /// Waits for another process to have taken over; for ever, where none can.
    async fn succeeded(&self) -> i32 {
        let hears = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).take();
        match hears {
            Some(hears) => match hears.await {
                Ok(process) => process,
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Starts the process that is to take over.
    fn begin_succession(&self) {
        if self.upgrade_socket.is_none() {
            log::warn!("SIGUSR2: server.upgrade_socket is not set, so nobody can take over");
            return;
        }
        match supervisor::start_successor() {
            Ok(process) => log::info!("SIGUSR2: process {process} is to take over"),
            Err(error) => log::error!("SIGUSR2: nobody can be started to take over: {error}"),
        }
    }

    /// Lets go of everything, now that another process takes what comes. A client is told with its
    /// next answer that its connection ends; one that asks for nothing is cut off at last.
    fn retire(&self, successor: i32) -> ShutdownSignal {
        let open = self.crowd.open();
        log::info!("handed over to process {successor}; {open} connections have {:?}", self.grace);
        let idle = self.grace.saturating_sub(LAST_SECOND).max(self.grace / 2);
        self.end.linger_until(Instant::now() + idle);
        self.end_when_idle(true);
        ShutdownSignal::GracefulTerminate
    }

    /// Ends the process once the last request is answered. Pingora would sleep through the whole
    /// grace (its `grace_period_seconds` has no condition), and is the one that ends it then.
    fn end_when_idle(&self, and_alone: bool) {
        let (records, crowd) = (Arc::clone(&self.records), Arc::clone(&self.crowd));
        let live = Arc::clone(&self.live);
        std::thread::spawn(move || {
            // What a listener had accepted when it closed is a request a moment later.
            std::thread::sleep(LAST_ARRIVALS);
            while records.metrics.in_flight() > 0 || (and_alone && crowd.open() > 0) {
                std::thread::sleep(Duration::from_millis(10));
            }
            log::info!("drained");
            super::close(&records, &live);
            std::process::exit(0);
        });
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::user_defined2(),
        ];
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut quit), Ok(mut again)] = kinds.map(signal)
        else {
            log::error!("signals cannot be received; stopping");
            return ShutdownSignal::FastShutdown;
        };
        // Nobody is there to hear it where it is asked a second time.
        let _ = self.listening.send(());
        let mut succeeded = std::pin::pin!(self.succeeded());
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    log::info!("interrupted; stopping at once");
                    return ShutdownSignal::FastShutdown;
                }
                _ = terminate.recv() => break,
                successor = &mut succeeded => return self.retire(successor),
                _ = quit.recv() => match &self.upgrade_socket {
                    // As others hand over: it does no harm, and nobody is to end before somebody
                    // serves in their place.
                    Some(path) => log::info!(
                        "SIGQUIT: whoever asks at {} takes over, once they serve: portcullis run \
                         --upgrade",
                        path.display(),
                    ),
                    None => break,
                },
                _ = again.recv() => self.begin_succession(),
            }
        }
        supervisor::stopping();
        self.draining.store(true, Ordering::Relaxed);
        if !self.delay.is_zero() {
            log::info!("not ready any more; listening for another {:?}", self.delay);
            tokio::select! {
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                () = tokio::time::sleep(self.delay) => {}
            }
        }
        let under_way = self.records.metrics.in_flight();
        log::info!("draining {under_way} requests for at most {:?}", self.grace);
        self.end_when_idle(false);
        ShutdownSignal::GracefulTerminate
    }
}

/// For a request that was on its way when its listener closed.
const LAST_ARRIVALS: Duration = Duration::from_millis(300);
/// Between cutting off connections that ask for nothing and the end.
const LAST_SECOND: Duration = Duration::from_secs(1);
