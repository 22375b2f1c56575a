//! An IAM provider with people, and services that are its clients.

use std::time::Duration;

use serde_json::Value;

use super::gateway::client;
use crate::demo::stand_in::iam;

/// The secret of each of the clients.
pub(crate) const SECRET: &str = "secret-of-a-service";

/// Starts a provider; its URL. `alice` is admin, `rosa` reader, `emil` employee, `norman` nothing
/// that counts; the clients `wrpr` and `bridge` have the role `cron`.
pub(crate) async fn provider() -> String {
    let (listener, address) = super::listener().await;
    let issuer = format!("http://{address}");
    let user = |(name, role): (&str, &str)| iam::User {
        name: name.to_owned(),
        password: name.to_owned(),
        full_name: name.to_owned(),
        roles: vec![role.to_owned()],
    };
    let service = |id: &str| iam::Client {
        id: id.to_owned(),
        secret: SECRET.to_owned(),
        redirects: vec![],
        after_logout: vec![],
        roles: Some(vec!["cron".to_owned()]),
    };
    let people =
        [("alice", "admin"), ("rosa", "reader"), ("emil", "employee"), ("norman", "nothing")];
    let provider = iam::Settings {
        issuer: issuer.clone(),
        audience: "procivis-one-platform".to_owned(),
        lifetime: Duration::from_secs(600),
        clients: ["wrpr", "bridge"].map(service).into(),
        users: people.map(user).into(),
    };
    tokio::spawn(iam::serve(listener, provider));
    issuer
}

/// A token of one of its users.
pub(crate) async fn token_of(issuer: &str, user: &str) -> String {
    let login = serde_json::json!({ "user": user, "password": user }).to_string();
    let post =
        client().post(format!("{issuer}/demo/token")).header("content-type", "application/json");
    let answer = post.body(login).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}
