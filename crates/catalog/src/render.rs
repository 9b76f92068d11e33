//! One destination to collector components, as a whole or not at all.
//!
//! Owns the rules of `spec/destinations.md` 2 that concern a single destination. Queues, streams and forward connectors
//! are added by the planner of the gateway.

use crate::destination;
use crate::schema::{Component, PipelineAdditions, Pipelines, Usage};
use crate::template::{Evaluation, data_field};
use crate::unused;
use odigos_api::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A destination as a user configured it.
#[derive(Clone, Debug)]
pub struct Instance<'a> {
    /// `metadata.name`, part of every component id.
    pub id: &'a str,
    /// `spec.type`.
    pub type_id: &'a str,
    /// `spec.data`.
    pub data: &'a BTreeMap<String, String>,
    /// `spec.signals`.
    pub signals: &'a BTreeSet<Signal>,
    /// What is known of `spec.secretRef`.
    pub secret: Secret<'a>,
}

/// What is known of the destination's Secret. Only the names of keys; values never come here.
#[derive(Clone, Debug)]
pub enum Secret<'a> {
    /// The destination names none.
    None,
    /// The named Secret does not exist.
    Missing {
        /// Its name.
        name: &'a str,
    },
    /// The Secret exists and has these keys.
    Keys {
        /// Its name.
        name: &'a str,
        /// Its keys.
        keys: &'a BTreeSet<String>,
    },
}

/// The components of one destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// Exporters by id.
    pub exporters: BTreeMap<String, Value>,
    /// Processors by id.
    pub processors: BTreeMap<String, Value>,
    /// Extensions by id; all of them must be started.
    pub extensions: BTreeMap<String, Value>,
    /// Connectors by id.
    pub connectors: BTreeMap<String, Value>,
    /// Pipelines by signal and name.
    pub pipelines: BTreeMap<(Signal, String), PipelinePart>,
    /// Environment variables that libraries of the collector read by themselves.
    pub variables: BTreeMap<String, String>,
    /// Such variables of the type, set or not: an exporter reads them all the same.
    pub possible_variables: BTreeSet<String>,
    /// Secret keys that are read as environment variables.
    pub environment: Vec<SecretVariable>,
    /// Secret keys that are read as files.
    pub files: Vec<SecretFile>,
    /// What works, but probably not as meant.
    pub warnings: Vec<Problem>,
}

/// What a destination puts into its pipeline of one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelinePart {
    /// Connectors of the type that feed it.
    pub receivers: Vec<String>,
    /// Processors of the type.
    pub processors: Vec<String>,
    /// Exporters, and connectors of the type that it feeds.
    pub exporters: Vec<String>,
}

/// An environment variable that holds a Secret's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretVariable {
    /// Name of the variable; unique over all destinations.
    pub variable: String,
    /// Key in the Secret.
    pub key: String,
    /// Where its value is used.
    pub usages: BTreeSet<Usage>,
}

/// A file that holds a Secret's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretFile {
    /// Key in the Secret.
    pub key: String,
    /// Absolute path in the collector's pod.
    pub path: String,
    /// Where its text is used.
    pub usage: Usage,
}

/// Something wrong with a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What kind of problem.
    pub reason: Reason,
    /// The field, e.g. `spec.data.JAEGER_URL`.
    pub field: String,
    /// What is wrong and what to do; for people.
    pub message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// `spec.type` is not in the catalogue.
    UnknownType,
    /// A setting is missing or not of its form.
    InvalidSetting,
    /// A selected signal is one that the type does not take.
    UnsupportedSignal,
    /// `spec.secretRef` names a Secret that does not exist.
    SecretNotFound,
    /// The Secret lacks a key.
    SecretKeyMissing,
}

