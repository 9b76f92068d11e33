//! Values that keep what is in use where a default became stricter.
//!
//! Owns reading what the installation uses, and writing the values that `plan::stricter_defaults` names: values of the chart go
//! into the record of the installation, fields into the Destinations. Each row is looked at once: a person who takes a value
//! out again has decided. Never decides what is in use.

use super::cluster::{Cluster, Reference, Where, text};
use super::record::Record;
use anyhow::Context;
use odigos_api::{API_VERSION, labels, names};
use odigos_plan::configuration::Configuration;
use odigos_plan::metrics_readers;
use odigos_plan::stricter_defaults::{self, Restoration, Restored, Usage};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What is to be restored in an installation; `given` are the values of this command, which decide where they say something.
pub(super) async fn find(
    cluster: &Cluster,
    namespace: &str,
    record: &Record,
    given: &Value,
) -> anyhow::Result<Vec<Restoration>> {
    if stricter_defaults::ids().is_subset(&record.seen_defaults) {
        return Ok(Vec::new());
    }
    let map = cluster.get(&Reference::new("v1", "ConfigMap", namespace, names::CONFIGURATION)).await?;
    let document = map.as_ref().map(|map| text(map, "/data/config.yaml")).unwrap_or_default();
    let configuration = Configuration::parse(document)
        .map_err(|error| anyhow::anyhow!("failed to read ConfigMap {}: {error}", names::CONFIGURATION))?;
    let usage = Usage {
        configuration,
        sources: typed(cluster.list(API_VERSION, "Source", Where::default()).await?)?,
        destinations: typed(cluster.list(API_VERSION, "Destination", Where::namespace(namespace)).await?)?,
        configs: typed(cluster.list(API_VERSION, "InstrumentationConfig", Where::default()).await?)?,
        actions: typed(cluster.list(API_VERSION, "Action", Where::namespace(namespace)).await?)?,
        metrics_readers: metrics_readers(cluster, namespace, [&record.values, given]).await?,
    };
    let stated = odigos_chart::leaves(given);
    let is_stated = |restoration: &Restoration| match &restoration.restored {
        Restored::Value { path, .. } => stated.contains_key(*path),
        Restored::Destination { .. } | Restored::Begins { .. } => false,
    };
    let mut found = stricter_defaults::restorations(&record.seen_defaults, &usage);
    found.retain(|restoration| !is_stated(restoration));
    Ok(found)
}

/// Who reads metrics of collectors, as far as values and objects tell.
async fn metrics_readers(cluster: &Cluster, namespace: &str, values: [&Value; 2]) -> anyhow::Result<Vec<String>> {
    let named = values.into_iter().any(names_scrapers).then(|| "networkPolicies.scrapeFrom".to_owned());
    let mut monitors = Vec::new();
    for kind in ["PodMonitor", "ServiceMonitor"] {
        monitors.extend(cluster.list("monitoring.coreos.com/v1", kind, Where::default()).await?);
    }
    let mut found: Vec<String> = named.into_iter().collect();
    if !monitors.is_empty() {
        let of_collectors = Where { labels: Some(labels::COLLECTOR_ROLE), ..Where::namespace(namespace) };
        let pods = cluster.list_metadata("v1", "Pod", of_collectors).await?;
        let services = cluster.list_metadata("v1", "Service", of_collectors).await?;
        found.extend(metrics_readers::monitors(&monitors, &pods, &services, namespace));
    }
    Ok(found)
}

/// Whether values name who reads metrics from outside the namespace of the product.
fn names_scrapers(values: &Value) -> bool {
    values.pointer("/networkPolicies/scrapeFrom").and_then(Value::as_array).is_some_and(|peers| !peers.is_empty())
}

fn typed<K: DeserializeOwned>(objects: Vec<Value>) -> anyhow::Result<Vec<K>> {
    let read = |object: Value| {
        let title = Reference::of(&object).to_string();
        serde_json::from_value(object).with_context(|| format!("failed to read {title}"))
    };
    objects.into_iter().map(read).collect()
}

/// The values of the chart among them.
pub(super) fn values(restorations: &[Restoration]) -> Value {
    let mut values = json!({});
    for restoration in restorations {
        let Restored::Value { path, value, .. } = &restoration.restored else { continue };
        let nested = path.rsplit('.').fold(value.clone(), |below, key| json!({key: below}));
        values = odigos_chart::overlay(values, &nested);
    }
    values
}

/// Whether something is written, rather than listed because it has an effect from now on.
pub(super) fn is_kept(restoration: &Restoration) -> bool {
    !matches!(restoration.restored, Restored::Begins { .. })
}

/// A line for people: what is written, or has an effect, and why.
pub(super) fn line(restoration: &Restoration, namespace: &str) -> String {
    let Restoration { since, change, restored, .. } = restoration;
    match restored {
        Restored::Value { path, value, used_by } => {
            format!("value {path}: {value}, for {} (since {since}, {change})", used_by.join(", "))
        }
        Restored::Destination { name, field, value, .. } => {
            format!("Destination {namespace}/{name} {field}: {value} (since {since}, {change})")
        }
        Restored::Begins { objects } => format!("{} (since {since}, {change})", objects.join(", ")),
    }
}

/// Writes the fields of Destinations; returns which were changed. One that was deleted meanwhile needs nothing.
pub(super) async fn write(
    cluster: &Cluster,
    namespace: &str,
    restorations: &[Restoration],
) -> anyhow::Result<Vec<String>> {
    let mut changed = Vec::new();
    for restoration in restorations {
        let Restored::Destination { name, patch, .. } = &restoration.restored else { continue };
        let reference = Reference::new(API_VERSION, "Destination", namespace, name);
        if cluster.merge(&reference, patch).await? {
            changed.push(reference.to_string());
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_are_found_in_values() {
        let peers = json!([{"namespaceSelector": {}}]);
        assert!(names_scrapers(&json!({"networkPolicies": {"scrapeFrom": peers}})));
        for values in [json!({}), json!({"networkPolicies": false}), json!({"networkPolicies": {"scrapeFrom": []}})] {
            assert!(!names_scrapers(&values), "{values}");
        }
    }

    #[test]
    fn values_and_lines_name_what_is_restored_and_for_whom() {
        let value = Restoration {
            id: "a",
            since: "1.2.0",
            change: "namespaces are ignored",
            restored: Restored::Value {
                path: "config.ignoreDefaultNamespaces",
                value: json!(false),
                used_by: vec!["Source linkerd/web".into()],
            },
        };
        let field = Restoration {
            restored: Restored::Destination {
                name: "dd".into(),
                field: "spec.a",
                patch: json!({"spec": {"a": true}}),
                value: json!(true),
            },
            ..value.clone()
        };
        assert_eq!(values(&[value.clone(), field.clone()]), json!({"config": {"ignoreDefaultNamespaces": false}}));
        assert_eq!(
            line(&value, "odigos-system"),
            "value config.ignoreDefaultNamespaces: false, for Source linkerd/web (since 1.2.0, namespaces are ignored)"
        );
        assert!(line(&field, "odigos-system").starts_with("Destination odigos-system/dd spec.a: true (since 1.2.0"));
        let objects = vec!["Action odigos-system/a".to_owned()];
        let begins = Restoration { restored: Restored::Begins { objects }, ..value.clone() };
        assert!(!is_kept(&begins) && is_kept(&value));
        assert_eq!(line(&begins, "odigos-system"), "Action odigos-system/a (since 1.2.0, namespaces are ignored)");
        assert_eq!(values(&[begins]), json!({}));
    }
}
