//! The law: a plain reading of `spec/sampling.md` 6, with 2.1, 2.2 and 3 for what a span matches.
//!
//! Slow and obvious. It shares no matching, path or threshold code with the compiler, so that agreement of the two
//! proves something. Never optimise it.

use super::rule::{Alternative, Category, ContainerKey, Operation, PathRule, Percentage, Rule, Scope, SourceKey};
use super::span::{Span, SpanKind};
use crate::workload::sdk_language;
use odigos_api::WorkloadKind;

/// What is decided about a trace, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether it is kept.
    pub keep: bool,
    /// Percentage that applies.
    pub percentage: Percentage,
    /// Category and position of the deciding rule in the list that was given; `None` when nothing matched.
    pub decided_by: Option<(Category, usize)>,
}

/// Decides about a trace; rules that are not enabled are passed over.
#[must_use]
pub fn decide(rules: &[&Rule], trace: &[Span]) -> Decision {
    let mut matched: Vec<usize> = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        if rule.enabled && matches_trace(rule, trace) {
            matched.push(position);
        }
    }
    decide_matched(rules, &matched, trace.first().map(|span| span.trace_id).unwrap_or_default())
}

/// Section 6, steps 3 and 4, once it is known which rules match.
#[must_use]
pub fn decide_matched(rules: &[&Rule], matched: &[usize], trace_id: [u8; 16]) -> Decision {
    let of = |category: Category| -> Vec<usize> {
        matched.iter().copied().filter(|position| rules[*position].category == category).collect()
    };
    let noisy = of(Category::Noisy);
    let relevant = of(Category::HighlyRelevant);
    let costly = of(Category::CostReduction);
    let percentage = |position: &usize| rules[*position].percentage;
    // Ties change nothing but who is named: the smallest id.
    let lowest = |positions: &[usize]| positions.iter().copied().min_by_key(|p| (percentage(p), &rules[*p].id));
    let highest = |positions: &[usize]| {
        positions.iter().copied().min_by_key(|p| (std::cmp::Reverse(percentage(p)), &rules[*p].id))
    };
    let deciding = if !noisy.is_empty() {
        lowest(&noisy)
    } else if !relevant.is_empty() {
        highest(&relevant)
    } else {
        lowest(&costly)
    };
    let percentage = deciding.map_or(Percentage::HUNDRED, |position| rules[position].percentage);
    Decision {
        keep: passes(trace_id, percentage),
        percentage,
        decided_by: deciding.map(|position| (rules[position].category, position)),
    }
}

/// Whether a rule matches a trace: noisy rules by a root span, the others by any span.
#[must_use]
pub fn matches_trace(rule: &Rule, trace: &[Span]) -> bool {
    for span in trace {
        if rule.category == Category::Noisy && span.has_parent {
            continue;
        }
        if matches_span(rule, span) {
            return true;
        }
    }
    false
}

/// Whether a rule matches a span: scope, operation, error and duration, all on this one span.
#[must_use]
pub fn matches_span(rule: &Rule, span: &Span) -> bool {
    if !in_scope(&rule.scope, span) || !is_operation(&rule.operation, span) {
        return false;
    }
    if rule.error && !span.error {
        return false;
    }
    if let Some(milliseconds) = rule.duration_at_least_ms {
        let took = i128::from(span.end) - i128::from(span.start);
        if took < i128::from(milliseconds) * 1_000_000 {
            return false;
        }
    }
    true
}

/// keep ⇔ R ≥ T(p): R is the low 56 bits of the trace id, T(p) = round((1 − p/100)·2⁵⁶).
fn passes(trace_id: [u8; 16], percentage: Percentage) -> bool {
    let mut random: u128 = 0;
    for byte in &trace_id[9..] {
        random = random * 256 + u128::from(*byte);
    }
    let hundred: u128 = 100_000_000;
    let dropped = hundred - u128::from(percentage.millionths());
    let scaled = dropped * (1 << 56);
    let mut threshold = scaled / hundred;
    if (scaled % hundred) * 2 >= hundred {
        threshold += 1;
    }
    random >= threshold
}

