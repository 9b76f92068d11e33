//! Which Secret a Destination may read.
//!
//! Owns the mark of Secrets, what admission records about writers of Destinations, and what nobody may read through one. A Destination that
//! was last written before admission recorded anything keeps its Secret, and its condition says how to mark it: an upgrade stops no export. Never sees a
//! value.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use odigos_api::destination::Destination;
use odigos_api::{labels, names};
use std::collections::BTreeSet;

/// Types of Secrets that serve Kubernetes or Helm, and hold no credentials of a backend.
const RESERVED_TYPES: [&str; 5] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
];

/// Stands for every Destination in the mark of a Secret.
const EVERY: &str = "*";

/// What a Secret says of its use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretMark {
    /// Destinations that it is marked for; [`EVERY`] means all.
    destinations: BTreeSet<String>,
    /// It belongs to Kubernetes, Helm or the product.
    is_reserved: bool,
    /// What is wrong with its label.
    label_problem: Option<String>,
}

impl SecretMark {
    /// Reads the metadata of a Secret, and its type where it is known.
    #[must_use]
    pub fn of(metadata: &ObjectMeta, secret_type: Option<&str>) -> Self {
        let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let value = label(labels::DESTINATION_SECRET);
        let is_marked = value.and_then(labels::flag) == Some(true);
        let listed = metadata.annotations.as_ref().and_then(|all| all.get(labels::SECRET_DESTINATIONS));
        let listed = listed.filter(|_| is_marked).map(String::as_str).unwrap_or_default();
        let writers = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
        Self {
            label_problem: value.and_then(|value| labels::flag_problem(labels::DESTINATION_SECRET, value)),
            destinations: listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            is_reserved: secret_type.is_some_and(|one| RESERVED_TYPES.contains(&one))
                || label("owner") == Some("helm")
                || writers.into_iter().any(|writer| names::CONTROLLERS.contains(&writer)),
        }
    }

    /// Whether it belongs to Kubernetes, Helm or the product, so that no Destination may read it.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Whether it is marked for the Destination of that name.
    #[must_use]
    pub fn is_for(&self, destination: &str) -> bool {
        self.destinations.contains(EVERY) || self.destinations.contains(destination)
    }
}

/// Whether a Destination may read its Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was marked for it, or written by an account that may read the Secret.
    Granted,
    /// It reads the Secret since before that was asked; the text says what to do.
    Kept(String),
    /// It may not; the text says why.
    Denied(String),
}

/// What admission records of the writer of a Destination, in the annotation [`labels::SECRET_ACCESS`].
#[must_use]
pub fn record(secret: Option<&str>, may_read: bool) -> String {
    match (secret, may_read) {
        (None, _) => "none".to_owned(),
        (Some(name), true) => format!("granted:{name}"),
        (Some(name), false) => format!("denied:{name}"),
    }
}

/// Whether admission has recorded nothing of the Destination: it was last written by a release that did not.
#[must_use]
pub fn is_older(destination: &Destination) -> bool {
    recorded(destination).is_none()
}

fn recorded(destination: &Destination) -> Option<&str> {
    destination.metadata.annotations.as_ref()?.get(labels::SECRET_ACCESS).map(String::as_str)
}

/// Whether a Secret of that name is never read for a Destination.
#[must_use]
pub fn is_reserved_name(secret: &str) -> bool {
    names::OWN_SECRETS.contains(&secret) || secret.starts_with("sh.helm.release.")
}

