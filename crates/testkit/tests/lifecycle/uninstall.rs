//! Uninstalling: whoever runs, whatever is missing, however often it is interrupted, nothing is left.

use super::lab::{Lab, Ran, delete, turn, user_objects};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use odigos_kit::apply::covered;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace, get_object, list};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every check of the report, none of which may have failed.
fn complete(report: &Value) {
    assert_eq!(report["complete"], true, "{report}");
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 11, "one for each line of the acceptance list: {report}");
    assert!(checks.iter().all(|check| ["ok", "skipped"].contains(&check["state"].as_str().unwrap())), "{report}");
}

async fn installed_and_used(lab: &Lab) {
    lab.odigos(&["install", "--timeout", "180s"]).await.ended(0);
    lab.run_controllers().await;
    lab.use_the_product().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_controllers_running_or_dead_nothing_is_left() {
    let _turn = turn().await;
    let lab = Lab::start().await;
    let before = lab.snapshot().await;
    let nothing = lab.odigos(&["uninstall", "--yes"]).await.ended(0);
    assert!(nothing.out.contains("nothing was installed"), "{nothing:?}");

    // Controllers run; everything goes.
    installed_and_used(&lab).await;
    let asked = lab.odigos(&["uninstall", "--purge"]).await.ended(2);
    assert!(asked.said.contains("use --yes"), "{asked:?}");
    let preview = lab.odigos(&["uninstall", "--dry-run", "--purge", "-o", "json"]).await.ended(10).json();
    assert_eq!(preview["instrumented"].as_array().unwrap().len(), 2, "{preview}");
    let file = lab.api.directory().join("export.yaml");
    let shown = file.display().to_string();
    let begun = Instant::now();
    let done = lab.odigos(&["uninstall", "--purge", "--export", &shown, "--yes", "-o", "json"]).await.ended(0);
    eprintln!("uninstalled in {:.1} s", begun.elapsed().as_secs_f64());
    complete(&done.json());
    lab.is_as(&before).await;
    // What was exported can be applied again.
    let exported = odigos_plan::world::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(exported.len(), user_objects().len());
    for object in user_objects() {
        let found = exported.iter().find(|one| one["metadata"]["name"] == object["metadata"]["name"]).unwrap();
        assert!(covered(&object, found) && found.get("status").is_none(), "{found}");
    }

    // Controllers are dead, a namespace hangs on the finalizer of an older release, and somebody has broken half of the installation.
    installed_and_used(&lab).await;
    lab.kill_controllers().await;
    create_namespace(&lab.client, "stuck").await.unwrap();
    let source = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Source",
        "metadata": {"name": "x", "namespace": "stuck", "finalizers": [odigos_api::labels::SOURCE_FINALIZER]},
        "spec": {"workload": {"name": "x", "namespace": "stuck", "kind": "Deployment"}},
    });
    apply(&lab.client, &source).await.unwrap();
    delete(&lab.client, "v1", "Namespace", "", "stuck").await;
    delete(&lab.client, "v1", "ConfigMap", NAMESPACE, "odigos-deployment").await;
    delete(&lab.client, "rbac.authorization.k8s.io/v1", "ClusterRole", "", "odigos-scheduler").await;
    let done = lab.odigos(&["uninstall", "--purge", "--yes", "-o", "json"]).await.ended(0);
    complete(&done.json());
    lab.is_as(&before).await;
    lab.odigos(&["uninstall", "--purge", "--yes"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_users_stay_as_they_were() {
    let _turn = turn().await;
    let lab = Lab::start().await;
    // Workloads that no Source covers lose their agents as well.
    lab.odigos(&["install", "--timeout", "180s", "--set", "config.instrumentation.mode=optOut"]).await.ended(0);
    lab.run_controllers().await;
    lab.use_the_product().await;
    let done = lab.odigos(&["uninstall", "--yes", "-o", "json"]).await.ended(0);
    complete(&done.json());
    assert!(done.said.contains("disabled   Source shop/cart"), "{}", done.said);
    assert!(done.said.contains("instrumentation.mode is optIn until everything is removed"), "{}", done.said);
    let kept = || async {
        let mut found = Vec::new();
        for object in user_objects() {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
            let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
            let live = get_object(&lab.client, odigos_api::API_VERSION, &kind, &namespace, &name).await.unwrap();
            // What admission recorded of its author stays: without it a Destination counts as one of an older release.
            let is_recorded = |key: &String| kind == "Destination" && key == "odigos.io/secret-access";
            assert!(live.finalizers().is_empty() && live.annotations().keys().all(is_recorded), "{live:?}");
            assert_eq!(
                live.data.pointer("/spec/disableInstrumentation"),
                object.pointer("/spec/disableInstrumentation")
            );
            assert!(covered(&object, &serde_json::to_value(&live).unwrap()), "{name}");
            found.push(live.uid().unwrap());
        }
        found
    };
    let first = kept().await;
    let left: Vec<String> = list(&lab.client, "v1", "Pod").await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(left.len(), 2, "only the applications: {left:?}");
    assert!(list(&lab.client, odigos_api::API_VERSION, "InstrumentationConfig").await.unwrap().is_empty());
    lab.odigos(&["uninstall", "--yes"]).await.ended(0);
    assert_eq!(kept().await, first, "a second run changes nothing");

    // Installed again, everything goes on where it stopped; killed in the middle, installing heals it.
    lab.odigos(&["install", "--timeout", "180s"]).await.ended(0);
    lab.run_controllers().await;
    eventually("both workloads are instrumented again", Duration::from_secs(90), || async {
        list(&lab.client, odigos_api::API_VERSION, "InstrumentationConfig").await.unwrap().len() == 2
    })
    .await
    .unwrap();
    let mut child = lab.command(&["uninstall", "--yes"]).spawn().unwrap();
    eventually("a Source is disabled", Duration::from_secs(60), || async {
        let cart = get_object(&lab.client, odigos_api::API_VERSION, "Source", "shop", "cart").await.unwrap();
        cart.data.pointer("/spec/disableInstrumentation") == Some(&json!(true))
    })
    .await
    .unwrap();
    child.kill().await.unwrap();
    // Its webhooks point to the processes of this test; as on a cluster, installing brings them back as charted.
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        delete(&lab.client, "admissionregistration.k8s.io/v1", kind, "", "odigos-instrumentor").await;
    }
    lab.odigos(&["install", "--timeout", "180s"]).await.ended(0);
    let cart = get_object(&lab.client, odigos_api::API_VERSION, "Source", "shop", "cart").await.unwrap();
    assert_eq!(cart.data.pointer("/spec/disableInstrumentation"), None);
    lab.kill_controllers().await;
    // A pod that runs with agents, and nobody left to restart it.
    let pods: Api<Pod> = Api::namespaced(lab.client.clone(), "shop");
    let agents = ListParams::default().labels(odigos_api::labels::AGENTS_META_HASH);
    let web = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items.remove(0).name_any();
    let change = json!({"metadata": {"labels": {odigos_api::labels::AGENTS_META_HASH: "0123"}}});
    pods.patch(&web, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    let done = lab.odigos(&["uninstall", "--yes", "-o", "json"]).await.ended(0);
    complete(&done.json());
    assert!(
        done.said.contains("restarted  Deployment shop/web") && !done.said.contains("shop/cart again"),
        "{}",
        done.said
    );
    assert!(pods.list(&agents).await.unwrap().items.is_empty());
    assert_eq!(kept().await, first);
}

/// Plain `helm uninstall`, without the command line tool: no Source is held, and no namespace of a tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_helm_uninstall_holds_no_source_and_no_namespace() {
    let _turn = turn().await;
    let lab = Lab::start().await;
    let chart = ["odigos", "charts/odigos", "--namespace", NAMESPACE, "--create-namespace"];
    lab.helm(&[&["install"][..], &chart[..]].concat()).await.ended(0);
    // Stored by an older release.
    let source = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Source",
        "metadata": {
            "name": "web", "namespace": "old",
            "finalizers": [odigos_api::labels::SOURCE_FINALIZER, odigos_api::labels::DEPRECATED_SOURCE_FINALIZERS[0]],
        },
        "spec": {"workload": {"name": "web", "namespace": "old", "kind": "Deployment"}},
    });
    create_namespace(&lab.client, "old").await.unwrap();
    lab.apply_as_user(&source).await;
    let held = async || {
        let all = list(&lab.client, odigos_api::API_VERSION, "Source").await.unwrap();
        all.iter().filter(|one| !one.finalizers().is_empty()).map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    assert_eq!(held().await, ["web"]);
    lab.run_controllers().await;
    lab.use_the_product().await;
    eventually("no Source is held", Duration::from_secs(60), || async { held().await.is_empty() }).await.unwrap();

    lab.helm(&["uninstall", "odigos", "--namespace", NAMESPACE]).await.ended(0);
    lab.kill_controllers().await;
    assert!(list(&lab.client, odigos_api::API_VERSION, "Source").await.unwrap().len() >= 2);
    assert_eq!(held().await, Vec::<String>::new());
    let are_left = async || {
        let all = list(&lab.client, "v1", "Namespace").await.unwrap();
        all.iter().any(|one| ["old", "shop"].contains(&one.name_any().as_str()))
    };
    for namespace in ["old", "shop"] {
        delete(&lab.client, "v1", "Namespace", "", namespace).await;
    }
    eventually("the namespaces are deleted", Duration::from_secs(120), || async { !are_left().await }).await.unwrap();
}

