//! `portcullis run`: from a file to a serving process.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::Arc,
};

use log::LevelFilter;
use secrecy::SecretString;

use super::{EX_CONFIG, complain};
use crate::{
    admission::State,
    assembly::{self, Assembly, Defect},
    config::{self, Config, Fault, Faults, Level, Loaded, LogFormat, LogTarget},
    extension::{Extensions, Sinks, Tee},
    listener,
    live::reload::{Again, Reading},
    perimeter,
    telemetry::{
        self, Format,
        metrics::Metrics,
        recent::Recent,
        record::Records,
        sink::{
            Sink,
            chain::{Chain, Link},
            target::{self, Appended, Stream, Syslog, Target},
        },
    },
};

/// Serves; the exit code says how it ended.
pub(super) fn run(path: &Path, extensions: &Arc<Extensions>, sinks: Sinks, upgrade: bool) -> u8 {
    let (loaded, mut files) = config::load_noting_files(path);
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => return complain(&faults, EX_CONFIG),
    };
    files.extend(assembly::files(&loaded.config));
    let config = &loaded.config;
    let format = format(config, &io::stderr(), variable);
    telemetry::start_diagnostics(level(config.logs.level), format);
    install_crypto();
    let assembly = match assemble(&loaded, extensions) {
        Ok(assembly) => assembly,
        Err(faults) => return complain(&faults, EX_CONFIG),
    };
    log::info!(
        "portcullis {} with {} routes to {} upstreams",
        env!("CARGO_PKG_VERSION"),
        config.routes.len(),
        config.upstreams.len(),
    );
    for warning in loaded.warnings() {
        log::warn!("{warning}");
    }
    if let Some(responsibility) = perimeter::responsibility(config) {
        log::warn!("{responsibility}");
    }
    let records = match records(config, sinks) {
        Ok(records) => Arc::new(records),
        Err(error) => return complain(&error, 1),
    };
    let (path, extensions) = (path.to_owned(), Arc::clone(extensions));
    let again = Again::new(Arc::new(move |before| read_again(&path, before, &extensions)), files);
    match listener::serve(&Arc::new(loaded), assembly, again, &records, upgrade) {
        Ok(()) => 0,
        Err(error) => complain(&error, 1),
    }
}

/// Loads a configuration and tries to make its parts, so that every fault shows.
///
/// # Errors
/// All of them.
pub(super) fn load(
    path: &Path,
    extensions: &Arc<Extensions>,
) -> Result<(Loaded, Assembly), Faults> {
    let loaded = config::load(path)?;
    install_crypto();
    let assembly = assemble(&loaded, extensions)?;
    Ok((loaded, assembly))
}

/// Reads a configuration that is to take the place of another.
fn read_again(path: &Path, before: Option<&State>, extensions: &Arc<Extensions>) -> Reading {
    let (loaded, mut files) = config::load_noting_files(path);
    let made = loaded.and_then(|loaded| {
        files.extend(assembly::files(&loaded.config));
        let assembly = assembly::assemble_after(&loaded, before, extensions);
        let assembly = assembly.map_err(|defects| faults(&loaded, defects))?;
        Ok((loaded, assembly))
    });
    let lines = |faults: Faults| faults.iter().map(ToString::to_string).collect();
    Reading { files, made: made.map_err(lines) }
}

fn assemble(loaded: &Loaded, extensions: &Arc<Extensions>) -> Result<Assembly, Faults> {
    assembly::assemble_with(loaded, extensions).map_err(|defects| faults(loaded, defects))
}

/// Defects of the parts, as faults of the files.
pub(super) fn faults(loaded: &Loaded, defects: Vec<Defect>) -> Faults {
    let mut faults = Faults::default();
    for defect in defects {
        if let Some(position) = loaded.position(&defect.key_path) {
            faults.add(Fault {
                position: position.clone(),
                key_path: defect.key_path,
                message: defect.message,
            });
        }
    }
    faults
}

/// One crypto provider for the process: Pingora would install another when it finds none.
pub(super) fn install_crypto() {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        log::debug!("a crypto provider was installed before");
    }
}

fn records(config: &Config, sinks: Sinks) -> io::Result<Records> {
    let chain = config.logs.audit_chain.as_ref().map(|chain| {
        Chain::new(
            chain.key.as_ref().map(|key| SecretString::from(key.expose())).as_ref(),
            Link::START,
        )
    });
    let logs = &config.logs;
    let access = target("access", &logs.access, target::ACCESS, None)?;
    let audit = target("audit", &logs.audit, target::AUDIT, chain)?;
    let (audit, audit_format) = if sinks.is_empty() {
        (audit, format_for(&logs.audit, config))
    } else {
        let all: Box<dyn Target> = Box::new(Tee::new(audit, sinks));
        // Programs read them.
        (Some(all), Format::Json)
    };
    let sink = |name, format, target| match target {
        Some(target) => Sink::to(name, format, target),
        None => Ok(Sink::off()),
    };
    Ok(Records {
        access: sink("access", format_for(&logs.access, config), access)?,
        audit: sink("audit", audit_format, audit)?,
        metrics: Metrics::new(config.metrics.per_route).map_err(io::Error::other)?,
        recent: Recent::default(),
    })
}

/// Where records go; `priority` is the syslog's.
fn target(
    name: &'static str,
    to: &LogTarget,
    priority: u8,
    chain: Option<Chain>,
) -> io::Result<Option<Box<dyn Target>>> {
    let failed = |path: &Path, error: &io::Error| {
        io::Error::new(error.kind(), format!("{name} records: {}: {error}", path.display()))
    };
    Ok(match to {
        LogTarget::Stdout => Some(Box::new(Stream(io::stdout()))),
        LogTarget::Stderr => Some(Box::new(Stream(io::stderr()))),
        LogTarget::Off => None,
        LogTarget::File(path) => {
            let file = Appended::open(path, chain).map_err(|error| failed(path, &error))?;
            Some(Box::new(file))
        }
        LogTarget::Syslog(path) => {
            let syslog = Syslog::open(path, priority).map_err(|error| failed(path, &error))?;
            Some(Box::new(syslog))
        }
    })
}

/// Files and the syslog are read by programs, so only a terminal gets text unasked.
fn format_for(to: &LogTarget, config: &Config) -> Format {
    match to {
        LogTarget::Stdout => format(config, &io::stdout(), variable),
        LogTarget::Stderr => format(config, &io::stderr(), variable),
        LogTarget::Off | LogTarget::File(_) | LogTarget::Syslog(_) => match config.logs.format {
            Some(LogFormat::Text) => Format::Text { coloured: false },
            Some(LogFormat::Json) | None => Format::Json,
        },
    }
}

/// Text unasked on a terminal alone, and colours only there (<https://no-color.org>).
fn format(
    config: &Config,
    to: &impl IsTerminal,
    variable: impl Fn(&str) -> Option<String>,
) -> Format {
    let terminal = to.is_terminal();
    match config.logs.format {
        Some(LogFormat::Json) => Format::Json,
        None if !terminal => Format::Json,
        Some(LogFormat::Text) | None => {
            let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty())
                || variable("TERM").is_some_and(|kind| kind == "dumb");
            Format::Text { coloured: terminal && !unwanted }
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

const fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::Error,
        Level::Warn => LevelFilter::Warn,
        Level::Info => LevelFilter::Info,
        Level::Debug => LevelFilter::Debug,
        Level::Trace => LevelFilter::Trace,
    }
}
