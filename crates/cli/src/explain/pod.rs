//! `odigos why POD`: why one pod has its agents, or has not.
//!
//! Looks at what the pod carries, and asks the very planner of admission what it would do with such a pod now. Names of
//! variables and mounts are shown, never values.

use super::layout::{field, listed};
use super::next_step::next_step_for;
use super::{Blocked, Carries, WAIT, kubectl_name, outdated_inputs, restart};
use jiff::Timestamp;
use odigos_api::WorkloadRef;
use odigos_api::condition::kind::AGENT_ENABLED;
use odigos_api::instrumentation_config::{ContainerAgentConfig, InstrumentationConfig};
use odigos_api::instrumentation_instance::InstrumentationInstance;
use odigos_api::labels::{AGENTS_META_HASH, PREPARED_NODE, STREAM_CLASS};
use odigos_api::source::Source;
use odigos_catalog::distribution::{self, AGENTS_DIRECTORY};
use odigos_plan::agents::{self, Backoff, Reason};
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::scope::Scope;
use odigos_plan::coverage::{self, Matcher};
use odigos_plan::injection::{self, Outcome, SecurityLevel};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) pod: Value,
    pub(crate) workload: Option<WorkloadRef>,
    pub(crate) config: Option<InstrumentationConfig>,
    /// Every Source of its namespace.
    pub(crate) sources: Vec<Source>,
    /// The effective configuration; `None` where it may not be read.
    pub(crate) configuration: Option<String>,
    pub(crate) control_plane: String,
    /// `None` where they may not be read, or the pod has no node.
    pub(crate) namespace_labels: Option<BTreeMap<String, String>>,
    pub(crate) node_labels: Option<BTreeMap<String, String>>,
    pub(crate) instances: Vec<InstrumentationInstance>,
}

/// What is said of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) pod: String,
    pub(crate) verdict: String,
    pub(crate) workload: Option<String>,
    pub(crate) source: String,
    pub(crate) carries: Carries,
    pub(crate) hash: String,
    pub(crate) wanted_hash: String,
    pub(crate) stream_class: String,
    pub(crate) wanted_stream_class: String,
    pub(crate) node: String,
    pub(crate) containers: Vec<ContainerLine>,
    /// What brings the agents' files: volumes and init containers.
    pub(crate) files: Vec<String>,
    /// Cluster-wide settings of which it runs with older values.
    pub(crate) outdated_inputs: Vec<String>,
    pub(crate) blocked: Option<Blocked>,
    /// What does not keep it from its agents and is not as it could be.
    pub(crate) notices: Vec<Blocked>,
}

/// A container of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerLine {
    pub(crate) name: String,
    /// The distribution that is decided for it, or why there is none.
    pub(crate) decision: String,
    pub(crate) state: String,
    /// What the agents of its processes say.
    pub(crate) health: Vec<String>,
    /// Names of variables that the agent reads and the pod sets.
    pub(crate) variables: Vec<String>,
    /// Paths of the agents' folders in it.
    pub(crate) mounts: Vec<String>,
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn label(object: Option<&BTreeMap<String, String>>, key: &str) -> String {
    object.and_then(|labels| labels.get(key)).cloned().unwrap_or_default()
}

