//! What users write, changed in every place: nothing of it becomes a reference that a collector follows, and no planner panics.
//!
//! Begins with the documented manifests of every kind that people write, and with every key of the configuration. Bounded: each
//! place is changed to one or two of the values in turn. That the real collector agrees about references is shown in `testkit`
//! (`tests/collector/expansion.rs`).

use super::*;
use crate::admission;
use crate::configuration::Configuration;
use crate::configuration::keys::KEYS;
use crate::processors::Permission;
use jiff::Timestamp;
use odigos_api::names;
use odigos_pipeline::expansion;
use serde_json::json;

/// Kinds that people write.
const KINDS: [&str; 7] =
    ["Source", "Destination", "DataStream", "Processor", "Action", "InstrumentationRule", "Sampling"];

/// References in the forms that a collector reads; the second one stands within another text.
const REFERENCES: [&str; 4] =
    ["${env:HOME}", "a$${file:/etc/hostname}b", "$${http://127.0.0.1:1/x}", "$$${env:D_PAYMENTS_VAULT_7112B1E8_KEY}"];

fn documented() -> Vec<Value> {
    let text = include_str!("../../../api/tests/documented/kinds.yaml");
    let found: Vec<Value> = read(text).unwrap();
    let found: Vec<Value> =
        found.into_iter().filter(|one| KINDS.contains(&one["kind"].as_str().unwrap_or_default())).collect();
    for kind in KINDS {
        assert!(found.iter().any(|one| one["kind"] == kind), "no {kind} is documented");
    }
    found
}

/// A cluster in which pipelines of every signal exist on both collectors.
fn cluster(configuration: &str) -> World {
    let version = odigos_api::API_VERSION;
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": names::DEFAULT_NAMESPACE},
            "data": {names::CONFIGURATION_KEY: configuration},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}, "status": {"availableReplicas": 1},
        }),
        json!({
            "apiVersion": version, "kind": "Source", "metadata": {"name": "whole", "namespace": "default"},
            "spec": {"workload": {"name": "default", "namespace": "default", "kind": "Namespace"}},
        }),
        json!({
            "apiVersion": version, "kind": "Destination", "metadata": {"name": "all", "namespace": names::DEFAULT_NAMESPACE},
            "spec": {
                "type": "debug", "destinationName": "all", "signals": ["TRACES", "METRICS", "LOGS"], "data": {},
                "sourceSelector": {"dataStreams": ["*"]},
            },
        }),
    ];
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    for object in objects {
        world.insert(object).unwrap();
    }
    world
}

fn settled(mut world: World, object: Option<&Value>) -> Settled {
    if let Some(object) = object {
        // As text, the way of the command line; what the schema rejects is a finding.
        world.load(&object.to_string(), "x.yaml", |_| false);
    }
    world.settle(Timestamp::UNIX_EPOCH)
}

/// The first reference in rendered configurations that is not one of the product. Collectors follow none in keys.
fn foreign(settled: &Settled) -> Option<String> {
    let gateways = settled.gateway.iter().chain(settled.pools.values()).map(|plan| plan.config.to_value());
    let node = settled.node.iter().map(|plan| plan.config.to_value());
    gateways.chain(node).find_map(|config| expansion::foreign_reference_within(&config).map(str::to_owned))
}

/// Every place of an object that holds a plain value, as a pointer.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(number, value)| leaves(value, &format!("{at}/{number}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The object once for each of its places.
fn places(object: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    leaves(object, "", &mut places);
    places.retain(|place| !["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"].contains(&place.as_str()));
    places.into_iter().map(|place| (place, object.clone())).collect()
}

