use std::{collections::BTreeSet, fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

#[test]
fn every_target_holds_over_its_corpus() {
    for (name, target) in TARGETS {
        let files: Vec<_> =
            fs::read_dir(directory("corpus").join(name)).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 5, "{name} has a corpus of {}", files.len());
        for file in files {
            let input = fs::read(file.path()).unwrap();
            let result = std::panic::catch_unwind(|| target(&input));
            assert!(result.is_ok(), "{name}: {}", file.path().display());
        }
    }
}

#[test]
fn every_target_has_its_file_and_no_other_is_there() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files: BTreeSet<String> = fs::read_dir(directory("fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, files);
    let manifest = fs::read_to_string(directory("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

proptest! {
    #[test]
    fn targets_hold_over_any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&input);
        }
    }
}
