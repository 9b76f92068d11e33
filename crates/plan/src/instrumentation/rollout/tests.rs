//! The ladders of 3.4 and 3.8, and rows 38–42, 57 and 60 of section 7 as far as they are decisions.

use super::*;
use odigos_api::instrumentation_config::InstrumentationConfigStatus;

struct Case {
    kind: WorkloadKind,
    config: InstrumentationConfig,
    pods: Vec<PodSeen>,
    progress: Progress,
    options: Options,
    has_slot: bool,
}

const CHANGED: i64 = 1_000_000;

fn pod(hash: &str) -> PodSeen {
    PodSeen { hash: (!hash.is_empty()).then(|| hash.to_owned()), created: Some(Timestamp::UNIX_EPOCH) }
}

impl Case {
    fn new(applied: &str, pods: &[&str]) -> Self {
        let mut config = InstrumentationConfig::default();
        config.spec.agent_injection_enabled = true;
        config.spec.agents_meta_hash = "new".into();
        config.spec.agents_meta_hash_changed_time = Timestamp::from_second(CHANGED).ok().map(Time);
        config.status =
            Some(InstrumentationConfigStatus { workload_rollout_hash: applied.into(), ..Default::default() });
        Self {
            kind: WorkloadKind::Deployment,
            config,
            pods: pods.iter().map(|hash| pod(hash)).collect(),
            progress: Progress::default(),
            options: Options::default(),
            has_slot: true,
        }
    }

    fn with(mut self, change: impl Fn(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn plan(&self) -> RolloutPlan {
        plan(&Seen {
            kind: self.kind,
            config: &self.config,
            pods: &self.pods,
            progress: &self.progress,
            options: self.options,
            has_slot: self.has_slot,
            now: Timestamp::MAX,
        })
    }

    fn outcome(&self) -> String {
        let plan = self.plan();
        let words: Vec<String> = plan
            .conditions
            .iter()
            .map(|one| format!("{}/{}", one.status.as_str(), one.reason))
            .chain(plan.restart.map(|_| "restart".to_owned()))
            .collect();
        words.join(" ")
    }
}

#[test]
fn the_ladders_of_the_specification() {
    let off = |case: &mut Case| {
        case.config.spec.agent_injection_enabled = false;
        case.config.spec.agents_meta_hash.clear();
    };
    let rows = [
        ("nothing runs", Case::new("", &[]), "True/RolloutFinished Unknown/NoPods"),
        (
            "31: first agents",
            Case::new("", &["", ""]),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
        ("31: all there", Case::new("new", &["new", "new"]), "True/RolloutFinished True/PodsAppliedSuccessfully"),
        ("a user restarted it", Case::new("", &["new"]), "True/RolloutFinished True/PodsAppliedSuccessfully"),
        (
            "other agents",
            Case::new("old", &["old"]),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
        (
            "on its way",
            Case::new("new", &["new", "old"]).with(|case| case.progress.is_ongoing = true),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress",
        ),
        (
            "57: the webhook was missed",
            Case::new("new", &["new", ""]),
            "True/RolloutFinished False/RestartRequiredWebhookMissed",
        ),
        (
            "another rollout",
            Case::new("", &[""]).with(|case| case.progress.is_ongoing = true),
            "Unknown/PreviousRolloutOngoing Unknown/RolloutInProgress",
        ),
        (
            "39: no slot",
            Case::new("", &[""]).with(|case| case.has_slot = false),
            "True/WaitingInQueue Unknown/WaitingInRolloutQueue",
        ),
        (
            "40: paused",
            Case::new("", &[""]).with(|case| case.progress.is_paused = true),
            "False/FailedToPatch False/RestartRequiredAutoRolloutFailed",
        ),
        (
            "38: switched off",
            Case::new("", &[""]).with(|case| case.options.is_disabled = true),
            "True/Disabled False/RestartRequiredAutoRolloutDisabled",
        ),
        (
            "38: and restarted by the user",
            Case::new("", &["new"]).with(|case| case.options.is_disabled = true),
            "True/Disabled True/PodsAppliedSuccessfully",
        ),
        (
            "41: CronJob",
            Case::new("", &[""]).with(|case| case.kind = WorkloadKind::CronJob),
            "True/WaitingForRestart Unknown/WaitingForNextJobRun",
        ),
        (
            "42: static pod",
            Case::new("", &[""]).with(|case| case.kind = WorkloadKind::StaticPod),
            "True/WorkloadNotSupporting False/RolloutNotSupportedForStaticPods",
        ),
        (
            "33: attaches to what runs",
            Case::new("", &[""]).with(|case| case.config.spec.pod_manifest_injection_optional = Some(true)),
            "True/NotRequired True/PodsManifestInjectionNotRequired",
        ),
        ("never had agents", Case::new("", &["", ""]).with(off), "True/PodsAppliedSuccessfully"),
        (
            "agents go",
            Case::new("old", &["old", "old"]).with(off),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
        (
            "agents go, and the first restart is lost",
            Case::new("", &["old"]).with(off),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
    ];
    for (what, case, expected) in rows {
        assert_eq!(case.outcome(), expected, "{what}");
    }
}

#[test]
fn a_restart_is_stamped_with_the_change_and_remembered() {
    let first = Case::new("", &[""]).plan();
    assert_eq!(first.restart.map(Timestamp::as_second), Some(CHANGED));
    assert_eq!((first.applied_hash.as_str(), first.instrumentation_time), ("new", Some(Time(Timestamp::MAX))));
    let expected = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "1970-01-12T13:46:40Z"}}}}});
    let stamp = Timestamp::from_second(CHANGED).unwrap();
    assert_eq!(restart_change(WorkloadKind::StatefulSet, stamp), expected);
    assert_eq!(restart_change(WorkloadKind::Rollout, stamp), json!({"spec": {"restartAt": "1970-01-12T13:46:40Z"}}));
    // Not before it is patched: waiting changes nothing.
    let waiting = Case::new("old", &["old"]).with(|case| case.has_slot = false).plan();
    assert_eq!((waiting.applied_hash.as_str(), waiting.restart, waiting.is_queued), ("old", None, true));
}

