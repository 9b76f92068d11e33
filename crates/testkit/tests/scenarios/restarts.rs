//! Rows 15, 19, 22, 38–42 and 60: who is restarted, how, and how often.

use crate::asking::{
    STILL, configs, forget, found, in_streams, marks, namespace, objects, put, says, source, sources, until_says,
    until_streams, with, workload,
};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use odigos_api::API_VERSION;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::{Process, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ROLLOUT: &str = "WorkloadRollout";
const PODS: &str = "PodsManifestInjection";

async fn java(plane: &Plane, namespace: &str, config: &str) {
    plane.detect(namespace, config, &found("java", "17.0.12+7")).await.unwrap();
}

async fn merge(plane: &Plane, object: &Value, change: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
    let api = objects(plane, text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
    api.patch(text("/metadata/name"), &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
}

/// 60: made, restarted with agents, and without them; the pods are as before.
pub async fn agents_come_and_go_with_one_restart_each(plane: &Plane) {
    namespace(plane, "shop").await;
    let object =
        with(workload("shop", "Deployment", "cart"), "/spec/template/spec/automountServiceAccountToken", json!(false));
    put(plane, &object).await;
    let first = plane.newest("shop", "cart", &[]).await.unwrap();
    let asked = source("shop", "Deployment", "cart");
    assert!(put(plane, &asked).await.finalizers().is_empty(), "nothing holds a Source");
    java(plane, "shop", "deployment-cart").await;
    let with_agents = plane.rolled_out("shop", "cart", 2).await.unwrap();
    assert!(marks(&with_agents).iter().any(|mark| mark == AGENTS_META_HASH), "{with_agents}");
    forget(plane, &asked).await;
    let is_plain = async || {
        let pods = plane.pods("shop", "cart").await.unwrap();
        pods.len() == 1 && !pods[0].labels().contains_key(AGENTS_META_HASH)
    };
    eventually("its pod has no agent", LIMIT, is_plain).await.unwrap();
    let is_gone = async || {
        let source = sources(plane, "shop").get_opt("deployment-cart").await.unwrap();
        source.is_none() && plane.configs("shop").get_opt("deployment-cart").await.unwrap().is_none()
    };
    eventually("neither Source nor config is left", LIMIT, is_gone).await.unwrap();
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "cart").await.unwrap(), 3);
    let last = plane.newest("shop", "cart", &[]).await.unwrap();
    let spec = |pod: &Value| with(pod.clone(), "/spec/nodeName", Value::Null)["spec"].clone();
    let labels = |pod: &Value| pod["metadata"]["labels"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((spec(&first), labels(&first)), (spec(&last), labels(&last)));
}

/// 15: the Source stays, as where a repository is applied again and again.
pub async fn one_that_is_made_again_is_restarted_once(plane: &Plane) {
    let object = workload("shop", "Deployment", "again");
    put(plane, &object).await;
    put(plane, &source("shop", "Deployment", "again")).await;
    java(plane, "shop", "deployment-again").await;
    plane.rolled_out("shop", "again", 2).await.unwrap();
    let before = plane.config("shop", "again").await.unwrap();
    objects(plane, "apps/v1", "Deployment", "shop").delete("again", &Default::default()).await.unwrap();
    let is_gone = async || plane.configs("shop").get_opt("deployment-again").await.unwrap().is_none();
    eventually("its config is gone", LIMIT, is_gone).await.unwrap();
    put(plane, &object).await;
    plane.newest("shop", "again", &[]).await.unwrap();
    java(plane, "shop", "deployment-again").await;
    plane.rolled_out("shop", "again", 2).await.unwrap();
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "again").await.unwrap(), 2, "made and restarted once");
    assert_ne!(plane.config("shop", "again").await.unwrap().metadata.uid, before.metadata.uid);
}

/// 22.
pub async fn another_stream_restarts_nothing(plane: &Plane) {
    put(plane, &workload("shop", "Deployment", "moving")).await;
    let asked = source("shop", "Deployment", "moving");
    put(plane, &in_streams(asked.clone(), &[("a", "true")])).await;
    java(plane, "shop", "deployment-moving").await;
    let before = plane.rolled_out("shop", "moving", 2).await.unwrap();
    put(plane, &in_streams(asked, &[("b", "true")])).await;
    until_streams(plane, "shop", "deployment-moving", &[("b", "true")]).await;
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "moving").await.unwrap(), 2);
    let after = plane.newest("shop", "moving", &[]).await.unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

