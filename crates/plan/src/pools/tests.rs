//! Pools from the configuration to what nodes and gateways do with them, on whole clusters where that says more.

use super::*;
use crate::configuration::effective;
use crate::world::{Settled, World, read};
use odigos_api::labels::{GATEWAY_POOL, STREAM_CLASS};
use odigos_pipeline::{ComponentKind, PipelineId};
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn configuration(pools: &str) -> Configuration {
    effective(&format!("collectorGateway: {{pools: {pools}}}"), None, None, "odigos-system").result.unwrap()
}

/// Two workloads in streams of their own and one in `default`, with a destination for each.
fn cluster(pools: &str, more: &str) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: odigos-system}}\ndata: {{config.yaml: 'collectorGateway: {{pools: {pools}}}'}}\n---\n{more}"
    );
    for (name, stream) in [("web", "shop"), ("pay", "money"), ("job", "default")] {
        text += &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{template: {{spec: {{containers: [{{name: app}}]}}}}}}\nstatus: {{availableReplicas: 1}}\n---\n\
             apiVersion: odigos.io/v1alpha1\nkind: Source\nmetadata: {{name: {name}, namespace: shop, labels: {{odigos.io/data-stream-{stream}: \"true\"}}}}\nspec: {{workload: {{name: {name}, namespace: shop, kind: Deployment}}}}\n---\n\
             apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {{name: for-{stream}, namespace: odigos-system}}\nspec: {{type: jaeger, destinationName: d, data: {{JAEGER_URL: \"{stream}:4317\"}}, signals: [TRACES], sourceSelector: {{dataStreams: [{stream}]}}}}\n---\n"
        );
    }
    text
}

fn world(manifests: &str) -> World {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    for object in read(manifests).unwrap() {
        world.insert(object).unwrap();
    }
    world
}

fn settled(manifests: &str) -> (World, Settled) {
    let mut world = world(manifests);
    let settled = world.settle(at(0));
    (world, settled)
}

/// Where the node sends the traces of a workload: the exporter behind its row, or behind none.
fn exporter_of(world: &World, settled: &Settled, workload: &str) -> String {
    let config = &world.configs[&("shop".to_owned(), format!("deployment-{workload}"))];
    let class = config.metadata.labels.as_ref().unwrap()[STREAM_CLASS].clone();
    let node = &settled.node.as_ref().unwrap().config;
    let Some(connector) = node.get(ComponentKind::Connector, "routing/gateways-traces") else {
        return node.pipelines[&PipelineId::new(Signal::Traces, "")].exporters.first().unwrap().clone();
    };
    let rows = connector["table"].as_array().unwrap();
    let row = rows.iter().find(|row| row["condition"].as_str().unwrap().contains(&format!("\"{class}\"")));
    let pipeline = row.map_or(&connector["default_pipelines"][0], |row| &row["pipelines"][0]);
    let name = pipeline.as_str().unwrap().strip_prefix("traces/").unwrap();
    node.pipelines[&PipelineId::new(Signal::Traces, name)].exporters.join(",")
}

#[test]
fn a_stream_has_gateways_of_its_own() {
    let (world, settled) = settled(&cluster("[{name: money, dataStreams: [money], maxReplicas: 3}]", ""));
    assert_eq!(settled.findings, vec![]);
    assert_eq!(exporter_of(&world, &settled, "pay"), "load_balancing/traces.money");
    assert_eq!(exporter_of(&world, &settled, "web"), "load_balancing/traces");
    assert_eq!(exporter_of(&world, &settled, "job"), "load_balancing/traces");
    // The pool brings no more than its streams need; the main gateways know every class all the same.
    let pool = settled.pools["odigos-gateway-money"].config.to_yaml();
    assert!(
        pool.contains("traces/stream.money") && pool.contains("money:4317") && !pool.contains("shop:4317"),
        "{pool}"
    );
    let main = settled.gateway.as_ref().unwrap();
    assert!(main.config.to_yaml().contains("traces/stream.money"));
    assert_eq!(main.classes.len(), 2);
    let objects: Vec<Value> = world.written_objects();
    let named = |kind: &str, name: &str| {
        objects
            .iter()
            .find(|one| one["kind"] == kind && one["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{kind} {name}"))
    };
    let deployment = named("Deployment", "odigos-gateway-money");
    let labels = json!({"odigos.io/collector-role": "CLUSTER_GATEWAY_POOL", GATEWAY_POOL: "money"});
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    // No selector of the main gateway finds pods of a pool: budgets and autoscalers would count them.
    let main = &named("PodDisruptionBudget", "odigos-gateway")["spec"]["selector"]["matchLabels"];
    assert_eq!(main, &json!({"odigos.io/collector-role": "CLUSTER_GATEWAY"}));
    assert_eq!(named("HorizontalPodAutoscaler", "odigos-gateway-money")["spec"]["maxReplicas"], 3);
    assert_eq!(
        named("HorizontalPodAutoscaler", "odigos-gateway-money")["spec"]["scaleTargetRef"]["name"],
        "odigos-gateway-money"
    );
    for service in ["odigos-gateway-money", "odigos-gateway-money-otlp"] {
        assert_eq!(named("Service", service)["spec"]["selector"][GATEWAY_POOL], "money");
    }
}

#[test]
fn pool_carries_nothing_of_the_default_stream() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: odigos-system}\nstringData: {HONEYCOMB_API_KEY: x}\n---\n\
        apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {name: paid, namespace: odigos-system}\nspec: {type: honeycomb, destinationName: d, data: {}, secretRef: {name: key}, signals: [TRACES, METRICS]}\n---\n";
    let (_, settled) = settled(&cluster("[{name: money, dataStreams: [money]}]", secret));
    let main = settled.gateway.as_ref().unwrap();
    assert!(main.config.to_yaml().contains("honeycomb-paid") && !main.secrets.is_empty());
    let pool = &settled.pools["odigos-gateway-money"];
    let text = pool.config.to_yaml();
    assert!(!text.contains("paid") && !text.contains("default:4317") && !text.contains("stream.default"), "{text}");
    assert_eq!(pool.secrets, vec![]);
    assert!(!pool.destinations.contains_key("paid"));
    // An item without class, or of a class that is not its own, was never meant for it.
    let router = pool.config.get(ComponentKind::Connector, "routing/traces").unwrap();
    assert_eq!(router["default_pipelines"], json!(["traces/void"]));
    // It has no pipelines for metrics, so nodes send none there.
    let node = &settled.node.as_ref().unwrap().config;
    assert_eq!(pool.receiver_signals, [Signal::Traces]);
    assert!(node.get(ComponentKind::Connector, "routing/gateways-metrics").is_none());
}

