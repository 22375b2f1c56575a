//! `portcullis audit verify`: are the audit records all there, as they were written?

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::{complain, print};
use crate::telemetry::sink::chain::{Hex, Link, Reading};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Find removed, changed and moved records of a chained audit file.
    ///
    /// For files written with `logs.audit_chain`. Give rotated files oldest first: the chain goes
    /// on from one to the next. Each broken record is a line `file:line: what is wrong`. Exits
    /// with 0 when every record is as it was written and with 1 otherwise.
    ///
    /// Records that are missing at the very end cannot be seen in the files alone: compare the
    /// last number and hash with what was noted elsewhere.
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(after_help = "For example: portcullis audit verify audit.log.2 audit.log.1 audit.log")]
pub(super) struct Verify {
    /// The files, oldest first; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File with the key of `logs.audit_chain.key`.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Checks the files; the exit code says what was found.
pub(super) fn verify(arguments: &Verify) -> u8 {
    let key = match arguments.key.as_deref().map(read_key).transpose() {
        Ok(key) => key,
        Err(error) => return complain(&error, 1),
    };
    let mut found =
        Found { reading: Reading::new(key.as_ref()), records: 0, faults: 0, first: None };
    for file in &arguments.files {
        let read = if file.as_os_str() == "-" {
            found.read(file, io::stdin().lock())
        } else {
            File::open(file).and_then(|open| found.read(file, BufReader::new(open)))
        };
        if let Err(error) = read {
            return complain(&format!("{}: {error}", file.display()), 1);
        }
    }
    let Found { reading, records, faults, first } = found;
    if faults > 0 {
        return complain(&format!("{records} records, {faults} of them broken"), 1);
    }
    let Some(first) = first else { return complain("there is no record", 1) };
    let Link { next, hash } = reading.last();
    let last = next.saturating_sub(1);
    print(&format!(
        "{records} records, {first} to {last}, all as written; last hash {}\n",
        Hex(&hash)
    ))
}

fn read_key(path: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    // As the configuration reads it: without the one line feed that editors add.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).into())
}

struct Found {
    reading: Reading,
    records: u64,
    faults: u64,
    /// The number of the first record.
    first: Option<u64>,
}

/// A longer line is no record.
const LONGEST: u64 = 1024 * 1024;

impl Found {
    fn read(&mut self, file: &Path, mut lines: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            self.records += 1;
            let result = self.reading.next(&line);
            self.first = self.first.or(Some(self.reading.last().next.saturating_sub(1)));
            if let Err(broken) = result {
                self.faults += 1;
                complain(&format!("{}:{number}: {broken}", file.display()), 1);
            }
        }
        Ok(())
    }
}
