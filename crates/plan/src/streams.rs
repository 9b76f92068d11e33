//! Data streams: which streams a workload is in, the stream classes in use, and when a class may come and go.
//!
//! Owns the arithmetic of design 4 and `spec/collectors-and-pipelines.md` 7.5–7.6. Never renders pipelines (that is
//! `gateway`) and never touches pods: it says which class an InstrumentationConfig and its pods shall carry.

use crate::objects::hash;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::collectors_group::StreamClass;
use odigos_api::destination::{Destination, DestinationSpec};
use odigos_api::labels::{self, DEFAULT_STREAM};
use odigos_api::{Finding, Signal};
use std::collections::{BTreeMap, BTreeSet};

/// A set of streams, sorted; virtual streams of namespaces are spelt `ns:<namespace>`.
pub type StreamSet = BTreeSet<String>;

/// Prefix of the virtual stream that holds every covered workload of a namespace. A colon cannot stand in a label key,
/// so no real stream collides with it.
pub const NAMESPACE_STREAM: &str = "ns:";
/// Prefix of the virtual stream of the workloads that a dedicated pool of gateways names; it has no pipeline.
pub const POOL_STREAM: &str = "pool:";
/// Prefix of the virtual stream of the workloads whose metrics or logs a rule switches off, followed by the signal as pipelines
/// name it; it has no pipeline, and nothing of that signal passes the router.
pub const OFF_STREAM: &str = "off:";
/// The name in a selector that means every stream.
pub const EVERY_STREAM: &str = "*";
/// Class of workloads that opted out of every stream.
pub const VOID_CLASS: &str = "void";
/// Class of workloads that are in the default stream only.
pub const DEFAULT_CLASS: &str = "default";
/// How long the gateway keeps the route of a class that no pod carries any more: longer than a batch, its retries and
/// the delay of the node collectors' pod watch.
pub const DRAIN_PERIOD: SignedDuration = SignedDuration::from_secs(120);
/// More distinct sets than this would make routing cost grow with the number of workloads (spec 7.5, "class explosion").
pub const CLASS_LIMIT: usize = 1000;

/// The streams of a workload, from the labels of its InstrumentationConfig and the namespaces that selectors name.
///
/// No stream label, or only opt-outs of named streams, means `default`; an explicit opt-out of `default` without any
/// other membership means no stream at all (spec 7.6).
#[must_use]
pub fn membership(
    labels: &BTreeMap<String, String>,
    namespace: &str,
    selected_namespaces: &BTreeSet<String>,
) -> StreamSet {
    let stated = labels::stream_labels(labels);
    let mut streams: StreamSet = stated.iter().filter(|(_, joined)| **joined).map(|(name, _)| name.clone()).collect();
    if streams.is_empty() {
        if stated.get(DEFAULT_STREAM) == Some(&false) {
            return StreamSet::new();
        }
        streams.insert(DEFAULT_STREAM.to_owned());
    }
    if selected_namespaces.contains(namespace) {
        streams.insert(format!("{NAMESPACE_STREAM}{namespace}"));
    }
    let off = SWITCHES.iter().filter(|(label, _)| labels.get(*label).is_some_and(|value| value == "true"));
    streams.extend(off.map(|(_, signal)| off_stream(*signal)));
    streams
}

/// The labels by which a workload has a signal switched off.
pub const SWITCHES: [(&str, Signal); 2] = [(labels::METRICS_OFF, Signal::Metrics), (labels::LOGS_OFF, Signal::Logs)];

/// The virtual stream of the workloads of which no `signal` is collected.
#[must_use]
pub fn off_stream(signal: Signal) -> String {
    format!("{OFF_STREAM}{}", signal.as_pipeline())
}

/// Whether a class is of workloads of which no `signal` is collected.
#[must_use]
pub fn is_off(class: &StreamClass, signal: Signal) -> bool {
    let off = off_stream(signal);
    class.streams.contains(&off)
}

