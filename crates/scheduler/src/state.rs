//! The stores that reconciles read.

use crate::data_streams::Wanted;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::PartialObjectMeta;
use odigos_api::WorkloadRef;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::sampling::Sampling;
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::{Hub, ObjectKey};
use odigos_kit::queue::Queue;
use odigos_plan::streams::StreamSet;
use odigos_plan::streams::refusals::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Everything that reconciles read.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) namespace: String,
    pub(crate) applier: Applier,
    pub(crate) events: Events,
    /// The four ConfigMaps of the configuration.
    pub(crate) config_maps: Arc<Hub<ConfigMap>>,
    pub(crate) destinations: Arc<Hub<Destination>>,
    pub(crate) streams: Arc<Hub<DataStream>>,
    pub(crate) groups: Arc<Hub<CollectorsGroup>>,
    pub(crate) samplings: Arc<Hub<Sampling>>,
    pub(crate) configs: Arc<Hub<PartialObjectMeta<InstrumentationConfig>>>,
    pub(crate) pods: Arc<Hub<PartialObjectMeta<Pod>>>,
    /// Pods by the workload that they belong to.
    pub(crate) pods_of: Mutex<BTreeMap<WorkloadRef, BTreeSet<ObjectKey>>>,
    /// How long the route of a class that nothing carries any more is kept.
    pub(crate) drain: jiff::SignedDuration,
    /// What was last reported about the configuration, and when.
    pub(crate) reported: Mutex<Option<(Instant, String)>>,
    /// Sets of streams that got no class, as the cluster's reconcile decided last.
    pub(crate) refused: Mutex<BTreeMap<StreamSet, Refusal>>,
    /// What DataStreams shall be, by name; none before that was decided once.
    pub(crate) wanted_streams: Mutex<Option<BTreeMap<String, Wanted>>>,
    /// Streams beyond the quota of their namespace, as last reported.
    pub(crate) beyond_quota: Mutex<BTreeMap<String, StreamSet>>,
    /// DataStreams that may not be as they shall be.
    pub(crate) streams_queue: Queue<String>,
    /// InstrumentationConfigs whose class is to be decided.
    pub(crate) configs_queue: Queue<ObjectKey>,
    /// Lets a bounded number of pods be labelled at a time.
    pub(crate) patches: tokio::sync::Semaphore,
}

impl State {
    /// Whether a set of streams got no class.
    pub(crate) fn is_refused(&self, set: &StreamSet) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains_key(set)
    }

    /// Remembers which sets got no class; returns whether those are others than before.
    pub(crate) fn refuse(&self, refused: &BTreeMap<StreamSet, Refusal>) -> bool {
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = known.keys().ne(refused.keys());
        known.clone_from(refused);
        is_other
    }

    /// The text of one of the configuration's ConfigMaps.
    pub(crate) fn configuration(&self, name: &str) -> Option<String> {
        let map = self.config_maps.get(&self.namespace, name)?;
        map.data.as_ref()?.get(odigos_api::names::CONFIGURATION_KEY).cloned()
    }

    /// Pods of a workload.
    pub(crate) fn pods(&self, workload: &WorkloadRef) -> Vec<ObjectKey> {
        let index = self.pods_of.lock().unwrap_or_else(PoisonError::into_inner);
        index.get(workload).into_iter().flatten().cloned().collect()
    }

    /// Keeps the index of pods; returns the workload that a change concerns.
    pub(crate) fn index(&self, key: &ObjectKey, before: Option<&WorkloadRef>, after: Option<&WorkloadRef>) {
        let mut index = self.pods_of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workload) = before.filter(|before| Some(*before) != after)
            && let Some(pods) = index.get_mut(workload)
        {
            pods.remove(key);
            if pods.is_empty() {
                index.remove(workload);
            }
        }
        if let Some(workload) = after {
            index.entry(workload.clone()).or_default().insert(key.clone());
        }
    }
}
