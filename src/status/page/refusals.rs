//! The last refusals as a table. Each can fill in the form that asks `explain`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::sections::{cell, head};
use crate::{
    answer::escape,
    status::Status,
    telemetry::recent::{REMEMBERED, Refused},
};

pub(super) fn note(status: &Status) -> String {
    match status.refusals.len() {
        0 => "Nothing was refused since the start.".to_owned(),
        all if all < REMEMBERED => format!("All {all} since the start, the newest first."),
        all => format!("The newest {all}; the access records have every one."),
    }
}

pub(super) fn table(status: &Status) -> String {
    if status.refusals.is_empty() {
        return String::new();
    }
    let mut table = head(
        "Last refusals",
        &[
            ("Time", ""),
            ("Reason", ""),
            ("Request", ""),
            ("Caller", ""),
            ("Organisation", ""),
            ("Detail", ""),
            ("Request id", ""),
        ],
    );
    for refused in &status.refusals {
        table.push_str(&refusal(refused, &status.roles_claim));
    }
    table + "</tbody>"
}

fn refusal(refused: &Refused, roles_claim: &str) -> String {
    let at = refused.time.strftime("%H:%M:%S");
    let mut reason = format!("<strong>{}</strong> {}", refused.reason, refused.status);
    for (is, word) in [(refused.on_trial, "on trial: let pass"), (refused.forwarded, "forwarded")] {
        if is {
            let _ = write!(reason, " <span class=\"tag\">{word}</span>");
        }
    }
    let route = refused.route.as_deref();
    let mut request = format!("<code>{} {}</code>", escape(&refused.method), escape(&refused.path));
    match route {
        Some(route) if *route != *refused.path => {
            let _ = write!(request, "<br><span class=\"soft\">route {}</span>", escape(route));
        }
        Some(_) => {}
        None => request.push_str("<br><span class=\"soft\">no route</span>"),
    }
    let subject = refused.subject.as_deref();
    let mut caller = subject.map_or_else(|| "<span class=\"soft\">–</span>".to_owned(), escape);
    if let Some(proof) = refused.proof {
        let _ = write!(caller, "<br><span class=\"soft\">{}</span>", proof.replace('_', " "));
    }
    let organisation = refused.organisation.map_or_else(|| "–".to_owned(), |one| one.to_string());
    let question = escape(&question(refused, roles_claim).to_string());
    let id = format!(
        "<code>{}</code> <button type=\"button\" class=\"plain needs-script\" \
         data-question=\"{question}\">Explain<span class=\"unseen\"> the refusal of {at}</span>\
         </button>",
        escape(&refused.request_id),
    );
    let cells = [
        cell("Reason", "reason", &reason),
        cell("Request", "request", &request),
        cell("Caller", "", &caller),
        cell("Organisation", "id", &organisation),
        cell("Detail", "detail", &escape(refused.detail.as_deref().unwrap_or("–"))),
        cell("Request id", "id", &id),
    ];
    let time = format!("<time datetime=\"{}\">{at}</time>", refused.time);
    format!("<tr><th scope=\"row\" data-label=\"Time\">{time}</th>{}</tr>", cells.concat())
}

/// What the form asks about a refusal: the request without what is not remembered of it, and a
/// caller with the same subject and roles.
fn question(refused: &Refused, roles_claim: &str) -> Value {
    let mut fields = json!({
        "method": refused.method, "path": refused.path, "host": refused.host,
    });
    let kind = match refused.proof {
        Some("session") => "session",
        Some("app_token") => "app",
        Some(_) => "iam",
        None => return fields,
    };
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(refused.subject));
    if kind != "app" && !refused.roles.is_empty() {
        put(&mut claims, roles_claim, json!(refused.roles));
    }
    if let Value::Object(fields) = &mut fields {
        fields.insert("as".to_owned(), kind.into());
        let claims = serde_json::to_string_pretty(&claims).unwrap_or_default();
        fields.insert("claims".to_owned(), claims.into());
    }
    fields
}

/// Writes a value where a JSON pointer leads, through objects.
fn put(object: &mut Map<String, Value>, pointer: &str, value: Value) {
    let (first, rest) = match pointer.strip_prefix('/') {
        Some(path) => path.split_once('/').unwrap_or((path, "")),
        None => return,
    };
    let key = first.replace("~1", "/").replace("~0", "~");
    if rest.is_empty() {
        object.insert(key, value);
    } else if let Value::Object(inner) = object.entry(key).or_insert_with(|| json!({})) {
        put(inner, &format!("/{rest}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_written_where_the_pointer_leads() {
        for (pointer, expected) in [
            ("/roles", json!({ "roles": ["a"] })),
            ("/realm_access/roles", json!({ "realm_access": { "roles": ["a"] } })),
            ("/a~1b/c~0d", json!({ "a/b": { "c~d": ["a"] } })),
            ("none", json!({})),
        ] {
            let mut claims = Map::new();
            put(&mut claims, pointer, json!(["a"]));
            assert_eq!(Value::from(claims), expected, "{pointer}");
        }
    }
}
