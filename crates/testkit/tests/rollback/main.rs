//! Rollouts that go wrong, through a real API server: the instrumentor runs as it does in production, and a stand-in for the
//! kubelet says how containers do (`spec/sources-and-instrumentation.md` 3.3–3.8; rows 39, 43, 45–50 and 57 of section 7).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

mod kubelet;
mod plane;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kubelet::Behaviour;
use odigos_api::instrumentation_config::{InstrumentationConfig, InstrumentationConfigStatus};
use odigos_api::labels::{AGENTS_META_HASH, ROLLBACK_RECOVERY_PROCESSED};
use odigos_testkit::control_plane::apply;
use odigos_testkit::policy::Policy;
use odigos_testkit::process::eventually;
use plane::{LIMIT, Plane, has};
use serde_json::json;
use std::time::{Duration, Instant};

/// Long enough that a second restart would be seen.
const STILL: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_harm_are_taken_out_again() {
    let plane = Plane::start("rollbackGraceTime: 3s\nrollout: {canarySeconds: 2, brakeRollbacks: 0}").await;
    let _instrumentor = plane.start_instrumentor().await.unwrap();
    plane.covered("shop").await;
    a_crash_loop_is_rolled_back(&plane).await;
    recovery_is_tried_once(&plane).await;
    a_stateful_set_does_not_get_stuck(&plane).await;
    what_failed_before_is_left_alone(&plane).await;
    one_pod_goes_first(&plane).await;
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// 45, 46: by itself, with the cause, and nobody else is touched.
async fn a_crash_loop_is_rolled_back(plane: &Plane) {
    plane.kubelet.let_it("bad", Behaviour::CrashesWithAgent);
    plane.kubelet.let_it("unready", Behaviour::UnreadyWithAgent);
    plane.kubelet.let_it("imageless", Behaviour::NoImageWithAgent);
    for name in ["good", "bad", "unready", "imageless"] {
        plane.deploy("shop", name, 1).await;
        plane.detect("shop", name).await;
    }
    let begun = Instant::now();
    plane.until_rolled_back("shop", "bad").await;
    println!("rolled back and well {:?} after the agents were known, with 3 s of grace", begun.elapsed());
    plane.until_rolled_back("shop", "unready").await;
    plane.until_rolled_back("shop", "imageless").await;
    plane.until_injected("shop", "good").await;

    let (reason, message) = plane.says("shop", "bad", "AgentEnabled").await;
    assert_eq!(reason, "False/CrashLoopBackOff");
    assert!(
        message.contains("container app of pod bad-")
            && message.contains("exit code 1 (Error), its last words: Error: no main class found"),
        "{message}"
    );
    let (_, message) = plane.says("shop", "bad", "WorkloadRollout").await;
    assert!(message.contains("no main class found"), "{message}");
    let config = plane.config("shop", "bad").await;
    assert_eq!(
        (config.spec.containers[0].agent_enabled_reason.as_str(), config.spec.containers[0].agent_enabled),
        ("CrashLoopBackOff", false)
    );
    assert_eq!(config.spec.containers[0].otel_distro_name, "java-community", "what was tried stays known");
    assert_eq!(plane.says("shop", "imageless", "AgentEnabled").await.0, "False/ImagePullBackOff");
    assert!(plane.says("shop", "unready", "AgentEnabled").await.1.contains("is not ready"));
    let events = plane.objects("events.k8s.io/v1", "Event").await;
    let told = events.iter().any(|one| {
        one["reason"] == "AgentsRolledBack"
            && one["regarding"]["kind"] == "Deployment"
            && one["regarding"]["name"] == "bad"
    });
    assert!(told, "{events:?}");

    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "bad").await, 3, "made, restarted with agents, and without");
    assert_eq!(plane.generation("shop", "good").await, 2);
    assert_eq!(plane.status("shop", "good").await.rollback_occurred, None);
}

