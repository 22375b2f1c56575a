//! What a request pays for knowing whose its resource is, once that is known.
//!
//! `cargo bench --bench lookup`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::{
    credential::Demand,
    http_client,
    lookup::{Lookup, Lookups, Servers, Settings, Source},
    organisation::lookup::Template,
    time::Timestamp,
    upstream::{self, Timeouts, Upstream},
};

const ID: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const NOW: Timestamp = Timestamp(1_790_000_000);

/// A Core that knows one answer and is asked once.
fn core() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        let body = format!("{{\"organisationId\":\"{ID}\"}}");
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    });
    port
}

fn warm(criterion: &mut Criterion) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let second = Duration::from_secs(1);
    let settings = upstream::Settings {
        name: "core".into(),
        servers: vec![("127.0.0.1".to_owned(), core())],
        tls: None,
        demand: Demand::Unchecked,
        health: None,
        timeouts: Timeouts { connect: second, read: second, write: second, idle: second },
        http2: false,
        retries: 0,
        rules: upstream::pool::Rules::default(),
    };
    let upstream = Arc::new(Upstream::new(settings, 1, None).unwrap());
    runtime.block_on(upstream.resolve()).unwrap();
    let servers = Arc::new(Servers(Arc::clone(&upstream)));
    let http = http_client::towards(None, None, servers, second, false).unwrap();
    let origin = "http://upstream".to_owned();
    let lookup = Arc::new(Lookup {
        number: 0,
        template: Template::parse("/api/credential/v1/{id}").unwrap(),
        pointer: "/organisationId".into(),
        source: Arc::new(Source { upstream, http, origin, token: None }),
    });
    let hour = Duration::from_secs(3_600);
    let bounds = Settings { entries: 100_000, positive: hour, negative: second, timeout: second };
    let lookups = Lookups::new(bounds);
    let id = ID.parse().unwrap();
    let first = runtime.block_on(lookups.organisation(&lookup, id, NOW)).unwrap();
    assert!(first.is_some());
    criterion.bench_function("look-up: known", |b| {
        b.iter(|| runtime.block_on(lookups.organisation(black_box(&lookup), black_box(id), NOW)));
    });
    criterion.bench_function("look-up: known, with its id read from the path", |b| {
        b.iter(|| {
            let mut ids = Vec::new();
            lookup.template.ids(|_| black_box(Some(ID)), None, &mut ids).unwrap();
            runtime.block_on(lookups.organisation(&lookup, *ids.first().unwrap(), NOW))
        });
    });
}

criterion_group!(benches, warm);
criterion_main!(benches);
