//! What documents name in passing: other documents, files, targets of make, commands, keys.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::{all, markdown::Document};
use crate::{portcullis, printed, top};

/// `a/b/../c` without asking whether it is there.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

#[test]
fn every_link_leads_somewhere() {
    let documents = all();
    let mut seen = 0;
    for document in &documents {
        let directory = Path::new(&document.file).parent().unwrap();
        for link in document.links.iter().filter(|it| !it.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() {
                PathBuf::from(&document.file)
            } else {
                plain(&directory.join(path))
            };
            assert!(top().join(&path).exists(), "{}: {link}", document.file);
            if !anchor.is_empty() {
                let file = path.to_str().unwrap();
                let led: &Document = documents.iter().find(|it| it.file == file).unwrap();
                let there = led.anchors.iter().any(|it| it == anchor);
                assert!(there, "{}: {link}; there are {:?}", document.file, led.anchors);
            }
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen} links");
}

/// Words that name something of this repository, with all that may follow of it.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|it: char| it.is_whitespace() || ",()\"'".contains(it))
        .map(|it| it.trim_end_matches([':', '.']))
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut seen = 0;
    for document in all() {
        let blocks = document.blocks.iter().filter(|it| it.is_commands()).map(|it| &it.text);
        for code in document.code.iter().chain(blocks) {
            for word in words(code) {
                let ours = ["tests/", "src/", "load-tests/", "conf/", ".github/"];
                if !ours.iter().any(|it| word.starts_with(it)) || word.contains(['*', '<']) {
                    continue;
                }
                assert!(top().join(word).exists(), "{}: {word} is not there", document.file);
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen} files");
}

#[test]
fn every_target_of_make_is_there() {
    let makefile = crate::read("Makefile");
    let mut seen = 0;
    for document in all() {
        for code in &document.code {
            let Some(rest) = code.strip_prefix("make ") else { continue };
            for target in rest.split(' ').filter(|it| !it.contains('=')) {
                let there = makefile.lines().any(|it| it.starts_with(&format!("{target}:")));
                assert!(there, "{}: make {target}", document.file);
                seen += 1;
            }
        }
    }
    assert!(seen >= 6, "{seen} targets");
}

/// A command in a line is one that there is, with the options that it names.
#[test]
fn every_command_in_a_line_is_there() {
    let mut seen = 0;
    for document in all() {
        for code in &document.code {
            let mut words = code.split_whitespace().peekable();
            if words.next() != Some("portcullis") {
                continue;
            }
            let mut command = Vec::new();
            while let Some(word) = words.next_if(|it| it.chars().all(|it| it.is_ascii_lowercase()))
            {
                command.push(word);
            }
            // What follows a command may be an argument of it: `keys generate session`.
            let mut help = portcullis(&[&command[..], &["--help"]].concat());
            while !help.status.success() && command.len() > 1 {
                command.pop();
                help = portcullis(&[&command[..], &["--help"]].concat());
            }
            assert!(help.status.success(), "{}: {code}", document.file);
            let help = String::from_utf8(help.stdout).unwrap();
            for option in words.filter(|it| it.starts_with("--")) {
                assert!(help.contains(option), "{}: {code} has no {option}", document.file);
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} commands");
}

/// The schemas that a key of a section leads to.
fn below<'s>(schema: &'s Value, root: &'s Value, key: &str, found: &mut Vec<&'s Value>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
        below(&root["$defs"][name], root, key, found);
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            below(one, root, key, found);
        }
    }
    if !schema["items"].is_null() {
        below(&schema["items"], root, key, found);
    }
    found.extend(schema["properties"].get(key));
    let any = &schema["additionalProperties"];
    // A name of one's own: `upstreams.NAME`.
    if any.is_object() && key.chars().all(|it| it.is_ascii_uppercase() || it == '*') {
        found.push(any);
    }
}

/// A path of keys that begins with a section of the file is one of the file, or one of a route or an
/// upstream, which have sections of the same names.
#[test]
fn every_key_that_is_named_is_there() {
    let root: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let mut seen = 0;
    for document in all() {
        // Its fields are of another document, which has sections of the same names.
        if document.file == "conf/status.md" {
            continue;
        }
        for code in &document.code {
            let path = code.split([':', ' ', '[']).next().unwrap();
            let keys: Vec<&str> = path.split('.').collect();
            let file = ["md", "pem", "yaml"].contains(keys.last().unwrap());
            if file
                || keys.len() < 2
                || root["$defs"]["Config"]["properties"].get(keys[0]).is_none()
            {
                continue;
            }
            let there = ["Config", "Route", "Upstream"].iter().any(|section| {
                let mut sections = vec![&root["$defs"][*section]];
                for key in &keys {
                    let mut next = Vec::new();
                    for section in sections {
                        below(section, &root, key, &mut next);
                    }
                    sections = next;
                }
                !sections.is_empty()
            });
            assert!(there, "{}: {code} is no key", document.file);
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen} keys");
}
