//! Every collector component that is rendered, in which of the two collectors, and the contrib release from which that spelling and its keys exist.
//!
//! This is "stock components only" as data, and what the image of each collector is built from (`cargo xtask generate` writes
//! `deploy/collector/gateway` and `deploy/collector/node`). Tests hold what the catalogue and the planners render against this table, and both
//! programs against it. The releases are those of the components' change logs; a contrib image of [`MINIMUM_RELEASE`] has not been run.

use crate::config::ComponentKind;
use odigos_api::CollectorRole;

/// Minor number of the oldest contrib release (0.x) that knows every rendered name and key, by the change logs.
pub const MINIMUM_RELEASE: u16 = 154;

/// Which of the two collectors a component is rendered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collectors {
    /// The collector of each node alone.
    Node,
    /// Gateways alone, those of dedicated pools too.
    Gateway,
    /// Both.
    Both,
}

impl Collectors {
    /// Whether the collector of `role` is among them.
    #[must_use]
    pub const fn include(self, role: CollectorRole) -> bool {
        match self {
            Self::Both => true,
            Self::Gateway => matches!(role, CollectorRole::ClusterGateway),
            Self::Node => matches!(role, CollectorRole::NodeCollector),
        }
    }
}

/// One rendered component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Section that it stands in.
    pub kind: ComponentKind,
    /// Type as rendered.
    pub component_type: &'static str,
    /// Collectors that it is rendered for.
    pub collectors: Collectors,
    /// First contrib release (0.x) that knows this spelling.
    pub since: u16,
    /// Older spelling that the same component had, if any.
    pub formerly: Option<&'static str>,
    /// Rendered keys that are younger than the component, as `key (0.x)`.
    pub younger_keys: &'static [(&'static str, u16)],
}

const fn component(kind: ComponentKind, component_type: &'static str, collectors: Collectors, since: u16) -> Component {
    Component { kind, component_type, collectors, since, formerly: None, younger_keys: &[] }
}

impl Component {
    const fn formerly(self, older: &'static str) -> Self {
        Self { formerly: Some(older), ..self }
    }

    const fn with_younger_keys(self, younger_keys: &'static [(&'static str, u16)]) -> Self {
        Self { younger_keys, ..self }
    }
}

const QUEUE_KEYS: &[(&str, u16)] = &[
    ("sending_queue.sizer", 123),
    ("sending_queue.batch", 126),
    ("sending_queue.block_on_overflow", 123),
    ("sending_queue.batch.sizer", 145),
];

