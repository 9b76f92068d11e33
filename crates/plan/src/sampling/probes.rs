//! The built-in rule for health probes (`spec/sampling.md` 4): requests that a kubelet makes are noise.

use super::accept::TEXT_LIMIT;
use super::path::is_wildcard;
use super::rule::{Category, ContainerKey, Operation, Origin, PathRule, Percentage, Rule, Scope, SourceKey, id};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::WorkloadCollectorConfig;
use odigos_api::operation::{HeadHttpServer, HeadOperation, QueryParameter};
use odigos_api::sampling::NoisyOperation;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Name of the built-in, as origins show it.
pub const BUILT_IN: &str = "kubernetes-health-probes";

/// An HTTP probe: path, and pairs of its query sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Path without query.
    pub path: String,
    /// Query as pairs.
    pub query: Vec<(String, String)>,
}

impl Probe {
    /// Reads the path of an `httpGet` probe, which may carry a query. As a kubelet does it: a whole URL lends its path alone, and a
    /// fragment is never sent.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let path = path.split('#').next().unwrap_or_default();
        let path = match path.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
                rest.find(['/', '?']).map_or("/", |start| &rest[start..])
            }
            _ => path,
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut query: Vec<(String, String)> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        query.sort();
        query.dedup();
        Self { path, query }
    }

    /// The path as a manifest writes it.
    #[must_use]
    pub fn to_path(&self) -> String {
        let pairs: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }
}

impl Probe {
    /// The probe as a rule of an InstrumentationConfig.
    #[must_use]
    pub fn to_operation(&self, keep: Percentage) -> NoisyOperation {
        let pairs = self.query.iter();
        let server = HeadHttpServer {
            route: Some(self.path.clone()),
            method: Some("GET".to_owned()),
            query_params: pairs
                .map(|(name, value)| QueryParameter { name: name.clone(), value_exact: value.clone() })
                .collect(),
            ..HeadHttpServer::default()
        };
        NoisyOperation {
            name: Some(format!("Kubernetes health probe {}", self.to_path())),
            operation: Some(HeadOperation { http_server: Some(server), ..HeadOperation::default() }),
            percentage_at_most: Some(keep.as_f64()),
            ..NoisyOperation::default()
        }
    }

    /// Reads it back.
    fn of_operation(operation: &NoisyOperation) -> Option<Self> {
        let server = operation.operation.as_ref()?.http_server.as_ref()?;
        let query = server.query_params.iter().map(|pair| (pair.name.clone(), pair.value_exact.clone())).collect();
        Some(Self { path: server.route.clone()?, query })
    }
}

/// The probes of all InstrumentationConfigs: namespace, name and settings of each. One with a path that no rule may have is none.
pub fn of_configs<'a>(
    configs: impl IntoIterator<Item = (&'a str, &'a str, &'a [WorkloadCollectorConfig])>,
) -> BTreeMap<ContainerKey, BTreeSet<Probe>> {
    let mut found: BTreeMap<ContainerKey, BTreeSet<Probe>> = BTreeMap::new();
    for (namespace, name, settings) in configs {
        let Some(workload) = WorkloadRef::from_config_name(namespace, name) else { continue };
        let source = SourceKey { namespace: workload.namespace, kind: workload.kind, name: workload.name };
        for of_container in settings {
            let rules = of_container.sampling_collector_config.iter().flat_map(|config| &config.noisy_operations);
            let probes = rules.filter_map(Probe::of_operation).filter(|probe| probe.to_path().len() <= TEXT_LIMIT);
            let probes: BTreeSet<Probe> = probes.collect();
            if !probes.is_empty() {
                let container = of_container.container_name.clone();
                found.insert(ContainerKey { source: source.clone(), container }, probes);
            }
        }
    }
    found
}

/// HTTP probes of a container of a pod template; `exec`, `tcpSocket` and `grpc` probes make no HTTP spans.
#[must_use]
pub fn of_container(container: &Value) -> BTreeSet<Probe> {
    ["livenessProbe", "readinessProbe", "startupProbe"]
        .iter()
        .filter_map(|kind| container.get(kind)?.get("httpGet"))
        .map(|get| Probe::parse(get.get("path").and_then(Value::as_str).unwrap_or("/")))
        .collect()
}

