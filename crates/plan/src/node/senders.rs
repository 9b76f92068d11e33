//! Whose an item is: the pod at the other end of the connection, whatever the item says of itself.
//!
//! Owns the processors that every pipeline of a node starts with. What an item says counts in three cases: its pipeline takes
//! only what the collector reads itself ([`Origin::Read`]), it comes from the product's agent on the node (which instruments Go in
//! other pods), or from the address of the node, where it may name a pod of this node that has that address too. Never decides
//! what a class means.

use crate::collector::STRIP_CLASS;
use crate::workload::OWNER_LABELS;
use odigos_api::labels::{CRON_JOB, STREAM_CLASS, STREAM_CLASS_ATTRIBUTE};
use odigos_api::names;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Value, json};

/// Sets aside which pod an item claims to be of.
const CLAIMS: &str = "transform/claims";
/// Finds the pod of the connection.
const CONNECTION: &str = "k8s_attributes/connection";
/// Decides which of both counts.
const SENDERS: &str = "transform/senders";
/// Reads what is known of that pod, its class above all.
const POD: &str = "k8s_attributes";

const UID: &str = "k8s.pod.uid";
const NAMESPACE: &str = "k8s.namespace.name";
const NAME: &str = "k8s.pod.name";
const ADDRESS: &str = "k8s.pod.ip";
/// What is claimed; who the sender is; why a claim counts; where the node's own network is.
const CLAIMED_UID: &str = "odigos.claimed.uid";
const CLAIMED_NAMESPACE: &str = "odigos.claimed.namespace";
const CLAIMED_NAME: &str = "odigos.claimed.name";
const SENDER: &str = "odigos.sender";
const TRUST: &str = "odigos.trust";
const NODE_ADDRESS: &str = "odigos.node.ip";
/// The pod and its workload, by any name that k8s_attributes gives them.
const IDENTITY: &str = r"^k8s\.(pod\.(name|uid|hostname|start_time)|namespace\.name|(replicaset|deployment|statefulset|daemonset|job|cronjob)\.name)$";
/// The workload of an item, in the product's own words: never what the item says ([`super::identity`]).
pub(super) const WORKLOAD_KIND: &str = "odigos.workload.kind";
pub(super) const WORKLOAD_NAME: &str = "odigos.workload.name";
/// The ReplicaSet of a pod, which tells the name of a Rollout; items keep it only where they have brought it.
pub(super) const REPLICA_SET: &str = "k8s.replicaset.name";
const BROUGHT_REPLICA_SET: &str = "odigos.brought.replicaset";
/// What a pod itself tells of owners that k8s_attributes does not know: the hash of a Rollout, the name of a DeploymentConfig, and of
/// the CronJob that a Job was made from by hand.
pub(super) const ROLLOUT_HASH: &str = "odigos.owner.rollout";
pub(super) const DEPLOYMENT_CONFIG: &str = "odigos.owner.deploymentconfig";
pub(super) const CRON_JOB_NAME: &str = "odigos.owner.cronjob";

/// Where a pipeline has its items from. One with both kinds could not tell them apart: not every connection has an address (by
/// HTTP, a link-local one of IPv6 has none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Anybody who reaches the receiver.
    Sent,
    /// The collector's own reading of files and of the kubelet, which name pods by what the node says.
    Read,
}

impl Origin {
    /// The processors, in the order in which they stand.
    pub(super) const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Sent => &[STRIP_CLASS, CLAIMS, CONNECTION, SENDERS, POD],
            Self::Read => &[STRIP_CLASS, POD],
        }
    }
}

/// Adds them.
pub(super) fn add(config: &mut CollectorConfig, namespace: &str) {
    let delete = |key: &str| json!({"key": key, "action": "delete"});
    let node = json!({"key": NODE_ADDRESS, "action": "upsert", "value": "${env:NODE_IP}"});
    let own = [
        STREAM_CLASS_ATTRIBUTE,
        ADDRESS,
        CLAIMED_UID,
        CLAIMED_NAMESPACE,
        CLAIMED_NAME,
        SENDER,
        TRUST,
        WORKLOAD_KIND,
        WORKLOAD_NAME,
        BROUGHT_REPLICA_SET,
        ROLLOUT_HASH,
        DEPLOYMENT_CONFIG,
        CRON_JOB_NAME,
    ];
    let actions: Vec<Value> = own.map(delete).into_iter().chain([node]).collect();
    config.add(ComponentKind::Processor, STRIP_CLASS, json!({"attributes": actions}));
    config.add(ComponentKind::Processor, CLAIMS, transform(&claims()));
    let connection = json!([{"sources": [{"from": "connection"}]}]);
    let metadata = json!([UID, NAMESPACE, ADDRESS]);
    let labels = json!([{"tag_name": SENDER, "key": "app.kubernetes.io/name", "from": "pod"}]);
    config.add(ComponentKind::Processor, CONNECTION, attributes(&metadata, &labels, &json!([]), &connection));
    config.add(ComponentKind::Processor, SENDERS, transform(&senders(namespace)));
    let from = |name: &str| json!({"from": "resource_attribute", "name": name});
    let named = json!([{"sources": [from(UID)]}, {"sources": [from("k8s.pod.name"), from(NAMESPACE)]}]);
    let metadata = json!([
        NAMESPACE,
        "k8s.pod.name",
        UID,
        ADDRESS,
        REPLICA_SET,
        "k8s.deployment.name",
        "k8s.statefulset.name",
        "k8s.daemonset.name",
        "k8s.job.name",
        "k8s.cronjob.name",
        "service.name",
    ]);
    let from_pod = |tag: &str, key: &str| json!({"tag_name": tag, "key": key, "from": "pod"});
    let [_, hash, deployment_config] = OWNER_LABELS;
    let labels = json!([
        from_pod(STREAM_CLASS_ATTRIBUTE, STREAM_CLASS),
        from_pod(ROLLOUT_HASH, hash),
        from_pod(DEPLOYMENT_CONFIG, deployment_config),
    ]);
    let annotations = json!([from_pod(CRON_JOB_NAME, CRON_JOB)]);
    config.add(ComponentKind::Processor, POD, attributes(&metadata, &labels, &annotations, &named));
}

