//! Fixed object names, keys, ports and field managers.

/// Namespace of the control plane unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "odigos-system";

/// Field manager, user agent and lease name of the instrumentor.
pub const INSTRUMENTOR: &str = "odigos-instrumentor";
/// Field manager, user agent and lease name of the scheduler.
pub const SCHEDULER: &str = "odigos-scheduler";
/// Field manager, user agent and lease name of the autoscaler.
pub const AUTOSCALER: &str = "odigos-autoscaler";
/// Field manager of what the autoscaler says of traces that data streams cut.
pub const TRACE_CUTS: &str = "odigos-autoscaler-trace-cuts";
/// User agent of the agent on a node.
pub const AGENT: &str = "odigos-agent";
/// Field manager of the reports that agents of nodes write into the status of InstrumentationConfigs.
pub const AGENT_REPORTS: &str = "odigos-agent-reports";
/// DaemonSet, ServiceAccount and Service of the agent.
pub const AGENT_SERVICE: &str = "odiglet";
/// ServiceAccount, without any permission, of pods that look at processes once; their names begin with it.
pub const DETECTION: &str = "odigos-detection";

/// CollectorsGroup, Service, HPA, ConfigMap and ServiceAccount of the gateway; also its Deployment unless renamed.
pub const GATEWAY: &str = "odigos-gateway";

/// Name of a dedicated pool's group, and of its Deployment, Service and ConfigMap.
#[must_use]
pub fn pool_gateway(pool: &str) -> String {
    format!("{GATEWAY}-{pool}")
}

/// Service with one address in front of the ready pods of a gateway, the main one or a pool's; what need not stay with one pod
/// goes through it.
#[must_use]
pub fn balanced(gateway: &str) -> String {
    format!("{gateway}-otlp")
}
/// CollectorsGroup, ConfigMap, DaemonSet and ServiceAccount of the node collector.
pub const NODE_COLLECTOR: &str = "odigos-data-collection";
/// Service that keeps OTLP traffic of a pod on its node.
pub const NODE_SERVICE: &str = "odigos-data-collection-local-traffic";
/// Key of the collector configuration in the gateway's ConfigMap.
pub const GATEWAY_CONFIG_KEY: &str = "collector-conf";
/// Key of the collector configuration in the node collector's ConfigMap.
pub const NODE_CONFIG_KEY: &str = "conf";

/// ConfigMap written by the user or the chart.
pub const CONFIGURATION: &str = "odigos-configuration";
/// Overlay ConfigMap of the central backend.
pub const REMOTE_CONFIGURATION: &str = "odigos-remote-config";
/// Overlay ConfigMap of the UI.
pub const UI_CONFIGURATION: &str = "odigos-local-ui-config";
/// ConfigMap with the merged configuration that every component reads.
pub const EFFECTIVE_CONFIGURATION: &str = "effective-config";
/// Key of the four ConfigMaps above.
pub const CONFIGURATION_KEY: &str = "config.yaml";
/// ConfigMap that records version and installation facts.
pub const DEPLOYMENT: &str = "odigos-deployment";

/// Secret of the chart into which the autoscaler writes escaped copies of values that a collector would expand.
pub const ESCAPED_SECRETS: &str = "odigos-gateway-escaped-secrets";

/// Secret with the authority that certifies collectors; only the autoscaler reads it.
pub const COLLECTOR_AUTHORITY: &str = "odigos-collector-authority";
/// Secret with the certificate of gateways.
pub const GATEWAY_CERTIFICATE: &str = "odigos-gateway-certificate";
/// Secret with the certificate of node collectors.
pub const NODE_CERTIFICATE: &str = "odigos-node-certificate";

/// OTLP gRPC port of gateways for node collectors alone; both sides show a certificate.
pub const NODE_OTLP_PORT: u16 = 4319;

/// Secrets of the product in its namespace; no Destination may read one.
pub const OWN_SECRETS: [&str; 6] = [
    "odigos-metrics-authority",
    "odigos-webhook-authority",
    COLLECTOR_AUTHORITY,
    ESCAPED_SECRETS,
    GATEWAY_CERTIFICATE,
    NODE_CERTIFICATE,
];
/// Field managers of the controllers: what one of them wrote is the product's own.
pub const CONTROLLERS: [&str; 3] = [AUTOSCALER, INSTRUMENTOR, SCHEDULER];

/// OTLP gRPC port of every collector.
pub const OTLP_GRPC_PORT: u16 = 4317;
/// OTLP HTTP port of every collector.
pub const OTLP_HTTP_PORT: u16 = 4318;
/// Port on which collectors hand their own metrics to the gateway.
pub const OWN_METRICS_PORT: u16 = 44318;
/// Self-metrics port of the gateway.
pub const GATEWAY_METRICS_PORT: u16 = 8888;
/// Self-metrics port of the node collector.
pub const NODE_METRICS_PORT: u16 = 55682;
/// Port on which the node collector tells how much each source sends.
pub const SOURCE_METRICS_PORT: u16 = 55683;
/// Port on which a collector serves all its metrics to readers with a certificate of the product's own authority.
pub const SECURE_METRICS_PORT: u16 = 8889;
/// Self-metrics port of the agent on a node.
pub const AGENT_METRICS_PORT: u16 = 8080;
/// Health check port of every collector.
pub const HEALTH_PORT: u16 = 13133;
