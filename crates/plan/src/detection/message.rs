//! What a detection pod is asked, and what it answers: both as compact JSON.
//!
//! The question stands in an annotation of the pod, so that whoever reads the answer knows it, also after a change of the leader.
//! The answer is the termination message of its container, of which a kubelet keeps 4096 bytes: what does not fit is left out whole
//! and counted, never cut. It is our own program that writes it, about strangers' processes: it is read as if they had written it.

use super::look;
use super::stranger;
use super::subject::Subject;
use odigos_api::instrumentation_config::RuntimeDetails;
use odigos_detect::container::ContainerFound;
use odigos_detect::merge::{self, Image};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Bytes that a kubelet keeps of a termination message.
pub const LIMIT: usize = 4096;
/// Bytes of a problem that are told.
const PROBLEM: usize = 240;

/// What a detection pod shall look at.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Pods of its node.
    pub pods: Vec<Subject>,
}

impl Request {
    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads it.
    ///
    /// # Errors
    /// What the parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("failed to read what shall be looked at: {error}"))
    }
}

/// What a detection pod is asked of a pod whose workload has these containers and of which this is known: only containers of the pod
/// template, those first of which something is missing, and of the variables that the pod sets only the names that matter.
#[must_use]
pub fn asked(mut subject: Subject, containers: &[String], known: &[RuntimeDetails]) -> Subject {
    subject.containers.retain(|one| containers.is_empty() || containers.contains(&one.name));
    for one in &mut subject.containers {
        one.set = look::variables().filter(|name| one.set.contains(*name)).map(str::to_owned).collect();
    }
    let created = subject.created.clone();
    subject.containers.sort_by_key(|one| {
        let image = look::observed_image(one, created.as_ref());
        !is_missing(known, &one.name, image.as_ref())
    });
    subject
}

/// Whether a container is not described by what is known, as far as a pod with this image tells.
pub(super) fn is_missing(
    known: &[RuntimeDetails],
    container: &str,
    image: Option<&odigos_api::instrumentation_config::ObservedImage>,
) -> bool {
    match known.iter().find(|one| one.container_name == container) {
        None => true,
        Some(before) => image.is_some_and(|image| merge::image(before.observed_image.as_ref(), image) == Image::Newer),
    }
}

