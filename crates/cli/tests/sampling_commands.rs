//! `odigos sampling` as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::process::{Command, Output};

fn odigos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odigos")).arg("sampling").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const RULES: &str = "apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {name: s}\nspec: {highlyRelevantOperations: [{name: errors, error: true}], costReductionRules: [{name: rest, percentageAtMost: 0}]}\n";

fn span(trace: u8, error: bool) -> String {
    let code = if error { 2 } else { 0 };
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k8s.namespace.name","value":{{"stringValue":"a"}}}},{{"key":"odigos.workload.name","value":{{"stringValue":"w"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"01","status":{{"code":{code}}}}}]}}]}}]}}"#
    )
}

#[test]
fn simulate_decides_about_scattered_traces() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let rules = file("rules.yaml", RULES);
    let traces = file("traces.json", &[span(1, false), span(2, false), span(1, true)].join("\n"));
    let out = odigos(&["simulate", "-f", &rules, "--traces", &traces, "-o", "json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let lines: Vec<String> = text(&out.stdout).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            r#"{"traceId":"00000000000000000000000000000001","keep":true,"category":"highlyRelevant","rule":"errors","percentage":100.0}"#,
            r#"{"traceId":"00000000000000000000000000000002","keep":false,"category":"costReduction","rule":"rest","percentage":0.0}"#,
        ]
    );
    let table = text(&odigos(&["simulate", "-f", &rules, "--traces", &traces]).stdout);
    assert!(table.contains("1 of 2 traces are kept (50.0 %), 2 of 3 spans"), "{table}");
    let broken = file("broken.json", "{\"resourceSpans\": 3}\n");
    let out = odigos(&["simulate", "-f", &rules, "--traces", &broken]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("broken.json, line 1"), "{}", text(&out.stderr));
}

#[test]
fn validate_explain_and_convert() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    let shown = path.display().to_string();
    std::fs::write(&path, RULES.replace("percentageAtMost: 0", "percentageAtMost: 120")).unwrap();
    let out = odigos(&["validate", "-f", &shown]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("error Sampling/odigos-system/s spec.costReductionRules[0].percentageAtMost: 120"), "{said}");
    std::fs::write(&path, RULES).unwrap();
    let told = text(&odigos(&["explain", "-f", &shown]).stdout);
    assert!(told.contains("errors: All traces with a span that failed"), "{told}");
    let old = "apiVersion: actions.odigos.io/v1alpha1\nkind: ErrorSampler\nmetadata: {name: old, namespace: odigos-system}\nspec: {fallback_sampling_ratio: 25}\n";
    std::fs::write(&path, old).unwrap();
    let converted = text(&odigos(&["convert", "-f", &shown]).stdout);
    assert!(
        converted.contains("name: migrated-legacy-old") && converted.contains("percentageAtMost: 25"),
        "{converted}"
    );
}
