//! The Kubernetes objects of the node collector: ConfigMaps, DaemonSet and the Service that keeps traffic on the node.
//!
//! Owns `spec/collectors-and-pipelines.md` 5.1 in our form: a DaemonSet of its own, unprivileged, with immutable
//! configuration. Only fields that the autoscaler owns.

use super::{LOG_LINKS, LOG_OFFSETS, NodePlan, Observed};
use crate::config_files::stored::{DIRECTORY, Names};
use crate::draining::Draining;
use crate::gateway::objects::Installation;
use crate::metrics_endpoint;
use crate::mutual_tls::Side;
use crate::objects::{self, Desired, Rank};
use odigos_api::{CollectorRole, labels, names};
use serde_json::{Value, json};

/// Seconds that a pod waits at most for its queues to become empty, of the 30 that it has.
const DRAINED_SECONDS: u32 = 20;

/// Every object of the node collector, in apply order; the ConfigMap alone while nothing is instrumented.
#[must_use]
pub fn desired(seen: &Observed<'_>, plan: &NodePlan, installation: &Installation) -> Vec<Desired> {
    let uid = seen.group.and_then(|group| group.metadata.uid.as_deref());
    let owner = match seen.group {
        Some(_) => objects::owner(names::NODE_COLLECTOR, uid),
        // The ConfigMap exists before the group does; the gateway's group holds it until then.
        None => objects::owner(names::GATEWAY, seen.gateway.and_then(|group| group.metadata.uid.as_deref())),
    };
    let stable_owner = objects::owner(names::GATEWAY, seen.gateway.and_then(|group| group.metadata.uid.as_deref()));
    let stored = Names { name: names::NODE_COLLECTOR, namespace: seen.namespace, key: names::NODE_CONFIG_KEY };
    let mut all = plan.files.objects(stored, &stable_owner);
    let Some(group) = seen.group else {
        // No pods: the stable ConfigMap shows the idle form, a version of it would mount nowhere.
        all.retain(|one| one.object.get("immutable").is_none());
        return all;
    };
    all.push(Desired { rank: Rank::Network, object: service(seen, &owner) });
    let daemon_set = DaemonSet {
        seen,
        plan,
        installation,
        resources: &group.spec.resources_settings,
        port: group.spec.collector_own_metrics_port,
    };
    all.push(Desired { rank: Rank::Workload, object: daemon_set.object(stored, &owner) });
    all
}

fn role_labels() -> Value {
    json!({ labels::COLLECTOR_ROLE: CollectorRole::NodeCollector.as_str() })
}

fn service(seen: &Observed<'_>, owner: &Value) -> Value {
    let metrics_port =
        seen.group.map_or(i32::from(names::NODE_METRICS_PORT), |group| group.spec.collector_own_metrics_port);
    let mut ports = vec![
        json!({"name": "otlp", "port": names::OTLP_GRPC_PORT, "targetPort": names::OTLP_GRPC_PORT, "protocol": "TCP", "appProtocol": "grpc"}),
        json!({"name": "otlphttp", "port": names::OTLP_HTTP_PORT, "targetPort": names::OTLP_HTTP_PORT, "protocol": "TCP"}),
    ];
    let access = seen.metrics_access();
    if access.has_endpoint {
        ports.push(metrics_endpoint::service_port());
    }
    if access.is_plain {
        ports.push(json!({"name": "metrics", "port": names::GATEWAY_METRICS_PORT, "targetPort": metrics_port, "protocol": "TCP"}));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names::NODE_SERVICE, "namespace": seen.namespace, "labels": role_labels(), "ownerReferences": owner},
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Local",
            "selector": role_labels(),
            "ports": ports,
        },
    })
}

struct DaemonSet<'a> {
    seen: &'a Observed<'a>,
    plan: &'a NodePlan,
    installation: &'a Installation,
    resources: &'a odigos_api::collectors_group::ResourcesSettings,
    port: i32,
}

