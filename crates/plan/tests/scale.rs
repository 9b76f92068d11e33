//! Figures of the planning core at the size of design 9; run by `make bench`, not by the ordinary tests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints its figures")]

use odigos_plan::world::World;
use serde_json::{Value, json};
use std::time::Instant;

fn cluster(workloads: usize, streams: usize, destinations: usize) -> World {
    let mut world = World::new("odigos-system");
    let mut put = |object: Value| world.insert(object).unwrap();
    for n in 0..workloads {
        let (namespace, name) = (format!("ns-{:02}", n % 50), format!("app-{n:04}"));
        put(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "uid": format!("u-{n}")},
            "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}, "status": {"availableReplicas": 3},
        }));
        let label = format!("odigos.io/data-stream-stream-{:03}", n % streams);
        put(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": name, "namespace": namespace, "labels": {label: "true"}},
            "spec": {"workload": {"name": name, "namespace": namespace, "kind": "Deployment"}},
        }));
    }
    for n in 0..destinations {
        put(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": format!("d-{n:03}"), "namespace": "odigos-system"},
            "spec": {
                "type": "otlp", "destinationName": "d", "data": {"OTLP_GRPC_ENDPOINT": format!("backend-{n}:4317")},
                "signals": ["TRACES", "METRICS", "LOGS"], "sourceSelector": {"dataStreams": [format!("stream-{:03}", n % streams)]},
            },
        }));
    }
    world
}

#[test]
#[ignore = "a measurement, run by `make bench`"]
fn settle_and_configuration_size() {
    let world = cluster(5000, 50, 100);
    let mut times: Vec<u128> = (0..5)
        .map(|_| {
            let mut world = world.clone();
            let begun = Instant::now();
            let settled = world.settle(jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(world.configs.len(), 5000);
            assert!(settled.findings.is_empty());
            begun.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    println!("settle of 5000 workloads, 50 streams, 100 destinations: median {} ms of {times:?}", times[2]);
    for (streams, destinations) in [(10, 20), (50, 100), (500, 500)] {
        let mut world = cluster(5000, streams, destinations);
        let size = world.settle(jiff::Timestamp::UNIX_EPOCH).gateway.unwrap().config.to_yaml().len();
        println!("gateway configuration, {streams} streams, {destinations} destinations: {} KiB", size / 1024);
    }
}
