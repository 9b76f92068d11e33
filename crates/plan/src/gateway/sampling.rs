//! Where samplers stand in the gateway's pipelines (`spec/sampling.md` 9.6–9.8, 10, 11).
//!
//! Streams with equal rules share one instance. When all streams have the same rules it stands before the router (S0);
//! a stream with rules of its own has it in its pipeline (S1), several such streams with equal rules behind a router of
//! their own; in trace view an instance sees whole traces before the router picks the stream's spans (S2). Streams whose
//! rules keep everything have none: no delay, no memory. Never decides what rules mean: that is [`crate::sampling`].

use super::Observed;
use super::destinations::Fragment;
use super::routing::fed_streams;
use crate::configuration::Configuration;
use crate::counts;
use crate::covered::CoveredNames;
use crate::objects::hash;
use crate::processors::{self, ByStream, Processors};
use crate::sampling::compile::{self, Compiled, Form, Told};
use crate::sampling::report::Mode;
use crate::sampling::{Accepted, Rule, accept_with, limits, probes};
use crate::scheduling::DEFAULT_TRACE_WAIT;
use crate::streams::object_name;
use odigos_api::Signal;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::data_stream::{DataStream, SamplingView};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::sampling::Sampling;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What sampling depends on beside destinations.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Accepted rules of every Sampling object and built-in.
    pub accepted: Accepted,
    /// The view that DataStreams choose, by name of the object; `stream` where none is chosen.
    pub views: BTreeMap<String, SamplingView>,
    /// What scopes can match, of rules and of Actions, where that is known.
    pub covered: Option<CoveredNames>,
}

impl Rules {
    /// Rules of the control plane's Sampling objects and, while they are sampled, of health probes, which stand in the settings of
    /// InstrumentationConfigs (namespace, name, object); and the views that DataStreams choose.
    pub fn of<'a>(
        configuration: &Configuration,
        samplings: impl IntoIterator<Item = &'a Sampling>,
        configs: impl IntoIterator<Item = (&'a str, &'a str, &'a InstrumentationConfig)>,
        streams: impl IntoIterator<Item = &'a DataStream>,
    ) -> Self {
        let mut accepted = accept_with(configuration.built_in_sampling(), samplings);
        let configs: Vec<(&str, &str, &InstrumentationConfig)> = configs.into_iter().collect();
        let covered = CoveredNames::of(configs.iter().copied());
        accepted.remark_missing(&covered);
        accepted.remark_vain();
        if let Some(keep) = configuration.health_probes() {
            let settings = configs
                .iter()
                .map(|(namespace, name, config)| (*namespace, *name, config.spec.workload_collector_config.as_slice()));
            accepted.add_probes(probes::of_configs(settings), keep);
        }
        let views = streams.into_iter().filter_map(|one| Some((one.metadata.name.clone()?, one.spec.sampling_view?)));
        Self { accepted, views: views.collect(), covered: Some(covered) }
    }
}

/// Feature gate with which a sampler says which policy kept a trace.
pub const RECORD_POLICY_GATE: &str = "processor.tailsamplingprocessor.recordpolicy";
/// Scope attribute that it writes.
const POLICY_ATTRIBUTE: &str = "tailsampling.policy";
/// Feeds the samplers of whole traces.
pub(super) const FORWARD: &str = "forward/sampling";

/// One sampler and the streams that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// Name behind `tail_sampling/`; empty for the one before the router.
    pub(super) name: String,
    /// Streams that share it.
    pub(super) streams: BTreeSet<String>,
    /// What it sees of a trace.
    pub(super) view: SamplingView,
    /// Processors of the streams that must run before it.
    pub(super) early: Vec<String>,
    compiled: Compiled,
    complement: Vec<Value>,
}

impl Group {
    /// Ids of the processors that sample.
    pub(super) fn processors(&self, marks: &Marks) -> Vec<String> {
        let mut ids = vec![id("tail_sampling", &self.name)];
        if marks.any(&self.compiled) {
            ids.push(id("transform/sampling-attributes", &self.name));
        }
        ids
    }

