//! Where samplers stand: rows A14–A16 of `spec/collectors-and-pipelines.md` 11 in our form, and `spec/sampling.md` 9.7–11.

use super::sampling::Rules;
use super::*;
use crate::fixtures::{collectors_group, destination_with, processor};
use crate::sampling::accept;
use crate::sampling::report::Mode;
use odigos_api::data_stream::SamplingView;
use odigos_pipeline::PipelineId;
use serde_json::Value;

struct Given {
    group: CollectorsGroup,
    destinations: Vec<Destination>,
    processors: Vec<Processor>,
    configuration: Configuration,
    rules: Rules,
}

/// Destinations of the streams a, b and default, each with its own, and one shared by a and b.
fn given(samplings: &[Value]) -> Given {
    let of = |name: &str, streams: &[&str]| {
        destination_with(
            name,
            "otlp",
            &["TRACES"],
            json!({"OTLP_GRPC_ENDPOINT": "c:1"}),
            json!({"dataStreams": streams}),
        )
    };
    let objects: Vec<odigos_api::sampling::Sampling> = samplings
        .iter()
        .enumerate()
        .map(|(n, spec)| {
            let metadata = json!({"name": format!("s{n}"), "namespace": "odigos-system"});
            let object =
                json!({"apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": metadata, "spec": spec});
            serde_json::from_value(object).unwrap()
        })
        .collect();
    let sets = [&["a"][..], &["b"], &["a", "b"]];
    let classes = sets.iter().map(|set| {
        let streams: streams::StreamSet = set.iter().map(ToString::to_string).collect();
        json!({"id": streams::class_id(&streams), "streams": streams})
    });
    let classes: Vec<Value> = classes.collect();
    Given {
        group: collectors_group(
            "odigos-gateway",
            json!({"streamClasses": classes, "tailSampling": {"disabled": false, "traceAggregationWaitDuration": "30s"}}),
        ),
        destinations: vec![of("da", &["a"]), of("db", &["b"]), of("shared", &["a", "b"]), of("dd", &["default"])],
        processors: vec![],
        configuration: Configuration::default(),
        rules: Rules { accepted: accept(&objects), views: BTreeMap::new(), covered: None },
    }
}

impl Given {
    fn plan(&self) -> GatewayPlan {
        let seen = Observed {
            namespace: "odigos-system",
            group: &self.group,
            destinations: self.destinations.iter().collect(),
            processors: self.processors.iter().collect(),
            actions: Vec::new(),
            secrets: &BTreeMap::new(),
            marks: &BTreeMap::new(),
            configuration: &self.configuration,
            rules: &self.rules,
            set_aside: &BTreeMap::new(),
            senders: crate::gateway::Senders::default(),
            is_own_collector: true,
            is_name_taken: false,
        };
        let plan = plan(&seen);
        assert_eq!(plan.problems, vec![], "{}", plan.config.to_yaml());
        plan
    }
}

fn pipeline<'a>(plan: &'a GatewayPlan, name: &str) -> &'a Pipeline {
    plan.config.pipelines.get(&PipelineId::new(Signal::Traces, name)).unwrap_or_else(|| {
        panic!("{name} of {:?}", plan.config.pipelines.keys().map(ToString::to_string).collect::<Vec<_>>())
    })
}

fn samplers(plan: &GatewayPlan) -> Vec<String> {
    let all: Vec<String> = plan.config.section(ComponentKind::Processor).map(|(id, _)| id.clone()).collect();
    let ours = |id: &&String| id.starts_with("tail_sampling/") || id.starts_with("transform/");
    assert!(all.iter().filter(ours).all(|id| crate::processors::is_own(id)), "users cannot have these names: {all:?}");
    all.into_iter().filter(|id| id.starts_with("tail_sampling")).collect()
}

fn cap(percentage: u32) -> Value {
    json!({"costReductionRules": [{"percentageAtMost": percentage}]})
}

fn cap_of(percentage: u32, streams: &[&str]) -> Value {
    json!({"costReductionRules": [{"percentageAtMost": percentage}], "dataStreams": streams})
}

