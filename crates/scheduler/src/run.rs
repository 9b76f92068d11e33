//! Wiring: arguments, watches, queues. No decisions.

use crate::state::State;
use crate::{classes, data_streams, groups};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Client;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::{CRON_JOB, STREAM_CLASS};
use odigos_api::names::{self, SCHEDULER};
use odigos_api::sampling::Sampling;
use odigos_kit::admin::{self, Readiness};
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::{self, Hub, ObjectKey};
use odigos_kit::leader_election::{self, Leadership, Lease};
use odigos_kit::metrics::Metrics;
use odigos_kit::queue::{Queue, Settings};
use odigos_kit::settings::CommonArguments;
use odigos_kit::tasks::Tasks;
use odigos_kit::{client, telemetry};
use odigos_plan::streams;
use odigos_plan::workload::{OWNER_LABELS, pod_workload};
use std::sync::Arc;
use std::time::Duration;

/// Resolves the configuration, sizes the collectors, and assigns workloads to stream classes.
#[derive(clap::Parser, Debug)]
#[command(name = SCHEDULER, version, about)]
pub struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    /// Seconds for which the gateways keep the route of a stream set that no pod carries any more. Items that are under
    /// way longer than that fall back to the stream default.
    #[arg(long, env = "ODIGOS_CLASS_DRAIN_SECONDS", default_value_t = streams::DRAIN_PERIOD.as_secs(), value_parser = clap::value_parser!(i64).range(1..=3600))]
    class_drain_seconds: i64,
}

/// Pause between two writes of one DataStream: who is in it changes with each of many workloads.
const STREAM_PAUSE: Duration = Duration::from_millis(500);
/// Pods that are labelled at the same time.
const POD_PATCHES: usize = 8;

