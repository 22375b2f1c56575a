//! An explanation for people: a line a step with a mark, wrapped to the terminal, and the decision
//! last.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal},
};

use crate::{
    explain::{Explanation, Passage, StepVerdict},
    refusal::Reason,
    telemetry::record::Verdict,
};

/// How wide, and whether in colour.
pub(super) struct Page {
    width: usize,
    colour: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const FAINT: &str = "2";
const BOLD: &str = "1";

/// Where details begin: after the mark and the longest step's word.
const INDENT: usize = 2 + 2 + 14 + 2;
/// Details narrower than this stand below their step's word instead of beside it.
const NARROWEST: usize = 32;
const BELOW: usize = 6;

impl Page {
    /// For standard output: as wide as the terminal (or `COLUMNS`), and without end when it is
    /// none; in colour on a terminal, unless `NO_COLOR` or a dumb terminal speaks against it.
    pub(super) fn fitting() -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.or_else(|| terminal.then(measured).flatten()).unwrap_or(usize::MAX);
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self { width, colour: terminal && !unwanted }
    }

    pub(super) fn render(&self, found: &Explanation) -> String {
        let mut page = String::new();
        for step in &found.steps {
            self.step(step, &mut page);
        }
        page.push('\n');
        if let Some(reason) = found.would_refuse {
            let line = format!("on trial: without it, {} {}", reason.status(), reason.word());
            page.push_str(&self.painted(YELLOW, &line));
            page.push('\n');
        }
        let colour = match found.decision {
            Verdict::Refuse => RED,
            Verdict::Login => YELLOW,
            Verdict::Forward | Verdict::Own => GREEN,
        };
        for line in wrapped(&decision(found), self.width) {
            page.push_str(&self.painted(colour, &self.painted(BOLD, &line)));
            page.push('\n');
        }
        page
    }

    fn step(&self, step: &Passage, page: &mut String) {
        let (mark, colour) = match step.verdict {
            StepVerdict::Pass => ("✓", GREEN),
            StepVerdict::Answer => ("=", GREEN),
            StepVerdict::Login => ("→", YELLOW),
            StepVerdict::WouldRefuse => ("!", YELLOW),
            StepVerdict::Refuse => ("✗", RED),
            StepVerdict::Skip => ("·", FAINT),
        };
        let beside = self.width.saturating_sub(INDENT) >= NARROWEST;
        let indent = if beside { INDENT } else { BELOW };
        let skipped = step.verdict == StepVerdict::Skip;
        let word = if skipped { self.painted(FAINT, step.step) } else { step.step.to_owned() };
        let _ = write!(page, "  {} {word}", self.painted(colour, mark));
        let lines = step.detail.split("; ").filter(|detail| !detail.is_empty());
        let lines = lines.flat_map(|detail| wrapped(detail, self.width.saturating_sub(indent)));
        for (at, line) in lines.enumerate() {
            let padding = if at == 0 && beside {
                INDENT.saturating_sub(4 + step.step.len())
            } else {
                page.push('\n');
                indent
            };
            page.push_str(&" ".repeat(padding));
            page.push_str(&line);
        }
        page.push('\n');
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The last line: decision, status, reason, and where it goes.
fn decision(found: &Explanation) -> String {
    let mut line = found.decision.word().to_owned();
    match (found.decision, found.status) {
        (Verdict::Forward, _) => {
            let _ = write!(line, " to {}", found.upstream.as_deref().unwrap_or("nowhere"));
            let _ = write!(line, ", credential {}", found.credential.unwrap_or("none"));
            if let Some(organisation) = found.organisation {
                let _ = write!(line, ", organisation {organisation}");
            }
        }
        (Verdict::Own, _) => {
            let _ = write!(line, ": {}", found.route.as_deref().unwrap_or("the gateway itself"));
        }
        (Verdict::Login | Verdict::Refuse, status) => {
            let _ = write!(line, " {}", status.unwrap_or_default());
            line += found
                .reason
                .map(|reason| format!(" {}", Reason::word(reason)))
                .as_deref()
                .unwrap_or("");
        }
    }
    line
}

/// Lines of at most `width` characters, broken at spaces where there are any; control characters
/// are escaped, so what comes from outside moves no cursor.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let word: Vec<char> = word.chars().flat_map(visible).collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(String::new());
            used = 0;
        }
        for (at, piece) in word.chunks(width).enumerate() {
            if at > 0 {
                lines.push(String::new());
                used = 0;
            }
            let Some(line) = lines.last_mut() else { continue };
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.extend(piece);
            used += piece.len();
        }
    }
    lines
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

#[cfg(test)]
mod tests;
