//! The endpoint of a collector's metrics: one port, for readers with a certificate of the product's own authority.
//!
//! Owns who may read, what is read there, and on which addresses the plain ports behind it listen: what a collector serves without TLS
//! names the workloads and backends of every tenant, so it stays on loopback. Never decides which metrics exist, and reads none
//! itself. Images that are not of this release lack the extension: their ports are open, and that is reported.

use crate::configuration::Configuration;
use crate::mutual_tls;
use odigos_api::names;
use odigos_pipeline::components::METRICS_ENDPOINT;
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Value, json};

/// Name of its port in pods and Services; a pod that has it is read there.
pub const PORT_NAME: &str = "metrics-tls";
/// The name in the certificate of whoever may read.
pub const READER_NAME: &str = "metrics-reader.odigos.internal";
/// Setting that opens the plain ports.
pub const PLAINTEXT: &str = "metrics.plaintext";
/// Said of a collector whose image is not one of this release.
pub const NO_ENDPOINT: &str = "its image is none of this release's, so everybody who reaches its pods reads its metrics without TLS (images.collector)";

/// Exporters by which a collector serves metrics besides its own, each at most once.
const EXPORTERS: [&str; 3] = ["prometheus/sources", "prometheus/sampling-rules", "prometheus/servicegraph"];

/// How the metrics of a collector can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAccess {
    /// By the endpoint.
    pub has_endpoint: bool,
    /// By anybody, on the plain ports.
    pub is_plain: bool,
}

impl MetricsAccess {
    /// Where a collector can have the endpoint, the plain ports are open only if the configuration says so.
    #[must_use]
    pub fn of(configuration: &Configuration, has_endpoint: bool) -> Self {
        Self { has_endpoint, is_plain: !has_endpoint || configuration.flag(PLAINTEXT) == Some(true) }
    }

    /// The address on which the plain ports listen.
    #[must_use]
    pub fn host(self) -> &'static str {
        if self.is_plain { "0.0.0.0" } else { "127.0.0.1" }
    }
}

/// Adds the endpoint before the collector's own metrics on `port` and what its exporters serve.
pub fn add(config: &mut CollectorConfig, port: i32) {
    let exporters = EXPORTERS.iter().filter_map(|id| config.get(ComponentKind::Exporter, id)).filter_map(port_of);
    let sources: Vec<String> = std::iter::once(i64::from(port)).chain(exporters).map(address).collect();
    let settings = json!({
        "endpoint": format!("0.0.0.0:{}", names::SECURE_METRICS_PORT),
        "tls": mutual_tls::listening(),
        "readers": [READER_NAME],
        "sources": sources,
    });
    config.add(ComponentKind::Extension, METRICS_ENDPOINT, settings);
    config.started_extensions.insert(METRICS_ENDPOINT.into());
}

/// Where a collector serves metrics to itself.
pub(crate) fn address(port: i64) -> String {
    format!("http://127.0.0.1:{port}/metrics")
}

fn port_of(exporter: &Value) -> Option<i64> {
    exporter["endpoint"].as_str()?.rsplit(':').next()?.parse().ok()
}

/// Its port of a container.
#[must_use]
pub fn container_port() -> Value {
    json!({"name": PORT_NAME, "containerPort": names::SECURE_METRICS_PORT, "protocol": "TCP"})
}

/// Its port of a Service.
#[must_use]
pub fn service_port() -> Value {
    let port = names::SECURE_METRICS_PORT;
    json!({"name": PORT_NAME, "port": port, "targetPort": port, "protocol": "TCP"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ports_are_open_where_asked_for_or_where_there_is_no_endpoint() {
        let access = |text: &str, has_endpoint: bool| {
            let access = MetricsAccess::of(&Configuration::parse(text).unwrap(), has_endpoint);
            (access.host(), access.has_endpoint)
        };
        assert_eq!(access("{}", true), ("127.0.0.1", true));
        assert_eq!(access("metrics: {plaintext: false}", true), ("127.0.0.1", true));
        assert_eq!(access("metrics: {plaintext: true}", true), ("0.0.0.0", true));
        assert_eq!(access("{}", false), ("0.0.0.0", false));
    }

    #[test]
    fn everything_that_a_collector_serves_is_read_at_one_endpoint() {
        let mut config = CollectorConfig::default();
        for (id, endpoint) in
            [("prometheus/sources", "127.0.0.1:55683"), ("prometheus/sampling-rules", "localhost:9091")]
        {
            config.add(ComponentKind::Exporter, id, json!({"endpoint": endpoint}));
        }
        add(&mut config, 55_682);
        let settings = config.get(ComponentKind::Extension, METRICS_ENDPOINT).unwrap();
        let sources = [55_682, 55_683, 9_091].map(address);
        assert_eq!(settings["sources"], json!(sources));
        assert_eq!((&settings["endpoint"], &settings["readers"]), (&json!("0.0.0.0:8889"), &json!([READER_NAME])));
        assert_eq!(settings["tls"]["client_ca_file"], "/etc/odigos/certificate/ca.crt");
        assert!(config.started_extensions.contains(METRICS_ENDPOINT));
    }
}