    /// Whether the sampler stands in the stream's own pipeline.
    pub(super) fn is_inline(&self) -> bool {
        self.view == SamplingView::Stream && self.streams.len() == 1
    }

    /// Name of the pipeline in which the sampler of several streams, or of whole traces, stands.
    pub(super) fn hub(&self) -> String {
        format!("sampling.{}", self.name)
    }

    /// Id of the connector that feeds it with whole traces.
    pub(super) fn forward(&self) -> String {
        id(FORWARD, &self.name)
    }

    /// Name of the pipeline in which it only counts.
    pub(super) fn shadow(&self) -> String {
        if self.name.is_empty() { "dry-run".to_owned() } else { format!("dry-run.{}", self.name) }
    }
}

fn id(component_type: &str, name: &str) -> String {
    match (name, component_type.contains('/')) {
        ("", _) => component_type.to_owned(),
        (name, true) => format!("{component_type}.{name}"),
        (name, false) => format!("{component_type}/{name}"),
    }
}

/// Which attributes kept spans carry (section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) category: bool,
    pub(super) rule: bool,
    spans: bool,
}

impl Marks {
    /// Whether the decision about a trace is recorded at all.
    pub(super) fn decision(self) -> bool {
        self.category || self.rule
    }

    fn any(self, compiled: &Compiled) -> bool {
        (self.category || self.rule) && !compiled.told.is_empty() || self.spans
    }
}

/// The samplers of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Samplers {
    /// What is done with the rules as a whole.
    pub(super) mode: Mode,
    /// The instances; one without a name stands before the router.
    pub(super) groups: Vec<Group>,
    /// Rules are marked on spans instead of acted on (D2).
    pub(super) marks_only: bool,
    /// Attributes on kept spans.
    pub(super) marks: Marks,
    /// Conditions of all instances together.
    pub(super) conditions: usize,
}

impl Samplers {
    /// Whether a sampler stands before the router.
    pub(super) fn before_router(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.name.is_empty())
    }

    /// Whether anything is dropped by the sampler of a stream.
    pub(super) fn group_of(&self, stream: &str) -> Option<&Group> {
        self.groups.iter().filter(|group| !group.name.is_empty()).find(|group| group.streams.contains(stream))
    }

    /// Whether late processors stand in the pipelines of streams, since samplers do.
    pub(super) fn lowers_late_processors(&self) -> bool {
        self.mode == Mode::Sampling && self.groups.iter().any(|group| !group.name.is_empty())
    }

    /// Whether any policy has to be recorded.
    pub(super) fn needs_recorded_policy(&self) -> bool {
        self.mode == Mode::Sampling && self.groups.iter().any(|group| self.marks.any(&group.compiled))
    }
}

/// What streams must have in common to share an instance: positions of their rules, the view (none: nothing is dropped), and
/// the processors before it.
type SetKey = (Vec<usize>, Option<SamplingView>, Vec<String>);

