//! `odigos describe workload`: one screen about a workload (`spec/ui-and-cli.md` 7).

use super::layout::{age, field, listed};
use super::next_step::next_step_for;
use super::read::Facts;
use super::{Blocked, Carries, WAIT, outdated_inputs, restart};
use crate::output;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use odigos_api::condition::INSTRUMENTATION_ORDER;
use odigos_api::condition::kind::{
    ACCEPTED, AGENT_ENABLED, DESTINATION_CONFIGURED, MARKED, RUNTIME_DETECTION, WORKLOAD_ROLLOUT,
};
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::{InstrumentationConfig, RuntimeDetails};
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::labels::{self, OWNER_POD_NAME};
use odigos_api::source::Source;
use odigos_api::{Signal, WorkloadRef};
use odigos_plan::agents::{self, Backoff, Covered, Reason, inputs};
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::{self, Coverage, Matcher};
use odigos_plan::instrumentation::{OUTDATED_INPUTS, OWN_EXPORT};
use odigos_plan::metric_sources::MetricSources;
use odigos_plan::streams;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Reason of a workload without pods: of a CronJob between its jobs, or one that is scaled to zero.
const NO_PODS: &str = "NoPods";

/// Pods that the screen lists; the rest is counted.
const PODS: usize = 8;

/// What is said of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) workload: String,
    pub(crate) verdict: String,
    pub(crate) sources: Vec<SourceLine>,
    pub(crate) service_name: String,
    pub(crate) streams: Vec<String>,
    /// Absent where Destinations may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destinations: Option<Vec<String>>,
    pub(crate) containers: Vec<ContainerLine>,
    pub(crate) conditions: Vec<ConditionLine>,
    pub(crate) pods: PodCounts,
    pub(crate) blocked: Option<Blocked>,
    /// What does not block it and is not as it could be.
    pub(crate) notices: Vec<Blocked>,
}

/// A Source, and what it says of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceLine {
    pub(crate) name: String,
    pub(crate) says: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerLine {
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) version: String,
    pub(crate) libc: String,
    pub(crate) distribution: String,
    pub(crate) agent: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Names of variables that rules set.
    pub(crate) rule_variables: Vec<String>,
}

/// A condition in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConditionLine {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) question: &'static str,
    pub(crate) answer: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_step: Option<String>,
}

/// How many pods carry what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodCounts {
    pub(crate) current: usize,
    pub(crate) older: usize,
    pub(crate) nothing: usize,
    pub(crate) wanted_hash: String,
    /// Those that need a look first.
    pub(crate) list: Vec<PodLine>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLine {
    pub(crate) name: String,
    pub(crate) carries: Carries,
    pub(crate) phase: String,
    pub(crate) ready: String,
    /// What the agents in it say; empty while none has reported.
    pub(crate) health: String,
    /// Cluster-wide settings of which it runs with older values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) outdated_inputs: Vec<String>,
}