/// Section 3. A resource that is no known source has no rules at all.
pub(super) fn in_scope(scope: &Scope, span: &Span) -> bool {
    match scope {
        Scope::Everything => is_known(span),
        Scope::Lists { sources, namespaces, languages } => {
            let source_fits = sources.is_empty() || sources.iter().any(|source| is_source(source, span));
            let namespace_fits = namespaces.is_empty()
                || namespaces.iter().any(|name| span.of_resource("k8s.namespace.name") == Some(name));
            let language_fits = languages.is_empty() || languages.iter().any(|name| speaks(name, span));
            // A source that a rule names is known by being named.
            let known = !sources.is_empty() || is_known(span);
            source_fits && namespace_fits && language_fits && known
        }
        Scope::AnyOf(alternatives) => is_known(span) && alternatives.iter().any(|one| is_alternative(one, span)),
        Scope::Containers(containers) => containers.iter().any(|one| is_container(one, span)),
    }
}

/// The scope of an Action: what it names, known or not.
pub(super) fn in_scope_of_action(scope: &Scope, span: &Span) -> bool {
    let Scope::Lists { sources, namespaces, languages } = scope else { return in_scope(scope, span) };
    let of_source = sources.is_empty() || sources.iter().any(|source| is_source(source, span));
    let of_namespace =
        namespaces.is_empty() || namespaces.iter().any(|name| span.of_resource("k8s.namespace.name") == Some(name));
    let of_language = languages.is_empty() || languages.iter().any(|name| speaks(name, span));
    of_source && of_namespace && of_language
}

fn is_known(span: &Span) -> bool {
    span.of_resource("k8s.namespace.name").is_some() && span.of_resource("odigos.workload.name").is_some()
}

fn is_source(source: &SourceKey, span: &Span) -> bool {
    span.of_resource("k8s.namespace.name") == Some(&source.namespace) && is_workload(source.kind, &source.name, span)
}

fn is_workload(kind: WorkloadKind, name: &str, span: &Span) -> bool {
    if span.of_resource("odigos.workload.kind") == Some(kind.as_str())
        && span.of_resource("odigos.workload.name") == Some(name)
    {
        return true;
    }
    let attribute = match kind {
        WorkloadKind::Deployment => "k8s.deployment.name",
        WorkloadKind::StatefulSet => "k8s.statefulset.name",
        WorkloadKind::DaemonSet => "k8s.daemonset.name",
        WorkloadKind::CronJob => "k8s.cronjob.name",
        WorkloadKind::Job => "k8s.job.name",
        WorkloadKind::Rollout => "k8s.argoproj.rollout.name",
        WorkloadKind::DeploymentConfig | WorkloadKind::StaticPod => return false,
    };
    span.of_resource(attribute) == Some(name)
}

fn is_alternative(one: &Alternative, span: &Span) -> bool {
    if one.namespace.as_deref().is_some_and(|name| span.of_resource("k8s.namespace.name") != Some(name)) {
        return false;
    }
    let workload = match (one.kind, one.name.as_deref()) {
        (Some(kind), Some(name)) => is_workload(kind, name, span),
        (Some(kind), None) => span.of_resource("odigos.workload.kind") == Some(kind.as_str()),
        (None, Some(name)) => span.of_resource("odigos.workload.name") == Some(name),
        (None, None) => true,
    };
    workload && one.language.as_deref().is_none_or(|name| speaks(name, span))
}

fn is_container(one: &ContainerKey, span: &Span) -> bool {
    is_source(&one.source, span) && span.of_resource("k8s.container.name") == Some(&one.container)
}

fn speaks(language: &str, span: &Span) -> bool {
    span.of_resource("telemetry.sdk.language") == Some(sdk_language(language))
}

