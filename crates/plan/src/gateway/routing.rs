//! Streams to destinations: one pipeline for each stream and signal, one routing row for each stream class.
//!
//! Owns design 4.3. A class whose streams share a destination gets a joint pipeline, so that the item reaches that
//! destination once; a class without any destination for the signal goes to the void, never to `default`. Streams that are
//! sampled differently treat an item differently, so they are never joined.

use super::destinations::Fragment;
use super::sampling::{self, Group, Samplers};
use super::treatment::Treatments;
use crate::actions::scopes::REMOVE;
use crate::collector;
use crate::processors::{self, ByStream};
use crate::sampling::report::Mode;
use crate::streams::{self, DEFAULT_CLASS, NAMESPACE_STREAM};
use odigos_api::Signal;
use odigos_api::collectors_group::{CollectorsGroupSpec, StreamClass};
use odigos_api::data_stream::SamplingView;
use odigos_api::labels::{DEFAULT_STREAM, STREAM_CLASS_ATTRIBUTE};
use odigos_pipeline::ottl::{Condition, Expression, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Id of the routing connector of a signal.
pub(super) fn connector(signal: Signal) -> String {
    format!("routing/{}", signal.as_pipeline())
}

/// Streams that any class or destination names, `default` included. Of a dedicated pool those of its classes: nothing else is
/// sent there.
pub(super) fn known_streams(spec: &CollectorsGroupSpec, fragments: &[Fragment]) -> BTreeSet<String> {
    let classes = spec.stream_classes.iter().flat_map(|class| class.streams.iter().cloned());
    if spec.pool.is_some() {
        return classes.filter(|stream| streams::has_pipeline(stream)).collect();
    }
    let selected = fragments.iter().filter_map(|fragment| match &fragment.selection {
        crate::streams::Selection::Streams(streams) => Some(streams.iter().cloned()),
        crate::streams::Selection::Every => None,
    });
    let all = classes.chain(selected.flatten()).chain([DEFAULT_STREAM.to_owned()]);
    all.filter(|stream| streams::has_pipeline(stream)).collect()
}

/// Streams that have a destination for a signal.
pub(super) fn fed_streams(spec: &CollectorsGroupSpec, fragments: &[Fragment], signal: Signal) -> BTreeSet<String> {
    let taking: Vec<&Fragment> = fragments.iter().filter(|one| one.forward(signal).is_some()).collect();
    let is_fed = |stream: &String| taking.iter().any(|one| one.selection.includes(stream));
    known_streams(spec, fragments).into_iter().filter(is_fed).collect()
}

/// How the names of pipelines of streams and of sets of streams begin.
pub(super) const STREAM_PIPELINES: [&str; 3] = ["stream.", "namespace.", "class."];

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

/// One routing connector: the streams behind it, and what else its rows feed.
struct Router<'a> {
    id: String,
    signal: Signal,
    /// Put behind the names of joint pipelines, so that those of two routers differ.
    suffix: String,
    streams: BTreeMap<&'a String, &'a Stream>,
    /// Pipelines that take every item of a class in which one of their streams is.
    hubs: Vec<(String, &'a BTreeSet<String>)>,
    /// Whether hubs take the place of their streams, so that a class that feeds one needs no void.
    hubs_count: bool,
    treatments: &'a Treatments<'a>,
}

/// Adds the routing connectors of `signal` and every pipeline behind them.
pub(super) fn add(
    config: &mut CollectorConfig,
    signal: Signal,
    spec: &CollectorsGroupSpec,
    treatments: &Treatments<'_>,
    fragments: &[Fragment],
    samplers: Option<&Samplers>,
) {
    let lowered = samplers.is_some_and(Samplers::lowers_late_processors);
    let sampling = samplers.filter(|samplers| samplers.mode == Mode::Sampling);
    let group_of = |name: &str| sampling.and_then(|samplers| samplers.group_of(name));
    let fed = fed_streams(spec, fragments, signal);
    let placed = treatments.processors.placed_by_stream(signal, &fed);
    let streams: BTreeMap<String, Stream> = fed
        .iter()
        .map(|name| {
            let selecting = fragments.iter().filter(|fragment| fragment.selection.includes(name));
            let forwards: BTreeSet<String> = selecting.filter_map(|fragment| fragment.forward(signal)).collect();
            let chosen = stream_processors(placed, name, group_of(name), samplers, lowered);
            (name.clone(), Stream { processors: chosen, forwards })
        })
        .collect();
    let main = connector(signal);
    let hub_groups: Vec<&Group> = match samplers {
        Some(samplers) => samplers.groups.iter().filter(|group| !group.name.is_empty()).collect(),
        None => Vec::new(),
    };
    let is_hub = |group: &&&Group| sampling.is_none() || !group.is_inline();
    let mut hubs = Vec::new();
    let mut behind: BTreeMap<&str, &Group> = BTreeMap::new();
    for group in hub_groups.iter().filter(is_hub) {
        let own = format!("{main}.{}", group.name);
        if let Some(samplers) = samplers {
            sampling::add_hub(config, samplers, group, &main, &own);
        }
        let name = if sampling.is_some() { group.hub() } else { group.shadow() };
        if group.view == SamplingView::Stream {
            hubs.push((name, &group.streams));
        }
        if sampling.is_some() {
            behind.extend(group.streams.iter().map(|stream| (stream.as_str(), *group)));
            let members = streams.iter().filter(|(name, _)| group.streams.contains(*name)).collect();
            let suffix = format!(".{}", group.name);
            let router =
                Router { id: own, signal, suffix, streams: members, hubs: Vec::new(), hubs_count: false, treatments };
            router.add(config, spec);
        }
    }
    let members = streams.iter().filter(|(name, _)| !behind.contains_key(name.as_str())).collect();
    let hubs_count = sampling.is_some();
    let router = Router { id: main, signal, suffix: String::new(), streams: members, hubs, hubs_count, treatments };
    router.add(config, spec);
}

/// The processors of a stream's pipeline, in order. Where samplers stand in the pipelines of streams, what must run after
/// sampling stands there too.
fn stream_processors(
    placed: ByStream<'_>,
    stream: &str,
    group: Option<&Group>,
    samplers: Option<&Samplers>,
    lowered: bool,
) -> Vec<String> {
    let own = |late: bool| {
        let of_stream = placed.of_stream(stream, move |p| lowered && p.hint >= processors::LATE_HINT);
        of_stream.filter(move |p| (p.hint >= processors::LATE_HINT) == late).map(|p| p.id.clone())
    };
    let mut all = Vec::new();
    match (group, samplers) {
        (Some(group), Some(samplers)) if group.is_inline() => {
            all.extend(own(false));
            all.extend(group.processors(&samplers.marks));
        }
        // Behind a hub the early ones have run.
        (Some(_), Some(_)) => {}
        _ => all.extend(own(false)),
    }
    all.extend(own(true));
    all
}

fn class_attribute() -> Expression {
    Path::keyed("attributes", STREAM_CLASS_ATTRIBUTE).into()
}

/// True of items that carry a class other than `default`; as the last row, of those whose class no row names.
fn unknown_class() -> Condition {
    Condition::All(vec![
        Condition::NotEqual(class_attribute(), Expression::Nil),
        Condition::NotEqual(class_attribute(), DEFAULT_CLASS.into()),
    ])
}

impl<'a> Router<'a> {
    /// Adds the connector and the pipelines of its streams.
    fn add(&self, config: &mut CollectorConfig, spec: &CollectorsGroupSpec) {
        for (name, stream) in &self.streams {
            let exporters = stream.forwards.iter().cloned().collect();
            self.add_pipeline(config, stream_pipeline(name), &stream.processors, exporters);
        }
        let mut rows = Vec::new();
        for class in &spec.stream_classes {
            let targets = self.targets(config, class);
            rows.push(self.row(&class.id, &targets));
        }
        // A class that no row names has left: what is derived of its items, or waited in a queue, still carries it. It was never
        // for the stream `default`.
        self.add_void(config);
        rows.push(self.row_of(&unknown_class(), &[VOID.to_owned()]));
        let default = StreamClass { streams: vec![DEFAULT_STREAM.to_owned()], ..StreamClass::default() };
        let mut targets = self.targets(config, &default);
        if spec.drops_unclassified == Some(true) {
            rows.push(self.row(DEFAULT_CLASS, &targets));
            targets = vec![VOID.to_owned()];
        }
        config.add(
            ComponentKind::Connector,
            self.id.clone(),
            json!({
                "error_mode": "ignore",
                "default_pipelines": self.pipelines(&targets),
                "table": rows,
            }),
        );
    }

    fn pipelines(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| format!("{}/{name}", self.signal.as_pipeline())).collect()
    }

    fn row(&self, class: &str, targets: &[String]) -> serde_json::Value {
        self.row_of(&Condition::Equal(class_attribute(), class.into()), targets)
    }

    fn row_of(&self, condition: &Condition, targets: &[String]) -> serde_json::Value {
        json!({"context": "resource", "condition": condition.to_string(), "pipelines": self.pipelines(targets)})
    }

    /// The pipelines that items of a class go to: its streams' own, or one joint pipeline when two of them would feed the
    /// same destination with the same item; and the hubs of its other streams.
    fn targets(&self, config: &mut CollectorConfig, class: &StreamClass) -> Vec<String> {
        if streams::is_off(class, self.signal) {
            self.add_void(config);
            return vec![VOID.to_owned()];
        }
        let hubs = self.hubs.iter().filter(|(_, of)| class.streams.iter().any(|stream| of.contains(stream)));
        let hubs: Vec<String> = hubs.map(|(name, _)| name.clone()).collect();
        let mut targets = self.stream_targets(config, class);
        if targets.is_empty() && (hubs.is_empty() || !self.hubs_count) {
            self.add_void(config);
            targets.push(VOID.to_owned());
        }
        targets.extend(hubs);
        targets
    }

    fn stream_targets(&self, config: &mut CollectorConfig, class: &StreamClass) -> Vec<String> {
        let members: Vec<(&String, &'a Stream)> =
            class.streams.iter().filter_map(|name| Some((name, *self.streams.get(name)?))).collect();
        // Streams that treat an item alike are one; of others each destination gets the version of each.
        let mut alike: Vec<Vec<(&String, &'a Stream)>> = Vec::new();
        let of = |stream: &'a Stream| self.treatments.of_class(class, &stream.processors);
        for member in members {
            match alike.iter_mut().find(|set| set.iter().any(|(_, one)| of(one) == of(member.1))) {
                Some(set) => set.push(member),
                None => alike.push(vec![member]),
            }
        }
        let joint = |number: usize| match number {
            0 => format!("class.{}{}", class.id, self.suffix),
            _ => format!("class.{}{}.{number}", class.id, self.suffix),
        };
        let targets = alike.iter().enumerate().map(|(number, set)| self.targets_of(config, class, set, joint(number)));
        targets.collect::<Vec<_>>().concat()
    }

    /// The pipelines for streams that treat items of a class alike.
    fn targets_of(
        &self,
        config: &mut CollectorConfig,
        class: &StreamClass,
        members: &[(&String, &Stream)],
        name: String,
    ) -> Vec<String> {
        let union: BTreeSet<&String> = members.iter().flat_map(|(_, stream)| &stream.forwards).collect();
        let total: usize = members.iter().map(|(_, stream)| stream.forwards.len()).sum();
        if members.len() <= 1 || union.len() == total {
            return members.iter().map(|(name, _)| stream_pipeline(name)).collect();
        }
        let all: Vec<&[String]> = members.iter().map(|(_, stream)| stream.processors.as_slice()).collect();
        let joint = |base: &Stream| self.treatments.joint(class, &base.processors, &all);
        // The joint pipeline of a class whose union equals one member's own set would only repeat that member's pipeline.
        let is_whole = |stream: &Stream| stream.forwards.len() == union.len() && joint(stream) == stream.processors;
        if let Some((name, _)) = members.iter().find(|(_, stream)| is_whole(stream)) {
            return vec![stream_pipeline(name)];
        }
        let processors = members.first().map(|(_, stream)| joint(stream)).unwrap_or_default();
        self.add_pipeline(config, name.clone(), &processors, union.into_iter().cloned().collect());
        vec![name]
    }

    fn add_pipeline(&self, config: &mut CollectorConfig, name: String, processors: &[String], exporters: Vec<String>) {
        // One for each pipeline: collectors count items by processor, so it tells how many each stream gets.
        let mut all = vec![collector::add_class_remover(config, &name)];
        all.extend_from_slice(processors);
        if self.signal == Signal::Traces && config.get(ComponentKind::Processor, REMOVE).is_some() {
            all.push(REMOVE.to_owned());
        }
        *config.pipeline(self.signal, name) = Pipeline { receivers: vec![self.id.clone()], processors: all, exporters };
    }

    fn add_void(&self, config: &mut CollectorConfig) {
        let void = config.pipeline(self.signal, VOID);
        void.exporters = vec!["nop".into()];
        if !void.receivers.contains(&self.id) {
            void.receivers.push(self.id.clone());
        }
    }
}
