//! `conf/configuration.md`: every key, as the JSON Schema has it. `UPDATE=1` writes it anew.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use serde_json::{Map, Value};

use crate::{printed, read, top};

const FILE: &str = "conf/configuration.md";
const HEAD: &str = "\
# Every key of gateway.yaml

Made of the JSON Schema that `portcullis schema` prints; the test `reference` of `tests/deployment`
holds it against the binary and, with `UPDATE=1`, writes it anew. `conf/gateway.yaml` is an example
with comments.

A duration is a number with `ms`, `s`, `m`, `h` or `d`, a size a number of bytes or one with `kB`,
`MB`, `GB`, `KiB`, `MiB` or `GiB`. A secret is `{ file: PATH }` or `{ env: NAME }`, and text only with
`allow_inline_secrets: true`. Keys without a default have to be given where their section is.
";

/// A reference's section.
fn section(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// A type in a few words.
fn kind(schema: &Value) -> String {
    let every = |of: &Value, between: &str| {
        let mut words: Vec<_> = of.as_array().unwrap().iter().map(kind).collect();
        words.dedup();
        words.join(between)
    };
    if let Some(name) = section(schema) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(of) = [&schema["anyOf"], &schema["oneOf"]].into_iter().find(|it| it.is_array()) {
        let secret = of.as_array().unwrap().iter().any(|it| !it["properties"]["env"].is_null());
        return if secret { "secret".to_owned() } else { every(of, " or ") };
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|it| format!("`{}`", it.as_str().unwrap())).collect();
        return words.join(", ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", schema["const"].as_str().unwrap());
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match &schema["type"] {
        Value::String(kind) if kind == "array" => {
            format!("list of {}", self::kind(&schema["items"]))
        }
        Value::String(kind) if kind == "object" => {
            format!("map to {}", self::kind(&schema["additionalProperties"]))
        }
        _ if pattern.contains("KiB") => "size".to_owned(),
        Value::String(_) if pattern.contains("(ms|") => "duration".to_owned(),
        Value::String(kind) if kind == "string" => schema["format"]
            .as_str()
            .map_or("text", |it| if it == "uri" { "URL" } else { "UUID" })
            .to_owned(),
        Value::String(kind) if kind == "boolean" => "true or false".to_owned(),
        Value::String(kind) if kind == "integer" => "whole number".to_owned(),
        Value::String(kind) => kind.clone(),
        other => panic!("no word for {other} in {schema}"),
    }
}

fn sections_in(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(entries) => {
            found.extend(section(schema).map(str::to_owned));
            entries.values().for_each(|it| sections_in(it, found));
        }
        Value::Array(elements) => elements.iter().for_each(|it| sections_in(it, found)),
        _ => {}
    }
}

fn table(name: &str, section: &Value, page: &mut String) {
    let none = Vec::new();
    let required = section["required"].as_array().unwrap_or(&none);
    let description = section["description"].as_str().unwrap_or_default();
    write!(
        page,
        "\n## {name}\n\n{description}\n\n| key | type | default | |\n| --- | --- | --- | --- |\n"
    )
    .unwrap();
    for (key, schema) in section["properties"].as_object().unwrap_or(&Map::new()) {
        let default = match schema.get("default") {
            _ if required.iter().any(|it| it == key) => "required".to_owned(),
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        let said = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            page,
            "| `{key}` | {} | {} | {} |",
            cell(&kind(schema)),
            cell(&default),
            cell(&said)
        )
        .unwrap();
    }
}

#[test]
fn the_reference_has_every_key_as_the_binary_has_it() {
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let mut page = HEAD.to_owned();
    let mut waiting = vec![section(&schema).unwrap().to_owned()];
    let mut seen = BTreeSet::new();
    while !waiting.is_empty() {
        let name = waiting.remove(0);
        if seen.insert(name.clone()) {
            let section = &schema["$defs"][&name];
            table(&name, section, &mut page);
            sections_in(section, &mut waiting);
        }
    }
    assert_eq!(seen.len(), schema["$defs"].as_object().unwrap().len(), "sections left out");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(top().join(FILE), &page).unwrap();
    }
    assert!(read(FILE) == page, "{FILE} is not what the schema says; run the test with UPDATE=1");
}
