//! The two collectors: observe, plan, apply, report.

use crate::legacy_actions;
use crate::report::{self, Rollout, Trouble};
use crate::secrets::KnownSecrets;
use crate::state::{self, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use odigos_api::action::Action;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::condition::{Status, kind};
use odigos_api::destination::Destination;
use odigos_api::processor::Processor;
use odigos_api::{API_VERSION, CollectorRole, labels, names};
use odigos_kit::apply::{ApplyError, covered, reference};
use odigos_kit::queue::Outcome;
use odigos_plan::actions::shared;
use odigos_plan::config_files::{self, stored, stored::Kept};
use odigos_plan::configuration::Configuration;
use odigos_plan::gateway::Senders;
use odigos_plan::gateway::objects::Installation;
use odigos_plan::gateway::sampling::Rules;
use odigos_plan::mutual_tls::change_over::{self, PlaintextPort};
use odigos_plan::mutual_tls::relief;
use odigos_plan::objects::{Desired, has_other_content, owner};
use odigos_plan::quarantine::{self, Candidates, LastWords, StartFailure, hold, memory};
use odigos_plan::scaling::{Memory, hpa};
use odigos_plan::{gateway, mutual_tls, node, pools};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// What is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The cluster gateway, destinations and streams.
    Gateway,
    /// The collector on every node.
    Node,
    /// Actions of older releases, of which Actions are made.
    LegacyActions,
}

/// Why a collector could not be brought up to date.
#[derive(Debug)]
pub(crate) enum Error {
    Secrets(kube::Error),
    Configuration(kube::Error),
    Uncertified(String),
    Write(ApplyError),
    Broken(String),
    Foreign(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secrets(error) => write!(f, "failed to read the Secrets of Destinations: {error}"),
            Self::Configuration(error) => write!(f, "failed to read the configuration that serves: {error}"),
            Self::Uncertified(error) => write!(f, "collectors have no certificates: {error}"),
            Self::Write(error) => error.fmt(f),
            Self::Foreign(object) => {
                write!(f, "{object} exists with other content; delete it, and it is created anew")
            }
            Self::Broken(problem) => write!(f, "the rendered configuration is not applied: {problem}"),
        }
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        Self::Write(error)
    }
}

/// When to look again although nothing changed.
const RECHECK: Duration = Duration::from_secs(600);

/// When to look again whether node collectors may be replaced.
const HELD: Duration = Duration::from_secs(5);

pub(crate) async fn reconcile(state: Arc<State>, target: Target) -> Result<Outcome, Error> {
    let is_held = match target {
        Target::Gateway => gateways(&state).await.map(|()| false)?,
        Target::Node => node(&state).await?,
        Target::LegacyActions => legacy_actions::reconcile(&state).await.map(|()| false)?,
    };
    Ok(Outcome { recheck_after: Some(if is_held { HELD } else { RECHECK }) })
}

/// What all gateways are rendered from, read once for all of them.
struct Inputs {
    destinations: Vec<Destination>,
    processors: Vec<Arc<Processor>>,
    actions: Vec<Arc<Action>>,
    secrets: KnownSecrets,
    configuration: Configuration,
    rules: Rules,
    senders: Senders,
    plaintext_port: PlaintextPort,
    /// Why collectors have no certificates.
    uncertified: Option<String>,
    now: Timestamp,
}

fn daemon_set(state: &State) -> Option<Value> {
    state.live("DaemonSet", names::NODE_COLLECTOR)
}

/// The port for node collectors of a release without certificates.
fn plaintext_port(state: &State, daemon_set: Option<&Value>, now: Timestamp) -> PlaintextPort {
    let old = change_over::old_nodes(daemon_set, &state.node_pods(), now);
    let group = state.groups.get(&state.namespace, names::GATEWAY);
    let conditions = group.as_ref().and_then(|group| group.status.as_ref()).map(|status| &status.conditions);
    let before = conditions.into_iter().flatten().find(|one| one.type_ == kind::PLAINTEXT_RECEIVER_CLOSED);
    change_over::plaintext_port(&old, before, now)
}

