//! Sources as a table, and covered workloads counted by reason.

use crate::explain::next_step::next_step;
use crate::output;
use odigos_api::WorkloadRef;
use odigos_api::condition::kind::{ACCEPTED, AGENT_ENABLED, PODS_INJECTION, WORKLOAD_ROLLOUT};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::stream_labels;
use odigos_api::source::Source;
use odigos_plan::coverage::{self, Matcher};
use odigos_plan::instrumentation::OUTDATED_INPUTS;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Workloads that a line names.
const NAMED: usize = 3;

/// A Source as a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) selects: String,
    pub(crate) is_pattern: bool,
    pub(crate) streams: Vec<String>,
    /// `enabled`, `excluded`, `terminating`, or why it is not accepted.
    pub(crate) state: String,
    /// Covered workloads that it selects, and those of them with agents.
    pub(crate) workloads: usize,
    pub(crate) with_agents: usize,
}

/// Sources in the order of namespaces and names.
pub(crate) fn rows(sources: &[Source], configs: &[InstrumentationConfig]) -> Vec<Row> {
    let mut of_namespace: BTreeMap<&str, Vec<(WorkloadRef, bool)>> = BTreeMap::new();
    for config in configs {
        let namespace = config.metadata.namespace.as_deref().unwrap_or_default();
        let name = config.metadata.name.as_deref().unwrap_or_default();
        if let Some(workload) = WorkloadRef::from_config_name(namespace, name) {
            of_namespace.entry(namespace).or_default().push((workload, config.spec.agent_injection_enabled));
        }
    }
    let row = |source: &Source| {
        let namespace = source.metadata.namespace.clone().unwrap_or_default();
        let matcher = Matcher::new(source);
        let selected: Vec<&(WorkloadRef, bool)> = of_namespace
            .get(namespace.as_str())
            .into_iter()
            .flatten()
            .filter(|(workload, _)| matcher.selects(workload))
            .collect();
        let none = BTreeMap::new();
        let streams = stream_labels(source.metadata.labels.as_ref().unwrap_or(&none));
        let conditions = source.status.iter().flat_map(|status| &status.conditions);
        let refused = conditions.into_iter().find(|one| one.type_ == ACCEPTED && one.status == "False");
        let state = match refused {
            _ if coverage::is_terminating(source) => "terminating".to_owned(),
            Some(condition) => condition.reason.clone(),
            None if source.spec.disable_instrumentation == Some(true) => "excluded".to_owned(),
            None => "enabled".to_owned(),
        };
        let workload = &source.spec.workload;
        Row {
            name: source.metadata.name.clone().unwrap_or_default(),
            kind: workload.kind.clone(),
            selects: workload.name.clone(),
            is_pattern: source.spec.match_workload_name_as_regex == Some(true),
            streams: streams.into_iter().filter(|(_, joined)| *joined).map(|(name, _)| name).collect(),
            state,
            workloads: selected.len(),
            with_agents: selected.iter().filter(|(_, has)| *has).count(),
            namespace,
        }
    };
    let mut rows: Vec<Row> = sources.iter().map(row).collect();
    rows.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    rows
}

/// The table.
pub(crate) fn list(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "There is no Source. odigos sources enable deployment/NAME -n NAMESPACE asks for a workload.\n".into();
    }
    let titles = ["NAMESPACE", "NAME", "KIND", "SELECTS", "STREAMS", "STATE", "AGENTS"];
    let mut cells = vec![titles.map(str::to_owned).to_vec()];
    for row in rows {
        let selects = if row.is_pattern { format!("~{}", row.selects) } else { row.selects.clone() };
        let streams = if row.streams.is_empty() { "-".to_owned() } else { row.streams.join(",") };
        let agents = format!("{}/{}", row.with_agents, row.workloads);
        cells.push(vec![
            row.namespace.clone(),
            row.name.clone(),
            row.kind.clone(),
            selects,
            streams,
            row.state.clone(),
            agents,
        ]);
    }
    output::aligned(&cells, &[6])
}

/// Covered workloads, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) workloads: usize,
    pub(crate) namespaces: usize,
    /// Workloads of which somebody must look at something.
    pub(crate) blocked: usize,
    pub(crate) reasons: Vec<Reasons>,
}

/// Workloads with one reason of one condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reasons {
    pub(crate) condition: String,
    pub(crate) reason: String,
    pub(crate) workloads: Vec<String>,
    /// What to do, for the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_step: Option<String>,
}