/// What a stream's own Processor leaves is what its rules see, so that stream has a sampler of its own, which is said.
#[test]
fn processor_of_one_stream_that_splits_sampling_is_reported() {
    let told = |streams: Value, hint: i32| {
        let mut given = given(&[json!({"costReductionRules": [{"percentageAtMost": 10}]})]);
        let mut one = processor("mask", hint);
        one.spec.data_streams = serde_json::from_value(streams).unwrap();
        given.processors = vec![one];
        let plan = given.plan();
        let found = plan.findings.iter().filter(|one| one.message.contains("are sampled apart"));
        let found: Vec<String> = found.map(ToString::to_string).collect();
        let split = plan.config.to_yaml().contains("tail_sampling/stream");
        assert_eq!(!found.is_empty(), split, "{found:?}");
        assert_eq!(plan.processors["mask"].message.contains("are sampled apart"), split);
        found
    };
    let found = told(json!(["a"]), 0);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("Processor/odigos-system/mask spec.dataStreams") && found[0].contains("data streams a are")
    );
    assert_eq!(told(json!(["a"]), 10), [] as [&str; 0], "it runs behind sampling");
    assert_eq!(told(Value::Null, 0), [] as [&str; 0], "it runs before the one sampler of all streams");
}

#[test]
fn a14_global_rules_stand_before_the_router_and_after_the_service_graph() {
    let mut given = given(&[cap(10)]);
    given.processors = vec![processor("late", 12), processor("early", 0)];
    let plan = given.plan();
    assert_eq!(plan.sampling, Mode::Sampling);
    assert_eq!(pipeline(&plan, "in").processors, ["memory_limiter", "resource/odigos-version", "resource/early"]);
    assert_eq!(pipeline(&plan, "in").exporters, ["forward/sampling", "servicegraph"]);
    let sampled = pipeline(&plan, "sampled");
    assert_eq!(sampled.processors, ["tail_sampling", "transform/sampling-attributes", "resource/late"]);
    assert_eq!(sampled.exporters, ["routing/traces"]);
    let settings = plan.config.get(ComponentKind::Processor, "tail_sampling").unwrap();
    assert_eq!(settings["decision_wait"], "30s");
    assert_eq!(settings["block_on_overflow"], true);
    let traces = settings["num_traces"].as_i64().unwrap();
    assert!((5_000..50_000).contains(&traces), "{traces}");
    assert_eq!(settings["decision_cache"]["non_sampled_cache_size"].as_i64(), Some(traces * 10));
    assert_eq!(plan.feature_gates, [sampling::RECORD_POLICY_GATE]);
}

#[test]
fn a15_a16_no_sampler_without_rules_that_drop_or_when_it_is_off() {
    assert_eq!(
        (given(&[json!({})]).plan().sampling, given(&[cap(100)]).plan().sampling),
        (Mode::KeepsEverything, Mode::KeepsEverything)
    );
    let mut off = given(&[cap(10)]);
    off.group.spec.tail_sampling = None;
    off.configuration = Configuration::parse("sampling: {tailSampling: {disabled: true}}").unwrap();
    let plan = off.plan();
    assert_eq!((plan.sampling, samplers(&plan)), (Mode::Disabled, vec![]));
    assert_eq!(pipeline(&plan, "in").exporters, ["routing/traces", "servicegraph"]);
}

#[test]
fn row_60_only_streams_with_rules_are_delayed() {
    let plan = given(&[cap_of(10, &["a"])]).plan();
    assert_eq!(samplers(&plan), ["tail_sampling/stream.a"]);
    assert_eq!(pipeline(&plan, "in").exporters, ["routing/traces", "servicegraph"]);
    let a = pipeline(&plan, "stream.a");
    assert_eq!(
        a.processors,
        ["resource/stream-class/stream.a", "tail_sampling/stream.a", "transform/sampling-attributes.stream.a"]
    );
    assert_eq!(pipeline(&plan, "stream.b").processors, ["resource/stream-class/stream.b"]);
    // a and b are treated differently, so an item of both reaches the shared destination by both.
    let names: Vec<String> = plan.config.pipelines.keys().map(ToString::to_string).collect();
    assert!(!names.iter().any(|name| name.contains("class.")), "{names:?}");
}

