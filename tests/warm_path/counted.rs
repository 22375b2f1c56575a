//! Servers that tell how much they have allocated: a line on their standard input is answered with
//! the number so far.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{ALLOCATOR, bare, site::Site};

/// In the server: answers from a thread of its own.
pub(crate) fn answer_on_stdin() {
    std::thread::spawn(|| {
        let mut lines = std::io::stdin().lines();
        while let Some(Ok(_)) = lines.next() {
            let stats = ALLOCATOR.stats();
            println!("{}", stats.allocations + stats.reallocations);
        }
        // Whoever started it has left.
        std::process::exit(0);
    });
}

/// In the server: `bare LISTEN UPSTREAM`.
pub(crate) fn bare(arguments: &[String]) {
    let addresses: Vec<SocketAddr> =
        arguments.iter().skip(1).map(|address| address.parse().unwrap()).collect();
    let [listen, upstream] = addresses.try_into().unwrap();
    bare::serve(listen, upstream, 1);
}

/// In the test: a running server. It ends with this.
pub(crate) struct Counted {
    pub(crate) address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Counted {
    pub(crate) fn gateway(site: &Site) -> Self {
        let (address, config) = site.gateway_config();
        Self::start(address, &["run", "--config", &config])
    }

    pub(crate) fn bare(site: &Site) -> Self {
        let address = free_address();
        Self::start(address, &["bare", &address.to_string(), &site.address.to_string()])
    }

    fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap().display().to_string();
        // `WARM_PATH_UNDER='valgrind --tool=dhat'` shows where what is counted comes from.
        let under = std::env::var("WARM_PATH_UNDER").unwrap_or_default();
        let mut words =
            under.split_whitespace().chain([&*program]).chain(arguments.iter().copied());
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let counted = Self { address, child, stdin, stdout };
        await_listener(address, Duration::from_mins(2));
        counted
    }

    /// Blocks asked for since the server's start, and blocks that were made larger.
    pub(crate) fn allocations(&mut self) -> usize {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // It ends by itself once nobody can ask it any more.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn await_listener(address: SocketAddr, at_most: Duration) {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < at_most, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
