//! TLS towards an upstream: whose certificate is believed, and which one the gateway shows.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::support::{self, Gateway, authority::Authority, free_port, gateway::client, reason};

/// Certificate and key of `authority` for `name`, in PEM.
fn certified(authority: &Authority, name: &str, usage: ExtendedKeyUsagePurpose) -> [String; 2] {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    [authority.signed(&parameters, &key), key.serialize_pem()]
}

/// A Core of `authority` that lets in only clients of `clients`.
async fn core(authority: &Authority, clients: &Authority) -> std::net::SocketAddr {
    support::crypto();
    let [pem, key] = certified(authority, "core.test", ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let (listener, address) = support::listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn r25_only_the_upstream_that_is_meant_is_believed_and_our_certificate_is_shown() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let core = core(&ours, &theirs).await;
    let [shown, key] = certified(&theirs, "gateway.test", ExtendedKeyUsagePurpose::ClientAuth);
    let [wrong, wrong_key] = certified(&ours, "gateway.test", ExtendedKeyUsagePurpose::ClientAuth);
    let client_lines = "client_certificate: client.crt, client_key: client.key";
    for (tls, certificate, expected) in [
        (format!("server_name: core.test, ca: ca.pem, {client_lines}"), [&shown, &key], 200),
        // Another name, another authority, the system's authorities, no certificate, a foreign one.
        (format!("server_name: other.test, ca: ca.pem, {client_lines}"), [&shown, &key], 502),
        (format!("server_name: core.test, ca: other.pem, {client_lines}"), [&shown, &key], 502),
        (format!("server_name: core.test, {client_lines}"), [&shown, &key], 502),
        ("server_name: core.test, ca: ca.pem".to_owned(), [&shown, &key], 502),
        (format!("server_name: core.test, ca: ca.pem, {client_lines}"), [&wrong, &wrong_key], 502),
    ] {
        let port = free_port();
        let text = format!(
            "public_url: http://localhost:{port}\n\
             listeners: [ {{ address: '127.0.0.1:{port}' }} ]\n\
             upstreams: {{ core: {{ servers: ['{core}'], tls: {{ {tls} }}, auth: {{ mode: NONE }} }} }}\n\
             routes: [ {{ path: /open, access: public, upstream: core }} ]\n"
        );
        let files = [
            ("ca.pem", &ours.pem),
            ("other.pem", &theirs.pem),
            ("client.crt", certificate[0]),
            ("client.key", certificate[1]),
        ];
        let gateway = Gateway::start_from(&text, &files, port).await;
        let answer = client().get(gateway.url("/open")).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, expected, "{tls}: {body}");
        if expected != 200 {
            // A server that cannot be connected to leaves its upstream without any.
            assert!(
                ["upstream_failed", "upstream_unavailable"].contains(&&*reason(&body)),
                "{body}"
            );
        }
    }
}
