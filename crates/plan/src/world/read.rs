//! Manifests as text to objects: several documents, lists, and no secret values kept.

use crate::gateway::{SecretDigests, secret_digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// A text that is not YAML, or not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}: {message}")]
pub struct ReadError {
    /// Which document of the text, counted from 1.
    pub document: usize,
    /// What the parser says.
    pub message: String,
}

/// Larger texts than this are refused before they are parsed.
const TEXT_LIMIT: usize = 64 * 1024 * 1024;

/// Reads every object of a text: documents are separated by `---`, a `List` is opened, empty documents are passed over.
/// JSON is YAML too.
///
/// # Errors
/// The first document that is not YAML (an alias bomb included) or not an object.
pub fn read(text: &str) -> Result<Vec<Value>, ReadError> {
    if text.len() > TEXT_LIMIT {
        return Err(ReadError { document: 1, message: format!("the text is larger than {TEXT_LIMIT} bytes") });
    }
    let mut objects = Vec::new();
    for (position, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let at = |message: String| ReadError { document: position + 1, message };
        let value = Value::deserialize(document).map_err(|error| at(error.to_string()))?;
        match value {
            Value::Null => {}
            Value::Object(mut map)
                if map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) =>
            {
                match map.remove("items") {
                    Some(Value::Array(items)) => objects.extend(items),
                    _ => return Err(at("a List needs items".into())),
                }
            }
            object @ Value::Object(_) => objects.push(object),
            _ => return Err(at("a manifest must be an object with apiVersion, kind and metadata".into())),
        }
    }
    Ok(objects)
}

/// Key names and digests of a Secret. The values are gone afterwards.
pub(super) fn secret_digests(object: &Value) -> SecretDigests {
    let mut digests = SecretDigests::new();
    let texts = |section: &str| {
        let entries = object.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
        entries.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
    };
    for (key, text) in texts("data") {
        // What is not base64 would be refused by a cluster; its digest does not matter.
        let value = STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes());
        digests.insert(key, secret_digest(&value));
    }
    for (key, text) in texts("stringData") {
        digests.insert(key, secret_digest(text.as_bytes()));
    }
    digests
}
