//! The Helm chart `charts/odigos`, embedded: values in, objects out, exactly as `helm template` renders them.
//!
//! Owns the merge of values, their check against `values.schema.json`, and an evaluator for the part of Go templates that
//! the chart uses. Whatever lies outside that part is an error, never a guess: a test compares every object with Helm's.
//! Never talks to a cluster, never decides what is installed (`spec/ui-and-cli.md` 9.2, 10, 11).

mod ambiguous;
mod metadata;
mod template;
mod values;

pub use metadata::Metadata;
pub use values::{assign, leaves, merge, overlay, read};

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use template::{Library, Scope};

/// Files of the chart as they were when this crate was built: path below the chart's folder, content.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a release is called; everything else that Helm would know of it depends on a cluster and is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name of the release, a DNS label.
    pub name: String,
    /// Namespace of every namespaced object.
    pub namespace: String,
    /// Who installs; becomes the label `app.kubernetes.io/managed-by` (`Helm` when Helm does).
    pub service: String,
}

/// Why nothing was rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Values that the chart does not take: one line each, beginning with the field's path.
    #[error("{}", .0.join("\n"))]
    Values(Vec<String>),
    /// A template that fails or that uses what this evaluator does not know.
    #[error("{file}:{line}: {message}")]
    Template {
        /// Path below the chart's folder.
        file: String,
        /// Line of the action, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file of the chart, or what a template rendered, is not what it should be.
    #[error("{file}: {message}")]
    File {
        /// Path below the chart's folder.
        file: String,
        /// What is wrong.
        message: String,
    },
}

/// A chart: its files, by path below its folder.
#[derive(Clone, Debug)]
pub struct Chart {
    files: BTreeMap<String, String>,
    metadata: Metadata,
}

impl Chart {
    /// The chart of this build.
    ///
    /// # Errors
    /// When `Chart.yaml` cannot be read; a test excludes it.
    pub fn embedded() -> Result<Self, Error> {
        Self::from_files(EMBEDDED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    /// A chart from files, by path below its folder.
    ///
    /// # Errors
    /// When `Chart.yaml` is missing or cannot be read.
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Self, Error> {
        let metadata = Metadata::read(files.get("Chart.yaml").map(String::as_str).unwrap_or_default())?;
        Ok(Self { files, metadata })
    }

    /// Name, versions, and the oldest Kubernetes.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The files, by path below the chart's folder.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// The defaults: `values.yaml`.
    ///
    /// # Errors
    /// When the file is no mapping.
    pub fn defaults(&self) -> Result<Value, Error> {
        match self.files.get("values.yaml") {
            Some(text) => values::read(text).map_err(|message| file_error("values.yaml", message)),
            None => Ok(Value::Object(serde_json::Map::new())),
        }
    }

    /// The defaults with `given` on top, checked against the schema.
    ///
    /// # Errors
    /// [`Error::Values`] with one line for each field that is refused.
    pub fn values(&self, given: &Value) -> Result<Value, Error> {
        let merged = values::merge(self.defaults()?, given);
        let refused = self.refused(&merged)?;
        if refused.is_empty() {
            return Ok(merged);
        }
        Err(Error::Values(refused.into_iter().map(|one| one.line()).collect()))
    }

    /// The paths in `given` that this version does not know any more.
    ///
    /// # Errors
    /// When the schema cannot be used.
    pub fn unknown(&self, given: &Value) -> Result<BTreeSet<String>, Error> {
        let merged = values::merge(self.defaults()?, given);
        let refused = self.refused(&merged)?;
        Ok(refused.into_iter().flat_map(|one| one.unknown).collect())
    }

    fn refused(&self, merged: &Value) -> Result<Vec<values::Refused>, Error> {
        match self.files.get("values.schema.json") {
            Some(schema) => {
                values::refused(schema, merged).map_err(|message| file_error("values.schema.json", message))
            }
            None => Ok(Vec::new()),
        }
    }

    /// Every object of the release, in the order in which they are to be applied.
    ///
    /// # Errors
    /// What is wrong with values or templates.
    pub fn render(&self, given: &Value, release: &Release) -> Result<Vec<Value>, Error> {
        let merged = self.values(given)?;
        let mut objects = Vec::new();
        let mut titles = BTreeSet::new();
        for (file, text) in self.texts(&merged, release)? {
            if let Some(line) = ambiguous::find(&text) {
                let message = format!("a scalar that YAML readers understand differently; quote it: {line}");
                return Err(file_error(&file, message));
            }
            for object in documents(&file, &text)? {
                let title = title(&object);
                if !titles.insert(title.clone()) {
                    return Err(file_error(&file, format!("{title} is rendered twice")));
                }
                objects.push(object);
            }
        }
        objects.sort_by_key(|object| (rank(object), title(object)));
        Ok(objects)
    }

    /// What each template renders, by path; files whose name begins with `_` render nothing.
    ///
    /// # Errors
    /// What is wrong with a template.
    pub fn texts(&self, merged: &Value, release: &Release) -> Result<BTreeMap<String, String>, Error> {
        let mut library = Library::default();
        let mut bodies = Vec::new();
        for (path, text) in self.files.iter().filter(|(path, _)| path.starts_with("templates/")) {
            let name = path.rsplit('/').next().unwrap_or(path);
            let body = library.add(path, text)?;
            if !name.starts_with('_') && name != "NOTES.txt" {
                bodies.push((path, body));
            }
        }
        let mut rendered = BTreeMap::new();
        for (path, body) in bodies {
            // Values are read afresh for each file, so that no file can depend on another's having run before.
            let root = template::root(merged, release, &self.metadata, &self.files).map_err(|m| file_error(path, m))?;
            rendered.insert(path.clone(), Scope::new(&library, root).render(&body)?);
        }
        Ok(rendered)
    }
}

fn file_error(file: &str, message: impl Into<String>) -> Error {
    Error::File { file: file.to_owned(), message: message.into() }
}

/// The objects of one rendered file.
fn documents(file: &str, text: &str) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let object: Value =
            serde::Deserialize::deserialize(document).map_err(|error| file_error(file, error.to_string()))?;
        if object.is_null() {
            continue;
        }
        let named = ["/apiVersion", "/kind", "/metadata/name"]
            .iter()
            .all(|pointer| object.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty()));
        if !named {
            return Err(file_error(file, "a document lacks apiVersion, kind or metadata.name"));
        }
        objects.push(object);
    }
    Ok(objects)
}

fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/metadata/namespace") {
        "" => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

/// What others refer to comes first; admission comes last, when somebody can answer it.
fn rank(object: &Value) -> u8 {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "PriorityClass" | "ResourceQuota" | "NetworkPolicy" | "LimitRange" => 2,
        "ServiceAccount" => 3,
        "ClusterRole" | "Role" => 4,
        "ClusterRoleBinding" | "RoleBinding" => 5,
        "Secret" | "ConfigMap" => 6,
        "Service" => 7,
        "PodDisruptionBudget" => 8,
        "MutatingWebhookConfiguration"
        | "ValidatingWebhookConfiguration"
        | "ValidatingAdmissionPolicy"
        | "ValidatingAdmissionPolicyBinding"
        | "APIService" => 11,
        "Deployment" | "DaemonSet" | "StatefulSet" | "Job" | "CronJob" => 9,
        _ => 10,
    }
}

#[cfg(test)]
mod tests;
