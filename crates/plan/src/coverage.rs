//! Coverage: which Source decides about a workload, and with which streams, service name and overrides.
//!
//! Owns the decision table over the Sources of a namespace, inside what the configuration allows (`scope`). Pure matching;
//! finalizers and writes are elsewhere.

pub mod scope;

use crate::covered::{LANGUAGES, unknown};
use crate::spelling::behind_misspelt;
use crate::workload::Workload;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::{ACCEPTED, CONFLICT, MARKED};
use odigos_api::labels::{self, STREAM_PREFIX};
use odigos_api::source::{ContainerOverride, Source};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_catalog::distribution;
use regex::Regex;
use scope::{Exclusion, Mode, Scope};
use std::collections::BTreeMap;
use std::sync::{LazyLock, PoisonError, RwLock};

/// What the Sources of a namespace and the configuration say about one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Whether it is instrumented.
    pub decision: Decision,
    /// Why its namespace is never covered, when the decision is `NamespaceIgnored`.
    pub exclusion: Option<Exclusion>,
    /// The stream labels of the InstrumentationConfig: the namespace Source's, overlaid by the workload Source's.
    pub stream_labels: BTreeMap<String, String>,
    /// `service.name`, when a Source overrides it.
    pub service_name: Option<String>,
    /// Overrides of single containers.
    pub overrides: Vec<ContainerOverride>,
    /// Value of the recovery annotation, copied from the Source.
    pub recovery: Option<String>,
}

/// The outcome of the decision table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An enabled workload Source.
    WorkloadSource,
    /// A disabled workload Source.
    WorkloadSourceDisabled,
    /// An enabled namespace Source.
    NamespaceSource,
    /// No Source covers it, and only Sources cover.
    NoSource,
    /// No Source covers it, and the configuration covers what nothing excludes.
    OptOut,
    /// A disabled namespace Source, where the configuration covers what nothing excludes.
    NamespaceSourceDisabled,
    /// Its namespace is never covered.
    NamespaceIgnored,
    /// No effective configuration is known: whatever Sources say, nothing is changed until one is.
    ConfigurationPending,
    /// Several workload Sources select it; nothing is changed until one is removed.
    Ambiguous,
}

impl Decision {
    /// Whether the workload is instrumented.
    #[must_use]
    pub const fn is_covered(self) -> bool {
        matches!(self, Self::WorkloadSource | Self::NamespaceSource | Self::OptOut)
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

/// Memory that the pattern of a new Source may take once it is compiled, in bytes. Compiling more takes tens of milliseconds.
pub const PATTERN_LIMIT: usize = 64 << 10;
/// The same for Sources that exist: those of earlier releases could take more.
const EXISTING_PATTERN_LIMIT: usize = 1 << 20;
/// Compiled patterns that are remembered.
const REMEMBERED: usize = 4096;

/// Compiles a pattern with a bound on the memory that a hostile one may take, once: the same pattern is used for every workload of its
/// namespace, again and again.
///
/// # Errors
/// What is wrong with the pattern.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    static KNOWN: LazyLock<RwLock<BTreeMap<String, Result<Regex, String>>>> = LazyLock::new(RwLock::default);
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return known.clone();
    }
    let compiled = compile_within(pattern, EXISTING_PATTERN_LIMIT);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED {
        // Patterns of Sources that are gone; those in use come back at once.
        known.clear();
    }
    known.insert(pattern.to_owned(), compiled.clone());
    compiled
}

/// Compiles a pattern unless it takes more memory than `limit`.
///
/// # Errors
/// What is wrong with the pattern.
pub fn compile_within(pattern: &str, limit: usize) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(limit).build().map_err(|error| {
        error.to_string().lines().last().unwrap_or("invalid pattern").trim_start_matches("error: ").to_owned()
    })
}

/// Decides about a workload from the Sources of its namespace; their order does not matter.
#[must_use]
pub fn cover<'a>(scope: &Scope, workload: &WorkloadRef, sources: impl IntoIterator<Item = &'a Source>) -> Coverage {
    let matching: Vec<&Source> = sources.into_iter().filter(|source| Matcher::new(source).selects(workload)).collect();
    decide(scope, workload, &matching)
}

