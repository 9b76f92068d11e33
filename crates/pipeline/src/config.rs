//! The configuration of one collector: components by kind and id, pipelines, telemetry; merge of fragments.
//!
//! A fragment is itself a [`CollectorConfig`]: one destination, say, renders its own and it is merged whole or not at
//! all, so that a half-written destination can never spoil the others (`spec/collectors-and-pipelines.md` 4.6).

use odigos_api::Signal;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The five sections that hold components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComponentKind {
    /// Entry points of telemetry.
    Receiver,
    /// Steps inside a pipeline.
    Processor,
    /// Exits of telemetry.
    Exporter,
    /// Exporter of one pipeline and receiver of another.
    Connector,
    /// Services beside the pipelines.
    Extension,
}

impl ComponentKind {
    /// All sections.
    pub const ALL: [Self; 5] = [Self::Receiver, Self::Processor, Self::Exporter, Self::Connector, Self::Extension];

    /// Name of the section in the configuration.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Receiver => "receivers",
            Self::Processor => "processors",
            Self::Exporter => "exporters",
            Self::Connector => "connectors",
            Self::Extension => "extensions",
        }
    }
}

/// `<signal>/<name>`, e.g. `traces/stream.default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipelineId {
    /// Signal that flows through the pipeline.
    pub signal: Signal,
    /// The part behind the slash; empty for a bare `<signal>`.
    pub name: String,
}

impl PipelineId {
    /// An id from its parts.
    pub fn new(signal: Signal, name: impl Into<String>) -> Self {
        Self { signal, name: name.into() }
    }
}

impl std::fmt::Display for PipelineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            f.write_str(self.signal.as_pipeline())
        } else {
            write!(f, "{}/{}", self.signal.as_pipeline(), self.name)
        }
    }
}

/// One pipeline: component ids in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Receivers and connectors that feed it.
    pub receivers: Vec<String>,
    /// Processors in the order in which items pass them.
    pub processors: Vec<String>,
    /// Exporters and connectors that it feeds.
    pub exporters: Vec<String>,
}

/// A whole configuration, or a fragment of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectorConfig {
    /// Components by section and id.
    components: BTreeMap<ComponentKind, BTreeMap<String, Value>>,
    /// Pipelines by id.
    pub pipelines: BTreeMap<PipelineId, Pipeline>,
    /// Extensions that are started, `service.extensions`.
    pub started_extensions: BTreeSet<String>,
    /// `service.telemetry`; null when left to the collector's defaults.
    pub telemetry: Value,
}

/// Two fragments define the same thing differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is defined twice")]
pub struct Conflict {
    /// The component or pipeline, e.g. `exporters debug/d-1`.
    pub what: String,
}

impl CollectorConfig {
    /// Puts a component into its section, replacing one of the same id.
    pub fn add(&mut self, kind: ComponentKind, id: impl Into<String>, settings: Value) {
        self.components.entry(kind).or_default().insert(id.into(), settings);
    }

    /// The settings of a component.
    #[must_use]
    pub fn get(&self, kind: ComponentKind, id: &str) -> Option<&Value> {
        self.components.get(&kind)?.get(id)
    }

    /// The settings of a component, to be changed.
    pub fn get_mut(&mut self, kind: ComponentKind, id: &str) -> Option<&mut Value> {
        self.components.get_mut(&kind)?.get_mut(id)
    }

    /// Takes a component out of its section.
    pub fn remove(&mut self, kind: ComponentKind, id: &str) -> Option<Value> {
        self.components.get_mut(&kind)?.remove(id)
    }

    /// The components of a section, in order of their ids.
    pub fn section(&self, kind: ComponentKind) -> impl Iterator<Item = (&String, &Value)> {
        self.components.get(&kind).into_iter().flatten()
    }

    /// The pipeline of that id, created empty when it is new.
    pub fn pipeline(&mut self, signal: Signal, name: impl Into<String>) -> &mut Pipeline {
        self.pipelines.entry(PipelineId::new(signal, name)).or_default()
    }

