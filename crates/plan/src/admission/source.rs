//! Sources: labels that are filled in, finalizers that are removed, and everything that cannot be accepted (2.3, 2.4).

use super::Refusal;
use crate::coverage::{Matcher, PATTERN_LIMIT, compile_within, is_namespace_source};
use crate::objects::hash;
use odigos_api::labels::{self, STREAM_LABEL_LIMIT, STREAM_PREFIX};
use odigos_api::source::Source;
use odigos_api::{WorkloadKind, WorkloadRef};
use std::collections::BTreeMap;

/// Sources with a pattern in one namespace.
pub const PATTERN_QUOTA: usize = 128;
/// Longest value of a label.
const LABEL_LIMIT: usize = 63;

/// The value of the label `odigos.io/workload-name`: the name, or its beginning and a hash where it is too long for one.
#[must_use]
pub fn name_label(name: &str) -> String {
    if name.len() <= LABEL_LIMIT {
        return name.to_owned();
    }
    let head: String = name.chars().take(50).collect();
    format!("{}-{}", head.trim_end_matches(['-', '.', '_']), hash(name, 8))
}

/// Fills in what a Source lacks. `namespace_has_streams` says that a Source of its namespace names a stream: then a
/// workload's Source without one inherits it and does not join `default` besides (spec 7.6).
#[must_use]
pub fn defaulted(source: &Source, namespace_has_streams: bool) -> Source {
    let mut source = source.clone();
    let workload = source.spec.workload.clone();
    let is_pattern = source.spec.match_workload_name_as_regex == Some(true);
    let inherits = namespace_has_streams && !is_namespace_source(&source);
    let labels = source.metadata.labels.get_or_insert_default();
    if !is_pattern {
        labels.entry(labels::WORKLOAD_NAME.to_owned()).or_insert_with(|| name_label(&workload.name));
    }
    labels.entry(labels::WORKLOAD_NAMESPACE.to_owned()).or_insert(workload.namespace);
    labels.entry(labels::WORKLOAD_KIND.to_owned()).or_insert(workload.kind);
    let joins_any =
        labels.iter().any(|(key, value)| key.starts_with(STREAM_PREFIX) && labels::flag(value) == Some(true));
    // An explicit `false` for default opts out of it; turning it round would undo what the user wrote.
    let opts_out = labels.contains_key(labels::DEFAULT_STREAM_LABEL);
    if !joins_any && !opts_out && !inherits {
        labels.insert(labels::DEFAULT_STREAM_LABEL.to_owned(), "true".to_owned());
    }
    // A finalizer would hold the Source, and its namespace, where the control plane was removed first. Both old ones at once are
    // refused, and must still be there for that.
    if let Some(finalizers) = &mut source.metadata.finalizers
        && !has_both_old_finalizers(finalizers)
    {
        finalizers.retain(|one| !labels::is_source_finalizer(one));
    }
    source
}

fn has_both_old_finalizers(finalizers: &[String]) -> bool {
    labels::DEPRECATED_SOURCE_FINALIZERS.iter().all(|old| finalizers.iter().any(|one| one == old))
}

