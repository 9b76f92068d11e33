//! Any object of a user, with any of its texts replaced and any of its lists grown: what is rendered refers to nothing but our own variables, stays
//! below what a ConfigMap holds, and is rendered in time that grows with the object.
//!
//! The objects are those of the documented kinds (`crates/api/tests/documented`); each text and each list of each has its turn, so that runs are equal and
//! bounded. The rules by which a collector expands are written again here, apart from those that the product escapes by.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod cluster;

use odigos_plan::admission;
use odigos_plan::processors::Permission;
use odigos_plan::world::{Settled, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DOCUMENTED: &str = include_str!("../../api/tests/documented/kinds.yaml");
const NAMESPACE: &str = "odigos-system";
/// Kinds that people write.
const KINDS: [&str; 7] =
    ["Source", "Destination", "DataStream", "Processor", "Action", "InstrumentationRule", "Sampling"];
/// What a user would have a collector read.
const REFERENCES: [&str; 2] = [
    "${env:STOLEN}",
    "$${env:STOLEN} $$${env:STOLEN} ${${env:STOLEN}} ${file:/etc/shadow} ${http://169.254.169.254/} ${env:NODE_NAME}${env:STOLEN}\n$",
];
/// One settle in a build for tests, on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn documents() -> Vec<Value> {
    let all = serde_yaml::Deserializer::from_str(DOCUMENTED);
    let all = all.map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
    all.filter(|one| KINDS.iter().any(|kind| one["kind"] == *kind)).collect()
}

/// Two workloads in two streams, a Destination for each signal, and the configuration under which every kind acts.
fn world() -> World {
    let mut world = cluster::cluster(4, 2, 2);
    let text = "destinations: {additionalTypes: [dynamic, file]}\nprocessors: {additionalTypes: [resource_detection, schema]}\n";
    let configuration = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odigos-configuration", "namespace": NAMESPACE},
        "data": {"config.yaml": text},
    });
    world.insert(configuration).unwrap();
    world
}

/// The paths of all texts, or of all lists, below what a user writes.
fn paths(value: &Value, at: &str, is_wanted: &impl Fn(&Value) -> bool, found: &mut Vec<String>) {
    if is_wanted(value) {
        found.push(at.to_owned());
    }
    match value {
        Value::Array(list) => {
            for (number, one) in list.iter().enumerate() {
                paths(one, &format!("{at}/{number}"), is_wanted, found);
            }
        }
        Value::Object(map) => {
            for (key, one) in map {
                paths(one, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), is_wanted, found);
            }
        }
        _ => {}
    }
}

fn below_spec(document: &Value, is_wanted: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    paths(&document["spec"], "/spec", &is_wanted, &mut found);
    found
}

/// Settles with an object; one that has not the shape of its kind never passes an API server.
fn settled(document: &Value) -> Option<Settled> {
    let mut world = world();
    let mut document = document.clone();
    if document["kind"] != "Source" {
        document["metadata"]["namespace"] = json!(NAMESPACE);
    }
    review(&document);
    world.insert(document).ok()?;
    Some(world.settle(jiff::Timestamp::UNIX_EPOCH))
}

/// Admission sees the same objects, and answers whatever they hold.
fn review(document: &Value) {
    match document["kind"].as_str().unwrap() {
        "Processor" => {
            if let Ok(one) = serde_json::from_value(document.clone()) {
                let _ = admission::processor::review(&one, None, &Permission::default(), NAMESPACE);
            }
        }
        "Action" => {
            if let Ok(one) = serde_json::from_value(document.clone()) {
                let _ = admission::action::review(&one, None, NAMESPACE);
            }
        }
        _ => {}
    }
}

fn configurations(settled: &Settled) -> Vec<Value> {
    let mut all: Vec<String> = settled.gateway.iter().map(|plan| plan.config.to_yaml()).collect();
    all.extend(settled.node.iter().map(|plan| plan.config.to_yaml()));
    all.iter().map(|text| serde_yaml::from_str(text).unwrap()).collect()
}

/// What a collector would fetch for a text: `$$` is a dollar, and `${…}` a reference.
fn fetched(text: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(position) = rest.find('$') {
        rest = &rest[position + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            rest = behind;
        } else if let Some(inside) = rest.strip_prefix('{') {
            found.push(inside.split('}').next().unwrap_or_default().to_owned());
        }
    }
    found
}

fn all_fetched(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.extend(fetched(text)),
        Value::Array(list) => list.iter().for_each(|one| all_fetched(one, found)),
        Value::Object(map) => map.values().for_each(|one| all_fetched(one, found)),
        _ => {}
    }
}

#[test]
fn no_text_of_any_object_makes_a_collector_fetch_anything() {
    let mut tried = 0;
    for document in documents() {
        for path in below_spec(&document, Value::is_string) {
            for text in REFERENCES {
                let mut changed = document.clone();
                *changed.pointer_mut(&path).unwrap() = json!(text);
                let Some(settled) = settled(&changed) else { continue };
                tried += 1;
                let mut found = Vec::new();
                for configuration in configurations(&settled) {
                    all_fetched(&configuration, &mut found);
                }
                let own = |name: &str| {
                    ["NODE_IP", "NODE_NAME", "ODIGOS_VERSION", "POD_NAME", "POD_NAMESPACE", "GOMEMLIMIT"]
                        .contains(&name)
                        || name.starts_with("D_")
                };
                let foreign = found.iter().find(|one| !one.strip_prefix("env:").is_some_and(own));
                assert_eq!(foreign, None, "{} {path}: {text}", document["kind"]);
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn no_object_grows_beyond_its_share_or_takes_long() {
    let base: usize =
        configurations(&world().settle(jiff::Timestamp::UNIX_EPOCH)).iter().map(|one| one.to_string().len()).sum();
    let mut tried = 0;
    for document in documents() {
        let texts = below_spec(&document, Value::is_string).into_iter().map(|path| (path, json!("x.".repeat(50_000))));
        let lists = below_spec(&document, |value| value.as_array().is_some_and(|list| !list.is_empty()));
        let grown = lists.into_iter().map(|path| {
            let one = document.pointer(&path).unwrap()[0].clone();
            (path, Value::Array(vec![one; 1_000]))
        });
        for (path, value) in texts.chain(grown) {
            let mut changed = document.clone();
            *changed.pointer_mut(&path).unwrap() = value;
            let begun = Instant::now();
            let Some(settled) = settled(&changed) else { continue };
            tried += 1;
            let (took, kind) = (begun.elapsed(), &document["kind"]);
            assert!(took < LIMIT, "{kind} {path}: {took:?}");
            let size: usize = configurations(&settled).iter().map(|one| one.to_string().len()).sum();
            // A share of 64 KiB in each of two collectors; what is not an object's share does not grow with it.
            assert!(size < base + (2 * 64 + 64) * 1024, "{kind} {path}: {size} bytes beside {base}");
            assert!(settled.gateway.unwrap().problems.is_empty(), "{kind} {path}");
        }
    }
    assert!(tried > 80, "{tried}");
}
