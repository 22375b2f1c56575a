//! What of a comparison is worth a line in the log: what has changed since the one before. Pure.

use std::collections::BTreeSet;

use log::Level;

use crate::{
    policy::{
        drift::{Difference, Kind},
        import::Document,
    },
    time::Timestamp,
};

/// Differences told one by one at a time; the command line tells all of them.
const TOLD_AT_ONCE: usize = 50;
/// Characters of a line that come from the upstream.
const LONGEST: usize = 300;

/// A comparison in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// When.
    pub checked: Timestamp,
    /// How many differences there are of each kind.
    pub counts: [(&'static str, u64); 5],
}

impl Findings {
    /// Counts.
    #[must_use]
    pub fn new(checked: Timestamp, differences: &[Difference]) -> Self {
        let mut counts = Kind::WORDS.map(|word| (word, 0));
        for (word, count) in &mut counts {
            let of_kind = differences.iter().filter(|each| each.kind.word() == *word).count();
            *count = u64::try_from(of_kind).unwrap_or(u64::MAX);
        }
        Self { checked, counts }
    }
}

/// Remembers what it has told.
#[derive(Debug, Default)]
pub struct Reporter {
    /// What the last comparison found; `None` before the first.
    told: Option<Told>,
    /// Why there was none since.
    failure: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    document: String,
    differences: BTreeSet<Difference>,
}

impl Reporter {
    /// Lines about a comparison: none when it found what the one before found.
    pub fn compared(
        &mut self,
        document: &Document,
        differences: Vec<Difference>,
    ) -> Vec<(Level, String)> {
        let now = Told {
            document: format!("{} {}", plain(&document.title), plain(&document.version)),
            differences: differences.into_iter().collect(),
        };
        let mut lines = Vec::new();
        if self.failure.take().is_some() {
            lines.push((Level::Info, format!("the OpenAPI document is read: {}", now.document)));
        }
        let before = self.told.as_ref();
        if before != Some(&now) {
            let none = BTreeSet::new();
            let known = before.map_or(&none, |told| &told.differences);
            let new = now.differences.difference(known);
            push(&mut lines, Level::Warn, "policy drift", new);
            let gone = known.difference(&now.differences);
            push(&mut lines, Level::Info, "policy drift is gone", gone);
            lines.push(match now.differences.len() {
                0 => (Level::Info, format!("routes agree with {}", now.document)),
                count => {
                    let plural = if count == 1 { "difference" } else { "differences" };
                    let line = format!(
                        "{count} {plural} between routes and {}; nothing was changed, \
                         `portcullis policy diff` tells all",
                        now.document
                    );
                    (Level::Warn, line)
                }
            });
        }
        self.told = Some(now);
        lines
    }

    /// Lines about a document that could not be read: none when the cause is known.
    pub fn unread(&mut self, why: &str) -> Vec<(Level, String)> {
        if self.failure.as_deref() == Some(why) {
            return Vec::new();
        }
        self.failure = Some(why.to_owned());
        let line = format!(
            "the OpenAPI document {}; routes are served as they are, and compared once it is read",
            plain(why)
        );
        vec![(Level::Warn, line)]
    }
}

fn push<'d>(
    lines: &mut Vec<(Level, String)>,
    level: Level,
    what: &str,
    mut differences: impl Iterator<Item = &'d Difference>,
) {
    let told = differences.by_ref().take(TOLD_AT_ONCE);
    lines.extend(told.map(|difference| (level, format!("{what}: {}", long(difference)))));
    let more = differences.count();
    if more > 0 {
        lines.push((level, format!("{what}: and {more} more")));
    }
}

/// A path may have a thousand characters, and permissions are as many as the document says.
fn long(difference: &Difference) -> String {
    plain(&difference.to_string())
}

/// What came from the upstream, on one line and not longer than a line.
fn plain(text: &str) -> String {
    let mut kept: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;
