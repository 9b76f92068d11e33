//! The node rows of `spec/collectors-and-pipelines.md` 11, on the planner alone.

use super::*;
use crate::actions::scopes::{JUDGE, REMOVE};
use crate::fixtures::{collectors_group, processor};
use odigos_api::collectors_group::CollectorsGroupStatus;
use odigos_pipeline::{ComponentKind, PipelineId};
use serde_json::Value;

struct Given {
    gateway: CollectorsGroup,
    node: Option<CollectorsGroup>,
    pools: Vec<CollectorsGroup>,
    processors: Vec<Processor>,
    actions: Vec<Action>,
    provider: CloudProvider,
    configuration: &'static str,
}

impl Given {
    fn new(signals: &[Signal], node: Value) -> Self {
        let mut gateway = collectors_group("odigos-gateway", json!({}));
        gateway.status = Some(CollectorsGroupStatus {
            receiver_signals: Some(signals.to_vec()),
            ..CollectorsGroupStatus::default()
        });
        let node = Some(collectors_group("odigos-data-collection", node));
        let (pools, processors, actions) = (vec![], vec![], vec![]);
        Self { gateway, node, pools, processors, actions, provider: CloudProvider::Unknown, configuration: "" }
    }

    fn plan(&self) -> NodePlan {
        let configuration = Configuration::parse(self.configuration).unwrap();
        let seen = Observed {
            pools: self.pools.iter().collect(),
            namespace: "odigos-system",
            gateway: Some(&self.gateway),
            group: self.node.as_ref(),
            processors: self.processors.iter().collect(),
            actions: self.actions.iter().collect(),
            set_aside: &std::collections::BTreeMap::new(),
            covered: None,
            configuration: &configuration,
            provider: self.provider,
            has_certificate: true,
            authorities: None,
            is_own_collector: true,
        };
        let plan = plan(&seen).unwrap();
        assert_eq!(plan.problems, vec![], "{}", plan.config.to_yaml());
        plan
    }
}

fn pipeline(plan: &NodePlan, signal: Signal, name: &str) -> Pipeline {
    plan.config
        .pipelines
        .get(&PipelineId::new(signal, name))
        .cloned()
        .unwrap_or_else(|| panic!("no {signal}/{name}: {:?}", plan.config.pipelines.keys()))
}

fn all_metrics() -> Value {
    json!({"metrics": {"agentsTelemetry": {}, "hostMetrics": {"interval": "10s"}, "kubeletStats": {"interval": "10s"}, "spanMetrics": {"interval": "60s"}}})
}

#[test]
fn a1_the_idle_form_takes_nothing() {
    let mut given = Given::new(&[Signal::Traces], json!({}));
    given.node = None;
    let plan = given.plan();
    let pipelines: Vec<String> = plan.config.pipelines.keys().map(ToString::to_string).collect();
    assert_eq!(pipelines, ["metrics/own-metrics-ui"]);
    assert!(plan.config.get(ComponentKind::Receiver, "otlp/in").is_none());
}

#[test]
fn a11_traces_are_balanced_by_trace() {
    let plan = Given::new(&[Signal::Traces], json!({})).plan();
    let traces = pipeline(&plan, Signal::Traces, "");
    assert_eq!(traces.receivers, ["otlp/in"]);
    assert_eq!(
        traces.processors,
        [
            "memory_limiter",
            "resource/stream-class",
            "transform/claims",
            "k8s_attributes/connection",
            "transform/senders",
            "k8s_attributes",
            "transform/workload",
            "resource/node-name"
        ]
    );
    assert_eq!(traces.exporters, ["load_balancing/traces", "count/sources"]);
    let exporter = plan.config.get(ComponentKind::Exporter, "load_balancing/traces").unwrap();
    assert_eq!(exporter["resolver"]["k8s"]["service"], "odigos-gateway.odigos-system");
    assert!(!plan.config.pipelines.contains_key(&PipelineId::new(Signal::Metrics, "")));
    assert_eq!(plan.receiver_signals, [Signal::Traces]);
}

#[test]
fn a12_a13_plain_export_when_nothing_needs_whole_traces() {
    let mut given = Given::new(&[Signal::Traces], json!({}));
    given.gateway.spec.service_graph_disabled = Some(true);
    let plan = given.plan();
    assert_eq!(
        pipeline(&plan, Signal::Traces, "").exporters,
        ["otlp_grpc/out-cluster-collector-traces", "count/sources"]
    );
    let exporter = plan.config.get(ComponentKind::Exporter, "otlp_grpc/out-cluster-collector-traces").unwrap();
    assert_eq!(exporter["endpoint"], "odigos-gateway-otlp.odigos-system:4319");
    given.gateway.spec.tail_sampling = serde_json::from_value(json!({"disabled": false})).unwrap();
    assert_eq!(pipeline(&given.plan(), Signal::Traces, "").exporters, ["load_balancing/traces", "count/sources"]);
    given.gateway.spec.resources_settings.max_replicas = Some(1);
    assert_eq!(
        pipeline(&given.plan(), Signal::Traces, "").exporters,
        ["otlp_grpc/out-cluster-collector-traces", "count/sources"]
    );
}

