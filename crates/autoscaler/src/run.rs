//! Wiring: arguments, watches, queue. No decisions.

use crate::certificates::Certificates;
use crate::collectors::{self, Target};
use crate::custom_metrics;
use crate::scaling::{self, Gauges};
use crate::secrets::SecretStore;
use crate::state::State;
use crate::trace_cuts;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Node, Pod, PodSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, DeserializeGuard, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher;
use odigos_api::action::Action;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::crds::{LEGACY_ACTIONS, LEGACY_GROUP};
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::{
    InstrumentationConfig, InstrumentationConfigSpec, InstrumentationConfigStatus, RuntimeDetails,
};
use odigos_api::names::{self, AUTOSCALER};
use odigos_api::processor::Processor;
use odigos_api::sampling::Sampling;
use odigos_api::{CollectorRole, labels};
use odigos_kit::admin::{self, Readiness};
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::{self, Hub};
use odigos_kit::leader_election::{self, Leadership, Lease};
use odigos_kit::metrics::Metrics;
use odigos_kit::queue::{Queue, Settings};
use odigos_kit::settings::CommonArguments;
use odigos_kit::tasks::Tasks;
use odigos_kit::{client, telemetry};
use odigos_plan::covered;
use odigos_plan::gateway::objects::Installation;
use odigos_plan::node::CloudProvider;
use odigos_plan::quarantine;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Renders the collectors and keeps them running.
#[derive(clap::Parser, Debug)]
#[command(name = AUTOSCALER, version, about)]
pub struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    /// One image for both collectors, unless they have one of their own. Default: those of this release.
    #[arg(long, env = "ODIGOS_COLLECTOR_IMAGE")]
    collector_image: Option<String>,
    /// Image of the gateways.
    #[arg(long, env = "ODIGOS_GATEWAY_IMAGE")]
    gateway_image: Option<String>,
    /// Image of the nodes' collector.
    #[arg(long, env = "ODIGOS_NODE_COLLECTOR_IMAGE")]
    node_collector_image: Option<String>,
    /// Path of the collector's binary inside the images.
    #[arg(long, env = "ODIGOS_COLLECTOR_COMMAND", default_value = "/otelcol-contrib")]
    collector_command: String,
    #[command(flatten)]
    custom_metrics: custom_metrics::ApiArguments,
}

/// Objects of the control plane that the autoscaler owns, by apiVersion and kind.
const OWNED: [(&str, &str, &str); 6] = [
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
    ("", "v1", "Service"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("policy", "v1", "PodDisruptionBudget"),
];

/// Runs until the process is asked to end.
///
/// # Errors
/// When it cannot start, or when a part of it ends unexpectedly.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    let level = telemetry::start(&common.log);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = common.namespace, "{AUTOSCALER} starts");
    let client = client::connect(AUTOSCALER).await?;
    let metrics = Metrics::default();
    let mut tasks = Tasks::new();
    let stop = tasks.stop();
    let ready = Readiness::default();
    let serving = admin::serve(common.admin_address, metrics.clone(), ready.clone(), level, stop.clone());
    tasks.spawn("admin server", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin server ended");
        }
    });
    let state = Arc::new(State {
        namespace: common.namespace.clone(),
        client: client.clone(),
        applier: Applier::new(client.clone(), AUTOSCALER, metrics.clone()),
        trace_cuts: Applier::new(client.clone(), names::TRACE_CUTS, metrics.clone()),
        events: Events::new(client.clone(), AUTOSCALER),
        metrics: metrics.clone(),
        installation: installation(&client, &arguments).await,
        groups: Hub::new("CollectorsGroup"),
        destinations: Hub::new("Destination"),
        processors: Hub::new("Processor"),
        streams: Hub::new("DataStream"),
        samplings: Hub::new("Sampling"),
        actions: Hub::new("Action"),
        legacy_actions: LEGACY_ACTIONS.into_iter().map(|(kind, _)| (kind, Hub::new(kind))).collect(),
        configs: Hub::new("InstrumentationConfig"),
        config_maps: Hub::new("ConfigMap"),
        workloads: OWNED.into_iter().map(|(_, _, kind)| (kind, Hub::new(kind))).collect(),
        secrets: Hub::new("Secret"),
        secret_store: SecretStore::default(),
        certificates: Certificates::default(),
        pods: Hub::new("Pod"),
        node_pods: Hub::new("Pod"),
        provider: Mutex::default(),
        changed_over: Mutex::default(),
        scaling: Mutex::default(),
        seen_ends: Mutex::default(),
        removed: Mutex::default(),
        api_services: arguments.custom_metrics.enabled.then(|| Hub::new("APIService")),
    });
    let gauges = Gauges::register(&metrics);
    let queue: Queue<Target> = Queue::new(Duration::from_millis(250));
    subscribe(&state, &queue);
    watch(&mut tasks, &client, &state, &metrics);
    custom_metrics::start(&mut tasks, &client, &state, &queue, &arguments.custom_metrics).await?;
    let leadership = leadership(&mut tasks, &client, common, &metrics);
    let (queue_metrics, queue_stop) = (metrics.clone(), stop.clone());
    tasks.spawn("controllers", async move {
        let filled = async {
            tokio::join!(
                state.groups.synced(),
                state.destinations.synced(),
                state.processors.synced(),
                state.streams.synced(),
                state.actions.synced(),
                state.configs.synced(),
                state.config_maps.synced(),
                state.secrets.synced(),
                state.pods.synced(),
                state.node_pods.synced(),
            );
            for (_, hub) in &state.workloads {
                hub.synced().await;
            }
            if let Some(services) = &state.api_services {
                services.synced().await;
            }
        };
        tokio::select! {
            () = filled => {}
            () = queue_stop.cancelled() => return,
        }
        find_provider(&state).await;
        ready.set();
        tracing::info!(destinations = state.destinations.len(), "stores are filled");
        queue.add(Target::Gateway);
        queue.add(Target::Node);
        queue.add(Target::LegacyActions);
        let settings = Settings { controller: "collectors", concurrency: 2 };
        let rounds = scaling::go_round(state.clone(), queue.clone(), leadership.clone(), gauges, queue_stop.clone());
        let cuts = trace_cuts::go_round(state.clone(), leadership.clone(), queue_stop.clone());
        let reconciles = queue.run(settings, leadership, queue_metrics, queue_stop, move |target| {
            collectors::reconcile(state.clone(), target)
        });
        tokio::join!(rounds, cuts, reconciles);
    });
    tasks.wait().await?;
    tracing::info!("{AUTOSCALER} ended");
    Ok(())
}

