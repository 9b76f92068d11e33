//! What goes out: exporters to gateways.
//!
//! Owns the exporters of the node collector and when traces are balanced by trace id (`spec/collectors-and-pipelines.md`
//! 5.5). Which of them a pipeline ends in is decided with the pools ([`super::routes`]).

use super::pipelines::Build;
use super::routes::{self, Route};
use crate::collector;
use crate::mutual_tls::Side;
use crate::receivers::LARGEST_BATCH;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::{Signal, names};
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Value, json};

impl Build<'_> {
    /// Traces go to the gateway that holds the rest of their trace when something there needs whole traces (spec 5.5).
    fn balances_traces(&self, gateway: &CollectorsGroupSpec) -> bool {
        let io = gateway.trace_correlations.as_ref().and_then(|c| c.service_io.as_ref());
        let whole_traces = gateway.service_graph_disabled != Some(true)
            || gateway.tail_sampling.as_ref().is_some_and(|sampling| sampling.disabled != Some(true))
            || io.is_some_and(|io| io.enabled == Some(true));
        whole_traces && gateway.resources_settings.max_replicas.unwrap_or(10) > 1
    }

    /// The exporter to a gateway: the main one, or that of a pool.
    pub(super) fn exporter(&self, signal: Signal, gateway: &CollectorsGroupSpec) -> String {
        let pool = gateway.pool.as_ref().map(|pool| format!(".{}", pool.name)).unwrap_or_default();
        if signal == Signal::Traces && self.balances_traces(gateway) {
            return format!("load_balancing/traces{pool}");
        }
        format!("otlp_grpc/out-cluster-collector-{}{pool}", signal.as_pipeline())
    }

    /// Where a signal goes at the end: to the main gateways, or to what tells by the class which gateways it is for.
    pub(super) fn way_out(&self, signal: Signal) -> String {
        let is_routed = self.routes.iter().any(|route| route.takes(signal));
        if is_routed { routes::connector(signal) } else { self.exporter(signal, self.gateway) }
    }

    pub(super) fn add_exporters(&self, config: &mut CollectorConfig) {
        let settings = self.spec.otlp_exporter_configuration.as_ref();
        let compress = settings
            .and_then(|settings| settings.enable_data_compression)
            .or(self.spec.enable_data_compression)
            .unwrap_or(false);
        let compression = if compress { "gzip" } else { "none" };
        let timeout = settings.and_then(|settings| settings.timeout.as_deref()).unwrap_or("5s");
        let retry = settings.and_then(|settings| settings.retry_on_failure.as_ref());
        let retry = json!({
            "enabled": retry.and_then(|retry| retry.enabled).unwrap_or(true),
            "initial_interval": retry.and_then(|retry| retry.initial_interval.as_deref()).unwrap_or("5s"),
            "max_interval": retry.and_then(|retry| retry.max_interval.as_deref()).unwrap_or("30s"),
            "max_elapsed_time": retry.and_then(|retry| retry.max_elapsed_time.as_deref()).unwrap_or("300s"),
        });
        let to_pools: usize = self.routes.iter().map(Route::signals).sum();
        let mut queue = collector::sending_queue(collector::queue_bytes(&self.spec.resources_settings, 3 + to_pools));
        // By bytes: a gateway refuses what is larger than its limit for good.
        queue["batch"] = json!({
            "flush_timeout": "200ms", "sizer": "bytes", "min_size": LARGEST_BATCH / 4, "max_size": LARGEST_BATCH,
        });
        let pools = self.routes.iter().map(|route| route.gateway);
        let to = match self.has_certificate {
            true => Connection { port: names::NODE_OTLP_PORT, tls: Side::Node.settings() },
            false => Connection { port: names::OTLP_GRPC_PORT, tls: json!({"insecure": true}) },
        };
        for gateway in [self.gateway].into_iter().chain(pools) {
            let name = crate::gateway::name(gateway);
            for signal in Signal::PIPELINES {
                let id = self.exporter(signal, gateway);
                if id.starts_with("load_balancing") {
                    let service = format!("{name}.{}", self.namespace);
                    let balancing = balancing(&service, &to, compression, timeout, &retry, &queue);
                    config.add(ComponentKind::Exporter, id, balancing);
                    continue;
                }
                config.add(
                    ComponentKind::Exporter,
                    id,
                    json!({
                        // One address that the cluster keeps pointing at ready gateways: names are looked up again only
                        // every 30 s, too late for a gateway that was replaced.
                        "endpoint": format!("{}.{}:{}", names::balanced(&name), self.namespace, to.port),
                        "tls": to.tls,
                        "compression": compression,
                        "timeout": timeout,
                        "retry_on_failure": retry,
                        "sending_queue": queue,
                    }),
                );
            }
        }
        config.add(ComponentKind::Exporter, "nop", json!({}));
    }
}

/// How gateways are reached.
struct Connection {
    port: u16,
    tls: Value,
}

/// Keeps traces together: spans of one trace go to one gateway.
fn balancing(service: &str, to: &Connection, compression: &str, timeout: &str, retry: &Value, queue: &Value) -> Value {
    json!({
        "routing_key": "traceID",
        "protocol": {"otlp": {
            "tls": to.tls,
            "compression": compression,
            "timeout": timeout,
            // The queue and the long patience are outside, so that what a vanished gateway left is sent to another. A
            // gateway is known before it listens: until then it is asked again, since a batch that fails for one
            // gateway is sent again to all of its gateways.
            "sending_queue": {"enabled": false},
            "retry_on_failure": {"enabled": true, "initial_interval": "500ms", "max_interval": "1s", "max_elapsed_time": "10s"},
        }},
        "resolver": {"k8s": {"service": service, "ports": [to.port]}},
        "timeout": "15s",
        "retry_on_failure": retry,
        "sending_queue": queue,
    })
}
