//! Looks at new pods of covered workloads, a few times while they start, and reports what runs in them
//! (`spec/sources-and-instrumentation.md` 4.1, 4.3, 4.7).
//!
//! Owns when; what follows from what was seen is decided in `detect`. A pod that was looked at is left alone until a container
//! of it is started anew. Without work it only waits.

use crate::container_runtime::ContainerRuntime;
use crate::processes::Seen;
use crate::report::{Finding, Outcome};
use crate::sight::{GATHER, Sight};
use crate::subject::{Running, Subject};
use crate::watchdog::Watchdog;
use odigos_api::instrumentation_config::ObservedImage;
use odigos_detect::Language;
use odigos_detect::container::{self, ContainerFound, ImageEnvironment, Outcome as Settled};
use odigos_detect::image::{Answer, Given};
use odigos_detect::parse::Member;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pauses before further looks at a pod in which nothing clear runs yet.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// After a write it is checked once that it still stands: the instrumentor may have written from an older view.
const CHECK: Duration = Duration::from_secs(10);
/// Pauses after failures double from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Looks and reports.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) sight: Sight,
    /// `None` where it may not be asked.
    pub(crate) runtime: Option<ContainerRuntime>,
}

/// What a look at a pod found.
struct Looked {
    finding: Finding,
    /// Nothing would be clearer a moment later.
    is_clear: bool,
    /// The container runtime did not say what matters; it may later.
    is_unanswered: bool,
}

/// What is to be done for a pod.
#[derive(Debug)]
struct Task {
    fingerprint: Vec<String>,
    due: Instant,
    looks: usize,
    failures: u32,
    /// Written before; only checked again.
    written: Option<Finding>,
}

/// Pods that are worked on, and those that are done.
#[derive(Debug, Default)]
struct Agenda {
    open: BTreeMap<String, Task>,
    done: BTreeMap<String, Vec<String>>,
}

/// What to do next for a pod.
enum Next {
    Done,
    Look(Duration),
    Check(Finding),
    Retry,
}

impl Agenda {
    /// Takes over which pods there are.
    fn settle(&mut self, subjects: &BTreeMap<String, Subject>, now: Instant) {
        self.open.retain(|uid, _| subjects.contains_key(uid));
        self.done.retain(|uid, _| subjects.contains_key(uid));
        for (uid, subject) in subjects {
            let fingerprint = subject.fingerprint();
            let is_known = self.done.get(uid) == Some(&fingerprint)
                || self.open.get(uid).is_some_and(|task| task.fingerprint == fingerprint);
            if !is_known {
                self.done.remove(uid);
                let task = Task { fingerprint, due: now, looks: 0, failures: 0, written: None };
                self.open.insert(uid.clone(), task);
            }
        }
    }

    fn due(&self, now: Instant) -> Vec<String> {
        self.open.iter().filter(|(_, task)| task.due <= now).map(|(uid, _)| uid.clone()).collect()
    }

    fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|task| task.due).min()
    }

    fn advance(&mut self, uid: &str, next: Next, now: Instant) {
        let Some(task) = self.open.get_mut(uid) else { return };
        match next {
            Next::Done => {
                if let Some(task) = self.open.remove(uid) {
                    self.done.insert(uid.to_owned(), task.fingerprint);
                }
            }
            Next::Look(pause) => {
                task.looks += 1;
                task.due = now + pause;
            }
            Next::Check(finding) => {
                task.written = Some(finding);
                task.due = now + CHECK;
            }
            Next::Retry => {
                task.due = now + (BACKOFF.0 * 2u32.saturating_pow(task.failures)).min(BACKOFF.1);
                task.failures = (task.failures + 1).min(10);
            }
        }
    }
}

