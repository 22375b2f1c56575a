//! What went wrong in other gateways, as requirements with tests: `.github/SECURITY.md` lists
//! them, and is written from here (`UPDATE=1 cargo test --test gateway advisories`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Number, requirement, and the advisories that it was learnt from.
#[rustfmt::skip]
const REQUIREMENTS: &[(&str, &str, &str)] = &[
    ("R1", "Only the request line says what is asked; forwarding headers are believed of listed proxies alone", "CVE-2026-40575, oauth2-proxy#3506"),
    ("R2", "No header turns authentication off; health has a listener of its own", "CVE-2026-34457"),
    ("R3", "A fragment, plain or escaped, is refused", "CVE-2026-41059, CVE-2021-39156"),
    ("R4", "A query never changes the route", "CVE-2025-54576"),
    ("R5", "Managed headers are dropped in every spelling", "CVE-2025-64484, CVE-2026-39858, CVE-2026-52845"),
    ("R5b", "A dot or any odd character is a spelling too", "CVE-2026-88011"),
    ("R6", "Identity headers are deleted first and set afterwards, on public routes too", "CVE-2026-30851"),
    ("R7", "`Connection` takes away nothing that the gateway sets", "CVE-2024-45410, CVE-2025-48865, CVE-2026-105299"),
    ("R8", "Forwarding headers are written afresh from the socket or a trusted hop", "CVE-2026-35051, CVE-2026-54764"),
    ("R9", "What decides something is sent once", "CVE-2026-26308, CVE-2026-31838"),
    ("R10", "A path has one reading or is refused; what is forwarded is what was decided on", "GHSA-p224, CVE-2026-48020, CVE-2026-40912, CVE-2025-66490, CVE-2021-31920, CVE-2021-29492, CVE-2026-26205, CVE-2021-32637"),
    ("R11", "A host is compared in one form, however many there are", "CVE-2026-48794, CVE-2026-27588"),
    ("R12", "Any error in authentication denies", "CVE-2026-25748, authentik#18063"),
    ("R13", "Login and logout end the old session", "CVE-2026-34454"),
    ("R14", "Every login makes a new session, in the browser that began it", "CWE-384"),
    ("R15", "Counts and sizes are bounded before any work", "CVE-2024-24814"),
    ("R16", "What the gateway answers itself never contacts the upstream", "CVE-2025-31492, CVE-2023-28625"),
    ("R17", "A login leads back to this origin alone", "CVE-2020-4037, CVE-2020-11053, CVE-2022-23527, CVE-2021-39191, CVE-2019-3877, CVE-2026-28512"),
    ("R18", "A token that is present is not a token that is valid", "CVE-2022-29226"),
    ("R19", "A callback with missing, doubled or oversize parameters is refused", "CVE-2023-27496"),
    ("R20", "What is sealed or hashed together cannot be moved between its fields", "CVE-2023-35941"),
    ("R21", "The algorithm comes from configuration and key, never from the token", "CVE-2026-39999, CVE-2015-9235"),
    ("R22", "Times of a wrong type are refused, not ignored", "CVE-2026-25537"),
    ("R23", "Issuer, then its keys; a token of one issuer counts nowhere else", "CVE-2025-46647, CVE-2021-21378"),
    ("R24", "What is cached is who somebody is, never what they may do", "GHSA-4mq7, heimdall#3452"),
    ("R25", "No default secret, no weak key, no verification switched off by accident", "CVE-2026-49230, CVE-2026-49872"),
    ("R26", "Permissions are read again with each refresh and exchange", "CVE-2021-41230"),
    ("R27", "Identity is issuer and subject, never an e-mail address", "CVE-2026-40574"),
    ("R28", "Header names have no case; HTTP/2 has none in capitals", "CVE-2020-14359"),
    ("R29", "Framing has one reading, or the connection ends", "CVE-2026-2833, CVE-2026-2835, CVE-2026-2836, CVE-2025-4366, pingora#945"),
    ("R30", "HTTP/2 streams and resets are bounded", "CVE-2023-44487, CVE-2025-8671, CVE-2026-105297"),
    ("R31", "Every call to another service may fail in every way", "CVE-2026-26330, CVE-2025-64527"),
    ("R32", "Only verification makes an identity", "envoy#43630"),
    ("R33", "Many requests at the end of a token cause one refresh and no logout", "oauth2-proxy#1992"),
    ("R34", "Minted tokens are typed, short, and name issuer, audience and key", "ALBeast"),
    ("R35", "A Core that trusts its perimeter is reached through it alone, and shows nothing of it", "design of UNSAFE_NONE and UNSAFE_STATIC"),
];

const BEGIN: &str = "<!-- advisories: begin; written by tests/gateway/advisories.rs -->\n";
const END: &str = "<!-- advisories: end -->\n";

/// Test names by requirement: `r20_r24_name` is of R20 and of R24.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn collect(directory: &Path, tests: &mut Tests) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                collect(&path, tests);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let rest = line.strip_prefix("async ").unwrap_or(line);
                let Some(name) = rest.strip_prefix("fn ").and_then(|rest| rest.split('(').next())
                else {
                    continue;
                };
                let before = &lines[at.saturating_sub(3)..at];
                if !before.iter().any(|line| line.ends_with("test]") || line.contains("::test(")) {
                    continue;
                }
                for number in name.split('_').map_while(number) {
                    tests.entry(number).or_default().insert(name.to_owned());
                }
            }
        }
    }
}

/// `r05b` as `R5b`.
fn number(word: &str) -> Option<String> {
    let digits = word.strip_prefix('r')?;
    let (digits, letter) = digits.strip_suffix('b').map_or((digits, ""), |digits| (digits, "b"));
    let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("R{}{letter}", digits.parse::<u8>().unwrap()))
}

fn table(tests: &Tests) -> String {
    let mut table =
        "| | requirement | learnt from | tests |\n| --- | --- | --- | --- |\n".to_owned();
    for (number, words, ids) in REQUIREMENTS {
        let names = tests.get(*number).into_iter().flatten();
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        assert!(!names.is_empty(), "{number} has no test: {words}");
        table.extend(["| ", number, " | ", words, " | ", ids, " | ", &names.join(", "), " |\n"]);
    }
    table
}

#[test]
fn every_advisory_has_a_test_and_the_page_names_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Tests::new();
    for directory in ["src", "tests"] {
        collect(&root.join(directory), &mut tests);
    }
    let known: BTreeSet<_> = REQUIREMENTS.iter().map(|(number, ..)| (*number).to_owned()).collect();
    let unknown: Vec<_> = tests.keys().filter(|number| !known.contains(*number)).collect();
    assert!(unknown.is_empty(), "tests of requirements that are not listed: {unknown:?}");
    assert!((1..=35).all(|number| known.contains(&format!("R{number}"))));
    let page = root.join(".github/SECURITY.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", table(&tests));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, expected).unwrap();
    } else {
        assert!(text == expected, "{} is behind; run this test with UPDATE=1", page.display());
    }
}
