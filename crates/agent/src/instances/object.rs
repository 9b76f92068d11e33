//! What is known about an agent → its InstrumentationInstance.
//!
//! Owns names, labels, owner and attributes. An object is compared without the time at which it was said, so that saying the same
//! again writes nothing.

use jiff::Timestamp;
use odigos_api::API_VERSION;
use odigos_api::instrumentation_instance::InstrumentationInstance;
use odigos_api::labels::{self, INSTRUMENTED_APP, OWNER_POD_NAME};
use odigos_detect::presence::{Health, Marks};
use odigos_plan::detection::subject::Subject;
use serde_json::{Value, json};

/// Label with the node of the agent that wrote it.
pub(super) const NODE: &str = "odigos.io/node";
/// Annotation with the whole name of that node, where a label cannot hold it. Policies of the release compare it.
const NODE_NAME: &str = "odigos.io/node-name";
/// Names hold no more.
const NAME: usize = 253;

/// An agent in a process.
#[derive(Clone, Debug)]
pub(super) struct Instance<'a> {
    /// Number that names it: inside the container, or on the node for what attaches from outside.
    pub(super) pid: u32,
    /// Which of the two it is.
    pub(super) is_on_node: bool,
    /// Its language, as telemetry names it.
    pub(super) language: &'a str,
    /// What admission has put there.
    pub(super) marks: &'a Marks,
    /// How it does.
    pub(super) health: Health,
    /// Whether it was seen to send, for those of which that can be seen.
    pub(super) sends: Option<bool>,
}

/// The object, without times. `is_taken` tells names that another instance of the pod has.
pub(super) fn of(subject: &Subject, node: &str, instance: &Instance<'_>, is_taken: impl Fn(&str) -> bool) -> Value {
    let (marks, health) = (instance.marks, &instance.health);
    // Each container counts its processes from 1.
    let short = named_after(&subject.pod, &instance.pid.to_string());
    let long = || named_after(&subject.pod, &format!("{}-{}", marks.container, instance.pid));
    let name = if is_taken(&short) { long() } else { short };
    let pid = if instance.is_on_node { "process.pid" } else { "process.vpid" };
    let pairs = [
        ("service.name", marks.service.clone()),
        ("telemetry.sdk.language", instance.language.to_owned()),
        ("k8s.namespace.name", subject.workload.namespace.clone()),
        ("k8s.pod.name", subject.pod.clone()),
        ("k8s.container.name", marks.container.clone()),
        (pid, instance.pid.to_string()),
    ];
    let attributes: Vec<Value> = pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let component = |name: &str, kind: &str, healthy: Option<bool>| {
        let mut one = json!({"name": name, "type": kind});
        if let Some(healthy) = healthy {
            one["healthy"] = json!(healthy);
        }
        one
    };
    let mut components = vec![component(&marks.distribution, "instrumentation", health.healthy)];
    if let Some(sends) = instance.sends {
        components.push(component("otlp", "exporter", sends.then_some(true)));
    }
    let mut status = json!({
        "reason": health.reason, "message": health.message, "identifyingAttributes": attributes, "components": components,
    });
    if let Some(healthy) = health.healthy {
        status["healthy"] = json!(healthy);
    }
    let labels = json!({
        NODE: labels::value(node),
        INSTRUMENTED_APP: labels::value(&subject.workload.config_name()),
        OWNER_POD_NAME: labels::value(&subject.pod),
    });
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": subject.pod, "uid": subject.uid, "controller": true});
    let mut metadata = json!({
        "name": name, "namespace": subject.workload.namespace, "labels": labels, "ownerReferences": [owner],
    });
    if metadata["labels"][NODE] != node {
        metadata["annotations"] = json!({NODE_NAME: node});
    }
    json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationInstance", "metadata": metadata,
        "spec": {"containerName": marks.container},
        "status": status,
    })
}

fn named_after(pod: &str, end: &str) -> String {
    let room = NAME.saturating_sub(end.len() + 1);
    format!("{}-{end}", pod.get(..room).unwrap_or(pod))
}

/// Namespace and name.
pub(super) fn key(object: &Value) -> (String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// Only what names it.
pub(super) fn named((namespace, name): &(String, String)) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationInstance", "metadata": {"namespace": namespace, "name": name},
    })
}

