//! Which workloads need a look: those with a container of which nothing is known, or that runs another image in a younger pod
//! (`spec/sources-and-instrumentation.md` 4.1, 4.9).
//!
//! The same rule by which the agent of a node replaces what it found. Nothing is remembered for it: what was looked at stands in
//! the status.

use super::message::is_missing;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::{InstrumentationConfig, ObservedImage, RuntimeDetails};
use std::sync::Arc;

/// A pod that is ready to be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// When it was created.
    pub created: Option<Time>,
    /// Its containers with their images, as the container runtime names them.
    pub images: Vec<(String, String)>,
}

/// A workload that needs a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Which one.
    pub workload: WorkloadRef,
    /// Its pods that would tell, one on each node, by node.
    pub candidates: Vec<Arc<Candidate>>,
    /// Says which containers with which images are to be looked at.
    pub mark: String,
}

/// Names of the containers of a workload's pod template.
#[must_use]
pub fn containers(config: &InstrumentationConfig) -> Vec<String> {
    config.spec.containers_overrides.iter().map(|one| one.container_name.clone()).collect()
}

/// What is known of a workload.
#[must_use]
pub fn known(config: &InstrumentationConfig) -> &[RuntimeDetails] {
    config.status.as_ref().map(|status| status.runtime_details_by_container.as_slice()).unwrap_or_default()
}

/// Whether a workload needs a look, and at which of its pods; `None` where none would tell anything new.
#[must_use]
pub fn waiting(workload: &WorkloadRef, config: &InstrumentationConfig, pods: &[Arc<Candidate>]) -> Option<Waiting> {
    let (names, known) = (containers(config), known(config));
    let mut marks: Vec<String> = Vec::new();
    let mut candidates: Vec<Arc<Candidate>> = Vec::new();
    for pod in pods {
        let missing: Vec<&(String, String)> = pod
            .images
            .iter()
            .filter(|(name, _)| names.is_empty() || names.contains(name))
            .filter(|(name, image)| {
                let seen = ObservedImage { id: image.clone(), pod_created: pod.created.clone() };
                is_missing(known, name, Some(&seen).filter(|_| !image.is_empty()))
            })
            .collect();
        if !missing.is_empty() {
            marks.extend(missing.into_iter().map(|(name, image)| format!("{name} {image}")));
            candidates.push(Arc::clone(pod));
        }
    }
    if candidates.is_empty() {
        return None;
    }
    // Of the pods of a node the youngest one: it tells where the workload goes.
    let age = |pod: &Arc<Candidate>| std::cmp::Reverse(pod.created.as_ref().map(|time| time.0));
    candidates.sort_by(|a, b| (&a.node, age(a), &a.pod).cmp(&(&b.node, age(b), &b.pod)));
    candidates.dedup_by(|later, first| later.node == first.node);
    marks.sort();
    marks.dedup();
    Some(Waiting { workload: workload.clone(), candidates, mark: crate::objects::hash(marks.join("\n"), 16) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::WorkloadKind;
    use odigos_api::instrumentation_config::{InstrumentationConfigSpec, InstrumentationConfigStatus};
    use odigos_api::source::ContainerOverride;

    fn time(minute: u8) -> Time {
        Time(format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap())
    }

    fn pod(name: &str, node: &str, minute: u8, images: &[(&str, &str)]) -> Arc<Candidate> {
        let images = images.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect();
        let (pod, uid) = (name.into(), format!("u-{name}"));
        Arc::new(Candidate { pod, uid, node: node.into(), created: Some(time(minute)), images })
    }

    fn config(known: &[(&str, &str, u8)]) -> InstrumentationConfig {
        let named = |name: &str| ContainerOverride { container_name: name.into(), ..ContainerOverride::default() };
        let spec = InstrumentationConfigSpec {
            containers_overrides: vec![named("app"), named("side")],
            ..InstrumentationConfigSpec::default()
        };
        let details = known.iter().map(|(name, image, minute)| RuntimeDetails {
            container_name: (*name).into(),
            language: "java".into(),
            observed_image: Some(ObservedImage { id: (*image).into(), pod_created: Some(time(*minute)) }),
            ..RuntimeDetails::default()
        });
        let mut config = InstrumentationConfig::new("deployment-web", spec);
        config.status = Some(InstrumentationConfigStatus {
            runtime_details_by_container: details.collect(),
            ..InstrumentationConfigStatus::default()
        });
        config
    }

    fn candidates(config: &InstrumentationConfig, pods: &[Arc<Candidate>]) -> Vec<String> {
        let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
        let found = waiting(&workload, config, pods);
        found.map(|found| found.candidates.iter().map(|one| one.pod.clone()).collect()).unwrap_or_default()
    }

    #[test]
    fn a_workload_is_looked_at_once_for_each_set_of_images() {
        let first = [pod("a", "n1", 1, &[("app", "app@1"), ("side", "side@1")])];
        assert_eq!(candidates(&config(&[]), &first), ["a"]);
        assert_eq!(
            candidates(&config(&[("app", "app@1", 1)]), &first),
            ["a"],
            "nothing is known of the other container"
        );
        let known = config(&[("app", "app@1", 1), ("side", "side@1", 1)]);
        assert!(candidates(&known, &first).is_empty());
        let restarted = [pod("b", "n1", 5, &[("app", "app@1"), ("side", "side@1")])];
        assert!(candidates(&known, &restarted).is_empty(), "a younger pod of the same images");
        let other = [pod("c", "n1", 5, &[("app", "app@2"), ("side", "side@1")])];
        assert_eq!(candidates(&known, &other), ["c"]);
        let older = [pod("d", "n1", 0, &[("app", "app@0"), ("side", "side@1")])];
        assert!(candidates(&known, &older).is_empty(), "what an old pod runs says nothing any more");
    }

    #[test]
    fn containers_that_others_put_into_pods_do_not_count() {
        let known = config(&[("app", "app@1", 1), ("side", "side@1", 1)]);
        let pods = [pod("a", "n1", 3, &[("app", "app@1"), ("side", "side@1"), ("proxy", "proxy@7")])];
        assert!(candidates(&known, &pods).is_empty());
    }

    #[test]
    fn one_pod_of_each_node_is_enough_the_youngest() {
        let images = [("app", "app@1"), ("side", "side@1")];
        let pods = [pod("a", "n2", 1, &images), pod("b", "n1", 1, &images), pod("c", "n1", 2, &images)];
        assert_eq!(candidates(&config(&[]), &pods), ["c", "a"]);
    }

    #[test]
    fn details_of_another_implementation_without_an_image_stay() {
        let mut known = config(&[("app", "x", 1), ("side", "x", 1)]);
        for one in &mut known.status.as_mut().unwrap().runtime_details_by_container {
            one.observed_image = None;
        }
        let pods = [pod("a", "n1", 3, &[("app", "app@1"), ("side", "side@1")])];
        assert!(candidates(&known, &pods).is_empty());
    }
}
