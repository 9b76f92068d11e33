//! Agents in new pods: which variables, mounts and volumes a pod gets, or why it gets none
//! (`spec/sources-and-instrumentation.md` 5).
//!
//! Owns the change of a pod, from the recorded decision of its InstrumentationConfig. All or nothing for each pod, the same
//! again changes nothing, and nothing of the user's is lost: [`inject`] either returns the whole pod or a refusal in words.
//! Never decides which agent a container gets (`agents` did), never asks a server. Steps: `mount` brings the files,
//! `environment` the variables, `attributes` says what the telemetry is about, `patch` what the API server is sent.

mod attributes;
mod environment;
mod limit_range;
mod mount;
mod options;
mod patch;
mod pull_secret;
#[cfg(test)]
mod tests;

pub use limit_range::Bounds;
pub use mount::{SecurityLevel, has_host_path};
pub use options::{MountMethod, Options};
pub use patch::patch;
pub use pull_secret::{LackingPullSecret, has_files_from_node};

use crate::agents::inputs;
use environment::Container;
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::{
    ContainerAgentConfig, EnvInjectionMethod, InstrumentationConfig, RuntimeDetails,
};
use odigos_api::labels::{AGENTS_META_HASH, CLUSTER_INPUTS};
use odigos_catalog::distribution::{self, AGENTS_DIRECTORY, Attach, Distribution};
use serde_json::{Value, json};

/// The folder below the agents' folder that holds the loader.
const LOADER: &str = "loader";

/// A new pod and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The pod as the API server sends it.
    pub pod: &'a Value,
    /// Its workload.
    pub workload: &'a WorkloadRef,
    /// The decision for the workload; also what was detected in its containers.
    pub config: &'a InstrumentationConfig,
    /// What the pod's namespace enforces; `None` when that is not known, which counts as the strictest level.
    pub level: Option<SecurityLevel>,
    /// Whether pods of the workload run with the agents' files from the node.
    pub has_host_path: bool,
    /// What containers of the namespace may request.
    pub bounds: Bounds,
    /// Whether some node says by its label that it holds the agents' files.
    pub has_prepared_nodes: bool,
    /// Whether the Secret for images of agents is named and the pod's namespace lacks it.
    pub lacks_pull_secret: bool,
    /// Settings.
    pub options: &'a Options,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing is to be done.
    Unchanged,
    /// It shall look like this.
    Injected(Box<Value>),
    /// It cannot get its agents, in words for people; it stays as it is.
    Refused(String),
}

/// Decides about a pod.
#[must_use]
pub fn inject(subject: &Subject<'_>) -> Outcome {
    let spec = &subject.config.spec;
    if !spec.agent_injection_enabled || is_elsewhere(subject.pod) {
        return Outcome::Unchanged;
    }
    let mut pod = subject.pod.clone();
    match injected(subject, &mut pod) {
        Err(reason) => Outcome::Refused(reason),
        Ok(false) => Outcome::Unchanged,
        Ok(true) if pod == *subject.pod => Outcome::Unchanged,
        Ok(true) => Outcome::Injected(Box::new(pod)),
    }
}

