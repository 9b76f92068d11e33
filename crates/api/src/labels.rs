//! Labels, annotations, finalizers and resource attributes that carry meaning between the binaries.

use std::collections::{BTreeMap, BTreeSet};

/// Prefix of the label key that puts a Source into a data stream.
pub const STREAM_PREFIX: &str = "odigos.io/data-stream-";
/// Longest name part of a label key.
const LABEL_NAME_LIMIT: usize = 63;
/// How many stream labels a Source may have.
pub const STREAM_LABEL_LIMIT: usize = 16;
/// The stream of everything that names none.
pub const DEFAULT_STREAM: &str = "default";
/// Label key that puts a Source into the default stream.
pub const DEFAULT_STREAM_LABEL: &str = "odigos.io/data-stream-default";
/// Label of InstrumentationConfigs and pods: the stream class that the gateway routes by (design 4).
pub const STREAM_CLASS: &str = "odigos.io/stream-class";
/// Resource attribute that carries the stream class from the node collector to the gateway.
pub const STREAM_CLASS_ATTRIBUTE: &str = "odigos.stream.class";

/// Label of InstrumentationConfigs, `"true"`: a rule switches the metrics of the workload off.
pub const METRICS_OFF: &str = "odigos.io/metrics-disabled";
/// Label of InstrumentationConfigs, `"true"`: a rule switches the logs of the workload off.
pub const LOGS_OFF: &str = "odigos.io/logs-disabled";

/// Label of Secrets, `"true"`: Destinations may read it, those that [`SECRET_DESTINATIONS`] names.
pub const DESTINATION_SECRET: &str = "odigos.io/destination-secret";
/// Annotation of such Secrets: names of Destinations, separated by commas; `*` means all.
pub const SECRET_DESTINATIONS: &str = "odigos.io/destinations";
/// Annotation of Destinations that admission alone sets: whether who wrote the specification may read the Secret that it names
/// (`granted:NAME`, `denied:NAME`), or that it names none (`none`).
pub const SECRET_ACCESS: &str = "odigos.io/secret-access";

/// Name of the workload that a Source selects; absent for patterns.
pub const WORKLOAD_NAME: &str = "odigos.io/workload-name";
/// Namespace of the workload that a Source selects.
pub const WORKLOAD_NAMESPACE: &str = "odigos.io/workload-namespace";
/// Kind of the workload that a Source selects.
pub const WORKLOAD_KIND: &str = "odigos.io/workload-kind";

/// Finalizer of older releases, which kept a Source until its workloads were un-instrumented. It is removed wherever it is found.
pub const SOURCE_FINALIZER: &str = "odigos.io/source-instrumentation-finalizer";
/// Finalizers of still older releases; removed as well.
pub const DEPRECATED_SOURCE_FINALIZERS: [&str; 2] =
    ["odigos.io/source-startlangdetection-finalizer", "odigos.io/source-deleteinstrumentationconfig-finalizer"];

/// Whether a finalizer of a Source is one of ours.
#[must_use]
pub fn is_source_finalizer(name: &str) -> bool {
    name == SOURCE_FINALIZER || DEPRECATED_SOURCE_FINALIZERS.contains(&name)
}

/// Asks for another attempt after an automatic rollback; RFC 3339 time.
pub const ROLLBACK_RECOVERY: &str = "odigos.io/rollback-recovery";
/// The last recovery time that was acted on.
pub const ROLLBACK_RECOVERY_PROCESSED: &str = "odigos.io/rollback-recovery-processed";
/// Pod label: hash of the agents that admission injected.
pub const AGENTS_META_HASH: &str = "odigos.io/agents-meta-hash";
/// Pod annotation: the cluster-wide settings that its agents were started with, as JSON of paths and digests.
pub const CLUSTER_INPUTS: &str = "odigos.io/cluster-inputs";

/// On InstrumentationInstances: name of the InstrumentationConfig of their workload, as [`value`] cuts it.
pub const INSTRUMENTED_APP: &str = "instrumented-app";
/// On InstrumentationInstances: name of their pod, as [`value`] cuts it.
pub const OWNER_POD_NAME: &str = "ownerPodName";

