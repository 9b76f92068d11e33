//! A configuration in several files on the real collector: it merges them to the whole one, accepts them, starts, and routes by every
//! connector that a long table was cut into.

use odigos_api::collectors_group::{CollectorsGroup, StreamClass};
use odigos_api::destination::Destination;
use odigos_api::{CollectorRole, Signal};
use odigos_plan::configuration::Configuration;
use odigos_plan::gateway::sampling::Rules;
use odigos_plan::gateway::{GatewayPlan, Observed, SecretKeys, SecretMark, SecretValue, Senders, plan};
use odigos_plan::streams::classes::class_id;
use odigos_testkit::collector::{Collector, Surroundings, run_on_files, secret_variables, shipped};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use odigos_tools::catalog::COLLECTOR;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TEAMS: usize = 1_000;

fn team(number: usize) -> String {
    format!("team-{number:04}")
}

fn class(stream: &str) -> String {
    class_id(&[stream.to_owned()].into())
}

/// A stream and a Destination with a password for each team. Some have a backend that listens, the others one that does not.
fn teams(backends: &BTreeMap<usize, u16>) -> GatewayPlan {
    let classes: Vec<StreamClass> = (0..TEAMS)
        .map(|number| StreamClass { id: class(&team(number)), streams: vec![team(number)], retired_at: None })
        .collect();
    let group: CollectorsGroup = serde_json::from_value(json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "CollectorsGroup", "metadata": {"name": "odigos-gateway"},
        "spec": {
            "role": "CLUSTER_GATEWAY", "collectorOwnMetricsPort": 8888, "streamClasses": classes,
            "resourcesSettings": {
                "minReplicas": 1, "maxReplicas": 1, "memoryRequestMiB": 600, "memoryLimitMiB": 600,
                "cpuRequestMillicores": 1000, "cpuLimitMillicores": 1000,
                "memoryLimiterLimitMiB": 550, "memoryLimiterSpikeLimitMiB": 110, "gomemlimitMiB": 440,
            },
        },
    }))
    .unwrap();
    let destination = |number: usize| -> Destination {
        let (type_id, data) = match backends.get(&number) {
            Some(port) => ("otlp", json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")})),
            None => {
                ("otlphttp", json!({"OTLP_HTTP_ENDPOINT": "http://127.0.0.1:9", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"}))
            }
        };
        serde_json::from_value(json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": team(number)},
            "spec": {
                "type": type_id, "destinationName": team(number), "data": data, "signals": ["TRACES", "METRICS", "LOGS"],
                "secretRef": {"name": "all"}, "sourceSelector": {"dataStreams": [team(number)]},
            },
        }))
        .unwrap()
    };
    let destinations: Vec<Destination> = (0..TEAMS).map(destination).collect();
    let keys: SecretKeys =
        [("OTLP_HTTP_BASIC_AUTH_PASSWORD".to_owned(), SecretValue::of(b"0123456789abcdef"))].into_iter().collect();
    let metadata = json!({
        "labels": {"odigos.io/destination-secret": "true"}, "annotations": {"odigos.io/destinations": "*"},
    });
    let mark = SecretMark::of(&serde_json::from_value(metadata).unwrap(), None);
    let plan = plan(&Observed {
        namespace: "odigos-system",
        group: &group,
        destinations: destinations.iter().collect(),
        processors: Vec::new(),
        actions: Vec::new(),
        secrets: &[("all".to_owned(), keys)].into(),
        marks: &[("all".to_owned(), mark)].into(),
        configuration: &Configuration::default(),
        rules: &Rules::default(),
        set_aside: &BTreeMap::new(),
        senders: Senders::default(),
        is_own_collector: true,
        is_name_taken: false,
    });
    assert_eq!((plan.problems.as_slice(), plan.files.problem()), ([].as_slice(), None));
    assert!(plan.destinations.values().all(|one| one.status.as_str() == "True"));
    plan
}

fn variables(plan: &GatewayPlan) -> Vec<(String, String)> {
    plan.files.texts().iter().flat_map(|text| secret_variables(text)).collect()
}

/// A figure of the process from the kernel, in MiB.
fn memory(id: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_streams_in_several_files_start_and_route() {
    // Rows are in the order of the teams: the first connector, the last one, and one in between.
    let watched = [0, 499, TEAMS - 1];
    let mut backends = BTreeMap::new();
    let mut sinks = BTreeMap::new();
    for number in watched {
        let port = free_port().unwrap();
        backends.insert(number, port);
        sinks.insert(number, Sink::listen(port).await.unwrap());
    }
    let begun = Instant::now();
    let plan = teams(&backends);
    let sizes: Vec<usize> = plan.files.texts().iter().map(|text| text.len() / 1024).collect();
    println!("rendered after {:?}: files of {sizes:?} KiB", begun.elapsed());
    assert!(sizes.len() > 3);
    let variables = variables(&plan);
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(directory.path()).unwrap();

    // What is shipped accepts the files.
    let begun = Instant::now();
    let gateway = shipped(CollectorRole::ClusterGateway);
    run_on_files(gateway, &["validate"], plan.files.texts(), &around, &variables).unwrap();
    println!("validated after {:?}", begun.elapsed());
    // The collector's own merge of the files is the whole configuration.
    let printed = |texts: &[String]| -> Value {
        let text = run_on_files(COLLECTOR, &["print-config", "--mode=unredacted"], texts, &around, &variables).unwrap();
        serde_yaml::from_str(&text).unwrap()
    };
    assert_eq!(printed(plan.files.texts()), printed(&[plan.config.to_yaml()]));

    let begun = Instant::now();
    let around = Surroundings { program: gateway, ..around };
    let gateway = Collector::start_files("gateway", plan.files.texts(), around, &variables, &[]).await.unwrap();
    println!("healthy after {:?} with {} MiB", begun.elapsed(), memory(gateway.id(), "VmRSS:"));
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    for signal in Signal::PIPELINES {
        for number in watched {
            let (name, class) = (team(number), class(&team(number)));
            let attributes = [("service.name", name.as_str()), ("odigos.stream.class", class.as_str())];
            sender.send(signal, &attributes, &["one".to_owned()]).await.unwrap();
        }
        let unknown = [("service.name", "unknown"), ("odigos.stream.class", "unknown")];
        sender.send(signal, &unknown, &["one".to_owned()]).await.unwrap();
    }
    let expected = |number: usize| -> BTreeMap<(Signal, String), usize> {
        Signal::PIPELINES.map(|signal| ((signal, team(number)), 1)).into()
    };
    let arrived = eventually("items reach the Destination of their class alone", Duration::from_secs(60), || async {
        sinks.iter().all(|(number, sink)| sink.counts() == expected(*number))
    });
    let result = arrived.await;
    assert!(result.is_ok(), "{:?}", sinks.values().map(Sink::counts).collect::<Vec<_>>());
    println!("at most {} MiB", memory(gateway.id(), "VmHWM:"));
    gateway.stop();
}