/// Pods of this node only, nothing else is watched.
fn attributes(metadata: &Value, labels: &Value, annotations: &Value, association: &Value) -> Value {
    let mut settings = json!({
        "auth_type": "serviceAccount",
        "passthrough": false,
        // Items of the first second must not be routed without their class.
        "wait_for_metadata": true,
        "filter": {"node_from_env_var": "NODE_NAME"},
        "extract": {"metadata": metadata, "labels": labels},
        "pod_association": association,
    });
    if annotations.as_array().is_some_and(|all| !all.is_empty()) {
        settings["extract"]["annotations"] = annotations.clone();
    }
    settings
}

fn transform(statements: &[Statement]) -> Value {
    let statements: Vec<String> = statements.iter().map(ToString::to_string).collect();
    let group = json!([{"context": "resource", "statements": statements}]);
    json!({"error_mode": "ignore", "trace_statements": group, "metric_statements": group, "log_statements": group})
}

fn attribute(key: &str) -> Expression {
    Path::keyed("attributes", key).into()
}

fn is(key: &str, value: impl Into<Expression>) -> Condition {
    Condition::Equal(attribute(key), value.into())
}

fn is_there(key: &str) -> Condition {
    Condition::NotEqual(attribute(key), Expression::Nil)
}

fn set(key: &str, value: impl Into<Expression>, condition: Condition) -> Statement {
    Statement { editor: "set", arguments: vec![attribute(key), value.into()], condition: Some(condition) }
}

fn delete(pattern: &str, condition: Option<Condition>) -> Statement {
    let arguments = vec![Path::field("attributes").into(), pattern.into()];
    Statement { editor: "delete_matching_keys", arguments, condition }
}

fn claims() -> [Statement; 5] {
    [
        set(CLAIMED_UID, attribute(UID), is_there(UID)),
        set(CLAIMED_NAMESPACE, attribute(NAMESPACE), is_there(NAMESPACE)),
        set(CLAIMED_NAME, attribute(NAME), is_there(NAME)),
        set(BROUGHT_REPLICA_SET, "true", is_there(REPLICA_SET)),
        delete(r"^k8s\.(pod\.uid|namespace\.name)$", None),
    ]
}

fn senders(namespace: &str) -> Vec<Statement> {
    let is_agent = Condition::All(vec![
        is(SENDER, names::AGENT_SERVICE),
        is(NAMESPACE, namespace),
        Condition::Any(vec![
            is_there(CLAIMED_UID),
            Condition::All(vec![is_there(CLAIMED_NAME), is_there(CLAIMED_NAMESPACE)]),
        ]),
    ]);
    // Any other address that is no pod's may be a pod's of another node, or come from outside.
    let is_of_node = Condition::All(vec![
        Condition::Any(vec![is(ADDRESS, attribute(NODE_ADDRESS)), is(ADDRESS, "127.0.0.1"), is(ADDRESS, "::1")]),
        is(UID, Expression::Nil),
        is_there(CLAIMED_UID),
    ]);
    let counts = || Condition::Any(vec![is(TRUST, "agent"), is(TRUST, "node")]);
    vec![
        set(TRUST, "agent", is_agent),
        set(TRUST, "node", is_of_node),
        delete(IDENTITY, Some(counts())),
        // What the connection tells stays; names follow from it.
        delete(
            &IDENTITY.replace("name|uid", "name").replace(r"namespace\.name|", ""),
            Some(is(TRUST, Expression::Nil)),
        ),
        set(UID, attribute(CLAIMED_UID), counts()),
        // What a process knows of its pod is its name: so says the agent of processes that are instrumented from outside.
        set(
            NAMESPACE,
            attribute(CLAIMED_NAMESPACE),
            Condition::All(vec![is(TRUST, "agent"), is_there(CLAIMED_NAMESPACE)]),
        ),
        set(NAME, attribute(CLAIMED_NAME), Condition::All(vec![is(TRUST, "agent"), is_there(CLAIMED_NAME)])),
        delete(r"^(k8s\.pod\.ip|odigos\.(sender|claimed\..*))$", None),
    ]
}

/// What the pod that was found tells of a claim: one from the node's own network counts for a pod that uses it. Removes what
/// only these processors need.
pub(super) fn judgement() -> Vec<Statement> {
    let is_false =
        Condition::All(vec![is(TRUST, "node"), Condition::NotEqual(attribute(ADDRESS), attribute(NODE_ADDRESS))]);
    let named = IDENTITY.trim_start_matches('^').trim_end_matches('$');
    let class = STREAM_CLASS_ATTRIBUTE.replace('.', r"\.");
    vec![
        delete(&format!("^({named}|{class})$"), Some(is_false)),
        delete(r"^(k8s\.pod\.ip|odigos\.(trust|node\.ip))$", None),
    ]
}

/// Removes what only the workload was told by.
pub(super) fn rest() -> Vec<Statement> {
    vec![
        delete(r"^k8s\.replicaset\.name$", Some(is(BROUGHT_REPLICA_SET, Expression::Nil))),
        delete(r"^odigos\.(brought|owner)\..*", None),
    ]
}
