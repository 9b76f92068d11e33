//! An example manifest for a type, from its own fields: what `show` prints and the documentation shows.
//!
//! Owns which settings it shows and with which values. It is valid as it stands: credentials are placeholders of the form that the type
//! takes. Never renders.

use crate::destination::DestinationType;
use crate::plain_credentials::placeholders;
use crate::schema::Field;
use odigos_api::Signal;
use odigos_api::labels::{DESTINATION_SECRET, SECRET_DESTINATIONS};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A Destination, and a Secret where the type has required credentials, as YAML.
#[must_use]
pub fn manifest(one: &DestinationType) -> String {
    let shown =
        |field: &&Field| field.is_required() || field.example.is_some() || one.rendering.required.contains(&field.name);
    let settings: Vec<(&Field, String)> =
        one.fields.iter().filter(|field| !field.secret).filter(shown).map(|field| (field, value(field))).collect();
    let secret_fields = one.fields.iter().filter(|field| field.secret).filter(shown);
    let mut credentials: BTreeMap<&str, String> = secret_fields
        .map(|field| {
            let placeholder = field.example.clone().unwrap_or_else(|| placeholder(&field.display_name));
            (field.name.as_str(), credential(&field.name, &placeholder).to_owned())
        })
        .collect();
    for key in settings.iter().flat_map(|(_, value)| placeholders(value)) {
        credentials.entry(key).or_insert_with(|| placeholder(key));
    }
    let mut text = String::new();
    let secret = format!("{}-credentials", one.id);
    if !credentials.is_empty() {
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {secret}\n  namespace: odigos-system\n  labels: {{{DESTINATION_SECRET}: \"true\"}}\n  annotations: {{{SECRET_DESTINATIONS}: {}}}\nstringData:\n",
            one.id
        );
        for (key, value) in &credentials {
            let _ = writeln!(text, "  {key}: {}", quoted(value));
        }
        text.push_str("---\n");
    }
    let _ = write!(
        text,
        "apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {{name: {}, namespace: odigos-system}}\nspec:\n  type: {}\n  destinationName: {}\n",
        one.id, one.id, one.display_name
    );
    if settings.is_empty() {
        text.push_str("  data: {}\n");
    } else {
        text.push_str("  data:\n");
        for (field, value) in &settings {
            let _ = writeln!(text, "    {}: {}", field.name, quoted(value));
        }
    }
    let signals: Vec<&str> = one
        .signals
        .iter()
        .filter(|signal| **signal != Signal::Profiles || one.signals.len() == 1)
        .map(|signal| signal.as_str())
        .collect();
    let _ = writeln!(text, "  signals: [{}]", signals.join(", "));
    if !credentials.is_empty() {
        let _ = writeln!(text, "  secretRef: {{name: {secret}}}");
    }
    text
}

/// What the example shows of a setting.
fn value(field: &Field) -> String {
    let first = || field.component_props.get("values").and_then(|values| values.get(0)?.as_str().map(str::to_owned));
    let stated = field.example.clone().or_else(|| field.initial_value.clone()).or_else(first);
    stated.unwrap_or_else(|| placeholder(&field.display_name))
}

fn placeholder(name: &str) -> String {
    format!("<{}>", name.to_lowercase())
}

/// A text in single quotes; one of several lines in double quotes, where they can be written.
fn quoted(text: &str) -> String {
    match text.contains('\n') {
        true => serde_json::Value::from(text).to_string(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A value that a credential of that name may have: `text`, unless the type needs a form of its own.
#[must_use]
pub fn credential<'a>(key: &str, text: &'a str) -> &'a str {
    match key {
        "SUMOLOGIC_COLLECTION_URL" => "https://collectors.example.com/receiver/v1/otlp/token",
        "GCP_APPLICATION_CREDENTIALS" => {
            "{\"type\": \"service_account\", \"client_email\": \"a@example.iam.gserviceaccount.com\", \"private_key\": \"key\"}"
        }
        "CLICKHOUSE_CA_PEM" | "KAFKA_CLIENT_CERT_PEM" | "SIGNALFX_CA_PEM" => CERTIFICATE,
        "KAFKA_CLIENT_KEY_PEM" => "-----BEGIN PRIVATE KEY-----\nMAUCAQAwAA==\n-----END PRIVATE KEY-----\n",
        _ => text,
    }
}

/// A certificate of nobody.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUIkTZ+4vbFCiKhUSMndx8Cq61WHkwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOY2EuZXhhbXBsZS5jb20wHhcNMjYxMTMwMDg1OTU4WhcNMzYx
MTI3MDg1OTU4WjAZMRcwFQYDVQQDDA5jYS5leGFtcGxlLmNvbTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABOg2Cw4CJzz0UWvrBYD+ZhMfKzZqZzDRSu2e6hhiQED6
RW22kfGo2Nwvms3kATYdwLaOVZIOteoLbCWndG0N11ujUzBRMB0GA1UdDgQWBBR4
sbeKWTlAis90QIQc3NbgqbsK1jAfBgNVHSMEGDAWgBR4sbeKWTlAis90QIQc3Nbg
qbsK1jAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDRo5nY8zhd
6ilwulpgt0fpasmODuKPyh1zRkNyMSk2QQIgcZMQj7fvuqZO9/QQirjgSOfmHQFR
Vbf2UFLBsLg2EAE=
-----END CERTIFICATE-----
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use crate::render::{Instance, Secret, render};
    use odigos_api::Signal;
    use std::collections::{BTreeMap, BTreeSet};

    /// Whether it is admitted, too, is shown where admission is decided.
    #[test]
    fn every_example_is_rendered_as_it_stands() {
        let mut wrong = Vec::new();
        for (id, one) in crate::destination::types() {
            let mut keys = BTreeMap::new();
            let mut destination = None;
            for document in serde_yaml::Deserializer::from_str(&super::manifest(one)) {
                let object: serde_json::Value = serde::Deserialize::deserialize(document).unwrap();
                match object["kind"].as_str() {
                    Some("Secret") => {
                        keys = serde_json::from_value(object["stringData"].clone()).unwrap();
                    }
                    _ => destination = Some(serde_json::from_value(object).unwrap()),
                }
            }
            let destination: odigos_api::destination::Destination = destination.unwrap();
            let spec = &destination.spec;
            let names: BTreeSet<String> = BTreeMap::<String, String>::keys(&keys).cloned().collect();
            let signals: BTreeSet<Signal> = spec.signals.iter().copied().collect();
            let secret = Secret::Keys { name: "s", keys: &names };
            let secret = if names.is_empty() { Secret::None } else { secret };
            let rendered = render(&Instance { id, type_id: id, data: &spec.data, signals: &signals, secret });
            let rendered = match rendered {
                Ok(rendered) => rendered,
                Err(problems) => {
                    wrong.push(format!("{id}: {problems:?}"));
                    continue;
                }
            };
            let files = rendered.files.iter().map(|used| &used.key);
            let used: BTreeSet<&String> = rendered.environment.iter().map(|used| &used.key).chain(files).collect();
            if !rendered.warnings.is_empty() || names.iter().collect::<BTreeSet<_>>() != used {
                wrong.push(format!("{id}: {:?}, uses {used:?} of {names:?}", rendered.warnings));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_type_has_an_example_of_its_own_shape() {
        for (id, one) in crate::destination::types() {
            for document in serde_yaml::Deserializer::from_str(&super::manifest(one)) {
                let object: serde_json::Value = serde::Deserialize::deserialize(document).unwrap();
                if object["kind"] == "Destination" {
                    let typed: odigos_api::destination::Destination = serde_json::from_value(object).unwrap();
                    assert_eq!(&typed.spec.type_, id);
                }
                for field in one.fields.iter().filter(|field| field.secret) {
                    let text = super::credential(&field.name, "x");
                    assert!(!field.name.ends_with("_PEM") || text.starts_with("-----BEGIN"), "{}", field.name);
                    assert!(crate::usage::ALL.iter().any(|usage| usage.problem(text).is_none()), "{}", field.name);
                }
            }
        }
    }
}
