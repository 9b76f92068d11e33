//! Stream classes: the id of a set of streams, which sets have a class, and when a class may come and go.
//!
//! Owns design 4.1 and the limits on classes. What is served stays: a limit, a quota or a collision only keeps something from being
//! added. Never touches pods: it decides which class an InstrumentationConfig and its pods shall carry.

use super::refusals::Refusal;
use super::{DEFAULT_CLASS, StreamSet, VOID_CLASS};
use crate::objects::hash;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::collectors_group::{CollectorsGroup, StreamClass};
use odigos_api::labels::{DEFAULT_STREAM, STREAM_LABEL_LIMIT};
use std::collections::{BTreeMap, BTreeSet};

/// How long the gateway keeps the route of a class that no pod carries any more: longer than a batch, its retries and
/// the delay of the node collectors' pod watch.
pub const DRAIN_PERIOD: SignedDuration = SignedDuration::from_secs(120);
/// More distinct sets than this would make routing cost grow with the number of workloads (spec 7.5, "class explosion").
pub const CLASS_LIMIT: usize = 4096;
/// Hex digits of an id: 128 bits, so that no one can find a second set with the id of another tenant's.
const DIGITS: usize = 32;
/// Hex digits of ids of the release before, which pods carry until the scheduler has labelled them anew.
const EARLIER_DIGITS: usize = 8;

/// The id of the class of a set: `void`, `default`, or `c` and 32 hex digits of SHA-256 over the comma-joined set.
#[must_use]
pub fn class_id(streams: &StreamSet) -> String {
    id_of(streams, DIGITS)
}

/// The id that the release before gave to the class of a set.
#[must_use]
pub fn earlier_class_id(streams: &StreamSet) -> String {
    id_of(streams, EARLIER_DIGITS)
}

fn id_of(streams: &StreamSet, digits: usize) -> String {
    if streams.is_empty() {
        return VOID_CLASS.to_owned();
    }
    if streams.len() == 1 && streams.contains(DEFAULT_STREAM) {
        return DEFAULT_CLASS.to_owned();
    }
    let joined = streams.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    format!("c{}", hash(joined, digits))
}

/// Who is in a set of streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Members {
    count: usize,
    /// Empty for what belongs to no workload, which no quota concerns.
    namespaces: BTreeSet<String>,
    is_exempt: bool,
}

/// How many workloads are in each distinct set, and in which namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    sets: BTreeMap<StreamSet, Members>,
}

impl Usage {
    /// Counts one workload of that set.
    pub fn add(&mut self, namespace: &str, streams: StreamSet) {
        let members = self.sets.entry(streams).or_default();
        members.count = members.count.saturating_add(1);
        if !members.namespaces.contains(namespace) {
            members.namespaces.insert(namespace.to_owned());
        }
    }

    /// Counts a set of the control plane itself, which goes before those of workloads.
    pub fn keep(&mut self, streams: StreamSet) {
        self.sets.entry(streams).or_default().is_exempt = true;
    }

    /// Sets that need a class of their own, in the order in which they get one: those of the control plane, then those of
    /// namespaces that use few, so that none crowds others out.
    fn ranked<'a>(&'a self, used: &BTreeMap<&str, usize>) -> Vec<(&'a StreamSet, &'a Members)> {
        let fewest = |members: &Members| {
            members.namespaces.iter().map(|one| used.get(one.as_str()).copied().unwrap_or_default()).min()
        };
        let mut ranked: Vec<_> = self.sets.iter().filter(|(set, _)| class_id(set) != DEFAULT_CLASS).collect();
        ranked
            .sort_by_cached_key(|(_, members)| (!members.is_exempt, fewest(members), std::cmp::Reverse(members.count)));
        ranked
    }

    /// How many sets each namespace uses.
    fn by_namespace(&self) -> BTreeMap<&str, usize> {
        let mut used: BTreeMap<&str, usize> = BTreeMap::new();
        for namespace in self.sets.values().flat_map(|members| &members.namespaces) {
            *used.entry(namespace).or_default() += 1;
        }
        used
    }
}

/// The classes that the gateway shall know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassPlan {
    /// For `CollectorsGroup.spec.streamClasses`, sorted by id.
    pub classes: Vec<StreamClass>,
    /// Sets that got no class, and why.
    pub refused: BTreeMap<StreamSet, Refusal>,
    /// When a retired class may leave.
    pub recheck_after: Option<SignedDuration>,
}

/// What classes depend on beside who is in which set.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// Classes that something carries.
    pub carried: &'a BTreeSet<String>,
    /// Classes that the gateway knows.
    pub current: &'a [StreamClass],
    /// How long a class that nothing carries stays, usually [`DRAIN_PERIOD`].
    pub drain: SignedDuration,
    /// How many sets a namespace may use; what it uses beyond that keeps what it has.
    pub quota: usize,
}

/// Computes the classes that the gateway shall know: those in use, those that something still carries, and retired ones
/// until their drain period is over. A class enters here before anything carries it and leaves after (design 4.1).
#[must_use]
pub fn plan_classes(usage: &Usage, existing: &Existing<'_>, now: Timestamp) -> ClassPlan {
    plan_with(usage, existing, now, &class_id)
}

