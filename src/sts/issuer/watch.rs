//! Reads key files again and again, so that keys are rotated without a restart.
//!
//! Looking at the content is all that works everywhere: a mounted secret changes by a renamed
//! link, an editor by a new file. A change counts once it was read twice in a row, so that a file
//! half written, or two files of which one is written, is not taken for what was meant.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::{Change, Issuer};
use crate::time::Timestamp;

/// Where a key of the list comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It stays as it was read at the start.
    Fixed(SecretString),
    /// This file, which held this at the start.
    File(PathBuf, SecretString),
}

/// The keys of an issuer and their files.
pub struct KeyFiles {
    issuer: Arc<Issuer>,
    origins: Arc<[Origin]>,
}

/// What the files hold, without holding it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Print {
    Keys([u8; 32]),
    Unreadable(String),
}

impl KeyFiles {
    /// The keys of `issuer`, in their order.
    #[must_use]
    pub fn new(issuer: Arc<Issuer>, origins: Vec<Origin>) -> Self {
        Self { issuer, origins: origins.into() }
    }

    /// Watches until the server stops, and tells the log of every change.
    pub async fn keep_read(&self, mut shutdown: watch::Receiver<bool>) {
        report(&self.issuer.outset(Timestamp::now()));
        tokio::select! {
            () = self.watch() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn watch(&self) {
        let outset: Vec<_> = self
            .origins
            .iter()
            .map(|(Origin::Fixed(text) | Origin::File(_, text))| text.clone())
            .collect();
        let taken = print(&outset);
        let (mut judged, mut last) = (taken.clone(), taken);
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.issuer.advance(Timestamp::now()) {
                Ok(changes) => report(&changes),
                Err(error) => log::error!("sts: the signing keys cannot be changed: {error}"),
            }
            let origins = Arc::clone(&self.origins);
            let Ok(read) = tokio::task::spawn_blocking(move || read_all(&origins)).await else {
                continue;
            };
            let seen = match &read {
                Ok(keys) => print(keys),
                Err(why) => Print::Unreadable(why.clone()),
            };
            if seen == last && seen != judged {
                self.judge(read);
                judged = seen.clone();
            }
            last = seen;
        }
    }

    fn judge(&self, read: Result<Vec<SecretString>, String>) {
        let taken = read.and_then(|keys| {
            self.issuer.replace_keys(&keys, Timestamp::now()).map_err(|error| error.to_string())
        });
        match taken {
            Ok(changes) => {
                log::info!("sts: read the changed files of sts.issuer.keys");
                report(&changes);
            }
            Err(why) => log::error!(
                "sts: sts.issuer.keys have changed and cannot be used, so the keys from before \
                 stay: {why}"
            ),
        }
    }
}

/// Two of these, and a change counts.
const INTERVAL: Duration = Duration::from_millis(500);
/// As long as any secret may be.
const LONGEST: u64 = 64 * 1024;

fn read_all(origins: &[Origin]) -> Result<Vec<SecretString>, String> {
    let read = origins.iter().map(|origin| match origin {
        Origin::Fixed(text) => Ok(text.clone()),
        Origin::File(path, _) => {
            read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        }
    });
    read.collect()
}

fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64 KiB"));
    }
    Ok(text.into())
}

/// The same for texts that differ in line feeds at their end, which the start does not keep.
fn print(keys: &[SecretString]) -> Print {
    let mut context = Context::new(&SHA256);
    for key in keys {
        let text = key.expose_secret().trim_end();
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut bytes = [0; 32];
    // A SHA-256 digest is always this long; zip rather than copy, which could panic.
    bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Print::Keys(bytes)
}

fn report(changes: &[Change]) {
    for change in changes {
        match change {
            Change::TooEarly(..) | Change::Retired(..) => log::warn!("sts: {change}"),
            _ => log::info!("sts: {change}"),
        }
    }
}
