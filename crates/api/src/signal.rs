//! The telemetry signals and the two collector roles, as the API spells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A telemetry signal, spelt in upper case in manifests and in lower case in collector pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Log records.
    Logs,
    /// Metric data points.
    Metrics,
    /// Continuous profiles; accepted in manifests, not rendered by stock collectors yet.
    Profiles,
    /// Spans.
    Traces,
}

impl Signal {
    /// The signals that a stock collector has stable pipelines for, in the order in which pipelines are listed.
    pub const PIPELINES: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// The spelling inside a collector configuration, e.g. `traces`.
    #[must_use]
    pub const fn as_pipeline(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Profiles => "profiles",
            Self::Traces => "traces",
        }
    }

    /// The spelling in manifests, e.g. `TRACES`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Metrics => "METRICS",
            Self::Profiles => "PROFILES",
            Self::Traces => "TRACES",
        }
    }

    /// Reads the spelling of a pipeline id; `None` for anything else.
    #[must_use]
    pub fn from_pipeline(text: &str) -> Option<Self> {
        [Self::Logs, Self::Metrics, Self::Profiles, Self::Traces].into_iter().find(|s| s.as_pipeline() == text)
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the two collectors something belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CollectorRole {
    /// The cluster gateway.
    #[default]
    ClusterGateway,
    /// The collector on every node.
    NodeCollector,
}

impl CollectorRole {
    /// The spelling in manifests and in the label `odigos.io/collector-role`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterGateway => "CLUSTER_GATEWAY",
            Self::NodeCollector => "NODE_COLLECTOR",
        }
    }
}
