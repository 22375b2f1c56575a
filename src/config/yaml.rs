//! YAML 1.2 as a tree in which every value knows where it stands.
//!
//! Configuration needs no more than scalars, lists and mappings with words as keys. What lets
//! one text be read in two ways (duplicate keys, anchors, tags, several documents) is a fault.

use std::{collections::HashSet, fmt, sync::Arc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value as Json;

use super::{
    fault::{Fault, Faults, Position},
    key_path::{KeyPath, Step},
};

/// Longest file that is read, in bytes.
pub(crate) const LONGEST_FILE: usize = 1 << 20;
/// Deepest nesting; the deepest key that exists stands nine levels down.
const DEEPEST: usize = 32;
/// Values in one file.
const MOST_NODES: usize = 400_000;

/// One value and its place.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone)]
pub(crate) enum Value {
    /// A word, number or text; `plain` without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in the order of the file, no key twice.
    Mapping(Vec<Entry>),
    /// Something whose fault is reported already; readers say nothing more about it.
    Reported,
}

/// One key of a mapping.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) node: Node,
}

/// Reads one file; `None` when there is no tree to speak of. Faults go to `faults`.
pub(crate) fn parse(file: &str, text: &str, faults: &mut Faults) -> Option<Node> {
    if text.len() > LONGEST_FILE {
        let position = Position { file: file.into(), line: 1, column: 1 };
        let message = "is longer than 1 MiB; split the routes into `include` files".to_owned();
        faults.add(Fault { position, key_path: String::new(), message });
        return None;
    }
    parse_long(file, text, faults)
}

/// The same for a file whose length was bounded by whoever read it.
pub(crate) fn parse_long(file: &str, text: &str, faults: &mut Faults) -> Option<Node> {
    let file: Arc<str> = file.into();
    let start = Position { file: Arc::clone(&file), line: 1, column: 1 };
    let mut builder = Builder { file, open: Vec::new(), root: None, nodes: 0, faults };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        match event {
            Err(error) => {
                let mark = error.marker();
                let position = builder.position(mark.line(), mark.col());
                builder.fault(position, format!("is not YAML: {}", error.info()));
                return None;
            }
            Ok((Event::DocumentStart(_), span)) => {
                documents += 1;
                if documents > 1 {
                    let position = builder.position(span.start.line(), span.start.col());
                    builder.fault(position, "starts a second document; one file holds one");
                    return builder.root;
                }
            }
            Ok((event, span)) => builder.take(event, span)?,
        }
    }
    if builder.root.is_none() {
        builder.fault(start, "is empty");
    }
    builder.root
}

impl Node {
    /// `null`, `~` or nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The elements of a list; none for anything else.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(elements) => elements,
            _ => &[],
        }
    }

    /// The keys of a mapping; none for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn key(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value at the end of a path.
    pub(crate) fn at(&self, path: &KeyPath) -> Option<&Self> {
        path.steps().iter().try_fold(self, Self::step)
    }

    /// The position of the value at the end of a path, or of the nearest one on the way.
    pub(crate) fn nearest(&self, path: &KeyPath) -> &Position {
        let mut here = self;
        for step in path.steps() {
            match here.step(step) {
                Some(next) => here = next,
                None => break,
            }
        }
        &here.position
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match step {
            Step::Key(key) => self.key(key),
            Step::Index(index) => self.elements().get(*index),
        }
    }

    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { plain: true, .. } => "a plain word",
            Value::Scalar { plain: false, .. } => "a quoted text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Reported => "something unreadable",
        }
    }

    /// As the JSON that it stands for.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => Json::Null,
            Value::Scalar { text, plain } => match serde_json::from_str(text) {
                Ok(number_or_bool @ (Json::Number(_) | Json::Bool(_))) if *plain => number_or_bool,
                _ => text.as_str().into(),
            },
            Value::Sequence(elements) => elements.iter().map(Self::json).collect(),
            Value::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.json())).collect()
            }
            Value::Reported => Json::Null,
        }
    }

    /// The places alone: a tree that outlives loading keeps no text, for it may be a secret.
    pub(crate) fn without_text(mut self) -> Self {
        match &mut self.value {
            Value::Scalar { text, .. } => *text = String::new(),
            Value::Sequence(elements) => {
                *elements = std::mem::take(elements).into_iter().map(Self::without_text).collect();
            }
            Value::Mapping(entries) => {
                *entries = std::mem::take(entries)
                    .into_iter()
                    .map(|entry| Entry { node: entry.node.without_text(), ..entry })
                    .collect();
            }
            Value::Reported => {}
        }
        self
    }
}

