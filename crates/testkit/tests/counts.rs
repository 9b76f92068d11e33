//! What collectors count of what passes them: by source on nodes, by sampling rule on gateways. The real collector adds up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_api::{Signal, names};
use odigos_plan::world::{Settled, World};
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http::get;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const SHOP: &str = "shop";

/// One Source of each name, and one destination of everything.
fn settled(port: u16, sources: &[&str], configuration: &str, more: &[Value]) -> Settled {
    let version = odigos_api::API_VERSION;
    let mut documents = vec![
        json!({"apiVersion": version, "kind": "Destination", "metadata": {"name": "all"}, "spec": {
            "type": "otlp", "destinationName": "all", "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")},
            "signals": ["TRACES", "METRICS", "LOGS"],
        }}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION},
            "data": {names::CONFIGURATION_KEY: configuration}}),
    ];
    for name in sources {
        documents
            .push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SHOP},
            "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}));
        documents.push(json!({"apiVersion": version, "kind": "Source", "metadata": {"name": name, "namespace": SHOP},
            "spec": {"workload": {"name": name, "namespace": SHOP, "kind": "Deployment"}}}));
    }
    documents.extend(more.iter().cloned());
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    documents.into_iter().for_each(|document| world.insert(document).unwrap());
    world.settle(jiff::Timestamp::UNIX_EPOCH)
}

/// Samples of the metrics whose name begins so: the rest of the name with the labels, and the count.
fn samples<'a>(text: &'a str, metric: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let lines = text.lines().filter_map(move |line| line.strip_prefix(metric)?.rsplit_once(' '));
    lines.map(|(labels, count)| (labels, count.parse().unwrap_or_else(|_| panic!("{count} is no count"))))
}

