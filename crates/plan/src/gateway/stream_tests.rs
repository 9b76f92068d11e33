//! Data streams that are named and are of no use: what is reported of them, once.

use super::tests::{Given, otlp};
use super::*;
use crate::fixtures::processor;

#[test]
fn stream_of_no_workload_that_nobody_takes_is_reported() {
    let told = |names: &str, destinations: Vec<Destination>| {
        let mut given = Given::new(destinations);
        given.configuration = Configuration::parse(&format!("unownedTelemetry: {{dataStreams: {names}}}")).unwrap();
        let plan = given.plan();
        let found = plan.findings.iter().filter(|one| one.message.starts_with("unownedTelemetry.dataStreams: no"));
        found.map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    let infra = || otlp("d-1", &["METRICS"], json!({"dataStreams": ["infra"]}));
    let found = told("[infra, infar]", vec![infra()]);
    assert!(found.len() == 1 && found[0].ends_with("data stream infar; did you mean infra?"), "{found:?}");
    assert_eq!(told("[nowhere]", vec![]).len(), 1, "nothing names it");
    assert_eq!(told("[infra]", vec![infra()]), [] as [&str; 0]);
    assert_eq!(told("[anything]", vec![otlp("d-1", &["METRICS"], json!({"dataStreams": ["*"]}))]), [] as [&str; 0]);
    assert_eq!(told("[]", vec![infra()]), [] as [&str; 0]);
}

/// Of a stream that is not there, that is what is said, and not also that there is no pipeline for it.
#[test]
fn missing_stream_is_reported_once() {
    let mut given = Given::new(vec![otlp("d-1", &["TRACES"], json!({"dataStreams": ["shop"]}))]).classes(&[&["shop"]]);
    let mut one = processor("p", 0);
    one.spec.data_streams = Some(vec!["nowhere".to_owned()]);
    given.processors = vec![one];
    let action = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": {"name": "a", "namespace": "odigos-system"},
        "spec": {"signals": ["TRACES"], "dataStreams": ["nowhere"], "deleteAttribute": {"attributeNamesToDelete": ["x"]}},
    });
    given.actions = vec![serde_json::from_value(action).unwrap()];
    let plan = given.plan();
    for object in ["Processor odigos-system/p", "Action odigos-system/a"] {
        let about: Vec<&Finding> = plan.findings.iter().filter(|one| one.object == object).collect();
        assert!(about.len() == 1 && about[0].field == "spec.dataStreams", "{object}: {about:?}");
    }
}
