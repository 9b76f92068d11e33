//! What the real collector makes of values behind `${env:…}`: every value reaches its exporter as it stands in the Secret.

use super::{configuration as product_configuration, destination, secret, settled, workload};
use odigos_pipeline::expansion;
use odigos_plan::gateway::SecretValue;
use odigos_plan::world::Settled;
use odigos_testkit::collector::expanded;
use odigos_tools::catalog::COLLECTOR;
use odigos_tools::root;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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

/// References that a user may write anywhere; `HOME` is set where collectors of these tests run.
const HOSTILE: [&str; 7] = [
    "${env:HOME}",
    "${HOME}",
    "$${env:HOME}",
    "$$${env:HOME}",
    "${env:${env:NODE_NAME}}${file:/etc/hostname}",
    "${http://127.0.0.1:1/x}",
    "${env:D_PAYMENTS_VAULT_7112B1E8_KEY}",
];

/// The first reference in rendered configurations that is not one of the product.
fn foreign(settled: &Settled) -> Option<String> {
    let gateway = settled.gateway.as_ref().map(|plan| plan.config.to_value());
    let node = settled.node.as_ref().map(|plan| plan.config.to_value());
    [gateway, node].iter().flatten().find_map(expansion::foreign_reference_within).map(str::to_owned)
}

/// Every setting of every type of Destination, alone and behind a value that is fine.
#[test]
fn settings_of_destinations_are_never_expanded() {
    let path = root().join("crates/catalog/tests/golden/examples.json");
    let examples: BTreeMap<String, Vec<Value>> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut variants = 0;
    for (type_id, cases) in &examples {
        let size = |case: &&Value| case["data"].as_object().map(Map::len);
        let fine = cases.iter().filter(|case| case["expect"] != json!("error"));
        let Some(base) = fine.max_by_key(size) else { continue };
        let mut documents = vec![secret()];
        for field in &odigos_catalog::destination::types()[type_id].fields {
            let good = base["data"][&field.name].as_str().unwrap_or_default();
            for value in HOSTILE
                .iter()
                .flat_map(|text| [(*text).to_owned(), format!("{good}{text}"), format!("{{a: '{text}'}}")])
            {
                let mut data = base["data"].clone();
                data[&field.name] = json!(value);
                let name = format!("d{}", documents.len());
                documents.push(destination(&name, type_id, &base["signals"], &data, &["default"]));
            }
        }
        variants += documents.len() - 1;
        let settled = settled(&documents, |_| {});
        assert_eq!(foreign(&settled), None, "{type_id}");
        let plan = settled.gateway.unwrap();
        assert_eq!(plan.problems, vec![], "{type_id}");
        // The last guard is never needed: texts are escaped where they are rendered.
        let caught = plan.destinations.values().find(|condition| condition.message.contains("must not fetch"));
        assert_eq!(caught, None, "{type_id}");
    }
    assert!(variants > 2_000, "{variants} variants");
}

/// Everything else that users write into collectors: Processors, settings of metrics, sampling rules.
#[test]
fn texts_of_other_kinds_are_never_expanded() {
    let directory = tempfile::tempdir().unwrap();
    for text in HOSTILE {
        let quoted = serde_json::to_string(text).unwrap();
        let mut documents = vec![
            secret(),
            destination("d", "debug", &json!(["TRACES", "METRICS", "LOGS"]), &json!({}), &["default", text]),
            json!({
                "apiVersion": odigos_api::API_VERSION, "kind": "Processor", "metadata": {"name": "p"},
                "spec": {
                    "type": "resource", "signals": ["TRACES", "METRICS", "LOGS"], "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"],
                    "processorConfig": {"attributes": [{"key": text, "action": "upsert", "value": text}, {"key": "n", "action": "upsert", "value": [text]}]},
                },
            }),
            json!({
                "apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": {"name": "s"},
                "spec": {"noisyOperations": [{"name": text, "operation": {"httpServer": {"route": text}}, "percentageAtMost": 0}]},
            }),
            product_configuration(&format!(
                "metricsSources: {{spanMetrics: {{additionalDimensions: [{quoted}], excludedResourceAttributes: [{quoted}], resourceMetricsKeyAttributes: [{quoted}]}}}}\ncollectorGateway: {{serviceGraph: {{extraDimensions: [{quoted}], virtualNodePeerAttributes: [{quoted}]}}}}\nsampling: {{enabled: true}}"
            )),
        ];
        documents.extend(workload("w", &["default"]));
        let settled = settled(&documents, |_| {});
        assert_eq!(foreign(&settled), None, "{text}");
        let (gateway, node) = (settled.gateway.unwrap(), settled.node.unwrap());
        assert!(
            gateway.problems.is_empty() && node.problems.is_empty(),
            "{text}: {:?} {:?}",
            gateway.problems,
            node.problems
        );
        for config in [gateway.config, node.config] {
            let variables = [("HOME".to_owned(), "/stolen".to_owned())];
            let read = expanded(&config.to_yaml(), directory.path(), &variables);
            let read = read.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(!read.contains("/stolen"), "{text}: {read}");
        }
    }
}