    /// Merges a fragment as a whole. The same component with the same settings may stand in both (shared connectors);
    /// anything defined differently, and any pipeline defined twice, is a conflict and leaves `self` as it was.
    ///
    /// # Errors
    /// Names the first thing that both define.
    pub fn merge(&mut self, fragment: Self) -> Result<(), Conflict> {
        for (kind, components) in &fragment.components {
            for (id, settings) in components {
                if self.get(*kind, id).is_some_and(|present| present != settings) {
                    return Err(Conflict { what: format!("{} {id}", kind.section()) });
                }
            }
        }
        if let Some(id) = fragment.pipelines.keys().find(|id| self.pipelines.contains_key(id)) {
            return Err(Conflict { what: format!("pipeline {id}") });
        }
        for (kind, components) in fragment.components {
            self.components.entry(kind).or_default().extend(components);
        }
        self.pipelines.extend(fragment.pipelines);
        self.started_extensions.extend(fragment.started_extensions);
        Ok(())
    }

    /// Drops connectors, receivers, processors and exporters that no pipeline names, and extensions that nothing
    /// starts: the collector accepts them, but a reader would look for their use in vain.
    pub fn remove_unused(&mut self) {
        let mut used: BTreeSet<&String> = self.started_extensions.iter().collect();
        for pipeline in self.pipelines.values() {
            used.extend(pipeline.receivers.iter().chain(&pipeline.processors).chain(&pipeline.exporters));
        }
        for components in self.components.values_mut() {
            components.retain(|id, _| used.contains(id));
        }
        self.components.retain(|_, components| !components.is_empty());
    }

    /// The configuration as the collector reads it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut root = Map::new();
        for kind in ComponentKind::ALL {
            if let Some(components) = self.components.get(&kind).filter(|c| !c.is_empty()) {
                let section = components.iter().map(|(id, settings)| (id.clone(), settings.clone())).collect();
                root.insert(kind.section().into(), Value::Object(section));
            }
        }
        let mut service = Map::new();
        if !self.started_extensions.is_empty() {
            service.insert("extensions".into(), json!(self.started_extensions));
        }
        let pipelines: Map<String, Value> = self
            .pipelines
            .iter()
            .map(|(id, pipeline)| {
                let mut body = Map::new();
                body.insert("receivers".into(), json!(pipeline.receivers));
                if !pipeline.processors.is_empty() {
                    body.insert("processors".into(), json!(pipeline.processors));
                }
                body.insert("exporters".into(), json!(pipeline.exporters));
                (id.to_string(), Value::Object(body))
            })
            .collect();
        service.insert("pipelines".into(), Value::Object(pipelines));
        if !self.telemetry.is_null() {
            service.insert("telemetry".into(), self.telemetry.clone());
        }
        root.insert("service".into(), Value::Object(service));
        Value::Object(root)
    }

    /// The configuration as text: sorted, no timestamps, the same bytes for the same input.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        crate::yaml::to_string(&self.to_value())
    }
}

/// A literal text for a configuration: every `$` is doubled, since the collector expands `$` everywhere
/// (`spec/otel-collector.md` 4.5).
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(exporter: &str) -> CollectorConfig {
        let mut config = CollectorConfig::default();
        config.add(ComponentKind::Exporter, exporter, json!({}));
        config.add(ComponentKind::Connector, "forward/x", json!({}));
        *config.pipeline(Signal::Traces, exporter) =
            Pipeline { receivers: vec!["forward/x".into()], processors: vec![], exporters: vec![exporter.into()] };
        config
    }

    #[test]
    fn merge_is_all_or_nothing() {
        let mut config = fragment("debug/a");
        config.merge(fragment("debug/b")).unwrap();
        assert_eq!(config.pipelines.len(), 2);
        let before = config.clone();
        let mut clash = fragment("debug/c");
        clash.add(ComponentKind::Connector, "forward/x", json!({"other": true}));
        assert_eq!(config.merge(clash), Err(Conflict { what: "connectors forward/x".into() }));
        assert_eq!(config.merge(fragment("debug/a")), Err(Conflict { what: "pipeline traces/debug/a".into() }));
        assert_eq!(config, before);
    }

    #[test]
    fn unused_components_go() {
        let mut config = fragment("debug/a");
        config.add(ComponentKind::Exporter, "nop", json!({}));
        config.add(ComponentKind::Extension, "pprof", json!({}));
        config.remove_unused();
        assert_eq!(config, fragment("debug/a"));
    }
}
