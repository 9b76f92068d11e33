//! Which Processors the configuration allows: types that reach beyond the items that pass them, and roles.
//!
//! Owns the list of such types with the reason of each, and the refusal of settings by which any other type would reach as far or choose data streams ([`routing_attribute`]). Never
//! judges other settings of a Processor.

use super::{Refusal, routing_attribute};
use crate::configuration::Configuration;
use crate::objects::OBJECT_LIMIT;
use odigos_api::CollectorRole;
use odigos_api::processor::ProcessorSpec;
use odigos_pipeline::reach::{self, Reach};
use serde_json::Value;
use std::collections::BTreeSet;

/// Where the configuration lists further types.
pub const TYPES_PATH: &str = "processors.additionalTypes";
/// Where the configuration lists the roles that Processors may have.
pub const ROLES_PATH: &str = "processors.roles";

/// Types that take more than the items that pass them, as the documentation spells them, and what each does.
const RESTRICTED: [(&str, &str); 7] = [
    ("geoip", "it reads files of the collector"),
    ("k8s_attributes", "it reads objects of the cluster with the permissions of the collector"),
    ("logstransform", "its operators read and write files of the collector"),
    ("memory_limiter", "it rejects the telemetry of everybody"),
    ("remotetap", "it opens a port that shows all telemetry to any pod"),
    ("resource_detection", "it sends requests to metadata services of machines and clouds"),
    ("schema", "it sends requests to addresses that telemetry names"),
];

/// The types that have to be listed.
#[must_use]
pub fn names() -> Vec<&'static str> {
    RESTRICTED.iter().map(|(name, _)| *name).collect()
}

/// What the configuration allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Restricted types that are allowed, without `_`.
    types: BTreeSet<String>,
    /// Roles that are allowed; `None` means all.
    roles: Option<BTreeSet<String>>,
    /// The collector is one of this release, so what is known of its processors holds.
    knows_collector: bool,
}

/// A type in the spelling by which types are compared: releases of the collector differ in `_` alone.
pub(crate) fn canonical(component_type: &str) -> String {
    component_type.trim().replace('_', "")
}

impl Permission {
    /// Reads it.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let roles: BTreeSet<String> = configuration.texts(ROLES_PATH).into_iter().collect();
        Self {
            types: configuration.texts(TYPES_PATH).iter().map(|one| canonical(one)).collect(),
            roles: (!roles.is_empty()).then_some(roles),
            knows_collector: false,
        }
    }

    /// The same for a collector whose image is of this release, or is not.
    #[must_use]
    pub fn for_collector(self, is_of_this_release: bool) -> Self {
        Self { knows_collector: is_of_this_release, ..self }
    }

    /// Whether settings that the collector of this release refuses are left out, and not tried on another image that may know more.
    #[must_use]
    pub const fn knows_collector(&self) -> bool {
        self.knows_collector
    }

    /// Whether a Processor of this type and these roles may run.
    ///
    /// # Errors
    /// What is not allowed, as a sentence.
    pub fn allows(&self, spec: &ProcessorSpec) -> Result<(), String> {
        self.check(spec).map_err(|(_, field, message)| format!("{field}: {message}"))
    }

    /// The same with reason, field and message.
    pub(crate) fn check(&self, spec: &ProcessorSpec) -> Result<(), Refusal> {
        let wanted = canonical(&spec.type_);
        let restricted = RESTRICTED.iter().find(|(name, _)| canonical(name) == wanted);
        if restricted.is_none() {
            check_reach(&spec.processor_config)?;
        }
        // What is larger than an object's share is left out for that.
        if spec.processor_config.to_string().len() <= OBJECT_LIMIT
            && let Some(problem) = routing_attribute::problem(&wanted, &spec.processor_config)
        {
            return Err(("InvalidConfig", "spec.processorConfig", problem));
        }
        if let Some((_, why)) = restricted
            && !self.types.contains(&wanted)
        {
            let message = format!(
                "the type {:?} is not allowed, since {why}; an administrator can add it to {TYPES_PATH} of the configuration",
                spec.type_
            );
            return Err(("TypeNotAllowed", "spec.type", message));
        }
        let is_allowed = |role: &CollectorRole| self.roles.as_ref().is_none_or(|roles| roles.contains(role.as_str()));
        match spec.collector_roles.iter().find(|role| !is_allowed(role)) {
            None => Ok(()),
            Some(role) => {
                let message = format!(
                    "the role {} is not allowed; an administrator can add it to {ROLES_PATH} of the configuration",
                    role.as_str()
                );
                Err(("RoleNotAllowed", "spec.collectorRoles", message))
            }
        }
    }
}

