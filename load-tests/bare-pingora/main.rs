//! `bare-pingora LISTEN UPSTREAM [THREADS]`, both addresses with ports; one thread when none is
//! given. It stops at once on SIGINT.

mod proxy;

use std::{net::SocketAddr, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut address = || arguments.next()?.parse::<SocketAddr>().ok();
    let (Some(listen), Some(upstream)) = (address(), address()) else {
        return ExitCode::from(2);
    };
    let threads = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    proxy::serve(listen, upstream, threads);
    ExitCode::SUCCESS
}
