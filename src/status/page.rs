//! The status page: one document with its style and script in it, whole without the script.
//!
//! Its Content-Security-Policy names the two by their hashes and allows nothing else but asking
//! this listener again. Everything that is shown is escaped, wherever it comes from. The script
//! fetches the page again and puts the parts that have changed in place of the old, so that there
//! is one place where things are shown: here.

mod chart;
mod refusals;
mod sections;

use std::{collections::HashMap, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Status;

/// The page, and the policy that goes with it.
pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) policy: &'static str,
}

/// The page for what is now; `configuration` is what is at work, secrets hidden.
pub(crate) fn render(status: &Status, configuration: &serde_yaml::Value) -> Page {
    let yaml = serde_yaml::to_string(configuration).unwrap_or_default();
    let mut parts = sections::of(status);
    parts.insert("configuration", crate::answer::escape(&yaml));
    parts.insert("style", STYLE.to_owned());
    parts.insert("script", SCRIPT.to_owned());
    Page { html: filled(TEMPLATE, &parts), policy: &POLICY }
}

const TEMPLATE: &str = include_str!("page/status.html");
const STYLE: &str = include_str!("page/status.css");
const SCRIPT: &str = include_str!("page/status.js");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE),
    )
});

/// The template with `{{name}}` filled in, in one pass: what is filled in is not looked at again.
fn filled(template: &str, parts: &HashMap<&'static str, String>) -> String {
    let mut page =
        String::with_capacity(template.len() + parts.values().map(String::len).sum::<usize>());
    let mut pieces = template.split("{{");
    page.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        page.push_str(parts.get(name).map_or("", String::as_str));
        page.push_str(rest);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let parts = HashMap::from([("a", "{{b}}".to_owned()), ("b", "never".to_owned())]);
        assert_eq!(filled("<{{a}}|{{unknown}}>", &parts), "<{{b}}|>");
    }

    /// Nothing from elsewhere, and nothing that the policy would not let run.
    #[test]
    fn the_page_is_self_contained() {
        for (text, banned) in [
            (TEMPLATE, &["http:", "https:", "src=", " onclick", " onload", " style=\""][..]),
            (STYLE, &["url(", "@import", "</"]),
            (SCRIPT, &["innerHTML", "eval(", "http:", "https:", "</", "insertAdjacentHTML"]),
        ] {
            for word in banned {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