/// Makes the report.
pub(crate) fn report(facts: &Facts) -> Report {
    let config = facts.config.as_ref();
    let selecting: Vec<_> = facts.sources.iter().filter(|one| Matcher::new(one).selects(&facts.workload)).collect();
    let decided = coverage::decide(&facts.scope, &facts.workload, &selecting);
    let sources = selecting.iter().map(|source| {
        let what = if coverage::is_namespace_source(source) {
            "the namespace"
        } else if source.spec.match_workload_name_as_regex == Some(true) {
            "a pattern"
        } else {
            "the workload"
        };
        let says = if coverage::is_terminating(source) {
            format!("Source of {what}, on its way out")
        } else if source.spec.disable_instrumentation == Some(true) {
            format!("Source of {what}: excludes it")
        } else {
            format!("Source of {what}: asks for it")
        };
        SourceLine { name: source.metadata.name.clone().unwrap_or_default(), says }
    });
    let sources: Vec<SourceLine> = sources.collect();
    let none = BTreeMap::new();
    let labels = config.and_then(|config| config.metadata.labels.as_ref()).unwrap_or(&none);
    // A Destination may select the namespace instead of a stream.
    let selected = streams::selected_namespaces(facts.destinations.iter().flatten());
    let set = streams::membership(labels, &facts.workload.namespace, &selected);
    let destinations = facts.destinations.as_ref().map(|all| {
        let reached = all.iter().filter(|one| {
            one.spec.disabled != Some(true)
                && set.iter().any(|stream| streams::Selection::of(&one.spec).includes(stream))
        });
        reached.filter_map(|one| one.metadata.name.clone()).collect::<Vec<_>>()
    });
    let conditions = conditions(facts, &decided);
    let pods = pods(facts);
    let blocked = blocked(facts, &conditions, destinations.as_deref(), &pods);
    let mut notices = notices(facts, destinations.as_deref(), &pods);
    notices.extend(remarks(facts, &selecting));
    let is_covered = decided.decision.is_covered() && config.is_some();
    let total = pods.current + pods.older + pods.nothing;
    let verdict = match config {
        _ if !facts.exists => "does not exist".to_owned(),
        Some(config) if is_covered && config.spec.agent_injection_enabled => {
            format!("instrumented, {} of {total} pods with the current agents", pods.current)
        }
        Some(_) if is_covered => "covered, without agents".to_owned(),
        _ => "not covered".to_owned(),
    };
    Report {
        workload: facts.workload.to_string(),
        verdict,
        sources,
        service_name: config.map(|config| config.spec.service_name.clone()).unwrap_or_default(),
        streams: if config.is_some() {
            set.into_iter().filter(|stream| !streams::is_virtual(stream)).collect()
        } else {
            Vec::new()
        },
        destinations: destinations.filter(|_| config.is_some()),
        containers: config.map(containers).unwrap_or_default(),
        conditions,
        pods,
        blocked,
        notices,
    }
}

fn containers(config: &InstrumentationConfig) -> Vec<ContainerLine> {
    let found = config.status.as_ref().map(|status| status.runtime_details_by_container.as_slice()).unwrap_or_default();
    let line = |stated: &odigos_api::source::ContainerOverride| {
        let name = &stated.container_name;
        let details: Option<&RuntimeDetails> =
            stated.runtime_info.as_ref().or_else(|| found.iter().find(|one| &one.container_name == name));
        let decided = config.spec.containers.iter().find(|one| &one.container_name == name);
        let distribution = decided.map(|one| one.otel_distro_name.clone()).unwrap_or_default();
        let rule_variables = decided.filter(|one| one.agent_enabled).and_then(|one| {
            let distribution = odigos_catalog::distribution::find(&one.otel_distro_name)?;
            Some(odigos_plan::agents::variables(one, distribution).into_keys().collect())
        });
        ContainerLine {
            name: name.clone(),
            language: details.map(|one| one.language.clone()).unwrap_or_default(),
            version: details.map(|one| one.runtime_version.clone()).unwrap_or_default(),
            libc: details.and_then(|one| one.libc_type.clone()).unwrap_or_default(),
            distribution,
            agent: decided.is_some_and(|one| one.agent_enabled),
            reason: decided.map(|one| one.agent_enabled_reason.clone()).unwrap_or_default(),
            message: decided.map(|one| one.agent_enabled_message.clone()).unwrap_or_default(),
            rule_variables: rule_variables.unwrap_or_default(),
        }
    };
    config.spec.containers_overrides.iter().map(line).collect()
}

fn question(kind: &str) -> &'static str {
    match kind {
        MARKED => "Asked for",
        RUNTIME_DETECTION => "Detected",
        AGENT_ENABLED => "Agent",
        WORKLOAD_ROLLOUT => "Restarted",
        _ => "In pods",
    }
}

fn conditions(facts: &Facts, decided: &Coverage) -> Vec<ConditionLine> {
    let written = facts.config.as_ref().and_then(|config| config.status.as_ref());
    let written = written.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut lines: Vec<ConditionLine> = INSTRUMENTATION_ORDER
        .iter()
        .filter_map(|kind| written.iter().find(|one| one.type_ == *kind))
        .map(|condition| line(condition, facts))
        .collect();
    if lines.is_empty() {
        // No object could hold it.
        let draft = coverage::marked(decided, &facts.workload, "");
        lines.push(ConditionLine {
            kind: draft.kind.to_owned(),
            question: question(draft.kind),
            answer: answer(draft.status.as_str()),
            next_step: next_step_for(&draft.reason, &draft.message, &facts.workload),
            reason: draft.reason,
            message: draft.message,
            since: None,
        });
    }
    lines
}

