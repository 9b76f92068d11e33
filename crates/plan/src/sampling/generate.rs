//! Random rules and traces for property tests: small alphabets, so that rules and spans meet often; ids on both sides of
//! every threshold.

#![allow(clippy::indexing_slicing, reason = "test data: positions are drawn below the length")]

use super::rule::{
    Alternative, Category, ContainerKey, Operation, Origin, PathRule, Percentage, Rule, Scope, SourceKey, id,
};
use super::span::{Attributes, Span, SpanKind};
use odigos_api::WorkloadKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A seeded generator (xorshift).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; the same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number.
    #[allow(clippy::should_implement_trait, reason = "an endless row of numbers is no iterator here")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap_or_default() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn maybe(&mut self, list: &[&str]) -> Option<String> {
        (!self.one_in(2)).then(|| self.pick(list).to_owned())
    }
}

const NAMESPACES: [&str; 2] = ["a", "b"];
const NAMES: [&str; 3] = ["web", "api", "w.1"];
const LANGUAGES: [&str; 3] = ["java", "python", "javascript"];
const PATHS: [&str; 12] =
    ["/", "/a", "/a/b", "/a/{id}", "a", "/*", "/a/b/", "/{x}/b", "/a.b", "/axb", "/a/b/c", "/é/$x"];
const METHODS: [&str; 3] = ["GET", "post", "Get"];
const KINDS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::StaticPod];
const PERCENTAGES: [u32; 8] = [0, 100_000_000, 50_000_000, 10_000_000, 1, 99_999_999, 33_333_333, 25_000_000];
const SERVICES: [&str; 3] = ["s.S", "grpc.health.v1.Health", "a/b"];
const RPC_METHODS: [&str; 4] = ["M", "Check", "a/M", "/x"];
const TOPICS: [&str; 2] = ["orders", "t"];

fn source(random: &mut Random) -> SourceKey {
    SourceKey {
        namespace: random.pick(&NAMESPACES).to_owned(),
        kind: KINDS[random.below(KINDS.len())],
        name: random.pick(&NAMES).to_owned(),
    }
}

fn scope(random: &mut Random) -> Scope {
    match random.below(8) {
        0..3 => Scope::Everything,
        3 => {
            let languages = random.maybe(&LANGUAGES).into_iter().collect();
            Scope::Lists { sources: BTreeSet::from([source(random)]), namespaces: BTreeSet::new(), languages }
        }
        4 => {
            let many = (0..12).map(|_| source(random)).collect();
            Scope::Lists { sources: many, namespaces: BTreeSet::new(), languages: BTreeSet::new() }
        }
        5 => Scope::Lists {
            sources: BTreeSet::new(),
            namespaces: BTreeSet::from([random.pick(&NAMESPACES).to_owned()]),
            languages: random.maybe(&LANGUAGES).into_iter().collect(),
        },
        6 => Scope::AnyOf(
            (0..2)
                .map(|_| Alternative {
                    namespace: random.maybe(&NAMESPACES),
                    kind: random.one_in(2).then(|| KINDS[random.below(KINDS.len())]),
                    name: random.maybe(&NAMES),
                    language: random.maybe(&LANGUAGES),
                })
                .collect(),
        ),
        _ => Scope::Containers(
            (0..2)
                .map(|_| ContainerKey { source: source(random), container: random.pick(&["app", "side"]).to_owned() })
                .collect(),
        ),
    }
}

fn path(random: &mut Random) -> Option<PathRule> {
    let text = random.pick(&PATHS).to_owned();
    match random.below(3) {
        0 => None,
        1 => Some(PathRule::Exact(text)),
        _ => Some(PathRule::Prefix(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text })),
    }
}

fn operation(random: &mut Random, category: Category) -> Operation {
    let noisy = category == Category::Noisy;
    match random.below(7) {
        0 => Operation::Any,
        1 | 2 => Operation::HttpServer {
            path: path(random),
            method: random.maybe(&METHODS),
            query: if noisy && random.one_in(3) { vec![("q".into(), "1.0".into())] } else { vec![] },
        },
        3 if noisy => Operation::HttpClient {
            server_address: random.maybe(&["h", "api.ext"]),
            path: path(random),
            method: random.maybe(&METHODS),
        },
        4 if noisy => Operation::GrpcServer { service: random.maybe(&SERVICES), method: random.maybe(&RPC_METHODS) },
        5 if noisy => Operation::GrpcClient {
            service: random.maybe(&SERVICES),
            method: random.maybe(&RPC_METHODS),
            server_address: random.maybe(&["h"]),
        },
        3 | 4 => Operation::KafkaConsumer { topic: random.maybe(&TOPICS) },
        5 => Operation::KafkaProducer { topic: random.maybe(&TOPICS) },
        _ => Operation::Any,
    }
}

