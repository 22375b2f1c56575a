//! What an upstream's OpenAPI document says about each of its operations: who may call it, and
//! where its requests name an organisation.
//!
//! Reads OpenAPI 3.0 and 3.1 as Core writes them, JSON or YAML. What cannot be understood is an
//! error and not an open route: a permission that is no name, a path that is no pattern, a
//! reference that leads nowhere. Everything outside of the protocol endpoints demands a caller
//! who is known, whether or not the document says so. Reads no file and writes none.

pub mod perimeter;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser};
use serde_yaml::Value;

use crate::{
    config::{Method, PathPattern, Place},
    permission::{Permission, PermissionSet},
};

/// Longest document, in bytes; Core's own is a twelfth of it.
pub const LONGEST_DOCUMENT: usize = 4 << 20;

/// Endpoints of protocols, whose callers are wallets and verifiers without an account here.
const PROTOCOLS: &[&str] = &["/ssi", "/.well-known", "/health"];
/// What is for operators and developers, and never for clients.
pub(super) const LEFT_OUT: &[&str] = &["/api-docs", "/metrics", "/swagger-ui", "/vc-api"];

/// What a document describes.
#[derive(Clone, Debug)]
pub struct Document {
    /// `info.title`.
    pub title: String,
    /// `info.version`.
    pub version: String,
    /// By path, then method.
    pub operations: Vec<Operation>,
    /// Operations that get no route, in the same order: method and path.
    pub left_out: Vec<(Method, PathPattern)>,
}

/// One method of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// As the document writes it.
    pub path: PathPattern,
    /// GET stands for HEAD as well.
    pub method: Method,
    /// Who may call it.
    pub demand: Demand,
    /// Where its requests name an organisation; all of them have to agree.
    pub places: Vec<NamedPlace>,
    /// Where else an organisation can stand, and no rule of a route can look.
    pub out_of_reach: Vec<String>,
    /// Where its body names things by their UUIDs; `*` stands for the elements of a list.
    pub ids: Vec<String>,
    /// Where its answer tells whose its one resource is.
    pub tells: Option<String>,
}

/// Who may call an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Everybody: a protocol endpoint.
    Nothing,
    /// Whoever is known.
    Authentication,
    /// Whoever has one of them; never empty.
    AnyOf(PermissionSet),
}

/// A place of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPlace {
    /// Where.
    pub place: Place,
    /// A request may leave it out, and the upstream would then take one of its own choice.
    pub optional: bool,
}

/// Why a document is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, not YAML, or no OpenAPI document.
    #[error("is no OpenAPI document: {0}")]
    Unreadable(String),
    /// One operation cannot be turned into a rule.
    #[error("{method} {path}: {why}")]
    Operation {
        /// As the document writes it.
        method: String,
        /// As the document writes it.
        path: String,
        /// What about it.
        why: String,
    },
}

/// Reads a document.
///
/// # Errors
/// The first thing in it that cannot be understood.
pub fn read(text: &str) -> Result<Document, DocumentError> {
    let unreadable = |why: &str| DocumentError::Unreadable(why.to_owned());
    if text.len() > LONGEST_DOCUMENT {
        return Err(unreadable("it is longer than 4 MiB"));
    }
    if has_alias(text) {
        return Err(unreadable(
            "it has a YAML alias, and a few of those make a document without end",
        ));
    }
    // serde_yaml refuses a key that stands twice, which serde_json would let pass.
    let root: Value =
        serde_yaml::from_str(text).map_err(|error| DocumentError::Unreadable(error.to_string()))?;
    if root.get("openapi").and_then(Value::as_str).is_none_or(|version| !version.starts_with("3."))
    {
        return Err(unreadable("`openapi` is not 3.x"));
    }
    let info = |key| root.get("info")?.get(key)?.as_str().map(str::to_owned);
    let paths = root
        .get("paths")
        .and_then(Value::as_mapping)
        .ok_or_else(|| unreadable("it has no `paths`"))?;
    let mut document = Document {
        title: info("title").ok_or_else(|| unreadable("it has no `info.title`"))?,
        version: info("version").ok_or_else(|| unreadable("it has no `info.version`"))?,
        operations: Vec::new(),
        left_out: Vec::new(),
    };
    for (path, item) in paths {
        let path = path.as_str().ok_or_else(|| unreadable("a path is no text"))?;
        Item { root: &root, path, operations: item }.read(&mut document)?;
    }
    document.sort()?;
    Ok(document)
}

