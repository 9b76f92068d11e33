//! What planning found, written into the status of the objects concerned.

use crate::state::State;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use odigos_api::collectors_group::{CollectorsGroup, RoutedPool};
use odigos_api::condition::{ConditionDraft, Status, kind, merged};
use odigos_api::{API_VERSION, CollectorRole, Finding, Severity, names};
use odigos_kit::apply::{Applier, ApplyError, reference, same_conditions};
use odigos_kit::events::about;
use odigos_plan::config_files::stored::mounted_version;
use odigos_plan::gateway::sampling::Rules;
use odigos_plan::gateway::{self, GatewayPlan};
use odigos_plan::mutual_tls::change_over;
use odigos_plan::node::NodePlan;
use odigos_plan::quarantine::{self, LastWords};
use odigos_plan::scaling::{Memory, hpa};
use odigos_plan::{sampling, streams};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Writes conditions if they say something new; true when they did.
async fn conditions(
    state: &State,
    object_kind: &str,
    name: &str,
    generation: Option<i64>,
    before: &[Condition],
    drafts: &[ConditionDraft],
) -> Result<bool, ApplyError> {
    conditions_by(&state.applier, state, (object_kind, name), generation, before, drafts).await
}

/// The same under the field manager of `applier`: what one manager applies is all that it has, so conditions of one object that are
/// written apart need one each.
async fn conditions_by(
    applier: &Applier,
    state: &State,
    (object_kind, name): (&str, &str),
    generation: Option<i64>,
    before: &[Condition],
    drafts: &[ConditionDraft],
) -> Result<bool, ApplyError> {
    let own: Vec<Condition> =
        before.iter().filter(|one| drafts.iter().any(|draft| draft.kind == one.type_)).cloned().collect();
    let after = merged(before, drafts, generation, Timestamp::now());
    if same_conditions(&own, &after) {
        return Ok(false);
    }
    let mut object = reference(API_VERSION, object_kind, &state.namespace, name);
    object["status"] = json!({"conditions": after});
    match applier.apply_status(&object).await {
        Err(error) if error.is_not_found() => Ok(false),
        other => other.map(|()| true),
    }
}

pub(crate) async fn destinations(state: &State, plan: &GatewayPlan) -> Result<(), ApplyError> {
    let own_image = state.installation.is_own_collector(CollectorRole::ClusterGateway);
    let drafts: BTreeMap<&String, ConditionDraft> = plan
        .destinations
        .keys()
        .filter_map(|name| Some((name, plan.destination_condition(name, own_image)?)))
        .collect();
    let unwell = drafts.values().filter(|draft| draft.status == Status::False).count();
    state.metrics.count_unwell("Destination", "DestinationConfigured", unwell);
    for (name, draft) in &drafts {
        let Some(live) = state.destinations.get(&state.namespace, name) else { continue };
        let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let draft = std::slice::from_ref(draft);
        let changed = conditions(state, "Destination", name, live.metadata.generation, &before, draft).await?;
        if let (true, Some(draft)) = (changed, draft.first()) {
            let object = about(API_VERSION, "Destination", &state.namespace, name, live.metadata.uid.as_deref());
            match draft.status {
                Status::True => state.events.note(&object, &draft.reason, &draft.message).await,
                _ => state.events.warn(&object, &draft.reason, &draft.message).await,
            }
        }
    }
    Ok(())
}

/// The condition of the Processors that `role` runs, as far as it is for that collector to tell it.
pub(crate) async fn processors(
    state: &State,
    role: CollectorRole,
    drafts: &BTreeMap<String, ConditionDraft>,
) -> Result<(), ApplyError> {
    let (store, now) = (state.quarantine(), Timestamp::now());
    for (name, draft) in drafts {
        let Some(live) = state.processors.get(&state.namespace, name) else { continue };
        let mut others = live.spec.collector_roles.iter().filter(|other| **other != role);
        let is_out = |other: &CollectorRole| {
            let candidates = quarantine::processors(*other, [live.as_ref()]);
            let group = match other {
                CollectorRole::ClusterGateway => names::GATEWAY,
                CollectorRole::NodeCollector => names::NODE_COLLECTOR,
            };
            !quarantine::in_force(&store.of(group), &candidates, now).is_empty()
        };
        if !odigos_plan::processors::is_told(&live, draft, others.any(is_out)) {
            continue;
        }
        let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        conditions(state, "Processor", name, live.metadata.generation, &before, std::slice::from_ref(draft)).await?;
    }
    Ok(())
}

