//! The embedded chart renders what Helm renders: object by object, for many values, and function by function.

use odigos_chart::{Chart, Release};
use odigos_tools::{find, root};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

fn helm(chart: &Path, namespace: &str, values: &Path) -> Result<String, String> {
    let output = Command::new(find("helm").unwrap())
        .args(["template", "odigos"])
        .arg(chart)
        .args(["--namespace", namespace, "--kube-version", "1.34.0", "--values"])
        .arg(values)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// Objects by title. Texts inside of ConfigMaps that are YAML themselves are compared as what they say: printers differ
/// in line breaks and quotes.
fn by_title(objects: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for mut object in objects {
        if object["kind"] == "ConfigMap" {
            for (key, text) in object["data"].as_object_mut().into_iter().flatten() {
                if key.ends_with(".yaml") {
                    *text = serde_yaml::from_str(text.as_str().unwrap()).unwrap();
                }
            }
        }
        let before = found.insert(title(&object), object);
        assert!(before.is_none(), "twice: {before:?}");
    }
    found
}

fn parsed(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

pub(super) fn release(namespace: &str, service: &str) -> Release {
    Release { name: "odigos".into(), namespace: namespace.into(), service: service.into() }
}

/// Sets of values: the defaults, every documented value alone, pairs that meet in a template, all of them together.
fn cases() -> Vec<Value> {
    let single = [
        json!({"image": {"prefix": "registry.test:5000/x/"}}),
        json!({"image": {"tag": "v9"}}),
        json!({"image": {"pullPolicy": "Always"}}),
        json!({"image": {"pullSecrets": ["one", "two"]}}),
        json!({"images": {"instrumentor": "i.test/a@sha256:0123"}}),
        json!({"images": {"scheduler": "i.test/b:1"}}),
        json!({"images": {"autoscaler": "i.test/c:1"}}),
        json!({"images": {"collector": "i.test/d:0.158.0"}}),
        json!({"images": {"gateway": "i.test/g@sha256:0123", "nodeCollector": "i.test/n:1"}}),
        json!({"images": {"collector": "i.test/d:1", "gateway": "i.test/g:1"}}),
        json!({"images": {"agent": "i.test/e@sha256:4567"}}),
        json!({"collectorCommand": "/otelcol"}),
        json!({"config": {"uiMode": "normal"}}),
        json!({"config": {"ui": {"mode": "readonly"}}}),
        json!({"config": {
            "ignoredNamespaces": ["a", "b"], "resourceSizePreset": "size_l", "x-values": {
                "numbers": {"whole": 1_000_000, "fraction": 1.5, "none": null},
                "words": ["on", "no", "1", "1:30", "", "a: b", "# c", "two\nlines\n", "ünïcode", "- x", "{}", "true"],
                "flags": {"yes": true, "off": false}, "empty": {"map": {}, "list": []},
            },
        }}),
        json!({"sampling": {"dryRun": true}, "ResourceSizePreset": "size_s", "openshift": {"enabled": true}}),
        json!({"config": {"sampling": {"dryRun": false}}, "resourceDetectors": {"ec2": {"enabled": true}}}),
        json!({"collectorNode": {"limitMemoryMiB": 700}, "instrumentor": {"mountMethod": "k8s-init-container"}}),
        json!({"karpenter": true, "ignoredContainers": ["a"], "allowConcurrentAgents": {"enabled": false}}),
        json!({"controllers": {"replicas": 1}}),
        json!({"controllers": {"replicas": 3}}),
        json!({"controllers": {"log": "debug,kube=info"}}),
        json!({"controllers": {"resources": {"requests": {"cpu": "1", "memory": null}, "limits": null}}}),
        json!({"controllers": {"nodeSelector": {"kubernetes.io/os": null, "pool": "infra", "zone": "1"}}}),
        json!({"controllers": {"nodeSelector": {"kubernetes.io/os": null}}}),
        json!({"controllers": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "no", "effect": "NoSchedule", "tolerationSeconds": 3600}]}}),
        json!({"controllers": {"priorityClassName": "system-cluster-critical"}}),
        json!({"controllers": {"podDisruptionBudget": false}}),
        json!({"agent": {"mode": "pod"}}),
        json!({"agent": {"detectionPods": {"most": 9, "priorityClassName": "low"}}}),
        json!({"agent": {"mode": "pod", "detection": false}}),
        json!({"agent": {"mode": "pod", "nodeSelector": {"kubernetes.io/os": null}, "tolerations": [], "resources": {"requests": null}}}),
        json!({"agent": {"detection": false}}),
        json!({"agent": {"labelNode": false}}),
        json!({"agent": {"golang": {"enabled": false}}}),
        json!({"agent": {"golang": {"contextPropagation": true}}}),
        json!({"agent": {"golang": {"sysAdmin": false}}}),
        json!({"agent": {"golang": {"log": "debug", "resources": {"requests": null, "limits": {"cpu": null, "memory": "1Gi"}}}}}),
        json!({"agent": {"containerRuntime": {"enabled": true}}}),
        json!({"agent": {"containerRuntime": {"enabled": true, "socket": "/var/run/cri-dockerd.sock"}}}),
        json!({"agent": {"containerRuntime": {"enabled": true}}, "config": {"customContainerRuntimeSocketPath": "/run/k3s/containerd/containerd.sock"}}),
        json!({"agent": {"log": "debug", "podLogs": "/data/pods", "priorityClassName": ""}}),
        json!({"agent": {"resources": {"requests": null, "limits": {"cpu": null, "memory": "1Gi"}}, "tolerations": []}}),
        json!({"agent": {"nodeSelector": {"kubernetes.io/os": null, "pool": "apps"}, "tolerations": [{"key": "a", "operator": "Exists"}]}}),
        json!({"webhooks": {"pods": false}}),
        json!({"webhooks": {"ignoredNamespaces": []}}),
        json!({"webhooks": {"ignoredNamespaces": ["x", "y-z"]}}),
        json!({"crds": {"install": false}}),
        json!({"crds": {"keep": false}}),
        json!({"clusterMetrics": true}),
        json!({"customMetrics": {"enabled": true}}),
        json!({"networkPolicies": false}),
        json!({"networkPolicies": {"enabled": false}}),
        json!({"networkPolicies": true}),
        json!({"networkPolicies": {"enabled": true, "scrapeFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]}}),
        json!({"config": {"collectorGateway": {"plaintextReceiver": true}}}),
        json!({"global": {"anything": 1}}),
    ];
    let mut all = single.iter().fold(json!({}), odigos_chart::overlay);
    all["crds"] = json!({"install": true, "keep": true});
    let mut cases = vec![json!({}), all];
    // Neighbours together: two values that meet in one template.
    cases.extend(single.windows(2).map(|two| odigos_chart::overlay(two[0].clone(), &two[1])));
    cases.extend(single);
    cases
}

/// Every value that the chart documents is changed by some case, so that a new one cannot be forgotten here.
#[test]
fn every_documented_value_is_among_the_cases() {
    let documented = odigos_chart::leaves(&Chart::embedded().unwrap().defaults().unwrap());
    let changed: Vec<String> = cases().iter().flat_map(|one| odigos_chart::leaves(one).into_keys()).collect();
    for path in documented.keys() {
        let is_changed = changed
            .iter()
            .any(|one| one == path || one.starts_with(&format!("{path}.")) || path.starts_with(&format!("{one}.")));
        assert!(is_changed, "no case changes {path}");
    }
}

#[test]
fn the_embedded_chart_renders_what_helm_renders() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    let chart = Chart::embedded().unwrap();
    let mut compared = 0;
    for (number, values) in cases().into_iter().enumerate() {
        let namespace = ["odigos-system", "elsewhere"][number % 2];
        std::fs::write(&file, serde_json::to_string(&values).unwrap()).unwrap();
        let expected = by_title(parsed(&helm(&root().join("charts/odigos"), namespace, &file).unwrap()));
        let rendered =
            chart.render(&values, &release(namespace, "Helm")).unwrap_or_else(|error| panic!("{values}: {error}"));
        let rendered = by_title(rendered);
        let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&rendered), names(&expected), "{values}");
        for (title, object) in &rendered {
            assert_eq!(object, &expected[title], "{title} with {values}");
            compared += 1;
        }
    }
    assert!(compared > 1500, "{compared}");
}