#[test]
fn a17_metrics_only_still_counts_spans() {
    let plan = Given::new(&[Signal::Metrics], all_metrics()).plan();
    assert_eq!(pipeline(&plan, Signal::Traces, "").exporters, ["forward/trace/spanmetrics", "count/sources"]);
    assert_eq!(plan.receiver_signals, [Signal::Metrics, Signal::Traces], "agents have to send spans");
    assert_eq!(pipeline(&plan, Signal::Metrics, "").receivers, ["otlp/in"]);
    assert_eq!(pipeline(&plan, Signal::Metrics, "read").receivers, ["kubelet_stats", "host_metrics"]);
    let span_metrics = plan.config.get(ComponentKind::Connector, "span_metrics").unwrap();
    assert_eq!(
        (&span_metrics["metrics_flush_interval"], &span_metrics["metrics_expiration"]),
        (&json!("60s"), &json!("5m"))
    );
    assert_eq!(span_metrics["histogram"]["explicit"]["buckets"].as_array().unwrap().len(), 16);
    assert_eq!(
        pipeline(&plan, Signal::Metrics, "spanmetrics-exporting").exporters,
        ["otlp_grpc/out-cluster-collector-metrics"]
    );
}

#[test]
fn a18_late_processors_run_behind_span_metrics() {
    let mut given = Given::new(&[Signal::Metrics], all_metrics());
    let mut late = processor("late", 20);
    late.spec.collector_roles = vec![CollectorRole::NodeCollector];
    given.processors.push(late);
    let plan = given.plan();
    assert_eq!(
        pipeline(&plan, Signal::Traces, "").exporters,
        ["forward/trace/spanmetrics", "forward/traces-exporting", "count/sources"]
    );
    let exporting = pipeline(&plan, Signal::Traces, "exporting");
    assert_eq!((exporting.processors, exporting.exporters), (vec!["resource/late".to_owned()], vec!["nop".to_owned()]));
    assert!(pipeline(&plan, Signal::Metrics, "").processors.contains(&"resource/late".to_owned()));
}

/// What Kubernetes knows is read on nodes; paths become templates there where spans are measured, and in gateways elsewhere.
#[test]
fn actions_of_nodes_run_before_spans_are_measured() {
    let action = |name: &str, kind: Value| {
        let mut spec = json!({"signals": ["TRACES", "LOGS"]});
        spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        Action::new(name, serde_json::from_value(spec).unwrap())
    };
    let pods = action("pods", json!({"k8sAttributes": {"collectContainerAttributes": true}}));
    let app =
        action("app", json!({"k8sAttributes": {"labelsAttributes": [{"labelKey": "app", "attributeKey": "app"}]}}));
    let mut paths = action("paths", json!({"urlTemplatization": {"default": [{}]}}));
    paths.spec.signals = vec![Signal::Traces];
    let (joint, template) = ("k8s_attributes/actions/k8s-attributes", "transform/actions/url-templatization");
    let of = |node: Value, actions: Vec<Action>| {
        let mut given = Given::new(&[Signal::Traces, Signal::Metrics, Signal::Logs], node);
        given.actions = actions;
        given.plan()
    };
    let plan = of(all_metrics(), vec![pods.clone(), app.clone(), paths.clone()]);
    let traces = pipeline(&plan, Signal::Traces, "");
    let own: Vec<&str> = traces.processors.iter().rev().take(2).rev().map(String::as_str).collect();
    assert_eq!(own, [joint, template], "behind what tells whose an item is, in the order of hints");
    assert!(traces.exporters.contains(&"forward/trace/spanmetrics".to_owned()));
    for name in ["", "read"] {
        assert!(pipeline(&plan, Signal::Logs, name).processors.contains(&joint.to_owned()));
    }
    assert!(
        !pipeline(&plan, Signal::Metrics, "").processors.contains(&joint.to_owned()),
        "signals of the Actions alone"
    );
    let settings = |plan: &NodePlan| plan.config.get(ComponentKind::Processor, joint).cloned();
    let both = settings(&plan).unwrap();
    assert_eq!(
        (both["extract"]["metadata"].as_array().unwrap().len(), both["extract"]["labels"][0]["key"].clone()),
        (5, json!("app")),
        "row 28"
    );
    let reasons: Vec<&str> = plan.actions["pods"].iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["ProcessorCreated", "ConfigUpdated"]);
    assert!(plan.actions["paths"][1].message.contains("node collector"), "{:?}", plan.actions["paths"]);

    let mut off = pods.clone();
    off.spec.disabled = Some(true);
    let one = settings(&of(all_metrics(), vec![off, app])).unwrap();
    assert_eq!(one["extract"]["metadata"], json!(["k8s.pod.name"]), "row 28");
    let none = of(json!({}), vec![paths.clone()]);
    assert_eq!((settings(&none), none.actions.len()), (None, 0), "row 28; and gateways run the other");
    assert!(none.config.get(ComponentKind::Processor, template).is_none());
    let mut limited = paths;
    limited.spec.data_streams = Some(vec!["s1".into()]);
    assert!(
        of(all_metrics(), vec![limited]).actions.is_empty(),
        "gateways distinguish streams, node collectors do not"
    );
}

