//! What systemd is told of this process, and how it comes by the next one.
//!
//! A supervisor that set `NOTIFY_SOCKET` hears when we serve and when we end (sd_notify(3)). The one
//! that took over says so with its own process id, before the process before it ends: so the service
//! lives on under another main process. The next process is started by the one that serves, on
//! SIGUSR2, since only what it starts belongs to the same service.

use std::{
    env, io,
    process::{self, Command},
    thread,
};

use sd_notify::NotifyState::{self, MainPid, Ready, Stopping};

/// We serve, and are the process that counts.
pub(super) fn serving() {
    tell(&[MainPid(process::id()), Ready]);
}

/// We end, and nobody takes our place.
pub(super) fn stopping() {
    tell(&[Stopping]);
}

/// Without a supervisor that asks, nothing is said.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the supervisor is not told: {error}");
    }
}

/// Starts the program again, as it was started, to take over from us. When it ends without having
/// done so, nothing has happened.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start_successor() -> io::Result<u32> {
    let mut words = env::args_os();
    let program = words.next().ok_or(io::ErrorKind::NotFound)?;
    let already = |word: &std::ffi::OsString| word != UPGRADE;
    let mut child = Command::new(program).args(words.filter(already)).arg(UPGRADE).spawn()?;
    let id = child.id();
    thread::Builder::new().name("successor".to_owned()).spawn(move || {
        // We have ended by then, when all is well.
        match child.wait() {
            Ok(status) => log::error!("process {id} did not take over: {status}"),
            Err(error) => log::error!("process {id}: {error}"),
        }
    })?;
    Ok(id)
}

const UPGRADE: &str = "--upgrade";
