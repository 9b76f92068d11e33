//! The ladders of 3.4 and 3.8, and rows 38–42, 57 and 60 of section 7 as far as they are decisions.

use super::*;
use crate::instrumentation::creation::CreationFailure;
use odigos_api::condition::merged;
use odigos_api::instrumentation_config::InstrumentationConfigStatus;

struct Case {
    kind: WorkloadKind,
    config: InstrumentationConfig,
    pods: Vec<PodSeen>,
    progress: Progress,
    options: Options,
    gate: Gate,
    serves_since: Timestamp,
}

const CHANGED: i64 = 1_000_000;

fn pod(hash: &str) -> PodSeen {
    let hash = (!hash.is_empty()).then(|| hash.to_owned());
    PodSeen { hash, created: Some(Timestamp::UNIX_EPOCH), is_ready: true, ..PodSeen::default() }
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
            pods: pods
                .iter()
                .enumerate()
                .map(|(n, hash)| PodSeen { name: format!("web-{n}"), uid: format!("u-{n}"), ..pod(hash) })
                .collect(),
            progress: Progress { replaces_pods: true, ..Progress::default() },
            options: Options { canary: SignedDuration::ZERO, heals: false, ..Options::default() },
            gate: Gate::Open,
            serves_since: Timestamp::MIN,
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
            gate: &self.gate,
            serves_since: self.serves_since,
            now: Timestamp::MAX,
        })
    }

    /// The pods fail as a container does that the kubelet has given up starting; they began a minute ago.
    fn crashing(mut self, hash: &str) -> Self {
        for pod in self.pods.iter_mut().filter(|pod| pod.hash.as_deref() == Some(hash)) {
            let failure = Failure { exit_code: 1, reason: "Error".into(), message: "no main class".into(), at: None };
            pod.is_ready = false;
            pod.created = Some(Timestamp::MAX - SignedDuration::from_mins(6));
            pod.containers = vec![ContainerSeen {
                name: "app".into(),
                restarts: 4,
                waiting: ("CrashLoopBackOff".into(), String::new()),
                failure: Some(failure),
            }];
        }
        self.config.status.get_or_insert_default().instrumentation_time =
            Some(Time(Timestamp::MAX - SignedDuration::from_mins(7)));
        self
    }

    /// What the instrumentor does with a rollback that was decided.
    fn rolled_back(mut self) -> Self {
        let decided = self.plan().rollback;
        let status = self.config.status.get_or_insert_default();
        (status.rollback_occurred, status.rollback) = (Some(true), decided);
        self.config.spec.agent_injection_enabled = false;
        self.config.spec.agents_meta_hash.clear();
        self
    }

    fn outcome(&self) -> String {
        let plan = self.plan();
        let words: Vec<String> = plan
            .conditions
            .iter()
            .map(|one| format!("{}/{}", one.status.as_str(), one.reason))
            .chain(plan.restart.map(|_| "restart".to_owned()))
            .chain(plan.evict.map(|one| format!("evict {} {:?}", one.pod, one.purpose)))
            .chain(plan.rollback.map(|one| format!("rollback {}", one.reason)))
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
            Case::new("", &[""]).with(|case| case.gate = Gate::Closed("full".into(), SOON)),
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
            "15: not decided yet, and its predecessor had agents",
            Case::new("", &["old"]).with(off).with(|case| case.config.spec.agents_meta_hash_changed_time = None),
            "True/PodsManifestInjectionNotRequired",
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
    assert_eq!((first.applied_hash.as_str(), first.instrumentation_time), ("new", Some(pods::stamp(Timestamp::MAX))));
    let expected = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "1970-01-12T13:46:40Z"}}}}});
    let stamp = Timestamp::from_second(CHANGED).unwrap();
    assert_eq!(restart_change(WorkloadKind::StatefulSet, stamp), expected);
    assert_eq!(restart_change(WorkloadKind::Rollout, stamp), json!({"spec": {"restartAt": "1970-01-12T13:46:40Z"}}));
    // Not before it is patched: waiting changes nothing.
    let waiting = Case::new("old", &["old"]).with(|case| case.gate = Gate::Closed("full".into(), SOON)).plan();
    assert_eq!((waiting.applied_hash.as_str(), waiting.restart, waiting.recheck_after), ("old", None, Some(SOON)));
    assert!(!waiting.holds_place && first.holds_place);
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
    let with_agent = |second| PodSeen { created: Some(at(second)), ..pod("h") };
    let restarted = |stamp: &str| Progress { restarted_at: stamp.into(), ..Progress::default() };
    let (on, off) = (Options::default(), Options { is_disabled: true, ..Options::default() });
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

