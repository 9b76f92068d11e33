//! Says of a covered workload that variables of its own count instead of what is decided: where a container has an OTLP endpoint of its
//! own, admission adds none (`injection`), so what its agent sends reaches no Destination; where it sets what switches the agent or one
//! of its signals off, admission leaves that alone. Owns those words; decides nothing.

use crate::workload::Workload;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::AGENT_ENABLED;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_catalog::distribution::{self, Attach};
use odigos_detect::environment::OTLP_ENDPOINTS;

/// What is said of a variable that leads telemetry past the collectors.
pub const OWN_EXPORT: &str = "of its own: its telemetry goes there and to no Destination";

/// Variables with which a container switches its agent, or what it sends, on and off. Values are not read.
const SWITCHES: [&str; 12] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_JAVAAGENT_ENABLED",
    "OTEL_INSTRUMENTATION_COMMON_DEFAULT_ENABLED",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_NODE_ENABLED_INSTRUMENTATIONS",
    "OTEL_NODE_DISABLED_INSTRUMENTATIONS",
];

/// Adds it to the messages of containers that have an agent, and of the condition `AgentEnabled`.
pub(super) fn report(workload: &Workload, config: &mut InstrumentationConfig, conditions: &mut [ConditionDraft]) {
    let details = config.status.as_ref().map(|status| status.runtime_details_by_container.clone()).unwrap_or_default();
    let own = |container: &str| -> Option<&'static str> {
        let is_stated = |name: &str| workload.variables.get(container).is_some_and(|names| names.contains(name));
        let found = details.iter().find(|one| one.container_name == container);
        let is_found = |name: &str| found.is_some_and(|one| one.env_vars.iter().any(|variable| variable.name == name));
        OTLP_ENDPOINTS.into_iter().find(|name| is_stated(name) || is_found(name))
    };
    for container in config.spec.containers.iter_mut().filter(|one| one.agent_enabled) {
        let distribution = distribution::find(&container.otel_distro_name);
        if distribution.is_none_or(|distribution| distribution.attach != Attach::Environment) {
            continue;
        }
        let name = &container.container_name;
        let switches: Vec<&str> = SWITCHES
            .into_iter()
            .filter(|switch| workload.variables.get(name).is_some_and(|names| names.contains(*switch)))
            .collect();
        let sentences = [
            own(name).map(|variable| {
                format!("Container {name} has {variable} {OWN_EXPORT}; remove it to send to the collector of the node.")
            }),
            (!switches.is_empty()).then(|| {
                format!("Container {name} sets {} itself, which counts: its agent may send less.", switches.join(", "))
            }),
        ];
        for sentence in sentences.into_iter().flatten() {
            let add = |message: &mut String| {
                if !message.contains(&sentence) {
                    *message = format!("{message} {sentence}").trim_start().to_owned();
                }
            };
            add(&mut container.agent_enabled_message);
            conditions.iter_mut().filter(|one| one.kind == AGENT_ENABLED).for_each(|one| add(&mut one.message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::condition::Status;
    use odigos_api::instrumentation_config::{
        ContainerAgentConfig, EnvVar, InstrumentationConfigStatus, RuntimeDetails,
    };
    use serde_json::json;

    fn said(env: serde_json::Value, found: &[&str], distribution: &str) -> String {
        let workload = Workload::from_object(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}},
        }))
        .unwrap();
        let mut config = InstrumentationConfig::default();
        config.spec.containers = vec![ContainerAgentConfig {
            container_name: "app".into(),
            agent_enabled: true,
            otel_distro_name: distribution.into(),
            ..ContainerAgentConfig::default()
        }];
        let env_vars =
            found.iter().map(|name| EnvVar { name: (*name).into(), value: "http://otel:4317".into() }).collect();
        let details = RuntimeDetails { container_name: "app".into(), env_vars, ..RuntimeDetails::default() };
        config.status = Some(InstrumentationConfigStatus {
            runtime_details_by_container: vec![details],
            ..InstrumentationConfigStatus::default()
        });
        let (kind, reason, message) = (AGENT_ENABLED, "EnabledSuccessfully".to_owned(), "All.".to_owned());
        let mut conditions = vec![ConditionDraft { kind, status: Status::True, reason, message }];
        report(&workload, &mut config, &mut conditions);
        // The same again adds nothing.
        report(&workload, &mut config, &mut conditions);
        assert_eq!(conditions[0].message, format!("All. {}", config.spec.containers[0].agent_enabled_message).trim());
        conditions[0].message.clone()
    }

    #[test]
    fn containers_that_export_themselves_are_named() {
        const NAME: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let expected = "All. Container app has OTEL_EXPORTER_OTLP_TRACES_ENDPOINT of its own: its telemetry goes there and to no \
                        Destination; remove it to send to the collector of the node.";
        let stated = || json!([{"name": NAME, "value": "http://otel:4317"}]);
        assert_eq!(said(stated(), &[], "java-community"), expected);
        assert_eq!(said(json!([]), &[NAME], "java-community"), expected, "by envFrom or the image");
        assert_eq!(said(json!([{"name": "OTEL_SERVICE_NAME", "value": "x"}]), &[], "java-community"), "All.");
        assert_eq!(said(stated(), &[], "golang-community"), "All.", "it is instrumented from outside");
    }

    #[test]
    fn containers_that_switch_their_agent_themselves_are_named() {
        let env = || json!([{"name": "OTEL_TRACES_EXPORTER", "value": "none"}, {"name": "OTEL_SDK_DISABLED", "value": "true"}]);
        let expected = "All. Container app sets OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER itself, which counts: its agent may send less.";
        assert_eq!(said(env(), &[], "python-community"), expected);
        assert_eq!(said(env(), &[], "golang-community"), "All.");
    }
}