/// The conditions of every Sampling object.
pub(crate) async fn samplings(
    state: &State,
    rules: &Rules,
    plan: &GatewayPlan,
    rollout: &Rollout<'_>,
) -> Result<(), ApplyError> {
    let rolled_out = is_gateway_rolled_out(state, rollout);
    let outcome = sampling::report::Outcome {
        mode: plan.sampling,
        conditions: plan.sampling_conditions,
        wait: &plan.sampling_wait,
        rolled_out,
    };
    let drafts = sampling::report::conditions(&rules.accepted, &outcome);
    for (name, drafts) in drafts {
        let Some(live) = state.samplings.get(&state.namespace, &name) else { continue };
        let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let changed = conditions(state, "Sampling", &name, live.metadata.generation, &before, &drafts).await?;
        let refused = drafts.iter().find(|draft| draft.reason == "InvalidRule");
        if let (true, Some(draft)) = (changed, refused) {
            let object = about(API_VERSION, "Sampling", &state.namespace, &name, live.metadata.uid.as_deref());
            state.events.warn(&object, &draft.reason, &draft.message).await;
        }
    }
    Ok(())
}

/// The conditions of Actions.
pub(crate) async fn actions(state: &State, all: &BTreeMap<String, Vec<ConditionDraft>>) -> Result<(), ApplyError> {
    for (name, drafts) in all {
        let Some(live) = state.actions.get(&state.namespace, name) else { continue };
        let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let changed = conditions(state, "Action", name, live.metadata.generation, &before, drafts).await?;
        let refused = drafts.iter().find(|draft| draft.reason == "InvalidAction");
        if let (true, Some(draft)) = (changed, refused) {
            let object = about(API_VERSION, "Action", &state.namespace, name, live.metadata.uid.as_deref());
            state.events.warn(&object, &draft.reason, &draft.message).await;
        }
    }
    Ok(())
}

/// The conditions of Actions while there is no gateway.
pub(crate) async fn actions_without_gateway(state: &State) -> Result<(), ApplyError> {
    let live = state.actions.namespace(&state.namespace);
    let known =
        odigos_plan::actions::report::known(live.iter().map(AsRef::as_ref), &BTreeMap::new(), None, None, false);
    let drafts = known.iter().map(|one| (one.name().to_owned(), one.conditions(None)));
    actions(state, &drafts.collect()).await
}

/// The condition `Rendered` of every DataStream that exists.
pub(crate) async fn streams(state: &State, seen: &gateway::Observed<'_>, plan: &GatewayPlan) -> Result<(), ApplyError> {
    for stream in
        gateway::known_streams(seen, plan).into_iter().filter(|one| !one.starts_with(streams::NAMESPACE_STREAM))
    {
        let name = streams::object_name(&stream);
        let Some(live) = state.streams.get(&state.namespace, &name) else { continue };
        let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let draft = gateway::stream_condition(plan, &stream);
        conditions(state, "DataStream", &name, None, &before, &[draft]).await?;
    }
    Ok(())
}

/// The condition `TraceCut` of a DataStream, if that exists. `Rendered` is written apart from it, at other times.
pub(crate) async fn trace_cut(state: &State, stream: &str, draft: &ConditionDraft) -> Result<(), ApplyError> {
    let name = streams::object_name(stream);
    let Some(live) = state.streams.get(&state.namespace, &name) else { return Ok(()) };
    let before = live.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let draft_only = std::slice::from_ref(draft);
    if conditions_by(&state.trace_cuts, state, ("DataStream", &name), None, &before, draft_only).await? {
        let object = about(API_VERSION, "DataStream", &state.namespace, &name, live.metadata.uid.as_deref());
        match draft.status {
            Status::True => state.events.warn(&object, &draft.reason, &draft.message).await,
            _ => state.events.note(&object, &draft.reason, &draft.message).await,
        }
    }
    Ok(())
}

/// Whether every gateway runs the configuration of a rollout, and none of another is left.
pub(crate) fn is_gateway_rolled_out(state: &State, rollout: &Rollout<'_>) -> bool {
    let Rollout { pool, kind, name, version, .. } = *rollout;
    let complete = state.live(kind, name).is_some_and(|live| is_rolled_out(kind, &live, version));
    complete && !quarantine::others_left(&state.gateway_pods(pool), version)
}

