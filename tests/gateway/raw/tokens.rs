//! Credentials that are none, in every place where one could be.

use super::{Row, Upstream::Nothing, Upstream::NothingAndClosed, World, send};
use crate::support::status;

/// Values of `Authorization` on a protected route. TOKEN is alice's good one.
#[rustfmt::skip]
const VALUES: &[(&str, &[u16])] = &[
    ("", &[401]), ("Bearer", &[401]), ("Bearer ", &[401]), ("Bearer a", &[401]),
    ("Bearer a.b", &[401]), ("Bearer a.b.c", &[401]), ("Bearer a.b.c.d", &[401]),
    ("Bearer a.b.c.d.e", &[401]), ("Bearer ..", &[401]), ("Bearer .TOKEN", &[401]),
    ("Bearer TOKEN.", &[401]), ("Bearer TOKENx", &[401]), ("Bearer xTOKEN", &[401]),
    ("Bearer TOKEN TOKEN", &[401]), ("Bearer TOKEN,TOKEN", &[401]), ("Bearer TOKEN, Bearer TOKEN", &[401]),
    ("Bearer TOKEN;", &[401]), ("Bearer \"TOKEN\"", &[401]), ("Bearer=TOKEN", &[401]),
    ("Bearer:TOKEN", &[401]), ("BearerTOKEN", &[401]), ("TOKEN", &[401]), ("Token TOKEN", &[401]),
    ("JWT TOKEN", &[401]), ("DPoP TOKEN", &[401]), ("Basic TOKEN", &[401]), ("Basic YWxpY2U6YQ==", &[401]),
    ("Negotiate TOKEN", &[401]), ("Digest username=alice", &[401]), ("null", &[401]), ("undefined", &[401]),
    ("Bearer null", &[401]), ("Bearer undefined", &[401]), ("Bearer none", &[401]), ("Bearer TOKEN%20", &[401]),
    ("Bearer %54OKEN", &[401]), ("Bearer TOKEN=", &[401]), ("Bearer TOKEN==", &[401]),
    ("Bearer \u{e4}", &[401]), ("Bearer TOKEN\u{a0}", &[401]),
    ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", &[401]),
    ("Bearer e30.e30.e30", &[401]), ("Bearer W10.W10.W10", &[401]), ("Bearer bnVsbA.bnVsbA.bnVsbA", &[401]),
];

#[tokio::test]
async fn r18_no_authorization_but_a_good_one_is_anybody() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    let rows: Vec<_> = VALUES
        .iter()
        .map(|(value, statuses)| Row {
            name: (*value).into(),
            bytes: format!(
                "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
                value.replace("TOKEN", &token)
            )
            .into_bytes()
            .into(),
            statuses,
            upstream: Nothing,
        })
        .collect();
    world.holds(&rows).await;
}

/// A good token at a place where none is looked for.
#[rustfmt::skip]
const PLACES: &[&str] = &[
    "GET /api/credential/v1?access_token=TOKEN HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/credential/v1?token=TOKEN HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/credential/v1?authorization=Bearer%20TOKEN HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nCookie: access_token=TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nCookie: portcullis=TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nCookie: Authorization=Bearer TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nProxy-Authorization: Bearer TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nX-Authorization: Bearer TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization_: Bearer TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nX-Access-Token: TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Access-Token: TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nX-Amzn-Oidc-Data: TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Protocol: bearer, TOKEN\r\n\r\n",
    "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nTOKEN",
    "POST /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\naccess_token=TOKEN",
];

#[tokio::test]
async fn r18_a_good_token_elsewhere_is_no_credential() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    let rows: Vec<_> = PLACES
        .iter()
        .map(|request| Row {
            name: (*request).into(),
            bytes: request.replace("TOKEN", &token).into_bytes().into(),
            statuses: &[401],
            upstream: Nothing,
        })
        .collect();
    world.holds(&rows).await;
}

#[tokio::test]
async fn r09_two_credentials_are_none() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    let good = format!("Authorization: Bearer {token}\r\n");
    let rows: Vec<_> =
        ["Authorization: Bearer x\r\n", "authorization:\r\n", "AUTHORIZATION: Basic x\r\n", &good]
            .iter()
            .flat_map(|other| [format!("{good}{other}"), format!("{other}{good}")])
            .map(|lines| Row {
                name: lines.clone().into(),
                bytes: format!("GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
                    .into_bytes()
                    .into(),
                statuses: &[400],
                upstream: NothingAndClosed,
            })
            .collect();
    world.holds(&rows).await;
}

#[tokio::test]
async fn r28_names_and_schemes_are_compared_without_case() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    for line in ["authorization: bearer", "AUTHORIZATION: BEARER", "aUtHoRiZaTiOn: bEaReR"] {
        let request = format!(
            "GET /api/credential/v1 HTTP/1.1\r\nhOST: localhost\r\n{line} {token}\r\n\
             X-SESSION-ID: evil\r\nx-FORWARDED-for: evil\r\nFORWARDED: for=evil\r\n\
             cONNECTION: close\r\n\r\n"
        );
        let (answer, _) = send(world.gateway.address, request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{line}: {answer}");
        let [seen] = &world.core.take()[..] else { panic!("{line}: one request") };
        assert!(!seen.head.contains("evil") && !seen.head.contains(&token), "{}", seen.head);
        assert_eq!(seen.header("authorization").len(), 1, "{}", seen.head);
        // Twice is twice, in whatever case.
        let twice = request.replacen("cONN", &format!("AUTHorization: Bearer {token}\r\ncONN"), 1);
        let (answer, _) = send(world.gateway.address, twice.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{line}: {answer}");
        assert!(world.core.take().is_empty());
    }
}
