//! The Kubernetes objects of the gateway: ConfigMaps, Service, Deployment, autoscaler, disruption budget.
//!
//! Owns `spec/collectors-and-pipelines.md` 4.1–4.2 and 6.1 in our form (design 5): immutable configuration, rolling
//! update that never has fewer ready pods, replicas left to the autoscaler. Only fields that the autoscaler owns.

use super::delivery::QUEUE_DIRECTORY;
use super::destinations::SecretTarget;
use super::intake::ANYBODY;
use super::secret_values::copy_key;
use super::{GatewayPlan, Observed};
use crate::config_files::stored::{DIRECTORY, Names};
use crate::draining::Draining;
use crate::metrics_endpoint;
use crate::mutual_tls::{Side, relief};
use crate::objects::{self, Desired, Rank, hash, mebibytes, millicores};
use crate::scaling::custom_metrics;
use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::{CollectorRole, Finding, labels, names};
use odigos_pipeline::ComponentKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the objects need beyond the rendered configuration; facts of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Image of the gateways' collector.
    pub gateway_image: String,
    /// Image of the nodes' collector.
    pub node_collector_image: String,
    /// Path of the collector's binary inside either image.
    pub collector_command: String,
    /// Version of the control plane, stamped on telemetry.
    pub version: String,
    /// Topology spread constraints of the control plane's own Deployment, copied to the gateway.
    pub topology_spread: Vec<Value>,
    /// Minor version of the cluster (`34` for 1.34), which decides the API of the autoscaler object.
    pub kubernetes_minor: u32,
    /// Whether the cluster's API server asks this control plane what gateways refuse (`scaling::custom_metrics`).
    pub rejection_metric: bool,
}

impl Installation {
    /// Whether the collector of a role is one of this repository, by the last part of its image's name: only these have the
    /// extensions of ours ([`odigos_pipeline::components::OWN_EXTENSIONS`]).
    #[must_use]
    pub fn is_own_collector(&self, role: CollectorRole) -> bool {
        let (image, own) = match role {
            CollectorRole::ClusterGateway => (&self.gateway_image, "odigos-gateway"),
            CollectorRole::NodeCollector => (&self.node_collector_image, "odigos-node-collector"),
        };
        let repository = image.split('@').next().unwrap_or_default();
        let name = repository.rsplit('/').next().unwrap_or_default();
        name.split(':').next() == Some(own)
    }
}

impl Default for Installation {
    /// The collectors of this release and a current cluster; what `render` shows without a cluster.
    fn default() -> Self {
        Self {
            gateway_image: concat!("ghcr.io/odigos-rs/odigos-gateway:", env!("CARGO_PKG_VERSION")).into(),
            node_collector_image: concat!("ghcr.io/odigos-rs/odigos-node-collector:", env!("CARGO_PKG_VERSION")).into(),
            collector_command: "/otelcol-contrib".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            topology_spread: Vec::new(),
            kubernetes_minor: 34,
            rejection_metric: false,
        }
    }
}

/// Room of the volume of queues beside twice what they may hold, in MiB: their files keep pages that are free again.
const QUEUE_HEADROOM_MIB: i64 = 256;
/// User and group of the collector's processes.
const NOBODY: i64 = 65_534;
/// Seconds that a pod may take to go: the pre-stop hook, then one attempt for each queued batch.
const GRACE_SECONDS: i64 = 60;
/// Seconds after which everybody has forgotten a pod that goes. Not more: a stream class is served only when the last old pod is gone.
const FORGOTTEN_SECONDS: u32 = 4;
/// Seconds that a pod waits at most for its queues to become empty.
const DRAINED_SECONDS: u32 = 40;

