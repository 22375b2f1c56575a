//! The JSON Schema (2020-12) of the file, collected while the types are walked.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{Field, Read, Reader, Surroundings};
use crate::config::{
    fault::Faults,
    yaml::{self, Node},
};

/// The sections met so far.
pub(crate) struct Schemas {
    sections: Map<String, Json>,
    /// Defaults that their own readers refuse: `Section.key`.
    pub(crate) unreadable_defaults: Vec<String>,
}

/// The keys of one section.
pub(crate) struct FieldSchemas<'s> {
    schemas: &'s mut Schemas,
    section: &'static str,
    properties: Map<String, Json>,
    required: Vec<&'static str>,
}

impl Schemas {
    /// The schema of a whole file that reads as `T`, and the defaults that are wrong.
    pub(crate) fn of<T: Read>() -> (Json, Vec<String>) {
        let mut schemas = Self { sections: Map::new(), unreadable_defaults: Vec::new() };
        let root = T::schema(&mut schemas);
        let mut file = Map::new();
        file.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        file.insert("title".into(), "Portcullis configuration".into());
        file.extend(root.as_object().cloned().unwrap_or_default());
        file.insert("$defs".into(), schemas.sections.into());
        (file.into(), schemas.unreadable_defaults)
    }

    /// A reference to a section, which is described at its first meeting.
    pub(crate) fn section(
        &mut self,
        name: &'static str,
        doc: &str,
        describe: impl FnOnce(&mut FieldSchemas<'_>),
    ) -> Json {
        if !self.sections.contains_key(name) {
            self.sections.insert(name.to_owned(), Json::Null);
            let (properties, required) = (Map::new(), Vec::new());
            let mut fields = FieldSchemas { schemas: self, section: name, properties, required };
            describe(&mut fields);
            let FieldSchemas { properties, required, .. } = fields;
            let mut section = json!({
                "type": "object",
                "description": doc.trim(),
                "additionalProperties": false,
                "properties": properties,
            });
            if let (false, Some(section)) = (required.is_empty(), section.as_object_mut()) {
                section.insert("required".into(), required.into());
            }
            self.sections.insert(name.to_owned(), section);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }
}

impl FieldSchemas<'_> {
    /// One key: its type, description and default.
    pub(crate) fn add<T: Read>(&mut self, field: &Field) {
        let mut schema = T::schema(self.schemas);
        let default = field.default.map(|text| {
            let node = yaml::parse("default", text, &mut Faults::default());
            let mut cx = Reader::new(Path::new(""), &Nothing);
            if node.as_ref().and_then(|node| T::read(node, &mut cx)).is_none() {
                self.schemas.unreadable_defaults.push(format!("{}.{}", self.section, field.key));
            }
            node.as_ref().map_or(Json::Null, Node::json)
        });
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".into(), field.doc.trim().into());
            if let Some(default) = default {
                schema.insert("default".into(), default);
            }
        }
        if field.default.is_none() {
            self.required.push(field.key);
        }
        self.properties.insert(field.key.to_owned(), schema);
    }
}

/// For texts that take nothing from elsewhere, as defaults do.
pub(crate) struct Nothing;

impl Surroundings for Nothing {
    fn file(&self, _: &Path, _: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}
