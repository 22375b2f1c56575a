//! `portcullis-demo run`: everything started in order, and ended in order.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    RunArguments,
    child::Gateway,
    secrets::Secrets,
    site::{Choices, GATEWAY_PORTS, Neighbours, PUBLIC_URL, Part, READY_URL, one_core_mode},
    stand_in::{self, core},
};

/// Core's control port: beside the gateway's own, and no upstream's.
const CORE_CONTROL_PORT: u16 = 9092;
/// How long the gateway may take to become ready.
const START: Duration = Duration::from_secs(30);

type Tasks = JoinSet<io::Result<()>>;

/// Runs the demo until it is told to end.
///
/// # Errors
/// When a port is taken, the gateway does not start, or anything ends by itself.
pub(crate) async fn run(arguments: RunArguments) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    let binary = arguments.gateway.map_or_else(beside_us, Ok)?;
    let config = arguments.config.map_or_else(shipped_config, Ok)?;
    let secrets = Secrets::generate()?;
    for port in GATEWAY_PORTS {
        bind(port, "the gateway").await?;
    }
    refuse_another_localhost(GATEWAY_PORTS[0]).await?;
    let neighbours = Neighbours::default();
    let mut tasks = Tasks::new();
    for part in [Part::Iam, Part::Core, Part::Bff] {
        let listener = bind(part.port(), part.name()).await?;
        let control = if part.has_control() {
            Some(bind(CORE_CONTROL_PORT, "Core's control port").await?)
        } else {
            None
        };
        let choices = Choices {
            client_secret: secrets.iam_client(),
            neighbours: &neighbours,
            core_mode: one_core_mode(&neighbours),
        };
        part.spawn(&mut tasks, listener, control, choices).map_err(text)?;
    }
    let mut gateway = Gateway::start(&binary, &config, &secrets.environment(), arguments.verbose)?;
    let ended = tokio::select! {
        ended = serve(&mut gateway) => ended,
        fault = ended(&mut tasks) => Err(fault),
        () = signals.next() => Ok(()),
    };
    let stopped = gateway.stop().await;
    ended.and(stopped)
}

/// Runs one stand-in until it is told to end. One with a control port has it on the next port.
///
/// # Errors
/// When a port is taken or the stand-in ends by itself.
pub(crate) async fn alone(
    part: Part,
    number: u16,
    neighbours: &Neighbours,
    core_mode: core::Mode,
) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    let listener = bind(number, part.name()).await?;
    let address = listener.local_addr().map_err(text)?;
    let control = if part.has_control() {
        let next = if number == 0 { 0 } else { number.saturating_add(1) };
        Some(bind(next, "the control port").await?)
    } else {
        None
    };
    say(&format!("{}: http://{address}", part.name()))?;
    if let Some(control) = &control {
        say(&format!("its control port: http://{}", control.local_addr().map_err(text)?))?;
    }
    let mut tasks = Tasks::new();
    let choices = Choices { client_secret: "desk", neighbours, core_mode };
    part.spawn(&mut tasks, listener, control, choices).map_err(text)?;
    tokio::select! {
        fault = ended(&mut tasks) => Err(fault),
        () = signals.next() => Ok(()),
    }
}

/// Waits until the gateway answers, says what to try, and then waits for its end.
async fn serve(gateway: &mut Gateway) -> Result<(), String> {
    tokio::select! {
        ready = ready() => ready?,
        fault = gateway.died() => return Err(fault),
    }
    let styled = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(&invitation(&our_name(), styled))?;
    Err(gateway.died().await)
}

async fn ready() -> Result<(), String> {
    let client = stand_in::client(Duration::from_secs(1)).map_err(text)?;
    let started = Instant::now();
    let answers = async |url: &str, ready: fn(u16) -> bool| {
        let answer = client.get(url).send().await;
        answer.is_ok_and(|answer| ready(answer.status().as_u16()))
    };
    while !answers(READY_URL, |status| status == 200).await
        || !answers(PUBLIC_URL, |status| status < 500).await
    {
        if started.elapsed() > START {
            return Err(format!(
                "the gateway was not ready within {} seconds; see more with --verbose",
                START.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn ended(tasks: &mut Tasks) -> String {
    match tasks.join_next().await {
        Some(Ok(Err(fault))) => format!("a stand-in ended: {fault}"),
        Some(Err(fault)) => format!("a stand-in failed: {fault}"),
        Some(Ok(Ok(()))) | None => "a stand-in ended by itself".to_owned(),
    }
}

async fn bind(port: u16, whose: &str) -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|fault| match fault.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} on 127.0.0.1, for {whose}, is taken by another program")
        }
        _ => format!("port {port} on 127.0.0.1, for {whose}, cannot be opened: {fault}"),
    })
}