/// Makes the report.
pub(crate) fn report(facts: &Facts) -> Report {
    let pod = &facts.pod;
    let labels: BTreeMap<String, String> = pod
        .pointer("/metadata/labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default();
    let config = facts.config.as_ref();
    let carries = Carries::of(pod, config);
    let blocked = blocked(facts, carries);
    let outdated_inputs = outdated_inputs(pod, config);
    let notices = notices(facts, &outdated_inputs);
    let wants = config.is_some_and(|config| config.spec.agent_injection_enabled);
    let verdict = match (carries, wants) {
        (Carries::Current, _) if blocked.is_none() => "it has its agents, and they are those that are decided now",
        (Carries::Current, _) => "it has its agents, and something is wrong",
        (Carries::Older, true) => "it has agents of an earlier decision",
        (Carries::Older, false) => "it has agents, and nothing asks for them any more",
        (Carries::Nothing, true) => "it has no agents, although its workload shall have some",
        (Carries::Nothing, false) => "it has no agents, as decided",
    };
    let config_labels = config.and_then(|config| config.metadata.labels.as_ref());
    Report {
        pod: format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name")),
        verdict: verdict.to_owned(),
        workload: facts.workload.as_ref().map(ToString::to_string),
        source: source(facts),
        carries,
        hash: label(Some(&labels), AGENTS_META_HASH),
        wanted_hash: config.map(|config| config.spec.agents_meta_hash.clone()).unwrap_or_default(),
        stream_class: label(Some(&labels), STREAM_CLASS),
        wanted_stream_class: label(config_labels, STREAM_CLASS),
        node: node(facts),
        containers: list(pod, "/spec/containers").map(|container| line(container, facts)).collect(),
        files: files(pod),
        outdated_inputs,
        blocked,
        notices,
    }
}

/// What does not keep the pod from its agents: settings that it was created before.
fn notices(facts: &Facts, outdated_inputs: &[String]) -> Vec<Blocked> {
    let Some(workload) = facts.workload.as_ref().filter(|_| !outdated_inputs.is_empty()) else { return Vec::new() };
    let status = facts.config.as_ref().and_then(|config| config.status.as_ref());
    let recorded = |input: &String| {
        let found = status.and_then(|status| status.outdated_inputs.iter().find(|one| one.input == *input));
        let since = found.and_then(|one| one.since.as_ref()).map(|time| time.0);
        since.map_or_else(
            || input.clone(),
            |since| format!("{input} (changed {})", since.strftime("%Y-%m-%dT%H:%M:%SZ")),
        )
    };
    let names: Vec<String> = outdated_inputs.iter().map(recorded).collect();
    let cause = format!("the pod was created before a change of {}, and runs with the older value", names.join(", "));
    vec![Blocked { cause, remedy: restart(workload) }]
}

/// What the configuration says about namespaces; where it may not be read, only what holds in every installation.
fn scope(facts: &Facts) -> Scope {
    let configuration = facts.configuration.as_deref().and_then(|text| Configuration::parse(text).ok());
    Scope::of(&configuration.unwrap_or_default(), &facts.control_plane)
}

fn source(facts: &Facts) -> String {
    let Some(workload) = &facts.workload else { return "none: it belongs to no workload".into() };
    let selecting: Vec<&Source> = facts.sources.iter().filter(|one| Matcher::new(one).selects(workload)).collect();
    let names: Vec<String> = selecting.iter().filter_map(|one| one.metadata.name.clone()).collect();
    let decided = coverage::decide(&scope(facts), workload, &selecting);
    let decided = coverage::marked(&decided, workload, &names.join(", "));
    match names.is_empty() {
        true => decided.message,
        false => format!("{} ({})", decided.message.trim_end_matches('.'), names.join(", ")),
    }
}

fn node(facts: &Facts) -> String {
    let name = text(&facts.pod, "/spec/nodeName");
    if name.is_empty() {
        return "none yet".into();
    }
    match facts.node_labels.as_ref().map(|labels| label(Some(labels), PREPARED_NODE) == "true") {
        Some(true) => format!("{name}, which holds the agents' files"),
        Some(false) => format!("{name}, which does not say that it holds the agents' files"),
        None => name,
    }
}

fn line(container: &Value, facts: &Facts) -> ContainerLine {
    let name = text(container, "/name");
    let decided =
        facts.config.as_ref().and_then(|config| config.spec.containers.iter().find(|one| one.container_name == name));
    let decision = match decided {
        Some(one) if one.agent_enabled => one.otel_distro_name.clone(),
        Some(one) => format!("no agent, {}: {}", one.agent_enabled_reason, one.agent_enabled_message),
        None => "nothing is decided".into(),
    };
    let mut statuses = list(&facts.pod, "/status/containerStatuses");
    let status = statuses.find(|one| text(one, "/name") == name);
    let instances = facts.instances.iter().filter(|one| one.spec.container_name == name);
    let health = instances.filter_map(|one| one.status.as_ref()).map(|status| {
        let word = match status.healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "starting",
        };
        let details = [&status.reason, &status.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        if details.is_empty() { word.to_owned() } else { format!("{word} ({details})") }
    });
    let known = known_variables(decided);
    let variables = list(container, "/env").map(|one| text(one, "/name")).filter(|name| known.contains(name));
    let mounts = list(container, "/volumeMounts").map(|one| text(one, "/mountPath"));
    let mounts = mounts.filter(|path| path.starts_with(AGENTS_DIRECTORY));
    ContainerLine {
        decision,
        state: status.map(state).unwrap_or_default(),
        health: health.collect(),
        variables: variables.collect(),
        mounts: mounts.collect(),
        name,
    }
}

fn state(status: &Value) -> String {
    let states = status.get("state").and_then(Value::as_object).into_iter().flatten();
    let shown = states.into_iter().map(|(word, details)| match details.get("reason").and_then(Value::as_str) {
        Some(reason) => format!("{word} ({reason})"),
        None => word.clone(),
    });
    let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
    let shown = shown.collect::<Vec<_>>().join(", ");
    if restarts > 0 { format!("{shown}, restarted {restarts} times") } else { shown }
}

/// Names of every variable that admission may set in a container with this decision.
fn known_variables(decided: Option<&ContainerAgentConfig>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = [
        "LD_PRELOAD",
        "ODIGOS_CONTAINER_NAME",
        "ODIGOS_DISTRO_NAME",
        "ODIGOS_POD_NAME",
        "ODIGOS_WORKLOAD_NAMESPACE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_LOGS_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "OTEL_TRACES_EXPORTER",
    ]
    .map(str::to_owned)
    .into();
    let distribution = decided.and_then(|one| Some((one, distribution::find(&one.otel_distro_name)?)));
    if let Some((decided, distribution)) = distribution {
        names.extend(distribution.environment.iter().map(|one| one.name.clone()));
        names.extend(agents::variables(decided, distribution).into_keys());
    }
    names
}

/// Volumes and init containers that bring the agents' files.
fn files(pod: &Value) -> Vec<String> {
    let is_ours = |name: &String| name.starts_with("odigos-agent");
    let volumes = list(pod, "/spec/volumes").map(|one| text(one, "/name")).filter(is_ours);
    let volumes = volumes.map(|name| format!("volume {name}"));
    let init = list(pod, "/spec/initContainers").map(|one| text(one, "/name")).filter(is_ours);
    volumes.chain(init.map(|name| format!("init container {name}"))).collect()
}

/// The first cause that keeps the pod from what is decided, or its workload from agents.
fn blocked(facts: &Facts, carries: Carries) -> Option<Blocked> {
    let because = |cause: String, remedy: String| Some(Blocked { cause, remedy });
    let Some(workload) = &facts.workload else {
        let cause = "no workload owns the pod, and Sources select workloads".to_owned();
        return because(cause, "let a Deployment or another workload make it".into());
    };
    let Some(config) = &facts.config else {
        let selecting: Vec<&Source> = facts.sources.iter().filter(|one| Matcher::new(one).selects(workload)).collect();
        let decided = coverage::decide(&scope(facts), workload, &selecting);
        let draft = coverage::marked(&decided, workload, "");
        if carries != Carries::Nothing {
            let cause = "no Source covers its workload any more, and the pod was made before".to_owned();
            return because(cause, format!("kubectl rollout restart {}", kubectl_name(workload)));
        }
        let remedy = next_step_for(&draft.reason, &draft.message, workload);
        return because(
            draft.message.trim_end_matches('.').to_owned(),
            remedy.unwrap_or_else(|| "wait until the instrumentor has looked at it; it may not be running".into()),
        );
    };
    if let Some(backoff) = Backoff::of_pod(&facts.pod) {
        let cause = format!("container {} does not start: {}", backoff.container, backoff.reason);
        let name = text(&facts.pod, "/metadata/name");
        let log = format!("kubectl logs {name} -n {} -c {} --previous", workload.namespace, backoff.container);
        return because(cause, format!("mend the pod: {log}"));
    }
    let by_kubectl = format!("kubectl rollout restart {}", kubectl_name(workload));
    if !config.spec.agent_injection_enabled {
        if carries != Carries::Nothing {
            return because("its workload shall have no agents, and the pod was made before that".into(), by_kubectl);
        }
        let conditions = config.status.iter().flat_map(|status| &status.conditions);
        let agent = conditions.into_iter().find(|one| one.type_ == AGENT_ENABLED);
        let cause = agent.map(|one| format!("{}: {}", one.reason, one.message));
        let remedy = agent.and_then(|one| next_step_for(&one.reason, &one.message, workload));
        return because(
            cause.unwrap_or_else(|| "nothing is decided about agents yet".into()),
            remedy.unwrap_or_else(|| WAIT.into()),
        );
    }
    if carries == Carries::Current {
        let unhealthy =
            facts.instances.iter().find(|one| one.status.as_ref().is_some_and(|one| one.healthy == Some(false)));
        return unhealthy.and_then(|one| {
            let status = one.status.as_ref()?;
            let said = [&status.reason, &status.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
            let cause = format!("the agent in container {} is unhealthy: {said}", one.spec.container_name);
            because(cause, format!("kubectl logs {} -n {}", text(&facts.pod, "/metadata/name"), workload.namespace))
        });
    }
    if config.spec.pod_manifest_injection_optional == Some(true) {
        // Such agents attach to what runs and leave no mark.
        return None;
    }
    let created: Option<Timestamp> = text(&facts.pod, "/metadata/creationTimestamp").parse().ok();
    let decided = config.spec.agents_meta_hash_changed_time.as_ref().map(|time| time.0);
    if created.zip(decided).is_some_and(|(created, decided)| created < decided) {
        return because("the pod was made before the decision about its agents".into(), by_kubectl);
    }
    let (cause, remedy) = match admission(facts, workload, config) {
        Outcome::Refused(reason) => (format!("admission leaves it as it is: {reason}"), "change what is named, then the pods are made anew".to_owned()),
        Outcome::Injected(_) => (
            "admission would give it its agents now, so the instrumentor was not asked or did not answer when it was made".to_owned(),
            by_kubectl,
        ),
        Outcome::Unchanged => (
            "no agent of its workload fits this pod (another operating system, or containers of other names)".to_owned(),
            "nothing, unless that is a mistake".to_owned(),
        ),
    };
    because(cause, remedy)
}

/// What admission does with such a pod now.
fn admission(facts: &Facts, workload: &WorkloadRef, config: &InstrumentationConfig) -> Outcome {
    let configuration = Configuration::parse(facts.configuration.as_deref().unwrap_or_default()).unwrap_or_default();
    let options = injection::Options::of(&configuration, &facts.control_plane);
    let volumes = facts.pod.pointer("/spec/volumes").and_then(serde_json::Value::as_array).into_iter().flatten();
    let volumes = volumes.filter_map(|volume| Some((volume["name"].as_str()?, volume)));
    injection::inject(&injection::Subject {
        pod: &facts.pod,
        workload,
        config,
        level: facts.namespace_labels.as_ref().map(|labels| SecurityLevel::of(Some(labels))),
        has_host_path: injection::has_host_path(volumes.map(|(name, volume)| (name, volume.get("hostPath").is_some()))),
        // Amounts decide over no agent.
        bounds: injection::Bounds::default(),
        // Unknown nodes only choose how files come in.
        has_prepared_nodes: facts
            .node_labels
            .as_ref()
            .is_none_or(|labels| label(Some(labels), PREPARED_NODE) == "true"),
        // What the instrumentor found stands in the condition.
        lacks_pull_secret: config
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|one| one.type_ == AGENT_ENABLED && one.reason == Reason::MissingPullSecret.as_str()),
        options: &options,
    })
}

/// The screen.
pub(crate) fn screen(report: &Report) -> String {
    let mut out = format!("Pod {}: {}\n\n", report.pod, report.verdict);
    let shown = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    out.push_str(&field("Workload", 8, report.workload.as_deref().unwrap_or("none")));
    out.push_str(&field("Source", 8, &report.source));
    let hashes = match report.carries {
        Carries::Current => format!("{}, as decided", report.hash),
        Carries::Nothing if report.wanted_hash.is_empty() => "none, as decided".to_owned(),
        _ => format!("{}; decided is {}", shown(&report.hash, "none"), shown(&report.wanted_hash, "none")),
    };
    out.push_str(&field("Agents", 8, &hashes));
    if !(report.stream_class.is_empty() && report.wanted_stream_class.is_empty()) {
        let class = match report.stream_class == report.wanted_stream_class {
            true => report.stream_class.clone(),
            false => {
                let now = shown(&report.stream_class, "none");
                format!("{now}; decided is {}", shown(&report.wanted_stream_class, "none"))
            }
        };
        out.push_str(&field("Class", 8, &class));
    }
    out.push_str(&field("Node", 8, &report.node));
    if !report.files.is_empty() {
        out.push_str(&field("Files", 8, &report.files.join(", ")));
    }
    for one in &report.containers {
        out.push_str(&format!("\nContainer {}\n", one.name));
        out.push_str(&field("  agent", 11, &one.decision));
        if !one.state.is_empty() {
            out.push_str(&field("  state", 11, &one.state));
        }
        for health in &one.health {
            out.push_str(&field("  health", 11, health));
        }
        if !one.variables.is_empty() {
            out.push_str(&field("  variables", 11, &one.variables.join(", ")));
        }
        if !one.mounts.is_empty() {
            out.push_str(&field("  mounts", 11, &listed(&one.mounts, "none")));
        }
    }
    out.push_str(&super::workload::ending(report.blocked.as_ref(), &report.notices));
    out
}
