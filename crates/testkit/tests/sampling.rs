//! Sampling on the real collector, through the rendered configuration: whatever the law decides is what arrives.
//!
//! Many rule sets run in one collector, each as the rules of a data stream of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

use odigos_api::{API_VERSION, names};
use odigos_plan::gateway::GatewayPlan;
use odigos_plan::sampling::generate::{Random, random_id, random_trace};
use odigos_plan::sampling::span::{Span, SpanKind};
use odigos_plan::sampling::{Rule, accept, judge, scenarios};
use odigos_plan::streams;
use odigos_plan::world::{Settled, World};
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// One collector at a time: the machine has two cores.
static TURN: Mutex<()> = Mutex::const_new(());

/// A rule set under test: Sampling specs, and the stream that they are for.
struct Set {
    stream: String,
    specs: Vec<Value>,
    probes: Value,
}

impl Set {
    fn class(&self) -> String {
        streams::class_id(&[self.stream.clone()].into())
    }
}

/// A cluster with these rule sets, all of whose streams lead to a sink at `port`.
fn settled(sets: &[Set], port: u16, configuration: &str) -> Settled {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    let mut put = |object: Value| world.insert(object).unwrap();
    put(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION}, "data": {names::CONFIGURATION_KEY: configuration}}),
    );
    let all: Vec<&str> = sets.iter().map(|set| set.stream.as_str()).collect();
    put(json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": "sink"},
        "spec": {"type": "otlp", "destinationName": "sink", "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "signals": ["TRACES"], "sourceSelector": {"dataStreams": all}},
    }));
    for (n, set) in sets.iter().enumerate() {
        let label = odigos_api::labels::stream_label(&set.stream);
        let name = format!("w{n}");
        put(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "apps"}, "spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}}),
        );
        put(
            json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": "apps", "labels": {label: "true"}}, "spec": {"workload": {"name": name, "namespace": "apps", "kind": "Deployment"}}}),
        );
        for (position, spec) in set.specs.iter().enumerate() {
            let mut spec = spec.clone();
            if sets.len() > 1 {
                spec["dataStreams"] = json!([set.stream]);
            }
            put(
                json!({"apiVersion": API_VERSION, "kind": "Sampling", "metadata": {"name": format!("s{n}-{position}")}, "spec": spec}),
            );
        }
        // Probes are those of the workload that the traces of the rows come from.
        for (container, path) in set.probes.as_object().into_iter().flatten() {
            let probe = match path.as_str().unwrap() {
                "" => json!({"exec": {"command": ["true"]}}),
                path => json!({"httpGet": {"path": path}}),
            };
            put(
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "a"}, "spec": {"template": {"spec": {"containers": [{"name": container, "livenessProbe": probe}]}}}}),
            );
            put(
                json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "web", "namespace": "a"}, "spec": {"workload": {"name": "web", "namespace": "a", "kind": "Deployment"}}}),
            );
        }
    }
    world.settle(jiff::Timestamp::UNIX_EPOCH)
}

const CONFIGURATION: &str = "collectorGateway: {requestMemoryMiB: 4000, serviceGraph: {disabled: true}}\n\
     sampling: {tailSampling: {traceAggregationWaitDuration: 2s}, k8sHealthProbesSampling: {enabled: true}}\n";

