//! `portcullis-demo token`: an IAM token for a command line.

use std::{io::Write, time::Duration};

use portcullis::http_client::read_body;
use serde_json::{Value, json};

use crate::{site, stand_in};

/// Prints a token of `user`; the demo's users have their name as password.
///
/// # Errors
/// When the demo does not run, or does not know the user.
pub(crate) async fn token(user: &str, password: Option<&str>) -> Result<(), String> {
    let token = fetch(site::IAM_URL, user, password.unwrap_or(user)).await?;
    writeln!(std::io::stdout(), "{token}").map_err(|fault| fault.to_string())
}

async fn fetch(iam: &str, user: &str, password: &str) -> Result<String, String> {
    let client = stand_in::client(Duration::from_secs(5)).map_err(|fault| fault.to_string())?;
    let response = client
        .post(format!("{iam}/demo/token"))
        .header("content-type", "application/json")
        .body(json!({"user": user, "password": password}).to_string())
        .send()
        .await
        .map_err(|_| format!("the demo's IAM provider does not answer at {iam}; is it running?"))?;
    match response.status().as_u16() {
        200 => {}
        401 => return Err("user or password is wrong; the demo knows alice and bob".to_owned()),
        status => return Err(format!("{iam} answered {status}")),
    }
    let body = read_body(response, 64 * 1024).await.map_err(|fault| fault.to_string())?;
    let body = serde_json::from_slice::<Value>(&body).map_err(|fault| fault.to_string())?;
    let token = body.get("access_token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| format!("{iam} answered without a token"))
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    #[tokio::test]
    async fn a_user_of_the_demo_gets_a_token() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let iam = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let neighbours = site::Neighbours::default();
        let core_mode = site::one_core_mode(&neighbours);
        let choices = site::Choices { client_secret: "secret", neighbours: &neighbours, core_mode };
        site::Part::Iam.spawn(&mut tasks, listener, None, choices).unwrap();
        let token = fetch(&iam, "alice", "alice").await.unwrap();
        let claims = stand_in::jose::Parts::split(&token).unwrap().claims;
        assert_eq!(claims["roles"], json!(["organization_admin"]));
        assert!(fetch(&iam, "alice", "bob").await.unwrap_err().contains("wrong"));
        assert!(
            fetch("http://127.0.0.1:1", "alice", "alice").await.unwrap_err().contains("running")
        );
    }
}
