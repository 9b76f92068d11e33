//! Who reads the metrics of collectors, as far as objects of the Prometheus operator tell.
//!
//! Owns how a PodMonitor or ServiceMonitor selects. A Prometheus that is configured by a file is not seen: what asks here names the value that such
//! a reader needs. Never reads an object itself.

use serde_json::Value;

/// The monitors that select one of these pods or Services of the product's namespace, for people.
#[must_use]
pub fn monitors(monitors: &[Value], pods: &[Value], services: &[Value], namespace: &str) -> Vec<String> {
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let selects = |monitor: &&Value| {
        let targets = if monitor["kind"] == "PodMonitor" { pods } else { services };
        reaches(monitor, namespace)
            && targets.iter().any(|one| matches(&monitor["spec"]["selector"], &one["metadata"]["labels"]))
    };
    let title = |one: &Value| {
        format!("{} {}/{}", text(one, "/kind"), text(one, "/metadata/namespace"), text(one, "/metadata/name"))
    };
    monitors.iter().filter(selects).map(title).collect()
}

/// Whether a monitor looks into a namespace: by default its own.
fn reaches(monitor: &Value, namespace: &str) -> bool {
    let selector = &monitor["spec"]["namespaceSelector"];
    let names = selector["matchNames"].as_array().map(Vec::as_slice).unwrap_or_default();
    match (selector["any"] == true, names) {
        (true, _) => true,
        (false, []) => monitor["metadata"]["namespace"] == namespace,
        (false, names) => names.iter().any(|name| name == namespace),
    }
}

/// Whether a selector of labels, as Kubernetes reads it, matches; an empty one matches everything.
fn matches(selector: &Value, labels: &Value) -> bool {
    let pairs = selector["matchLabels"].as_object();
    let all_pairs = pairs.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector["matchExpressions"].as_array();
    all_pairs && expressions.into_iter().flatten().all(|one| holds(one, labels))
}

fn holds(expression: &Value, labels: &Value) -> bool {
    let found = expression["key"].as_str().and_then(|key| labels.get(key));
    let is_listed = || expression["values"].as_array().into_iter().flatten().any(|value| Some(value) == found);
    match expression["operator"].as_str() {
        Some("In") => is_listed(),
        Some("NotIn") => !is_listed(),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn monitor(kind: &str, namespace: &str, spec: &Value) -> Value {
        json!({"kind": kind, "metadata": {"name": "m", "namespace": namespace}, "spec": spec})
    }

    #[test]
    fn monitors_are_found_by_what_they_select() {
        let gateway = json!({"metadata": {"labels": {"odigos.io/collector-role": "CLUSTER_GATEWAY", "app": "a"}}});
        let service = json!({"metadata": {"labels": {"odigos.io/collector-role": "CLUSTER_GATEWAY"}}});
        let found = |one: Value| {
            !monitors(&[one], std::slice::from_ref(&gateway), std::slice::from_ref(&service), "odigos-system")
                .is_empty()
        };
        let role = json!({"matchLabels": {"odigos.io/collector-role": "CLUSTER_GATEWAY"}});
        let ours = json!({"matchNames": ["odigos-system"]});
        assert!(found(monitor("PodMonitor", "odigos-system", &json!({"selector": role}))));
        assert!(found(monitor("ServiceMonitor", "monitoring", &json!({"selector": role, "namespaceSelector": ours}))));
        assert!(found(monitor(
            "PodMonitor",
            "monitoring",
            &json!({"selector": {}, "namespaceSelector": {"any": true}})
        )));
        let by = |operator: &str, key: &str| {
            let expression = json!({"key": key, "operator": operator, "values": ["a"]});
            found(monitor("PodMonitor", "odigos-system", &json!({"selector": {"matchExpressions": [expression]}})))
        };
        assert!(by("In", "app") && by("Exists", "app") && by("NotIn", "tier") && by("DoesNotExist", "tier"));
        assert!(!by("NotIn", "app") && !by("Exists", "tier") && !by("In", "tier") && !by("Matches", "app"));
        assert!(!found(monitor("PodMonitor", "monitoring", &json!({"selector": role}))), "its own namespace alone");
        let app = json!({"selector": {"matchLabels": {"app": "a"}}});
        assert!(!found(monitor("ServiceMonitor", "odigos-system", &app)), "the Service has no such label");
    }
}