/// The totals of a metric by the values of these labels, in their order.
fn totals(text: &str, metric: &str, labels: &[&str]) -> BTreeMap<Vec<String>, u64> {
    let value = |part: &str, label: &str| {
        let (_, rest) = part.split_once(&format!("{label}=\"")).unwrap_or_else(|| panic!("{part} has no {label}"));
        rest.split('"').next().unwrap().to_owned()
    };
    samples(text, metric)
        .map(|(part, count)| (labels.iter().map(|label| value(part, label)).collect(), count))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_source_is_counted_however_its_items_come() {
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let node = settled(port, &["cart", "web"], "{}", &[]).node.unwrap();
    // There is no kubelet, no host and no API server here; what they would add is left out.
    let mut config = node.config.to_value();
    for (_, pipeline) in config["service"]["pipelines"].as_object_mut().unwrap() {
        let of_a_cluster =
            |id: &Value| matches!(id.as_str(), Some("k8s_attributes" | "kubelet_stats" | "host_metrics" | "file_log"));
        for list in ["receivers", "processors"] {
            if let Some(ids) = pipeline.get_mut(list).and_then(Value::as_array_mut) {
                ids.retain(|id| !of_a_cluster(id));
            }
        }
    }
    config["processors"].as_object_mut().unwrap().remove("k8s_attributes");
    config["receivers"].as_object_mut().unwrap().retain(|id, _| id == "otlp/in" || id.contains("self-metrics"));
    config["service"]["extensions"] = json!(["health_check"]);
    // Straight to the destination, which takes the place of the gateways.
    let directory = tempfile::tempdir().unwrap();
    let mut around = Surroundings::new(directory.path()).unwrap();
    around.gateways = vec![format!("127.0.0.1:{port}")];
    let counts = around.counts;
    let collector = Collector::start("node", &odigos_pipeline::yaml::to_string(&config), around, &[]).await.unwrap();

    // Several pods of a workload send at the same time, in batches of different sizes; one pod is nobody's.
    const BATCHES: usize = 60;
    let batch = |number: usize| -> Vec<String> { (0..=number % 7).map(|item| format!("{number}-{item}")).collect() };
    let mut senders = Vec::new();
    for (pod, workload) in [("cart-1", "cart"), ("cart-2", "cart"), ("cart-3", "cart"), ("web-1", "web"), ("stray", "")]
    {
        let endpoint = collector.endpoint();
        senders.push(async move {
            let sender = Sender::connect(&endpoint).await.unwrap();
            let mut resource = vec![("k8s.pod.name", pod), ("k8s.namespace.name", SHOP), ("service.name", pod)];
            if !workload.is_empty() {
                resource.extend([("odigos.workload.kind", "Deployment"), ("odigos.workload.name", workload)]);
            }
            for number in 0..BATCHES {
                for signal in Signal::PIPELINES {
                    sender.send(signal, &resource, &batch(number)).await.unwrap();
                }
            }
        });
    }
    futures::future::join_all(senders).await;
    let of_a_pod: usize = (0..BATCHES).map(|number| batch(number).len()).sum();
    let of_a_pod = u64::try_from(of_a_pod).unwrap();
    let labels = ["k8s_namespace_name", "odigos_workload_kind", "odigos_workload_name"];
    let key = |name: &str| [SHOP, "Deployment", name].map(str::to_owned).to_vec();
    let expected: BTreeMap<_, _> = [(key("cart"), 3 * of_a_pod), (key("web"), of_a_pod)].into();
    let mut seen = String::new();
    for metric in ["odigos_source_spans_total", "odigos_source_metric_points_total", "odigos_source_log_records_total"]
    {
        let counted = eventually("every item is counted", Duration::from_secs(20), || async {
            get(counts, "/metrics", None).await.is_some_and(|text| totals(&text, metric, &labels) == expected)
        });
        if let Err(error) = counted.await {
            seen = get(counts, "/metrics", None).await.unwrap_or_default();
            panic!("{metric}: {error}: {expected:?}\n{seen}\n{}", collector.output());
        }
    }
    // One series for a source, whatever pods it has.
    assert!(!seen.contains("cart-1"));
    let spans = usize::try_from(5 * of_a_pod).unwrap();
    let arrived = eventually("every span arrives", Duration::from_secs(20), || async { sink.spans() == spans });
    arrived.await.unwrap_or_else(|error| panic!("{error}: {} of {spans}", sink.spans()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_a_sampling_rule_add_up() {
    let port = free_port().unwrap();
    let _sink = Sink::listen_counting(port).await.unwrap();
    let rule = json!({"apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": {"name": "rules"}, "spec": {
        "noisyOperations": [{"operation": {"httpServer": {"route": "/health"}}}],
        "costReductionRules": [{"percentageAtMost": 50}],
    }});
    let gateway = settled(port, &["cart"], "sampling: {samplingRuleMetrics: true}", &[rule]).gateway.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(directory.path()).unwrap();
    let counts = around.counts;
    let collector = Collector::start("gateway", &gateway.config.to_yaml(), around, &[]).await.unwrap();
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let class = odigos_plan::streams::class_id(&["default".to_owned()].into());
    let resource = [
        ("service.name", "cart"),
        ("k8s.namespace.name", SHOP),
        ("odigos.workload.kind", "Deployment"),
        ("odigos.workload.name", "cart"),
        ("odigos.stream.class", class.as_str()),
    ];
    for number in 0..30 {
        let names: Vec<String> = (0..3).map(|item| format!("{number}-{item}")).collect();
        sender.send(Signal::Traces, &resource, &names).await.unwrap();
    }
    let counted = eventually("the spans of all batches are counted", Duration::from_secs(20), || async {
        let text = get(counts, "/metrics", None).await.unwrap_or_default();
        samples(&text, "odigos_sampling_span_match_count_").any(|(_, count)| count == 90)
    });
    let text = get(counts, "/metrics", None).await.unwrap_or_default();
    counted.await.unwrap_or_else(|error| panic!("{error}: {text}\n{}", collector.output()));
}