/// Who sends to gateways.
fn senders(state: &State, daemon_set: Option<&Value>, port: &PlaintextPort) -> Senders {
    let nodes = daemon_set.and_then(|one| one.pointer("/status/desiredNumberScheduled")?.as_u64());
    let stated = state
        .config_maps
        .get(&state.namespace, names::GATEWAY)
        .and_then(|map| mutual_tls::stated_connection_seconds(map.data.as_ref()?.get(names::GATEWAY_CONFIG_KEY)?));
    let nodes = nodes.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    Senders {
        has_old_nodes: port.is_open,
        connection_seconds: mutual_tls::connection_seconds(nodes, stated),
        measures_spans: node::measures_spans(state.groups.get(&state.namespace, names::NODE_COLLECTOR).as_deref()),
    }
}

/// The main gateways and those of dedicated pools; one that fails does not stop the others.
async fn gateways(state: &State) -> Result<(), Error> {
    forget_going_gateways(state).await?;
    let destinations: Vec<Destination> =
        state.destinations.namespace(&state.namespace).iter().map(|one| one.as_ref().clone()).collect();
    let configuration = state.configuration();
    let now = Timestamp::now();
    let daemon_set = daemon_set(state);
    let plaintext_port = plaintext_port(state, daemon_set.as_ref(), now);
    let inputs = Inputs {
        processors: state.processors.namespace(&state.namespace),
        actions: state.actions.namespace(&state.namespace),
        secrets: state.secrets(&destinations).await.map_err(Error::Secrets)?,
        rules: state.rules(&configuration),
        senders: senders(state, daemon_set.as_ref(), &plaintext_port),
        plaintext_port,
        uncertified: state.certificates.ensure(state).await.err().map(|error| error.to_string()),
        now,
        destinations,
        configuration,
    };
    let mut first = gateway(state, names::GATEWAY, &inputs).await;
    for pool in state.pools() {
        let outcome = gateway(state, pool.metadata.name.as_deref().unwrap_or_default(), &inputs).await;
        if let Err(error) = &outcome {
            tracing::warn!(group = pool.metadata.name, %error, "a dedicated pool cannot be brought up to date");
        }
        first = first.and(outcome);
    }
    first
}

impl Inputs {
    /// What may be left out of the gateways of a group.
    fn candidates(&self, group: &CollectorsGroup) -> Candidates {
        let references = pools::destinations(&group.spec, self.destinations.iter().collect());
        let mut candidates = quarantine::destinations(&references, &self.secrets.keys);
        let those = self.processors.iter().map(AsRef::<Processor>::as_ref);
        candidates.extend(quarantine::processors(CollectorRole::ClusterGateway, those));
        let of_gateways = self.actions.iter().map(AsRef::<Action>::as_ref);
        let of_gateways = shared::run_by(CollectorRole::ClusterGateway, self.senders.measures_spans, of_gateways);
        candidates.extend(quarantine::actions(of_gateways));
        candidates
    }
}