/// Counts. Reasons of which somebody must look at something come first.
pub(crate) fn summary(configs: &[InstrumentationConfig], only_errors: bool) -> Summary {
    let kinds = [AGENT_ENABLED, WORKLOAD_ROLLOUT, PODS_INJECTION];
    let mut groups: BTreeMap<(usize, String), Vec<WorkloadRef>> = BTreeMap::new();
    let (mut namespaces, mut blocked, mut workloads) = (BTreeSet::new(), BTreeSet::new(), 0);
    for config in configs {
        let namespace = config.metadata.namespace.clone().unwrap_or_default();
        let name = config.metadata.name.as_deref().unwrap_or_default();
        let Some(workload) = WorkloadRef::from_config_name(&namespace, name) else { continue };
        workloads += 1;
        namespaces.insert(namespace);
        let conditions = config.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        for (position, kind) in kinds.iter().enumerate() {
            let reason = conditions.iter().find(|one| one.type_ == *kind);
            // A restart is not decided before there are agents.
            let Some(condition) = reason else { continue };
            if needs_somebody(kind, &condition.status, &condition.reason, &workload) {
                blocked.insert(workload.clone());
            }
            groups.entry((position, condition.reason.clone())).or_default().push(workload.clone());
        }
    }
    let status_of = |position: usize, reason: &str| {
        let all = configs.iter().flat_map(|config| config.status.iter().flat_map(|status| &status.conditions));
        let mut found = all.filter(|one| one.type_ == kinds[position] && one.reason == reason);
        found.next().map(|one| one.status.clone()).unwrap_or_default()
    };
    let mut reasons: Vec<(bool, usize, Reasons)> = Vec::new();
    for ((position, reason), mut workloads) in groups {
        workloads.sort();
        let Some(first) = workloads.first() else { continue };
        let is_bad = needs_somebody(kinds[position], &status_of(position, &reason), &reason, first);
        let next_step = next_step(&reason, first).filter(|_| is_bad || reason == OUTDATED_INPUTS);
        let workloads = workloads.iter().map(ToString::to_string).collect();
        let group = Reasons { condition: kinds[position].to_owned(), reason, workloads, next_step };
        reasons.push((!is_bad, position, group));
    }
    reasons.sort_by(|one, other| {
        let key = |one: &(bool, usize, Reasons)| (one.1, one.0, std::cmp::Reverse(one.2.workloads.len()));
        key(one).cmp(&key(other))
    });
    let reasons =
        reasons.into_iter().filter(|(is_well, ..)| !only_errors || !is_well).map(|(.., group)| group).collect();
    Summary { workloads, namespaces: namespaces.len(), blocked: blocked.len(), reasons }
}

fn needs_somebody(kind: &str, status: &str, reason: &str, workload: &WorkloadRef) -> bool {
    // A rollout that is switched off only matters where pods lack agents, which their own condition says.
    let is_harmless = (kind == WORKLOAD_ROLLOUT && status == "True") || reason == OUTDATED_INPUTS;
    status != "Unknown" && !is_harmless && next_step(reason, workload).is_some()
}

/// The counts for people.
pub(crate) fn status(summary: &Summary) -> String {
    let noun = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    if summary.workloads == 0 {
        return "No workload is covered. odigos sources enable deployment/NAME -n NAMESPACE asks for one.\n".into();
    }
    let mut out = format!(
        "{} covered in {}, {}\n",
        noun(summary.workloads, "workload", "workloads"),
        noun(summary.namespaces, "namespace", "namespaces"),
        match summary.blocked {
            0 => "nothing is blocked".to_owned(),
            some => format!("{some} blocked"),
        }
    );
    if summary.reasons.is_empty() {
        return out;
    }
    let mut cells = vec![["CONDITION", "REASON", "WORKLOADS", "WHICH"].map(str::to_owned).to_vec()];
    for group in &summary.reasons {
        // Which ones matters where something is to be done.
        let named: Vec<&str> = group.workloads.iter().take(NAMED).map(String::as_str).collect();
        let more = group.workloads.len().saturating_sub(NAMED);
        let which = match (&group.next_step, more) {
            (None, _) => String::new(),
            (Some(_), 0) => named.join(", "),
            (Some(_), more) => format!("{} and {more} more", named.join(", ")),
        };
        cells.push(vec![group.condition.clone(), group.reason.clone(), group.workloads.len().to_string(), which]);
    }
    out.push('\n');
    out.push_str(&output::aligned(&cells, &[2]));
    let steps: Vec<String> = summary
        .reasons
        .iter()
        .filter_map(|group| Some(format!("{}: {}", group.reason, group.next_step.as_ref()?)))
        .collect();
    if !steps.is_empty() {
        out.push('\n');
    }
    for (index, step) in steps.iter().enumerate() {
        let label = if index == 0 { "To do" } else { "" };
        out.push_str(&crate::explain::layout::field(label, 5, step));
    }
    out
}
