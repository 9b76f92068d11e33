//! What a rule matches, as a condition of the collector over one span (`spec/sampling.md` 9.3).
//!
//! Cheap tests stand first: kind, then the gate, then scope, regular expressions last. Every value is tested for being
//! there before it is used, so that no condition fails at run time. Upper and lower case are spelled out, since the
//! collector's case-insensitive mode also folds letters beyond ASCII.

use super::gate::Gate;
use super::path::{Subject, expression, literal};
use super::rule::{Alternative, Category, ContainerKey, Operation, PathRule, Rule, Scope, SourceKey};
use crate::workload::{resource_attribute, sdk_language};
use odigos_api::WorkloadKind;
use odigos_pipeline::ottl::{Condition, Expression, Path};
use regex::escape;
use std::collections::{BTreeMap, BTreeSet};

/// More sources than this are tested by one look-up in a list.
const LONG_LIST: usize = 8;

/// The condition of a rule with a gate; `None` when the gate is never open.
pub(super) fn condition(rule: &Rule, gate: Gate) -> Option<Condition> {
    let gate = match gate {
        Gate::Never => return None,
        Gate::Always => None,
        Gate::When(condition) => Some(condition),
    };
    let mut all = Vec::new();
    if rule.category == Category::Noisy {
        all.push(Condition::Call("IsRootSpan", vec![]));
    }
    all.extend(kind(&rule.operation));
    all.extend(gate);
    if rule.error {
        all.push(Condition::Equal(field("span.status.code"), field("STATUS_CODE_ERROR")));
    }
    if let Some(milliseconds) = rule.duration_at_least_ms {
        let took =
            Expression::Minus(Box::new(field("span.end_time_unix_nano")), Box::new(field("span.start_time_unix_nano")));
        all.push(Condition::AtLeast(took, Expression::Integer(milliseconds.saturating_mul(1_000_000))));
    }
    flatten(scope(&rule.scope), &mut all);
    operation(&rule.operation, &mut all);
    Some(Condition::All(all))
}

/// The condition of a rule alone.
pub(super) fn matches(rule: &Rule) -> Condition {
    condition(rule, Gate::Always).unwrap_or(Condition::All(vec![]))
}

fn flatten(condition: Condition, all: &mut Vec<Condition>) {
    match condition {
        Condition::All(parts) => all.extend(parts),
        other => all.push(other),
    }
}

fn field(fields: &'static str) -> Expression {
    Path::field(fields).into()
}

fn attribute(key: &str) -> Expression {
    Path::keyed("span.attributes", key).into()
}

fn resource(key: &str) -> Expression {
    Path::keyed("resource.attributes", key).into()
}

fn is(left: Expression, text: &str) -> Condition {
    Condition::Equal(left, text.into())
}

fn there(left: Expression) -> Condition {
    Condition::NotEqual(left, Expression::Nil)
}

fn absent(left: Expression) -> Condition {
    Condition::Equal(left, Expression::Nil)
}

fn is_match(left: Expression, regex: &str) -> Condition {
    Condition::Call("IsMatch", vec![left, regex.into()])
}

/// `Any` of one is that one.
fn any(mut conditions: Vec<Condition>) -> Condition {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        Some(last) => {
            conditions.push(last);
            Condition::Any(conditions)
        }
        None => Condition::Any(conditions),
    }
}

/// A text in whatever case, ASCII letters only.
pub(super) fn any_case(text: &str) -> String {
    let mut out = String::from("^");
    for c in text.chars() {
        if c.is_ascii_alphabetic() {
            out.push_str(&format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()));
        } else {
            out.push_str(&escape(&c.to_string()));
        }
    }
    out.push('$');
    out
}

// ---- scope

pub(super) fn scope(scope: &Scope) -> Condition {
    match scope {
        Scope::Everything => known(),
        Scope::Lists { sources, namespaces, languages } => {
            let mut all = Vec::new();
            if sources.is_empty() {
                flatten(known(), &mut all);
            }
            all.extend(lists(sources, namespaces, languages));
            Condition::All(all)
        }
        Scope::AnyOf(alternatives) => {
            let mut all = Vec::new();
            flatten(known(), &mut all);
            // An alternative without any field is true, and with it the whole list.
            let stated: Vec<Condition> = alternatives.iter().filter_map(alternative).collect();
            if stated.len() == alternatives.len() {
                all.push(any(stated));
            }
            Condition::All(all)
        }
        Scope::Containers(containers) => any_container(containers),
    }
}

/// The scope of an Action: it is for what it names, whether the control plane covers that or not.
pub(super) fn scope_of_action(stated: &Scope) -> Condition {
    match stated {
        Scope::Lists { sources, namespaces, languages } => {
            let mut all = lists(sources, namespaces, languages);
            if all.len() == 1 { all.remove(0) } else { Condition::All(all) }
        }
        other => scope(other),
    }
}

