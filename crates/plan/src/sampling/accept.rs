//! Sampling objects into accepted rules. A bad rule is left out and named by object, index and field; the rest stays.

use super::built_in::BuiltIns;
use super::foreign;
use super::limits;
use super::rule::{Alternative, Category, Operation, Origin, PathRule, Percentage, Rule, Scope, SourceKey, id};
use crate::covered::LANGUAGES;
use crate::spelling::nearest;
use jiff::Timestamp;
use odigos_api::operation::{HeadOperation, TailOperation};
use odigos_api::sampling::Sampling;
use odigos_api::scope::{AnyScope, SourcesScopes, WorkloadScope};
use odigos_api::{Finding, Severity, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};

/// Longest text of a matcher; more would make every expression of the collector slow.
pub(super) const TEXT_LIMIT: usize = 1024;
/// Characters of a name that spans can carry; the rest is cut.
const NAME_LIMIT: usize = 200;
/// Most segments of a path template.
const SEGMENT_LIMIT: usize = 64;
/// What became of the Sampling objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Accepted rules of every object, disabled ones included, in order.
    pub rules: Vec<Rule>,
    /// By object name.
    pub objects: BTreeMap<String, ObjectFacts>,
    /// What is wrong with single rules, and what people should know.
    pub findings: Vec<Finding>,
    /// What to say of health probes for which there is no room.
    pub left_out_probes: Option<String>,
}

/// What became of one Sampling object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its kind, namespace and name, as findings say it.
    pub title: String,
    /// Rules that it states.
    pub stated: usize,
    /// Rules that take part in decisions.
    pub enabled: usize,
    /// `spec.disabled`.
    pub disabled: bool,
    /// When it was created, if it was.
    pub created: Option<Timestamp>,
    /// Bytes that its rules come to in the configuration of a gateway.
    pub rendered: usize,
    /// Why none of its rules is used, where there is no room for them.
    pub left_out: Option<String>,
    /// Problems, each with index and field.
    pub problems: Vec<String>,
    /// What people should know of usable rules, each with index and field.
    pub remarks: Vec<String>,
}

impl Accepted {
    /// The rules that take part in decisions.
    pub fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// The rules of a stream that take part: global ones and those that name it (section 10).
    #[must_use]
    pub fn of_stream(&self, stream: &str) -> Vec<&Rule> {
        self.enabled().filter(|rule| rule.is_for_stream(Some(stream))).collect()
    }

    /// Adds rules that come from elsewhere, e.g. from health probes, and brings all into their order.
    pub fn add(&mut self, rules: impl IntoIterator<Item = Rule>) {
        self.rules.extend(rules);
        self.rules.sort_by(|a, b| a.order().cmp(&b.order()));
    }
}

/// Reads the rules of all objects.
pub fn accept<'a>(objects: impl IntoIterator<Item = &'a Sampling>) -> Accepted {
    let mut accepted = Accepted::default();
    for object in objects {
        let mut reader = Reader::new(object);
        let count = limits::count(&object.spec);
        if count > limits::MOST_READ {
            let message = format!("it has {count} rules, which do not fit into a gateway; use fewer");
            accepted.findings.push(reader.facts.leave_out(message));
            reader.facts.stated = count;
            accepted.objects.insert(reader.name, reader.facts);
            continue;
        }
        reader.read(object, &mut accepted);
    }
    accepted.fit();
    accepted.add([]);
    accepted.findings.sort();
    accepted
}

/// As [`accept`], with the rules that settings switch on.
pub fn accept_with<'a>(built_ins: BuiltIns, objects: impl IntoIterator<Item = &'a Sampling>) -> Accepted {
    let mut accepted = accept(objects);
    accepted.add(built_ins.rules());
    accepted
}

/// Reads one object.
struct Reader {
    title: String,
    name: String,
    streams: BTreeSet<String>,
    disabled: bool,
    facts: ObjectFacts,
    findings: Vec<Finding>,
}

/// What the three kinds of rules have in common.
struct Stated<'a> {
    category: Category,
    index: usize,
    name: Option<&'a str>,
    disabled: Option<bool>,
    scope: Option<&'a AnyScope>,
    operation: Result<Operation, (String, String)>,
    percentage: (&'static str, Option<f64>, Percentage),
    error: bool,
    duration_at_least_ms: Option<i64>,
    /// Prefix that is not used, since a whole path is stated beside it.
    unused_prefix: Option<&'static str>,
}