fn line(condition: &Condition, facts: &Facts) -> ConditionLine {
    ConditionLine {
        kind: condition.type_.clone(),
        question: question(&condition.type_),
        answer: answer(&condition.status),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: Some(condition.last_transition_time.0),
        next_step: next_step_for(&condition.reason, &condition.message, &facts.workload),
    }
}

fn answer(status: &str) -> &'static str {
    match status {
        "True" => "yes",
        "False" => "no",
        _ => "waits",
    }
}

fn pods(facts: &Facts) -> PodCounts {
    let config = facts.config.as_ref();
    let text = |pod: &Value, pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let living = facts.pods.iter().filter(|pod| !matches!(text(pod, "/status/phase").as_str(), "Succeeded" | "Failed"));
    let mut lines: Vec<PodLine> = living
        .map(|pod| {
            let name = text(pod, "/metadata/name");
            let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
            let (ready, all) = statuses.fold((0, 0), |(ready, all), one| {
                (ready + usize::from(one.get("ready").and_then(Value::as_bool) == Some(true)), all + 1)
            });
            let backoff = Backoff::of_pod(pod).map(|one| one.reason);
            let phase = match text(pod, "/metadata/deletionTimestamp").as_str() {
                "" => backoff.unwrap_or_else(|| text(pod, "/status/phase")),
                _ => "Terminating".to_owned(),
            };
            PodLine {
                carries: Carries::of(pod, config),
                phase,
                ready: format!("{ready}/{all}"),
                health: health(&name, facts),
                outdated_inputs: outdated_inputs(pod, config),
                name,
            }
        })
        .collect();
    let of = |what: Carries| lines.iter().filter(|one| one.carries == what).count();
    let (current, older, nothing) = (of(Carries::Current), of(Carries::Older), of(Carries::Nothing));
    // Those that are not as they should be come first.
    let is_well = |one: &PodLine| one.phase == "Running" && !one.health.starts_with("unhealthy");
    lines.sort_by(|one, other| {
        (one.carries, is_well(one), &one.name).cmp(&(other.carries, is_well(other), &other.name))
    });
    let wanted_hash = config.map(|config| config.spec.agents_meta_hash.clone()).unwrap_or_default();
    PodCounts { current, older, nothing, wanted_hash, list: lines }
}

fn health(pod: &str, facts: &Facts) -> String {
    let owned = |found: &Option<BTreeMap<String, String>>| {
        found.as_ref().and_then(|all| all.get(OWNER_POD_NAME)).is_some_and(|owner| *owner == labels::value(pod))
    };
    let statuses: Vec<_> = facts
        .instances
        .iter()
        .filter(|one| owned(&one.metadata.labels))
        .filter_map(|one| one.status.as_ref())
        .collect();
    if let Some(bad) = statuses.iter().find(|one| one.healthy == Some(false)) {
        return format!("unhealthy: {}", bad.reason.as_deref().unwrap_or("no reason given"));
    }
    match statuses.len() {
        0 => String::new(),
        _ if statuses.iter().all(|one| one.healthy == Some(true)) => "healthy".to_owned(),
        _ => "starting".to_owned(),
    }
}