/// 40.
pub async fn a_paused_one_goes_on_when_it_is_resumed(plane: &Plane) {
    let object = workload("shop", "Deployment", "paused");
    put(plane, &object).await;
    plane.newest("shop", "paused", &[]).await.unwrap();
    merge(plane, &object, &json!({"spec": {"paused": true}})).await;
    put(plane, &source("shop", "Deployment", "paused")).await;
    java(plane, "shop", "deployment-paused").await;
    let message = until_says(plane, "shop", "deployment-paused", ROLLOUT, "False/FailedToPatch").await;
    assert!(message.contains("paused"), "{message}");
    until_says(plane, "shop", "deployment-paused", PODS, "False/RestartRequiredAutoRolloutFailed").await;
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "paused").await.unwrap(), 2, "it is paused, and nothing else");
    merge(plane, &object, &json!({"spec": {"paused": false}})).await;
    plane.rolled_out("shop", "paused", 4).await.unwrap();
}

/// A job as the CronJob would make it.
fn job(cron: &DynamicObject, name: &str) -> Value {
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": cron.name_any(), "uid": cron.uid(), "controller": true});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": cron.namespace(), "ownerReferences": [owner]},
        "spec": cron.data["spec"]["jobTemplate"]["spec"],
    })
}

/// 41.
pub async fn a_cron_job_waits_for_its_next_job(plane: &Plane) {
    let cron = put(plane, &workload("shop", "CronJob", "nightly")).await;
    put(plane, &job(&cron, "nightly-28471200")).await;
    let first = plane.newest("shop", "nightly", &[]).await.unwrap();
    put(plane, &source("shop", "CronJob", "nightly")).await;
    java(plane, "shop", "cronjob-nightly").await;
    until_says(plane, "shop", "cronjob-nightly", ROLLOUT, "True/WaitingForRestart").await;
    until_says(plane, "shop", "cronjob-nightly", PODS, "Unknown/WaitingForNextJobRun").await;
    put(plane, &job(&cron, "nightly-28471201")).await;
    let running = first["metadata"]["name"].as_str().unwrap().to_owned();
    let second = plane.newest("shop", "nightly", std::slice::from_ref(&running)).await.unwrap();
    assert!(marks(&second).iter().any(|mark| mark == AGENTS_META_HASH), "{second}");
    tokio::time::sleep(STILL).await;
    let now = objects(plane, "v1", "Pod", "shop").get(&running).await.unwrap();
    assert_eq!(now.uid().as_deref(), first["metadata"]["uid"].as_str(), "the running one is left alone");
    assert!(!now.labels().contains_key(AGENTS_META_HASH));
    assert_eq!(
        objects(plane, "batch/v1", "CronJob", "shop").get("nightly").await.unwrap().metadata.generation,
        Some(1)
    );
}

/// A Job that a person makes from a CronJob has any name; its owner tells whose it is, and a pod cannot claim it.
pub async fn a_job_made_by_hand_is_its_cron_jobs(plane: &Plane) {
    let cron = objects(plane, "batch/v1", "CronJob", "shop").get("nightly").await.unwrap();
    let names = async || {
        let pods = plane.pods("shop", "nightly").await.unwrap();
        pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    let before = names().await;
    put(plane, &job(&cron, "by-hand")).await;
    let pod = plane.newest("shop", "nightly", &before).await.unwrap();
    assert!(marks(&pod).iter().any(|mark| mark == AGENTS_META_HASH), "{pod}");
    assert_eq!(pod["metadata"]["annotations"]["odigos.io/cron-job"], "nightly");
    let before = names().await;
    let mut claims = job(&cron, "nightly-20260814");
    claims["metadata"]["ownerReferences"] = json!([]);
    claims["spec"]["template"]["metadata"]["annotations"] = json!({"odigos.io/cron-job": "nightly", "team": "blue"});
    put(plane, &claims).await;
    let pod = plane.newest("shop", "nightly", &before).await.unwrap();
    assert!(
        !marks(&pod).iter().any(|mark| mark == AGENTS_META_HASH),
        "a date is no minute, and the Job has no owner: {pod}"
    );
    assert_eq!(pod["metadata"]["annotations"], json!({"team": "blue"}));
}

/// 42: the kubelet makes the pod, whatever the API server holds.
pub async fn a_static_pod_cannot_be_restarted(plane: &Plane) {
    let node = kube::Api::<k8s_openapi::api::core::v1::Node>::all(plane.client.clone()).get("local").await.unwrap();
    let mirror = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "proxy-local", "namespace": "shop", "labels": {"app": "proxy"},
            "annotations": {"kubernetes.io/config.mirror": "5d4f", "kubernetes.io/config.hash": "5d4f", "kubernetes.io/config.source": "file"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "local", "uid": node.uid(), "controller": true}],
        },
        "spec": {"nodeName": "local", "containers": [{"name": "app", "image": "none"}]},
    });
    let made = put(plane, &mirror).await;
    put(plane, &source("shop", "StaticPod", "proxy-local")).await;
    java(plane, "shop", "staticpod-proxy-local").await;
    until_says(plane, "shop", "staticpod-proxy-local", ROLLOUT, "True/WorkloadNotSupporting").await;
    until_says(plane, "shop", "staticpod-proxy-local", PODS, "False/RolloutNotSupportedForStaticPods").await;
    let log = || std::fs::read_to_string(plane.api.directory().join("instrumentor.log")).unwrap();
    let troubles = |log: &str| log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    let before = troubles(&log());
    tokio::time::sleep(STILL).await;
    let now = objects(plane, "v1", "Pod", "shop").get("proxy-local").await.unwrap();
    assert_eq!((now.uid(), now.metadata.generation), (made.uid(), made.metadata.generation));
    assert_eq!(troubles(&log()), before, "nothing is tried again and again");
    assert!(log().contains("INFO"), "the words that are counted are those of the log");
}

