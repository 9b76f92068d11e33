//! Files as people have them, given to `odigos`: what is used, and what is said about the rest.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::path::Path;
use std::process::{Command, Output};

fn odigos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odigos")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes files into a folder, renders it as JSON and hands back what is printed, what is said, and the exit code.
fn rendered(files: &[(&str, &[u8])]) -> (String, Vec<String>, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let out = odigos(&["render", "-o", "json", "-f", &shown(folder.path())]);
    let prefix = format!("{}/", folder.path().display());
    let said = text(&out.stderr).lines().map(|line| line.replace(&prefix, "")).collect();
    (text(&out.stdout), said, out.status.code())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn debug(name: &str) -> String {
    format!(
        "apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {{name: {name}, namespace: odigos-system}}\nspec: {{type: debug, destinationName: {name}, signals: [TRACES], data: {{}}}}\n"
    )
}

#[test]
fn one_file_that_cannot_be_read_does_not_end_the_others() {
    let marked = [b"\xef\xbb\xbf".as_slice(), debug("ferry-marked").as_bytes()].concat();
    let wide: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(debug("ferry-wide").encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let documents = format!("{}---\nname: {{{{ .Values.name }}}}\n---\n{}", debug("ferry-first"), debug("ferry-last"));
    let (out, said, code) = rendered(&[
        ("a.yaml", b"metadata: {name: x}\n"),
        ("b.yaml", &marked),
        ("c.yaml", &wide),
        ("d.yaml", documents.as_bytes()),
        ("e.yaml", b"kind: \xff\n"),
        ("f.json", b"{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"port\"}}\n{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"ferry\"}}\n"),
    ]);
    for name in ["ferry-marked", "ferry-wide", "ferry-first", "ferry-last"] {
        assert!(out.contains(name), "{name} is rendered: {said:?}");
    }
    assert_eq!(code, Some(1));
    let errors: Vec<&String> = said.iter().filter(|line| line.starts_with("error")).collect();
    assert_eq!(
        errors,
        [
            "error manifest -: a key must be text; quote it, or render the template that it comes from first (d.yaml:6, document 2)",
            "error manifest -: it is not UTF-8 (byte 6); save it as UTF-8, or as UTF-16 with a byte order mark (e.yaml)",
            "error manifest kind: the manifest names no kind; add apiVersion and kind (a.yaml:1, document 1)",
        ]
    );
}

#[test]
fn findings_name_field_file_and_document() {
    let manifests = "\
apiVersion: v1
kind: List
items:
- apiVersion: odigos.io/v1alpha1
  kind: Destination
  metadata: {name: list}
  spec: {type: kafka, destinationName: list, signals: [TRACES], data: {KAFKA_BROKERS: [\"k:9092\"]}}
- null
---
apiVersion: odigos.io/v1alpha1
kind: Destination
metadata: {name: twice}
spec:
  type: jaeger
  destinationName: twice
  signals: [TRACES]
  data:
    JAEGER_URL: one:4317
    JAEGER_URL: two:4317
    JAEGER_TLS_ENABLE: \"true\"
---
apiVersion: odigos.io/v1alpha1
kind: Destination
metadata: {name: elsewhere, namespace: default}
spec: {type: debug, destinationName: elsewhere, signals: [TRACES], data: {}, sourceSelectr: {}}
---
apiVersion: odigos.io/v1alpha1
kind: Source
metadata: {name: web, namespace: shop}
spec: {workload: {kind: Deployment, name: web, namespace: shop}, containerOverrides: [{containerName: a, runtimeInfo: {containerName: a}}]}
---
apiVersion: odigos.io/v1alpha1
kind: Action
metadata: {name: rename}
spec: {signals: [TRACES], renameAttribute: {renames: {a: ''}}}
";
    let (out, said, _) = rendered(&[("all.yaml", manifests.as_bytes())]);
    assert!(out.contains("two:4317") && !out.contains("one:4317"), "as kubectl, the last of two keys counts");
    for expected in [
        "error Destination/odigos-system/list spec.data.KAFKA_BROKERS: it is a list, must be text; write it as JSON in quotes (all.yaml:1, document 1, items[0])",
        "error manifest items[1]: a manifest must be an object with apiVersion, kind and metadata; several objects stand in a List or between --- (all.yaml:1, document 1)",
        "warning Destination/twice spec.data.JAEGER_URL: the key is set twice; the last value counts, remove the other (all.yaml:19, document 2)",
        "warning Destination/odigos-system/twice spec.data.JAEGER_TLS_ENABLE: jaeger has no such setting, and it is ignored; did you mean JAEGER_TLS_ENABLED? (all.yaml:10, document 2)",
        "warning Destination/default/elsewhere spec.sourceSelectr: there is no such field, and it is ignored; did you mean sourceSelector? (all.yaml:22, document 3)",
        "warning Destination/default/elsewhere metadata.namespace: it has no effect: every Destination belongs into the namespace of the control plane, odigos-system (all.yaml:22, document 3)",
        "error Source/shop/web spec.containerOverrides[0].runtimeInfo.language: it is required (all.yaml:27, document 4)",
        "error Action/odigos-system/rename spec.renameAttribute.renames[\"a\"]: the name of an attribute must not be empty (all.yaml:32, document 5)",
    ] {
        assert!(said.iter().any(|line| line == expected), "{expected}\n{said:#?}");
    }
}

#[test]
fn objects_without_effect_are_findings_of_render() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {spec: {containers: [{name: app}]}}}\n---\n";
    let one = |kind: &str, spec: &str| {
        let text =
            format!("{deployment}apiVersion: odigos.io/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n");
        rendered(&[("x.yaml", text.as_bytes())]).1.join("\n")
    };
    let stream = |name: &str| {
        one(
            "Destination",
            &format!(
                "{{type: debug, destinationName: x, signals: [TRACES], data: {{}}, sourceSelector: {{dataStreams: [{name}]}}}}"
            ),
        )
    };
    for name in ["team/shop", "\u{fc}nicode", "\"\"", "\"shop \""] {
        let said = stream(name);
        assert!(
            said.contains(
                "Destination/odigos-system/x spec.sourceSelector.dataStreams[0]: no workload can be in the data stream"
            ),
            "{name}: {said}"
        );
    }
    assert!(!stream("shop").contains("dataStreams[0]"));
    let workload = |name: &str| format!("workload: {{kind: Deployment, name: {name}, namespace: shop}}");
    for (spec, expected) in [
        (
            format!("{{{}, containerOverrides: [{{containerName: nope}}]}}", workload("web")),
            "Deployment shop/web has no such container; it has: app",
        ),
        (
            format!(
                "{{{}, containerOverrides: [{{containerName: app, otelDistroName: java-comunity}}]}}",
                workload("web")
            ),
            "did you mean java-community?",
        ),
        (
            format!("{{{}}}", workload("\"web-*\"")),
            "no workload can be called \"web-*\"; a pattern needs matchWorkloadNameAsRegex: true",
        ),
        (
            format!("{{matchWorkloadNameAsRegex: true, {}}}", workload("\"web-*\"")),
            "for any text write .*, as in web-.*",
        ),
    ] {
        let said = one("Source", &spec);
        assert!(said.contains(expected), "{spec}: {said}");
    }
    let named = "{otelServiceName: all, workload: {kind: Namespace, name: shop, namespace: shop}}";
    assert!(one("Source", named).contains("error Source/shop/x spec.otelServiceName: admission rejects it"));
    assert!(one("Sources", "{}").contains("odigos.io/v1alpha1 has no such kind; did you mean Source?"));
    let misspelt = one("Destination", "{type: Jaeger, destinationName: x, signals: [TRACES], data: {}}");
    assert!(misspelt.contains("spec.type: \"Jaeger\" is not a known type; did you mean jaeger?"), "{misspelt}");
    // A configuration that no component reads: in another namespace, and under another key.
    let configuration = |namespace: &str, key: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: {namespace}}}\ndata: {{{key}: \"\"}}\n"
        );
        rendered(&[("x.yaml", text.as_bytes())]).1.join("\n")
    };
    let said = configuration("default", "config.yaml");
    assert!(said.contains("metadata.namespace: it has no effect: the configuration belongs into"), "{said}");
    let said = configuration("odigos-system", "config.yml");
    assert!(said.contains("data[config.yml]: no component reads it"), "{said}");
    assert_eq!(configuration("odigos-system", "config.yaml"), "");
}

#[test]
fn processor_that_reads_facts_of_the_node_takes_no_streams() {
    let said = |streams: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: odigos-system}}\n\
             data: {{config.yaml: \"processors: {{additionalTypes: [k8s_attributes]}}\"}}\n---\n\
             apiVersion: odigos.io/v1alpha1\nkind: Processor\nmetadata: {{name: p}}\n\
             spec: {{type: k8s_attributes, processorName: p, signals: [TRACES], collectorRoles: [NODE_COLLECTOR], processorConfig: {{}}{streams}}}\n"
        );
        rendered(&[("x.yaml", text.as_bytes())]).1.join("\n")
    };
    let refused = said(", dataStreams: [shop]");
    assert!(refused.contains("error Processor/odigos-system/p spec.dataStreams: a processor of the type"), "{refused}");
    assert!(refused.contains("remove dataStreams"), "{refused}");
    assert!(!said("").contains("remove dataStreams"), "{}", said(""));
}

