//! Records leave the request's way at once: a bounded queue, and one thread that writes.
//!
//! A full queue drops the record and counts it; a slow disk or terminal never slows a request.
//! The thread lets lines gather for a moment ([`GATHER`]): to wake it for each costs a request more
//! than to make the line.
//! Who must not go on without a record waits for it instead ([`Sink::confirm`]).

pub mod chain;
pub mod target;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use tokio::sync::oneshot;

use self::target::Target;
use super::Format;

/// Where lines go.
pub struct Sink {
    queue: Option<SyncSender<Message>>,
    format: Format,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer, to be woken for whoever waits.
    thread: Option<Thread>,
    outcome: Arc<Outcome>,
}

/// What became of the lines.
struct Outcome {
    dropped: AtomicU64,
    /// Whether the last piece was written.
    writes: AtomicBool,
}

enum Message {
    Line(Vec<u8>),
    /// Somebody waits to hear that it is written.
    Confirmed(Vec<u8>, oneshot::Sender<()>),
    /// The same, and nothing is lost if it is not.
    Trial(Vec<u8>, oneshot::Sender<()>),
    End,
}

impl Sink {
    /// A sink that writes nothing.
    #[must_use]
    pub fn off() -> Self {
        let outcome = Outcome::new();
        let writer = Mutex::new(None);
        Self { queue: None, format: Format::Json, writer, thread: None, outcome }
    }

    /// A sink with a thread that writes to `target` lines in this format. `name` is what
    /// diagnostics call it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(
        name: &'static str,
        format: Format,
        target: impl Target + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let outcome = Outcome::new();
        let writer = Writer { name, target, outcome: Arc::clone(&outcome), waiting: Vec::new() };
        let writer = thread::Builder::new()
            .name(format!("{name} records"))
            .spawn(move || writer.run(&messages))?;
        let thread = Some(writer.thread().clone());
        Ok(Self { queue: Some(queue), format, writer: Mutex::new(Some(writer)), thread, outcome })
    }

    /// Whether lines go anywhere, so that making them is worth it.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// How its lines are to be written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Hands over one line, with its line feed.
    pub fn send(&self, line: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(Message::Line(line)).is_err() {
            self.outcome.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands over one line and waits, for two seconds at most, until the target has taken it.
    ///
    /// # Errors
    /// [`Unwritten`] when it was not written, or nobody knows whether it was.
    pub async fn confirm(&self, line: Vec<u8>) -> Result<(), Unwritten> {
        let heard = self.hear(|written| Message::Confirmed(line, written)).await;
        heard
            .inspect_err(|refused| {
                if *refused {
                    self.outcome.dropped.fetch_add(1, Ordering::Relaxed);
                }
            })
            .map_err(|_| Unwritten)
    }

    /// The same with a line that only finds out whether the target can be written; it does not
    /// count as lost.
    ///
    /// # Errors
    /// As [`Sink::confirm`].
    pub async fn try_again(&self, line: Vec<u8>) -> Result<(), Unwritten> {
        self.hear(|written| Message::Trial(line, written)).await.map_err(|_| Unwritten)
    }

    /// Says in an error whether the queue did not take the message.
    async fn hear(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) -> Result<(), bool> {
        let Some(queue) = &self.queue else { return Err(false) };
        let (written, hears) = oneshot::channel();
        if queue.try_send(message(written)).is_err() {
            return Err(true);
        }
        self.wake();
        match tokio::time::timeout(CONFIRMED_WITHIN, hears).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(false),
        }
    }

    /// Lines that were lost, because the queue was full or the target could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.outcome.dropped.load(Ordering::Relaxed)
    }

    /// Whether the target took what it was last given.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.outcome.writes.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the thread; later lines are lost.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(queue), Some(writer)) = (&self.queue, writer)
            && queue.send(Message::End).is_ok()
        {
            self.wake();
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

impl Sink {
    /// Lets the writer gather no longer.
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// A line is not known to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be written")]
pub struct Unwritten;

/// Lines that may wait: a second of a busy gateway.
const QUEUE: usize = 16 * 1024;
/// How long lines gather before they are written, unless somebody waits for one of them.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that are written in one piece, unless one line is longer.
const PIECE: usize = 64 * 1024;
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

impl Outcome {
    fn new() -> Arc<Self> {
        Arc::new(Self { dropped: AtomicU64::new(0), writes: AtomicBool::new(true) })
    }
}

struct Writer<T> {
    name: &'static str,
    target: T,
    outcome: Arc<Outcome>,
    /// Those who wait for lines of the piece.
    waiting: Vec<oneshot::Sender<()>>,
}

impl<T: Target> Writer<T> {
    /// A quiet gateway's lines are written after a moment, a busy one's in large pieces: whatever
    /// has gathered by then, or while the piece before was written.
    fn run(mut self, messages: &Receiver<Message>) {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut trials = 0;
        let mut was_emptied = true;
        while let Ok(first) = messages.recv() {
            if was_emptied && matches!(first, Message::Line(_)) {
                // Nobody wakes a thread that waits for no message.
                thread::park_timeout(GATHER);
            }
            let mut bytes = 0;
            let mut message = Some(first);
            was_emptied = false;
            let mut is_over = false;
            while let Some(next) = message.take() {
                let line = match next {
                    Message::Line(line) => line,
                    Message::Confirmed(line, waiting) => {
                        self.waiting.push(waiting);
                        line
                    }
                    Message::Trial(line, waiting) => {
                        trials += 1;
                        self.waiting.push(waiting);
                        line
                    }
                    Message::End => {
                        is_over = true;
                        break;
                    }
                };
                bytes += line.len();
                lines.push(line);
                if bytes < PIECE {
                    message = messages.try_recv().ok();
                    was_emptied = message.is_none();
                }
            }
            self.write(&mut lines, std::mem::take(&mut trials));
            if is_over {
                return;
            }
        }
    }

    /// `trials` of the lines are none that could be lost.
    fn write(&mut self, lines: &mut Vec<Vec<u8>>, trials: u64) {
        if lines.is_empty() {
            return;
        }
        let result = self.target.write(lines);
        let wrote_before = self.outcome.writes.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                if !wrote_before {
                    log::warn!("{} records are written again", self.name);
                }
                for waiting in self.waiting.drain(..) {
                    // Whoever has left does not mind.
                    let _ = waiting.send(());
                }
            }
            Err(error) => {
                // Once, and not for every line: the metric counts those.
                if wrote_before {
                    log::error!("{} records cannot be written: {error}", self.name);
                }
                let lost = u64::try_from(lines.len()).unwrap_or(u64::MAX);
                self.outcome.dropped.fetch_add(lost.saturating_sub(trials), Ordering::Relaxed);
                self.waiting.clear();
            }
        }
        lines.clear();
    }
}

#[cfg(test)]
pub(super) mod tests;
