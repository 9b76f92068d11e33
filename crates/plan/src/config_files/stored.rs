//! Files of a configuration in the cluster: ConfigMaps, how a pod mounts them, and which of them are left over.
//!
//! A version is an immutable ConfigMap with the first file; annotation `odigos.io/config-parts` names the immutable ConfigMaps with the other
//! files, in their order. A part is named by its bytes, so versions share what did not change. One file has the form that it always had.
//! Owns these names. Never reads a cluster.

use super::ConfigFiles;
use crate::objects::{Desired, Rank, hash, superseded_versions, version_name};
use odigos_api::labels::{CONFIG_DIGEST, CONFIG_OF, CONFIG_PART, CONFIG_PARTS};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Directory of the mounted files.
pub const DIRECTORY: &str = "/etc/odigos/collector";

/// Names of a collector's ConfigMaps.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The stable ConfigMap; versions and parts begin with it.
    pub name: &'a str,
    /// Namespace of the control plane.
    pub namespace: &'a str,
    /// Key of the file in each ConfigMap.
    pub key: &'a str,
}

impl ConfigFiles {
    /// SHA-256 of the whole: of one file that of its bytes.
    fn digest(&self) -> String {
        match self.digests.as_slice() {
            [only] => only.clone(),
            several => hash(several.join("\n"), 64),
        }
    }

    /// Name of the version, which tells what a pod runs.
    #[must_use]
    pub fn version(&self, name: &str) -> String {
        version_name(name, &self.digest())
    }

    /// Names of the ConfigMaps with the further files.
    #[must_use]
    pub fn parts(&self, name: &str) -> Vec<String> {
        self.digests.iter().skip(1).map(|digest| version_name(name, digest)).collect()
    }

    /// Their ConfigMaps: the parts, then the stable one that always shows the current configuration, then the version that pods mount.
    #[must_use]
    pub fn objects(&self, names: Names<'_>, owner: &Value) -> Vec<Desired> {
        let Names { name, namespace, key } = names;
        let object = |name: &str, text: &str| {
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "ownerReferences": owner},
                "data": {key: text},
            })
        };
        let immutable = |own: &str, text: &str, digest: &str| {
            let mut object = object(own, text);
            object["immutable"] = json!(true);
            object["metadata"]["labels"] = json!({ CONFIG_OF: name });
            object["metadata"]["annotations"] = json!({ CONFIG_DIGEST: digest });
            object
        };
        let parts = self.parts(name);
        let mut all = Vec::new();
        for ((part, text), digest) in parts.iter().zip(self.texts().iter().skip(1)).zip(self.digests.iter().skip(1)) {
            let mut object = immutable(part, text, digest);
            object["metadata"]["labels"][CONFIG_PART] = json!("true");
            all.push(Desired { rank: Rank::ConfigurationPart, object });
        }
        let first = self.texts().first().map(String::as_str).unwrap_or_default();
        let mut stable = object(name, first);
        let mut version = immutable(&self.version(name), first, &self.digest());
        if !parts.is_empty() {
            stable["metadata"]["annotations"] = json!({ CONFIG_PARTS: parts.join(",") });
            version["metadata"]["annotations"][CONFIG_PARTS] = json!(parts.join(","));
        }
        all.extend([stable, version].map(|object| Desired { rank: Rank::Configuration, object }));
        all
    }

    /// The volume with all files. A pod starts when each of them is there.
    #[must_use]
    pub fn volume(&self, names: Names<'_>) -> Value {
        let items = |position: usize| json!([{"key": names.key, "path": file_name(position)}]);
        let version = self.version(names.name);
        let parts = self.parts(names.name);
        if parts.is_empty() {
            return json!({"name": "config", "configMap": {"name": version, "items": items(0)}});
        }
        let maps = [version].into_iter().chain(parts).enumerate();
        let sources: Vec<Value> =
            maps.map(|(position, name)| json!({"configMap": {"name": name, "items": items(position)}})).collect();
        json!({"name": "config", "projected": {"sources": sources}})
    }

    /// Paths of the files in the pod.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        (0..self.texts().len()).map(|position| format!("{DIRECTORY}/{}", file_name(position))).collect()
    }

    /// What tells the collector its files.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.paths().iter().map(|path| format!("--config={path}")).collect()
    }
}

fn file_name(position: usize) -> String {
    match position {
        0 => "config.yaml".to_owned(),
        more => format!("config-{more}.yaml"),
    }
}

/// The version that a volume of a pod, or of a pod template, holds.
#[must_use]
pub fn mounted_version(volume: &Value) -> Option<&str> {
    let single = volume.pointer("/configMap/name");
    single.or_else(|| volume.pointer("/projected/sources/0/configMap/name"))?.as_str()
}

/// The ConfigMaps with the further files of a version, as its annotations name them.
#[must_use]
pub fn parts_of(annotations: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let named = annotations.and_then(|all| all.get(CONFIG_PARTS)).map(String::as_str).unwrap_or_default();
    listed(named)
}

fn listed(names: &str) -> Vec<String> {
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// An immutable ConfigMap of a collector.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The stable name that it is of.
    pub of: String,
    /// Its name.
    pub name: String,
    /// When it was made, as Kubernetes writes it.
    pub created: String,
    /// Whether it holds a further file.
    pub is_part: bool,
    /// The parts of a version.
    pub parts: Vec<String>,
}