#[test]
fn no_text_of_a_user_object_becomes_a_reference() {
    let mut count = 0;
    for object in documented() {
        for (place, mut changed) in places(&object) {
            let reference = REFERENCES[count % REFERENCES.len()];
            changed.pointer_mut(&place).into_iter().for_each(|value| *value = json!(reference));
            let settled = settled(cluster("{}"), Some(&changed));
            assert_eq!(foreign(&settled), None, "{} {place}: {reference}", object["kind"]);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// Processors and Destinations of the type `dynamic` bring keys of their own as well.
#[test]
fn no_key_of_a_user_object_becomes_a_reference() {
    let version = odigos_api::API_VERSION;
    for reference in REFERENCES {
        let map = json!({reference: "x", "attributes": [{"key": "a", "action": "upsert", "value": "b", reference: {reference: 1}}]});
        let processor = json!({
            "apiVersion": version, "kind": "Processor", "metadata": {"name": "p", "namespace": names::DEFAULT_NAMESPACE},
            "spec": {
                "type": "resource", "signals": ["TRACES", "METRICS", "LOGS"],
                "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"], "processorConfig": map,
            },
        });
        assert_eq!(foreign(&settled(cluster("{}"), Some(&processor))), None, "{reference}");
        let data = json!({"DYNAMIC_CONFIGURATION_DATA": json!({reference: reference}).to_string(), "DYNAMIC_DESTINATION_TYPE": "otlp_http"});
        let destination = json!({
            "apiVersion": version, "kind": "Destination", "metadata": {"name": "d", "namespace": names::DEFAULT_NAMESPACE},
            "spec": {"type": "dynamic", "destinationName": "d", "signals": ["TRACES"], "data": data},
        });
        let world = cluster("destinations: {additionalTypes: [dynamic]}");
        assert_eq!(foreign(&settled(world, Some(&destination))), None, "{reference}");
    }
}

#[test]
fn no_setting_becomes_a_reference() {
    for (number, key) in KEYS.iter().enumerate() {
        let reference = REFERENCES[number % REFERENCES.len()];
        let value = match number % 3 {
            0 => json!(reference),
            1 => json!([reference]),
            _ => json!({reference: reference}),
        };
        let parts = key.path.trim_end_matches("[]").split('.').rev();
        let part = |part: &str| if part == "*" { "java".to_owned() } else { part.replace("[]", "") };
        let document = parts.fold(value, |below, name| json!({part(name): below}));
        let settled = settled(cluster(&document.to_string()), None);
        assert_eq!(foreign(&settled), None, "{document}");
    }
}

/// How much admission finds wrong with an object, where it is one of its kind at all.
fn refused(object: &Value) -> usize {
    let (own, configuration) = (names::DEFAULT_NAMESPACE, Configuration::default());
    let mut count = 0;
    if let Ok(source) = serde_json::from_value::<Source>(object.clone()) {
        let filled = admission::source::defaulted(&source, false);
        count += admission::source::refusals(&filled, Some(&source), [&source]).len();
        count += admission::source::refusals(&source, None, []).len();
    }
    if let Ok(one) = serde_json::from_value::<Destination>(object.clone()) {
        count += admission::destination::review(&one, None, &configuration, own).refusals.len();
        count += usize::from(admission::destination::recorded_access(&one, Some(&one), true).is_none());
    }
    if let Ok(one) = serde_json::from_value::<Processor>(object.clone()) {
        let permission = Permission::of(&configuration);
        count += admission::processor::review(&one, None, &permission, own).refusals.len();
    }
    count
}

#[test]
fn odd_values_in_user_objects_make_no_planner_panic() {
    let deep = (0..64).fold(json!("x"), |below, _| json!([below]));
    let odd = [
        Value::Null,
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("-"),
        json!("x".repeat(5_000)),
        json!("é\u{0}\u{202e}🦀"),
        json!([]),
        json!({}),
        json!([null, {"": ""}]),
        deep,
    ];
    let (mut count, mut turn) = (0, 0);
    for object in documented() {
        for (place, object) in places(&object) {
            for value in [&odd[turn % odd.len()], &odd[(turn + 5) % odd.len()]] {
                let mut changed = object.clone();
                changed.pointer_mut(&place).into_iter().for_each(|found| *found = value.clone());
                count += refused(&changed);
                settled(cluster("{}"), Some(&changed));
            }
            turn += 1;
        }
    }
    assert!(count > 0 && turn > 100, "{count} {turn}");
}