#[test]
fn agents_that_make_pods_fail_are_taken_out_again() {
    let rows = [
        (
            "45: restarted for them",
            Case::new("new", &["new", ""]).crashing("new"),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress rollback CrashLoopBackOff",
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
        (
            "even while that rollout goes on, without a place",
            Case::new("new", &["new", ""]).crashing("new").with(|case| {
                case.progress.is_ongoing = true;
                case.gate = Gate::Closed("full".into(), SOON);
            }),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress rollback CrashLoopBackOff",
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
        (
            "only one pod had them",
            Case::new("", &["new", "", ""]).crashing("new"),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress rollback CrashLoopBackOff",
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress evict web-0 Removal",
        ),
        (
            "automatic restarts are off",
            Case::new("", &["new", ""]).crashing("new").with(|case| case.options.is_disabled = true),
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress rollback CrashLoopBackOff",
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress evict web-0 Removal",
        ),
        (
            "48: switched off",
            Case::new("new", &["new", "new"]).crashing("new").with(|case| case.options.rollback.is_disabled = true),
            "True/RolloutFinished True/PodsAppliedSuccessfully",
            "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress restart",
        ),
    ];
    for (what, case, decided, done) in rows {
        assert_eq!(case.outcome(), decided, "{what}");
        assert_eq!(case.rolled_back().outcome(), done, "{what}: then");
    }
}

#[test]
fn a_rollback_is_finished_when_the_pods_without_agents_have_taken_over() {
    // The pod that failed is gone, and the one that takes over from the pod before all of this is not there yet.
    let mut case = Case::new("new", &["new", ""]).crashing("new").rolled_back();
    case.progress.restarted_at = case.plan().restart.expect("it is restarted").to_string();
    case.pods.remove(0);
    case.progress.is_ongoing = true;
    assert_eq!(case.outcome(), "True/RolloutTriggeredSuccessfully True/PodsAppliedSuccessfully");
    case.progress.is_ongoing = false;
    let finished = case.plan();
    assert_eq!(case.outcome(), "True/RolloutFinished True/PodsAppliedSuccessfully");
    // A later rollout is its owner's.
    case.config.status.get_or_insert_default().conditions =
        merged(&[], &finished.conditions, None, Timestamp::UNIX_EPOCH);
    case.progress.is_ongoing = true;
    assert!(case.outcome().starts_with("True/RolloutFinished "), "{}", case.outcome());
}

#[test]
fn a_rollback_says_why_and_stays() {
    let case = Case::new("new", &["new"]).crashing("new");
    let rollback = case.plan().rollback.unwrap();
    assert_eq!(
        rollback.message,
        "container app of pod web-0: CrashLoopBackOff, exit code 1 (Error), its last words: no main class."
    );
    assert_eq!((rollback.agents_meta_hash.as_str(), rollback.pods_only), ("new", false));
    let mut after = case.rolled_back();
    // The restart without agents is asked for once.
    assert!(after.plan().restart.is_some());
    after.progress.restarted_at = "1970-01-12T13:46:40Z".into();
    assert_eq!(after.plan().restart, None);
    after.kind = WorkloadKind::StatefulSet;
    assert_eq!(
        after.plan().evict.map(|one| one.pod).as_deref(),
        Some("web-0"),
        "its controller would wait for the pod"
    );
    after.pods = vec![pod("")];
    let plan = after.plan();
    assert_eq!(plan.conditions[0].reason, "RolloutFinished");
    assert!(plan.conditions[0].message.contains("no main class"), "{:?}", plan.conditions);
    assert!(!plan.holds_place && plan.restart.is_none() && plan.evict.is_none());
}

#[test]
fn one_pod_goes_first_and_the_others_follow() {
    let minute = SignedDuration::from_secs;
    let mut case = Case::new("", &["", "", ""]).with(|case| {
        case.options.canary = minute(30);
        (case.progress.replicas, case.progress.spares_a_pod) = (3, true);
    });
    let plan = case.plan();
    assert_eq!(plan.evict.as_ref().map(|one| (one.pod.as_str(), one.purpose)), Some(("web-2", Purpose::Canary)));
    assert!(plan.restart.is_none() && plan.holds_place && plan.begins);
    assert_eq!(plan.rollout.as_ref().and_then(|one| one.baseline.as_ref()).map(|one| one.ready_pods), Some(3));
    // Its replacement is there, but not for long.
    case.config.status.as_mut().unwrap().rollout = plan.rollout.clone();
    case.config.status.as_mut().unwrap().instrumentation_time = plan.instrumentation_time.clone();
    let ready = |since: i64| PodSeen {
        ready_changed: Some(Timestamp::MAX - minute(since)),
        name: "web-9".into(),
        ..pod("new")
    };
    case.pods[2] = ready(10);
    case.progress.is_ongoing = true;
    assert_eq!(case.outcome(), "True/RolloutTriggeredSuccessfully Unknown/RolloutInProgress");
    assert_eq!(case.plan().recheck_after, Some(minute(20)));
    case.pods[2] = ready(30);
    case.progress.is_ongoing = false;
    let passed = case.plan();
    assert!(passed.restart.is_some() && passed.evict.is_none());
    assert_eq!(passed.rollout.and_then(|one| one.canary).map(|one| one.result).as_deref(), Some("Passed"));
    // A budget forbids it: the rolling update, which keeps to rules of its own, does without.
    let mut refused = plan;
    refused.refused("Cannot evict pod as it would violate the pod's disruption budget.");
    assert!(refused.evict.is_none());
    case.pods[2] = PodSeen { name: "web-2".into(), ..pod("") };
    case.config.status.as_mut().unwrap().rollout = refused.rollout;
    assert!(case.plan().restart.is_some());
}

#[test]
fn pods_that_were_missed_are_mended_one_by_one() {
    let mut case = Case::new("new", &["new", "", ""]).with(|case| {
        case.options.heals = true;
        (case.progress.replicas, case.progress.spares_a_pod) = (3, true);
    });
    assert_eq!(
        case.outcome(),
        "True/RolloutTriggeredSuccessfully False/RestartRequiredWebhookMissed evict web-1 Healing"
    );
    // Admission has just come back, and may not be reached yet.
    case.serves_since = Timestamp::MAX - SignedDuration::from_secs(5);
    assert_eq!((case.plan().evict, case.plan().recheck_after), (None, Some(SignedDuration::from_secs(15))));
    case.serves_since = Timestamp::MIN;
    let mut record = case.plan().rollout.unwrap();
    assert!(record.healing_since.is_some());
    // It did not help, and is tried again an hour later.
    let pods = std::mem::replace(&mut case.pods, vec![PodSeen { created: Some(Timestamp::MAX), ..pod("") }]);
    for (minutes, expected) in [(59, false), (60, true)] {
        record.healing_since = Some(Time(Timestamp::MAX - SignedDuration::from_mins(minutes)));
        case.config.status.as_mut().unwrap().rollout = Some(record.clone());
        assert_eq!(case.plan().evict.is_some() || case.plan().restart.is_some(), expected, "{minutes}");
    }
    case.pods = pods;
    record.healing_since = Some(pods::stamp(Timestamp::MAX));
    case.config.status.as_mut().unwrap().rollout = Some(record);
    case.pods[1].is_going = true;
    assert_eq!(case.outcome(), "True/RolloutTriggeredSuccessfully False/RestartRequiredWebhookMissed");
    case.gate = Gate::Closed("full".into(), SOON);
    case.pods[1] = PodSeen { name: "web-7".into(), ..pod("new") };
    assert_eq!(case.outcome(), "True/WaitingInQueue Unknown/WaitingInRolloutQueue");
    case.pods[2] = pod("new");
    let plan = case.plan();
    assert_eq!(plan.rollout.unwrap().healing_since, None, "the next time begins anew");
}

#[test]
fn a_rollout_that_takes_too_long_lets_others_go_on() {
    let mut case = Case::new("new", &["new", "old"]).with(|case| {
        case.progress.is_ongoing = true;
        case.options.limits.total = Some(1);
    });
    let started = |minutes| {
        let started_at = Some(Time(Timestamp::MAX - SignedDuration::from_mins(minutes)));
        Some(RolloutProgress { agents_meta_hash: "new".into(), started_at, ..RolloutProgress::default() })
    };
    case.config.status.as_mut().unwrap().rollout = started(5);
    assert_eq!(case.plan().recheck_after, Some(SignedDuration::from_mins(10)));
    case.config.status.as_mut().unwrap().rollout = started(15);
    let plan = case.plan();
    assert!(plan.conditions[0].message.contains("rollout.slotTimeout"), "{:?}", plan.conditions);
    assert_eq!(plan.recheck_after, None);
}

#[test]
fn a_deployments_own_strategy_tells_whether_a_pod_may_be_away() {
    let of = |strategy: Value, replicas: i64| {
        Progress::of(WorkloadKind::Deployment, &json!({"spec": {"replicas": replicas, "strategy": strategy}}))
            .spares_a_pod
    };
    let rolling = |value: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": value}});
    assert!(of(json!({"type": "Recreate"}), 2) && !of(json!({"type": "Recreate"}), 1));
    assert!(of(rolling(json!("25%")), 4) && !of(rolling(json!("25%")), 3));
    assert!(of(rolling(json!(1)), 2) && !of(rolling(json!(0)), 9));
    let replaces = |kind, update: Value| Progress::of(kind, &json!({"spec": {"updateStrategy": update}})).replaces_pods;
    assert!(
        replaces(WorkloadKind::DaemonSet, json!({})) && !replaces(WorkloadKind::DaemonSet, json!({"type": "OnDelete"}))
    );
    assert!(!replaces(WorkloadKind::StatefulSet, json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})));
}

