//! The Dockerfile names what there is, and its list of what goes into the build lets that through.

use crate::{configurations, read, top};

/// What the build copies from the repository, and to where.
fn copied() -> Vec<(String, String)> {
    let text = read("conf/deploy/Dockerfile");
    let mut found = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (to, from) = words.split_last().unwrap();
        found.extend(from.iter().map(|from| ((*from).to_owned(), (*to).to_owned())));
    }
    found
}

#[test]
fn the_build_copies_what_is_there_and_is_let_through() {
    let ignore = read("conf/deploy/Dockerfile.dockerignore");
    let rules: Vec<&str> = ignore.lines().filter(|it| !it.starts_with('#')).collect();
    assert_eq!(rules[0], "*");
    let copied = copied();
    assert!(copied.len() >= 6, "{copied:?}");
    for (from, _) in &copied {
        assert!(top().join(from).exists(), "{from} is not there");
        assert!(rules.contains(&format!("!{from}").as_str()), "{from} is kept out");
    }
    assert_eq!(rules.len(), 1 + copied.len(), "more is let through than is copied: {rules:?}");
}

#[test]
fn the_build_has_every_target_that_the_manifest_names() {
    let copied = copied();
    let manifest = read("Cargo.toml");
    let paths: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'))
        .collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let there = copied.iter().any(|(from, _)| path.starts_with(&format!("{from}/")));
        assert!(there, "{path} is not copied");
    }
    let rust = manifest.lines().find_map(|it| it.strip_prefix("rust-version = ")).unwrap();
    let base = format!("FROM rust:{}-", rust.trim_matches('"'));
    assert!(read("conf/deploy/Dockerfile").contains(&base), "{base}");
}

/// A base without a C library runs what is linked statically, and nothing else.
#[test]
fn the_binary_is_static_and_so_is_its_base() {
    let text = read("conf/deploy/Dockerfile");
    let (build, last) = text.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("gcr.io/distroless/static-"), "{last}");
    let target = "--target \"$(uname -m)-unknown-linux-musl\"";
    assert!(build.lines().any(|it| it.contains("cargo build") && it.contains(target)), "{build}");
    assert!(build.contains("musl-tools") && build.contains("rustup target add"), "{build}");
}

#[test]
fn it_is_nobody_and_has_what_configurations_include() {
    let text = read("conf/deploy/Dockerfile");
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 65532:65532\n") && !last.contains("\nRUN "), "{last}");
    for of in configurations::all() {
        for file in configurations::configuration(&of)["include"].as_sequence().unwrap() {
            let name = file.as_str().unwrap().strip_prefix("/usr/share/portcullis/").unwrap();
            let from = format!("conf/{name}");
            let there = copied().contains(&(from, "/usr/share/portcullis/".to_owned()));
            assert!(there, "{name} of {of} is not in the image");
        }
    }
}