/// Whether every pod of a workload runs the configuration `version`.
pub(crate) fn is_rolled_out(kind: &str, live: &Value, version: &str) -> bool {
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let volumes = live.pointer("/spec/template/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let mounts = volumes.filter_map(mounted_version).any(|name| name == version);
    if !mounts || number("/status/observedGeneration") < number("/metadata/generation") {
        return false;
    }
    if kind == "DaemonSet" {
        let wanted = number("/status/desiredNumberScheduled");
        return number("/status/updatedNumberScheduled") == wanted && number("/status/numberAvailable") == wanted;
    }
    let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let all = ["/status/replicas", "/status/updatedReplicas", "/status/availableReplicas"].map(number);
    // Old pods that still serve count in `replicas`, so equality means that none is left.
    wanted > 0 && all.iter().all(|count| *count == wanted)
}

/// Whether every object of a group is applied; `reasons` for yes and no. Those of gateways are words of the reference.
fn deployed(reasons: [&'static str; 2], error: Option<&str>) -> ConditionDraft {
    match error {
        None => ConditionDraft::yes(kind::DEPLOYED, reasons[0], "Every object is applied."),
        Some(error) => ConditionDraft::no(kind::DEPLOYED, reasons[1], error),
    }
}

const GATEWAY_DEPLOYED: [&str; 2] = ["GatewayDeployedCreatedSuccessfully", "GatewayDeployedCreationFailed"];
const NODE_DEPLOYED: [&str; 2] = ["NodeCollectorDeployedSuccessfully", "NodeCollectorDeploymentFailed"];

fn valid(problems: &[odigos_plan::gateway::Problem], refused: Option<(&str, String)>) -> ConditionDraft {
    if let Some((reason, message)) = refused {
        return ConditionDraft::no(kind::CONFIG_VALID, reason, message);
    }
    match problems.first() {
        None => ConditionDraft::yes(kind::CONFIG_VALID, "Validated", "The rendered configuration passed every check."),
        Some(problem) => ConditionDraft::no(
            kind::CONFIG_VALID,
            "InvalidConfig",
            format!("{problem}; the last good configuration keeps running"),
        ),
    }
}

/// What is wrong with the configuration of a collector in whose pods it fails, or that cannot be stored.
fn refused(
    collector: &str,
    too_large: Option<&str>,
    failure: Option<&LastWords>,
    set_aside: &BTreeMap<String, String>,
) -> Option<(&'static str, String)> {
    if let Some(problem) = too_large {
        return Some(("ConfigTooLarge", format!("{problem}; the last configuration keeps running")));
    }
    match failure {
        Some(LastWords { text, shortage: Some(_), .. }) => {
            Some(("CollectorOutOfMemory", format!("a {collector} of the newest configuration: {text}")))
        }
        Some(LastWords { text, .. }) => {
            Some(("CollectorStartFailed", format!("the newest {collector}s do not start, older ones serve: {text}")))
        }
        None if set_aside.is_empty() => None,
        None => {
            let all = set_aside.iter().map(|(name, said)| format!("{}: {said}", quarantine::words(name)));
            let all = all.collect::<Vec<_>>().join("; ");
            let has_destination = set_aside.keys().any(|name| !quarantine::is_processor(name));
            let reason = if has_destination { "DestinationQuarantined" } else { "ProcessorQuarantined" };
            Some((reason, format!("the {collector} runs without what it fails with. {all}")))
        }
    }
}

/// What a rollout that is held waits for.
fn held(trouble: &Trouble) -> Option<String> {
    let is_held = trouble.failure.as_ref().is_some_and(LastWords::holds_rollout);
    is_held.then(|| {
        "no further pod is replaced while new pods run out of memory and those of the configuration before do not; \
         raise limitMemoryMiB, or change what came with this configuration"
            .to_owned()
    })
}

fn progressing(rolled_out: bool, version: &str, waiting_for: Option<String>) -> ConditionDraft {
    if rolled_out {
        ConditionDraft::no(kind::PROGRESSING, "Complete", format!("Every pod runs {version}."))
    } else {
        let why = waiting_for.map(|why| format!(" It waits: {why}")).unwrap_or_default();
        ConditionDraft::yes(kind::PROGRESSING, "RollingOut", format!("{version} is being rolled out.{why}"))
    }
}

/// The newest configuration of a gateway, and what it runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rollout<'a> {
    /// Name of the gateway's CollectorsGroup.
    pub(crate) group: &'a str,
    /// The dedicated pool that it is, or the main one.
    pub(crate) pool: Option<&'a str>,
    /// Kind of the gateway's workload.
    pub(crate) kind: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

/// What stands in the way of it.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// What its pods do not start with.
    pub(crate) failure: Option<LastWords>,
    /// Why objects cannot be written.
    pub(crate) error: Option<String>,
    /// Node collectors without a certificate that are left.
    pub(crate) plaintext_port: Option<ConditionDraft>,
    /// Node collectors of the release before go on until every gateway is of this one.
    pub(crate) waits_for_gateways: bool,
}

pub(crate) async fn gateway_group(
    state: &State,
    seen: &gateway::Observed<'_>,
    plan: &GatewayPlan,
    rollout: &Rollout<'_>,
    trouble: &Trouble,
    load: &Memory,
) -> Result<(), ApplyError> {
    let group = seen.group;
    let Rollout { group: group_name, pool, kind: workload, name, version } = *rollout;
    let live = state.live(workload, name);
    let available = live
        .as_ref()
        .and_then(|live| live.pointer("/status/availableReplicas"))
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let rolled_out = is_gateway_rolled_out(state, rollout);
    let before = group.status.clone().unwrap_or_default();
    // Until every pod runs the new rows, only what the old ones know as well is served.
    let rendered: BTreeSet<&String> = plan.classes.iter().collect();
    let served: Vec<String> = if rolled_out {
        plan.classes.clone()
    } else {
        before.served_stream_classes.iter().filter(|id| rendered.contains(id)).cloned().collect()
    };
    let refused = refused("gateway", plan.files.problem(), trouble.failure.as_ref(), seen.set_aside);
    let waiting_for = held(trouble).or_else(|| quarantine::waiting_for(&state.gateway_pods(pool), version));
    let mut drafts = vec![
        valid(&plan.problems, refused),
        with_choices(deployed(GATEWAY_DEPLOYED, trouble.error.as_deref()), &plan.findings),
        progressing(rolled_out, version, waiting_for),
    ];
    drafts.extend(trouble.plaintext_port.clone());
    drafts.extend(of_load(state, load, group));
    let registration = state.registration();
    // Every replica answers for the metric from here.
    let too_few = registration.as_ref().and_then(|_| load.are_too_few().or(before.gateways_too_few));
    drafts.extend(registration.map(|registration| registration.condition()));
    let invalid = drafts.iter().filter(|draft| draft.kind == kind::CONFIG_VALID && draft.status == Status::False);
    state.metrics.count_unwell("CollectorsGroup", "ConfigValid", invalid.count());
    let facts = json!({
        // While one workload takes over from another, the other's pods serve.
        "ready": available >= 1 || state.serving_version(pool).is_some(),
        "receiverSignals": plan.receiver_signals,
        "servedStreamClasses": served,
        "configHash": if rolled_out { Some(version) } else { before.config_hash.as_deref() },
        "load": load.load.as_ref().or(before.load.as_ref()),
        "gatewaysTooFew": too_few,
    });
    group_status(state, group, group_name, facts, &drafts).await
}

/// The conditions that the load of the gateways decides. One of which nothing is known (yet) stays as it stands.
pub(crate) fn of_load(state: &State, load: &Memory, group: &CollectorsGroup) -> Vec<ConditionDraft> {
    let before = group.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut known = load.conditions();
    let autoscaler = state.autoscaler(group.metadata.name.as_deref().unwrap_or_default());
    known.extend(hpa::metrics_condition(autoscaler.as_ref(), Timestamp::now()));
    let kinds = [kind::ITEMS_REFUSED, kind::DESTINATION_BACKPRESSURE, kind::HPA_METRICS_UNAVAILABLE];
    let standing = |kind: &'static str| {
        let found = before.iter().find(|one| one.type_ == kind)?;
        let status = [Status::True, Status::False].into_iter().find(|status| status.as_str() == found.status);
        let (reason, message) = (found.reason.clone(), found.message.clone());
        Some(ConditionDraft { kind, status: status.unwrap_or(Status::Unknown), reason, message })
    };
    let one = |kind| known.iter().find(|draft| draft.kind == kind).cloned().or_else(|| standing(kind));
    kinds.into_iter().filter_map(one).collect()
}

