//! Restarts: when a workload's pods are made anew so that they get their agents, or lose them, and what the conditions
//! `WorkloadRollout` and `PodsManifestInjection` say (`spec/sources-and-instrumentation.md` 3.4–3.8).
//!
//! Owns the order of the steps; each step's own rule is beside: `rollback` judges, `canary` goes first, `gate` (with `places` and
//! `brake`) lets begin, `healing` mends, `removal` takes agents out, `words` states the conditions. A restart is asked for once for
//! each set of agents. Never patches, never waits.

use super::gate::{self, Gate};
use super::places::HOLDS;
use super::rollback::{self, Verdict};
use super::{canary, healing, pods, removal, words};
use crate::agents::inputs;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::WorkloadKind;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::WORKLOAD_ROLLOUT;
use odigos_api::instrumentation_config::{InstrumentationConfig, PodsManifestInjectionStatus};
use odigos_api::labels::ROLLBACK_RECOVERY;
use odigos_api::rollout::{Canary, OutdatedInput, PodsBaseline, Rollback, RolloutProgress};
use serde_json::{Value, json};

pub use super::options::Options;
pub use super::pods::{ContainerSeen, Failure, PodSeen};
pub use super::progress::{Progress, RESTARTED_AT};

/// When a pod that may not be evicted is tried again.
const REFUSED_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// When something is looked at again that the next event tells anyway.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// A restart is surely seen in the workload's own object after this time.
const SETTLING: SignedDuration = SignedDuration::from_secs(20);

/// What is said of a workload that must not lose a pod now.
const CREATION_FAILS: &str = "It is not restarted while its controller fails to create pods.";

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Its config: what is wanted and what was done.
    pub config: &'a InstrumentationConfig,
    /// Its pods.
    pub pods: &'a [PodSeen],
    /// What its object says.
    pub progress: &'a Progress,
    /// Settings.
    pub options: Options,
    /// Whether a rollout may begin. Costly to know, so [`Gate::Open`] may be stated first, and the truth where
    /// [`RolloutPlan::begins`].
    pub gate: &'a Gate,
    /// Since when this process serves admission: before it does, pods that are made anew would miss their agents again.
    pub serves_since: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// What a pod is evicted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its replacement gets the new agents before all others.
    Canary,
    /// It lacks its agents.
    Healing,
    /// It has agents that are taken out.
    Removal,
}

/// A pod that shall go, so that its controller makes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Its name.
    pub pod: String,
    /// Its uid; another pod of the name stays.
    pub uid: String,
    /// What for.
    pub purpose: Purpose,
}

/// What is to be done and said.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutPlan {
    /// `WorkloadRollout` where there is something to say, and `PodsManifestInjection`.
    pub conditions: Vec<ConditionDraft>,
    /// The stamp of a restart; the same stamp again restarts nothing.
    pub restart: Option<Timestamp>,
    /// A pod that shall be replaced.
    pub evict: Option<Eviction>,
    /// Hash for which the pods were made anew; with a restart, once that was accepted.
    pub applied_hash: String,
    /// What the pods carry.
    pub pods: PodsManifestInjectionStatus,
    /// Cluster-wide inputs of which pods with the wanted agents run with older values.
    pub outdated_inputs: Vec<OutdatedInput>,
    /// Start of the stability window; with a restart, once that was accepted.
    pub instrumentation_time: Option<Time>,
    /// What is remembered of the rollout.
    pub rollout: Option<RolloutProgress>,
    /// A rollback that was just decided.
    pub rollback: Option<Rollback>,
    /// Whether this asks the gate.
    pub begins: bool,
    /// Whether it has a place among those that the limits count.
    pub holds_place: bool,
    /// When to look again although nothing changed.
    pub recheck_after: Option<SignedDuration>,
}

/// What follows from everything that is looked at, before any decision.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) is_enabled: bool,
    /// Nothing is decided yet. Pods may carry agents all the same: of a workload of the same name that was deleted before.
    pub(super) is_undecided: bool,
    pub(super) is_rolled_back: bool,
    /// Hash that the pods shall carry; empty for none.
    pub(super) wanted: &'a str,
    pub(super) applied: String,
    pub(super) pods: PodsManifestInjectionStatus,
    pub(super) outdated_inputs: Vec<OutdatedInput>,
    pub(super) are_as_desired: bool,
    pub(super) was_applied: bool,
    pub(super) time: Option<Time>,
    pub(super) record: Option<&'a RolloutProgress>,
    pub(super) rollback: Option<&'a Rollback>,
}

