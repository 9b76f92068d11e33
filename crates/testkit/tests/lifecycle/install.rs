//! Installing and upgrading.

use super::chart::release;
use super::lab::{Lab, Ran, delete, turn};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use odigos_kit::apply::covered;
use odigos_testkit::control_plane::{Kubelet, NAMESPACE, apply, create_namespace, get_object, list};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::time::Duration;

fn list_of(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Every object that Helm would apply stands in the cluster as Helm would have applied it.
async fn stands_as_helm_renders(lab: &Lab, sets: &[&str]) {
    let mut values = json!({});
    for set in sets {
        odigos_chart::assign(&mut values, set).unwrap();
    }
    // That this is what Helm renders is held by the tests of the chart; only the name of the installer differs.
    let expected = odigos_chart::Chart::embedded().unwrap().render(&values, &release(NAMESPACE, "odigos-cli")).unwrap();
    for object in expected {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = text("/kind").to_owned();
        let found = match text("/metadata/namespace") {
            "" => {
                let all = list(&lab.client, text("/apiVersion"), &kind).await.unwrap();
                all.into_iter().find(|one| one.name_any() == text("/metadata/name")).unwrap()
            }
            namespace => {
                get_object(&lab.client, text("/apiVersion"), &kind, namespace, text("/metadata/name")).await.unwrap()
            }
        };
        let mut found = serde_json::to_value(found).unwrap();
        // Items of lists come without.
        (found["apiVersion"], found["kind"]) = (object["apiVersion"].clone(), object["kind"].clone());
        assert!(covered(&object, &found), "{kind} {}", text("/metadata/name"));
    }
}

async fn versions(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ] {
        for object in list(&lab.client, api_version, kind).await.unwrap() {
            // A Deployment's status moves on its own.
            let version = match kind {
                "Deployment" => object.metadata.generation.map(|one| one.to_string()),
                _ => object.resource_version(),
            };
            all.push(format!("{kind} {} {}", object.name_any(), version.unwrap_or_default()));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn install_and_upgrade() {
    let _turn = turn().await;
    let lab = Lab::start().await;
    let before = lab.snapshot().await;

    let planned = lab.odigos(&["install", "--dry-run"]).await.ended(10);
    assert!(planned.out.contains("+ Namespace odigos-system") && planned.out.contains("0 to change"), "{planned:?}");
    let rendered = lab.odigos(&["install", "--dry-run", "-o", "yaml"]).await.ended(0);
    assert!(rendered.out.contains("kind: CustomResourceDefinition"));
    let refused = lab.odigos(&["install", "--set", "image.prefiks=x"]).await.ended(2);
    assert!(refused.said.contains("image.prefiks: there is no such value"), "{refused:?}");
    lab.is_as(&before).await;

    let first = lab.odigos(&["install", "-o", "json", "--timeout", "180s"]).await.ended(0).json();
    assert_eq!(first["ready"], true, "{first}");
    assert!(list_of(&first["created"]).len() > 30 && list_of(&first["changed"]).is_empty(), "{first}");
    stands_as_helm_renders(&lab, &[]).await;
    let stood = versions(&lab).await;
    let second = lab.odigos(&["install", "-o", "json"]).await.ended(0).json();
    assert!(list_of(&second["created"]).is_empty() && list_of(&second["changed"]).is_empty(), "{second}");
    assert_eq!(versions(&lab).await, stood, "nothing is written by the second installation");
    lab.odigos(&["upgrade", "--plan"]).await.ended(0);

    upgrades(&lab).await;
    stricter_defaults_are_kept_where_they_are_in_use(&lab).await;
    refusals(&lab).await;
}

/// Values are kept, what leaves the chart is pruned, users' objects and kinds stay.
async fn upgrades(lab: &Lab) {
    for object in super::lab::user_objects() {
        lab.apply_as_user(&object).await;
    }
    let sets = ["controllers.replicas=1", "networkPolicies.enabled=false"];
    let plan =
        lab.odigos(&["upgrade", "--plan", "-o", "json", "--set", sets[0], "--set", sets[1]]).await.ended(10).json();
    let values: Vec<&str> =
        plan["plan"]["values"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(values, ["controllers.replicas", "networkPolicies.enabled"]);
    assert_eq!(list_of(&plan["plan"]["removed"]).len(), 6, "policies, and one budget for each controller: {plan}");
    let changed = plan["plan"]["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 3, "{plan}");
    assert!(changed[0]["difference"].as_str().unwrap().contains("+  replicas: 1"), "{plan}");
    assert_eq!(list_of(&plan["plan"]["restarts"]), Vec::<String>::new(), "replicas restart nothing");

    let done = lab.odigos(&["upgrade", "-o", "json", "--set", sets[0], "--set", sets[1]]).await.ended(0).json();
    assert_eq!(list_of(&done["removed"]).len(), 6, "{done}");
    assert!(list(&lab.client, "policy/v1", "PodDisruptionBudget").await.unwrap().is_empty());
    stands_as_helm_renders(lab, &sets).await;
    // Nothing is said about values: those of the last installation hold.
    let again = lab.odigos(&["upgrade", "-o", "json"]).await.ended(0).json();
    assert!(list_of(&again["changed"]).is_empty() && list_of(&again["removed"]).is_empty(), "{again}");
    let reset = lab.odigos(&["upgrade", "-o", "json", "--reset-values"]).await.ended(0).json();
    assert_eq!(list_of(&reset["removed"]).len(), 0, "budgets and policies are back: {reset}");
    stands_as_helm_renders(lab, &[]).await;
    // Without kinds in the values, kinds stay, and with them every object.
    lab.odigos(&["upgrade", "--set", "crds.install=false"]).await.ended(0);
    assert_eq!(list(&lab.client, odigos_api::API_VERSION, "Source").await.unwrap().len(), 3);
    lab.odigos(&["upgrade", "--reset-values"]).await.ended(0);

    // A later version: an object that this one does not know, a value that is gone, a default that was another.
    let map = get_object(&lab.client, "v1", "ConfigMap", NAMESPACE, "odigos-deployment").await.unwrap();
    let mut objects: Value = serde_json::from_str(map.data["data"]["objects.json"].as_str().unwrap()).unwrap();
    objects
        .as_array_mut()
        .unwrap()
        .push(json!({"apiVersion": "v1", "kind": "Service", "namespace": NAMESPACE, "name": "odigos-old"}));
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "odigos-old", "namespace": NAMESPACE},
        "spec": {"ports": [{"port": 1}]},
    });
    apply(&lab.client, &service).await.unwrap();
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let defaults =
        map.data["data"]["defaults.yaml"].as_str().unwrap().replace("clusterMetrics: false", "clusterMetrics: true");
    let change = json!({"data": {
        "objects.json": objects.to_string(), "values.yaml": "{\"old\": {\"value\": 1}, \"webhooks\": {\"pods\": false}}", "defaults.yaml": defaults,
        "version": "0.0.9",
    }});
    maps.patch("odigos-deployment", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    let plan = lab.odigos(&["upgrade", "--plan"]).await.ended(10);
    for said in [
        "- Service odigos-system/odigos-old",
        "value old.value: 1 -> (none) (removed)",
        "value clusterMetrics: true -> false (default)",
    ] {
        assert!(plan.out.contains(said), "{said}\n{}", plan.out);
    }
    let done = lab.odigos(&["upgrade", "-o", "json"]).await.ended(0);
    assert!(done.said.contains("old is not known any more"), "{done:?}");
    assert_eq!(list_of(&done.json()["removed"]), ["Service odigos-system/odigos-old"]);
    stands_as_helm_renders(lab, &["webhooks.pods=false"]).await;
}

/// An installation of a release that had other defaults keeps what it uses; what its user takes out again stays out.
async fn stricter_defaults_are_kept_where_they_are_in_use(lab: &Lab) {
    let destination = |name: &str, type_: &str| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"type": type_, "destinationName": name, "signals": ["TRACES", "METRICS"],
                "data": {"DATADOG_SITE": "datadoghq.eu", "OTLP_GRPC_ENDPOINT": "http://otel:4317"}},
        })
    };
    create_namespace(&lab.client, "linkerd").await.unwrap();
    let source = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "proxy", "namespace": "linkerd"},
        "spec": {"workload": {"name": "proxy", "namespace": "linkerd", "kind": "Deployment"}},
    });
    let action = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": {"name": "mask", "namespace": NAMESPACE},
        "spec": {"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["user.email"]}},
    });
    for object in [destination("dd", "datadog"), destination("generic", "otlp"), source, action] {
        lab.apply_as_user(&object).await;
    }
    let [kind, monitor, service] = reader_of_metrics();
    apply(&lab.client, &kind).await.unwrap();
    apply(&lab.client, &service).await.unwrap();
    eventually("monitors are served", Duration::from_secs(60), || async { apply(&lab.client, &monitor).await.is_ok() })
        .await
        .unwrap();
    let spans = async |name: &str| {
        let found = get_object(&lab.client, odigos_api::API_VERSION, "Destination", NAMESPACE, name).await.unwrap();
        found.data.pointer("/spec/metricsSettings/spanMetricsEnabled").cloned()
    };
    let configuration = async || {
        let map = get_object(&lab.client, "v1", "ConfigMap", NAMESPACE, "odigos-configuration").await.unwrap();
        map.data["data"]["config.yaml"].as_str().unwrap().to_owned()
    };
    // This installation has seen all of them.
    lab.odigos(&["upgrade", "--plan"]).await.ended(0);
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let older = json!({"data": {"seenDefaults": null}});
    maps.patch("odigos-deployment", &PatchParams::default(), &Patch::Merge(&older)).await.unwrap();

    let plan = lab.odigos(&["upgrade", "--plan"]).await.ended(10);
    for said in [
        "keeps Destination odigos-system/dd spec.metricsSettings.spanMetricsEnabled: true (since 0.1.0",
        "keeps value config.ignoreDefaultNamespaces: false, for Source linkerd/proxy (since 0.1.0",
        "keeps value config.rollout.maxConcurrentRollouts: 0, for ",
        "keeps value config.rollout.maxConcurrentRolloutsPerNamespace: 0, for ",
        "keeps value config.metrics.plaintext: true, for ServiceMonitor linkerd/collectors (since 0.1.0",
        "begins Action odigos-system/mask (since 0.1.0",
    ] {
        assert!(plan.out.contains(said), "{said}\n{}", plan.out);
    }
    assert!(!plan.out.contains("generic"), "{}", plan.out);
    assert_eq!(spans("dd").await, None, "a plan writes nothing");
    let chosen = lab.odigos(&["upgrade", "--plan", "--set", "config.ignoreDefaultNamespaces=true"]).await.ended(10);
    assert!(!chosen.out.contains("keeps value config.ignoreDefaultNamespaces"), "{}", chosen.out);

    // The webhooks of the older release, which would answer: the upgrade puts them back.
    lab.open_webhooks().await;
    let admitted = eventually("Destinations are admitted", Duration::from_secs(60), || async {
        apply(&lab.client, &destination("generic", "otlp")).await.is_ok()
    });
    admitted.await.unwrap();
    lab.odigos(&["upgrade", "--wait=false"]).await.ended(0);
    assert_eq!((spans("dd").await, spans("generic").await), (Some(json!(true)), None));
    assert!(configuration().await.contains("ignoreDefaultNamespaces: false"), "{}", configuration().await);
    // Values are kept, and what is taken out is not written again.
    let change = json!({"spec": {"metricsSettings": null}});
    let destinations: Api<odigos_api::destination::Destination> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let closed = lab.open_webhooks().await;
    let changed = eventually("the Destination is changed", Duration::from_secs(60), || async {
        destinations.patch("dd", &PatchParams::default(), &Patch::Merge(&change)).await.is_ok()
    });
    changed.await.unwrap();
    lab.close_webhooks(closed).await;
    lab.odigos(&["upgrade", "--plan"]).await.ended(0);
    lab.odigos(&["upgrade", "--wait=false", "--reset-values"]).await.ended(0);
    assert_eq!(spans("dd").await, None);
    assert!(!configuration().await.contains("ignoreDefaultNamespaces"), "{}", configuration().await);
    for name in ["dd", "generic"] {
        delete(&lab.client, odigos_api::API_VERSION, "Destination", NAMESPACE, name).await;
    }
    delete(&lab.client, odigos_api::API_VERSION, "Source", "linkerd", "proxy").await;
    delete(&lab.client, odigos_api::API_VERSION, "Action", NAMESPACE, "mask").await;
    delete(&lab.client, "v1", "Service", NAMESPACE, "of-collectors").await;
    delete(
        &lab.client,
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "",
        "servicemonitors.monitoring.coreos.com",
    )
    .await;
}

