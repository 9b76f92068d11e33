//! Streams to destinations: one pipeline for each stream and signal, one routing row for each stream class.
//!
//! Owns design 4.3. A class whose streams share a destination gets a joint pipeline, so that the item reaches that
//! destination once; a class without any destination for the signal goes to the void, never to `default`.

use super::destinations::Fragment;
use crate::collector::{self, Processors};
use crate::streams::{NAMESPACE_STREAM, VOID_CLASS};
use odigos_api::Signal;
use odigos_api::collectors_group::{CollectorsGroupSpec, StreamClass};
use odigos_api::labels::{DEFAULT_STREAM, STREAM_CLASS_ATTRIBUTE};
use odigos_pipeline::ottl::{Condition, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Id of the routing connector of a signal.
pub(super) fn connector(signal: Signal) -> String {
    format!("routing/{}", signal.as_pipeline())
}

/// Streams that any class or destination names, `default` included.
pub(super) fn known_streams(spec: &CollectorsGroupSpec, fragments: &[Fragment]) -> BTreeSet<String> {
    let classes = spec.stream_classes.iter().flat_map(|class| class.streams.iter().cloned());
    let selected = fragments.iter().filter_map(|fragment| match &fragment.selection {
        crate::streams::Selection::Streams(streams) => Some(streams.iter().cloned()),
        crate::streams::Selection::Every => None,
    });
    classes.chain(selected.flatten()).chain([DEFAULT_STREAM.to_owned()]).collect()
}

/// Name of the pipeline of a stream behind the signal: `stream.<name>`, or `namespace.<name>` for a virtual one.
fn stream_pipeline(stream: &str) -> String {
    match stream.strip_prefix(NAMESPACE_STREAM) {
        Some(namespace) => format!("namespace.{namespace}"),
        None => format!("stream.{stream}"),
    }
}

/// Where items without a destination end; not `stream.void`, since a user may have a stream of that name.
const VOID: &str = "void";

/// A stream that has at least one destination for the signal.
struct Stream {
    processors: Vec<String>,
    forwards: BTreeSet<String>,
}

/// Adds the routing connector of `signal` and every pipeline behind it.
pub(super) fn add(
    config: &mut CollectorConfig,
    signal: Signal,
    spec: &CollectorsGroupSpec,
    processors: &Processors,
    fragments: &[Fragment],
) {
    let streams: BTreeMap<String, Stream> = known_streams(spec, fragments)
        .into_iter()
        .filter_map(|name| {
            let selecting = fragments.iter().filter(|fragment| fragment.selection.includes(&name));
            let forwards: BTreeSet<String> = selecting.filter_map(|fragment| fragment.forward(signal)).collect();
            let own =
                processors.usable.iter().filter(|p| p.is_for_stream(signal, &name)).map(|p| p.id.clone()).collect();
            (!forwards.is_empty()).then_some((name, Stream { processors: own, forwards }))
        })
        .collect();
    for (name, stream) in &streams {
        add_pipeline(
            config,
            signal,
            stream_pipeline(name),
            &stream.processors,
            stream.forwards.iter().cloned().collect(),
        );
    }
    let mut rows = Vec::new();
    for class in &spec.stream_classes {
        let targets = targets(config, signal, class, &streams);
        let condition =
            Condition::Equal(Path::keyed("attributes", STREAM_CLASS_ATTRIBUTE).into(), class.id.as_str().into());
        rows.push(json!({
            "context": "resource",
            "condition": condition.to_string(),
            "pipelines": targets.iter().map(|name| format!("{}/{name}", signal.as_pipeline())).collect::<Vec<_>>(),
        }));
    }
    if rows.is_empty() {
        // The connector wants a row; workloads that opted out of everything are the one class that always exists.
        add_void(config, signal);
        let condition = Condition::Equal(Path::keyed("attributes", STREAM_CLASS_ATTRIBUTE).into(), VOID_CLASS.into());
        rows.push(json!({
            "context": "resource",
            "condition": condition.to_string(),
            "pipelines": [format!("{}/{VOID}", signal.as_pipeline())],
        }));
    }
    let default = if streams.contains_key(DEFAULT_STREAM) {
        stream_pipeline(DEFAULT_STREAM)
    } else {
        add_void(config, signal);
        VOID.to_owned()
    };
    config.add(
        ComponentKind::Connector,
        connector(signal),
        json!({
            "error_mode": "ignore",
            "default_pipelines": [format!("{}/{default}", signal.as_pipeline())],
            "table": rows,
        }),
    );
}

/// The pipelines that items of a class go to: its streams' own, or one joint pipeline when two of them would feed the
/// same destination with the same item.
fn targets(
    config: &mut CollectorConfig,
    signal: Signal,
    class: &StreamClass,
    streams: &BTreeMap<String, Stream>,
) -> Vec<String> {
    let members: Vec<(&String, &Stream)> =
        class.streams.iter().filter_map(|name| streams.get_key_value(name)).collect();
    if members.is_empty() {
        add_void(config, signal);
        return vec![VOID.to_owned()];
    }
    let union: BTreeSet<&String> = members.iter().flat_map(|(_, stream)| &stream.forwards).collect();
    let total: usize = members.iter().map(|(_, stream)| stream.forwards.len()).sum();
    let alike = members.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a.processors == b.processors));
    if members.len() == 1 || union.len() == total || !alike {
        return members.iter().map(|(name, _)| stream_pipeline(name)).collect();
    }
    // The joint pipeline of a class whose union equals one member's own set would only repeat that member's pipeline.
    if let Some((name, _)) = members.iter().find(|(_, stream)| stream.forwards.len() == union.len()) {
        return vec![stream_pipeline(name)];
    }
    let name = format!("class.{}", class.id);
    let processors = members.first().map(|(_, stream)| stream.processors.clone()).unwrap_or_default();
    add_pipeline(config, signal, name.clone(), &processors, union.into_iter().cloned().collect());
    vec![name]
}

fn add_pipeline(
    config: &mut CollectorConfig,
    signal: Signal,
    name: String,
    processors: &[String],
    exporters: Vec<String>,
) {
    let mut all = vec![collector::STRIP_CLASS.to_owned()];
    all.extend_from_slice(processors);
    *config.pipeline(signal, name) = Pipeline { receivers: vec![connector(signal)], processors: all, exporters };
}

fn add_void(config: &mut CollectorConfig, signal: Signal) {
    *config.pipeline(signal, VOID) =
        Pipeline { receivers: vec![connector(signal)], processors: vec![], exporters: vec!["nop".into()] };
}
