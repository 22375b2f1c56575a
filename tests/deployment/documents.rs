//! The documents: what they tell to do is done, what they point to is there.

mod commands;
mod markdown;
mod names;
mod place;

use std::{fs, process::Command, thread};

use serde_yaml::{Mapping, Value};

use self::{
    markdown::{Block, Document},
    place::Place,
};
use crate::top;

/// Languages of blocks that nothing is done with, and why.
const LEFT_ALONE: [(&str, &str); 3] = [
    ("text", "a drawing"),
    ("ini", "of oauth2-proxy, whose reader is not here"),
    ("js", "of a page; tests/browser has pages that do so"),
];
/// The program that README shows a piece of.
const SHOWN: &str = "tests/extension/custom-authenticator.rs";

/// Every document that is for people.
fn all() -> Vec<Document> {
    let mut files: Vec<String> = [
        "README.md",
        "CHANGELOG.md",
        ".github/SECURITY.md",
        "load-tests/README.md",
        "load-tests/warm-path.md",
        "conf/deploy/README.md",
    ]
    .map(str::to_owned)
    .to_vec();
    for entry in fs::read_dir(top().join("conf")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.rsplit('.').next() == Some("md") {
            files.push(format!("conf/{name}"));
        }
    }
    files.sort();
    assert!(files.len() >= 14, "{files:?}");
    files.iter().map(|file| Document::read(file)).collect()
}

#[test]
fn every_command_does_what_is_said() {
    let documents = all();
    let done = thread::scope(|scope| {
        let runs = documents.iter().filter(|it| it.blocks.iter().any(Block::is_commands));
        let runs = runs.map(|document| scope.spawn(|| Place::new().follow(document)));
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
    });
    assert!(done >= 18, "{done} blocks of commands");
}

#[test]
fn every_other_block_is_known() {
    let mut left = Vec::new();
    for document in all() {
        for block in &document.blocks {
            let at = format!("{}:{}", document.file, block.line);
            match block.language.as_str() {
                "yaml" => _ = parsed(block, &at),
                "json" => {
                    let read = serde_json::from_str::<serde_json::Value>(&block.text);
                    assert!(read.is_ok(), "{at}: {read:?}");
                }
                "rust" => {
                    let source = crate::read(SHOWN);
                    for line in block.text.lines() {
                        assert!(source.contains(line.trim()), "{at}: {line} is not in {SHOWN}");
                    }
                }
                _ if block.is_commands() => {}
                other => {
                    let why = LEFT_ALONE.iter().find(|(language, _)| *language == other);
                    assert!(why.is_some(), "{at}: a block of {other:?} that nobody looks at");
                    left.push(other.to_owned());
                }
            }
        }
    }
    left.sort();
    left.dedup();
    assert_eq!(left.len(), LEFT_ALONE.len(), "no block of a language that is left alone: {left:?}");
}

fn parsed(block: &Block, at: &str) -> Mapping {
    let read: Result<Value, _> = serde_yaml::from_str(&block.text);
    let Ok(Value::Mapping(sections)) = read else { panic!("{at}: no YAML of sections: {read:?}") };
    sections
}

/// A whole configuration is checked as it stands; a piece, in the place of the same sections of the
/// first one of README. What is another program's is only parsed.
#[test]
fn every_configuration_passes_check() {
    let place = Place::with_files();
    let (mut whole, mut pieces) = (0, 0);
    for document in all() {
        for block in document.blocks.iter().filter(|it| it.language == "yaml") {
            let at = format!("{}:{}", document.file, block.line);
            let sections = parsed(block, &at);
            let text = if sections.contains_key("public_url") {
                whole += 1;
                block.text.clone()
            } else if sections.contains_key("http_filters") {
                continue;
            } else {
                pieces += 1;
                let mut file: Mapping = serde_yaml::from_str(&place::example()).unwrap();
                file.extend(sections);
                serde_yaml::to_string(&file).unwrap()
            };
            place.write("checked.yaml", &place.moved(&text));
            let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
                .args(["check", "--config", "checked.yaml"])
                .current_dir(place.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{at}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(whole >= 4 && pieces >= 1, "{whole} whole, {pieces} pieces");
}

/// The number at the beginning of a cell.
fn number(cell: &str) -> f64 {
    let text: String = cell.chars().filter(|it| *it != ',').collect();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    text[..end].parse().unwrap_or_else(|_| panic!("{cell} is no number"))
}

/// `conf/deploy/README.md`: what is computed there follows from what was measured.
#[test]
fn capacity() {
    let text = crate::read("conf/deploy/README.md");
    let row = |name: &str| -> Vec<f64> {
        let line = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let line = line.unwrap_or_else(|| panic!("no row of {name}"));
        line.trim_matches('|').split('|').skip(1).map(|it| number(it.trim())).collect::<Vec<_>>()
    };
    let measured = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        number(line.trim_matches('|').split('|').nth(1).unwrap().trim())
    };
    let (bearer, session) = (measured("CPU, bearer token known"), measured("CPU, session cookie"));
    let memory = measured("memory at the start")
        + 2_000.0 * measured("memory of a connection, TLS") / 1024.0
        + 10_000.0 * measured("memory of a caller") / 1024.0;
    let record = 100_000.0 * measured("Redis, of a session") / 1024.0;
    let each = measured("Redis, of a request with a session");
    let computed: [(&str, &dyn Fn(f64) -> f64); 9] = [
        ("requests a second, bearer", &|n| n * 2.0 * 600_000.0 / bearer),
        ("requests a second, session", &|n| n * 2.0 * 600_000.0 / session),
        ("the same with one away, bearer", &|n| (n - 1.0) * 2.0 * 600_000.0 / bearer),
        ("memory of each, MiB", &|_| memory),
        ("exchanges a second, at most", &|n| n * 10_000.0 / 270.0),
        ("Redis commands a second, half of the requests of a session", &|n| {
            n * 600_000.0 / session * each + 100_000.0 * 10.0 / 1_800.0
        }),
        ("Redis memory, MiB", &|_| record),
        ("reads of the provider's keys in an hour", &|n| n * 6.0),
        ("health checks a second, two servers", &|n| n * 2.0 / 5.0),
    ];
    assert_eq!(row("gateways"), [1.0, 3.0, 30.0]);
    for (name, formula) in computed {
        for (shown, gateways) in row(name).into_iter().zip([1.0, 3.0, 30.0]) {
            let exact = formula(gateways);
            assert!((shown - exact).abs() <= 0.5, "{name}, {gateways}: {shown}, not {exact}");
        }
    }
}
