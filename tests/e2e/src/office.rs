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

    /// Whether its option, where it is guarded, comes with all others of a ConfigMap. Then nothing but the container runtime tells
    /// it from what the image sets.
    fn takes_all(&self) -> bool {
        self.language == "javascript"
    }
}

/// How the owners of a namespace run their applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As most do: options are written into the pod.
    Plain,
    /// The namespace enforces the Pod Security level `restricted`, file systems are read-only, options of the runtime
    /// come from a ConfigMap: Java's by its key (`valueFrom`), that of Node.js as one of all (`envFrom`). Images of Node.js and
    /// Python set theirs too. Node.js is a release that is built for musl.
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
    let of = |is_whole: bool| -> serde_json::Map<String, Value> {
        let options =
            CHAIN.iter().filter(|service| service.takes_all() == is_whole).filter_map(|service| service.option);
        options.map(|(name, value)| (name.to_owned(), json!(value))).collect()
    };
    let mut further = of(true);
    further.insert("REGION".into(), json!("north"));
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data});
    vec![object, map(OPTIONS, json!(of(false))), map(FURTHER, json!(further))]
}

/// Deployment and Service; `image` is the one of the actors, the applications' are named alike.
#[must_use]
pub fn deployment(namespace: &str, service: Service, image: &str, replicas: u32, manner: Manner) -> Vec<Value> {
    let same = json!({"app": service.name});
    let is_on_musl = manner == Manner::Guarded && service.takes_all();
    let application = if is_on_musl { format!("{}-musl", service.image) } else { service.image.to_owned() };
    let mut environment = Vec::new();
    let mut container = json!({
        "name": "app",
        "image": image.replacen("odigos-e2e:", &format!("odigos-e2e-{application}:"), 1),
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    });
    if let Some((name, value)) = service.option {
        match manner {
            Manner::Plain => environment.push(json!({"name": name, "value": value})),
            Manner::Guarded if service.takes_all() => {}
            Manner::Guarded => {
                let from = json!({"configMapKeyRef": {"name": OPTIONS, "key": name}});
                environment.push(json!({"name": name, "valueFrom": from}));
            }
        }
    }
    if let Some(next) = service.next {
        environment.push(json!({"name": "NEXT", "value": format!("http://{next}:{PORT}/")}));
    }
    container["env"] = json!(environment);
    if manner == Manner::Guarded {
        container["envFrom"] = json!([{"configMapRef": {"name": FURTHER}}]);
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