/// The first cause, in the order in which things happen.
fn blocked(
    facts: &Facts,
    conditions: &[ConditionLine],
    destinations: Option<&[String]>,
    pods: &PodCounts,
) -> Option<Blocked> {
    if !facts.exists {
        let cause = format!("there is no {}", facts.workload);
        return Some(Blocked { cause, remedy: "create it; a Source for it waits until then".into() });
    }
    // What is decided about agents without it does not wait for detection.
    let waits_for_detection = |word: Reason| {
        matches!(
            word,
            Reason::RuntimeDetailsUnavailable | Reason::WaitingForRuntimeInspection | Reason::WaitingForNodeCollector
        )
    };
    let mut of_agents = conditions.iter().filter(|one| one.kind == AGENT_ENABLED);
    let is_decided = of_agents.any(|one| Reason::parse(&one.reason).is_some_and(|word| !waits_for_detection(word)));
    let names_cause = |one: &&ConditionLine| {
        // A rollout that is switched off is well as long as no pod needs one.
        let is_harmless = (one.kind == WORKLOAD_ROLLOUT && one.answer == "yes")
            || one.kind == RUNTIME_DETECTION && is_decided
            || one.reason == NO_PODS
            || one.reason == OUTDATED_INPUTS;
        (one.answer != "yes" || one.next_step.is_some()) && !is_harmless
    };
    if let Some(first) = conditions.iter().find(names_cause) {
        let word = Reason::parse(&first.reason).filter(|_| first.kind == AGENT_ENABLED);
        let passes = first.answer == "waits" || word.is_some_and(|word| word.severity() == "Waiting");
        let remedy = first.next_step.clone().unwrap_or_else(|| match passes {
            true => WAIT.to_owned(),
            false => "read the message above".to_owned(),
        });
        return Some(Blocked { cause: format!("{}: {}", first.reason, first.message), remedy });
    }
    if destinations.is_some_and(<[String]>::is_empty) && facts.config.is_some() {
        let cause = "no Destination is in its data streams, so what it sends reaches nobody".to_owned();
        return Some(Blocked { cause, remedy: "odigos destinations add, with --stream and one of its streams".into() });
    }
    let reached: Vec<&Destination> = reached_of(facts, destinations).collect();
    if let Some(found) = facts.config.as_ref().and_then(|config| nothing_taken(&facts.workload, config, &reached)) {
        return Some(found);
    }
    let unhealthy = pods.list.iter().find(|one| one.health.starts_with("unhealthy"));
    unhealthy.map(|pod| Blocked {
        cause: format!("the agent in pod {} is {}", pod.name, pod.health),
        remedy: format!("odigos why {} -n {}", pod.name, facts.workload.namespace),
    })
}

/// What does not block the workload and is not as it could be, each with what to do.
fn notices(facts: &Facts, destinations: Option<&[String]>, pods: &PodCounts) -> Vec<Blocked> {
    let Some(config) = facts.config.as_ref().filter(|config| config.spec.agent_injection_enabled) else {
        return Vec::new();
    };
    let workload = &facts.workload;
    let mut notices = Vec::new();
    let mut conditions = config.status.iter().flat_map(|status| &status.conditions);
    if conditions.any(|one| one.reason == NO_PODS) {
        let cause = "it has no pods now; the next one is as decided".to_owned();
        notices.push(Blocked { cause, remedy: "nothing".into() });
    }
    let outdated = config.status.iter().flat_map(|status| status.outdated_inputs.iter().cloned()).collect::<Vec<_>>();
    if !outdated.is_empty() {
        notices.push(Blocked { cause: inputs::words(&outdated), remedy: restart(workload) });
    }
    let without = config.spec.containers.iter().filter(|one| !one.agent_enabled);
    for one in without.filter(|one| Reason::parse(&one.agent_enabled_reason) != Some(Reason::IgnoredContainer)) {
        let cause = format!(
            "container {} has no agent, {}: {}",
            one.container_name, one.agent_enabled_reason, one.agent_enabled_message
        );
        let remedy = next_step_for(&one.agent_enabled_reason, &one.agent_enabled_message, workload);
        notices.push(Blocked { cause, remedy: remedy.unwrap_or_else(|| WAIT.into()) });
    }
    let failing = pods.list.iter().find(|one| one.phase.ends_with("BackOff"));
    notices.extend(failing.map(|pod| Blocked {
        cause: format!("pod {} does not start: {}", pod.name, pod.phase),
        remedy: format!("odigos why {} -n {}", pod.name, workload.namespace),
    }));
    let reached: Vec<&Destination> = reached_of(facts, destinations).collect();
    notices.extend(reached.iter().filter_map(|one| broken_destination(one)));
    notices.extend(reached.iter().flat_map(|one| destination_warnings(one)));
    notices.extend(agent_signals_untaken(workload, config, &reached, facts.effective.configuration.as_ref()));
    notices
}

