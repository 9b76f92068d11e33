//! What a status says, joined with what was found again (`spec/sources-and-instrumentation.md` 4.9).
//!
//! The same image keeps its details and only gains: pods come and go, and one look at a half-started process must not turn a
//! language round. Another image replaces them. The result of joining the same finding twice is the same, so nothing is
//! written without need.

use crate::environment::{LD_PRELOAD, is_ours};
use crate::language::Language;
use odigos_api::instrumentation_config::{EnvVar, ObservedImage, RuntimeDetails};

/// How the image of a finding stands to the one of the stored details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// It is the same one, or nothing is known of the stored one.
    Same,
    /// Another one in a younger pod: the finding replaces the details.
    Newer,
    /// Another one in a pod that was there before: what an old pod runs says nothing about the workload any more.
    Older,
}

/// Compares the image of a finding with the stored one. While a workload changes over, pods with both run and either may be looked
/// at last; the younger pod tells where it goes.
#[must_use]
pub fn image(stored: Option<&ObservedImage>, found: &ObservedImage) -> Image {
    match stored {
        Some(stored) if stored.id != found.id => {
            let is_younger = match (&found.pod_created, &stored.pod_created) {
                (Some(found), Some(stored)) => found.0 > stored.0,
                _ => true,
            };
            if is_younger { Image::Newer } else { Image::Older }
        }
        _ => Image::Same,
    }
}

/// A finding for one container.
#[derive(Clone, Debug, PartialEq)]
pub struct Fresh {
    /// What was found.
    pub details: RuntimeDetails,
    /// Whether the container ran another image than the stored details describe.
    pub is_other_image: bool,
    /// Whether variables of ours hide what its image sets.
    pub is_image_hidden: bool,
}

/// The details to store. `containers` are the names in the pod template, in its order; details of others are dropped.
/// Containers that were not looked at keep what is stored.
#[must_use]
pub fn merged(stored: &[RuntimeDetails], fresh: &[Fresh], containers: &[String]) -> Vec<RuntimeDetails> {
    containers
        .iter()
        .filter_map(|name| {
            let before = stored.iter().find(|one| &one.container_name == name);
            let found = fresh.iter().find(|one| &one.details.container_name == name);
            match (before, found) {
                (Some(before), Some(found)) => Some(joined(before, found)),
                (Some(before), None) => Some(before.clone()),
                (None, Some(found)) => Some(found.details.clone()),
                (None, None) => None,
            }
        })
        .collect()
}

fn joined(before: &RuntimeDetails, found: &Fresh) -> RuntimeDetails {
    let fresh = &found.details;
    let unknown = Language::Unknown.as_str();
    if fresh.language == unknown && before.language != unknown {
        // A look that found nothing says nothing, of whatever image.
        return before.clone();
    }
    if found.is_other_image || before.language == unknown {
        let mut details = fresh.clone();
        if found.is_image_hidden {
            // Its pod was made with what the image before it sets; most images keep that, and forgetting it would take it away.
            details.env_from_container_runtime.clone_from(&before.env_from_container_runtime);
        }
        return details;
    }
    if fresh.language != before.language {
        return before.clone();
    }
    let mut details = before.clone();
    if !fresh.runtime_version.is_empty() {
        details.runtime_version.clone_from(&fresh.runtime_version);
    }
    details.other_agents.clone_from(&fresh.other_agents);
    details.libc_type = before.libc_type.clone().or_else(|| fresh.libc_type.clone());
    details.secure_execution_mode = match (before.secure_execution_mode, fresh.secure_execution_mode) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (known, other) => known.or(other),
    };
    add_preload(&mut details.env_vars, &fresh.env_vars);
    if fresh.cri_error_message.is_none() && !fresh.env_from_container_runtime.is_empty() {
        details.env_from_container_runtime.clone_from(&fresh.env_from_container_runtime);
    }
    details.observed_image = before.observed_image.clone().or_else(|| fresh.observed_image.clone());
    // An answer of the container runtime settles an earlier failure.
    details.cri_error_message = fresh.cri_error_message.clone().and(before.cri_error_message.clone());
    details
}

