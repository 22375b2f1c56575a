//! Who somebody is: by verification alone, and by issuer and subject alone.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    demo::stand_in::jose::Parts,
    support::{Gateway, Issuer, Recorder, Settings, gateway::client},
};

async fn world() -> (Issuer, Recorder, Gateway) {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    (issuer, core, gateway)
}

#[tokio::test]
async fn r27_a_caller_is_their_subject_whatever_else_the_token_calls_them() {
    let (issuer, core, gateway) = world().await;
    let mut subjects = Vec::new();
    for (subject, email) in [
        ("bob", "alice@evil@corp.com"),
        ("bob2", "alice@corp.com"),
        ("alice@corp.com@evil", "alice@corp.com"),
        ("ALICE", "alice@corp.com"),
    ] {
        let mut claims = issuer.claims(subject, "admin");
        for name in ["email", "preferred_username", "upn", "name", "user", "username"] {
            claims[name] = json!(email);
        }
        claims["email_verified"] = json!(true);
        let get = client().get(gateway.url("/api/credential/v1")).bearer_auth(issuer.sign(&claims));
        assert_eq!(get.send().await.unwrap().status(), 200, "{subject}");
        let [seen] = &core.take()[..] else { panic!("one request") };
        let app = seen.header("authorization")[0].strip_prefix("Bearer ").unwrap();
        let minted = Parts::split(app).unwrap().claims;
        assert_eq!(minted["sub"], subject);
        let said = serde_json::Value::Object(minted).to_string();
        assert!(!said.contains(email) || subject.contains(email), "{said}");
        subjects.push(app.to_owned());
    }
    subjects.dedup();
    assert_eq!(subjects.len(), 4, "nobody shares a token with anybody");
    // The same subject of another issuer is somebody else, who is not known here.
    let stranger = Issuer::start().await;
    let token = stranger.token("alice", "admin");
    let get = client().get(gateway.url("/api/credential/v1")).bearer_auth(token);
    assert_eq!(get.send().await.unwrap().status(), 401);
    assert!(core.seen().is_empty());
}

#[tokio::test]
async fn r32_what_nobody_verified_is_nobodys_identity() {
    let (_, core, gateway) = world().await;
    // Right in every word, and signed by a key of its own: on a public route it passes as it
    // came, and the gateway says nothing of who that might be.
    let forged = Issuer::start().await.token("alice", "admin");
    let get = client().get(gateway.url("/ssi/x")).bearer_auth(&forged);
    assert_eq!(get.send().await.unwrap().status(), 200);
    let [seen] = &core.take()[..] else { panic!("one request") };
    assert_eq!(seen.header("authorization"), [format!("Bearer {forged}")]);
    assert!(seen.header("x-session-id").is_empty(), "{}", seen.head);
    let line = gateway.says(&["/ssi/x", "\"status\":200"]).await;
    assert!(!line.contains("alice"), "{line}");
}

/// Places where an identity is made: from claims that were verified, by an authenticator that the
/// operator wrote and named in a route, from a session under our seal, and (as a copy) at the end of
/// a login and for the technical user of a client certificate.
const MAKERS: [&str; 5] = [
    "src/admission/caller.rs",
    "src/bearer/claims.rs",
    "src/extension/subject.rs",
    "src/login/callback.rs",
    "src/session.rs",
];

/// A file without what is compiled for tests alone: lines after `#[cfg(test)]`, or the one item
/// there that ends on its line.
fn without_tests(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut code = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push(line);
        } else if !lines.next().is_some_and(|item| item.ends_with(';')) {
            break;
        }
    }
    code
}

#[test]
fn r32_only_verification_makes_an_identity() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut makers = Vec::new();
    let mut directories = vec![root.join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let short = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // The stand-in for a token service is compiled for tests alone.
            if short.ends_with("tests.rs")
                || short.contains("/tests/")
                || short.ends_with("sts/stand_in.rs")
            {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_making = |line: &str| {
                line.contains("Identity {")
                    && !["struct ", "impl ", "-> ", " for ", "let Identity {"]
                        .iter()
                        .any(|other| line.contains(other))
            };
            if without_tests(&text).into_iter().any(is_making) {
                makers.push(short);
            }
        }
    }
    makers.sort();
    assert_eq!(makers, MAKERS);
}
