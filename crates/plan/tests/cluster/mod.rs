//! A cluster of a given size, shared by the measurements.

use odigos_plan::world::World;
use serde_json::{Value, json};

/// So many workloads in 50 namespaces, each with a Source in one stream; destinations spread over the streams.
pub fn cluster(workloads: usize, streams: usize, destinations: usize) -> World {
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