/// One rule for each distinct probe, for all containers that have it, so that the rules grow with paths and not with
/// workloads (9.10, 7).
#[must_use]
pub fn rules(probes: &BTreeMap<ContainerKey, BTreeSet<Probe>>, keep: Percentage) -> Vec<Rule> {
    let mut containers: BTreeMap<&Probe, BTreeSet<ContainerKey>> = BTreeMap::new();
    for (container, of_container) in probes {
        for probe in of_container {
            containers.entry(probe).or_default().insert(container.clone());
        }
    }
    let rules = containers.into_iter().enumerate().map(|(index, (probe, containers))| {
        // What a kubelet asks for is this path and no other, whatever its segments look like.
        let has_wildcard = probe.path.split('/').any(is_wildcard);
        let form = if has_wildcard { PathRule::Literal } else { PathRule::Exact };
        let operation = Operation::HttpServer {
            path: Some(form(probe.path.clone())),
            method: Some("GET".to_owned()),
            query: probe.query.clone(),
        };
        let scope = Scope::Containers(containers);
        Rule {
            category: Category::Noisy,
            // Without the scope, as the reference has it: a new workload does not change the id.
            id: id(Category::Noisy, &Scope::Everything, &operation, false, None),
            name: format!("Kubernetes health probe {}", probe.to_path()),
            percentage: keep,
            scope,
            operation,
            error: false,
            duration_at_least_ms: None,
            enabled: true,
            origin: Origin { object: BUILT_IN.to_owned(), index },
            streams: BTreeSet::new(),
        }
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::super::span::{Span, SpanKind};
    use super::*;
    use odigos_api::WorkloadKind;
    use serde_json::json;

    #[test]
    fn only_http_probes_count_and_equal_ones_collapse() {
        let container = json!({
            "livenessProbe": {"httpGet": {"path": "/live?full=1&a=b", "port": 80}},
            "readinessProbe": {"httpGet": {"path": "/live?a=b&full=1"}},
            "startupProbe": {"exec": {"command": ["true"]}},
        });
        let found = of_container(&container);
        assert_eq!(found.iter().map(Probe::to_path).collect::<Vec<_>>(), ["/live?a=b&full=1"]);
        assert_eq!(of_container(&json!({"livenessProbe": {"exec": {}}})), BTreeSet::new());
        let key = |name: &str| ContainerKey {
            source: SourceKey { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: name.into() },
            container: "web".into(),
        };
        let many: BTreeMap<_, _> = (0..50).map(|n| (key(&format!("w{n}")), found.clone())).collect();
        let rules = rules(&many, Percentage::ZERO);
        assert_eq!(rules.len(), 1);
        assert!(matches!(&rules[0].scope, Scope::Containers(all) if all.len() == 50));
    }

    #[test]
    fn path_of_a_probe_is_what_a_kubelet_requests_and_nothing_else() {
        for (stated, path) in [
            ("health", "/health"),
            ("http://localhost:8080/health", "/health"),
            ("https://localhost?a=b", "/?a=b"),
            ("http://localhost", "/"),
            ("/x?y=1&z=%20#frag", "/x?y=1&z=%20"),
            ("/a#b", "/a"),
        ] {
            assert_eq!(Probe::parse(stated).to_path(), path, "{stated}");
        }
        let source = SourceKey { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() };
        let key = ContainerKey { source, container: "web".into() };
        let matched = |probe: &str, path: &str| {
            let rules = rules(&[(key.clone(), [Probe::parse(probe)].into())].into(), Percentage::ZERO);
            let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let span = Span {
                kind: SpanKind::Server,
                attributes: text(&[("http.request.method", "GET"), ("url.path", path)]),
                resource: std::sync::Arc::new(text(&[
                    ("k8s.namespace.name", "shop"),
                    ("k8s.deployment.name", "web"),
                    ("k8s.container.name", "web"),
                ])),
                ..Span::default()
            };
            judge::matches_span(&rules[0], &span)
        };
        // A wildcard here would drop requests of users.
        assert!(matched("/api/*", "/api/*") && !matched("/api/*", "/api/orders"));
        assert!(matched("/{x}", "/{x}") && !matched("/{x}", "/orders"));
        assert!(matched("/health", "/health") && !matched("/health", "/healthz"));
    }
}
