//! Findings → the status of an InstrumentationConfig (`spec/sources-and-instrumentation.md` 3.2, 4.9).
//!
//! Owns the list `runtimeDetailsByContainer` and the condition `RuntimeDetection`. The instrumentor writes them, each time the whole
//! list, joined with what stands there, and only for the version of the object that was read. Nothing is written when nothing would
//! change.

use jiff::Timestamp;
use odigos_api::condition::kind::RUNTIME_DETECTION;
use odigos_api::condition::{self, ConditionDraft};
use odigos_api::instrumentation_config::{
    InstrumentationConfig, InstrumentationConfigStatus, ObservedImage, RuntimeDetails,
};
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_detect::container::{self, ContainerFound};
use odigos_detect::merge::{self, Fresh, Image};
use serde_json::{Value, json};

/// What was found out about a pod.
#[derive(Clone, Debug)]
pub enum Finding {
    /// These containers were looked at.
    Found(Vec<ContainerFound>),
    /// Nothing could be looked at, and why.
    Failed(String),
}

/// The object to apply; `None` when it would change nothing.
#[must_use]
pub fn change(
    config: &InstrumentationConfig,
    workload: &WorkloadRef,
    finding: &Finding,
    now: Timestamp,
) -> Option<Value> {
    let (details, draft) = joined(config, finding)?;
    let known = config.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let conditions = condition::merged(known, &[draft], config.metadata.generation, now);
    let mut object = object(config, workload);
    object["status"] = json!({"runtimeDetailsByContainer": details, "conditions": conditions});
    Some(object)
}

/// The version of a config that was read, for a write that fails where another one came first.
pub(super) fn object(config: &InstrumentationConfig, workload: &WorkloadRef) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "InstrumentationConfig",
        "metadata": {
            "namespace": workload.namespace,
            "name": workload.config_name(),
            "resourceVersion": config.metadata.resource_version,
        },
    })
}

/// Details and condition with a finding; `None` when it changes neither.
pub(super) fn joined(
    config: &InstrumentationConfig,
    finding: &Finding,
) -> Option<(Vec<RuntimeDetails>, ConditionDraft)> {
    let none = InstrumentationConfigStatus::default();
    let status = config.status.as_ref().unwrap_or(&none);
    let stored = &status.runtime_details_by_container;
    let written = status.conditions.iter().find(|one| one.type_ == RUNTIME_DETECTION);
    match finding {
        Finding::Found(found) => {
            let current: Vec<&ContainerFound> = found.iter().filter(|one| is_current(stored, one)).collect();
            let fresh: Vec<Fresh> = current.iter().map(|one| fresh(stored, one)).collect();
            let stated: Vec<String> =
                config.spec.containers_overrides.iter().map(|one| one.container_name.clone()).collect();
            let names = if stated.is_empty() {
                found.iter().map(|one| one.details.container_name.clone()).collect()
            } else {
                stated
            };
            let details = merge::merged(stored, &fresh, &names);
            // The condition speaks of what the list says, not of what one pod of many shows.
            let told: Vec<ContainerFound> = current
                .into_iter()
                .map(|one| {
                    let listed = details.iter().find(|other| other.container_name == one.details.container_name);
                    ContainerFound { details: listed.unwrap_or(&one.details).clone(), ..one.clone() }
                })
                .collect();
            let says_so = written.is_some_and(|one| one.status == "True");
            if told.is_empty() || (&details == stored && says_so) {
                return None;
            }
            Some((details, container::condition(&told)))
        }
        Finding::Failed(why) => {
            // What is known already stays known.
            if !stored.is_empty() {
                return None;
            }
            let draft = container::failed(why);
            if written.is_some_and(|one| same(one, &draft)) {
                return None;
            }
            Some((Vec::new(), draft))
        }
    }
}

fn same(written: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition, draft: &ConditionDraft) -> bool {
    written.status == draft.status.as_str() && written.reason == draft.reason && written.message == draft.message
}

fn stored_image<'a>(stored: &'a [RuntimeDetails], found: &ContainerFound) -> Option<&'a ObservedImage> {
    let before = stored.iter().find(|one| one.container_name == found.details.container_name)?;
    before.observed_image.as_ref()
}

fn image(stored: &[RuntimeDetails], found: &ContainerFound) -> Image {
    let seen = found.details.observed_image.as_ref();
    seen.map_or(Image::Same, |seen| merge::image(stored_image(stored, found), seen))
}

fn is_current(stored: &[RuntimeDetails], found: &ContainerFound) -> bool {
    image(stored, found) != Image::Older
}