async fn start(plan: &GatewayPlan, directory: &tempfile::TempDir) -> Collector {
    let around = Surroundings::new(directory.path()).unwrap();
    Collector::start_with("gateway", &plan.config.to_yaml(), around, &[], &plan.feature_gates).await.unwrap()
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// Attribute of a test's span whose value is sent as the W3C tracestate too.
const TRACE_STATE: &str = "test.tracestate";

/// A span on the wire; its name is the id of its trace.
fn wire(span: &Span, class: &str, number: u64) -> otlp::ResourceSpans {
    let kind = match span.kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let mut resource: Vec<KeyValue> = span.resource.iter().map(|(key, value)| pair(key, value)).collect();
    resource.push(pair("odigos.stream.class", class));
    let one = otlp::Span {
        trace_id: span.trace_id.to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: if span.has_parent { vec![9; 8] } else { vec![] },
        name: hex(span.trace_id),
        kind,
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span.attributes.iter().map(|(key, value)| pair(key, value)).collect(),
        status: Some(otlp::Status { code: if span.error { 2 } else { 0 }, ..otlp::Status::default() }),
        trace_state: span.attribute(TRACE_STATE).unwrap_or_default().to_owned(),
        ..otlp::Span::default()
    };
    otlp::ResourceSpans {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_spans: vec![otlp::ScopeSpans { spans: vec![one], ..otlp::ScopeSpans::default() }],
        ..otlp::ResourceSpans::default()
    }
}

/// Sends traces in batches, each span by itself.
async fn send(sender: &Sender, traces: &[(String, Vec<Span>)]) {
    let mut number = 0;
    let mut batch = Vec::new();
    for (class, trace) in traces {
        for span in trace {
            number += 1;
            batch.push(wire(span, class, number));
        }
        if batch.len() > 2000 {
            sender.send_spans(std::mem::take(&mut batch)).await.unwrap();
        }
    }
    sender.send_spans(batch).await.unwrap();
}

/// Waits until nothing has arrived for a while after `at_least` spans, and returns spans by trace id.
async fn quiet(sink: &Sink, at_least: usize) -> BTreeMap<String, usize> {
    let total = || sink.span_counts().values().sum::<usize>();
    let _ = eventually("enough arrives", Duration::from_secs(180), || async { total() >= at_least }).await;
    loop {
        let before = total();
        tokio::time::sleep(Duration::from_secs(4)).await;
        if total() == before {
            return sink.span_counts();
        }
    }
}

/// How many traces a collector has decided about, by its own metrics: kept and dropped ones together.
async fn decided(gateway: &Collector) -> f64 {
    const NAME: &str = "otelcol_processor_tail_sampling_global_count_traces_sampled";
    let text = http::get(gateway.around.metrics, "/metrics", None).await.unwrap_or_default();
    let samples = text.lines().filter(|line| line.starts_with(NAME));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What the judge says of traces, against what arrived: every kept trace with all its spans, nothing else.
fn compare(expected: &BTreeMap<String, usize>, arrived: &BTreeMap<String, usize>, what: &BTreeMap<String, String>) {
    let differing: Vec<&String> =
        expected.keys().chain(arrived.keys()).filter(|id| expected.get(*id) != arrived.get(*id)).collect();
    let shown: Vec<String> = differing
        .iter()
        .take(5)
        .map(|id| format!("{}: expected {:?}, arrived {:?}", what[*id], expected.get(*id), arrived.get(*id)))
        .collect();
    assert!(differing.is_empty(), "{} differences:\n{}", differing.len(), shown.join("\n"));
}

/// Runs traces of several rule sets through one collector and compares.
async fn run(sets: &[Set], traces: &[(usize, Vec<Span>, bool)]) -> (usize, Duration) {
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let plan = settled(sets, port, CONFIGURATION).gateway.unwrap();
    assert_eq!(plan.problems, vec![]);
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    let sent: Vec<(String, Vec<Span>)> =
        traces.iter().map(|(set, trace, _)| (sets[*set].class(), trace.clone())).collect();
    let expected: BTreeMap<String, usize> =
        traces.iter().filter(|(.., keep)| *keep).map(|(_, trace, _)| (hex(trace[0].trace_id), trace.len())).collect();
    let what = traces
        .iter()
        .map(|(set, trace, keep)| (hex(trace[0].trace_id), format!("{} (keep: {keep}) {trace:#?}", sets[*set].stream)))
        .collect();
    let begun = Instant::now();
    send(&sender, &sent).await;
    let took = begun.elapsed();
    let arrived = quiet(&sink, expected.values().sum()).await;
    let log = gateway.output();
    assert!(!log.contains("failed to evaluate"), "{log}");
    compare(&expected, &arrived, &what);
    (traces.len(), took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_scenarios_end_as_the_law_says() {
    let _turn = TURN.lock().await;
    let rows = scenarios::rows();
    let mut random = Random::new(64);
    // Health probes are cluster-wide rules, so their rows have a collector of their own.
    let (with_probes, plain): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row.get("probes").is_some());
    let mut count = 0;
    for rows in [plain, with_probes] {
        let mut sets = Vec::new();
        let mut traces = Vec::new();
        let mut used = BTreeSet::new();
        for (position, row) in rows.iter().enumerate() {
            let specs = match (row.get("objects"), row.get("rules")) {
                (Some(objects), _) => objects.as_array().unwrap().clone(),
                (None, rules) => rules.cloned().into_iter().collect(),
            };
            let probes = row.get("probes").cloned().unwrap_or_default();
            sets.push(Set { stream: format!("row-{}", row["row"]), specs, probes });
            let accepted = scenarios::rules_of(row);
            let rules: Vec<&Rule> = accepted.rules.iter().collect();
            for _ in 0..60 {
                let id = random_id(&mut random, &rules);
                if used.insert(id) {
                    let trace = scenarios::trace_of(row, id);
                    let keep = judge::decide(&rules, &trace).keep;
                    traces.push((position, trace, keep));
                }
            }
            if row.get("probes").is_some() {
                // One row at a time: the probe of another row would be a rule here.
                let (traced, _) =
                    run(&sets, &traces.drain(..).map(|(_, trace, keep)| (0, trace, keep)).collect::<Vec<_>>()).await;
                count += traced;
                sets.clear();
            }
        }
        if !sets.is_empty() {
            let (traced, _) = run(&sets, &traces).await;
            count += traced;
        }
    }
    println!("64 rows, {count} traces, 0 differences");
}

/// Rules as a manifest spells them, for rules that the generator made.
fn manifest(seed: u64) -> (Value, Vec<Rule>) {
    let mut random = Random::new(seed);
    loop {
        let spec = odigos_plan::sampling::generate::random_spec(&mut random);
        let object = serde_json::from_value(
            json!({"apiVersion": API_VERSION, "kind": "Sampling", "metadata": {"name": "s"}, "spec": spec}),
        )
        .unwrap();
        let accepted = accept([&object]);
        let rules: Vec<&Rule> = accepted.rules.iter().collect();
        if !odigos_plan::sampling::compile::keeps_everything(&rules) {
            return (spec, accepted.rules);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_random_rule_sets_make_no_difference() {
    let _turn = TURN.lock().await;
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (count, each) = (number("ODIGOS_SAMPLING_SETS", 40), number("ODIGOS_SAMPLING_TRACES", 2000));
    let mut sets = Vec::new();
    let mut traces = Vec::new();
    let mut used = BTreeSet::new();
    for position in 0..count {
        let (spec, rules) = manifest(position as u64);
        let rules: Vec<&Rule> = rules.iter().collect();
        let mut random = Random::new(1000 + position as u64);
        for _ in 0..each {
            let trace = random_trace(&mut random, &rules);
            if used.insert(trace[0].trace_id) {
                let keep = judge::decide(&rules, &trace).keep;
                traces.push((position, trace, keep));
            }
        }
        sets.push(Set { stream: format!("set-{position}"), specs: vec![spec], probes: Value::Null });
    }
    let (traced, took) = run(&sets, &traces).await;
    let kept = traces.iter().filter(|(.., keep)| *keep).count();
    println!("{count} rule sets, {traced} traces, {kept} kept, 0 differences; sent in {took:?}");
}

fn ordinary(id: [u8; 16], root: bool) -> Span {
    let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Span {
        trace_id: id,
        has_parent: !root,
        start: 1_000_000_000,
        end: 1_001_000_000,
        resource: std::sync::Arc::new(texts(&[
            ("k8s.namespace.name", "a"),
            ("odigos.workload.name", "web"),
            ("service.name", "web"),
        ])),
        ..Span::default()
    }
}

fn one_set(spec: Value) -> Vec<Set> {
    vec![Set { stream: "default".to_owned(), specs: vec![spec], probes: Value::Null }]
}

fn rules_of(spec: &Value) -> Vec<Rule> {
    scenarios::accepted(std::slice::from_ref(spec)).rules
}

fn with_wait(wait: &str, memory: u32) -> String {
    format!(
        "collectorGateway: {{requestMemoryMiB: {memory}, serviceGraph: {{disabled: true}}}}\nsampling: {{tailSampling: {{traceAggregationWaitDuration: {wait}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_55_to_57_late_spans_and_a_stop_in_the_middle() {
    let _turn = TURN.lock().await;
    let spec = json!({"highlyRelevantOperations": [{"error": true}], "costReductionRules": [{"percentageAtMost": 50}]});
    let rules = rules_of(&spec);
    let rules: Vec<&Rule> = rules.iter().collect();
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::new(55);
    let ids: Vec<[u8; 16]> = (0..200).map(|_| random_id(&mut random, &[])).collect();
    // Late: the decision is remembered.
    let plan = settled(&one_set(spec.clone()), port, &with_wait("1s", 500)).gateway.unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    let class = "default".to_owned();
    let early: Vec<_> = ids.iter().map(|id| (class.clone(), vec![ordinary(*id, true)])).collect();
    send(&sender, &early).await;
    let kept: BTreeSet<String> = early
        .iter()
        .filter(|(_, trace)| judge::decide(&rules, trace).keep)
        .map(|(_, trace)| hex(trace[0].trace_id))
        .collect();
    let arrived =
        eventually("kept ones arrive", Duration::from_secs(90), || async { sink.span_counts().len() == kept.len() });
    arrived.await.unwrap();
    let all = eventually("all are decided", Duration::from_secs(90), || async {
        decided(&gateway).await >= ids.len() as f64
    });
    all.await.unwrap();
    let late: Vec<_> =
        ids.iter().map(|id| (class.clone(), vec![Span { error: true, ..ordinary(*id, false) }])).collect();
    let begun = Instant::now();
    send(&sender, &late).await;
    let followed = eventually("late spans of kept traces follow", Duration::from_secs(90), || async {
        sink.span_counts().values().filter(|count| **count == 2).count() == kept.len()
    });
    followed.await.unwrap();
    let followed = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let arrived: BTreeSet<String> = sink.span_counts().into_keys().collect();
    assert_eq!(arrived, kept, "a late error does not revive what was dropped");
    println!("{} of {} traces kept; late spans of kept traces followed within {followed:?}", kept.len(), ids.len());
    gateway.stop();

    // A stop two seconds into a window of a minute.
    let other = free_port().unwrap();
    let sink = Sink::listen_counting(other).await.unwrap();
    let plan = settled(&one_set(spec), other, &with_wait("60s", 500)).gateway.unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    send(&sender, &early).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sink.span_counts().len(), 0, "nothing is decided yet");
    gateway.stop();
    let arrived: BTreeSet<String> = sink.span_counts().into_keys().collect();
    assert_eq!(arrived, kept, "a stop decides what is pending, and loses nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_holds_senders_up_and_loses_nothing() {
    let _turn = TURN.lock().await;
    let spec = json!({"costReductionRules": [{"percentageAtMost": 50}]});
    let rules = rules_of(&spec);
    let rules: Vec<&Rule> = rules.iter().collect();
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let plan = settled(&one_set(spec), port, &with_wait("2s", 150)).gateway.unwrap();
    let traces = plan.config.get(odigos_pipeline::ComponentKind::Processor, "tail_sampling").unwrap()["num_traces"]
        .as_u64()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    let mut random = Random::new(7);
    let count = usize::try_from(traces).unwrap() * 3;
    let sent: Vec<_> =
        (0..count).map(|_| ("default".to_owned(), vec![ordinary(random_id(&mut random, &[]), true)])).collect();
    let begun = Instant::now();
    send(&sender, &sent).await;
    let took = begun.elapsed();
    let kept: BTreeMap<String, usize> = sent
        .iter()
        .filter(|(_, trace)| judge::decide(&rules, trace).keep)
        .map(|(_, trace)| (hex(trace[0].trace_id), 1))
        .collect();
    let arrived = quiet(&sink, kept.len()).await;
    assert_eq!(arrived.len(), kept.len());
    assert!(arrived == kept, "the same traces");
    assert!(took > Duration::from_secs(2), "the sender was held up: {took:?}");
    println!("{count} traces through a buffer of {traces}: held up for {took:?}, 0 lost");
}

/// 11.5: the memory limiter refuses whole requests before anything of them is counted, and who sends tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_at_its_memory_limit_refuses_and_loses_nothing() {
    let _turn = TURN.lock().await;
    let spec = json!({"costReductionRules": [{"percentageAtMost": 20}]});
    let rules = rules_of(&spec);
    let rules: Vec<&Rule> = rules.iter().collect();
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let plan = settled(&one_set(spec), port, &with_wait("4s", 150)).gateway.unwrap();
    let limiter = plan.config.get(odigos_pipeline::ComponentKind::Processor, "memory_limiter").unwrap();
    let limit = limiter["limit_mib"].as_u64().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    let mut random = Random::new(29);
    // Spans so large that what waits for its decision is more than the limit, long before the buffer is full.
    let filler = "x".repeat(64 * 1024);
    let batches = usize::try_from(limit).unwrap() * 2 * 16 / 40;
    let (mut kept, mut refused, mut number) = (BTreeMap::new(), 0, 0);
    let until = Instant::now() + Duration::from_secs(240);
    for _ in 0..batches {
        let mut batch = Vec::new();
        for _ in 0..40 {
            let mut span = ordinary(random_id(&mut random, &[]), true);
            span.attributes.insert("filler".into(), filler.clone());
            number += 1;
            batch.push(wire(&span, "default", number));
            if judge::decide(&rules, std::slice::from_ref(&span)).keep {
                kept.insert(hex(span.trace_id), 1);
            }
        }
        // As the exporter of a node does.
        while let Err(error) = sender.send_spans(batch.clone()).await {
            assert!(error.to_string().contains("memory"), "{error:#}");
            refused += 1;
            assert!(Instant::now() < until, "never taken: {}", gateway.output());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert!(refused > 0, "the limit of {limit} MiB was reached");
    let arrived = quiet(&sink, kept.len()).await;
    assert!(arrived == kept, "{} kept, {} arrived, {refused} refusals", kept.len(), arrived.len());
    println!(
        "{number} traces of 64 KiB through a limit of {limit} MiB: {refused} refusals, {} kept, 0 lost",
        kept.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_spans_say_why_and_dry_runs_say_what_would_be() {
    let _turn = TURN.lock().await;
    let spec = json!({"noisyOperations": [{"name": "health", "percentageAtMost": 50, "operation": {"httpServer": {"route": "/healthz"}}}],
        "highlyRelevantOperations": [{"name": "errors", "error": true}], "costReductionRules": [{"name": "all", "percentageAtMost": 50}]});
    let rules = rules_of(&spec);
    let rules: Vec<&Rule> = rules.iter().collect();
    let mut random = Random::new(3);
    let traces: Vec<Vec<Span>> = (0..120)
        .map(|n| {
            let mut span = ordinary(random_id(&mut random, &[]), true);
            if n % 3 == 0 {
                span.kind = SpanKind::Server;
                span.attributes.insert("http.request.method".into(), "GET".into());
                span.attributes.insert("http.route".into(), "/healthz".into());
            }
            span.error = n % 3 == 1;
            vec![span]
        })
        .collect();
    let sent: Vec<_> = traces.iter().map(|trace| ("default".to_owned(), trace.clone())).collect();
    for (more, dry) in [("", false), ("  dryRun: true\n  dryRunMarks: true\n", true), ("  dryRun: true\n", true)] {
        let port = free_port().unwrap();
        let sink = Sink::listen(port).await.unwrap();
        let configuration = format!(
            "collectorGateway: {{serviceGraph: {{disabled: true}}}}\nsampling:\n  tailSampling: {{traceAggregationWaitDuration: 1s}}\n{more}"
        );
        let plan = settled(&one_set(spec.clone()), port, &configuration).gateway.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let gateway = start(&plan, &directory).await;
        let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
        send(&sender, &sent).await;
        let decisions: BTreeMap<String, judge::Decision> =
            traces.iter().map(|trace| (hex(trace[0].trace_id), judge::decide(&rules, trace))).collect();
        let expected = decisions.values().filter(|decision| dry || decision.keep).count();
        let all =
            eventually("everything arrives", Duration::from_secs(90), || async { sink.items().len() >= expected });
        all.await.unwrap_or_else(|error| panic!("{error}: {} of {expected}\n{}", sink.items().len(), gateway.output()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let items = sink.items();
        assert_eq!(items.len(), expected, "{more}");
        for item in items {
            let decision = &decisions[&item.name];
            let of = |key: &str| item.attributes.get(key).map(String::as_str);
            if !more.is_empty() {
                let marked = more.contains("Marks");
                assert_eq!(
                    of("odigos.sampling.trace.kept").map(str::to_owned),
                    marked.then(|| decision.keep.to_string())
                );
                assert_eq!(of("odigos.sampling.dry_run"), marked.then_some("true"));
                continue;
            }
            let decided = decision.decided_by.map(|(category, position)| (category, rules[position]));
            assert_eq!(of("odigos.sampling.category"), decided.map(|(category, _)| category.attribute()));
            let key = |last: &str| format!("odigos.sampling.trace.deciding_rule.{last}");
            assert_eq!(of(&key("id")), decided.map(|(_, rule)| rule.id.as_str()));
            assert_eq!(of(&key("name")), decided.map(|(_, rule)| rule.name.as_str()));
            assert_eq!(
                of(&key("keep_percentage")).map(str::to_owned),
                decided.map(|(_, rule)| rule.percentage.to_string())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_traces_that_an_agent_decided_about_say_its_reasons() {
    let _turn = TURN.lock().await;
    let spec = json!({"noisyOperations": [{"name": "health", "percentageAtMost": 50, "operation": {"httpServer": {"route": "/healthz"}}}]});
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let plan = settled(&one_set(spec), port, &with_wait("1s", 500)).gateway.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(&plan, &directory).await;
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    // The tracestate, then category, rule, percentage and dry run as they must arrive.
    type Row = (&'static str, [Option<&'static str>; 4]);
    let rows: [Row; 6] = [
        ("odigos=c:n;dr.p:50;dr.id:noise-1;dry:f", [Some("noise"), Some("noise-1"), Some("50"), None]),
        ("odigos=c:h;dr.p:100;dr.id:a.b;dry:t", [Some("highly relevant"), Some("a.b"), Some("100"), Some("true")]),
        ("vendor=x,odigos=c:c;dr.p:12.5", [Some("cost reduction"), None, Some("12.5"), None]),
        ("odigos=unknown", [None; 4]),
        ("vendor=c:n", [None; 4]),
        ("", [None; 4]),
    ];
    let mut random = Random::new(11);
    let mut expected = BTreeMap::new();
    let mut sent = Vec::new();
    for (state, attributes) in rows {
        let mut span = ordinary(random_id(&mut random, &[]), true);
        span.attributes.insert(TRACE_STATE.into(), state.into());
        expected.insert(hex(span.trace_id), (state, attributes));
        sent.push(("default".to_owned(), vec![span]));
    }
    send(&sender, &sent).await;
    let all = eventually("everything arrives", Duration::from_secs(90), || async { sink.items().len() == rows.len() });
    all.await.unwrap_or_else(|error| panic!("{error}\n{}", gateway.output()));
    for item in sink.items() {
        let (state, attributes) = expected[&item.name];
        let keys = ["category", "trace.deciding_rule.id", "trace.deciding_rule.keep_percentage", "dry_run"];
        let arrived = keys.map(|key| item.attributes.get(&format!("odigos.sampling.{key}")).map(String::as_str));
        assert_eq!(arrived, attributes, "{state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_behind_random_nodes_decide_as_one() {
    let _turn = TURN.lock().await;
    let spec = json!({"highlyRelevantOperations": [{"error": true}], "costReductionRules": [{"percentageAtMost": 10}]});
    let rules = rules_of(&spec);
    let rules: Vec<&Rule> = rules.iter().collect();
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    // All spans of a trace have to arrive within this time, through two nodes.
    let all = settled(&one_set(spec), port, &with_wait("10s", 500));
    let plan = all.gateway.unwrap();
    let node = all.node.unwrap();
    let directories: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut gateways = Vec::new();
    for directory in &directories[..3] {
        gateways.push(start(&plan, directory).await);
    }
    // There are no pods here to be looked up, so the class that the sender states is left alone.
    let mut config = node.config.to_value();
    let kept = ["memory_limiter", "resource/node-name"];
    config["service"]["pipelines"]["traces"]["processors"] = json!(kept);
    let is_kept = |id: &str| kept.contains(&id) || id.starts_with("resource/") || id.contains("/counts/");
    config["processors"].as_object_mut().unwrap().retain(|id, _| is_kept(id));
    let pipelines = config["service"]["pipelines"].as_object_mut().unwrap();
    pipelines.retain(|id, _| id == "traces" || id == "metrics/sources" || id.contains("own-metrics"));
    assert_eq!(pipelines["traces"]["exporters"], json!(["load_balancing/traces", "count/sources"]));
    config["receivers"].as_object_mut().unwrap().retain(|id, _| id == "otlp/in" || id.contains("self-metrics"));
    config["service"]["extensions"] = json!(["health_check", "request_limit"]);
    let mut senders = Vec::new();
    let mut nodes = Vec::new();
    for directory in &directories[3..] {
        let mut around = Surroundings::new(directory.path()).unwrap();
        around.gateways = gateways.iter().map(|gateway| format!("127.0.0.1:{}", gateway.around.grpc)).collect();
        let text = odigos_pipeline::yaml::to_string(&config);
        let collector = Collector::start("node", &text, around, &[]).await.unwrap();
        senders.push(Sender::connect(&collector.endpoint()).await.unwrap());
        nodes.push(collector);
    }
    let mut random = Random::new(99);
    let mut expected = BTreeMap::new();
    let mut by_node = [Vec::new(), Vec::new()];
    for number in 0..1500 {
        let id = random_id(&mut random, &rules);
        // Five spans of a trace; an error in one of them must keep all of them, whichever node saw it.
        let failing = (number % 7 == 0).then(|| random.below(5));
        let trace: Vec<Span> = (0..5).map(|n| Span { error: failing == Some(n), ..ordinary(id, n == 0) }).collect();
        if judge::decide(&rules, &trace).keep {
            expected.insert(hex(id), 5);
        }
        for span in trace {
            by_node[random.below(2)].push(("default".to_owned(), vec![span]));
        }
    }
    for (sender, traces) in senders.iter().zip(&by_node) {
        send(sender, traces).await;
    }
    let arrived = quiet(&sink, expected.values().sum()).await;
    let differing = expected.keys().chain(arrived.keys()).filter(|id| expected.get(*id) != arrived.get(*id)).count();
    assert_eq!(differing, 0, "{} expected, {} arrived", expected.len(), arrived.len());
    println!("1500 traces over 2 nodes and 3 gateways: {} kept, 0 differences", expected.len());
}

/// CPU seconds that a process has used.
fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, run by `make bench`"]
async fn throughput_by_number_of_rules() {
    const SPANS: usize = 400_000;
    let mut report = format!(
        "# Sampling: {SPANS} spans through the gateway\n\n| rules | CPU s | spans/s per core | µs per span | µs per span and rule |\n|---|---|---|---|---|\n"
    );
    let mut without = 0.0;
    for count in [0, 1, 10, 50, 200] {
        let rules: Vec<Value> = (0..count)
            .map(|n| json!({"percentageAtMost": 50, "operation": {"httpServer": {"route": format!("/route/{n}/{{id}}"), "method": "GET"}}}))
            .collect();
        let spec = json!({"costReductionRules": rules});
        let port = free_port().unwrap();
        let sink = Sink::listen_counting(port).await.unwrap();
        let sets =
            if count == 0 { vec![Set { specs: vec![], ..one_set(Value::Null).remove(0) }] } else { one_set(spec) };
        let plan = settled(&sets, port, &with_wait("1s", 8000)).gateway.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let gateway = start(&plan, &directory).await;
        let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
        let mut random = Random::new(count as u64);
        let before = cpu_seconds(gateway.id());
        for _ in 0..SPANS / 4000 {
            let mut batch = Vec::new();
            for _ in 0..800 {
                let id = random_id(&mut random, &[]);
                let mut group = wire(&ordinary(id, true), "default", random.next());
                let spans = (0..5).map(|n| {
                    let mut span = Span { kind: SpanKind::Server, ..ordinary(id, n == 0) };
                    span.attributes.insert("http.request.method".into(), "GET".into());
                    span.attributes.insert("http.route".into(), "/elsewhere".into());
                    wire(&span, "default", random.next()).scope_spans.remove(0).spans.remove(0)
                });
                group.scope_spans[0].spans = spans.collect();
                batch.push(group);
            }
            // The gateway closes connections after a while, so that senders spread; a batch under way is sent again.
            while let Err(error) = sender.send_spans(batch.clone()).await {
                assert!(
                    error.to_string().contains("transport") || format!("{error:?}").contains("broken pipe"),
                    "{error:?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let arrived = eventually("everything is decided", Duration::from_secs(120), || async { sink.spans() >= SPANS });
        arrived.await.unwrap_or_else(|error| panic!("{error}: {} of {SPANS}\n{}", sink.spans(), gateway.output()));
        let used = cpu_seconds(gateway.id()) - before;
        let each = used * 1e6 / SPANS as f64;
        if count == 0 {
            without = each;
        }
        let by_rule = if count == 0 { "-".to_owned() } else { format!("{:.3}", (each - without) / count as f64) };
        report.push_str(&format!("| {count} | {used:.1} | {:.0} | {each:.2} | {by_rule} |\n", SPANS as f64 / used));
    }
    println!("{report}");
    let folder = odigos_tools::root().join("target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("sampling.md"), report).unwrap();
}