/// Everything that keeps a Source from being accepted. `others` are the Sources of its namespace.
#[must_use]
pub fn refusals<'a>(
    source: &Source,
    before: Option<&Source>,
    others: impl IntoIterator<Item = &'a Source>,
) -> Vec<Refusal> {
    let mut found = Vec::new();
    let spec = &source.spec;
    let workload = &spec.workload;
    let is_pattern = spec.match_workload_name_as_regex == Some(true);
    let namespace_kind = is_namespace_source(source);
    let metadata_namespace = source.metadata.namespace.as_deref().unwrap_or_default();
    let none = BTreeMap::new();
    let own_labels = source.metadata.labels.as_ref().unwrap_or(&none);
    let mut refuse = |field: &str, message: String| found.push(Refusal::new(field, message));

    let finalizers = source.metadata.finalizers.as_deref().unwrap_or_default();
    if has_both_old_finalizers(finalizers) {
        refuse("metadata.finalizers", "both finalizers of older releases at once; remove one".into());
    }
    let labelled = [
        (labels::WORKLOAD_NAME, (!is_pattern).then(|| name_label(&workload.name))),
        (labels::WORKLOAD_NAMESPACE, Some(workload.namespace.clone())),
        (labels::WORKLOAD_KIND, Some(workload.kind.clone())),
    ];
    for (key, expected) in &labelled {
        if let (Some(label), Some(expected)) = (own_labels.get(*key), expected)
            && label != expected
        {
            refuse(
                &format!("metadata.labels[{key}]"),
                format!("{label:?} does not agree with spec.workload; it must be {expected:?}"),
            );
        }
    }
    // What an older release took stays, so that its finalizer can be removed.
    let had = before.and_then(|one| one.metadata.labels.as_ref()).unwrap_or(&none);
    for (key, problem) in labels::stream_label_problems(own_labels) {
        if had.get(&key) != own_labels.get(&key) {
            refuse(&format!("metadata.labels[{key}]"), problem);
        }
    }
    let streams = |one: &Source| one.metadata.labels.as_ref().map_or(0, |all| labels::stream_labels(all).len());
    let (count, had) = (streams(source), before.map_or(0, streams));
    if count > STREAM_LABEL_LIMIT && count > had {
        refuse(
            "metadata.labels",
            format!("{count} data streams; a Source may name at most {STREAM_LABEL_LIMIT} (labels {STREAM_PREFIX}…)"),
        );
    }
    let known = WorkloadKind::parse(&workload.kind).filter(|kind| *kind != WorkloadKind::Job);
    if !namespace_kind && known.is_none() {
        let kinds: Vec<&str> =
            WorkloadKind::ALL.into_iter().filter(|kind| *kind != WorkloadKind::Job).map(WorkloadKind::as_str).collect();
        refuse(
            "spec.workload.kind",
            format!("{:?} cannot be observed; use one of {}, Namespace", workload.kind, kinds.join(", ")),
        );
    }
    if workload.namespace != metadata_namespace {
        refuse(
            "spec.workload.namespace",
            format!("{:?} must be the namespace of the Source, {metadata_namespace:?}", workload.namespace),
        );
    }
    if namespace_kind {
        if workload.name != workload.namespace {
            refuse("spec.workload.name", "a Source of kind Namespace must name its own namespace".into());
        }
        if spec.otel_service_name.as_deref().is_some_and(|name| !name.is_empty()) {
            refuse(
                "spec.otelServiceName",
                "it cannot be set for a whole namespace: every workload would get the same name".into(),
            );
        }
        if is_pattern {
            refuse("spec.matchWorkloadNameAsRegex", "it cannot be set for a whole namespace".into());
        }
    }
    let had_name = before.and_then(|before| before.spec.otel_service_name.as_ref());
    let name = spec.otel_service_name.as_ref().filter(|name| had_name != Some(*name));
    if name.is_some_and(|name| name.chars().any(char::is_control)) {
        refuse(
            "spec.otelServiceName",
            "it holds a control character, such as a tab or the end of a line; remove it".into(),
        );
    }
    let matcher = Matcher::new(source);
    let too_large = || compile_within(&workload.name, PATTERN_LIMIT).err().filter(|_| is_pattern && before.is_none());
    if let Some(error) = matcher.pattern_error().map(str::to_owned).or_else(too_large) {
        refuse("spec.workload.name", format!("{:?} is not a valid pattern: {error}", workload.name));
    }
    if let Some(before) = before {
        if before.spec.workload != *workload {
            refuse("spec.workload", "it cannot be changed; delete the Source and create another one".into());
        }
        if (before.spec.match_workload_name_as_regex == Some(true)) != is_pattern {
            refuse(
                "spec.matchWorkloadNameAsRegex",
                "it cannot be changed; delete the Source and create another one".into(),
            );
        }
    }
    let mut patterns = 0;
    for other in
        others.into_iter().filter(|other| other.metadata.name != source.metadata.name || source.metadata.name.is_none())
    {
        if other.spec.match_workload_name_as_regex == Some(true) && !crate::coverage::is_terminating(other) {
            patterns += 1;
        }
        if let Some(message) = rivalry(&matcher, source, other) {
            refuse("spec.workload.name", message);
        }
    }
    // Each of them is tried on every workload of the namespace. Those that exist stay, however many there are.
    if is_pattern && before.is_none() && patterns >= PATTERN_QUOTA {
        refuse(
            "spec.matchWorkloadNameAsRegex",
            format!(
                "the namespace has {patterns} Sources with a pattern, and may have {PATTERN_QUOTA}; use fewer, wider ones"
            ),
        );
    }
    found
}