#[test]
fn pods_with_outdated_inputs_are_counted_and_not_restarted() {
    let inputs =
        |value: &str| -> inputs::ClusterInputs { [("userInstrumentationEnvs".to_owned(), value.to_owned())].into() };
    let mut case = Case::new("new", &["new", "new", "new", "new"]);
    case.config.spec.cluster_inputs = inputs("b");
    // One with the newest, two with older ones, one of an older release that does not say.
    case.pods[0].inputs = Some(inputs("b"));
    case.pods[1].inputs = Some(inputs("a"));
    case.pods[2].inputs = Some(inputs(""));
    let plan = case.plan();
    assert_eq!((plan.restart, plan.evict), (None, None));
    let found: Vec<(&str, u32)> = plan.outdated_inputs.iter().map(|one| (one.input.as_str(), one.pods)).collect();
    assert_eq!(found, [("userInstrumentationEnvs", 2)]);
    let pods = plan.conditions.iter().find(|one| one.reason == "PodsAppliedWithOutdatedInputs").unwrap();
    assert_eq!(pods.status.as_str(), "True");
    assert!(pods.message.contains("2 pods run with an older userInstrumentationEnvs since "), "{}", pods.message);
    // The time at which it was first observed stays.
    let since = "2026-01-31T12:00:00Z".parse().ok().map(Time);
    case.config.status.as_mut().unwrap().outdated_inputs =
        vec![OutdatedInput { input: "userInstrumentationEnvs".into(), pods: 3, since: since.clone() }];
    assert_eq!(case.plan().outdated_inputs[0].since, since);
    // A pod of other agents is outdated as a whole.
    case.pods[1].hash = Some("old".into());
    assert_eq!(case.plan().outdated_inputs[0].pods, 1);
    case.pods.truncate(1);
    assert_eq!(case.plan().outdated_inputs, []);
}

