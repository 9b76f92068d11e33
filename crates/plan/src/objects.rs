//! Desired objects as the appliers take them, and the small shapes they share.
//!
//! Owns the order in which objects are applied and the naming of immutable configuration (design 5); what is in it is decided in
//! [`crate::config_files`]. Never talks to a cluster.

use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::labels::CONFIG_DIGEST;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One object to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Position in the apply order; lower comes first.
    pub rank: Rank,
    /// The object, with `apiVersion`, `kind` and `metadata`, and only the fields that the writer owns.
    pub object: Value,
}

/// The apply order: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// ConfigMaps that others name.
    ConfigurationPart,
    /// ConfigMaps.
    Configuration,
    /// Services.
    Network,
    /// Deployments and DaemonSets.
    Workload,
    /// Autoscalers and disruption budgets.
    Scaling,
    /// Custom resources.
    Custom,
}

/// Versions of a collector's configuration that are kept, the one that serves among them.
pub const KEPT_VERSIONS: usize = 3;

/// The versions that are deleted once every pod runs `current`, which need not be among them: all but the newest. Each has the time at
/// which it was created, as Kubernetes writes it.
#[must_use]
pub fn superseded_versions(current: &str, versions: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut others: Vec<(String, String)> = versions.into_iter().filter(|(name, _)| name != current).collect();
    others.sort_by(|(_, one), (_, other)| other.cmp(one));
    others.into_iter().skip(KEPT_VERSIONS - 1).map(|(name, _)| name).collect()
}

impl Desired {
    /// `Kind namespace/name`, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        title(&self.object)
    }
}

/// `Kind namespace/name` of an object.
#[must_use]
pub fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/metadata/namespace") {
        "" => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

/// The first `digits` hexadecimal digits of SHA-256 over `content`; 64 are all.
#[must_use]
pub fn hash(content: impl AsRef<[u8]>, digits: usize) -> String {
    let digest = Sha256::digest(content);
    let mut hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// An owner reference to a CollectorsGroup, or none when its uid is not known (rendering without a cluster).
#[must_use]
pub fn owner(name: &str, uid: Option<&str>) -> Value {
    match uid {
        Some(uid) => json!([{
            "apiVersion": odigos_api::API_VERSION,
            "kind": "CollectorsGroup",
            "name": name,
            "uid": uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }]),
        None => json!([]),
    }
}

/// A memory quantity in its canonical form: `1024` MiB prints as `1Gi`.
#[must_use]
pub fn mebibytes(amount: i64) -> String {
    if amount != 0 && amount % 1024 == 0 { format!("{}Gi", amount / 1024) } else { format!("{amount}Mi") }
}

/// A CPU quantity in its canonical form: `1000` millicores print as `1`.
#[must_use]
pub fn millicores(amount: i64) -> String {
    if amount % 1000 == 0 { (amount / 1000).to_string() } else { format!("{amount}m") }
}

/// Requests and limits of the containers of a collector.
#[must_use]
pub fn container_resources(resources: &ResourcesSettings) -> Value {
    json!({
        "requests": {
            "cpu": millicores(i64::from(resources.cpu_request_millicores)),
            "memory": mebibytes(i64::from(resources.memory_request_mib)),
        },
        "limits": {
            "cpu": millicores(i64::from(resources.cpu_limit_millicores)),
            "memory": mebibytes(i64::from(resources.memory_limit_mib)),
        },
    })
}

/// Name of the immutable ConfigMap that holds this configuration: the text decides it, so it tells what a pod runs.
#[must_use]
pub fn configuration_version(name: &str, text: &str) -> String {
    version_name(name, &hash(text, 64))
}

/// The same by the SHA-256 of the content.
#[must_use]
pub fn version_name(name: &str, digest: &str) -> String {
    format!("{name}-{}", digest.get(..32).unwrap_or(digest))
}

/// Bytes that one object of a user may add to a configuration: sixteen of this size leave room for the rest.
pub const OBJECT_LIMIT: usize = 64 * 1024;

/// Why one object would take too much of what all share, if so; `size` is what it adds, in bytes.
#[must_use]
pub fn object_size_problem(size: usize) -> Option<String> {
    (size > OBJECT_LIMIT).then(|| {
        format!(
            "it adds {} KiB to the configuration that all share, and one object may add {} KiB; shorten it",
            size / 1024,
            OBJECT_LIMIT / 1024
        )
    })
}

/// Whether an immutable object that exists was written from other content than `desired`, which its name does not exclude.
#[must_use]
pub fn has_other_content(desired: &Value, live: &Value) -> bool {
    let digest = |object: &Value| object.pointer("/metadata/annotations")?.get(CONFIG_DIGEST).cloned();
    desired.get("immutable").is_some() && digest(desired) != digest(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_versions_of_a_configuration_are_kept() {
        let version = |name: &str, day: u8| (name.to_owned(), format!("2026-01-{day:02}T00:00:00Z"));
        let all = || [version("a", 1), version("b", 2), version("c", 3), version("d", 4)];
        assert_eq!(superseded_versions("d", all()), ["a"]);
        assert_eq!(superseded_versions("new", all()), ["b", "a"]);
        assert_eq!(superseded_versions("a", all()), ["b"], "a version may come back");
        assert_eq!(superseded_versions("new", all().into_iter().skip(2)), [] as [&str; 0]);
    }

    #[test]
    fn version_of_other_content_is_recognised() {
        let version = |text: &str| {
            json!({
                "immutable": true,
                "metadata": {"name": configuration_version("odigos-gateway", text), "annotations": {CONFIG_DIGEST: hash(text, 64)}},
            })
        };
        let (mine, mut other) = (version("a"), version("b"));
        other["metadata"]["name"] = mine["metadata"]["name"].clone();
        assert!(!has_other_content(&mine, &mine) && has_other_content(&mine, &other));
        other["metadata"]["annotations"] = json!({});
        assert!(has_other_content(&mine, &other), "another client made it");
        let name = mine["metadata"]["name"].as_str().unwrap();
        assert_eq!(name.len(), "odigos-gateway-".len() + 32);
    }

    #[test]
    fn quantities_are_canonical() {
        let cases = [(0, "0Mi"), (440, "440Mi"), (1024, "1Gi"), (1536, "1536Mi"), (2048, "2Gi")];
        for (amount, text) in cases {
            assert_eq!(mebibytes(amount), text);
        }
        for (amount, text) in [(0, "0"), (250, "250m"), (1000, "1"), (1250, "1250m")] {
            assert_eq!(millicores(amount), text);
        }
    }
}
