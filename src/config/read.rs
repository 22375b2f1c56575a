//! From a tree of YAML to types: one trait, and two macros that derive it for whole sections.
//!
//! A reader never stops at the first fault. Each one is noted with its place and key path, and
//! the next value is read; only at the end is the whole taken or refused.

mod plain;
mod schema;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value as Json;

pub(crate) use self::schema::{Nothing, Schemas};
use super::{
    fault::{Fault, Faults, Position},
    key_path::{KeyPath, Step},
    suggest::{hint, nearest, quoted},
    types::Secret,
    yaml::{self, Node, Value},
};

/// What can be read from a value of the file.
pub(crate) trait Read: Sized {
    /// The value; `None` once its fault is noted in `cx`.
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self>;

    /// What an editor should accept for it.
    fn schema(schemas: &mut Schemas) -> Json;
}

/// What can be a key of a map.
pub(crate) trait Key: Ord + Sized {
    /// The key, or what it must be.
    fn key(text: &str) -> Result<Self, &'static str>;

    /// JSON Schema for the key.
    fn schema() -> Json;
}

/// Where secrets come from.
pub trait Surroundings {
    /// The content of a file, at most `longest` bytes of it.
    ///
    /// # Errors
    /// As the file system gives them; a longer file is an error as well.
    fn file(&self, path: &Path, longest: usize) -> io::Result<Vec<u8>>;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Collects faults along the way, and knows where the way has led so far.
pub(crate) struct Reader<'a> {
    pub(crate) faults: Faults,
    pub(crate) surroundings: &'a dyn Surroundings,
    /// `allow_inline_secrets`.
    pub(crate) inline_secrets: bool,
    directory: PathBuf,
    path: KeyPath,
    /// Every fault is noted already, and as much is read as can be: see [`Reader::muted`].
    muted: bool,
    /// Each secret is fetched once, so that what is checked is what is used.
    pub(crate) secrets: BTreeMap<Position, Option<Secret>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(directory: &Path, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            faults: Faults::default(),
            surroundings,
            inline_secrets: false,
            directory: directory.to_owned(),
            path: KeyPath::default(),
            muted: false,
            secrets: BTreeMap::new(),
        }
    }

    /// Notes a fault of the value that is being read.
    pub(crate) fn fault(&mut self, position: &Position, message: impl Into<String>) {
        let path = self.path.clone();
        self.fault_at(position, &path, message);
    }

    /// Notes a fault of any value.
    pub(crate) fn fault_at(
        &mut self,
        position: &Position,
        path: &KeyPath,
        message: impl Into<String>,
    ) {
        if !self.muted {
            self.faults.add(Fault {
                position: position.clone(),
                key_path: path.to_string(),
                message: message.into(),
            });
        }
    }

    /// Notes that something else was expected here.
    pub(crate) fn expected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        if !matches!(node.value, Value::Reported) {
            self.fault(&node.position, format!("must be {what}, found {}", node.kind()));
        }
        None
    }

    /// Notes that what stands here is not good, quoting it. Not for what may be a secret.
    pub(crate) fn wrong<T>(&mut self, node: &Node, why: &str) -> Option<T> {
        let found = quoted(node.text().unwrap_or_default());
        self.fault(&node.position, format!("{found} {why}"));
        None
    }

    /// One step down.
    pub(crate) fn within<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    /// Reads again, without a word, what was read before, and is lenient: what is faulty by
    /// itself must not hide what is faulty together. A misspelt key stands for the one that was
    /// probably meant, an element that cannot be read is left out of its list, and a number, span
    /// or section that cannot be read counts as its default.
    pub(crate) fn muted<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.muted, true);
        let result = read(self);
        self.muted = before;
        result
    }

    /// Whether to go on with what was read: when it is all there is, or as much as there can be.
    pub(crate) const fn whole(&self, all: bool) -> bool {
        all || self.muted
    }

    /// A path of the file system; a relative one starts where the configuration stands.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The text of a scalar, or a fault that says what is expected.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => self.expected(node, what),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let text = self.text(node, "a word")?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong::<T>(node, &format!("is not known here{}", hint(text, known())));
        }
        found
    }
}

/// A key of a section, as declared.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    /// As an operator would write it; `None`: required.
    pub(crate) default: Option<&'static str>,
}

/// The default of one field, parsed once a process.
pub(crate) type Default = OnceLock<Option<Node>>;

/// A mapping whose keys are known.
pub(crate) struct Fields<'n> {
    mapping: &'n Node,
    /// Keys that are none, each with the one that was probably meant.
    misspelt: Vec<(&'static str, &'n Node)>,
    pub(crate) all_known: bool,
}

