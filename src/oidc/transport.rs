//! What `openidconnect` speaks HTTP through: our own client, bounded bodies, no surprises.

use std::{future::Future, pin::Pin, time::Duration};

use http::StatusCode;
use openidconnect::{DiscoveryError, HttpRequest, HttpResponse};

use crate::{
    http_client::{self, BodyError},
    telemetry::trace::call::Call,
    trace_context::TRACEPARENT,
};

/// Our HTTP client as `openidconnect` takes one.
pub(super) struct Transport {
    http: reqwest::Client,
    https_only: bool,
}

/// An answer under way.
type Answering = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send>>;

/// Why there is no answer to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.word())]
pub(super) enum Failure {
    Scheme,
    Unreachable,
    TimedOut,
    Redirect,
    Status,
    Intermediary,
    TooLarge,
    BrokenOff,
}

impl Failure {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Scheme => "its metadata names an endpoint that is not https",
            Self::Unreachable => "it cannot be reached",
            Self::TimedOut => "it did not answer in time",
            Self::Redirect => "it redirects, which is not followed",
            Self::Status => "it answers with a server error or refuses for now",
            Self::Intermediary => "something before it answers in its place",
            Self::TooLarge => "its answer is too large",
            Self::BrokenOff => "its answer broke off",
        }
    }

    /// Whether the provider may have done what it was asked to, and we did not hear of it.
    pub(super) const fn may_have_been_served(self) -> bool {
        match self {
            Self::Scheme | Self::Unreachable | Self::Redirect | Self::Status => false,
            Self::TimedOut | Self::Intermediary | Self::TooLarge | Self::BrokenOff => true,
        }
    }
}

impl Transport {
    pub(super) fn new(http: reqwest::Client, https_only: bool) -> Self {
        Self { http, https_only }
    }

    /// An issuer that is reached over HTTPS may not send our secret anywhere in the clear.
    pub(super) fn accepts(&self, scheme: &str) -> bool {
        scheme == "https" || (scheme == "http" && !self.https_only)
    }

    pub(super) fn client(&self) -> impl Fn(HttpRequest) -> Answering {
        self.client_within(None)
    }

    /// One that waits so long for an answer, in place of the client's own time.
    pub(super) fn patient_client(&self, patience: Duration) -> impl Fn(HttpRequest) -> Answering {
        self.client_within(Some(patience))
    }

    fn client_within(&self, patience: Option<Duration>) -> impl Fn(HttpRequest) -> Answering {
        let (http, https_only) = (self.http.clone(), self.https_only);
        move |request| {
            let transport = Self { http: http.clone(), https_only };
            Box::pin(async move { transport.send(request, patience).await })
        }
    }

    async fn send(
        &self,
        request: HttpRequest,
        patience: Option<Duration>,
    ) -> Result<HttpResponse, Failure> {
        if !request.uri().scheme_str().is_some_and(|scheme| self.accepts(scheme)) {
            return Err(Failure::Scheme);
        }
        let mut request = reqwest::Request::try_from(request).map_err(|_| Failure::Unreachable)?;
        if let Some(patience) = patience {
            *request.timeout_mut() = Some(patience);
        }
        let mut call = Call::begin("iam", request.method(), request.url().host_str());
        if let Some(header) = call.header() {
            request.headers_mut().insert(TRACEPARENT, header);
        }
        let answer = self.http.execute(request).await.map_err(|error| {
            call.unanswered(&error);
            if error.is_connect() || error.is_builder() {
                Failure::Unreachable
            } else if error.is_timeout() {
                Failure::TimedOut
            } else {
                Failure::BrokenOff
            }
        })?;
        let status = answer.status();
        call.answered(status);
        if status.is_redirection() {
            return Err(Failure::Redirect);
        }
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            return Err(Failure::Intermediary);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Status);
        }
        let headers = answer.headers().clone();
        let body =
            http_client::read_body(answer, LARGEST_BODY).await.map_err(|error| match error {
                BodyError::TooLarge(_) => Failure::TooLarge,
                BodyError::Broken(error) if error.is_timeout() => Failure::TimedOut,
                BodyError::Broken(_) => Failure::BrokenOff,
            })?;
        let mut response = HttpResponse::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// What went wrong with a discovery, without anything that the other side wrote.
pub(super) fn discovery_word(error: &DiscoveryError<Failure>) -> &'static str {
    match error {
        DiscoveryError::Request(failure) => failure.word(),
        DiscoveryError::Validation(_) => "its metadata names another issuer",
        DiscoveryError::Response(..) => "it does not serve its metadata or keys as JSON",
        DiscoveryError::Parse(_) => "its metadata or keys cannot be read",
        _ => "its metadata cannot be asked for",
    }
}

/// For metadata, keys and token responses alike.
const LARGEST_BODY: usize = 256 * 1024;
