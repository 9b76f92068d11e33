//! The graph check: everything that makes a collector refuse a configuration at start and that can be seen in the text.
//!
//! The collector's own `validate` misses extensions and storage references and, in some releases, the wiring
//! (`spec/otel-collector.md` 4.8), so a configuration passes here before it is written anywhere.

use crate::config::{CollectorConfig, ComponentKind, PipelineId};
use crate::expansion;
use crate::reach::DIVIDER;
use odigos_api::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something that would stop the collector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Problem {
    /// The pipeline or component, e.g. `pipeline traces/in` or `exporters debug/d-1`.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

/// Signals by component id.
type Signals<'a> = BTreeMap<&'a str, BTreeSet<Signal>>;

/// Longest name behind the slash of a component id that a collector takes, in characters.
const NAME_LIMIT: usize = 1024;

impl CollectorConfig {
    /// Every problem, sorted; empty means that a stock collector builds this graph.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = BTreeSet::new();
        self.check_ids(&mut problems);
        self.check_pipelines(&mut problems);
        self.check_connectors(&mut problems);
        self.check_extensions(&mut problems);
        self.check_cycles(&mut problems);
        self.check_references(&mut problems);
        problems.into_iter().collect()
    }

    /// What a collector would fetch in place of a text: only what was rendered on purpose. Texts of users are escaped where they are
    /// rendered; this is what holds where that was forgotten.
    fn check_references(&self, problems: &mut BTreeSet<Problem>) {
        let mut report = |place: String, settings: &Value| {
            if let Some(found) = foreign_reference(settings) {
                let message = format!("refers to {found}, which a collector must not fetch");
                problems.insert(Problem { place, message });
            }
        };
        for kind in ComponentKind::ALL {
            for (id, settings) in self.section(kind) {
                report(format!("{} {id}", kind.section()), settings);
            }
        }
        report("service.telemetry".into(), &self.telemetry);
    }

    fn check_ids(&self, problems: &mut BTreeSet<Problem>) {
        for kind in ComponentKind::ALL {
            for (id, _) in self.section(kind) {
                if let Err(message) = check_component_id(id) {
                    problems.insert(Problem { place: format!("{} {id}", kind.section()), message });
                }
            }
        }
        let connectors: BTreeSet<_> = self.section(ComponentKind::Connector).map(|(id, _)| id).collect();
        for kind in [ComponentKind::Receiver, ComponentKind::Exporter] {
            for (id, _) in self.section(kind).filter(|(id, _)| connectors.contains(id)) {
                problems.insert(Problem {
                    place: format!("{} {id}", kind.section()),
                    message: "has the same id as a connector".into(),
                });
            }
        }
    }

    fn check_pipelines(&self, problems: &mut BTreeSet<Problem>) {
        if self.pipelines.is_empty() {
            problems.insert(Problem { place: "service".into(), message: "has no pipeline".into() });
        }
        for (id, pipeline) in &self.pipelines {
            let place = format!("pipeline {id}");
            let mut report = |message: String| {
                problems.insert(Problem { place: place.clone(), message });
            };
            if !id.name.is_empty()
                && let Err(message) = check_component_id(&id.to_string())
            {
                report(message);
            }
            for (role, ids, kind) in [
                ("receiver", &pipeline.receivers, ComponentKind::Receiver),
                ("exporter", &pipeline.exporters, ComponentKind::Exporter),
            ] {
                if ids.is_empty() {
                    report(format!("has no {role}"));
                }
                for name in ids {
                    if self.get(kind, name).is_none() && self.get(ComponentKind::Connector, name).is_none() {
                        report(format!("names the {role} {name}, which is not defined"));
                    }
                }
            }
            for name in &pipeline.processors {
                if self.get(ComponentKind::Processor, name).is_none() {
                    report(format!("names the processor {name}, which is not defined"));
                }
            }
            for ids in [&pipeline.receivers, &pipeline.processors, &pipeline.exporters] {
                let distinct: BTreeSet<_> = ids.iter().collect();
                if distinct.len() != ids.len() {
                    report("names a component twice".into());
                }
            }
        }
    }

    fn check_connectors(&self, problems: &mut BTreeSet<Problem>) {
        // Looked up, not searched: there are as many connectors and rows as streams and destinations.
        let (mut fed_by, mut fed_to): (Signals<'_>, Signals<'_>) = Default::default();
        let mut by_name = BTreeMap::new();
        for (name, pipeline) in &self.pipelines {
            let all = [(&mut fed_by, &pipeline.exporters), (&mut fed_to, &pipeline.receivers)];
            for (known, ids) in all {
                for id in ids {
                    known.entry(id).or_default().insert(name.signal);
                }
            }
            by_name.insert(name.to_string(), pipeline);
        }
        for (id, settings) in self.section(ComponentKind::Connector) {
            let mut report = |message: String| {
                problems.insert(Problem { place: format!("connectors {id}"), message });
            };
            let fed = fed_by.get(id.as_str()).cloned().unwrap_or_default();
            let feeds = fed_to.get(id.as_str()).cloned().unwrap_or_default();
            if fed.is_empty() && feeds.is_empty() {
                continue;
            }
            if fed.is_empty() {
                report("feeds pipelines, but no pipeline exports to it".into());
            }
            if feeds.is_empty() {
                report("is fed by pipelines, but no pipeline receives from it".into());
            }
            let component_type = id.split('/').next().unwrap_or_default();
            if matches!(component_type, "forward" | "routing") && !fed.is_empty() && !feeds.is_empty() && fed != feeds {
                report("joins pipelines of different signals".into());
            }
            if component_type == "routing" {
                for target in routed_pipelines(settings) {
                    match by_name.get(&target) {
                        None => report(format!("routes to the pipeline {target}, which does not exist")),
                        Some(pipeline) if !pipeline.receivers.contains(id) => {
                            report(format!("routes to the pipeline {target}, which does not receive from it"));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    fn check_extensions(&self, problems: &mut BTreeSet<Problem>) {
        for id in &self.started_extensions {
            if self.get(ComponentKind::Extension, id).is_none() {
                problems.insert(Problem {
                    place: "service.extensions".into(),
                    message: format!("names {id}, which is not defined"),
                });
            }
        }
        for kind in [ComponentKind::Receiver, ComponentKind::Exporter] {
            for (id, settings) in self.section(kind) {
                for path in ["/auth/authenticator", "/sending_queue/storage", "/storage", "/k8s_leader_elector"] {
                    let Some(extension) = settings.pointer(path).and_then(Value::as_str) else { continue };
                    if !self.started_extensions.contains(extension) {
                        problems.insert(Problem {
                            place: format!("{} {id}", kind.section()),
                            message: format!("needs the extension {extension}, which is not started"),
                        });
                    }
                }
            }
        }
    }

    /// A cycle of connectors would pass items round for ever; the collector refuses it.
    fn check_cycles(&self, problems: &mut BTreeSet<Problem>) {
        let connectors: BTreeSet<&String> = self.section(ComponentKind::Connector).map(|(id, _)| id).collect();
        let mut receiving: BTreeMap<&String, Vec<&PipelineId>> = BTreeMap::new();
        for (id, pipeline) in &self.pipelines {
            for receiver in pipeline.receivers.iter().filter(|r| connectors.contains(r)) {
                receiving.entry(receiver).or_default().push(id);
            }
        }
        // Pipelines that nothing unresolved feeds are taken away until only cycles are left.
        let mut open: BTreeMap<&PipelineId, usize> = self.pipelines.keys().map(|id| (id, 0)).collect();
        let targets = |id: &PipelineId| {
            let exporters = self.pipelines.get(id).map(|p| p.exporters.as_slice()).unwrap_or_default();
            exporters.iter().filter_map(|e| receiving.get(e)).flatten().copied().collect::<BTreeSet<_>>()
        };
        for id in self.pipelines.keys() {
            for target in targets(id) {
                *open.entry(target).or_default() += 1;
            }
        }
        let mut ready: Vec<&PipelineId> = open.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
        while let Some(id) = ready.pop() {
            open.remove(id);
            for target in targets(id) {
                if let Some(count) = open.get_mut(target) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(target);
                    }
                }
            }
        }
        for id in open.keys() {
            problems.insert(Problem { place: format!("pipeline {id}"), message: "is part of a cycle".into() });
        }
    }
}

/// The first reference in the texts of settings that is not one of the product. Keys are not expanded.
fn foreign_reference(settings: &Value) -> Option<&str> {
    match settings {
        Value::String(text) => expansion::foreign_reference(text),
        Value::Array(list) => list.iter().find_map(foreign_reference),
        Value::Object(map) => map.values().find_map(foreign_reference),
        _ => None,
    }
}

/// The pipelines that a routing connector names, in its rows and as its defaults.
#[must_use]
pub fn routed_pipelines(settings: &Value) -> BTreeSet<String> {
    let defaults = settings.get("default_pipelines").into_iter();
    let rows = settings.get("table").and_then(Value::as_array).into_iter().flatten().filter_map(|r| r.get("pipelines"));
    defaults.chain(rows).filter_map(Value::as_array).flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a collector takes `id` as a component or pipeline id: `type[/name]`, the type a letter followed by letters,
/// digits and underscores, the name free of control characters, separators and symbols.
///
/// # Errors
/// Says what about the id is refused.
pub fn check_component_id(id: &str) -> Result<(), String> {
    let (kind, name) = match id.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (id, None),
    };
    let mut chars = kind.chars();
    if !chars.next().is_some_and(|c| c.is_ascii_alphabetic()) || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("the type {kind:?} must be a letter followed by letters, digits or underscores"));
    }
    let Some(name) = name else { return Ok(()) };
    if name.trim().is_empty() {
        return Err("the name behind the slash is empty".into());
    }
    if name.chars().count() > NAME_LIMIT {
        return Err(format!("the name behind the slash is longer than {NAME_LIMIT} characters"));
    }
    if name.contains(DIVIDER) {
        return Err(format!("the name behind the slash holds {DIVIDER:?}, at which collectors divide keys"));
    }
    let refused = |c: char| c.is_control() || c.is_whitespace() || "$+<=>^`|~".contains(c);
    match name.chars().find(|c| refused(*c)) {
        Some(c) => Err(format!("the name behind the slash holds the character {c:?}, which collectors refuse")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