/// 49: a person asks, once for each time.
async fn recovery_is_tried_once(plane: &Plane) {
    plane.kubelet.let_it("bad", Behaviour::Well);
    plane.recover("shop", "bad", "2026-01-01T00:00:00Z").await;
    plane.until_injected("shop", "bad").await;
    let config = plane.config("shop", "bad").await;
    let processed = config.metadata.annotations.as_ref().and_then(|all| all.get(ROLLBACK_RECOVERY_PROCESSED));
    assert_eq!(processed.map(String::as_str), Some("2026-01-01T00:00:00Z"));
    let status = config.status.unwrap();
    assert_eq!((status.rollback_occurred, status.rollback), (Some(false), None));
    assert_eq!(plane.generation("shop", "bad").await, 4);
    plane.kubelet.let_it("bad", Behaviour::CrashesWithAgent);
    plane.until_rolled_back("shop", "bad").await;
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "bad").await, 5, "the same annotation brings nothing back");
    assert_eq!(plane.status("shop", "bad").await.rollback_occurred, Some(true));
}

/// The controller of StatefulSets waits for a pod that fails even when its template was mended.
async fn a_stateful_set_does_not_get_stuck(plane: &Plane) {
    plane.kubelet.let_it("store", Behaviour::CrashesWithAgent);
    let container = json!({"name": "app", "image": "none"});
    let store = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "store", "namespace": "shop"},
        "spec": {
            "replicas": 2, "serviceName": "store", "selector": {"matchLabels": {"app": "store"}},
            "template": {"metadata": {"labels": {"app": "store"}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
        },
    });
    odigos_testkit::control_plane::apply(&plane.client, &store).await.unwrap();
    let are_there = async || plane.names("shop", "store").await.len() == 2;
    eventually("both pods are there", LIMIT, are_there).await.unwrap();
    plane.detect_in("shop", "statefulset-store").await;
    let configs: Api<InstrumentationConfig> = Api::namespaced(plane.client.clone(), "shop");
    let is_well = async || {
        let status = configs.get("statefulset-store").await.unwrap().status.unwrap_or_default();
        status.rollback_occurred == Some(true) && has(&status, "PodsManifestInjection", "PodsAppliedSuccessfully")
    };
    eventually("the agents were taken out", LIMIT, is_well).await.unwrap();
    let pods = plane.pods("shop", "store").await;
    let has_agent = |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|all| all.contains_key(AGENTS_META_HASH));
    assert!(!pods.iter().any(has_agent));
}

/// 43: pods that fail without agents get none, until they are well.
async fn what_failed_before_is_left_alone(plane: &Plane) {
    plane.kubelet.let_it("sick", Behaviour::Crashes);
    plane.deploy("shop", "sick", 1).await;
    let is_held = |status: &InstrumentationConfigStatus| has(status, "WorkloadRollout", "CrashLoopBackOff");
    plane.until("it is held", "shop", "sick", is_held).await;
    plane.detect("shop", "sick").await;
    assert_eq!(plane.says("shop", "sick", "AgentEnabled").await.0, "False/CrashLoopBackOff");
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "sick").await, 1);
    plane.kubelet.let_it("sick", Behaviour::Well);
    plane.until_injected("shop", "sick").await;
    assert_eq!(plane.generation("shop", "sick").await, 2);
}

/// One pod tries the agents; where it fails, the others are never touched.
async fn one_pod_goes_first(plane: &Plane) {
    plane.kubelet.let_it("careful", Behaviour::CrashesWithAgent);
    for name in ["careful", "steady", "guarded"] {
        plane.deploy("shop", name, 3).await;
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guarded", "namespace": "shop"},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "guarded"}}},
    });
    odigos_testkit::control_plane::apply(&plane.client, &budget).await.unwrap();
    for name in ["careful", "steady", "guarded"] {
        plane.until_available("shop", name, 3).await;
    }
    let before = plane.names("shop", "careful").await;
    for name in ["careful", "steady", "guarded"] {
        plane.detect("shop", name).await;
    }
    plane.until_rolled_back("shop", "careful").await;
    let after = plane.names("shop", "careful").await;
    let kept = before.iter().filter(|pod| after.contains(pod)).count();
    assert_eq!((kept, plane.generation("shop", "careful").await), (2, 1), "{before:?} {after:?}");
    plane.until_injected("shop", "steady").await;
    plane.until_injected("shop", "guarded").await;
    let result =
        async |name: &str| plane.status("shop", name).await.rollout.and_then(|one| one.canary).map(|one| one.result);
    assert_eq!(result("steady").await.as_deref(), Some("Passed"));
    assert_eq!(result("guarded").await.as_deref(), Some("Refused"), "the rolling update keeps to rules of its own");
    assert_eq!((plane.generation("shop", "steady").await, plane.generation("shop", "guarded").await), (2, 2));
}

