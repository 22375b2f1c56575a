//! The command line. What a command prints goes to standard output, what went wrong to standard
//! error; the exit codes are those of `sysexits.h` where it has one.

mod audit;
mod connect;
mod explain;
mod policy;
mod run;
mod token;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    assembly::Assembly,
    config::{self, Config, SessionStore},
    extension::{Extensions, Sinks},
    perimeter,
    sts::issuer,
};

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
    run: Run,
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

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Take the listeners over from the process that serves with the same server.upgrade_socket.
    ///
    /// It goes on serving until this one does, and then drains.
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Also ask whether everybody answers whom the gateway depends on.
    #[arg(long)]
    connect: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    ///
    /// Loads the configuration, reads the issuers' keys, then listens. SIGTERM drains and stops,
    /// Ctrl-C stops at once. With --upgrade it takes over from the process that serves, and no
    /// connection is lost.
    Run(Run),
    /// Load the configuration and report every fault in it.
    ///
    /// Each fault is a line `file:line:column: key.path: what is wrong and what to write`. Exits
    /// with 0 when there is none and with 78 otherwise. Opens no port and talks to nobody.
    ///
    /// A permission that a route demands and no system role grants, or one that is granted and
    /// demanded nowhere, is a warning on standard error and changes nothing else.
    ///
    /// With --connect everybody is asked whom the gateway depends on: the issuer, its keys, the
    /// token service, the store of sessions, every server of every upstream. Each is a line that
    /// begins with `ok` or `FAIL`; any that fails makes the exit code 69. No token is asked for.
    #[command(after_help = CHECK_CODES)]
    Check(Check),
    /// Say why a request is forwarded or refused.
    ///
    /// Prints every step of the request's way with its verdict, and the decision, made by the code
    /// that serves. Nothing is sent: no upstream and no token service is asked; with a token, the
    /// issuer's keys are read.
    Explain(Box<explain::Explain>),
    /// Make routes from an OpenAPI document, or compare them with one.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Check audit records.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Make a key and print it, ready for a key file.
    #[command(subcommand)]
    Keys(Keys),
    /// Look at tokens.
    #[command(subcommand)]
    Token(token::Token),
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

/// The program itself is wrong (`EX_SOFTWARE`).
const EX_SOFTWARE: u8 = 70;

/// The configuration has faults (`EX_CONFIG`).
const EX_CONFIG: u8 = 78;

/// Somebody whose answer is needed is away (`EX_UNAVAILABLE`).
const EX_UNAVAILABLE: u8 = 69;
const CHECK_CODES: &str = "Exit codes: 0 well; 2 wrong usage; 69 somebody does not answer; 78 the \
                           configuration has faults.";

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    extended(&Arc::default(), Vec::new())
}

/// The same for a program with extensions.
pub(crate) fn extended(extensions: &Arc<Extensions>, sinks: Sinks) -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(Run { file, upgrade }) => run::run(&file.config, extensions, sinks, upgrade),
        Command::Check(file) => check(&file, extensions),
        Command::Explain(command) => explain::explain(&command, extensions),
        Command::Policy(command) => policy::policy(&command, extensions),
        Command::Audit(audit::Audit::Verify(files)) => audit::verify(&files),
        Command::Keys(Keys::Generate { kind }) => generate(kind),
        Command::Token(token::Token::Inspect(command)) => token::inspect(&command, extensions),
        Command::Schema => print(&format!("{:#}\n", config::schema())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    ExitCode::from(code)
}

/// Serves, without a command line.
pub(crate) fn serve(path: &Path, extensions: &Arc<Extensions>, sinks: Sinks) -> ExitCode {
    ExitCode::from(run::run(path, extensions, sinks, false))
}

/// Says why a program does not start.
pub(crate) fn fail(why: &str) -> ExitCode {
    ExitCode::from(complain(why, EX_SOFTWARE))
}

fn check(Check { file, connect }: &Check, extensions: &Arc<Extensions>) -> u8 {
    match run::load(&file.config, extensions) {
        Ok((loaded, assembly)) => {
            let routes = loaded.config.routes.len();
            for warning in loaded.warnings() {
                let config::Fault { position, key_path, message } = warning;
                complain(&format!("{position}: warning: {key_path}: {message}"), 0);
            }
            let found = format!("{}: no faults, {routes} routes\n", file.config.display());
            let perimeter = perimeter::responsibility(&loaded.config);
            let perimeter = perimeter.map_or_else(String::new, |said| said + "\n");
            let printed = print(&(found + &perimeter + of_one_process(&loaded.config)));
            if *connect && printed == 0 {
                return ask_everybody(&loaded.config, &assembly);
            }
            printed
        }
        Err(faults) => complain(&faults, EX_CONFIG),
    }
}

fn ask_everybody(config: &Config, assembly: &Assembly) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = match runtime {
        Ok(runtime) => runtime.block_on(connect::everybody(config, assembly)),
        Err(error) => return complain(&error, 1),
    };
    let lines: Vec<String> = asked.iter().map(ToString::to_string).collect();
    match print(&(lines.join("\n") + "\n")) {
        0 if asked.iter().any(|asked| !asked.answered()) => EX_UNAVAILABLE,
        code => code,
    }
}

/// What the configuration asks for and gets in part: no fault, where one gateway is all there is.
fn of_one_process(config: &Config) -> &'static str {
    let session = config.session.as_ref();
    let cookie = session.is_some_and(|session| matches!(session.store, SessionStore::Cookie));
    let client = config.iam.as_ref().and_then(|iam| iam.client.as_ref());
    let refreshes =
        client.is_some_and(|client| client.scopes.iter().any(|scope| scope == "offline_access"));
    if cookie && refreshes {
        "note: session.store: cookie sees to one refresh at a time, and to logouts, within one \
         process; several gateways, or a restart without forgetting, take redis\n"
    } else {
        ""
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