/// Installs the kind of Argo's Rollouts.
pub async fn install_argo(plane: &Plane) {
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    put(plane, &kind).await;
    let rollouts = objects(plane, "argoproj.io/v1alpha1", "Rollout", "shop");
    let is_served = async || rollouts.list(&ListParams::default()).await.is_ok();
    eventually("the kind is served", LIMIT, is_served).await.unwrap();
}

/// 19, without the controller of Argo, which does not run here: its field is set, and its pods are admitted as its own.
pub async fn argo_rollouts_restart_in_their_own_way(plane: &Plane) {
    let rollouts = objects(plane, "argoproj.io/v1alpha1", "Rollout", "shop");
    let made = put(plane, &workload("shop", "Rollout", "checkout")).await;
    let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "checkout", "uid": made.uid(), "controller": true});
    let labels = json!({"app": "checkout", "rollouts-pod-template-hash": "77"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "checkout-77", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
        },
    });
    put(plane, &set).await;
    plane.newest("shop", "checkout", &[]).await.unwrap();
    put(plane, &source("shop", "Rollout", "checkout")).await;
    java(plane, "shop", "rollout-checkout").await;
    let is_restarted = async || rollouts.get("checkout").await.unwrap().data.pointer("/spec/restartAt").is_some();
    if let Err(error) = eventually("it is asked to restart", LIMIT, is_restarted).await {
        panic!("{error:#}: {:?}", says(plane, "shop", "rollout-checkout", ROLLOUT).await);
    }
    let now = rollouts.get("checkout").await.unwrap();
    assert_eq!(now.data["spec"]["template"], made.data["spec"]["template"], "the template is left alone");
    let pod = plane.replaced("shop", "checkout").await.unwrap();
    let env = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let told = env
        .iter()
        .any(|one| one["value"].as_str().is_some_and(|value| value.contains("k8s.argoproj.rollout.name=checkout")));
    assert!(told, "{env:?}");
}

/// A Rollout that refers to the template of a Deployment, which Argo has scaled to zero.
pub async fn a_rollout_runs_the_template_of_a_deployment(plane: &Plane) {
    let deployment = with(workload("shop", "Deployment", "lent"), "/spec/replicas", json!(0));
    put(plane, &deployment).await;
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "lent"});
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "lent", "namespace": "shop"},
        "spec": {"replicas": 1, "workloadRef": reference},
    });
    let made = put(plane, &rollout).await;
    let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "lent", "uid": made.uid(), "controller": true});
    let labels = json!({"app": "lent", "rollouts-pod-template-hash": "88"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "lent-88", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
        },
    });
    put(plane, &set).await;
    plane.newest("shop", "lent", &[]).await.unwrap();
    put(plane, &source("shop", "Deployment", "lent")).await;
    let overrides = json!([{"containerName": "typo", "otelDistroName": "java-community"}]);
    put(plane, &with(source("shop", "Rollout", "lent"), "/spec/containerOverrides", overrides)).await;
    java(plane, "shop", "rollout-lent").await;
    let rollouts = objects(plane, "argoproj.io/v1alpha1", "Rollout", "shop");
    let is_restarted = async || rollouts.get("lent").await.unwrap().data.pointer("/spec/restartAt").is_some();
    if let Err(error) = eventually("it is asked to restart", LIMIT, is_restarted).await {
        panic!("{error:#}: {:?}", says(plane, "shop", "rollout-lent", ROLLOUT).await);
    }
    let pod = plane.replaced("shop", "lent").await.unwrap();
    assert!(marks(&pod).iter().any(|mark| mark == AGENTS_META_HASH), "{pod}");
    for (name, expected) in [
        ("deployment-lent", "Rollout shop/lent runs its pod template"),
        ("rollout-lent", "Rollout shop/lent has no such container; it has: app"),
    ] {
        let message = async || {
            let found = sources(plane, "shop").get(name).await.unwrap();
            let conditions =
                found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let accepted = conditions.into_iter().find(|one| one["type"] == "Accepted").unwrap_or_default();
            accepted["message"].as_str().unwrap_or_default().to_owned()
        };
        let is_said = async || message().await.contains(expected);
        if let Err(error) = eventually("the Source says so", LIMIT, is_said).await {
            panic!("{error:#}: {name} {}", message().await);
        }
    }
    let covered = configs(plane, "shop").await;
    assert!(!covered.contains(&"deployment-lent".to_owned()), "{covered:?}");
    let now = objects(plane, "apps/v1", "Deployment", "shop").get("lent").await.unwrap();
    assert_eq!(now.metadata.generation, Some(1), "a change of its template would be a new revision of the Rollout");
}

