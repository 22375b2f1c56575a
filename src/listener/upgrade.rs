//! Another process takes the listeners over, and no connection is lost.
//!
//! The process that serves listens on `server.upgrade_socket`. A new one that is ready for
//! requests (`portcullis run --upgrade`) connects there, is given the listening sockets
//! themselves (`SCM_RIGHTS`, unix(7)), serves with them, and says so. Only then does the old one
//! stop taking connections; those that it has live on until their next answer. When the new one
//! ends before it has said so, nothing has happened.
//!
//! Pingora's own way is another: there the old process connects, to a socket that everybody may
//! write to, and ends whether or not anybody takes over.

mod exchange;
mod opening;
mod place;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

pub(super) use self::opening::{Opening, Sockets};
pub(crate) use self::place::private;
use self::{exchange::Received, place::Place};
use super::supervisor;

/// Why listeners are not taken over, or cannot be handed over later.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// There is no way to meet.
    #[error("server.upgrade_socket is not set, and --upgrade needs it")]
    NoSocket,
    /// The socket cannot be had.
    #[error("server.upgrade_socket: {0}")]
    Place(String),
    /// A process serves there that was not asked to end.
    #[error("server.upgrade_socket: a process serves at {0}; write --upgrade to take over from it")]
    Taken(PathBuf),
    /// Nobody hands anything over.
    #[error("nobody hands listeners over at {path}: {cause}")]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// The process from which the listeners were taken, waiting to hear that we serve.
pub(super) struct Predecessor {
    stream: UnixStream,
    process: i32,
}

/// Sockets that were given to us, by their addresses, and who gave them.
pub(super) struct Taken {
    pub(super) sockets: Received,
    pub(super) from: Predecessor,
}

/// Sees to it that this process can hand over later: the directory is private, and nobody serves
/// at the socket.
///
/// # Errors
/// When it is not so.
pub(super) fn prepare(path: &Path) -> Result<(), UpgradeError> {
    place::make(path).map_err(UpgradeError::Place)?;
    if UnixStream::connect(path).is_ok() {
        return Err(UpgradeError::Taken(path.to_owned()));
    }
    Ok(())
}

/// Takes the listening sockets of the process that serves. One that has just begun to serve may
/// not listen yet, so it is tried for a while.
///
/// # Errors
/// When nobody gives any.
pub(super) fn take(path: &Path) -> Result<Taken, UpgradeError> {
    place::make(path).map_err(UpgradeError::Place)?;
    let until = Instant::now() + REACHED_WITHIN;
    let stream = loop {
        match UnixStream::connect(path) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < until => std::thread::sleep(TRY_AGAIN),
            Err(cause) => return Err(UpgradeError::Nobody { path: path.to_owned(), cause }),
        }
    };
    let nobody = |cause| UpgradeError::Nobody { path: path.to_owned(), cause };
    stream.set_read_timeout(Some(GIVEN_WITHIN)).map_err(nobody)?;
    let process = exchange::peer(&stream).map_err(nobody)?;
    let sockets = exchange::receive(&stream).map_err(nobody)?;
    Ok(Taken { sockets, from: Predecessor { stream, process } })
}

/// What a process does about its succession while it serves.
pub(super) struct Succession {
    /// Where it may be asked to hand over.
    pub(super) path: Option<PathBuf>,
    pub(super) sockets: Sockets,
    /// Hears once for each service that has opened its listeners, and once signals are heard.
    pub(super) opened: Receiver<()>,
    pub(super) awaited: usize,
    pub(super) predecessor: Option<Predecessor>,
    /// Is told of the process that has taken over.
    pub(super) handed_over: oneshot::Sender<i32>,
}

impl Succession {
    /// Does it, on a thread of its own.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(self) -> io::Result<()> {
        std::thread::Builder::new().name("succession".to_owned()).spawn(move || self.run())?;
        Ok(())
    }

    fn run(mut self) {
        let opened = (0..self.awaited).all(|_| self.opened.recv_timeout(OPENED_WITHIN).is_ok());
        if !opened && self.predecessor.is_some() {
            log::error!("the listeners that were taken over cannot be opened; stopping");
            // The process before hears nothing of us and goes on serving.
            std::process::exit(1);
        }
        if opened {
            // Before the process before ends: a service without a main process is over.
            supervisor::serving();
        }
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.tell_that_we_serve();
        }
        let Some(path) = self.path.take() else { return };
        let place = match Place::listen(&path) {
            Ok(place) => place,
            Err(error) => {
                log::error!("server.upgrade_socket: {error}; nobody can take over from here");
                return;
            }
        };
        loop {
            match self.hand_over(&place) {
                Ok(process) => {
                    // Whoever comes now is for the new one, which puts its own socket there.
                    drop(place);
                    let _ = self.handed_over.send(process);
                    return;
                }
                Err(error) => log::warn!("nothing was handed over: {error}; this process goes on"),
            }
        }
    }

    /// Waits for a process that wants to take over, and for it to serve.
    fn hand_over(&self, place: &Place) -> io::Result<i32> {
        let mut stream = place.accept()?;
        stream.set_read_timeout(Some(SERVES_WITHIN))?;
        stream.set_write_timeout(Some(GIVEN_WITHIN))?;
        let process = exchange::peer(&stream)?;
        log::info!("process {process} asks for the listeners");
        exchange::send(&stream, &self.sockets.open())?;
        let mut word = [0; SERVING.len()];
        stream.read_exact(&mut word)?;
        if word != *SERVING {
            return Err(io::Error::other("the other process speaks another language"));
        }
        Ok(process)
    }
}

impl Predecessor {
    fn tell_that_we_serve(mut self) {
        match self.stream.write_all(SERVING) {
            Ok(()) => log::info!("took over from process {}, which drains", self.process),
            // It has ended by itself; its listeners live on in us.
            Err(error) => log::warn!("process {} is gone already: {error}", self.process),
        }
    }
}

/// What a new process says once it serves.
const SERVING: &[u8; 8] = b"serving\n";
/// To find the process that serves.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Between being connected and having the sockets: nobody computes anything.
const GIVEN_WITHIN: Duration = Duration::from_secs(35);
/// Between being given sockets and serving with them.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
const OPENED_WITHIN: Duration = Duration::from_secs(20);

/// Which way the end has come, for those who see to connections.
#[derive(Debug, Default)]
pub(super) struct End(std::sync::OnceLock<Instant>);

impl End {
    /// Idle connections are kept until then, since somebody else takes new ones.
    pub(super) fn linger_until(&self, until: Instant) {
        // The first word counts.
        let _ = self.0.set(until);
    }

    pub(super) fn lingers_until(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

#[cfg(test)]
mod tests;
