//! A crowd that wants nothing good, all at once, and somebody beside it who does.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::support::{Gateway, Issuer, Recorder, Settings, gateway::client, holdings::Holdings};

const IDLE: usize = 5_000;
const SLOW: usize = 1_000;
const FLOODS: usize = 8;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// From an address of the crowd's own, whose ports nobody else needs.
async fn connect(gateway: &Gateway) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        match socket.connect(gateway.address).await {
            Ok(stream) => return stream,
            // The queue of those who wait to be accepted is full.
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Opens streams and resets each at once, until the other side has had enough. Whether it has.
async fn resets(mut stream: TcpStream) -> bool {
    // GET / by indexed fields, and an authority: gateway.test.
    let block = b"\x82\x84\x86\x01\x0cgateway.test";
    stream.write_all(PREFACE).await.unwrap();
    for stream_id in (1_u32..20_000).step_by(2) {
        let id = stream_id.to_be_bytes();
        let mut frames = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 5];
        frames.extend(id);
        frames.extend(block);
        frames.extend([0, 0, 4, 3, 0]);
        frames.extend(id);
        frames.extend([0, 0, 0, 8]);
        if stream.write_all(&frames).await.is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    // A reset is an end as well.
    end.is_ok()
}

/// Both ends of each connection are descriptors, of this process and of the gateway.
fn descriptors() -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    soft == "unlimited" || soft.parse::<usize>().unwrap() > IDLE + SLOW + 500
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_request_is_answered_amid_idle_slow_and_resetting_clients() {
    assert!(descriptors(), "this test takes about 7000 open files: ulimit -n 16384");
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let settings = Settings::new(&issuer.url, core.address)
        .with("limits: { connections_per_client: 20000, header_timeout: 60s }\n")
        .with("logs: { format: json, level: warn, access: off, audit: off }\n")
        .route("path: /open, access: public");
    let gateway = Gateway::start(settings).await;
    let before = Holdings::of(gateway.process()).mebibytes();

    let mut crowd = Vec::with_capacity(IDLE + SLOW);
    for _ in 0..IDLE {
        crowd.push(connect(&gateway).await);
    }
    for _ in 0..SLOW {
        let mut slow = connect(&gateway).await;
        slow.write_all(b"GET /open HTTP/1.1\r\nHost: gateway.test\r\nX-Slow: a").await.unwrap();
        crowd.push(slow);
    }
    let mut floods = JoinSet::new();
    for _ in 0..FLOODS {
        floods.spawn(resets(connect(&gateway).await));
    }
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    while rounds < 20 || !floods.is_empty() {
        let began = Instant::now();
        // A new client each time: it gets a connection as well.
        let answer = client().get(gateway.url("/open")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        longest = longest.max(began.elapsed());
        rounds += 1;
        while let Some(ended) = floods.try_join_next() {
            assert!(ended.unwrap(), "nobody ends the flood");
        }
        // They go on to write, byte by byte.
        for slow in crowd.iter_mut().skip(IDLE).step_by(50) {
            slow.write_all(b"a").await.unwrap();
        }
    }
    let resident = Holdings::of(gateway.process()).mebibytes();
    println!("longest answer {longest:?}; resident {before} MiB, then {resident} MiB");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(resident < 300, "{resident} MiB");
    // Those who did nothing wrong yet are all still there.
    for idle in crowd.iter_mut().take(IDLE).step_by(500) {
        idle.write_all(b"GET /open HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        idle.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
}