/// Why two Sources of a namespace cannot stand side by side, if so. Overlapping patterns cannot be told from the names
/// alone; the controllers report them on the workload.
fn rivalry(matcher: &Matcher<'_>, source: &Source, other: &Source) -> Option<String> {
    let (ours, theirs) = (&source.spec.workload, &other.spec.workload);
    if ours.kind != theirs.kind
        || source.metadata.namespace != other.metadata.namespace
        || crate::coverage::is_terminating(other)
    {
        return None;
    }
    let name = other.metadata.name.as_deref().unwrap_or_default();
    let is_pattern = |one: &Source| one.spec.match_workload_name_as_regex == Some(true);
    match (is_pattern(source), is_pattern(other)) {
        (false, false) if ours.name == theirs.name => {
            Some(format!("the Source {name} selects the same workload already"))
        }
        (true, true) if ours.name == theirs.name => Some(format!("the Source {name} has the same pattern already")),
        (true, false) if matcher.selects_name(&theirs.name) => {
            Some(format!("the pattern selects {:?} too, for which the Source {name} exists", theirs.name))
        }
        (false, true) if Matcher::new(other).selects_name(&ours.name) => {
            Some(format!("the pattern of the Source {name} selects it already"))
        }
        _ => None,
    }
}

/// Whether any Source of the namespace itself names a stream.
pub fn namespace_has_streams<'a>(sources: impl IntoIterator<Item = &'a Source>) -> bool {
    sources
        .into_iter()
        .filter(|source| is_namespace_source(source) && source.spec.disable_instrumentation != Some(true))
        .any(|source| {
            source
                .metadata
                .labels
                .iter()
                .flatten()
                .any(|(key, value)| key.starts_with(STREAM_PREFIX) && labels::flag(value) == Some(true))
        })
}