impl Document {
    /// Every permission that an operation demands.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<&Permission> {
        let demanded = self.operations.iter().filter_map(|operation| match &operation.demand {
            Demand::AnyOf(permissions) => Some(permissions.iter()),
            Demand::Nothing | Demand::Authentication => None,
        });
        demanded.flatten().collect()
    }

    fn sort(&mut self) -> Result<(), DocumentError> {
        let by = |path: &PathPattern, method: Method| (path.clone(), method.as_str());
        self.operations.sort_by_key(|operation| by(&operation.path, operation.method));
        self.left_out.sort_by_key(|(method, path)| by(path, *method));
        let mut shapes = BTreeMap::new();
        for operation in &self.operations {
            let key = (operation.path.shape(), operation.method.as_str());
            if let Some(other) = shapes.insert(key, &operation.path) {
                return Err(DocumentError::Operation {
                    method: operation.method.as_str().to_owned(),
                    path: operation.path.to_string(),
                    why: format!("has the same requests as {other}"),
                });
            }
        }
        Ok(())
    }
}

/// One path of the document.
struct Item<'d> {
    root: &'d Value,
    path: &'d str,
    operations: &'d Value,
}

impl Item<'_> {
    fn read(&self, document: &mut Document) -> Result<(), DocumentError> {
        const VERBS: [&str; 8] =
            ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let item = resolve(self.root, self.operations).map_err(|why| self.wrong("", why))?;
        for verb in VERBS {
            let Some(operation) = item.get(verb) else { continue };
            if verb == "head" && item.get("get").is_some() {
                continue;
            }
            let named = verb.to_ascii_uppercase();
            let wrong = |why| self.wrong(verb, why);
            let path =
                PathPattern::parse(self.path).map_err(|why| wrong(format!("the path {why}")))?;
            let method = Method::ALL.iter().find(|method| method.as_str() == named);
            let method = *method.ok_or_else(|| wrong("no route can have this method".into()))?;
            if under(self.path, LEFT_OUT) {
                document.left_out.push((method, path));
                continue;
            }
            let demand = self.demand(operation).map_err(wrong)?;
            let places = match demand {
                Demand::Nothing => place::Places::default(),
                _ => place::of(self.root, &path, item, operation).map_err(wrong)?,
            };
            let place::Places { named: places, out_of_reach, ids } = places;
            let tells = place::told(self.root, operation).map_err(wrong)?;
            document.operations.push(Operation {
                path,
                method,
                demand,
                places,
                out_of_reach,
                ids,
                tells,
            });
        }
        Ok(())
    }

    fn demand(&self, operation: &Value) -> Result<Demand, String> {
        if let Some(names) = operation.get("x-permissions") {
            let names = names.as_sequence().ok_or("x-permissions is no list")?;
            let permissions = names.iter().map(|name| {
                let parsed = name.as_str().and_then(Permission::parse);
                parsed.ok_or_else(|| format!("x-permissions names what is no permission: {name:?}"))
            });
            let permissions: PermissionSet = permissions.collect::<Result<_, _>>()?;
            if permissions.is_empty() {
                return Err("x-permissions is empty, which can mean nobody or everybody".into());
            }
            return Ok(Demand::AnyOf(permissions));
        }
        let security = operation.get("security").or_else(|| self.root.get("security"));
        let schemes = security.and_then(Value::as_sequence).into_iter().flatten();
        let bearer = schemes.into_iter().any(|scheme| scheme.get("bearer").is_some());
        Ok(if under(self.path, PROTOCOLS) && !bearer {
            Demand::Nothing
        } else {
            Demand::Authentication
        })
    }

    fn wrong(&self, verb: &str, why: String) -> DocumentError {
        let (method, path) = (verb.to_ascii_uppercase(), self.path.escape_debug().to_string());
        DocumentError::Operation { method, path, why }
    }
}

/// Whether a YAML text refers to another part of itself, or may. JSON cannot.
fn has_alias(text: &str) -> bool {
    let plain = |event: Result<(Event<'_>, _), _>| {
        event.is_ok_and(|(event, _)| !matches!(event, Event::Alias(_)))
    };
    text.contains('*')
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
        && !Parser::new_from_str(text).all(plain)
}

/// Whether a path is one of these or lies below one, segment by segment.
fn under(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Follows `$ref` to where it leads, within the document.
fn resolve<'d>(root: &'d Value, mut node: &'d Value) -> Result<&'d Value, String> {
    // A chain longer than this is a circle.
    for _ in 0..16 {
        let Some(reference) = node.get("$ref") else { return Ok(node) };
        let reference = reference.as_str().ok_or("a $ref is no text")?;
        let lost = || format!("the $ref {reference:?} leads nowhere in this document");
        let pointer = reference.strip_prefix("#/").ok_or_else(lost)?;
        node = pointer.split('/').try_fold(root, |node, step| {
            node.get(step.replace("~1", "/").replace("~0", "~")).ok_or_else(lost)
        })?;
    }
    Err("a $ref leads in a circle".into())
}

#[cfg(test)]
pub(super) mod tests;