/// Kind of the gateway's workload: a StatefulSet where queues on disk have volumes of their own, so that what waits outlives
/// its pod and its node; a Deployment everywhere else, since it adds a pod before it takes one away.
#[must_use]
pub fn workload_kind(seen: &Observed<'_>, plan: &GatewayPlan) -> &'static str {
    match plan.persistent_queues && seen.configuration.queue_volume_size().is_some() {
        true => "StatefulSet",
        false => "Deployment",
    }
}

/// Every object of the gateway, in apply order.
#[must_use]
pub fn desired(seen: &Observed<'_>, plan: &GatewayPlan, installation: &Installation) -> Vec<Desired> {
    let name = gateway_name(seen);
    let owner = objects::owner(&name, seen.group.metadata.uid.as_deref());
    let stored = Names { name: &name, namespace: seen.namespace, key: names::GATEWAY_CONFIG_KEY };
    let mut all = plan.files.objects(stored, &owner);
    all.push(Desired { rank: Rank::Network, object: service(seen, plan, &owner) });
    all.push(Desired { rank: Rank::Network, object: balanced_service(seen, plan, &owner) });
    all.push(Desired { rank: Rank::Workload, object: workload(seen, plan, installation, stored, &owner) });
    let scaled = workload_kind(seen, plan);
    all.push(Desired { rank: Rank::Scaling, object: autoscaler(seen, scaled, installation, &owner) });
    all.push(Desired { rank: Rank::Scaling, object: disruption_budget(seen, &owner) });
    all
}

fn gateway_name(seen: &Observed<'_>) -> String {
    super::name(&seen.group.spec)
}

/// Name of the gateway's Deployment; only it can be renamed, and not to the name of a workload of others.
#[must_use]
pub fn deployment_name(seen: &Observed<'_>) -> String {
    stated_name(seen).filter(|_| !seen.is_name_taken).map_or_else(|| gateway_name(seen), str::to_owned)
}

fn stated_name<'a>(seen: &Observed<'a>) -> Option<&'a str> {
    seen.group.spec.deployment_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether a workload that has a gateway's name is no gateway: to apply the gateway would change what others run.
#[must_use]
pub fn is_foreign(workload: &Value) -> bool {
    let labels = workload.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(labels::COLLECTOR_ROLE)).is_none()
}

/// What to report where the name that the configuration gives is not used.
pub(super) fn name_problem(seen: &Observed<'_>) -> Option<Finding> {
    let stated = stated_name(seen).filter(|name| seen.is_name_taken && *name != gateway_name(seen))?;
    let message = format!(
        "{stated:?} is not used: another workload of the namespace is called like that; the gateway is called {}. Change collectorGateway.deploymentName of the configuration",
        gateway_name(seen)
    );
    let object = format!("CollectorsGroup {}/{}", seen.namespace, gateway_name(seen));
    Some(Finding::warning(object, "spec.deploymentName", message))
}

/// Digest over everything that the pods read from Secrets: a changed value rolls them, an edited label does not.
#[must_use]
pub fn secrets_hash(plan: &GatewayPlan) -> String {
    let parts: BTreeSet<String> =
        plan.secrets.iter().map(|used| format!("{}\u{0}{}\u{0}{}", used.destination, used.key, used.digest)).collect();
    hash(parts.into_iter().collect::<Vec<_>>().join("\u{1}"), 64)
}

/// Labels by which a gateway's pods are found; no selector of one gateway finds pods of another.
fn role_labels(seen: &Observed<'_>) -> Value {
    match &seen.group.spec.pool {
        None => json!({ labels::COLLECTOR_ROLE: CollectorRole::ClusterGateway.as_str() }),
        Some(pool) => json!({ labels::COLLECTOR_ROLE: labels::POOL_ROLE, labels::GATEWAY_POOL: pool.name }),
    }
}

fn pod_labels(seen: &Observed<'_>) -> Value {
    let mut all = role_labels(seen);
    all[labels::TAKES_ITEMS] = json!("true");
    all
}

/// Whether it listens on the ports that anybody can reach.
fn is_open(plan: &GatewayPlan) -> bool {
    plan.config.get(ComponentKind::Receiver, ANYBODY).is_some()
}

fn service(seen: &Observed<'_>, plan: &GatewayPlan, owner: &Value) -> Value {
    let port = |name: &str, number: i64, protocol: Option<&str>| {
        let mut port = json!({"name": name, "port": number, "targetPort": number, "protocol": "TCP"});
        if let Some(protocol) = protocol {
            port["appProtocol"] = json!(protocol);
        }
        port
    };
    let mut ports = vec![port("otlp-nodes", i64::from(names::NODE_OTLP_PORT), None)];
    if is_open(plan) {
        ports.push(port("otlp", i64::from(names::OTLP_GRPC_PORT), Some("grpc")));
        ports.push(port("otlphttp", i64::from(names::OTLP_HTTP_PORT), None));
    }
    ports.push(port("own-metrics-http", i64::from(names::OWN_METRICS_PORT), None));
    let access = seen.metrics_access();
    if access.has_endpoint {
        ports.push(metrics_endpoint::service_port());
    }
    if access.is_plain {
        ports.push(port("metrics", i64::from(seen.group.spec.collector_own_metrics_port), None));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": gateway_name(seen), "namespace": seen.namespace, "labels": role_labels(seen), "ownerReferences": owner},
        "spec": {
            // Headless: node collectors see every replica and spread over them.
            "clusterIP": "None",
            "selector": pod_labels(seen),
            "ports": ports,
        },
    })
}