/// Decides which instances there are.
pub(super) fn plan(seen: &Observed<'_>, processors: &Processors, fragments: &[Fragment]) -> Samplers {
    let spec = &seen.group.spec;
    let flag = |path: &str| seen.configuration.flag(path) == Some(true);
    let attributes = spec.span_sampling_attributes.clone().unwrap_or_default();
    let on = attributes.disabled != Some(true);
    let marks = Marks {
        category: on && attributes.sampling_category_disabled != Some(true),
        rule: on && attributes.trace_deciding_rule_disabled != Some(true),
        // Each span is tested against each rule again, so this one is asked for, not the default.
        spans: on && attributes.span_decision_attributes_disabled == Some(false),
    };
    let mut samplers =
        Samplers { mode: Mode::KeepsEverything, groups: Vec::new(), marks_only: false, marks, conditions: 0 };
    if spec.tail_sampling.as_ref().is_none_or(|sampling| sampling.disabled == Some(true)) {
        if flag("sampling.tailSampling.disabled") {
            samplers.mode = Mode::Disabled;
        }
        return samplers;
    }
    let rule_metrics = flag("sampling.samplingRuleMetrics");
    let accepted = &seen.rules.accepted;
    let traced = fed_streams(spec, fragments, Signal::Traces);
    let placed = processors.placed_by_stream(Signal::Traces, &traced);
    let mut sets: BTreeMap<SetKey, BTreeSet<String>> = BTreeMap::new();
    // Comparing rules with each other takes longest, and most streams have the same ones.
    let mut compared: BTreeMap<Vec<usize>, bool> = BTreeMap::new();
    for stream in &traced {
        let positions: Vec<usize> = (0..accepted.rules.len())
            .filter(|n| {
                let rule = &accepted.rules[*n];
                rule.enabled && rule.is_for_stream(Some(stream))
            })
            .collect();
        let early = early_processors(placed, stream);
        let keeps_everything = compared.get(&positions).copied().unwrap_or_else(|| {
            let rules: Vec<&Rule> = positions.iter().map(|n| &accepted.rules[*n]).collect();
            let keeps_everything = compile::keeps_everything(&rules);
            compared.insert(positions.clone(), keeps_everything);
            keeps_everything
        });
        let key = if keeps_everything {
            (Vec::new(), None, Vec::new())
        } else {
            (positions, Some(seen.rules.views.get(&object_name(stream)).copied().unwrap_or_default()), early)
        };
        sets.entry(key).or_default().insert(stream.clone());
    }
    let alike = {
        let mut rules = sets.keys().map(|(rules, view, early)| (rules, view.is_some(), early));
        let first = rules.next();
        rules.all(|other| Some(other) == first) && sets.keys().all(|(.., early)| early.is_empty())
    };
    let sampled: Vec<_> = sets.into_iter().filter(|((_, view, _), _)| view.is_some()).collect();
    for ((positions, view, early), streams) in sampled {
        let rules: Vec<&Rule> = positions.iter().map(|n| &accepted.rules[*n]).collect();
        if alike && let Some(one) = samplers.groups.first_mut() {
            // Before the router the views do not differ.
            one.streams.extend(streams);
            continue;
        }
        let is_one_by_one = (rule_metrics || rules.len() <= compile::PER_RULE_LIMIT) && limits::fit_one_by_one(&rules);
        let form = match (marks.category || marks.rule, is_one_by_one) {
            (_, true) if rule_metrics || marks.rule => Form::ByRule,
            (true, _) => Form::ByCategory,
            _ => Form::Shared,
        };
        let compiled = compile::compile(&rules, form);
        samplers.conditions += compiled.conditions;
        samplers.groups.push(Group {
            name: if alike { String::new() } else { group_name(&streams) },
            view: view.unwrap_or_default(),
            complement: compile::complement(&rules),
            compiled,
            streams,
            early,
        });
    }
    if !samplers.groups.is_empty() {
        let dry_run = spec.sampling_dry_run == Some(true);
        samplers.mode = if dry_run { Mode::DryRun } else { Mode::Sampling };
        samplers.marks_only = dry_run && flag("sampling.dryRunMarks") && samplers.before_router().is_some();
    }
    samplers
}

/// Processors in the pipeline of a stream that sampling rules must see the effect of (section 6, rule visibility).
fn early_processors(placed: ByStream<'_>, stream: &str) -> Vec<String> {
    let own = placed.of_stream(stream, |_| false);
    own.filter(|p| p.hint < processors::LATE_HINT).map(|p| p.id.clone()).collect()
}

/// `stream.<name>` for one, a digest for several: the name of a group must not change with unrelated streams.
fn group_name(streams: &BTreeSet<String>) -> String {
    let mut names = streams.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => format!("stream.{}", only.replace(':', ".")),
        _ => {
            let joined = streams.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            format!("streams.{}", hash(joined, 32))
        }
    }
}

