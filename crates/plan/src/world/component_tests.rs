//! The list of each collector's components (`odigos_pipeline::components`) against what whole clusters render: nothing is
//! missing in it, and nothing is in it that nothing renders.

use super::*;
use odigos_api::{CollectorRole, names};
use odigos_pipeline::components::{COMPONENTS, OWN_EXTENSIONS, is_shipped};
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::json;

/// Section and type.
type Used = BTreeSet<(&'static str, String)>;

/// Every destination type with every example of its golden file, and what these examples lack, spread over three streams.
fn every_destination() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../catalog/tests/golden/examples.json");
    let mut examples: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let traces = |data: Value| json!({"data": data, "signals": ["TRACES"]});
    examples.entry("file".to_owned()).or_default().push(traces(json!({"FILE_PATH": "/tmp/export.json"})));
    examples.entry("otlphttp".to_owned()).or_default().push(traces(json!({
        "OTLP_HTTP_ENDPOINT": "https://backend.test", "OTLP_HTTP_OAUTH2_ENABLED": "true",
        "OTLP_HTTP_OAUTH2_CLIENT_ID": "id", "OTLP_HTTP_OAUTH2_TOKEN_URL": "https://backend.test/token",
    })));
    let fields = odigos_catalog::destination::types().values().flat_map(|one| &one.fields).filter(|field| field.secret);
    let keys: BTreeMap<String, &str> =
        fields.map(|field| (field.name.clone(), odigos_catalog::example::credential(&field.name, "x"))).collect();
    let mut documents =
        vec![json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "all"}, "stringData": keys})];
    for (type_id, cases) in examples.iter().filter(|(type_id, _)| *type_id != "dynamic") {
        for (number, case) in cases.iter().enumerate() {
            let name = format!("{type_id}-{number}");
            let stream = ["default", "a", "b"][number % 3];
            documents.push(json!({
                "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": name},
                "spec": {
                    "type": type_id, "destinationName": name, "data": case["data"], "signals": case["signals"],
                    "secretRef": {"name": "all"}, "sourceSelector": {"dataStreams": [stream]},
                    "delivery": {"persistentQueue": true},
                    "metricsSettings": {"odigosOwnMetricsEnabled": true, "serviceGraphEnabled": true, "spanMetricsEnabled": true},
                },
            }));
        }
    }
    documents
}

fn workload(name: &str, stream: &str) -> [Value; 2] {
    let labels = BTreeMap::from([(odigos_api::labels::stream_label(stream), "true")]);
    let pods = json!({"spec": {"containers": [{"name": "app"}]}});
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": {"template": pods}, "status": {"availableReplicas": 1}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": "shop", "labels": labels}, "spec": {"workload": {"name": name, "namespace": "shop", "kind": "Deployment"}}}),
    ]
}

/// Rules in force, and one that only counts.
fn rules() -> Value {
    json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": {"name": "rules"},
        "spec": {
            "noisyOperations": [{"operation": {"httpServer": {"route": "/healthz", "method": "GET"}}}],
            "highlyRelevantOperations": [{"error": true}],
            "costReductionRules": [{"percentageAtMost": 10}, {"percentageAtMost": 5, "disabled": true}],
        },
    })
}

/// What each collector uses under these documents and this configuration; gateways of pools count as gateways.
fn used(documents: &[Value], configuration: &str) -> [(CollectorRole, Used); 2] {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    documents.iter().for_each(|document| world.insert(document.clone()).unwrap());
    let data = json!({names::CONFIGURATION_KEY: configuration});
    let stated =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION}, "data": data});
    world.insert(stated).unwrap();
    let settled = world.settle(jiff::Timestamp::UNIX_EPOCH);
    let types = |config: &CollectorConfig| -> Used {
        let component_type = |id: &str| id.split('/').next().unwrap_or_default().to_owned();
        let section =
            |kind: ComponentKind| config.section(kind).map(move |(id, _)| (kind.section(), component_type(id)));
        ComponentKind::ALL.into_iter().flat_map(section).collect()
    };
    let gateways = settled.gateway.iter().chain(settled.pools.values()).flat_map(|plan| types(&plan.config)).collect();
    let nodes = settled.node.iter().flat_map(|plan| types(&plan.config)).collect();
    [(CollectorRole::ClusterGateway, gateways), (CollectorRole::NodeCollector, nodes)]
}

#[test]
fn list_of_each_collector_is_what_is_rendered_for_it() {
    let mut everything = every_destination();
    everything.extend(workload("cart", "a"));
    everything.extend(workload("mail", "b"));
    let mut sampled = everything.clone();
    sampled.push(rules());
    // A broken example in a stream may leave a metrics store alone there, as a plain one does.
    let options = [
        (&everything, ""),
        (&everything, "collectorGateway: {clusterMetricsEnabled: true, serviceGraph: {disabled: true}}"),
        (&everything, "collectorNode: {resourceDetectors: {ec2: {enabled: true}, gcp: {enabled: true}}}"),
        (
            &everything,
            "collectorGateway: {pools: [{name: p, dataStreams: [a]}, {name: q, signals: [TRACES], workloads: [{namespace: shop, kind: Deployment, name: mail}]}]}",
        ),
        (&everything, "runtimeDetection: {mode: pod}"),
        (&everything, "uiMode: none"),
        (&sampled, ""),
        (&sampled, "sampling: {samplingRuleMetrics: true}"),
        (&sampled, "sampling: {dryRun: true}"),
        (&vec![], ""),
    ];
    let mut all: BTreeMap<CollectorRole, Used> = BTreeMap::new();
    for (documents, configuration) in options {
        for (role, types) in used(documents, configuration) {
            all.entry(role).or_default().extend(types);
        }
    }
    for (role, types) in all {
        let listed: Used = COMPONENTS
            .iter()
            .filter(|one| one.collectors.include(role))
            .map(|one| (one.kind.section(), one.component_type.to_owned()))
            .chain(OWN_EXTENSIONS.iter().map(|one| ("extensions", (*one).to_owned())))
            .collect();
        let missing: Vec<_> = types.difference(&listed).collect();
        assert!(missing.is_empty(), "{} renders what its list lacks: {missing:?}", role.as_str());
        let unused: Vec<_> = listed.difference(&types).collect();
        assert!(unused.is_empty(), "{} lists what nothing renders: {unused:?}", role.as_str());
    }
}

/// What a Processor may name is in the collector of each role that it may name.
#[test]
fn processors_of_users_are_in_both_collectors() {
    for role in [CollectorRole::ClusterGateway, CollectorRole::NodeCollector] {
        let of_users = odigos_pipeline::components::PROCESSORS_OF_USERS;
        for component_type in of_users.iter().chain(&["filter", "resource", "transform", "memory_limiter"]) {
            assert!(is_shipped(role, ComponentKind::Processor, component_type), "{} {component_type}", role.as_str());
        }
    }
}
