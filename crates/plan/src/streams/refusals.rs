//! Sets of streams that got no class: why, and how it is reported.
//!
//! Owns the words of Findings, conditions of DataStreams and Events. Never decides what is refused ([`super::classes`]).

use super::StreamSet;
use super::classes::CLASS_LIMIT;
use odigos_api::Finding;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::labels::STREAM_LABEL_LIMIT;
use std::collections::{BTreeMap, BTreeSet};

/// Why a set of streams got no class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It has more streams than a Source may name.
    Size(usize),
    /// As many classes exist as may.
    Limit,
    /// All namespaces that use it use as many sets as they may.
    Quota {
        /// These.
        namespaces: Vec<String>,
        /// How many sets each may use.
        quota: usize,
    },
    /// Another set has its id.
    Collision {
        /// The id.
        id: String,
        /// The streams of the set that has it.
        other: Vec<String>,
    },
}

impl Refusal {
    /// Reason of conditions and Events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Size(_) => "TooManyStreams",
            Self::Limit => "TooManyStreamSets",
            Self::Quota { .. } => "NamespaceStreamQuota",
            Self::Collision { .. } => "StreamClassCollision",
        }
    }

    fn message(&self) -> String {
        let cause = match self {
            Self::Size(count) => format!("it has {count} streams, and a Source may name {STREAM_LABEL_LIMIT}"),
            Self::Limit => format!("{CLASS_LIMIT} distinct sets of streams are in use, which is the limit"),
            Self::Quota { namespaces, quota } => {
                format!("namespace {} uses {quota} sets of streams, which is its quota", namespaces.join(", "))
            }
            Self::Collision { id, other } => {
                format!("its class {id} belongs to another set of streams ({})", other.join(","))
            }
        };
        let remedy = match self {
            Self::Size(_) => "remove some of its labels",
            Self::Limit => "use fewer combinations of streams",
            Self::Quota { .. } => "use fewer streams there, or raise dataStreams.maxPerNamespace",
            Self::Collision { .. } => "rename one of its streams",
        };
        format!(
            "{cause}; workloads that have a route keep it, the telemetry of others is dropped until there is room; {remedy}"
        )
    }
}

/// What to report of refused sets: one Finding for each reason.
#[must_use]
pub fn findings(refused: &BTreeMap<StreamSet, Refusal>) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, (usize, &StreamSet, &Refusal)> = BTreeMap::new();
    for (set, refusal) in refused {
        by_reason.entry(refusal.reason()).or_insert((0, set, refusal)).0 += 1;
    }
    let finding = |(reason, (count, set, refusal)): (&str, (usize, &StreamSet, &Refusal))| {
        let set = set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        Finding::error(
            "DataStream",
            reason,
            format!("{count} sets of streams got no class, such as {set}: {}", refusal.message()),
        )
    };
    by_reason.into_iter().map(finding).collect()
}

/// The condition of each stream that is in a refused set; others have none.
#[must_use]
pub fn conditions(refused: &BTreeMap<StreamSet, Refusal>) -> BTreeMap<String, ConditionDraft> {
    let mut worst: BTreeMap<&String, (&Refusal, BTreeSet<&StreamSet>)> = BTreeMap::new();
    for (set, refusal) in refused {
        for stream in set {
            let entry = worst.entry(stream).or_insert_with(|| (refusal, BTreeSet::new()));
            entry.0 = entry.0.max(refusal);
            entry.1.insert(set);
        }
    }
    let draft = |(refusal, sets): (&Refusal, BTreeSet<&StreamSet>)| {
        let message = format!("{} sets of streams with this one got no class: {}.", sets.len(), refusal.message());
        ConditionDraft::no(kind::CLASSES_ASSIGNED, refusal.reason(), message)
    };
    worst.into_iter().map(|(stream, found)| (stream.clone(), draft(found))).collect()
}
