//! `odigos actions` as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use serde_json::{Value, json};
use std::process::{Command, Output};

fn odigos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odigos")).arg("actions").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const ACTIONS: &str = r#"
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: mask, namespace: odigos-system}
spec:
  signals: [TRACES]
  dataStreams: [audit]
  failurePolicy: drop
  piiMasking: {piiCategories: [EMAIL]}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: rename, namespace: odigos-system}
spec:
  signals: [TRACES]
  renameAttribute: {renames: {user.mail: mail}}
---
apiVersion: odigos.io/v1alpha1
kind: Destination
metadata: {name: store, namespace: odigos-system}
spec:
  type: otlp
  destinationName: store
  data: {OTLP_GRPC_ENDPOINT: "store:4317"}
  signals: [TRACES]
  sourceSelector: {dataStreams: [audit, default]}
"#;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

fn spans() -> String {
    let attributes = json!([{"key": "user.mail", "value": {"stringValue": "a@b.io"}}]);
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "GET /", "attributes": attributes}]}]}]}).to_string()
}

#[test]
fn explain_and_list_tell_the_order_of_each_stream() {
    let files = Files::new();
    let actions = files.write("actions.yaml", ACTIONS);
    let out = odigos(&["explain", "-f", &actions]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    let expected = "Data stream audit
  1. rename renames user.mail to mail in resources, scopes, items and span events, all at once [traces; of all streams; gateway, order -50; on failure: ignore]
  2. mask masks e-mail addresses in texts of span attributes [traces; of this stream; gateway, order 0; on failure: drop]
Data stream default
  1. rename renames";
    assert!(said.starts_with(expected), "{said}");
    let one = text(&odigos(&["explain", "-f", &actions, "--stream", "default", "-o", "json"]).stdout);
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((one[0]["stream"].as_str(), one[0]["actions"][0]["name"].as_str()), (Some("default"), Some("rename")));
    let list = text(&odigos(&["list", "-f", &actions]).stdout);
    assert!(list.contains("mask    piiMasking") && list.contains("not applied yet"), "{list}");
}

#[test]
fn try_shows_items_before_and_after_in_each_stream() {
    let files = Files::new();
    let (actions, items) = (files.write("actions.yaml", ACTIONS), files.write("items.json", &spans()));
    let out = odigos(&["try", "-f", &actions, "--items", &items, "-o", "json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let told: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    let audit = &told[0];
    assert_eq!((&audit["stream"], &audit["destinations"]), (&json!("audit"), &json!(["store"])));
    assert_eq!(audit["before"]["attributes"], json!({"user.mail": "a@b.io"}));
    assert_eq!(audit["after"]["attributes"], json!({"mail": "***EMAIL***"}));
    assert_eq!(audit["changedBy"], json!(["rename", "mask"]));
    assert_eq!(told[1]["after"]["attributes"], json!({"mail": "a@b.io"}));
    let table = text(&odigos(&["try", "-f", &actions, "--items", &items]).stdout);
    assert!(
        table.contains("store gets several versions of it from a workload in the streams audit and default"),
        "{table}"
    );

    let broken =
        files.write("broken.yaml", &ACTIONS.replace("piiCategories: [EMAIL]", "customRegexMaskings: [{regex: x}]"));
    let out = odigos(&["try", "-f", &broken, "--items", &items, "--stream", "audit"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("stream audit: dropped by rename, mask"), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("failurePolicy is drop"), "{}", text(&out.stderr));
    let out = odigos(&["try", "-f", &actions, "--items", &files.write("none.json", "{\"data\": []}")]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("none of resourceSpans"), "{}", text(&out.stderr));
}

#[test]
fn convert_translates_older_kinds() {
    let files = Files::new();
    let old = "apiVersion: actions.odigos.io/v1alpha1\nkind: DeleteAttribute\nmetadata: {name: old}\nspec: {signals: [TRACES], attributeNamesToDelete: [a]}\n";
    let out = odigos(&["convert", "-f", &files.write("old.yaml", old)]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    assert!(said.contains("name: migrated-legacy-old") && said.contains("namespace: odigos-system"), "{said}");
    assert!(said.contains("deleteAttribute:") && said.contains("attributeNamesToDelete:"), "{said}");
    let path = files.write("new.yaml", &said);
    assert!(text(&odigos(&["explain", "-f", &path]).stdout).contains("deletes a of resources"));
}

/// What is lost on the way is an error: of one name, of fields, of namespaces and of kinds.
#[test]
fn convert_loses_nothing_in_silence() {
    let files = Files::new();
    let old = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: actions.odigos.io/v1alpha1\nkind: {kind}\nmetadata: {name}\nspec: {{signals: [TRACES], {spec}}}\n"
        )
    };
    let deletion = old("DeleteAttribute", "{name: d}", "attributeNamesToDelete: [a]");
    let both = deletion.clone() + &old("RenameAttribute", "{name: d}", "renames: {a: b}");
    let out = odigos(&["convert", "-f", &files.write("both.yaml", &both)]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    for name in ["name: migrated-legacy-d\n", "name: migrated-legacy-renameattribute-d\n"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let labels = "labelsAttributes: [{labelKey: a, attributeKey: b, form: namespace}]";
    for (name, object, said) in [
        ("nested", old("K8sAttributesResolver", "{name: k}", labels), "spec.labelsAttributes[0].form"),
        ("twice", old("DeleteAttribute", "{name: d}", "attributeNamesToDelete: [a, a]"), "spec.attributeNamesToDelete"),
        ("empty", old("RenameAttribute", "{name: r}", "renames: {}"), "renames"),
        (
            "elsewhere",
            old("DeleteAttribute", "{name: d, namespace: other}", "attributeNamesToDelete: [a]"),
            "--namespace",
        ),
        ("kind", old("PiiMaskings", "{name: p}", "piiCategories: [EMAIL]"), "did you mean PiiMasking?"),
    ] {
        let out = odigos(&["convert", "-f", &files.write(&format!("{name}.yaml"), &object)]);
        assert_eq!(out.status.code(), Some(1), "{name}: {}", text(&out.stdout));
        assert!(text(&out.stderr).contains(said), "{name}: {}", text(&out.stderr));
    }
}

#[test]
fn help_teaches() {
    // Lines are as long as the terminal is wide.
    let said = text(&odigos(&["try", "--help"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "file exporter",
        "--items spans.json",
        "\"changedBy\"",
        "Processors, k8sAttributes and sampling are not applied",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn describe_stream_says_what_changes_it_and_what_to_do_about_cut_traces() {
    const STREAM: &str = r#"
---
apiVersion: odigos.io/v1alpha1
kind: DataStream
metadata: {name: audit, namespace: odigos-system}
spec: {}
status:
  conditions:
    - {type: TraceCut, status: "True", reason: HalvesOfTraces, message: shop/web calls shop/cart, lastTransitionTime: "2026-01-01T00:00:00Z"}
"#;
    let files = Files::new();
    let broken = ACTIONS.replace("piiCategories: [EMAIL]", "customRegexMaskings: [{regex: x}]");
    let path = files.write("all.yaml", &format!("{broken}{STREAM}"));
    let out =
        Command::new(env!("CARGO_BIN_EXE_odigos")).args(["describe", "stream", "audit", "-f", &path]).output().unwrap();
    let said = text(&out.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("its failurePolicy is drop: the items that it is for are not exported"), "{said}");
    let path = files.write("all.yaml", &format!("{ACTIONS}{STREAM}"));
    let out =
        Command::new(env!("CARGO_BIN_EXE_odigos")).args(["describe", "stream", "audit", "-f", &path]).output().unwrap();
    let said = text(&out.stdout);
    for part in ["Actions       rename, mask", "shop/web calls shop/cart", "put both workloads into one data stream"] {
        assert!(said.contains(part), "{part}: {said}{}", text(&out.stderr));
    }
}

const SHARED: &str = r#"
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: aa, namespace: odigos-system}
spec: {signals: [TRACES], urlTemplatization: {default: [{}]}}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: bb, namespace: odigos-system}
spec:
  signals: [TRACES]
  urlTemplatization: {rules: [{templates: ["/users/{user}"]}], default: [{disabled: true}]}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: delp, namespace: odigos-system}
spec: {signals: [TRACES], deleteAttribute: {attributeNamesToDelete: [url.path]}}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: none, namespace: odigos-system}
spec: {signals: [TRACES], renameAttribute: {renames: {a: "", http.request.method: m}}}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: pods, namespace: odigos-system}
spec: {signals: [TRACES], k8sAttributes: {collectClusterUID: true}}
"#;

/// Nodes compute metrics from spans unless something says otherwise, so they make templates before gateways run anything.
#[test]
fn order_and_effect_are_those_of_the_collectors() {
    let files = Files::new();
    let attributes = json!([
        {"key": "http.request.method", "value": {"stringValue": "GET"}}, {"key": "url.path", "value": {"stringValue": "/users/7"}},
    ]);
    let span =
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "GET", "kind": 2, "attributes": attributes}]}]}]});
    let (actions, items) = (files.write("actions.yaml", SHARED), files.write("items.json", &span.to_string()));
    let out = odigos(&["try", "-f", &actions, "--items", &items, "-o", "json"]);
    let told: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    assert_eq!(told[0]["after"]["attributes"]["http.route"], "/users/{user}", "{told}");
    assert_eq!(told[0]["changedBy"], json!(["aa", "bb", "delp"]), "what is not in force changes nothing");
    let said = text(&out.stderr);
    assert!(said.contains("what Kubernetes knows of pods is not known to odigos actions try"), "{said}");
    let list = text(&odigos(&["list", "-f", &actions]).stdout);
    let row = |name: &str| {
        list.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("aa"), "aa urlTemplatization TRACES all node 1 ignore not applied yet");
    assert_eq!(row("none"), "none renameAttribute TRACES all gateway -50 ignore InvalidAction");
    let explained = text(&odigos(&["explain", "-f", &actions, "--stream", "default"]).stdout);
    let order: Vec<&str> = explained.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(order[1..], ["pods", "aa", "bb", "delp", "none"], "{explained}");
    assert!(explained.contains("none (not in force) renames"), "{explained}");
    // A configuration without metrics from spans leaves templates to gateways.
    let off = files.write("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odigos-configuration, namespace: odigos-system}\ndata: {config.yaml: \"metricsSources: {spanMetrics: {disabled: true}}\"}\n");
    let list = text(&odigos(&["list", "-f", &actions, &off]).stdout);
    assert!(list.lines().any(|line| line.starts_with("aa") && line.contains("gateway")), "{list}");
}

#[test]
fn try_tells_of_copies_that_are_equal() {
    let files = Files::new();
    let mask = "apiVersion: odigos.io/v1alpha1\nkind: Action\nmetadata: {name: mask, namespace: odigos-system}\nspec: {signals: [TRACES], dataStreams: [audit], piiMasking: {piiCategories: [JWT]}}\n---";
    let store = ACTIONS.rsplit("---").next().unwrap();
    let (actions, items) = (files.write("a.yaml", &format!("{mask}{store}")), files.write("items.json", &spans()));
    let table = text(&odigos(&["try", "-f", &actions, "--items", &items]).stdout);
    assert!(
        table.contains(
            "store gets it several times, with the same content, from a workload in the streams audit and default"
        ),
        "{table}"
    );
    let alike = mask.replace("dataStreams: [audit], ", "");
    let actions = files.write("a.yaml", &format!("{alike}{store}"));
    let table = text(&odigos(&["try", "-f", &actions, "--items", &items]).stdout);
    assert!(!table.contains("several"), "{table}");
}
