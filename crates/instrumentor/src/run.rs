//! Wiring: arguments, watches, queues, hooks. No decisions.

use crate::pods::{self, PodFacts, PodIndex};
use crate::pull_secrets::PullSecrets;
use crate::state::{self, BUILT_IN, ClientHandle, OPTIONAL, State};
use crate::{detection, hooks, rollouts, rules, sources, workloads};
use anyhow::Context;
use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{ConfigMap, Event, LimitRange, Namespace, Node};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::names::{AGENT, CONFIGURATION_KEY, EFFECTIVE_CONFIGURATION, INSTRUMENTOR, NODE_COLLECTOR};
use odigos_api::source::Source;
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_kit::admin::{self, Readiness};
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::https::{Server, TrustedBy};
use odigos_kit::hub::{self, Hub, ObjectKey};
use odigos_kit::leader_election::{self, Leadership, Lease};
use odigos_kit::metrics::Metrics;
use odigos_kit::queue::{Queue, Settings};
use odigos_kit::settings::CommonArguments;
use odigos_kit::tasks::Tasks;
use odigos_kit::{client, telemetry, webhook};
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::scope::Scope;
use odigos_plan::detection::Mode;
use odigos_plan::injection;
use odigos_plan::instrumentation::{Options, creation};
use odigos_plan::workload::TemplateReference;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Decides which workloads are observed, and answers admission reviews.
#[derive(clap::Parser, Debug)]
#[command(name = INSTRUMENTOR, version, about)]
pub struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    /// Address of the admission webhooks.
    #[arg(long, env = "ODIGOS_WEBHOOK_ADDRESS", default_value = "0.0.0.0:9443")]
    webhook_address: SocketAddr,
    /// Further names for the webhooks' certificate, beside those of the Service.
    #[arg(long, env = "ODIGOS_WEBHOOK_NAMES", value_delimiter = ',')]
    webhook_names: Vec<String>,
}

/// Secret with the CA of the webhooks.
const WEBHOOK_SECRET: &str = "odigos-webhook-authority";
/// Name of both webhook configurations.
const WEBHOOKS: &str = "odigos-instrumentor";