/// A browser may ask `::1` first; what listens there would answer in the gateway's place.
async fn refuse_another_localhost(port: u16) -> Result<(), String> {
    match TcpListener::bind(("::1", port)).await {
        Err(fault) if fault.kind() == io::ErrorKind::AddrInUse => {
            Err(format!("port {port} on ::1 is taken by another program, which is localhost too"))
        }
        // No IPv6 here, or free: either is fine.
        _ => Ok(()),
    }
}

fn beside_us() -> Result<PathBuf, String> {
    let ours = std::env::current_exe().map_err(text)?;
    let path = ours.with_file_name("portcullis");
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is not there; build it first, or name it with --gateway", path.display()))
}

fn shipped_config() -> Result<PathBuf, String> {
    let here = Path::new("conf/demo.yaml");
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/demo.yaml"));
    let found = [here, source].into_iter().find(|path| path.is_file());
    found.map(Path::to_path_buf).ok_or_else(|| {
        "conf/demo.yaml is not here; start in the project, or name it with --config".to_owned()
    })
}

/// As the user has to call us, below the working directory if we are.
fn our_name() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "portcullis-demo".to_owned());
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| {
        Path::new(&called).strip_prefix(here).ok().map(|path| format!("./{}", path.display()))
    });
    below.unwrap_or(called)
}

/// The ready line, and five things to try.
fn invitation(us: &str, styled: bool) -> String {
    let bold = |text: &str| if styled { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let with_token = |user: &str, request: &str| {
        format!("curl -i {request} \\\n     -H \"Authorization: Bearer $({us} token {user})\"")
    };
    let tries = [
        (
            "Without a credential: 401, reason credential_missing",
            format!("curl -i {PUBLIC_URL}/api/config/v1"),
        ),
        (
            "A browser that navigates: 302 to the IAM provider",
            format!("curl -i -H \"Sec-Fetch-Mode: navigate\" {PUBLIC_URL}/"),
        ),
        (
            "Log in as alice, password alice (or bob, bob): the Desk page",
            format!("open {PUBLIC_URL} in a browser"),
        ),
        (
            "A program with an IAM token: 200, Core's configuration",
            with_token("alice", &format!("{PUBLIC_URL}/api/config/v1")),
        ),
        (
            "bob may read but not issue: 403, reason permission_missing",
            with_token("bob", &format!("-X POST {PUBLIC_URL}/api/credential/v1")),
        ),
    ];
    let tries = tries.iter().enumerate().map(|(at, (expected, command))| {
        format!("{}. {expected}\n   {}\n\n", at + 1, bold(command))
    });
    let ready = bold(&format!("Portcullis is ready: {PUBLIC_URL}"));
    format!("{ready}\n\n{}Ctrl-C ends everything.", tries.collect::<String>())
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|fault| fault.to_string())
}

fn text(fault: impl std::fmt::Display) -> String {
    fault.to_string()
}

/// SIGINT and SIGTERM, heard from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(text);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invitation_fits_a_terminal() {
        let text = invitation("target/debug/portcullis-demo", false);
        assert_eq!(text.lines().next(), Some("Portcullis is ready: http://localhost:8080"));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(!text.contains('\x1b'));
        assert_eq!(text.matches("curl -i").count(), 4);
        assert!(invitation("x", true).contains("\x1b[1mPortcullis is ready"));
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = bind(0, "a test").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let fault = bind(port, "Core").await.unwrap_err();
        assert_eq!(
            fault,
            format!("port {port} on 127.0.0.1, for Core, is taken by another program")
        );
    }
}
