//! Which container logs of a node are read: one link for each container of a covered pod, in the shape of `/var/log/pods`.
//!
//! Owns the decision behind design 4.5 and `spec/collectors-and-pipelines.md` 5.6 in our form: exact owners instead of
//! name prefixes, containers instead of pods, and no collector configuration that grows with workloads. The agent makes
//! the links; the node collector tails one static pattern over them.

use crate::name_pattern::NamePatterns;
use odigos_api::labels::STREAM_CLASS;
use serde_json::Value;
use std::collections::BTreeSet;

/// A link that the agent keeps: `<links>/<pod>/<container>` → `<logs>/<pod>/<container>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The pod's directory, `<namespace>_<name>_<uid>` as the kubelet names it.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// What of a pod decides about its logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodLogs {
    /// The pod's directory below `/var/log/pods`.
    pub directory: String,
    /// Its containers, init containers included: sidecars are among them.
    pub containers: Vec<String>,
    /// Whether its workload is covered: it carries a stream class.
    pub covered: bool,
}

impl PodLogs {
    /// Reads a Pod; `None` for an object without name, namespace or uid, or with one that no directory can have.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).filter(|text| is_plain(text));
        let annotations = pod.pointer("/metadata/annotations");
        // The kubelet names the directory of a static pod after the hash of its manifest, not after its mirror's uid.
        let hash =
            annotations.and_then(|all| all.get("kubernetes.io/config.hash")?.as_str()).filter(|one| is_plain(one));
        let uid = hash.or_else(|| text("/metadata/uid"))?;
        let directory = format!("{}_{}_{uid}", text("/metadata/namespace")?, text("/metadata/name")?);
        let names = |key: &str| {
            let containers = pod.pointer(key).and_then(Value::as_array).into_iter().flatten();
            containers.filter_map(|one| one.get("name")?.as_str().filter(|name| is_plain(name))).map(str::to_owned)
        };
        let containers = names("/spec/initContainers").chain(names("/spec/containers")).collect();
        let covered = pod.pointer("/metadata/labels").is_some_and(|labels| labels.get(STREAM_CLASS).is_some());
        Some(Self { directory, containers, covered })
    }
}

/// A name that stays one component of a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

/// The links of a node. `ignored` are containers that are never read (`ignoredContainers`); pods of `own_namespace` are
/// left out, since a collector that reads its own lines would never rest.
#[must_use]
pub fn links<'a>(
    pods: impl IntoIterator<Item = &'a PodLogs>,
    ignored: &NamePatterns,
    own_namespace: &str,
) -> BTreeSet<Link> {
    let own = format!("{own_namespace}_");
    let covered = pods.into_iter().filter(|pod| pod.covered && !pod.directory.starts_with(&own));
    let all = covered.flat_map(|pod| {
        let read = pod.containers.iter().filter(|name| !ignored.matches(name));
        read.map(|container| Link { pod: pod.directory.clone(), container: container.clone() })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, class: Option<&str>) -> Value {
        let mut pod = json!({
            "metadata": {"namespace": "shop", "name": name, "uid": "u-1", "labels": {}},
            "spec": {"initContainers": [{"name": "prepare"}], "containers": [{"name": "main"}, {"name": "istio-proxy"}]},
        });
        if let Some(class) = class {
            pod["metadata"]["labels"][STREAM_CLASS] = json!(class);
        }
        pod
    }

    #[test]
    fn covered_pods_are_read_container_by_container() {
        let pods: Vec<PodLogs> =
            [pod("api-1", Some("default")), pod("api-gateway-1", None)].iter().filter_map(PodLogs::of).collect();
        let ignored = ["istio*"].into_iter().collect();
        let names: Vec<(String, String)> =
            links(&pods, &ignored, "odigos-system").into_iter().map(|link| (link.pod, link.container)).collect();
        assert_eq!(
            names,
            [("shop_api-1_u-1".into(), "main".into()), ("shop_api-1_u-1".into(), "prepare".into())],
            "the workload whose name begins alike is not read"
        );
        assert!(links(&pods, &ignored, "shop").is_empty(), "our own pods are not read");
    }

    #[test]
    fn static_pods_are_found_under_their_manifest() {
        let mut object = pod("web-node1", Some("default"));
        object["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": "abc"});
        assert_eq!(PodLogs::of(&object).unwrap().directory, "shop_web-node1_abc");
    }

    #[test]
    fn no_name_leaves_the_directory() {
        let mut object = pod("a", Some("default"));
        object["spec"]["containers"] = json!([{"name": "../../etc"}, {"name": ".."}, {"name": ""}]);
        object["spec"]["initContainers"] = json!([]);
        assert!(PodLogs::of(&object).unwrap().containers.is_empty());
        object["metadata"]["name"] = json!("../x");
        assert_eq!(PodLogs::of(&object), None);
    }
}