impl Reader {
    fn new(object: &Sampling) -> Self {
        let name = object.metadata.name.clone().unwrap_or_default();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let disabled = object.spec.disabled == Some(true);
        let title = format!("Sampling {namespace}/{name}");
        Self {
            title: title.clone(),
            name,
            streams: object.spec.data_streams.iter().flatten().cloned().collect(),
            disabled,
            facts: ObjectFacts {
                title,
                disabled,
                created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
                ..ObjectFacts::default()
            },
            findings: Vec::new(),
        }
    }

    fn read(mut self, object: &Sampling, accepted: &mut Accepted) {
        for (n, stream) in object.spec.data_streams.iter().flatten().enumerate() {
            if let Some(message) = foreign::of_stream(stream) {
                self.report(Severity::Warning, format!("spec.dataStreams[{n}]"), &message);
            }
        }
        let mut rules = Vec::new();
        for (index, rule) in object.spec.noisy_operations.iter().enumerate() {
            rules.extend(self.rule(Stated {
                category: Category::Noisy,
                index,
                name: rule.name.as_deref(),
                disabled: rule.disabled,
                scope: rule.source_scopes.as_ref(),
                operation: head_operation(rule.operation.as_ref()),
                percentage: ("percentageAtMost", rule.percentage_at_most, Percentage::ZERO),
                error: false,
                duration_at_least_ms: None,
                unused_prefix: rule.operation.as_ref().and_then(unused_head_prefix),
            }));
        }
        for (index, rule) in object.spec.highly_relevant_operations.iter().enumerate() {
            rules.extend(self.rule(Stated {
                category: Category::HighlyRelevant,
                index,
                name: rule.name.as_deref(),
                disabled: rule.disabled,
                scope: rule.source_scopes.as_ref(),
                operation: tail_operation(rule.operation.as_ref()),
                percentage: ("percentageAtLeast", rule.percentage_at_least, Percentage::HUNDRED),
                error: rule.error == Some(true),
                duration_at_least_ms: rule.duration_at_least_ms,
                unused_prefix: rule.operation.as_ref().and_then(unused_tail_prefix),
            }));
        }
        for (index, rule) in object.spec.cost_reduction_rules.iter().enumerate() {
            rules.extend(self.rule(Stated {
                category: Category::CostReduction,
                index,
                name: rule.name.as_deref(),
                disabled: rule.disabled,
                scope: rule.source_scopes.as_ref(),
                operation: tail_operation(rule.operation.as_ref()),
                percentage: ("percentageAtMost", Some(rule.percentage_at_most), Percentage::HUNDRED),
                error: false,
                duration_at_least_ms: None,
                unused_prefix: rule.operation.as_ref().and_then(unused_tail_prefix),
            }));
        }
        if self.facts.stated == 0 && !self.disabled {
            let message = "it states no rule, so it changes nothing; add noisyOperations, highlyRelevantOperations or costReductionRules";
            self.report(Severity::Warning, "spec".to_owned(), message);
        }
        self.facts.enabled = rules.iter().filter(|rule| rule.enabled).count();
        accepted.rules.extend(rules);
        accepted.findings.extend(self.findings);
        accepted.objects.insert(self.name, self.facts);
    }

    fn say(&mut self, severity: Severity, at: &str, field: &str, message: &str) {
        self.report(severity, format!("spec.{at}.{field}"), message);
    }

    fn report(&mut self, severity: Severity, field: String, message: &str) {
        match severity {
            Severity::Error => self.facts.problems.push(format!("{field}: {message}")),
            _ => self.facts.remarks.push(format!("{field}: {message}")),
        }
        let title = self.title.clone();
        self.findings.push(match severity {
            Severity::Error => Finding::error(title, field, message),
            _ => Finding::warning(title, field, message),
        });
    }