/// A name as values of labels take it: 63 characters, the last one a letter or a digit.
#[must_use]
pub fn value(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(|one: char| !one.is_ascii_alphanumeric()).to_owned()
}

/// Label of Secrets with a certificate for a reader of collectors' metrics, which `odigos certificates reader` writes.
pub const METRICS_READER: &str = "odigos.io/metrics-reader";
/// Label of collector pods, Deployments and DaemonSets.
pub const COLLECTOR_ROLE: &str = "odigos.io/collector-role";
/// Value of that label for gateways of dedicated pools: selectors of the main gateway must not find them.
pub const POOL_ROLE: &str = "CLUSTER_GATEWAY_POOL";
/// Label of everything that belongs to a dedicated pool of gateways: the pool's name.
pub const GATEWAY_POOL: &str = "odigos.io/gateway-pool";
/// Label of gateway pods that take items. The autoscaler removes it from a pod that is going, so that node collectors that
/// keep traces together forget the pod while it still listens.
pub const TAKES_ITEMS: &str = "odigos.io/takes-items";
/// Pod template annotation: digest over the values of the Secrets that the collector reads.
pub const SECRETS_HASH: &str = "odigos.io/config-hash";
/// Annotation of the gateway's HorizontalPodAutoscaler while it asks for more gateways than the configuration does: JSON with
/// `minReplicas` and `until` (RFC 3339).
pub const SCALING_HINT: &str = "odigos.io/scaling-hint";
/// Annotation of the gateway's HorizontalPodAutoscaler while memory is not one of its metrics: the condition that is the reason.
pub const MEMORY_LEFT_OUT: &str = "odigos.io/memory-left-out";
/// Label of immutable ConfigMaps: the stable name that the ConfigMap is a version of.
pub const CONFIG_OF: &str = "odigos.io/config-of";
/// Annotation of immutable ConfigMaps: SHA-256 of the whole configuration, of which their name holds the beginning.
pub const CONFIG_DIGEST: &str = "odigos.io/config-digest";
/// Label of immutable ConfigMaps that hold a further file of a configuration that one cannot hold.
pub const CONFIG_PART: &str = "odigos.io/config-part";
/// Annotation of a collector's ConfigMap: names of those with the further files, in their order, separated by commas.
pub const CONFIG_PARTS: &str = "odigos.io/config-parts";
/// Label on CRDs and objects that the control plane owns.
pub const SYSTEM_OBJECT: &str = "odigos.io/system-object";
/// Annotation of Actions that were made of an object of an older release: kind and name of that.
pub const MIGRATED_FROM: &str = "odigos.io/migrated-from";
/// Label of objects that a profile brought.
pub const MANAGED_BY: &str = "odigos.io/managed-by";
/// Label of DataStreams that exist only because a label or a selector names them.
pub const IMPLICIT_STREAM: &str = "odigos.io/implicit";

/// The label key that puts a Source into `stream`.
#[must_use]
pub fn stream_label(stream: &str) -> String {
    format!("{STREAM_PREFIX}{stream}")
}

/// Why no workload can be in a stream of this name: no label key can carry it. `None` for every other name.
#[must_use]
pub fn stream_name_problem(stream: &str) -> Option<String> {
    let key = stream_label(stream);
    let name = key.split_once('/').map_or(key.as_str(), |(_, name)| name);
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let problem = if stream.is_empty() {
        "it is empty"
    } else if !stream.chars().all(is_legal) {
        "only letters, digits, -, _ and . may stand in it"
    } else if !stream.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        "it must end with a letter or a digit"
    } else if name.len() > LABEL_NAME_LIMIT {
        "it is longer than 51 characters"
    } else {
        return None;
    };
    Some(format!("no workload can be in the data stream {stream:?}, since no label key can carry its name: {problem}"))
}

/// The one reader of labels that switch something: `"true"` and `"false"`, and nothing else.
#[must_use]
pub fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// What is wrong with the value of a label that switches something; `None` for one that [`flag`] reads.
#[must_use]
pub fn flag_problem(key: &str, value: &str) -> Option<String> {
    flag(value)
        .is_none()
        .then(|| format!("the label {key} is {value:?}; write \"true\" or \"false\", in lower case and quoted"))
}

