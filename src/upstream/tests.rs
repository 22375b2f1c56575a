use std::{collections::BTreeSet, time::Duration};

use super::*;

fn settings(servers: Vec<(String, u16)>) -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        name: "core".into(),
        servers,
        tls: None,
        demand: Demand::Nothing,
        health: None,
        timeouts: Timeouts { connect: second, read: second, write: second, idle: second },
        http2: false,
        retries: 1,
        rules: Rules::default(),
    }
}

fn local(ports: &[u16]) -> Vec<(String, u16)> {
    ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect()
}

fn chosen(upstream: &Upstream) -> Result<HttpPeer, Refusal> {
    let chosen = upstream.choose(Instant::now(), None, &Tried::default())?;
    Ok(upstream.peer(chosen.server(), Some(Duration::from_secs(9)), None))
}

#[tokio::test]
async fn servers_take_turns_and_have_bounded_time() {
    let upstream = Upstream::new(settings(local(&[1, 2])), 7, None).unwrap();
    assert!(!upstream.is_ready() && !upstream.is_usable());
    assert_eq!(chosen(&upstream).unwrap_err().reason, Reason::UpstreamUnavailable);
    upstream.resolve().await.unwrap();
    assert!(upstream.is_ready() && upstream.is_usable());
    let peers: BTreeSet<String> = (0..4)
        .map(|_| {
            let peer = chosen(&upstream).unwrap();
            let options = &peer.options;
            assert!(options.verify_cert && options.verify_hostname);
            assert_eq!(options.read_timeout, Some(Duration::from_secs(9)));
            for bound in [options.write_timeout, options.total_connection_timeout] {
                assert_eq!(bound, Some(Duration::from_secs(1)));
            }
            assert_eq!(peer.group_key, 7);
            peer._address.to_string()
        })
        .collect();
    assert_eq!(peers.len(), 2);
}

/// Pingora verifies nothing at all when the SNI is empty, whatever its options say.
#[tokio::test]
async fn r25_pingora_empty_sni_never_turns_verification_off() {
    for empty in ["", " ", "\t"] {
        assert!(ServerName::new(empty).is_none(), "{empty:?}");
    }
    let tls = |name| Tls { server_name: ServerName::new(name).unwrap(), ca: None, client: None };
    for name in ["core", " core "] {
        // The name that is configured, whatever the server is called.
        let settings = Settings { tls: Some(tls(name)), ..settings(local(&[1])) };
        let upstream = Upstream::new(settings, 7, None).unwrap();
        upstream.resolve().await.unwrap();
        let peer = chosen(&upstream).unwrap();
        assert!(peer.is_tls());
        assert_eq!(peer.sni, "core");
        assert!(peer.options.verify_cert && peer.options.verify_hostname);
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_takes_no_other_with_it() {
    let mut servers = local(&[1]);
    servers.push(("no-such-host.invalid".to_owned(), 2));
    let upstream = Upstream::new(settings(servers.clone()), 7, None).unwrap();
    upstream.resolve().await.unwrap();
    assert_eq!(upstream.addresses().len(), 1);
    let upstream = Upstream::new(settings(servers.split_off(1)), 7, None).unwrap();
    let why = upstream.resolve().await.unwrap_err();
    assert!(why.contains("no-such-host.invalid"), "{why}");
}

#[tokio::test]
async fn what_is_known_of_a_server_outlives_the_configuration() {
    let before = Upstream::new(settings(local(&[1, 2])), 7, None).unwrap();
    before.resolve().await.unwrap();
    let held = before.choose(Instant::now(), None, &Tried::default()).unwrap();
    let after = Upstream::new(settings(local(&[1, 2, 3])), 7, Some(&before)).unwrap();
    after.resolve().await.unwrap();
    let counts = |of: &Upstream| -> u32 { of.servers().iter().map(|it| it.in_flight()).sum() };
    assert_eq!((after.servers().len(), counts(&after)), (3, 1));
    drop(held);
    assert_eq!((counts(&before), counts(&after)), (0, 0));
}

/// A request that began under the configuration before finds out that a server is away, and that
/// one's upstream is kept by nobody any more.
#[tokio::test]
async fn who_is_lost_to_the_configuration_before_is_found_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers = local(&[listener.local_addr().unwrap().port()]);
    let second = Duration::from_secs(1);
    let ejection = pool::Ejection { failures: 1, time: second, max_time: second, max_percent: 50 };
    let settings = || {
        let rules = Rules { ejection: Some(ejection), ..Rules::default() };
        Settings { rules, ..settings(servers.clone()) }
    };
    let before = Upstream::new(settings(), 7, None).unwrap();
    before.resolve().await.unwrap();
    let after = Arc::new(Upstream::new(settings(), 7, Some(&before)).unwrap());
    after.resolve().await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let kept = Arc::clone(&after);
    let keeping = tokio::spawn(async move { kept.keep(stopped).await });
    // It has looked for whom it misses, and misses nobody.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let held = before.choose(Instant::now(), None, &Tried::default()).unwrap();
    before.failed(held.server(), Failure::Connect, Instant::now());
    assert!(!after.is_usable(), "the servers are the same");
    let until = Instant::now() + Duration::from_secs(20);
    while !after.is_usable() {
        assert!(Instant::now() < until, "nobody looks for it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send_replace(true);
    keeping.await.unwrap();
}
