//! An example manifest for a type, from its own fields: what `show` prints and the documentation shows.

use crate::destination::DestinationType;
use crate::schema::Field;
use odigos_api::Signal;
use odigos_api::labels::{DESTINATION_SECRET, SECRET_DESTINATIONS};
use std::fmt::Write as _;

/// A Destination, and a Secret where the type has required credentials, as YAML.
#[must_use]
pub fn manifest(one: &DestinationType) -> String {
    let shown = |field: &&Field| field.is_required() || one.rendering.required.contains(&field.name);
    let credentials: Vec<&Field> = one.fields.iter().filter(|field| field.secret).filter(shown).collect();
    let settings: Vec<&Field> = one.fields.iter().filter(|field| !field.secret).filter(shown).collect();
    let mut text = String::new();
    let secret = format!("{}-credentials", one.id);
    if !credentials.is_empty() {
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {secret}\n  namespace: odigos-system\n  labels: {{{DESTINATION_SECRET}: \"true\"}}\n  annotations: {{{SECRET_DESTINATIONS}: {}}}\nstringData:\n",
            one.id
        );
        for field in &credentials {
            let _ = writeln!(text, "  {}: \"<{}>\"", field.name, field.display_name.to_lowercase());
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
        for field in &settings {
            let first =
                field.component_props.get("values").and_then(|values| values.get(0)?.as_str().map(str::to_owned));
            let value = field.initial_value.clone().or(first);
            let value = value.unwrap_or_else(|| format!("<{}>", field.display_name.to_lowercase()));
            let _ = writeln!(text, "    {}: '{}'", field.name, value.replace('\'', "''"));
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
