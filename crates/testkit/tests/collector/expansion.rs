//! What the real collector makes of values behind `${env:…}`: every value reaches its exporter as it stands in the Secret.

use odigos_pipeline::expansion;
use odigos_plan::gateway::SecretValue;
use odigos_tools::catalog::COLLECTOR;
use serde_json::{Map, Value, json};
use std::process::{Command, Output};

/// Values that people have, and that a reader of YAML or of references could take for something else.
const VALUES: [&str; 24] = [
    "0123456789",
    "0x1F",
    "1e6",
    "true",
    "null",
    "~",
    "p@$$w0rd",
    "us$er",
    "$",
    "$$$",
    "a$1",
    "a${HOME}b",
    "${HONEYCOMB_KEY:=changeme}",
    "a${1}b",
    "${secret.key}",
    "x${vault:kv/a#b}",
    "$${env:HOME}",
    "${HOME",
    "# like a comment",
    "{\"token\": \"$$x\"}",
    "[\"${HOME}\"]",
    "a: b",
    "*alias",
    "!!binary eA==",
];

/// Exporters whose headers are `texts`, each one exporter.
fn configuration(texts: &[String]) -> Value {
    let exporters: Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            (format!("otlp_http/{number}"), json!({"endpoint": "http://127.0.0.1:1", "headers": {"k": text}}))
        })
        .collect();
    let names: Vec<&String> = exporters.keys().collect();
    json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:1"}}}},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": names}}},
        "exporters": exporters,
    })
}

fn print_config(texts: &[String], variables: &[(String, String)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, odigos_pipeline::yaml::to_string(&configuration(texts))).unwrap();
    let mut command = Command::new(odigos_tools::find(COLLECTOR).unwrap());
    command.args(["print-config", "--mode=unredacted"]).arg(format!("--config={}", file.display()));
    command.envs(variables.iter().cloned()).output().unwrap()
}

/// The headers that the collector would send.
fn sent(texts: &[String], variables: &[(String, String)]) -> Vec<String> {
    let output = print_config(texts, variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: Value = serde_yaml::from_str(&String::from_utf8_lossy(&output.stdout)).unwrap();
    let header = |number: usize| &config["exporters"][format!("otlp_http/{number}")]["headers"][0]["value"];
    (0..texts.len()).map(|number| header(number).as_str().unwrap_or_default().to_owned()).collect()
}

/// What the container's environment holds for a value of a Secret.
fn in_environment(value: &str) -> String {
    if SecretValue::of(value.as_bytes()).is_expanded { expansion::escape(value) } else { value.to_owned() }
}

#[test]
fn values_of_secrets_reach_the_exporter_unchanged() {
    let mut values: Vec<String> = VALUES.iter().map(|value| (*value).to_owned()).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let alphabet = ["$", "$", "{", "}", "a", ":", "env:HOME", " ", "\"", "'", "#", "-", "\n", "0"];
    for _ in 0..200 {
        let mut value = String::from("v");
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value.push_str(alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]);
        }
        values.push(value);
    }
    let variables: Vec<(String, String)> =
        values.iter().enumerate().map(|(number, value)| (format!("V{number}"), in_environment(value))).collect();
    let alone: Vec<String> = variables.iter().map(|(name, _)| format!("${{env:{name}}}")).collect();
    assert_eq!(sent(&alone, &variables), values);
    let embedded: Vec<String> = alone.iter().map(|text| format!("Bearer {text} $${{X}}")).collect();
    let expected: Vec<String> = values.iter().map(|value| format!("Bearer {value} ${{X}}")).collect();
    assert_eq!(sent(&embedded, &variables), expected);
    // Two in one text: what is found to be unexpanded is so, and everything else arrives.
    let pairs: Vec<String> =
        (0..values.len() - 1).map(|number| format!("{}:{}", alone[number], alone[number + 1])).collect();
    let holds = |variable: &str| expansion::holds_reference(&values[variable[1..].parse::<usize>().unwrap()]);
    for (number, text) in sent(&pairs, &variables).iter().enumerate() {
        let is_found = expansion::unexpanded_variable(&pairs[number], holds).is_some();
        let whole = format!("{}:{}", values[number], values[number + 1]);
        assert!(is_found || *text == whole, "{whole:?} arrives as {text:?}");
    }
}

/// What the rule prevents: one value that is not escaped, and the collector reads no configuration at all.
#[test]
fn unescaped_placeholder_stops_the_collector() {
    let value = "${HONEYCOMB_KEY:=changeme}";
    let output = print_config(&["${env:V}".to_owned()], &[("V".to_owned(), value.to_owned())]);
    assert!(!output.status.success());
    assert!(SecretValue::of(value.as_bytes()).is_expanded);
    let behind = "$${X} ${env:V}".to_owned();
    assert_eq!(expansion::unexpanded_variable(&behind, |_| false), Some("V"));
    assert_eq!(sent(&[behind], &[("V".to_owned(), "v".to_owned())]), ["${X} ${env:V}"]);
}