/// What is wrong with the stream labels among `labels`, by key. One that is neither true nor false, or names no stream, joins none.
#[must_use]
pub fn stream_label_problems(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = labels.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(STREAM_PREFIX)?, value)));
    let problem = |key: &str, stream: &str, value: &str| match stream {
        "" => Some(format!("the label {key} names no data stream; write {STREAM_PREFIX}<name>: \"true\"")),
        stream => stream_name_problem(stream).or_else(|| flag_problem(key, value)),
    };
    own.filter_map(|(key, stream, value)| Some((key.clone(), problem(key, stream, value)?))).collect()
}

/// The stream labels among `labels`, keyed by stream name; the value says whether it is exactly `"true"`.
#[must_use]
pub fn stream_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
    labels
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(STREAM_PREFIX)?.to_owned(), flag(value) == Some(true))))
        .collect()
}

/// The streams that `labels` join: stream labels whose value is exactly `"true"`, and whose name a label can carry.
#[must_use]
pub fn streams(labels: &BTreeMap<String, String>) -> BTreeSet<String> {
    let joined = stream_labels(labels).into_iter().filter_map(|(stream, joined)| joined.then_some(stream));
    joined.filter(|stream| stream_name_problem(stream).is_none()).collect()
}

/// Annotation of a pod of a Job that a person made from a CronJob: the name of that CronJob. Admission writes it, and removes any
/// other.
pub const CRON_JOB: &str = "odigos.io/cron-job";
/// Annotation of a collector's workload whose rollout is held, with the reason.
pub const ROLLOUT_HELD: &str = "odigos.io/rollout-held";
/// Annotation of node collectors' pods: hash of the authorities whose gateways they trust.
pub const AUTHORITIES: &str = "odigos.io/collector-authorities";
/// Node: it holds the agents' files.
pub const PREPARED_NODE: &str = "odigos.io/odiglet-oss-installed";
/// Label of pods that look at processes once, where nodes have no agent.
pub const DETECTION_POD: &str = "odigos.io/detection-pod";
/// Annotation of such a pod: what it shall look at, as JSON.
pub const DETECTION_REQUEST: &str = "odigos.io/detection-request";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_switch_are_true_or_false() {
        assert_eq!((flag("true"), flag("false")), (Some(true), Some(false)));
        for other in ["True", "TRUE", "yes", "1", "", " true", "on", "False", "no", "0"] {
            assert_eq!(flag(other), None, "{other:?}");
            let labels =
                BTreeMap::from([(stream_label("a"), other.to_owned()), (stream_label("b"), "true".to_owned())]);
            let problems = stream_label_problems(&labels);
            assert_eq!(problems.len(), 1, "{other:?}");
            assert!(problems[0].1.contains("odigos.io/data-stream-a") && problems[0].1.contains(&format!("{other:?}")));
            assert_eq!(streams(&labels), ["b".to_owned()].into());
        }
    }

    #[test]
    fn label_that_names_no_stream_joins_none() {
        for stream in ["", "shop-", "a b"] {
            let labels = BTreeMap::from([(stream_label(stream), "true".to_owned())]);
            assert_eq!(streams(&labels), BTreeSet::new(), "{stream:?}");
            assert_eq!(stream_label_problems(&labels).len(), 1, "{stream:?}");
        }
        let empty = BTreeMap::from([(stream_label(""), "true".to_owned())]);
        assert!(stream_label_problems(&empty)[0].1.contains("names no data stream"));
    }

    #[test]
    fn stream_names_are_those_that_a_label_key_can_carry() {
        for good in ["default", "A_b.c-1", "-x", &"a".repeat(51)] {
            assert_eq!(stream_name_problem(good), None, "{good}");
        }
        for bad in ["", "team/shop", "\u{fc}nicode", "shop ", "shop-", "a b", &"a".repeat(52)] {
            assert!(stream_name_problem(bad).is_some_and(|said| said.contains(&format!("{bad:?}"))), "{bad}");
        }
    }
}
