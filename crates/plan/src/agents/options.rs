//! What of the effective configuration the agent decision looks at (`spec/sources-and-instrumentation.md` 8).

use super::injection::InjectionMode;
use crate::configuration::Configuration;
use crate::detection::Mode;
use serde_json::Value;
use std::collections::BTreeSet;

/// Settings of the agent decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of containers that never get an agent.
    pub ignored_containers: BTreeSet<String>,
    /// Whether agents may run beside those of other vendors, unless a Source says otherwise.
    pub allow_concurrent_agents: bool,
    /// How appended variables come into the process.
    pub injection: InjectionMode,
    /// Whether agents come with a loader that can be preloaded.
    pub has_loader: bool,
    /// Distributions for which the user has named an image with their files (`agentImages.<distribution>`).
    pub agent_images: BTreeSet<String>,
    /// Whether the files of the release's own agents are nowhere: no image that holds them is named (`agentsImage`). Nothing is
    /// restarted or changed for an agent that could not come.
    pub lacks_agents: bool,
    /// Whether nodes have no agent of ours, which would have processes instrumented from outside.
    pub lacks_node_agents: bool,
    /// Marker in the ids of traces: one byte, as two hexadecimal digits.
    pub trace_id_suffix: Option<String>,
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let images = configuration.get("agentImages").and_then(Value::as_object);
        let has_image = |image: &Value| image.as_str().is_some_and(|reference| !reference.trim().is_empty());
        Self {
            ignored_containers: configuration.texts("ignoredContainers").into_iter().collect(),
            allow_concurrent_agents: configuration.flag("allowConcurrentAgents").unwrap_or_default(),
            injection: InjectionMode::parse(configuration.text("agentEnvVarsInjectionMethod").unwrap_or_default()),
            has_loader: configuration.text("agentLoader").is_some(),
            agent_images: images
                .into_iter()
                .flatten()
                .filter(|(_, image)| has_image(image))
                .map(|(name, _)| name.clone())
                .collect(),
            lacks_agents: configuration.agents_image().is_none(),
            lacks_node_agents: !Mode::of(configuration).has_node_agents(),
            trace_id_suffix: configuration.text("traceIdSuffix").map(str::to_owned),
        }
    }
}
