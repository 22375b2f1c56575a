//! Routes from other files: `include` brings them, `overlay` changes what was brought.
//!
//! An included file may be generated, so whoever wants it otherwise says so in an overlay, which
//! survives the next generation. An overlay wins over included routes alone: two routes of hand
//! for one request stay a fault. Every route keeps its place in its own file.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    key_path::KeyPath,
    read::Reader,
    sections::Method,
    text_of,
    types::PathPattern,
    yaml::{self, Entry, Node, Value},
};

/// What one file holds.
#[derive(Default)]
struct File {
    routes: Vec<Node>,
    /// Permissions that the file's own source is known to have.
    known_permissions: Vec<Node>,
}

/// Appends what the files of `include` and `overlay` hold to `routes` and `known_permissions`;
/// indices go on where the main file's end.
pub(super) fn merge(root: &mut Node, files: &mut Vec<PathBuf>, cx: &mut Reader<'_>) {
    let mut included = read_all("include", root, files, cx);
    let overlay = read_all("overlay", root, files, cx);
    included.routes = laid_over(included.routes, &overlay.routes);
    included.routes.extend(overlay.routes);
    included.known_permissions.extend(overlay.known_permissions);
    append(root, "routes", included.routes);
    append(root, "known_permissions", included.known_permissions);
}

/// Everything in the files that a key of the root lists.
fn read_all(
    list: &'static str,
    root: &Node,
    files: &mut Vec<PathBuf>,
    cx: &mut Reader<'_>,
) -> File {
    let mut all = File::default();
    let names = root.key(list).map(Node::elements).unwrap_or_default();
    for (at, name) in names.iter().enumerate() {
        let key = KeyPath::default().key(list).index(at);
        // What is no path is reported when the key itself is read.
        let Some(text) = name.text().filter(|_| !name.is_null()) else { continue };
        let path = cx.resolve(text);
        if files.contains(&path) {
            cx.fault_at(&name.position, &key, "names a file that is read already");
            continue;
        }
        match text_of(&path, cx.surroundings) {
            Ok(text) => {
                let file = read(&path.display().to_string(), &text, cx);
                all.routes.extend(file.routes);
                all.known_permissions.extend(file.known_permissions);
            }
            Err(message) => {
                cx.fault_at(&name.position, &key, format!("{} {message}", path.display()));
            }
        }
        files.push(path);
    }
    all
}

/// A list of routes, or a mapping with `routes` and, if need be, `known_permissions`.
fn read(name: &str, text: &str, cx: &mut Reader<'_>) -> File {
    let Some(root) = yaml::parse(name, text, &mut cx.faults) else { return File::default() };
    let list = |node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Sequence(elements)) => Some(elements.clone()),
        Some(_) => None,
        None => Some(Vec::new()),
    };
    let file = match &root.value {
        Value::Sequence(routes) => {
            Some(File { routes: routes.clone(), known_permissions: Vec::new() })
        }
        Value::Mapping(entries)
            if root.key("routes").is_some()
                && entries
                    .iter()
                    .all(|entry| matches!(&*entry.key, "routes" | "known_permissions")) =>
        {
            list(root.key("routes"))
                .zip(list(root.key("known_permissions")))
                .map(|(routes, known_permissions)| File { routes, known_permissions })
        }
        _ => None,
    };
    file.unwrap_or_else(|| {
        let message = "a file of routes holds a list of them, or the lists `routes` and \
                       `known_permissions`";
        cx.fault_at(&root.position, &KeyPath::default(), message);
        File::default()
    })
}

fn append(root: &mut Node, key: &str, mut elements: Vec<Node>) {
    if elements.is_empty() {
        return;
    }
    let position = root.position.clone();
    let Value::Mapping(entries) = &mut root.value else { return };
    match entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node) {
        Some(Node { value: Value::Sequence(own), .. }) => own.append(&mut elements),
        // `routes:` with nothing after it, because all of them are in other files.
        Some(own) if own.is_null() => own.value = Value::Sequence(elements),
        // Neither list nor nothing: its own fault is reported when it is read.
        Some(_) => {}
        None => {
            let node = Node { position: position.clone(), value: Value::Sequence(elements) };
            entries.push(Entry { key: key.into(), position, node });
        }
    }
}

/// The included routes without what the overlay says anew: of a route with the same hosts and
/// the same shape of path, every method that the overlay names is taken away.
fn laid_over(included: Vec<Node>, overlay: &[Node]) -> Vec<Node> {
    let overlay: Vec<_> = overlay.iter().filter_map(Reach::of).collect();
    included
        .into_iter()
        .filter_map(|route| {
            let Some(mut reach) = Reach::of(&route) else { return Some(route) };
            let whole = reach.methods.len();
            for other in &overlay {
                if other.shape == reach.shape && other.hosts == reach.hosts {
                    reach.methods.retain(|method| !other.methods.contains(method));
                }
            }
            // HEAD is no method of its own beside GET: it goes with it, and stays with it.
            match reach.methods.len() {
                0 => None,
                left if left == whole => Some(route),
                _ => Some(with_methods(route, &reach.methods)),
            }
        })
        .collect()
}

/// Which requests a route answers, as far as an overlay is concerned.
struct Reach {
    shape: String,
    hosts: BTreeSet<String>,
    methods: BTreeSet<&'static str>,
}

impl Reach {
    /// `None` when the route has a fault, which is reported when it is read.
    fn of(route: &Node) -> Option<Self> {
        let words = |key| {
            let elements = route.key(key).map(Node::elements).unwrap_or_default();
            elements.iter().map(|element| element.text().map(str::to_owned)).collect::<Option<_>>()
        };
        let shape = PathPattern::parse(route.key("path")?.text()?).ok()?.shape();
        let named: BTreeSet<String> = words("methods")?;
        let every = named.is_empty();
        let known = Method::ALL.iter().map(|method| method.as_str());
        let mut methods: BTreeSet<_> =
            known.filter(|&method| every || named.contains(method)).collect();
        if methods.is_empty() {
            return None;
        }
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        Some(Self { shape, hosts: words("hosts")?, methods })
    }
}

fn with_methods(mut route: Node, methods: &BTreeSet<&'static str>) -> Node {
    let position = route.position.clone();
    let Value::Mapping(entries) = &mut route.value else { return route };
    let at = entries.iter().find(|entry| entry.key == "methods").map(|entry| &entry.node.position);
    let position = at.unwrap_or(&position).clone();
    let element = |word: &&str| {
        let value = Value::Scalar { text: (*word).to_owned(), plain: true };
        Node { position: position.clone(), value }
    };
    let value = Value::Sequence(methods.iter().map(element).collect());
    entries.retain(|entry| entry.key != "methods");
    let node = Node { position: position.clone(), value };
    entries.push(Entry { key: "methods".into(), position, node });
    route
}

#[cfg(test)]
mod tests;
