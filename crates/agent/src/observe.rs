//! Looks at new pods of covered workloads, a few times while they start, and reports what runs in them
//! (`spec/sources-and-instrumentation.md` 4.1, 4.3, 4.7).
//!
//! Owns when; what follows from what was seen is decided in `detect`. A pod that was looked at is left alone until a container
//! of it is started anew. Without work it only waits.

use crate::container_runtime::ContainerRuntime;
use crate::look::{self, Look};
use crate::report::Submitted;
use crate::sight::{GATHER, Sight};
use crate::watchdog::Watchdog;
use odigos_plan::detection::report::Finding;
use odigos_plan::detection::subject::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After a write it is checked whether the instrumentor took it over: it may have been away, or have written from an older view.
/// Pauses double.
const CHECK: Duration = Duration::from_secs(10);
/// Failures after which an agent no longer waits for reports of others.
const PATIENCE: u32 = 3;
/// Pauses after failures double from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Looks and reports.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) sight: Sight,
    /// `None` where it may not be asked.
    pub(crate) runtime: Option<ContainerRuntime>,
}

/// What is to be done for a pod.
#[derive(Debug)]
struct Task {
    fingerprint: Vec<String>,
    due: Instant,
    looks: usize,
    failures: u32,
    checks: u32,
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
                let task = Task { fingerprint, due: now, looks: 0, failures: 0, checks: 0, written: None };
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
                task.due = now + (CHECK * 2u32.saturating_pow(task.checks)).min(BACKOFF.1);
                task.checks = (task.checks + 1).min(10);
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
                    let next = match self.write(subject, &finding, true).await {
                        Some(Submitted::Written | Submitted::Pending) => Next::Check(finding),
                        Some(Submitted::Unneeded | Submitted::NoConfig) => Next::Done,
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
            let (attempt, failures) = agenda.open.get(uid).map(|task| (task.looks, task.failures)).unwrap_or_default();
            let with = (&self.sight.processes, self.sight.node.as_str());
            let look = Look::at(subject, &found, with, self.runtime.as_ref(), watchdog).await;
            let (is_clear, is_unanswered) = (look.is_clear, look.is_unanswered);
            let finding = look.finding();
            let next = match look::AGAIN.get(attempt) {
                Some(pause) if !is_clear => Next::Look(*pause),
                _ => match self.write(subject, &finding, failures >= PATIENCE).await {
                    // Whatever the reason was, it may pass.
                    Some(_) if is_unanswered || matches!(finding, Finding::Failed(_)) => Next::Retry,
                    Some(Submitted::Written) => Next::Check(finding),
                    Some(Submitted::Unneeded) => Next::Done,
                    // The label may be there a moment before this reader sees the config.
                    Some(Submitted::Pending | Submitted::NoConfig) | None => Next::Retry,
                },
            };
            agenda.advance(uid, next, Instant::now());
        }
    }

    async fn write(&self, subject: &Subject, finding: &Finding, insists: bool) -> Option<Submitted> {
        match self.sight.reporter.report(subject, finding, insists).await {
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