pub(crate) async fn node_group(
    state: &State,
    group: &CollectorsGroup,
    plan: &NodePlan,
    version: &str,
    set_aside: &BTreeMap<String, String>,
    trouble: &Trouble,
) -> Result<(), ApplyError> {
    let live = state.live("DaemonSet", names::NODE_COLLECTOR);
    let ready =
        live.as_ref().and_then(|live| live.pointer("/status/numberReady")).and_then(Value::as_i64).unwrap_or_default();
    let rolled_out = live.is_some_and(|live| is_rolled_out("DaemonSet", &live, version));
    let deployed = match (trouble.waits_for_gateways, trouble.error.as_deref()) {
        (true, None) => ConditionDraft::unknown(kind::DEPLOYED, "GatewaysFirst", change_over::WAITS),
        (_, error) => with_choices(deployed(NODE_DEPLOYED, error), &plan.findings),
    };
    let refused = refused("node collector", plan.files.problem(), trouble.failure.as_ref(), set_aside);
    let waits = trouble.waits_for_gateways.then(|| change_over::WAITS.to_owned());
    let drafts =
        [valid(&plan.problems, refused), deployed, progressing(rolled_out, version, waits.or_else(|| held(trouble)))];
    let facts = json!({
        "ready": ready >= 1,
        "receiverSignals": plan.receiver_signals,
        "configHash": rolled_out.then_some(version),
        "routedPools": routed_pools(group, plan, rolled_out),
        "unownedStreamClasses": unowned_classes(group, plan, rolled_out),
    });
    group_status(state, group, names::NODE_COLLECTOR, facts, &drafts).await
}

