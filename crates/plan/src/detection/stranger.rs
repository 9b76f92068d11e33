//! What another process says of a container → what is believed of it.
//!
//! Owns what an answer of a detection pod and a report of a node have in common: both come from a machine on which somebody else may
//! be root. Words that nobody knows and variables that no agent extends are dropped.

use odigos_api::instrumentation_config::RuntimeDetails;
use odigos_detect::container::{ContainerFound, Outcome};
use odigos_detect::{Confidence, Environment, Language, limits};
use std::collections::BTreeSet;

/// Languages that lost, and those of which none was preferred.
pub(super) fn languages(outcome: &Outcome) -> (Vec<String>, Vec<String>) {
    let words = |all: &[Language]| all.iter().map(|one| one.as_str().to_owned()).collect();
    match outcome {
        Outcome::Resolved(lost) => (words(lost), Vec::new()),
        Outcome::Unresolved(against) => (Vec::new(), words(against)),
        Outcome::Clear | Outcome::NothingRuns => (Vec::new(), Vec::new()),
    }
}

/// The finding that these words make.
pub(super) fn found(
    mut details: RuntimeDetails,
    lost: &[String],
    against: &[String],
    is_image_hidden: bool,
) -> ContainerFound {
    let languages = |all: &[String]| -> Vec<Language> {
        let known: BTreeSet<Language> = all.iter().map(|word| Language::parse(word)).collect();
        known.into_iter().collect()
    };
    let outcome = if !against.is_empty() {
        Outcome::Unresolved(languages(against))
    } else if !lost.is_empty() {
        Outcome::Resolved(languages(lost))
    } else {
        Outcome::Clear
    };
    details.language = Language::parse(&details.language).as_str().to_owned();
    if details.runtime_version.len() > limits::VERSION_BYTES {
        details.runtime_version.clear();
    }
    details.env_vars.retain(|one| Environment::is_in_status(&one.name));
    details.env_from_container_runtime.retain(|one| Environment::is_in_status(&one.name));
    details.libc_type = details.libc_type.filter(|libc| matches!(libc.as_str(), "glibc" | "musl"));
    ContainerFound {
        details,
        outcome,
        confidence: Confidence::Low,
        main_pid: None,
        obstacles: Vec::new(),
        evidence: Vec::new(),
        is_image_hidden,
    }
}
