//! The stores that reconciles read.

use crate::certificates::Certificates;
use crate::scaling::Scaling;
use crate::secrets::{KnownSecrets, SecretStore};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use odigos_api::action::Action;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::processor::Processor;
use odigos_api::sampling::Sampling;
use odigos_api::{CollectorRole, labels, names};
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::Hub;
use odigos_kit::metrics::Metrics;
use odigos_plan::configuration::Configuration;
use odigos_plan::gateway::objects::Installation;
use odigos_plan::gateway::sampling::Rules;
use odigos_plan::mutual_tls::change_over;
use odigos_plan::node::CloudProvider;
use odigos_plan::quarantine::{self, memory};
use odigos_plan::scaling::custom_metrics::{self, Registration};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether labels are those of the main gateways, or of a dedicated pool's.
pub(crate) fn is_of_gateway(metadata: &ObjectMeta, pool: Option<&str>) -> bool {
    let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    match pool {
        None => label(labels::COLLECTOR_ROLE) == Some(CollectorRole::ClusterGateway.as_str()),
        Some(_) => label(labels::COLLECTOR_ROLE) == Some(labels::POOL_ROLE) && label(labels::GATEWAY_POOL) == pool,
    }
}

/// Everything that reconciles read.
pub(crate) struct State {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) applier: Applier,
    /// Writes the conditions `TraceCut`, which would end `Rendered` of the same DataStream under one name.
    pub(crate) trace_cuts: Applier,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) installation: Installation,
    pub(crate) groups: Arc<Hub<CollectorsGroup>>,
    pub(crate) destinations: Arc<Hub<Destination>>,
    pub(crate) processors: Arc<Hub<Processor>>,
    pub(crate) streams: Arc<Hub<DataStream>>,
    pub(crate) samplings: Arc<Hub<Sampling>>,
    pub(crate) actions: Arc<Hub<Action>>,
    /// Actions of older releases, by kind; a cluster may not serve these.
    pub(crate) legacy_actions: Vec<(&'static str, Arc<Hub<DynamicObject>>)>,
    /// InstrumentationConfigs: what they say to collectors, their data streams, and their languages.
    pub(crate) configs: Arc<Hub<InstrumentationConfig>>,
    pub(crate) config_maps: Arc<Hub<ConfigMap>>,
    /// Deployment, DaemonSet, Service, HorizontalPodAutoscaler, PodDisruptionBudget of the control plane, by kind.
    pub(crate) workloads: Vec<(&'static str, Arc<Hub<DynamicObject>>)>,
    pub(crate) secrets: Arc<Hub<PartialObjectMeta<Secret>>>,
    /// What is known of Secrets and of the escaped copies of their values.
    pub(crate) secret_store: SecretStore,
    /// Certificates of collectors.
    pub(crate) certificates: Certificates,
    /// Gateway pods: what they mount and how they are.
    pub(crate) pods: Arc<Hub<Pod>>,
    /// Pods of node collectors, the same of them.
    pub(crate) node_pods: Arc<Hub<Pod>>,
    pub(crate) provider: Mutex<CloudProvider>,
    /// Since when no gateway of a release without certificates has been seen; another leader begins anew.
    pub(crate) changed_over: Mutex<Option<Timestamp>>,
    /// What gateways say of their load, by name of their group.
    pub(crate) scaling: Mutex<BTreeMap<String, Scaling>>,
    /// Ends of collectors for their memory that were seen, by name of their group.
    pub(crate) seen_ends: Mutex<BTreeMap<String, memory::SeenEnds>>,
    /// Versions of configurations that were deleted, as long as the watch shows them.
    pub(crate) removed: Mutex<BTreeSet<String>>,
    /// The APIService of custom metrics, where that API is served.
    pub(crate) api_services: Option<Arc<Hub<APIService>>>,
}

impl State {
    /// The effective configuration, or the defaults until there is one.
    pub(crate) fn configuration(&self) -> Configuration {
        let map = self.config_maps.get(&self.namespace, names::EFFECTIVE_CONFIGURATION);
        let text = map.and_then(|map| map.data.as_ref()?.get(names::CONFIGURATION_KEY).cloned()).unwrap_or_default();
        Configuration::parse(&text).unwrap_or_default()
    }

    /// Rules of Sampling objects and of health probes, and the views that DataStreams choose.
    pub(crate) fn rules(&self, configuration: &Configuration) -> Rules {
        let samplings = self.samplings.namespace(&self.namespace);
        let configs = self.configs.all();
        let settings =
            configs.iter().map(|((namespace, name), config)| (namespace.as_str(), name.as_str(), config.as_ref()));
        let streams = self.streams.namespace(&self.namespace);
        Rules::of(configuration, samplings.iter().map(AsRef::as_ref), settings, streams.iter().map(AsRef::as_ref))
    }

    /// Whom the cluster asks for custom metrics; none where that API is not served.
    pub(crate) fn registration(&self) -> Option<Registration> {
        let live = self.api_services.as_ref()?.get("", custom_metrics::API_SERVICE);
        Some(Registration::of(live.as_deref(), &self.namespace))
    }

    /// Where the cluster runs.
    pub(crate) fn provider(&self) -> CloudProvider {
        *self.provider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether node collectors of a release without certificates are left as they are for now.
    pub(crate) fn holds_old_nodes(&self, daemon_set: Option<&Value>, now: Timestamp) -> bool {
        let have_changed = change_over::is_used_by_nodes(daemon_set, &self.all_gateway_pods(), now);
        let mut since = self.changed_over.lock().unwrap_or_else(PoisonError::into_inner);
        *since = have_changed.then(|| since.unwrap_or(now));
        change_over::is_held(daemon_set, *since, now)
    }

    /// The groups of all gateways: the main ones first, then those of dedicated pools.
    pub(crate) fn gateways(&self) -> Vec<Arc<CollectorsGroup>> {
        let main = self.groups.get(&self.namespace, names::GATEWAY);
        main.into_iter().chain(self.pools()).collect()
    }

    /// The groups of dedicated pools of gateways.
    pub(crate) fn pools(&self) -> Vec<Arc<CollectorsGroup>> {
        let groups = self.groups.namespace(&self.namespace);
        groups.into_iter().filter(|group| group.spec.pool.is_some()).collect()
    }

    /// The pods of the main gateways, or of a pool's, as values.
    pub(crate) fn gateway_pods(&self, pool: Option<&str>) -> Vec<Value> {
        let pods = self.pods.namespace(&self.namespace).into_iter().filter(|pod| is_of_gateway(&pod.metadata, pool));
        pods.filter_map(|pod| serde_json::to_value(pod.as_ref()).ok()).collect()
    }

    /// The pods of all gateways.
    pub(crate) fn all_gateway_pods(&self) -> Vec<Value> {
        let pods = self.pods.namespace(&self.namespace);
        pods.iter().filter_map(|pod| serde_json::to_value(pod.as_ref()).ok()).collect()
    }

    pub(crate) fn node_pods(&self) -> Vec<Value> {
        let pods = self.node_pods.namespace(&self.namespace);
        pods.iter().filter_map(|pod| serde_json::to_value(pod.as_ref()).ok()).collect()
    }

    /// The configuration version of gateways that are ready.
    pub(crate) fn serving_version(&self, pool: Option<&str>) -> Option<String> {
        quarantine::serving(&self.gateway_pods(pool))
    }

    /// Versions of configurations that were deleted, as long as the watch shows them.
    pub(crate) fn removed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the cluster remembers of the quarantine.
    pub(crate) fn quarantine(&self) -> quarantine::Store {
        let map = self.config_maps.get(&self.namespace, quarantine::STORE);
        map.and_then(|map| map.data.as_ref().map(quarantine::Store::read)).unwrap_or_default()
    }

    /// A live object of the control plane as the watch knows it.
    pub(crate) fn live(&self, kind: &str, name: &str) -> Option<Value> {
        if kind == "ConfigMap" {
            let map = self.config_maps.get(&self.namespace, name)?;
            let mut value = serde_json::to_value(map.as_ref()).ok()?;
            value["apiVersion"] = json!("v1");
            value["kind"] = json!("ConfigMap");
            return Some(value);
        }
        let (_, hub) = self.workloads.iter().find(|(of, _)| *of == kind)?;
        serde_json::to_value(hub.get(&self.namespace, name)?.as_ref()).ok()
    }

    /// The Secrets that destinations name and may read: keys with what is known of their values, and what each says of its use. Values that a
    /// collector would expand have an escaped copy afterwards, or say why not.
    pub(crate) async fn secrets(&self, destinations: &[Destination]) -> Result<KnownSecrets, kube::Error> {
        self.secret_store.read(self, destinations).await
    }
}
