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
    assert!(text(&out.stderr).contains("broken.json: line 1 is not the expected JSON"), "{}", text(&out.stderr));
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

const HEALTH: &str = "apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {name: s}\nspec: {noisyOperations: [{name: health, operation: {httpServer: {route: /health}}}]}\n";

/// A root span of GET /health with this parent, as an object of a recording.
fn health(trace: u8, parent: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k8s.namespace.name","value":{{"stringValue":"a"}}}},{{"key":"odigos.workload.name","value":{{"stringValue":"w"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"01","parentSpanId":"{parent}","kind":2,"attributes":[{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},{{"key":"http.route","value":{{"stringValue":"/health"}}}}]}}]}}]}}]}}"#
    )
}

#[test]
fn simulate_takes_a_parent_of_zeros_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let (rules, traces) = (directory.path().join("rules.yaml"), directory.path().join("traces.json"));
    std::fs::write(&rules, HEALTH).unwrap();
    let all = [health(1, ""), health(2, "0000000000000000"), health(3, "00f067aa0ba902b7")];
    std::fs::write(&traces, all.join("\n")).unwrap();
    let (rules, traces) = (rules.display().to_string(), traces.display().to_string());
    let table = text(&odigos(&["simulate", "-f", &rules, "--traces", &traces]).stdout);
    assert!(table.contains("1 of 3 traces are kept"), "{table}");
}

#[test]
fn simulate_reads_what_people_make_of_a_recording() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    std::fs::write(&rules, HEALTH).unwrap();
    let rules = rules.display().to_string();
    let simulate = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        odigos(&["simulate", "-f", &rules, "--traces", &path.display().to_string()])
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let objects = [health(1, ""), health(2, "00f067aa0ba902b7")];
    let lines = objects.join("\n");
    let pretty = |object: &String| {
        let value: serde_json::Value = serde_json::from_str(object).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    };
    let pretty = objects.iter().map(pretty).collect::<Vec<_>>().join("\n");
    let marked = format!("\u{feff}{}\n\u{feff}{}\r\n", objects[0], objects[1]);
    let mut parts = gzip(objects[0].as_bytes());
    parts.extend(gzip(format!("\n{}", objects[1]).as_bytes()));
    for (form, bytes) in [
        ("lines", lines.as_bytes().to_vec()),
        ("no line ends", objects.concat().into_bytes()),
        ("pretty", pretty.as_bytes().to_vec()),
        ("a line, then pretty", format!("{}\n{pretty}", r#"{"resourceLogs":[]}"#).into_bytes()),
        ("array", format!("[{}]", objects.join(", ")).into_bytes()),
        ("pretty array", format!("[\n{},\n{}\n]\n", objects[0], objects[1]).into_bytes()),
        ("byte order marks", marked.into_bytes()),
        ("gzip", gzip(lines.as_bytes())),
        ("gzip with a byte order mark", gzip(format!("\u{feff}{pretty}").as_bytes())),
        ("two parts of gzip", parts),
    ] {
        let out = simulate("traces", &bytes);
        assert_eq!(out.status.code(), Some(0), "{form}: {}", text(&out.stderr));
        assert!(text(&out.stdout).contains("1 of 2 traces are kept"), "{form}: {}", text(&out.stdout));
    }
    let warned = simulate("mixed", format!("{lines}\n{{\"resourceLogs\":[]}}\n").as_bytes());
    assert!(text(&warned.stderr).contains("warning recording") && warned.status.success(), "{}", text(&warned.stderr));
}

#[test]
fn simulate_refuses_what_holds_no_spans_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    std::fs::write(&rules, HEALTH).unwrap();
    let rules = rules.display().to_string();
    let cases: [(&[u8], &str); 12] = [
        (br#"{"data": [{"traceID": "a", "spans": []}]}"#, "Jaeger"),
        (br#"{"resourceLogs": []}"#, "logs"),
        (br#"[{"traceId": "a", "id": "b"}]"#, "Zipkin"),
        (br#"{"resourceSpans":[{"instrumentationLibrarySpans":[]}]}"#, "scopeSpans"),
        (b"{}", "file exporter"),
        (b"", "file exporter"),
        (b"\x28\xb5\x2f\xfdxx", "zstd -d"),
        (b"\xff\xfe{\0}\0", "UTF-8"),
        (b"\0\0\0\x05hello", "binary"),
        (b"\x1f\x8bxx", "gzip"),
        (b"{}\nhello\n", "line 2 is not the expected JSON"),
        (br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"ASNFZ4mrze8BI0VniavN7w=="}]}]}]}"#, "Base64"),
    ];
    for (bytes, word) in cases {
        let path = directory.path().join("traces");
        std::fs::write(&path, bytes).unwrap();
        let out = odigos(&["simulate", "-f", &rules, "--traces", &path.display().to_string()]);
        let said = text(&out.stderr);
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), ""), "{word}: {said}");
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn convert_makes_no_rule_for_everything_of_a_filter_without_service() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.yaml");
    let old = "apiVersion: actions.odigos.io/v1alpha1\nkind: ServiceNameSampler\nmetadata: {name: s, namespace: odigos-system}\nspec:\n  services_name_filters:\n  - {service_name: '', sampling_ratio: 10}\n";
    std::fs::write(&path, old).unwrap();
    let out = odigos(&["convert", "-f", &path.display().to_string()]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(1), ""));
    let said = text(&out.stderr);
    assert!(said.contains("services_name_filters[0].service_name: is required"), "{said}");
    // What is said is about the object that was given, not about one that is left out.
    assert!(said.contains("ServiceNameSampler/odigos-system/s spec: no rule follows from it"), "{said}");
    assert!(!said.contains("states no rule"), "{said}");
}