/// Whether a Destination may read the Secret that it names.
#[must_use]
pub fn access(destination: &Destination, secret: &str, mark: Option<&SecretMark>) -> Access {
    if is_reserved_name(secret) || mark.is_some_and(|mark| mark.is_reserved) {
        return Access::Denied(format!(
            "the Secret {secret} belongs to the control plane, to Helm or to Kubernetes; name one of this destination's own"
        ));
    }
    let name = destination.metadata.name.as_deref().unwrap_or_default();
    if mark.is_some_and(|mark| mark.is_for(name)) {
        return Access::Granted;
    }
    let command = format!("odigos destinations mark-secret {name}");
    let why = mark.and_then(|mark| mark.label_problem.as_ref());
    let why = why.map(|problem| format!(" ({problem})")).unwrap_or_default();
    match recorded(destination) {
        None => Access::Kept(format!("the Secret {secret} is not marked for this destination{why}; run `{command}`")),
        Some(text) if text == record(Some(secret), true) => Access::Granted,
        Some(_) => Access::Denied(format!(
            "the Secret {secret} is not marked for this destination{why}, and its author may not read that Secret; run `{command}` with an account that may change it"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::fixtures::destination;
    use serde_json::json;

    fn mark(metadata: serde_json::Value, secret_type: Option<&str>) -> SecretMark {
        SecretMark::of(&serde_json::from_value(metadata).unwrap(), secret_type)
    }

    fn word(access: &Access) -> &'static str {
        match access {
            Access::Granted => "granted",
            Access::Kept(_) => "kept",
            Access::Denied(_) => "denied",
        }
    }

    #[test]
    fn secret_is_read_by_mark_or_by_its_writer() {
        let marked = |names: &str| {
            mark(
                json!({"labels": {"odigos.io/destination-secret": "true"}, "annotations": {"odigos.io/destinations": names}}),
                None,
            )
        };
        let plain = mark(json!({}), Some("Opaque"));
        let unlabelled = mark(json!({"annotations": {"odigos.io/destinations": "*"}}), None);
        for (annotation, secret, mark, expected) in [
            (None, "s", &plain, "kept"),
            (None, "odigos-webhook-authority", &plain, "denied"),
            (None, "sh.helm.release.v1.odigos.v1", &plain, "denied"),
            (Some("denied:s"), "s", &plain, "denied"),
            (Some("none"), "s", &plain, "denied"),
            (Some("granted:s"), "s", &plain, "granted"),
            (Some("granted:t"), "s", &plain, "denied"),
            (Some("granted:odigos-webhook-authority"), "odigos-webhook-authority", &plain, "denied"),
            (Some("denied:s"), "s", &marked("d"), "granted"),
            (Some("denied:s"), "s", &marked("a, d"), "granted"),
            (Some("denied:s"), "s", &marked("*"), "granted"),
            (Some("denied:s"), "s", &marked("dd"), "denied"),
            (Some("denied:s"), "s", &unlabelled, "denied"),
        ] {
            let mut one = destination("d", "honeycomb", &["TRACES"], json!({}));
            one.metadata.annotations =
                annotation.map(|text| [("odigos.io/secret-access".to_owned(), text.to_owned())].into());
            let found = access(&one, secret, Some(mark));
            assert_eq!(word(&found), expected, "{annotation:?} {secret} {mark:?}: {found:?}");
        }
    }

    #[test]
    fn secrets_of_helm_of_kubernetes_and_of_ours_are_never_read() {
        let one = destination("d", "honeycomb", &["TRACES"], json!({}));
        let every = json!({"odigos.io/destinations": "*"});
        let label = json!({"odigos.io/destination-secret": "true"});
        for mark in [
            mark(json!({"labels": label, "annotations": every}), Some("helm.sh/release.v1")),
            mark(json!({"labels": label, "annotations": every}), Some("kubernetes.io/dockerconfigjson")),
            mark(
                json!({"labels": {"owner": "helm", "odigos.io/destination-secret": "true"}, "annotations": every}),
                None,
            ),
            mark(
                json!({"labels": label, "annotations": every, "managedFields": [{"manager": "odigos-instrumentor"}]}),
                None,
            ),
        ] {
            assert_eq!(word(&access(&one, "s", Some(&mark))), "denied", "{mark:?}");
        }
    }
}