/// What Helm refuses is refused here, and named alike.
#[test]
fn what_helm_refuses_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    for (values, said) in [
        (json!({"nonsense": 1}), "nonsense"),
        (json!({"config": {"smapling": {}}}), "smapling"),
        (json!({"sampling": {"tailSampling": {"disable": true}}}), "disable"),
        (json!({"imagePrefix": "registry.test"}), "image.prefix"),
        (json!({"image": {"prefiks": "x"}}), "prefiks"),
        (json!({"image": {"prefix": ""}}), "prefix"),
        (json!({"controllers": {"replicas": "many"}}), "replicas"),
        (json!({"controllers": {"replicas": 0}}), "replicas"),
        (json!({"controllers": {"replicas": 1.5}}), "replicas"),
        (json!({"collectorCommand": "otelcol"}), "collectorCommand"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "pullPolicy"),
        (json!({"agent": {"mode": "pods"}}), "mode"),
        (json!({"webhooks": {"ignoredNamespaces": [1]}}), "ignoredNamespaces"),
        (json!({"customMetrics": {"enabled": "yes"}}), "enabled"),
        (json!({"customMetrics": {"adapter": true}}), "adapter"),
    ] {
        std::fs::write(&file, values.to_string()).unwrap();
        let theirs = helm(&root().join("charts/odigos"), "a", &file).expect_err(said);
        let ours = Chart::embedded().unwrap().render(&values, &release("a", "Helm")).expect_err(said).to_string();
        assert!(theirs.contains(said) && ours.contains(said), "{theirs}\n{ours}");
    }
}