/// Runs until the process is asked to end.
///
/// # Errors
/// When it cannot start, or when a part of it ends unexpectedly.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    let level = telemetry::start(&common.log);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = common.namespace, "{SCHEDULER} starts");
    let client = client::connect(SCHEDULER).await?;
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
    let cluster: Queue<()> = Queue::new(Duration::from_millis(200));
    let configs: Queue<ObjectKey> = Queue::new(Duration::from_millis(50));
    let strays: Queue<ObjectKey> = Queue::new(Duration::from_millis(50));
    let streams: Queue<String> = Queue::new(STREAM_PAUSE);
    let state = Arc::new(State {
        namespace: common.namespace.clone(),
        applier: Applier::new(client.clone(), SCHEDULER, metrics.clone()),
        events: Events::new(client.clone(), SCHEDULER),
        config_maps: Hub::new("ConfigMap"),
        destinations: Hub::new("Destination"),
        streams: Hub::new("DataStream"),
        groups: Hub::new("CollectorsGroup"),
        samplings: Hub::new("Sampling"),
        configs: Hub::new("InstrumentationConfig"),
        pods: Hub::new("Pod"),
        drain: SignedDuration::from_secs(arguments.class_drain_seconds),
        pods_of: std::sync::Mutex::default(),
        reported: std::sync::Mutex::default(),
        refused: std::sync::Mutex::default(),
        wanted_streams: std::sync::Mutex::default(),
        beyond_quota: std::sync::Mutex::default(),
        streams_queue: streams.clone(),
        configs_queue: configs.clone(),
        patches: tokio::sync::Semaphore::new(POD_PATCHES),
    });
    subscribe(&state, &cluster, &configs);
    subscribe_strays(&state, &strays);
    watch(&mut tasks, &client, &state, &metrics);
    let leadership = leadership(&mut tasks, &client, common, &metrics);
    let (queue_metrics, queue_stop) = (metrics.clone(), stop.clone());
    tasks.spawn("controllers", async move {
        let filled = async {
            // Optional: without Samplings nothing is sampled, and their kind may be missing.
            tokio::join!(
                state.destinations.synced(),
                state.streams.synced(),
                state.groups.synced(),
                state.configs.synced(),
                state.pods.synced(),
                state.config_maps.synced(),
            );
        };
        tokio::select! {
            () = filled => {}
            () = queue_stop.cancelled() => return,
        }
        ready.set();
        tracing::info!(configs = state.configs.len(), pods = state.pods.len(), "stores are filled");
        cluster.add(());
        let for_cluster = state.clone();
        let whole = cluster.run(
            Settings { controller: "cluster", concurrency: 1 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |()| groups::reconcile(for_cluster.clone()),
        );
        let for_streams = state.clone();
        let each = streams.run(
            Settings { controller: "data_streams", concurrency: 4 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |name| data_streams::reconcile(for_streams.clone(), name),
        );
        let for_strays = state.clone();
        let stray = strays.run(
            Settings { controller: "stray_pods", concurrency: 4 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |key| classes::strip(for_strays.clone(), key),
        );
        let single = configs.run(
            Settings { controller: "classes", concurrency: 16 },
            leadership,
            queue_metrics,
            queue_stop,
            move |key| classes::reconcile(state.clone(), key),
        );
        tokio::join!(whole, each, stray, single);
    });
    tasks.wait().await?;
    tracing::info!("{SCHEDULER} ended");
    Ok(())
}

fn leadership(tasks: &mut Tasks, client: &Client, common: &CommonArguments, metrics: &Metrics) -> Leadership {
    if common.no_leader_election {
        return Leadership::always();
    }
    let lease = Lease { namespace: common.namespace.clone(), name: SCHEDULER, seconds: common.lease_seconds };
    let (sender, leadership) = leader_election::channel();
    let stop = tasks.stop();
    tasks.spawn("leader election", leader_election::run(client.clone(), lease, metrics.clone(), sender, stop));
    leadership
}

/// Which keys a change concerns.
fn subscribe(state: &Arc<State>, cluster: &Queue<()>, configs: &Queue<ObjectKey>) {
    let queue = cluster.clone();
    state.config_maps.subscribe(move |_| queue.add(()));
    let queue = cluster.clone();
    state.samplings.subscribe(move |change| {
        if change.differs(|one| &one.spec) {
            queue.add(());
        }
    });
    // Whose object exists is part of the decision; anything else about it concerns that object alone.
    let (queue, each) = (cluster.clone(), state.streams_queue.clone());
    state.streams.subscribe(move |change| {
        each.add(change.key.1.clone());
        if change.before.is_some() != change.after.is_some() {
            queue.add(());
        }
    });
    // A selector by namespace changes the class of every workload there.
    let (queue, all, weak) = (cluster.clone(), configs.clone(), Arc::downgrade(state));
    state.destinations.subscribe(move |change| {
        queue.add(());
        let selector = |one: &Option<Arc<Destination>>| {
            one.as_ref().and_then(|one| one.spec.source_selector.clone().map(|s| (s.namespaces, one.spec.disabled)))
        };
        if selector(&change.before) != selector(&change.after)
            && let Some(state) = weak.upgrade()
        {
            state.configs.all().into_iter().for_each(|(key, _)| all.add(key));
        }
    });
    // Classes that are served now may be assigned now.
    let (queue, all, weak) = (cluster.clone(), configs.clone(), Arc::downgrade(state));
    state.groups.subscribe(move |change| {
        let facts = |one: &Option<Arc<CollectorsGroup>>| {
            let status = one.as_ref().and_then(|one| one.status.clone()).unwrap_or_default();
            (status.ready, status.served_stream_classes, status.routed_pools)
        };
        let workloads = |one: &Option<Arc<CollectorsGroup>>| {
            let pool = one.as_ref().and_then(|one| one.spec.pool.clone());
            pool.map(|pool| (pool.workloads, pool.retired_at))
        };
        if facts(&change.before) != facts(&change.after) || change.differs(|one| &one.spec) {
            queue.add(());
        }
        let is_served_otherwise = facts(&change.before).1 != facts(&change.after).1;
        if (is_served_otherwise || workloads(&change.before) != workloads(&change.after))
            && let Some(state) = weak.upgrade()
        {
            state.configs.all().into_iter().for_each(|(key, _)| all.add(key));
        }
    });
    let (queue, single) = (cluster.clone(), configs.clone());
    state.configs.subscribe(move |change| {
        if change.differs(|one| &one.metadata.labels) {
            queue.add(());
            single.add(change.key.clone());
        }
    });
    let (queue, single, weak) = (cluster.clone(), configs.clone(), Arc::downgrade(state));
    state.pods.subscribe(move |change| {
        let Some(state) = weak.upgrade() else { return };
        let workload =
            |pod: &Option<Arc<PartialObjectMeta<Pod>>>| pod.as_ref().and_then(|pod| pod_workload(&pod.metadata));
        let class = |pod: &Option<Arc<PartialObjectMeta<Pod>>>| {
            pod.as_ref().and_then(|pod| pod.metadata.labels.as_ref()?.get(STREAM_CLASS).cloned())
        };
        let (before, after) = (workload(&change.before), workload(&change.after));
        state.index(&change.key, before.as_ref(), after.as_ref());
        if class(&change.before) == class(&change.after) && before == after {
            return;
        }
        if let Some(workload) = after {
            single.add((workload.namespace.clone(), workload.config_name()));
        }
        // A class may have lost its last pod.
        if class(&change.before).is_some() {
            queue.add(());
        }
    });
}

/// Pods that belong to no workload and carry a class all the same.
fn subscribe_strays(state: &Arc<State>, strays: &Queue<ObjectKey>) {
    let strays = strays.clone();
    state.pods.subscribe(move |change| {
        let Some(pod) = &change.after else { return };
        let is_labelled = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(STREAM_CLASS));
        if is_labelled && pod_workload(&pod.metadata).is_none() {
            strays.add(change.key.clone());
        }
    });
}

fn watch(tasks: &mut Tasks, client: &Client, state: &Arc<State>, metrics: &Metrics) {
    let config = || watcher::Config::default().any_semantic();
    let stop = tasks.stop();
    let namespace = state.namespace.as_str();
    let maps = state.config_maps.clone();
    let api: Api<DeserializeGuard<ConfigMap>> = Api::namespaced(client.clone(), namespace);
    // One watch over the namespace, of which all but four small ConfigMaps are dropped at once.
    let prune = |map: &mut ConfigMap| {
        let wanted = [
            names::CONFIGURATION,
            names::REMOTE_CONFIGURATION,
            names::UI_CONFIGURATION,
            names::EFFECTIVE_CONFIGURATION,
        ];
        if !map.metadata.name.as_deref().is_some_and(|name| wanted.contains(&name)) {
            map.data = None;
            map.binary_data = None;
        }
    };
    tasks.spawn("watch of ConfigMaps", hub::run(maps, api, config(), prune, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<Destination>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Destinations",
        hub::run(state.destinations.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<DataStream>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of DataStreams",
        hub::run(state.streams.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<CollectorsGroup>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of CollectorsGroups",
        hub::run(state.groups.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Sampling>> = Api::namespaced(client.clone(), namespace);
    tasks.spawn(
        "watch of Samplings",
        hub::run(state.samplings.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<PartialObjectMeta<InstrumentationConfig>> = Api::all(client.clone());
    let drop_owners = |one: &mut PartialObjectMeta<InstrumentationConfig>| one.metadata.owner_references = None;
    tasks.spawn(
        "watch of InstrumentationConfigs",
        hub::run_metadata(state.configs.clone(), api, config(), drop_owners, metrics.clone(), stop.clone()),
    );
    let api: Api<PartialObjectMeta<Pod>> = Api::all(client.clone());
    let prune = |pod: &mut PartialObjectMeta<Pod>| {
        if let Some(labels) = &mut pod.metadata.labels {
            labels.retain(|key, _| key == STREAM_CLASS || OWNER_LABELS.contains(&key.as_str()));
        }
        if let Some(annotations) = &mut pod.metadata.annotations {
            annotations.retain(|key, _| key == "kubernetes.io/config.source" || key == CRON_JOB);
        }
    };
    tasks.spawn("watch of Pods", hub::run_metadata(state.pods.clone(), api, config(), prune, metrics.clone(), stop));
}
