//! The decision table, streams, patterns and the scope of the configuration, and that order never matters.

use super::*;
use serde_json::{Value, json};

fn source(name: &str, kind: &str, workload: &str, more: Value, streams: &[(&str, &str)]) -> Source {
    let mut spec = json!({"workload": {"name": workload, "namespace": "shop", "kind": kind}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let labels: BTreeMap<String, &str> =
        streams.iter().map(|(stream, value)| (labels::stream_label(stream), *value)).collect();
    serde_json::from_value(json!({
        "apiVersion": "odigos.io/v1alpha1", "kind": "Source",
        "metadata": {"name": name, "namespace": "shop", "labels": labels}, "spec": spec,
    }))
    .unwrap()
}

fn terminating(mut source: Source) -> Source {
    source.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    source
}

fn web() -> WorkloadRef {
    WorkloadRef::new("shop", WorkloadKind::Deployment, "web")
}

fn workload_source(more: Value) -> Source {
    source("ws", "Deployment", "web", more, &[])
}

fn namespace_source(more: Value) -> Source {
    source("ns", "Namespace", "shop", more, &[])
}

#[test]
fn the_decision_table() {
    let off = json!({"disableInstrumentation": true});
    let cases = [
        (vec![workload_source(json!({}))], Decision::WorkloadSource),
        (vec![workload_source(json!({})), namespace_source(off.clone())], Decision::WorkloadSource),
        (vec![workload_source(off.clone()), namespace_source(json!({}))], Decision::WorkloadSourceDisabled),
        (vec![namespace_source(json!({}))], Decision::NamespaceSource),
        (vec![terminating(workload_source(json!({}))), namespace_source(json!({}))], Decision::NamespaceSource),
        (vec![namespace_source(off)], Decision::NoSource),
        (vec![terminating(namespace_source(json!({})))], Decision::NoSource),
        (vec![], Decision::NoSource),
        (vec![workload_source(json!({})), source("ws-2", "Deployment", "web", json!({}), &[])], Decision::Ambiguous),
        (
            vec![workload_source(json!({})), terminating(source("ws-2", "Deployment", "web", json!({}), &[]))],
            Decision::WorkloadSource,
        ),
        (vec![source("x", "StatefulSet", "web", json!({}), &[])], Decision::NoSource),
        (vec![source("x", "Deployment", "web-api", json!({}), &[])], Decision::NoSource),
    ];
    for (sources, expected) in cases {
        assert_eq!(cover(&opt_in(), &web(), &sources).decision, expected, "{sources:?}");
        let reversed: Vec<Source> = sources.into_iter().rev().collect();
        assert_eq!(cover(&opt_in(), &web(), &reversed).decision, expected);
    }
}

#[test]
fn patterns_are_unanchored_and_bad_ones_select_nothing() {
    let regex = |pattern: &str| source("r", "Deployment", pattern, json!({"matchWorkloadNameAsRegex": true}), &[]);
    for (pattern, name, expected) in
        [("web", "my-web-1", true), ("^web-", "web-1", true), ("^web-", "api", false), ("^pay-[", "pay-1", false)]
    {
        let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, name);
        let source = regex(pattern);
        assert_eq!(Matcher::new(&source).selects(&workload), expected, "{pattern} {name}");
    }
    let bad = regex("^pay-[");
    let conditions = source_conditions(&opt_in(), &Matcher::new(&bad), 0, &[], &[]);
    assert_eq!(conditions[0].reason, "InvalidPattern");
    assert!(conditions[0].message.contains("unclosed"), "{}", conditions[0].message);
}

#[test]
fn source_remarks_name_what_has_no_effect() {
    let workload = Workload::from_object(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": [{"name": "app"}, {"name": "sidecar"}]}}},
    }))
    .unwrap();
    let overrides = json!([{"containerName": "nope"}, {"containerName": "app", "otelDistroName": "java-comunity"}]);
    let one = source("s", "Deployment", "web", json!({"containerOverrides": overrides}), &[]);
    let missing = (
        "spec.containerOverrides[0].containerName".to_owned(),
        "Deployment shop/web has no such container; it has: app, sidecar".to_owned(),
    );
    let unknown = (
        "spec.containerOverrides[1].otelDistroName".to_owned(),
        "there is no distribution \"java-comunity\"; did you mean java-community?".to_owned(),
    );
    assert_eq!(source_remarks(&one, Some(&workload)), [missing.clone(), unknown.clone()]);
    assert_eq!(source_remarks(&one, None), [unknown], "which containers there are is not known yet");
    let said = source_conditions(&opt_in(), &Matcher::new(&one), 1, &[], &[missing]);
    assert!(said[0].message.starts_with("It selects 1 workload. Warning: spec.containerOverrides[0]"), "{said:?}");
    let doubled = json!([{"containerName": "app"}, {"containerName": "sidecar"}, {"containerName": "app"}]);
    let twice = source("s", "Deployment", "web", json!({"containerOverrides": doubled, "otelServiceName": " "}), &[]);
    let found = source_remarks(&twice, Some(&workload));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].0, "spec.otelServiceName");
    assert_eq!(found[1].0, "spec.containerOverrides[2].containerName");
    assert!(found[1].1.contains("spec.containerOverrides[0]"), "{found:?}");
    let spoken = json!([{"containerName": "app", "runtimeInfo": {"language": "pyton"}}, {"containerName": "sidecar", "runtimeInfo": {"language": "java"}}]);
    let spoken =
        source("s", "Deployment", "web", json!({"containerOverrides": spoken, "otelServiceName": "a\tb"}), &[]);
    let found = source_remarks(&spoken, Some(&workload));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].0 == "spec.otelServiceName" && found[0].1.contains("control character"), "{found:?}");
    let expected = "there is no language \"pyton\"; did you mean python?".to_owned();
    assert_eq!(found[1], ("spec.containerOverrides[0].runtimeInfo.language".to_owned(), expected));
    let switched = source("s", "Deployment", "web", json!({}), &[("a", "True"), ("b", "true")]);
    let found = source_remarks(&switched, None);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "metadata.labels[odigos.io/data-stream-a]");
    assert!(found[0].1.contains("\"True\""), "{found:?}");
    for (key, value, meant) in [
        ("odigos.io/datastream-shop", "true", "odigos.io/data-stream-shop"),
        ("odigos.io/data-streams-shop", "true", "odigos.io/data-stream-shop"),
        ("odigos.io/data-stream_shop", "false", "odigos.io/data-stream-shop"),
        ("odigos.io/data-stream", "shop", "odigos.io/data-stream-shop"),
        ("odigos.io/data-stream", "true", "odigos.io/data-stream-<name>"),
        ("data-stream-shop", "true", "odigos.io/data-stream-shop"),
        ("odigos.io/data-stream-", "true", "names no data stream"),
    ] {
        let mut one = source("s", "Deployment", "web", json!({}), &[]);
        one.metadata.labels = Some([(key.to_owned(), value.to_owned()), ("app".to_owned(), "web".to_owned())].into());
        let found = source_remarks(&one, None);
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        assert!(found[0].0 == format!("metadata.labels[{key}]") && found[0].1.contains(meant), "{found:?}");
    }
    let of_namespace = source("s", "Namespace", "shop", json!({"containerOverrides": overrides}), &[]);
    assert_eq!(source_remarks(&of_namespace, None)[0].0, "spec.containerOverrides");
    for (pattern, expected) in [
        ("", Some("every name")),
        ("web-*", Some("as in web-.*")),
        (r"web-\\d+", Some("which no name holds")),
        (r"web-\d+", None),
        ("^web-.*$", None),
        ("(a|b)*", None),
        ("web", None),
    ] {
        let one = source("s", "Deployment", pattern, json!({"matchWorkloadNameAsRegex": true}), &[]);
        let found = source_remarks(&one, None);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{pattern}: {found:?}");
        assert!(expected.is_none_or(|part| found[0].1.contains(part)), "{pattern}: {found:?}");
    }
    let literal = source("s", "Deployment", "web-*", json!({}), &[]);
    let said = source_conditions(&opt_in(), &Matcher::new(&literal), 0, &[], &[]);
    assert!(said[0].message.contains("no workload can be called \"web-*\""), "{said:?}");
}

