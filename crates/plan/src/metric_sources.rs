//! Which sources of metrics a Destination takes.
//!
//! Owns the defaults of `metricsSettings`. Never decides what is collected: that is the union over all Destinations
//! ([`crate::scheduling`]), and what one of them does not take is filtered in its own pipeline ([`crate::gateway`]).

use odigos_api::Signal;
use odigos_api::destination::DestinationSpec;

/// The sources of metrics that one Destination takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricSources {
    /// What applications and agents send. Default: true.
    pub agents: bool,
    /// Metrics of the nodes. Default: true.
    pub hosts: bool,
    /// Metrics of pods and containers from the kubelet. Default: true.
    pub kubelet: bool,
    /// Metrics computed from spans. Default: true, unless the Destination takes traces and its backend computes them itself.
    pub spans: bool,
    /// Metrics of the service graph. Default: false.
    pub service_graph: bool,
    /// The product's own metrics. Default: false.
    pub own: bool,
}

impl MetricSources {
    /// What a Destination takes, if it takes metrics at all.
    #[must_use]
    pub fn of(spec: &DestinationSpec) -> Self {
        let settings = spec.metrics_settings.clone().unwrap_or_default();
        Self {
            agents: settings.agents_telemetry_enabled != Some(false),
            hosts: settings.host_metrics_enabled != Some(false),
            kubelet: settings.kubelet_stats_enabled != Some(false),
            spans: settings.span_metrics_enabled.unwrap_or(!leaves_span_metrics_to_backend(spec)),
            service_graph: settings.service_graph_enabled == Some(true),
            own: settings.odigos_own_metrics_enabled == Some(true),
        }
    }
}

/// Whether span metrics are not sent to a Destination, unless it says otherwise, because its backend computes them: one that
/// gets no spans has nothing to compute them from.
#[must_use]
pub fn leaves_span_metrics_to_backend(spec: &DestinationSpec) -> bool {
    let is_stated = spec.metrics_settings.as_ref().is_some_and(|settings| settings.span_metrics_enabled.is_some());
    let takes = |signal| spec.signals.contains(&signal);
    let computes =
        odigos_catalog::destination::find(&spec.type_).is_some_and(|one| one.computes_span_metrics.is_some());
    !is_stated && takes(Signal::Traces) && takes(Signal::Metrics) && computes
}
