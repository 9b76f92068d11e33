//! What was seen of one container → what is reported of it (`spec/sources-and-instrumentation.md` 4.3, 4.7).
//!
//! Owns what the pod adds to what its processes show: which image they are of, and which variables the image brings.

use super::subject::{Running, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::instrumentation_config::ObservedImage;
use odigos_detect::container::{self, ContainerFound, ImageEnvironment, Outcome};
use odigos_detect::environment::{AGENT_VARIABLES, LD_PRELOAD, OTLP_ENDPOINTS};
use odigos_detect::image::Given;
use odigos_detect::{Detection, Environment, Language};

/// Where the variables of a container of a pod may come from, by what the pod says and what the container was started with.
#[must_use]
pub fn given<'a>(subject: &Subject, container: &'a Running, started_with: &'a Environment) -> Given<'a> {
    let (set, has_env_from) = (&container.set, container.has_env_from);
    Given { set, has_env_from, has_agents: subject.has_agents, started_with }
}

/// Decides about a container of a pod that was created then, by its processes and what its image sets.
#[must_use]
pub fn decide(
    container: &Running,
    created: Option<&Time>,
    detections: &[Detection],
    image: &ImageEnvironment,
) -> ContainerFound {
    let mut found = container::decide(&container.name, detections, image);
    found.details.observed_image = observed_image(container, created);
    found
}

/// The image that a finding about the container is of.
pub(super) fn observed_image(container: &Running, created: Option<&Time>) -> Option<ObservedImage> {
    let id = container.image.clone();
    (!id.is_empty()).then(|| ObservedImage { id, pod_created: created.cloned() })
}

/// Whether a further look could tell more: a language is unknown, or a process was just replacing itself.
#[must_use]
pub fn is_clear(containers: &[ContainerFound]) -> bool {
    containers.iter().all(|one| {
        let is_known = one.details.language != Language::Unknown.as_str();
        (is_known || matches!(one.outcome, Outcome::Unresolved(_))) && one.details.secure_execution_mode.is_some()
    })
}

/// Variables whose origin matters.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    AGENT_VARIABLES.into_iter().chain(OTLP_ENDPOINTS).chain([LD_PRELOAD])
}