/// Up to eight rules of every category, some disabled.
#[must_use]
pub fn random_rules(random: &mut Random) -> Vec<Rule> {
    let mut rules: Vec<Rule> = (0..=random.below(8))
        .map(|index| {
            let category = [Category::Noisy, Category::HighlyRelevant, Category::CostReduction][random.below(3)];
            let relevant = category == Category::HighlyRelevant;
            let (scope, operation) = (scope(random), operation(random, category));
            let error = relevant && random.one_in(2);
            let duration = (relevant && random.one_in(2)).then(|| [0, 1, 500][random.below(3)]);
            Rule {
                category,
                id: id(category, &scope, &operation, error, duration),
                name: format!("r{index}"),
                percentage: Percentage::from_millionths(PERCENTAGES[random.below(PERCENTAGES.len())]),
                scope,
                operation,
                error,
                duration_at_least_ms: duration,
                enabled: !random.one_in(6),
                origin: Origin { object: "random".into(), index },
                streams: BTreeSet::new(),
            }
        })
        .collect();
    rules.sort_by(|a, b| a.order().cmp(&b.order()));
    rules
}

/// A trace id whose low 56 bits stand at, just below or just above the threshold of some rule, or anywhere.
#[must_use]
pub fn random_id(random: &mut Random, rules: &[&Rule]) -> [u8; 16] {
    let anywhere = random.next() >> 8;
    let low = match (rules.is_empty(), random.below(4)) {
        (false, 0..3) => {
            let rule = rules[random.below(rules.len())];
            let rest = 100_000_000 - u128::from(rule.percentage.millionths());
            let threshold = (rest * (1 << 56) * 2 + 100_000_000) / 200_000_000;
            let near = threshold as i128 + [-1, 0, 1][random.below(3)];
            u64::try_from(near.clamp(0, (1 << 56) - 1)).unwrap_or_default()
        }
        _ => anywhere,
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.next().to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    id[8] = random.next().to_be_bytes()[0];
    id
}

fn resource(random: &mut Random) -> Attributes {
    let mut all = Attributes::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            all.insert(key.to_owned(), value.to_owned());
        }
    };
    let name = random.pick(&NAMES).to_owned();
    let known = !random.one_in(8);
    put("k8s.namespace.name", (!random.one_in(10)).then(|| random.pick(&NAMESPACES)));
    let kind = KINDS[random.below(KINDS.len())];
    if known {
        put("odigos.workload.name", Some(&name));
        put("odigos.workload.kind", (!random.one_in(5)).then_some(kind.as_str()));
    }
    let key = ["k8s.deployment.name", "k8s.statefulset.name"][random.below(2)];
    put(key, random.one_in(2).then_some(&name));
    put("k8s.container.name", (!random.one_in(4)).then(|| random.pick(&["app", "side"])));
    put("telemetry.sdk.language", (!random.one_in(4)).then(|| random.pick(&["java", "python", "nodejs"])));
    put("service.name", Some(&name));
    all
}

fn span(random: &mut Random, resources: &[Arc<Attributes>]) -> Span {
    let kinds = [SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer, SpanKind::Internal];
    let mut attributes = Attributes::new();
    let mut put = |random: &mut Random, key: &str, values: &[&str], one_in: usize| {
        if random.one_in(one_in) {
            attributes.insert(key.to_owned(), random.pick(values).to_owned());
        }
    };
    let paths = ["/", "/a", "a", "/a/b", "/a/7", "/a/b/", "/x/b", "/a.b", "/axb", "", "/a/b/c/d", "//b", "/é/$x"];
    put(random, "http.request.method", &["GET", "POST", "get", "PUT", "Ge\u{17f}"], 2);
    put(random, "http.method", &["GET", "Post"], 3);
    put(random, "http.route", &paths, 3);
    put(random, "url.path", &paths, 2);
    put(random, "url.query", &["q=1.0", "a=1&q=1.0&b", "q=1x0", "", "qq=1.0"], 3);
    put(random, "http.target", &["/a?q=1.0", "/a/b?x=/y&q=1.0", "/?q=1x0", "/axb", "?", "/a?"], 2);
    put(random, "url.template", &paths, 3);
    put(random, "server.address", &["h", "api.ext"], 2);
    put(random, "rpc.system", &["grpc", "GRPC", "dubbo"], 3);
    put(random, "rpc.system.name", &["gRPC", "dubbo"], 4);
    put(random, "rpc.service", &["s.S", "a/b", ""], 3);
    put(random, "rpc.method", &["M", "s.S/M", "grpc.health.v1.Health/Check", "a/b/M", "/x", "a//x", "s.S/", "a/M"], 2);
    put(random, "messaging.system", &["kafka", "kafka", "rabbitmq"], 2);
    put(random, "messaging.destination.name", &["orders", "t", "x"], 3);
    put(random, "messaging.destination", &["orders", "t"], 3);
    put(random, "messaging.kafka.topic", &["orders", "t"], 3);
    put(random, "messaging.operation.type", &["receive", "send", "settle"], 3);
    let start = 1_000_000_000;
    let took = [0_i64, 500_000_000, 499_999_000, 1_000_000, -5, 900_000_000][random.below(6)];
    Span {
        has_parent: !random.one_in(3),
        kind: kinds[random.below(kinds.len())],
        start,
        end: start.saturating_add_signed(took),
        error: random.one_in(3),
        attributes,
        resource: resources[random.below(resources.len())].clone(),
        ..Span::default()
    }
}