/// What a detection pod says.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Answer {
    /// In the order of the question.
    pods: Vec<PodAnswer>,
    /// Containers that did not fit.
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: usize,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct PodAnswer {
    #[serde(default, rename = "c", skip_serializing_if = "Vec::is_empty")]
    containers: Vec<ContainerAnswer>,
    #[serde(default, rename = "p", skip_serializing_if = "String::is_empty")]
    problem: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ContainerAnswer {
    #[serde(rename = "d")]
    details: RuntimeDetails,
    /// Languages that lost against the one of the details.
    #[serde(default, rename = "l", skip_serializing_if = "Vec::is_empty")]
    lost: Vec<String>,
    /// Languages that stand against each other.
    #[serde(default, rename = "a", skip_serializing_if = "Vec::is_empty")]
    against: Vec<String>,
    /// A variable of ours stands in front of what the image sets.
    #[serde(default, rename = "h", skip_serializing_if = "std::ops::Not::not")]
    is_image_hidden: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ContainerAnswer {
    fn of(found: &ContainerFound) -> Self {
        let (lost, against) = stranger::languages(&found.outcome);
        // Which image it is, is known to whoever asked.
        let details = RuntimeDetails { observed_image: None, ..found.details.clone() };
        Self { details, lost, against, is_image_hidden: found.is_image_hidden }
    }

    fn found(self) -> ContainerFound {
        stranger::found(self.details, &self.lost, &self.against, self.is_image_hidden)
    }
}

/// What was seen of a pod, for the answer.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its containers of which something was seen.
    pub containers: Vec<ContainerFound>,
    /// What kept the others from being seen.
    pub problems: Vec<String>,
}

/// The answer, in the order of the question, within [`LIMIT`].
#[must_use]
pub fn answer(seen: &[Seen]) -> String {
    let mut answer = Answer { pods: vec![PodAnswer::default(); seen.len()], left_out: 0 };
    let text = |answer: &Answer| serde_json::to_string(answer).unwrap_or_default();
    let mut problems: Vec<Vec<String>> = seen.iter().map(|one| one.problems.clone()).collect();
    // The count of what is left out comes last and must fit too.
    let limit = LIMIT - r#","left_out":99"#.len();
    for (index, pod) in seen.iter().enumerate() {
        for container in &pod.containers {
            let one = ContainerAnswer::of(container);
            let size = serde_json::to_string(&one).map_or(usize::MAX, |text| text.len());
            let Some(place) = answer.pods.get_mut(index) else { continue };
            place.containers.push(one);
            if text(&answer).len() <= limit {
                continue;
            }
            if let Some(place) = answer.pods.get_mut(index) {
                place.containers.pop();
            }
            // Alone it would not fit either: asking again would not help.
            if size > limit - 2 * PROBLEM {
                let name = &container.details.container_name;
                let told = format!(
                    "container {name}: what was found takes {size} bytes, more than a detection pod can tell; state its runtime in a Source (containerOverrides[].runtimeInfo)"
                );
                problems.get_mut(index).into_iter().for_each(|all| all.push(told.clone()));
            } else {
                answer.left_out += 1;
            }
        }
    }
    for (index, problems) in problems.iter().enumerate().filter(|(_, problems)| !problems.is_empty()) {
        let Some(place) = answer.pods.get_mut(index) else { continue };
        place.problem = shortened(&problems.join("; "), PROBLEM);
        if text(&answer).len() > limit
            && let Some(place) = answer.pods.get_mut(index)
        {
            // That there is one still has room where a word had none.
            place.problem = "?".into();
        }
        if text(&answer).len() > limit
            && let Some(place) = answer.pods.get_mut(index)
        {
            place.problem.clear();
        }
    }
    text(&answer)
}

fn shortened(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// What is known of a pod that was asked about.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// These containers were seen; what kept others from it, if so.
    Found(Vec<ContainerFound>, Option<String>),
    /// None was, and why.
    Failed(String),
    /// There was no room for it: it is asked again.
    LeftOut,
}

/// Reads an answer: one for each pod of the question, in its order.
///
/// # Errors
/// When it is no answer to that question, in words for people.
pub fn read(request: &Request, message: &str) -> Result<Vec<Told>, String> {
    if message.len() > LIMIT {
        return Err(format!("its answer is longer than {LIMIT} bytes"));
    }
    let answer: Answer = serde_json::from_str(message)
        .map_err(|error| format!("failed to read its answer {:?}: {error}", shortened(message, 80)))?;
    if answer.pods.len() != request.pods.len() {
        return Err(format!("it was asked for {} pods and tells of {}", request.pods.len(), answer.pods.len()));
    }
    let is_cut = answer.left_out > 0;
    let told = answer.pods.into_iter().zip(&request.pods).map(|(answer, asked)| told(answer, asked, is_cut));
    Ok(told.collect())
}

fn told(answer: PodAnswer, asked: &Subject, is_cut: bool) -> Told {
    let mut named = BTreeSet::new();
    let mut containers = Vec::new();
    for one in answer.containers {
        let name = one.details.container_name.clone();
        let Some(container) = asked.containers.iter().find(|known| known.name == name) else { continue };
        if named.insert(name) {
            let mut found = one.found();
            found.details.observed_image = look::observed_image(container, asked.created.as_ref());
            containers.push(found);
        }
    }
    let problem = (!answer.problem.is_empty()).then_some(answer.problem);
    match (containers.is_empty(), problem) {
        (false, problem) => Told::Found(containers, problem),
        (true, Some(why)) => Told::Failed(why),
        (true, None) if is_cut => Told::LeftOut,
        (true, None) => Told::Failed("it says nothing of the containers".into()),
    }
}

#[cfg(test)]
mod tests;