impl<'a> Facts<'a> {
    fn of(seen: &Seen<'a>) -> Self {
        let (spec, status) = (&seen.config.spec, seen.config.status.as_ref());
        let is_enabled = spec.agent_injection_enabled;
        let wanted = if is_enabled { spec.agents_meta_hash.as_str() } else { "" };
        let standing = || seen.pods.iter().filter(|pod| !pod.is_going);
        let has = |hash: &str| standing().any(|pod| pod.hash.as_deref() == Some(hash));
        let pods = PodsManifestInjectionStatus {
            has_injected_up_to_date_pods: is_enabled && has(wanted),
            has_injected_out_of_date_pods: standing().any(|pod| pod.hash.as_deref().is_some_and(|one| one != wanted)),
            has_uninjected_pods: standing().any(|pod| pod.hash.is_none()),
        };
        let before = status.map(|status| status.outdated_inputs.as_slice()).unwrap_or_default();
        let current = standing().filter(|pod| is_enabled && pod.hash.as_deref() == Some(wanted));
        let current = current.filter_map(|pod| pod.inputs.as_ref());
        let outdated_inputs = inputs::outdated(current, &spec.cluster_inputs, before, seen.now);
        let are_as_desired = !(pods.has_injected_out_of_date_pods || is_enabled && pods.has_uninjected_pods);
        let applied = status.map(|status| status.workload_rollout_hash.clone()).unwrap_or_default();
        let was_applied = applied == wanted && (is_enabled || are_as_desired);
        let mut time = status.and_then(|status| status.instrumentation_time.clone());
        let changed = spec.agents_meta_hash_changed_time.as_ref();
        let is_older = time.as_ref().is_none_or(|time| changed.is_some_and(|changed| time.0 < changed.0));
        if is_enabled && applied != wanted && is_older {
            // Pods that came before any restart of ours are held to account from the first of them on, however long the queue.
            let with = standing().filter(|pod| pod.hash.as_deref() == Some(wanted));
            let first = with.filter_map(|pod| pod.created).min();
            // Those that were rejected at creation too: since the decision, every new pod is given the agents.
            let rejected = seen.progress.creation_failure.as_ref().map(|failure| failure.since);
            let rejected = rejected.filter(|since| changed.is_some_and(|changed| *since >= changed.0));
            time = first.into_iter().chain(rejected).min().map(Time).or(time);
        }
        Self {
            is_enabled,
            is_undecided: !is_enabled && spec.containers.is_empty() && spec.agents_meta_hash_changed_time.is_none(),
            is_rolled_back: gate::is_rolled_back(seen.config),
            wanted,
            applied,
            pods,
            outdated_inputs,
            are_as_desired,
            was_applied,
            time,
            record: status.and_then(|status| status.rollout.as_ref()),
            rollback: status.and_then(|status| status.rollback.as_ref()),
        }
    }

