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
    let conditions = source_conditions(&Matcher::new(&bad), 0, &[]);
    assert_eq!(conditions[0].reason, "InvalidPattern");
    assert!(conditions[0].message.contains("unclosed"), "{}", conditions[0].message);
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
