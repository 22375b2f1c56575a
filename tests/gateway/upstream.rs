//! The side of the upstream: public routes, bodies, failures, what responses may tell.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::support::{
    Gateway, Issuer, Recorder, Settings, free_port, gateway::client, listener, raw, reason, status,
};

async fn world(lines: &'static str) -> (Issuer, Recorder, Gateway) {
    let issuer = Issuer::start().await;
    let core = Recorder::start(lines).await;
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    (issuer, core, gateway)
}

#[tokio::test]
async fn a_public_route_passes_the_callers_authorization_untouched() {
    let (_, core, gateway) = world("").await;
    let answer = client()
        .post(gateway.url("/ssi/openid4vci/final-1.0/1/credential?a=%20b"))
        .header("authorization", "DPoP whatever.it-is")
        .body("{\"a\":1}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let [seen] = &core.take()[..] else { panic!("one request") };
    assert_eq!(seen.header("authorization"), ["DPoP whatever.it-is"]);
    assert_eq!(seen.target(), "/ssi/openid4vci/final-1.0/1/credential?a=%20b");
    assert_eq!(seen.body, b"{\"a\":1}");
}

#[tokio::test]
async fn r35_what_tells_of_the_inside_or_looks_like_ours_is_taken_out() {
    let lines = "Server: core/1.74\r\nX-Powered-By: rust\r\nX-Request-Id: theirs\r\n\
                 Set-Cookie: portcullis=forged\r\nSet-Cookie: theirs=1\r\n";
    let (_, _, gateway) = world(lines).await;
    let answer = client().get(gateway.url("/ssi/x")).header("x-request-id", "mine");
    let answer = answer.send().await.unwrap();
    for name in ["server", "x-powered-by"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    assert_eq!(answer.headers()["x-request-id"], "mine");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theirs=1"]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let (issuer, core, gateway) = world("").await;
    let token = issuer.token("alice", "admin");
    let body = "a".repeat(2000);
    let announced = client().post(gateway.url("/api/credential/v1")).bearer_auth(&token);
    let answer = announced.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(reason(&answer.text().await.unwrap()), "body_too_large");
    assert!(core.seen().is_empty());

    let request = format!(
        "POST /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n7d0\r\n{body}\r\n0\r\n\r\n"
    );
    let answer = raw(gateway.address, request.as_bytes()).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(reason(&answer), "body_too_large");
    assert!(core.seen().is_empty(), "a broken-off body is no request");
}

#[tokio::test]
async fn a_body_within_the_limit_arrives_whole_however_it_is_framed() {
    let (issuer, core, gateway) = world("").await;
    let token = issuer.token("alice", "admin");
    let request = format!(
        "POST /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    );
    assert_eq!(status(&raw(gateway.address, request.as_bytes()).await), 200);
    let answer = client().post(gateway.url("/api/credential/v1")).bearer_auth(&token);
    assert_eq!(answer.body("fgh").send().await.unwrap().status(), 200);
    let bodies: Vec<_> = core.take().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"abcde".to_vec(), b"fgh".to_vec()]);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let issuer = Issuer::start().await;
    let nobody = ([127, 0, 0, 1], free_port()).into();
    let gateway = Gateway::start(Settings::new(&issuer.url, nobody)).await;
    let answer = client().get(gateway.url("/ssi/x")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(reason(&answer.text().await.unwrap()), "upstream_failed");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_504() {
    let issuer = Issuer::start().await;
    let (silent, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            tokio::spawn(async move {
                let mut sink = [0; 1024];
                while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    let gateway = Gateway::start(Settings::new(&issuer.url, address)).await;
    let answer = client()
        .get(gateway.url("/ssi/slow/x"))
        .timeout(Duration::from_secs(20))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(reason(&answer.text().await.unwrap()), "upstream_timeout");
}

#[tokio::test]
async fn every_host_of_ours_is_served_under_its_name_and_no_other_is() {
    let (_, core, gateway) = world("").await;
    let request = "GET /ssi/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&raw(gateway.address, request.as_bytes()).await), 200);
    let [seen] = &core.take()[..] else { panic!("one request") };
    assert_eq!(seen.header("host"), ["gateway.test"]);
    assert_eq!(seen.header("x-forwarded-host"), ["gateway.test"]);
    let elsewhere = "GET /ssi/x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, elsewhere.as_bytes()).await;
    assert_eq!((status(&answer), &*reason(&answer)), (421, "unknown_host"));
    assert!(core.seen().is_empty());
}
