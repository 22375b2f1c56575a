//! How each operation is kept to one organisation when the upstream keeps none apart.
//!
//! What a request names itself is compared; a resource that it names is looked up, where the
//! document says that the resource's own answer carries its organisation. An operation whose
//! requests name anything of which that is not known is closed.

use std::fmt::Write as _;

use super::{Demand, Document, NamedPlace, Operation};
use crate::config::{Method, Place};

/// How an operation is kept to one organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Separation {
    /// A protocol endpoint, which serves everybody.
    Protocol,
    /// In these places; all have to agree.
    Places(Vec<NamedPlace>),
    /// Not at all; says why.
    Closed(String),
}

/// What a name in a body stands for.
enum Named {
    /// A resource of this kind: `/api/KIND/v1/{id}`.
    Resource(&'static str),
    /// Nothing that belongs to an organisation by itself.
    Nothing,
    /// Something whose organisation nobody tells.
    Unknown,
}

/// How the requests of an operation are kept to one organisation.
#[must_use]
pub fn separation(document: &Document, operation: &Operation) -> Separation {
    match operation.demand {
        Demand::Nothing => return Separation::Protocol,
        Demand::Authentication => {
            return Separation::Closed("asks for no permission, so anybody could call it".into());
        }
        Demand::AnyOf(_) => {}
    }
    if let Some(place) = operation.out_of_reach.first() {
        return Separation::Closed(format!("an organisation can stand in {place}"));
    }
    let mut places = operation.places.clone();
    // An organisation in the query says nothing of the resource in the path.
    let named_in_path = |name: &str| {
        places.iter().any(|it| matches!(&it.place, Place::Path(place) if place == name))
    };
    if !parameters(operation.path.as_str()).all(named_in_path) {
        match in_path(document, operation) {
            Ok(Some(place)) => places.push(place),
            Ok(None) => {}
            Err(why) => return Separation::Closed(why),
        }
    }
    for pointer in &operation.ids {
        let kind = match named(pointer) {
            Named::Nothing => continue,
            Named::Unknown => {
                return Separation::Closed(format!(
                    "names {pointer} in its body, and nobody tells whose that is"
                ));
            }
            Named::Resource(kind) => kind,
        };
        let Some((prefix, told)) = detail(document, kind) else {
            return Separation::Closed(format!(
                "names a {kind}, whose answer tells no organisation"
            ));
        };
        places.push(lookup(format!("{prefix}{{{pointer}}}"), told));
    }
    if places.is_empty() {
        return Separation::Closed("is about the things of no one organisation".into());
    }
    Separation::Places(places)
}

/// Every operation below `/api` and how it is separated, as a table in Markdown.
#[must_use]
pub fn table(document: &Document) -> String {
    let mut rows = String::new();
    let (mut separable, mut closed) = (0, 0);
    let managing = document.operations.iter().filter(|it| it.path.as_str().starts_with("/api/"));
    for operation in managing {
        let how = match separation(document, operation) {
            Separation::Protocol => continue,
            Separation::Places(places) => {
                separable += 1;
                places.iter().map(told).collect::<Vec<_>>().join("; ")
            }
            Separation::Closed(why) => {
                closed += 1;
                format!("**closed**: {why}")
            }
        };
        // Writing to a String does not fail.
        let _ = writeln!(rows, "| {} | `{}` | {how} |", operation.method.as_str(), operation.path);
    }
    format!(
        "# {} {}: operations and organisations\n\nWhere Core checks nothing (`UNSAFE_NONE`, \
         `UNSAFE_STATIC`) the gateway keeps organisations apart:\n{separable} operations by what \
         a request names or by looking up whose that is; {closed} are closed.\n\nMade by: \
         portcullis policy import --perimeter --table OPENAPI\n\n| method | path | how |\n| --- | \
         --- | --- |\n{rows}",
        document.title, document.version
    )
}

fn told(named: &NamedPlace) -> String {
    let how = match &named.place {
        Place::Query(name) => format!("query `{name}`"),
        Place::Path(name) => format!("path `{name}`"),
        Place::Header(name) => format!("header `{name}`"),
        Place::Body(pointer) => format!("body `{pointer}`"),
        Place::Lookup { path, pointer } => format!("look-up of `{path}`, `{pointer}`"),
        Place::Session => "session".to_owned(),
        Place::Token => "token".to_owned(),
    };
    if named.optional { format!("{how}, filled in") } else { how }
}

fn lookup(path: String, pointer: String) -> NamedPlace {
    NamedPlace { place: Place::Lookup { path, pointer }, optional: false }
}

/// The names between braces of a path.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// The look-up of the resource that the path names.
fn in_path(document: &Document, operation: &Operation) -> Result<Option<NamedPlace>, String> {
    let path = operation.path.as_str();
    let Some((prefix, rest)) = path.split_once('{') else { return Ok(None) };
    let name = rest.split('}').next().unwrap_or_default();
    // Whether the second is a part of the first is for the upstream alone to know.
    if let Some((_, second)) = rest.split_once('{') {
        let second = second.split('}').next().unwrap_or_default();
        return Err(format!("names {{{second}}} besides, and nobody tells whose that is"));
    }
    let found = telling(document, prefix).or_else(|| match named(&format!("/{name}")) {
        Named::Resource(kind) => detail(document, kind),
        Named::Nothing | Named::Unknown => None,
    });
    // The same resource under a newer version of one of its operations.
    let found = found.or_else(|| {
        let kind = prefix.strip_prefix("/api/")?.split("/v").next()?;
        detail(document, kind)
    });
    match found {
        Some((prefix, told)) => Ok(Some(lookup(format!("{prefix}{{{name}}}"), told))),
        None => Err(format!("names a resource by {{{name}}}, whose answer tells no organisation")),
    }
}

/// Where the answer for one resource of a kind tells its organisation, and the path before its id.
fn detail(document: &Document, kind: &str) -> Option<(String, String)> {
    telling(document, &format!("/api/{kind}/v1/"))
}

fn telling(document: &Document, prefix: &str) -> Option<(String, String)> {
    let one = document.operations.iter().find(|operation| {
        let id = operation.path.as_str().strip_prefix(prefix);
        operation.method == Method::Get
            && id.is_some_and(|id| id.starts_with('{') && id.ends_with('}') && !id.contains('/'))
    })?;
    Some((prefix.to_owned(), one.tells.clone()?))
}

/// What a name stands for, by Core's own words.
fn named(pointer: &str) -> Named {
    let mut segments: Vec<_> = pointer.split('/').skip(1).collect();
    let in_list = segments.last() == Some(&"*");
    if in_list {
        segments.pop();
    }
    let last = segments.pop().unwrap_or_default();
    let inside = |name: &str| segments.contains(&name);
    match last {
        "credentialSchemaId" => Named::Resource("credential-schema"),
        "proofSchemaId" => Named::Resource("proof-schema"),
        "identifierId" | "issuer" | "verifier" | "walletProviderIssuer" => {
            Named::Resource("identifier")
        }
        "didId" | "did_id" | "issuerDid" | "verifierDid" => Named::Resource("did"),
        "keyId" | "issuerKey" | "verifierKey" => Named::Resource("key"),
        "certificateId" | "issuerCertificate" | "verifierCertificate" => {
            Named::Resource("certificate")
        }
        "credentialId" | "credentialIds" => Named::Resource("credential"),
        "trustCollections" => Named::Resource("trust-collection"),
        // Keys of a DID, by what they are for.
        _ if in_list && inside("keys") => Named::Resource("key"),
        "id" if inside("identifiers") => Named::Resource("identifier"),
        // A claim belongs to its schema, an imported thing to whoever imports it, and trust
        // anchors to everybody; a history entry is a note, whatever it names.
        "claimId" | "trustAnchorId" | "entityId" => Named::Nothing,
        "id" if inside("schema") || inside("claimSchemas") => Named::Nothing,
        _ => Named::Unknown,
    }
}
