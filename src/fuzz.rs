//! What fuzzers run: every reader of hostile bytes, and the laws that hold of whatever it accepts.
//!
//! Each target is a function of bytes that panics when a law is broken. `tests/fuzz` hands them
//! to libFuzzer; the tests here run each of them over its corpus, so that a target cannot rot and
//! what was found once stays found. Not part of the gateway: built for tests and with the feature
//! `fuzz` alone.

mod answers;
mod cookies;
mod head;
mod machine;
mod organisation;
mod tokens;

#[cfg(test)]
mod tests;

/// Panics when a law is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file and its corpus under `tests/fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("callback", cookies::callback),
    ("core", organisation::core),
    ("documents", answers::documents),
    ("head", head::head),
    ("login_cookie", cookies::login_cookie),
    ("machine", machine::machine),
    ("organisation", organisation::organisation),
    ("path", head::path),
    ("redis", answers::redis),
    ("session_cookie", cookies::session_cookie),
    ("sts_answer", answers::sts_answer),
    ("token", tokens::token),
];

/// Runs the target of this name.
///
/// # Panics
/// When a law is broken, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "no target {name}");
    if let Some((_, target)) = target {
        target(input);
    }
}

/// The first byte, which chooses, and the rest.
fn choice(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}

/// Two parts, divided by the first zero byte.
fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (first, rest) = input.split_at(at);
    (first, rest.get(1..).unwrap_or_default())
}