/// A LimitRange admits the pods of the namespace, but not with the init container of the agents: no pod exists that could be judged,
/// so what the controllers say is the evidence. Nothing stays without pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_taken_out_where_pods_are_rejected_for_them() {
    let settings =
        "rollbackGraceTime: 4s\nmountMethod: k8s-init-container\nrollout: {canarySeconds: 2, brakeRollbacks: 0}";
    let plane = Plane::start(settings).await;
    let _instrumentor = plane.start_instrumentor().await.unwrap();
    plane.covered("limited").await;
    refuse_init_containers(&plane).await;
    plane.deploy("limited", "trio", 3).await;
    plane.until_available("limited", "trio", 3).await;
    let before = plane.names("limited", "trio").await;
    // The API server taints a node that no controller has called ready.
    let tolerations = json!([{"operator": "Exists"}]);
    let pod = json!({"containers": [{"name": "app", "image": "none"}], "terminationGracePeriodSeconds": 1, "tolerations": tolerations});
    let workload = |kind: &str, name: &str, more: serde_json::Value| {
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "limited"},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
        });
        for (key, value) in more.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        object
    };
    let others = [
        workload("Deployment", "once", json!({"replicas": 1, "strategy": {"type": "Recreate"}})),
        workload("StatefulSet", "store", json!({"replicas": 2, "serviceName": "store"})),
        workload("DaemonSet", "daemon", json!({})),
    ];
    for other in &others {
        apply(&plane.client, other).await.unwrap();
    }
    let counts = [("trio", 3), ("once", 1), ("store", 2), ("daemon", 1)];
    for (name, count) in counts {
        let are_there = async || plane.names("limited", name).await.len() == count;
        if let Err(error) = eventually("its pods are there", LIMIT, are_there).await {
            let events = plane.objects("v1", "Event").await;
            let told: Vec<_> = events.iter().map(|one| (&one["involvedObject"]["name"], &one["message"])).collect();
            panic!("{error:#}: {name}: {told:?}");
        }
    }
    let configs = ["deployment-trio", "deployment-once", "statefulset-store", "daemonset-daemon"];
    for config in configs {
        plane.detect_in("limited", config).await;
    }
    for config in configs {
        is_rejected(&plane, config).await;
    }
    for (name, count) in counts {
        let are_back = async || {
            let pods = plane.pods("limited", name).await;
            let has_agent =
                |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|all| all.contains_key(AGENTS_META_HASH));
            pods.len() == count && !pods.iter().any(has_agent)
        };
        eventually("every pod is back without agents", LIMIT, are_back).await.unwrap();
    }
    let after = plane.names("limited", "trio").await;
    assert_eq!(before.iter().filter(|pod| after.contains(pod)).count(), 2, "two of three pods were never touched");
    assert_eq!(plane.generation("limited", "trio").await, 1);
    jobs_run_again(&plane, &pod).await;
    // That the controllers may not is what is tried here.
    let audited = plane.api.audited();
    assert!(audited.contains_key("odigos-instrumentor"), "{:?}", audited.keys());
    for (agent, did) in audited.iter().filter(|(agent, _)| agent.starts_with("odigos")) {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// A policy that no label tells of: pods of the namespace may have no init container.
async fn refuse_init_containers(plane: &Plane) {
    let probe = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "limited"},
        "spec": {"containers": [{"name": "a", "image": "none"}], "initContainers": [{"name": "b", "image": "none"}]},
    });
    let policy = Policy {
        name: "no-init-containers",
        resource: "pods",
        expression: "!has(object.spec.initContainers)",
        message: "init containers are not allowed",
        namespace: Some("limited"),
    };
    policy.enforce(&plane.client, &probe).await.unwrap();
}