/// A trace of one to five spans of one to three resources.
#[must_use]
pub fn random_trace(random: &mut Random, rules: &[&Rule]) -> Vec<Span> {
    let resources: Vec<Arc<Attributes>> = (0..=random.below(3)).map(|_| Arc::new(resource(random))).collect();
    let mut spans: Vec<Span> = (0..=random.below(5)).map(|_| span(random, &resources)).collect();
    let trace_id = random_id(random, rules);
    spans.iter_mut().for_each(|span| span.trace_id = trace_id);
    spans
}

/// A random Sampling spec as a manifest spells it, over the same alphabets.
#[must_use]
pub fn random_spec(random: &mut Random) -> Value {
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for rule in random_rules(random) {
        if let Some(stated) = stated(&rule) {
            lists.entry(rule.category.field()).or_default().push(stated);
        }
    }
    json!(lists)
}

/// A rule as a manifest spells it; `None` for scopes of containers, which only built-ins have.
fn stated(rule: &Rule) -> Option<Value> {
    let mut out = json!({"name": rule.name, "disabled": !rule.enabled});
    let key = if rule.category == Category::HighlyRelevant { "percentageAtLeast" } else { "percentageAtMost" };
    out[key] = json!(rule.percentage.as_f64());
    if rule.error {
        out["error"] = json!(true);
    }
    if let Some(ms) = rule.duration_at_least_ms {
        out["durationAtLeastMs"] = json!(ms);
    }
    match &rule.scope {
        Scope::Everything => {}
        Scope::Lists { sources, namespaces, languages } => {
            let sources: Vec<Value> = sources
                .iter()
                .map(|one| json!({"namespace": one.namespace, "kind": one.kind.as_str(), "name": one.name}))
                .collect();
            out["sourceScopes"] = json!({"sources": sources, "namespaces": namespaces, "languages": languages});
        }
        Scope::AnyOf(alternatives) => {
            let items = alternatives.iter().map(|one| {
                let pairs = [
                    ("workloadNamespace", one.namespace.clone()),
                    ("workloadKind", one.kind.map(|kind| kind.as_str().to_owned())),
                    ("workloadName", one.name.clone()),
                    ("workloadLanguage", one.language.clone()),
                ];
                let stated = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?))));
                Value::Object(stated.collect())
            });
            out["sourceScopes"] = items.collect();
        }
        Scope::Containers(_) => return None,
    }
    let path = |rule: &Option<PathRule>, exact: &str, prefix: &str| match rule {
        Some(PathRule::Exact(text) | PathRule::Literal(text)) => json!({exact: text}),
        Some(PathRule::Prefix(text)) => json!({prefix: text}),
        None => json!({}),
    };
    let with = |mut out: Value, key: &str, value: &Option<String>| {
        if let Some(value) = value {
            out[key] = json!(value);
        }
        out
    };
    let operation = match &rule.operation {
        Operation::Any => return Some(out),
        Operation::HttpServer { path: rule, method, query } => {
            let mut server = with(path(rule, "route", "routePrefix"), "method", method);
            if !query.is_empty() {
                server["queryParams"] =
                    query.iter().map(|(name, value)| json!({"name": name, "valueExact": value})).collect();
            }
            json!({"httpServer": server})
        }
        Operation::HttpClient { server_address, path: rule, method } => {
            let client = with(path(rule, "templatedPath", "templatedPathPrefix"), "method", method);
            json!({"httpClient": with(client, "serverAddress", server_address)})
        }
        Operation::GrpcServer { service, method } => {
            json!({"grpcServer": with(with(json!({}), "service", service), "method", method)})
        }
        Operation::GrpcClient { service, method, server_address } => {
            let client = with(with(json!({}), "service", service), "method", method);
            json!({"grpcClient": with(client, "serverAddress", server_address)})
        }
        Operation::KafkaConsumer { topic } => json!({"kafkaConsumer": with(json!({}), "kafkaTopic", topic)}),
        Operation::KafkaProducer { topic } => json!({"kafkaProducer": with(json!({}), "kafkaTopic", topic)}),
    };
    out["operation"] = operation;
    Some(out)
}
