//! Coverage: which Source decides about a workload, and with which streams, service name and overrides.
//!
//! Owns `spec/sources-and-instrumentation.md` 2.2, 2.5–2.7. Pure matching; finalizers and writes are elsewhere.

use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::{ACCEPTED, CONFLICT, MARKED};
use odigos_api::labels::{self, STREAM_PREFIX};
use odigos_api::source::{ContainerOverride, Source};
use odigos_api::{WorkloadKind, WorkloadRef};
use regex::Regex;
use std::collections::BTreeMap;

/// What the Sources of a namespace say about one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Whether it is instrumented.
    pub decision: Decision,
    /// The stream labels of the InstrumentationConfig: the namespace Source's, overlaid by the workload Source's.
    pub stream_labels: BTreeMap<String, String>,
    /// `service.name`, when a Source overrides it.
    pub service_name: Option<String>,
    /// Overrides of single containers.
    pub overrides: Vec<ContainerOverride>,
    /// Value of the recovery annotation, copied from the Source.
    pub recovery: Option<String>,
}

/// The outcome of the decision table 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An enabled workload Source.
    WorkloadSource,
    /// A disabled workload Source.
    WorkloadSourceDisabled,
    /// An enabled namespace Source.
    NamespaceSource,
    /// Nothing that asks for it.
    NoSource,
    /// Several workload Sources select it; nothing is changed until one is removed.
    Ambiguous,
}

impl Decision {
    /// Whether the workload is instrumented.
    #[must_use]
    pub const fn is_covered(self) -> bool {
        matches!(self, Self::WorkloadSource | Self::NamespaceSource)
    }
}

/// Whether a Source is on its way out.
#[must_use]
pub fn is_terminating(source: &Source) -> bool {
    source.metadata.deletion_timestamp.is_some()
}

/// Whether the Source selects a whole namespace.
#[must_use]
pub fn is_namespace_source(source: &Source) -> bool {
    source.spec.workload.kind == "Namespace"
}

/// A Source with its pattern compiled once.
#[derive(Clone, Debug)]
pub struct Matcher<'a> {
    source: &'a Source,
    pattern: Option<Result<Regex, String>>,
}

impl<'a> Matcher<'a> {
    /// Compiles the Source's pattern, if it has one.
    #[must_use]
    pub fn new(source: &'a Source) -> Self {
        let pattern = (source.spec.match_workload_name_as_regex == Some(true) && !is_namespace_source(source))
            .then(|| compile(&source.spec.workload.name));
        Self { source, pattern }
    }

    /// Why the pattern does not compile, if so.
    #[must_use]
    pub fn pattern_error(&self) -> Option<&str> {
        self.pattern.as_ref().and_then(|pattern| pattern.as_ref().err()).map(String::as_str)
    }

    /// Whether the Source selects the workload, by name or pattern or as its namespace.
    #[must_use]
    pub fn selects(&self, workload: &WorkloadRef) -> bool {
        if self.source.metadata.namespace.as_deref().unwrap_or_default() != workload.namespace {
            return false;
        }
        if is_namespace_source(self.source) {
            return self.source.spec.workload.name == workload.namespace && workload.kind != WorkloadKind::Job;
        }
        self.source.spec.workload.kind == workload.kind.as_str() && self.selects_name(&workload.name)
    }

    /// Whether the Source's name or pattern fits `name`.
    #[must_use]
    pub fn selects_name(&self, name: &str) -> bool {
        match &self.pattern {
            Some(Ok(pattern)) => pattern.is_match(name),
            Some(Err(_)) => false,
            None => self.source.spec.workload.name == name,
        }
    }
}

/// Compiles a pattern with a bound on the memory that a hostile one may take.
///
/// # Errors
/// What is wrong with the pattern.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        error.to_string().lines().last().unwrap_or("invalid pattern").trim_start_matches("error: ").to_owned()
    })
}

/// Decides about a workload from the Sources of its namespace; their order does not matter.
#[must_use]
pub fn cover<'a>(workload: &WorkloadRef, sources: impl IntoIterator<Item = &'a Source>) -> Coverage {
    let matching: Vec<&Source> = sources.into_iter().filter(|source| Matcher::new(source).selects(workload)).collect();
    decide(&matching)
}