async fn gateway(state: &State, name: &str, inputs: &Inputs) -> Result<(), Error> {
    let Some(group) = state.groups.get(&state.namespace, name) else {
        if name == names::GATEWAY {
            report::actions_without_gateway(state).await?;
        }
        return Ok(());
    };
    let pool = group.spec.pool.as_ref().map(|pool| pool.name.as_str());
    let Inputs { destinations, processors, actions, secrets, configuration, rules, senders, uncertified, now, .. } =
        inputs;
    let now = *now;
    let references = pools::destinations(&group.spec, destinations.iter().collect());
    let candidates = inputs.candidates(&group);
    let store = state.quarantine();
    let set_aside = quarantine::in_force(&store.of(name), &candidates, now);
    let stated = group.spec.deployment_name.as_deref().unwrap_or_default();
    let rivals = ["Deployment", "StatefulSet"].into_iter().filter_map(|kind| state.live(kind, stated));
    let is_name_taken = rivals.into_iter().any(|live| gateway::objects::is_foreign(&live));
    let seen = gateway::Observed {
        namespace: &state.namespace,
        group: &group,
        destinations: references,
        processors: processors.iter().map(AsRef::<Processor>::as_ref).collect(),
        actions: actions.iter().map(AsRef::<Action>::as_ref).collect(),
        secrets: &secrets.keys,
        marks: &secrets.marks,
        configuration,
        rules,
        set_aside: &set_aside,
        senders: *senders,
        is_own_collector: state.installation.is_own_collector(CollectorRole::ClusterGateway),
        is_name_taken,
    };
    let mut plan = gateway::plan(&seen);
    if pool.is_none() {
        for group in state.pools() {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            let out = quarantine::in_force(&store.of(name), &inputs.candidates(&group), now);
            let pool = group.spec.pool.as_ref().map(|pool| pool.name.as_str()).unwrap_or_default();
            plan.note_left_out(pool, &out);
        }
    }
    state.remember_destinations(name, &plan.components);
    let load = state.load(name);
    let deployment = gateway::objects::deployment_name(&seen);
    let kind = gateway::objects::workload_kind(&seen, &plan);
    let version = plan.files.version(name);
    let pods = state.gateway_pods(pool);
    let failure = failure(state, name, &pods, &version, now);
    // A broken configuration never leaves the process; the last good one keeps running.
    let broken = plan.problems.first().map(ToString::to_string).or_else(|| plan.files.problem().map(str::to_owned));
    let outcome = match broken {
        Some(problem) => Err(Error::Broken(problem)),
        None if uncertified.is_some() => Err(Error::Uncertified(uncertified.clone().unwrap_or_default())),
        None => {
            // Where the API server asks somebody else or nobody, the autoscaler object is as without that API.
            let rejection_metric = state.registration().is_some_and(|registration| registration.is_available());
            let installation = Installation { rejection_metric, ..state.installation.clone() };
            let mut desired = gateway::objects::desired(&seen, &plan, &installation);
            hpa::raise(&mut desired, load.hint, now);
            if is_held_up(state, &load, &group) {
                hpa::leave_memory_out(&mut desired);
            }
            let live = state.live(kind, &deployment);
            hold::apply(&mut desired, live.as_ref(), failure.as_ref().is_some_and(LastWords::holds_rollout));
            apply(state, &desired).await
        }
    };
    let rollout = Rollout { group: name, pool, kind, name: &deployment, version: &version };
    // The main gateways, which take all objects, tell what is wrong with one, also where it is so in a pool alone.
    if pool.is_none() {
        report::destinations(state, &plan).await?;
        report::processors(state, CollectorRole::ClusterGateway, &plan.processors).await?;
        report::actions(state, &plan.actions).await?;
        report::streams(state, &seen, &plan).await?;
        report::samplings(state, rules, &plan, &rollout).await?;
    }
    relieve_old_gateways(state, pool, &deployment).await?;
    let mut components = plan.components.clone();
    components.extend(plan.processor_components.clone());
    let attempt = Attempt {
        candidates: &candidates,
        masks: quarantine::masks(actions.iter().map(AsRef::<Action>::as_ref)),
        components: &components,
        of: name,
        version: &version,
        key: names::GATEWAY_CONFIG_KEY,
        now,
    };
    quarantine_failed(state, &pods, failure.as_ref(), &attempt).await?;
    let error = outcome.as_ref().err().map(ToString::to_string);
    let plaintext_port = inputs.plaintext_port.condition.clone().filter(|_| pool.is_none());
    let trouble = Trouble { failure, error, plaintext_port, waits_for_gateways: false };
    report::gateway_group(state, &seen, &plan, &rollout, &trouble, &load).await?;
    outcome?;
    let current = Kept { name: version.clone(), parts: plan.files.parts(name), ..Kept::default() };
    remove_old_versions(state, name, &current, kind, &deployment).await?;
    remove_replaced(state, &rollout).await?;
    Ok(())
}