/// The table, by section and type.
pub const COMPONENTS: &[Component] = &[
    component(ComponentKind::Receiver, "otlp", Collectors::Both, 20),
    component(ComponentKind::Receiver, "file_log", Collectors::Node, 149).formerly("filelog"),
    component(ComponentKind::Receiver, "host_metrics", Collectors::Node, 151).formerly("hostmetrics"),
    component(ComponentKind::Receiver, "kubelet_stats", Collectors::Node, 152).formerly("kubeletstats"),
    component(ComponentKind::Receiver, "k8s_cluster", Collectors::Gateway, 20),
    component(ComponentKind::Receiver, "prometheus", Collectors::Both, 20),
    component(ComponentKind::Processor, "memory_limiter", Collectors::Both, 20),
    component(ComponentKind::Processor, "resource", Collectors::Both, 20),
    component(ComponentKind::Processor, "attributes", Collectors::Gateway, 20),
    component(ComponentKind::Processor, "transform", Collectors::Both, 40),
    component(ComponentKind::Processor, "batch", Collectors::Both, 20),
    // Its younger spelling is not in every release that is promised.
    component(ComponentKind::Processor, "deltatocumulative", Collectors::Both, 98),
    component(ComponentKind::Processor, "cumulativetodelta", Collectors::Gateway, 40),
    component(ComponentKind::Processor, "filter", Collectors::Both, 40),
    component(ComponentKind::Processor, "k8s_attributes", Collectors::Node, 146).formerly("k8sattributes"),
    component(ComponentKind::Processor, "resource_detection", Collectors::Node, 153).formerly("resourcedetection"),
    component(ComponentKind::Processor, "tail_sampling", Collectors::Gateway, 20).with_younger_keys(&[
        ("policies.drop", 126),
        ("block_on_overflow", 134),
        ("policies.not", 145),
        ("policies.and.and_sub_policy.not", 154),
    ]),
    component(ComponentKind::Connector, "count", Collectors::Both, 78),
    component(ComponentKind::Connector, "forward", Collectors::Both, 78),
    component(ComponentKind::Connector, "routing", Collectors::Both, 85)
        .with_younger_keys(&[("table.context", 113), ("table.condition", 119)]),
    component(ComponentKind::Connector, "servicegraph", Collectors::Gateway, 78),
    component(ComponentKind::Connector, "span_metrics", Collectors::Node, 151)
        .formerly("spanmetrics")
        .with_younger_keys(&[("aggregation_cardinality_limit", 125), ("add_resource_attributes", 139)]),
    component(ComponentKind::Connector, "datadog", Collectors::Gateway, 85),
    component(ComponentKind::Exporter, "otlp_grpc", Collectors::Both, 144)
        .formerly("otlp")
        .with_younger_keys(QUEUE_KEYS),
    component(ComponentKind::Exporter, "otlp_http", Collectors::Both, 144)
        .formerly("otlphttp")
        .with_younger_keys(QUEUE_KEYS),
    component(ComponentKind::Exporter, "debug", Collectors::Gateway, 86),
    component(ComponentKind::Exporter, "nop", Collectors::Both, 98),
    component(ComponentKind::Exporter, "file", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "prometheus", Collectors::Both, 20),
    component(ComponentKind::Exporter, "prometheus_remote_write", Collectors::Gateway, 154)
        .formerly("prometheusremotewrite"),
    component(ComponentKind::Exporter, "load_balancing", Collectors::Node, 153).formerly("loadbalancing"),
    component(ComponentKind::Exporter, "kafka", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "clickhouse", Collectors::Gateway, 40),
    component(ComponentKind::Exporter, "datadog", Collectors::Gateway, 40),
    component(ComponentKind::Exporter, "awss3", Collectors::Gateway, 60),
    component(ComponentKind::Exporter, "awscloudwatchlogs", Collectors::Gateway, 40),
    component(ComponentKind::Exporter, "awsemf", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "awsxray", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "azureblob", Collectors::Gateway, 124),
    component(ComponentKind::Exporter, "azuremonitor", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "coralogix", Collectors::Gateway, 60),
    component(ComponentKind::Exporter, "elasticsearch", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "googlecloud", Collectors::Gateway, 60),
    component(ComponentKind::Exporter, "googlecloudstorage", Collectors::Gateway, 140),
    component(ComponentKind::Exporter, "logzio", Collectors::Gateway, 20),
    component(ComponentKind::Exporter, "signalfx", Collectors::Gateway, 20),
    component(ComponentKind::Extension, "health_check", Collectors::Both, 20),
    component(ComponentKind::Extension, "file_storage", Collectors::Both, 40),
    component(ComponentKind::Extension, "basicauth", Collectors::Gateway, 50),
    component(ComponentKind::Extension, "bearertokenauth", Collectors::Gateway, 40),
    component(ComponentKind::Extension, "oauth2client", Collectors::Gateway, 40),
    component(ComponentKind::Extension, "googleclientauth", Collectors::Gateway, 110),
    component(ComponentKind::Extension, "k8s_leader_elector", Collectors::Gateway, 121),
];

/// Extensions of our own, which no contrib release has: they are rendered only where the image is one of ours.
pub const OWN_EXTENSIONS: &[&str] = &[REQUEST_LIMIT, METRICS_ENDPOINT];

/// Bounds what OTLP receivers decode (`deploy/collector/requestlimitextension`).
pub const REQUEST_LIMIT: &str = "request_limit";
/// Serves metrics to readers with a certificate (`deploy/collector/metricsendpointextension`).
pub const METRICS_ENDPOINT: &str = "metrics_endpoint";

