//! Where traces go, and how many.

use http::{HeaderName, header};

use super::{Draft, Notes, network::plain_text, path};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let Some(tracing) = draft.tracing.get() else { return };
    let here = path("tracing");
    if !(0.0..=1.0).contains(&tracing.sample) {
        notes.fault(&here.key("sample"), "must be from 0 to 1: the share of requests");
    }
    let url = &tracing.otlp;
    let collector = here.key("otlp");
    if url.query().is_some() {
        notes.fault(&collector, "has a query; what the collector demands goes into headers");
    }
    plain_text(url, tracing.plaintext, &collector, "tracing.plaintext", notes);
    if tracing.service.trim().is_empty() {
        notes.fault(&here.key("service"), "is empty; leave it out, or name the service");
    }
    for (name, value) in &tracing.headers {
        let key = here.key("headers").key(name.as_str());
        match HeaderName::try_from(name) {
            Err(_) => notes.fault(&key, "is no name of a header"),
            Ok(name) if OURS.contains(&name) => notes.fault(&key, "is written by the gateway"),
            Ok(_) => {}
        }
        if http::HeaderValue::try_from(value.expose()).is_err() {
            notes.fault(&key, "cannot stand in a header: it holds a control character");
        }
    }
}

const OURS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::HOST,
];

#[cfg(test)]
mod tests {
    use crate::config::tests::{faults, sound};

    #[test]
    fn what_cannot_be_traced_is_refused() {
        for (tracing, words) in [
            ("{ otlp: 'http://127.0.0.1:4318', sample: 1.5 }", "must be from 0 to 1"),
            ("{ otlp: 'http://127.0.0.1:4318', sample: -0.1 }", "must be from 0 to 1"),
            ("{ otlp: 'grpc://127.0.0.1:4317' }", "not an http or https URL"),
            ("{ otlp: 'http://collector:4318' }", "tracing.plaintext: true"),
            ("{ otlp: 'https://u:p@collector' }", "must not hold a user name"),
            ("{ otlp: 'https://collector?key=1' }", "goes into headers"),
            ("{ otlp: 'https://collector', service: ' ' }", "is empty"),
            ("{ otlp: 'https://collector', headers: { 'a b': x } }", "no name of a header"),
            ("{ otlp: 'https://collector', headers: { Host: x } }", "written by the gateway"),
        ] {
            let text = format!("allow_inline_secrets: true\ntracing: {tracing}\n");
            let found = faults(&sound(&text));
            assert!(found.contains(words) && found.lines().count() == 1, "{tracing}: {found}");
        }
    }
}