impl Kept {
    /// Reads the metadata of a ConfigMap; `None` where it is neither a version nor a part.
    #[must_use]
    pub fn of(metadata: &Value) -> Option<Self> {
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let labels = metadata.get("labels")?;
        Some(Self {
            of: labels.get(CONFIG_OF)?.as_str()?.to_owned(),
            name: text("name"),
            created: text("creationTimestamp"),
            is_part: labels.get(CONFIG_PART).is_some(),
            parts: listed(metadata["annotations"][CONFIG_PARTS].as_str().unwrap_or_default()),
        })
    }
}

/// Names of what is left over once every pod runs `current`, which need not be among all: versions but the newest, and the parts that none
/// of those has.
#[must_use]
pub fn superseded(all: &[Kept], current: &Kept) -> Vec<String> {
    let versions = || all.iter().filter(|one| !one.is_part);
    let old = superseded_versions(&current.name, versions().map(|one| (one.name.clone(), one.created.clone())));
    let kept = versions().filter(|one| !old.contains(&one.name));
    let used: BTreeSet<&String> = [current].into_iter().chain(kept).flat_map(|one| &one.parts).collect();
    let unused = all.iter().filter(|one| one.is_part && !used.contains(&one.name)).map(|one| one.name.clone());
    old.iter().cloned().chain(unused).collect()
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;
    use crate::objects::has_other_content;

    const NAMES: Names<'static> = Names { name: "odigos-gateway", namespace: "odigos-system", key: "k" };

    fn files(texts: &[&str]) -> ConfigFiles {
        ConfigFiles::new(texts.iter().map(|text| File { text: (*text).to_owned(), parts: Vec::new() }).collect())
    }

    fn objects(texts: &[&str]) -> Vec<Value> {
        files(texts).objects(NAMES, &json!([])).into_iter().map(|one| one.object).collect()
    }

    #[test]
    fn one_file_has_the_form_of_earlier_releases() {
        let text = "a: 1\n";
        let version = format!("odigos-gateway-{}", hash(text, 32));
        let [stable, versioned] = &objects(&[text])[..] else { panic!("two ConfigMaps") };
        assert_eq!(
            *stable,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odigos-gateway", "namespace": "odigos-system", "ownerReferences": []}, "data": {"k": text}})
        );
        assert_eq!(versioned["metadata"]["name"], json!(version));
        assert_eq!(versioned["metadata"]["labels"], json!({ CONFIG_OF: "odigos-gateway" }));
        assert_eq!(versioned["metadata"]["annotations"], json!({ CONFIG_DIGEST: hash(text, 64) }));
        let one = files(&[text]);
        let items = json!([{"key": "k", "path": "config.yaml"}]);
        assert_eq!(one.volume(NAMES), json!({"name": "config", "configMap": {"name": version, "items": items}}));
        assert_eq!(one.arguments(), ["--config=/etc/odigos/collector/config.yaml"]);
    }

    #[test]
    fn several_files_are_mounted_together_and_named_by_the_version() {
        let several = files(&["a: 1\n", "b: 2\n", "c: 3\n"]);
        let all = objects(&["a: 1\n", "b: 2\n", "c: 3\n"]);
        let names: Vec<&str> = all.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
        let parts = several.parts("odigos-gateway");
        assert_eq!(names, [parts[0].as_str(), &parts[1], "odigos-gateway", &several.version("odigos-gateway")]);
        let volume = several.volume(NAMES);
        assert_eq!(mounted_version(&volume), Some(several.version("odigos-gateway").as_str()));
        assert_eq!(volume["projected"]["sources"][2]["configMap"]["name"], json!(parts[1]));
        assert_eq!(several.arguments()[2], "--config=/etc/odigos/collector/config-2.yaml");
        for map in &all[2..] {
            let annotations = serde_json::from_value(map["metadata"]["annotations"].clone()).unwrap();
            assert_eq!(parts_of(Some(&annotations)), parts);
        }
        let other = objects(&["a: 1\n", "b: 2\n", "d: 4\n"]);
        assert_ne!(other[3]["metadata"]["name"], all[3]["metadata"]["name"], "another part is another version");
        assert_eq!(other[0], all[0], "what did not change is shared");
        assert!(has_other_content(&all[3], &other[3]));
    }

    #[test]
    fn parts_stay_as_long_as_a_kept_version_has_them() {
        let version = |name: &str, created: i64, parts: &[&str]| Kept {
            name: name.into(),
            created: created.to_string(),
            parts: parts.iter().map(ToString::to_string).collect(),
            ..Kept::default()
        };
        let part = |name: &str| Kept { name: name.into(), is_part: true, ..Kept::default() };
        let all = [
            version("v1", 1, &["p1", "p0"]),
            version("v2", 2, &["p1", "p2"]),
            version("v3", 3, &[]),
            version("v4", 4, &["p1", "p4"]),
            part("p0"),
            part("p1"),
            part("p2"),
            part("p4"),
            part("p5"),
        ];
        assert_eq!(superseded(&all, &all[3]), ["v1", "p0", "p5"]);
        assert_eq!(superseded(&all, &all[0]), ["v2", "p2", "p5"], "a version may come back");
        let new = version("v5", 5, &["p5"]);
        assert_eq!(superseded(&all, &new), ["v2", "v1", "p0", "p2"], "one that is not there yet");
    }
}
