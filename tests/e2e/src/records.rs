//! What a backend remembers and an application has sent, as they tell it over HTTP.

use odigos_testkit::otlp::{Item, Point};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a path of a request begins with that names a person; texts of spans that hold it are remembered.
pub const WATCHED: &str = "/users/";

/// Everything of one signal and service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// How often each name arrived.
    pub names: BTreeMap<String, u32>,
    /// How many spans each trace has; empty for other signals.
    pub traces: BTreeMap<String, u32>,
    /// The names of the spans of each of the first traces; empty for other signals.
    pub spans: BTreeMap<String, BTreeSet<String>>,
    /// The newest value of each attribute of spans, and of data points that count something.
    pub attributes: BTreeMap<String, String>,
    /// Texts of attributes of spans that hold [`WATCHED`], up to a number of them.
    pub watched: BTreeSet<String>,
    /// Client and server of each data point that names both, as those of a service graph do.
    pub edges: BTreeSet<(String, String)>,
    /// The resource attributes of the newest item.
    pub resource: BTreeMap<String, String>,
    /// Keys of resource attributes of all items.
    pub keys: BTreeSet<String>,
}

/// Everything that arrived, by signal (`traces`, `metrics`, `logs`) and service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Records(pub BTreeMap<String, BTreeMap<String, Record>>);

/// Of how many traces of a service the names of spans are kept, and how many texts.
const NAMED: usize = 200;

impl Records {
    /// Takes an item in.
    pub fn add(&mut self, item: Item) {
        let services = self.0.entry(item.signal.as_pipeline().to_owned()).or_default();
        let record = services.entry(item.service).or_default();
        if !item.trace.is_empty() {
            if record.spans.len() < NAMED || record.spans.contains_key(&item.trace) {
                record.spans.entry(item.trace.clone()).or_default().insert(item.name.clone());
            }
            *record.traces.entry(item.trace).or_default() += 1;
        }
        if record.watched.len() < NAMED {
            record.watched.extend(item.attributes.values().filter(|text| text.contains(WATCHED)).cloned());
        }
        record.attributes.extend(item.attributes);
        let ends =
            |point: &Point| Some((point.attributes.get("client")?.clone(), point.attributes.get("server")?.clone()));
        record.edges.extend(item.points.iter().filter_map(ends));
        record.attributes.extend(item.points.into_iter().flat_map(|point| point.attributes));
        *record.names.entry(item.name).or_default() += 1;
        record.keys.extend(item.resource.keys().cloned());
        record.resource = item.resource;
    }

    /// The services of a signal that begin with `prefix`.
    #[must_use]
    pub fn services(&self, signal: &str, prefix: &str) -> BTreeSet<String> {
        let services = self.0.get(signal).into_iter().flatten().map(|(service, _)| service);
        services.filter(|service| service.starts_with(prefix)).cloned().collect()
    }

    /// What arrived of a signal and service.
    #[must_use]
    pub fn of(&self, signal: &str, service: &str) -> Record {
        self.0.get(signal).and_then(|services| services.get(service)).cloned().unwrap_or_default()
    }
}

/// What an application has sent, and a collector has acknowledged, by signal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sent {
    /// Names of its items are `0` to `items - 1`, with the pod's name before.
    pub items: u64,
    /// Lines that it has written to its output.
    pub lines: u64,
    /// Its pod.
    pub pod: String,
    /// Sends that failed and were tried again.
    pub failures: u64,
    /// Whether it goes on.
    pub running: bool,
    /// Whether items are on their way that no collector has acknowledged yet.
    pub sending: bool,
}

impl Sent {
    /// The names of its items.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        (0..self.items).map(|number| format!("{}/{number}", self.pod)).collect()
    }

    /// The lines that it wrote.
    #[must_use]
    pub fn written(&self) -> BTreeSet<String> {
        (0..self.lines).map(|number| format!("line {}/{number}", self.pod)).collect()
    }
}