/// Whether destinations hold gateways up; what another leader told counts until this one knows.
fn is_held_up(state: &State, load: &Memory, group: &CollectorsGroup) -> bool {
    let told = report::of_load(state, load, group);
    told.iter().any(|one| one.kind == kind::DESTINATION_BACKPRESSURE && one.status == Status::True)
}

/// Takes gateways that are going out of the headless Service: it lists pods for as long as they exist, and node collectors
/// would send to them until the last moment.
async fn forget_going_gateways(state: &State) -> Result<(), ApplyError> {
    for pod in state.pods.namespace(&state.namespace) {
        let labelled = pod.metadata.labels.as_ref().is_some_and(|all| all.contains_key(labels::TAKES_ITEMS));
        if pod.metadata.deletion_timestamp.is_none() || !labelled {
            continue;
        }
        let object = reference("v1", "Pod", &state.namespace, pod.metadata.name.as_deref().unwrap_or_default());
        let gone = json!({"metadata": {"labels": {labels::TAKES_ITEMS: null}}});
        match state.applier.merge(&object, &gone).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Lets gateways of the release before deliver what waits in them before they go.
async fn relieve_old_gateways(state: &State, pool: Option<&str>, deployment: &str) -> Result<(), ApplyError> {
    let live = state.live("Deployment", deployment);
    let Some(wanted) = live.and_then(|live| live.pointer("/spec/replicas")?.as_u64()) else { return Ok(()) };
    let pods = state.gateway_pods(pool);
    for name in relief::relieved(&pods, usize::try_from(wanted).unwrap_or(usize::MAX)) {
        match state.applier.merge(&reference("v1", "Pod", &state.namespace, name), &relief::mark()).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => tracing::info!(pod = name, "gateway of the release before takes no more items"),
        }
    }
    Ok(())
}

/// A configuration that collectors were given.
struct Attempt<'a> {
    candidates: &'a Candidates,
    /// Those of them that are not left out for memory.
    masks: BTreeSet<String>,
    components: &'a BTreeMap<String, (String, Value)>,
    /// Name of the group.
    of: &'a str,
    /// Name of its ConfigMap.
    version: &'a str,
    /// Key of the configuration in its ConfigMap.
    key: &'static str,
    now: Timestamp,
}

/// Why collectors of a group fail with a version: what they say, or that they run out of memory.
fn failure(state: &State, group: &str, pods: &[Value], version: &str, now: Timestamp) -> Option<LastWords> {
    let role = match group {
        names::NODE_COLLECTOR => CollectorRole::NodeCollector,
        _ => CollectorRole::ClusterGateway,
    };
    let mut all = state.seen_ends.lock().unwrap_or_else(PoisonError::into_inner);
    let ends = all.entry(group.to_owned()).or_default();
    ends.observe(pods, now);
    quarantine::said(pods, version).or_else(|| memory::failure(ends, pods, version, role))
}

/// The configuration version that collectors are compared with which run out of memory: the one that serves beside them, else the one before
/// where theirs is new.
fn before(state: &State, pods: &[Value], attempt: &Attempt<'_>) -> Option<String> {
    memory::serving_other(pods, attempt.version).or_else(|| {
        let all = kept(state, attempt.of);
        let own = &all.iter().find(|one| one.name == attempt.version)?.created;
        let is_new = attempt.now.duration_since(own.parse::<Timestamp>().ok()?) < memory::NEW;
        // Kubernetes writes whole seconds of UTC, so texts are in the order of times.
        let earlier = all.iter().filter(|one| is_new && !one.is_part && !one.created.is_empty() && one.created < *own);
        Some(earlier.max_by_key(|one| &one.created)?.name.clone())
    })
}

