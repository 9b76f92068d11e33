//! Data streams: which streams a workload is in, which a Destination selects, and what their objects are called.
//!
//! Owns the arithmetic of design 4 and `spec/collectors-and-pipelines.md` 7.5–7.6; [`classes`] owns the stream classes that follow
//! from it. Never renders pipelines (that is `gateway`) and never touches pods.

pub mod classes;
pub mod refusals;

pub use classes::{ClassPlan, DRAIN_PERIOD, Usage, assign, class_id, plan_classes};

use crate::objects::hash;
use odigos_api::Signal;
use odigos_api::collectors_group::StreamClass;
use odigos_api::destination::{Destination, DestinationSpec};
use odigos_api::labels::{self, DEFAULT_STREAM};
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
        let namespaces = selector.namespaces.iter().flatten().filter(|name| is_namespace(name));
        let namespaces = namespaces.map(|namespace| format!("{NAMESPACE_STREAM}{namespace}"));
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

/// Whether a namespace can have this name.
fn is_namespace(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Words that older manifests have in `mode`; only `all` means more than the lists beside it.
const MODES: [&str; 4] = ["all", "namespaces", "groups", "dataStreams"];

/// What of a selector has no effect: streams and namespaces that no workload can be in, and an unknown mode. The field of each, and why.
#[must_use]
pub fn selector_problems(spec: &DestinationSpec) -> Vec<(String, String)> {
    let mut found = impossible_streams(spec);
    let Some(selector) = &spec.source_selector else { return found };
    if let Some(mode) = selector.mode.as_deref().filter(|mode| !mode.is_empty() && !MODES.contains(mode)) {
        let message = format!(
            "{mode:?} is no mode, and it is ignored: write all, which means every data stream, or remove it and list dataStreams or namespaces"
        );
        found.push(("spec.sourceSelector.mode".to_owned(), message));
    }
    for (position, name) in selector.namespaces.iter().flatten().enumerate().filter(|(_, name)| !is_namespace(name)) {
        let hint = match name.contains(['*', '?', '[', '.']) {
            true => "; patterns are not supported here: list each namespace, or put the workloads into a data stream",
            false => ": lower-case letters, digits and - only, at most 63",
        };
        found.push((
            format!("spec.sourceSelector.namespaces[{position}]"),
            format!("no namespace can be called {name:?}{hint}"),
        ));
    }
    found
}

/// The streams of a selector that no workload can be in: the field of each, and why.
fn impossible_streams(spec: &DestinationSpec) -> Vec<(String, String)> {
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

/// The streams that have an object, and those that a quota leaves without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Those that labels of covered workloads or selectors name, plus `default`; virtual streams and `*` are not streams.
    pub streams: StreamSet,
    /// By namespace: streams beyond its quota.
    pub beyond: BTreeMap<String, StreamSet>,
}

/// Every stream that something names: `labelled` are the namespaces and labels of InstrumentationConfigs. A namespace may name
/// `quota` of them; those that have an object keep it.
pub fn named_streams<'a>(
    labelled: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    destinations: impl IntoIterator<Item = &'a Destination>,
    has_object: impl Fn(&str) -> bool,
    quota: usize,
) -> Named {
    let mut named = Named::default();
    for destination in destinations {
        if let Selection::Streams(streams) = Selection::of(&destination.spec) {
            named.streams.extend(streams.into_iter().filter(|name| !name.starts_with(NAMESPACE_STREAM)));
        }
    }
    named.streams.insert(DEFAULT_STREAM.to_owned());
    let mut by_namespace: BTreeMap<&str, StreamSet> = BTreeMap::new();
    for (namespace, labels) in labelled {
        by_namespace.entry(namespace).or_default().extend(labels::stream_labels(labels).into_keys());
    }
    for (namespace, streams) in by_namespace {
        let (known, new): (StreamSet, StreamSet) = streams.into_iter().partition(|name| has_object(name));
        let room = quota.saturating_sub(known.len());
        let mut new = new.into_iter();
        named.streams.extend(known.into_iter().chain(new.by_ref().take(room)));
        let beyond: StreamSet = new.collect();
        if !beyond.is_empty() {
            named.beyond.insert(namespace.to_owned(), beyond);
        }
    }
    named.streams.retain(|name| !name.is_empty());
    named
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

/// The DataStream objects of streams: object name to stream, and the streams whose object's name is held by another one, with that.
/// `held` are the streams of objects that exist, by object name: they stay what they are. Then a stream of exactly that name goes
/// first, since only the others' names are cut and hashed.
#[must_use]
pub fn objects(
    named: &StreamSet,
    held: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut objects, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let (exact, hashed): (Vec<&String>, Vec<&String>) =
        named.iter().partition(|stream| object_name(stream) == **stream);
    for stream in exact.into_iter().chain(hashed) {
        let name = object_name(stream);
        let holder = held(&name).filter(|holder| named.contains(holder)).or_else(|| objects.get(&name).cloned());
        match holder {
            Some(holder) if holder != *stream => drop(refused.insert(stream.clone(), holder)),
            _ => drop(objects.insert(name, stream.clone())),
        }
    }
    (objects, refused)
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
    fn part_of_a_selector_that_selects_nothing_is_reported() {
        let problems =
            |selector: serde_json::Value| -> Vec<(String, String)> { selector_problems(&destination(selector).spec) };
        for (selector, field, part) in [
            (json!({"namespaces": ["shop-*"]}), "spec.sourceSelector.namespaces[0]", "patterns are not supported"),
            (json!({"namespaces": ["a", "Shop"]}), "spec.sourceSelector.namespaces[1]", "lower-case"),
            (json!({"namespaces": [""]}), "spec.sourceSelector.namespaces[0]", "\"\""),
            (json!({"mode": "every", "dataStreams": ["a"]}), "spec.sourceSelector.mode", "write all"),
            (json!({"dataStreams": ["a b"]}), "spec.sourceSelector.dataStreams[0]", "a b"),
        ] {
            let found = problems(selector);
            assert!(found.len() == 1 && found[0].0 == field && found[0].1.contains(part), "{found:?}");
        }
        for fine in
            [json!({"namespaces": ["shop"]}), json!({"mode": "all"}), json!({"mode": "groups", "groups": ["a"]})]
        {
            assert_eq!(problems(fine), []);
        }
        let pattern = Selection::of(&destination(json!({"namespaces": ["shop-*"]})).spec);
        assert_eq!(pattern, Selection::Streams(StreamSet::new()), "no pipeline without a member");
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

    #[test]
    fn stream_keeps_its_object_when_another_one_has_the_same_object_name() {
        let (other, held) = ("a.b".to_owned(), object_name("a.b"));
        let named: StreamSet = [other.clone(), held.clone()].into();
        let (all, refused) = objects(&named, |_| None);
        assert_eq!((all.get(&held), refused.get(&other)), (Some(&held), Some(&held)), "the exact name goes first");
        let (all, refused) = objects(&named, |name| (name == held).then(|| other.clone()));
        assert_eq!((all.get(&held), refused.get(&held)), (Some(&other), Some(&other)), "what exists stays");
        let (all, refused) = objects(&named, |_| Some("left".to_owned()));
        assert_eq!((all.len(), refused.len()), (1, 1), "a holder that nothing names any more holds nothing");
    }

    #[test]
    fn namespace_names_as_many_streams_as_its_quota_and_keeps_those_that_exist() {
        let wanted = labels(&[("a", "true"), ("b", "true"), ("c", "false")]);
        let other = labels(&[("z", "true")]);
        let named = |existing: &[&str], quota| {
            named_streams([("shop", &wanted), ("other", &other)], [], |name| existing.contains(&name), quota)
        };
        assert_eq!(named(&[], 3).streams, set(&["a", "b", "c", "default", "z"]));
        let few = named(&[], 1);
        assert_eq!(few.streams, set(&["a", "default", "z"]), "others have their own quota");
        assert_eq!(few.beyond, [("shop".to_owned(), set(&["b", "c"]))].into());
        assert_eq!(named(&["b", "c"], 1).streams, set(&["b", "c", "default", "z"]), "what exists stays");
    }
}