    /// The record, if it is of the wanted agents.
    fn current(&self) -> Option<&'a RolloutProgress> {
        self.record.filter(|record| record.agents_meta_hash == self.wanted)
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Move<'a> {
    /// Only this is said.
    Say(bool, &'static str, String),
    /// It goes on; looked at again after this time.
    GoOn(String, Option<SignedDuration>),
    /// Another rollout, or what keeps one from ending, is waited for.
    Ongoing(&'static str),
    /// The gate is closed.
    Queue(String, SignedDuration),
    /// The first pod is watched.
    Watch(SignedDuration),
    /// A pod is evicted.
    Evict(&'a PodSeen, Purpose, String),
    /// All pods are made anew; with the stamp and what is said.
    Restart(Timestamp, String),
}

/// Decides about a workload whose agents are decided.
#[must_use]
pub fn plan(seen: &Seen<'_>) -> RolloutPlan {
    let facts = Facts::of(seen);
    let is_optional = seen.config.spec.pod_manifest_injection_optional == Some(true);
    let mut plan = RolloutPlan {
        conditions: Vec::new(),
        restart: None,
        evict: None,
        applied_hash: facts.applied.clone(),
        pods: facts.pods.clone(),
        outdated_inputs: facts.outdated_inputs.clone(),
        instrumentation_time: facts.time.clone(),
        rollout: facts.record.cloned(),
        rollback: None,
        begins: false,
        holds_place: false,
        recheck_after: None,
    };
    let verdict =
        if facts.is_enabled && !facts.is_rolled_back && !is_optional { judge(seen, &facts) } else { Verdict::Well };
    if let Verdict::RollBack(cause) = verdict {
        let message = format!("The agents are taken out again: {}", cause.message);
        let recovery = seen.config.metadata.annotations.as_ref().and_then(|all| all.get(ROLLBACK_RECOVERY));
        // Pods that carry other agents must lose these as well.
        let pods_only = facts.applied != facts.wanted && !facts.pods.has_injected_out_of_date_pods;
        let recovery = recovery.map(String::as_str).unwrap_or_default();
        plan.rollback = Some(rollback::decided(cause, facts.wanted, recovery, pods_only, seen.now));
        plan.recheck_after = Some(SOON);
        let rollout = ConditionDraft::yes(WORKLOAD_ROLLOUT, HOLDS, message);
        plan.conditions = vec![rollout, words::injection(seen, &facts, HOLDS, false)];
        return plan;
    }
    let next = next(seen, &facts, is_optional);
    finish(seen, &facts, verdict, next, plan)
}

fn judge(seen: &Seen<'_>, facts: &Facts<'_>) -> Verdict {
    let record = facts.current();
    let case = rollback::Case {
        pods: seen.pods,
        wanted: facts.wanted,
        creation_failure: seen.progress.creation_failure.as_ref(),
        baseline: record.and_then(|record| record.baseline.as_ref()),
        since: facts.time.as_ref().map(|time| time.0),
        canary: canary::is_watched(record, facts.wanted).then_some(seen.options.canary),
        options: seen.options.rollback,
        now: seen.now,
    };
    // Pods of jobs come and go by themselves; one that cannot even be created never runs.
    if can_restart(seen.kind) { rollback::judge(&case) } else { rollback::judge_creation(&case) }
}

/// The order of 3.4.
fn next<'a>(seen: &Seen<'a>, facts: &Facts<'a>, is_optional: bool) -> (Move<'a>, Option<&'static str>) {
    use Move::{Ongoing, Queue, Restart, Say};
    let say = |status, reason, message: &str| (Say(status, reason, message.to_owned()), None);
    let is_there = facts.was_applied || facts.are_as_desired;
    match seen.kind {
        _ if is_optional => return say(true, "NotRequired", "The agents attach to running processes."),
        WorkloadKind::StaticPod => {
            let message = "A kubelet runs the pod from a file, so nobody else can restart it.";
            return say(true, "WorkloadNotSupporting", message);
        }
        WorkloadKind::CronJob | WorkloadKind::Job => {
            let message = "The next job starts as decided; those that run are left alone.";
            return say(true, "WaitingForRestart", message);
        }
        _ if facts.is_undecided => return say(true, "NotRequired", "It is not decided yet what its pods need."),
        _ if facts.is_rolled_back && !facts.is_enabled => return (removal::next(seen, facts), None),
        _ if facts.is_rolled_back => return (Move::GoOn("The agents are taken out again.".to_owned(), None), None),
        _ if seen.options.is_disabled => {
            let message = "Automatic restarts are switched off; restart it to bring its pods up to date.";
            return say(true, "Disabled", message);
        }
        _ if is_there && !facts.wanted.is_empty() && seen.progress.is_ongoing => return (going_on(seen, facts), None),
        _ if facts.was_applied && facts.is_enabled && !facts.are_as_desired && !seen.progress.replaces_pods => {
            let message = "Its pods get their agents as you replace them, which its update strategy leaves to you.";
            return say(true, "RolloutFinished", message);
        }
        _ if facts.was_applied && facts.is_enabled && !facts.are_as_desired && seen.options.heals => {
            return (heal(seen, facts), None);
        }
        _ if is_there => return say(true, "RolloutFinished", "The pods were made anew."),
        _ => {}
    }
    let step = if facts.is_enabled {
        canary::step(&canary::Case {
            kind: seen.kind,
            pods: seen.pods,
            progress: seen.progress,
            wanted: facts.wanted,
            record: facts.current(),
            time: seen.options.canary,
            now: seen.now,
        })
    } else {
        canary::Step::None
    };
    let result = match step {
        canary::Step::Watch(left) => return (Move::Watch(left), None),
        canary::Step::Done(result) => Some(result),
        canary::Step::None | canary::Step::Begin(_) => None,
    };
    let next = match (seen.gate, step) {
        _ if seen.progress.is_ongoing => Ongoing("Another rollout goes on; it is waited for."),
        _ if facts.is_enabled && seen.progress.creation_failure.is_some() => Ongoing(CREATION_FAILS),
        _ if seen.progress.is_paused => {
            let message = "Rollouts of it are paused; it goes on as soon as it is resumed.";
            Say(false, "FailedToPatch", message.to_owned())
        }
        (Gate::Closed(message, left), _) => Queue(message.clone(), *left),
        (Gate::Open, canary::Step::Begin(pod)) => {
            let message = format!("Pod {} is replaced first, to see how the agents do.", pod.name);
            Move::Evict(pod, Purpose::Canary, message)
        }
        (Gate::Open, _) => {
            let stamp = seen.config.spec.agents_meta_hash_changed_time.as_ref().map_or(seen.now, |time| time.0);
            Restart(stamp, "A restart was asked for.".to_owned())
        }
    };
    (next, result)
}

/// A rollout of ours, which may take too long.
fn going_on<'a>(seen: &Seen<'a>, facts: &Facts<'a>) -> Move<'a> {
    let message = "Pods are being made anew.".to_owned();
    let started = facts.current().and_then(|record| record.started_at.as_ref());
    let Some(started) = started.filter(|_| seen.options.limits.are_set()) else { return Move::GoOn(message, None) };
    let left = seen.options.limits.timeout.saturating_sub(seen.now.duration_since(started.0));
    if left > SignedDuration::ZERO {
        return Move::GoOn(message, Some(left));
    }
    let message = "Pods are being made anew for longer than rollout.slotTimeout allows; others go on meanwhile.";
    Move::GoOn(message.to_owned(), None)
}

/// Pods that lack their agents although the rollout is finished.
fn heal<'a>(seen: &Seen<'a>, facts: &Facts<'a>) -> Move<'a> {
    if seen.progress.creation_failure.is_some() {
        return Move::Ongoing(CREATION_FAILS);
    }
    // What was just asked for may not be seen yet.
    let age = facts.time.as_ref().map_or(SETTLING, |time| seen.now.duration_since(time.0));
    let age = age.min(seen.now.duration_since(seen.serves_since));
    if age < SETTLING {
        return Move::GoOn("Pods are being made anew.".to_owned(), Some(SETTLING.saturating_sub(age)));
    }
    let since = facts.current().and_then(|record| record.healing_since.as_ref()).map(|time| time.0);
    let since = since.filter(|since| !healing::is_tried_again(*since, seen.now));
    let case = healing::Case {
        kind: seen.kind,
        pods: seen.pods,
        wanted: facts.wanted,
        progress: seen.progress,
        since,
        now: seen.now,
    };
    let message =
        "Pods that were created while nobody could give them their agents are replaced one by one.".to_owned();
    match (healing::step(&case), seen.gate) {
        (healing::Step::Leave(why), _) => Move::Say(
            true,
            "RolloutFinished",
            format!("The pods were made anew; some lack agents as decided, and {why}."),
        ),
        (healing::Step::Wait, _) => Move::GoOn(message, None),
        (_, Gate::Closed(message, left)) => Move::Queue(message.clone(), *left),
        (healing::Step::Evict(pod), Gate::Open) => Move::Evict(pod, Purpose::Healing, message),
        (healing::Step::Restart, Gate::Open) => {
            let message = "Pods were created while nobody could give them their agents; a restart was asked for.";
            Move::Restart(seen.now, message.to_owned())
        }
    }
}

/// Turns the next step into what is done, remembered and said.
fn finish(
    seen: &Seen<'_>,
    facts: &Facts<'_>,
    verdict: Verdict,
    (next, canary_result): (Move<'_>, Option<&'static str>),
    mut plan: RolloutPlan,
) -> RolloutPlan {
    let yes = |reason: &str, message: String| ConditionDraft::yes(WORKLOAD_ROLLOUT, reason, message);
    let now = || Some(pods::stamp(seen.now));
    let is_removal = facts.is_rolled_back && !facts.is_enabled;
    if let Some(result) = canary_result {
        let canary = record(seen, facts, &mut plan).canary.get_or_insert_default();
        canary.result = result.to_owned();
    }
    let mut recheck = None;
    let mut rollout = match next {
        Move::Say(true, reason, message) => yes(reason, message),
        Move::Say(false, reason, message) => ConditionDraft::no(WORKLOAD_ROLLOUT, reason, message),
        Move::GoOn(message, left) => {
            recheck = left;
            yes(HOLDS, message)
        }
        Move::Ongoing(message) => ConditionDraft::unknown(WORKLOAD_ROLLOUT, "PreviousRolloutOngoing", message),
        Move::Queue(message, left) => {
            recheck = Some(left);
            plan.begins = true;
            yes(super::places::WAITS, message)
        }
        Move::Watch(left) => {
            recheck = Some(left);
            let record = record(seen, facts, &mut plan);
            // One that came by itself serves as well as one that was asked for.
            record.canary.get_or_insert_with(|| Canary { evicted_at: now(), ..Canary::default() });
            yes(HOLDS, "One pod has the new agents; the others follow when it has been ready for a while.".to_owned())
        }
        Move::Evict(pod, purpose, message) => {
            plan.evict = Some(Eviction { pod: pod.name.clone(), uid: pod.uid.clone(), purpose });
            plan.begins = purpose != Purpose::Removal;
            recheck = Some(REFUSED_AGAIN);
            match purpose {
                Purpose::Canary => {
                    let record = record(seen, facts, &mut plan);
                    record.canary =
                        Some(Canary { replaces: pod.name.clone(), evicted_at: now(), result: String::new() });
                    plan.instrumentation_time = now();
                }
                Purpose::Healing => {
                    let record = record(seen, facts, &mut plan);
                    let is_over = |time: &Time| healing::is_tried_again(time.0, seen.now);
                    if record.healing_since.as_ref().is_none_or(is_over) {
                        (record.healing_since, record.started_at) = (now(), now());
                    }
                }
                Purpose::Removal => {}
            }
            yes(HOLDS, message)
        }
        Move::Restart(stamp, message) => {
            plan.restart = Some(stamp);
            plan.begins = !is_removal;
            let is_healing = facts.was_applied && facts.is_enabled;
            let record = record(seen, facts, &mut plan);
            if is_healing {
                (record.healing_since, record.started_at) = (now(), now());
            }
            plan.applied_hash = facts.wanted.to_owned();
            if facts.is_enabled {
                plan.instrumentation_time = now();
            }
            yes(HOLDS, message)
        }
    };
    if plan.restart.is_none() && facts.are_as_desired && seen.pods.iter().any(|pod| !pod.is_going) {
        // They are as they shall be without a restart of ours: the user made them anew.
        facts.wanted.clone_into(&mut plan.applied_hash);
        if let Some(record) = plan.rollout.as_mut().filter(|record| record.agents_meta_hash == facts.wanted) {
            record.healing_since = None;
        }
    }
    if let Some(failure) = seen.progress.creation_failure.as_ref().filter(|_| facts.is_enabled) {
        rollout.message = format!("{} Its controller fails to create pods: {}.", rollout.message, failure.message);
    }
    match verdict {
        Verdict::Wait(left) => recheck = Some(recheck.map_or(left, |other: SignedDuration| other.min(left))),
        Verdict::Acquitted(why) => rollout.message = format!("{} {why}", rollout.message),
        Verdict::Well | Verdict::RollBack(_) => {}
    }
    let is_healing = plan.rollout.as_ref().is_some_and(|record| record.healing_since.is_some());
    let injection = words::injection(seen, facts, &rollout.reason, is_healing);
    plan.holds_place = rollout.reason == HOLDS && !is_removal;
    plan.recheck_after = recheck;
    // Where it never had agents, or has lost them all, there is nothing to say.
    let has_none = !facts.is_enabled && facts.applied.is_empty() && facts.are_as_desired && !facts.is_rolled_back;
    let is_silent = has_none || facts.is_undecided;
    plan.conditions = (!is_silent).then_some(rollout).into_iter().chain([injection]).collect();
    plan
}

/// The record of the wanted agents, begun where there is none.
fn record<'p>(seen: &Seen<'_>, facts: &Facts<'_>, plan: &'p mut RolloutPlan) -> &'p mut RolloutProgress {
    let is_of_wanted = |one: &RolloutProgress| one.agents_meta_hash == facts.wanted && !facts.wanted.is_empty();
    if !plan.rollout.as_ref().is_some_and(is_of_wanted) {
        let creation_failed = seen.progress.creation_failure.is_some();
        let baseline = pods::baseline(seen.pods, facts.wanted, seen.now);
        let baseline = facts.is_enabled.then_some(PodsBaseline { creation_failed, ..baseline });
        plan.rollout = Some(RolloutProgress {
            agents_meta_hash: facts.wanted.to_owned(),
            started_at: Some(pods::stamp(seen.now)),
            baseline,
            ..RolloutProgress::default()
        });
    }
    plan.rollout.get_or_insert_default()
}

