//! The part of Go templates that the chart uses.
//!
//! Owns reading (`read`), running (`run`) and functions (`functions`). Each follows Go and Helm exactly or refuses: unknown
//! functions, unknown fields of built-in objects, numbers whose form would differ, changes of values.

mod functions;
mod read;
mod run;
mod value;

pub(crate) use run::Scope;

use crate::{Error, Metadata, Release};
use read::Node;
use std::collections::BTreeMap;
use value::Value;

/// Every template by name, as `define` names them.
#[derive(Debug, Default)]
pub(crate) struct Library {
    named: BTreeMap<String, Body>,
}

/// What a template consists of, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    file: String,
    nodes: Vec<Node>,
}

impl Library {
    /// Reads a file: remembers what it defines, returns the rest.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<Body, Error> {
        let (nodes, defined) = read::file(text).map_err(|(line, message)| failed(file, line, message))?;
        for (name, line, nodes) in defined {
            let body = Body { file: file.to_owned(), nodes };
            if self.named.insert(name.clone(), body).is_some() {
                return Err(failed(file, line, format!("{name:?} is defined twice; Helm would take either")));
            }
        }
        Ok(Body { file: file.to_owned(), nodes })
    }
}

fn failed(file: &str, line: usize, message: impl Into<String>) -> Error {
    Error::Template { file: file.to_owned(), line, message: message.into() }
}

/// The dot that every template starts with.
pub(crate) fn root(
    values: &serde_json::Value,
    release: &Release,
    metadata: &Metadata,
    files: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let text = |text: &str| Value::text(text);
    let released = [("Name", &release.name), ("Namespace", &release.namespace), ("Service", &release.service)];
    let chart = [("Name", &metadata.name), ("Version", &metadata.version), ("AppVersion", &metadata.app_version)];
    // Helm keeps templates and its own files from `.Files`.
    let own = ["Chart.yaml", "values.yaml", "values.schema.json"];
    let offered = files.iter().filter(|(path, _)| !path.starts_with("templates/") && !own.contains(&path.as_str()));
    Ok(Value::builtin([
        ("Values", Value::frozen(values)?),
        ("Release", Value::builtin(released.map(|(key, value)| (key, text(value))))),
        ("Chart", Value::builtin(chart.map(|(key, value)| (key, text(value))))),
        ("Files", Value::files(offered.map(|(path, text)| (path.clone(), text.clone())).collect())),
    ]))
}
