//! What lines are written to: a stream, a file that others may rotate, the local syslog.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::chain::{self, Chain};

/// Takes whole lines, each with its line feed.
pub trait Target: Send {
    /// Writes them all, so that they are out of this process when it returns.
    ///
    /// # Errors
    /// When not all of them were written.
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
}

impl Target for Box<dyn Target> {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        (**self).write(lines)
    }
}

/// Standard output or error.
pub struct Stream<W>(pub W);

impl<W: Write + Send> Target for Stream<W> {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        self.0.write_all(&lines.concat())?;
        self.0.flush()
    }
}

/// A file that is appended to.
///
/// When another file stands under its name (a rotation), that one is written from then on, a
/// second later at most. What could be written only in part (a full disk) is taken away again,
/// so that every line of the file is whole.
pub struct Appended {
    path: PathBuf,
    open: Option<Open>,
    chain: Option<Chain>,
    looked: Instant,
}

struct Open {
    file: File,
    /// Bytes that are whole lines.
    whole: u64,
    /// Whether there is more than those.
    torn: bool,
}

impl Appended {
    /// Opens the file, or makes it, readable for its owner and group. With a chain, that goes on
    /// after the file's last record.
    ///
    /// # Errors
    /// When the file cannot be had, or its last line is no record of a chain.
    pub fn open(path: &Path, chain: Option<Chain>) -> io::Result<Self> {
        let (mut open, last) = open(path)?;
        let chain = match (chain, last) {
            (Some(mut chain), Some(line)) => {
                let last = chain::after(&line).ok_or_else(|| {
                    let what = "its last line is no record of a chain; move the file away";
                    io::Error::new(io::ErrorKind::InvalidData, what)
                })?;
                chain.back_to(last);
                Some(chain)
            }
            (chain, _) => chain,
        };
        open.mend()?;
        Ok(Self { path: path.to_owned(), open: Some(open), chain, looked: Instant::now() })
    }

    /// The open file, which is the one under the name.
    fn current(&mut self) -> io::Result<&mut Open> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let there = std::fs::metadata(&self.path).ok().map(|it| (it.dev(), it.ino()));
            let ours = self.open.as_ref().and_then(|open| open.file.metadata().ok());
            if there.is_none() || there != ours.map(|it| (it.dev(), it.ino())) {
                self.open = None;
            }
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?.0,
        };
        Ok(self.open.insert(open))
    }
}

impl Appended {
    /// Writes lines as the next of a chain. While one process takes over from another, both go on
    /// with the same chain: one at a time has the file, and looks first what the other has written.
    fn chained(&mut self, chain: &mut Chain, lines: &[Vec<u8>]) -> io::Result<()> {
        let open = self.current()?;
        match open.file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        let written = open.follow(chain).and_then(|()| {
            let before = chain.last();
            let mut bytes = Vec::new();
            for line in lines {
                chain.seal(line, &mut bytes);
            }
            open.append(&bytes).inspect_err(|_| chain.back_to(before))
        });
        // What cannot be unlocked now is unlocked when the file is closed.
        let _ = open.file.unlock();
        written
    }
}

impl Target for Appended {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        match self.chain.take() {
            None => self.current().and_then(|open| open.append(&lines.concat())),
            Some(mut chain) => {
                let written = self.chained(&mut chain, lines);
                self.chain = Some(chain);
                written
            }
        }
    }
}

/// How often it is looked whether the file was rotated.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A last line longer than this is none of ours.
const LONGEST_LINE: u64 = 1024 * 1024;

/// The file, and its last whole line.
fn open(path: &Path) -> io::Result<(Open, Option<Vec<u8>>)> {
    let mut file =
        OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
    let (whole, torn, last) = tail(&mut file)?;
    Ok((Open { file, whole, torn }, last))
}

/// How many bytes of a file are whole lines, whether there is more than those, and the last of them.
fn tail(file: &mut File) -> io::Result<(u64, bool, Option<Vec<u8>>)> {
    let length = file.metadata()?.len();
    // A device has no length, and nothing to read.
    let tail = length.min(LONGEST_LINE);
    let mut bytes = Vec::new();
    if tail > 0 {
        file.seek(SeekFrom::Start(length - tail))?;
        Read::take(&mut *file, tail).read_to_end(&mut bytes)?;
    }
    let torn = bytes.iter().rev().take_while(|byte| **byte != b'\n').count();
    bytes.truncate(bytes.len() - torn);
    let last = bytes.split_inclusive(|byte| *byte == b'\n').next_back().map(<[u8]>::to_vec);
    let whole = length - u64::try_from(torn).unwrap_or(u64::MAX);
    Ok((whole, torn > 0, last))
}

impl Open {
    /// Goes on after what another process has written. What is missing from the file is not gone on
    /// from: the chain is to show that.
    fn follow(&mut self, chain: &mut Chain) -> io::Result<()> {
        self.mend()?;
        if self.file.metadata()?.len() <= self.whole {
            return Ok(());
        }
        let (whole, torn, last) = tail(&mut self.file)?;
        if let Some(link) = last.as_deref().and_then(chain::after) {
            chain.back_to(link);
        }
        (self.whole, self.torn) = (whole, torn);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.whole += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                // If that does not succeed either, the next write begins with it.
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Takes away what is not a whole line. Such a line was never said to be written.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            if self.file.metadata()?.is_file() {
                self.file.set_len(self.whole)?;
            }
            self.torn = false;
        }
        Ok(())
    }
}

/// The local syslog, in the form of RFC 5424.
pub struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    /// Facility and severity.
    priority: u8,
    /// Name of the host, of the program, and its process id.
    origin: String,
}

/// Facility `authpriv` (10), severity informational (6): for audit records.
pub const AUDIT: u8 = 10 * 8 + 6;
/// Facility `local0` (16), severity informational (6): for access records.
pub const ACCESS: u8 = 16 * 8 + 6;

impl Syslog {
    /// Reaches the daemon's socket, usually `/dev/log`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(path: &Path, priority: u8) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(LOOK_EVERY))?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        let host = if host.is_empty() { "-" } else { host };
        let origin = format!("{host} portcullis {}", std::process::id());
        Ok(Self { socket, path: path.to_owned(), priority, origin })
    }
}

impl Target for Syslog {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        for line in lines {
            let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
            let mut message =
                format!("<{}>1 {time} {} record - ", self.priority, self.origin).into_bytes();
            message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            if self.socket.send(&message).is_err() {
                // The daemon was started anew, so its socket is another one.
                self.socket.connect(&self.path)?;
                self.socket.send(&message)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
