//! Names in certificates as the file writes them.

use serde_json::{Value as Json, json};

use crate::{
    certificate::CertificateName,
    config::{
        read::{Read, Reader, Schemas},
        yaml::Node,
    },
};

impl Read for CertificateName {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "a name in a certificate such as uri:spiffe://acme/wrpr")?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: crate::certificate::NotAName = error;
                cx.wrong(node, &error.to_string())
            }
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^(subject|dns|uri|email):.+$" })
    }
}