/// Bytes of the memory limit for each trace that may wait: small traces shall not be held up by the count, large ones are
/// held up by the memory limiter.
const BYTES_PER_TRACE: i64 = 8 * 1024;

/// How many traces may wait in one of `instances`: three tenths of the hard limit (11.2).
fn num_traces(hard_limit_mib: i32, instances: usize) -> i64 {
    let budget = i64::from(hard_limit_mib) * 1024 * 1024 * 3 / 10;
    let all = budget / BYTES_PER_TRACE / i64::try_from(instances.max(1)).unwrap_or(i64::MAX);
    all.clamp(1_000, 1_000_000)
}

/// How long the spans of a trace are waited for.
pub(crate) fn wait(spec: &CollectorsGroupSpec) -> String {
    let stated = spec.tail_sampling.as_ref().and_then(|sampling| sampling.trace_aggregation_wait_duration.clone());
    stated.unwrap_or_else(|| DEFAULT_TRACE_WAIT.to_owned())
}

/// Adds the components of every group, and the pipelines that stand beside the way of the spans.
pub(super) fn add_components(config: &mut CollectorConfig, seen: &Observed<'_>, samplers: &Samplers) {
    let spec = &seen.group.spec;
    let wait = wait(spec);
    let instances = samplers.groups.len() * if samplers.marks_only { 2 } else { 1 };
    let traces = num_traces(spec.resources_settings.memory_limiter_limit_mib, instances);
    let settings = |policies: &[Value]| {
        json!({
            "decision_wait": wait,
            "num_traces": traces,
            // A trace that waits is never thrown away for a new one: that would break floors in silence (11.1).
            "block_on_overflow": true,
            "decision_cache": {"sampled_cache_size": traces * 10, "non_sampled_cache_size": traces * 10},
            "drop_pending_traces_on_shutdown": false,
            "policies": policies,
        })
    };
    for group in &samplers.groups {
        config.add(ComponentKind::Processor, id("tail_sampling", &group.name), settings(&group.compiled.policies));
        let rules: Vec<&Rule> = match group.streams.first() {
            Some(stream) => seen.rules.accepted.of_stream(stream),
            None => Vec::new(),
        };
        if samplers.mode == Mode::Sampling && samplers.marks.any(&group.compiled) {
            let marks = attributes(&group.compiled.told, samplers.marks, &rules);
            config.add(ComponentKind::Processor, id("transform/sampling-attributes", &group.name), marks);
        }
        if samplers.marks_only {
            config.add(
                ComponentKind::Processor,
                "tail_sampling/dry-run-drop",
                settings(if group.complement.is_empty() { &group.compiled.policies } else { &group.complement }),
            );
            for (word, kept) in [("keep", true), ("drop", false)] {
                config.add(ComponentKind::Processor, format!("transform/dry-run-{word}"), dry_run_marks(kept));
            }
        }
    }
    if samplers.mode != Mode::KeepsEverything && seen.configuration.flag("sampling.samplingRuleMetrics") == Some(true) {
        add_rule_counters(config, seen, &settings);
    }
}

fn span_attribute(key: &str) -> Expression {
    Path::keyed("span.attributes", key).into()
}

fn set(target: Expression, value: Expression) -> String {
    Statement { editor: "set", arguments: vec![target, value], condition: None }.to_string()
}

