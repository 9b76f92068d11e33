//! Every kind takes the documented manifests unchanged: nothing is lost on the way through the types, and every field
//! that `kubectl explain` shows says what it is for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

use odigos_api::{
    action::Action, collectors_group::CollectorsGroup, data_stream::DataStream, destination::Destination,
    instrumentation_config::InstrumentationConfig, instrumentation_instance::InstrumentationInstance,
    instrumentation_rule::InstrumentationRule, processor::Processor, sampling::Sampling, source::Source,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

fn through<K: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let typed: K = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

/// What `before` holds and `after` does not, as paths.
fn lost(path: &str, before: &Value, after: &Value, out: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(found) => lost(&format!("{path}.{key}"), value, found, out),
                    // An empty list and an absent one are the same to every reader.
                    None if value == &Value::Array(Vec::new()) => {}
                    None => out.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                lost(&format!("{path}[{index}]"), before, after, out);
            }
        }
        (Value::Number(before), Value::Number(after)) if before.as_f64() == after.as_f64() => {}
        _ if before == after => {}
        _ => out.push(format!("{path}: {before} became {after}")),
    }
}

#[test]
fn documented_manifests_round_trip() {
    let mut kinds = std::collections::BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(include_str!("documented/kinds.yaml")) {
        let object = Value::deserialize(document).unwrap();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let after = match kind.as_str() {
            "Action" => through::<Action>(&object),
            "CollectorsGroup" => through::<CollectorsGroup>(&object),
            "DataStream" => through::<DataStream>(&object),
            "Destination" => through::<Destination>(&object),
            "InstrumentationConfig" => through::<InstrumentationConfig>(&object),
            "InstrumentationInstance" => through::<InstrumentationInstance>(&object),
            "InstrumentationRule" => through::<InstrumentationRule>(&object),
            "Processor" => through::<Processor>(&object),
            "Sampling" => through::<Sampling>(&object),
            "Source" => through::<Source>(&object),
            other => panic!("{other} is not a kind"),
        };
        let mut losses = Vec::new();
        lost(&kind, &object, &after, &mut losses);
        assert_eq!(losses, Vec::<String>::new(), "{kind}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), odigos_api::crds::all().len(), "every kind has a manifest");
}

/// Fields without a description, as paths.
fn undocumented(path: &str, schema: &Value, out: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // What Kubernetes defines for every object is documented there.
        if ["apiVersion", "kind", "metadata"].contains(&name.as_str()) && path.matches('.').count() == 1 {
            continue;
        }
        if property["description"].as_str().is_none_or(|text| text.len() < 4) {
            out.push(path.clone());
        }
        undocumented(&path, property, out);
        undocumented(&format!("{path}[]"), &property["items"], out);
    }
}

#[test]
fn every_field_says_what_it_is_for() {
    let mut missing = Vec::new();
    for crd in odigos_api::crds::all() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        undocumented(&crd.spec.names.kind, &schema["openAPIV3Schema"], &mut missing);
    }
    assert_eq!(missing, Vec::<String>::new());
}
