//! A sampling rule as data, after it was accepted (`spec/sampling.md` 1–3). No matching happens here.

use crate::objects::hash;
use odigos_api::WorkloadKind;
use std::collections::BTreeSet;

/// The three categories, in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// At most a percentage of a noisy operation is kept; decides first, by root spans.
    Noisy,
    /// At least a percentage of a highly relevant operation is kept; decides second.
    HighlyRelevant,
    /// At most a percentage is kept to save cost; decides last.
    CostReduction,
}

impl Category {
    /// The word that `simulate` prints.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Noisy => "noisy",
            Self::HighlyRelevant => "highlyRelevant",
            Self::CostReduction => "costReduction",
        }
    }

    /// The value of the span attribute `odigos.sampling.category` (section 5).
    #[must_use]
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Noisy => "noise",
            Self::HighlyRelevant => "highly relevant",
            Self::CostReduction => "cost reduction",
        }
    }

    /// The list of a Sampling object in which rules of the category stand.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Noisy => "noisyOperations",
            Self::HighlyRelevant => "highlyRelevantOperations",
            Self::CostReduction => "costReductionRules",
        }
    }
}

/// A percentage with at most six decimal places, held exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    /// Nothing is kept.
    pub const ZERO: Self = Self(0);
    /// Everything is kept.
    pub const HUNDRED: Self = Self(100_000_000);

    /// Reads a number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(number: f64) -> Result<Self, String> {
        if !(0.0..=100.0).contains(&number) {
            return Err(format!("{number} is no percentage between 0 and 100"));
        }
        // The shortest decimal that reads back as this number is what the user wrote.
        let text = number.abs().to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        if fraction.len() > 6 {
            return Err(format!("{text} has more than six decimal places; round it"));
        }
        let digits = format!("{whole}{fraction:0<6}");
        digits.parse().map(Self).map_err(|_| format!("{text} is no percentage between 0 and 100"))
    }

    /// Millionths of a percent: 0 to 100,000,000.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// The number of millionths, for tests and generators; more than 100 percent is cut.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Self {
        if millionths > Self::HUNDRED.0 { Self::HUNDRED } else { Self(millionths) }
    }

    /// As a number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl std::fmt::Display for Percentage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_f64().fmt(f)
    }
}

/// One workload of a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKey {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// One alternative of the older scope shape; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative {
    /// Namespace of the workload.
    pub namespace: Option<String>,
    /// Kind of the workload.
    pub kind: Option<WorkloadKind>,
    /// Name of the workload.
    pub name: Option<String>,
    /// Language of the container.
    pub language: Option<String>,
}

impl Alternative {
    /// The one workload that it is for, where it names one whole.
    #[must_use]
    pub fn source(&self) -> Option<SourceKey> {
        Some(SourceKey { namespace: self.namespace.clone()?, kind: self.kind?, name: self.name.clone()? })
    }
}

/// One container, for rules that come from its probes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerKey {
    /// Its workload.
    pub source: SourceKey,
    /// Its name.
    pub container: String,
}

/// Which sources a rule is for (section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every source.
    Everything,
    /// One of each list that is not empty.
    Lists {
        /// These workloads.
        sources: BTreeSet<SourceKey>,
        /// Workloads of these namespaces.
        namespaces: BTreeSet<String>,
        /// Containers of these languages, in the product's words.
        languages: BTreeSet<String>,
    },
    /// One of the alternatives.
    AnyOf(Vec<Alternative>),
    /// These containers.
    Containers(BTreeSet<ContainerKey>),
}

/// A path template of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRule {
    /// The whole path.
    Exact(String),
    /// Its beginning, in whole segments.
    Prefix(String),
    /// The whole path, in which nothing stands for anything else.
    Literal(String),
}