#[test]
fn row_58_each_stream_has_its_own_rules_and_equal_ones_share_a_buffer() {
    let plan = given(&[cap_of(10, &["a"]), cap_of(50, &["b"])]).plan();
    assert_eq!(samplers(&plan), ["tail_sampling/stream.a", "tail_sampling/stream.b"]);
    let shared = given(&[cap_of(10, &["a", "b"])]).plan();
    let names = samplers(&shared);
    assert_eq!(names.len(), 1, "{names:?}");
    let group = names[0].trim_start_matches("tail_sampling/").to_owned();
    let hub = pipeline(&shared, &format!("sampling.{group}"));
    assert_eq!(hub.receivers, ["routing/traces"]);
    assert_eq!(hub.exporters, [format!("routing/traces.{group}")]);
    assert_eq!(pipeline(&shared, "stream.a").receivers, [format!("routing/traces.{group}")]);
    // Behind the shared buffer the streams are alike again, so the shared destination gets an item of both once.
    let joint =
        pipeline(&shared, &format!("class.{}.{group}", streams::class_id(&["a".to_owned(), "b".to_owned()].into())));
    assert_eq!(joint.exporters.len(), 3);
}

#[test]
fn row_59_trace_view_sees_whole_traces() {
    let mut given = given(&[cap_of(10, &["a"])]);
    given.rules.views.insert("a".to_owned(), SamplingView::Trace);
    let plan = given.plan();
    assert_eq!(pipeline(&plan, "in").exporters, ["routing/traces", "forward/sampling.stream.a", "servicegraph"]);
    let hub = pipeline(&plan, "sampling.stream.a");
    assert_eq!(
        (hub.receivers.as_slice(), hub.exporters.as_slice()),
        (&["forward/sampling.stream.a".to_owned()][..], &["routing/traces.stream.a".to_owned()][..])
    );
    assert_eq!(pipeline(&plan, "stream.a").receivers, ["routing/traces.stream.a"]);
    let rows = plan.config.get(ComponentKind::Connector, "routing/traces.stream.a").unwrap();
    let default = rows["default_pipelines"].as_array().unwrap();
    assert_eq!(default, &[json!("traces/void")], "spans of other streams end here");
}

#[test]
fn processors_of_a_stream_run_before_its_sampler() {
    let mut given = given(&[cap(10)]);
    let mut own = processor("own", 0);
    own.spec.data_streams = Some(vec!["a".into()]);
    given.processors = vec![own, processor("late", 12)];
    let plan = given.plan();
    let a = pipeline(&plan, "stream.a");
    let position = |id: &str| a.processors.iter().position(|one| one == id).unwrap_or_else(|| panic!("{id} of {a:?}"));
    assert!(position("resource/own") < position("tail_sampling/stream.a"));
    assert!(position("tail_sampling/stream.a") < position("resource/late"));
    assert!(!pipeline(&plan, "in").processors.contains(&"resource/late".to_owned()));
}

#[test]
fn row_49_a_dry_run_drops_nothing() {
    let mut global = given(&[cap(0)]);
    global.group.spec.sampling_dry_run = Some(true);
    let plan = global.plan();
    assert_eq!(plan.sampling, Mode::DryRun);
    assert_eq!(pipeline(&plan, "in").exporters, ["routing/traces", "forward/sampling", "servicegraph"]);
    assert_eq!(pipeline(&plan, "dry-run").exporters, ["nop"]);
    assert_eq!(pipeline(&plan, "stream.a").processors, ["resource/stream-class/stream.a"]);
    // Marks: both halves of the traces are kept, and told apart.
    global.configuration = Configuration::parse("sampling: {dryRunMarks: true}").unwrap();
    let plan = global.plan();
    assert_eq!(pipeline(&plan, "in").exporters, ["forward/sampling-keep", "forward/sampling-drop", "servicegraph"]);
    assert_eq!(pipeline(&plan, "dry-run.drop").processors, ["tail_sampling/dry-run-drop", "transform/dry-run-drop"]);
    // By stream.
    let mut streams = given(&[cap_of(0, &["a"])]);
    streams.group.spec.sampling_dry_run = Some(true);
    let plan = streams.plan();
    assert_eq!(pipeline(&plan, "dry-run.stream.a").receivers, ["routing/traces"]);
    assert_eq!(pipeline(&plan, "stream.a").processors, ["resource/stream-class/stream.a"]);
}

