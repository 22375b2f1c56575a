use std::{net::SocketAddr, time::Duration};

use axum::{Router, http::header::LOCATION, routing::get};
use tokio::net::TcpListener;

use super::*;
use crate::http_client;

const SAMPLE: &str = include_str!("../policy/testdata/openapi.yaml");

async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/openapi", get(|| async { SAMPLE }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [(LOCATION, "/openapi")]) }))
        .route("/binary", get(|| async { [0xff_u8, 0xfe].as_slice() }))
        .route("/page", get(|| async { "<html>" }))
        .route("/slow", get(std::future::pending::<()>));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn read_at(address: SocketAddr, path: &str, size: usize) -> Result<Document, ReadError> {
    // Installed by whichever test is first; the others find it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = http_client::build(None, Duration::from_millis(300)).unwrap();
    read(&client, format!("http://{address}{path}").parse().unwrap(), size).await
}

#[tokio::test]
async fn only_a_whole_document_of_bounded_size_is_read() {
    let address = upstream().await;
    let document = read_at(address, "/openapi", SAMPLE.len()).await.unwrap();
    assert_eq!(document.operations, import::read(SAMPLE).unwrap().operations);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, path, size, words) in [
        (address, "/openapi", SAMPLE.len() - 1, "the answer is larger than"),
        (address, "/moved", 10_000, "answers 302 Found, and redirects are not followed"),
        (address, "/nowhere", 10_000, "answers 404 Not Found"),
        (address, "/binary", 10_000, "is not UTF-8 text"),
        (address, "/page", 10_000, "is no OpenAPI document"),
        (address, "/slow", 10_000, "timed out"),
        (closed, "/openapi?key=secret", 10_000, "cannot be read"),
    ] {
        let why = read_at(address, path, size).await.unwrap_err().to_string();
        assert!(why.contains(words), "{path}: {why}");
        assert!(!why.contains("secret"), "{why}");
    }
}
