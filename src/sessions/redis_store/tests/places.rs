//! Where Redis can be: restarted, behind a password, behind TLS, a cluster, known to Sentinels.

use std::process::Command;

use super::*;

#[tokio::test]
async fn a_restart_of_redis_breaks_no_request_after_it() {
    let mut redis = Redis::start(&[]);
    let store = store(&redis);
    let cookie = begin(&store, &fresh()).await;
    assert_eq!(store.is_up(), Some(true));
    redis.stop();
    redis.start_again();
    // The connection is broken, and the request that finds out has another one made.
    assert!(matches!(load(&store, &cookie).await, Loaded::Ended));
    redis.stop();
    assert!(matches!(load(&store, &cookie).await, Loaded::Unreachable));
    assert_eq!(store.is_up(), Some(false));
}

#[tokio::test]
async fn a_wrong_password_gives_no_session() {
    let redis = Redis::start(&["--requirepass", "right"]);
    for url in [redis.url(""), redis.url(":wrong@")] {
        let store = store_at(&url, None);
        let begun = store.begin(&fresh(), Pieces::default(), Timestamp::now()).await;
        assert!(matches!(begun, Err(KeepError::Unreachable(_))));
    }
    let store = store_at(&(redis.url(":right@") + "/3"), None);
    begin(&store, &fresh()).await;
}

#[tokio::test]
async fn over_tls_only_the_named_ca_is_believed() {
    let directory = std::env::temp_dir().join(format!("portcullis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let certificate = |name: &str| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &path(&format!("{name}.key")), "-out", &path(&format!("{name}.pem"))])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read(path(&format!("{name}.pem"))).unwrap()
    };
    let (ours, others) = (certificate("ours"), certificate("others"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _redis = Redis::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("ours.pem"),
        "--tls-key-file",
        &path("ours.key"),
        "--tls-ca-cert-file",
        &path("ours.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    begin(&store_at(&url, Some(&ours)), &fresh()).await;
    for ca in [Some(&others[..]), None] {
        let store = store_at(&url, ca);
        let begun = store.begin(&fresh(), Pieces::default(), Timestamp::now()).await;
        assert!(matches!(begun, Err(KeepError::Unreachable(_))));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_cluster_keeps_what_belongs_together_in_one_slot() {
    let nodes = std::env::temp_dir()
        .join(format!("portcullis-nodes-{}-{}", std::process::id(), line!()))
        .to_str()
        .unwrap()
        .to_owned();
    let redis = Redis::start(&["--cluster-enabled", "yes", "--cluster-config-file", &nodes]);
    let plain = store(&redis);
    let _: String = ask(&plain, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask::<String>(&plain, &["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let store = store_at(&format!("redis+cluster://127.0.0.1:{}", redis.port), None);
    for _ in 0..8 {
        let session = fresh();
        let cookie = begin(&store, &session).await;
        let fence = granted(&store, &session).await;
        store.commit(&fence, renewed(&session, "two")).await.unwrap().unwrap();
        assert_eq!(loaded(&store, &cookie).await.revision, 1);
        let (now, mark) = (Timestamp::now(), Mark::Session(&session.id));
        store.revoke(mark, Timestamp(u64::MAX), session.ends, now).await.unwrap();
        assert!(matches!(load(&store, &cookie).await, Loaded::Ended));
    }
    let _ = std::fs::remove_file(nodes);
}

#[tokio::test]
async fn sentinels_name_the_master() {
    let redis = Redis::start(&[]);
    let sentinel = Sentinel::start(redis.port);
    let store = store_at(&format!("redis+sentinel://127.0.0.1:{}/desk", sentinel.port), None);
    let cookie = begin(&store, &fresh()).await;
    loaded(&store, &cookie).await;
    let stranger = store_at(&format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port), None);
    assert!(matches!(load(&stranger, &cookie).await, Loaded::Unreachable));
}

struct Sentinel {
    port: u16,
    file: std::path::PathBuf,
    child: std::process::Child,
}

impl Sentinel {
    /// Knows the server at this port as the master of `desk`.
    fn start(master: u16) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = std::env::temp_dir().join(format!("portcullis-sentinel-{port}"));
        let lines =
            format!("port {port}\nbind 127.0.0.1\nsentinel monitor desk 127.0.0.1 {master} 1\n");
        std::fs::write(&file, lines).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the Sentinel does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { port, file, child }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}