/// Whether a member of a set has pipelines: a stream that people named, or a namespace that a Destination selects.
#[must_use]
pub fn has_pipeline(stream: &str) -> bool {
    !stream.starts_with(POOL_STREAM) && !stream.starts_with(OFF_STREAM)
}

/// The id of the class of a set: `void`, `default`, or `c` and 8 hex digits of SHA-256 over the comma-joined set.
#[must_use]
pub fn class_id(streams: &StreamSet) -> String {
    if streams.is_empty() {
        return VOID_CLASS.to_owned();
    }
    if streams.len() == 1 && streams.contains(DEFAULT_STREAM) {
        return DEFAULT_CLASS.to_owned();
    }
    let joined = streams.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    format!("c{}", hash(joined, 8))
}

/// Whether a text can be the name of a stream: it is part of a label key, so letters, digits, `-` and `_`, at most 40.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let ends = name.bytes().next().into_iter().chain(name.bytes().last());
    !name.is_empty()
        && name.len() <= 40
        && name.bytes().all(is_inner)
        && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a member of a set is no stream that anybody named.
#[must_use]
pub fn is_virtual(stream: &str) -> bool {
    stream.starts_with(NAMESPACE_STREAM) || !has_pipeline(stream)
}

/// Which streams a destination is in (`spec/collectors-and-pipelines.md` 1.2, 7.4, 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every stream there is, and every workload that opted out of none.
    Every,
    /// These streams, virtual ones included; empty means that nothing reaches it.
    Streams(StreamSet),
}

impl Selection {
    /// Reads a selector: absent means `default`; `mode: all` of older manifests means every stream and their `groups`
    /// are streams.
    #[must_use]
    pub fn of(spec: &DestinationSpec) -> Self {
        let Some(selector) = &spec.source_selector else {
            return Self::Streams([DEFAULT_STREAM.to_owned()].into());
        };
        let named = || selector.data_streams.iter().chain(&selector.groups).flatten();
        if selector.mode.as_deref() == Some("all") || named().any(|stream| stream == EVERY_STREAM) {
            return Self::Every;
        }
        let namespaces = selector.namespaces.iter().flatten().map(|namespace| format!("{NAMESPACE_STREAM}{namespace}"));
        // A stream that no label can name has no member, ever: it gets no pipeline.
        let possible = named().filter(|stream| labels::stream_name_problem(stream).is_none());
        Self::Streams(possible.cloned().chain(namespaces).collect())
    }

    /// Whether items of `stream` reach the destination.
    #[must_use]
    pub fn includes(&self, stream: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Streams(streams) => streams.contains(stream),
        }
    }
}

/// The streams of a selector that no workload can be in: the field of each, and why.
#[must_use]
pub fn impossible_streams(spec: &DestinationSpec) -> Vec<(String, String)> {
    let Some(selector) = &spec.source_selector else { return Vec::new() };
    let lists = [("dataStreams", &selector.data_streams), ("groups", &selector.groups)];
    let named = lists.into_iter().flat_map(|(field, list)| {
        list.iter().flatten().enumerate().map(move |(position, stream)| (field, position, stream))
    });
    named
        .filter(|(_, _, stream)| *stream != EVERY_STREAM)
        .filter_map(|(field, position, stream)| {
            let problem = labels::stream_name_problem(stream)?;
            Some((format!("spec.sourceSelector.{field}[{position}]"), problem))
        })
        .collect()
}

/// The namespaces that any enabled destination selects; each makes a virtual stream.
pub fn selected_namespaces<'a>(destinations: impl IntoIterator<Item = &'a Destination>) -> BTreeSet<String> {
    enabled(destinations)
        .filter_map(|destination| match Selection::of(&destination.spec) {
            Selection::Streams(streams) => Some(streams),
            Selection::Every => None,
        })
        .flatten()
        .filter_map(|stream| stream.strip_prefix(NAMESPACE_STREAM).map(str::to_owned))
        .collect()
}

