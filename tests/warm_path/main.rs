//! What a warm request allocates beyond Pingora's own, counted and not timed: it hardly depends on
//! what else a machine does (see `BY_THE_CLOCK`).
//!
//! This program is the test, and, started by itself with other arguments, the servers whose
//! allocations it counts: the gateway by its own command line, and bare Pingora. One client asks
//! over one kept connection.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "it is the test's own output, and the servers' answer")]

mod client;
mod counted;
mod site;

#[path = "../../load-tests/bare-pingora/proxy.rs"]
mod bare;

use std::{alloc::System, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::{client::Client, counted::Counted, site::Site};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations that a request may add to Pingora's own. Whoever makes one dearer raises this and
/// says why; whoever makes one cheaper lowers it.
const ADDED: [(Way, usize); 3] = [(Way::Bearer, 47), (Way::Session, 49), (Way::Public, 42)];

/// What is allocated by the clock and not by a request: records that are gathered for some
/// milliseconds before they are written, timers. The slower a machine answers the more of it falls
/// upon each request; three busy programs on two cores beside this one add 2.
const BY_THE_CLOCK: f64 = 4.0;

/// Ways through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A token that was verified before, permission, organisation, an app token from the cache.
    Bearer,
    /// The same with the session's cookie.
    Session,
    /// A public route.
    Public,
}

/// Requests that are counted; enough that what happens now and then hardly shows.
const REQUESTS: usize = 1_000;
/// Requests before that: caches fill, connections open, buffers find their size.
const WARM_UP: usize = 300;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("run") => {
            counted::answer_on_stdin();
            return portcullis::cli::main();
        }
        Some("bare") => {
            counted::answer_on_stdin();
            counted::bare(&arguments);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // As the tests of other programs: a word selects tests by their names.
    let names = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let names: Vec<String> = names.map(|name| name.to_lowercase()).collect();
    let wanted = |(way, _): &(Way, usize)| {
        let name = format!("warm_path::{way:?}").to_lowercase();
        names.is_empty() || names.iter().any(|part| name.contains(part))
    };
    let wanted: Vec<_> = ADDED.into_iter().filter(wanted).collect();
    if wanted.is_empty() || allocations(&wanted) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what each way allocates; whether all are within their bounds.
fn allocations(ways: &[(Way, usize)]) -> bool {
    let site = Site::new();
    let mut bare = Counted::bare(&site);
    let mut client = Client::new(bare.address, site.request(None));
    let own = per_request(&mut bare, &mut client);
    println!("allocations a request: {own:.2} of Pingora's own");
    let mut gateway = Counted::gateway(&site);
    let session = site.log_in(gateway.address);
    let mut good = true;
    for &(way, most) in ways {
        let request = site.request(Some((way, &session)));
        let mut client = Client::new(gateway.address, request);
        let total = per_request(&mut gateway, &mut client);
        let added = total - own;
        println!("  {way:?}: {total:.2}, which is {added:.2} more; at most {most}");
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let within = added <= most as f64 + BY_THE_CLOCK;
        good &= within;
    }
    if !good {
        println!("a warm request allocates more than is recorded in tests/warm_path/main.rs");
    }
    good
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_request(server: &mut Counted, client: &mut Client) -> f64 {
    client.ask(WARM_UP);
    let before = server.allocations();
    client.ask(REQUESTS);
    (server.allocations() - before) as f64 / REQUESTS as f64
}