/// The decision table over the Sources that select a workload.
#[must_use]
pub fn decide(scope: &Scope, workload: &WorkloadRef, matching: &[&Source]) -> Coverage {
    let by_name = |source: &&&Source| source.metadata.name.clone();
    let (mut of_namespace, mut of_workload): (Vec<&Source>, Vec<&Source>) =
        matching.iter().copied().partition(|source| is_namespace_source(source));
    of_namespace.sort_by_key(|source| by_name(&source));
    of_workload.sort_by_key(|source| by_name(&source));
    let live = |sources: &[&'_ Source]| sources.iter().copied().filter(|s| !is_terminating(s)).count();
    let workload_source = of_workload.iter().copied().find(|source| !is_terminating(source));
    let namespace_enabled =
        of_namespace.iter().any(|source| !is_terminating(source) && source.spec.disable_instrumentation != Some(true));
    let exclusion = scope.exclusion(&workload.namespace);
    let decision = match workload_source {
        _ if exclusion.is_some() => Decision::NamespaceIgnored,
        _ if !scope.is_known() => Decision::ConfigurationPending,
        _ if live(&of_workload) > 1 => Decision::Ambiguous,
        Some(source) if source.spec.disable_instrumentation == Some(true) => Decision::WorkloadSourceDisabled,
        Some(_) => Decision::WorkloadSource,
        None if namespace_enabled => Decision::NamespaceSource,
        None => without_source(scope, workload, live(&of_namespace) > 0),
    };
    let stated = merged_streams(&of_namespace, &of_workload);
    // A Source that names a stream decides alone: what it covered before is in no further stream since the mode changed.
    let opt_out = scope.opt_out_labels(&workload.namespace);
    let stream_labels = match opt_out {
        Some(labels) if decision == Decision::OptOut || stated.is_empty() => labels,
        _ => stated,
    };
    Coverage {
        decision,
        exclusion,
        stream_labels,
        service_name: workload_source
            .and_then(|source| source.spec.otel_service_name.clone())
            .filter(|name| !name.is_empty()),
        overrides: workload_source.map(|source| source.spec.container_overrides.clone()).unwrap_or_default(),
        recovery: workload_source
            .or_else(|| of_namespace.iter().copied().find(|source| !is_terminating(source)))
            .and_then(|source| source.metadata.annotations.as_ref()?.get(labels::ROLLBACK_RECOVERY).cloned()),
    }
}

/// The decision for a workload that no enabled Source selects. A Job is covered by the CronJob that makes it, never by itself.
fn without_source(scope: &Scope, workload: &WorkloadRef, is_excluded: bool) -> Decision {
    match scope.mode() {
        Mode::OptOut(_) if is_excluded => Decision::NamespaceSourceDisabled,
        Mode::OptOut(_) if workload.kind != WorkloadKind::Job => Decision::OptOut,
        _ => Decision::NoSource,
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

/// The condition `MarkedForInstrumentation` of a workload. `names` are the Sources of an ambiguous coverage.
#[must_use]
pub fn marked(coverage: &Coverage, workload: &WorkloadRef, names: &str) -> ConditionDraft {
    match coverage.decision {
        Decision::WorkloadSource => {
            ConditionDraft::yes(MARKED, "WorkloadSource", "A Source of the workload asks for it.")
        }
        Decision::NamespaceSource => {
            ConditionDraft::yes(MARKED, "NamespaceSource", "A Source of the namespace asks for it.")
        }
        Decision::OptOut => ConditionDraft::yes(
            MARKED,
            "OptOut",
            "Every workload is instrumented unless it is excluded (instrumentation.mode: optOut). A Source with \
             disableInstrumentation: true excludes it.",
        ),
        Decision::WorkloadSourceDisabled => {
            ConditionDraft::no(MARKED, "WorkloadSourceDisabled", "A Source of the workload excludes it.")
        }
        Decision::NamespaceSourceDisabled => {
            ConditionDraft::no(MARKED, "NamespaceSourceDisabled", "A Source of the namespace excludes it.")
        }
        Decision::NamespaceIgnored => {
            let message = coverage.exclusion.as_ref().map(|exclusion| exclusion.message(&workload.namespace));
            ConditionDraft::no(MARKED, NAMESPACE_IGNORED, message.unwrap_or_default())
        }
        Decision::NoSource => ConditionDraft::no(MARKED, "NoSource", "No Source covers the workload."),
        Decision::ConfigurationPending => ConditionDraft::unknown(
            MARKED,
            "ConfigurationPending",
            "ConfigMap effective-config does not exist or is not valid. Nothing is changed until it is; the scheduler writes it.",
        ),
        Decision::Ambiguous => ConditionDraft::unknown(
            MARKED,
            "RetirableError",
            format!("Several Sources select the workload: {names}. Delete all but one; until then nothing is changed."),
        ),
    }
}

/// Reason of Sources and workloads in a namespace that is never covered.
pub const NAMESPACE_IGNORED: &str = "NamespaceIgnored";

/// What a Source says without effect, or with another one than was probably meant, each with its field: overrides for containers that its workload does not have, unknown
/// distributions, overrides that nothing reads. `workload` is the one of a Source for a single workload, where it exists.
#[must_use]
pub fn source_remarks(source: &Source, workload: Option<&Workload>) -> Vec<(String, String)> {
    let spec = &source.spec;
    let mut found: Vec<(String, String)> =
        pattern_remark(source).map(|message| ("spec.workload.name".to_owned(), message)).into_iter().collect();
    let none = BTreeMap::new();
    for (key, problem) in labels::stream_label_problems(source.metadata.labels.as_ref().unwrap_or(&none)) {
        found.push((format!("metadata.labels[{key}]"), format!("{problem}; until then it joins no stream")));
    }
    found.extend(source.metadata.labels.iter().flatten().filter_map(|(key, value)| misspelt_stream_label(key, value)));
    if spec.otel_service_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        let message = "it is blank; remove it, or write the name under which the workload shall appear".to_owned();
        found.push(("spec.otelServiceName".to_owned(), message));
    } else if let Some(problem) = spec.otel_service_name.as_deref().and_then(service_name_problem) {
        found.push(("spec.otelServiceName".to_owned(), problem.to_owned()));
    }
    if is_namespace_source(source) && !spec.container_overrides.is_empty() {
        let message =
            "a Source for a namespace has no containers of its own; move the overrides to a Source for the workload";
        found.push(("spec.containerOverrides".to_owned(), message.to_owned()));
        return found;
    }
    if let Some((deployment, rollout)) = workload.and_then(|one| Some((&one.reference, one.lent_to.as_ref()?))) {
        let message = format!(
            "{deployment} has no pods of its own: {rollout} runs its pod template (spec.workloadRef); write the Source for the Rollout"
        );
        found.push(("spec.workload".to_owned(), message));
    }
    for (position, one) in spec.container_overrides.iter().enumerate() {
        let field = |name: &str| format!("spec.containerOverrides[{position}].{name}");
        if let Some(workload) = workload.filter(|workload| !workload.containers.contains(&one.container_name)) {
            let known = match workload.containers.is_empty() {
                true => "none".to_owned(),
                false => workload.containers.join(", "),
            };
            let message = format!("{} has no such container; it has: {known}", workload.reference);
            found.push((field("containerName"), message));
        }
        let first = spec.container_overrides.iter().position(|other| other.container_name == one.container_name);
        if let Some(first) = first.filter(|first| *first < position) {
            let message = format!(
                "spec.containerOverrides[{first}] is for the container {:?} too, and only that one counts; join them",
                one.container_name
            );
            found.push((field("containerName"), message));
        }
        if let Some(name) = one.otel_distro_name.as_deref().filter(|name| distribution::find(name).is_none()) {
            let known = distribution::all().keys().map(String::as_str);
            found.push((field("otelDistroName"), unknown(name, "distribution", known)));
        }
        let language = one.runtime_info.as_ref().map(|details| details.language.as_str());
        if let Some(language) = language.filter(|language| !LANGUAGES.contains(language)) {
            found.push((field("runtimeInfo.language"), unknown(language, "language", LANGUAGES)));
        }
    }
    found
}

/// What is wrong with a service name that is not blank: it is sent as it is written.
#[must_use]
pub fn service_name_problem(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        return Some(
            "it holds a control character, such as a tab or the end of a line, which backends show in odd ways or refuse; remove it",
        );
    }
    (name.trim() != name).then_some("the blank at its beginning or end is part of the name; remove it")
}

/// A label that was probably meant to join a data stream, and joins none.
fn misspelt_stream_label(key: &str, value: &str) -> Option<(String, String)> {
    let name = key.strip_prefix("data-stream-").or_else(|| behind_misspelt(key, STREAM_PREFIX))?;
    // Without a name in the key, the value may be it.
    let stream = if name.is_empty() { value } else { name };
    let is_usable = labels::flag(stream).is_none() && labels::stream_name_problem(stream).is_none();
    let meant = if is_usable { labels::stream_label(stream) } else { format!("{STREAM_PREFIX}<name>") };
    let message = format!("no component reads this label, so it joins no data stream; did you mean {meant}: \"true\"?");
    Some((format!("metadata.labels[{key}]"), message))
}

/// Why no workload can have the name that a Source gives, where none can.
#[must_use]
pub fn impossible_name(source: &Source) -> Option<String> {
    let name = &source.spec.workload.name;
    let is_pattern = source.spec.match_workload_name_as_regex == Some(true);
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let is_possible = is_pattern || (!name.is_empty() && name.chars().all(is_legal));
    (!is_possible)
        .then(|| format!("no workload can be called {name:?}; a pattern needs matchWorkloadNameAsRegex: true"))
}

/// What a pattern matches that its author probably did not mean: every name, or a `*` that is taken for any text.
fn pattern_remark(source: &Source) -> Option<String> {
    let pattern = source.spec.workload.name.as_str();
    if source.spec.match_workload_name_as_regex != Some(true) || is_namespace_source(source) {
        return None;
    }
    if pattern.is_empty() {
        return Some("the pattern is empty and matches every name; write .* if that is meant".into());
    }
    if pattern.contains(r"\\") {
        // Quotes of JSON take two; YAML in single quotes, or without any, takes one.
        return Some(r"the pattern requires a backslash, which no name holds; write a single one, as in \d".into());
    }
    let before = pattern.split_once('*').and_then(|(head, _)| head.chars().next_back());
    let literal = before.filter(|c| c.is_ascii_alphanumeric() || *c == '-')?;
    Some(format!(
        "it is a regular expression, in which {literal}* is any number of {literal}; for any text write .*, as in {}",
        pattern.replace('*', ".*")
    ))
}

/// What is reported on a Source: whether it can be used, and whether another one selects the same workload. `remarks` are those of
/// [`source_remarks`].
#[must_use]
pub fn source_conditions(
    scope: &Scope,
    matcher: &Matcher<'_>,
    matched: usize,
    rivals: &[String],
    remarks: &[(String, String)],
) -> Vec<ConditionDraft> {
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
    } else if let Some(exclusion) = ineffective(scope, matcher.source) {
        ConditionDraft::no(ACCEPTED, NAMESPACE_IGNORED, exclusion.message(&workload.namespace))
    } else {
        let mut message = match (matched, impossible_name(matcher.source)) {
            (0, Some(problem)) => format!("It selects nothing: spec.workload.name: {problem}."),
            (0, None) => "No workload matches yet; it takes effect as soon as one exists.".to_owned(),
            (1, _) => "It selects 1 workload.".to_owned(),
            (many, _) => format!("It selects {many} workloads."),
        };
        for (field, remark) in remarks {
            message.push_str(&format!(" Warning: {field}: {remark}."));
        }
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

/// Why a Source has no effect because of its namespace, if so. One that excludes something agrees with the exclusion.
#[must_use]
pub fn ineffective(scope: &Scope, source: &Source) -> Option<Exclusion> {
    let namespace = source.metadata.namespace.as_deref().unwrap_or_default();
    scope.exclusion(namespace).filter(|_| source.spec.disable_instrumentation != Some(true))
}

#[cfg(test)]
mod tests;
