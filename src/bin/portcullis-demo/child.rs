//! The gateway as a child process: started, listened to, and ended within a bound.

use std::{
    collections::VecDeque,
    io::Write,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

/// How long the gateway may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of its output that are kept.
const LINES: usize = 12;

/// A running gateway. Dropped, it is killed.
pub(crate) struct Gateway {
    child: Child,
    output: Output,
    readers: JoinSet<()>,
}

impl Gateway {
    /// Starts `binary run --config config`, with `environment` on top of ours.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(
        binary: &Path,
        config: &Path,
        environment: &[(&str, &str)],
        verbose: bool,
    ) -> Result<Self, String> {
        let mut child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(config)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal reaches us alone; we end it ourselves, in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| format!("{} cannot be started: {fault}", binary.display()))?;
        let output = Output { lines: Arc::default(), verbose };
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(output.clone().read(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(output.clone().read(stderr));
        }
        Ok(Self { child, output, readers })
    }

    /// Waits for its end, which is not expected, and says how it came.
    pub(crate) async fn died(&mut self) -> String {
        let status = self.child.wait().await;
        // A grandchild may hold the pipes open; the last lines are not worth more than this.
        let _ = timeout(Duration::from_secs(1), async {
            while self.readers.join_next().await.is_some() {}
        })
        .await;
        let mut text = match status.map(describe) {
            Ok(how) => format!("the gateway ended by itself ({how}). It said last:"),
            Err(fault) => format!("the gateway cannot be watched: {fault}"),
        };
        for line in self.output.lines().iter() {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text
    }

    /// Asks it to end and waits, for a while; then kills it.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        if let Some(id) = self.child.id() {
            // Without `unsafe` there is no kill(2); the shell's built-in is on every system.
            let asked = Command::new("sh")
                .args(["-c", "kill -INT \"$1\"", "sh", &id.to_string()])
                .stderr(Stdio::null())
                .status()
                .await;
            let asked = asked.is_ok_and(|status| status.success());
            if asked && timeout(PATIENCE, self.child.wait()).await.is_ok() {
                return Ok(());
            }
        }
        self.child.kill().await.map_err(|fault| format!("the gateway does not end: {fault}"))
    }
}

/// What it wrote last, for the case that it dies.
#[derive(Clone)]
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    verbose: bool,
}

impl Output {
    async fn read(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            if self.verbose {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            let mut kept = self.lines();
            if kept.len() == LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for the gateway's binary: a shell that runs the "configuration".
    fn start(script: &str) -> Gateway {
        let shell = std::env::temp_dir().join(format!("gateway-{}", uuid::Uuid::new_v4()));
        // Called as `sh run --config SCRIPT` it would look for a file `run`; so a script it is.
        std::fs::write(&shell, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mut mode = std::fs::metadata(&shell).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o700);
        std::fs::set_permissions(&shell, mode).unwrap();
        let environment = [("DEMO_WORD", "from-the-environment")];
        // Another test's fork may still hold the file open for writing (ETXTBSY).
        let started = (0..50).find_map(|_| {
            let started = Gateway::start(&shell, Path::new("x.yaml"), &environment, false).ok();
            if started.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            started
        });
        started.unwrap()
    }

    #[tokio::test]
    async fn a_gateway_that_dies_is_quoted() {
        let mut gateway = start("echo \"$@ $DEMO_WORD\"; echo fault >&2; exit 78");
        let said = gateway.died().await;
        assert!(said.contains("exit code 78"), "{said}");
        assert!(said.contains("run --config x.yaml from-the-environment"), "{said}");
        assert!(said.contains("  fault"), "{said}");
    }

    #[tokio::test]
    async fn a_gateway_is_asked_to_end_first() {
        let gateway = start("trap 'echo bye; exit 0' INT; echo up; while :; do sleep 0.05; done");
        while gateway.output.lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let output = gateway.output.clone();
        gateway.stop().await.unwrap();
        while output.lines().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*output.lines(), ["up", "bye"]);
    }
}
