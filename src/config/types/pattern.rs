//! Path patterns as the file writes them.

use serde_json::{Value as Json, json};

use crate::{
    config::{
        read::{Read, Reader, Schemas},
        yaml::Node,
    },
    route::PathPattern,
};

impl Read for PathPattern {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "a path pattern such as /api/credential/v1/{id}")?;
        match Self::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(why) => cx.wrong(node, &why),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^/[^%?#]*$" })
    }
}
