//! The provider's pages: one template, no script, nothing loaded from elsewhere.

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{Html, IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use portcullis::answer::escape;
use url::Url;

use super::state::Request;

const STYLE: &str = "\
:root{color-scheme:light dark;--accent:light-dark(#0b5c9c,#7cc0f5)}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;\
font:16px/1.5 system-ui,sans-serif;background:light-dark(#eef2f6,#12171d);\
color:light-dark(#1b232c,#e6ebf0)}\
main{width:100%;max-width:23rem;padding:2rem;border-radius:.8rem;\
background:light-dark(#fff,#1c232b);box-shadow:0 4px 24px #0003}\
h1{font-size:1.3rem;margin:0}p{margin:.3rem 0 1rem;opacity:.85;overflow-wrap:anywhere}\
label{display:block;margin:.8rem 0 .2rem;font-weight:600}\
input{width:100%;padding:.6rem;font:inherit;border:1px solid #7d8894;border-radius:.4rem;\
background:transparent;color:inherit}\
button{width:100%;margin:1.4rem 0 .6rem;padding:.7rem;font:inherit;font-weight:600;border:0;\
border-radius:.4rem;background:var(--accent);color:light-dark(#fff,#10161c);cursor:pointer}\
input:focus-visible,button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
.fault{margin:1rem 0 0;padding:.6rem .8rem;border-left:4px solid light-dark(#b3261e,#ff8a80);\
background:light-dark(#fdecea,#3a1f1f)}small{opacity:.8}";

/// The login page; `fault` is said above the form.
pub(crate) fn login(id: &str, request: &Request, fault: Option<&str>) -> Response {
    let fault = fault
        .map(|fault| format!("<p class=\"fault\" role=\"alert\" id=\"fault\">{fault}</p>"))
        .unwrap_or_default();
    let described = if fault.is_empty() { "" } else { " aria-describedby=\"fault\"" };
    let content = format!(
        "<h1>Log in</h1><p>to continue to <b>{client}</b></p>{fault}\
         <form method=\"post\" action=\"/login\">\
         <input type=\"hidden\" name=\"request\" value=\"{id}\">\
         <label for=\"user\">User</label><input id=\"user\" name=\"user\" required autofocus \
         autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\"{described}>\
         <label for=\"password\">Password</label><input id=\"password\" name=\"password\" \
         type=\"password\" required autocomplete=\"current-password\"{described}>\
         <button>Log in</button></form>\
         <small>Demo users: alice (password alice) may issue credentials, \
         bob (password bob) may only read.</small>",
        client = escape(&request.client),
        id = escape(id),
    );
    // Chrome applies form-action to the redirect that follows the form as well.
    let client = Url::parse(&request.redirect).map(|url| url.origin().ascii_serialization());
    page(StatusCode::OK, "Log in", &content, &client.unwrap_or_default())
}

/// Said when there is nowhere to redirect to.
pub(crate) fn fault(text: &str) -> Response {
    let content = format!("<h1>This login cannot go on</h1><p>{text}</p>");
    page(StatusCode::BAD_REQUEST, "Login failed", &content, "")
}

/// The end of a session.
pub(crate) fn logged_out() -> Response {
    page(StatusCode::OK, "Logged out", "<h1>You are logged out</h1>", "")
}

fn page(status: StatusCode, title: &str, content: &str, form_target: &str) -> Response {
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title} · Demo IAM</title><style>{STYLE}</style></head>\
         <body><main>{content}</main></body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self' {form_target}; \
         base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(digest(&SHA256, STYLE.as_bytes())),
    );
    let policy = HeaderValue::try_from(policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, headers, Html(body)).into_response()
}