/// Waits until the agents of a workload were taken out because its pods are rejected.
async fn is_rejected(plane: &Plane, config: &str) {
    let configs: Api<InstrumentationConfig> = Api::namespaced(plane.client.clone(), "limited");
    let status = async || configs.get(config).await.unwrap().status.unwrap_or_default();
    let is_said = async || has(&status().await, "AgentEnabled", "FailedCreate");
    if let Err(error) = eventually("the agents are taken out", LIMIT, is_said).await {
        panic!("{config} {error:#}: {:?}", status().await);
    }
    let status = status().await;
    let message = |kind: &str| status.conditions.iter().find(|one| one.type_ == kind).map(|one| one.message.clone());
    for kind in ["AgentEnabled", "WorkloadRollout"] {
        let message = message(kind).unwrap_or_default();
        let is_why = message.contains("init containers are not allowed");
        assert!(is_why || kind == "WorkloadRollout" && config.starts_with("cronjob"), "{config} {kind}: {message}");
    }
    assert_eq!(status.rollback.unwrap_or_default().reason, "FailedCreate");
}

/// Jobs of a CronJob, whose pods say nothing of the agents by how they end.
async fn jobs_run_again(plane: &Plane, pod: &serde_json::Value) {
    let mut pod = pod.clone();
    pod["restartPolicy"] = json!("Never");
    let template = json!({"metadata": {"labels": {"app": "import"}}, "spec": pod});
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "import", "namespace": "limited"},
        "spec": {"schedule": "0 3 * * *", "suspend": true, "jobTemplate": {"spec": {"template": template}}},
    });
    apply(&plane.client, &cron).await.unwrap();
    plane.detect_in("limited", "cronjob-import").await;
    plane.until_enabled("limited", "cronjob-import").await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import-29380000", "namespace": "limited"},
        "spec": {"template": template},
    });
    apply(&plane.client, &job).await.unwrap();
    is_rejected(plane, "cronjob-import").await;
    let runs = async || plane.names("limited", "import").await.len() == 1;
    eventually("the Job has its pod", LIMIT, runs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_go_in_turn_behind_a_brake_and_mend_what_was_missed() {
    // All four workloads have to be there before the slot of the first one times out.
    let settings = "rollbackGraceTime: 5m\nrollout: {canarySeconds: 0, maxConcurrentRollouts: 1, slotTimeout: 20s}";
    let plane = Plane::start(settings).await;
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    plane.covered("shop").await;
    places_are_given_in_turn(&plane).await;
    the_brake_holds_what_follows(&plane).await;
    // 57: pods come without agents while nobody could give them any, and are mended one by one.
    plane.configure("rollbackGraceTime: 2s\nrollout: {canarySeconds: 0, brakeRollbacks: 0}").await.unwrap();
    plane.deploy("shop", "trio", 3).await;
    plane.detect("shop", "trio").await;
    plane.until_injected("shop", "trio").await;
    instrumentor.kill();
    plane.delete_pods("shop", "trio").await.unwrap();
    let bare = async || {
        let pods = plane.pods("shop", "trio").await;
        pods.len() == 3 && pods.iter().all(|pod| !pod.metadata.labels.as_ref().unwrap().contains_key(AGENTS_META_HASH))
    };
    eventually("pods come without the webhook", LIMIT, bare).await.unwrap();
    let missed = plane.names("shop", "trio").await;
    let _again = plane.start_instrumentor().await.unwrap();
    plane
        .until("it is said", "shop", "trio", |status| {
            has(status, "PodsManifestInjection", "RestartRequiredWebhookMissed")
        })
        .await;
    plane.until_injected("shop", "trio").await;
    let now = plane.names("shop", "trio").await;
    assert!(now.iter().all(|pod| !missed.contains(pod)), "{missed:?} {now:?}");
    assert_eq!(plane.generation("shop", "trio").await, 2, "no second restart");
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// 39: one at a time, the longest waiting first; one that is stuck does not hold the others up. Three pods each.
async fn places_are_given_in_turn(plane: &Plane) {
    let names = ["first", "second", "third", "fourth"];
    plane.kubelet.let_it("first", Behaviour::UnreadyWithAgent);
    for name in names {
        plane.deploy("shop", name, 3).await;
    }
    for name in names {
        plane.until_available("shop", name, 3).await;
    }
    for name in names {
        // Who waits longest is known by whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        plane.detect("shop", name).await;
        plane
            .until("its agents are decided", "shop", name, |status| has(status, "AgentEnabled", "EnabledSuccessfully"))
            .await;
        if name == "first" {
            plane
                .until("it begins", "shop", name, |status| {
                    has(status, "WorkloadRollout", "RolloutTriggeredSuccessfully")
                })
                .await;
        }
    }
    plane.until("it waits", "shop", "fourth", |status| has(status, "WorkloadRollout", "WaitingInQueue")).await;
    assert_eq!(plane.says("shop", "fourth", "PodsManifestInjection").await.0, "Unknown/WaitingInRolloutQueue");
    let waiting = plane.names("shop", "fourth").await;
    assert_eq!((plane.generation("shop", "fourth").await, waiting.len()), (1, 3), "not one pod is touched");
    for name in &names[1..] {
        plane.until_injected("shop", name).await;
    }
    let mut times = Vec::new();
    for name in names {
        times.push(plane.status("shop", name).await.instrumentation_time.unwrap().0);
    }
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[1].duration_since(times[0]).as_secs() >= 19, "the place was given up after its time: {times:?}");
    let is_told = |status: &InstrumentationConfigStatus| {
        status.conditions.iter().any(|one| one.message.contains("longer than rollout.slotTimeout allows"))
    };
    plane.until("it is said", "shop", "first", is_told).await;
    plane.kubelet.let_it("first", Behaviour::Well);
    plane.until_injected("shop", "first").await;
}

/// Several workloads were rolled back: no further one begins, until a person says so.
async fn the_brake_holds_what_follows(plane: &Plane) {
    plane.configure("rollbackGraceTime: 2s\nrollout: {canarySeconds: 0, brakeRollbacks: 2}").await.unwrap();
    for name in ["bad-1", "bad-2"] {
        plane.kubelet.let_it(name, Behaviour::CrashesWithAgent);
        plane.deploy("shop", name, 3).await;
        plane.detect("shop", name).await;
    }
    plane.until_rolled_back("shop", "bad-1").await;
    plane.until_rolled_back("shop", "bad-2").await;
    for name in ["late", "later"] {
        plane.deploy("shop", name, 3).await;
        plane.detect("shop", name).await;
        plane.until("it waits", "shop", name, |status| has(status, "WorkloadRollout", "WaitingInQueue")).await;
    }
    let before = plane.names("shop", "late").await;
    let (_, message) = plane.says("shop", "late", "WorkloadRollout").await;
    assert!(message.contains("Deployment shop/bad-1, Deployment shop/bad-2"), "{message}");
    // One that a person asks for.
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    plane.recover("shop", "later", &now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).await;
    plane.until_injected("shop", "later").await;
    assert_eq!(plane.generation("shop", "late").await, 1);
    assert_eq!(plane.names("shop", "late").await, before, "none of its three pods is touched");
    // All of them.
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    plane
        .configure(&format!(
            "rollbackGraceTime: 2s\nrollout: {{canarySeconds: 0, brakeRollbacks: 2, brakeReleasedAt: '{now}'}}"
        ))
        .await
        .unwrap();
    plane.until_injected("shop", "late").await;
    assert_eq!(plane.status("shop", "bad-1").await.rollback_occurred, Some(true), "what was rolled back stays so");
}
