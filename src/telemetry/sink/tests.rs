use std::io::Write;

use super::{target::Stream, *};
use Format::Json;

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

impl Shared {
    pub(in super::super) fn sink(&self, format: Format) -> Sink {
        Sink::to("test", format, Stream(self.clone())).unwrap()
    }
}

/// Fails as long as it is told to.
#[derive(Clone)]
struct Failing(Arc<AtomicBool>, Shared);

impl Target for Failing {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Stream(self.1.clone()).write(lines)
    }
}

#[test]
fn every_line_is_written_in_order_by_the_time_it_is_closed() {
    let out = Shared::default();
    let sink = out.sink(Json);
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

#[tokio::test]
async fn who_waits_hears_whether_the_line_is_written() {
    let (fails, out) = (Arc::new(AtomicBool::new(false)), Shared::default());
    let sink = Sink::to("test", Json, Failing(Arc::clone(&fails), out.clone())).unwrap();
    assert_eq!(sink.confirm(b"one\n".to_vec()).await, Ok(()));
    assert_eq!(*out.0.lock().unwrap(), b"one\n", "it is written by the time that is said");
    fails.store(true, Ordering::Relaxed);
    assert_eq!(sink.confirm(b"two\n".to_vec()).await, Err(Unwritten));
    assert!(!sink.writes());
    assert_eq!(sink.dropped(), 1);
    fails.store(false, Ordering::Relaxed);
    assert_eq!(sink.confirm(b"three\n".to_vec()).await, Ok(()));
    assert!(sink.writes());
    assert_eq!(*out.0.lock().unwrap(), b"one\nthree\n");
    assert_eq!(Sink::off().confirm(b"x\n".to_vec()).await, Err(Unwritten), "off is not written");
}

#[test]
fn a_target_that_cannot_be_written_is_counted() {
    let out = Shared::default();
    let sink = Sink::to("test", Json, Failing(Arc::new(AtomicBool::new(true)), out)).unwrap();
    sink.send(b"one\n".to_vec());
    sink.send(b"two\n".to_vec());
    sink.close();
    assert_eq!(sink.dropped(), 2);
    assert!(!Sink::off().is_on());
}