/// Processors that only users name (kind Processor), besides those of the table: in both collectors, since a Processor may name
/// either role.
pub const PROCESSORS_OF_USERS: &[&str] = &[
    "attributes",
    "batch",
    "cumulativetodelta",
    "deltatocumulative",
    "groupbyattrs",
    "groupbytrace",
    "interval",
    "k8s_attributes",
    "metricstarttime",
    "metricstransform",
    "probabilistic_sampler",
    "redaction",
    "resource_detection",
    "tail_sampling",
];

/// Exporters that are rendered although the gateway of this release lacks them: their module can be had at no release that compiles with the
/// others.
pub const NOT_SHIPPED: &[&str] = &["googlecloudstorage"];

/// What the collector of that role contains: section and type, each once.
pub fn shipped(role: CollectorRole) -> impl Iterator<Item = (ComponentKind, &'static str)> {
    let rendered = COMPONENTS
        .iter()
        .filter(move |one| one.collectors.include(role) && !NOT_SHIPPED.contains(&one.component_type))
        .map(|one| (one.kind, one.component_type));
    let is_rendered =
        move |one: &&&str| find(ComponentKind::Processor, one).is_some_and(|found| found.collectors.include(role));
    let of_users = PROCESSORS_OF_USERS.iter().filter(move |one| !is_rendered(one));
    let own = OWN_EXTENSIONS.iter().map(|one| (ComponentKind::Extension, *one));
    rendered.chain(of_users.map(|one| (ComponentKind::Processor, *one))).chain(own)
}

/// Whether the collector of that role contains the component of that id, in whichever of its spellings.
#[must_use]
pub fn is_shipped(role: CollectorRole, kind: ComponentKind, id: &str) -> bool {
    let bare = |name: &str| name.replace('_', "");
    let wanted = bare(id.split('/').next().unwrap_or_default());
    let formerly = |component_type| find(kind, component_type).and_then(|one| one.formerly);
    shipped(role).filter(|(section, _)| *section == kind).any(|(_, component_type)| {
        bare(component_type) == wanted || formerly(component_type).is_some_and(|older| bare(older) == wanted)
    })
}

/// The row for a component id (`type` or `type/name`) of a section.
#[must_use]
pub fn find(kind: ComponentKind, id: &str) -> Option<&'static Component> {
    let component_type = id.split('/').next().unwrap_or_default();
    COMPONENTS.iter().find(|c| c.kind == kind && c.component_type == component_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_younger_than_the_promised_release() {
        for component in COMPONENTS {
            assert!(component.since <= MINIMUM_RELEASE, "{component:?}");
            assert!(component.younger_keys.iter().all(|(_, since)| *since <= MINIMUM_RELEASE), "{component:?}");
        }
    }

    #[test]
    fn rows_are_found_by_id() {
        assert_eq!(find(ComponentKind::Exporter, "otlp_grpc/jaeger-d").map(|c| c.since), Some(144));
        assert_eq!(find(ComponentKind::Receiver, "otlp_grpc/jaeger-d"), None);
    }

    #[test]
    fn collector_contains_what_its_role_renders_in_every_spelling() {
        let node = |kind, id| is_shipped(CollectorRole::NodeCollector, kind, id);
        let gateway = |kind, id| is_shipped(CollectorRole::ClusterGateway, kind, id);
        assert!(node(ComponentKind::Receiver, "filelog/x") && !gateway(ComponentKind::Receiver, "file_log"));
        assert!(gateway(ComponentKind::Exporter, "datadog/d") && !node(ComponentKind::Exporter, "datadog/d"));
        assert!(gateway(ComponentKind::Exporter, "otlphttp") && node(ComponentKind::Exporter, "otlp"));
        assert!(!gateway(ComponentKind::Exporter, "googlecloudstorage/d"));
        assert!(node(ComponentKind::Processor, "redaction/r") && gateway(ComponentKind::Processor, "k8sattributes"));
    }

    #[test]
    fn collector_contains_each_component_once() {
        for role in [CollectorRole::NodeCollector, CollectorRole::ClusterGateway] {
            let mut types: Vec<_> = shipped(role).map(|(kind, one)| (kind.section(), one)).collect();
            let all = types.len();
            types.sort_unstable();
            types.dedup();
            assert_eq!(types.len(), all, "{role:?}");
        }
    }
}
