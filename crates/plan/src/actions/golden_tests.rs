//! The golden outputs of 2.10 whose text is ours in a part: ids, masks and renamers; the others stand beside their rows in [`super::tests`].

use super::{Step, compile};
use odigos_api::action::Action;
use serde_json::{Value, json};

fn step(name: &str, spec: Value) -> Step {
    let found = compile(&Action::new(name, serde_json::from_value(spec).unwrap()));
    assert_eq!(found.problems, vec![]);
    found.step.unwrap()
}

/// `<type>/<name>` with `action` between: users' Processors have two parts, so that an Action and a Processor of one name are two.
#[test]
fn ids_hold_type_and_name() {
    for (name, kind, settings, id) in [
        (
            "cluster",
            "addClusterInfo",
            json!({"clusterAttributes": [{"attributeName": "k8s.cluster.name", "attributeStringValue": "prod-eu"}]}),
            "resource/action/cluster",
        ),
        ("del", "deleteAttribute", json!({"attributeNamesToDelete": ["host.name"]}), "transform/action/del"),
        ("ren", "renameAttribute", json!({"renames": {"a": "b", "b": "c"}}), "transform/action/ren"),
        ("pii", "piiMasking", json!({"piiCategories": ["EMAIL"]}), "transform/action/pii"),
        (
            "ext",
            "extractAttribute",
            json!({"extractions": [{"targetAttributeName": "id", "regex": "req-([a-z0-9]+)"}]}),
            "transform/action/ext",
        ),
    ] {
        assert_eq!(step(name, json!({"signals": ["TRACES"], kind: settings})).id, id);
    }
}

/// The category first, then the quoted form of the key, then the bare one, which sees nothing but the mask of the quoted one. A `$` is
/// doubled, since the collector expands the text before it reads it.
#[test]
fn mask_of_a_category_and_a_key_of_queries() {
    let pii = step(
        "pii",
        json!({"signals": ["TRACES"], "piiMasking": {
            "scopes": {"namespaces": ["shop"]}, "piiCategories": ["EMAIL"],
            "customFormatMaskings": [{"lookupKey": "password", "dataFormat": "sql"}],
        }}),
    );
    let rendered = pii.settings.rendered();
    assert_eq!((rendered["error_mode"].as_str(), pii.hint), (Some("ignore"), 0));
    let [group] = &rendered["trace_statements"].as_array().unwrap()[..] else { panic!("{rendered}") };
    assert_eq!(group["context"], "span");
    let conditions = group["conditions"].as_array().unwrap();
    let namespace = r#"resource.attributes["k8s.namespace.name"] == "shop""#;
    assert!(conditions.len() == 1 && conditions[0].as_str().unwrap().contains(namespace), "{conditions:?}");
    assert_eq!(
        group["statements"],
        json!([
            r#"replace_all_patterns(attributes, "value", "[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}", "***EMAIL***")"#,
            r#"replace_all_patterns(attributes, "value", "((?:^|[\\s,(])password\\s*=\\s*')(?:(?:''|\\\\.|[^'\\\\])*)()", "$${1}****$${2}")"#,
            r#"replace_all_patterns(attributes, "value", "((?:^|[\\s,(])password\\s*=\\s*)(?:[^\\s\"',;)]+)()", "$${1}****$${2}")"#,
        ])
    );
}

#[test]
fn renamer_of_one_library() {
    let rendered = step(
        "spanrename",
        json!({"signals": ["TRACES"], "spanRenamer": {
            "programmingLanguage": "java", "scopeName": "io.opentelemetry.jdbc",
            "regexReplacements": [{"regexPattern": "^SELECT .*", "templateText": "SELECT"}],
        }}),
    )
    .settings
    .rendered();
    assert_eq!(
        rendered,
        json!({"error_mode": "ignore", "trace_statements": [{
            "context": "span",
            "conditions": [r#"resource.attributes["telemetry.sdk.language"] == "java" and instrumentation_scope.name == "io.opentelemetry.jdbc""#],
            "statements": [r#"replace_pattern(name, "^SELECT .*", "SELECT") where Len(name) < 4096"#],
        }]})
    );
}
