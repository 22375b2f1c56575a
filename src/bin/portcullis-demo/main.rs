//! `portcullis-demo`: the gateway on one machine with stand-ins for all that surrounds it.
//!
//! It is a second binary and no part of the gateway, which it starts as a child process, as an
//! operator would.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{
    site::{Neighbours, Part, one_core_mode},
    stand_in::core::Mode,
};

mod ask;
mod child;
mod run;
mod secrets;
mod site;
mod stand_in;

/// Runs Portcullis in front of stand-ins for an IAM provider, Procivis One Core and BFF.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(clap::Args, Clone)]
struct RunArguments {
    /// The gateway's configuration [default: conf/demo.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The gateway's binary [default: portcullis beside this one]
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Show what the gateway logs
    #[arg(long)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything and keep it running (the default)
    Run(RunArguments),
    /// Print an IAM token for a user of the running demo
    Token {
        /// alice or bob
        user: String,
        /// The user's password [default: the name]
        #[arg(long)]
        password: Option<String>,
    },
    /// Run the IAM provider alone
    Iam(Port),
    /// Run Core alone; its control port is the next one
    Core(CoreArguments),
    /// Run BFF alone
    Bff(Port),
    /// Run an outside token service alone; its control port is the next one
    Sts(Port),
}

#[derive(clap::Args)]
struct Port {
    /// Loopback port; 0 takes a free one
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    neighbours: Neighbours,
}

#[derive(clap::Args)]
struct CoreArguments {
    #[command(flatten)]
    port: Port,
    /// Let everybody in, as Core does in UNSAFE_NONE
    #[arg(long)]
    unsafe_none: bool,
    /// Let in who sends this token, as Core does in UNSAFE_STATIC
    #[arg(long, value_name = "TOKEN", conflicts_with = "unsafe_none")]
    unsafe_static: Option<String>,
}

impl CoreArguments {
    fn mode(&self) -> Mode {
        match &self.unsafe_static {
            Some(token) => Mode::UnsafeStatic(token.clone()),
            None if self.unsafe_none => Mode::UnsafeNone,
            None => one_core_mode(&self.port.neighbours),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run_arguments = arguments.run;
    let command = arguments.command.unwrap_or(Command::Run(run_arguments));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(fault) => return failed(&fault.to_string()),
    };
    let ended = runtime.block_on(async {
        match command {
            Command::Run(arguments) => run::run(arguments).await,
            Command::Token { user, password } => ask::token(&user, password.as_deref()).await,
            Command::Iam(port) => alone(Part::Iam, port).await,
            Command::Core(core) => {
                let mode = core.mode();
                run::alone(Part::Core, core.port.port, &core.port.neighbours, mode).await
            }
            Command::Bff(port) => alone(Part::Bff, port).await,
            Command::Sts(port) => alone(Part::Sts, port).await,
        }
    });
    // Stand-ins have no work to finish.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => failed(&fault),
    }
}

async fn alone(part: Part, Port { port, neighbours }: Port) -> Result<(), String> {
    run::alone(part, port, &neighbours, one_core_mode(&neighbours)).await
}

fn failed(fault: &str) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "portcullis-demo: {fault}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let run = Arguments::parse_from(["portcullis-demo", "--config", "x.yaml"]);
        assert!(run.command.is_none());
        assert_eq!(run.run.config, Some("x.yaml".into()));
    }
}