/// A preloaded library that appeared is added, and stays: the reason not to use a loader must not flicker.
fn add_preload(stored: &mut Vec<EnvVar>, fresh: &[EnvVar]) {
    let Some(seen) = fresh.iter().find(|one| one.name == LD_PRELOAD && !is_ours(&one.value)) else { return };
    match stored.iter_mut().find(|one| one.name == LD_PRELOAD) {
        Some(known) => known.value.clone_from(&seen.value),
        None => {
            stored.push(seen.clone());
            stored.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::instrumentation_config::OtherAgent;

    fn details(language: &str, version: &str) -> RuntimeDetails {
        RuntimeDetails {
            container_name: "app".into(),
            language: language.into(),
            runtime_version: version.into(),
            secure_execution_mode: Some(false),
            ..RuntimeDetails::default()
        }
    }

    fn once(before: &RuntimeDetails, fresh: RuntimeDetails, is_other_image: bool) -> RuntimeDetails {
        let fresh = [Fresh { details: fresh, is_other_image, is_image_hidden: false }];
        let first = merged(std::slice::from_ref(before), &fresh, &["app".into()]);
        assert_eq!(merged(&first, &fresh, &["app".into()]), first, "joining again changes nothing");
        first.into_iter().next().unwrap()
    }

    #[test]
    fn a_language_changes_only_from_unknown_or_with_the_image() {
        let before = details("java", "17");
        assert_eq!(once(&before, details("python", "3"), false), before);
        assert_eq!(once(&before, details("python", "3"), true).language, "python");
        assert_eq!(once(&before, details("unknown", ""), true), before);
        assert_eq!(once(&details("unknown", ""), details("go", "1.22.1"), false).language, "go");
        assert_eq!(once(&before, details("java", "21"), false).runtime_version, "21");
        assert_eq!(once(&before, details("java", ""), false).runtime_version, "17");
    }

    #[test]
    fn the_younger_pod_tells_which_image_counts() {
        let of = |id: &str, minute: i32| ObservedImage {
            id: id.into(),
            pod_created: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap(),
            )),
        };
        let unknown_age = |id: &str| ObservedImage { id: id.into(), pod_created: None };
        let cases = [
            (None, of("a", 1), Image::Same),
            (Some(of("a", 1)), of("a", 9), Image::Same),
            (Some(of("a", 1)), of("b", 2), Image::Newer),
            (Some(of("b", 2)), of("a", 1), Image::Older),
            (Some(of("b", 2)), of("a", 2), Image::Older),
            (Some(unknown_age("a")), of("b", 2), Image::Newer),
        ];
        for (stored, found, expected) in cases {
            assert_eq!(image(stored.as_ref(), &found), expected, "{stored:?} {found:?}");
        }
        // The same image keeps the age of the pod in which it was seen first, so that replicas write nothing.
        let mut before = details("java", "17");
        before.observed_image = Some(of("a", 1));
        let mut fresh = details("java", "17");
        fresh.observed_image = Some(of("a", 9));
        assert_eq!(once(&before, fresh, false), before);
    }

    #[test]
    fn a_new_image_behind_an_agent_of_ours_keeps_what_is_known_of_the_one_before() {
        let path = |value: &str| vec![EnvVar { name: "PYTHONPATH".into(), value: value.into() }];
        let mut before = details("python", "3.11");
        before.env_from_container_runtime = path("/app");
        let hidden = Fresh { details: details("python", "3.12"), is_other_image: true, is_image_hidden: true };
        let after = merged(std::slice::from_ref(&before), std::slice::from_ref(&hidden), &["app".into()]).remove(0);
        assert_eq!((after.runtime_version.as_str(), &after.env_from_container_runtime), ("3.12", &path("/app")));
        let mut answered = Fresh { is_image_hidden: false, ..hidden };
        answered.details.env_from_container_runtime = path("/new");
        let after = merged(&[before.clone()], std::slice::from_ref(&answered), &["app".into()]).remove(0);
        assert_eq!(after.env_from_container_runtime, path("/new"), "the container runtime knows better");
        answered.details.env_from_container_runtime.clear();
        let after = merged(&[before], &[answered], &["app".into()]).remove(0);
        assert!(after.env_from_container_runtime.is_empty(), "and that it sets nothing any more");
    }

    #[test]
    fn security_and_preloads_only_grow() {
        let mut fresh = details("java", "17");
        fresh.secure_execution_mode = Some(true);
        fresh.env_vars = vec![EnvVar { name: LD_PRELOAD.into(), value: "/lib/a.so".into() }];
        fresh.other_agents = vec![OtherAgent { name: "Datadog".into() }];
        let grown = once(&details("java", "17"), fresh, false);
        assert_eq!(grown.secure_execution_mode, Some(true));
        assert_eq!(grown.env_vars.len(), 1);
        let after = once(&grown, details("java", "17"), false);
        assert_eq!((after.secure_execution_mode, after.env_vars.len()), (Some(true), 1));
        assert!(after.other_agents.is_empty(), "agents of others are what was seen last");
        let mut ours = details("java", "17");
        ours.env_vars = vec![EnvVar { name: LD_PRELOAD.into(), value: "/var/odigos/loader/loader.so".into() }];
        assert!(once(&details("java", "17"), ours, false).env_vars.is_empty());
    }

    #[test]
    fn containers_come_and_go_with_the_template() {
        let mut sidecar = details("go", "1.22.1");
        sidecar.container_name = "sidecar".into();
        let fresh = [Fresh { details: sidecar.clone(), is_other_image: false, is_image_hidden: false }];
        let both = merged(&[details("java", "17")], &fresh, &["sidecar".into(), "app".into()]);
        assert_eq!(both, [sidecar.clone(), details("java", "17")]);
        assert_eq!(merged(&both, &[], &["sidecar".into()]), [sidecar]);
    }
}
