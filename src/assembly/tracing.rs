//! The way to the collector of traces.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::Defects;
use crate::{config::Config, telemetry::trace::Settings};

/// `None` where nothing is traced, or a defect is noted.
pub(super) fn assemble(config: &Config, defects: &mut Defects) -> Option<Box<(f64, Settings)>> {
    let tracing = config.tracing.as_ref()?;
    let http = super::http(tracing.ca.as_ref(), TIMEOUT, "tracing.ca", defects)?;
    let mut url = tracing.otlp.clone();
    // As OTEL_EXPORTER_OTLP_ENDPOINT and ..._TRACES_ENDPOINT have it: a base, or the very place.
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &tracing.headers {
        // The configuration's own checks have seen to it that both are good.
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::try_from(name), HeaderValue::try_from(value.expose()))
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    let (service, instance) = (tracing.service.clone(), Uuid::new_v4().to_string());
    Some(Box::new((tracing.sample, Settings { http, url, headers, service, instance })))
}

/// For one batch.
const TIMEOUT: Duration = Duration::from_secs(5);
