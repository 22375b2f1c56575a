//! What a token service may answer that looks right and is not: nothing is forwarded on its word.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    demo::stand_in::jose::SigningKey,
    support::{
        ACME, Gateway, Issuer, Recorder, Settings,
        gateway::client,
        issuer::now,
        listener, reason,
        token_service::{Asked, TokenService, answer},
    },
};

/// What alice gets for a request to Core when this section says where app tokens come from.
async fn asked_through(section: String) -> (u16, String) {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let mut settings = Settings::new(&issuer.url, core.address);
    settings.sts = Some(section);
    let gateway = Gateway::start(settings).await;
    let list = client().get(gateway.url("/api/credential/v1"));
    let list = list.bearer_auth(issuer.token("alice", "admin"));
    let answer = list.send().await.unwrap();
    let status = answer.status().as_u16();
    let forwarded = core.seen().len();
    assert_eq!(forwarded, usize::from(status == 200), "nothing is forwarded on a lie's word");
    if status == 503 {
        assert!(answer.headers().contains_key("retry-after"));
    }
    let body = answer.text().await.unwrap();
    (status, if status == 200 { String::new() } else { reason(&body) })
}

/// What comes of a service that answers so, which it is asked once.
async fn told(lie: impl Fn(Asked) -> Response + Clone + Send + Sync + 'static) -> (u16, String) {
    let service = TokenService::start(move |asked| {
        let answer = lie(asked);
        async move { answer }
    })
    .await;
    let came = asked_through(service.section("")).await;
    assert_eq!(service.exchanges(), 1);
    came
}

/// The same for an honest answer with one claim changed.
async fn claimed(name: &'static str, value: Value) -> (u16, String) {
    told(move |asked| {
        let mut claims = asked.claims();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name).unwrap();
        } else {
            claims[name] = value.clone();
        }
        asked.issue(&claims)
    })
    .await
}

fn unavailable() -> (u16, String) {
    (503, "sts_unavailable".to_owned())
}

/// Without which the others would prove nothing.
#[tokio::test]
async fn the_truth_is_forwarded() {
    assert_eq!(told(|asked| asked.issue(&asked.claims())).await.0, 200);
}

#[tokio::test]
async fn no_organisation() {
    assert_eq!(claimed("organisationId", Value::Null).await, unavailable());
}

#[tokio::test]
async fn a_token_that_never_expires() {
    assert_eq!(claimed("exp", Value::Null).await, unavailable());
}

#[tokio::test]
async fn missing_permissions() {
    // A token that names none is one that allows nothing.
    for permissions in [Value::Null, json!([]), json!(["KEY_LIST"]), json!("CREDENTIAL_LIST")] {
        let (status, _) = claimed("permissions", permissions.clone()).await;
        assert!([403, 503].contains(&status), "{permissions}: {status}");
    }
    let refused = (403, "permission_missing".to_owned());
    assert_eq!(claimed("permissions", json!(["KEY_LIST"])).await, refused);
}

#[tokio::test]
async fn a_foreign_signature() {
    let forger = Arc::new(SigningKey::generate("sts").unwrap());
    let came = told(move |asked| {
        let token = forger.sign("at+jwt", &asked.claims());
        axum::Json(answer(&token)).into_response()
    });
    assert_eq!(came.await, unavailable());
}

#[tokio::test]
async fn the_callers_own_token_back() {
    let came = told(|asked| axum::Json(answer(asked.field("subject_token"))).into_response());
    assert_eq!(came.await, unavailable());
}

#[tokio::test]
async fn a_token_of_another_type() {
    for (name, value) in [
        ("token_type", "DPoP"),
        ("issued_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
    ] {
        let came = told(move |asked| {
            let mut answer = answer(&asked.token());
            answer[name] = value.into();
            axum::Json(answer).into_response()
        });
        assert_eq!(came.await, unavailable(), "{name}");
    }
}

#[tokio::test]
async fn a_redirect() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let honest = TokenService::honest().await;
        let head = format!("HTTP/1.1 {status}\r\nLocation: {}/token\r\n", honest.url);
        let liar = raw(format!("{head}Content-Length: 0\r\n\r\n").into_bytes(), Pace::AtOnce).await;
        let section = honest.section_at(&format!("http://{liar}/token"), "");
        assert_eq!(asked_through(section).await, unavailable(), "{status}");
        assert_eq!(honest.exchanges(), 0, "no secret was taken to where {status} led");
    }
}

#[tokio::test]
async fn a_body_of_ten_megabytes() {
    let service = TokenService::honest().await;
    let body = good(&service, 10 * 1024 * 1024);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let announced = [head.as_bytes(), &body].concat();
    // One that does not say how much is coming.
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bytes in [announced, [&head[..], &chunk].concat()] {
        let liar = raw(bytes, Pace::AtOnce).await;
        let section = service.section_at(&format!("http://{liar}/token"), "");
        assert_eq!(asked_through(section).await, unavailable());
    }
}

#[tokio::test]
async fn a_slow_drip() {
    let service = TokenService::honest().await;
    let body = good(&service, 0);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let drip = [head.as_bytes(), &body].concat();
    // A byte every 20 ms is far more often than any time-out between two reads.
    let liar = raw(drip.clone(), Pace::Drip(Duration::from_millis(20))).await;
    let section = service.section_at(&format!("http://{liar}/token"), ", timeout: 1s");
    let started = std::time::Instant::now();
    assert_eq!(asked_through(section).await, unavailable());
    assert!(started.elapsed() < Duration::from_millis(20) * u32::try_from(drip.len()).unwrap());
    // The same answer in one piece is the truth.
    let quick = raw(drip, Pace::AtOnce).await;
    let section = service.section_at(&format!("http://{quick}/token"), "");
    assert_eq!(asked_through(section).await.0, 200);
}

/// A good answer for alice, this much longer than it has to be.
fn good(service: &TokenService, padding: usize) -> Vec<u8> {
    let claims = json!({
        "iss": service.url, "aud": "one-core", "sub": "alice", "exp": now() + 300,
        "organisationId": ACME, "permissions": ["CREDENTIAL_LIST"],
    });
    let mut answer = answer(&service.key.sign("at+jwt", &claims));
    answer["padding"] = "x".repeat(padding).into();
    answer.to_string().into_bytes()
}

#[derive(Clone, Copy)]
enum Pace {
    AtOnce,
    /// One byte at a time, this long apart.
    Drip(Duration),
}

/// A service that answers every connection's one request with these bytes.
async fn raw(bytes: Vec<u8>, pace: Pace) -> SocketAddr {
    let (listener, address) = listener().await;
    let bytes = Arc::new(bytes);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_raw(stream, Arc::clone(&bytes), pace));
        }
    });
    address
}

async fn answer_raw(mut stream: TcpStream, bytes: Arc<Vec<u8>>, pace: Pace) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
            continue;
        }
        return;
    }
    // Who has heard enough hangs up; that is no fault of the test's.
    match pace {
        Pace::AtOnce => drop(stream.write_all(&bytes).await),
        Pace::Drip(pause) => {
            for byte in bytes.iter() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
    // The rest of the request is read, so that closing does not reset what was written.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}
