//! An outside token service that can be told to fail and to lie.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::demo::stand_in::sts;

/// Starts one; its URL.
pub(crate) async fn start(iam: &str, handle: sts::Handle) -> String {
    let (listener, address) = super::listener().await;
    let url = format!("http://{address}");
    tokio::spawn(serve(listener, iam.to_owned(), url.clone(), handle));
    url
}

/// One that can be killed, with every connection that it has.
pub(crate) struct Mortal {
    pub(crate) url: String,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Mortal {
    pub(crate) async fn start(iam: &str, handle: sts::Handle) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (listener, address) = super::listener().await;
        let url = format!("http://{address}");
        let listener = listener.into_std().unwrap();
        let (iam, issuer) = (iam.to_owned(), url.clone());
        runtime.spawn(async move {
            serve(TcpListener::from_std(listener).unwrap(), iam, issuer, handle).await;
        });
        Self { url, runtime: Some(runtime) }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(listener: TcpListener, iam: String, url: String, handle: sts::Handle) {
    let role = |(role, names): (&str, &[&str])| {
        (role.to_owned(), names.iter().map(|&name| name.to_owned()).collect())
    };
    let roles: [(&str, &[&str]); 3] = [
        ("admin", &["CREDENTIAL_LIST", "CREDENTIAL_ISSUE", "TASK_CREATE"]),
        ("reader", &["CREDENTIAL_LIST"]),
        ("cron", &["TASK_CREATE"]),
    ];
    let settings = sts::Settings {
        issuer: url,
        audiences: vec!["one-core".to_owned(), "one-bridge".to_owned()],
        lifetime: Duration::from_secs(300),
        iam_issuer: iam,
        iam_audience: "procivis-one-platform".to_owned(),
        roles: roles.map(role).into(),
        client: None,
        handle,
    };
    // Ends with its test.
    let _ = sts::serve(listener, settings).await;
}

/// The `sts` section for it; `more` are further keys of `exchange`.
pub(crate) fn section(url: &str, more: &str) -> String {
    format!(
        "exchange: {{ url: '{url}/sts/token', issuer: '{url}', \
         jwks: '{url}/.well-known/jwks.json', \
         parameters: {{ organisationId: '{{organisation}}' }}{more} }}"
    )
}