/// The same pods behind one address: connections reach ready gateways only, from the moment on that one is gone.
fn balanced_service(seen: &Observed<'_>, plan: &GatewayPlan, owner: &Value) -> Value {
    let port = |name: &str, number: u16| json!({"name": name, "port": number, "targetPort": number, "protocol": "TCP"});
    let mut ports = vec![port("otlp-nodes", names::NODE_OTLP_PORT)];
    if is_open(plan) {
        ports.extend([port("otlp", names::OTLP_GRPC_PORT), port("otlphttp", names::OTLP_HTTP_PORT)]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names::balanced(&gateway_name(seen)), "namespace": seen.namespace, "labels": role_labels(seen), "ownerReferences": owner,
        },
        "spec": {
            "type": "ClusterIP",
            "selector": role_labels(seen),
            "ports": ports,
        },
    })
}

fn workload(
    seen: &Observed<'_>,
    plan: &GatewayPlan,
    installation: &Installation,
    stored: Names<'_>,
    owner: &Value,
) -> Value {
    let spec = &seen.group.spec;
    let (environment, files) = secret_mounts(plan);
    let mut mounts = vec![json!({"name": "config", "mountPath": DIRECTORY, "readOnly": true})];
    let mut volumes = vec![plan.files.volume(stored)];
    mounts.push(Side::mount());
    volumes.push(Side::Gateway.volume());
    for (position, (directory, file)) in files.iter().enumerate() {
        let name = format!("secret-{position}");
        mounts.push(json!({"name": name, "mountPath": directory, "readOnly": true}));
        volumes.push(json!({"name": name, "secret": {"secretName": file.0, "items": file.1}}));
    }
    let kind = workload_kind(seen, plan);
    if plan.persistent_queues {
        mounts.push(json!({"name": "queues", "mountPath": QUEUE_DIRECTORY}));
    }
    if plan.persistent_queues && kind == "Deployment" {
        // The volume outlives a crash of the container, and goes with the pod.
        let limit = plan.persistent_queue_bytes / (1024 * 1024) * 2 + QUEUE_HEADROOM_MIB;
        volumes.push(json!({"name": "queues", "emptyDir": {"sizeLimit": format!("{limit}Mi")}}));
    }
    let mut pod_spec = json!({
        "serviceAccountName": names::GATEWAY,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": NOBODY, "runAsGroup": NOBODY, "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": role_labels(seen)}},
        }]}},
        "initContainers": [validate_container(seen, plan, installation, &environment, &mounts)],
        "containers": [container(seen, plan, installation, &environment, &mounts)],
        "volumes": volumes,
    });
    if let Some(selector) = spec.node_selector.as_ref().filter(|selector| !selector.is_empty()) {
        pod_spec["nodeSelector"] = json!(selector);
    }
    let pull_secrets = seen.configuration.image_pull_secrets();
    if !pull_secrets.is_empty() {
        pod_spec["imagePullSecrets"] = pull_secrets.iter().map(|name| json!({"name": name})).collect();
    }
    if !installation.topology_spread.is_empty() {
        let constraints = installation.topology_spread.iter().map(|constraint| {
            let mut constraint = constraint.clone();
            constraint["labelSelector"] = json!({"matchLabels": role_labels(seen)});
            constraint
        });
        pod_spec["topologySpreadConstraints"] = constraints.collect();
    }
    // No replicas: they belong to the autoscaler object, and a manual scale survives (A42).
    let mut spec = json!({
        "selector": {"matchLabels": role_labels(seen)},
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {
                "labels": pod_labels(seen),
                "annotations": { labels::SECRETS_HASH: secrets_hash(plan) },
            },
            "spec": pod_spec,
        },
    });
    if kind == "Deployment" {
        // Never fewer ready pods than before: a configuration that does not start leaves the old pods serving.
        spec["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}});
        if seen.senders.has_old_nodes {
            // Those of the release before need time to deliver what waits in them.
            spec["minReadySeconds"] = json!(relief::OVERLAP_SECONDS);
        }
    } else {
        spec["serviceName"] = json!(gateway_name(seen));
        // A pod that does not start is replaced by one of the next revision without anybody's hand.
        spec["podManagementPolicy"] = json!("Parallel");
        spec["updateStrategy"] = json!({"type": "RollingUpdate"});
        spec["volumeClaimTemplates"] = json!([queue_volume_claim(seen)]);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": deployment_name(seen), "namespace": seen.namespace, "labels": role_labels(seen), "ownerReferences": owner,
        },
        "spec": spec,
    })
}

