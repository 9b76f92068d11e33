//! The stores that reconciles read.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::PartialObjectMeta;
use odigos_api::WorkloadRef;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::sampling::Sampling;
use odigos_api::source::Source;
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::{Hub, ObjectKey};
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
    pub(crate) sources: Arc<Hub<PartialObjectMeta<Source>>>,
    pub(crate) pods: Arc<Hub<PartialObjectMeta<Pod>>>,
    /// Pods by the workload that they belong to.
    pub(crate) pods_of: Mutex<BTreeMap<WorkloadRef, BTreeSet<ObjectKey>>>,
    /// How long the route of a class that nothing carries any more is kept.
    pub(crate) drain: jiff::SignedDuration,
    /// What was last reported about the configuration, and when.
    pub(crate) reported: Mutex<Option<(Instant, String)>>,
    /// Lets a bounded number of pods be labelled at a time.
    pub(crate) patches: tokio::sync::Semaphore,
}

impl State {
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
