//! The aggregated API of custom metrics: the real API server hands requests on to the autoscaler, Kubernetes' own autoscaling
//! controller reads the metric, and everything falls back where the API is somebody else's.

use super::plane::{Gateways, Plane, TURN, destination, rendered};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::names;
use odigos_testkit::control_plane::{self, NAMESPACE, apply, create_namespace};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const API: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const API_SERVICE: &str = "v1beta1.custom.metrics.k8s.io";

fn metric_of(resource: &str, name: &str) -> String {
    format!("{API}/namespaces/{NAMESPACE}/{resource}/{name}/odigos_gateway_rejections")
}

/// What `GET path` answers; a refusal is its code.
async fn ask(client: &Client, path: &str) -> Result<Value, u16> {
    let request = tonic::codegen::http::Request::get(path).header("X-Remote-User", "tester").body(Vec::new()).unwrap();
    match client.request_text(request).await {
        Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(_) => Err(0),
    }
}

/// The metric of the gateway, as the API server (or a replica) answers.
async fn value(client: &Client) -> Option<String> {
    let answer = ask(client, &metric_of("deployments.apps", names::GATEWAY)).await.ok()?;
    Some(answer.pointer("/items/0/value")?.as_str()?.to_owned())
}

async fn client_with(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn api_services(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// How many metrics the gateway's autoscaler object has.
async fn metrics(plane: &Plane) -> usize {
    plane.hpa().await.spec.metrics.unwrap_or_default().len()
}

/// What Kubernetes' controller reports of the metric.
async fn reported(plane: &Plane) -> Option<String> {
    let current = plane.hpa().await.status?.current_metrics?;
    let ours =
        current.into_iter().filter_map(|one| one.object).find(|one| one.metric.name == "odigos_gateway_rejections");
    Some(ours?.current.value?.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_reads_what_gateways_refuse_and_falls_back_without() {
    let _turn = TURN.lock().await;
    let (port, other_port) = (free_port().unwrap(), free_port().unwrap());
    let serving = |port: u16| ["--custom-metrics".to_owned(), format!("--custom-metrics-address=127.0.0.1:{port}")];
    let plane = Plane::start_with(&serving(port), |client| async move {
        control_plane::install_custom_metrics(&client, port).await.unwrap();
    })
    .await;
    let other = plane.launch.start_with(&plane.api, names::AUTOSCALER, 1, &serving(other_port)).await.unwrap();
    apply(&plane.client, &destination("shop", free_port().unwrap())).await.unwrap();
    let begun = Instant::now();
    plane.comes_to_say("CustomMetricsAvailable", "True/Registered", 90).await;
    println!("the API server reaches it after {:?}", begun.elapsed());

    // Discovery, and the value, through the API server.
    let resources = ask(&plane.client, API).await.unwrap();
    let named: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(named, ["deployments.apps/odigos_gateway_rejections", "statefulsets.apps/odigos_gateway_rejections"]);
    let groups = ask(&plane.client, "/apis").await.unwrap().to_string();
    assert!(groups.contains("custom.metrics.k8s.io/v1beta1"), "{groups}");
    eventually("the gateway has a value", Duration::from_secs(90), || async { value(&plane.client).await.is_some() })
        .await
        .unwrap();
    assert_eq!(value(&plane.client).await.as_deref(), Some("0"));
    let begun = Instant::now();
    for _ in 0..50 {
        value(&plane.client).await.unwrap();
    }
    println!("an answer takes {:?} through the API server", begun.elapsed() / 50);
    assert_eq!(ask(&plane.client, &metric_of("deployments.apps", "cart")).await, Err(404));
    assert_eq!(ask(&plane.client, &metric_of("pods", names::GATEWAY)).await, Err(404));

    // Who may ask: the API server's front proxy, for whom the API server allows it.
    for (certificate, expected) in
        [(None, Err(401)), (Some("somebody"), Err(401)), (Some("front-proxy-client"), Ok(()))]
    {
        let direct = plane.api.client_of(port, certificate).await.unwrap();
        assert_eq!(ask(&direct, API).await.map(drop), expected, "{certificate:?}");
        assert_eq!(ask(&direct, "/healthz").await, Ok(json!("ok")), "{certificate:?}");
    }
    let account = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
    for (namespace, name, expected) in
        [("kube-system", "horizontal-pod-autoscaler", Ok(())), ("default", "guest", Err(403))]
    {
        apply(&plane.client, &account(namespace, name)).await.unwrap();
        let as_account = client_with(&plane.api.kubeconfig_of(namespace, name).await.unwrap()).await;
        assert_eq!(
            ask(&as_account, &metric_of("deployments.apps", names::GATEWAY)).await.map(drop),
            expected,
            "{name}"
        );
    }

    // Kubernetes' own controller reads it.
    let begun = Instant::now();
    eventually("the autoscaling controller reads the metric", Duration::from_secs(180), || async {
        reported(&plane).await.as_deref() == Some("0")
    })
    .await
    .unwrap();
    println!("the autoscaling controller reads it after {:?}", begun.elapsed());
    assert_eq!(metrics(&plane).await, 3);

    // Gateways refuse: the metric says so in every replica, Kubernetes adds gateways, and no floor is raised beside it.
    let directory = tempfile::tempdir().unwrap();
    let config = rendered(&plane.client, |config| {
        config["processors"]["memory_limiter"]["limit_mib"] = json!(2);
        config["processors"]["memory_limiter"]["spike_limit_mib"] = json!(1);
    })
    .await;
    let gateways = Gateways::start(&plane, &config, directory.path()).await;
    let begun = Instant::now();
    eventually("the metric is 1", Duration::from_secs(180), || async {
        value(&plane.client).await.as_deref() == Some("1")
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    println!("the metric is 1 after {:?}", begun.elapsed());
    let replicas = [port, other_port];
    for port in replicas {
        let direct = plane.api.client_of(port, Some("front-proxy-client")).await.unwrap();
        eventually("every replica knows", Duration::from_secs(60), || async {
            value(&direct).await.as_deref() == Some("1")
        })
        .await
        .unwrap();
    }
    eventually("Kubernetes adds gateways", Duration::from_secs(90), || async { plane.replicas().await >= Some(4) })
        .await
        .unwrap();
    println!("Kubernetes wants at least four after {:?}", begun.elapsed());
    assert_eq!((plane.least().await, plane.note().await), (Some(2), None), "no floor beside the metric");
    gateways.stop().await;
    drop(other);

    // Another server of custom metrics takes the registration over: it is left alone, and the autoscaler is as without.
    let taken = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE},
        "spec": {"service": {"name": "prometheus-adapter", "namespace": "monitoring"}, "caBundle": "bm9uZQ=="},
    });
    let services = api_services(&plane.client);
    services.patch(API_SERVICE, &PatchParams::default(), &Patch::Merge(&taken)).await.unwrap();
    let message = plane.comes_to_say("CustomMetricsAvailable", "False/OwnedByAnother", 90).await;
    assert!(message.contains("the Service monitoring/prometheus-adapter and is left alone"), "{message}");
    eventually("the metric is left out", Duration::from_secs(90), || async { metrics(&plane).await == 2 })
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let live = services.get(API_SERVICE).await.unwrap();
    assert_eq!(live.data["spec"]["caBundle"], "bm9uZQ==", "nothing of another's is changed");
    assert_eq!(live.data["spec"]["service"]["name"], "prometheus-adapter");

    // It goes; so would ours with the release. Then it is reported, and namespaces are deleted as ever.
    services.delete(API_SERVICE, &Default::default()).await.unwrap();
    plane.comes_to_say("CustomMetricsAvailable", "False/NotRegistered", 90).await;
    create_namespace(&plane.client, "passing").await.unwrap();
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(plane.client.clone());
    namespaces.delete("passing", &Default::default()).await.unwrap();
    eventually("the namespace goes", Duration::from_secs(90), || async {
        namespaces.get_opt("passing").await.unwrap().is_none()
    })
    .await
    .unwrap();
    let forbidden = plane.api.audited().remove(names::AUTOSCALER).unwrap_or_default().forbidden;
    assert!(forbidden.is_empty(), "{forbidden:?}");
}
