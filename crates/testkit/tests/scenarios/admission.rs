//! Rows 1–9: which Sources the API server takes, and what is filled in.

use crate::asking::{namespace, put, refused, source, sources, with};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use odigos_api::labels::{DEPRECATED_SOURCE_FINALIZERS, SOURCE_FINALIZER};
use odigos_testkit::control_plane::apply;
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::json;

/// 1.
pub async fn labels_are_filled_in_and_no_finalizer(plane: &Plane) {
    namespace(plane, "taken").await;
    let api = sources(plane, "taken");
    let is_served = async || {
        let Ok(stored) = apply(&plane.client, &source("taken", "Deployment", "cart")).await else { return false };
        !stored.labels().is_empty()
    };
    eventually("admission serves", LIMIT, is_served).await.unwrap();
    let stored = api.get("deployment-cart").await.unwrap();
    let labels: Vec<(&str, &str)> = stored.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("odigos.io/data-stream-default", "true"),
        ("odigos.io/workload-kind", "Deployment"),
        ("odigos.io/workload-name", "cart"),
        ("odigos.io/workload-namespace", "taken"),
    ];
    assert_eq!(labels, expected);
    assert!(stored.finalizers().is_empty(), "nothing holds a Source");
}

/// 2, 4, 5, 9.
pub async fn what_contradicts_itself_is_refused(plane: &Plane) {
    let api = source("taken", "Deployment", "api");
    let whole = source("taken", "Namespace", "taken");
    let rows = [
        (
            with(api.clone(), "/metadata/labels", json!({"odigos.io/workload-kind": "StatefulSet"})),
            "odigos.io/workload-kind",
        ),
        (with(whole.clone(), "/spec/workload/name", json!("elsewhere")), "own namespace"),
        (with(whole.clone(), "/spec/otelServiceName", json!("x")), "otelServiceName"),
        (with(whole, "/spec/matchWorkloadNameAsRegex", json!(true)), "matchWorkloadNameAsRegex"),
        (with(api, "/spec/workload/namespace", json!("default")), "must be the namespace of the Source"),
        (source("taken", "Job", "import"), "kind"),
        (source("taken", "ReplicaSet", "api-5d4f"), "kind"),
    ];
    for (object, expected) in rows {
        let said = refused(plane, &object).await;
        assert!(said.contains(expected), "{object}: {said}");
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(sources(plane, "taken").get_opt(name).await.unwrap().is_none(), "{name} was refused and is there");
    }
}

/// 3: enabled or disabled, and beside one of its namespace in either order.
pub async fn one_source_for_each_workload(plane: &Plane) {
    let second = with(source("taken", "Deployment", "cart"), "/metadata/name", json!("second"));
    for disabled in [false, true] {
        let second = with(second.clone(), "/spec/disableInstrumentation", json!(disabled));
        let said = refused(plane, &second).await;
        assert!(said.contains("deployment-cart selects the same workload"), "{said}");
    }
    put(plane, &source("taken", "Namespace", "taken")).await;
    put(plane, &source("taken", "Deployment", "afterwards")).await;
}

/// 6.
pub async fn the_workload_stays_and_the_rest_may_change(plane: &Plane) {
    let api = sources(plane, "taken");
    let merge = async |change| api.patch("deployment-cart", &PatchParams::default(), &Patch::Merge(&change)).await;
    let fixed = [
        json!({"spec": {"workload": {"name": "other"}}}),
        json!({"spec": {"workload": {"namespace": "default"}}}),
        json!({"spec": {"workload": {"kind": "StatefulSet"}}}),
        json!({"spec": {"matchWorkloadNameAsRegex": true}}),
        json!({"metadata": {"labels": {"odigos.io/workload-name": "other"}}}),
        json!({"metadata": {"labels": {"odigos.io/workload-kind": "DaemonSet"}}}),
        json!({"metadata": {"labels": {"odigos.io/workload-namespace": "default"}}}),
    ];
    for change in fixed {
        let said = merge(change.clone()).await.expect_err(&change.to_string()).to_string();
        assert!(said.contains("Invalid value"), "{change}: {said}");
    }
    let free = [
        json!({"spec": {"disableInstrumentation": true}}),
        json!({"spec": {"disableInstrumentation": false, "otelServiceName": "checkout"}}),
        json!({"spec": {"containerOverrides": [{"containerName": "app", "runtimeInfo": {"language": "java"}}]}}),
        json!({"metadata": {"labels": {"odigos.io/data-stream-shop": "true", "odigos.io/data-stream-default": "false"}}}),
    ];
    for change in free {
        if let Err(error) = merge(change.clone()).await {
            panic!("{change}: {error}");
        }
    }
}

/// 7: whichever comes first.
pub async fn patterns_and_exact_names_do_not_overlap(plane: &Plane) {
    namespace(plane, "patterns").await;
    let pattern = |name: &str, text: &str| {
        let object = with(source("patterns", "Deployment", text), "/metadata/name", json!(name));
        with(object, "/spec/matchWorkloadNameAsRegex", json!(true))
    };
    let said = refused(plane, &pattern("bad", "^pay-[")).await;
    assert!(said.contains("not a valid pattern"), "{said}");
    put(plane, &source("patterns", "Deployment", "pay-api")).await;
    let said = refused(plane, &pattern("pay", "^pay-")).await;
    assert!(said.contains("deployment-pay-api exists"), "{said}");
    put(plane, &pattern("web", "^web-")).await;
    let said = refused(plane, &source("patterns", "Deployment", "web-1")).await;
    assert!(said.contains("the pattern of the Source web selects it"), "{said}");
}

/// 8: stored by an old release, while admission did not run.
pub async fn finalizers_of_old_releases_go(plane: &Plane) {
    let api = sources(plane, "patterns");
    let both = json!(DEPRECATED_SOURCE_FINALIZERS);
    let object = with(source("patterns", "Deployment", "both"), "/metadata/finalizers", both);
    let said = refused(plane, &object).await;
    assert!(said.contains("metadata.finalizers"), "{said}");
    let old = json!([DEPRECATED_SOURCE_FINALIZERS[0], SOURCE_FINALIZER, "example.com/kept"]);
    let change = json!({"metadata": {"finalizers": old, "annotations": {"any": "update"}}});
    let stored = api.patch("deployment-pay-api", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    assert_eq!(stored.finalizers(), ["example.com/kept"]);
    let done = json!({"metadata": {"finalizers": []}});
    api.patch("deployment-pay-api", &PatchParams::default(), &Patch::Merge(&done)).await.unwrap();
}
