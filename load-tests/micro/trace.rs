//! What a request pays for its place in a trace: with tracing off, on and not sampled, sampled.
//!
//! `cargo bench --bench trace`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Version};
use portcullis::{
    http_client,
    step::{Step, Trace as _},
    telemetry::{
        metrics::Metrics,
        record::{Facts, Verdict},
        trace::{Exporter, Outgoing, Settings, Tracer},
    },
};

/// A collector that takes everything.
fn collector() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; 1 << 20];
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            while stream.read(&mut request).is_ok_and(|read| read > 0) {}
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

fn tracer(sample: f64, port: u16, metrics: &Metrics) -> Arc<Tracer> {
    let settings = Settings {
        http: http_client::build(None, Duration::from_secs(5)).unwrap(),
        url: format!("http://127.0.0.1:{port}/v1/traces").parse().unwrap(),
        headers: HeaderMap::new(),
        service: "portcullis".to_owned(),
        instance: "one".to_owned(),
    };
    let exporter = Exporter::start(settings, metrics.traces.clone()).unwrap();
    Arc::new(Tracer::new(sample, exporter))
}

fn request(criterion: &mut Criterion) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let metrics = Metrics::new(true).unwrap();
    let port = collector();
    let mut parent = HeaderMap::new();
    let line = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    parent.insert("traceparent", line.parse().unwrap());
    let none = HeaderMap::new();
    let upstream: Arc<str> = "core".into();
    let facts = Facts {
        method: "GET".into(),
        path: "/api/credential/v1/6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11".into(),
        host: "desk.example.com".into(),
        route: Some("/api/credential/v1/{id}".into()),
        upstream: Some(Arc::clone(&upstream)),
        decision: Some(Verdict::Forward),
        credential: Some("app"),
        status: 200,
        ..Facts::default()
    };
    let mut group = criterion.benchmark_group("trace");
    for (name, headers) in [("off, begun", &none), ("off, gone on with", &parent)] {
        group.bench_function(name, |b| {
            b.iter(|| Outgoing::untraced(black_box(headers)).parent.header());
        });
    }
    for (name, sample) in [("on, not sampled", 0.0), ("on, sampled", 1.0)] {
        let tracer = tracer(sample, port, &metrics);
        group.bench_function(name, |b| {
            b.iter(|| {
                let began = Instant::now();
                let (outgoing, mut recording) = tracer.begin(black_box(&none), false, began);
                for step in Step::ALL {
                    recording.enter(step);
                }
                recording.decided(None);
                recording.attempts("GET", &upstream, None);
                let span = recording.parent(outgoing.parent.span);
                recording.answered(200);
                recording.finish(black_box(&facts), true, Version::HTTP_11);
                (outgoing.parent.header(), span)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, request);
criterion_main!(benches);