/// The registration of the custom metrics API is never taken from another product, and goes with ours: one that nobody answers
/// would keep namespaces from going.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registration_of_custom_metrics_goes_with_the_product() {
    const API: &str = "apiregistration.k8s.io/v1";
    const NAME: &str = "v1beta1.custom.metrics.k8s.io";
    const WITH: [&str; 5] = ["install", "--set", "customMetrics.enabled=true", "--timeout", "180s"];
    let _turn = turn().await;
    let lab = Lab::start().await;
    let before = lab.snapshot().await;
    let service = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace, "port": 443});
    let mut anothers = json!({
        "apiVersion": API, "kind": "APIService", "metadata": {"name": NAME},
        "spec": {
            "group": "custom.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": service("prometheus-adapter", "monitoring"),
        },
    });
    apply(&lab.client, &anothers).await.unwrap();
    let refused = lab.odigos(&WITH).await.ended(1);
    assert!(
        refused.out.contains(&format!("APIService {NAME} belongs to Service monitoring/prometheus-adapter")),
        "{refused:?}"
    );
    assert!(refused.out.contains("nothing was changed"), "{refused:?}");
    delete(&lab.client, API, "APIService", "", NAME).await;

    // Switched off, it goes at once, unless another product has taken it over meanwhile.
    lab.odigos(&WITH).await.ended(0);
    let off = ["upgrade", "--set", "customMetrics.enabled=false", "-o", "json"];
    let done = lab.odigos(&off).await.ended(0).json();
    let removed = done["removed"].to_string();
    assert!(
        removed.contains(NAME) && removed.contains("kube-system/odigos-autoscaler-authentication-reader"),
        "{removed}"
    );
    lab.odigos(&WITH).await.ended(0);
    anothers["spec"]["service"] = service("prometheus-adapter", "monitoring");
    apply(&lab.client, &anothers).await.unwrap();
    let done = lab.odigos(&off).await.ended(0).json();
    assert!(!done["removed"].to_string().contains(NAME), "{done}");
    let live = list(&lab.client, API, "APIService").await.unwrap();
    assert!(live.iter().any(|one| one.name_any() == NAME), "it is another's");
    delete(&lab.client, API, "APIService", "", NAME).await;

    // Nobody ever answered, and the namespace goes all the same.
    lab.odigos(&WITH).await.ended(0);
    let preview = lab.odigos(&["uninstall", "--dry-run", "--purge"]).await.ended(10);
    assert!(preview.out.contains(NAME), "{preview:?}");
    complete(&lab.odigos(&["uninstall", "--purge", "--yes", "-o", "json"]).await.ended(0).json());
    lab.is_as(&before).await;
}

