//! Manifests as text to objects of a world: lists are opened, and each object is found again by file, document and line.
//!
//! Owns what a manifest is, and that no value of a Secret is kept. Never reads a file, and never parses: the reader of YAML and JSON is
//! [`odigos_api::yaml`], the same for every text that users write.

use super::{World, schema};
use crate::gateway::{SecretKeys, SecretMark, SecretValue};
use crate::objects::title;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use odigos_api::Finding;
use odigos_api::yaml;
use serde_json::{Map, Value};

pub use odigos_api::yaml::ReadError;

/// Lists within lists, at most.
const LIST_DEPTH: usize = 16;

/// One object of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// Where it stands, e.g. `web.yaml:12, document 2, items[0]`.
    pub location: String,
}

/// The objects of a text and what there is to say about the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// The objects in their order.
    pub objects: Vec<Manifest>,
    /// Documents that cannot be read, and what is accepted but probably not meant.
    pub findings: Vec<Finding>,
}

/// Reads every object of a text named `file`; lists of any kind are opened, empty documents are skipped.
#[must_use]
pub fn manifests(text: &str, file: &str) -> Manifests {
    let mut found = Manifests::default();
    for document in yaml::documents(text) {
        match document {
            Err(error) => {
                let location = format!("{file}:{}, document {}", error.line, error.document);
                found.findings.push(Finding::error("manifest", "", error.message).at(location));
            }
            Ok(document) => {
                let location = |line: usize| format!("{file}:{line}, document {}", document.number);
                let object = title_of(&document.value);
                for remark in document.remarks {
                    let finding = Finding::warning(object.clone(), remark.path, remark.message);
                    found.findings.push(finding.at(location(remark.line)));
                }
                found.open(document.value, &location(document.line), "", 0);
            }
        }
    }
    found
}

/// Reads every object of a text that must not have an error.
///
/// # Errors
/// The first document that is not YAML or JSON, an alias bomb included, or not an object.
pub fn read(text: &str) -> Result<Vec<Value>, ReadError> {
    for document in yaml::documents(text) {
        let document = document?;
        if !document.value.is_object() {
            return Err(ReadError { document: document.number, line: document.line, message: NO_OBJECT.into() });
        }
    }
    Ok(manifests(text, "").objects.into_iter().map(|one| one.object).collect())
}

const NO_OBJECT: &str =
    "a manifest must be an object with apiVersion, kind and metadata; several objects stand in a List or between ---";

impl Manifests {
    fn open(&mut self, value: Value, location: &str, path: &str, depth: usize) {
        let here = || if path.is_empty() { location.to_owned() } else { format!("{location}, {path}") };
        let Value::Object(mut map) = value else {
            self.findings.push(Finding::error("manifest", path, NO_OBJECT).at(location));
            return;
        };
        if !is_list(&map) || depth > LIST_DEPTH {
            self.objects.push(Manifest { location: here(), object: Value::Object(map) });
            return;
        }
        let text = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let items = match map.remove("items") {
            Some(Value::Array(items)) => items,
            Some(Value::Null) => Vec::new(),
            _ => {
                self.findings
                    .push(Finding::error("List", "items", "a List needs items, even if it is [] or null").at(here()));
                return;
            }
        };
        // The items of a typed list carry no kind of their own when the API server writes them.
        let kind = text(&map, "kind").and_then(|kind| kind.strip_suffix("List").map(str::to_owned));
        let kind = kind.filter(|kind| !kind.is_empty());
        for (position, mut item) in items.into_iter().enumerate() {
            if let (Some(kind), Some(item)) = (&kind, item.as_object_mut()) {
                item.entry("kind").or_insert_with(|| Value::from(kind.clone()));
                if let Some(version) = text(&map, "apiVersion") {
                    item.entry("apiVersion").or_insert(Value::from(version));
                }
            }
            let separator = if path.is_empty() { "" } else { "." };
            self.open(item, location, &format!("{path}{separator}items[{position}]"), depth + 1);
        }
    }
}

