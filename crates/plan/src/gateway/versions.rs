//! Destinations that get an item more than once, since streams that share them treat it differently.
//!
//! Owns which these are, and whose Actions and Processors make the difference. Never decides about it: [`super::routing`] joins streams
//! that treat an item alike, and no others.

use super::destinations::Fragment;
use super::routing::fed_streams;
use super::treatment::Treatments;
use crate::covered::CoveredNames;
use crate::processors::Processors;
use crate::streams::{self, NAMESPACE_STREAM};
use odigos_api::Signal;
use odigos_api::collectors_group::CollectorsGroupSpec;
use std::collections::{BTreeMap, BTreeSet};

/// A destination that gets several versions of the items of workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    destination: String,
    streams: Vec<String>,
    signals: BTreeSet<Signal>,
    /// Ids of the components that some of the streams have and others lack.
    components: BTreeSet<String>,
}

impl Versions {
    /// Whether the component of an Action or Processor is one of what makes the difference.
    pub(super) fn is_made_by(&self, id: &str) -> bool {
        self.components.contains(id)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |stream: &String| match stream.strip_prefix(NAMESPACE_STREAM) {
            Some(namespace) => format!("all of namespace {namespace}"),
            None => stream.clone(),
        };
        let streams: Vec<String> = self.streams.iter().map(name).collect();
        let signals: Vec<&str> = self.signals.iter().map(|signal| signal.as_str()).collect();
        write!(
            f,
            "Workloads are in the data streams {}, which share the Destination {} and treat {} differently: it receives the version of each stream, also of items that no Action or Processor of them changes",
            streams.join(" and "),
            self.destination,
            signals.join(", ")
        )
    }
}

/// Signals that streams treat differently, and the ids of the components that make the difference.
type Difference = (BTreeSet<Signal>, BTreeSet<String>);

/// The destinations that get several versions, by the classes of workloads that are in use.
pub(super) fn of<'p>(
    spec: &CollectorsGroupSpec,
    processors: &'p Processors,
    fragments: &[Fragment],
    covered: Option<&'p CoveredNames>,
) -> Vec<Versions> {
    let treatments = Treatments::new(processors, covered);
    let mut found: BTreeMap<(String, Vec<String>), Difference> = BTreeMap::new();
    for signal in Signal::PIPELINES {
        let fed = fed_streams(spec, fragments, signal);
        let ids = |stream: &String| -> Vec<&'p str> {
            let own = processors.usable.iter().filter(|one| one.is_for_stream(signal, stream));
            own.map(|one| one.id.as_str()).collect()
        };
        let own: BTreeMap<&String, Vec<&'p str>> = fed.iter().map(|stream| (stream, ids(stream))).collect();
        for class in spec.stream_classes.iter().filter(|one| one.retired_at.is_none() && !streams::is_off(one, signal))
        {
            for fragment in fragments.iter().filter(|one| one.forward(signal).is_some()) {
                let shared = class.streams.iter().filter(|one| fragment.selection.includes(one));
                // What does something to the class, and what that is.
                let of_class = |ids: &[&'p str]| -> Vec<&'p str> {
                    ids.iter().copied().filter(|id| treatments.counts(class, id)).collect()
                };
                let versions: BTreeMap<&String, Vec<&'p str>> =
                    shared.filter_map(|stream| Some((stream, of_class(own.get(stream)?)))).collect();
                let all: BTreeSet<&'p str> = versions.values().flatten().copied().collect();
                let has = |one: &[&'p str], id: &'p str| one.iter().any(|of| treatments.of(of) == treatments.of(id));
                let differing = all.into_iter().filter(|id| versions.values().any(|one| !has(one, id)));
                let differing: BTreeSet<String> = differing.map(str::to_owned).collect();
                if !differing.is_empty() {
                    let key = (fragment.name.clone(), versions.into_keys().cloned().collect());
                    let (signals, components) = found.entry(key).or_default();
                    signals.insert(signal);
                    components.extend(differing);
                }
            }
        }
    }
    let versions =
        |((destination, streams), (signals, components))| Versions { destination, streams, signals, components };
    found.into_iter().map(versions).collect()
}
