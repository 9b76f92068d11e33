//! Which detection pods there shall be: workloads that need a look → pods on nodes, few at a time, ever more rarely after failures
//! (`spec/sources-and-instrumentation.md` 4.11).
//!
//! Owns batches, limits and pauses, and what a detection pod has come to. One pod looks at several workloads of its node. What was
//! tried is remembered by the process that leads, and no longer: a new leader tries everything once. Without a workload that needs
//! a look there is no pod and nothing to wait for.

use super::Options;
use super::waiting::Waiting;
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadRef;
use std::collections::{BTreeMap, BTreeSet};

/// Containers that one pod looks at: what is reported of so many fits into a termination message, unless their variables are long.
const CONTAINERS: usize = 8;
/// Seconds after which the kubelet ends a detection pod; pulling its image counts.
pub const DEADLINE_SECONDS: i64 = 300;
/// A kubelet that has not even said by then that the time is over is away.
const PATIENCE: SignedDuration = SignedDuration::from_secs(DEADLINE_SECONDS + 60);
/// How long a container may wait for a cause that could pass by itself.
const PASSING: SignedDuration = SignedDuration::from_secs(30);
/// Pauses between tries double from the first to the second.
const PAUSES: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(10), SignedDuration::from_hours(1));

/// What a kubelet says of a detection pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// `status.phase`.
    pub phase: String,
    /// `status.reason`, e.g. `Evicted`.
    pub reason: String,
    /// `status.message`.
    pub message: String,
    /// Why its container waits: word and message.
    pub waits: Option<(String, String)>,
    /// How its container ended: exit code, word, termination message.
    pub ended: Option<(i32, String, String)>,
}

/// A detection pod.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionPod {
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// When it was created.
    pub created: Timestamp,
    /// What it is asked about.
    pub workloads: BTreeSet<WorkloadRef>,
    /// What its kubelet says.
    pub report: Report,
}

/// What a detection pod has come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing yet; it is looked at again at this time.
    Open(Timestamp),
    /// It ended with this message.
    Ended(String),
    /// It came to nothing, and why.
    Failed(String),
}

impl DetectionPod {
    /// What it has come to by now.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        let (report, node) = (&self.report, &self.node);
        match &report.ended {
            Some((0, _, message)) => return Verdict::Ended(message.clone()),
            Some((code, word, message)) if report.reason.is_empty() => {
                let told = if message.is_empty() { word } else { message };
                return Verdict::Failed(format!(
                    "the detection pod on node {node} ended with exit code {code}: {told}"
                ));
            }
            _ => {}
        }
        if matches!(report.phase.as_str(), "Failed" | "Succeeded") {
            let told = match (report.reason.as_str(), report.message.as_str()) {
                ("", "") => "it does not say why".to_owned(),
                (reason, "") => reason.to_owned(),
                (reason, message) => format!("{reason}: {message}"),
            };
            return Verdict::Failed(format!("the detection pod on node {node} was ended: {told}"));
        }
        if let Some((word, message)) = report.waits.as_ref().filter(|(word, _)| is_trouble(word)) {
            let until = after(self.created, PASSING);
            if is_final(word) || now >= until {
                let told = if message.is_empty() { "no further word" } else { message };
                return Verdict::Failed(format!("the detection pod on node {node} does not start ({word}): {told}"));
            }
            return Verdict::Open(until);
        }
        let until = after(self.created, PATIENCE);
        if now >= until {
            let waited = PATIENCE.as_secs();
            return Verdict::Failed(format!(
                "the kubelet of node {node} has said nothing of the detection pod for {waited} s"
            ));
        }
        Verdict::Open(until)
    }
}

/// Words of a kubelet for a container that does not start.
fn is_trouble(word: &str) -> bool {
    word.ends_with("BackOff") || word.contains("Err") || word.starts_with("Invalid")
}

/// Those that do not pass by themselves.
fn is_final(word: &str) -> bool {
    matches!(word, "InvalidImageName" | "ErrImageNeverPull")
}

fn after(time: Timestamp, pause: SignedDuration) -> Timestamp {
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// A pause before the try that follows so many.
fn pause(tries: u32) -> SignedDuration {
    let factor = 2_i32.saturating_pow(tries.saturating_sub(1).min(20));
    PAUSES.0.checked_mul(factor).map_or(PAUSES.1, |pause| pause.min(PAUSES.1))
}

/// What was tried for a workload.
#[derive(Clone, Debug, PartialEq)]
struct Try {
    /// Which images it was about.
    mark: String,
    /// Uid of the pod that was chosen.
    uid: String,
    count: u32,
    next: Timestamp,
    /// Looking again at these images would tell the same.
    is_done: bool,
    /// Why it came to nothing.
    failed: Option<String>,
}

/// What was tried, as long as this process leads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    tries: BTreeMap<WorkloadRef, Try>,
    /// The API server takes no detection pods: tries, when the next one is, why.
    refused: Option<(u32, Timestamp, String)>,
}

impl Memory {
    /// A detection pod is about to be made for a batch.
    pub fn begun(&mut self, batch: &Batch, now: Timestamp) {
        for target in &batch.targets {
            let count = self.count(target) + 1;
            let next = after(now, pause(count));
            let (mark, uid) = (target.mark.clone(), target.uid.clone());
            self.tries.insert(target.workload.clone(), Try { mark, uid, count, next, is_done: false, failed: None });
        }
    }

