//! Processors: types and roles that the configuration does not allow are rejected, the rest is a warning.
//!
//! Owns what is said when a Processor is written; the collectors' configuration holds to the same rules whatever admission misses. Never
//! looks at other Processors.

use super::{Refusal, Review};
use crate::processors::{Permission, usable};
use odigos_api::processor::Processor;

/// Reviews a Processor. One that has its type, roles and settings already keeps them: its condition says that it does not run.
#[must_use]
pub fn review(
    processor: &Processor,
    before: Option<&Processor>,
    permission: &Permission,
    control_plane_namespace: &str,
) -> Review {
    let mut result = Review::default();
    if let Err((_, field, message)) = permission.check(&processor.spec) {
        let keeps = before.is_some_and(|before| {
            let is_same_config = before.spec.processor_config == processor.spec.processor_config;
            before.spec.type_ == processor.spec.type_
                && before.spec.collector_roles == processor.spec.collector_roles
                && (is_same_config || field != "spec.processorConfig")
        });
        if keeps {
            result.warnings.push(format!("{field}: {message}"));
        } else {
            result.refusals.push(Refusal::new(field, message));
            return result;
        }
    }
    if processor.metadata.namespace.as_deref().is_some_and(|namespace| namespace != control_plane_namespace) {
        result.warnings.push(format!("metadata.namespace: only Processors in {control_plane_namespace} are used"));
    }
    match usable(processor) {
        Ok(usable) => {
            result.warnings.extend(usable.warnings().iter().map(|text| format!("spec.processorConfig: {text}")));
        }
        Err((_, field, message)) => result.warnings.push(format!("{field}: {message}")),
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use serde_json::json;

    fn processor(type_: &str, value: &str) -> Processor {
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
            "spec": {
                "type": type_, "signals": ["TRACES"], "collectorRoles": ["NODE_COLLECTOR"],
                "processorConfig": {"attributes": [{"key": "k", "action": "upsert", "value": value}]},
            },
        }))
        .unwrap()
    }

    #[test]
    fn restricted_type_is_rejected_unless_it_is_kept() {
        let permission = Permission::default();
        let review = |one: &Processor, before: Option<&Processor>| review(one, before, &permission, "odigos-system");
        let tap = processor("remotetap", "v");
        assert_eq!(review(&tap, None).refusals.len(), 1);
        assert_eq!(review(&tap, Some(&processor("resource", "v"))).refusals.len(), 1);
        let kept = review(&tap, Some(&tap));
        assert!(kept.refusals.is_empty() && kept.warnings[0].contains("processors.additionalTypes"), "{kept:?}");
        assert_eq!(review(&processor("resource", "${env:NODE_NAME}"), None), Review::default());
        let mut streams = processor("resource", "v");
        streams.spec.processor_config["attributes"][0]["key"] = json!("odigos.stream.class");
        assert!(review(&streams, None).refusals[0].message.contains("by which gateways choose the data stream"));
        assert_eq!(review(&streams, Some(&processor("resource", "v"))).refusals.len(), 1, "nor by a change");
        assert!(review(&streams, Some(&streams)).refusals.is_empty(), "one that is there is kept, and does not run");
        let reference = review(&processor("resource", "${file:/etc/shadow}"), None);
        assert!(reference.warnings[0].contains("${file:/etc/shadow} is used as it is written"), "{reference:?}");
        assert!(review(&processor("resourc", "v"), None).warnings[0].contains("check the spelling"));
    }
}