/// What the API server holds, in the shape of [`of`]: equal when the same would be said again.
pub(super) fn written(found: &InstrumentationInstance) -> Option<((String, String), Value)> {
    let mut object = serde_json::to_value(found).ok()?;
    let key = key(&object);
    let metadata = &object["metadata"];
    let mut kept = json!({
        "name": metadata["name"], "namespace": metadata["namespace"], "labels": metadata["labels"],
        "ownerReferences": metadata["ownerReferences"],
    });
    if let Some(node) = metadata.pointer("/annotations").and_then(|all| all.get(NODE_NAME)) {
        kept["annotations"] = json!({NODE_NAME: node});
    }
    object["metadata"] = kept;
    let status = object.get_mut("status")?.as_object_mut()?;
    status.remove("lastStatusTime");
    for component in status.get_mut("components").and_then(Value::as_array_mut).into_iter().flatten() {
        component.as_object_mut()?.remove("lastStatusTime");
    }
    Some((key, object))
}

/// The two objects that are applied: without status, and with it alone.
pub(super) fn applied(object: &Value, now: Timestamp) -> (Value, Value) {
    let now = json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let mut whole = object.clone();
    let status = whole.as_object_mut().and_then(|all| all.remove("status")).unwrap_or_default();
    let mut of_status = named(&key(object));
    of_status["status"] = status;
    of_status["status"]["lastStatusTime"] = now.clone();
    for component in of_status["status"]["components"].as_array_mut().into_iter().flatten() {
        component["lastStatusTime"] = now.clone();
    }
    (whole, of_status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::{WorkloadKind, WorkloadRef};

    #[test]
    fn what_is_written_is_recognised_when_it_is_read_again() {
        let workload = WorkloadRef { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "cart".into() };
        let subject = Subject {
            uid: "u".into(),
            pod: "cart-1".into(),
            workload,
            created: None,
            has_agents: true,
            containers: Vec::new(),
        };
        let marks = Marks {
            distribution: "java-community".into(),
            container: "app".into(),
            service: "cart".into(),
            ..Marks::default()
        };
        let health = Health { healthy: Some(true), reason: "Healthy", message: "m".into() };
        let instance =
            Instance { pid: 1, is_on_node: false, language: "java", marks: &marks, health, sends: Some(true) };
        let object = of(&subject, "n", &instance, |_| false);
        assert_eq!(key(&object), ("shop".to_owned(), "cart-1-1".to_owned()));
        assert_eq!(
            object["metadata"]["labels"],
            json!({NODE: "n", "instrumented-app": "deployment-cart", "ownerPodName": "cart-1"})
        );
        let (mut whole, status) = applied(&object, Timestamp::UNIX_EPOCH);
        whole["status"] = status["status"].clone();
        let stored: InstrumentationInstance = serde_json::from_value(whole).unwrap();
        assert_eq!(stored.status.as_ref().unwrap().components.len(), 2);
        assert_eq!(written(&stored), Some((key(&object), object.clone())));
        let second = of(&subject, "n", &instance, |name| name == "cart-1-1");
        assert_eq!(second["metadata"]["name"], "cart-1-app-1", "another container's first process");
        let unknown = Health { healthy: None, reason: "Starting", message: String::new() };
        let instance = Instance { health: unknown, is_on_node: true, sends: None, ..instance };
        assert!(object["metadata"].get("annotations").is_none(), "a label holds the name");
        let long = "n".repeat(70);
        let object = of(&subject, &long, &instance, |_| false);
        assert_eq!(object["metadata"]["annotations"], json!({NODE_NAME: long}));
        let (mut whole, status) = applied(&object, Timestamp::UNIX_EPOCH);
        whole["status"] = status["status"].clone();
        let stored: InstrumentationInstance = serde_json::from_value(whole).unwrap();
        assert_eq!(written(&stored), Some((key(&object), object.clone())));
        assert!(object["status"].get("healthy").is_none(), "not known is not false");
        assert!(
            object.to_string().contains("process.pid")
                && object["metadata"]["labels"][NODE].as_str().unwrap().len() == 63
        );
    }
}
