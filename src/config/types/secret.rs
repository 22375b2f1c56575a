//! Secrets, fetched while the file is read: from a file, from the environment, or, where the
//! operator has allowed it, from the text itself. Nothing here prints one.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};

use crate::config::{
    key_path::Step,
    read::{Read, Reader, Schemas},
    suggest::hint,
    yaml::{Entry, Node, Value},
};

/// Longest secret, in bytes.
const LONGEST: usize = 64 * 1024;

/// A secret that was fetched; neither empty nor printable by accident.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    source: Source,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The text of the configuration.
    Given,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl Secret {
    /// The secret itself: name it no longer than it takes to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The file that it was read from, if it was.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Given | Source::Variable(_) => None,
        }
    }

    /// Where it was read from.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes that it writes in base64, of either alphabet and padded or not; `None` when it
    /// is no base64. Name them no longer than it takes to use them.
    #[must_use]
    pub fn decoded(&self) -> Option<Vec<u8>> {
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        [alphabet::STANDARD, alphabet::URL_SAFE]
            .iter()
            .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(self.expose()).ok())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self { text: text.into(), source: Source::Given }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Read for Secret {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if let Some(fetched) = cx.secrets.get(&node.position) {
            return fetched.clone();
        }
        let fetched = fetch(node, cx);
        // Defaults all stand at one place of no file, and none of them is a secret.
        cx.secrets.insert(node.position.clone(), fetched.clone());
        fetched
    }

    fn schema(_: &mut Schemas) -> Json {
        let from = |key: &str| {
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": { key: { "type": "string", "minLength": 1 } },
                "required": [key],
            })
        };
        json!({
            "anyOf": [from("file"), from("env"), { "type": "string" }],
        })
    }
}

/// No fault quotes what stands here: a slip of the operator may have put the secret there.
fn fetch(node: &Node, cx: &mut Reader<'_>) -> Option<Secret> {
    const WHAT: &str = "{ file: PATH } or { env: NAME }";
    match (&node.value, node.entries()) {
        (Value::Scalar { text, .. }, _) if !node.is_null() => {
            if cx.inline_secrets {
                return accept(node, cx, text.clone());
            }
            cx.fault(
                &node.position,
                format!("must not stand here; write {WHAT}, or set allow_inline_secrets: true"),
            );
            None
        }
        (_, [Entry { key, node, .. }]) => {
            cx.within(Step::Key(key.clone()), |cx| match key.as_str() {
                "file" => from_file(node, cx),
                "env" => from_environment(node, cx),
                _ => {
                    cx.fault(&node.position, format!("unknown key{}", hint(key, ["file", "env"])));
                    None
                }
            })
        }
        _ => cx.expected(node, WHAT),
    }
}

fn from_file(node: &Node, cx: &mut Reader<'_>) -> Option<Secret> {
    let path = cx.text(node, "the path of a file")?;
    let path = cx.resolve(path);
    let content = match cx.surroundings.file(&path, LONGEST) {
        Ok(content) => content,
        Err(error) => {
            cx.fault(&node.position, format!("{} cannot be read: {error}", path.display()));
            return None;
        }
    };
    let Ok(mut text) = String::from_utf8(content) else {
        cx.fault(&node.position, format!("{} is not UTF-8 text", path.display()));
        return None;
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    accept(node, cx, text).map(|secret| Secret { source: Source::File(path), ..secret })
}

fn from_environment(node: &Node, cx: &mut Reader<'_>) -> Option<Secret> {
    let name = cx.text(node, "the name of an environment variable")?;
    match cx.surroundings.variable(name) {
        // As from a file: what wrote it may have ended the line.
        Some(text) => {
            let secret = accept(node, cx, text.trim_end_matches(['\r', '\n']).to_owned());
            secret.map(|secret| Secret { source: Source::Variable(name.to_owned()), ..secret })
        }
        None => cx.wrong(node, "is not set in the environment, or is not UTF-8 text"),
    }
}

fn accept(node: &Node, cx: &mut Reader<'_>, text: String) -> Option<Secret> {
    let fault = match text.len() {
        0 => "the secret is empty",
        1..=LONGEST => return Some(text.into()),
        _ => "the secret is longer than 64 KiB",
    };
    cx.fault(&node.position, fault);
    None
}
