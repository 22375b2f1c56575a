//! `portcullis check --connect`: whether everybody answers whom the gateway depends on.
//!
//! Asked the way the gateway asks, with its certificates, names and time-outs. Nothing is changed
//! anywhere and no secret is shown to anybody: no token is asked for.

use std::{fmt, sync::Arc, time::Duration};

use pingora::connectors::TransportConnector;

use crate::{
    assembly::Assembly, config::Config, http_client, jwks::Jwks, listener::tls, oidc::Provider,
    upstream::Upstream,
};

/// Who was asked, by the key that names them, and what came of it.
pub(super) struct Asked {
    who: String,
    outcome: Result<String, String>,
}

impl Asked {
    pub(super) const fn answered(&self) -> bool {
        self.outcome.is_ok()
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(what) => write!(f, "ok    {}: {what}", self.who),
            Err(why) => write!(f, "FAIL  {}: {why}", self.who),
        }
    }
}

/// Asks everybody, in the order in which a request would come to need them.
pub(super) async fn everybody(config: &Config, assembly: &Assembly) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (at, listener) in config.listeners.iter().enumerate() {
        let Some(files) = &listener.tls else { continue };
        let outcome = match tls::read(files) {
            Ok(_) => Ok("its certificates can be used".to_owned()),
            Err((key, why)) => Err(format!("{key}: {why}")),
        };
        asked.push(Asked { who: format!("listeners[{at}].tls"), outcome });
    }
    if let Some(provider) = &assembly.provider {
        asked.push(Asked { who: "iam.issuer".into(), outcome: discovery(provider).await });
    }
    let places = [("iam", &assembly.iam_keys), ("sts.exchange.jwks", &assembly.sts_keys)];
    for (who, keys) in places {
        if let Some(keys) = keys {
            let who = if who == "iam" { "iam.issuer, keys" } else { who };
            asked.push(Asked { who: who.into(), outcome: keys_of(keys).await });
        }
    }
    if let Some(exchange) = config.sts.as_ref().and_then(|sts| sts.exchange.as_ref()) {
        let outcome = endpoint(&exchange.url, exchange.timeout).await;
        asked.push(Asked { who: "sts.exchange.url".into(), outcome });
    }
    if let Some(browsers) = &assembly.state.browsers
        && let Some(answered) = browsers.sessions.store().ping().await
    {
        let outcome = answered.map(|()| "answers".to_owned()).map_err(|why| why.to_string());
        asked.push(Asked { who: "session.store.redis".into(), outcome });
    }
    for upstream in &assembly.state.upstreams {
        asked.extend(servers(upstream).await);
    }
    asked
}

async fn discovery(provider: &Arc<Provider>) -> Result<String, String> {
    provider.warm().await.map(|()| "discovered".to_owned()).map_err(|error| error.to_string())
}

async fn keys_of(keys: &Jwks) -> Result<String, String> {
    keys.refresh().await.map_err(|error| error.to_string())?;
    let known = keys.current().map_or(0, |keys| keys.len());
    Ok(format!("{known} keys that can be used"))
}

/// Any answer will do: what it says to a request without a token is its own affair.
async fn endpoint(url: &url::Url, timeout: Duration) -> Result<String, String> {
    let client = http_client::build(None, timeout).map_err(|error| error.to_string())?;
    let answer = client.head(url.clone()).send().await;
    let answer = answer.map_err(|error| http_client::describe(&error))?;
    Ok(format!("answers ({})", answer.status().as_u16()))
}

/// Each server of an upstream: a connection, with TLS where it is spoken, and the health check
/// where there is one.
async fn servers(upstream: &Upstream) -> Vec<Asked> {
    let who = |server: &str| format!("upstreams.{}, {server}", upstream.name());
    if let Err(error) = upstream.resolve().await {
        let outcome = Err(format!("its servers are not known: {error}"));
        return vec![Asked { who: who("servers"), outcome }];
    }
    let servers = upstream.servers();
    if servers.is_empty() {
        return vec![Asked { who: who("servers"), outcome: Err("no name resolves".into()) }];
    }
    let connector = TransportConnector::new(None);
    let mut asked = Vec::new();
    for server in servers.iter() {
        let peer = upstream.peer(server, None, None);
        let outcome = match connector.new_stream(&peer).await {
            Ok(_) if peer.sni.is_empty() => Ok("connects".to_owned()),
            Ok(_) => Ok("connects, and its certificate is good".to_owned()),
            Err(error) => Err(reason(&error)),
        };
        asked.push(Asked { who: who(&peer._address.to_string()), outcome });
    }
    upstream.check().await;
    if upstream.checks_health() {
        let (healthy, all) = (upstream.healthy().len(), servers.len());
        let said = format!("{healthy} of {all} servers pass");
        let outcome = if healthy == all { Ok(said) } else { Err(said) };
        asked.push(Asked { who: who("health"), outcome });
    }
    asked
}

/// What Pingora says in the middle of its own notes.
fn reason(error: &pingora::Error) -> String {
    let cause = error.root_cause().to_string();
    let cause = cause.trim();
    if cause.is_empty() { error.etype().as_str().to_owned() } else { cause.to_owned() }
}
