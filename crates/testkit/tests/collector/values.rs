//! What the real collector says to settings that nobody should write: whatever the catalogue lets through, an exporter takes.

use super::{destination, secret, settled};
use odigos_api::CollectorRole;
use odigos_catalog::destination::types;
use odigos_testkit::collector::{is_in_test_build, validate};
use odigos_tools::root;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Values of every kind of setting, and what people write by mistake instead.
const VALUES: [&str; 45] = [
    " ",
    "-1",
    "0",
    "1",
    "007",
    "99999999999",
    "1.5",
    "1e400",
    "true",
    "True",
    "no",
    "x",
    "x y",
    "é",
    "a\nb",
    "a$b",
    "${X}",
    "$${X}",
    "[]",
    "[\"\"]",
    "[\" \"]",
    "{}",
    "{\"a\": \"\"}",
    "null",
    "~",
    "http://",
    "http://h",
    "http://h:99999",
    "https://h/p?q#f",
    "http://[::1]:1",
    "http://h/%zz",
    "h:1",
    "h:0",
    "h:65536",
    "a,b",
    "5s",
    "-5s",
    "5x",
    "1h5m",
    "a=b",
    "[{\"key\":\"a\",\"value\":\"\"}]",
    "[{\"key\":\"\",\"value\":\"b\"}]",
    "[{\"key\":\"a b\",\"value\":\"c\"}]",
    "../a",
    "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
];

#[test]
fn settings_that_are_rendered_are_accepted_by_their_exporters() {
    let path = root().join("crates/catalog/tests/golden/examples.json");
    let examples: BTreeMap<String, Vec<Value>> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut judged, mut rendered, mut refused) = (0, 0, Vec::new());
    for (type_id, cases) in examples.iter().filter(|(type_id, _)| *type_id != "dynamic") {
        // The example with the most settings: whatever depends on another setting is on in it.
        let size = |case: &&Value| case["data"].as_object().map(serde_json::Map::len);
        let fine = cases.iter().filter(|case| case["expect"] != json!("error"));
        let Some(base) = fine.max_by_key(size) else { continue };
        let mut documents = vec![secret()];
        for field in types()[type_id].fields.iter().filter(|field| !field.secret) {
            let offered = field.component_props.get("values").and_then(Value::as_array).into_iter().flatten();
            let offered = offered.filter_map(Value::as_str).take(6);
            for value in VALUES.into_iter().chain(offered) {
                let mut data = base["data"].clone();
                data[&field.name] = json!(value);
                let name = format!("d{}", documents.len());
                documents.push(destination(&name, type_id, &base["signals"], &data, &["default"]));
            }
        }
        let plan = settled(&documents, |_| {}).gateway.unwrap();
        assert_eq!(plan.problems, vec![], "{type_id}");
        judged += documents.len() - 1;
        rendered += plan.destinations.values().filter(|condition| condition.status.as_str() == "True").count();
        let text = plan.config.to_yaml();
        if !is_in_test_build(&text) {
            continue;
        }
        if let Err(error) = validate(CollectorRole::ClusterGateway, &text, directory.path()) {
            let said = error.to_string();
            let named = documents.iter().skip(1).filter(|document| {
                let name = document["metadata"]["name"].as_str().unwrap();
                said.contains(&format!("-{name}\""))
                    || said.contains(&format!("-{name}:"))
                    || said.contains(&format!("/{name}:"))
            });
            let data: Vec<String> = named.map(|document| document["spec"]["data"].to_string()).collect();
            refused.push(format!("{type_id}: {said}\n{}", data.join("\n")));
        }
    }
    println!("{judged} variants, {rendered} of them rendered");
    assert!(judged > 5_000 && rendered > judged / 4, "{judged} variants, {rendered} rendered");
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
}
