//! Keys that the format knows and this version does not act on.
//!
//! A gateway that took such a key and did nothing about it would be open where its operator
//! believes it closed, so each is refused at load. A feature that lands takes its line away.

use super::{key_path::KeyPath, read::Reader, yaml::Node};

/// What about a value makes it unavailable.
enum When {
    /// It is there and neither null nor empty.
    Given,
}
use When::Given;

/// Key path (`*` for any key or element), condition, and what it would have been.
const UNAVAILABLE: &[(&[&str], When, &str)] =
    &[(&["iam", "introspection"], Given, "introspection of opaque tokens")];

/// Notes every key of the file that this version does not act on.
pub(super) fn report(root: &Node, cx: &mut Reader<'_>) {
    for (pattern, when, what) in UNAVAILABLE {
        visit(root, &KeyPath::default(), pattern, &mut |node, path| {
            if when.holds(node) {
                let message = format!("is not available in this version ({what}); leave it out");
                cx.fault_at(&node.position, path, message);
            }
        });
    }
}

impl When {
    fn holds(&self, node: &Node) -> bool {
        let empty = node.text().is_none_or(str::is_empty)
            && node.elements().is_empty()
            && node.entries().is_empty();
        match self {
            Given => !node.is_null() && !empty,
        }
    }
}

/// Every value that a pattern leads to.
fn visit(node: &Node, path: &KeyPath, pattern: &[&str], found: &mut dyn FnMut(&Node, &KeyPath)) {
    match pattern {
        [] => found(node, path),
        ["*", rest @ ..] => {
            for entry in node.entries() {
                visit(&entry.node, &path.key(entry.key.as_str()), rest, found);
            }
            for (at, element) in node.elements().iter().enumerate() {
                visit(element, &path.index(at), rest, found);
            }
        }
        [key, rest @ ..] => {
            if let Some(node) = node.key(key) {
                visit(node, &path.key(*key), rest, found);
            }
        }
    }
}