/// Refuses extensions and files at any depth: those of a collector are the product's and other people's.
fn check_reach(settings: &Value) -> Result<(), Refusal> {
    if let Some(key) = reach::divided_key(settings) {
        let message = format!(
            "the key {key:?} holds \"::\", at which collectors divide keys; write the settings into each other"
        );
        return Err(("InvalidConfig", "spec.processorConfig", message));
    }
    reach::each(settings, &mut |key, _| match reach::of(key) {
        Some(Reach::Extension) => {
            Err(("InvalidConfig", "spec.processorConfig", format!("{key} names an extension; a Processor has none")))
        }
        Some(Reach::File) => {
            Err(("InvalidConfig", "spec.processorConfig", format!("{key} names a file; a Processor has none")))
        }
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reason(configuration: &str, type_: &str, roles: &[&str]) -> Option<&'static str> {
        reason_of(configuration, type_, roles, &json!({}))
    }

    fn reason_of(configuration: &str, type_: &str, roles: &[&str], settings: &Value) -> Option<&'static str> {
        let spec = json!({"type": type_, "signals": ["TRACES"], "collectorRoles": roles, "processorConfig": settings});
        let spec: ProcessorSpec = serde_json::from_value(spec).unwrap_or_default();
        let permission = Permission::of(&Configuration::parse(configuration).unwrap_or_default());
        permission.check(&spec).err().map(|(reason, ..)| reason)
    }

    #[test]
    fn types_and_roles_need_the_configuration() {
        let gateway = &["CLUSTER_GATEWAY"];
        let both = &["CLUSTER_GATEWAY", "NODE_COLLECTOR"];
        let wide = "processors: {additionalTypes: [resource_detection, remotetap]}";
        let narrow = "processors: {roles: [CLUSTER_GATEWAY]}";
        assert_eq!(reason("", "transform", both), None);
        for one in [
            "remotetap",
            "k8sattributes",
            "k8s_attributes",
            "resource_detection",
            "schema",
            "geoip",
            "logstransform",
            "memory_limiter",
        ] {
            assert_eq!(reason("", one, gateway), Some("TypeNotAllowed"), "{one}");
        }
        assert_eq!(reason(wide, "resourcedetection", gateway), None);
        assert!(names().contains(&"memory_limiter"), "as docs/security.md spells it");
        assert_eq!(reason(wide, "geoip", gateway), Some("TypeNotAllowed"));
        assert_eq!(reason(narrow, "transform", gateway), None);
        assert_eq!(reason(narrow, "transform", both), Some("RoleNotAllowed"));
    }

    #[test]
    fn settings_name_no_extension_and_no_file() {
        let of = |configuration: &str, type_: &str, settings: Value| {
            reason_of(configuration, type_, &["CLUSTER_GATEWAY"], &settings)
        };
        for settings in [
            json!({"storage": "file_storage/queues"}),
            json!({"list": [{"auth": {"authenticator": "basicauth/of-others"}}]}),
            json!({"a": {"tls": {"key_file": "/var/run/secrets/token"}}}),
            json!({"a::authenticator": "basicauth/of-others"}),
        ] {
            assert_eq!(of("", "transform", settings.clone()), Some("InvalidConfig"), "{settings}");
        }
        let texts = json!({"attributes": [{"key": "storage", "action": "delete"}]});
        assert_eq!(of("", "attributes", texts), None);
        let allowed = "processors: {additionalTypes: [resource_detection]}";
        let tls = json!({"openshift": {"tls": {"ca_file": "/ca.crt"}}});
        assert_eq!(of(allowed, "resource_detection", tls), None, "an administrator has allowed what it reaches");
    }
}
