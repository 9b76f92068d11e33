//! Root on one node reports about workloads: what it says reaches pods of a workload only where one of them runs on that node.
//!
//! The instrumentor, its webhook, accounts and policies are real; pods run under a stand-in for the kubelet on the node `local`.

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::names;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace, list};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};

/// What an attacker would have Java load in every pod of a workload.
const HOSTILE: &str = "-javaagent:/tmp/hostile.jar";

/// The token of the agent's pod on a node.
async fn agent(plane: &Plane, node: &str) -> Client {
    let (client, pod) = (&plane.client, format!("agent-on-{node}"));
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": NAMESPACE},
        "spec": {"nodeName": node, "serviceAccountName": names::AGENT_SERVICE, "containers": [{"name": "app", "image": "none"}]},
    });
    apply(client, &object).await.unwrap();
    plane.api.client_in_pod(NAMESPACE, names::AGENT_SERVICE, &pod).await.unwrap()
}

/// A report about a pod, with what its image sets.
fn report(node: &str, pod: &Value, options: &str) -> Value {
    json!({
        "node": node, "pod": pod["metadata"]["name"], "podUid": pod["metadata"]["uid"],
        "containers": [{"details": {
            "containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false,
            "envFromContainerRuntime": [{"name": "JAVA_TOOL_OPTIONS", "value": options}],
            "observedImage": {"id": "theirs@sha256:1", "podCreated": "2099-01-01T00:00:00Z"},
        }}],
    })
}

/// Writes reports, and waits until the instrumentor has read them.
async fn settled(plane: &Plane, agent: &Client, reports: Value) -> Result<InstrumentationConfig, String> {
    let configs: Api<InstrumentationConfig> = Api::namespaced(agent.clone(), "shop");
    let change = Patch::Merge(json!({"status": {"runtimeReports": reports}}));
    let written = configs.patch_status("deployment-cart", &PatchParams::default(), &change).await;
    written.map_err(|error| error.to_string())?;
    let are_read = async || {
        let found = plane.config("shop", "cart").await.unwrap().status.unwrap_or_default();
        found.runtime_reports.is_empty()
    };
    eventually("the reports are read", LIMIT, are_read).await.unwrap();
    Ok(plane.config("shop", "cart").await.unwrap())
}

fn options(pod: &Value) -> String {
    let list = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let found = list.iter().find(|one| one["name"] == "JAVA_TOOL_OPTIONS");
    found.and_then(|one| one["value"].as_str()).unwrap_or_default().to_owned()
}

pub(crate) async fn reports_reach_pods_of_own_workloads_alone() {
    let plane = Plane::start().await.unwrap();
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    create_namespace(&plane.client, "shop").await.unwrap();
    plane.cover("shop").await.unwrap();
    plane.deploy("shop", "cart", &json!({"containers": [{"name": "app", "image": "none"}]})).await.unwrap();
    let java = json!([
        {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false},
    ]);
    // As a release without reports wrote it.
    plane.detect("shop", "deployment-cart", &java).await.unwrap();
    let injected = plane.rolled_out("shop", "cart", 2).await.unwrap();
    let before = plane.config("shop", "cart").await.unwrap();

    // No pod of the workload is on that node: neither a report about one of its pods nor one about a pod of its own counts.
    apply(&plane.client, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "hostile"}})).await.unwrap();
    let hostile = agent(&plane, "hostile").await;
    let own = json!({"metadata": {"name": "agent-on-hostile", "uid": "00000000-0000-0000-0000-000000000000"}});
    for pod in [&injected, &own] {
        let after = settled(&plane, &hostile, json!([report("hostile", pod, HOSTILE)])).await.unwrap();
        let details = |config: &InstrumentationConfig| config.status.clone().unwrap().runtime_details_by_container;
        assert_eq!(details(&after), details(&before));
        assert_eq!(after.spec, before.spec);
    }
    let refused = settled(&plane, &hostile, json!([report("local", &injected, HOSTILE)])).await.unwrap_err();
    assert!(refused.contains("in the name of that node alone"), "{refused}");
    let replaced = plane.replaced("shop", "cart").await.unwrap();
    assert_eq!(options(&replaced), options(&injected));
    assert!(!options(&replaced).is_empty() && !replaced.to_string().contains(HOSTILE), "{replaced}");
    let is_recorded = async || {
        let events = list(&plane.client, "events.k8s.io/v1", "Event").await.unwrap_or_default();
        events.iter().any(|event| {
            event.data["reason"] == "RuntimeReportRejected" && event.data["note"].to_string().contains("Node hostile")
        })
    };
    eventually("an Event names the node", LIMIT, is_recorded).await.unwrap();

    // The node on which a pod of the workload runs is heard; the pods that run are not restarted for it.
    let generation = plane.generation("shop", "cart").await.unwrap();
    let local = agent(&plane, "local").await;
    let after = settled(&plane, &local, json!([report("local", &replaced, "-Dimage=1")])).await.unwrap();
    let details = after.status.clone().unwrap().runtime_details_by_container;
    assert_eq!(details[0].env_from_container_runtime[0].value, "-Dimage=1");
    let created = details[0].observed_image.clone().unwrap().pod_created.map(|time| time.0.to_string());
    assert_eq!(created.as_deref(), replaced["metadata"]["creationTimestamp"].as_str(), "the API server says it");
    let replaced = plane.replaced("shop", "cart").await.unwrap();
    assert!(options(&replaced).contains("-Dimage=1"), "{replaced}");
    assert_eq!(plane.generation("shop", "cart").await.unwrap(), generation);
    let audited = plane.api.audited();
    assert_eq!(audited[names::INSTRUMENTOR].forbidden, std::collections::BTreeSet::new());
    instrumentor.kill();
}