/// The same with another function for ids, so that tests can have two sets of one id.
fn plan_with(
    usage: &Usage,
    existing: &Existing<'_>,
    now: Timestamp,
    class_id: &dyn Fn(&StreamSet) -> String,
) -> ClassPlan {
    let used = usage.by_namespace();
    let known: BTreeMap<&str, &StreamClass> = existing.current.iter().map(|class| (class.id.as_str(), class)).collect();
    let mut classes = BTreeMap::new();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wanted = Vec::new();
    let mut refused = BTreeMap::new();
    for (set, members) in usage.ranked(&used) {
        let id = class_id(set);
        match known.get(id.as_str()) {
            Some(class) if is_of(class, set) => {
                for namespace in &members.namespaces {
                    *held.entry(namespace).or_default() += 1;
                }
                classes.insert(id.clone(), StreamClass { id, streams: class.streams.clone(), retired_at: None });
            }
            _ => wanted.push((id, set, members)),
        }
    }
    let recheck_after = retain(&mut classes, existing.carried, existing.current, existing.drain, now);
    keep_earlier_ids(&mut classes, usage, existing.carried);
    for (id, set, members) in wanted {
        if let Some(other) = classes.get(&id) {
            refused.insert(set.clone(), Refusal::Collision { id, other: other.streams.clone() });
            continue;
        }
        if !members.is_exempt {
            let size = set.iter().filter(|stream| !super::is_virtual(stream)).count();
            if size > STREAM_LABEL_LIMIT {
                refused.insert(set.clone(), Refusal::Size(size));
                continue;
            }
            let has_room = |one: &&String| held.get(one.as_str()).copied().unwrap_or_default() < existing.quota;
            if classes.len() >= CLASS_LIMIT {
                refused.insert(set.clone(), Refusal::Limit);
                continue;
            }
            if !members.namespaces.iter().any(|one| has_room(&one)) {
                let namespaces = members.namespaces.iter().cloned().collect();
                refused.insert(set.clone(), Refusal::Quota { namespaces, quota: existing.quota });
                continue;
            }
        }
        for namespace in &members.namespaces {
            *held.entry(namespace).or_default() += 1;
        }
        classes.insert(id.clone(), StreamClass { id, streams: set.iter().cloned().collect(), retired_at: None });
    }
    ClassPlan { classes: classes.into_values().collect(), refused, recheck_after }
}

/// Whether a class is that of a set: its id alone does not tell.
fn is_of(class: &StreamClass, set: &StreamSet) -> bool {
    class.streams.len() == set.len() && class.streams.iter().all(|stream| set.contains(stream))
}

/// Adds the classes of `current` that must stay to those in use; returns when one of them may leave.
pub fn retain(
    classes: &mut BTreeMap<String, StreamClass>,
    carried: &BTreeSet<String>,
    current: &[StreamClass],
    drain: SignedDuration,
    now: Timestamp,
) -> Option<SignedDuration> {
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
    recheck_after
}

/// Routes for pods that the release before labelled, where the gateway's group has forgotten them. An id that two sets would have
/// leads nowhere.
fn keep_earlier_ids(classes: &mut BTreeMap<String, StreamClass>, usage: &Usage, carried: &BTreeSet<String>) {
    let unknown: BTreeSet<&String> = carried
        .iter()
        .filter(|id| id.len() == EARLIER_DIGITS + 1 && id.starts_with('c') && !classes.contains_key(*id))
        .collect();
    if unknown.is_empty() {
        return;
    }
    let mut found: BTreeMap<String, Vec<&StreamSet>> = BTreeMap::new();
    for set in usage.sets.keys() {
        let id = earlier_class_id(set);
        if unknown.contains(&id) {
            found.entry(id).or_default().push(set);
        }
    }
    for (id, sets) in found {
        if let [only] = sets.as_slice() {
            let streams = only.iter().cloned().collect();
            classes.insert(id.clone(), StreamClass { id, streams, retired_at: None });
        }
    }
}

/// The class that a workload shall carry now: that of its set as soon as every gateway serves it, until then the one it has
/// (`None`: no label). Where the set is refused, a workload without a class goes to the void.
#[must_use]
pub fn assign(
    set: &StreamSet,
    current: Option<&str>,
    gateway: Option<&CollectorsGroup>,
    is_refused: bool,
) -> Option<String> {
    let wanted = class_id(set);
    if wanted == DEFAULT_CLASS || wanted == VOID_CLASS {
        return Some(wanted);
    }
    let is_served = gateway.is_some_and(|gateway| {
        let mut classes = gateway.spec.stream_classes.iter();
        let served = gateway.status.iter().flat_map(|status| &status.served_stream_classes);
        classes.any(|class| class.id == wanted && is_of(class, set)) && served.into_iter().any(|id| *id == wanted)
    });
    if is_served {
        return Some(wanted);
    }
    if is_refused && current.is_none() {
        return Some(VOID_CLASS.to_owned());
    }
    current.map(str::to_owned)
}

#[cfg(test)]
mod tests;