impl RolloutPlan {
    /// What follows when the pod may not be evicted, mostly since a PodDisruptionBudget forbids it.
    pub fn refused(&mut self, why: &str) {
        let Some(eviction) = self.evict.take() else { return };
        let rollout = self.conditions.iter_mut().find(|one| one.kind == WORKLOAD_ROLLOUT);
        if eviction.purpose == Purpose::Canary {
            // The rolling update has rules of its own, so the workload is restarted without a first pod.
            if let Some(canary) = self.rollout.as_mut().and_then(|record| record.canary.as_mut()) {
                canary::REFUSED.clone_into(&mut canary.result);
            }
            self.recheck_after = Some(SOON);
        } else if let Some(rollout) = rollout {
            rollout.message =
                format!("{} Pod {} may not be evicted now, which is tried again: {why}", rollout.message, eviction.pod);
            self.recheck_after = Some(REFUSED_AGAIN);
        }
    }

    /// What follows when the restart was refused: nothing is remembered as done.
    pub fn failed(&mut self, config: &InstrumentationConfig, why: &str) {
        let message = format!("It cannot be restarted, which is tried again: {why}");
        self.conditions.retain(|one| one.kind != WORKLOAD_ROLLOUT);
        self.conditions.insert(0, ConditionDraft::no(WORKLOAD_ROLLOUT, "FailedToPatch", message));
        let status = config.status.as_ref();
        self.applied_hash = status.map(|status| status.workload_rollout_hash.clone()).unwrap_or_default();
        self.instrumentation_time = status.and_then(|status| status.instrumentation_time.clone());
        self.rollout = status.and_then(|status| status.rollout.clone());
        self.holds_place = false;
        self.recheck_after = Some(SignedDuration::from_secs(10));
    }
}

/// Whether the pods of a workload that nobody covers any more must be made anew: some were created with agents since its
/// last restart. The API keeps whole seconds.
#[must_use]
pub fn must_be_cleaned(kind: WorkloadKind, pods: &[PodSeen], progress: &Progress, options: Options) -> bool {
    let restarted: Option<Timestamp> = progress.restarted_at.parse().ok();
    let since =
        |pod: &PodSeen| restarted.is_none_or(|restarted| pod.created.is_none_or(|created| created >= restarted));
    can_restart(kind) && !options.is_disabled && pods.iter().any(|pod| pod.hash.is_some() && since(pod))
}

/// Whether pods of the kind can be restarted from outside.
#[must_use]
pub const fn can_restart(kind: WorkloadKind) -> bool {
    !matches!(kind, WorkloadKind::CronJob | WorkloadKind::Job | WorkloadKind::StaticPod)
}

/// The change of a workload that makes its pods anew.
#[must_use]
pub fn restart_change(kind: WorkloadKind, stamp: Timestamp) -> Value {
    let stamp = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match kind {
        WorkloadKind::Rollout => json!({"spec": {"restartAt": stamp}}),
        _ => json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}}),
    }
}

#[cfg(test)]
mod tests;
