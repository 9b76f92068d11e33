//! Ordinary applications as their owners deploy them: a chain of services in Java, Node.js, Python and Go, each with options of
//! its own for its runtime. Nothing in them knows of telemetry.

use crate::actors::PORT;
use serde_json::{Value, json};

/// A service of the chain.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Name of workload and Service.
    pub name: &'static str,
    /// Image, as `odigos-e2e-<image>`.
    pub image: &'static str,
    /// What its language is called in a status.
    pub language: &'static str,
    /// The variable by which the user passes options to the runtime, and what is in it. Python's is part of its image.
    pub option: Option<(&'static str, &'static str)>,
    /// What `/options` answers while the user's option is in force.
    pub answer: &'static str,
    /// Whom it asks.
    pub next: Option<&'static str>,
}

/// The chain, first the one that is asked.
pub const CHAIN: [Service; 4] = [
    Service {
        name: "frontend",
        image: "java",
        language: "java",
        option: Some(("JAVA_TOOL_OPTIONS", "-Dapplication.option=kept")),
        answer: "kept",
        next: Some("inventory"),
    },
    Service {
        name: "inventory",
        image: "nodejs",
        language: "javascript",
        option: Some(("NODE_OPTIONS", "--title=kept")),
        answer: "kept",
        next: Some("pricing"),
    },
    Service {
        name: "pricing",
        image: "python",
        language: "python",
        option: None,
        answer: "kept",
        next: Some("shipping"),
    },
    Service {
        name: "shipping",
        image: "golang",
        language: "go",
        option: Some(("GOMAXPROCS", "3")),
        answer: "3",
        next: None,
    },
];

impl Service {
    /// Whether its agent runs inside its process, so that it can do harm there.
    #[must_use]
    pub fn has_agent_inside(&self) -> bool {
        self.language != "go"
    }
}

/// How the owners of a namespace run their applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As most do: options are written into the pod.
    Plain,
    /// The namespace enforces the Pod Security level `restricted`, file systems are read-only, options of the runtime
    /// come from a ConfigMap (`valueFrom`), and further variables from another as a whole (`envFrom`).
    Guarded,
}

/// ConfigMap with the runtime options of guarded applications.
const OPTIONS: &str = "options";
/// ConfigMap whose keys all become variables of guarded applications.
const FURTHER: &str = "further";

/// The namespace, and what pods of the chain refer to.
#[must_use]
pub fn surroundings(namespace: &str, manner: Manner) -> Vec<Value> {
    let mut object = crate::shop::namespace(namespace);
    if manner == Manner::Plain {
        return vec![object];
    }
    object["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let options: serde_json::Map<String, Value> = CHAIN
        .iter()
        .filter_map(|service| service.option)
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data});
    vec![object, map(OPTIONS, json!(options)), map(FURTHER, json!({"REGION": "north", "FEATURES": "a,b"}))]
}

/// Deployment and Service; `image` is the one of the actors, the applications' are named alike.
#[must_use]
pub fn deployment(namespace: &str, service: Service, image: &str, replicas: u32, manner: Manner) -> Vec<Value> {
    let same = json!({"app": service.name});
    let mut environment = Vec::new();
    let mut container = json!({
        "name": "app",
        "image": image.replacen("odigos-e2e:", &format!("odigos-e2e-{}:", service.image), 1),
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    });
    if let Some((name, value)) = service.option {
        environment.push(match manner {
            Manner::Plain => json!({"name": name, "value": value}),
            Manner::Guarded => {
                json!({"name": name, "valueFrom": {"configMapKeyRef": {"name": OPTIONS, "key": name}}})
            }
        });
    }
    if let Some(next) = service.next {
        environment.push(json!({"name": "NEXT", "value": format!("http://{next}:{PORT}/")}));
    }
    container["env"] = json!(environment);
    if manner == Manner::Guarded {
        // With variables as a whole and a path from the image it could not be told which is whose, and nothing would be
        // done; the planner's tests have that case.
        if service.option.is_some() {
            container["envFrom"] = json!([{"configMapRef": {"name": FURTHER}}]);
        }
        container["securityContext"] = json!({
            "runAsNonRoot": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
    }
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": service.name, "namespace": namespace},
            "spec": {"selector": same, "ports": [{"name": "http", "port": PORT}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": service.name, "namespace": namespace},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": same},
                "template": {
                    "metadata": {"labels": same},
                    "spec": {
                        "terminationGracePeriodSeconds": 5,
                        "containers": [container],
                        "volumes": [{"name": "scratch", "emptyDir": {}}],
                    },
                },
            },
        }),
    ]
}