/// The table from policy names to span attributes (9.6).
fn attributes(told: &BTreeMap<String, Told>, marks: Marks, rules: &[&Rule]) -> Value {
    let policy = || Expression::from(Path::keyed("scope.attributes", POLICY_ATTRIBUTE));
    let mut groups = Vec::new();
    for (name, told) in told {
        let mut statements = Vec::new();
        if marks.category {
            statements.push(set(span_attribute("odigos.sampling.category"), told.category.attribute().into()));
        }
        if let (true, Some((id, title, percentage))) = (marks.rule, &told.rule) {
            let key = |last: &str| span_attribute(&format!("odigos.sampling.trace.deciding_rule.{last}"));
            statements.push(set(key("id"), id.as_str().into()));
            statements.push(set(key("name"), title.as_str().into()));
            statements.push(set(key("keep_percentage"), Expression::Text(percentage.to_string())));
        }
        if !statements.is_empty() {
            let condition = Condition::Equal(policy(), name.as_str().into()).to_string();
            groups.push(json!({"conditions": [condition], "statements": statements}));
        }
    }
    if marks.spans {
        groups.extend(matching_rules(rules));
    }
    let forget = Statement {
        editor: "delete_key",
        arguments: vec![Path::field("scope.attributes").into(), POLICY_ATTRIBUTE.into()],
        condition: None,
    };
    groups.push(json!({"statements": [forget.to_string()]}));
    json!({"error_mode": "ignore", "trace_statements": groups})
}

/// For each span, the rule that matches it itself; of several the one that is stronger, which is written last.
fn matching_rules(rules: &[&Rule]) -> Vec<Value> {
    use crate::sampling::Category;
    let mut sorted: Vec<&Rule> = rules.iter().copied().filter(|rule| rule.category != Category::Noisy).collect();
    sorted.sort_by(|a, b| match (a.category, b.category) {
        (Category::HighlyRelevant, Category::HighlyRelevant) => a.percentage.cmp(&b.percentage),
        (a_category, b_category) => b_category.cmp(&a_category).then(b.percentage.cmp(&a.percentage)),
    });
    let conditions = compile::span_conditions(&sorted);
    let texts: BTreeMap<&str, &String> = conditions.iter().map(|(name, text)| (name.as_str(), text)).collect();
    let mut groups = Vec::new();
    for rule in sorted {
        let Some(text) = texts.get(format!("{}:{}", rule.category.word(), rule.id).as_str()) else { continue };
        let key = |last: &str| span_attribute(&format!("odigos.sampling.span.matching_rule.{last}"));
        let statements = [
            set(key("id"), rule.id.as_str().into()),
            set(key("name"), rule.title().as_str().into()),
            set(key("keep_percentage"), Expression::Text(rule.percentage.to_string())),
        ];
        groups.push(json!({"conditions": [text], "statements": statements}));
    }
    groups
}

fn dry_run_marks(kept: bool) -> Value {
    let statements = [
        set(span_attribute("odigos.sampling.dry_run"), Expression::from(Path::field("true"))),
        set(
            span_attribute("odigos.sampling.trace.kept"),
            Expression::from(Path::field(if kept { "true" } else { "false" })),
        ),
    ];
    json!({"error_mode": "ignore", "trace_statements": [{"statements": statements}]})
}

/// Port on which the counters of rules can be scraped inside the pod.
const RULE_METRICS_PORT: i32 = 9091;
/// Counts of spans that each rule matches, enabled or not.
const RULE_COUNTS: &str = "sampling-rules";
/// Feeds the shadow instance of disabled rules.
pub(super) const WHAT_IF: &str = "forward/sampling-what-if";

/// What-if: span counts of every rule, and trace counts of disabled ones by a shadow instance (9.8).
fn add_rule_counters(config: &mut CollectorConfig, seen: &Observed<'_>, settings: &dyn Fn(&[Value]) -> Value) {
    let rules: Vec<&Rule> = seen.rules.accepted.rules.iter().collect();
    let mut spans = serde_json::Map::new();
    for (name, condition) in compile::span_conditions(&rules) {
        let metric = format!("odigos.sampling.span.match_count.{}", name.replace([':', '.'], "_"));
        spans.insert(
            metric,
            json!({"description": format!("Spans that the rule {name} matches."), "conditions": [condition]}),
        );
    }
    if spans.is_empty() {
        return;
    }
    counts::add(config, RULE_COUNTS, json!({"spans": spans}), &format!("localhost:{RULE_METRICS_PORT}"));
    let policies = compile::what_if(&rules);
    if !policies.is_empty() {
        config.add(ComponentKind::Connector, WHAT_IF, json!({}));
        config.add(ComponentKind::Processor, "tail_sampling/what-if", settings(&policies));
        *config.pipeline(Signal::Traces, "what-if") = Pipeline {
            receivers: vec![WHAT_IF.into()],
            processors: vec!["tail_sampling/what-if".into()],
            exporters: vec!["nop".into()],
        };
    }
}

