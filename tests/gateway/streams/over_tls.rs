//! WebSockets and gRPC with TLS on both sides.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::support::{
    Gateway, crypto, free_port,
    grpc::{Grpc, call_at, over, whole},
    sockets::Sockets,
};

fn acceptor(of: &CertifiedKey<KeyPair>, protocol: &[u8]) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(of.signing_key.serialize_der().into());
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![of.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(server).into()
}

async fn connect(
    gateway: &Gateway,
    of: &CertifiedKey<KeyPair>,
    alpn: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(of.cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("one.test").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    stream
}

#[tokio::test]
async fn both_go_through() {
    crypto();
    let [ours, theirs] =
        ["one.test", "up.test"].map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
    let sockets = Sockets::behind(Some(acceptor(&theirs, b"http/1.1"))).await;
    let grpc = Grpc::behind(Some(acceptor(&theirs, b"h2"))).await;
    let port = free_port();
    let tls = "tls: { server_name: up.test, ca: up.crt }, auth: { mode: NONE }";
    let text = format!(
        "public_url: https://one.test:{port}
listeners: [ {{ address: '127.0.0.1:{port}', tls: {{ certificate: one.crt, key: one.key }} }} ]
upstreams:
  live: {{ servers: ['{}'], {tls} }}
  tasks: {{ servers: ['{}'], protocol: http2, {tls} }}
routes:
  - {{ path: '/live/{{*rest}}', access: public, websocket: true, upstream: live }}
  - {{ path: '/tasks.v1.Tasks/{{*rest}}', access: public, upstream: tasks }}
",
        sockets.address, grpc.address,
    );
    let key = ours.signing_key.serialize_pem();
    let files = [("one.crt", &ours.cert.pem()), ("one.key", &key), ("up.crt", &theirs.cert.pem())];
    let gateway = Gateway::start_from(&text, &files, port).await;

    let stream = connect(&gateway, &ours, b"http/1.1").await;
    let url = format!("wss://one.test:{port}/live/hello");
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let large = Message::binary(vec![7_u8; 1024 * 1024]);
    socket.send(large.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), large);

    let client = over(connect(&gateway, &ours, b"h2").await).await;
    let url = format!("https://one.test:{port}/tasks.v1.Tasks/Unary");
    let (answer, mut request) = call_at(&client, &url, &[]).await;
    request.send_data(Bytes::from_static(b"hi"), true).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(whole(answer.body_mut()).await.unwrap(), "hi");
    assert_eq!(answer.body_mut().trailers().await.unwrap().unwrap()["grpc-status"], "0");
    assert_eq!(grpc.heads()[0].uri.scheme_str(), Some("https"));
}
