//! Whether a running upstream still has the operations that our routes are about: reads its
//! OpenAPI document now and then, and tells where the two have parted.
//!
//! It tells and does nothing else. A document from the network opens no route and closes none:
//! what is served is what the operator wrote, until the operator writes it anew. What differs is
//! decided in [`crate::policy::drift`], what is worth a line in the log in [`report`].

pub mod report;

use std::{error::Error as _, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use log::Level;
use reqwest::{StatusCode, header};
use url::Url;

use self::report::{Findings, Reporter};
use crate::{
    http_client::{BodyError, read_body},
    jwks,
    policy::{
        drift::Compared,
        import::{self, Document, DocumentError},
    },
    time::Timestamp,
};

/// One upstream that is watched.
pub struct Watch {
    settings: Settings,
    client: reqwest::Client,
    found: ArcSwapOption<Findings>,
}

/// What is watched, and how.
pub struct Settings {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Where it hands out its document.
    pub url: Url,
    /// Longest pause between two comparisons.
    pub interval: Duration,
    /// Largest document, in bytes.
    pub size: usize,
    /// What the document is held against.
    pub compared: Compared,
}

/// Why a document was not read. Names no URL: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection, no answer in time, or no HTTP.
    #[error("cannot be read: {}", innermost(.0))]
    Unreachable(reqwest::Error),
    /// A redirect, which is not followed: it would let others write what is compared.
    #[error("answers {0}, and redirects are not followed")]
    Redirect(StatusCode),
    /// The answer is no success.
    #[error("answers {0}")]
    Status(StatusCode),
    /// The answer is too large.
    #[error("{0}")]
    TooLarge(BodyError),
    /// The answer broke off.
    #[error("broke off: {}", innermost(.0))]
    Broken(reqwest::Error),
    /// The answer is no text.
    #[error("is not UTF-8 text")]
    NotText,
    /// The answer is no document of use.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Reads the document of a running upstream, of at most `size` bytes. `client` comes from
/// [`crate::http_client::build`], which bounds the time and follows no redirect.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(client: &reqwest::Client, url: Url, size: usize) -> Result<Document, ReadError> {
    let answer = client.get(url).header(header::ACCEPT, "application/json, */*;q=0.5").send();
    let answer = answer.await.map_err(ReadError::Unreachable)?;
    match answer.status() {
        status if status.is_success() => {}
        status if status.is_redirection() => return Err(ReadError::Redirect(status)),
        status => return Err(ReadError::Status(status)),
    }
    let body = read_body(answer, size).await.map_err(|error| match error {
        BodyError::Broken(cause) => ReadError::Broken(cause),
        too_large @ BodyError::TooLarge(_) => ReadError::TooLarge(too_large),
    })?;
    let text = std::str::from_utf8(&body).map_err(|_| ReadError::NotText)?;
    Ok(import::read(text)?)
}

/// What lies beneath "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    // Without a cause the text may name the URL.
    cause.map_or_else(|| "no answer".to_owned(), ToString::to_string)
}

impl Watch {
    /// Reads nothing yet. `client` comes from [`crate::http_client::build`].
    #[must_use]
    pub const fn new(settings: Settings, client: reqwest::Client) -> Self {
        Self { settings, client, found: ArcSwapOption::const_empty() }
    }

    /// The upstream's name.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.settings.upstream
    }

    /// What the last comparison found; `None` while there was none.
    #[must_use]
    pub fn found(&self) -> Option<Arc<Findings>> {
        self.found.load_full()
    }

    /// Compares until `shutdown` turns true or its sender is gone: at once, then within each
    /// interval; sooner after a failure, as [`jwks::pause`] has it.
    pub async fn keep(&self, mut shutdown: tokio::sync::watch::Receiver<bool>) {
        let watching = async {
            let mut reporter = Reporter::default();
            let mut failures = 0;
            loop {
                failures = if self.compare(&mut reporter).await { 0 } else { failures + 1 };
                let random = jwks::random_byte();
                tokio::time::sleep(jwks::pause(self.settings.interval, failures, random)).await;
            }
        };
        tokio::select! {
            () = watching => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// Compares once; whether it came to a comparison.
    async fn compare(&self, reporter: &mut Reporter) -> bool {
        let Settings { url, size, compared, .. } = &self.settings;
        let read = read(&self.client, url.clone(), *size).await;
        let compared = read.map_err(|error| error.to_string()).and_then(|document| {
            let found = compared.with(&document).map_err(|error| error.to_string())?;
            Ok((document, found))
        });
        let (lines, read) = match compared {
            Ok((document, differences)) => {
                let findings = Findings::new(Timestamp::now(), &differences);
                self.found.store(Some(Arc::new(findings)));
                (reporter.compared(&document, differences), true)
            }
            Err(why) => (reporter.unread(&why), false),
        };
        for (level, line) in lines {
            self.log(level, &line);
        }
        read
    }

    fn log(&self, level: Level, line: &str) {
        let host = self.settings.url.host_str().unwrap_or_default();
        log::log!(level, upstream = self.upstream(), host; "{line}");
    }
}

#[cfg(test)]
mod tests;