/// The workload of an exact Source, `None` for patterns and namespaces.
#[must_use]
pub fn exact_workload(source: &Source) -> Option<WorkloadRef> {
    if source.spec.match_workload_name_as_regex == Some(true) {
        return None;
    }
    let kind = WorkloadKind::parse(&source.spec.workload.kind)?;
    Some(WorkloadRef::new(source.metadata.namespace.as_deref()?, kind, source.spec.workload.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn source(name: &str, spec: Value) -> Source {
        let mut spec = spec;
        for (key, value) in [("name", "web"), ("namespace", "shop"), ("kind", "Deployment")] {
            if spec["workload"].get(key).is_none() {
                spec["workload"][key] = json!(value);
            }
        }
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        }))
        .unwrap()
    }

    fn fields(source: &Source, before: Option<&Source>, others: &[Source]) -> Vec<String> {
        refusals(source, before, others).into_iter().map(|refusal| refusal.field).collect()
    }

    #[test]
    fn s1_labels_and_stream_are_filled_in() {
        let filled = defaulted(&source("a", json!({"workload": {}})), false);
        let labels = filled.metadata.labels.clone().unwrap();
        assert_eq!(labels.len(), 4);
        assert_eq!(labels[labels::DEFAULT_STREAM_LABEL], "true");
        assert_eq!(filled.metadata.finalizers, None, "nothing holds a Source");
        assert_eq!(defaulted(&filled, false), filled, "idempotent");
        let pattern = source("a", json!({"workload": {}, "matchWorkloadNameAsRegex": true}));
        assert!(!defaulted(&pattern, false).metadata.labels.unwrap().contains_key(labels::WORKLOAD_NAME));
    }

    #[test]
    fn streams_are_defaulted_only_when_nothing_is_said() {
        let with = |stream: &str, value: &str, inherits| {
            let mut one = source("a", json!({"workload": {}}));
            if !stream.is_empty() {
                one.metadata.labels = Some([(labels::stream_label(stream), value.to_owned())].into());
            }
            let labels = defaulted(&one, inherits).metadata.labels.unwrap();
            labels.get(labels::DEFAULT_STREAM_LABEL).cloned()
        };
        assert_eq!(with("", "", false).as_deref(), Some("true"));
        assert_eq!(with("a", "true", false), None);
        assert_eq!(with("a", "false", false).as_deref(), Some("true"));
        assert_eq!(with("default", "false", false).as_deref(), Some("false"));
        assert_eq!(with("", "", true), None, "inherits the namespace's streams");
    }

    #[test]
    fn stream_label_that_is_neither_true_nor_false_is_refused_unless_it_was_there() {
        let with = |value: &str| {
            let mut one = source("a", json!({"workload": {}}));
            one.metadata.labels = Some([(labels::stream_label("shop"), value.to_owned())].into());
            one
        };
        for value in ["True", "yes", "1", "", "on", "FALSE"] {
            let refusals = refusals(&defaulted(&with(value), false), None, &[]);
            assert_eq!(refusals.len(), 1, "{value:?}");
            assert_eq!(refusals[0].field, "metadata.labels[odigos.io/data-stream-shop]");
            assert!(refusals[0].message.contains("odigos.io/data-stream-shop"), "{}", refusals[0].message);
            assert_eq!(fields(&with(value), Some(&with(value)), &[]), Vec::<String>::new(), "{value:?} was there");
            assert_eq!(fields(&with(value), Some(&with("true")), &[]).len(), 1, "{value:?} is new");
        }
        for value in ["true", "false"] {
            assert_eq!(fields(&with(value), None, &[]), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn s8_old_finalizers() {
        let mut one = source("a", json!({"workload": {}}));
        one.metadata.finalizers = Some(vec![labels::DEPRECATED_SOURCE_FINALIZERS[0].to_owned(), "other/one".into()]);
        assert_eq!(defaulted(&one, false).metadata.finalizers.unwrap(), ["other/one"]);
        one.metadata.finalizers = Some(vec![labels::SOURCE_FINALIZER.to_owned()]);
        assert_eq!(defaulted(&one, false).metadata.finalizers.unwrap(), Vec::<String>::new());
        one.metadata.finalizers = Some(labels::DEPRECATED_SOURCE_FINALIZERS.map(str::to_owned).to_vec());
        assert_eq!(fields(&one, None, &[]), ["metadata.finalizers"]);
        assert_eq!(fields(&defaulted(&one, false), None, &[]), ["metadata.finalizers"], "as admission sees it");
    }

    #[test]
    fn s2_to_s9_refusals() {
        let plain = source("a", json!({"workload": {}}));
        assert_eq!(fields(&plain, None, &[]), Vec::<String>::new());
        let mut mislabelled = plain.clone();
        mislabelled.metadata.labels = Some([(labels::WORKLOAD_KIND.to_owned(), "StatefulSet".to_owned())].into());
        assert_eq!(fields(&mislabelled, None, &[]), ["metadata.labels[odigos.io/workload-kind]"]);
        assert_eq!(fields(&plain, None, &[source("b", json!({"workload": {}}))]), ["spec.workload.name"]);
        let namespace = source("n", json!({"workload": {"kind": "Namespace", "name": "shop"}}));
        assert_eq!(fields(&plain, None, std::slice::from_ref(&namespace)), Vec::<String>::new());
        assert_eq!(fields(&namespace, None, std::slice::from_ref(&plain)), Vec::<String>::new());
        let bad = source(
            "n",
            json!({"workload": {"kind": "Namespace", "name": "other"}, "otelServiceName": "x", "matchWorkloadNameAsRegex": true}),
        );
        assert_eq!(
            fields(&bad, None, &[]),
            ["spec.workload.name", "spec.otelServiceName", "spec.matchWorkloadNameAsRegex"]
        );
        assert_eq!(
            fields(&source("a", json!({"workload": {"namespace": "b"}})), None, &[]),
            ["spec.workload.namespace"]
        );
        for kind in ["Job", "ReplicaSet"] {
            assert_eq!(fields(&source("a", json!({"workload": {"kind": kind}})), None, &[]), ["spec.workload.kind"]);
        }
    }

    #[test]
    fn namespace_has_a_quota_of_patterns_and_keeps_those_that_exist() {
        let pattern = |number: usize| {
            let text = format!("^app-{number}$");
            source(&format!("p{number}"), json!({"workload": {"name": text}, "matchWorkloadNameAsRegex": true}))
        };
        let mut all: Vec<Source> = (0..PATTERN_QUOTA).map(pattern).collect();
        let further = pattern(PATTERN_QUOTA);
        assert_eq!(fields(&further, None, &all), ["spec.matchWorkloadNameAsRegex"]);
        assert_eq!(fields(&further, None, &all[1..]), Vec::<String>::new());
        // Of the release before: it stays, may be edited, and keeps no exact Source out.
        all.push(further.clone());
        assert_eq!(fields(&further, Some(&further), &all), Vec::<String>::new());
        assert_eq!(fields(&source("a", json!({"workload": {}})), None, &all), Vec::<String>::new());
    }

    #[test]
    fn s6_s7_updates_and_patterns() {
        let plain = source("a", json!({"workload": {}}));
        let moved = source("a", json!({"workload": {"name": "api"}}));
        assert_eq!(fields(&moved, Some(&plain), &[]), ["spec.workload"]);
        let pattern = |name: &str, text: &str| {
            source(name, json!({"workload": {"name": text}, "matchWorkloadNameAsRegex": true}))
        };
        assert_eq!(fields(&pattern("a", "web"), Some(&plain), &[]), ["spec.matchWorkloadNameAsRegex"]);
        assert_eq!(fields(&pattern("a", "^pay-["), None, &[]), ["spec.workload.name"]);
        let exact = source("e", json!({"workload": {"name": "pay-api"}}));
        assert_eq!(fields(&pattern("a", "^pay-"), None, std::slice::from_ref(&exact)), ["spec.workload.name"]);
        assert_eq!(fields(&exact, None, &[pattern("a", "^pay-")]), ["spec.workload.name"]);
        let mut edited = plain.clone();
        edited.spec.disable_instrumentation = Some(true);
        edited.spec.otel_service_name = Some("x".into());
        assert_eq!(fields(&edited, Some(&plain), std::slice::from_ref(&plain)), Vec::<String>::new());
    }

    #[test]
    fn long_names_get_a_legal_label() {
        let long = "a".repeat(100);
        let one = source("a", json!({"workload": {"name": long}}));
        let filled = defaulted(&one, false);
        let label = &filled.metadata.labels.as_ref().unwrap()[labels::WORKLOAD_NAME];
        assert!(label.len() <= 63);
        assert_eq!(fields(&filled, None, &[]), Vec::<String>::new());
    }
}
