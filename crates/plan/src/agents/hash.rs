//! The hash that a restart follows from.
//!
//! Owns what makes agents of a workload other ones. What is recorded is compared, not recomputed: a hash stays as long as
//! nothing of the workload changes, whichever release or implementation wrote it, so that no upgrade restarts anything.

use super::container::Decided;
use super::{Seen, inputs, variables};
use crate::objects;
use odigos_api::instrumentation_config::ContainerAgentConfig;
use odigos_catalog::distribution;
use std::collections::BTreeSet;

/// Version of [`workload_inputs`]. Another one, or none, in what is recorded cannot be compared with it.
const VERSION: &str = "2-";

/// `agentsMetaHash` and `workloadInputsHash`.
pub(super) struct Hashes {
    pub(super) agents: String,
    pub(super) workload_inputs: String,
}

/// The hashes of a workload that has agents.
pub(super) fn of(seen: &Seen<'_>, decided: &[Decided], inputs: &inputs::ClusterInputs) -> Hashes {
    let before = &seen.config.spec;
    let workload_inputs = workload_inputs(&before.service_name, decided);
    let fresh = |since: &str| {
        let restarting = inputs.iter().filter(|(path, _)| inputs::restarts(path));
        let inputs = inputs::annotation(&restarting.map(|(path, value)| (path.clone(), value.clone())).collect());
        objects::hash(format!("{workload_inputs}\n{inputs}\n{since}"), 16)
    };
    let is_comparable = before.workload_inputs_hash.starts_with(VERSION);
    let is_changed = match is_comparable {
        true => before.workload_inputs_hash != workload_inputs,
        false => is_changed_since_version_1(seen, decided),
    };
    let is_input_changed = || inputs::changed(&before.cluster_inputs, inputs).into_iter().any(inputs::restarts);
    let is_restarted_for_inputs = || seen.options.restarts_on_input_change && is_input_changed();
    let agents = if before.agents_meta_hash.is_empty() || is_changed || is_restarted_for_inputs() {
        fresh("")
    } else if !seen.options.restarts_on_input_change {
        before.agents_meta_hash.clone()
    } else {
        // Pods that were created before the setting was switched on. The time makes the hash another one, and the same
        // one until they are restarted.
        let outdated = seen.config.status.iter().flat_map(|status| &status.outdated_inputs);
        let outdated = outdated.filter(|one| inputs::restarts(&one.input));
        let since = outdated.filter_map(|one| one.since.as_ref()).map(|time| time.0.as_second()).min();
        since.map_or_else(|| before.agents_meta_hash.clone(), |since| fresh(&since.to_string()))
    };
    Hashes { agents, workload_inputs }
}

/// What concerns the workload alone. Signals that destinations take are no part of it, since they come and go.
fn workload_inputs(service_name: &str, decided: &[Decided]) -> String {
    let mut lines = BTreeSet::from([format!("service\t{service_name}")]);
    for one in decided {
        let name = &one.config.container_name;
        lines.insert(format!("{name}\t{}\t{}", one.config.agent_enabled, one.config.otel_distro_name));
        if one.config.agent_enabled {
            lines.extend(one.is_silenced.then(|| format!("{name}\tno traces")));
            lines.extend(one.rule_variables.iter().map(|(variable, value)| format!("{name}\t{variable}={value}")));
        }
    }
    format!("{VERSION}{}", objects::hash(lines.into_iter().collect::<Vec<_>>().join("\n"), 16))
}

/// Whether anything changed that the first version of the hash covered, compared with what the object records. A hash of
/// another implementation covers containers and distributions only.
fn is_changed_since_version_1(seen: &Seen<'_>, decided: &[Decided]) -> bool {
    let before = &seen.config.spec;
    let was_silent =
        |name: &str| before.containers.iter().any(|one| one.container_name == name && one.traces.is_none());
    // Traces that no destination took were switched off then, and what rules set for them with it.
    let after: Vec<ContainerAgentConfig> = decided
        .iter()
        .map(|one| {
            let mut config = one.config.clone();
            config.traces = config.traces.filter(|_| !was_silent(&config.container_name));
            config
        })
        .collect();
    let silenced = decided.iter().filter(|one| one.is_silenced).map(|one| one.config.container_name.clone());
    let silenced: BTreeSet<String> = silenced.collect();
    let none = BTreeSet::new();
    // What is recorded does not say whether traces were missing because of a rule or of the destinations; the hash does.
    let quiet = before.containers.iter().filter(|one| one.traces.is_none());
    let quiet: BTreeSet<String> = quiet.map(|one| one.container_name.clone()).collect();
    let was_silenced =
        [&none, &quiet].into_iter().find(|names| before.agents_meta_hash == version_1(&before.containers, names));
    match was_silenced {
        Some(was_silenced) => version_1(&before.containers, was_silenced) != version_1(&after, &silenced),
        None => {
            let is_silenced_now = silenced.iter().any(|name| !quiet.contains(name));
            is_silenced_now || version_1(&before.containers, &none) != version_1(&after, &none)
        }
    }
}

/// The first version: containers, distributions and what rules set.
fn version_1(containers: &[ContainerAgentConfig], silenced: &BTreeSet<String>) -> String {
    let mut lines = BTreeSet::new();
    for one in containers {
        let name = &one.container_name;
        lines.insert(format!("{name}\t{}\t{}", one.agent_enabled, one.otel_distro_name));
        if !one.agent_enabled {
            continue;
        }
        if silenced.contains(name) {
            lines.insert(format!("{name}\tno traces"));
        }
        let distribution = distribution::find(&one.otel_distro_name);
        let settings = distribution.map(|distribution| variables(one, distribution)).unwrap_or_default();
        lines.extend(settings.into_iter().map(|(variable, value)| format!("{name}\t{variable}={value}")));
    }
    objects::hash(lines.into_iter().collect::<Vec<_>>().join("\n"), 16)
}

#[cfg(test)]
pub(super) fn version_1_of(containers: &[ContainerAgentConfig], silenced: &BTreeSet<String>) -> String {
    version_1(containers, silenced)
}
