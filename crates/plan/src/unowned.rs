//! What belongs to no workload: metrics of hosts, of the kubelet, of the cluster.
//!
//! Owns which streams it is in (`unownedTelemetry.dataStreams`), the class that it carries from nodes to gateways, and what people
//! are told of it. Where its streams reach no Destination it is not collected. Never collects anything: the planners of the
//! collectors do. What belongs to a workload goes where its own streams lead, and the product's own metrics go to the
//! Destinations that request them.

use crate::configuration::Configuration;
use crate::scheduling::drops_unclassified;
use crate::streams::{self, DEFAULT_CLASS, Selection, StreamSet, VOID_CLASS};
use odigos_api::Signal;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::destination::Destination;
use odigos_api::labels::{self, DEFAULT_STREAM};

/// Where the configuration names its streams.
pub const PATH: &str = "unownedTelemetry.dataStreams";
/// What it is, for people.
pub const WHAT: &str = "metrics of hosts, of the kubelet and of the cluster, which belong to no workload";

/// Its streams: those that the configuration names, else `default`. A list without any means that it is not wanted; what is no
/// name of a stream is left out ([`problems`]).
#[must_use]
pub fn streams(configuration: &Configuration) -> StreamSet {
    match configuration.get(PATH) {
        Some(serde_json::Value::Array(_)) => {
            configuration.texts(PATH).into_iter().filter(|name| labels::stream_name_problem(name).is_none()).collect()
        }
        _ => [DEFAULT_STREAM.to_owned()].into(),
    }
}

/// What the configuration names that is no name of a stream.
#[must_use]
pub fn problems(configuration: &Configuration) -> Vec<String> {
    let named = configuration.texts(PATH).into_iter();
    let said = |name: String| Some(format!("{PATH}: {}; it is left out", labels::stream_name_problem(&name)?));
    named.filter_map(said).collect()
}

/// Whether a Destination is in one of its streams.
#[must_use]
pub fn reaches(streams: &StreamSet, selection: &Selection) -> bool {
    streams.iter().any(|stream| selection.includes(stream))
}

/// Whether a Destination takes metrics of any kind.
#[must_use]
pub fn takes_metrics(destination: &Destination) -> bool {
    destination.spec.disabled != Some(true)
        && destination.spec.signals.contains(&Signal::Metrics)
        && odigos_catalog::destination::find(&destination.spec.type_).is_some()
}

/// Its class, for `spec.unownedStreamClass` of CollectorsGroups: `None` for `default`, `void` where no Destination takes metrics
/// of its streams.
#[must_use]
pub fn class(configuration: &Configuration, destinations: &[&Destination]) -> Option<String> {
    let streams = streams(configuration);
    let mut taking = destinations.iter().filter(|one| takes_metrics(one));
    if !taking.any(|one| reaches(&streams, &Selection::of(&one.spec))) {
        return Some(VOID_CLASS.to_owned());
    }
    // Where items without a class are dropped, these need one, whatever it is.
    Some(streams::class_id(&streams)).filter(|id| id != DEFAULT_CLASS || drops_unclassified(configuration))
}

/// Counts its set of streams among those in use, unless that is what gateways know anyway.
pub fn add_usage(usage: &mut streams::Usage, configuration: &Configuration, destinations: &[&Destination]) {
    if class(configuration, destinations).is_some_and(|id| id != VOID_CLASS && id != DEFAULT_CLASS) {
        usage.keep(streams(configuration));
    }
}

/// What a collector does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling<'a> {
    /// It carries no class: gateways send it to the stream `default`.
    Default,
    /// It carries this class.
    Class(&'a str),
    /// It is not collected.
    Drop,
}

impl<'a> Handling<'a> {
    /// By the spec of a collector's group; `served` are the classes that every gateway knows. Until they know its class it is
    /// not collected, rather than sent to another stream.
    pub(crate) fn of(spec: &'a CollectorsGroupSpec, served: impl Fn(&str) -> bool) -> Self {
        match spec.unowned_stream_class.as_deref() {
            None => Self::Default,
            Some(DEFAULT_CLASS) => Self::Class(DEFAULT_CLASS),
            Some(id) if id != VOID_CLASS && served(id) => Self::Class(id),
            Some(_) => Self::Drop,
        }
    }

    /// The class that it carries, if any.
    pub(crate) fn class(self) -> Option<&'a str> {
        match self {
            Self::Class(id) => Some(id),
            Self::Default | Self::Drop => None,
        }
    }
}

/// The streams as a sentence names them.
pub(crate) fn listed(streams: &StreamSet) -> String {
    if streams.is_empty() {
        return "none".to_owned();
    }
    streams.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::destination_with;
    use serde_json::json;

    #[test]
    fn class_follows_the_streams_that_are_named() {
        let of = |text: &str, streams: &[&str], signals: &[&str]| {
            let configuration = Configuration::parse(text).unwrap();
            let one = destination_with("d", "otlp", signals, json!({}), json!({"dataStreams": streams}));
            class(&configuration, &[&one])
        };
        let named = "unownedTelemetry: {dataStreams: [infra]}";
        let infra = streams::class_id(&["infra".to_owned()].into());
        assert_eq!(of("{}", &["default"], &["METRICS"]), None);
        assert_eq!(of("{}", &["*"], &["METRICS"]), None);
        assert_eq!(of(named, &["infra", "shop"], &["METRICS"]), Some(infra));
        for (text, streams, signals) in [
            ("{}", &["shop"][..], &["METRICS"][..]),
            (named, &["default"], &["METRICS"]),
            (named, &["infra"], &["TRACES"]),
            ("unownedTelemetry: {dataStreams: []}", &["*"], &["METRICS"]),
        ] {
            assert_eq!(of(text, streams, signals).as_deref(), Some("void"), "{text} {streams:?} {signals:?}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_stream_is_left_out_and_reported() {
        let configuration =
            Configuration::parse("unownedTelemetry: {dataStreams: [infra, '*', 'ns:shop', '']}").unwrap();
        assert_eq!(streams(&configuration), ["infra".to_owned()].into());
        assert_eq!(problems(&configuration).len(), 3);
        assert_eq!(problems(&Configuration::parse("{}").unwrap()), Vec::<String>::new());
    }

    #[test]
    fn class_is_given_only_once_every_gateway_knows_it() {
        let spec = |class: Option<&str>| CollectorsGroupSpec {
            unowned_stream_class: class.map(str::to_owned),
            ..CollectorsGroupSpec::default()
        };
        assert_eq!(Handling::of(&spec(None), |_| false), Handling::Default);
        assert_eq!(Handling::of(&spec(Some("c1")), |_| true), Handling::Class("c1"));
        assert_eq!(Handling::of(&spec(Some("c1")), |_| false), Handling::Drop);
        assert_eq!(Handling::of(&spec(Some("void")), |_| true), Handling::Drop);
    }
}
