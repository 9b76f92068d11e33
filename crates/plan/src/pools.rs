//! Dedicated pools of gateways: which workloads send to gateways of their own, and when a pool may come and go.
//!
//! Owns `spec/collectors-and-pipelines.md` 6.3 in our form. A pool is a CollectorsGroup of its own, written from
//! `collectorGateway.pools` of the configuration. Nodes choose the gateway by stream class, which the main gateways know as
//! well, so that an item is right wherever it arrives. A pool serves a class before any node sends it there, and serves it
//! until no node does. Never renders: gateways of pools are rendered as the main ones are.

use crate::configuration::{Configuration, values};
use crate::covered::{self, CoveredNames};
use crate::streams::{self, StreamSet};
use crate::{scheduling, sizing, spelling};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::collectors_group::{
    CollectorsGroup, CollectorsGroupSpec, GatewayPool, PoolWorkload, RoutedPool, StreamClass,
};
use odigos_api::destination::Destination;
use odigos_api::labels::{self, DEFAULT_STREAM};
use odigos_api::{Finding, Signal, WorkloadKind, WorkloadRef, names};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where the configuration names the pools.
pub const PATH: &str = "collectorGateway.pools";
/// Most pools that are deployed: each costs every node three exporters with their queues.
const LIMIT: usize = 16;
/// Longest name of a pool: names of its objects stay below 63 characters.
const NAME_LENGTH: usize = 32;
/// Keys of `collectorGateway` that a pool may state for itself.
pub const OWN_KEYS: [&str; 10] = [
    "minReplicas",
    "maxReplicas",
    "requestMemoryMiB",
    "limitMemoryMiB",
    "requestCPUm",
    "limitCPUm",
    "memoryLimiterLimitMiB",
    "memoryLimiterSpikeLimitMiB",
    "goMemLimitMiB",
    "nodeSelector",
];

/// Keys of an entry that say which data it takes.
const POOL_KEYS: [&str; 4] = ["name", "dataStreams", "workloads", "signals"];

/// The pools that are wanted, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pools {
    pools: BTreeMap<String, GatewayPool>,
    /// Keys of `collectorGateway` that pools state for themselves.
    own: BTreeMap<String, Vec<(&'static str, Value)>>,
}

/// Everything that the groups of pools depend on beside the pools.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The effective configuration.
    pub configuration: &'a Configuration,
    /// The Destinations of the control plane.
    pub destinations: &'a [&'a Destination],
    /// Whether traces are sampled.
    pub sampling: bool,
    /// Classes of the main gateways, as they shall be.
    pub classes: &'a [StreamClass],
    /// Specs of the pools that exist.
    pub existing: BTreeMap<String, CollectorsGroupSpec>,
    /// What any node may send to pools.
    pub routed: &'a [RoutedPool],
    /// How long what nobody is sent to any more is kept.
    pub drain: SignedDuration,
    /// The time.
    pub now: Timestamp,
}

/// The groups of pools as they shall be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolPlan {
    /// Specs by name of the pool.
    pub groups: BTreeMap<String, CollectorsGroupSpec>,
    /// Pools whose groups shall be deleted.
    pub gone: Vec<String>,
    /// When something that drains may leave.
    pub recheck_after: Option<SignedDuration>,
}

