//! Several processes of one container → what the container runs (`spec/sources-and-instrumentation.md` 4.3, 4.7).
//!
//! Owns the choice. The tree below the first process counts; what was started from outside (a debug shell, a probe)
//! does not, nor do helpers as long as an application runs. Of the languages left, C++ and nginx lose; two that cannot be told
//! apart make the container unknown.

use crate::detection::{Confidence, Detection, Evidence, Role};
use crate::environment::{Environment, LD_PRELOAD};
use crate::language::Language;
use crate::limits;
use crate::obstacle::Obstacle;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::RUNTIME_DETECTION;
use odigos_api::instrumentation_config::{EnvVar, OtherAgent, RuntimeDetails};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the image's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageEnvironment {
    /// It was not asked.
    #[default]
    NotAsked,
    /// The image sets these.
    Known(Environment),
    /// Variables of ours stand in front of it, and it was not asked.
    Hidden,
    /// It could not be asked, and why.
    Failed(String),
}

/// How the language was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No process could be looked at.
    NothingRuns,
    /// At most one language.
    Clear,
    /// These lost against the chosen one.
    Resolved(Vec<Language>),
    /// These stand against each other.
    Unresolved(Vec<Language>),
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerFound {
    /// As a status says it.
    pub details: RuntimeDetails,
    /// How the language was settled.
    pub outcome: Outcome,
    /// How sure it is.
    pub confidence: Confidence,
    /// The process that the details describe, by its number on the node.
    pub main_pid: Option<u32>,
    /// What will keep an agent from working.
    pub obstacles: Vec<Obstacle>,
    /// Why, most telling first; agents of other vendors included.
    pub evidence: Vec<Evidence>,
    /// Whether variables of ours hide what the image sets.
    pub is_image_hidden: bool,
}

/// Variables that an agent of the language extends or sets.
#[must_use]
pub const fn variables_of(language: Language) -> &'static [&'static str] {
    match language {
        Language::Java => &["JAVA_TOOL_OPTIONS"],
        Language::Javascript => &["NODE_OPTIONS"],
        Language::Python => &["PYTHONPATH"],
        Language::Ruby => &["RUBYOPT"],
        Language::Php => &["PHP_INI_SCAN_DIR"],
        Language::Dotnet => {
            &["CORECLR_PROFILER", "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "DOTNET_STARTUP_HOOKS"]
        }
        _ => &[],
    }
}

/// Decides about the container `name`. The order of `processes` does not matter.
#[must_use]
pub fn decide(name: &str, processes: &[Detection], image: &ImageEnvironment) -> ContainerFound {
    let members = members(processes);
    let applications: Vec<&Detection> = members.iter().copied().filter(|one| one.role == Role::Application).collect();
    let counted = if applications.is_empty() { members } else { applications };
    let languages: BTreeSet<Language> =
        counted.iter().map(|one| one.language).filter(|language| *language != Language::Unknown).collect();
    let (language, outcome) = settle(&languages, counted.is_empty());
    let same: Vec<&Detection> = counted.iter().copied().filter(|one| one.language == language).collect();
    let Some(main) = same.first().or(counted.first()).copied() else {
        return ContainerFound {
            details: RuntimeDetails {
                container_name: name.to_owned(),
                language: Language::Unknown.as_str().to_owned(),
                ..RuntimeDetails::default()
            },
            outcome,
            confidence: Confidence::Low,
            main_pid: None,
            obstacles: Vec::new(),
            evidence: Vec::new(),
            is_image_hidden: false,
        };
    };
    let versions: BTreeSet<&String> = same.iter().filter_map(|one| one.version.as_ref()).collect();
    let version = match (versions.len(), versions.first()) {
        (1, Some(version)) => (*version).clone(),
        _ => String::new(),
    };
    let mut others: Vec<&str> = Vec::new();
    let mut evidence: Vec<Evidence> = main.evidence.clone();
    if matches!(outcome, Outcome::Unresolved(_) | Outcome::Resolved(_)) {
        let rest = counted.iter().filter(|one| one.pid != main.pid && one.language != Language::Unknown);
        evidence.extend(rest.filter_map(|one| one.evidence.first().cloned()));
    }
    for (process, agent) in same.iter().flat_map(|one| one.other_agents.iter().map(move |agent| (one, agent))) {
        if !others.contains(&agent.name) {
            others.push(agent.name);
            evidence.push(Evidence { inner_pid: process.inner_pid, rule: "other-agent", seen: agent.seen.clone() });
        }
    }
    evidence.truncate(limits::EVIDENCE);
    let is_any_secure = same.iter().any(|one| one.secure_execution == Some(true));
    let details = RuntimeDetails {
        container_name: name.to_owned(),
        language: language.as_str().to_owned(),
        runtime_version: version,
        env_vars: main.environment.clone(),
        env_from_container_runtime: from_image(language, image),
        other_agents: others.into_iter().map(|name| OtherAgent { name: name.to_owned() }).collect(),
        libc_type: main.libc.map(|libc| libc.as_str().to_owned()),
        secure_execution_mode: if is_any_secure { Some(true) } else { main.secure_execution },
        cri_error_message: image_error(language, image, main),
        // The caller knows which image it is.
        observed_image: None,
    };
    let obstacles: BTreeSet<Obstacle> = same.iter().flat_map(|one| one.obstacles.iter().copied()).collect();
    ContainerFound {
        details,
        outcome,
        confidence: main.confidence,
        main_pid: Some(main.pid),
        obstacles: obstacles.into_iter().collect(),
        evidence,
        is_image_hidden: *image == ImageEnvironment::Hidden,
    }
}

/// Processes below the first one, oldest first.
fn members(processes: &[Detection]) -> Vec<&Detection> {
    let mut sorted: Vec<&Detection> = processes.iter().collect();
    sorted.sort_by_key(|one| (one.inner_pid != 1, one.started, one.inner_pid, one.pid));
    sorted.truncate(limits::PROCESSES);
    let numbers: BTreeSet<u32> = sorted.iter().map(|one| one.pid).collect();
    // The container was started with the process number 1; where containers share the namespace, with the oldest one
    // whose parent is outside.
    let is_root = |one: &&&Detection| !numbers.contains(&one.parent) || one.parent == one.pid;
    let Some(root) = sorted.iter().find(is_root).or(sorted.first()).map(|one| one.pid) else { return Vec::new() };
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for one in sorted.iter().filter(|one| one.pid != root) {
        children.entry(one.parent).or_default().push(one.pid);
    }
    let mut inside = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            inside.insert(child);
            open.push(child);
        }
    }
    sorted.into_iter().filter(|one| inside.contains(&one.pid)).collect()
}