/// One condition for each list that is not empty.
fn lists(sources: &BTreeSet<SourceKey>, namespaces: &BTreeSet<String>, languages: &BTreeSet<String>) -> Vec<Condition> {
    let mut all = Vec::new();
    if !sources.is_empty() {
        all.push(any_source(sources));
    }
    if !namespaces.is_empty() {
        all.push(any(namespaces.iter().map(|name| is(resource("k8s.namespace.name"), name)).collect()));
    }
    if !languages.is_empty() {
        all.push(any(languages.iter().map(|name| language(name)).collect()));
    }
    all
}

/// Only what the control plane covers is ever sampled.
fn known() -> Condition {
    Condition::All(vec![there(resource("k8s.namespace.name")), there(resource("odigos.workload.name"))])
}

fn workload(kind: WorkloadKind, name: &str) -> Condition {
    let stated = Condition::All(vec![
        is(resource("odigos.workload.kind"), kind.as_str()),
        is(resource("odigos.workload.name"), name),
    ]);
    match resource_attribute(kind) {
        Some(key) => Condition::Any(vec![is(resource(key), name), stated]),
        None => stated,
    }
}

fn source(key: &SourceKey) -> Condition {
    let mut all = vec![is(resource("k8s.namespace.name"), &key.namespace)];
    flatten(workload(key.kind, &key.name), &mut all);
    Condition::All(all)
}

/// Few sources one by one; many by kind, as a look-up of `namespace/name` in a list.
fn any_source(sources: &BTreeSet<SourceKey>) -> Condition {
    if sources.len() <= LONG_LIST {
        return any(sources.iter().map(source).collect());
    }
    let mut by_kind: BTreeMap<WorkloadKind, Vec<Expression>> = BTreeMap::new();
    for key in sources {
        by_kind.entry(key.kind).or_default().push(Expression::Text(format!("{}/{}", key.namespace, key.name)));
    }
    let mut ways = Vec::new();
    for (kind, names) in by_kind {
        let look_up = |name: Expression| {
            let joined = Expression::Call(
                "Concat",
                vec![Expression::List(vec![resource("k8s.namespace.name"), name]), "/".into()],
            );
            Condition::Call("ContainsValue", vec![Expression::List(names.clone()), joined])
        };
        let stated = vec![is(resource("odigos.workload.kind"), kind.as_str())];
        let with = |name: &str, mut all: Vec<Condition>| {
            all.push(there(resource("k8s.namespace.name")));
            all.push(there(resource(name)));
            all.push(look_up(resource(name)));
            Condition::All(all)
        };
        ways.push(with("odigos.workload.name", stated));
        if let Some(key) = resource_attribute(kind) {
            ways.push(with(key, vec![]));
        }
    }
    any(ways)
}

fn language(word: &str) -> Condition {
    is(resource("telemetry.sdk.language"), sdk_language(word))
}

