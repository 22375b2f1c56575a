//! `gateway.yaml`: read, checked, and either taken as a whole or refused with every fault in it.
//!
//! Three steps, none of which stops at its first fault: the text becomes a tree whose values know
//! their places ([`yaml`]), the tree becomes the types of [`sections`] ([`read`]), and what the
//! sections say together is checked ([`check`]). Secrets are fetched on the way. Reading a
//! configuration opens no port, and changes nothing.

mod check;
mod fault;
mod include;
pub(crate) mod key_path;
pub(crate) mod read;
pub mod sections;
pub(crate) mod show;
pub(crate) mod suggest;
pub mod types;
mod unavailable;
mod warning;
pub(crate) mod yaml;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub use self::{
    fault::{Fault, Faults, Position},
    read::Surroundings,
    sections::*,
    types::{
        Audience, ByteSize, HostName, IssuerUrl, OrganisationPlace, OrganisationPlaces, Origin,
        PathPattern, Place, RedisTopology, RedisUrl, RedisUrlError, Secret, SecretSource,
        ServerAddress,
    },
};
use self::{
    key_path::KeyPath,
    read::{Read, Reader, Schemas},
    yaml::{LONGEST_FILE, Node},
};

/// A configuration without fault.
#[derive(Debug)]
pub struct Loaded {
    /// What it says, with the routes of `include` and `overlay` files in `routes`.
    pub config: Config,
    /// The files it was read from, this one first; secrets and certificates are not among them.
    pub files: Vec<PathBuf>,
    places: Node,
}

impl Loaded {
    /// Where the value of a key path such as `routes[3].permissions[1]` stands; when it stands
    /// nowhere, because it is a default, the place of the nearest value around it.
    #[must_use]
    pub fn position(&self, key_path: &str) -> Option<&Position> {
        Some(self.places.nearest(&KeyPath::parse(key_path)?))
    }
}

impl Loaded {
    /// What is no fault and yet hardly meant: permissions that routes demand and no system role
    /// grants, and those that one grants and no route demands. By file and position.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        for (key_path, message) in warning::of(self) {
            let position = self.places.nearest(&key_path).clone();
            faults.add(Fault { position, key_path: key_path.to_string(), message });
        }
        faults.sorted().iter().cloned().collect()
    }
}

/// Reads a configuration, its `include` and `overlay` files and its secrets.
///
/// # Errors
/// Every fault of the files, with its place and key path.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_from(path, &System)
}

/// [`load`], with every file that was looked at: also secrets, and those that could not be read.
pub fn load_noting_files(path: &Path) -> (Result<Loaded, Faults>, BTreeSet<PathBuf>) {
    struct Noting(RefCell<BTreeSet<PathBuf>>);
    impl Surroundings for Noting {
        fn file(&self, path: &Path, longest: usize) -> io::Result<Vec<u8>> {
            self.0.borrow_mut().insert(path.to_owned());
            System.file(path, longest)
        }

        fn variable(&self, name: &str) -> Option<String> {
            System.variable(name)
        }
    }
    let noting = Noting(RefCell::default());
    let loaded = load_from(path, &noting);
    (loaded, noting.0.into_inner())
}

/// The same with the text of the main file and the environment given; other files are read.
///
/// # Errors
/// Every fault of the files, with its place and key path.
pub fn parse(
    text: &str,
    path: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Faults> {
    struct Given<'a>(&'a dyn Fn(&str) -> Option<String>);
    impl Surroundings for Given<'_> {
        fn file(&self, path: &Path, longest: usize) -> io::Result<Vec<u8>> {
            System.file(path, longest)
        }

        fn variable(&self, name: &str) -> Option<String> {
            (self.0)(name)
        }
    }
    parse_from(text, path, &Given(variable))
}

/// [`load`] with files and variables from elsewhere.
///
/// # Errors
/// Every fault of the files, with its place and key path.
pub fn load_from(path: &Path, surroundings: &dyn Surroundings) -> Result<Loaded, Faults> {
    match text_of(path, surroundings) {
        Ok(text) => parse_from(&text, path, surroundings),
        Err(message) => {
            let file = path.display().to_string().into();
            let mut faults = Faults::default();
            let position = Position { file, line: 1, column: 1 };
            faults.add(Fault { position, key_path: String::new(), message });
            Err(faults)
        }
    }
}

/// [`load_from`] with the text of the main file given.
///
/// # Errors
/// Every fault of the files, with its place and key path.
pub fn parse_from(
    text: &str,
    path: &Path,
    surroundings: &dyn Surroundings,
) -> Result<Loaded, Faults> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut cx = Reader::new(directory, surroundings);
    let Some(mut root) = yaml::parse(&path.display().to_string(), text, &mut cx.faults) else {
        return Err(cx.faults.sorted());
    };
    let mut files = vec![path.to_owned()];
    include::merge(&mut root, &mut files, &mut cx);
    cx.inline_secrets = root.key("allow_inline_secrets").and_then(Node::text) == Some("true");
    let config = Config::read(&root, &mut cx);
    unavailable::report(&root, &mut cx);
    check::report(&root, &mut cx);
    match config {
        Some(config) if cx.faults.is_empty() => {
            Ok(Loaded { config, files, places: root.without_text() })
        }
        _ => Err(cx.faults.sorted()),
    }
}

/// The JSON Schema (2020-12) of the file.
#[must_use]
pub fn schema() -> serde_json::Value {
    Schemas::of::<Config>().0
}

/// The real files and the real environment.
struct System;

impl Surroundings for System {
    fn file(&self, path: &Path, longest: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut content)?;
        if content.len() > longest {
            let message = format!("it is longer than {longest} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(content)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn text_of(path: &Path, surroundings: &dyn Surroundings) -> Result<String, String> {
    let content = surroundings
        .file(path, LONGEST_FILE)
        .map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(content).map_err(|_| "is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests;
