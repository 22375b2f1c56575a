use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn perimeter(probe: &str) -> Perimeter {
    // Another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings {
        upstreams: Vec::new(),
        own: Vec::new(),
        probes: vec![probe.parse().unwrap()],
        interval: Duration::from_secs(60),
    };
    Perimeter::new(settings).unwrap()
}

#[tokio::test]
async fn any_answer_is_a_breach_until_there_is_none() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let perimeter = perimeter(&format!("http://user:hush@{address}/health?hush"));
    assert!(perimeter.found().is_none());
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let ((), ()) = tokio::join!(perimeter.check(), answer);
    let found = perimeter.found().unwrap();
    let breach = Breach::Probe { host: address.to_string(), status: 401 };
    assert_eq!(found.breaches, BTreeSet::from([breach.clone()]));
    assert!(!breach.to_string().contains("hush"));
    drop(listener);
    perimeter.check().await;
    assert!(perimeter.found().unwrap().breaches.is_empty());
}
