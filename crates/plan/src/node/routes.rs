//! Which gateways items of a node go to: those of a dedicated pool, or the main ones.
//!
//! Owns the last step of the node collector's pipelines (`spec/collectors-and-pipelines.md` 6.3): a routing connector by stream
//! class, present only where a pool takes the signal. A class is sent to a pool once all of its gateways know it; what no row
//! names goes to the main gateways, which know every class. Never decides which pool takes what ([`crate::pools`]).

use odigos_api::Signal;
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec, GatewayPool, RoutedPool};
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_pipeline::ottl::{Condition, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::json;

/// A pool that a node sends to.
#[derive(Debug)]
pub(super) struct Route<'a> {
    /// The pool's gateways.
    pub(super) gateway: &'a CollectorsGroupSpec,
    pool: &'a GatewayPool,
    /// What its gateways have pipelines for; `None` until they have said so.
    received: Option<&'a [Signal]>,
    classes: Vec<&'a str>,
}

impl Route<'_> {
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.pool.signals.contains(&signal) && self.received.is_none_or(|received| received.contains(&signal))
    }

    /// How many signals it takes.
    pub(super) fn signals(&self) -> usize {
        Signal::PIPELINES.into_iter().filter(|signal| self.takes(*signal)).count()
    }

    /// The route as the status of the node collector tells it.
    pub(super) fn told(&self) -> RoutedPool {
        let stream_classes = self.classes.iter().map(|class| (*class).to_owned()).collect();
        RoutedPool { name: self.pool.name.clone(), stream_classes }
    }
}

/// The pools that stay and serve something, sorted by name.
pub(super) fn of<'a>(groups: &[&'a CollectorsGroup]) -> Vec<Route<'a>> {
    let route = |group: &'a CollectorsGroup| {
        let pool = group.spec.pool.as_ref().filter(|pool| pool.retired_at.is_none())?;
        let status = group.status.as_ref()?;
        let (served, received) = (&status.served_stream_classes, status.receiver_signals.as_deref());
        let wanted = group.spec.stream_classes.iter().filter(|class| class.retired_at.is_none());
        let classes: Vec<&str> =
            wanted.map(|class| class.id.as_str()).filter(|id| served.iter().any(|one| one == id)).collect();
        (!classes.is_empty()).then_some(Route { gateway: &group.spec, pool, received, classes })
    };
    let mut routes: Vec<Route<'a>> = groups.iter().filter_map(|group| route(group)).collect();
    routes.sort_by(|a, b| a.pool.name.cmp(&b.pool.name));
    routes
}

/// Id of the connector that tells gateways apart.
pub(super) fn connector(signal: Signal) -> String {
    format!("routing/gateways-{}", signal.as_pipeline())
}

/// Adds the connector of a signal and a pipeline for each gateway behind it, if a pool takes the signal.
pub(super) fn add(
    config: &mut CollectorConfig,
    signal: Signal,
    routes: &[Route<'_>],
    main: &str,
    exporter: &dyn Fn(&CollectorsGroupSpec) -> String,
) {
    let pipeline = |name: &str| format!("{}/{name}", signal.as_pipeline());
    // Where the node takes none of a signal, nothing leads to the connector.
    if !config.pipelines.values().any(|one| one.exporters.contains(&connector(signal))) {
        return;
    }
    let mut rows = Vec::new();
    let receivers = vec![connector(signal)];
    for route in routes.iter().filter(|route| route.takes(signal)) {
        let name = format!("gateway.{}", route.pool.name);
        let exporters = vec![exporter(route.gateway)];
        *config.pipeline(signal, &name) = Pipeline { receivers: receivers.clone(), processors: vec![], exporters };
        for class in &route.classes {
            let condition = Condition::Equal(Path::keyed("attributes", STREAM_CLASS_ATTRIBUTE).into(), (*class).into());
            rows.push(json!({
                "context": "resource", "condition": condition.to_string(), "pipelines": [pipeline(&name)],
            }));
        }
    }
    *config.pipeline(signal, "gateway") = Pipeline { receivers, processors: vec![], exporters: vec![main.to_owned()] };
    config.add(
        ComponentKind::Connector,
        connector(signal),
        json!({"error_mode": "ignore", "default_pipelines": [pipeline("gateway")], "table": rows}),
    );
}