    fn rule(&mut self, stated: Stated<'_>) -> Option<Rule> {
        self.facts.stated += 1;
        let at = format!("{}[{}]", stated.category.field(), stated.index);
        let mut bad = false;
        let (field, number, absent) = stated.percentage;
        let percentage = number.map_or(Ok(absent), Percentage::new).unwrap_or_else(|message| {
            self.say(Severity::Error, &at, field, &message);
            bad = true;
            Percentage::HUNDRED
        });
        let mut operation = stated.operation.unwrap_or_else(|(field, message)| {
            self.say(Severity::Error, &at, &format!("operation{field}"), &message);
            bad = true;
            Operation::Any
        });
        if let Some(prefix) = normalise_prefix(&mut operation) {
            let message = format!("the slash at the end of {prefix:?} is ignored: prefixes are whole segments");
            self.say(Severity::Warning, &at, "operation", &message);
        }
        let scope = self.scope(&at, stated.scope).unwrap_or_else(|| {
            bad = true;
            Scope::Everything
        });
        let limit = i64::MAX / 1_000_000;
        if let Some(ms) = stated.duration_at_least_ms.filter(|ms| !(0..=limit).contains(ms)) {
            self.say(Severity::Error, &at, "durationAtLeastMs", &format!("{ms} must be between 0 and {limit}"));
            bad = true;
        }
        if bad {
            return None;
        }
        if let Some(field) = stated.unused_prefix {
            let message = "it has no effect beside the whole path, which is compared; remove one";
            self.say(Severity::Warning, &at, &format!("operation.{field}"), message);
        }
        for (field, message) in foreign::remarks(&operation, &scope) {
            self.say(Severity::Warning, &at, &field, &message);
        }
        Some(Rule {
            category: stated.category,
            id: id(stated.category, &scope, &operation, stated.error, stated.duration_at_least_ms),
            name: stated.name.unwrap_or_default().chars().take(NAME_LIMIT).collect(),
            percentage,
            scope,
            operation,
            error: stated.error,
            duration_at_least_ms: stated.duration_at_least_ms,
            enabled: !self.disabled && stated.disabled != Some(true),
            origin: Origin { object: self.name.clone(), index: stated.index },
            streams: self.streams.clone(),
        })
    }

    fn scope(&mut self, at: &str, scope: Option<&AnyScope>) -> Option<Scope> {
        let read = match scope {
            None => return Some(Scope::Everything),
            Some(AnyScope::Lists(lists)) => lists_scope(lists),
            Some(AnyScope::Workloads(items)) => items
                .iter()
                .enumerate()
                .map(|(n, item)| alternative(n, item))
                .collect::<Result<Vec<_>, _>>()
                .map(|items| if items.is_empty() { Scope::Everything } else { Scope::AnyOf(items) }),
            Some(AnyScope::Other(_)) => Err((
                String::new(),
                "must be an object of sources, namespaces and languages, or a list of workloads".to_owned(),
            )),
        };
        match read {
            Ok(scope) => Some(scope),
            Err((field, message)) => {
                self.say(Severity::Error, at, &format!("sourceScopes{field}"), &message);
                None
            }
        }
    }
}

type Problem = (String, String);

fn kind(text: &str, field: &str) -> Result<WorkloadKind, Problem> {
    WorkloadKind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = WorkloadKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let near = nearest(text, known.iter().copied()).map(|near| format!("did you mean {near}?"));
        let hint = near.unwrap_or_else(|| format!("use one of {}", known.join(", ")));
        (field.to_owned(), format!("{text:?} is no kind of workload; {hint}"))
    })
}

fn language(text: &str, field: String) -> Result<String, Problem> {
    if LANGUAGES.contains(&text) {
        return Ok(text.to_owned());
    }
    let near = nearest(text, LANGUAGES).map(|near| format!("; did you mean {near}?"));
    let hint = near.unwrap_or_else(|| format!("; use one of {}", LANGUAGES.join(", ")));
    Err((field, format!("{text:?} is no language{hint}")))
}