/// Rules see what Actions in front of the sampler leave, as in the gateway.
#[test]
fn simulate_applies_actions_in_front_of_the_sampler() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let rules = file(
        "rules.yaml",
        "apiVersion: odigos.io/v1alpha1\nkind: Sampling\nmetadata: {name: s}\nspec: {noisyOperations: [{name: health, operation: {httpServer: {route: /health}}}]}\n",
    );
    let action = |streams: &str| {
        format!(
            "apiVersion: odigos.io/v1alpha1\nkind: Action\nmetadata: {{name: names}}\nspec: {{signals: [TRACES], {streams}renameAttribute: {{renames: {{path: http.route}}}}}}\n"
        )
    };
    let of_all = file("all.yaml", &action(""));
    let of_stream = file("stream.yaml", &action("dataStreams: [money], "));
    let processor = file(
        "processor.yaml",
        "apiVersion: odigos.io/v1alpha1\nkind: Processor\nmetadata: {name: p}\nspec: {type: filter, signals: [TRACES], collectorRoles: [CLUSTER_GATEWAY], processorConfig: {}}\n",
    );
    let span = span(1, false).replace(
        r#""spanId":"01","#,
        r#""spanId":"01","kind":2,"attributes":[{"key":"path","value":{"stringValue":"/health"}},{"key":"http.request.method","value":{"stringValue":"GET"}}],"#,
    );
    let traces = file("traces.json", &span);
    let simulate = |files: &[&str], more: &[&str]| {
        let files = files.iter().flat_map(|file| ["-f", file]);
        let arguments: Vec<&str> =
            ["simulate"].into_iter().chain(files).chain(["--traces", &traces]).chain(more.iter().copied()).collect();
        let out = odigos(&arguments);
        (text(&out.stdout), text(&out.stderr))
    };
    let (without, _) = simulate(&[&rules], &[]);
    assert!(without.contains("1 of 1 traces are kept") && !without.contains("Actions"), "{without}");
    let (with, said) = simulate(&[&rules, &of_all], &[]);
    assert!(with.contains("0 of 1 traces are kept"), "{with}");
    assert!(with.contains("Rules see what these Actions leave, in this order: names"), "{with}");
    assert_eq!(said, "");
    let (other, _) = simulate(&[&rules, &of_stream], &[]);
    assert!(other.contains("1 of 1 traces are kept"), "{other}");
    let (stream, _) = simulate(&[&rules, &of_stream], &["--stream", "money"]);
    assert!(stream.contains("0 of 1 traces are kept"), "{stream}");
    let (_, said) = simulate(&[&rules, &processor], &[]);
    assert!(said.contains("Processor/odigos-system/p") && said.contains("does not run a Processor"), "{said}");
    let explained = text(&odigos(&["explain", "-f", &rules, "-f", &of_stream]).stdout);
    assert!(
        explained.contains("Data stream money")
            && explained.contains("Rules see what Action names of this data stream leaves"),
        "{explained}"
    );
}
