//! Images of agents in a private registry: a pod gets the Secret of the registry where its namespace has it, and no agents elsewhere.

use crate::asking::{STILL, found, namespace, put, source, until_says, workload};
use crate::decisions;
use odigos_testkit::chart;
use odigos_testkit::control_plane::{NAMESPACE, apply};
use odigos_testkit::instrumentor::Plane;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the chart adds where the Secret is named.
async fn permit(plane: &Plane) {
    let rendered = chart::render(NAMESPACE, &["config.agentImages.pullSecret=registry"]).unwrap();
    for document in serde_yaml::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(document).unwrap();
        if object["kind"] == "ClusterRole" && object["metadata"]["name"] == "odigos-instrumentor" {
            apply(&plane.client, &object).await.unwrap();
        }
    }
}

/// The Secret is missing: nothing is restarted, and that is reported. It comes, and so do the agents.
pub async fn of_agents_is_named_where_it_exists(plane: &Plane) {
    permit(plane).await;
    namespace(plane, "private").await;
    let configuration = decisions::CONFIGURATION.replace("agentImages: {", "agentImages: {pullSecret: registry, ");
    plane.configure(&configuration).await.unwrap();
    put(plane, &workload("private", "Deployment", "till")).await;
    put(plane, &source("private", "Deployment", "till")).await;
    plane.detect("private", "deployment-till", &found("java", "17.0.12+7")).await.unwrap();
    let message = until_says(plane, "private", "deployment-till", "AgentEnabled", "False/MissingPullSecret").await;
    assert!(message.contains("Secret registry (agentImages.pullSecret) is not in namespace private"), "{message}");
    tokio::time::sleep(STILL).await;
    assert_eq!(
        plane.generation("private", "till").await.unwrap(),
        1,
        "it was restarted for agents that could not come"
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry", "namespace": "private"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{\"auths\": {}}"},
    });
    apply(&plane.client, &secret).await.unwrap();
    let pod = plane.rolled_out("private", "till", 2).await.unwrap();
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["spec"]["initContainers"][0]["image"], "registry/agents:1");
}
