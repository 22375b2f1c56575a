//! What it costs to find a request's route among 10, 100, 1,000 and 10,000.
//!
//! `cargo bench --bench route`. Criterion shows each kind of request by itself; the table at the
//! end takes small and large tables in turns, so that a noisy machine is noisy to both, and its
//! last line is the ratio that design asks for: 10,000 routes against 10.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has failed, and prints what it found"
)]

use std::{hint::black_box, time::Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use http::Method;
use portcullis::route::{Methods, PathPattern, Pattern, RouteTable};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const HOST: &str = "desk.example.com";
const OTHER_HOST: &str = "files.example.com";
/// Requests of one kind go to so many services, spread over the table.
const SPREAD: usize = 16;

/// Ten routes of one service, as Core has them: lists, things, what one does with a thing, and
/// catch-alls, of which one is for a host of its own.
const SERVICE: [(&str, &str, &str); 10] = [
    ("", "GET", "/api/SERVICE/v1"),
    ("", "POST", "/api/SERVICE/v1"),
    ("", "POST", "/api/SERVICE/v1/import"),
    ("", "GET", "/api/SERVICE/v1/{id}"),
    ("", "PATCH", "/api/SERVICE/v1/{id}"),
    ("", "DELETE", "/api/SERVICE/v1/{id}"),
    ("", "POST", "/api/SERVICE/v1/{id}/share"),
    ("", "GET", "/api/SERVICE/v1/{id}/history/{entry}"),
    ("", "", "/ssi/SERVICE/{*rest}"),
    (OTHER_HOST, "GET", "/files/SERVICE/{*rest}"),
];

const ID: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

/// Kind, host, method, path.
const REQUESTS: [(&str, &str, &str, &str); 9] = [
    ("literal", HOST, "GET", "/api/SERVICE/v1"),
    ("second method", HOST, "POST", "/api/SERVICE/v1"),
    ("parameter", HOST, "DELETE", "/api/SERVICE/v1/ID"),
    ("two parameters", HOST, "GET", "/api/SERVICE/v1/ID/history/ID"),
    ("catch-all", HOST, "GET", "/ssi/SERVICE/openid4vci/final-1.0/ID"),
    ("host of its own", OTHER_HOST, "GET", "/files/SERVICE/a/b.pdf"),
    ("shared by hosts", OTHER_HOST, "GET", "/api/SERVICE/v1/ID"),
    ("no route", HOST, "GET", "/api/SERVICE/v2/ID"),
    ("no such method", HOST, "PUT", "/api/SERVICE/v1/ID"),
];

struct Asked {
    host: &'static str,
    method: Method,
    path: String,
}

/// Names of one length and different from their first letter on, as names of services are.
fn service(at: usize) -> String {
    let digit =
        |place: u32| char::from(b'a' + u8::try_from(at / 26_usize.pow(place) % 26).unwrap());
    format!("{}{}{}-service", digit(0), digit(1), digit(2))
}

fn table(size: usize) -> RouteTable<usize> {
    let routes =
        SERVICE.iter().cycle().take(size).enumerate().map(|(at, &(host, methods, path))| {
            let pattern = Pattern {
                path: PathPattern::parse(&path.replace("SERVICE", &service(at / SERVICE.len())))
                    .unwrap(),
                hosts: (!host.is_empty()).then(|| host.into()).into_iter().collect(),
                methods: Methods::new(methods.split(' ').filter(|method| !method.is_empty())),
            };
            (pattern, at)
        });
    RouteTable::new(routes.collect()).unwrap()
}

fn requests(size: usize, (_, host, method, path): (&str, &'static str, &str, &str)) -> Vec<Asked> {
    let services = size / SERVICE.len();
    let asked = (0..SPREAD).map(|at| Asked {
        host,
        method: method.parse().unwrap(),
        path: path.replace("SERVICE", &service(at * services / SPREAD)).replace("ID", ID),
    });
    asked.collect()
}

fn find(table: &RouteTable<usize>, asked: &[Asked]) -> usize {
    let found = asked.iter().filter_map(|Asked { host, method, path }| {
        table.find(black_box(host), method, path).ok().map(|found| found.index)
    });
    found.sum()
}

fn by_kind(criterion: &mut Criterion) {
    let tables = SIZES.map(|size| (size, table(size)));
    for kind in REQUESTS {
        let mut group = criterion.benchmark_group(kind.0);
        group.throughput(criterion::Throughput::Elements(SPREAD as u64));
        for (size, table) in &tables {
            let asked = requests(*size, kind);
            group.bench_with_input(BenchmarkId::from_parameter(size), &asked, |bencher, asked| {
                bencher.iter(|| find(black_box(table), asked));
            });
        }
        group.finish();
    }
}

/// Nanoseconds for one request at each size, the least of many short rounds taken in turns: what
/// interrupts a round can only make it longer.
fn in_turns(kind: (&str, &'static str, &str, &str)) -> [f64; SIZES.len()] {
    const ROUNDS: usize = 400;
    const REPEATS: usize = 50;
    let tables = SIZES.map(|size| (table(size), requests(size, kind)));
    let mut least = [f64::INFINITY; SIZES.len()];
    for _ in 0..ROUNDS {
        for (least, (table, asked)) in least.iter_mut().zip(&tables) {
            let begin = Instant::now();
            for _ in 0..REPEATS {
                black_box(find(black_box(table), asked));
            }
            let calls = f64::from(u32::try_from(REPEATS * asked.len()).unwrap());
            *least = least.min(begin.elapsed().as_secs_f64() * 1e9 / calls);
        }
    }
    least
}

fn compare() {
    println!(
        "\n{:<16} {:>8} {:>8} {:>8} {:>8}   10,000 : 10",
        "ns a request", 10, 100, 1_000, 10_000
    );
    let mut sums = [0.0; SIZES.len()];
    let row = |name: &str, [ten, hundred, thousand, most]: [f64; SIZES.len()]| {
        let ratio = most / ten;
        println!("{name:<16} {ten:>8.0} {hundred:>8.0} {thousand:>8.0} {most:>8.0}   {ratio:.2}");
    };
    for kind in REQUESTS {
        let least = in_turns(kind);
        row(kind.0, least);
        for (sum, least) in sums.iter_mut().zip(least) {
            *sum += least;
        }
    }
    row("all of them", sums);
}

criterion_group!(kinds, by_kind);

fn main() {
    let listed = std::env::args().any(|argument| argument == "--list" || argument == "--test");
    kinds();
    Criterion::default().configure_from_args().final_summary();
    if !listed {
        compare();
    }
}
