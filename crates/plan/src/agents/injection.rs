//! How the variables of an agent come into a process, and what makes that impossible
//! (`spec/sources-and-instrumentation.md` 5.3, 5.4).

use odigos_api::instrumentation_config::{EnvInjectionMethod, RuntimeDetails};
use odigos_catalog::distribution::{AGENTS_DIRECTORY, Distribution, Existing};
use std::collections::BTreeMap;

/// The setting `agentEnvVarsInjectionMethod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InjectionMode {
    /// By a preloaded loader, or not at all.
    Loader,
    /// By a preloaded loader where that is possible, else in the pod's manifest.
    #[default]
    LoaderOrManifest,
    /// In the pod's manifest.
    Manifest,
}

impl InjectionMode {
    /// The words of the setting.
    pub(crate) const WORDS: [&str; 3] = ["loader", "loader-fallback-to-pod-manifest", "pod-manifest"];

    /// The word of the mode.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        let [loader, fallback, manifest] = Self::WORDS;
        match self {
            Self::Loader => loader,
            Self::LoaderOrManifest => fallback,
            Self::Manifest => manifest,
        }
    }

    /// The setting's word; one that is not known is the default.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "loader" => Self::Loader,
            "pod-manifest" => Self::Manifest,
            _ => Self::default(),
        }
    }
}

/// Chooses the method; `None` where nothing is appended. An error says why a loader was insisted on in vain.
pub(super) fn method(
    mode: InjectionMode,
    has_loader: bool,
    distribution: &Distribution,
    details: &RuntimeDetails,
) -> Result<Option<EnvInjectionMethod>, String> {
    if distribution.appended().next().is_none() {
        return Ok(None);
    }
    let manifest = Ok(Some(EnvInjectionMethod::PodManifest));
    if !distribution.is_loader_capable || mode == InjectionMode::Manifest {
        return manifest;
    }
    let hindrance = hindrance_of_loader(has_loader, details);
    match (mode, hindrance) {
        (_, None) => Ok(Some(EnvInjectionMethod::Loader)),
        (InjectionMode::Loader, Some(hindrance)) => Err(format!(
            "agentEnvVarsInjectionMethod is loader, and {hindrance}; loader-fallback-to-pod-manifest would use the pod's manifest."
        )),
        (_, Some(_)) => manifest,
    }
}

fn hindrance_of_loader(has_loader: bool, details: &RuntimeDetails) -> Option<String> {
    let preload = details.env_vars.iter().find(|one| one.name == "LD_PRELOAD");
    // A status of another implementation may hold its own loader; that is no foreign value.
    let foreign = preload.filter(|one| !one.value.contains(&format!("{AGENTS_DIRECTORY}/")));
    match (has_loader, details.secure_execution_mode, foreign) {
        (false, ..) => Some("no loader is configured".to_owned()),
        (_, Some(true), _) => {
            Some("the kernel runs the process in secure mode, which ignores preloaded libraries".to_owned())
        }
        (_, None, _) => Some("it is not known whether the kernel runs the process in secure mode".to_owned()),
        (.., Some(preload)) => Some(format!("LD_PRELOAD is already set to {:?}", preload.value)),
        _ => None,
    }
}

/// A variable of which the agent needs its own value, and the process has another.
pub(super) fn conflict(
    distribution: &Distribution,
    parameters: &BTreeMap<String, String>,
    details: &RuntimeDetails,
) -> Option<String> {
    let exclusive = distribution.environment.iter().filter(|one| one.existing == Existing::Conflict);
    exclusive.into_iter().find_map(|variable| {
        let ours = Distribution::filled(&variable.value, parameters);
        let seen = details.env_vars.iter().chain(&details.env_from_container_runtime);
        let other = seen
            .into_iter()
            .find(|one| one.name == variable.name && !one.value.is_empty() && !one.value.eq_ignore_ascii_case(&ours))?;
        Some(format!(
            "{} is already set to {:?}, and {} needs it; remove it from the pod or the image.",
            other.name, other.value, distribution.name
        ))
    })
}