impl<'n> Fields<'n> {
    /// Notes every key that is none of `known`; `None` when it is no mapping at all.
    pub(crate) fn of(
        mapping: &'n Node,
        known: &[&'static str],
        cx: &mut Reader<'_>,
    ) -> Option<Self> {
        if !matches!(mapping.value, Value::Mapping(_)) {
            return cx.expected(mapping, &format!("a mapping with {}", known.join(", ")));
        }
        let mut misspelt = Vec::new();
        let mut all_known = true;
        for entry in mapping.entries() {
            if !known.contains(&entry.key.as_str()) {
                all_known = cx.whole(false);
                let meant = nearest(&entry.key, known);
                misspelt.extend(meant.map(|meant| (meant, &entry.node)));
                let message = format!("unknown key{}", hint(&entry.key, known.iter().copied()));
                cx.within(Step::Key(entry.key.clone()), |cx| cx.fault(&entry.position, message));
            }
        }
        Some(Self { mapping, misspelt, all_known })
    }

    /// Reads one key, or its default where it is left out.
    pub(crate) fn read<T: Read>(
        &self,
        field: &Field,
        default: &'static Default,
        cx: &mut Reader<'_>,
    ) -> Option<T> {
        cx.within(Step::Key(field.key.to_owned()), |cx| {
            let meant = || self.misspelt.iter().find(|(meant, _)| *meant == field.key);
            let given = self
                .mapping
                .key(field.key)
                .or_else(|| meant().filter(|_| cx.muted).map(|(_, node)| *node));
            if let Some(node) = given {
                let read = T::read(node, cx);
                if read.is_some() || !(cx.muted && field.default.is_some_and(stands_alone)) {
                    return read;
                }
            }
            let Some(text) = field.default else {
                let about = field.doc.trim();
                cx.fault(&self.mapping.position, format!("is missing: {about}"));
                return None;
            };
            let value = default
                .get_or_init(|| yaml::parse("default", text, &mut Faults::default()))
                .as_ref()
                .and_then(|node| cx.muted(|cx| T::read(node, cx)));
            if value.is_none() {
                cx.fault(&self.mapping.position, format!("has the unreadable default `{text}`"));
            }
            value
        })
    }
}

/// Whether nothing else is concluded from a value with such a default: numbers, spans, sections.
fn stands_alone(default: &str) -> bool {
    default.starts_with(|first: char| first.is_ascii_digit() || first == '{')
}

/// Declares a section: the type, its reader and its schema.
macro_rules! section {
    (@default) => { ::core::option::Option::None };
    (@default $default:literal) => { ::core::option::Option::Some($default) };
    ($(#[doc = $doc:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $kind:ty $(= $default:literal)?,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $($(#[doc = $field_doc])* $vis $field: $kind,)*
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::yaml::Node,
                cx: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                use $crate::config::read::{Default, Field, Fields};
                let fields = Fields::of(node, &[$(stringify!($field)),*], cx)?;
                // Every field is read before the first missing one ends it.
                $(let $field: Option<$kind> = {
                    static DEFAULT: Default = Default::new();
                    let field = Field {
                        key: stringify!($field),
                        doc: concat!($($field_doc),*),
                        default: $crate::config::read::section!(@default $($default)?),
                    };
                    fields.read(&field, &DEFAULT, cx)
                };)*
                fields.all_known.then_some(())?;
                Some(Self { $($field: $field?,)* })
            }

            fn schema(schemas: &mut $crate::config::read::Schemas) -> serde_json::Value {
                use $crate::config::read::Field;
                schemas.section(stringify!($name), concat!($($doc),*), |fields| {
                    $(fields.add::<$kind>(&Field {
                        key: stringify!($field),
                        doc: concat!($($field_doc),*),
                        default: $crate::config::read::section!(@default $($default)?),
                    });)*
                })
            }
        }

        impl $crate::config::show::Show for $name {
            fn show(&self) -> serde_yaml::Value {
                $crate::config::show::section([
                    $((stringify!($field), $crate::config::show::Show::show(&self.$field)),)*
                ])
            }
        }
    };
}

/// Declares a choice of words: the type, its reader and its schema.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $(#[doc = concat!("`", $word, "`.")] $variant,)*
        }

        impl $name {
            /// Every one, in the order of the reference.
            $vis const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::yaml::Node,
                cx: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                let words: Vec<_> = Self::ALL.iter().map(|each| (each.as_str(), *each)).collect();
                cx.word(node, &words)
            }

            fn schema(_: &mut $crate::config::read::Schemas) -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }

        impl $crate::config::show::Show for $name {
            fn show(&self) -> serde_yaml::Value {
                self.as_str().into()
            }
        }
    };
}

pub(crate) use {choice, section};

#[cfg(test)]
mod tests;