/// The destinations that are not switched off.
pub fn enabled<'a>(destinations: impl IntoIterator<Item = &'a Destination>) -> impl Iterator<Item = &'a Destination> {
    destinations.into_iter().filter(|destination| destination.spec.disabled != Some(true))
}

/// How many workloads are in each distinct set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    sets: BTreeMap<String, (StreamSet, usize)>,
}

impl Usage {
    /// Counts one workload of that set.
    pub fn add(&mut self, streams: StreamSet) {
        let count = &mut self.sets.entry(class_id(&streams)).or_insert((streams, 0)).1;
        *count = count.saturating_add(1);
    }

    /// Counts a set that no limit drops.
    pub fn keep(&mut self, streams: StreamSet) {
        self.sets.entry(class_id(&streams)).or_insert((streams, 0)).1 = usize::MAX;
    }

    /// The classes in use with their sets and how many workloads each has.
    pub fn classes(&self) -> impl Iterator<Item = (&String, &StreamSet, usize)> {
        self.sets.iter().map(|(id, (streams, count))| (id, streams, *count))
    }

    /// Drops the least populated classes above [`CLASS_LIMIT`]; returns how many went. Their workloads stay in `default`.
    fn limited(&self) -> (BTreeMap<&String, &StreamSet>, usize) {
        let mut ranked: Vec<_> = self.classes().collect();
        ranked.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(b.0)));
        let dropped = ranked.len().saturating_sub(CLASS_LIMIT);
        ranked.truncate(CLASS_LIMIT);
        (ranked.into_iter().map(|(id, streams, _)| (id, streams)).collect(), dropped)
    }
}

/// The classes that the gateway shall know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassPlan {
    /// For `CollectorsGroup.spec.streamClasses`, sorted by id.
    pub classes: Vec<StreamClass>,
    /// Sets beyond [`CLASS_LIMIT`] that got no class.
    pub dropped: usize,
    /// When a retired class may leave.
    pub recheck_after: Option<SignedDuration>,
}

/// Computes the classes that the gateway shall know: those in use, those that something still carries, and retired ones
/// until their drain period, usually [`DRAIN_PERIOD`], is over. A class enters here before anything carries it and leaves after (design 4.1).
#[must_use]
pub fn plan_classes(
    usage: &Usage,
    carried: &BTreeSet<String>,
    current: &[StreamClass],
    drain: SignedDuration,
    now: Timestamp,
) -> ClassPlan {
    let (in_use, dropped) = usage.limited();
    let mut classes: BTreeMap<String, StreamClass> = in_use
        .into_iter()
        .filter(|(id, _)| *id != DEFAULT_CLASS)
        .map(|(id, streams)| {
            let streams = streams.iter().cloned().collect();
            (id.clone(), StreamClass { id: id.clone(), streams, retired_at: None })
        })
        .collect();
    let mut recheck_after: Option<SignedDuration> = None;
    for class in current {
        if classes.contains_key(&class.id) {
            continue;
        }
        let mut class = class.clone();
        if carried.contains(&class.id) {
            class.retired_at = None;
        } else {
            let since = class.retired_at.get_or_insert(Time(now)).0;
            let left = drain - now.duration_since(since);
            if left <= SignedDuration::ZERO {
                continue;
            }
            recheck_after = Some(recheck_after.map_or(left, |sooner| sooner.min(left)));
        }
        classes.insert(class.id.clone(), class);
    }
    ClassPlan { classes: classes.into_values().collect(), dropped, recheck_after }
}

/// What to report of stream sets that got no class.
#[must_use]
pub fn limit_finding(dropped: usize) -> Option<Finding> {
    let message =
        format!("more than {CLASS_LIMIT} distinct sets of streams are in use; {dropped} of them stay in default");
    (dropped > 0).then(|| Finding::error("DataStream", "TooManyStreamSets", message))
}

