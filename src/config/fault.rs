//! What is wrong with a configuration, and where it stands.

use std::{fmt, sync::Arc};

/// Faults kept of one run; whoever has more than this has one cause for most of them.
const KEPT: usize = 100;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// From 1 on.
    pub line: usize,
    /// From 1 on, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One fault: where it is, which key it is about, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// The key, such as `routes[3].permissions[1]`; empty for the file as a whole.
    pub key_path: String,
    /// For people. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        f.write_str(&self.message)
    }
}

/// Every fault of one run. `Display` prints one a line, by file and position.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    kept: Vec<Fault>,
    left_out: usize,
}

impl Faults {
    /// In order of file and position, once [`sorted`](Self::sorted).
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.kept.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are, with those beyond the bound.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + self.left_out
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        if self.kept.len() < KEPT {
            self.kept.push(fault);
        } else {
            self.left_out += 1;
        }
    }

    /// The same, by file and position, each once.
    pub(crate) fn sorted(mut self) -> Self {
        self.kept.sort();
        self.kept.dedup();
        self
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.kept.iter().enumerate() {
            let end_of_line = if at == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{fault}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize, key_path: &str) -> Fault {
        Fault {
            position: Position { file: "g.yaml".into(), line, column: 3 },
            key_path: key_path.into(),
            message: "is wrong".into(),
        }
    }

    #[test]
    fn one_a_line_by_position_each_once() {
        let mut faults = Faults::default();
        for each in [fault(9, "b"), fault(2, "a"), fault(9, "b"), fault(1, "")] {
            faults.add(each);
        }
        assert_eq!(
            faults.sorted().to_string(),
            "g.yaml:1:3: is wrong\ng.yaml:2:3: a: is wrong\ng.yaml:9:3: b: is wrong"
        );
    }

    #[test]
    fn bounded_and_says_so() {
        let mut faults = Faults::default();
        (0..KEPT + 7).for_each(|line| faults.add(fault(line, "a")));
        assert_eq!(faults.iter().count(), KEPT);
        assert_eq!(faults.len(), KEPT + 7);
        assert!(faults.to_string().ends_with("… and 7 more"));
    }
}
