//! Rendered configurations on the real collector: every one is accepted, and items go where their class says, once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

mod action_costs;
mod action_scopes;
mod actions;
mod certificate_files;
mod certificates;
mod chain;
mod counts;
mod derived;
mod draining;
mod expansion;
mod files;
mod metrics_endpoint;
mod placement;
mod processors;
mod values;

use odigos_api::{CollectorRole, Signal, names};
use odigos_plan::streams;
use odigos_plan::world::{Settled, World, read};
use odigos_testkit::collector::{Collector, NOT_IN_TEST_BUILD, Surroundings, is_in_test_build, shipped, validate};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use odigos_tools::root;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn settled(documents: &[Value], prepare: impl Fn(&mut World)) -> Settled {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    documents.iter().for_each(|document| world.insert(document.clone()).unwrap());
    prepare(&mut world);
    world.settle(jiff::Timestamp::UNIX_EPOCH)
}

fn destination(name: &str, type_id: &str, signals: &Value, data: &Value, streams: &[&str]) -> Value {
    json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": name},
        "spec": {"type": type_id, "destinationName": name, "data": data, "signals": signals, "secretRef": {"name": "all"}, "sourceSelector": {"dataStreams": streams}},
    })
}

/// A Secret with every secret key of the catalogue.
fn secret() -> Value {
    let fields = odigos_catalog::destination::types().values().flat_map(|one| &one.fields).filter(|field| field.secret);
    let keys: BTreeMap<String, &str> =
        fields.map(|field| (field.name.clone(), odigos_catalog::example::credential(&field.name, "x"))).collect();
    let metadata = json!({
        "name": "all", "labels": {"odigos.io/destination-secret": "true"}, "annotations": {"odigos.io/destinations": "*"},
    });
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})
}

fn configuration(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION}, "data": {names::CONFIGURATION_KEY: text}})
}

fn workload(name: &str, labels: &[&str]) -> [Value; 2] {
    let labels: BTreeMap<String, &str> =
        labels.iter().map(|stream| (odigos_api::labels::stream_label(stream), "true")).collect();
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": "shop", "labels": labels}, "spec": {"workload": {"name": name, "namespace": "shop", "kind": "Deployment"}}}),
    ]
}

