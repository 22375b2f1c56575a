//! `portcullis policy test`: cases, put to the code that serves.

use std::{
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::super::{ConfigFile, EX_CONFIG, complain, print, run};
use crate::{
    cases::{self, LONGEST_CASES, Outcomes, record::Recording, report},
    config::{Fault, Faults, Loaded, Position},
    explain::Explainer,
    extension::Extensions,
    time::Timestamp,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    #[command(flatten)]
    config: ConfigFile,
    /// Files of cases; `-` reads standard input.
    #[arg(value_name = "CASES", required_unless_present = "record")]
    cases: Vec<PathBuf>,
    /// Print one JSON object, with every case and what none of them touches.
    #[arg(long, conflicts_with = "record")]
    json: bool,
    /// Make cases of access records instead, and print them: from the files named, or from
    /// standard input.
    ///
    /// A case is kept when this configuration decides it as recorded, so use the one that wrote
    /// the log. The log has to be in JSON; its other lines are passed over.
    ///
    /// For example: portcullis policy test --record < access.log > cases.yaml
    #[arg(long)]
    record: bool,
}

pub(super) fn test(command: &Test, extensions: &Arc<Extensions>) -> u8 {
    let loaded = match run::load(&command.config.config, extensions) {
        Ok((loaded, _)) => loaded,
        Err(faults) => return complain(&faults, EX_CONFIG),
    };
    let explainer = match Explainer::with(&loaded, extensions) {
        Ok(explainer) => explainer,
        Err(defects) => return complain(&run::faults(&loaded, defects), EX_CONFIG),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    if command.record {
        return runtime.block_on(record(command, &loaded, &explainer));
    }
    match runtime.block_on(outcomes(command, &loaded, &explainer)) {
        Ok(outcomes) => told(command, &outcomes),
        Err(faults) => complain(&faults, EX_CONFIG),
    }
}

fn told(command: &Test, outcomes: &Outcomes) -> u8 {
    let text = if command.json { report::json(outcomes) } else { Ok(report::text(outcomes)) };
    let code = u8::from(outcomes.failed().next().is_some());
    match text {
        Ok(text) => print(&text).max(code),
        Err(error) => complain(&error, 1),
    }
}

async fn outcomes(
    command: &Test,
    loaded: &Loaded,
    explainer: &Explainer,
) -> Result<Outcomes, Faults> {
    let mut faults = Faults::default();
    let mut all = Vec::new();
    for path in &command.cases {
        let name = name(path);
        match text(path) {
            Ok(text) => all.extend(cases::read(&name, &text, &loaded.config, &mut faults)),
            Err(message) => {
                let position = Position { file: name.into(), line: 1, column: 1 };
                faults.add(Fault { position, key_path: String::new(), message });
            }
        }
    }
    // Also those that can be read and not be put: all faults in one run.
    match cases::run(all, loaded, explainer, Timestamp::now()).await {
        Ok(outcomes) if faults.is_empty() => return Ok(outcomes),
        Ok(_) => {}
        Err(further) => further.iter().for_each(|fault| faults.add(fault.clone())),
    }
    Err(faults.sorted())
}

async fn record(command: &Test, loaded: &Loaded, explainer: &Explainer) -> u8 {
    let mut recording = Recording::default();
    let standard_input = [PathBuf::from("-")];
    let logs = if command.cases.is_empty() { &standard_input[..] } else { &command.cases };
    for path in logs {
        let read = if is_standard_input(path) {
            recording.read(io::stdin().lock(), loaded)
        } else {
            std::fs::File::open(path).and_then(|file| recording.read(BufReader::new(file), loaded))
        };
        if let Err(error) = read {
            return complain(&format!("{}: {error}", name(path)), 1);
        }
    }
    match recording.finish(loaded, explainer, Timestamp::now()).await {
        Ok(recorded) => print(&recorded.yaml).max(complain(&recorded.summary, 0)),
        Err(faults) => complain(&faults, 1),
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn text(path: &Path) -> Result<String, String> {
    let limit = u64::try_from(LONGEST_CASES).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    let read = if is_standard_input(path) {
        io::stdin().lock().take(limit).read_to_end(&mut content)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content))
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() > LONGEST_CASES {
        return Err("is longer than 16 MiB; split it".to_owned());
    }
    String::from_utf8(content).map_err(|_| "is not UTF-8 text".to_owned())
}
