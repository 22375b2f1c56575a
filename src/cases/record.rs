//! Cases from access records: what was decided, to be decided again.
//!
//! A record holds no header, no body and no token, and of a query its shape at most. Who asked is
//! described by their roles. Where a route reads the organisation from the query, a header or the
//! body, the recorded one is written there. What such a request cannot repeat is found by asking: each case is read
//! back and put to the code that serves, and kept when it is decided as recorded.

mod line;
mod request;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, BufRead, Read as _},
};

use self::{line::Line, request::Request};
use super::read;
use crate::{
    config::{Faults, Loaded},
    explain::Explainer,
    time::Timestamp,
};

/// Longest line that is read, in bytes; no record is nearly as long.
const LONGEST_LINE: u64 = 64 << 10;
/// Most different requests that are kept.
const MOST: usize = 20_000;
/// Requests that are named one by one because they are decided otherwise.
const NAMED: usize = 20;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Recording {
    /// One request for each way in which one caller was answered on one route.
    requests: BTreeMap<Key, Request>,
    counts: Counts,
}

type Key = [String; 4];

#[derive(Debug, Default)]
struct Counts {
    records: usize,
    other_lines: usize,
    own_endpoints: usize,
    /// By reason.
    unrepeatable: BTreeMap<String, usize>,
    beyond: usize,
}

/// Cases, and what to tell about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// A file of cases.
    pub yaml: String,
    /// One line for people.
    pub summary: String,
}

impl Recording {
    /// Reads a log: access records of the JSON format, and lines of any other kind between them.
    ///
    /// # Errors
    /// As the source gives them.
    pub fn read(&mut self, mut log: impl BufRead, loaded: &Loaded) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(());
            }
            if !line.ends_with(b"\n") && length as u64 == LONGEST_LINE {
                self.counts.other_lines += 1;
                skip_line(&mut log)?;
            } else if !line.trim_ascii().is_empty() {
                self.note(&line, loaded);
            }
        }
    }

    fn note(&mut self, line: &[u8], loaded: &Loaded) {
        let counts = &mut self.counts;
        let line = serde_json::from_slice::<Line>(line).ok().filter(|line| line.kind == "access");
        let Some(line) = line else {
            counts.other_lines += 1;
            return;
        };
        counts.records += 1;
        if line.decision.as_deref() == Some("own") {
            counts.own_endpoints += 1;
            return;
        }
        let Some(request) = Request::of(&line, &loaded.config) else {
            let why = line.reason.unwrap_or_else(|| "no decision".to_owned());
            *counts.unrepeatable.entry(why).or_default() += 1;
            return;
        };
        // Of a thousand resources on one route one is enough; which one shall not depend on the
        // order of the log.
        let place = line.route.unwrap_or_else(|| line.path.clone());
        let key = [place, request.rest(), request.who(), request.expect()];
        if self.requests.len() >= MOST && !self.requests.contains_key(&key) {
            counts.beyond += 1;
            return;
        }
        let kept = self.requests.entry(key).or_insert_with(|| request.clone());
        if request.target < kept.target {
            *kept = request;
        }
    }

    /// The cases that are decided as recorded.
    ///
    /// # Errors
    /// When a case cannot be read back, which would be a fault of this module.
    pub async fn finish(
        self,
        loaded: &Loaded,
        explainer: &Explainer,
        now: Timestamp,
    ) -> Result<Recorded, Faults> {
        let requests: Vec<Request> = self.requests.into_values().collect();
        let mut all = String::from(if requests.is_empty() { "cases: []\n" } else { "cases:\n" });
        for request in &requests {
            request.render(&mut all);
        }
        let mut faults = Faults::default();
        let cases = read("recorded", &all, &loaded.config, &mut faults);
        if !faults.is_empty() {
            return Err(faults.sorted());
        }
        let mut found = Vec::with_capacity(cases.len());
        for case in &cases {
            found.push(match explainer.explain(&case.question, now).await {
                Ok(answer) if case.expected.differences(&answer).is_empty() => None,
                Ok(answer) => {
                    let reason = answer.reason.map(|reason| format!(" {reason}"));
                    Some(answer.decision.word().to_owned() + &reason.unwrap_or_default())
                }
                Err(unanswerable) => Some(unanswerable.to_string()),
            });
        }
        Ok(written(&requests, &found, &self.counts))
    }
}

fn skip_line(log: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffered = log.fill_buf()?;
        let (length, ended) = match buffered.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffered.len(), buffered.is_empty()),
        };
        log.consume(length);
        if ended {
            return Ok(());
        }
    }
}

/// `found`: for each request what is decided here, where it is not what was recorded.
fn written(requests: &[Request], found: &[Option<String>], counts: &Counts) -> Recorded {
    let mut cases = String::new();
    let mut otherwise = Vec::new();
    for (request, here) in requests.iter().zip(found) {
        match here {
            None => request.render(&mut cases),
            Some(here) => otherwise.push(format!("{request}, here {here}")),
        }
    }
    let kept = requests.len() - otherwise.len();
    let Counts { records, other_lines, own_endpoints, unrepeatable, beyond } = counts;
    let summary = format!("{kept} cases from {records} access records");
    let mut yaml = format!(
        "# {summary}.\n\
         # Made by: portcullis policy test --record\n\
         #\n\
         # Not in a record, and so not in a case: headers, bodies, values of queries, and claims\n\
         # other than subject and roles. An organisation that was read from one of them is written\n\
         # there; an app token carries what was recorded, else what the route demands.\n"
    );
    let mut left_out = Vec::new();
    if *other_lines > 0 {
        left_out.push(format!("{other_lines} lines that are no access records in JSON"));
    }
    if *own_endpoints > 0 {
        left_out.push(format!("{own_endpoints} answers of the gateway's own endpoints"));
    }
    for (reason, count) in unrepeatable {
        left_out.push(format!("{count} that a case cannot repeat: {}", reason.escape_debug()));
    }
    if *beyond > 0 {
        left_out.push(format!("{beyond} beyond the first {MOST} different requests"));
    }
    for line in &left_out {
        let _ = writeln!(yaml, "# Left out: {line}");
    }
    if !otherwise.is_empty() {
        let count = otherwise.len();
        let _ = writeln!(
            yaml,
            "# Left out: {count} that this configuration decides otherwise, or \
                                that need what is not recorded:"
        );
        for line in otherwise.iter().take(NAMED) {
            // What comes from outside is quoted in it; one line it stays in any case.
            let _ = writeln!(yaml, "#   {}", line.replace(['\n', '\r'], " "));
        }
        if count > NAMED {
            let _ = writeln!(yaml, "#   … and {} more", count - NAMED);
        }
        left_out.push(format!("{count} decided otherwise here"));
    }
    yaml.push('\n');
    yaml.push_str(if cases.is_empty() { "cases: []\n" } else { "cases:\n" });
    yaml.push_str(&cases);
    let left_out =
        left_out.into_iter().fold(String::new(), |all, line| all + "; left out: " + &line);
    Recorded { yaml, summary: summary + &left_out }
}

#[cfg(test)]
mod tests;
