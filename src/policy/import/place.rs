//! Where the requests of an operation name an organisation: parameters, and the JSON body's schema
//! with all that it refers to.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::{NamedPlace, resolve};
use crate::config::{PathPattern, Place};

/// Schemas looked at for one operation; more is no schema but an attack on our patience.
const MOST_SCHEMAS: usize = 50_000;
/// Deepest property that is looked at, in steps.
const DEEPEST: usize = 24;

/// Query parameters that name one organisation, or several of which each counts.
const IN_QUERY: &[&str] = &["organisationId", "organisationIds", "organisationIds[]"];
const IN_BODY: &str = "organisationId";
const ORGANISATION: &str = "/organisationId";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) named: Vec<NamedPlace>,
    pub(super) out_of_reach: Vec<String>,
    /// Pointers to UUIDs in the body.
    pub(super) ids: Vec<String>,
}

/// The places of one operation.
pub(super) fn of(
    root: &Value,
    path: &PathPattern,
    item: &Value,
    operation: &Value,
) -> Result<Places, String> {
    let mut places = Places::default();
    if let Some(name) = in_path(path) {
        places.named.push(NamedPlace { place: Place::Path(name), optional: false });
    }
    in_parameters(root, item, operation, &mut places)?;
    in_body(root, operation, &mut places)?;
    Ok(places)
}

/// A parameter called `organisationId`, or the resource of `/api/organisation/v1/{id}`.
fn in_path(path: &PathPattern) -> Option<String> {
    if path.parameters().any(|name| name == IN_BODY) {
        return Some(IN_BODY.to_owned());
    }
    let mut segments = path.as_str().split('/').skip(1);
    let resource = (segments.next()?, segments.next()?, segments.next()?, segments.next()?);
    match resource {
        ("api", "organisation", version, id) if version.starts_with('v') => {
            Some(id.strip_prefix('{')?.strip_suffix('}')?.to_owned())
        }
        _ => None,
    }
}

/// Parameters of the path hold for each of its operations, unless the operation has its own.
fn in_parameters(
    root: &Value,
    item: &Value,
    operation: &Value,
    places: &mut Places,
) -> Result<(), String> {
    let mut queries = BTreeMap::new();
    for owner in [item, operation] {
        for parameter in owner.get("parameters").and_then(Value::as_sequence).into_iter().flatten()
        {
            let parameter = resolve(root, parameter)?;
            let text = |key| parameter.get(key).and_then(Value::as_str);
            let name = text("name").ok_or("a parameter has no name")?;
            if text("in") == Some("query") && IN_QUERY.contains(&name) {
                queries.insert(name, !is_true(parameter.get("required")));
            }
        }
    }
    places.named.extend(
        queries
            .into_iter()
            .map(|(name, optional)| NamedPlace { place: Place::Query(name.to_owned()), optional }),
    );
    Ok(())
}

fn in_body(root: &Value, operation: &Value, places: &mut Places) -> Result<(), String> {
    let Some(body) = operation.get("requestBody") else { return Ok(()) };
    let body = resolve(root, body)?;
    let must_be = is_true(body.get("required"));
    for (kind, media) in body.get("content").and_then(Value::as_mapping).into_iter().flatten() {
        let Some(schema) = media.get("schema") else { continue };
        let mut walk = Walk::new(root);
        walk.schema(schema, &Pointer::default(), must_be)?;
        let ids =
            walk.ids.iter().filter(|id| !places.ids.contains(id)).cloned().collect::<Vec<_>>();
        places.ids.extend(ids);
        let json = kind.as_str().is_some_and(is_json);
        let mut found: Vec<_> = walk.found.into_iter().collect();
        found.sort_by_key(|(pointer, _)| pointer.depth);
        for (pointer, required) in found {
            if pointer.in_list || !json {
                places.out_of_reach.push(pointer.text);
                continue;
            }
            // What a nested copy stands in may be left out whole, and is then no copy: only the
            // place at the top is one that can be filled in.
            let optional = !required && pointer.depth == 1;
            let place = Place::Body(pointer.text);
            if !places.named.iter().any(|named| named.place == place) {
                places.named.push(NamedPlace { place, optional });
            }
        }
    }
    Ok(())
}

