//! What of the effective configuration the agent decision looks at (`spec/sources-and-instrumentation.md` 8).

use super::injection::InjectionMode;
use super::inputs::SignalMode;
use crate::configuration::Configuration;
use crate::configuration::texts::Text;
use crate::detection::Mode;
use crate::name_pattern::NamePatterns;
use serde_json::Value;
use std::collections::BTreeMap;

/// Settings of the agent decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of containers that never get an agent, some with `*`.
    pub ignored_containers: NamePatterns,
    /// Whether agents may run beside those of other vendors, unless a Source says otherwise.
    pub allow_concurrent_agents: bool,
    /// How appended variables come into the process.
    pub injection: InjectionMode,
    /// Whether agents come with a loader that can be preloaded.
    pub has_loader: bool,
    /// Images with the files of distributions that the release has none of (`agentImages.<distribution>`).
    pub agent_images: BTreeMap<String, String>,
    /// Variables that the user wants in every container with an agent of a language (`userInstrumentationEnvs`).
    pub user_variables: BTreeMap<String, BTreeMap<String, String>>,
    /// Which signals agents are told to send (`agents.signals`).
    pub signals: SignalMode,
    /// Whether a change of a cluster-wide input restarts workloads (`rollout.onInputChange: restart`).
    pub restarts_on_input_change: bool,
    /// Image of the release's own agents (`agentsImage`); empty when there is none that a pod can pull.
    pub agents_image: String,
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
        Self {
            ignored_containers: NamePatterns::new(configuration.texts("ignoredContainers")),
            allow_concurrent_agents: configuration.flag("allowConcurrentAgents").unwrap_or_default(),
            injection: InjectionMode::parse(configuration.text("agentEnvVarsInjectionMethod").unwrap_or_default()),
            has_loader: configuration.text("agentLoader").is_some(),
            agent_images: images(configuration),
            user_variables: user_variables(configuration),
            signals: SignalMode::parse(configuration.text("agents.signals").unwrap_or_default()),
            restarts_on_input_change: configuration.text("rollout.onInputChange") == Some("restart"),
            agents_image: configuration.usable_agents_image().unwrap_or_default().to_owned(),
            lacks_agents: configuration.agents_image().is_none(),
            lacks_node_agents: !Mode::of(configuration).has_node_agents(),
            trace_id_suffix: configuration.text("traceIdSuffix").map(str::to_owned),
        }
    }
}

/// Images of distributions that the release has no files of, by distribution.
pub(crate) fn images(configuration: &Configuration) -> BTreeMap<String, String> {
    let fits = |image: &&str| !image.is_empty() && Text::Image.problem(image).is_none();
    let image = |image: &Value| image.as_str().map(str::trim).filter(fits).map(str::to_owned);
    let stated = configuration.get("agentImages").and_then(Value::as_object).into_iter().flatten();
    // The Secret that images are pulled with stands beside them.
    let stated = stated.filter(|(name, _)| !name.eq_ignore_ascii_case("pullSecret"));
    stated.filter_map(|(name, value)| Some((name.clone(), image(value)?))).collect()
}

/// Variables of the user by language, as far as the language is enabled.
pub(crate) fn user_variables(configuration: &Configuration) -> BTreeMap<String, BTreeMap<String, String>> {
    let stated = configuration.get("userInstrumentationEnvs.languages").and_then(Value::as_object);
    let enabled = stated.into_iter().flatten().filter(|(_, value)| is_enabled(value));
    enabled.map(|(language, value)| (language.clone(), pairs(value))).collect()
}

fn is_enabled(language: &Value) -> bool {
    language.get("enabled").is_some_and(|value| value == &Value::Bool(true) || value.as_str() == Some("true"))
}

/// Names and values, written as a map or as a list of pairs.
fn pairs(language: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match language.get("env") {
        Some(Value::Object(map)) => map.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect(),
        Some(Value::Array(list)) => {
            let pair = |one: &Value| Some((text(one.get("name")?)?, text(one.get("value")?)?));
            list.iter().filter_map(pair).collect()
        }
        _ => BTreeMap::new(),
    }
}