#[test]
fn streams_merge_key_by_key() {
    let of = |namespace: &[(&str, &str)], workload: &[(&str, &str)]| {
        let sources = [
            source("n", "Namespace", "shop", json!({}), namespace),
            source("w", "Deployment", "web", json!({}), workload),
        ];
        cover(&opt_in(), &web(), &sources)
            .stream_labels
            .into_iter()
            .map(|(k, v)| format!("{}={v}", &k[STREAM_PREFIX.len()..]))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&[("a", "true")], &[("a", "false"), ("b", "true")]), ["a=false", "b=true"]);
    assert_eq!(of(&[("a", "true")], &[]), ["a=true"]);
    assert_eq!(of(&[], &[("1", "true"), ("2", "true")]), ["1=true", "2=true"]);
}

#[test]
fn the_workload_source_brings_name_overrides_and_recovery() {
    let mut one = workload_source(
        json!({"otelServiceName": "front", "containerOverrides": [{"containerName": "app", "otelDistroName": "java-community"}]}),
    );
    one.metadata.annotations = Some([(labels::ROLLBACK_RECOVERY.to_owned(), "2026-01-01T00:00:00Z".to_owned())].into());
    let coverage = cover(&opt_in(), &web(), [&one, &namespace_source(json!({}))]);
    assert_eq!(coverage.service_name.as_deref(), Some("front"));
    assert_eq!(coverage.overrides.len(), 1);
    assert_eq!(coverage.recovery.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn every_kind_can_be_selected_by_its_namespace_but_jobs() {
    for kind in WorkloadKind::ALL {
        let workload = WorkloadRef::new("shop", kind, "x");
        let expected = if kind == WorkloadKind::Job { Decision::NoSource } else { Decision::NamespaceSource };
        assert_eq!(cover(&opt_in(), &workload, [&namespace_source(json!({}))]).decision, expected, "{kind}");
    }
}

fn scope(configuration: &str) -> Scope {
    Scope::of(&crate::configuration::Configuration::parse(configuration).unwrap(), "odigos-system")
}

fn opt_in() -> Scope {
    scope("{}")
}

#[test]
fn ignored_namespace_is_never_covered_whatever_its_sources_say() {
    let sources = [namespace_source(json!({})), workload_source(json!({}))];
    for ignored in ["ignoredNamespaces: [shop]", "ignoredNamespaces: ['sh*']\ninstrumentation: {mode: optOut}"] {
        let coverage = cover(&scope(ignored), &web(), &sources);
        assert_eq!(coverage.decision, Decision::NamespaceIgnored);
        let condition = marked(&coverage, &web(), "");
        assert_eq!(condition.reason, "NamespaceIgnored");
        assert!(condition.message.contains("ignoredNamespaces"), "{}", condition.message);
        let accepted = &source_conditions(&scope(ignored), &Matcher::new(&sources[0]), 1, &[], &[])[0];
        assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "NamespaceIgnored"));
    }
    assert_eq!(cover(&scope("ignoredNamespaces: [other]"), &web(), &sources).decision, Decision::WorkloadSource);
    // A Source that excludes agrees with the list.
    let excluding = workload_source(json!({"disableInstrumentation": true}));
    let accepted = &source_conditions(&scope("ignoredNamespaces: [shop]"), &Matcher::new(&excluding), 1, &[], &[])[0];
    assert_eq!(accepted.reason, "Accepted");
}

