//! The variables of a container (`spec/sources-and-instrumentation.md` 5.3, 5.4).
//!
//! A name that the user has set is never overwritten; where an agent must extend it, the user's value stays in front,
//! whatever it comes from: a literal, a reference, `envFrom` or the image. What comes from a ConfigMap or Secret stays there: the
//! pod refers to it, so that no value is copied and later changes count.
//!
//! The OTLP variables are one unit: half of the user's and half of ours would send one protocol to the port of another. Where the
//! user says where to send, nothing of ours is added. Elsewhere ours is whole: what `envFrom` may say of exporters and protocols is
//! replaced, since its values cannot be read here.

use super::attributes::{self, POD_NAME};
use super::{Subject, Target, loader_path};
use crate::agents;
use odigos_api::instrumentation_config::EnvVar;
use odigos_api::names::{NODE_SERVICE, OTLP_GRPC_PORT, OTLP_HTTP_PORT};
use odigos_catalog::distribution::{Attach, Distribution, Existing, Variable};
use odigos_detect::environment::OTLP_ENDPOINTS;
use serde_json::{Value, json};

/// Signals as the names of OTLP variables have them.
const SIGNALS: [&str; 3] = ["LOGS", "METRICS", "TRACES"];
/// The variable that says which protocol is spoken, where none of a signal's own does.
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

/// The value that a variable has although `env` does not name it.
enum Inherited {
    Nothing,
    /// The image sets it.
    Image(String),
    /// `envFrom` sets it; the image may do so beneath.
    Sources {
        beneath: String,
    },
}

/// Variables of a container that is being changed.
pub(super) struct Container<'a> {
    entries: Vec<Value>,
    /// Sources of `envFrom`.
    sources: Vec<Value>,
    target: &'a Target<'a>,
}

impl<'a> Container<'a> {
    pub(super) fn of(container: &Value, target: &'a Target<'a>) -> Self {
        let list = |key: &str| container.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        Self { entries: list("env"), sources: list("envFrom"), target }
    }

    pub(super) fn into_list(self) -> Value {
        Value::Array(self.entries)
    }