/// Kind and place; never the text, which may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind(), self.position)
    }
}

/// The collections that are still open, outermost first.
struct Builder<'a> {
    file: Arc<str>,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    faults: &'a mut Faults,
}

struct Open {
    position: Position,
    kind: Kind,
}

enum Kind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Position)> },
}

impl Builder<'_> {
    /// One event of the parser; `None` when reading cannot go on.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let position = self.position(span.start.line(), span.start.col());
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor != 0 {
            self.fault(position.clone(), "an anchor (`&…`) is not read here; write the value out");
        }
        if tag {
            self.fault(position.clone(), "a tag (`!…`) is not read here; leave it out");
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.place(position, Value::Scalar { text: text.into_owned(), plain })
            }
            Event::Alias(_) => {
                self.fault(
                    position.clone(),
                    "an alias (`*…`) is not read here; write the value out",
                );
                self.place(position, Value::Reported)
            }
            Event::SequenceStart(..) => self.enter(position, Kind::Sequence(Vec::new())),
            Event::MappingStart(..) => {
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.enter(position, Kind::Mapping { entries, seen, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { position, kind } = self.open.pop()?;
                let value = match kind {
                    Kind::Sequence(elements) => Value::Sequence(elements),
                    Kind::Mapping { entries, .. } => Value::Mapping(entries),
                };
                self.place(position, value)
            }
            _ => Some(()),
        }
    }

    fn enter(&mut self, position: Position, kind: Kind) -> Option<()> {
        if self.open.len() >= DEEPEST {
            self.fault(position, "is nested too deeply");
            return None;
        }
        self.open.push(Open { position, kind });
        Some(())
    }

    /// Puts a finished value where it belongs: as a key, a value, an element or the root.
    fn place(&mut self, position: Position, value: Value) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            self.fault(position, "the file holds too many values");
            return None;
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(Node { position, value });
            return Some(());
        };
        match &mut open.kind {
            Kind::Sequence(elements) => elements.push(Node { position, value }),
            Kind::Mapping { entries, seen, key } => match (key.take(), value) {
                (Some((key, at)), value) => {
                    if seen.insert(key.clone()) {
                        entries.push(Entry { key, position: at, node: Node { position, value } });
                    } else {
                        let path = self.path().key(key);
                        self.fault_at(at, &path, "stands here twice; keep one");
                    }
                }
                (None, Value::Scalar { text, .. }) => *key = Some((text, position)),
                (None, _) => {
                    self.fault(position, "a key must be a word");
                    return None;
                }
            },
        }
        Some(())
    }

    fn position(&self, line: usize, column_from_zero: usize) -> Position {
        Position { file: Arc::clone(&self.file), line: line.max(1), column: column_from_zero + 1 }
    }

    fn fault(&mut self, position: Position, message: impl Into<String>) {
        let path = self.path();
        self.fault_at(position, &path, message);
    }

    fn fault_at(&mut self, position: Position, path: &KeyPath, message: impl Into<String>) {
        let key_path = path.to_string();
        self.faults.add(Fault { position, key_path, message: message.into() });
    }

    /// The way to the value that comes next.
    fn path(&self) -> KeyPath {
        self.open.iter().fold(KeyPath::default(), |path, open| match &open.kind {
            Kind::Sequence(elements) => path.index(elements.len()),
            Kind::Mapping { key: Some((key, _)), .. } => path.key(key.as_str()),
            Kind::Mapping { key: None, .. } => path,
        })
    }
}

#[cfg(test)]
mod tests;
