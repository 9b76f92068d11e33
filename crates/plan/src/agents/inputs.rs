//! Cluster-wide inputs of agents: what of the configuration concerns every workload and reaches a process only when its pod
//! is created.
//!
//! Owns which settings those are and how they are told apart. A change of one restarts nothing by itself
//! (`rollout.onInputChange`); pods say which they were created with, so that those with older ones can be counted. Never
//! holds a value of a user, only digests.

use super::injection::InjectionMode;
use crate::objects;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::Signal;
use odigos_api::instrumentation_config::ContainerAgentConfig;
use odigos_api::rollout::OutdatedInput;
use odigos_catalog::distribution::{self, Attach, Distribution, Files};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Inputs by path in the configuration, as digests.
pub type ClusterInputs = BTreeMap<String, String>;

/// Path of the setting that says which signals agents send.
pub const SIGNALS: &str = "agents.signals";
const USER_VARIABLES: &str = "userInstrumentationEnvs";
const IMAGES: &str = "agentImages";
const INJECTION: &str = "agentEnvVarsInjectionMethod";
/// Path of the setting that names the image of the release's own agents. Pods that have the files from their node record none.
pub const AGENTS_IMAGE: &str = "agentsImage";

/// Inputs that are reported and never restart anything: the image changes with every release, and no upgrade restarts an application.
const REPORTED_ONLY: [&str; 1] = [AGENTS_IMAGE];

/// The setting `agents.signals`: which signals agents are told to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignalMode {
    /// All that they can, whatever destinations take at the moment; node collectors drop what no component takes. A change
    /// of Destinations changes no agent.
    #[default]
    All,
    /// What destinations take when the pod is created. A change of Destinations then makes agents outdated.
    AsNeeded,
}

impl SignalMode {
    /// The words of the setting.
    pub(crate) const WORDS: [&str; 2] = ["all", "asNeeded"];

    /// The setting's word; one that is not known is the default.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        if word == "asNeeded" { Self::AsNeeded } else { Self::All }
    }

    /// What an agent is configured to send, before any rule.
    pub(super) fn signals(self, distribution: &Distribution, taken: &BTreeSet<Signal>) -> BTreeSet<Signal> {
        match self {
            Self::All => distribution.signals.iter().copied().collect(),
            Self::AsNeeded => taken.intersection(&distribution.signals).copied().collect(),
        }
    }
}

/// Settings that inputs are made of, as far as admission reads them too.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Variables of the user by language (`userInstrumentationEnvs`).
    pub user_variables: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Images of distributions that the release has no files of (`agentImages`).
    pub images: &'a BTreeMap<String, String>,
    /// How appended variables come in (`agentEnvVarsInjectionMethod`).
    pub injection: InjectionMode,
    /// Image of the release's own agents (`agentsImage`).
    pub agents_image: &'a str,
}

/// The inputs of a workload's agents, except for [`SIGNALS`], which the decision adds.
#[must_use]
pub fn of(containers: &[ContainerAgentConfig], settings: Settings<'_>) -> ClusterInputs {
    let enabled = containers.iter().filter(|one| one.agent_enabled);
    let distributions: BTreeMap<&str, &Distribution> = enabled
        .filter_map(|one| Some((one.otel_distro_name.as_str(), distribution::find(&one.otel_distro_name)?)))
        .collect();
    // What attaches from the node takes none of these into the pod.
    let in_pods = || distributions.values().filter(|one| one.attach == Attach::Environment);
    let languages: BTreeSet<&str> = distributions.values().map(|one| one.language.as_str()).collect();
    let variables: BTreeMap<&str, _> =
        languages.into_iter().filter_map(|language| Some((language, settings.user_variables.get(language)?))).collect();
    let images: BTreeMap<&str, _> = in_pods()
        .filter(|one| one.files == Files::Configured)
        .filter_map(|one| Some((one.name.as_str(), settings.images.get(&one.name)?)))
        .collect();
    let is_injected = in_pods().any(|one| one.is_loader_capable && one.appended().next().is_some());
    let digest = |is_set: bool, text: String| if is_set { objects::hash(text, 8) } else { String::new() };
    let has_own_files = in_pods().any(|one| one.files == Files::Included);
    BTreeMap::from([
        (USER_VARIABLES.to_owned(), digest(!variables.is_empty(), json!(variables).to_string())),
        (IMAGES.to_owned(), digest(!images.is_empty(), json!(images).to_string())),
        (INJECTION.to_owned(), if is_injected { settings.injection.as_str().to_owned() } else { String::new() }),
        (
            AGENTS_IMAGE.to_owned(),
            digest(has_own_files && !settings.agents_image.is_empty(), settings.agents_image.to_owned()),
        ),
    ])
}

/// The inputs of which `older` has another value than `current`. One that `older` does not name was recorded by an older
/// release, and counts as current.
#[must_use]
pub fn changed<'a>(older: &ClusterInputs, current: &'a ClusterInputs) -> Vec<&'a str> {
    let differs = |(path, value): &(&String, &String)| older.get(*path).is_some_and(|before| before != *value);
    current.iter().filter(differs).map(|(path, _)| path.as_str()).collect()
}

/// Whether a change of an input restarts workloads where that is requested (`rollout.onInputChange: restart`).
#[must_use]
pub fn restarts(path: &str) -> bool {
    !REPORTED_ONLY.contains(&path)
}

/// Reads the annotation of a pod; `None` where there is none that can be read.
#[must_use]
pub fn parse(annotation: &str) -> Option<ClusterInputs> {
    serde_json::from_str(annotation).ok()
}

/// The annotation of a pod.
#[must_use]
pub fn annotation(inputs: &ClusterInputs) -> String {
    json!(inputs).to_string()
}

/// Counts the pods that run with older inputs. `pods` are those that carry the current agents, with what they say;
/// `before` is what was recorded last: an input stays recorded since the time at which it was first observed.
#[must_use]
pub fn outdated<'a>(
    pods: impl Iterator<Item = &'a ClusterInputs>,
    current: &ClusterInputs,
    before: &[OutdatedInput],
    now: Timestamp,
) -> Vec<OutdatedInput> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for pod in pods {
        for path in changed(pod, current) {
            *counts.entry(path).or_default() += 1;
        }
    }
    let since = |path: &str| before.iter().find(|one| one.input == path).and_then(|one| one.since.clone());
    let now = || Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let one = |(path, pods): (&str, u32)| OutdatedInput {
        input: path.to_owned(),
        pods,
        since: since(path).or_else(|| Some(now())),
    };
    counts.into_iter().map(one).collect()
}

/// What is outdated, for people; without a full stop. Empty where nothing is.
#[must_use]
pub fn words(outdated: &[OutdatedInput]) -> String {
    let one = |one: &OutdatedInput| {
        let pods = if one.pods == 1 { "1 pod runs".to_owned() } else { format!("{} pods run", one.pods) };
        let since = one.since.as_ref().map(|time| format!(" since {}", time.0.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let why = if one.input == SIGNALS { ", by what destinations took when they were created" } else { "" };
        format!("{pods} with an older {}{why}{}", one.input, since.unwrap_or_default())
    };
    outdated.iter().map(one).collect::<Vec<_>>().join("; ")
}