    /// Adds everything that the agent of the container needs.
    pub(super) fn add_agent(&mut self, subject: &Subject<'_>) -> Result<(), String> {
        let target = self.target;
        let parameters = &target.config.distro_params;
        // In front, so that every other value can refer to it.
        if !self.has(POD_NAME) {
            let entry = json!({"name": POD_NAME, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}});
            self.entries.insert(0, entry);
        }
        self.add("ODIGOS_CONTAINER_NAME", target.name);
        self.add("ODIGOS_DISTRO_NAME", &target.distribution.name);
        self.add("ODIGOS_WORKLOAD_NAMESPACE", &subject.workload.namespace);
        for variable in &target.distribution.environment {
            match variable.existing {
                // With the endpoint, below.
                Existing::Keep if variable.name == PROTOCOL => {}
                Existing::Keep => self.add(&variable.name, &Distribution::filled(&variable.value, parameters)),
                Existing::Conflict => self.claim(variable)?,
                // The loader sets them inside the process.
                Existing::Append if target.uses_loader => {}
                Existing::Append => self.extend(variable)?,
            }
        }
        if target.uses_loader {
            self.add("LD_PRELOAD", &loader_path());
        }
        if target.distribution.attach == Attach::Environment {
            self.add_exporters(&subject.options.namespace);
            for (name, value) in agents::injected_variables(target.config, target.distribution) {
                self.add(&name, &value);
            }
        }
        self.add_identity(subject)?;
        for (name, value) in subject.options.user_variables.get(&target.distribution.language).into_iter().flatten() {
            self.add_written(name, value);
        }
        Ok(())
    }

    /// Which signals go where, and how (rows 7 and 9).
    fn add_exporters(&mut self, namespace: &str) {
        let endpoint = |port: u16| format!("http://{NODE_SERVICE}.{namespace}:{port}");
        let ours = [OTLP_HTTP_PORT, OTLP_GRPC_PORT].map(endpoint);
        if self.sends_elsewhere(&ours) {
            return;
        }
        let config = self.target.config;
        let signals = [
            ("OTEL_LOGS_EXPORTER", config.logs.is_some()),
            ("OTEL_METRICS_EXPORTER", config.metrics.is_some()),
            ("OTEL_TRACES_EXPORTER", config.traces.is_some()),
        ];
        for (name, is_sent) in signals {
            self.add(name, if is_sent { "otlp" } else { "none" });
        }
        self.add("OTEL_EXPORTER_OTLP_ENDPOINT", &ours[0]);
        let Some(protocol) = self.target.distribution.environment.iter().find(|one| one.name == PROTOCOL) else {
            return;
        };
        let protocol = protocol.value.clone();
        self.add_written(PROTOCOL, &protocol);
        let is_theirs = self.position(PROTOCOL).is_some_and(|index| self.literal(index) != protocol);
        // Nobody has looked at a process: an endpoint of a signal may come from there too.
        let is_unseen = self.target.details.is_none();
        for signal in SIGNALS {
            let of_endpoint = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
            if is_unseen && !self.references(&of_endpoint).is_empty() {
                // That of a signal is used as it is, without a path of the SDK's behind it.
                self.add_written(&of_endpoint, &format!("{}/v1/{}", ours[0], signal.to_lowercase()));
            }
            let of_signal = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
            match self.position(&of_signal) {
                // A signal's own endpoint counts more than ours for all, and is used as it is.
                Some(index) if self.literal(index) == "grpc" => {
                    self.add_written(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), &ours[1]);
                }
                None if is_theirs || !self.references(&of_signal).is_empty() => self.add_written(&of_signal, &protocol),
                _ => {}
            }
        }
    }

    /// Whether the user says where telemetry goes, or keeps to himself how: an endpoint of his, whatever it comes from, or a signal's
    /// protocol that nobody can read here.
    fn sends_elsewhere(&self, ours: &[String]) -> bool {
        let names_another = |name: &&str| match self.position(name) {
            Some(index) => {
                self.is_reference(index)
                    || !self.literal(index).is_empty() && !ours.iter().any(|one| one == self.literal(index))
            }
            None => self.target.details.is_some_and(|details| {
                let known = details.env_vars.iter().chain(&details.env_from_container_runtime);
                known.into_iter().any(|one| one.name == *name && !one.value.is_empty())
            }),
        };
        let is_unreadable = |signal: &&str| {
            let protocol = self.position(&format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"));
            protocol.is_some_and(|index| self.is_reference(index))
        };
        OTLP_ENDPOINTS.iter().any(names_another) || SIGNALS.iter().any(is_unreadable)
    }

    /// What the telemetry is about (rows 12 and 13); what the user says about it counts more.
    fn add_identity(&mut self, subject: &Subject<'_>) -> Result<(), String> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let ours = attributes::of(subject, self.target.name);
        let mut names_service = false;
        if let Some(index) = self.position(ATTRIBUTES) {
            if self.is_reference(index) {
                // Theirs come last, and of two equal keys the last one counts.
                let original = self.rename(index, ATTRIBUTES)?;
                let list = attributes::merged("", &ours);
                self.insert_after(&original, ATTRIBUTES, &format!("{list},$({original})"));
            } else {
                let users = self.literal(index).to_owned();
                names_service = attributes::keys(&users).contains("service.name");
                self.entries[index]["value"] = json!(attributes::merged(&users, &ours));
            }
        } else {
            match self.inherited(ATTRIBUTES) {
                Inherited::Nothing => self.add_written(ATTRIBUTES, &attributes::merged("", &ours)),
                Inherited::Image(users) => {
                    names_service = attributes::keys(&users).contains("service.name");
                    self.add_written(ATTRIBUTES, &attributes::merged(&written(&users), &ours));
                }
                Inherited::Sources { beneath } => {
                    let original = self.refer(ATTRIBUTES, &beneath)?;
                    let list = attributes::merged("", &ours);
                    self.insert_after(&original, ATTRIBUTES, &format!("{list},$({original})"));
                }
            }
        }
        if !names_service {
            self.add("OTEL_SERVICE_NAME", &subject.config.spec.service_name);
        }
        Ok(())
    }

    /// Puts ours behind the value that is there (5.4, append rules).
    fn extend(&mut self, variable: &Variable) -> Result<(), String> {
        let parameters = &self.target.config.distro_params;
        let name = &variable.name;
        let Some(index) = self.position(name) else {
            let original = match self.inherited(name) {
                Inherited::Nothing => String::new(),
                Inherited::Image(value) => written(&value),
                Inherited::Sources { beneath } => {
                    let original = self.refer(name, &beneath)?;
                    let value = variable.joined(&format!("$({original})"), parameters).unwrap_or_default();
                    self.insert_after(&original, name, &value);
                    return Ok(());
                }
            };
            let value = variable.joined(&original, parameters).unwrap_or(original);
            self.add_written(name, &value);
            return Ok(());
        };
        if self.is_reference(index) {
            let original = self.rename(index, name)?;
            let value = variable.joined(&format!("$({original})"), parameters).unwrap_or_default();
            self.insert_after(&original, name, &value);
        } else if let Some(value) = variable.joined(self.literal(index), parameters) {
            self.entries[index]["value"] = json!(value);
        }
        Ok(())
    }

    /// Sets a value that the agent cannot share.
    fn claim(&mut self, variable: &Variable) -> Result<(), String> {
        let ours = Distribution::filled(&variable.value, &self.target.config.distro_params);
        let Some(index) = self.position(&variable.name) else {
            self.add(&variable.name, &ours);
            return Ok(());
        };
        if !self.is_reference(index) && self.literal(index).eq_ignore_ascii_case(&ours) {
            return Ok(());
        }
        Err(format!("it sets {}, which {} needs for itself; remove it", variable.name, self.target.distribution.name))
    }

    /// Where a variable that `env` does not name has its value from: `envFrom`, else the image.
    fn inherited(&self, name: &str) -> Inherited {
        let find = |list: &[EnvVar]| list.iter().find(|one| one.name == name && !one.value.is_empty()).cloned();
        let Some(details) = self.target.details else { return Inherited::Nothing };
        let image = find(&details.env_from_container_runtime).map(|one| one.value);
        let process = find(&details.env_vars).map(|one| one.value);
        // What the process saw and the image does not explain came from there. A start script may have made it too, and will again.
        if process.is_some() && process != image && !self.references(name).is_empty() {
            return Inherited::Sources { beneath: image.unwrap_or_default() };
        }
        image.map_or(Inherited::Nothing, Inherited::Image)
    }

    /// What `envFrom` means for one variable, as references in the same order. Keys that are not there set nothing.
    fn references(&self, name: &str) -> Vec<Value> {
        let of = |source: &Value| {
            let key = name.strip_prefix(source.get("prefix").and_then(Value::as_str).unwrap_or_default())?;
            [("configMapRef", "configMapKeyRef"), ("secretRef", "secretKeyRef")].into_iter().find_map(|(whole, one)| {
                let object = source.get(whole)?.get("name")?.as_str()?;
                (!key.is_empty()).then(|| json!({one: {"name": object, "key": key, "optional": true}}))
            })
        };
        self.sources.iter().filter_map(of).collect()
    }

    /// Puts what the variable would be without us under another name: what is beneath, then each source, of which the last one
    /// that has the key counts, as for `envFrom` itself. Returns that name.
    fn refer(&mut self, name: &str, beneath: &str) -> Result<String, String> {
        let original = format!("ORIGINAL_{name}");
        if self.has(&original) {
            return Err(format!("envFrom may set {name}, and it sets {original}, which would keep that"));
        }
        let references = self.references(name);
        self.entries.push(json!({"name": original, "value": written(beneath)}));
        self.entries.extend(references.into_iter().map(|from| json!({"name": original, "valueFrom": from})));
        Ok(original)
    }

    /// Keeps the user's reference under another name (rule 2); returns that name.
    fn rename(&mut self, index: usize, name: &str) -> Result<String, String> {
        let original = format!("ORIGINAL_{name}");
        if self.has(&original) {
            return Err(format!("it sets both {name} by a reference and {original}, which would keep it"));
        }
        let reference = &mut self.entries[index];
        reference["name"] = json!(original);
        let is_optional = ["configMapKeyRef", "secretKeyRef"].iter().any(|kind| {
            let source = reference.get("valueFrom").and_then(|from| from.get(*kind));
            source.and_then(|source| source.get("optional")).and_then(Value::as_bool) == Some(true)
        });
        if is_optional {
            // A reference that leads nowhere sets nothing, and what refers to it would stay unexpanded; this stands in.
            self.entries.insert(index, json!({"name": original, "value": ""}));
        }
        Ok(original)
    }

    fn insert_after(&mut self, before: &str, name: &str, value: &str) {
        let index = self.position(before).map_or(self.entries.len(), |index| index + 1);
        self.entries.insert(index, json!({"name": name, "value": value}));
    }

    /// Adds a variable unless the user has it. The value is taken as it is.
    fn add(&mut self, name: &str, value: &str) {
        let is_inherited = !self.sources.is_empty()
            && self
                .target
                .details
                .is_some_and(|details| details.env_vars.iter().any(|one| one.name == name && !one.value.is_empty()));
        if !is_inherited {
            self.add_written(name, &written(value));
        }
    }

    /// Adds a variable unless the pod names it. The value may refer to others.
    fn add_written(&mut self, name: &str, value: &str) {
        if !self.has(name) {
            self.entries.push(json!({"name": name, "value": value}));
        }
    }

    fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Of several entries with one name the last one counts.
    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().rposition(|one| one.get("name").and_then(Value::as_str) == Some(name))
    }

    fn is_reference(&self, index: usize) -> bool {
        self.entries[index].get("valueFrom").is_some_and(|from| !from.is_null())
    }

    fn literal(&self, index: usize) -> &str {
        self.entries[index].get("value").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A value as a manifest writes it, where `$(…)` would refer to a variable.
fn written(value: &str) -> String {
    value.replace('$', "$$")
}