/// Pods that no agent can get into: those of Windows nodes, and images of what a kubelet runs from a file.
fn is_elsewhere(pod: &Value) -> bool {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    text("/spec/os/name") == Some("windows")
        || text("/spec/nodeSelector/kubernetes.io~1os") == Some("windows")
        || text("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}

/// A container of the pod that gets an agent.
struct Target<'a> {
    index: usize,
    name: &'a str,
    config: &'a ContainerAgentConfig,
    distribution: &'static Distribution,
    details: Option<&'a RuntimeDetails>,
    uses_loader: bool,
}

/// Changes the pod; returns whether it has a container that gets an agent.
fn injected(subject: &Subject<'_>, pod: &mut Value) -> Result<bool, String> {
    let spec = &subject.config.spec;
    let targets = targets(subject)?;
    if targets.is_empty() {
        return Ok(false);
    }
    if spec.service_name.is_empty() {
        return Err("the InstrumentationConfig names no service (spec.serviceName)".into());
    }
    refuse_competitor(subject.pod)?;
    let sends_from_pod = |target: &Target<'_>| target.distribution.attach == Attach::Environment;
    if targets.iter().any(sends_from_pod) {
        refuse_without_names(subject.pod)?;
    }
    for target in &targets {
        let in_container = |reason: String| format!("container {}: {reason}", target.name);
        let found = pod.pointer_mut(&format!("/spec/containers/{}", target.index));
        let container = found.ok_or_else(|| in_container("it is not in the pod".into()))?;
        let mut environment = Container::of(container, target);
        environment.add_agent(subject).map_err(in_container)?;
        container["env"] = environment.into_list();
    }
    let has_image = mount::add(subject, &targets, pod)?;
    let mut inputs = cluster_inputs(subject);
    if !has_image {
        // The agent of the node keeps its files up to date.
        inputs.remove(inputs::AGENTS_IMAGE);
    }
    pod["metadata"]["labels"][AGENTS_META_HASH] = json!(spec.agents_meta_hash);
    pod["metadata"]["annotations"][CLUSTER_INPUTS] = json!(inputs::annotation(&inputs));
    Ok(true)
}

/// What the pod is given of the configuration: as decided, and as it is read here at this moment.
fn cluster_inputs(subject: &Subject<'_>) -> inputs::ClusterInputs {
    let (spec, options) = (&subject.config.spec, subject.options);
    let settings = inputs::Settings {
        user_variables: &options.user_variables,
        images: &options.agent_images,
        injection: options.injection,
        agents_image: &options.agents_image,
    };
    let mut all = spec.cluster_inputs.clone();
    all.extend(inputs::of(&spec.containers, settings));
    all
}

fn targets<'a>(subject: &Subject<'a>) -> Result<Vec<Target<'a>>, String> {
    let mut targets = Vec::new();
    let containers = subject.pod.pointer("/spec/containers").and_then(Value::as_array);
    for (index, container) in containers.into_iter().flatten().enumerate() {
        let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
        let decided = subject.config.spec.containers.iter().find(|one| one.container_name == name);
        let Some(config) = decided.filter(|one| one.agent_enabled && !one.otel_distro_name.is_empty()) else {
            continue;
        };
        let distribution = distribution::find(&config.otel_distro_name).ok_or_else(|| {
            format!("container {name}: this release knows no distribution {:?}", config.otel_distro_name)
        })?;
        let uses_loader = match config.env_injection_method {
            Some(EnvInjectionMethod::Loader) => loader_fits(subject, name, container)?,
            _ => false,
        };
        let details = details(subject.config, name);
        targets.push(Target { index, name, config, distribution, details, uses_loader });
    }
    Ok(targets)
}

/// What is known of a container: what the user stated, else what was found.
fn details<'a>(config: &'a InstrumentationConfig, name: &str) -> Option<&'a RuntimeDetails> {
    let stated = config.spec.containers_overrides.iter().find(|one| one.container_name == name);
    let found = || config.status.as_ref()?.runtime_details_by_container.iter().find(|one| one.container_name == name);
    stated.and_then(|one| one.runtime_info.as_ref()).or_else(found)
}

/// The recorded decision for a loader, checked once more against the manifest (5.4).
fn loader_fits(subject: &Subject<'_>, name: &str, container: &Value) -> Result<bool, String> {
    let list = container.get("env").and_then(Value::as_array);
    let preload = list.into_iter().flatten().find(|one| one.get("name").and_then(Value::as_str) == Some("LD_PRELOAD"));
    let is_ours = |entry: &Value| entry.get("value").and_then(Value::as_str) == Some(&loader_path());
    match preload {
        Some(entry) if !is_ours(entry) && subject.options.insists_on_loader() => Err(format!(
            "container {name}: agentEnvVarsInjectionMethod is loader, and the pod sets LD_PRELOAD itself; loader-fallback-to-pod-manifest would use the pod's manifest"
        )),
        Some(entry) => Ok(is_ours(entry)),
        None => Ok(true),
    }
}

fn loader_path() -> String {
    format!("{AGENTS_DIRECTORY}/{LOADER}/loader.so")
}

/// A pod that asks another operator for agents gets them from there (5.7).
fn refuse_competitor(pod: &Value) -> Result<(), String> {
    const PREFIX: &str = "instrumentation.opentelemetry.io/inject-";
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut asked = annotations.into_iter().flatten();
    match asked.find(|(key, value)| key.starts_with(PREFIX) && value.as_str() != Some("false")) {
        Some((key, _)) => {
            Err(format!("its annotation {key} asks the OpenTelemetry Operator for an agent; remove one of both"))
        }
        None => Ok(()),
    }
}

/// Agents find the collector of their node by the name of a Service (5.9).
fn refuse_without_names(pod: &Value) -> Result<(), String> {
    let policy = pod.pointer("/spec/dnsPolicy").and_then(Value::as_str).unwrap_or("ClusterFirst");
    let is_on_host = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
    if policy == "Default" || (is_on_host && policy == "ClusterFirst") {
        return Err(
            "its DNS policy resolves no names of the cluster, so the agent could not find the collector of its node; set dnsPolicy ClusterFirst, or ClusterFirstWithHostNet with hostNetwork".into(),
        );
    }
    Ok(())
}