/// Versions of a configuration, and their parts.
fn kept(state: &State, of: &str) -> Vec<Kept> {
    let maps = state.config_maps.namespace(&state.namespace);
    let is_of = |map: &&Arc<ConfigMap>| {
        map.metadata.labels.as_ref().and_then(|all| all.get(labels::CONFIG_OF)).is_some_and(|one| one == of)
    };
    maps.iter().filter(is_of).filter_map(|map| Kept::of(&serde_json::to_value(&map.metadata).ok()?)).collect()
}

/// Remembers what the newest of these collectors do not start with, or that they do start without what was quarantined. The watch of that
/// ConfigMap brings the next reconcile, which renders anew; the old pods serve on meanwhile.
async fn quarantine_failed(
    state: &State,
    pods: &[Value],
    failure: Option<&LastWords>,
    attempt: &Attempt<'_>,
) -> Result<(), Error> {
    let all = state.quarantine();
    let store = all.of(attempt.of);
    let entries = match failure {
        // Load may have ended them as well.
        Some(LastWords { shortage: Some(shortage), .. }) if !shortage.is_of_configuration => BTreeMap::new(),
        Some(words) => {
            let is_out_of_memory = words.shortage.is_some();
            let compared = match is_out_of_memory {
                true => before(state, pods, attempt),
                false => quarantine::serving(pods),
            };
            let serving = match compared {
                Some(version) => serving_configuration(state, &version, attempt.key).await?,
                None => None,
            };
            let failure = StartFailure {
                candidates: attempt.candidates,
                store: &store,
                text: &words.text,
                subject: words.subject.as_deref(),
                components: attempt.components,
                serving: serving.as_ref(),
                is_out_of_memory,
                masks: &attempt.masks,
                now: attempt.now,
            };
            failure.attribute()
        }
        None if quarantine::has_started(pods, attempt.version) => {
            let has_settled = memory::has_settled(pods, attempt.version, attempt.now);
            quarantine::confirmed(&store, attempt.candidates, has_settled)
        }
        None => BTreeMap::new(),
    };
    if entries.is_empty() {
        return Ok(());
    }
    let group = attempt.of;
    for (name, entry) in &entries {
        match (entry.is_acquitted, entry.is_confirmed) {
            (true, _) => tracing::info!(group, name, "component released: collector failed without it, too"),
            (_, true) => tracing::warn!(group, name, said = entry.said, "component quarantine confirmed"),
            _ => tracing::warn!(group, name, said = entry.said, "component quarantined: collector failed with it"),
        }
    }
    let changed = all.change(group, &entries, attempt.now);
    let mut object = reference("v1", "ConfigMap", &state.namespace, quarantine::STORE);
    if state.config_maps.get(&state.namespace, quarantine::STORE).is_some() {
        // Only what this group says: another one may write at the same time.
        match state.applier.merge(&object, &json!({"data": changed})).await {
            Err(error) if error.is_not_found() => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
    let gateway = state.groups.get(&state.namespace, names::GATEWAY);
    object["metadata"]["ownerReferences"] =
        owner(names::GATEWAY, gateway.and_then(|group| group.metadata.uid.clone()).as_deref());
    let data: BTreeMap<_, _> = changed.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
    object["data"] = json!(data);
    state.applier.apply(&object).await?;
    Ok(())
}

/// A version of a configuration, all its files; the watch keeps no more of them than their names.
async fn serving_configuration(state: &State, version: &str, key: &str) -> Result<Option<Value>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(state.client.clone(), &state.namespace);
    let Some(first) = api.get_opt(version).await.map_err(Error::Configuration)? else { return Ok(None) };
    let parts = stored::parts_of(first.metadata.annotations.as_ref());
    let mut files = vec![first];
    for part in parts {
        // Without one of them it is not known what serves.
        let Some(map) = api.get_opt(&part).await.map_err(Error::Configuration)? else { return Ok(None) };
        files.push(map);
    }
    let read = |map: ConfigMap| serde_yaml::from_str(map.data?.get(key)?).ok();
    let files: Option<Vec<Value>> = files.into_iter().map(read).collect();
    Ok(files.map(config_files::merged))
}

/// The collector on every node; true while those of the release before are left as they are.
async fn node(state: &State) -> Result<bool, Error> {
    let gateway = state.groups.get(&state.namespace, names::GATEWAY);
    let group = state.groups.get(&state.namespace, names::NODE_COLLECTOR);
    let pools = state.pools();
    let processors = state.processors.namespace(&state.namespace);
    let configuration = state.configuration();
    let now = Timestamp::now();
    let those = processors.iter().map(AsRef::<Processor>::as_ref);
    let mut candidates = quarantine::processors(CollectorRole::NodeCollector, those);
    let actions = state.actions.namespace(&state.namespace);
    let measures_spans = node::measures_spans(group.as_deref());
    let of_nodes = actions.iter().map(AsRef::<Action>::as_ref);
    let of_nodes = shared::run_by(CollectorRole::NodeCollector, measures_spans, of_nodes);
    candidates.extend(quarantine::actions(of_nodes));
    let set_aside = quarantine::in_force(&state.quarantine().of(names::NODE_COLLECTOR), &candidates, now);
    let authorities = state.certificates.ensure(state).await;
    let daemon_set = daemon_set(state);
    let covered = state.rules(&configuration).covered;
    let seen = node::Observed {
        namespace: &state.namespace,
        gateway: gateway.as_deref(),
        pools: pools.iter().map(AsRef::as_ref).collect(),
        group: group.as_deref(),
        processors: processors.iter().map(AsRef::<Processor>::as_ref).collect(),
        actions: actions.iter().map(AsRef::<Action>::as_ref).collect(),
        set_aside: &set_aside,
        covered: covered.as_ref(),
        configuration: &configuration,
        provider: state.provider(),
        has_certificate: change_over::is_used_by_nodes(daemon_set.as_ref(), &state.all_gateway_pods(), now),
        authorities: authorities.as_deref().ok(),
        is_own_collector: state.installation.is_own_collector(CollectorRole::NodeCollector),
    };
    let Some(plan) = node::plan(&seen) else { return Ok(false) };
    let waits_for_gateways = state.holds_old_nodes(daemon_set.as_ref(), now);
    let version = plan.files.version(names::NODE_COLLECTOR);
    let pods = state.node_pods();
    let failure = failure(state, names::NODE_COLLECTOR, &pods, &version, now);
    let broken = plan.problems.first().map(ToString::to_string).or_else(|| plan.files.problem().map(str::to_owned));
    let outcome = match broken {
        Some(problem) => Err(Error::Broken(problem)),
        None if authorities.is_err() => {
            Err(Error::Uncertified(authorities.as_ref().err().map(ToString::to_string).unwrap_or_default()))
        }
        None if waits_for_gateways => Ok(()),
        None => {
            let mut desired = node::objects::desired(&seen, &plan, &state.installation);
            let is_held = failure.as_ref().is_some_and(LastWords::holds_rollout);
            hold::apply(&mut desired, daemon_set.as_ref(), is_held);
            apply(state, &desired).await
        }
    };
    report::processors(state, CollectorRole::NodeCollector, &plan.processors).await?;
    report::actions(state, &plan.actions).await?;
    let attempt = Attempt {
        candidates: &candidates,
        masks: quarantine::masks(actions.iter().map(AsRef::<Action>::as_ref)),
        components: &plan.components,
        of: names::NODE_COLLECTOR,
        version: &version,
        key: names::NODE_CONFIG_KEY,
        now,
    };
    quarantine_failed(state, &pods, failure.as_ref(), &attempt).await?;
    if let Some(group) = &group {
        let error = outcome.as_ref().err().map(ToString::to_string);
        let trouble = Trouble { failure, error, plaintext_port: None, waits_for_gateways };
        report::node_group(state, group, &plan, &version, &set_aside, &trouble).await?;
    }
    outcome?;
    if group.is_some() && !waits_for_gateways {
        let parts = plan.files.parts(names::NODE_COLLECTOR);
        let current = Kept { name: version, parts, ..Kept::default() };
        remove_old_versions(state, names::NODE_COLLECTOR, &current, "DaemonSet", names::NODE_COLLECTOR).await?;
    }
    Ok(waits_for_gateways)
}

/// Applies objects in their order. One that fails does not stop the others of its rank, but what comes after: a Deployment is never
/// applied without the ConfigMap that it mounts. The first failure is returned.
async fn apply(state: &State, desired: &[Desired]) -> Result<(), Error> {
    let mut first: Result<(), ApplyError> = Ok(());
    let mut failed = None;
    for one in desired {
        if failed.is_some_and(|rank| rank < one.rank) {
            break;
        }
        let text = |pointer: &str| one.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/metadata/name");
        let is_removed = text("/kind") == "ConfigMap" && state.removed().contains(name);
        // The watch may still show what was deleted a moment ago.
        let live = state.live(text("/kind"), name).filter(|_| !is_removed);
        let immutable = one.object.get("immutable").is_some();
        if live.as_ref().is_some_and(|live| has_other_content(&one.object, live)) {
            return Err(Error::Foreign(one.title()));
        }
        if live.as_ref().is_some_and(|live| immutable || covered(&one.object, live)) {
            continue;
        }
        let applied = state.applier.apply(&one.object).await;
        if is_removed && applied.is_ok() {
            state.removed().remove(name);
        }
        if let Err(error) = applied {
            tracing::warn!(object = one.title(), %error, "an object cannot be applied");
            failed = failed.or(Some(one.rank));
            if first.is_ok() {
                first = Err(error);
            }
        }
    }
    first.map_err(Error::from)
}

/// Deletes versions of a configuration that neither the pods mount nor belong to the newest three, and parts that only they have.
async fn remove_old_versions(
    state: &State,
    name: &str,
    current: &Kept,
    kind: &str,
    workload: &str,
) -> Result<(), ApplyError> {
    let complete = state.live(kind, workload).is_some_and(|live| report::is_rolled_out(kind, &live, &current.name));
    if !complete {
        return Ok(());
    }
    for old in stored::superseded(&kept(state, name), current) {
        let object = reference("v1", "ConfigMap", &state.namespace, &old);
        let uid = state.config_maps.get(&state.namespace, &old).and_then(|map| map.metadata.uid.clone());
        state.applier.delete(&object, uid.as_deref()).await?;
        let mut removed = state.removed();
        removed.retain(|name| state.config_maps.get(&state.namespace, name).is_some());
        removed.insert(old);
    }
    Ok(())
}

/// Deletes gateways of another name or kind once the one that is wanted serves (A38).
async fn remove_replaced(state: &State, rollout: &Rollout<'_>) -> Result<(), ApplyError> {
    let Rollout { kind, name: wanted, pool, .. } = *rollout;
    let available =
        |object: &Value| object.pointer("/status/availableReplicas").and_then(Value::as_i64).unwrap_or_default() > 0;
    if !state.live(kind, wanted).is_some_and(|live| available(&live)) {
        return Ok(());
    }
    for (other_kind, hub) in state.workloads.iter().filter(|(kind, _)| matches!(*kind, "Deployment" | "StatefulSet")) {
        for other in hub.namespace(&state.namespace) {
            let is_rival = state::is_of_gateway(&other.metadata, pool);
            let owned = other.metadata.owner_references.iter().flatten().any(|owner| owner.api_version == API_VERSION);
            let name = other.metadata.name.clone().unwrap_or_default();
            let replaced = name != wanted || *other_kind != kind;
            if is_rival && owned && replaced {
                let object = reference("apps/v1", other_kind, &state.namespace, &name);
                state.applier.delete(&object, other.metadata.uid.as_deref()).await?;
            }
        }
    }
    Ok(())
}