#[test]
fn pool_reads_no_secret_of_a_destination_whose_signals_it_does_not_take() {
    let paid = "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: odigos-system}\nstringData: {HONEYCOMB_API_KEY: x}\n---\n\
        apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {name: paid, namespace: odigos-system}\nspec: {type: honeycomb, destinationName: d, data: {}, secretRef: {name: key}, signals: [METRICS], sourceSelector: {dataStreams: [money]}}\n---\n";
    let secrets = |signals: &str| {
        let (_, settled) =
            settled(&cluster(&format!("[{{name: money, dataStreams: [money], signals: [{signals}]}}]"), paid));
        settled.pools["odigos-gateway-money"].secrets.len()
    };
    assert_eq!((secrets("TRACES"), secrets("METRICS")), (0, 1));
}

#[test]
fn without_pools_nothing_is_different() {
    let (world, settled) = settled(&cluster("[]", ""));
    assert!(settled.pools.is_empty());
    assert_eq!(exporter_of(&world, &settled, "pay"), "load_balancing/traces");
    let node = settled.node.unwrap().config.to_yaml();
    assert!(!node.contains("routing/gateways"), "{node}");
}

#[test]
fn a_workload_has_gateways_of_its_own_and_keeps_its_streams() {
    let pools = "[{name: heavy, workloads: [{namespace: shop, kind: deployment, name: job}]}]";
    let (world, settled) = settled(&cluster(pools, ""));
    assert_eq!(settled.findings, vec![]);
    assert_eq!(exporter_of(&world, &settled, "job"), "load_balancing/traces.heavy");
    assert_eq!(exporter_of(&world, &settled, "pay"), "load_balancing/traces");
    // Its class is one of its own, and what it feeds is what its streams feed.
    let config = settled.pools["odigos-gateway-heavy"].config.clone();
    let connector = config.get(ComponentKind::Connector, "routing/traces").unwrap();
    let row =
        connector["table"].as_array().unwrap().iter().find(|row| !row.to_string().contains("default\\\"")).unwrap();
    assert_eq!(row["pipelines"], json!(["traces/stream.default"]));
    assert!(!config.to_yaml().contains("pool:"), "a pool is no stream");
}