/// Section 2.1.
fn is_operation(operation: &Operation, span: &Span) -> bool {
    match operation {
        Operation::Any => true,
        Operation::HttpServer { path, method, query } => {
            span.kind == SpanKind::Server
                && is_http(method.as_deref(), span)
                && path.as_ref().is_none_or(|rule| requested_path(span).is_some_and(|path| fits(rule, &path)))
                && query.iter().all(|(name, value)| asked(span).any(|pair| pair == format!("{name}={value}")))
        }
        Operation::HttpClient { server_address, path, method } => {
            span.kind == SpanKind::Client
                && is_http(method.as_deref(), span)
                && server_address.as_deref().is_none_or(|host| span.attribute("server.address") == Some(host))
                && path.as_ref().is_none_or(|rule| span.attribute("url.template").is_some_and(|path| fits(rule, path)))
        }
        Operation::GrpcServer { service, method } => {
            span.kind == SpanKind::Server && is_grpc(service.as_deref(), method.as_deref(), span)
        }
        Operation::GrpcClient { service, method, server_address } => {
            span.kind == SpanKind::Client
                && is_grpc(service.as_deref(), method.as_deref(), span)
                && server_address.as_deref().is_none_or(|host| span.attribute("server.address") == Some(host))
        }
        Operation::KafkaConsumer { topic } => {
            is_kafka(SpanKind::Consumer, &["receive", "process"], topic.as_deref(), span)
        }
        Operation::KafkaProducer { topic } => {
            is_kafka(SpanKind::Producer, &["send", "publish", "create"], topic.as_deref(), span)
        }
    }
}

fn is_http(wanted: Option<&str>, span: &Span) -> bool {
    match span.attribute("http.request.method").or_else(|| span.attribute("http.method")) {
        None => false,
        Some(method) => wanted.is_none_or(|wanted| method.eq_ignore_ascii_case(wanted)),
    }
}

fn requested_path(span: &Span) -> Option<String> {
    if let Some(route) = span.attribute("http.route") {
        return Some(route.to_owned());
    }
    if let Some(path) = span.attribute("url.path") {
        return Some(path.to_owned());
    }
    let target = span.attribute("http.target")?;
    Some(target.split('?').next().unwrap_or_default().to_owned())
}

/// The pairs of the query, as written.
fn asked(span: &Span) -> impl Iterator<Item = &str> {
    let query = match span.attribute("url.query") {
        Some(query) => Some(query),
        None => span.attribute("http.target").and_then(|target| target.split_once('?')).map(|(_, query)| query),
    };
    query.into_iter().flat_map(|query| query.split('&'))
}

fn is_grpc(service: Option<&str>, method: Option<&str>, span: &Span) -> bool {
    let system = span.attribute("rpc.system.name").or_else(|| span.attribute("rpc.system"));
    if system.is_some_and(|system| !system.eq_ignore_ascii_case("grpc")) {
        return false;
    }
    let (stated_service, stated_method) = (span.attribute("rpc.service"), span.attribute("rpc.method"));
    if stated_service.is_none() && stated_method.is_none() {
        return false;
    }
    let halves = stated_method.and_then(|full| full.split_once('/')).filter(|(a, b)| !a.is_empty() && !b.is_empty());
    let effective_method = halves.map(|(_, method)| method).or(stated_method);
    let effective_service = stated_service.or(halves.map(|(service, _)| service));
    service.is_none_or(|wanted| effective_service == Some(wanted))
        && method.is_none_or(|wanted| effective_method == Some(wanted))
}

fn is_kafka(kind: SpanKind, client_operations: &[&str], topic: Option<&str>, span: &Span) -> bool {
    let operation = span.attribute("messaging.operation.type").unwrap_or_default();
    let role = span.kind == kind || (span.kind == SpanKind::Client && client_operations.contains(&operation));
    let destination = span
        .attribute("messaging.destination.name")
        .or_else(|| span.attribute("messaging.destination"))
        .or_else(|| span.attribute("messaging.kafka.topic"));
    role && span.attribute("messaging.system") == Some("kafka")
        && topic.is_none_or(|wanted| destination == Some(wanted))
}

/// Section 2.2.
fn fits(rule: &PathRule, path: &str) -> bool {
    match rule {
        PathRule::Exact(template) => {
            let (template, path) = (segments(template), segments(path));
            template.len() == path.len() && same_segments(&template, &path)
        }
        PathRule::Prefix(template) => {
            let (template, path) = (segments(template), segments(path));
            template == [""] || (path.len() >= template.len() && same_segments(&template, &path))
        }
        PathRule::Literal(wanted) => segments(wanted) == segments(path),
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.strip_prefix('/').unwrap_or(path).split('/').collect()
}

fn same_segments(template: &[&str], path: &[&str]) -> bool {
    template.iter().zip(path).all(|(wanted, found)| is_wildcard(wanted) || wanted == found)
}

fn is_wildcard(segment: &str) -> bool {
    segment == "*" || (segment.len() >= 2 && segment.starts_with('{') && segment.ends_with('}'))
}