/// Validates both collectors, each with the program that is shipped for it; returns how many configurations the test build could not judge.
fn check(settled: &Settled, what: &str) -> usize {
    judge(settled).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn judge(settled: &Settled) -> Result<usize, String> {
    let directory = tempfile::tempdir().unwrap();
    let gateways = settled.gateway.iter().chain(settled.pools.values());
    let gateways = gateways.map(|plan| (CollectorRole::ClusterGateway, plan.config.to_yaml()));
    let nodes = settled.node.iter().map(|plan| (CollectorRole::NodeCollector, plan.config.to_yaml()));
    let mut left_out = 0;
    for (role, text) in gateways.chain(nodes) {
        if is_in_test_build(&text) {
            validate(role, &text, directory.path()).map_err(|error| format!("{} {error}\n{text}", role.as_str()))?;
        } else {
            left_out += 1;
        }
    }
    Ok(left_out)
}

#[test]
fn every_golden_example_of_every_type_is_accepted() {
    let path = root().join("crates/catalog/tests/golden/examples.json");
    let examples: BTreeMap<String, Vec<Value>> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut accepted, mut left_out) = (0, BTreeSet::new());
    let mut refused = Vec::new();
    for (type_id, cases) in &examples {
        for case in cases {
            let documents = [destination("d1", type_id, &case["signals"], &case["data"], &["default"]), secret()];
            // An example that must be an error renders a gateway without it, which must be accepted as well.
            let what = format!("{type_id}: {}", case["case"]);
            match judge(&settled(&documents, |_| {})) {
                Ok(0) => accepted += 1,
                Ok(_) => drop(left_out.insert(type_id.clone())),
                Err(error) => refused.push(format!("{what}: {error}")),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    println!(
        "{accepted} examples of {} types; not in the test build: {left_out:?}: {NOT_IN_TEST_BUILD:?}",
        examples.len()
    );
    assert!(accepted >= 190 && left_out.len() == 1, "{accepted} examples, {left_out:?} left out");
}

const ROLES: [CollectorRole; 2] = [CollectorRole::ClusterGateway, CollectorRole::NodeCollector];

fn shipped_program(role: CollectorRole) -> std::process::Command {
    std::process::Command::new(odigos_tools::find(shipped(role)).unwrap())
}

/// The list of each collector and the program that is shipped agree, and so do the modules that it says it is built from.
#[test]
fn shipped_collectors_have_the_components_of_their_role_and_no_others() {
    use odigos_pipeline::ComponentKind;
    let text = std::fs::read_to_string(root().join("deploy/collector/go.mod")).unwrap();
    // They list the newer of two spellings; that they take what is rendered is seen where they validate that.
    let bare = |name: &str| name.replace('_', "");
    for role in ROLES {
        let output = shipped_program(role).arg("components").output().unwrap();
        let listed: Value = serde_yaml::from_slice(&output.stdout).unwrap();
        for kind in ComponentKind::ALL {
            let components = listed[kind.section()].as_array().unwrap();
            let there: BTreeSet<String> = components.iter().map(|one| bare(one["name"].as_str().unwrap())).collect();
            let of_kind = odigos_pipeline::components::shipped(role).filter(|(section, _)| *section == kind);
            let listed_as = |component_type: &str| {
                let older = odigos_pipeline::components::find(kind, component_type).and_then(|one| one.formerly);
                let name = bare(component_type);
                if there.contains(&name) { name } else { older.map_or(name, bare) }
            };
            let expected: BTreeSet<String> = of_kind.map(|(_, component_type)| listed_as(component_type)).collect();
            assert_eq!(there, expected, "{} {}", role.as_str(), kind.section());
            // What is of that module itself has no line in it.
            let own = text.lines().find_map(|line| line.strip_prefix("module ")).unwrap();
            let modules = components.iter().filter_map(|one| one["module"].as_str());
            for module in modules.filter(|one| !one.starts_with(own)) {
                assert!(text.contains(module), "{module} is not what deploy/collector/go.mod has");
            }
        }
    }
}

/// A configuration that names an address is refused, so nobody can make a collector ask there.
#[test]
fn shipped_collectors_read_no_configuration_from_an_address() {
    for role in ROLES {
        let output = shipped_program(role).args(["validate", "--config=http://127.0.0.1:9/x"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("unsupported scheme"), "{said}");
    }
}

/// What the condition of a Processor says of its type is what the program does with it.
#[test]
fn shipped_collectors_know_the_processors_that_are_not_reported() {
    use odigos_pipeline::{ComponentKind, components::is_shipped};
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "processors: {nosuchtype: {}}").unwrap();
    for role in ROLES {
        let output =
            shipped_program(role).args(["validate", &format!("--config={}", file.display())]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let valid = said.split_once("valid values: [").and_then(|(_, rest)| rest.split_once(']'));
        let known: BTreeSet<&str> = valid.unwrap_or_else(|| panic!("{said}")).0.split_whitespace().collect();
        for component_type in odigos_plan::processors::STOCK_PROCESSORS {
            let is_known = known.iter().any(|one| one.trim_matches(['"', ',']) == component_type);
            assert_eq!(
                is_shipped(role, ComponentKind::Processor, component_type),
                is_known,
                "{component_type}: {said}"
            );
        }
    }
}

#[test]
fn generated_clusters_are_accepted() {
    let cases: u64 = std::env::var("ODIGOS_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut pools = 0;
    for seed in 0..cases {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        let mut next = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let names = ["a", "b", "c", "in", "void", "default", "exporting"];
        let mut some =
            |most: u64| -> Vec<&str> { (0..next(most)).map(|_| names[usize::try_from(next(7)).unwrap()]).collect() };
        let mut documents = vec![secret()];
        for n in 0..5 {
            documents.extend(workload(&format!("w{n}"), &some(4)));
        }
        let mut good = Vec::new();
        for n in 0..6 {
            let streams = some(4);
            let signals =
                [json!(["TRACES"]), json!(["TRACES", "LOGS"]), json!(["TRACES", "METRICS", "LOGS"])][n % 3].clone();
            let kinds = [
                ("jaeger", json!({"JAEGER_URL": "j"})),
                ("otlp", json!({"OTLP_GRPC_ENDPOINT": "c:1"})),
                ("debug", json!({})),
                ("otlphttp", json!({"OTLP_HTTP_ENDPOINT": "http://h", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u$r"})),
                ("kafka", json!({"KAFKA_PROTOCOL_VERSION": "2.0.0", "KAFKA_PRODUCER_REQUIRED_ACKS": "many"})),
                ("nosuch", json!({})),
            ];
            let (type_id, data) = &kinds[(n + usize::try_from(seed).unwrap()) % kinds.len()];
            let name = format!("d{n}");
            if !matches!(*type_id, "kafka" | "nosuch") && !streams.is_empty() {
                good.push(name.clone());
            }
            documents.push(destination(&name, type_id, &signals, data, &streams));
        }
        if seed % 4 == 1 {
            let pools = "[{name: p, dataStreams: [a, b]}, {name: q, signals: [TRACES], workloads: [{namespace: shop, kind: Deployment, name: w0}]}]";
            documents.push(configuration(&format!("collectorGateway: {{pools: {pools}}}")));
        }
        let settled = settled(&documents, |_| {});
        pools += settled.node.as_ref().map_or(0, |plan| plan.pools.len());
        let plan = settled.gateway.as_ref().unwrap();
        for name in good {
            assert_eq!(
                plan.destinations[&name].status.as_str(),
                "True",
                "seed {seed}: {name}: {}",
                plan.destinations[&name].message
            );
        }
        check(&settled, &format!("seed {seed}"));
    }
    println!("seeds 0..{cases}, with {pools} pools that nodes send to");
    assert!(pools > 0, "pools are among them");
}

#[test]
fn the_sample_and_every_optional_part_are_accepted() {
    let mut documents = Vec::new();
    for file in ["10-shop.yaml", "20-sources.yaml", "30-destinations.yaml"] {
        documents.extend(read(&std::fs::read_to_string(root().join("deploy/samples").join(file)).unwrap()).unwrap());
    }
    assert_eq!(check(&settled(&documents, |_| {}), "sample"), 0);
    let options = [
        "odigosOwnTelemetryStore: {metricsStoreDisabled: false}",
        "collectorGateway: {serviceGraph: {disabled: true}}",
        "collectorGateway: {serviceGraph: {extraDimensions: [k8s.namespace.name], virtualNodePeerAttributes: [peer.service]}}",
        "metricsSources: {spanMetrics: {histogramDisabled: true, additionalDimensions: [http.route, a.b]}}",
        "collectorNode: {enableDataCompression: true, resourceDetectors: {ec2: {enabled: true}}}",
        // Odd values: what the collector would reject is reported, and not rendered.
        "collectorGateway: {memoryLimiterLimitMiB: 550, memoryLimiterSpikeLimitMiB: 560, goMemLimitMiB: 1}",
        "collectorNode: {memoryLimiterLimitMiB: 9999, memoryLimiterSpikeLimitMiB: 9999}",
        "collectorNode: {otlpExporterConfiguration: {retryOnFailure: {initialInterval: 10m, maxElapsedTime: 1s}}}",
        "collectorNode: {otlpExporterConfiguration: {retryOnFailure: {maxInterval: 10m}, timeout: -5s}}",
        "collectorNode: {collectorOwnMetricsPort: 4317}",
        "metricsSources: {spanMetrics: {additionalDimensions: [service.name, span.kind, tenant, tenant, '', 'a b']}}",
        "metricsSources: {spanMetrics: {explicitHistogramBuckets: [2s, 1s, 1s]}}",
        "collectorGateway: {serviceGraph: {extraDimensions: [a, a, '', 'b c']}}",
        "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: 5}, tailSampling: {traceAggregationWaitDuration: 1ms}}",
        "ui: {mode: readonly}",
    ];
    for option in options {
        let mut with = documents.clone();
        with.push(configuration(option));
        assert_eq!(check(&settled(&with, |_| {}), option), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_items_reach_their_destinations_once_and_no_other() {
    let (first, second, dead) = (free_port().unwrap(), free_port().unwrap(), free_port().unwrap());
    let (one, two) = (Sink::listen(first).await.unwrap(), Sink::listen(second).await.unwrap());
    let all = json!(["TRACES", "METRICS", "LOGS"]);
    let otlp = |port: u16| json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    let mut documents = vec![
        secret(),
        destination("one", "otlp", &all, &otlp(first), &["a"]),
        destination("two", "otlp", &all, &otlp(second), &["a", "b"]),
        // Nothing listens there: its queue fills, the others must not notice.
        destination("dead", "otlp", &all, &otlp(dead), &["a", "b"]),
    ];
    let sets: [(&str, &[&str]); 4] = [("s1", &["a"]), ("s2", &["b"]), ("s3", &["a", "b"]), ("s4", &[])];
    for (name, streams) in sets {
        documents.extend(workload(name, streams));
    }
    let settled = settled(&documents, |_| {});
    let text = settled.gateway.unwrap().config.to_yaml();
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(directory.path()).unwrap();
    let gateway = Collector::start("gateway", &text, around, &[]).await.unwrap();
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    const ITEMS: usize = 40;
    for (name, set) in sets {
        let class = streams::class_id(&if set.is_empty() {
            ["default".to_owned()].into()
        } else {
            set.iter().map(ToString::to_string).collect()
        });
        for signal in Signal::PIPELINES {
            let names: Vec<String> = (0..ITEMS).map(|n| format!("{name}-{n}")).collect();
            sender.send(signal, &[("service.name", name), ("odigos.stream.class", &class)], &names).await.unwrap();
        }
    }
    let expected = |services: &[&str]| -> BTreeMap<(Signal, String), usize> {
        services
            .iter()
            .flat_map(|service| Signal::PIPELINES.map(|signal| ((signal, (*service).to_owned()), ITEMS)))
            .collect()
    };
    let arrived = eventually("everything arrives", Duration::from_secs(90), || async {
        one.counts() == expected(&["s1", "s3"]) && two.counts() == expected(&["s1", "s2", "s3"])
    });
    assert!(arrived.await.is_ok(), "one: {:?}\ntwo: {:?}", one.counts(), two.counts());
    let leaked = one.items().iter().chain(&two.items()).any(|item| item.resource.contains_key("odigos.stream.class"));
    assert!(!leaked, "the class is removed before export");
}

/// Its image has no file with certificates, and most backends are reached by TLS. That such a connection is made cannot be seen here,
/// where no authority that the world knows certifies anybody.
#[test]
fn the_authorities_of_the_internet_are_part_of_it() {
    for role in ROLES {
        let program = std::fs::read(odigos_tools::find(shipped(role)).unwrap()).unwrap();
        let wanted = b"ISRG Root X1";
        assert!(program.windows(wanted.len()).any(|bytes| bytes == wanted), "the roots of Let's Encrypt are in it");
    }
}