#[test]
fn rollouts_are_told_by_revisions_and_not_by_health() {
    let rows = [
        (
            WorkloadKind::Deployment,
            json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}}),
            false,
        ),
        (
            WorkloadKind::Deployment,
            json!({"spec": {"replicas": 2}, "status": {"replicas": 3, "updatedReplicas": 2}}),
            true,
        ),
        (
            WorkloadKind::Deployment,
            json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "updatedReplicas": 1}}),
            true,
        ),
        (
            WorkloadKind::Deployment,
            json!({"metadata": {"generation": 3}, "spec": {"replicas": 0}, "status": {"observedGeneration": 2}}),
            true,
        ),
        (
            WorkloadKind::Deployment,
            json!({"spec": {"replicas": 2}, "status": {"replicas": 3, "updatedReplicas": 1, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}}),
            false,
        ),
        (WorkloadKind::StatefulSet, json!({"status": {"currentRevision": "a", "updateRevision": "b"}}), true),
        (
            WorkloadKind::StatefulSet,
            json!({"status": {"currentRevision": "a", "updateRevision": "a", "readyReplicas": 0}}),
            false,
        ),
        (
            WorkloadKind::StatefulSet,
            json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"currentRevision": "a", "updateRevision": "b"}}),
            false,
        ),
        (WorkloadKind::DaemonSet, json!({"status": {"updatedNumberScheduled": 1, "desiredNumberScheduled": 2}}), true),
        (
            WorkloadKind::DaemonSet,
            json!({"status": {"updatedNumberScheduled": 2, "desiredNumberScheduled": 2, "numberReady": 0}}),
            false,
        ),
        (WorkloadKind::Rollout, json!({"status": {"phase": "Progressing"}}), true),
        (WorkloadKind::Rollout, json!({"status": {"phase": "Paused"}}), false),
        (WorkloadKind::CronJob, json!({}), false),
    ];
    for (kind, object, expected) in rows {
        assert_eq!(Progress::of(kind, &object).is_ongoing, expected, "{object}");
    }
}

#[test]
fn pods_that_nobody_covers_are_cleaned_once() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let with_agent = |second| PodSeen { hash: Some("h".into()), created: Some(at(second)) };
    let restarted = |stamp: &str| Progress { restarted_at: stamp.into(), ..Progress::default() };
    let (on, off) = (Options::default(), Options { is_disabled: true, limit: None });
    let deployment = WorkloadKind::Deployment;
    assert!(must_be_cleaned(deployment, &[pod(""), with_agent(10)], &restarted(""), on));
    assert!(must_be_cleaned(deployment, &[with_agent(10)], &restarted("1970-01-01T00:00:05Z"), on));
    assert!(
        !must_be_cleaned(deployment, &[with_agent(10)], &restarted("1970-01-01T00:00:11Z"), on),
        "it is on its way"
    );
    assert!(!must_be_cleaned(deployment, &[pod("")], &restarted(""), on));
    assert!(!must_be_cleaned(deployment, &[with_agent(10)], &restarted(""), off));
    assert!(!must_be_cleaned(WorkloadKind::CronJob, &[with_agent(10)], &restarted(""), on));
}