impl Pools {
    /// Reads the configuration; what is wrong is reported by its path and left out, the other pools stay.
    #[must_use]
    pub fn of(configuration: &Configuration) -> (Self, Vec<(String, String)>) {
        let mut found = Self::default();
        let mut problems = Vec::new();
        let entries = match configuration.get(PATH) {
            None => return (found, problems),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                problems.push((PATH.to_owned(), "expected a list of pools; none is deployed".to_owned()));
                return (found, problems);
            }
        };
        for (position, entry) in entries.iter().enumerate() {
            let path = format!("{PATH}[{position}]");
            let mut about = Vec::new();
            found.read(entry, &mut about);
            problems.extend(about.into_iter().map(|(key, message)| (format!("{path}.{key}"), message)));
        }
        (found, problems)
    }

    /// Adds one entry, if it can be a pool; what of it is left out, and why, goes into `about` with its key.
    fn read(&mut self, entry: &Value, about: &mut Vec<(String, String)>) {
        let mut report = |key: &str, message: String| about.push((key.to_owned(), message));
        let keys = entry.as_object().into_iter().flat_map(|map| map.keys());
        for key in keys.filter(|key| !all_keys().any(|one| one.eq_ignore_ascii_case(key))) {
            report(key, format!("unknown key, ignored{}", spelling::hint(key, all_keys())));
        }
        let entry = Configuration::of(entry.clone());
        let name = entry.text("name").unwrap_or_default();
        let is_usable = match bad_name(name) {
            Some(problem) => Some(format!("{name:?} is no name for a pool: {problem}; the pool is left out")),
            None if self.pools.contains_key(name) => {
                Some(format!("there is a pool {name:?} already; this one is left out"))
            }
            None if self.pools.len() >= LIMIT => Some(format!("more than {LIMIT} pools; {name:?} is left out")),
            None => None,
        }
        .map(|problem| report("name", problem))
        .is_none();
        let (mut data_streams, impossible): (BTreeSet<String>, BTreeSet<String>) =
            entry.texts("dataStreams").into_iter().partition(|stream| labels::stream_name_problem(stream).is_none());
        for problem in impossible.iter().filter_map(|stream| labels::stream_name_problem(stream)) {
            report("dataStreams", format!("{problem}; it is left out"));
        }
        if entry.get("dataStreams").is_some_and(|stated| !stated.is_array()) {
            report("dataStreams", "expected a list of strings; the value is ignored".to_owned());
        }
        if data_streams.remove(DEFAULT_STREAM) {
            let message = "the stream default belongs to the main gateways and is left out; put the workloads into another stream";
            report("dataStreams", message.to_owned());
        }
        for other in self.pools.values() {
            for stream in &other.data_streams {
                if data_streams.remove(stream) {
                    report("dataStreams", format!("the stream {stream:?} is in the pool {:?} already", other.name));
                }
            }
        }
        let workloads = workloads(&entry, &mut report);
        let signals = signals(&entry, &mut report);
        if data_streams.is_empty() && workloads.is_empty() {
            let message = "no data stream and no workload is left that the pool could take; it is left out";
            report("dataStreams", format!("pool {name:?}: {message}"));
        }
        let mut own = Vec::new();
        for key in OWN_KEYS {
            let Some(stated) = entry.get(key) else { continue };
            let (accepted, messages) = values::accepted(&format!("collectorGateway.{key}"), stated);
            messages.into_iter().for_each(|message| report(key, message));
            own.extend(accepted.map(|value| (key, value)));
        }
        let Some(signals) = signals.filter(|_| is_usable && !(data_streams.is_empty() && workloads.is_empty())) else {
            return;
        };
        self.own.insert(name.to_owned(), own);
        let data_streams = data_streams.into_iter().collect();
        let pool = GatewayPool { name: name.to_owned(), data_streams, workloads, signals, retired_at: None };
        self.pools.insert(name.to_owned(), pool);
    }

    /// Names of the pools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pools.keys().map(String::as_str)
    }

    /// What pools name that is not there: data streams that no workload is in, and workloads that no Source covers. `covered` are
    /// namespace, name and labels of the InstrumentationConfigs.
    #[must_use]
    pub fn unmatched<'a>(
        &self,
        covered: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a BTreeMap<String, String>>)>,
        object: &str,
    ) -> Vec<Finding> {
        if self.pools.is_empty() {
            return Vec::new();
        }
        let mut names = CoveredNames::default();
        covered.into_iter().for_each(|(namespace, config, labels)| names.add(namespace, config, labels));
        let mut found = Vec::new();
        for pool in self.pools.values() {
            let streams =
                pool.data_streams.iter().filter_map(|stream| Some(("dataStreams", names.missing_stream(stream)?)));
            let workloads = pool.workloads.iter().filter_map(|one| {
                let kind = WorkloadKind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(&one.kind))?;
                let workload = WorkloadRef::new(one.namespace.clone(), kind, one.name.clone());
                Some(("workloads", names.missing_workload(&workload)?))
            });
            found.extend(streams.chain(workloads).map(|(key, message)| {
                let message = format!("the pool gets nothing by it: {message}");
                Finding::warning(object, format!("{PATH}[{}].{key}", pool.name), message)
            }));
        }
        found
    }

    /// Sizes of pools that cannot work.
    #[must_use]
    pub fn size_findings(&self, configuration: &Configuration, object: &str) -> Vec<Finding> {
        let of_pool = |pool: &GatewayPool| {
            let own = self.own_configuration(&pool.name, configuration);
            let found = sizing::findings_of_pool(&own, object, &format!("{PATH}[{}]", pool.name));
            // What the pool does not state gives way to what it does.
            let keys = self.own.get(&pool.name).into_iter().flatten().map(|(key, _)| *key);
            let stated: BTreeSet<&str> = keys.collect();
            found.into_iter().filter(move |one| one.field.rsplit('.').next().is_some_and(|key| stated.contains(key)))
        };
        self.pools.values().flat_map(of_pool).collect()
    }

    /// The configuration with what a pool states for itself.
    fn own_configuration(&self, pool: &str, configuration: &Configuration) -> Configuration {
        let mut own = configuration.clone();
        for (key, value) in self.own.get(pool).into_iter().flatten() {
            own.set(&format!("collectorGateway.{key}"), value.clone());
        }
        own
    }

    /// The pools that stand in the cluster and shall stay; their own keys are not known.
    #[must_use]
    pub fn of_groups<'a>(groups: impl IntoIterator<Item = &'a CollectorsGroup>) -> Self {
        let pools = groups.into_iter().filter_map(|group| group.spec.pool.clone());
        let staying = pools.filter(|pool| pool.retired_at.is_none());
        Self { pools: staying.map(|pool| (pool.name.clone(), pool)).collect(), own: BTreeMap::new() }
    }

    /// The streams of a workload, from name and labels of its InstrumentationConfig: with a virtual one of the pool that names
    /// it, so that its class is a class of its own. A workload without any stream stays without.
    #[must_use]
    pub fn membership(
        &self,
        (namespace, config): (&str, &str),
        labels: Option<&BTreeMap<String, String>>,
        selected_namespaces: &BTreeSet<String>,
    ) -> StreamSet {
        let none = BTreeMap::new();
        let mut set = streams::membership(labels.unwrap_or(&none), namespace, selected_namespaces);
        let named = self.pools.values().filter(|pool| pool.workloads.iter().any(|one| one.namespace == namespace));
        let mut named = named.peekable();
        if set.is_empty() || named.peek().is_none() {
            return set;
        }
        if let Some(workload) = WorkloadRef::from_config_name(namespace, config) {
            let names = |pool: &&GatewayPool| pool.workloads.iter().any(|one| is_same(one, &workload));
            set.extend(named.find(names).map(|pool| format!("{}{}", streams::POOL_STREAM, pool.name)));
        }
        set
    }

    /// The pool that takes a class: the one that names its workloads, else the one that names every stream of it. Virtual
    /// streams of namespaces go where the others go.
    #[must_use]
    pub fn of_class(&self, class: &StreamClass) -> Option<&GatewayPool> {
        let named = class.streams.iter().find_map(|stream| stream.strip_prefix(streams::POOL_STREAM));
        if let Some(pool) = named.and_then(|name| self.pools.get(name)) {
            return Some(pool);
        }
        let mut real = class.streams.iter().filter(|stream| !streams::is_virtual(stream)).peekable();
        real.peek()?;
        let real: Vec<&String> = real.collect();
        self.pools.values().find(|pool| real.iter().all(|stream| pool.data_streams.contains(stream)))
    }

    /// The groups of pools: those that are wanted, and those that leave.
    #[must_use]
    pub fn plan(&self, seen: &Seen<'_>) -> PoolPlan {
        let mut plan = PoolPlan::default();
        let mut drain = |left: Option<SignedDuration>| {
            plan.recheck_after = [plan.recheck_after, left].into_iter().flatten().min();
        };
        for (name, pool) in &self.pools {
            let current = seen.existing.get(name);
            let of_pool = |class: &&StreamClass| {
                class.retired_at.is_none() && self.of_class(class).is_some_and(|one| one.name == *name)
            };
            // With the ids that the main gateways know them by.
            let mut classes: BTreeMap<String, StreamClass> =
                seen.classes.iter().filter(of_pool).map(|class| (class.id.clone(), class.clone())).collect();
            let current = current.map_or(&[][..], |spec| &spec.stream_classes);
            let routed = seen.routed_to(name);
            drain(streams::classes::retain(&mut classes, &routed, current, seen.drain, seen.now));
            let classes = classes.into_values().collect();
            plan.groups.insert(name.clone(), self.spec(pool, seen, classes));
        }
        for (name, spec) in seen.existing.iter().filter(|(name, _)| !self.pools.contains_key(*name)) {
            let Some(pool) = &spec.pool else { continue };
            let since = pool.retired_at.as_ref().map_or(seen.now, |time| time.0);
            let left = seen.drain - seen.now.duration_since(since);
            if left <= SignedDuration::ZERO && seen.routed_to(name).is_empty() {
                plan.gone.push(name.clone());
                continue;
            }
            if left > SignedDuration::ZERO {
                drain(Some(left));
            }
            let pool = GatewayPool { retired_at: Some(Time(since)), ..pool.clone() };
            plan.groups.insert(name.clone(), CollectorsGroupSpec { pool: Some(pool), ..spec.clone() });
        }
        plan
    }

    fn spec(&self, pool: &GatewayPool, seen: &Seen<'_>, classes: Vec<StreamClass>) -> CollectorsGroupSpec {
        let configuration = self.own_configuration(&pool.name, seen.configuration);
        let mut spec = scheduling::gateway_group(&configuration, seen.destinations, seen.sampling, classes);
        let mut pool = pool.clone();
        if pool.signals.is_empty() {
            // A trace whose spans arrive at two places would be judged twice, by halves.
            let whole = spec.tail_sampling.is_some();
            let taken = Signal::PIPELINES.into_iter().filter(|signal| !(whole && *signal == Signal::Traces));
            pool.signals = taken.collect();
        }
        pool.signals.sort_unstable();
        pool.signals.dedup();
        if !pool.signals.contains(&Signal::Traces) {
            spec.tail_sampling = None;
        }
        spec.deployment_name = Some(names::pool_gateway(&pool.name));
        // The cluster's objects are counted by the main gateways.
        spec.cluster_metrics_enabled = Some(false);
        spec.pool = Some(pool);
        spec
    }
}