/// The volume that each pod of a StatefulSet keeps its queues on. It stays when the pod goes: what waits is sent by the pod
/// that has its number next.
fn queue_volume_claim(seen: &Observed<'_>) -> Value {
    let size = seen.configuration.queue_volume_size().unwrap_or("2Gi");
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "volumeMode": "Filesystem",
    });
    if let Some(class) = seen.configuration.queue_volume_class() {
        spec["storageClassName"] = json!(class);
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "queues"}, "spec": spec})
}

/// Items of a Secret volume: the Secret's name and its key-to-path list.
type SecretVolume = (String, Vec<Value>);

/// Environment entries and, by directory, the Secret volumes.
fn secret_mounts(plan: &GatewayPlan) -> (Vec<Value>, BTreeMap<String, SecretVolume>) {
    let mut environment = Vec::new();
    let mut files: BTreeMap<String, SecretVolume> = BTreeMap::new();
    for used in &plan.secrets {
        match &used.target {
            SecretTarget::Variable(variable) => {
                let source = match used.is_escaped {
                    true => json!({"name": names::ESCAPED_SECRETS, "key": copy_key(&used.secret, &used.key)}),
                    false => json!({"name": used.secret, "key": used.key}),
                };
                environment.push(json!({"name": variable, "valueFrom": {"secretKeyRef": source}}));
            }
            SecretTarget::File(path) => {
                let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
                let volume = files.entry(directory.to_owned()).or_insert_with(|| (used.secret.clone(), Vec::new()));
                volume.1.push(json!({"key": used.key, "path": file}));
            }
        }
    }
    environment.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    (environment, files)
}

fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn base_environment(installation: &Installation) -> Vec<Value> {
    vec![
        json!({"name": "ODIGOS_VERSION", "value": installation.version}),
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        json!({"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
    ]
}

/// Runs the very same collector's `validate` before the pod can become ready.
///
/// It has the limits of the container that follows: a configuration that takes more to read must not take it from other pods.
fn validate_container(
    seen: &Observed<'_>,
    plan: &GatewayPlan,
    installation: &Installation,
    secrets: &[Value],
    mounts: &[Value],
) -> Value {
    let resources = &seen.group.spec.resources_settings;
    let arguments: Vec<String> = ["validate".to_owned()].into_iter().chain(plan.files.arguments()).collect();
    let mut environment = base_environment(installation);
    environment.push(json!({"name": "GOMEMLIMIT", "value": format!("{}MiB", resources.gomemlimit_mib)}));
    environment.extend_from_slice(secrets);
    json!({
        "name": "validate",
        "image": installation.gateway_image,
        "command": [installation.collector_command],
        "args": arguments,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": environment,
        "resources": objects::container_resources(resources),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    })
}

fn container(
    seen: &Observed<'_>,
    plan: &GatewayPlan,
    installation: &Installation,
    secrets: &[Value],
    mounts: &[Value],
) -> Value {
    let spec = &seen.group.spec;
    let resources = &spec.resources_settings;
    let mut environment = base_environment(installation);
    environment.push(json!({"name": "GOMEMLIMIT", "value": format!("{}MiB", resources.gomemlimit_mib)}));
    environment.push(json!({"name": "GOMAXPROCS", "valueFrom": {"resourceFieldRef": {
        "containerName": "gateway", "resource": "limits.cpu",
    }}}));
    if let Some(proxy) = spec.https_proxy_address.as_deref().filter(|proxy| !proxy.is_empty()) {
        let namespace = seen.namespace;
        environment.push(json!({"name": "HTTPS_PROXY", "value": proxy}));
        environment.push(json!({"name": "NO_PROXY", "value": format!(
            ".svc,.cluster.local,{namespace},kubernetes.default,$(KUBERNETES_SERVICE_HOST),ui.{namespace},odigos-victoriametrics.{namespace}"
        )}));
    }
    environment.extend(plan.variables.iter().map(|(name, value)| json!({"name": name, "value": value})));
    environment.extend_from_slice(secrets);
    let probe = json!({
        "httpGet": {"path": "/", "port": names::HEALTH_PORT},
        "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3, "successThreshold": 1,
    });
    let mut arguments = plan.files.arguments();
    if !plan.feature_gates.is_empty() {
        arguments.push(format!("--feature-gates={}", plan.feature_gates.join(",")));
    }
    let port = |name: &str, number: i64| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    let mut ports = vec![port("otlp-nodes", i64::from(names::NODE_OTLP_PORT))];
    if is_open(plan) {
        ports.extend(
            [("otlp", names::OTLP_GRPC_PORT), ("otlphttp", names::OTLP_HTTP_PORT)]
                .map(|(name, one)| port(name, i64::from(one))),
        );
    }
    let access = seen.metrics_access();
    if access.has_endpoint {
        ports.push(metrics_endpoint::container_port());
    }
    if access.is_plain {
        ports.push(port("metrics", i64::from(spec.collector_own_metrics_port)));
    }
    let mut container = json!({
        "name": "gateway",
        "image": installation.gateway_image,
        "command": [installation.collector_command],
        "args": arguments,
        // Its last words tell which destination it does not start with.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": environment,
        "ports": ports,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "resources": objects::container_resources(resources),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    });
    if seen.is_own_collector {
        let is_stored = workload_kind(seen, plan) == "StatefulSet";
        let draining = Draining {
            command: &installation.collector_command,
            metrics_port: spec.collector_own_metrics_port,
            least_seconds: FORGOTTEN_SECONDS,
            most_seconds: DRAINED_SECONDS,
            stored_queues_in: if is_stored { plan.files.paths() } else { Vec::new() },
        };
        container["lifecycle"] = draining.lifecycle();
    } else if installation.kubernetes_minor >= 30 {
        // Older clusters do not know the action.
        container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": FORGOTTEN_SECONDS}}});
    }
    container
}

/// Fewest and most gateways by the configuration.
#[must_use]
pub fn replica_bounds(resources: &ResourcesSettings) -> (i32, i32) {
    let bound = |value: Option<i32>, default: i32| value.filter(|v| *v > 0).unwrap_or(default);
    (bound(resources.min_replicas, 1), bound(resources.max_replicas, 10))
}

/// The autoscaler object in the newest API that the cluster serves (spec 6.1, A40–A41).
///
/// CPU and memory keep the targets of 6.1 (75 % of the CPU limit and of `GOMEMLIMIT`, which A4 states in numbers), not the 90 %
/// of memory that 6.2 (ours 7) would prefer: refusals are the first signal here and raise `minReplicas` by themselves
/// (`plan::scaling`), so that memory only decides how slowly gateways go again.
fn autoscaler(seen: &Observed<'_>, kind: &str, installation: &Installation, owner: &Value) -> Value {
    let resources = &seen.group.spec.resources_settings;
    let memory = mebibytes(i64::from(resources.gomemlimit_mib) * 75 / 100);
    let cpu = millicores(i64::from(resources.cpu_limit_millicores) * 75 / 100);
    let (least, most) = replica_bounds(resources);
    let version = match installation.kubernetes_minor {
        ..23 => "autoscaling/v2beta1",
        23..25 => "autoscaling/v2beta2",
        _ => "autoscaling/v2",
    };
    let old = version == "autoscaling/v2beta1";
    let resource = |name: &str, value: &str| {
        if old {
            json!({"type": "Resource", "resource": {"name": name, "targetAverageValue": value}})
        } else {
            json!({"type": "Resource", "resource": {"name": name, "target": {"type": "AverageValue", "averageValue": value}}})
        }
    };
    let mut metrics = vec![resource("memory", &memory), resource("cpu", &cpu)];
    if installation.rejection_metric && !old {
        metrics.insert(
            0,
            json!({"type": "Object", "object": {
                "metric": {"name": custom_metrics::METRIC},
                "describedObject": {"apiVersion": "apps/v1", "kind": kind, "name": deployment_name(seen)},
                "target": {"type": "Value", "value": "500m"},
            }}),
        );
    }
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": deployment_name(seen)},
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": metrics,
    });
    if !old {
        spec["behavior"] = json!({
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 900,
                "selectPolicy": "Min",
                "policies": [
                    {"type": "Pods", "value": 1, "periodSeconds": 60},
                    {"type": "Percent", "value": 25, "periodSeconds": 60},
                ],
            },
        });
    }
    json!({
        "apiVersion": version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": gateway_name(seen), "namespace": seen.namespace, "ownerReferences": owner},
        "spec": spec,
    })
}

/// At most one gateway pod is drained at a time; `minAvailable` would block drains of a single replica.
fn disruption_budget(seen: &Observed<'_>, owner: &Value) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": gateway_name(seen), "namespace": seen.namespace, "ownerReferences": owner},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": role_labels(seen)}},
    })
}