    /// No detection pod could be made for a batch, for a reason that lies in its node or its targets.
    pub fn unfit(&mut self, batch: &Batch, why: &str, now: Timestamp) {
        self.begun(batch, now);
        batch.targets.iter().for_each(|target| self.failed(&target.workload, why));
    }

    /// The API server refused a detection pod, and would refuse others.
    pub fn refused(&mut self, why: String, now: Timestamp) {
        let count = self.refused.as_ref().map_or(0, |(count, ..)| *count) + 1;
        self.refused = Some((count, after(now, pause(count)), why));
    }

    /// The API server took one.
    pub fn accepted(&mut self) {
        self.refused = None;
    }

    /// A workload was looked at: these images are not looked at again.
    pub fn looked_at(&mut self, workload: &WorkloadRef) {
        if let Some(one) = self.tries.get_mut(workload) {
            (one.is_done, one.failed) = (true, None);
        }
    }

    /// There was no room to tell of a workload.
    pub fn left_out(&mut self, workload: &WorkloadRef, now: Timestamp) {
        if let Some(one) = self.tries.get_mut(workload) {
            one.next = now;
        }
    }

    /// A look at a workload came to nothing.
    pub fn failed(&mut self, workload: &WorkloadRef, why: &str) {
        if let Some(one) = self.tries.get_mut(workload) {
            one.failed = Some(why.to_owned());
        }
    }

    /// Why nothing is known of a workload that waits, as far as that is a failure.
    #[must_use]
    pub fn failure(&self, workload: &WorkloadRef) -> Option<&str> {
        let refused = self.refused.as_ref().map(|(.., why)| why.as_str());
        refused.or_else(|| self.tries.get(workload)?.failed.as_deref())
    }

    /// Forgets workloads that need no look any more.
    pub fn keep(&mut self, waiting: &[Waiting]) {
        let wanted: BTreeSet<&WorkloadRef> = waiting.iter().map(|one| &one.workload).collect();
        self.tries.retain(|workload, _| wanted.contains(workload));
        if waiting.is_empty() {
            self.refused = None;
        }
    }

    fn count(&self, target: &Target) -> u32 {
        self.tries.get(&target.workload).filter(|one| one.mark == target.mark).map_or(0, |one| one.count)
    }
}

/// A pod that is to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its workload.
    pub workload: WorkloadRef,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    mark: String,
}

/// A detection pod that shall be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// On this node.
    pub node: String,
    /// For these pods there.
    pub targets: Vec<Target>,
}

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Settings.
    pub options: &'a Options,
    /// Workloads that need a look.
    pub waiting: &'a [Waiting],
    /// Detection pods that are open.
    pub open: &'a [DetectionPod],
    /// What was tried.
    pub memory: &'a Memory,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Detection pods to make.
    pub batches: Vec<Batch>,
    /// When to look again although nothing changed.
    pub recheck: Option<Timestamp>,
}

/// Decides.
#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let Seen { options, memory, now, .. } = *seen;
    let mut recheck: Vec<Timestamp> = Vec::new();
    recheck.extend(seen.open.iter().filter_map(|pod| match pod.verdict(now) {
        Verdict::Open(until) => Some(until),
        Verdict::Ended(_) | Verdict::Failed(_) => None,
    }));
    let asked: BTreeSet<&WorkloadRef> = seen.open.iter().flat_map(|pod| &pod.workloads).collect();
    let mut due: Vec<(u32, &Waiting)> = Vec::new();
    for one in seen.waiting.iter().filter(|one| !asked.contains(&one.workload)) {
        let before = memory.tries.get(&one.workload).filter(|before| before.mark == one.mark);
        match before {
            Some(before) if before.is_done => {}
            // The pod that was tried is gone: another one may do better.
            Some(before) if before.next > now && one.candidates.iter().any(|pod| pod.uid == before.uid) => {
                recheck.push(before.next);
            }
            _ => due.push((before.map_or(0, |before| before.count), one)),
        }
    }
    // What was tried least comes first.
    due.sort_by(|a, b| (a.0, &a.1.workload).cmp(&(b.0, &b.1.workload)));
    let mut batches: Vec<Batch> = Vec::new();
    let refused = memory.refused.as_ref().map(|(_, next, _)| *next).filter(|next| *next > now && !due.is_empty());
    recheck.extend(refused);
    let places = if refused.is_some() { 0 } else { options.most.saturating_sub(seen.open.len()) };
    let mut room: Vec<usize> = Vec::new();
    for (tries, one) in due {
        let turn = usize::try_from(tries).unwrap_or_default() % one.candidates.len().max(1);
        let Some(candidate) = one.candidates.get(turn) else { continue };
        let size = candidate.images.len();
        let target = Target {
            workload: one.workload.clone(),
            pod: candidate.pod.clone(),
            uid: candidate.uid.clone(),
            mark: one.mark.clone(),
        };
        let fitting = batches.iter().zip(&room).position(|(batch, room)| batch.node == candidate.node && *room >= size);
        let has_place = batches.len() < places;
        match fitting.and_then(|index| Some((batches.get_mut(index)?, room.get_mut(index)?))) {
            Some((batch, room)) => {
                batch.targets.push(target);
                *room -= size;
            }
            None if has_place => {
                batches.push(Batch { node: candidate.node.clone(), targets: vec![target] });
                room.push(CONTAINERS.saturating_sub(size));
            }
            // A place that becomes free tells.
            None => {}
        }
    }
    Plan { batches, recheck: recheck.into_iter().min() }
}

#[cfg(test)]
mod tests;