/// What a collector does not do by choice is no fault, and said where people look for it.
fn with_choices(mut deployed: ConditionDraft, findings: &[Finding]) -> ConditionDraft {
    for one in findings.iter().filter(|one| one.object.starts_with("CollectorsGroup ")) {
        let said = match one.severity {
            Severity::Info => format!("By the configuration {}.", one.message),
            // A field of the group that cannot be as it is.
            _ if !one.field.is_empty() => format!("But {}: {}.", one.field, one.message),
            _ => continue,
        };
        deployed.message = format!("{} {said}", deployed.message);
    }
    deployed
}

/// The pools that any node may send to: until every node runs the new routes, those of the old ones as well.
fn routed_pools(group: &CollectorsGroup, plan: &NodePlan, rolled_out: bool) -> Vec<RoutedPool> {
    let before = group.status.iter().flat_map(|status| &status.routed_pools).filter(|_| !rolled_out);
    let mut all: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for pool in before.chain(&plan.pools) {
        all.entry(&pool.name).or_default().extend(&pool.stream_classes);
    }
    let classes = |ids: BTreeSet<&String>| ids.into_iter().cloned().collect();
    all.into_iter().map(|(name, ids)| RoutedPool { name: name.to_owned(), stream_classes: classes(ids) }).collect()
}

/// The classes that any node may give to what belongs to no workload: until every node runs the new configuration, those of the
/// old one as well.
fn unowned_classes(group: &CollectorsGroup, plan: &NodePlan, rolled_out: bool) -> BTreeSet<String> {
    let before = group.status.iter().flat_map(|status| &status.unowned_stream_classes).filter(|_| !rolled_out);
    before.chain(&plan.unowned_class).cloned().collect()
}

async fn group_status(
    state: &State,
    group: &CollectorsGroup,
    name: &str,
    mut facts: Value,
    drafts: &[ConditionDraft],
) -> Result<(), ApplyError> {
    let before = group.status.clone().unwrap_or_default();
    let after = merged(&before.conditions, drafts, group.metadata.generation, Timestamp::now());
    let known = serde_json::to_value(&before).unwrap_or_default();
    if let Some(map) = facts.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let same = facts.as_object().into_iter().flatten().all(|(key, value)| {
        known.get(key).is_some_and(|one| one == value) || (known.get(key).is_none() && empty(value))
    });
    // The API server keeps the order in which types came first.
    let by_type = |all: &[Condition]| {
        let mut all = all.to_vec();
        all.sort_by(|a, b| a.type_.cmp(&b.type_));
        all
    };
    if same && same_conditions(&by_type(&before.conditions), &by_type(&after)) {
        return Ok(());
    }
    facts["conditions"] = json!(after);
    let mut object = reference(API_VERSION, "CollectorsGroup", &state.namespace, name);
    object["status"] = facts;
    match state.applier.apply_status(&object).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolled_out_means_that_no_old_pod_is_left() {
        let deployment = |replicas: i64, updated: i64, available: i64| {
            json!({
                "metadata": {"generation": 3},
                "spec": {"replicas": 2, "template": {"spec": {"volumes": [{"configMap": {"name": "odigos-gateway-1"}}]}}},
                "status": {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
            })
        };
        assert!(is_rolled_out("Deployment", &deployment(2, 2, 2), "odigos-gateway-1"));
        assert!(!is_rolled_out("Deployment", &deployment(3, 2, 3), "odigos-gateway-1"), "an old pod still serves");
        assert!(!is_rolled_out("Deployment", &deployment(2, 2, 1), "odigos-gateway-1"));
        assert!(!is_rolled_out("Deployment", &deployment(2, 2, 2), "odigos-gateway-2"));
        let mut unseen = deployment(2, 2, 2);
        unseen["status"]["observedGeneration"] = json!(2);
        assert!(!is_rolled_out("Deployment", &unseen, "odigos-gateway-1"));
    }
}
