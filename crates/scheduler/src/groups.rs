//! The cluster as a whole: effective configuration, collectors groups with their classes, data streams.

use crate::data_streams;
use crate::state::State;
use jiff::Timestamp;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::destination::Destination;
use odigos_api::labels::STREAM_CLASS;
use odigos_api::{API_VERSION, Finding, names};
use odigos_kit::apply::{ApplyError, reference};
use odigos_kit::events::about;
use odigos_kit::queue::Outcome;
use odigos_plan::configuration::{self, Configuration};
use odigos_plan::pools::{self, Pools};
use odigos_plan::scheduling::{self, NodeGroupState};
use odigos_plan::streams::{self, classes::Existing};
use odigos_plan::{sampling, unowned};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two reports of the same findings about the configuration.
const REPORT_AGAIN: Duration = Duration::from_secs(600);

pub(crate) async fn reconcile(state: Arc<State>) -> Result<Outcome, ApplyError> {
    let destinations: Vec<Destination> =
        state.destinations.namespace(&state.namespace).iter().map(|one| one.as_ref().clone()).collect();
    let configuration = effective(&state, &destinations).await?;
    let (pools, _) = Pools::of(&configuration);
    let memberships = memberships(&state, &destinations, &pools);
    let recheck = groups(&state, &configuration, &destinations, &memberships, &pools).await?;
    data_streams::plan(&state, &destinations, memberships, scheduling::stream_quota(&configuration)).await;
    Ok(Outcome { recheck_after: Some(recheck.unwrap_or(Duration::from_secs(600))) })
}

/// Merges the configuration; a broken one leaves the last good one active and is reported as an Event.
async fn effective(state: &State, destinations: &[Destination]) -> Result<Configuration, ApplyError> {
    let base = state.configuration(names::CONFIGURATION).unwrap_or_default();
    let (remote, ui) = (state.configuration(names::REMOTE_CONFIGURATION), state.configuration(names::UI_CONFIGURATION));
    let merged = configuration::effective(&base, remote.as_deref(), ui.as_deref(), &state.namespace);
    let last = state.configuration(names::EFFECTIVE_CONFIGURATION);
    let mut findings = merged.findings;
    for name in configuration::SOURCES {
        let map = state.config_maps.get(&state.namespace, name);
        let data = map.as_ref().and_then(|map| map.data.as_ref());
        let keys = data.into_iter().flatten().map(|(key, _)| key.as_str());
        findings.extend(configuration::unread_data(&state.namespace, name, keys));
    }
    match merged.result {
        Ok(configuration) => {
            let object = format!("ConfigMap {}/{}", state.namespace, names::CONFIGURATION);
            let destinations: Vec<&Destination> = destinations.iter().collect();
            findings.extend(scheduling::unreached_opt_out(&configuration, &destinations, &object));
            let configs = state.configs.all();
            let covered =
                configs.iter().map(|(key, config)| (key.0.as_str(), key.1.as_str(), config.metadata.labels.as_ref()));
            findings.extend(Pools::of(&configuration).0.unmatched(covered, &object));
            report(state, &findings).await;
            write_effective(state, &configuration.to_yaml(), &findings).await?;
            Ok(configuration)
        }
        Err(finding) => {
            findings.push(finding);
            report(state, &findings).await;
            let Some(text) = last else { return Ok(Configuration::default()) };
            write_effective(state, &text, &findings).await?;
            Ok(configuration::effective(&text, None, None, &state.namespace).result.unwrap_or_default())
        }
    }
}

/// Publishes findings about the configuration as Events when they change, and now and then while they last: Events expire.
async fn report(state: &State, findings: &[Finding]) {
    let text = scheduling::findings_text(findings);
    {
        let mut reported = state.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.as_ref().is_some_and(|(at, before)| *before == text && at.elapsed() < REPORT_AGAIN) {
            return;
        }
        *reported = Some((Instant::now(), text));
    }
    for finding in findings {
        tell(state, finding).await;
    }
}

/// Writes the effective configuration and what is wrong with it, unless both are there already.
async fn write_effective(state: &State, document: &str, findings: &[Finding]) -> Result<(), ApplyError> {
    let findings = scheduling::findings_text(findings);
    let map = state.config_maps.get(&state.namespace, names::EFFECTIVE_CONFIGURATION);
    let written = |key: &str| map.as_ref().and_then(|map| map.data.as_ref()?.get(key).cloned());
    let is_written = written(names::CONFIGURATION_KEY).as_deref() == Some(document)
        && written(scheduling::FINDINGS_KEY).as_deref() == Some(findings.as_str());
    if !is_written {
        let object = scheduling::effective_configuration_object(&state.namespace, document, &findings);
        state.applier.apply(&object).await?;
    }
    Ok(())
}

async fn tell(state: &State, finding: &Finding) {
    let map = state.config_maps.get(&state.namespace, names::CONFIGURATION);
    let uid = map.as_ref().and_then(|map| map.metadata.uid.as_deref());
    let object = about("v1", "ConfigMap", &state.namespace, names::CONFIGURATION, uid);
    let base = format!("ConfigMap {}/{}", state.namespace, names::CONFIGURATION);
    let place = if finding.object == base { String::new() } else { format!("{}: ", finding.object) };
    let note = format!("{place}{}: {}", finding.field, finding.message);
    match finding.severity {
        // A key that has no effect is a mistake as well, though nothing else fails with it.
        odigos_api::Severity::Error | odigos_api::Severity::Warning => {
            let part = format!("{place}{}", finding.field);
            state.events.warn_about_part(&object, "InvalidConfiguration", &part, &note).await;
        }
        odigos_api::Severity::Info => state.events.note(&object, "Configuration", &note).await,
    }
}