#[test]
fn control_plane_and_kube_system_are_never_covered() {
    for namespace in ["odigos-system", "kube-system"] {
        let workload = WorkloadRef::new(namespace, WorkloadKind::Deployment, "web");
        for configuration in ["{}", "instrumentation: {mode: optOut}"] {
            assert_eq!(decide(&scope(configuration), &workload, &[]).decision, Decision::NamespaceIgnored);
        }
    }
}

#[test]
fn opt_out_covers_what_no_source_excludes() {
    let opt_out = scope("instrumentation: {mode: optOut, optOutDataStreams: [apps]}");
    let off = json!({"disableInstrumentation": true});
    let cases = [
        (vec![], Decision::OptOut),
        (vec![namespace_source(off.clone())], Decision::NamespaceSourceDisabled),
        (vec![terminating(namespace_source(off.clone()))], Decision::OptOut),
        (vec![workload_source(off.clone())], Decision::WorkloadSourceDisabled),
        (vec![workload_source(json!({})), namespace_source(off)], Decision::WorkloadSource),
        (vec![namespace_source(json!({}))], Decision::NamespaceSource),
    ];
    for (sources, expected) in cases {
        assert_eq!(cover(&opt_out, &web(), &sources).decision, expected, "{sources:?}");
    }
    let job = WorkloadRef::new("shop", WorkloadKind::Job, "once");
    assert_eq!(cover(&opt_out, &job, []).decision, Decision::NoSource);
    let apps = BTreeMap::from([(labels::stream_label("apps"), "true".to_owned())]);
    assert_eq!(cover(&opt_out, &web(), []).stream_labels, apps);
    assert_eq!(cover(&opt_out, &web(), &[workload_source(json!({}))]).stream_labels, apps, "it names no stream");
    let named = source("ws", "Deployment", "web", json!({}), &[("pay", "true")]);
    let pay = BTreeMap::from([(labels::stream_label("pay"), "true".to_owned())]);
    assert_eq!(cover(&opt_out, &web(), &[named]).stream_labels, pay, "a Source that names a stream decides alone");
}

