//! Every collector component that is rendered, and the contrib release from which that spelling and its keys exist.
//!
//! This is "stock components only" as data. Tests hold what the catalogue and the planners render against this table, and the collector that is
//! built from `deploy/collector` against it. The releases are those of the components' change logs; a contrib image of [`MINIMUM_RELEASE`] has
//! not been run.

use crate::config::ComponentKind;

/// Minor number of the oldest contrib release (0.x) that knows every rendered name and key, by the change logs.
pub const MINIMUM_RELEASE: u16 = 154;

/// One rendered component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Section that it stands in.
    pub kind: ComponentKind,
    /// Type as rendered.
    pub component_type: &'static str,
    /// First contrib release (0.x) that knows this spelling.
    pub since: u16,
    /// Older spelling that the same component had, if any.
    pub formerly: Option<&'static str>,
    /// Rendered keys that are younger than the component, as `key (0.x)`.
    pub younger_keys: &'static [(&'static str, u16)],
}

const fn component(kind: ComponentKind, component_type: &'static str, since: u16) -> Component {
    Component { kind, component_type, since, formerly: None, younger_keys: &[] }
}

const fn renamed(kind: ComponentKind, component_type: &'static str, since: u16, formerly: &'static str) -> Component {
    Component { kind, component_type, since, formerly: Some(formerly), younger_keys: &[] }
}

const QUEUE_KEYS: &[(&str, u16)] = &[
    ("sending_queue.sizer", 123),
    ("sending_queue.batch", 126),
    ("sending_queue.block_on_overflow", 123),
    ("sending_queue.batch.sizer", 145),
];

/// The table, by section and type.
pub const COMPONENTS: &[Component] = &[
    component(ComponentKind::Receiver, "otlp", 20),
    renamed(ComponentKind::Receiver, "file_log", 149, "filelog"),
    renamed(ComponentKind::Receiver, "host_metrics", 151, "hostmetrics"),
    renamed(ComponentKind::Receiver, "kubelet_stats", 152, "kubeletstats"),
    component(ComponentKind::Receiver, "k8s_cluster", 20),
    component(ComponentKind::Receiver, "prometheus", 20),
    component(ComponentKind::Processor, "memory_limiter", 20),
    component(ComponentKind::Processor, "resource", 20),
    component(ComponentKind::Processor, "attributes", 20),
    component(ComponentKind::Processor, "transform", 40),
    component(ComponentKind::Processor, "batch", 20),
    // Its younger spelling is not in every release that is promised.
    component(ComponentKind::Processor, "deltatocumulative", 98),
    component(ComponentKind::Processor, "cumulativetodelta", 40),
    component(ComponentKind::Processor, "filter", 40),
    renamed(ComponentKind::Processor, "k8s_attributes", 146, "k8sattributes"),
    renamed(ComponentKind::Processor, "resource_detection", 153, "resourcedetection"),
    Component {
        younger_keys: &[
            ("policies.drop", 126),
            ("block_on_overflow", 134),
            ("policies.not", 145),
            ("policies.and.and_sub_policy.not", 154),
        ],
        ..component(ComponentKind::Processor, "tail_sampling", 20)
    },
    component(ComponentKind::Connector, "count", 78),
    component(ComponentKind::Connector, "forward", 78),
    Component {
        kind: ComponentKind::Connector,
        component_type: "routing",
        since: 85,
        formerly: None,
        younger_keys: &[("table.context", 113), ("table.condition", 119)],
    },
    component(ComponentKind::Connector, "servicegraph", 78),
    Component {
        kind: ComponentKind::Connector,
        component_type: "span_metrics",
        since: 151,
        formerly: Some("spanmetrics"),
        younger_keys: &[("aggregation_cardinality_limit", 125), ("add_resource_attributes", 139)],
    },
    component(ComponentKind::Connector, "datadog", 85),
    Component { younger_keys: QUEUE_KEYS, ..renamed(ComponentKind::Exporter, "otlp_grpc", 144, "otlp") },
    Component { younger_keys: QUEUE_KEYS, ..renamed(ComponentKind::Exporter, "otlp_http", 144, "otlphttp") },
    component(ComponentKind::Exporter, "debug", 86),
    component(ComponentKind::Exporter, "nop", 98),
    component(ComponentKind::Exporter, "file", 20),
    component(ComponentKind::Exporter, "prometheus", 20),
    renamed(ComponentKind::Exporter, "prometheus_remote_write", 154, "prometheusremotewrite"),
    renamed(ComponentKind::Exporter, "load_balancing", 153, "loadbalancing"),
    component(ComponentKind::Exporter, "kafka", 20),
    component(ComponentKind::Exporter, "clickhouse", 40),
    component(ComponentKind::Exporter, "datadog", 40),
    component(ComponentKind::Exporter, "awss3", 60),
    component(ComponentKind::Exporter, "awscloudwatchlogs", 40),
    component(ComponentKind::Exporter, "awsemf", 20),
    component(ComponentKind::Exporter, "awsxray", 20),
    component(ComponentKind::Exporter, "azureblob", 124),
    component(ComponentKind::Exporter, "azuremonitor", 20),
    component(ComponentKind::Exporter, "coralogix", 60),
    component(ComponentKind::Exporter, "elasticsearch", 20),
    component(ComponentKind::Exporter, "googlecloud", 60),
    component(ComponentKind::Exporter, "googlecloudstorage", 140),
    component(ComponentKind::Exporter, "logzio", 20),
    component(ComponentKind::Exporter, "signalfx", 20),
    component(ComponentKind::Extension, "health_check", 20),
    component(ComponentKind::Extension, "file_storage", 40),
    component(ComponentKind::Extension, "basicauth", 50),
    component(ComponentKind::Extension, "bearertokenauth", 40),
    component(ComponentKind::Extension, "oauth2client", 40),
    component(ComponentKind::Extension, "googleclientauth", 110),
    component(ComponentKind::Extension, "k8s_leader_elector", 121),
];

/// Exporters that are rendered although the collector of this release lacks them: their module can be had at no release that compiles with the
/// others.
pub const NOT_SHIPPED: &[&str] = &["googlecloudstorage"];

/// Whether the collector of this release has the exporter of that id.
#[must_use]
pub fn is_exporter_shipped(id: &str) -> bool {
    find(ComponentKind::Exporter, id).is_some_and(|found| !NOT_SHIPPED.contains(&found.component_type))
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
}
