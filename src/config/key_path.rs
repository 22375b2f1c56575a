//! The way to a value in the file: `routes[3].permissions[1]`.
//!
//! A key of letters, digits, `_` and `-` stands as it is; any other is written as a JSON string
//! in brackets: `iam_roles["a.b"]`. [`KeyPath::parse`] reads what `Display` writes.

use std::fmt;

/// Steps from the root of the file to one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyPath(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0 on.
    Index(usize),
}

impl KeyPath {
    /// Reads the written form; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
                bracketed(inside)?
            } else {
                let rest = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let end = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
                let (key, after) = rest.split_at(end);
                if key.is_empty() {
                    return None;
                }
                (Step::Key(key.to_owned()), after)
            };
            steps.push(step);
            rest = after;
        }
        Some(Self(steps))
    }

    /// From the root on.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// One key further.
    pub(crate) fn key(&self, key: impl Into<String>) -> Self {
        let mut longer = self.clone();
        longer.push(Step::Key(key.into()));
        longer
    }

    /// One element further.
    pub(crate) fn index(&self, index: usize) -> Self {
        let mut longer = self.clone();
        longer.push(Step::Index(index));
        longer
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// What follows `[`: an index or a JSON string, then `]`.
fn bracketed(inside: &str) -> Option<(Step, &str)> {
    if inside.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(inside).into_iter::<String>();
        let key = strings.next()?.ok()?;
        let after = inside.get(strings.byte_offset()..)?.strip_prefix(']')?;
        return Some((Step::Key(key), after));
    }
    let (digits, after) = inside.split_once(']')?;
    let index = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((Step::Index(index), after))
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !key.is_empty() && key.chars().all(is_plain) => {
                    let dot = if at == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Step::Key(key) => write!(f, "[{}]", serde_json::Value::from(key.as_str()))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings() {
        let path = KeyPath::default().key("routes").index(3).key("permissions").index(1);
        assert_eq!(path.to_string(), "routes[3].permissions[1]");
        let path = KeyPath::default().key("iam_roles").key("a.\"b\"").key("x");
        assert_eq!(path.to_string(), r#"iam_roles["a.\"b\""].x"#);
        for wrong in [".a", "a.", "a..b", "a[", "a[]x", "a[-1]", "a[1", "a b", "[\"a\"", "a[\"b\"x"]
        {
            assert_eq!(KeyPath::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(steps in proptest::collection::vec(
            prop_oneof![".{0,8}".prop_map(Step::Key), any::<usize>().prop_map(Step::Index)], 0..6,
        )) {
            let path = KeyPath(steps);
            prop_assert_eq!(KeyPath::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z\\[\\]\".0-9\\\\]{0,20}") {
            if let Some(path) = KeyPath::parse(&text) {
                prop_assert_eq!(KeyPath::parse(&path.to_string()), Some(path));
            }
        }
    }
}