/// Runs until the process is asked to end.
///
/// # Errors
/// When it cannot start, or when a part of it ends unexpectedly.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let common = &arguments.common;
    let level = telemetry::start(&common.log);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = common.namespace, "{INSTRUMENTOR} starts");
    let client = client::connect(INSTRUMENTOR).await?;
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
        started: jiff::Timestamp::now(),
        namespace: common.namespace.clone(),
        client: ClientHandle(client.clone()),
        evictor: ClientHandle(client::connect_without_retries(INSTRUMENTOR).await?),
        applier: Applier::new(client.clone(), INSTRUMENTOR, metrics.clone()),
        options: ArcSwap::from_pointee(Options { scope: Scope::unknown(&common.namespace), ..Options::default() }),
        injection: ArcSwap::from_pointee(injection::Options::of(&Configuration::default(), &common.namespace)),
        detection: ArcSwap::default(),
        configuration: ArcSwap::default(),
        looks: Mutex::default(),
        reporter: Applier::new(client.clone(), AGENT, metrics.clone()),
        config_maps: Hub::new("ConfigMap"),
        pull_secrets: PullSecrets::default(),
        sources: Hub::new("Source"),
        configs: Hub::new("InstrumentationConfig"),
        workloads: BUILT_IN.into_iter().chain(OPTIONAL).map(|kind| (kind, Hub::new(kind.as_str()))).collect(),
        pods: Hub::new("Pod"),
        index: PodIndex::default(),
        rollouts: Mutex::default(),
        remembered: Mutex::default(),
        events: Events::new(client.clone(), INSTRUMENTOR),
        creation_failures: Hub::new("Event"),
        groups: Hub::new("CollectorsGroup"),
        rules: Hub::new("InstrumentationRule"),
        limit_ranges: Hub::new("LimitRange"),
        namespaces: Hub::new("Namespace"),
        nodes: Hub::new("Node"),
    });
    let workload_queue: Queue<WorkloadRef> = Queue::new(Duration::from_millis(50));
    let source_queue: Queue<ObjectKey> = Queue::new(Duration::from_millis(100));
    // One key: what is known of rules comes from one look at all workloads.
    let rule_queue: Queue<()> = Queue::new(Duration::from_millis(500));
    subscribe(&state, &workload_queue, &source_queue);
    subscribe_to_what_concerns_all(&state, &workload_queue, &source_queue);
    subscribe_for_rules(&state, &rule_queue);
    // One key here too: detection pods are shared by workloads.
    let detection_queue: Queue<()> = Queue::new(Duration::from_millis(200));
    subscribe_for_detection(&state, &detection_queue);
    watch(&mut tasks, &client, &state, &common.namespace, &metrics);

    let server = Server {
        purpose: "webhook",
        address: arguments.webhook_address,
        names: webhook_names(&common.namespace, &arguments.webhook_names),
        namespace: common.namespace.clone(),
        secret: WEBHOOK_SECRET,
        trusted_by: ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
            .map(|kind| TrustedBy::Webhooks { kind, name: WEBHOOKS })
            .into(),
    };
    webhook::start(&mut tasks, client.clone(), server, hooks::all(&state, &common.namespace))
        .await
        .with_context(|| format!("the webhook address {} cannot be used", arguments.webhook_address))?;

    let leadership = leadership(&mut tasks, &client, common, &metrics);
    let (queue_metrics, queue_stop) = (metrics.clone(), stop.clone());
    tasks.spawn("controllers", async move {
        let filled = async {
            state.config_maps.synced().await;
            state.sources.synced().await;
            state.configs.synced().await;
            state.pods.synced().await;
            state.groups.synced().await;
            state.rules.synced().await;
            state.namespaces.synced().await;
            state.limit_ranges.synced().await;
            state.nodes.synced().await;
            state.creation_failures.synced().await;
            for (kind, hub) in &state.workloads {
                if BUILT_IN.contains(kind) {
                    hub.synced().await;
                }
            }
        };
        tokio::select! {
            () = filled => {}
            () = queue_stop.cancelled() => return,
        }
        ready.set();
        tracing::info!(sources = state.sources.len(), configs = state.configs.len(), "stores are filled");
        if !state.options.load().scope.is_known() {
            tracing::warn!(
                name = EFFECTIVE_CONFIGURATION,
                "no valid effective configuration, nothing is changed until there is one"
            );
        }
        let (for_workloads, for_sources) = (state.clone(), state.clone());
        let workloads = workload_queue.run(
            Settings { controller: "workloads", concurrency: 16 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |key| workloads::reconcile(for_workloads.clone(), key),
        );
        let sources = source_queue.run(
            Settings { controller: "sources", concurrency: 8 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |key| sources::reconcile(for_sources.clone(), key),
        );
        let for_detection = state.clone();
        let detection = detection_queue.run(
            Settings { controller: "detection", concurrency: 1 },
            leadership.clone(),
            queue_metrics.clone(),
            queue_stop.clone(),
            move |()| detection::reconcile(for_detection.clone()),
        );
        let rules = rule_queue.run(
            Settings { controller: "rules", concurrency: 1 },
            leadership,
            queue_metrics,
            queue_stop,
            move |()| rules::reconcile(state.clone()),
        );
        tokio::join!(workloads, sources, rules, detection);
    });
    tasks.wait().await?;
    tracing::info!("{INSTRUMENTOR} ended");
    Ok(())
}

fn webhook_names(namespace: &str, more: &[String]) -> Vec<String> {
    let service = format!("{INSTRUMENTOR}.{namespace}.svc");
    let mut names = vec![service.clone(), format!("{service}.cluster.local")];
    names.extend_from_slice(more);
    names
}

fn leadership(tasks: &mut Tasks, client: &Client, common: &CommonArguments, metrics: &Metrics) -> Leadership {
    if common.no_leader_election {
        return Leadership::always();
    }
    let lease = Lease { namespace: common.namespace.clone(), name: INSTRUMENTOR, seconds: common.lease_seconds };
    let (sender, leadership) = leader_election::channel();
    let stop = tasks.stop();
    tasks.spawn("leader election", leader_election::run(client.clone(), lease, metrics.clone(), sender, stop));
    leadership
}

/// Which keys a change concerns.
fn subscribe(state: &Arc<State>, workloads: &Queue<WorkloadRef>, sources: &Queue<ObjectKey>) {
    let (queue, source_queue, weak) = (workloads.clone(), sources.clone(), Arc::downgrade(state));
    state.sources.subscribe(move |change| {
        let Some(state) = weak.upgrade() else { return };
        let planned = |source: &Source| {
            (
                source.spec.clone(),
                source.metadata.labels.clone(),
                source.metadata.annotations.clone(),
                source.metadata.deletion_timestamp.clone(),
            )
        };
        // A status that was just written changes nothing for the workloads.
        let same =
            matches!((&change.before, &change.after), (Some(before), Some(after)) if planned(before) == planned(after));
        source_queue.add(change.key.clone());
        if same {
            return;
        }
        for source in change.before.iter().chain(&change.after) {
            for workload in state.selected(source) {
                queue.add(workload);
            }
        }
        // Whether another Source is a rival may have changed.
        let exact = change.before.iter().chain(&change.after).any(|source| source.spec.workload.kind != "Namespace");
        if exact {
            for other in rivals_of(&state, change) {
                source_queue.add(other);
            }
        }
    });
    let (queue, weak) = (workloads.clone(), Arc::downgrade(state));
    state.configs.subscribe(move |change| {
        if let Some(workload) = WorkloadRef::from_config_name(&change.key.0, &change.key.1) {
            queue.add(workload);
        }
        if let Some(state) = weak.upgrade() {
            rollouts::next_in_turn(&state, change).into_iter().for_each(|workload| queue.add(workload));
        }
    });
    for (kind, hub) in &state.workloads {
        let (queue, source_queue, kind, weak) = (workloads.clone(), sources.clone(), *kind, Arc::downgrade(state));
        hub.subscribe(move |change| {
            let reference = WorkloadRef::new(change.key.0.clone(), kind, change.key.1.clone());
            queue.add(reference.clone());
            let Some(state) = weak.upgrade() else { return };
            // A Rollout may run the template of a Deployment: each is decided by the other too.
            if kind == WorkloadKind::Deployment {
                state.rollouts_of(&reference).into_iter().for_each(|one| queue.add(one.reference));
            }
            let template = |object: &Arc<DynamicObject>| TemplateReference::of(kind, &object.data);
            for lent in change.before.iter().chain(&change.after).filter_map(template) {
                if lent.kind == WorkloadKind::Deployment.as_str() {
                    queue.add(WorkloadRef::new(change.key.0.clone(), WorkloadKind::Deployment, lent.name));
                }
            }
            // Sources count the workloads that they select, and say which of their overrides are for none of the containers.
            let is_other = change.before.is_none() != change.after.is_none();
            if is_other || change.differs(|object| state::shape(kind, object)) {
                for source in state.sources.namespace(&change.key.0) {
                    if odigos_plan::coverage::Matcher::new(&source).selects(&reference) {
                        source_queue.add((change.key.0.clone(), source.metadata.name.clone().unwrap_or_default()));
                    }
                }
            }
        });
    }
    let queue = workloads.clone();
    state.creation_failures.subscribe(move |change| {
        let event = change.after.as_ref().or(change.before.as_ref());
        if let Some(workload) = event.and_then(|event| creation::subject_of(event)) {
            queue.add(workload);
        }
    });
    let (queue, weak) = (workloads.clone(), Arc::downgrade(state));
    state.pods.subscribe(move |change| {
        if change.before.iter().chain(&change.after).any(|pod| pod.is_static()) {
            queue.add(WorkloadRef::new(change.key.0.clone(), WorkloadKind::StaticPod, change.key.1.clone()));
        }
        let Some(state) = weak.upgrade() else { return };
        let changed = state.index.update(change.before.as_deref(), change.after.as_deref());
        let has_agent = change.after.as_ref().is_some_and(|pod| pod.hash().is_some());
        let covered = |one: &WorkloadRef| has_agent || state.configs.get(&one.namespace, &one.config_name()).is_some();
        if let Some(workload) = changed.filter(covered) {
            queue.add(workload);
        }
    });
}

/// Configuration, rules and the collectors on the nodes: a change of what is read of them concerns every workload.
fn subscribe_to_what_concerns_all(state: &Arc<State>, workloads: &Queue<WorkloadRef>, sources: &Queue<ObjectKey>) {
    let all = {
        let (queue, weak) = (workloads.clone(), Arc::downgrade(state));
        Arc::new(move || {
            let Some(state) = weak.upgrade() else { return };
            let configs = state.configs.all();
            let workloads = configs.iter().filter_map(|(key, _)| WorkloadRef::from_config_name(&key.0, &key.1));
            workloads.for_each(|workload| queue.add(workload));
        })
    };
    let (weak, add) = (Arc::downgrade(state), all.clone());
    let (queue, sources) = (workloads.clone(), sources.clone());
    state.config_maps.subscribe(move |change| {
        let Some(state) = weak.upgrade() else { return };
        // Without the object what is active stays: the scheduler writes it again, and until then no workload loses its agents.
        let Some(map) = &change.after else { return };
        let text = map.data.as_ref().and_then(|data| data.get(CONFIGURATION_KEY).cloned());
        // The same holds for broken text.
        let Ok(configuration) = Configuration::parse(&text.unwrap_or_default()) else { return };
        let injection = injection::Options::of(&configuration, &state.namespace);
        let is_pull_secret_changed = state.injection.load().pull_secret != injection.pull_secret;
        state.injection.store(Arc::new(injection));
        state.detection.store(Arc::new(odigos_plan::detection::Options::of(&configuration)));
        let options = Options::of(&configuration, &state.namespace);
        for (path, message) in odigos_plan::instrumentation::options::problems(&configuration) {
            tracing::warn!(path, message, "a setting of rollouts");
        }
        state.configuration.store(Arc::new(configuration));
        let before = state.options.load_full();
        if *before == options && !is_pull_secret_changed {
            return;
        }
        let is_scope_changed = before.scope != options.scope;
        state.options.store(Arc::new(options));
        add();
        if is_scope_changed {
            state.workload_references().into_iter().for_each(|workload| queue.add(workload));
            state.sources.all().into_iter().for_each(|(key, _)| sources.add(key));
        }
    });
    let add = all.clone();
    state.groups.subscribe(move |change| {
        let facts = |group: &CollectorsGroup| {
            group.status.as_ref().map(|status| (status.ready, status.receiver_signals.clone()))
        };
        if change.key.1 == NODE_COLLECTOR && change.differs(facts) {
            add();
        }
    });
    state.rules.subscribe(move |change| {
        if change.differs(|rule| rule.spec.clone()) {
            all();
        }
    });
}

/// What the conditions of rules are made of: rules, decisions, pods, and what pod templates set themselves.
fn subscribe_for_rules(state: &Arc<State>, rules: &Queue<()>) {
    let queue = rules.clone();
    state.rules.subscribe(move |change| {
        // A status that was just written is no news, unless somebody else wrote it.
        if change.differs(|rule| rule.spec.clone()) || change.differs(|rule| rule.metadata.resource_version.clone()) {
            queue.add(());
        }
    });
    let (queue, weak) = (rules.clone(), Arc::downgrade(state));
    let when_there_are_rules = move || {
        if weak.upgrade().is_some_and(|state| !state.rules.is_empty()) {
            queue.add(());
        }
    };
    let wake = when_there_are_rules.clone();
    state.configs.subscribe(move |change| {
        if change.differs(|config| (config.spec.clone(), config.metadata.labels.clone())) {
            wake();
        }
    });
    let wake = when_there_are_rules.clone();
    state.pods.subscribe(move |change| {
        if change.differs(|pod| pod.hash().map(str::to_owned)) {
            wake();
        }
    });
    for (kind, hub) in &state.workloads {
        let (kind, wake) = (*kind, when_there_are_rules.clone());
        hub.subscribe(move |change| {
            if change.differs(|object| odigos_plan::workload::stated_variables(kind, &object.data)) {
                wake();
            }
        });
    }
    state.config_maps.subscribe(move |_| when_there_are_rules());
}

/// Pods that could be looked at, those that look, what is known already; nothing where nodes have agents.
fn subscribe_for_detection(state: &Arc<State>, detection: &Queue<()>) {
    let wake = {
        let (queue, weak) = (detection.clone(), Arc::downgrade(state));
        Arc::new(move || {
            if weak.upgrade().is_some_and(|state| state.detection.load().mode == Mode::Pod) {
                queue.add(());
            }
        })
    };
    let again = wake.clone();
    state.pods.subscribe(move |change| {
        if change.differs(PodFacts::of_detection) {
            again();
        }
    });
    let again = wake.clone();
    state.configs.subscribe(move |change| {
        let conditions = |config: &InstrumentationConfig| {
            let status = config.status.as_ref()?;
            Some((status.runtime_details_by_container.clone(), status.conditions.clone()))
        };
        if change.differs(|config| (config.spec.containers_overrides.clone(), conditions(config))) {
            again();
        }
    });
    state.config_maps.subscribe(move |_| wake());
}

/// Other Sources of the namespace that select the same workload as the changed one did or does.
fn rivals_of(state: &State, change: &hub::Change<Source>) -> Vec<ObjectKey> {
    let ours: Vec<_> = change
        .before
        .iter()
        .chain(&change.after)
        .filter_map(|source| odigos_plan::admission::source::exact_workload(source))
        .collect();
    let is_pattern = |source: &Source| source.spec.match_workload_name_as_regex == Some(true);
    let any_pattern = change.before.iter().chain(&change.after).any(|source| is_pattern(source));
    let others = state
        .sources
        .namespace(&change.key.0)
        .into_iter()
        .filter(|other| other.metadata.name.as_deref() != Some(&change.key.1));
    others
        .filter(|other| {
            (any_pattern
                || is_pattern(other)
                || odigos_plan::admission::source::exact_workload(other).is_some_and(|one| ours.contains(&one)))
                && other.spec.workload.kind != "Namespace"
        })
        .map(|other| (change.key.0.clone(), other.metadata.name.clone().unwrap_or_default()))
        .collect()
}

fn watch(tasks: &mut Tasks, client: &Client, state: &Arc<State>, namespace: &str, metrics: &Metrics) {
    let config = || watcher::Config::default().any_semantic();
    let stop = tasks.stop();
    let api: Api<DeserializeGuard<ConfigMap>> = Api::namespaced(client.clone(), namespace);
    let only = config().fields(&format!("metadata.name={EFFECTIVE_CONFIGURATION}"));
    tasks.spawn(
        "watch of the configuration",
        hub::run(state.config_maps.clone(), api, only, |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<Source>> = Api::all(client.clone());
    tasks.spawn(
        "watch of Sources",
        hub::run(state.sources.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    let api: Api<DeserializeGuard<InstrumentationConfig>> = Api::all(client.clone());
    tasks.spawn(
        "watch of InstrumentationConfigs",
        hub::run(state.configs.clone(), api, config(), |_| {}, metrics.clone(), stop.clone()),
    );
    for (kind, hub) in &state.workloads {
        let api: Api<DeserializeGuard<DynamicObject>> = Api::all_with(client.clone(), &state::resource(*kind));
        tasks.spawn(kind.as_str(), hub::run(hub.clone(), api, config(), state::prune, metrics.clone(), stop.clone()));
    }
    let api: Api<DeserializeGuard<PodFacts>> = Api::all(client.clone());
    let hub = state.pods.clone();
    let own = namespace.to_owned();
    let prune = move |pod: &mut PodFacts| pods::prune(pod, &own);
    tasks.spawn("watch of Pods", hub::run(hub, api, config(), prune, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<Event>> = Api::all(client.clone());
    let only = config().fields(&format!("reason={}", creation::FAILED_CREATE));
    let hub = state.creation_failures.clone();
    tasks.spawn("watch of Events", hub::run(hub, api, only, state::prune_event, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<CollectorsGroup>> = Api::namespaced(client.clone(), namespace);
    let hub = state.groups.clone();
    tasks.spawn("watch of CollectorsGroups", hub::run(hub, api, config(), |_| {}, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<InstrumentationRule>> = Api::namespaced(client.clone(), namespace);
    let hub = state.rules.clone();
    tasks.spawn("watch of InstrumentationRules", hub::run(hub, api, config(), |_| {}, metrics.clone(), stop.clone()));
    let api: Api<DeserializeGuard<LimitRange>> = Api::all(client.clone());
    let prune = |range: &mut LimitRange| range.metadata.managed_fields = None;
    let hub = state.limit_ranges.clone();
    tasks.spawn("watch of LimitRanges", hub::run(hub, api, config(), prune, metrics.clone(), stop.clone()));
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let hub = state.namespaces.clone();
    tasks.spawn("watch of Namespaces", hub::run_metadata(hub, api, config(), |_| {}, metrics.clone(), stop.clone()));
    let api: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let prepared = config().labels(&format!("{}=true", odigos_api::labels::PREPARED_NODE));
    let prune = |node: &mut PartialObjectMeta<Node>| {
        node.metadata.labels = None;
        node.metadata.annotations = None;
    };
    tasks.spawn("watch of Nodes", hub::run_metadata(state.nodes.clone(), api, prepared, prune, metrics.clone(), stop));
}