/// Section 7: metrics are computed from spans as they leave gateways, masked and renamed, and not from what an Action hides.
#[test]
fn span_metrics_see_what_gateways_leave_of_spans() {
    let action = |name: &str, streams: &[&str], kind: Value| {
        let mut spec = json!({"signals": ["TRACES"]});
        spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        if !streams.is_empty() {
            spec["dataStreams"] = json!(streams);
        }
        Action::new(name, serde_json::from_value(spec).unwrap())
    };
    let emails = || json!({"piiCategories": ["EMAIL"], "scopes": {"namespaces": ["shop"]}});
    let mask = action("mask", &[], json!({"failurePolicy": "drop", "piiMasking": emails()}));
    let queries = action("db", &[], json!({"dbQueryTemplatization": {"templatizeLiterals": true}}));
    let deletion = action("del", &[], json!({"deleteAttribute": {"attributeNamesToDelete": ["user.id"]}}));
    let mut of_metrics = deletion.clone();
    of_metrics.metadata.name = Some("metrics-too".into());
    of_metrics.spec.signals.push(Signal::Metrics);
    let cluster = json!({"clusterAttributes": [{"attributeName": "c", "attributeStringValue": "v"}]});
    let cluster = action("cluster", &[], json!({"addClusterInfo": cluster}));
    let of = |metrics: Value, actions: Vec<Action>| {
        let mut given = Given::new(&[Signal::Traces, Signal::Metrics], metrics);
        given.gateway.spec.stream_classes = vec![odigos_api::collectors_group::StreamClass {
            id: "c1".into(),
            streams: vec!["audit".into()],
            retired_at: None,
        }];
        given.actions = actions;
        given.plan()
    };
    let all = vec![mask.clone(), queries, deletion, of_metrics, cluster];
    let plan = of(all_metrics(), all.clone());
    let measured = pipeline(&plan, Signal::Traces, "spanmetrics").processors;
    let expected = [
        "transform/action/del",
        "transform/action/db",
        "transform/action/mask",
        REMOVE,
        "transform/copy-scope-span-metrics",
        "resource/spanmetrics/remove-dimensions",
    ];
    assert_eq!(measured, expected, "what gateways do to metrics, and what hides nothing, is done there alone");
    let traces = pipeline(&plan, Signal::Traces, "").processors;
    assert_eq!(traces.last().map(String::as_str), Some(JUDGE), "scopes are judged before what users have");
    assert!(
        !traces.iter().any(|id| id.starts_with("transform/action/")),
        "spans are changed once, in gateways: {traces:?}"
    );
    assert!(plan.components["transform/action/mask"].0.contains("mask"), "what does not start is the Action's");
    assert!(plan.actions.is_empty(), "conditions are those of gateways");

    // While it cannot be carried out, its spans are not measured either.
    let mut broken = mask.clone();
    broken.spec.pii_masking = serde_json::from_value(json!({"customRegexMaskings": [{"regex": "no group"}]})).unwrap();
    let plan = of(all_metrics(), vec![broken]);
    assert_eq!(pipeline(&plan, Signal::Traces, "spanmetrics").processors[0], "filter/action/mask");

    // A mask for some streams masks what is measured of the workloads in them; other kinds cannot be told apart here.
    let audit = action("audit", &["audit"], json!({"piiMasking": emails()}));
    let rename = action("ren", &["audit"], json!({"renameAttribute": {"renames": {"a": "b"}}}));
    let plan = of(all_metrics(), vec![audit.clone(), rename.clone()]);
    assert_eq!(pipeline(&plan, Signal::Traces, "spanmetrics").processors[..2], ["transform/action/audit", REMOVE]);
    let settings = plan.config.get(ComponentKind::Processor, "transform/action/audit").unwrap();
    let condition = settings["trace_statements"][0]["conditions"][0].as_str().unwrap();
    assert!(condition.starts_with(r#"resource.attributes["odigos.stream.class"] == "c1""#), "{condition}");
    let known = crate::actions::report::known([&audit, &rename], &BTreeMap::new(), None, None, true);
    let said = |one: usize| known[one].conditions(None)[0].message.clone();
    assert!(said(0).contains("and of the node collectors for the metrics"), "{}", said(0));
    assert!(said(1).contains("metrics that node collectors compute from spans do not see it"), "{}", said(1));

    // The connector passes over spans without the name of a service.
    let nameless = action("ren", &[], json!({"renameAttribute": {"renames": {"service.name": "app"}}}));
    let measured = pipeline(&of(all_metrics(), vec![nameless]), Signal::Traces, "spanmetrics").processors;
    assert_eq!(measured[0], "transform/spanmetrics/keep-service");
    assert!(measured.contains(&"transform/spanmetrics/restore-service".to_owned()), "{measured:?}");

    let plan = of(json!({}), all);
    assert!(!plan.config.to_yaml().contains("transform/action/"), "where nothing is measured, gateways do it alone");
}

#[test]
fn a19_agents_only() {
    let plan = Given::new(&[Signal::Metrics], json!({"metrics": {"agentsTelemetry": {}}})).plan();
    assert_eq!(pipeline(&plan, Signal::Metrics, "").receivers, ["otlp/in"]);
    assert!(!plan.config.pipelines.contains_key(&PipelineId::new(Signal::Traces, "")));
}

#[test]
fn a22_logs_are_read_through_links_only() {
    let plan = Given::new(&[Signal::Logs], json!({})).plan();
    let receiver = plan.config.get(ComponentKind::Receiver, "file_log").unwrap();
    assert_eq!(receiver["include"], json!(["/var/odigos/logs/*/*/*.log"]));
    let exclude = receiver["exclude"].to_string();
    assert!(exclude.contains("kube-system_") && exclude.contains("odigos-system_"));
    assert_eq!(receiver["storage"], "file_storage/offsets");
    assert_eq!(pipeline(&plan, Signal::Logs, "read").receivers, ["file_log"]);
    assert_eq!(pipeline(&plan, Signal::Logs, "").receivers, ["otlp/in"]);
}

#[test]
fn a23_detectors_run_at_home_only() {
    let detectors = json!({"resourceDetectors": {"ec2": {"enabled": true}, "eks": {"enabled": false}, "azure": {"enabled": true}, "aks": {"enabled": true}, "gcp": {"enabled": true}}});
    let of = |provider| {
        let mut given = Given::new(&[Signal::Traces], detectors.clone());
        given.provider = provider;
        given
            .plan()
            .config
            .get(ComponentKind::Processor, "resource_detection")
            .map(|settings| settings["detectors"].clone())
    };
    assert_eq!(of(CloudProvider::from_provider_id("gce://p/z/i")), Some(json!(["gcp"])));
    assert_eq!(of(CloudProvider::from_provider_id("aws:///z/i")), Some(json!(["ec2"])));
    assert_eq!(of(CloudProvider::Unknown), Some(json!(["ec2", "azure", "aks"])));
    assert_eq!(of(CloudProvider::from_provider_id("kind://x")), None);
}

#[test]
fn a46_own_metrics_are_pushed_to_the_gateway() {
    let plan = Given::new(&[], json!({"metrics": {"odigosOwnMetrics": {"interval": "10s"}}})).plan();
    let reader = &plan.config.telemetry["metrics"]["readers"][1]["periodic"];
    assert_eq!(reader["interval"], 10_000);
    assert_eq!(reader["exporter"]["otlp"]["endpoint"], "http://odigos-gateway.odigos-system:44318");
    let agent = pipeline(&plan, Signal::Metrics, "odiglet-metrics");
    assert_eq!(agent.receivers, ["prometheus/odiglet-metrics"]);
    assert_eq!(agent.exporters, ["otlp_http/odiglet-metrics-out"]);
    assert_eq!(
        plan.config.get(ComponentKind::Exporter, "otlp_http/odiglet-metrics-out").unwrap()["endpoint"],
        "http://odigos-gateway.odigos-system:44318"
    );
    // Nobody takes metrics of applications, so the kubelet is asked for our own containers only.
    assert!(!plan.config.pipelines.contains_key(&PipelineId::new(Signal::Metrics, "")));
    let kubelet = pipeline(&plan, Signal::Metrics, "own-kubelet");
    assert_eq!((kubelet.receivers, kubelet.exporters), (vec!["kubelet_stats".to_owned()], agent.exporters));
    let ids = plan.config.section(ComponentKind::Processor).map(|(id, _)| id.clone());
    assert!(
        ids.filter(|id| id.contains('/')).all(|id| crate::processors::is_own(&id)),
        "users cannot have these names"
    );
    let filter = plan.config.get(ComponentKind::Processor, "filter/own-kubelet").unwrap();
    assert_eq!(
        filter["metrics"]["metric"],
        json!([
            r#"metric.name != "container.cpu.usage" and metric.name != "container.memory.usage""#,
            r#"resource.attributes["k8s.namespace.name"] != "odigos-system""#,
            r#"resource.attributes["k8s.container.name"] != "odiglet" and resource.attributes["k8s.container.name"] != "data-collection" and resource.attributes["k8s.container.name"] != "gateway""#,
        ])
    );
}

#[test]
fn a46_the_kubelet_is_asked_once_for_users_and_for_ourselves() {
    let metrics = json!({"metrics": {"kubeletStats": {"interval": "30s"}, "odigosOwnMetrics": {"interval": "10s"}}});
    let plan = Given::new(&[Signal::Metrics], metrics).plan();
    assert_eq!(pipeline(&plan, Signal::Metrics, "read").receivers, ["kubelet_stats"]);
    assert_eq!(pipeline(&plan, Signal::Metrics, "own-kubelet").receivers, ["kubelet_stats"]);
    let receiver = plan.config.get(ComponentKind::Receiver, "kubelet_stats").unwrap();
    assert_eq!(receiver["collection_interval"], "30s");
}

#[test]
fn a49_the_class_of_an_application_is_removed_before_the_pods_is_read() {
    let plan = Given::new(&[Signal::Traces, Signal::Metrics, Signal::Logs], all_metrics()).plan();
    for signal in Signal::PIPELINES {
        let processors = pipeline(&plan, signal, "").processors;
        let at = |id: &str| processors.iter().position(|one| one == id).unwrap();
        assert_eq!(at("memory_limiter"), 0);
        assert!(at("resource/stream-class") < at("k8s_attributes"), "{signal}");
    }
}

#[test]
fn what_the_node_reads_is_apart_from_what_anybody_sends() {
    let sent = ["otlp/in"];
    for metrics in [all_metrics(), json!({"metrics": {"agentsTelemetry": {}, "kubeletStats": {"interval": "10s"}}})] {
        let plan = Given::new(&[Signal::Traces, Signal::Metrics, Signal::Logs], metrics).plan();
        let of_pods =
            plan.config.pipelines.iter().filter(|(_, one)| one.processors.iter().any(|id| id == "k8s_attributes"));
        for (id, one) in of_pods {
            let judges = ["transform/claims", "k8s_attributes/connection", "transform/senders"];
            let is_judged = judges.iter().all(|judge| one.processors.iter().any(|id| id == judge));
            let is_sent = one.receivers.iter().any(|id| sent.contains(&id.as_str()));
            assert_eq!(is_judged, is_sent, "{id}: {one:?}");
            assert!(!is_sent || one.receivers == sent, "{id}: {one:?}");
        }
    }
}

#[test]
fn rendered_components_are_all_in_the_release_table() {
    let plan = Given::new(&[Signal::Traces, Signal::Metrics, Signal::Logs], all_metrics()).plan();
    for kind in ComponentKind::ALL {
        for (id, _) in plan.config.section(kind) {
            let is_own = odigos_pipeline::components::OWN_EXTENSIONS.contains(&id.as_str());
            assert!(is_own || odigos_pipeline::components::find(kind, id).is_some(), "{id}");
        }
    }
}

#[test]
fn a_pool_gets_what_its_gateways_serve_and_no_more() {
    let all = [Signal::Traces, Signal::Metrics, Signal::Logs];
    let classes = json!([{"id": "c1", "streams": ["a"]}, {"id": "c2", "streams": ["b"]}, {"id": "c3", "streams": ["c"], "retiredAt": "2026-01-01T00:00:00Z"}]);
    let pool = |served: &[&str], overlay: Value| {
        let mut stated = json!({"name": "p", "signals": ["LOGS", "TRACES"]});
        stated.as_object_mut().unwrap().extend(overlay.as_object().unwrap().clone());
        let mut group = collectors_group("odigos-gateway-p", json!({"pool": stated, "streamClasses": classes}));
        let served = served.iter().map(ToString::to_string).collect();
        group.status =
            Some(CollectorsGroupStatus { served_stream_classes: served, ..CollectorsGroupStatus::default() });
        group
    };
    let connector = |plan: &NodePlan, signal: &str| {
        let found = plan.config.get(ComponentKind::Connector, &format!("routing/gateways-{signal}"));
        found.map(|one| one["table"].as_array().unwrap().len())
    };
    let mut given = Given::new(&all, all_metrics());
    let rows: [(&[&str], Value, Option<usize>); 5] = [
        (&[], json!({}), None),
        (&["c1"], json!({}), Some(1)),
        (&["c1", "c2", "c3"], json!({}), Some(2)),
        (&["c4"], json!({}), None),
        (&["c1"], json!({"retiredAt": "2026-01-01T00:00:00Z"}), None),
    ];
    for (served, overlay, expected) in rows {
        given.pools = vec![pool(served, overlay)];
        let plan = given.plan();
        let found = ["traces", "logs", "metrics"].map(|signal| connector(&plan, signal));
        assert_eq!(found, [expected, expected, None], "{served:?}");
        assert_eq!(plan.pools.len(), usize::from(expected.is_some()));
    }
    // What no row names goes where it always went.
    given.pools = vec![pool(&["c1"], json!({}))];
    let plan = given.plan();
    assert_eq!(pipeline(&plan, Signal::Logs, "").exporters, ["routing/gateways-logs", "count/sources"]);
    assert_eq!(pipeline(&plan, Signal::Logs, "gateway").exporters, ["otlp_grpc/out-cluster-collector-logs"]);
    assert_eq!(pipeline(&plan, Signal::Logs, "gateway.p").exporters, ["otlp_grpc/out-cluster-collector-logs.p"]);
    // A node that takes no traces has no way for them either.
    let mut given = Given::new(&[Signal::Logs], json!({}));
    given.pools = vec![pool(&["c1"], json!({}))];
    let plan = given.plan();
    assert_eq!((connector(&plan, "traces"), connector(&plan, "logs")), (None, Some(1)));
}

#[test]
fn without_an_agent_on_the_node_the_output_of_containers_is_not_read_and_that_is_said() {
    let metrics = json!({"metrics": {"odigosOwnMetrics": {"interval": "10s"}}});
    let mut given = Given::new(&[Signal::Traces, Signal::Logs], metrics);
    let plan = given.plan();
    assert_eq!(pipeline(&plan, Signal::Logs, "read").receivers, ["file_log"]);
    assert_eq!(pipeline(&plan, Signal::Logs, "").receivers, ["otlp/in"]);
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    given.configuration = "runtimeDetection: {mode: pod}";
    let plan = given.plan();
    assert_eq!(pipeline(&plan, Signal::Logs, "").receivers, ["otlp/in"], "logs that agents send are taken");
    assert_eq!(plan.receiver_signals, [Signal::Logs, Signal::Traces]);
    assert!(plan.config.get(ComponentKind::Receiver, "file_log").is_none());
    assert!(plan.config.get(ComponentKind::Extension, receivers::FILE_STORAGE).is_none());
    let told: Vec<&str> = plan.findings.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(told, [NO_CONTAINER_LOGS]);
    assert!(plan.config.get(ComponentKind::Receiver, "prometheus/odiglet-metrics").is_none(), "nobody is there to ask");
    assert!(plan.config.pipelines.contains_key(&PipelineId::new(Signal::Metrics, "own-kubelet")));
}

#[test]
fn what_each_source_sends_is_counted() {
    let plan = Given::new(&[Signal::Traces, Signal::Metrics, Signal::Logs], all_metrics()).plan();
    for signal in Signal::PIPELINES {
        assert!(pipeline(&plan, signal, "").exporters.contains(&"count/sources".to_owned()), "{signal}");
    }
    for signal in [Signal::Metrics, Signal::Logs] {
        assert!(pipeline(&plan, signal, "read").exporters.contains(&"count/sources".to_owned()), "{signal}");
    }
    // What the node makes of spans, and what the product says of itself, is nothing that a source has sent.
    let counted = plan.config.pipelines.iter().filter(|(_, one)| one.exporters.iter().any(|id| id == "count/sources"));
    assert_eq!(counted.count(), 5);
    let connector = plan.config.get(ComponentKind::Connector, "count/sources").unwrap();
    let labels = &connector["spans"]["odigos.source.spans"]["attributes"];
    assert_eq!(
        labels,
        &json!([{"key": "k8s.namespace.name"}, {"key": "odigos.workload.kind"}, {"key": "odigos.workload.name"}])
    );
    let totals = pipeline(&plan, Signal::Metrics, "sources");
    assert_eq!((totals.receivers, totals.exporters), (vec!["count/sources".into()], vec!["prometheus/sources".into()]));
    let exporter = plan.config.get(ComponentKind::Exporter, "prometheus/sources").unwrap();
    assert_eq!(exporter["endpoint"], "127.0.0.1:55683");
}

#[test]
fn signal_that_nothing_needs_is_accepted_and_dropped() {
    let plan = Given::new(&[Signal::Traces], json!({})).plan();
    assert_eq!(plan.receiver_signals, [Signal::Traces]);
    for signal in [Signal::Metrics, Signal::Logs] {
        let void = pipeline(&plan, signal, "void");
        assert_eq!((void.receivers, void.exporters), (vec!["otlp/in".to_owned()], vec!["nop".to_owned()]));
    }
    // Metrics of hosts alone are no reason for applications to send any.
    let hosts = json!({"metrics": {"hostMetrics": {"interval": "10s"}}});
    let plan = Given::new(&[Signal::Metrics], hosts).plan();
    assert_eq!(plan.receiver_signals, []);
    assert_eq!(pipeline(&plan, Signal::Metrics, "read").receivers, ["host_metrics"]);
    assert_eq!(pipeline(&plan, Signal::Metrics, "void").receivers, ["otlp/in"]);
}

#[test]
fn span_metrics_are_kept_apart_by_stream_class_whatever_is_configured() {
    let keys = |settings: Value| {
        let plan = Given::new(&[Signal::Metrics], json!({"metrics": {"spanMetrics": settings}})).plan();
        let connector = plan.config.get(ComponentKind::Connector, "span_metrics").unwrap().clone();
        let removed = plan.config.get(ComponentKind::Processor, "resource/spanmetrics/remove-dimensions").unwrap();
        assert!(!removed.to_string().contains("odigos.stream.class"), "{removed}");
        connector["resource_metrics_key_attributes"].clone()
    };
    let default =
        ["service.name", "k8s.namespace.name", "k8s.pod.name", "telemetry.sdk.language", "odigos.stream.class"];
    assert_eq!(keys(json!({})), json!(default));
    assert_eq!(
        keys(json!({
            "resourceMetricsKeyAttributes": ["service.name"], "excludedResourceAttributes": ["odigos.stream.class", "x"],
        })),
        json!(["service.name", "odigos.stream.class"])
    );
}

#[test]
fn metrics_of_no_workload_carry_their_class_once_gateways_know_it() {
    let mut node = all_metrics();
    node["unownedStreamClass"] = json!("c1");
    let mut given = Given::new(&[Signal::Metrics], node.clone());
    let scraped = |given: &Given| {
        let plan = given.plan();
        let scraped = pipeline(&plan, Signal::Metrics, "read");
        assert_eq!(pipeline(&plan, Signal::Metrics, "").receivers, ["otlp/in"]);
        (scraped.receivers, scraped.processors.last().cloned().unwrap(), plan.unowned_class)
    };
    let both = vec!["kubelet_stats".to_owned(), "host_metrics".to_owned()];
    let kubelet = vec!["kubelet_stats".to_owned()];
    let dropping = || (kubelet.clone(), "filter/unowned".to_owned(), None);
    assert_eq!(scraped(&given), dropping(), "no gateway knows the class: nothing may reach another stream");
    given.gateway.status.as_mut().unwrap().served_stream_classes = vec!["c1".into()];
    assert_eq!(scraped(&given), (both, "resource/unowned".to_owned(), Some("c1".into())));
    let plan = given.plan();
    let stamp = plan.config.get(ComponentKind::Processor, "resource/unowned").unwrap();
    assert_eq!(stamp["attributes"], json!([{"key": "odigos.stream.class", "action": "insert", "value": "c1"}]));
    // No Destination takes them: pods of workloads are still measured.
    node["unownedStreamClass"] = json!("void");
    assert_eq!(scraped(&Given::new(&[Signal::Metrics], node)), dropping());
}

#[test]
fn processor_of_a_stream_on_the_node_is_in_its_pipelines_by_the_class_of_items() {
    let transform = |streams: &[&str]| -> Processor {
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "t", "namespace": "odigos-system"},
            "spec": {
                "type": "transform", "signals": ["TRACES"], "collectorRoles": ["NODE_COLLECTOR"], "dataStreams": streams,
                "processorConfig": {"trace_statements": ["set(span.name, \"x\")"]},
            },
        }))
        .unwrap()
    };
    let mut given = Given::new(&[Signal::Traces], json!({}));
    given.gateway.spec.stream_classes =
        serde_json::from_value(json!([{"id": "c1", "streams": ["a"]}, {"id": "c2", "streams": ["a", "b"]}])).unwrap();
    given.processors = vec![transform(&["a"])];
    let plan = given.plan();
    assert!(pipeline(&plan, Signal::Traces, "").processors.contains(&"transform/t".to_owned()));
    let settings = plan.config.get(ComponentKind::Processor, "transform/t").unwrap();
    let condition =
        r#"resource.attributes["odigos.stream.class"] == "c1" or resource.attributes["odigos.stream.class"] == "c2""#;
    assert_eq!(settings["trace_statements"][0]["conditions"], json!([condition]));
    let told = &plan.processors["t"];
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "ConfigUpdated_NodeCollector"));
    assert!(told.message.contains("so b see its effect too"), "{}", told.message);
    // No workload is in the stream: the condition says so instead of the opposite.
    given.processors = vec![transform(&["unused"])];
    let plan = given.plan();
    assert!(plan.config.get(ComponentKind::Processor, "transform/t").is_none());
    assert_eq!(
        (plan.processors["t"].status.as_str(), plan.processors["t"].reason.as_str()),
        ("False", "NotInPipeline")
    );
    // One that takes no condition runs in the gateway, which reports on it.
    let mut moved = transform(&["a"]);
    moved.spec.type_ = "filter".into();
    given.processors = vec![moved];
    assert!(given.plan().processors.is_empty());
    let mut refused = transform(&["a"]);
    refused.spec.type_ = "k8s_attributes".into();
    given.processors = vec![refused];
    assert_eq!(given.plan().processors["t"].reason, "TypeNotAllowed");
    given.configuration = "processors: {additionalTypes: [k8s_attributes]}";
    let plan = given.plan();
    assert_eq!(plan.processors["t"].reason, "InvalidConfig");
    assert!(plan.findings.iter().any(|finding| finding.field == "spec.dataStreams"));
}