fn reached_of<'a>(facts: &'a Facts, names: Option<&'a [String]>) -> impl Iterator<Item = &'a Destination> {
    facts.destinations.iter().flatten().filter(move |one| {
        let name = one.metadata.name.as_deref().unwrap_or_default();
        names.is_some_and(|names| names.iter().any(|reached| reached == name))
    })
}

/// Signals of a workload that no rule switches off.
fn signals_on(config: &InstrumentationConfig) -> BTreeSet<Signal> {
    let none = BTreeMap::new();
    let labels = config.metadata.labels.as_ref().unwrap_or(&none);
    let set = streams::membership(labels, "", &BTreeSet::new());
    Signal::PIPELINES.into_iter().filter(|signal| !set.contains(&streams::off_stream(*signal))).collect()
}

fn taken_by(reached: &[&Destination]) -> BTreeSet<Signal> {
    reached.iter().flat_map(|one| one.spec.signals.iter().copied()).collect()
}

fn words(signals: &BTreeSet<Signal>) -> String {
    signals.iter().map(|one| one.as_pipeline()).collect::<Vec<_>>().join(", ")
}

/// Destinations are in the streams of a workload, and none of them takes a signal that is collected of it.
pub(crate) fn nothing_taken(
    workload: &WorkloadRef,
    config: &InstrumentationConfig,
    reached: &[&Destination],
) -> Option<Blocked> {
    let (on, taken) = (signals_on(config), taken_by(reached));
    if reached.is_empty() || !on.is_disjoint(&taken) {
        return None;
    }
    let cause = match on.is_empty() {
        true => format!("rules switch off every signal of {workload}"),
        false => format!(
            "nothing of {workload} is taken: rules leave {}, and the Destinations in its streams take {}",
            words(&on),
            words(&taken)
        ),
    };
    Some(Blocked {
        cause,
        remedy: "change the signals of a Destination, or the InstrumentationRule that switches signals off".into(),
    })
}

/// The agents of a workload send signals of which no Destination in its streams takes one.
pub(crate) fn agent_signals_untaken(
    workload: &WorkloadRef,
    config: &InstrumentationConfig,
    reached: &[&Destination],
    configuration: Option<&Configuration>,
) -> Option<Blocked> {
    let containers = || config.spec.containers.iter().filter(|one| one.agent_enabled);
    let sent = [
        (Signal::Traces, containers().any(|one| one.traces.is_some())),
        (Signal::Metrics, containers().any(|one| one.metrics.is_some())),
        (Signal::Logs, containers().any(|one| one.logs.is_some())),
    ];
    let sent: BTreeSet<Signal> = sent.into_iter().filter(|(_, is_sent)| *is_sent).map(|(signal, _)| signal).collect();
    let taken: BTreeSet<Signal> = taken_by(reached).intersection(&signals_on(config)).copied().collect();
    if reached.is_empty() || sent.is_empty() || taken.is_empty() || !sent.is_disjoint(&taken) {
        return None;
    }
    let mut cause = format!(
        "the agents of {workload} send {}, and the Destinations in its streams take only {}",
        words(&sent),
        words(&taken)
    );
    let mut remedy = "add a Destination that takes what the agents send: odigos destinations add".to_owned();
    let is_disabled = configuration.and_then(|one| one.flag("metricsSources.spanMetrics.disabled")) == Some(true);
    let takes_span_metrics =
        |one: &&Destination| one.spec.signals.contains(&Signal::Metrics) && MetricSources::of(&one.spec).spans;
    if sent.contains(&Signal::Traces) && !is_disabled && reached.iter().any(takes_span_metrics) {
        cause.push_str("; they get metrics that are computed from the spans, and no spans");
        remedy = format!("nothing where such metrics are enough, else {remedy}");
    }
    Some(Blocked { cause, remedy })
}