/// One language out of those found.
fn settle(found: &BTreeSet<Language>, is_empty: bool) -> (Language, Outcome) {
    let all: Vec<Language> = found.iter().copied().collect();
    let mut left = all.clone();
    for loser in [Language::Cplusplus, Language::Nginx] {
        if left.len() > 1 {
            left.retain(|one| *one != loser);
        }
    }
    match left.as_slice() {
        [] if is_empty => (Language::Unknown, Outcome::NothingRuns),
        [] => (Language::Unknown, Outcome::Clear),
        [one] if all.len() == 1 => (*one, Outcome::Clear),
        [one] => (*one, Outcome::Resolved(all.into_iter().filter(|other| other != one).collect())),
        _ => (Language::Unknown, Outcome::Unresolved(all)),
    }
}

/// Values of the image that an agent's variable must keep (4.7).
fn from_image(language: Language, image: &ImageEnvironment) -> Vec<EnvVar> {
    let ImageEnvironment::Known(environment) = image else { return Vec::new() };
    let names = variables_of(language).iter().copied().chain([LD_PRELOAD]);
    names.filter_map(|name| Some(EnvVar { name: name.to_owned(), value: environment.get(name)?.to_owned() })).collect()
}

/// Why the image is unknown, when that matters: the process has a value that the image may have brought.
fn image_error(language: Language, image: &ImageEnvironment, main: &Detection) -> Option<String> {
    let ImageEnvironment::Failed(why) = image else { return None };
    let matters = |one: &EnvVar| {
        !one.value.is_empty() && (variables_of(language).contains(&one.name.as_str()) || one.name == LD_PRELOAD)
    };
    main.environment.iter().any(matters).then(|| crate::detection::shortened(why))
}

/// The condition `RuntimeDetection` of a workload whose containers were looked at (3.2).
#[must_use]
pub fn condition(containers: &[ContainerFound]) -> ConditionDraft {
    let words = |languages: &[Language]| languages.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
    for one in containers {
        if let Outcome::Unresolved(languages) = &one.outcome {
            return ConditionDraft::yes(
                RUNTIME_DETECTION,
                "UnresolvedMultipleLanguages",
                format!(
                    "Container {} runs {}; say which one is meant with containerOverrides[].runtimeInfo.language of the Source.",
                    one.details.container_name,
                    words(languages)
                ),
            );
        }
    }
    for one in containers {
        if let Outcome::Resolved(lost) = &one.outcome {
            return ConditionDraft::yes(
                RUNTIME_DETECTION,
                "ResolvedFromMultipleLanguages",
                format!(
                    "Container {} runs {} beside {}.",
                    one.details.container_name,
                    one.details.language,
                    words(lost)
                ),
            );
        }
    }
    let found: Vec<String> = containers
        .iter()
        .map(|one| {
            let version = &one.details.runtime_version;
            let space = if version.is_empty() { "" } else { " " };
            format!("{}: {}{space}{version}", one.details.container_name, one.details.language)
        })
        .collect();
    ConditionDraft::yes(RUNTIME_DETECTION, "DetectedSuccessfully", found.join("; "))
}

/// The condition when the containers could not be looked at.
#[must_use]
pub fn failed(why: &str) -> ConditionDraft {
    ConditionDraft::no(RUNTIME_DETECTION, "Error", format!("The containers could not be looked at: {why}"))
}