#[test]
fn sampled_traces_stay_whole_unless_somebody_asks() {
    let sampling = "apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {name: s, namespace: odigos-system}\nspec: {costReductionRules: [{percentageAtMost: 10}]}\n---\n";
    let plain = "[{name: money, dataStreams: [money]}]";
    let (world, outcome) = settled(&cluster(plain, sampling));
    assert!(outcome.gateway.as_ref().unwrap().config.to_yaml().contains("tail_sampling"), "traces are sampled at all");
    assert_eq!(exporter_of(&world, &outcome, "pay"), "load_balancing/traces");
    let group = &world.groups[&("odigos-system".to_owned(), "odigos-gateway-money".to_owned())];
    assert_eq!(group.spec.pool.as_ref().unwrap().signals, [Signal::Logs, Signal::Metrics]);
    let asked = "[{name: money, dataStreams: [money], signals: [TRACES]}]";
    let (world, outcome) = settled(&cluster(asked, sampling));
    assert_eq!(exporter_of(&world, &outcome, "pay"), "load_balancing/traces.money");
    assert!(outcome.pools["odigos-gateway-money"].config.to_yaml().contains("tail_sampling"));
}

#[test]
fn what_is_wrong_is_told_and_the_rest_stays() {
    let told = |pools: &str| {
        let (found, problems) = Pools::of(&configuration(pools));
        (found.pools.into_keys().collect::<Vec<_>>(), problems.into_iter().map(|(path, _)| path).collect::<Vec<_>>())
    };
    let rows: [(&str, &[&str], &[&str]); 13] = [
        ("5", &[], &["collectorGateway.pools"]),
        ("[{name: A, dataStreams: [a]}, {name: b, dataStreams: [b]}]", &["b"], &["collectorGateway.pools[0].name"]),
        ("[{name: a, dataStreams: [a]}, {name: a, dataStreams: [b]}]", &["a"], &["collectorGateway.pools[1].name"]),
        ("[{name: a}]", &[], &["collectorGateway.pools[0].dataStreams"]),
        ("[{name: a, dataStreams: [default, x]}]", &["a"], &["collectorGateway.pools[0].dataStreams"]),
        (
            "[{name: a, dataStreams: [x]}, {name: b, dataStreams: [x, 'y']}]",
            &["a", "b"],
            &["collectorGateway.pools[1].dataStreams"],
        ),
        (
            "[{name: a, workloads: [web]}]",
            &[],
            &["collectorGateway.pools[0].workloads[0]", "collectorGateway.pools[0].dataStreams"],
        ),
        (
            "[{name: a, dataStreams: [default], maxReplica: 3, minReplicas: -1}]",
            &[],
            &[
                "collectorGateway.pools[0].maxReplica",
                "collectorGateway.pools[0].dataStreams",
                "collectorGateway.pools[0].dataStreams",
                "collectorGateway.pools[0].minReplicas",
            ],
        ),
        ("[{name: a, dataStreams: shop}]", &[], &["collectorGateway.pools[0].dataStreams"; 2]),
        (
            "[{name: a, dataStreams: [x], workloads: [{namespace: shop, kind: Deploymnt, name: web}]}]",
            &["a"],
            &["collectorGateway.pools[0].workloads[0].kind"],
        ),
        (
            "[{name: a, workloads: [{namespace: shop, kind: deployment, name: web, nmae: web}]}]",
            &["a"],
            &["collectorGateway.pools[0].workloads[0].nmae"],
        ),
        ("[{name: a, dataStreams: [x], signals: [SPANS]}]", &[], &["collectorGateway.pools[0].signals"]),
        (
            "[{name: x-otlp, dataStreams: [x]}, {name: deadbeef, dataStreams: [x]}]",
            &[],
            &["collectorGateway.pools[0].name", "collectorGateway.pools[1].name"],
        ),
    ];
    for (pools, left, paths) in rows {
        assert_eq!(
            told(pools),
            (left.iter().map(ToString::to_string).collect(), paths.iter().map(ToString::to_string).collect()),
            "{pools}"
        );
    }
    let seventeen: Vec<String> = (0..17).map(|n| format!("{{name: pool-{n:02}, dataStreams: [s{n}]}}")).collect();
    let (left, paths) = told(&format!("[{}]", seventeen.join(", ")));
    assert_eq!((left.len(), paths), (16, vec!["collectorGateway.pools[16].name".to_owned()]), "at most 16");
    let sizes = effective(
        "collectorGateway: {pools: [{name: a, dataStreams: [x], minReplicas: 4, maxReplicas: 2}]}",
        None,
        None,
        "n",
    );
    assert_eq!(sizes.findings[0].field, "collectorGateway.pools[a].minReplicas");
}