/// What the root pipeline of traces feeds, beside the service graph.
pub(super) fn root_exporters(config: &CollectorConfig, samplers: &Samplers, router: &str) -> Vec<String> {
    let mut exporters = Vec::new();
    match (samplers.before_router(), samplers.mode) {
        (Some(group), Mode::Sampling) => exporters.push(group.forward()),
        (Some(_), Mode::DryRun) if samplers.marks_only => {
            exporters.extend(["forward/sampling-keep", "forward/sampling-drop"].map(str::to_owned));
        }
        (Some(group), Mode::DryRun) => exporters.extend([router.to_owned(), group.forward()]),
        _ => {
            exporters.push(router.to_owned());
            let whole = samplers.groups.iter().filter(|group| group.view == SamplingView::Trace);
            exporters.extend(whole.map(Group::forward));
        }
    }
    exporters.extend(
        [counts::connector(RULE_COUNTS), WHAT_IF.to_owned()]
            .into_iter()
            .filter(|id| config.get(ComponentKind::Connector, id).is_some()),
    );
    exporters
}

/// The pipelines between the root and the router, for the sampler that stands there.
pub(super) fn add_before_router(config: &mut CollectorConfig, samplers: &Samplers, late: &[String], router: &str) {
    let Some(group) = samplers.before_router() else { return };
    if samplers.marks_only {
        for (word, sampler) in [("keep", "tail_sampling"), ("drop", "tail_sampling/dry-run-drop")] {
            let forward = format!("forward/sampling-{word}");
            config.add(ComponentKind::Connector, forward.clone(), json!({}));
            let mut processors = vec![sampler.to_owned(), format!("transform/dry-run-{word}")];
            processors.extend_from_slice(late);
            *config.pipeline(Signal::Traces, format!("dry-run.{word}")) =
                Pipeline { receivers: vec![forward], processors, exporters: vec![router.to_owned()] };
        }
        return;
    }
    config.add(ComponentKind::Connector, group.forward(), json!({}));
    if samplers.mode == Mode::DryRun {
        *config.pipeline(Signal::Traces, group.shadow()) = Pipeline {
            receivers: vec![group.forward()],
            processors: vec![id("tail_sampling", &group.name)],
            exporters: vec!["nop".into()],
        };
        return;
    }
    let mut processors = group.processors(&samplers.marks);
    processors.extend_from_slice(late);
    *config.pipeline(Signal::Traces, "sampled") =
        Pipeline { receivers: vec![group.forward()], processors, exporters: vec![router.to_owned()] };
}

/// The pipeline of a group that stands behind the root (trace view) or behind the router (several streams).
pub(super) fn add_hub(config: &mut CollectorConfig, samplers: &Samplers, group: &Group, router: &str, own: &str) {
    let receivers = if group.view == SamplingView::Trace {
        config.add(ComponentKind::Connector, group.forward(), json!({}));
        vec![group.forward()]
    } else {
        vec![router.to_owned()]
    };
    let mut processors = group.early.clone();
    if samplers.mode == Mode::DryRun {
        processors.push(id("tail_sampling", &group.name));
        *config.pipeline(Signal::Traces, group.shadow()) =
            Pipeline { receivers, processors, exporters: vec!["nop".into()] };
        return;
    }
    processors.extend(group.processors(&samplers.marks));
    *config.pipeline(Signal::Traces, group.hub()) = Pipeline { receivers, processors, exporters: vec![own.to_owned()] };
}
