//! Where two processes meet: a socket in a directory that is nobody else's.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::exchange::our_user;

/// A socket at which we listen.
pub(super) struct Place {
    listener: UnixListener,
}

/// Whether the directory of a socket is private, where it is there already: of our own user, and
/// closed to everybody else. Whoever can enter it could take the listeners.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(crate) fn private(path: &Path) -> Result<(), String> {
    let directory = directory(path)?;
    match fs::metadata(directory) {
        Ok(found) => judge(directory, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", directory.display())),
    }
}

/// Makes the directory, closed to everybody else, where it is not there yet.
pub(super) fn make(path: &Path) -> Result<(), String> {
    let directory = directory(path)?;
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    if !directory.exists() {
        let made = DirBuilder::new().mode(0o700).create(directory);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    judge(directory, &fs::metadata(directory).map_err(failed)?)
}

fn directory(path: &Path) -> Result<&Path, String> {
    // Bytes of `sun_path`, unix(7), less what the name that it is made under has more.
    if path.as_os_str().len() > LONGEST {
        return Err(format!("its path is longer than {LONGEST} bytes"));
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    directory.filter(|_| path.file_name().is_some()).ok_or_else(|| {
        "must be a file in a directory of its own, such as /run/portcullis/upgrade.sock".to_owned()
    })
}

fn judge(directory: &Path, found: &fs::Metadata) -> Result<(), String> {
    let shown = directory.display();
    if !found.is_dir() {
        return Err(format!("{shown} is no directory"));
    }
    if found.uid() != our_user() {
        return Err(format!("{shown} belongs to another user than the one that this runs as"));
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may enter {shown} (mode {mode:o}) and could take the listeners; chmod 700, or \
             name a directory of its own"
        ));
    }
    Ok(())
}

impl Place {
    /// Listens there. What another process has left behind, or has handed over, is replaced at one
    /// stroke.
    ///
    /// # Errors
    /// As the file system gives them.
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        Ok(Self { listener })
    }

    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }
}

const LONGEST: usize = 96;