/// The decision table over the Sources that select a workload.
#[must_use]
pub fn decide(matching: &[&Source]) -> Coverage {
    let by_name = |source: &&&Source| source.metadata.name.clone();
    let (mut of_namespace, mut of_workload): (Vec<&Source>, Vec<&Source>) =
        matching.iter().copied().partition(|source| is_namespace_source(source));
    of_namespace.sort_by_key(|source| by_name(&source));
    of_workload.sort_by_key(|source| by_name(&source));
    let live = |sources: &[&'_ Source]| sources.iter().copied().filter(|s| !is_terminating(s)).count();
    let workload_source = of_workload.iter().copied().find(|source| !is_terminating(source));
    let namespace_enabled =
        of_namespace.iter().any(|source| !is_terminating(source) && source.spec.disable_instrumentation != Some(true));
    let decision = match workload_source {
        _ if live(&of_workload) > 1 => Decision::Ambiguous,
        Some(source) if source.spec.disable_instrumentation == Some(true) => Decision::WorkloadSourceDisabled,
        Some(_) => Decision::WorkloadSource,
        None if namespace_enabled => Decision::NamespaceSource,
        None => Decision::NoSource,
    };
    Coverage {
        decision,
        stream_labels: merged_streams(&of_namespace, &of_workload),
        service_name: workload_source
            .and_then(|source| source.spec.otel_service_name.clone())
            .filter(|name| !name.is_empty()),
        overrides: workload_source.map(|source| source.spec.container_overrides.clone()).unwrap_or_default(),
        recovery: workload_source
            .or_else(|| of_namespace.iter().copied().find(|source| !is_terminating(source)))
            .and_then(|source| source.metadata.annotations.as_ref()?.get(labels::ROLLBACK_RECOVERY).cloned()),
    }
}

/// The merged stream labels. Labels of terminating Sources take part until the objects are gone; a disabled namespace
/// Source is as good as none.
fn merged_streams(of_namespace: &[&Source], of_workload: &[&Source]) -> BTreeMap<String, String> {
    let stream_labels = |source: &Source| {
        let all = source.metadata.labels.clone().unwrap_or_default();
        all.into_iter().filter(|(key, _)| key.starts_with(STREAM_PREFIX)).collect::<Vec<_>>()
    };
    let enabled = of_namespace.iter().filter(|source| source.spec.disable_instrumentation != Some(true));
    enabled.chain(of_workload).flat_map(|source| stream_labels(source)).collect()
}

/// The condition `MarkedForInstrumentation` for a decision.
#[must_use]
pub fn marked(decision: Decision, names: &str) -> ConditionDraft {
    match decision {
        Decision::WorkloadSource => {
            ConditionDraft::yes(MARKED, "WorkloadSource", "A Source of the workload asks for it.")
        }
        Decision::NamespaceSource => {
            ConditionDraft::yes(MARKED, "NamespaceSource", "A Source of the namespace asks for it.")
        }
        Decision::WorkloadSourceDisabled => {
            ConditionDraft::no(MARKED, "WorkloadSourceDisabled", "A Source of the workload excludes it.")
        }
        Decision::NoSource => ConditionDraft::no(MARKED, "NoSource", "No Source covers the workload."),
        Decision::Ambiguous => ConditionDraft::unknown(
            MARKED,
            "RetirableError",
            format!("Several Sources select the workload: {names}. Delete all but one; until then nothing is changed."),
        ),
    }
}

/// What is reported on a Source: whether it can be used, and whether another one selects the same workload.
#[must_use]
pub fn source_conditions(matcher: &Matcher<'_>, matched: usize, rivals: &[String]) -> Vec<ConditionDraft> {
    let workload = &matcher.source.spec.workload;
    let accepted = if let Some(error) = matcher.pattern_error() {
        ConditionDraft::no(ACCEPTED, "InvalidPattern", format!("spec.workload.name is not a valid pattern: {error}"))
    } else if !is_namespace_source(matcher.source)
        && !matches!(WorkloadKind::parse(&workload.kind), Some(kind) if kind != WorkloadKind::Job)
    {
        ConditionDraft::no(
            ACCEPTED,
            "UnknownKind",
            format!("spec.workload.kind {:?} is not a kind that can be observed", workload.kind),
        )
    } else if matcher.source.metadata.namespace.as_deref() != Some(&workload.namespace) {
        ConditionDraft::no(
            ACCEPTED,
            "WrongNamespace",
            "spec.workload.namespace must be the namespace of the Source: it selects nothing",
        )
    } else {
        let message = match matched {
            0 => "No workload matches yet; it takes effect as soon as one exists.".to_owned(),
            1 => "It selects 1 workload.".to_owned(),
            many => format!("It selects {many} workloads."),
        };
        ConditionDraft::yes(ACCEPTED, "Accepted", message)
    };
    let conflict = if rivals.is_empty() {
        ConditionDraft::no(CONFLICT, "NoConflict", "No other Source selects the same workload.")
    } else {
        ConditionDraft::yes(
            CONFLICT,
            "SelectedTwice",
            format!("Also selected by {}; delete all but one.", rivals.join(", ")),
        )
    };
    vec![accepted, conflict]
}

#[cfg(test)]
mod tests;