#[test]
fn gateways_are_reached_with_a_certificate_once_all_of_them_expect_one() {
    let given = Given::new(&[Signal::Traces, Signal::Logs], json!({}));
    let configuration = Configuration::default();
    let none = std::collections::BTreeMap::new();
    let seen = |has_certificate: bool| Observed {
        pools: vec![],
        namespace: "odigos-system",
        gateway: Some(&given.gateway),
        group: given.node.as_ref(),
        processors: vec![],
        actions: vec![],
        set_aside: &none,
        covered: None,
        configuration: &configuration,
        provider: CloudProvider::Unknown,
        has_certificate,
        authorities: Some("abc"),
        is_own_collector: true,
    };
    for has_certificate in [true, false] {
        let seen = seen(has_certificate);
        let plan = plan(&seen).unwrap();
        let balanced = plan.config.get(ComponentKind::Exporter, "load_balancing/traces").unwrap();
        let logs = plan.config.get(ComponentKind::Exporter, "otlp_grpc/out-cluster-collector-logs").unwrap();
        for tls in [&balanced["protocol"]["otlp"]["tls"], &logs["tls"]] {
            let name = if has_certificate { json!("gateway.odigos.internal") } else { json!(null) };
            assert_eq!(tls["server_name_override"], name, "one name for all pods");
            assert_eq!(tls.get("insecure").is_some(), !has_certificate);
        }
        let port = if has_certificate { 4319 } else { 4317 };
        assert_eq!(balanced["resolver"]["k8s"]["ports"], json!([port]));
        let objects = objects::desired(&seen, &plan, &crate::gateway::objects::Installation::default());
        let daemon_set = &objects.iter().find(|one| one.object["kind"] == "DaemonSet").unwrap().object;
        let template = &daemon_set["spec"]["template"];
        let now = jiff::Timestamp::UNIX_EPOCH;
        let is_used = crate::mutual_tls::change_over::is_used_by_nodes(Some(daemon_set), &[json!({})], now);
        assert_eq!(is_used, has_certificate);
        assert_eq!(
            template["metadata"].get("annotations").is_some(),
            has_certificate,
            "a new authority takes new pods"
        );
        let names: Vec<&str> = template["spec"]["containers"][0]["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["name"].as_str().unwrap())
            .collect();
        let reader = &plan.config.telemetry["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
        let (expected, host): (&[&str], _) = match has_certificate {
            true => (&["otlp", "otlphttp", "metrics-tls"], "127.0.0.1"),
            false => (&["otlp", "otlphttp", "metrics", "source-metrics"], "0.0.0.0"),
        };
        assert_eq!((names.as_slice(), &reader["host"]), (expected, &json!(host)), "plain until it has a certificate");
    }
}

/// What a Processor could be made to read of the machine: figures, and nothing else.
#[test]
fn root_of_the_machine_is_not_mounted_for_host_metrics() {
    let mut given = Given::new(&[Signal::Metrics], json!({"metrics": {"hostMetrics": {"interval": "10s"}}}));
    let pod = |given: &Given| {
        let configuration = Configuration::parse(given.configuration).unwrap();
        let none = std::collections::BTreeMap::new();
        let seen = Observed {
            pools: vec![],
            namespace: "odigos-system",
            gateway: Some(&given.gateway),
            group: given.node.as_ref(),
            processors: vec![],
            actions: vec![],
            set_aside: &none,
            covered: None,
            configuration: &configuration,
            provider: given.provider,
            has_certificate: true,
            authorities: Some("abc"),
            is_own_collector: true,
        };
        let plan = plan(&seen).unwrap();
        let objects = objects::desired(&seen, &plan, &crate::gateway::objects::Installation::default());
        let daemon_set = objects.into_iter().find(|one| one.object["kind"] == "DaemonSet").unwrap().object;
        daemon_set.pointer("/spec/template/spec").unwrap().clone()
    };
    let paths = |pod: &Value| -> Vec<String> {
        let volumes = pod["volumes"].as_array().unwrap().iter();
        volumes.filter_map(|one| one.pointer("/hostPath/path")?.as_str().map(str::to_owned)).collect()
    };
    let plain = pod(&given);
    assert_eq!(paths(&plain), ["/proc", "/sys"]);
    assert_eq!(plain["containers"][0]["securityContext"]["capabilities"]["add"], Value::Null);
    // What waits is sent before the pod goes; it has the usual 30 seconds for all of it.
    let drain = &plain["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
    assert_eq!((&drain[1], &drain[4]), (&json!("drain"), &json!("-most=20s")), "{drain}");
    assert_eq!(plain["terminationGracePeriodSeconds"], Value::Null);
    given.configuration = "metricsSources: {hostMetrics: {filesystem: true, mountPoints: [/data, /]}}";
    let named = pod(&given);
    assert_eq!(paths(&named), ["/proc", "/sys", "/data"]);
    let mounts = named["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
}