impl Observer {
    /// Works until the token is cancelled; `changed` wakes it.
    pub(crate) async fn run(self, changed: Arc<Notify>, stop: CancellationToken) {
        tokio::select! {
            () = self.sight.pods.synced() => {}
            () = stop.cancelled() => return,
        }
        let watchdog = Watchdog::default();
        let mut agenda = Agenda::default();
        loop {
            let subjects = self.sight.subjects(Subject::of);
            agenda.settle(&subjects, Instant::now());
            let work = self.pass(&mut agenda, &subjects, &watchdog);
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => return,
            }
            let pause = async {
                match agenda.next_due() {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(GATHER).await,
                () = pause => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Everything that is due now, with one walk over the processes of the node.
    async fn pass(&self, agenda: &mut Agenda, subjects: &BTreeMap<String, Subject>, watchdog: &Watchdog) {
        let mut looks: Vec<(&String, &Subject)> = Vec::new();
        for uid in agenda.due(Instant::now()) {
            let Some((uid, subject)) = subjects.get_key_value(&uid) else { continue };
            match agenda.open.get(uid).and_then(|task| task.written.clone()) {
                Some(finding) => {
                    let next = match self.write(subject, &finding).await {
                        Some(Outcome::Written) => Next::Check(finding),
                        Some(_) => Next::Done,
                        None => Next::Retry,
                    };
                    agenda.advance(uid, next, Instant::now());
                }
                None => looks.push((uid, subject)),
            }
        }
        if looks.is_empty() {
            return;
        }
        let found = self.sight.find(looks.iter().map(|(_, subject)| *subject), watchdog).await.unwrap_or_default();
        for (uid, subject) in looks {
            let attempt = agenda.open.get(uid).map(|task| task.looks).unwrap_or_default();
            let Looked { finding, is_clear, is_unanswered } = self.look(subject, &found, watchdog).await;
            let next = match AGAIN.get(attempt) {
                Some(pause) if !is_clear => Next::Look(*pause),
                _ => match self.write(subject, &finding).await {
                    // Whatever the reason was, it may pass.
                    Some(_) if is_unanswered || matches!(finding, Finding::Failed(_)) => Next::Retry,
                    Some(Outcome::Written) => Next::Check(finding),
                    Some(Outcome::Unchanged) => Next::Done,
                    // The label may be there a moment before this reader sees the config.
                    Some(Outcome::NoConfig) | None => Next::Retry,
                },
            };
            agenda.advance(uid, next, Instant::now());
        }
    }

    /// Looks at the containers of a pod.
    async fn look(&self, subject: &Subject, found: &BTreeMap<Member, Vec<u32>>, watchdog: &Watchdog) -> Looked {
        let mut is_unanswered = false;
        let mut containers: Vec<ContainerFound> = Vec::new();
        let mut problems: Vec<String> = Vec::new();
        for container in &subject.containers {
            let pids = found.get(&container.member).cloned().unwrap_or_default();
            let processes = self.sight.processes.clone();
            let seen = match watchdog.run(move || processes.look_at(&pids)).await {
                Ok(seen) => seen,
                Err(error) => {
                    problems.push(format!("container {}: {error}", container.name));
                    continue;
                }
            };
            if let Some(why) = &seen.denied {
                problems.push(format!("container {}: {why}", container.name));
                continue;
            }
            let (decided, is_failed) = self.decide(subject, container, &seen).await;
            is_unanswered |= is_failed;
            if decided.outcome == Settled::NothingRuns {
                problems.push(format!(
                    "container {}: none of its processes was found on node {}",
                    container.name, self.sight.node
                ));
                continue;
            }
            containers.push(decided);
        }
        for one in &containers {
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
        let unknown = Language::Unknown.as_str();
        let is_clear = problems.is_empty()
            && containers.iter().all(|one| {
                let is_known = one.details.language != unknown || matches!(one.outcome, Settled::Unresolved(_));
                is_known && one.details.secure_execution_mode.is_some()
            });
        if !problems.is_empty() {
            tracing::debug!(namespace = subject.workload.namespace, pod = subject.pod, ?problems, "not all was seen");
        }
        let finding = match containers.is_empty() {
            true => Finding::Failed(problems.join("; ")),
            false => Finding::Found(containers),
        };
        Looked { finding, is_clear, is_unanswered }
    }

    /// What a container runs; also whether the container runtime was asked what matters, and did not say it.
    async fn decide(&self, subject: &Subject, container: &Running, seen: &Seen) -> (ContainerFound, bool) {
        let given = Given {
            set: &container.set,
            has_env_from: container.has_env_from,
            has_agents: subject.has_agents,
            started_with: &seen.environment,
        };
        let of = |image: &ImageEnvironment| container::decide(&container.name, &seen.detections, image);
        let language = Language::parse(&of(&ImageEnvironment::NotAsked).details.language);
        let answer = match &self.runtime {
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
        let mut found = of(&image);
        found.details.observed_image = (!container.image.is_empty())
            .then(|| ObservedImage { id: container.image.clone(), pod_created: subject.created.clone() });
        (found, is_failed)
    }

    async fn write(&self, subject: &Subject, finding: &Finding) -> Option<Outcome> {
        match self.sight.reporter.report(&subject.workload, finding).await {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                let workload = &subject.workload;
                tracing::warn!(error = format!("{error:#}"), %workload, pod = subject.pod, "the report is tried again");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