/// Renders a destination.
///
/// # Errors
/// Every problem that keeps it from being rendered, each with the field it is about.
pub fn render(instance: &Instance<'_>) -> Result<Rendered, Vec<Problem>> {
    let Some(definition) = destination::find(instance.type_id) else {
        let known: Vec<&str> = destination::types().keys().map(String::as_str).collect();
        let message = format!("{:?} is not a known type; known are {}", instance.type_id, known.join(", "));
        return Err(vec![Problem { reason: Reason::UnknownType, field: "spec.type".into(), message }]);
    };
    let renderable: BTreeSet<Signal> =
        definition.signals.iter().copied().filter(|signal| definition.can_render(*signal)).collect();
    let selected: BTreeSet<Signal> = instance.signals.intersection(&renderable).copied().collect();
    let needed = |signal: &Signal| {
        additions(&definition.rendering.pipelines, *signal).map(|one| one.needs_any.as_slice()).unwrap_or_default()
    };
    let is_blank = |name: &String| instance.data.get(name).is_none_or(|text| text.trim().is_empty());
    let has_address = |signal: &Signal| needed(signal).is_empty() || !needed(signal).iter().all(is_blank);
    let signals: BTreeSet<Signal> = selected.iter().copied().filter(has_address).collect();
    let rules = &definition.rendering;
    let mut evaluation = Evaluation::new(instance, definition, &signals);
    let unsupported: Vec<Signal> = instance.signals.difference(&renderable).copied().collect();
    let takes = renderable.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(", ");
    if selected.is_empty() {
        let message = if unsupported.is_empty() {
            format!("no signal is selected; {} takes {takes}", definition.display_name)
        } else {
            let list = unsupported.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(", ");
            format!("{} does not take {list}; it takes {takes}", definition.display_name)
        };
        evaluation.problem(Reason::UnsupportedSignal, "spec.signals", message);
    } else {
        for signal in unsupported {
            evaluation.warnings.push(Problem {
                reason: Reason::UnsupportedSignal,
                field: "spec.signals".into(),
                message: format!(
                    "{} does not take {signal}, which is left out; it takes {takes}",
                    definition.display_name
                ),
            });
        }
    }
    // Where no address is set at all, that is what is said.
    if rules.required_any.is_empty() || !rules.required_any.iter().all(is_blank) {
        for signal in selected.difference(&signals) {
            let message = match needed(signal) {
                [one] => format!("{signal} are not sent: {one} is not set"),
                several => format!("{signal} are not sent: neither {} is set", several.join(" nor ")),
            };
            let field = "spec.signals";
            if signals.is_empty() {
                evaluation.problem(Reason::InvalidSetting, field, message);
            } else {
                let sent = signals.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("{message}; only {sent} are");
                evaluation.warnings.push(Problem { reason: Reason::InvalidSetting, field: field.into(), message });
            }
        }
    }
    if let Secret::Missing { name } = instance.secret {
        let message = match name.trim() {
            "" => "it names no Secret; write its name, or remove secretRef".to_owned(),
            name => format!("the Secret {name} does not exist in the namespace of the Destination; create it"),
        };
        evaluation.problem(Reason::SecretNotFound, "spec.secretRef", message);
    }
    for name in rules.required.iter().filter(|name| is_blank(name)) {
        evaluation.problem(Reason::InvalidSetting, data_field(name), "it is required, but missing");
    }
    if !rules.required_any.is_empty() && rules.required_any.iter().all(is_blank) {
        let field = rules.required_any.first().map(|name| data_field(name)).unwrap_or_default();
        let message = format!("at least one of {} is required", rules.required_any.join(", "));
        evaluation.problem(Reason::InvalidSetting, field, message);
    }
    evaluation.check_switches(&rules.switches());
    for check in &rules.checks {
        evaluation.check(&check.field, &check.normaliser);
    }
    for warning in &rules.warnings {
        if evaluation.holds(&warning.when) {
            evaluation.warnings.push(Problem {
                reason: Reason::InvalidSetting,
                field: data_field(&warning.field),
                message: warning.message.clone(),
            });
        }
    }
    let mut rendered = Rendered {
        exporters: components(&mut evaluation, &rules.exporters),
        processors: components(&mut evaluation, &rules.processors),
        extensions: components(&mut evaluation, &rules.extensions),
        connectors: components(&mut evaluation, &rules.connectors),
        ..Rendered::default()
    };
    for variable in &rules.variables {
        rendered.possible_variables.insert(variable.name.clone());
        if variable.when.as_ref().is_none_or(|condition| evaluation.holds(condition))
            && let Some(Value::String(value)) = evaluation.value(&variable.value)
        {
            rendered.variables.insert(variable.name.clone(), value);
        }
    }
    for signal in &signals {
        let none = PipelineAdditions::default();
        let additions = additions(&rules.pipelines, *signal).unwrap_or(&none);
        let present = |ids: &[String], more: &[String], exists: &dyn Fn(&str) -> bool| {
            let named = ids.iter().chain(more).map(|id| evaluation.named(id));
            named.filter(|id| exists(id)).collect::<Vec<_>>()
        };
        let is_connector = |id: &str| rendered.connectors.contains_key(id);
        let part = PipelinePart {
            receivers: present(&rules.pipelines.receivers, &additions.receivers, &is_connector),
            processors: present(&rules.pipelines.processors, &additions.processors, &|id| {
                rendered.processors.contains_key(id)
            }),
            exporters: present(&rules.pipelines.exporters, &additions.exporters, &|id| {
                rendered.exporters.contains_key(id) || is_connector(id)
            }),
        };
        let name = additions.name.as_ref().unwrap_or(&rules.pipelines.name);
        rendered.pipelines.insert((*signal, evaluation.named(name)), part);
    }
    let unused = unused::findings(&evaluation);
    evaluation.warnings.extend(unused);
    if !evaluation.problems.is_empty() {
        let mut problems = evaluation.problems;
        problems.dedup();
        return Err(problems);
    }
    let variable = |((variable, key), usages)| SecretVariable { variable, key, usages };
    rendered.environment = evaluation.environment.into_iter().map(variable).collect();
    rendered.files = evaluation.files.into_iter().collect();
    rendered.warnings = evaluation.warnings;
    Ok(rendered)
}

/// What the pipeline of one signal has beside the parts of all; nothing where a type renders no profiles.
pub(crate) const fn additions(pipelines: &Pipelines, signal: Signal) -> Option<&PipelineAdditions> {
    match signal {
        Signal::Traces => Some(&pipelines.traces),
        Signal::Metrics => Some(&pipelines.metrics),
        Signal::Logs => Some(&pipelines.logs),
        Signal::Profiles => pipelines.profiles.as_ref(),
    }
}

fn components(evaluation: &mut Evaluation<'_>, list: &[Component]) -> BTreeMap<String, Value> {
    let mut rendered = BTreeMap::new();
    for component in list {
        if component.when.as_ref().is_some_and(|condition| !evaluation.holds(condition)) {
            continue;
        }
        let id = evaluation.named(&component.id);
        evaluation.enter(&id);
        let settings = without_nulls(evaluation.value(&component.settings).unwrap_or_else(|| json!({})));
        rendered.insert(id, settings);
    }
    rendered
}

/// Keys whose value came out as null are left to the component's own default.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