pub(super) fn lists_scope(lists: &SourcesScopes) -> Result<Scope, Problem> {
    let mut sources = BTreeSet::new();
    for (n, source) in lists.sources.iter().enumerate() {
        if source.name.is_empty() || source.namespace.is_empty() {
            return Err((format!(".sources[{n}]"), "namespace and name must not be empty".into()));
        }
        let kind = kind(&source.kind, &format!(".sources[{n}].kind"))?;
        sources.insert(SourceKey { namespace: source.namespace.clone(), kind, name: source.name.clone() });
    }
    if let Some(n) = lists.namespaces.iter().position(String::is_empty) {
        return Err((format!(".namespaces[{n}]"), "must not be empty".into()));
    }
    let languages = lists
        .languages
        .iter()
        .enumerate()
        .map(|(n, text)| language(text, format!(".languages[{n}]")))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let namespaces: BTreeSet<String> = lists.namespaces.iter().cloned().collect();
    if sources.is_empty() && namespaces.is_empty() && languages.is_empty() {
        return Ok(Scope::Everything);
    }
    Ok(Scope::Lists { sources, namespaces, languages })
}

fn alternative(n: usize, item: &WorkloadScope) -> Result<Alternative, Problem> {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let stated = some(&item.workload_kind).map(|text| kind(&text, &format!("[{n}].workloadKind"))).transpose()?;
    let spoken =
        some(&item.workload_language).map(|text| language(&text, format!("[{n}].workloadLanguage"))).transpose()?;
    Ok(Alternative {
        namespace: some(&item.workload_namespace),
        kind: stated,
        name: some(&item.workload_name),
        language: spoken,
    })
}

fn head_operation(operation: Option<&HeadOperation>) -> Result<Operation, Problem> {
    let Some(operation) = operation else { return Ok(Operation::Any) };
    let HeadOperation { http_server, http_client, grpc_server, grpc_client } = operation;
    at_most_one(&[
        ("httpServer", http_server.is_some()),
        ("httpClient", http_client.is_some()),
        ("grpcServer", grpc_server.is_some()),
        ("grpcClient", grpc_client.is_some()),
    ])?;
    if let Some(server) = http_server {
        let mut query = Vec::new();
        for (n, pair) in server.query_params.iter().enumerate() {
            let field = format!(".httpServer.queryParams[{n}]");
            if pair.name.is_empty() {
                return Err((field, "the parameter has no name".into()));
            }
            if pair.name.contains(['&', '=', '#']) || pair.value_exact.contains(['&', '#']) {
                return Err((field, "write & = and # percent-encoded, as they stand in a URL".into()));
            }
            bounded(&field, Some(&pair.name))?;
            bounded(&field, Some(&pair.value_exact))?;
            query.push((pair.name.clone(), pair.value_exact.clone()));
        }
        query.sort();
        query.dedup();
        return Ok(Operation::HttpServer {
            path: path(".httpServer", server.route.as_ref(), server.route_prefix.as_ref())?,
            method: method(".httpServer.method", server.method.as_ref())?,
            query,
        });
    }
    if let Some(client) = http_client {
        return Ok(Operation::HttpClient {
            server_address: bounded(".httpClient.serverAddress", client.server_address.as_ref())?,
            path: path(".httpClient", client.templated_path.as_ref(), client.templated_path_prefix.as_ref())?,
            method: method(".httpClient.method", client.method.as_ref())?,
        });
    }
    if let Some(server) = grpc_server {
        return Ok(Operation::GrpcServer {
            service: bounded(".grpcServer.service", server.service.as_ref())?,
            method: bounded(".grpcServer.method", server.method.as_ref())?,
        });
    }
    if let Some(client) = grpc_client {
        return Ok(Operation::GrpcClient {
            service: bounded(".grpcClient.service", client.service.as_ref())?,
            method: bounded(".grpcClient.method", client.method.as_ref())?,
            server_address: bounded(".grpcClient.serverAddress", client.server_address.as_ref())?,
        });
    }
    Ok(Operation::Any)
}