impl DaemonSet<'_> {
    fn ports(&self) -> Vec<Value> {
        let port = |name: &str, number: i32| json!({"name": name, "containerPort": number, "protocol": "TCP"});
        let mut ports =
            vec![port("otlp", i32::from(names::OTLP_GRPC_PORT)), port("otlphttp", i32::from(names::OTLP_HTTP_PORT))];
        let access = self.seen.metrics_access();
        if access.has_endpoint {
            ports.push(metrics_endpoint::container_port());
        }
        if access.is_plain {
            ports.push(port("metrics", self.port));
            ports.push(port("source-metrics", i32::from(names::SOURCE_METRICS_PORT)));
        }
        ports
    }

    fn reads_logs(&self) -> bool {
        self.plan.config.get(odigos_pipeline::ComponentKind::Receiver, super::receivers::FILE_LOG).is_some()
    }

    fn reads_host(&self) -> bool {
        self.plan.config.get(odigos_pipeline::ComponentKind::Receiver, "host_metrics").is_some()
    }

    fn object(&self, stored: Names<'_>, owner: &Value) -> Value {
        let mut mounts = vec![json!({"name": "config", "mountPath": DIRECTORY, "readOnly": true})];
        let mut volumes = vec![self.plan.files.volume(stored)];
        let mut host = |name: &str, path: &str, mount: &str, read_only: bool, kind: &str| {
            // A stated `false` would not be stored, and every comparison would find it missing.
            let mut entry = json!({"name": name, "mountPath": mount});
            if read_only {
                entry["readOnly"] = json!(true);
                entry["mountPropagation"] = json!("HostToContainer");
            }
            mounts.push(entry);
            volumes.push(json!({"name": name, "hostPath": {"path": path, "type": kind}}));
        };
        if self.reads_logs() {
            host("log-links", LOG_LINKS, LOG_LINKS, true, "DirectoryOrCreate");
            host("offsets", LOG_OFFSETS, LOG_OFFSETS, false, "DirectoryOrCreate");
            host("pod-logs", "/var/log", "/var/log", true, "Directory");
            if let Some(directory) = self.seen.configuration.node_logs_directory() {
                host("node-logs", directory, directory, true, "DirectoryOrCreate");
            }
        }
        if self.reads_host() {
            // Never the root of the machine: what is mounted, a collector could be made to read.
            host("host-proc", "/proc", "/hostfs/proc", true, "Directory");
            host("host-sys", "/sys", "/hostfs/sys", true, "Directory");
            for (number, path) in super::scraped::host_mount_points(self.seen.configuration).iter().enumerate() {
                host(&format!("host-mount-{number}"), path, &format!("/hostfs{path}"), true, "Directory");
            }
        }
        if self.seen.has_certificate {
            mounts.push(Side::mount());
            volumes.push(Side::Node.volume());
        }
        let mut pod_spec = json!({
            "serviceAccountName": names::NODE_COLLECTOR,
            "priorityClassName": "system-node-critical",
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [self.validate(&mounts)],
            "containers": [self.container(&mounts)],
            "volumes": volumes,
        });
        let pull_secrets = self.seen.configuration.image_pull_secrets();
        if !pull_secrets.is_empty() {
            pod_spec["imagePullSecrets"] = pull_secrets.iter().map(|name| json!({"name": name})).collect();
        }
        let mut metadata = json!({"labels": role_labels()});
        if let Some(authorities) = self.seen.authorities.filter(|_| self.seen.has_certificate) {
            // They are read once, at start: other ones take new pods.
            metadata["annotations"] = json!({labels::AUTHORITIES: authorities});
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {
                "name": names::NODE_COLLECTOR, "namespace": self.seen.namespace, "labels": role_labels(), "ownerReferences": owner,
            },
            "spec": {
                "selector": {"matchLabels": role_labels()},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}},
                "template": {"metadata": metadata, "spec": pod_spec},
            },
        })
    }

    fn environment(&self) -> Vec<Value> {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        vec![
            json!({"name": "ODIGOS_VERSION", "value": self.installation.version}),
            field("NODE_NAME", "spec.nodeName"),
            field("NODE_IP", "status.hostIP"),
            field("POD_NAME", "metadata.name"),
        ]
    }

    /// Container logs belong to root on the node; reading them needs one capability and no privilege. Figures of the host need neither.
    fn security(&self) -> Value {
        // An empty list would never be read back: the API server drops it, and the object would look changed for ever.
        let mut capabilities = json!({"drop": ["ALL"]});
        if self.reads_logs() {
            capabilities["add"] = json!(["DAC_READ_SEARCH"]);
        }
        json!({
            "runAsUser": 0,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": capabilities,
        })
    }

    fn validate(&self, mounts: &[Value]) -> Value {
        let mut environment = self.environment();
        environment.push(json!({"name": "GOMEMLIMIT", "value": format!("{}MiB", self.resources.gomemlimit_mib)}));
        let arguments: Vec<String> = ["validate".to_owned()].into_iter().chain(self.plan.files.arguments()).collect();
        json!({
            "name": "validate",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "image": self.installation.node_collector_image,
            "command": [self.installation.collector_command],
            "args": arguments,
            "env": environment,
            // A configuration that takes more to read must not take it from other pods.
            "resources": objects::container_resources(self.resources),
            "securityContext": self.security(),
            "volumeMounts": mounts,
        })
    }

    fn container(&self, mounts: &[Value]) -> Value {
        let mut environment = self.environment();
        environment.push(json!({"name": "GOMEMLIMIT", "value": format!("{}MiB", self.resources.gomemlimit_mib)}));
        environment.push(json!({"name": "GOMAXPROCS", "valueFrom": {"resourceFieldRef": {
            "containerName": "data-collection", "resource": "limits.cpu",
        }}}));
        let probe = |failures: i64| {
            json!({
                "httpGet": {"path": "/", "port": names::HEALTH_PORT},
                "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": failures, "successThreshold": 1,
            })
        };
        let mut container = json!({
            "name": "data-collection",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "image": self.installation.node_collector_image,
            "command": [self.installation.collector_command],
            "args": self.plan.files.arguments(),
            "env": environment,
            "ports": self.ports(),
            "livenessProbe": probe(3),
            "readinessProbe": probe(3),
            "startupProbe": probe(30),
            "resources": objects::container_resources(self.resources),
            "securityContext": self.security(),
            "volumeMounts": mounts,
        });
        if self.seen.is_own_collector {
            let draining = Draining {
                command: &self.installation.collector_command,
                metrics_port: self.port,
                least_seconds: 0,
                most_seconds: DRAINED_SECONDS,
                stored_queues_in: Vec::new(),
            };
            container["lifecycle"] = draining.lifecycle();
        }
        container
    }
}
