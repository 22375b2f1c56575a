//! Records leave the request's way at once: a bounded queue, and one thread that writes.
//!
//! A full queue drops the record and counts it; a slow disk or terminal never slows a request.

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
};

/// Where lines go.
pub struct Sink {
    queue: Option<SyncSender<Message>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

impl Sink {
    /// A sink that writes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { queue: None, writer: Mutex::new(None), dropped: Arc::default() }
    }

    /// A sink with a thread that writes to `out`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || write_all(&messages, BufWriter::with_capacity(BUFFER, out), &lost))?;
        Ok(Self { queue: Some(queue), writer: Mutex::new(Some(writer)), dropped })
    }

    /// Whether lines go anywhere, so that making them is worth it.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands over one line, with its line feed.
    pub fn send(&self, line: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were lost, because the queue was full or the target could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the thread; later lines are lost.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(queue), Some(writer)) = (&self.queue, writer)
            && queue.send(Message::End).is_ok()
        {
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

/// Lines that may wait: a second of a busy gateway.
const QUEUE: usize = 16 * 1024;
const BUFFER: usize = 64 * 1024;

/// Flushes whenever the queue is empty, so a quiet gateway's lines appear at once and a busy
/// one's are written in large pieces.
fn write_all(messages: &Receiver<Message>, mut out: impl Write, lost: &AtomicU64) {
    let count = |result: io::Result<()>| {
        if result.is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    };
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                count(out.flush());
                match messages.recv() {
                    Ok(message) => message,
                    Err(_) => break,
                }
            }
        };
        match message {
            Message::Line(line) => count(out.write_all(&line)),
            Message::End => break,
        }
    }
    count(out.flush());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A target that tests can look into.
    #[derive(Clone, Default)]
    pub(in super::super) struct Shared(pub(in super::super) Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("full"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_by_the_time_it_is_closed() {
        let out = Shared::default();
        let sink = Sink::to(out.clone()).unwrap();
        for n in 0..1000 {
            sink.send(format!("{n}\n").into_bytes());
        }
        sink.close();
        let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(written.lines().map(|line| line.parse::<usize>().unwrap()).eq(0..1000));
        assert_eq!(sink.dropped(), 0);
        sink.send(b"late".to_vec());
        assert_eq!(sink.dropped(), 1);
    }

    #[test]
    fn a_target_that_cannot_be_written_is_counted() {
        let sink = Sink::to(Broken).unwrap();
        sink.send(vec![b'a'; BUFFER + 1]);
        sink.close();
        assert!(sink.dropped() > 0);
        assert!(!Sink::off().is_on());
    }
}