/// 38.
pub async fn without_automatic_restarts_a_person_does_it(plane: &Plane) {
    plane.configure("rollout: {automaticRolloutDisabled: true}\n").await.unwrap();
    let object = workload("shop", "Deployment", "manual");
    put(plane, &object).await;
    put(plane, &source("shop", "Deployment", "manual")).await;
    java(plane, "shop", "deployment-manual").await;
    until_says(plane, "shop", "deployment-manual", ROLLOUT, "True/Disabled").await;
    until_says(plane, "shop", "deployment-manual", PODS, "False/RestartRequiredAutoRolloutDisabled").await;
    tokio::time::sleep(STILL).await;
    assert_eq!(plane.generation("shop", "manual").await.unwrap(), 1);
    // What `kubectl rollout restart` does.
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}}});
    merge(plane, &object, &restart).await;
    until_says(plane, "shop", "deployment-manual", PODS, "True/PodsAppliedSuccessfully").await;
    assert_eq!(plane.generation("shop", "manual").await.unwrap(), 2);
}

/// Deployments of the queue whose rollout has begun and is not finished.
async fn under_way(plane: &Plane) -> usize {
    let found = objects(plane, "apps/v1", "Deployment", "queue").list(&ListParams::default()).await.unwrap().items;
    let number =
        |one: &DynamicObject, pointer: &str| one.data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let is_under_way = |one: &&DynamicObject| {
        let is_seen = Some(number(one, "/status/observedGeneration")) == one.metadata.generation;
        let updated = number(one, "/status/updatedReplicas");
        one.metadata.generation > Some(1)
            && !(is_seen
                && updated == 1
                && number(one, "/status/replicas") == 1
                && number(one, "/status/availableReplicas") == 1)
    };
    found.iter().filter(is_under_way).count()
}

/// 39: five Deployments, one place, and an instrumentor that ends in the middle without warning.
pub async fn only_one_at_a_time_even_through_a_restart(plane: &Plane, mut instrumentor: Process) -> Process {
    plane.configure("rollout: {maxConcurrentRollouts: 1, canarySeconds: 0}\n").await.unwrap();
    namespace(plane, "queue").await;
    let names = ["one", "two", "three", "four", "five"];
    for name in names {
        let object = with(workload("queue", "Deployment", name), "/spec/minReadySeconds", json!(1));
        put(plane, &object).await;
    }
    for name in names {
        plane.newest("queue", name, &[]).await.unwrap();
    }
    put(plane, &source("queue", "Namespace", "queue")).await;
    for name in names {
        java(plane, "queue", &format!("deployment-{name}")).await;
    }
    let (mut most, mut has_waited, begun) = (0, false, Instant::now());
    let mut again = None;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        most = most.max(under_way(plane).await);
        let (mut finished, mut said) = (0, Vec::new());
        for name in names {
            let config = format!("deployment-{name}");
            let words = [ROLLOUT, PODS].map(|kind| says(plane, "queue", &config, kind));
            let [rollout, pods] = futures::future::join_all(words).await.try_into().unwrap();
            has_waited |= rollout.0 == "True/WaitingInQueue" && pods.0 == "Unknown/WaitingInRolloutQueue";
            finished += usize::from(rollout.0 == "True/RolloutFinished" && pods.0 == "True/PodsAppliedSuccessfully");
            said.push((name, rollout, pods));
        }
        assert!(begun.elapsed() < 3 * LIMIT, "they do not finish: {said:#?}");
        if finished >= 2 && again.is_none() {
            instrumentor.kill();
            again = Some(plane.start_instrumentor().await.unwrap());
        }
        if finished == names.len() {
            break;
        }
    }
    assert_eq!((most, has_waited), (1, true), "at most one at a time, and the others say that they wait");
    // Whose pod came while nobody could give it agents is restarted once more, and there is one place.
    let mut again_restarted = 0;
    for name in names {
        let generation = plane.generation("queue", name).await.unwrap();
        assert!(generation == 2 || generation == 3, "{name}: {generation}");
        again_restarted += generation - 2;
    }
    assert!(again_restarted <= 1, "{again_restarted} were restarted twice");
    let left =
        objects(plane, API_VERSION, "InstrumentationConfig", "queue").list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), names.len());
    again.unwrap()
}