#[test]
fn what_if_counters_are_asked_for() {
    let disabled = json!({"costReductionRules": [{"percentageAtMost": 10}, {"percentageAtMost": 1, "disabled": true, "operation": {"kafkaProducer": {}}}]});
    let mut given = given(&[disabled]);
    given.configuration = Configuration::parse("sampling: {samplingRuleMetrics: true}").unwrap();
    let plan = given.plan();
    assert_eq!(
        pipeline(&plan, "in").exporters,
        ["forward/sampling", "count/sampling-rules", "forward/sampling-what-if", "servicegraph"]
    );
    let counted =
        plan.config.get(ComponentKind::Connector, "count/sampling-rules").unwrap()["spans"].as_object().unwrap().len();
    assert_eq!(counted, 2, "enabled and disabled rules");
    let policies = plan.config.get(ComponentKind::Processor, "tail_sampling/what-if").unwrap()["policies"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(policies, 1, "disabled rules only");
}

#[test]
fn attributes_can_be_switched_off() {
    let mut given = given(&[cap(10)]);
    given.group.spec.span_sampling_attributes = Some(serde_json::from_value(json!({"disabled": true})).unwrap());
    let plan = given.plan();
    assert_eq!(pipeline(&plan, "sampled").processors, ["tail_sampling"]);
    assert_eq!(plan.feature_gates, Vec::<&str>::new());
}

/// One policy for each rule, so that kept spans can name it, is affordable for a few rules only.
#[test]
fn spans_name_their_rule_with_up_to_twenty_rules_or_with_metrics_of_rules() {
    let policies = |count: usize, configuration: &str| {
        let rule = |n: usize| json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": format!("/r{n}")}}});
        let mut given = given(&[json!({"costReductionRules": (0..count).map(rule).collect::<Vec<_>>()})]);
        given.configuration = Configuration::parse(configuration).unwrap();
        let plan = given.plan();
        plan.config.get(ComponentKind::Processor, "tail_sampling").unwrap()["policies"].as_array().unwrap().len()
    };
    assert!(policies(20, "{}") >= 20);
    assert!(policies(21, "{}") < 10);
    assert!(policies(21, "sampling: {samplingRuleMetrics: true}") >= 21);
}

#[test]
fn a_rename_restarts_nothing_unless_names_are_shown() {
    let named = |name: &str| {
        let mut given = given(&[json!({"costReductionRules": [{"name": name, "percentageAtMost": 10}]})]);
        given.group.spec.span_sampling_attributes =
            Some(serde_json::from_value(json!({"traceDecidingRuleDisabled": true})).unwrap());
        given.plan().config.to_yaml()
    };
    assert_eq!(named("a"), named("b"));
}

/// The rules are one part, whatever Destinations there are: what there is no room for goes with its object, and says so there.
#[test]
fn rules_that_are_too_large_leave_no_destination_and_no_other_rule_out() {
    let with = |count: usize| {
        let route = |n: usize| format!("/r{n}/{}", "x".repeat(1_000));
        let rule = |n: usize| json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": route(n)}}});
        let large = json!({"costReductionRules": (0..count).map(rule).collect::<Vec<_>>()});
        let small = json!({"noisyOperations": [{"operation": {"httpServer": {"route": "/small"}}}]});
        let given = given(&[large, small]);
        let plan = given.plan();
        assert!(plan.destinations.values().all(|one| one.status == Status::True), "{:?}", plan.destinations);
        assert_eq!(
            plan.config.section(ComponentKind::Exporter).filter(|(id, _)| id.starts_with("otlp_grpc/")).count(),
            4
        );
        assert_eq!(plan.files.problem(), None);
        let sampler = plan.config.get(ComponentKind::Processor, "tail_sampling").unwrap().to_string();
        assert!(sampler.contains("/small"), "{sampler}");
        let said = plan.findings.iter().any(|one| one.object.ends_with("/s0") && one.message.contains("KiB"));
        (plan.files.texts().len(), sampler.contains("/r0/"), said)
    };
    let (files, is_in, is_said) = with(30);
    assert_eq!((files > 1, is_in, is_said), (true, true, false), "they have a ConfigMap of their own");
    let (_, is_in, is_said) = with(80);
    assert_eq!((is_in, is_said), (false, true));
}

/// Where each rule has a policy of its own, each cost reduction rule repeats all others.
#[test]
fn policies_for_each_rule_are_given_up_where_they_would_not_fit() {
    let rule =
        |n: usize| json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": format!("/r{n}/{{id}}")}}});
    let mut given = given(&[json!({"costReductionRules": (0..200).map(rule).collect::<Vec<_>>()})]);
    given.configuration = Configuration::parse("sampling: {samplingRuleMetrics: true}").unwrap();
    let plan = given.plan();
    assert_eq!(plan.files.problem(), None);
    let sampler = plan.config.get(ComponentKind::Processor, "tail_sampling").unwrap();
    assert!(sampler["policies"].as_array().unwrap().len() < 10);
}
