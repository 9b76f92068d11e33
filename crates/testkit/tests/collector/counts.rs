//! What collectors count of what passes them: by source on nodes, by sampling rule on gateways. The real collector adds up.

use super::{configuration, destination, secret, settled, workload};
use odigos_api::Signal;
use odigos_plan::world::Settled;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http::get;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Namespace of [`workload`].
const SHOP: &str = "shop";

/// Sources of two workloads, one destination of everything, and what else is named.
fn observed(port: u16, more: &[Value]) -> Settled {
    let address = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    let mut documents =
        vec![secret(), destination("all", "otlp", &json!(["TRACES", "METRICS", "LOGS"]), &address, &["default"])];
    ["cart", "web"].into_iter().for_each(|name| documents.extend(workload(name, &[])));
    documents.extend(more.iter().cloned());
    settled(&documents, |_| {})
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
    let node = observed(port, &[]).node.unwrap();
    // There is no kubelet, no host and no API server here; what they would add, and who is judged by it, is left out.
    let mut config = node.config.to_value();
    for (_, pipeline) in config["service"]["pipelines"].as_object_mut().unwrap() {
        let of_a_cluster = |id: &Value| {
            let judged = ["transform/claims", "k8s_attributes/connection", "transform/senders"];
            let read = ["kubelet_stats", "host_metrics", "file_log"];
            id.as_str().is_some_and(|id| judged.contains(&id) || read.contains(&id))
        };
        for list in ["receivers", "processors"] {
            if let Some(ids) = pipeline.get_mut(list).and_then(Value::as_array_mut) {
                ids.retain(|id| !of_a_cluster(id));
                ids.iter_mut().filter(|id| *id == "k8s_attributes").for_each(|id| *id = json!("transform/pods"));
            }
        }
    }
    let pipelines = config["service"]["pipelines"].as_object_mut().unwrap();
    pipelines.retain(|_, pipeline| pipeline["receivers"].as_array().is_some_and(|ids| !ids.is_empty()));
    config["processors"].as_object_mut().unwrap().retain(|id, _| !id.starts_with("k8s_attributes"));
    // What the API server would tell of the pods.
    let of = |workload: &str| {
        let condition = format!("IsMatch(attributes[\"k8s.pod.name\"], \"^{workload}-\")");
        [
            format!("set(attributes[\"odigos.stream.class\"], \"default\") where {condition}"),
            format!("set(attributes[\"k8s.deployment.name\"], \"{workload}\") where {condition}"),
        ]
    };
    let statements = [of("cart"), of("web")].concat();
    let group = json!([{"context": "resource", "statements": statements}]);
    config["processors"]["transform/pods"] =
        json!({"trace_statements": group, "metric_statements": group, "log_statements": group});
    config["receivers"].as_object_mut().unwrap().retain(|id, _| id == "otlp/in" || id.contains("self-metrics"));
    config["service"]["extensions"] = json!(["health_check", "request_limit"]);
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
    for pod in ["cart-1", "cart-2", "cart-3", "web-1", "stray"] {
        let endpoint = collector.endpoint();
        senders.push(async move {
            let sender = Sender::connect(&endpoint).await.unwrap();
            let resource = vec![("k8s.pod.name", pod), ("k8s.namespace.name", SHOP), ("service.name", pod)];
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
    for metric in ["odigos_source_spans_total", "odigos_source_metric_points_total", "odigos_source_log_records_total"]
    {
        let counted = eventually("every item is counted", Duration::from_secs(90), || async {
            get(counts, "/metrics", None).await.is_some_and(|text| totals(&text, metric, &labels) == expected)
        });
        if let Err(error) = counted.await {
            let seen = get(counts, "/metrics", None).await;
            panic!("{metric}: {error}: {expected:?}\n{seen:?}\n{}", collector.output());
        }
    }
    // One series for a source, whatever pods it has.
    let text = get(counts, "/metrics", None).await.unwrap();
    assert_eq!(samples(&text, "odigos_source_spans_total").count(), expected.len(), "{text}");
    assert!(!text.contains("cart-1"), "{text}");
    let spans = usize::try_from(5 * of_a_pod).unwrap();
    let arrived = eventually("every span arrives", Duration::from_secs(90), || async { sink.spans() == spans });
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
    let more = [configuration("sampling: {samplingRuleMetrics: true}"), rule];
    let gateway = observed(port, &more).gateway.unwrap();
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
    let counted = eventually("the spans of all batches are counted", Duration::from_secs(90), || async {
        let text = get(counts, "/metrics", None).await.unwrap_or_default();
        samples(&text, "odigos_sampling_span_match_count_").any(|(_, count)| count == 90)
    });
    let text = get(counts, "/metrics", None).await.unwrap_or_default();
    counted.await.unwrap_or_else(|error| panic!("{error}: {text}\n{}", collector.output()));
}