/// Each expression gives the same text as with Helm, or is refused here. One chart for all: a line each.
#[test]
fn functions_give_what_they_give_in_helm() {
    const EXPRESSIONS: [&str; 48] = [
        r#"{{ kindIs "map" .Values.map }}{{ kindIs "map" .Values.text }}{{ kindIs "map" .Values.nope }}"#,
        r#"{{ default "x" .Values.nope }}{{ default "x" .Values.text }}{{ default 3 .Values.zero }}"#,
        r#"{{ coalesce "" .Values.nope "c" }}{{ ternary 1 2 true }}{{ ternary 1 2 .Values.nay }}"#,
        r#"{{ empty .Values.map }}{{ empty "" }}{{ not .Values.list }}{{ not 0 }}"#,
        r#"{{ eq "a" "b" "a" }}{{ ne 1 2 }}{{ lt 1 2 }}{{ le 2 2 }}{{ gt 3 2 }}{{ ge 1 2 }}"#,
        r#"{{ int .Values.number }}{{ int .Values.big }}{{ .Values.number }}{{ .Values.half }}"#,
        r#"{{ toYaml .Values.list | nindent 2 | quote }}"#,
        r#"{{ index .Values.list 1 }}{{ index .Values.map "k" }}{{ index .Values.map "none" }}"#,
        r#"{{ len .Values.list }}{{ len .Values.map }}"#,
        r#"{{ hasKey .Values.map "k" }}{{ hasKey .Values.map "none" }}{{ has "p" .Values.list }}"#,
        r#"{{ range append .Values.list "z" }}{{ . }}{{ end }}{{ range concat .Values.list (list "y") }}{{ . }}{{ end }}"#,
        r#"{{ $m := dict "a" 1 }}{{ $_ := set $m "b" 2 }}{{ range $k, $v := $m }}{{ $k }}{{ $v }}{{ end }}"#,
        r#"{{ $m := dict "a" (dict "x" 1) }}{{ $_ := merge $m (dict "a" (dict "x" 5 "y" 2) "c" 3) }}{{ toJson $m }}"#,
        r#"{{ (fromYaml "a: {b: c}").a.b }}"#,
        r#"{{ indent 2 "a\nb" | quote }}{{ nindent 1 "a\nb" | quote }}"#,
        r#"{{ printf "%s-%d-%v-%v-%q%%" "a" 1 true .Values.half "q" }}"#,
        r#"{{ quote "a\"b\\" 1 true .Values.nope .Values.number }}{{ squote "a" 1 }}"#,
        r#"{{ join "," .Values.list }}{{ join "-" (list 1 "b" true) }}"#,
        r#"{{ base "/a/b.sock" }}{{ dir "/a/b.sock" }}{{ dir "/a/b/c" }}{{ base "/a" }}{{ dir "/a" }}"#,
        r#"{{ trimSuffix "/" "a//" }}{{ trimPrefix "a" "aab" }}{{ trim "  a " }}"#,
        r#"{{ lower "aB" }}{{ upper "aB" }}{{ replace "a" "bb" "cac" }}"#,
        r#"{{ contains "b" "abc" }}{{ hasPrefix "a" "abc" }}{{ hasSuffix "a" "abc" }}"#,
        r#"{{ required "no" .Values.text }}{{ required "no" .Values.zero }}"#,
        r#"{{ and .Values.text 1 "" }}|{{ and .Values.text 1 }}|{{ or "" .Values.nope "o" }}|{{ or 0 "" }}"#,
        r#"{{ .Values.text | and 1 }}{{ .Values.text | or "" }}{{ "x" | default "y" }}"#,
        r#"{{ with .Values.map }}{{ .k }}{{ $.Values.text }}{{ end }}{{ with .Values.nope }}a{{ else }}b{{ end }}"#,
        r#"{{ range $i, $x := .Values.list }}{{ $i }}{{ $x }}{{ end }}{{ range $x := .Values.list }}{{ $x }}{{ end }}"#,
        r#"{{ range $k, $v := .Values.map }}{{ $k }}{{ $v }}{{ . }}{{ end }}{{ range .Values.nope }}a{{ else }}b{{ end }}"#,
        r#"{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}{{ if true }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}"#,
        r#"{{ if eq .Values.text "none" }}a{{ else if .Values.list }}b{{ else }}c{{ end }}"#,
        r#"a {{- "b" }} {{ "c" -}} d"#,
        r#"a{{/* comment }} */}}b {{- /* another */ -}} c"#,
        r#"{{ .Values.nope }}|{{ .Values.map.none }}|{{ default "n" nil }}"#,
        r#"{{ .Release.Name }}{{ .Release.Namespace }}{{ .Release.Service }}{{ .Chart.Name }}{{ .Chart.Version }}{{ .Chart.AppVersion }}"#,
        r#"{{ include "named" (dict "a" "x") }}{{ include "named" (dict) | quote }}"#,
        r#"{{ range $path, $_ := .Files.Glob "files/*.txt" }}{{ $path }}={{ $.Files.Get $path }};{{ end }}"#,
        r#"{{ `raw " text` }}{{ "esc\taped" | quote }}{{ true }}{{ 42 }}{{ -7 }}"#,
        r#"{{ (list 1 2) | len }}{{ ((dict "a" (dict "b" "c")).a).b }}"#,
        r#"{{ eq .Values.number 3 }}"#,
        r#"{{ gt .Values.number 2 }}"#,
        r#"{{ .Values.big }}"#,
        r#"{{ .Values.map }}"#,
        r#"{{ .Values.nope.deeper }}"#,
        r#"{{ index .Values.list 9 }}"#,
        r#"{{ merge (dict "a" "") (dict "a" "b") | toJson }}"#,
        r#"{{ .Release.Revision }}"#,
        r#"{{ .Values.text 1 }}"#,
        r#"{{ len .Values.text }}"#,
    ];
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let values = "text: hello\nzero: 0\nnay: false\nnumber: 3\nhalf: 1.5\nbig: 2000000\nlist: [p, q]\nmap: {k: v}\n";
    let mut files = BTreeMap::from([
        ("Chart.yaml".to_owned(), "apiVersion: v2\nname: probe\nversion: 1.2.3\nappVersion: 4.5.6\n".to_owned()),
        ("values.yaml".to_owned(), values.to_owned()),
        ("files/a.txt".to_owned(), "one".to_owned()),
        ("files/b.md".to_owned(), "two".to_owned()),
        ("templates/_named.tpl".to_owned(), "{{ define \"named\" }}[{{ .a }}{{ $.a }}]{{ end }}".to_owned()),
        ("templates/probe.txt".to_owned(), String::new()),
    ]);
    for (path, text) in &files {
        write(path, text);
    }
    let (mut agreed, mut refused) = (0, Vec::new());
    for expression in EXPRESSIONS {
        // Comments keep Helm from reading the text as an object, whatever it is.
        let template = format!("# <{expression}>\n");
        write("templates/probe.txt", &template);
        files.insert("templates/probe.txt".into(), template);
        let theirs = helm(directory.path(), "ns", &directory.path().join("values.yaml"));
        let chart = Chart::from_files(files.clone()).unwrap();
        let ours = chart.values(&json!({})).and_then(|values| chart.texts(&values, &release("ns", "Helm")));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let ours = ours["templates/probe.txt"].trim().to_owned();
                assert!(theirs.contains(&ours), "{expression}\nours:  {ours}\nHelm: {theirs}");
                agreed += 1;
            }
            (Ok(ours), Err(theirs)) => panic!("{expression}: Helm refuses: {theirs}\nours: {ours:?}"),
            // Loud, never different.
            (Err(_), _) => refused.push(expression),
        }
    }
    let outside: Vec<&str> = EXPRESSIONS.iter().copied().filter(|one| refused.contains(one)).collect();
    assert_eq!(agreed + outside.len(), EXPRESSIONS.len());
    assert!(agreed >= 34, "{agreed} agreed; refused: {outside:#?}");
}
