//! What became stricter since the last version, and what existing objects need to go on as they are.
//!
//! Owns finding that in the cluster, and writing it: marks of Secrets, and values that allow types in use. Only objects that an older
//! release admitted are looked at: what came later was judged when it was written.

use super::cluster::{Cluster, Where, text};
use super::record::Record;
use crate::credentials::{self, Marking};
use odigos_api::API_VERSION;
use odigos_api::destination::Destination;
use odigos_plan::configuration::Configuration;
use odigos_plan::gateway::{allowed_types, secret_access};
use odigos_plan::processors::{Permission, permission};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is carried over.
#[derive(Debug, Default)]
pub(super) struct CarryOver {
    /// Secrets that are marked for the Destinations that read them.
    pub(super) markings: Vec<Marking>,
    /// Types of Destinations in use that are off by default.
    destinations: BTreeSet<String>,
    /// Types of Processors in use that are off by default.
    processors: BTreeSet<String>,
}

impl CarryOver {
    /// Looks for it.
    pub(super) async fn find(cluster: &Cluster, namespace: &str, before: Option<&Record>) -> anyhow::Result<Self> {
        let older: Vec<Destination> = credentials::read(&cluster.client, namespace, &[])
            .await?
            .into_iter()
            .filter(secret_access::is_older)
            .collect();
        let nothing = Configuration::default();
        let is_off = |one: &&Destination| allowed_types::problem(&nothing, &one.spec.type_).is_some();
        let destinations = older.iter().filter(is_off).map(|one| one.spec.type_.clone()).collect();
        let mut processors = BTreeSet::new();
        // With the policy, a type that is off was admitted before it: then its owner knows since.
        let has_policy = before.is_some_and(|record| {
            record.objects.iter().any(|one| one.kind == "ValidatingAdmissionPolicy" && one.name.contains("processors"))
        });
        if !has_policy {
            for processor in cluster.list(API_VERSION, "Processor", Where::namespace(namespace)).await? {
                let Ok(spec) = serde_json::from_value(processor.get("spec").cloned().unwrap_or_default()) else {
                    continue;
                };
                if Permission::default().allows(&spec).is_err() {
                    processors.insert(text(&processor, "/spec/type").to_owned());
                }
            }
        }
        let markings = credentials::markings(&cluster.client, namespace, &older).await?;
        Ok(Self { markings, destinations, processors })
    }

    /// Adds the types in use to the lists of the values.
    pub(super) fn extend(&self, values: &mut Value) {
        for (path, types) in [(allowed_types::PATH, &self.destinations), (permission::TYPES_PATH, &self.processors)] {
            let Some((block, key)) = path.split_once('.').filter(|_| !types.is_empty()) else { continue };
            let pointer = format!("/config/{block}/{key}");
            let listed = values.pointer(&pointer).and_then(Value::as_array).cloned().unwrap_or_default();
            let mut all: Vec<Value> = listed;
            for one in types {
                if !all.iter().any(|listed| listed == one) {
                    all.push(json!(one));
                }
            }
            *values = odigos_chart::overlay(values.take(), &json!({"config": {block: {key: all}}}));
        }
    }

    /// Marks the Secrets.
    pub(super) async fn apply(&self, cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
        for marking in &self.markings {
            credentials::apply(&cluster.client, namespace, marking).await?;
        }
        Ok(())
    }

    /// Lines for people, one for each Secret.
    pub(super) fn lines(&self, namespace: &str) -> Vec<String> {
        let line = |one: &Marking| {
            let names: Vec<&str> = one.destinations.iter().map(String::as_str).collect();
            format!("Secret {namespace}/{} is marked for the Destinations {}", one.secret, names.join(", "))
        };
        self.markings.iter().map(line).collect()
    }
}