/// What the condition of a Destination that works warns of, such as a credential that is probably not meant so.
fn destination_warnings(destination: &Destination) -> Vec<Blocked> {
    let name = destination.metadata.name.as_deref().unwrap_or_default();
    let conditions = destination.status.iter().flat_map(|status| &status.conditions);
    let works = conditions.filter(|one| one.type_ == DESTINATION_CONFIGURED && one.status == "True");
    let warning = |text: &str| Blocked {
        cause: format!("Destination {name}, {}", text.trim_end_matches('.')),
        remedy: format!("odigos describe destination {name}"),
    };
    works.flat_map(|one| one.message.split(" Warning: ").skip(1).map(warning).collect::<Vec<_>>()).collect()
}

/// Settings that decide about workloads. What is wrong with others (collectors, destinations) shows where it matters.
const WORKLOAD_SETTINGS: [&str; 14] = [
    "agentEnvVarsInjectionMethod",
    "agentImages",
    "agentLoader",
    "agents",
    "agentsImage",
    "agentsInitContainerResources",
    "allowConcurrentAgents",
    "ignoreDefaultNamespaces",
    "ignoredContainers",
    "ignoredNamespaces",
    "instrumentation",
    "mountMethod",
    "rollout",
    "userInstrumentationEnvs",
];

/// What was written for the workload and has no effect, or another one than was meant: by its Sources, rules, the configuration, and
/// its own variables.
fn remarks(facts: &Facts, selecting: &[&Source]) -> Vec<Blocked> {
    let mut found = Vec::new();
    for source in selecting {
        let name = source.metadata.name.as_deref().unwrap_or_default();
        let conditions = source.status.iter().flat_map(|status| &status.conditions);
        for condition in conditions.filter(|one| one.type_ == ACCEPTED && one.status == "True") {
            for warning in condition.message.split(" Warning: ").skip(1) {
                let cause = format!("Source {name}, {}", warning.trim_end_matches('.'));
                found.push(Blocked { cause, remedy: format!("change the Source {name}") });
            }
        }
    }
    if let Some(config) = &facts.config {
        let covered = Covered {
            workload: facts.workload.clone(),
            config,
            is_outdated: facts.pods.iter().any(|pod| Carries::of(pod, Some(config)) == Carries::Older),
            stated: facts.stated.clone(),
        };
        let rules: Vec<&InstrumentationRule> = facts.rules.iter().collect();
        let configuration = facts.effective.configuration.as_ref();
        let measures_network =
            configuration.and_then(|all| all.flag("metricsSources.networkMetrics.enabled")).unwrap_or_default();
        for (name, message) in agents::remarks(&rules, &covered, measures_network) {
            let remedy = format!("kubectl describe instrumentationrule {name} shows the rule for all workloads");
            found.push(Blocked { cause: format!("InstrumentationRule {name}: {message}"), remedy });
        }
        let exporting = config.spec.containers.iter().filter(|one| one.agent_enabled);
        for one in exporting.filter(|one| one.agent_enabled_message.contains(OWN_EXPORT)) {
            let cause =
                format!("container {} exports past the collectors: {}", one.container_name, one.agent_enabled_message);
            found.push(Blocked { cause, remedy: "remove the variable, or leave it if that is meant".into() });
        }
    }
    let concerns = |line: &&str| {
        // Severity, kind and name of the object, field and message.
        let field = line.splitn(4, ' ').nth(3).unwrap_or_default();
        let root = field.split(['.', ':', '[']).next().unwrap_or_default();
        !line.starts_with("info ") && WORKLOAD_SETTINGS.contains(&root)
    };
    for line in facts.effective.findings.lines().filter(concerns) {
        let remedy =
            "correct it in ConfigMap odigos-configuration (chart value config); docs/configuration.md lists every key";
        found.push(Blocked { cause: format!("configuration: {line}"), remedy: remedy.into() });
    }
    found
}

/// A Destination that the gateway does not send to.
pub(crate) fn broken_destination(destination: &Destination) -> Option<Blocked> {
    let name = destination.metadata.name.as_deref().unwrap_or_default();
    let conditions = destination.status.iter().flat_map(|status| &status.conditions);
    let broken = conditions.into_iter().find(|one| one.type_ == DESTINATION_CONFIGURED && one.status == "False")?;
    let cause = format!("Destination {name} is not configured, {}: {}", broken.reason, broken.message);
    Some(Blocked { cause, remedy: format!("odigos describe destination {name}") })
}