/// Images of the gateways and of the nodes' collector: its own, else the one for both, else that of this release.
fn collector_images(arguments: &Arguments, defaults: &Installation) -> [String; 2] {
    let own = [&arguments.gateway_image, &arguments.node_collector_image];
    let defaults = [&defaults.gateway_image, &defaults.node_collector_image];
    std::array::from_fn(|n| own[n].as_ref().or(arguments.collector_image.as_ref()).unwrap_or(defaults[n]).clone())
}

/// Facts of the installation that do not change while the process runs.
async fn installation(client: &Client, arguments: &Arguments) -> Installation {
    let minor = client.apiserver_version().await.ok().and_then(|info| {
        let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    let defaults = Installation::default();
    let [gateway_image, node_collector_image] = collector_images(arguments, &defaults);
    Installation {
        gateway_image,
        node_collector_image,
        collector_command: arguments.collector_command.clone(),
        kubernetes_minor: minor.unwrap_or(defaults.kubernetes_minor),
        ..defaults
    }
}

/// Asks one node where the cluster runs, once.
async fn find_provider(state: &State) {
    let api: Api<Node> = Api::all(state.client.clone());
    let nodes = api.list(&ListParams::default().limit(1)).await;
    let id = nodes
        .ok()
        .and_then(|nodes| nodes.items.into_iter().next())
        .and_then(|node| node.spec)
        .and_then(|spec| spec.provider_id);
    *state.provider.lock().unwrap_or_else(PoisonError::into_inner) =
        CloudProvider::from_provider_id(&id.unwrap_or_default());
}

fn leadership(tasks: &mut Tasks, client: &Client, common: &CommonArguments, metrics: &Metrics) -> Leadership {
    if common.no_leader_election {
        return Leadership::always();
    }
    let lease = Lease { namespace: common.namespace.clone(), name: AUTOSCALER, seconds: common.lease_seconds };
    let (sender, leadership) = leader_election::channel();
    let stop = tasks.stop();
    tasks.spawn("leader election", leader_election::run(client.clone(), lease, metrics.clone(), sender, stop));
    leadership
}

/// Both collectors depend on almost everything here, and there are only two, so every change asks for both.
fn subscribe(state: &Arc<State>, queue: &Queue<Target>) {
    let both = |queue: &Queue<Target>| {
        let queue = queue.clone();
        move || {
            queue.add(Target::Gateway);
            queue.add(Target::Node);
        }
    };
    let ask = both(queue);
    state.groups.subscribe(move |change| {
        // Nodes send to a pool what its gateways serve.
        let served = |one: &CollectorsGroup| {
            let status = one.status.as_ref().filter(|_| one.spec.pool.is_some());
            status.map(|status| status.served_stream_classes.clone())
        };
        let signals = |one: &CollectorsGroup| one.status.as_ref().and_then(|status| status.receiver_signals.clone());
        if change.differs(|one| &one.spec) || change.differs(signals) || change.differs(served) {
            ask();
        }
    });
    let ask = both(queue);
    state.destinations.subscribe(move |change| {
        if change.differs(|one| &one.spec) {
            ask();
        }
    });
    let ask = both(queue);
    state.processors.subscribe(move |change| {
        if change.differs(|one| &one.spec) {
            ask();
        }
    });
    let gateway = queue.clone();
    state.streams.subscribe(move |change| {
        if change.differs(|one| one.spec.sampling_view) {
            gateway.add(Target::Gateway);
        }
    });
    let gateway = queue.clone();
    state.samplings.subscribe(move |change| {
        if change.differs(|one| &one.spec) {
            gateway.add(Target::Gateway);
        }
    });
    let ask = both(queue);
    state.actions.subscribe(move |change| {
        if change.differs(|one| &one.spec) {
            ask();
        }
    });
    let (gateway, samplings) = (queue.clone(), state.samplings.clone());
    state.configs.subscribe(move |change| {
        let settings = |one: &Option<Arc<InstrumentationConfig>>| {
            one.as_ref().map(|one| one.spec.workload_collector_config.clone()).unwrap_or_default()
        };
        // Whether rules match anything is told of them. The class, which the scheduler writes afterwards, is nothing to them.
        let named =
            |one: &InstrumentationConfig| (one.metadata.labels.as_ref().map(labels::streams), one.status.clone());
        let is_named = || !samplings.is_empty() && change.differs(named);
        if settings(&change.before) != settings(&change.after) || is_named() {
            gateway.add(Target::Gateway);
        }
    });
    let ask = both(queue);
    state.config_maps.subscribe(move |_| ask());
    let ask = both(queue);
    state.pods.subscribe(move |change| {
        // Nodes send with a certificate when the last gateway that expects none is gone.
        if is_of_interest(change) {
            ask();
        }
    });
    let node = queue.clone();
    state.node_pods.subscribe(move |change| {
        // Whatever a node does is its own business, but for a collector that does not start.
        if is_of_interest(change) && change.after.as_deref().is_some_and(has_failed) {
            node.add(Target::Node);
        }
        // The last one without a certificate may have gone.
        if change.after.is_none() {
            node.add(Target::Gateway);
        }
    });
    let ask = both(queue);
    state.secrets.subscribe(move |_| ask());
    for (_, hub) in &state.workloads {
        let ask = both(queue);
        hub.subscribe(move |_| ask());
    }
    for (_, hub) in &state.legacy_actions {
        let queue = queue.clone();
        hub.subscribe(move |change| {
            if change.after.is_some() {
                queue.add(Target::LegacyActions);
            }
        });
    }
}

/// Whether something has changed that tells how a collector does.
fn is_of_interest(change: &hub::Change<Pod>) -> bool {
    change.differs(|pod| pod.status.as_ref().map(|status| (&status.conditions, &status.container_statuses)))
        || change.differs(|pod| pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref()))
        || change.differs(|pod| &pod.metadata.deletion_timestamp)
}

/// Whether a container of a pod ended with a failure.
fn has_failed(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let of_init = status.and_then(|status| status.init_container_statuses.as_ref());
    let all = of_init.into_iter().chain(status.and_then(|status| status.container_statuses.as_ref())).flatten();
    let ended =
        all.flat_map(|one| [&one.state, &one.last_state]).flatten().filter_map(|state| state.terminated.as_ref());
    ended.into_iter().any(|ended| ended.exit_code != 0)
}

/// Keeps of a pod what it mounts, on which ports it listens and how it is.
fn prune_pod(pod: &mut Pod) {
    let (volumes, containers) = pod.spec.take().map(|spec| (spec.volumes, spec.containers)).unwrap_or_default();
    let ports = |one: Container| Container { name: one.name, ports: one.ports, ..Container::default() };
    let containers = containers.into_iter().map(ports).collect();
    pod.spec = Some(PodSpec { volumes, containers, ..PodSpec::default() });
}

fn watch(tasks: &mut Tasks, client: &Client, state: &Arc<State>, metrics: &Metrics) {
    let config = || watcher::Config::default().any_semantic();
    let stop = tasks.stop();
    let namespace = state.namespace.as_str();
    let api: Api<DeserializeGuard<CollectorsGroup>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of CollectorsGroups",
        hub::run(state.groups.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Destination>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Destinations",
        hub::run(state.destinations.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Processor>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Processors",
        hub::run(state.processors.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<DataStream>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of DataStreams",
        hub::run(state.streams.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Sampling>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Samplings",
        hub::run(state.samplings.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Action>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Actions",
        hub::run(state.actions.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<InstrumentationConfig>> = Api::all(client.clone());
    let prune = |one: &mut InstrumentationConfig| {
        let settings = std::mem::take(&mut one.spec.workload_collector_config);
        let streams = one.metadata.labels.take().map(|mut labels| {
            labels.retain(|key, _| key.starts_with(labels::STREAM_PREFIX) || key == labels::STREAM_CLASS);
            labels
        });
        let languages = covered::languages(one)
            .into_iter()
            .map(|language| RuntimeDetails { language, ..RuntimeDetails::default() });
        let status =
            InstrumentationConfigStatus { runtime_details_by_container: languages.collect(), ..Default::default() };
        *one = InstrumentationConfig {
            metadata: ObjectMeta {
                name: one.metadata.name.take(),
                namespace: one.metadata.namespace.take(),
                labels: streams,
                ..ObjectMeta::default()
            },
            spec: InstrumentationConfigSpec {
                workload_collector_config: settings,
                // Whose spans they are, where that is not the workload's name.
                service_name: std::mem::take(&mut one.spec.service_name),
                ..Default::default()
            },
            status: Some(status),
        };
    };
    tasks.spawn(
        "watch of InstrumentationConfigs",
        hub::run(state.configs.clone(), api, config(), prune, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<ConfigMap>> = Api::namespaced(client.clone(), namespace);
    let prune = |map: &mut ConfigMap| {
        let wanted = [names::NODE_COLLECTOR, names::EFFECTIVE_CONFIGURATION, quarantine::STORE];
        let is_version = map.metadata.labels.as_ref().is_some_and(|all| all.contains_key(labels::CONFIG_OF));
        // Gateways of dedicated pools have names that begin like that of the main one.
        let kept = |name: &str| wanted.contains(&name) || (name.starts_with(names::GATEWAY) && !is_version);
        if !map.metadata.name.as_deref().is_some_and(kept) {
            map.data = None;
            map.binary_data = None;
        }
    };
    tasks.spawn(
        "watch of ConfigMaps",
        hub::run(state.config_maps.clone(), api, config(), prune, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Pod>> = Api::namespaced(client.clone(), namespace);
    let roles = [CollectorRole::ClusterGateway.as_str(), labels::POOL_ROLE].join(",");
    let gateways = config().labels(&format!("{} in ({roles})", labels::COLLECTOR_ROLE));
    tasks.spawn(
        "watch of gateway pods",
        hub::run(state.pods.clone(), api, gateways, prune_pod, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Pod>> = Api::namespaced(client.clone(), namespace);
    let nodes = config().labels(&format!("{}={}", labels::COLLECTOR_ROLE, CollectorRole::NodeCollector.as_str()));
    tasks.spawn(
        "watch of node collectors",
        hub::run(state.node_pods.clone(), api, nodes, prune_pod, metrics.clone(), stop.clone()),
    );
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Secrets",
        hub::run_metadata(state.secrets.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    for ((group, version, kind), (_, hub)) in OWNED.iter().zip(&state.workloads) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DeserializeGuard<DynamicObject>> = Api::namespaced_with(client.clone(), namespace, &resource);
        tasks.spawn(kind, hub::run(hub.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()));
    }
    for (kind, hub) in &state.legacy_actions {
        let kind = *kind;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(LEGACY_GROUP, "v1alpha1", kind));
        let api: Api<DeserializeGuard<DynamicObject>> = Api::namespaced_with(client.clone(), namespace, &resource);
        tasks.spawn(kind, hub::run(hub.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use clap::Parser as _;
    use odigos_plan::scaling::pods::{MetricsPort, metrics_port};
    use serde_json::json;

    #[test]
    fn image_for_both_collectors_gives_way_to_their_own() {
        let images = |arguments: &[&str]| {
            let all = [AUTOSCALER].iter().chain(arguments);
            collector_images(&Arguments::parse_from(all), &Installation::default())
        };
        let [gateway, node] = images(&[]);
        assert!(gateway.contains("/odigos-gateway:") && node.contains("/odigos-node-collector:"), "{gateway} {node}");
        assert_eq!(images(&["--collector-image=contrib:1"]), ["contrib:1", "contrib:1"]);
        let own = images(&["--collector-image=contrib:1", "--gateway-image=g:1"]);
        assert_eq!(own, ["g:1", "contrib:1"]);
    }

    /// Where a gateway serves its metrics is told by its pod as it is kept.
    #[test]
    fn kept_pod_tells_where_its_metrics_are_read() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "gw"},
            "spec": {
                "volumes": [{"name": "config"}],
                "containers": [{"name": "gateway", "image": "i", "ports": [odigos_plan::metrics_endpoint::container_port()]}],
            },
        }))
        .unwrap();
        prune_pod(&mut pod);
        assert_eq!(metrics_port(&pod, 8888), MetricsPort::Secured(8889));
        let kept = serde_json::to_value(&pod.spec).unwrap();
        assert_eq!(kept["volumes"], json!([{"name": "config"}]));
        assert!(kept["containers"][0]["image"].is_null(), "{kept}");
    }
}
