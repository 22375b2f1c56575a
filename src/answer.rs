//! A response of our own: a refusal, a redirect, a small page, a JSON document.
//!
//! Values only; `gateway` writes them. Every answer carries `Cache-Control: no-store`,
//! `X-Content-Type-Options: nosniff` and a `Content-Security-Policy` that allows nothing.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::refusal::Refusal;

/// A complete response, ready to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Header lines in order; a name may repeat (`Set-Cookie`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, None, Bytes::new(), HeaderValue::from_static(NOTHING_ALLOWED))
    }

    /// `303 See Other` to a place that the browser asks for with GET.
    #[must_use]
    pub fn see_other(location: HeaderValue) -> Self {
        Self::empty(StatusCode::SEE_OTHER).with(header::LOCATION, location)
    }

    /// `302 Found`, the redirect of a navigation that needs a login.
    #[must_use]
    pub fn found(location: HeaderValue) -> Self {
        Self::empty(StatusCode::FOUND).with(header::LOCATION, location)
    }

    /// A JSON document.
    #[must_use]
    pub fn json(status: StatusCode, content_type: &'static str, document: &impl Serialize) -> Self {
        // Only our own types come here, and none of them has a map with keys that are not strings.
        let body = serde_json::to_vec(document).unwrap_or_default();
        Self::new(
            status,
            Some(content_type),
            body.into(),
            HeaderValue::from_static(NOTHING_ALLOWED),
        )
    }

    /// A small page. `title` and `text` are escaped; `controls` is markup of ours and is not.
    #[must_use]
    pub fn page(status: StatusCode, title: &str, text: &str, controls: &str) -> Self {
        let body = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1><p>{text}</p>{controls}</main></body></html>",
            title = escape(title),
            text = escape(text),
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
            STANDARD.encode(digest),
        );
        let policy = HeaderValue::try_from(policy)
            .unwrap_or_else(|_| HeaderValue::from_static(NOTHING_ALLOWED));
        Self::new(status, Some("text/html; charset=utf-8"), body.into(), policy)
    }

    /// The answer to a refused request: problem details (RFC 9457), or a page that says the same
    /// when `as_page`.
    #[must_use]
    pub fn refusal(refusal: &Refusal, request_id: &str, as_page: bool) -> Self {
        let reason = refusal.reason;
        let status =
            StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = if as_page {
            let text = format!("{} · {} · request {request_id}", reason.status(), reason.word());
            Self::page(status, reason.title(), &text, "")
        } else {
            let problem = json!({
                "status": reason.status(),
                "title": reason.title(),
                "reason": reason.word(),
                "request_id": request_id,
            });
            Self::json(status, "application/problem+json", &problem)
        };
        if let Some(challenge) = refusal.challenge() {
            answer = answer.with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(after) = refusal.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            answer = answer.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = refusal.allow.as_deref().and_then(|allow| allow.parse().ok()) {
            answer = answer.with(header::ALLOW, allow);
        }
        answer
    }

    /// The same with one more header line.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A problem document with `login`, and a header with the same: the URL that logs a person in
    /// and brings them back. Pages and other documents get the header alone.
    #[must_use]
    pub fn with_login(mut self, url: &str) -> Self {
        if let Ok(mut problem) = serde_json::from_slice::<serde_json::Map<_, _>>(&self.body) {
            problem.insert("login".to_owned(), url.into());
            self.body = serde_json::to_vec(&problem).unwrap_or_default().into();
        }
        match HeaderValue::try_from(url) {
            Ok(url) => self.with(HeaderName::from_static(LOGIN_URL), url),
            Err(_) => self,
        }
    }

    /// A page whose form may also lead to these origins; `'self'` it may anyhow.
    #[must_use]
    pub fn with_form_targets(self, origins: &[String]) -> Self {
        let targets = origins.join(" ");
        self.with_policy("form-action 'self'", &format!("form-action 'self' {targets}"))
    }

    /// A page that this origin may show in a frame.
    #[must_use]
    pub fn framed_by(self, origin: &str) -> Self {
        self.with_policy("frame-ancestors 'none'", &format!("frame-ancestors {origin}"))
    }

    fn with_policy(mut self, directive: &str, instead: &str) -> Self {
        for (name, value) in &mut self.headers {
            let policy = value.to_str().unwrap_or_default().replace(directive, instead.trim_end());
            if *name == header::CONTENT_SECURITY_POLICY
                && let Ok(policy) = HeaderValue::try_from(policy)
            {
                *value = policy;
            }
        }
        self
    }

    fn new(
        status: StatusCode,
        kind: Option<&'static str>,
        body: Bytes,
        policy: HeaderValue,
    ) -> Self {
        let mut headers = vec![
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        if let Some(kind) = kind {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        }
        Self { status, headers, body }
    }
}

/// Text as HTML shows it.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Where a person logs in, and comes back from.
const LOGIN_URL: &str = "portcullis-login";

const NOTHING_ALLOWED: &str = "default-src 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;display:grid;\
    min-height:100vh;place-items:center;background:Canvas;color:CanvasText;color-scheme:light dark}\
    main{max-width:34rem;padding:2rem}h1{font-size:1.3rem}p{opacity:.8;overflow-wrap:anywhere}\
    button{font:inherit;padding:.5rem 1.2rem;border-radius:.4rem;border:1px solid;cursor:pointer}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;

    #[test]
    fn a_refusal_tells_its_reason_and_no_detail() {
        let refusal = Refusal::new(Reason::PermissionMissing, "any of SECRET_RULE");
        for as_page in [false, true] {
            let answer = Answer::refusal(&refusal, "r-1", as_page);
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert_eq!(answer.status, 403);
            assert!(body.contains("permission_missing") && body.contains("r-1"), "{body}");
            assert!(!body.contains("SECRET_RULE"), "{body}");
        }
    }

    #[test]
    fn a_page_escapes_its_text() {
        let page = Answer::page(StatusCode::OK, "<b>", "\"'&", "");
        let body = String::from_utf8(page.body.to_vec()).unwrap();
        assert!(body.contains("&lt;b&gt;") && body.contains("&quot;&#39;&amp;"), "{body}");
    }
}
