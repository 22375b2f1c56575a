//! `gateway.yaml`: read, checked, and either taken as a whole or refused with every fault in it.
//!
//! Three steps, none of which stops at its first fault: the text becomes a tree whose values know
//! their places ([`yaml`]), the tree becomes the types of [`sections`] ([`read`]), and what the
//! sections say together is checked ([`check`]). Secrets are fetched on the way. Reading a
//! configuration opens no port, and changes nothing.

mod check;
mod fault;
mod key_path;
mod read;
pub mod sections;
mod suggest;
pub mod types;
mod unavailable;
mod yaml;

use std::{
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
        PathPattern, Place, Secret, ServerAddress,
    },
};
use self::{
    key_path::KeyPath,
    read::{Read, Reader, Schemas},
    yaml::{Entry, LONGEST_FILE, Node, Value},
};

/// A configuration without fault.
#[derive(Debug)]
pub struct Loaded {
    /// What it says, with the routes of `include` files in `routes`.
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

/// Reads a configuration, its `include` files and its secrets.
///
/// # Errors
/// Every fault of the files, with its place and key path.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_from(path, &System)
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
    include(&mut root, &mut files, &mut cx);
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

/// Appends the routes of every `include` file to those of the main file. They keep their places
/// in their own files; their indices go on where the main file's end.
fn include(root: &mut Node, files: &mut Vec<PathBuf>, cx: &mut Reader<'_>) {
    let mut routes = Vec::new();
    let names: Vec<Node> =
        root.key("include").map(|node| node.elements().to_vec()).unwrap_or_default();
    for (at, name) in names.iter().enumerate() {
        let key = KeyPath::default().key("include").index(at);
        // What is no path is reported when the key itself is read.
        let Some(text) = name.text().filter(|_| !name.is_null()) else { continue };
        let path = cx.resolve(text);
        if files.contains(&path) {
            cx.fault_at(&name.position, &key, "names a file that is read already");
            continue;
        }
        match text_of(&path, cx.surroundings) {
            Ok(text) => routes.extend(included_routes(&path, &text, cx)),
            Err(message) => {
                cx.fault_at(&name.position, &key, format!("{} {message}", path.display()));
            }
        }
        files.push(path);
    }
    if routes.is_empty() {
        return;
    }
    if let Value::Mapping(entries) = &mut root.value {
        if let Some(own) = entries.iter_mut().find(|entry| entry.key == "routes") {
            if let Value::Sequence(own) = &mut own.node.value {
                own.append(&mut routes);
            } else if own.node.is_null() {
                // `routes:` with nothing after it, because all of them are included.
                own.node.value = Value::Sequence(routes);
            }
        } else {
            let position = root.position.clone();
            let node = Node { position: position.clone(), value: Value::Sequence(routes) };
            entries.push(Entry { key: "routes".into(), position, node });
        }
    }
}

/// A list of routes, or a mapping with `routes` alone.
fn included_routes(path: &Path, text: &str, cx: &mut Reader<'_>) -> Vec<Node> {
    let Some(root) = yaml::parse(&path.display().to_string(), text, &mut cx.faults) else {
        return Vec::new();
    };
    let only_routes = root.entries().iter().all(|entry| entry.key == "routes");
    let routes = match &root.value {
        Value::Mapping(_) if only_routes => root.key("routes").map(|routes| routes.value.clone()),
        Value::Mapping(_) => None,
        other => Some(other.clone()),
    };
    if let Some(Value::Sequence(routes)) = routes {
        return routes;
    }
    let path = KeyPath::default();
    let message = "an included file holds a list of routes, or `routes:` alone";
    cx.fault_at(&root.position, &path, message);
    Vec::new()
}

#[cfg(test)]
mod tests;