impl Seen<'_> {
    /// Classes that any node may send to a pool.
    fn routed_to(&self, pool: &str) -> BTreeSet<String> {
        let of_pool = self.routed.iter().filter(|one| one.name == pool);
        of_pool.flat_map(|one| one.stream_classes.iter().cloned()).collect()
    }
}

/// The specs of the pools among groups, by name of the pool.
pub fn existing<'a>(groups: impl IntoIterator<Item = &'a CollectorsGroup>) -> BTreeMap<String, CollectorsGroupSpec> {
    let name = |group: &CollectorsGroup| group.spec.pool.as_ref().map(|pool| pool.name.clone());
    groups.into_iter().filter_map(|group| Some((name(group)?, group.spec.clone()))).collect()
}

/// The Destinations that a gateway is concerned with: all of them, or those that streams of a pool reach.
#[must_use]
pub fn destinations<'a>(group: &CollectorsGroupSpec, all: Vec<&'a Destination>) -> Vec<&'a Destination> {
    if group.pool.is_none() {
        return all;
    }
    let streams: BTreeSet<&str> =
        group.stream_classes.iter().flat_map(|class| &class.streams).map(String::as_str).collect();
    let reached = |one: &&Destination| {
        let selection = streams::Selection::of(&one.spec);
        streams.iter().any(|stream| selection.includes(stream))
    };
    all.into_iter().filter(reached).collect()
}

