//! Metrics of the process in the Prometheus text format. No label holds an object's name.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex};

/// Label of everything that belongs to one controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ControllerLabel {
    /// Name of the controller.
    pub controller: &'static str,
}

/// Labels of a finished reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// Name of the controller.
    pub controller: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// Labels of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// Kind of the object.
    pub kind: String,
    /// `applied`, `status`, `deleted`, `patched`, `unchanged`, `conflict` or `error`.
    pub outcome: &'static str,
}

/// Labels of a condition that objects of a kind have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    /// Kind of the objects.
    pub kind: &'static str,
    /// Type of the condition.
    pub condition: &'static str,
}

/// The metrics that every controller has.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Finished reconciles.
    pub reconciles: Family<OutcomeLabels, Counter>,
    /// Seconds that reconciles took.
    pub duration: Family<ControllerLabel, Histogram>,
    /// Keys that wait.
    pub depth: Family<ControllerLabel, Gauge>,
    /// Writes to the API server.
    pub writes: Family<WriteLabels, Counter>,
    /// Objects that do not have the shape of their kind.
    pub undecodable: Family<ControllerLabel, Counter>,
    /// 1 while this replica leads.
    pub leading: Gauge,
    /// How many objects of a kind have a condition that says False.
    pub unwell: Family<ConditionLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("odigos");
        let metrics = Self {
            reconciles: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            depth: Family::default(),
            writes: Family::default(),
            undecodable: Family::default(),
            leading: Gauge::default(),
            unwell: Family::default(),
            registry: Arc::default(),
        };
        registry.register("reconciles", "Finished reconciles", metrics.reconciles.clone());
        registry.register("reconcile_seconds", "Seconds that reconciles took", metrics.duration.clone());
        registry.register("queue_depth", "Keys that wait to be reconciled", metrics.depth.clone());
        registry.register("api_writes", "Writes to the API server by outcome", metrics.writes.clone());
        registry.register(
            "undecodable_objects",
            "Objects that were skipped for their shape",
            metrics.undecodable.clone(),
        );
        registry.register("leading", "1 while this replica leads", metrics.leading.clone());
        registry.register("objects_unwell", "Objects whose condition says False", metrics.unwell.clone());
        if let Ok(mut own) = metrics.registry.lock() {
            *own = registry;
        }
        metrics
    }
}

impl Metrics {
    /// Adds a metric that only one binary has; its name gets the prefix `odigos_`.
    pub fn register(&self, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
        if let Ok(mut registry) = self.registry.lock() {
            registry.register(name, help, metric);
        }
    }

    /// The metrics as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Ok(registry) = self.registry.lock() {
            let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        }
        text
    }

    /// Tells how many objects of a kind have a condition that says False.
    pub fn count_unwell(&self, kind: &'static str, condition: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unwell.get_or_create(&ConditionLabels { kind, condition }).set(count);
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &str, outcome: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), outcome }).inc();
    }
}