#[test]
fn secrets_that_another_controller_creates_count_as_there() {
    let announced = "\
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: keys, namespace: odigos-system}
spec: {target: {name: backend}, data: [{secretKey: HONEYCOMB_API_KEY, remoteRef: {key: k}}]}
---
apiVersion: odigos.io/v1alpha1
kind: Destination
metadata: {name: hc}
spec: {type: honeycomb, destinationName: hc, signals: [TRACES], secretRef: {name: backend}, data: {HONEYCOMB_ENDPOINT: api.honeycomb.io}}
";
    let (out, said, code) = rendered(&[("x.yaml", announced.as_bytes())]);
    assert_eq!(code, Some(0), "{said:?}");
    assert!(out.contains("api.honeycomb.io"), "{out}");
    let created = "info Destination/odigos-system/hc spec.secretRef: Secret backend is to be created by ExternalSecret odigos-system/keys";
    assert!(said.iter().any(|line| line.starts_with(created)), "{said:?}");
}

#[test]
fn recorded_traces_may_begin_with_a_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        shown(&path)
    };
    let rules = file(
        "rules.yaml",
        "\u{feff}apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {name: s}\nspec: {costReductionRules: [{name: rest, percentageAtMost: 0}]}\n",
    );
    let span = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"k8s.namespace.name","value":{"stringValue":"a"}},{"key":"odigos.workload.name","value":{"stringValue":"w"}}]},"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"01"}]}]}]}"#;
    let traces = file("traces.json", &format!("\u{feff}{span}\n"));
    let out = odigos(&["sampling", "simulate", "-f", &rules, "--traces", &traces]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("0 of 1 traces are kept"), "{}", text(&out.stdout));
}
