//! The file of routes that a document gives: the bytes of an `include` of the configuration.
//!
//! The same document gives the same bytes, one rule an operation by path and method, so that two
//! versions of a file can be compared line by line. Writes no file itself.

use std::fmt::{self, Write as _};

use super::import::{
    Demand, Document, LEFT_OUT, NamedPlace, Operation,
    perimeter::{Separation, separation},
};
use crate::{config::Place, permission::Permission};

const COLUMNS: usize = 100;

/// The whole file; `source` names the document, for people.
#[must_use]
pub fn render(document: &Document, upstream: &str, source: &str) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, document, upstream, &format!("--upstream {upstream} {source}"), &[]);
    text
}

/// The same for an upstream that checks nothing: every route keeps to one organisation, and
/// operations that cannot be kept to one are left out.
#[must_use]
pub fn render_perimeter(document: &Document, upstream: &str, source: &str) -> String {
    let mut kept = Document { operations: Vec::new(), ..document.clone() };
    let mut closed = Vec::new();
    for operation in &document.operations {
        match separation(document, operation) {
            Separation::Protocol => kept.operations.push(operation.clone()),
            Separation::Places(places) => {
                kept.operations.push(Operation { places, ..operation.clone() });
            }
            Separation::Closed(why) => closed.push((operation, why)),
        }
    }
    let mut text = String::new();
    // Writing to a String does not fail.
    let made = format!("--perimeter --upstream {upstream} {source}");
    let _ = write(&mut text, &kept, upstream, &made, &closed);
    text
}

fn write(
    out: &mut String,
    document: &Document,
    upstream: &str,
    made: &str,
    closed: &[(&Operation, String)],
) -> fmt::Result {
    let count = |holds: fn(&Demand) -> bool| {
        document.operations.iter().filter(|operation| holds(&operation.demand)).count()
    };
    writeln!(
        out,
        "# Routes of {} {}, one for each operation of its OpenAPI document:",
        line(&document.title),
        line(&document.version)
    )?;
    writeln!(
        out,
        "# {} that ask for a permission, {} for a caller who is known, {} for nobody.",
        count(|demand| matches!(demand, Demand::AnyOf(_))),
        count(|demand| *demand == Demand::Authentication),
        count(|demand| *demand == Demand::Nothing),
    )?;
    writeln!(out, "#\n# Made by: portcullis policy import {}", line(made))?;
    out.write_str(
        "# The next import overwrites this file. Changes of your own belong into a file that `overlay`\n\
         # names in gateway.yaml: a route there wins over one here.\n",
    )?;
    writeln!(out, "#\n# No client has business at {}. Left out:", LEFT_OUT.join(", "))?;
    if document.left_out.is_empty() {
        out.write_str("#   nothing, for the document has none of it\n")?;
    }
    for (method, path) in &document.left_out {
        writeln!(out, "#   {} {path}", method.as_str())?;
    }
    if !closed.is_empty() {
        out.write_str(
            "#\n# Closed, since nobody could tell whose things their requests are about. Who needs one opens\n\
             # it by name, with a route of its own and cross_organisation: true:\n",
        )?;
    }
    for (operation, why) in closed {
        writeln!(out, "#   {} {}: {}", operation.method.as_str(), operation.path, line(why))?;
    }
    permissions(out, document)?;
    if document.operations.is_empty() {
        return out.write_str("\nroutes: []\n");
    }
    out.write_str("\nroutes:\n")?;
    document.operations.iter().try_for_each(|operation| route(out, operation, upstream))
}

/// Every permission of the document, so that one that this version of the gateway has not heard of
/// is no unknown one.
fn permissions(out: &mut String, document: &Document) -> fmt::Result {
    let names = document.permissions();
    if names.is_empty() {
        return Ok(());
    }
    out.write_str("\nknown_permissions:\n  [")?;
    let mut column = 3;
    for (at, name) in names.iter().map(|name| name.as_str()).enumerate() {
        if at > 0 {
            out.write_str(",")?;
            if column + name.len() + 3 > COLUMNS {
                out.write_str("\n   ")?;
                column = 3;
            } else {
                out.write_str(" ")?;
            }
            column += 2;
        }
        out.write_str(name)?;
        column += name.len();
    }
    out.write_str("]\n")
}

fn route(out: &mut String, operation: &Operation, upstream: &str) -> fmt::Result {
    for place in &operation.out_of_reach {
        writeln!(
            out,
            "# An organisation can also stand in {}, where no rule can look.",
            line(place)
        )?;
    }
    writeln!(out, "- path: {}", scalar(operation.path.as_str()))?;
    writeln!(out, "  methods: [{}]", operation.method.as_str())?;
    match &operation.demand {
        Demand::Nothing => out.write_str("  access: public\n")?,
        Demand::Authentication => {
            out.write_str("  access: required\n  accept: [session, iam, app]\n")?;
        }
        Demand::AnyOf(names) => {
            let names: Vec<_> = names.iter().map(Permission::as_str).collect();
            out.write_str("  accept: [session, iam, app]\n")?;
            writeln!(out, "  permissions: [{}]", names.join(", "))?;
        }
    }
    match operation.places.as_slice() {
        [] => {}
        [one] => writeln!(out, "  organisation: {}", place(one))?,
        several => {
            out.write_str("  organisation:\n")?;
            several.iter().try_for_each(|each| writeln!(out, "    - {}", place(each)))?;
        }
    }
    writeln!(out, "  upstream: {}", scalar(upstream))
}

fn place(named: &NamedPlace) -> String {
    let (key, value) = match &named.place {
        Place::Query(name) => ("query", name),
        Place::Path(name) => ("path", name),
        Place::Header(name) => ("header", name),
        Place::Body(pointer) => ("body", pointer),
        Place::Lookup { path, pointer } => {
            let (path, pointer) = (quoted(path), quoted(pointer));
            return format!("{{ lookup: {{ path: {path}, pointer: {pointer} }} }}");
        }
        Place::Session => return "session".into(),
        Place::Token => return "token".into(),
    };
    // Within braces a brace or bracket would end the value.
    let value = if value.contains(['{', '}', '[', ']']) { quoted(value) } else { scalar(value) };
    let inject = if named.optional { ", inject: true" } else { "" };
    format!("{{ {key}: {value}{inject} }}")
}

/// As a plain word where YAML reads it as that word and nothing else.
fn scalar(text: &str) -> String {
    let sound = |c: char| c.is_ascii_alphanumeric() || "/_-.{}[]".contains(c);
    let starts = text.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic());
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if starts && !word && text.chars().all(sound) { text.to_owned() } else { quoted(text) }
}

/// A JSON string is a double-quoted text of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// For a comment, which ends with the line.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