/// A LimitRange or a quota rejects the pods with their agents: none exists that could be judged.
#[test]
fn rejected_pods_take_the_agents_out_again() {
    let ago = |seconds| Timestamp::MAX - SignedDuration::from_secs(seconds);
    let failure = || CreationFailure { since: ago(90), last: None, message: "exceeded quota".into() };
    let baseline = PodsBaseline { pods: 1, ready_pods: 1, ..PodsBaseline::default() };
    // Recreate: restarted for these agents, and no pod is left.
    let recreated = Case::new("new", &[]).with(|case| {
        case.progress.creation_failure = Some(failure());
        case.progress.is_ongoing = true;
        let status = case.config.status.get_or_insert_default();
        status.instrumentation_time = Some(Time(ago(91)));
        status.rollout = Some(RolloutProgress {
            agents_meta_hash: "new".into(),
            baseline: Some(baseline.clone()),
            ..RolloutProgress::default()
        });
    });
    let plan = recreated.plan();
    let rollback = plan.rollback.clone().unwrap();
    assert_eq!((rollback.reason.as_str(), rollback.pods_only), ("FailedCreate", false));
    assert!(plan.conditions[0].message.contains("exceeded quota"), "{:?}", plan.conditions);
    let removed = recreated.rolled_back().plan();
    assert!(removed.restart.is_some(), "its controller tries at once: {removed:?}");
    // Nothing is known of a restart of ours: a new workload whose decision was there first.
    let created = Case::new("", &[]).with(|case| {
        case.progress.creation_failure = Some(failure());
        case.config.spec.agents_meta_hash_changed_time = Some(Time(ago(200)));
    });
    let rollback = created.plan().rollback.unwrap();
    assert_eq!((rollback.reason.as_str(), rollback.pods_only), ("FailedCreate", true));
    // It failed before the decision: nothing is restarted, and it is said why.
    let before = Case::new("", &["", ""]).with(|case| {
        case.progress.creation_failure = Some(failure());
        case.config.spec.agents_meta_hash_changed_time = Some(Time(ago(10)));
    });
    let plan = before.plan();
    assert_eq!((plan.restart, plan.rollback.clone()), (None, None));
    assert_eq!(plan.conditions[0].reason, "PreviousRolloutOngoing");
    assert!(plan.conditions[0].message.contains("fails to create pods: exceeded quota."), "{:?}", plan.conditions);
    // The next job would be rejected too.
    let job = Case::new("", &[]).with(|case| {
        case.kind = WorkloadKind::CronJob;
        case.progress.creation_failure = Some(failure());
        case.config.spec.agents_meta_hash_changed_time = Some(Time(ago(4000)));
    });
    assert!(job.plan().rollback.is_some_and(|rollback| rollback.reason == "FailedCreate"));
}