/// The namespace and stream set of every covered workload.
fn memberships(state: &State, destinations: &[Destination], pools: &Pools) -> Vec<(String, streams::StreamSet)> {
    let selected = streams::selected_namespaces(destinations);
    let configs = state.configs.all();
    configs
        .iter()
        .map(|(key, config)| {
            (key.0.clone(), pools.membership((&key.0, &key.1), config.metadata.labels.as_ref(), &selected))
        })
        .collect()
}

async fn groups(
    state: &State,
    configuration: &Configuration,
    destinations: &[Destination],
    memberships: &[(String, streams::StreamSet)],
    pools: &Pools,
) -> Result<Option<Duration>, ApplyError> {
    let mut usage = streams::Usage::default();
    memberships.iter().for_each(|(namespace, set)| usage.add(namespace, set.clone()));
    let refs: Vec<&Destination> = destinations.iter().collect();
    unowned::add_usage(&mut usage, configuration, &refs);
    let class = |labels: &Option<BTreeMap<String, String>>| {
        labels.as_ref().and_then(|labels| labels.get(STREAM_CLASS).cloned())
    };
    let mut carried: BTreeSet<String> =
        state.configs.all().iter().filter_map(|(_, config)| class(&config.metadata.labels)).collect();
    carried.extend(state.pods.all().iter().filter_map(|(_, pod)| class(&pod.metadata.labels)));
    let node = state.groups.get(&state.namespace, names::NODE_COLLECTOR);
    let node_status = node.as_ref().and_then(|group| group.status.clone()).unwrap_or_default();
    carried.extend(node_status.unowned_stream_classes.iter().cloned());
    let gateway = state.groups.get(&state.namespace, names::GATEWAY);
    let current = gateway.as_ref().map(|group| group.spec.stream_classes.clone()).unwrap_or_default();
    let existing = Existing {
        carried: &carried,
        current: &current,
        drain: state.drain,
        quota: scheduling::stream_quota(configuration),
    };
    let classes = streams::plan_classes(&usage, &existing, Timestamp::now());
    if state.refuse(&classes.refused) {
        state.configs.all().into_iter().for_each(|(key, _)| state.configs_queue.add(key));
    }
    let samplings = state.samplings.namespace(&state.namespace);
    let built_ins = configuration.built_in_sampling();
    let accepted = sampling::accept_with(built_ins, samplings.iter().map(AsRef::as_ref));
    let sampling = sampling::is_wanted(&accepted, configuration.health_probes(), !memberships.is_empty());
    let spec = scheduling::gateway_group(configuration, &refs, sampling, classes.classes);
    let all = state.groups.namespace(&state.namespace);
    let of_pools = pools.plan(&pools::Seen {
        configuration,
        destinations: &refs,
        sampling,
        classes: &spec.stream_classes,
        existing: pools::existing(all.iter().map(AsRef::as_ref)),
        routed: &node_status.routed_pools,
        drain: state.drain,
        now: Timestamp::now(),
    });
    apply_group(state, names::GATEWAY, &spec, gateway.as_ref().map(|group| &group.spec)).await?;
    for (pool, spec) in &of_pools.groups {
        let name = names::pool_gateway(pool);
        let live = state.groups.get(&state.namespace, &name);
        apply_group(state, &name, spec, live.as_ref().map(|group| &group.spec)).await?;
    }
    for name in of_pools.gone.iter().map(|pool| names::pool_gateway(pool)) {
        let uid = state.groups.get(&state.namespace, &name).and_then(|group| group.metadata.uid.clone());
        let object = reference(API_VERSION, "CollectorsGroup", &state.namespace, &name);
        state.applier.delete(&object, uid.as_deref()).await?;
    }
    let known = |type_id: &str| odigos_catalog::destination::find(type_id).is_some();
    let wanted = NodeGroupState {
        any_instrumentation_config: !memberships.is_empty(),
        gateway_ready: gateway.and_then(|group| group.status.clone()).is_some_and(|status| status.ready),
        exists: node.is_some(),
    };
    match (scheduling::node_group(configuration, &refs, &known, wanted), node) {
        (Some(spec), node) => {
            apply_group(state, names::NODE_COLLECTOR, &spec, node.as_ref().map(|group| &group.spec)).await?
        }
        (None, Some(node)) => {
            let object = reference(API_VERSION, "CollectorsGroup", &state.namespace, names::NODE_COLLECTOR);
            state.applier.delete(&object, node.metadata.uid.as_deref()).await?;
        }
        (None, None) => {}
    }
    let recheck_after = [classes.recheck_after, of_pools.recheck_after].into_iter().flatten().min();
    Ok(recheck_after.map(|after| Duration::from_secs(u64::try_from(after.as_secs()).unwrap_or_default() + 1)))
}

async fn apply_group(
    state: &State,
    name: &str,
    spec: &CollectorsGroupSpec,
    live: Option<&CollectorsGroupSpec>,
) -> Result<(), ApplyError> {
    if live == Some(spec) {
        return Ok(());
    }
    state.applier.apply(&scheduling::group_object(name, &state.namespace, spec)).await.map(drop)
}
