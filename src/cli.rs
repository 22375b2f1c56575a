//! The command line. What a command prints goes to standard output, what went wrong to standard
//! error; the exit codes are those of `sysexits.h` where it has one.

mod audit;
mod policy;
mod run;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{config, sts::issuer};

/// Identity-aware edge proxy for Procivis One Core.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 well; 1 failed; 2 wrong usage; 78 the configuration has faults."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: ConfigFile,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "gateway.yaml",
        env = "PORTCULLIS_CONFIG"
    )]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    ///
    /// Loads the configuration, reads the issuers' keys, then listens. SIGTERM drains and stops,
    /// Ctrl-C stops at once.
    Run(ConfigFile),
    /// Load the configuration and report every fault in it.
    ///
    /// Each fault is a line `file:line:column: key.path: what is wrong and what to write`. Exits
    /// with 0 when there is none and with 78 otherwise. Opens no port and talks to nobody.
    Check(ConfigFile),
    /// Make routes from an OpenAPI document, or compare them with one.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Check audit records.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Make a key and print it, ready for a key file.
    #[command(subcommand)]
    Keys(Keys),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print shell completions.
    ///
    /// For example: portcullis completions bash > /etc/bash_completion.d/portcullis
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key.
    Generate {
        /// What it is for: `session` seals cookies, `issuer` signs app tokens.
        kind: KeyKind,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KeyKind {
    /// 32 random bytes in base64, for `session.keys`.
    Session,
    /// An Ed25519 private key (PKCS#8, PEM), for `sts.issuer.keys`.
    Issuer,
}

/// The configuration has faults (`EX_CONFIG`).
const EX_CONFIG: u8 = 78;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(file) => run::run(&file.config),
        Command::Check(file) => check(&file),
        Command::Policy(command) => policy::policy(&command),
        Command::Audit(audit::Audit::Verify(files)) => audit::verify(&files),
        Command::Keys(Keys::Generate { kind }) => generate(kind),
        Command::Schema => print(&format!("{:#}\n", config::schema())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    ExitCode::from(code)
}

fn check(file: &ConfigFile) -> u8 {
    match run::load(&file.config) {
        Ok(loaded) => {
            let routes = loaded.config.routes.len();
            print(&format!("{}: no faults, {routes} routes\n", file.config.display()))
        }
        Err(faults) => complain(&faults, EX_CONFIG),
    }
}

fn generate(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Session => {
            let mut key = [0; 32];
            match aws_lc_rs::rand::fill(&mut key) {
                Ok(()) => print(&(STANDARD.encode(key) + "\n")),
                Err(_) => complain("no random bytes are available", 1),
            }
        }
        KeyKind::Issuer => match issuer::generate() {
            Ok(pem) => print(secrecy::ExposeSecret::expose_secret(&pem)),
            Err(error) => complain(&error, 1),
        },
    }
}

/// Prints to standard output; a reader that left early (`| head`) is no failure.
fn print(text: &str) -> u8 {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&error, 1),
        _ => 0,
    }
}

fn complain(what: &(impl std::fmt::Display + ?Sized), code: u8) -> u8 {
    // With standard error gone, the exit code has to do.
    let _ = writeln!(io::stderr().lock(), "{what}");
    code
}