fn is_same(named: &PoolWorkload, workload: &WorkloadRef) -> bool {
    named.namespace == workload.namespace
        && named.name == workload.name
        && named.kind.eq_ignore_ascii_case(workload.kind.as_str())
}

/// Every key that an entry may have.
fn all_keys() -> impl Iterator<Item = &'static str> {
    POOL_KEYS.into_iter().chain(OWN_KEYS)
}

/// The workloads that an entry names; each that none can be is reported and left out.
fn workloads(entry: &Configuration, report: &mut impl FnMut(&str, String)) -> Vec<PoolWorkload> {
    let Some(stated) = entry.get("workloads") else { return Vec::new() };
    let Some(list) = stated.as_array() else {
        report("workloads", "expected a list of {namespace, kind, name}; the value is ignored".to_owned());
        return Vec::new();
    };
    let mut all = Vec::new();
    for (position, one) in list.iter().enumerate() {
        let key = format!("workloads[{position}]");
        let fields = ["kind", "name", "namespace"];
        let unknown =
            one.as_object().into_iter().flat_map(|map| map.keys()).find(|key| !fields.contains(&key.as_str()));
        if let Some(unknown) = unknown {
            let message = format!("unknown key, ignored{}", spelling::hint(unknown, fields));
            report(&format!("{key}.{unknown}"), message);
        }
        let workload = match serde_json::from_value::<PoolWorkload>(one.clone()) {
            Ok(workload) => workload,
            Err(error) => {
                report(&key, format!("expected {{namespace, kind, name}} ({error}); it is left out"));
                continue;
            }
        };
        if !WorkloadKind::ALL.iter().any(|kind| kind.as_str().eq_ignore_ascii_case(&workload.kind)) {
            let problem =
                covered::unknown(&workload.kind, "kind of workload", WorkloadKind::ALL.map(WorkloadKind::as_str));
            report(&format!("{key}.kind"), format!("{problem}; the entry is left out"));
            continue;
        }
        all.push(workload);
    }
    all.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
    all.dedup();
    all
}

/// The signals that an entry names: none for those that can be, `None` where they are no signals.
fn signals(entry: &Configuration, report: &mut impl FnMut(&str, String)) -> Option<Vec<Signal>> {
    let Some(stated) = entry.get("signals") else { return Some(Vec::new()) };
    let read: Option<Vec<Signal>> = serde_json::from_value(stated.clone()).ok();
    if read.is_none() {
        report("signals", "expected a list of TRACES, METRICS and LOGS; the pool is left out".to_owned());
    }
    read
}

/// Why a pool cannot have this name: its objects are called `odigos-gateway-<name>` and must not be taken for others.
fn bad_name(name: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || name.ends_with('-') || !name.chars().all(fits) {
        return Some("use lower-case letters, digits and dashes, a letter first");
    }
    if name.len() > NAME_LENGTH {
        return Some("it is longer than 32 characters");
    }
    let last = name.rsplit('-').next().unwrap_or(name);
    let is_version = matches!(last.len(), 8 | 32) && last.chars().all(|c| c.is_ascii_hexdigit());
    if last == "otlp" || is_version || matches!(name, "set-aside" | "leader") {
        return Some("another object of the gateway is called like that");
    }
    None
}

#[cfg(test)]
mod tests;