/// The screen.
pub(crate) fn text(report: &Report, now: Timestamp) -> String {
    let mut out = format!("{}: {}\n\n", report.workload, report.verdict);
    let sources: Vec<String> = report.sources.iter().map(|one| format!("{} ({})", one.name, one.says)).collect();
    out.push_str(&field("Sources", 8, &listed(&sources, "none covers it")));
    if !report.streams.is_empty() {
        let destinations = match &report.destinations {
            Some(all) => format!(" → {}", listed(all, "no destination")),
            None => String::new(),
        };
        out.push_str(&field("Streams", 8, &format!("{}{destinations}", report.streams.join(", "))));
    }
    if !report.service_name.is_empty() {
        out.push_str(&field("Service", 8, &report.service_name));
    }
    if !report.containers.is_empty() {
        out.push('\n');
        out.push_str(&container_table(&report.containers));
    }
    out.push('\n');
    for one in &report.conditions {
        let since = one.since.map(|since| format!(", for {}", age(since, now))).unwrap_or_default();
        let label = format!("{:<9}  {:<5}", one.question, one.answer);
        out.push_str(&field(&label, 16, &format!("{} ({}{since})", one.message, one.reason)));
    }
    let pods = &report.pods;
    if !pods.list.is_empty() {
        let counts = format!(
            "{} with the current agents, {} with older ones, {} without",
            pods.current, pods.older, pods.nothing
        );
        out.push_str(&format!("\nPods: {counts}\n"));
        let rows: Vec<Vec<String>> = pods
            .list
            .iter()
            .take(PODS)
            .map(|one| {
                vec![
                    format!("  {}", one.name),
                    match one.outdated_inputs.is_empty() {
                        true => one.carries.words().into(),
                        false => format!("{}, older {}", one.carries.words(), one.outdated_inputs.join(", ")),
                    },
                    one.phase.clone(),
                    one.ready.clone(),
                    one.health.clone(),
                ]
            })
            .collect();
        out.push_str(&output::aligned(&rows, &[]));
        if pods.list.len() > PODS {
            out.push_str(&format!("  and {} more\n", pods.list.len() - PODS));
        }
    }
    out.push_str(&ending(report.blocked.as_ref(), &report.notices));
    out
}

fn container_table(containers: &[ContainerLine]) -> String {
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let titles = ["CONTAINER", "LANGUAGE", "VERSION", "LIBC", "DISTRIBUTION", "AGENT"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for one in containers {
        let agent = match (one.agent, one.reason.as_str()) {
            (true, "") => "yes".to_owned(),
            (true, reason) => format!("yes, {reason}"),
            (false, reason) => format!("no, {}", shown(reason)),
        };
        let cells = [&one.name, &one.language, &one.version, &one.libc, &one.distribution];
        rows.push(cells.into_iter().map(|cell| shown(cell)).chain([agent]).collect());
    }
    let mut out = output::aligned(&rows, &[]);
    for one in containers {
        if !one.message.is_empty() {
            out.push_str(&field(&format!("  {}:", one.name), one.name.chars().count() + 3, &one.message));
        }
        if !one.rule_variables.is_empty() {
            let label = format!("  {}:", one.name);
            out.push_str(&field(
                &label,
                one.name.chars().count() + 3,
                &format!("rules set {}", one.rule_variables.join(", ")),
            ));
        }
    }
    out
}

/// The answer in short.
pub(crate) fn first_cause(report: &Report) -> String {
    format!("{}: {}\n{}", report.workload, report.verdict, ending(report.blocked.as_ref(), &report.notices))
}

/// The last lines of every screen. That nothing blocks a subject stands alone: never beside a cause.
pub(crate) fn ending(blocked: Option<&Blocked>, notices: &[Blocked]) -> String {
    let all = blocked.map(|blocked| ("Blocked", blocked)).into_iter().chain(notices.iter().map(|one| ("Note", one)));
    let shown: String = all
        .map(|(label, one)| format!("\n{}{}", field(label, 7, &one.cause), field("To do", 7, &one.remedy)))
        .collect();
    if shown.is_empty() { "\nNothing blocks it.\n".to_owned() } else { shown }
}