/// Whether an object is a list of others: one of kind `List`, or one whose kind ends so, that has items and no name of its own.
fn is_list(map: &Map<String, Value>) -> bool {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    let has_items = matches!(map.get("items"), Some(Value::Array(_) | Value::Null));
    let has_name = map.get("metadata").and_then(|metadata| metadata.get("name")).is_some();
    kind == "List" || (kind.ends_with("List") && has_items && !has_name)
}

/// What to call an object of which not even the kind is certain.
fn title_of(object: &Value) -> String {
    let name = title(object);
    if name.trim().is_empty() { "manifest".to_owned() } else { name.trim().to_owned() }
}

impl World {
    /// Puts every object of a text into the cluster, except those that `take` wants: they are handed back. What cannot be used is a
    /// finding that names file, document and line; everything else is used all the same.
    pub fn load(&mut self, text: &str, file: &str, take: impl Fn(&Value) -> bool) -> (Vec<Value>, Vec<Finding>) {
        let Manifests { objects, mut findings } = manifests(text, file);
        let mut taken = Vec::new();
        for Manifest { mut object, location } in objects {
            if take(&object) {
                taken.push(object);
                continue;
            }
            self.complete(&mut object);
            let reviewed = schema::review(&mut object);
            let is_usable = reviewed.iter().all(|one| one.severity != odigos_api::Severity::Error);
            findings.extend(reviewed.into_iter().map(|one| one.at(location.clone())));
            if !is_usable {
                continue;
            }
            let name = title(&object);
            let incoming = self.incoming(&object);
            match self.insert(object) {
                Ok(()) => {
                    if let Some(incoming) = incoming {
                        findings.extend(Self::taken_as_live(&incoming).map(|one| one.at(location.clone())));
                        self.admit(incoming);
                    }
                    self.locations.insert(name, location);
                }
                Err(finding) => findings.push(finding.at(location)),
            }
        }
        (taken, findings)
    }

    /// Findings of planners, each with the place of the manifest that it is about where that came from a text.
    pub(super) fn locate(&self, findings: &mut [Finding]) {
        for finding in findings.iter_mut().filter(|finding| finding.location.is_none()) {
            finding.location = self.locations.get(&finding.object).cloned();
        }
    }
}

/// What a Secret says of its use. Metadata of an unusual shape says nothing.
pub(super) fn secret_mark(object: &Value) -> SecretMark {
    let metadata = object.get("metadata").cloned().and_then(|value| serde_json::from_value(value).ok());
    SecretMark::of(&metadata.unwrap_or_default(), object.get("type").and_then(Value::as_str))
}

/// The keys of a Secret, and what is known of their values. The values are gone afterwards.
pub(super) fn secret_keys(object: &Value) -> SecretKeys {
    let mut keys = SecretKeys::new();
    let texts = |section: &str| {
        let entries = object.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
        entries.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
    };
    for (key, text) in texts("data") {
        // What is not base64 is a finding of its own; its digest does not matter.
        let value = STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes());
        keys.insert(key, SecretValue::of(&value));
    }
    for (key, text) in texts("stringData") {
        keys.insert(key, SecretValue::of(text.as_bytes()));
    }
    keys
}

/// The Secret that another object makes a controller create: its name, where it has another one than the object, and its keys.
pub(super) fn announced_secret(object: &Value) -> Option<(Option<String>, Vec<String>)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let version = text("/apiVersion")?;
    if version.starts_with("external-secrets.io/") {
        let entries = object.pointer("/spec/data").and_then(Value::as_array).into_iter().flatten();
        let mut keys: Vec<String> =
            entries.filter_map(|one| Some(one.get("secretKey")?.as_str()?.to_owned())).collect();
        let written = object.pointer("/spec/target/template/data").and_then(Value::as_object).into_iter().flatten();
        keys.extend(written.map(|(key, _)| key.clone()));
        return Some((text("/spec/target/name"), keys));
    }
    if version.starts_with("bitnami.com/") {
        let entries = object.pointer("/spec/encryptedData").and_then(Value::as_object).into_iter().flatten();
        return Some((text("/spec/template/metadata/name"), entries.map(|(key, _)| key.clone()).collect()));
    }
    None
}