fn tail_operation(operation: Option<&TailOperation>) -> Result<Operation, Problem> {
    let Some(operation) = operation else { return Ok(Operation::Any) };
    let TailOperation { http_server, kafka_consumer, kafka_producer } = operation;
    at_most_one(&[
        ("httpServer", http_server.is_some()),
        ("kafkaConsumer", kafka_consumer.is_some()),
        ("kafkaProducer", kafka_producer.is_some()),
    ])?;
    if let Some(server) = http_server {
        return Ok(Operation::HttpServer {
            path: path(".httpServer", server.route.as_ref(), server.route_prefix.as_ref())?,
            method: method(".httpServer.method", server.method.as_ref())?,
            query: Vec::new(),
        });
    }
    if let Some(consumer) = kafka_consumer {
        let topic = bounded(".kafkaConsumer.kafkaTopic", consumer.kafka_topic.as_ref())?;
        return Ok(Operation::KafkaConsumer { topic });
    }
    if let Some(producer) = kafka_producer {
        let topic = bounded(".kafkaProducer.kafkaTopic", producer.kafka_topic.as_ref())?;
        return Ok(Operation::KafkaProducer { topic });
    }
    Ok(Operation::Any)
}

fn unused_head_prefix(operation: &HeadOperation) -> Option<&'static str> {
    let server = operation.http_server.as_ref().filter(|one| are_both(one.route.as_ref(), one.route_prefix.as_ref()));
    let client = operation.http_client.as_ref();
    let client = client.filter(|one| are_both(one.templated_path.as_ref(), one.templated_path_prefix.as_ref()));
    server.map(|_| "httpServer.routePrefix").or(client.map(|_| "httpClient.templatedPathPrefix"))
}

fn unused_tail_prefix(operation: &TailOperation) -> Option<&'static str> {
    let server = operation.http_server.as_ref()?;
    are_both(server.route.as_ref(), server.route_prefix.as_ref()).then_some("httpServer.routePrefix")
}

fn are_both(exact: Option<&String>, prefix: Option<&String>) -> bool {
    [exact, prefix].into_iter().all(|one| one.is_some_and(|text| !text.is_empty()))
}

fn at_most_one(set: &[(&str, bool)]) -> Result<(), Problem> {
    let set: Vec<&str> = set.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if set.len() > 1 {
        return Err((
            String::new(),
            format!("holds {}; a rule is for one of them: make several rules", set.join(" and ")),
        ));
    }
    Ok(())
}

/// A text, absent when empty.
fn bounded(field: &str, text: Option<&String>) -> Result<Option<String>, Problem> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > TEXT_LIMIT => Err((field.to_owned(), format!("is longer than {TEXT_LIMIT} bytes"))),
        Some(text) if text.contains('\0') => Err((field.to_owned(), "holds a zero byte".to_owned())),
        other => Ok(other.cloned()),
    }
}

fn method(field: &str, text: Option<&String>) -> Result<Option<String>, Problem> {
    let method = bounded(field, text)?;
    match &method {
        // What agents report in place of a method that they do not know.
        Some(text) if text == "_OTHER" => Ok(method),
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Err((field.to_owned(), format!("{text:?} is no HTTP method: letters only")))
        }
        _ => Ok(method),
    }
}

fn path(field: &str, exact: Option<&String>, prefix: Option<&String>) -> Result<Option<PathRule>, Problem> {
    let (exact_field, prefix_field) = match field {
        ".httpClient" => ("templatedPath", "templatedPathPrefix"),
        _ => ("route", "routePrefix"),
    };
    let exact = bounded(&format!("{field}.{exact_field}"), exact)?;
    let prefix = bounded(&format!("{field}.{prefix_field}"), prefix)?;
    let (rule, name, text) = match (exact, prefix) {
        (Some(text), _) => (PathRule::Exact(text.clone()), exact_field, text),
        (None, Some(text)) => (PathRule::Prefix(text.clone()), prefix_field, text),
        (None, None) => return Ok(None),
    };
    if text.split('/').count() > SEGMENT_LIMIT {
        return Err((format!("{field}.{name}"), format!("has more than {SEGMENT_LIMIT} segments")));
    }
    Ok(Some(rule))
}

/// Takes the slash at the end of a prefix away (2.2); returns the prefix as it was.
fn normalise_prefix(operation: &mut Operation) -> Option<String> {
    let (Operation::HttpServer { path, .. } | Operation::HttpClient { path, .. }) = operation else { return None };
    let Some(PathRule::Prefix(prefix)) = path else { return None };
    let short = prefix.trim_end_matches('/');
    if short.is_empty() || short.len() == prefix.len() {
        return None;
    }
    let short = short.to_owned();
    Some(std::mem::replace(prefix, short))
}