fn alternative(one: &Alternative) -> Option<Condition> {
    let mut all = Vec::new();
    if let Some(namespace) = &one.namespace {
        all.push(is(resource("k8s.namespace.name"), namespace));
    }
    match (one.kind, &one.name) {
        (Some(kind), Some(name)) => all.push(workload(kind, name)),
        (Some(kind), None) => all.push(is(resource("odigos.workload.kind"), kind.as_str())),
        (None, Some(name)) => all.push(is(resource("odigos.workload.name"), name)),
        (None, None) => {}
    }
    all.extend(one.language.as_deref().map(language));
    (!all.is_empty()).then(|| if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
}

/// Containers grouped by name, so that the text grows with names of containers and not with workloads.
fn any_container(containers: &BTreeSet<ContainerKey>) -> Condition {
    let mut by_name: BTreeMap<&str, BTreeSet<SourceKey>> = BTreeMap::new();
    for one in containers {
        by_name.entry(&one.container).or_default().insert(one.source.clone());
    }
    any(by_name
        .into_iter()
        .map(|(name, sources)| {
            let mut all = vec![is(resource("k8s.container.name"), name)];
            flatten(any_source(&sources), &mut all);
            Condition::All(all)
        })
        .collect())
}

// ---- operation

/// The kind of span, the cheapest test of an operation.
fn kind(operation: &Operation) -> Option<Condition> {
    match operation {
        Operation::Any => None,
        Operation::HttpServer { .. } | Operation::GrpcServer { .. } => Some(is_kind("SPAN_KIND_SERVER")),
        Operation::HttpClient { .. } | Operation::GrpcClient { .. } => Some(is_kind("SPAN_KIND_CLIENT")),
        // Some libraries call both sides of messaging clients, and say in the operation's type which side it is.
        Operation::KafkaConsumer { .. } => Some(messaging_kind("SPAN_KIND_CONSUMER", &["receive", "process"])),
        Operation::KafkaProducer { .. } => Some(messaging_kind("SPAN_KIND_PRODUCER", &["send", "publish", "create"])),
    }
}

fn is_kind(name: &'static str) -> Condition {
    Condition::Equal(field("span.kind"), field(name))
}

fn messaging_kind(name: &'static str, operations: &[&str]) -> Condition {
    let types = operations.iter().map(|word| is(attribute("messaging.operation.type"), word)).collect();
    Condition::Any(vec![is_kind(name), Condition::All(vec![is_kind("SPAN_KIND_CLIENT"), any(types)])])
}

fn operation(operation: &Operation, all: &mut Vec<Condition>) {
    match operation {
        Operation::Any => {}
        Operation::HttpServer { path, method, query } => {
            // The path tells most rules apart, so it stands before the method.
            all.extend(path.as_ref().map(server_path));
            all.push(http_method(method.as_deref()));
            all.extend(query.iter().map(|(name, value)| query_pair(name, value)));
        }
        Operation::HttpClient { server_address, path, method } => {
            all.extend(server_address.as_deref().map(|host| is(attribute("server.address"), host)));
            all.extend(path.as_ref().map(|rule| on_path("url.template", rule)));
            all.push(http_method(method.as_deref()));
        }
        Operation::GrpcServer { service, method } => grpc(service.as_deref(), method.as_deref(), all),
        Operation::GrpcClient { service, method, server_address } => {
            all.extend(server_address.as_deref().map(|host| is(attribute("server.address"), host)));
            grpc(service.as_deref(), method.as_deref(), all);
        }
        Operation::KafkaConsumer { topic } | Operation::KafkaProducer { topic } => {
            all.push(is(attribute("messaging.system"), "kafka"));
            all.extend(topic.as_deref().map(|topic| {
                first_of(&["messaging.destination.name", "messaging.destination", "messaging.kafka.topic"], |key| {
                    is(attribute(key), topic)
                })
            }));
        }
    }
}

/// The test on the first attribute of the list that is there.
fn first_of(keys: &[&str], test: impl Fn(&str) -> Condition) -> Condition {
    let ways = keys.iter().enumerate().map(|(position, key)| {
        let mut all: Vec<Condition> = keys[..position].iter().map(|earlier| absent(attribute(earlier))).collect();
        all.push(there(attribute(key)));
        flatten(test(key), &mut all);
        Condition::All(all)
    });
    any(ways.collect())
}

fn http_method(wanted: Option<&str>) -> Condition {
    let keys = ["http.request.method", "http.method"];
    match wanted {
        None => any(keys.iter().map(|key| there(attribute(key))).collect()),
        Some(wanted) => first_of(&keys, |key| is_match(attribute(key), &any_case(wanted))),
    }
}

/// An attribute that holds a path; the test that it is there included.
fn on_path(key: &str, rule: &PathRule) -> Condition {
    let mut all = vec![there(attribute(key))];
    flatten(path_test(key, rule, Subject::Path), &mut all);
    Condition::All(all)
}

/// The test of an attribute that is there. A literal path is compared, which costs a tenth of an expression.
fn path_test(key: &str, rule: &PathRule, subject: Subject) -> Condition {
    if let (Some(literal), Subject::Path) = (literal(rule), subject) {
        let mut ways = vec![is(attribute(key), &format!("/{literal}"))];
        if !literal.starts_with('/') {
            ways.push(is(attribute(key), literal));
        }
        return any(ways);
    }
    match expression(rule, subject) {
        Some(regex) => is_match(attribute(key), &regex),
        None => Condition::All(vec![]),
    }
}

fn server_path(rule: &PathRule) -> Condition {
    first_of(&["http.route", "url.path", "http.target"], |key| {
        let subject = if key == "http.target" { Subject::Target } else { Subject::Path };
        path_test(key, rule, subject)
    })
}

fn query_pair(name: &str, value: &str) -> Condition {
    let pair = format!("{}={}", escape(name), escape(value));
    first_of(&["url.query", "http.target"], |key| {
        let before = if key == "url.query" { "(?:^|&)" } else { r"(?s)^[^?]*\?(?:.*&)?" };
        is_match(attribute(key), &format!("{before}{pair}(?:&|$)"))
    })
}

fn grpc(service: Option<&str>, method: Option<&str>, all: &mut Vec<Condition>) {
    let (name, system) = ("rpc.system.name", "rpc.system");
    let word = any_case("grpc");
    all.push(Condition::Any(vec![
        Condition::All(vec![there(attribute(name)), is_match(attribute(name), &word)]),
        Condition::All(vec![
            absent(attribute(name)),
            Condition::Any(vec![absent(attribute(system)), is_match(attribute(system), &word)]),
        ]),
    ]));
    all.push(Condition::Any(vec![there(attribute("rpc.service")), there(attribute("rpc.method"))]));
    if let Some(service) = service {
        let stated = is(attribute("rpc.service"), service);
        // A method names its service in front of its first slash, so a name with a slash can only be stated.
        all.push(if service.contains('/') {
            stated
        } else {
            let derived = Condition::All(vec![
                absent(attribute("rpc.service")),
                there(attribute("rpc.method")),
                is_match(attribute("rpc.method"), &format!("(?s)^{}/.", escape(service))),
            ]);
            Condition::Any(vec![stated, derived])
        });
    }
    if let Some(method) = method {
        // Where the wanted text itself would be cut at a slash, it only fits behind a service.
        let cut = method.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        let front = if cut { "^[^/]+/" } else { "^(?:[^/]+/)?" };
        all.push(there(attribute("rpc.method")));
        all.push(is_match(attribute("rpc.method"), &format!("{front}{}$", escape(method))));
    }
}
