//! Manifests as text to objects: several documents, lists, and no secret values kept.

use crate::gateway::SecretDigests;
use crate::objects::hash;
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
    for section in ["data", "stringData"] {
        for (key, value) in object.get(section).and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            digests.insert(key.clone(), hash(&text, 64));
        }
    }
    digests
}
