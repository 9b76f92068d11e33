//! The decision table 2.2, streams 2.5 and patterns, and that order never matters.

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
        assert_eq!(cover(&web(), &sources).decision, expected, "{sources:?}");
        let reversed: Vec<Source> = sources.into_iter().rev().collect();
        assert_eq!(cover(&web(), &reversed).decision, expected);
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
    let conditions = source_conditions(&Matcher::new(&bad), 0, &[], &[]);
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
    let said = source_conditions(&Matcher::new(&one), 1, &[], &[missing]);
    assert!(said[0].message.starts_with("It selects 1 workload. Warning: spec.containerOverrides[0]"), "{said:?}");
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
    let said = source_conditions(&Matcher::new(&literal), 0, &[], &[]);
    assert!(said[0].message.contains("no workload can be called \"web-*\""), "{said:?}");
}

#[test]
fn streams_merge_key_by_key() {
    let of = |namespace: &[(&str, &str)], workload: &[(&str, &str)]| {
        let sources = [
            source("n", "Namespace", "shop", json!({}), namespace),
            source("w", "Deployment", "web", json!({}), workload),
        ];
        cover(&web(), &sources)
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
    let coverage = cover(&web(), [&one, &namespace_source(json!({}))]);
    assert_eq!(coverage.service_name.as_deref(), Some("front"));
    assert_eq!(coverage.overrides.len(), 1);
    assert_eq!(coverage.recovery.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn every_kind_can_be_selected_by_its_namespace_but_jobs() {
    for kind in WorkloadKind::ALL {
        let workload = WorkloadRef::new("shop", kind, "x");
        let expected = if kind == WorkloadKind::Job { Decision::NoSource } else { Decision::NamespaceSource };
        assert_eq!(cover(&workload, [&namespace_source(json!({}))]).decision, expected, "{kind}");
    }
}
