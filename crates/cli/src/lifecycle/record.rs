//! What is remembered about an installation: ConfigMap `odigos-deployment` in its namespace.
//!
//! Owns the values of the last installation, the defaults they stood on, and the list of everything that was applied, so
//! that an upgrade knows what has left the chart. Written before anything else is, so that an interrupted installation can
//! be upgraded or removed. Holds no secret: values have none.

use super::cluster::{Cluster, Reference, text};
use anyhow::Context;
use odigos_api::names;
use odigos_pipeline::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Where an installation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Something may still be missing.
    Installing,
    /// Everything was applied.
    Installed,
    /// Being taken away.
    Uninstalling,
}

impl Phase {
    /// The word in the record.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Uninstalling => "uninstalling",
        }
    }
}

/// An installation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Version of the chart.
    pub(super) version: String,
    /// Where it stands.
    pub(super) phase: Phase,
    /// Values that the user gave.
    pub(super) values: Value,
    /// Defaults of that version.
    pub(super) defaults: Value,
    /// What was, or may have been, applied.
    pub(super) objects: BTreeSet<Reference>,
    /// Defaults that became stricter, as far as this installation has been through the change ([`super::restored`]).
    pub(super) seen_defaults: BTreeSet<String>,
}

impl Record {
    /// Where the record is kept.
    pub(super) fn reference(namespace: &str) -> Reference {
        Reference::new("v1", "ConfigMap", namespace, names::DEPLOYMENT)
    }

    /// The record of a namespace; none when the tool has installed nothing there.
    pub(super) async fn read(cluster: &Cluster, namespace: &str) -> anyhow::Result<Option<Self>> {
        match cluster.get(&Self::reference(namespace)).await? {
            Some(object) if text(&object, "/data/method") == "cli" => Self::parse(&object).map(Some),
            _ => Ok(None),
        }
    }

    fn parse(object: &Value) -> anyhow::Result<Self> {
        let broken = || format!("failed to read the record of the installation, ConfigMap {}", names::DEPLOYMENT);
        let part = |key: &str| text(object, &format!("/data/{key}"));
        Ok(Self {
            version: part("version").to_owned(),
            phase: match part("phase") {
                "installed" => Phase::Installed,
                "uninstalling" => Phase::Uninstalling,
                _ => Phase::Installing,
            },
            values: serde_yaml::from_str(part("values.yaml")).with_context(broken)?,
            defaults: serde_yaml::from_str(part("defaults.yaml")).with_context(broken)?,
            objects: serde_json::from_str(part("objects.json")).with_context(broken)?,
            seen_defaults: match part("seenDefaults") {
                "" => BTreeSet::new(),
                list => list.split(',').map(str::to_owned).collect(),
            },
        })
    }

    /// Writes the record.
    pub(super) async fn write(&self, cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": names::DEPLOYMENT, "namespace": namespace,
                "labels": {"app.kubernetes.io/part-of": "odigos", "app.kubernetes.io/managed-by": super::MANAGER},
            },
            "data": {
                "method": "cli", "version": self.version, "phase": self.phase.word(),
                "values.yaml": yaml::to_string(&self.values), "defaults.yaml": yaml::to_string(&self.defaults),
                "objects.json": serde_json::to_string(&self.objects)?,
                "seenDefaults": self.seen_defaults.iter().cloned().collect::<Vec<_>>().join(","),
            },
        });
        cluster.apply(&object, false).await.map(drop)
    }
}