fn fresh(stored: &[RuntimeDetails], found: &ContainerFound) -> Fresh {
    Fresh {
        details: found.details.clone(),
        is_other_image: image(stored, found) == Image::Newer,
        is_image_hidden: found.is_image_hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use odigos_api::WorkloadKind;
    use odigos_api::instrumentation_config::InstrumentationConfigSpec;
    use odigos_api::source::ContainerOverride;
    use odigos_detect::Confidence;
    use odigos_detect::container::Outcome as Settled;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn workload() -> WorkloadRef {
        WorkloadRef::new("shop", WorkloadKind::Deployment, "web")
    }

    fn found(name: &str, language: &str, image: &str, minute: u8) -> ContainerFound {
        let created: Timestamp = format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap();
        ContainerFound {
            details: RuntimeDetails {
                container_name: name.into(),
                language: language.into(),
                observed_image: Some(ObservedImage { id: image.into(), pod_created: Some(Time(created)) }),
                ..RuntimeDetails::default()
            },
            outcome: Settled::Clear,
            confidence: Confidence::High,
            main_pid: Some(1),
            obstacles: Vec::new(),
            evidence: Vec::new(),
            is_image_hidden: false,
        }
    }

    fn config() -> InstrumentationConfig {
        let named = |name: &str| ContainerOverride { container_name: name.into(), ..ContainerOverride::default() };
        let spec = InstrumentationConfigSpec {
            containers_overrides: vec![named("app"), named("sidecar")],
            ..InstrumentationConfigSpec::default()
        };
        InstrumentationConfig::new("deployment-web", spec)
    }

    /// Applies a finding as the API server would; whether anything changed.
    fn apply(config: &mut InstrumentationConfig, finding: &Finding) -> bool {
        let Some(object) = change(config, &workload(), finding, now()) else { return false };
        config.status = Some(serde_json::from_value(object["status"].clone()).unwrap());
        true
    }

    fn languages(config: &InstrumentationConfig) -> Vec<String> {
        let details = &config.status.as_ref().unwrap().runtime_details_by_container;
        details.iter().map(|one| format!("{} {}", one.container_name, one.language)).collect()
    }

    #[test]
    fn the_same_finding_is_written_once() {
        let mut config = config();
        let finding = Finding::Found(vec![found("app", "java", "a", 1), found("sidecar", "go", "s", 1)]);
        assert!(apply(&mut config, &finding));
        assert!(!apply(&mut config, &finding), "twice");
        let replica = Finding::Found(vec![found("app", "java", "a", 9), found("sidecar", "go", "s", 9)]);
        assert!(!apply(&mut config, &replica), "another pod of the same images");
        assert_eq!(languages(&config), ["app java", "sidecar go"]);
        let condition = &config.status.as_ref().unwrap().conditions[0];
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "DetectedSuccessfully"));
    }

    #[test]
    fn a_condition_that_somebody_overwrote_is_restored() {
        let mut config = config();
        let finding = Finding::Found(vec![found("app", "java", "a", 1)]);
        assert!(apply(&mut config, &finding));
        let condition = &mut config.status.as_mut().unwrap().conditions[0];
        (condition.status, condition.reason) = ("Unknown".into(), "WaitingForDetection".into());
        assert!(apply(&mut config, &finding));
        assert_eq!(config.status.as_ref().unwrap().conditions[0].reason, "DetectedSuccessfully");
    }

    #[test]
    fn containers_of_other_looks_stay() {
        let mut config = config();
        assert!(apply(&mut config, &Finding::Found(vec![found("app", "java", "a", 1)])));
        assert!(apply(&mut config, &Finding::Found(vec![found("sidecar", "go", "s", 1)])));
        assert_eq!(languages(&config), ["app java", "sidecar go"]);
    }

    #[test]
    fn a_younger_pod_with_another_image_counts_an_older_one_does_not() {
        let mut config = config();
        apply(&mut config, &Finding::Found(vec![found("app", "java", "a", 1)]));
        assert!(apply(&mut config, &Finding::Found(vec![found("app", "python", "b", 2)])));
        assert_eq!(languages(&config), ["app python"]);
        assert!(!apply(&mut config, &Finding::Found(vec![found("app", "java", "a", 1)])), "an old pod restarted");
        assert_eq!(languages(&config), ["app python"]);
    }

    #[test]
    fn a_failure_is_told_only_while_nothing_is_known() {
        let mut config = config();
        let failed = Finding::Failed("no permission".into());
        assert!(apply(&mut config, &failed));
        assert!(!apply(&mut config, &failed), "twice");
        assert_eq!(config.status.as_ref().unwrap().conditions[0].reason, "Error");
        let finding = Finding::Found(vec![found("app", "java", "a", 1)]);
        assert!(apply(&mut config, &finding));
        assert!(!apply(&mut config, &failed), "what is known stays");
    }
}