/// Which spans of the sources a rule is for (section 2). Empty texts of manifests are absent here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Every span.
    Any,
    /// Server spans of HTTP.
    HttpServer {
        /// Path.
        path: Option<PathRule>,
        /// Method, in any case.
        method: Option<String>,
        /// Pairs of the query that must all be there.
        query: Vec<(String, String)>,
    },
    /// Client spans of HTTP.
    HttpClient {
        /// `server.address`.
        server_address: Option<String>,
        /// `url.template`.
        path: Option<PathRule>,
        /// Method, in any case.
        method: Option<String>,
    },
    /// Server spans of gRPC.
    GrpcServer {
        /// Full name of the service.
        service: Option<String>,
        /// Name of the method.
        method: Option<String>,
    },
    /// Client spans of gRPC.
    GrpcClient {
        /// Full name of the service.
        service: Option<String>,
        /// Name of the method.
        method: Option<String>,
        /// `server.address`.
        server_address: Option<String>,
    },
    /// Messages that are received.
    KafkaConsumer {
        /// Topic; any when absent.
        topic: Option<String>,
    },
    /// Messages that are sent.
    KafkaProducer {
        /// Topic; any when absent.
        topic: Option<String>,
    },
}

/// An accepted rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its category.
    pub category: Category,
    /// 16 hex digits over what it matches (1.1); rules that match the same share it.
    pub id: String,
    /// Name that people gave it; may be empty.
    pub name: String,
    /// Cap or floor.
    pub percentage: Percentage,
    /// Which sources.
    pub scope: Scope,
    /// Which spans.
    pub operation: Operation,
    /// Only spans with status error.
    pub error: bool,
    /// Only spans that took at least so many milliseconds.
    pub duration_at_least_ms: Option<i64>,
    /// Whether it takes part in decisions.
    pub enabled: bool,
    /// Where it stands, e.g. `Sampling odigos-system/errors spec.highlyRelevantOperations[0]`.
    pub origin: Origin,
    /// Data streams that it is for; empty means all.
    pub streams: BTreeSet<String>,
}

/// Where a rule stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the Sampling object, or of the built-in.
    pub object: String,
    /// Position in its list.
    pub index: usize,
}

impl Rule {
    /// Whether it is a rule of the stream: a global one, or one that names it (section 10). Without a stream: whether it is
    /// global.
    #[must_use]
    pub fn is_for_stream(&self, stream: Option<&str>) -> bool {
        self.streams.is_empty() || stream.is_some_and(|stream| self.streams.contains(stream))
    }

    /// The name, or what stands in for one.
    #[must_use]
    pub fn title(&self) -> String {
        if self.name.is_empty() {
            format!("{}.{}[{}]", self.origin.object, self.category.field(), self.origin.index)
        } else {
            self.name.clone()
        }
    }

    /// The order in which rules are written down and ties are told (9.9): category, percentage, id, origin.
    #[must_use]
    pub fn order(&self) -> (Category, Percentage, &str, &Origin) {
        (self.category, self.percentage, &self.id, &self.origin)
    }
}

/// The id of what a rule matches: 16 hex digits of SHA-256 over its canonical text (1.1). Name, notes, percentage and
/// whether it is enabled do not change it.
#[must_use]
pub fn id(
    category: Category,
    scope: &Scope,
    operation: &Operation,
    error: bool,
    duration_at_least_ms: Option<i64>,
) -> String {
    let text = format!("{}|{scope:?}|{operation:?}|{error}|{duration_at_least_ms:?}", category.word());
    hash(text, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        for (number, millionths) in [(0.0, 0), (100.0, 100_000_000), (0.5, 500_000), (10.1, 10_100_000), (1e-6, 1)] {
            assert_eq!(Percentage::new(number).unwrap().millionths(), millionths, "{number}");
        }
        for bad in [-0.1, 100.000_001, f64::NAN, f64::INFINITY, 12.345_678_901_234_567, 1e-7] {
            assert!(Percentage::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Percentage::new(-0.0).map(Percentage::millionths), Ok(0));
    }
}