/// The class that a workload shall carry now: the wanted one as soon as every gateway serves it, until then the one it
/// has (`None`: no label, which gateways treat as `default`).
#[must_use]
pub fn assign(wanted: &str, current: Option<&str>, served: &[String]) -> Option<String> {
    if wanted == DEFAULT_CLASS || served.iter().any(|id| id == wanted) {
        return Some(wanted.to_owned());
    }
    current.map(str::to_owned)
}

/// Every stream name that labels or selectors mention, plus `default`; virtual streams and `*` are not streams.
pub fn named_streams<'a>(
    label_sets: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
    destinations: impl IntoIterator<Item = &'a Destination>,
) -> StreamSet {
    let mut names: StreamSet = label_sets.into_iter().flat_map(labels::stream_labels).map(|(name, _)| name).collect();
    for destination in destinations {
        if let Selection::Streams(streams) = Selection::of(&destination.spec) {
            names.extend(streams.into_iter().filter(|name| !name.starts_with(NAMESPACE_STREAM)));
        }
    }
    names.insert(DEFAULT_STREAM.to_owned());
    names.retain(|name| !name.is_empty());
    names
}

/// Name of the DataStream object of a stream: the stream's name where that is a legal object name, else its lower-case
/// form with a hash, since label keys allow upper case, underscores and dots at places where names do not.
#[must_use]
pub fn object_name(stream: &str) -> String {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if stream.chars().all(legal) && stream.starts_with(edge) && stream.ends_with(edge) && stream.len() <= 63 {
        return stream.to_owned();
    }
    let hex = hash(stream, 8);
    let word: String = stream.to_lowercase().chars().map(|c| if legal(c) { c } else { '-' }).take(50).collect();
    format!("{}-{hex}", word.trim_matches('-')).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(names: &[&str]) -> StreamSet {
        names.iter().map(ToString::to_string).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(stream, value)| (labels::stream_label(stream), (*value).to_owned())).collect()
    }

    fn destination(selector: serde_json::Value) -> Destination {
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": "d", "namespace": "odigos-system"},
            "spec": {"type": "debug", "destinationName": "d", "data": {}, "signals": ["TRACES"], "sourceSelector": selector},
        }))
        .unwrap()
    }

    #[test]
    fn membership_follows_the_table() {
        let none = BTreeSet::new();
        for (pairs, expected) in [
            (&[][..], &["default"][..]),
            (&[("a", "true")], &["a"]),
            (&[("a", "false")], &["default"]),
            (&[("a", "false"), ("b", "true")], &["b"]),
            (&[("default", "false")], &[]),
            (&[("default", "false"), ("a", "true")], &["a"]),
            (&[("a", "TRUE")], &["default"]),
        ] {
            assert_eq!(membership(&labels(pairs), "shop", &none), set(expected), "{pairs:?}");
        }
        let off = |label: &str, value: &str| [(label.to_owned(), value.to_owned())].into();
        assert_eq!(membership(&off(labels::METRICS_OFF, "true"), "shop", &none), set(&["default", "off:metrics"]));
        assert_eq!(membership(&off(labels::LOGS_OFF, "false"), "shop", &none), set(&["default"]));
        let selected = ["shop".to_owned()].into();
        assert_eq!(membership(&labels(&[("a", "true")]), "shop", &selected), set(&["a", "ns:shop"]));
        assert_eq!(membership(&labels(&[("default", "false")]), "shop", &selected), set(&[]));
        assert_eq!(membership(&labels(&[]), "other", &selected), set(&["default"]));
    }

    #[test]
    fn class_ids_are_fixed() {
        assert_eq!(class_id(&set(&[])), "void");
        assert_eq!(class_id(&set(&["default"])), "default");
        // printf 'a,b' | sha256sum
        assert_eq!(class_id(&set(&["b", "a"])), "c1eb7c54d");
        assert_ne!(class_id(&set(&["a"])), class_id(&set(&["b"])));
    }

    #[test]
    fn selectors() {
        assert_eq!(Selection::of(&destination(json!(null)).spec), Selection::Streams(set(&["default"])));
        assert_eq!(Selection::of(&destination(json!({})).spec), Selection::Streams(set(&[])));
        assert_eq!(Selection::of(&destination(json!({"dataStreams": []})).spec), Selection::Streams(set(&[])));
        assert_eq!(Selection::of(&destination(json!({"dataStreams": ["*"]})).spec), Selection::Every);
        assert_eq!(Selection::of(&destination(json!({"mode": "all"})).spec), Selection::Every);
        assert_eq!(
            Selection::of(&destination(json!({"mode": "groups", "groups": ["x"]})).spec),
            Selection::Streams(set(&["x"]))
        );
        let both = destination(json!({"dataStreams": ["a"], "namespaces": ["shop"]}));
        assert_eq!(Selection::of(&both.spec), Selection::Streams(set(&["a", "ns:shop"])));
        assert_eq!(selected_namespaces([&both]), ["shop".to_owned()].into());
    }

    #[test]
    fn a_class_comes_before_its_pods_and_leaves_after_them() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let mut usage = Usage::default();
        usage.add(set(&["a"]));
        let id = class_id(&set(&["a"]));
        let entered = plan_classes(&usage, &BTreeSet::new(), &[], DRAIN_PERIOD, at(0));
        assert_eq!(entered.classes.len(), 1);
        // Not served yet: the workload keeps what it has.
        assert_eq!(assign(&id, None, &[]), None);
        assert_eq!(assign(&id, Some("default"), &[]), Some("default".into()));
        assert_eq!(assign(&id, Some("default"), std::slice::from_ref(&id)), Some(id.clone()));
        // Out of use, but a pod still carries it.
        let carried: BTreeSet<String> = [id.clone()].into();
        let kept = plan_classes(&Usage::default(), &carried, &entered.classes, DRAIN_PERIOD, at(10));
        assert_eq!(kept.classes, entered.classes);
        // Nothing carries it: it drains, then goes.
        let draining = plan_classes(&Usage::default(), &BTreeSet::new(), &kept.classes, DRAIN_PERIOD, at(20));
        assert_eq!(draining.classes[0].retired_at, Some(Time(at(20))));
        assert_eq!(draining.recheck_after, Some(SignedDuration::from_mins(2)), "as docs/data-streams.md says");
        let after = at(20) + DRAIN_PERIOD;
        let gone = plan_classes(&Usage::default(), &BTreeSet::new(), &draining.classes, DRAIN_PERIOD, after);
        assert_eq!(gone, ClassPlan::default());
        // Back in use while draining: no longer retired.
        let back = plan_classes(&usage, &BTreeSet::new(), &draining.classes, DRAIN_PERIOD, at(30));
        assert_eq!(back.classes, entered.classes);
    }

    #[test]
    fn too_many_sets_keep_the_most_populated() {
        let mut usage = Usage::default();
        for n in 0..=CLASS_LIMIT {
            usage.add(set(&[&format!("s{n:04}")]));
        }
        usage.add(set(&["s0007"]));
        let plan = plan_classes(&usage, &BTreeSet::new(), &[], DRAIN_PERIOD, Timestamp::UNIX_EPOCH);
        assert_eq!((plan.classes.len(), plan.dropped), (CLASS_LIMIT, 1));
        assert!(plan.classes.iter().any(|class| class.streams == ["s0007"]));
        assert!(limit_finding(plan.dropped).is_some_and(|finding| finding.message.contains("1 of them")));
        assert_eq!(limit_finding(0), None);
    }

    #[test]
    fn object_names_are_legal_and_distinct() {
        assert_eq!(object_name("prod-eu"), "prod-eu");
        let odd = ["Prod", "prod_eu", "prod.eu", "_", "a".repeat(63).as_str(), "-x"].map(object_name);
        for name in &odd {
            assert!(
                name.len() <= 63 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{name}"
            );
            assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        }
        assert_eq!(odd.iter().collect::<BTreeSet<_>>().len(), odd.len());
    }
}
