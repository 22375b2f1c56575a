//! A `redis-server` of the test's own: nothing on disk, a free port of loopback.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The server; it ends with the test.
pub(crate) struct Redis {
    pub(crate) port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts one with these arguments after the usual ones.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let child = spawn(port, &arguments);
        Self { port, arguments, child }
    }

    /// Starts a Sentinel with this configuration.
    pub(crate) fn sentinel(file: &std::path::Path) -> Self {
        Self::start(&[file.to_str().unwrap(), "--sentinel"])
    }

    /// Its URL, with what stands before the host.
    pub(crate) fn url(&self, login: &str) -> String {
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// Ends it, and all that it holds.
    pub(crate) fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, empty.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.arguments);
    }

    /// Keeps it from answering, with all that it holds.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it answer again.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(port: u16, arguments: &[String]) -> Child {
    let directory = std::env::temp_dir();
    let mut command = Command::new("redis-server");
    // A file of settings has to come first, and a Sentinel takes few others.
    let sentinel = arguments.iter().any(|word| word == "--sentinel");
    if sentinel {
        command.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    } else {
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory)
            .args(arguments);
    }
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "redis-server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