#[test]
fn nothing_is_taken_back_while_the_configuration_is_unknown() {
    let unknown = Scope::unknown("odigos-system");
    let decision = |sources: &[Source]| cover(&unknown, &web(), sources).decision;
    assert_eq!(decision(&[]), Decision::ConfigurationPending);
    // Without it, opt-out would cover the workload.
    assert_eq!(decision(&[terminating(workload_source(json!({})))]), Decision::ConfigurationPending);
    // The namespace may be ignored, and which agents there are is not known.
    assert_eq!(decision(&[workload_source(json!({}))]), Decision::ConfigurationPending);
    assert_eq!(decision(&[workload_source(json!({"disableInstrumentation": true}))]), Decision::ConfigurationPending);
    let own = WorkloadRef::new("odigos-system", WorkloadKind::Deployment, "web");
    assert_eq!(cover(&unknown, &own, &[]).decision, Decision::NamespaceIgnored, "whatever is configured");
}

#[test]
fn pattern_is_compiled_once_and_a_new_one_may_be_small_only() {
    // Within the bound for Sources that exist, beyond the one for new ones.
    let is_too_large = |pattern: &String| compile_within(pattern, PATTERN_LIMIT).is_err();
    let large = (0..16).map(|power| format!(r"\w{{{}}}", 1 << power)).find(is_too_large).unwrap();
    let large = large.as_str();
    assert!(compile(large).is_ok());
    let begun = std::time::Instant::now();
    for _ in 0..10_000 {
        assert!(compile(large).is_ok());
    }
    // 20 ms each at that size, if each was compiled.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut created = source("p", "Deployment", large, json!({"matchWorkloadNameAsRegex": true}), &[]);
    created.metadata.labels = None;
    let refused = |before: Option<&Source>| {
        let found = crate::admission::source::refusals(&created, before, []);
        found.iter().any(|one| format!("{one:?}").contains("valid pattern"))
    };
    assert!(refused(None) && !refused(Some(&created)), "what exists stays");
}