/// How often an installation is interrupted and taken away; every second time without controllers.
fn rounds() -> u64 {
    std::env::var("ODIGOS_INTERRUPTED_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_at_any_point_it_is_finished_by_the_next_run() {
    let _turn = turn().await;
    let lab = Lab::start().await;
    let before = lab.snapshot().await;
    // The seed is fixed; where exactly a kill falls still differs from run to run.
    let mut seed = 0x5eed_u64;
    let mut next = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    for round in 0..rounds() {
        // Installing is interrupted too, and finished by the next run.
        let mut child = lab.command(&["install", "--quiet"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(50 + next(1500))).await;
        let _ = child.kill().await;
        installed_and_used(&lab).await;
        if round % 2 == 1 {
            lab.kill_controllers().await;
        }
        let mut kills = 0_u64;
        loop {
            let mut child = lab.command(&["uninstall", "--purge", "--yes", "--timeout", "180s"]).spawn().unwrap();
            // Longer each time: noticing that no instrumentor is left takes as long as its lease.
            let limit = Duration::from_millis(100 + next(2500) + kills * 500);
            match tokio::time::timeout(limit, child.wait()).await {
                Ok(status) => {
                    let status = status.unwrap();
                    let output = child.wait_with_output().await.unwrap();
                    assert!(status.success(), "{:?}", Ran::from(output));
                    break;
                }
                Err(_) => {
                    // SIGKILL: nothing is tidied up.
                    child.kill().await.unwrap();
                    kills += 1;
                    assert!(kills < 60, "it gets nowhere");
                }
            }
        }
        eprintln!("round {round}: finished after {kills} kills");
        complete(&lab.odigos(&["uninstall", "--purge", "--yes", "-o", "json"]).await.ended(0).json());
        lab.is_as(&before).await;
    }
}
