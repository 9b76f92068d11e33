//! One look at the containers of a pod: their processes, with one walk over all of the node, and what runs in them.
//!
//! Owns the reading on threads that can be given up; when to look is up to [`crate::observe`] and [`crate::detect`], what follows
//! from what was seen is decided in `detect` and `plan::detection`.

use crate::container_runtime::ContainerRuntime;
use crate::processes::{Processes, Seen};
use crate::watchdog::Watchdog;
use odigos_detect::Language;
use odigos_detect::container::{ContainerFound, ImageEnvironment, Outcome};
use odigos_detect::image::Answer;
use odigos_detect::parse::Member;
use odigos_plan::detection::look as decided;
use odigos_plan::detection::report::Finding;
use odigos_plan::detection::subject::{Running, Subject};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pauses before further looks at a pod in which nothing clear runs yet.
pub(crate) const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// What was seen of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// Its containers of which something was seen.
    pub(crate) containers: Vec<ContainerFound>,
    /// What kept the others from being seen.
    pub(crate) problems: Vec<String>,
    /// Nothing more would be seen later.
    pub(crate) is_clear: bool,
    /// The container runtime did not say what matters; it may later.
    pub(crate) is_unanswered: bool,
}

impl Look {
    /// Looks at the containers of a pod whose processes were found, on this node; where the container runtime may be asked, it is.
    pub(crate) async fn at(
        subject: &Subject,
        found: &BTreeMap<Member, Vec<u32>>,
        (processes, node): (&Processes, &str),
        runtime: Option<&ContainerRuntime>,
        watchdog: &Watchdog,
    ) -> Self {
        let mut look = Self::default();
        for container in &subject.containers {
            let pids = found.get(&container.member).cloned().unwrap_or_default();
            let processes = processes.clone();
            let seen = match watchdog.run(move || processes.look_at(&pids)).await {
                Ok(seen) => seen,
                Err(error) => {
                    look.problems.push(format!("container {}: {error}", container.name));
                    continue;
                }
            };
            if let Some(why) = &seen.denied {
                look.problems.push(format!("container {}: {why}", container.name));
                continue;
            }
            let (decided, is_failed) = decide(subject, container, &seen, runtime).await;
            look.is_unanswered |= is_failed;
            if decided.outcome == Outcome::NothingRuns {
                let name = &container.name;
                look.problems.push(format!("container {name}: none of its processes was found on node {node}"));
                continue;
            }
            look.containers.push(decided);
        }
        look.is_clear = look.problems.is_empty() && decided::is_clear(&look.containers);
        look.tell(subject);
        look
    }

    fn tell(&self, subject: &Subject) {
        for one in &self.containers {
            let evidence = one.evidence.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::info!(
                namespace = subject.workload.namespace,
                pod = subject.pod,
                container = one.details.container_name,
                language = one.details.language,
                version = one.details.runtime_version,
                confidence = %one.confidence,
                evidence,
                "looked at a container"
            );
        }
        let problems = &self.problems;
        if !problems.is_empty() {
            tracing::debug!(namespace = subject.workload.namespace, pod = subject.pod, ?problems, "not all was seen");
        }
    }

    /// What is reported of the pod.
    pub(crate) fn finding(self) -> Finding {
        if self.containers.is_empty() {
            Finding::Failed(self.problems.join("; "))
        } else {
            Finding::Found(self.containers)
        }
    }
}

/// What a container runs; also whether the container runtime was asked what matters, and did not say it.
async fn decide(
    subject: &Subject,
    container: &Running,
    seen: &Seen,
    runtime: Option<&ContainerRuntime>,
) -> (ContainerFound, bool) {
    let given = decided::given(subject, container, &seen.environment);
    let of = |image: &ImageEnvironment| decided::decide(container, subject.created.as_ref(), &seen.detections, image);
    let language = Language::parse(&of(&ImageEnvironment::NotAsked).details.language);
    let answer = match runtime {
        _ if !given.is_question(language) => Answer::NotAsked,
        None => Answer::MayNot,
        Some(runtime) => match runtime.image_environment(&container.member.container, &container.image).await {
            Ok(environment) => Answer::Known(environment),
            Err(error) => {
                tracing::debug!(%error, pod = subject.pod, container = container.name, "nothing is known of an image");
                Answer::Failed(error.to_string())
            }
        },
    };
    let image = given.image_environment(language, &answer);
    let is_failed = matches!((&answer, &image), (Answer::Failed(_), ImageEnvironment::Failed(_)));
    (of(&image), is_failed)
}

/// The processes of the containers of these pods, with one walk over all of the node; `None` when they cannot be listed.
pub(crate) async fn find<'a>(
    processes: &Processes,
    subjects: impl Iterator<Item = &'a Subject>,
    watchdog: &Watchdog,
) -> Option<BTreeMap<Member, Vec<u32>>> {
    let containers = subjects.flat_map(|subject| &subject.containers);
    let wanted: BTreeMap<Member, String> = containers.map(|one| (one.member.clone(), one.name.clone())).collect();
    let walk = processes.clone();
    let found = watchdog.run(move || walk.find(&wanted)).await.map_err(anyhow::Error::from);
    match found.and_then(|found| Ok(found?)) {
        Ok(found) => Some(found),
        Err(error) => {
            let directory = processes.root.display();
            tracing::warn!(%error, %directory, "the processes of the node cannot be listed");
            None
        }
    }
}