/// A kind of the Prometheus operator, one of it in another namespace, and the Service that it selects.
fn reader_of_metrics() -> [Value; 3] {
    let names = json!({"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor", "listKind": "ServiceMonitorList"});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let spec = json!({"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]});
    let labels = json!({"odigos.io/collector-role": "CLUSTER_GATEWAY"});
    let selector = json!({"selector": {"matchLabels": labels}, "namespaceSelector": {"matchNames": [NAMESPACE]}});
    [
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "servicemonitors.monitoring.coreos.com"}, "spec": spec,
        }),
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
            "metadata": {"name": "collectors", "namespace": "linkerd"}, "spec": selector,
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "of-collectors", "namespace": NAMESPACE, "labels": labels},
            "spec": {"clusterIP": "None", "ports": [{"name": "otlp", "port": 4317}]},
        }),
    ]
}

/// What stands in the way is said before anything is written.
async fn refusals(lab: &Lab) {
    let elsewhere = lab.odigos(&["install", "--namespace", "other"]).await.ended(1);
    assert!(elsewhere.out.contains("use --namespace odigos-system"), "{elsewhere:?}");
    let away = lab.odigos(&["uninstall", "--namespace", "other", "--yes"]).await.ended(3);
    assert!(away.said.contains("use --namespace odigos-system"), "{away:?}");

    // An account that may nothing.
    create_namespace(&lab.client, "people").await.unwrap();
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guest", "namespace": "people"}});
    apply(&lab.client, &account).await.unwrap();
    let kubeconfig = lab.api.kubeconfig_of("people", "guest").await.unwrap();
    let output = lab.command(&["install"]).env("KUBECONFIG", &kubeconfig).output().await.unwrap();
    let refused = Ran::from(output).ended(4);
    for said in [
        "create clusterroles.rbac.authorization.k8s.io",
        "create deployments.apps in odigos-system",
        "nothing was changed",
    ] {
        assert!(refused.out.contains(said), "{said}\n{}", refused.out);
    }
    // All verbs, but no right to give away permissions that it does not have.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "installer"},
        "rules": [{"apiGroups": ["", "apps", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "apiextensions.k8s.io", "admissionregistration.k8s.io", "odigos.io"],
            "resources": ["*"], "verbs": ["get", "list", "create", "patch", "delete"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "installer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "installer"},
        "subjects": [{"kind": "ServiceAccount", "name": "guest", "namespace": "people"}],
    });
    for object in [role, binding] {
        apply(&lab.client, &object).await.unwrap();
    }
    let output = lab
        .command(&["install", "--set", "clusterMetrics=true"])
        .env("KUBECONFIG", &kubeconfig)
        .output()
        .await
        .unwrap();
    let refused = Ran::from(output).ended(4);
    assert!(refused.out.contains("escalate"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_says_why_and_other_installers_are_respected() {
    let _turn = turn().await;
    let lab = Lab::start_with(false).await;
    let late = lab.odigos(&["install", "--timeout", "3s"]).await.ended(6);
    assert!(late.out.contains("not ready: Deployment odigos-system/odigos-instrumentor: 0 of 2 pods"), "{late:?}");

    // There is no kubelet: the test writes the status that one would write, as soon as there are pods.
    let pods: Api<Pod> = Api::namespaced(lab.client.clone(), NAMESPACE);
    for name in ["odigos-instrumentor", "odigos-scheduler", "odigos-autoscaler"] {
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        eventually(&format!("{name} has pods"), Duration::from_secs(60), || async {
            pods.list(&selector).await.unwrap().items.len() == 2
        })
        .await
        .unwrap();
    }
    for (name, container, status) in [
        (
            "odigos-instrumentor",
            "instrumentor",
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
        ),
        (
            "odigos-scheduler",
            "scheduler",
            json!({"terminated": {"reason": "Error", "exitCode": 3, "startedAt": null, "finishedAt": null}}),
        ),
    ] {
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        for pod in pods.list(&selector).await.unwrap() {
            let status = json!({"status": {"phase": "Pending", "containerStatuses": [{
                "name": container, "ready": false, "restartCount": 1, "image": "x", "imageID": "", "state": status,
            }]}});
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        }
    }
    let selector = ListParams::default().labels("app.kubernetes.io/name=odigos-autoscaler");
    for pod in pods.list(&selector).await.unwrap() {
        let status = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}});
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
    let late = lab.odigos(&["install", "--timeout", "2s"]).await.ended(6);
    for said in [
        "ImagePullBackOff: Back-off pulling image",
        "container scheduler ends with exit code 3 (Error)",
        "no node takes it: 0/3 nodes",
    ] {
        assert!(late.out.contains(said), "{said}\n{}", late.out);
    }
    // No pods at all: a quota refuses them.
    let quota = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "tiny", "namespace": NAMESPACE},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Mi"}}]}});
    apply(&lab.client, &quota).await.unwrap();
    let changed = ["install", "--timeout", "2s", "--set", "controllers.log=debug"];
    lab.odigos(&changed).await.ended(6);
    eventually("pods are refused", Duration::from_secs(60), || async {
        let live = get_object(&lab.client, "apps/v1", "Deployment", NAMESPACE, "odigos-instrumentor").await.unwrap();
        let conditions = live.data.pointer("/status/conditions").and_then(Value::as_array).cloned();
        let is_failure = |one: &Value| one["type"] == "ReplicaFailure" && one["status"] == "True";
        conditions.unwrap_or_default().iter().any(is_failure)
    })
    .await
    .unwrap();
    let late = lab.odigos(&changed).await.ended(6);
    assert!(late.out.contains("pods are refused") || late.out.contains("maximum memory"), "{}", late.out);
    delete(&lab.client, "v1", "LimitRange", NAMESPACE, "tiny").await;
    // A node takes the pods and goes silent: nobody will ever say that they have ended.
    let node = Kubelet::start(lab.client.clone(), Duration::ZERO).await.unwrap();
    eventually("pods are on a node", Duration::from_secs(60), || async {
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.iter().any(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")))
    })
    .await
    .unwrap();
    drop(node);
    // This takes all of the timeout: the agent of the silent node never reports that it is done.
    lab.odigos(&["uninstall", "--yes", "--purge", "--timeout", "40s"]).await.ended(0);

    // A release of Helm is Helm's.
    let args = ["odigos", "charts/odigos", "--namespace", NAMESPACE];
    lab.helm(&["install", args[0], args[1], args[2], args[3], "--create-namespace"]).await.ended(0);
    for command in ["install", "upgrade"] {
        let refused = lab.odigos(&[command]).await.ended(1);
        assert!(refused.out.contains("helm upgrade odigos"), "{refused:?}");
    }
    let partly = lab.odigos(&["uninstall", "--yes", "--timeout", "180s"]).await.ended(5);
    assert!(partly.said.contains("helm uninstall odigos --namespace odigos-system"), "{partly:?}");
    lab.helm(&["uninstall", "odigos", "--namespace", NAMESPACE]).await.ended(0);
    lab.odigos(&["uninstall", "--yes", "--timeout", "180s"]).await.ended(0);
    // The kinds that Helm keeps are taken over, with a word about it.
    let taken = lab.odigos(&["install", "--wait=false"]).await.ended(0);
    assert!(taken.said.contains("left by a release of Helm"), "{taken:?}");
    lab.odigos(&["uninstall", "--yes", "--purge", "--timeout", "180s"]).await.ended(0);
    // By force, everything of Helm's release goes, its own record too.
    lab.helm(&["install", args[0], args[1], args[2], args[3]]).await.ended(0);
    lab.odigos(&["uninstall", "--yes", "--purge", "--force", "--timeout", "180s"]).await.ended(0);
    assert_eq!(lab.helm(&["list", "--all-namespaces", "--short"]).await.ended(0).out.trim(), "");
    namesakes(&lab).await;
}

/// Objects of the same names that are not this installation's.
async fn namesakes(lab: &Lab) {
    create_namespace(&lab.client, "people").await.unwrap();
    let controller = |labels: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "odigos-instrumentor", "namespace": "people", "labels": labels},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "x"}},
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
            },
        })
    };
    apply(&lab.client, &controller(json!({"app": "x"}))).await.unwrap();
    let refused = lab.odigos(&["install"]).await.ended(1);
    assert!(refused.out.contains("of another product, run in namespace people"), "{refused:?}");
    lab.odigos(&["uninstall", "--yes"]).await.ended(3);
    let labels = json!({"app.kubernetes.io/part-of": "odigos", "app.kubernetes.io/managed-by": "Helm"});
    apply(&lab.client, &controller(labels)).await.unwrap();
    let refused = lab.odigos(&["install"]).await.ended(1);
    assert!(refused.out.contains("applied as manifests in namespace people"), "{refused:?}");
    delete(&lab.client, "apps/v1", "Deployment", "people", "odigos-instrumentor").await;

    // A namespace that would refuse the pods of nodes.
    let strict = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
    });
    apply(&lab.client, &strict).await.unwrap();
    let refused = lab.odigos(&["install", "--namespace", "strict"]).await.ended(1);
    assert!(refused.out.contains("pod-security.kubernetes.io/enforce=privileged"), "{refused:?}");

    // A kind whose objects are stored in a version that this release does not know.
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "sources.odigos.io"},
        "spec": {
            "group": "odigos.io", "scope": "Namespaced", "names": {"kind": "Source", "plural": "sources"},
            "versions": [{"name": "v1beta9", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    apply(&lab.client, &kind).await.unwrap();
    eventually("the kind is stored", Duration::from_secs(60), || async {
        let kinds = list(&lab.client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await.unwrap();
        kinds.iter().any(|kind| kind.data.pointer("/status/storedVersions/0") == Some(&json!("v1beta9")))
    })
    .await
    .unwrap();
    let refused = lab.odigos(&["install"]).await.ended(1);
    assert!(refused.out.contains("sources.odigos.io stores v1beta9"), "{refused:?}");
}