#[test]
fn message_about_a_pool_says_what_was_probably_meant() {
    let (_, problems) =
        Pools::of(&configuration("[{name: a, datastreams: [default], dataStream: [x], maxReplica: 3}]"));
    let said = |part: &str| problems.iter().any(|(_, message)| message.contains(part));
    assert!(said("did you mean maxReplicas?") && said("did you mean dataStreams?"), "{problems:?}");
    assert!(said("the stream default belongs to the main gateways"), "{problems:?}");
}

#[test]
fn what_a_pool_names_and_is_not_there_is_reported() {
    let pools = "[{name: money, dataStreams: [mony, money], workloads: [{namespace: shop, kind: Deployment, name: web}, {namespace: shop, kind: Deployment, name: wbe}]}]";
    let (_, settled) = settled(&cluster(pools, ""));
    let found: Vec<String> = settled.findings.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("collectorGateway.pools[money].dataStreams: the pool gets nothing by it: no covered workload is in the data stream mony") && found[0].contains("did you mean money?"), "{found:?}");
    assert!(
        found[1].starts_with(
            "collectorGateway.pools[money].workloads: the pool gets nothing by it: no Source covers Deployment shop/wbe"
        ),
        "{found:?}"
    );
}

/// A pool of one stream through its whole life, against the two things that tell time: what is served, and what nodes send.
#[test]
fn a_pool_comes_before_its_items_and_leaves_after_them() {
    let class = |streams: &[&str]| StreamClass {
        id: streams.join("-"),
        streams: streams.iter().map(ToString::to_string).collect(),
        retired_at: None,
    };
    let classes = [class(&["a"]), class(&["a", "b"]), class(&["a", "ns:shop"])];
    let plan =
        |pools: &str, existing: &BTreeMap<String, CollectorsGroupSpec>, routed: &[RoutedPool], now: Timestamp| {
            let configuration = configuration(pools);
            let seen = Seen {
                configuration: &configuration,
                destinations: &[],
                sampling: false,
                classes: &classes,
                existing: existing.clone(),
                routed,
                drain: SignedDuration::from_secs(120),
                now,
            };
            Pools::of(&configuration).0.plan(&seen)
        };
    let sets = |plan: &PoolPlan| {
        let streams = plan.groups["a"].stream_classes.iter().map(|class| class.streams.join(","));
        streams.collect::<BTreeSet<_>>()
    };
    let entered = plan("[{name: a, dataStreams: [a]}]", &BTreeMap::new(), &[], at(0));
    // A workload that is in b as well stays with the main gateways; the namespace goes along.
    assert_eq!(sets(&entered), ["a", "a,ns:shop"].map(str::to_owned).into());
    let id = entered.groups["a"].stream_classes[0].id.clone();
    let routed = [RoutedPool { name: "a".into(), stream_classes: vec![id.clone()] }];
    // Taken out of the configuration: retired, and kept as long as a node may send to it.
    let retired = plan("[]", &entered.groups, &routed, at(10));
    assert_eq!(retired.groups["a"].pool.as_ref().unwrap().retired_at, Some(Time(at(10))));
    assert_eq!(retired.recheck_after, Some(SignedDuration::from_secs(120)));
    let still = plan("[]", &retired.groups, &routed, at(500));
    assert_eq!((still.gone.len(), still.groups.len()), (0, 1), "a node still sends to it");
    let drains = plan("[]", &retired.groups, &[], at(100));
    assert_eq!((drains.gone.len(), drains.recheck_after), (0, Some(SignedDuration::from_secs(30))));
    let gone = plan("[]", &retired.groups, &[], at(130));
    assert_eq!((gone.gone, gone.groups.len()), (vec!["a".to_owned()], 0));
    // Back again before it left: as if it had never gone.
    assert_eq!(plan("[{name: a, dataStreams: [a]}]", &retired.groups, &routed, at(20)).groups, entered.groups);
    // The stream leaves the pool: its gateways know the class until no node sends it there.
    let moved = plan("[{name: a, dataStreams: [x]}]", &entered.groups, &routed, at(30));
    let kept = moved.groups["a"].stream_classes.iter().find(|class| class.id == id).unwrap();
    assert_eq!(kept.retired_at, None, "something still carries it there");
}