/// Where the answer to an operation tells the organisation of the one resource that it is about: at
/// its top, or in the schema that it is made after.
pub(super) fn told(root: &Value, operation: &Value) -> Result<Option<String>, String> {
    let Some(answer) = operation.get("responses").and_then(|all| all.get("200")) else {
        return Ok(None);
    };
    let answer = resolve(root, answer)?;
    let content = answer.get("content").and_then(Value::as_mapping).into_iter().flatten();
    let mut json = content.filter(|(kind, _)| kind.as_str().is_some_and(is_json));
    let Some(schema) = json.next().and_then(|(_, media)| media.get("schema")) else {
        return Ok(None);
    };
    let mut walk = Walk::new(root);
    walk.schema(schema, &Pointer::default(), true)?;
    let told = |pointer: &&str| walk.found.keys().any(|found| found.text == **pointer);
    Ok(["/organisationId", "/schema/organisationId"]
        .iter()
        .find(|it| told(it))
        .map(|it| (*it).to_owned()))
}

fn is_true(node: Option<&Value>) -> bool {
    node.and_then(Value::as_bool) == Some(true)
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind.ends_with("+json")
}

/// A JSON pointer (RFC 6901) to a property; `*` stands for the elements of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Pointer {
    text: String,
    depth: usize,
    in_list: bool,
}

impl Pointer {
    fn step(&self, name: &str) -> Self {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Self {
            text: format!("{}/{escaped}", self.text),
            depth: self.depth + 1,
            in_list: self.in_list,
        }
    }

    fn elements(&self) -> Self {
        Self { in_list: true, ..self.step("*") }
    }
}

/// One way through the schemas of a body.
struct Walk<'d> {
    root: &'d Value,
    /// Each property `organisationId`, and whether every request has it.
    found: BTreeMap<Pointer, bool>,
    /// Each UUID that is none of those.
    ids: BTreeSet<String>,
    /// References that are being followed, so that a tree of its own kind is walked once.
    under: Vec<&'d str>,
    looked_at: usize,
}

impl<'d> Walk<'d> {
    fn new(root: &'d Value) -> Self {
        Self { root, found: BTreeMap::new(), ids: BTreeSet::new(), under: Vec::new(), looked_at: 0 }
    }

    /// `certain`: every request has what this schema describes.
    fn schema(&mut self, schema: &'d Value, here: &Pointer, certain: bool) -> Result<(), String> {
        self.looked_at += 1;
        if self.looked_at > MOST_SCHEMAS || here.depth > DEEPEST {
            return Err("the schema of its body is too large".into());
        }
        let is_uuid = schema.get("format").and_then(Value::as_str) == Some("uuid");
        if is_uuid && here.depth > 0 && !here.text.ends_with(ORGANISATION) {
            self.ids.insert(here.text.clone());
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        if let Some(reference) = reference.filter(|reference| !self.under.contains(reference)) {
            let target = resolve(self.root, schema)?;
            self.under.push(reference);
            self.schema(target, here, certain)?;
            self.under.pop();
        }
        for (key, certain) in [("allOf", certain), ("oneOf", false), ("anyOf", false)] {
            for part in schema.get(key).and_then(Value::as_sequence).into_iter().flatten() {
                self.schema(part, here, certain)?;
            }
        }
        let required = schema.get("required").and_then(Value::as_sequence);
        let is_required =
            |name| required.is_some_and(|names| names.iter().any(|r| r.as_str() == Some(name)));
        for (name, property) in
            schema.get("properties").and_then(Value::as_mapping).into_iter().flatten()
        {
            let name = name.as_str().ok_or("a property has no name")?;
            let (there, certain) = (here.step(name), certain && is_required(name));
            if name == IN_BODY {
                *self.found.entry(there.clone()).or_default() |= certain;
            }
            self.schema(property, &there, certain)?;
        }
        if let Some(elements) = schema.get("items") {
            self.schema(elements, &here.elements(), false)?;
        }
        if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_mapping()) {
            self.schema(values, &here.elements(), false)?;
        }
        Ok(())
    }
}
