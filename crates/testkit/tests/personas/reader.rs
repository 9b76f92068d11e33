//! A reader of collectors' metrics gets its certificate from the command line, and the authority is replaced on request.

use crate::plane::{LIMIT, Plane};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::names;
use odigos_kit::certificates::{Mounted, client_config};
use odigos_testkit::binaries;
use odigos_testkit::control_plane::NAMESPACE;
use odigos_testkit::process::eventually;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use std::process::{Command, Output};
use std::sync::Arc;

fn odigos(plane: &Plane, arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::built().unwrap().join("odigos"));
    command.env("KUBECONFIG", plane.api.kubeconfig()).arg("certificates").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn secret(plane: &Plane, namespace: &str, name: &str) -> Secret {
    Api::<Secret>::namespaced(plane.client.clone(), namespace).get(name).await.unwrap()
}

pub(crate) async fn reader_is_certified_and_authority_rotates(plane: &Plane) {
    let status = odigos(plane, &["status"]);
    assert!(status.status.success() && said(&status).contains(names::NODE_CERTIFICATE), "{}", said(&status));
    let written = odigos(plane, &["reader", "--name", "collectors-reader", "--in", "shop"]);
    assert!(written.status.success(), "{}", said(&written));
    let held = secret(plane, "shop", "collectors-reader").await;
    let mounted = Mounted::read(&held.data.clone().unwrap()).unwrap();
    client_config(&mounted).unwrap();
    let gateway = secret(plane, NAMESPACE, names::GATEWAY_CERTIFICATE).await.data.unwrap();
    let gateway = Mounted::read(&gateway).unwrap();
    assert_eq!((&mounted.issuer, &mounted.trusted), (&gateway.issuer, &gateway.trusted), "what collectors trust");
    assert!(!said(&written).contains("PRIVATE"), "{}", said(&written));
    let again = odigos(plane, &["reader", "--name", "collectors-reader", "--in", "shop"]);
    assert!(said(&again).contains("is good until"), "{}", said(&again));
    assert_eq!(secret(plane, "shop", "collectors-reader").await.data, held.data);
    let foreign = odigos(plane, &["reader", "--name", "payments-vault"]);
    assert!(
        !foreign.status.success() && said(&foreign).contains("was not written by this command"),
        "{}",
        said(&foreign)
    );

    // Collectors are certified since less than ten minutes: the certificates are made older, as time would.
    let early = odigos(plane, &["rotate"]);
    assert_eq!(early.status.code(), Some(1), "{}", said(&early));
    let first = gateway.issuer;
    let second = rotated(plane, &first).await;
    let table = said(&odigos(plane, &["status"]));
    assert!(table.contains("the one before is trusted too"), "{table}");
    let early = odigos(plane, &["rotate"]);
    assert!(early.status.code() == Some(1) && said(&early).contains("ten minutes"), "{}", said(&early));
    rotated(plane, &second).await;
    // What the first authority signed is worth nothing to any collector.
    for name in [names::GATEWAY_CERTIFICATE, names::NODE_CERTIFICATE] {
        let held = Mounted::read(&secret(plane, NAMESPACE, name).await.data.unwrap()).unwrap();
        let trusted = &held.trusted;
        assert!(trusted.contains(second.trim()) && !trusted.contains(first.trim()), "{name}");
        // Gateways are no clients.
        assert_eq!(is_trusted(trusted, held.certificate.as_bytes()), name == names::NODE_CERTIFICATE, "{name}");
        assert!(!is_trusted(trusted, mounted.certificate.as_bytes()), "the reader of the first authority, at {name}");
    }
}

/// Whether a collector with these authorities takes a client with this certificate.
fn is_trusted(authorities: &str, certificate: &[u8]) -> bool {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(one.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    verifier.verify_client_cert(&certificate, &[], UnixTime::now()).is_ok()
}

/// Makes what is in a Secret of certificates older, as time would.
async fn age(plane: &Plane, name: &str) {
    let api: Api<Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let made = k8s_openapi::jiff::Timestamp::now() - k8s_openapi::jiff::SignedDuration::from_mins(11);
    let change = json!({"stringData": {"made": made.to_string()}});
    api.patch(name, &Default::default(), &kube::api::Patch::Merge(&change)).await.unwrap();
}

async fn authority(plane: &Plane) -> String {
    let data = secret(plane, NAMESPACE, names::COLLECTOR_AUTHORITY).await.data.unwrap();
    String::from_utf8(data["ca.crt"].0.clone()).unwrap()
}

/// Has the authority replaced, and waits as a person would; the certificate of the new one.
async fn rotated(plane: &Plane, before: &str) -> String {
    for name in [names::GATEWAY_CERTIFICATE, names::NODE_CERTIFICATE] {
        age(plane, name).await;
    }
    let mut command = tokio::process::Command::new(binaries::built().unwrap().join("odigos"));
    command.env("KUBECONFIG", plane.api.kubeconfig()).args(["certificates", "rotate", "--wait", "--timeout", "5"]);
    let meanwhile = async {
        let is_replaced = async || authority(plane).await != before;
        eventually("the authority is replaced", LIMIT, is_replaced).await.unwrap();
        // Collectors do not trust it yet, so a second request would be one too many.
        let early = odigos(plane, &["rotate"]);
        assert!(early.status.code() == Some(1) && said(&early).contains("not all certified"), "{}", said(&early));
        let status = said(&odigos(plane, &["status"]));
        assert!(status.lines().any(|line| line.ends_with("  the one before")), "{status}");
        age(plane, names::COLLECTOR_AUTHORITY).await;
    };
    let (output, ()) = tokio::join!(command.output(), meanwhile);
    let output = output.unwrap();
    assert!(output.status.success() && said(&output).contains("certified by the other authority"), "{}", said(&output));
    let after = authority(plane).await;
    let data = secret(plane, NAMESPACE, names::COLLECTOR_AUTHORITY).await.data.unwrap();
    assert_eq!(data["previous.crt"].0, before.as_bytes(), "it stays trusted until the next rotation");
    after
}

/// While no autoscaler runs, two requests would be one rotation, and the first authority would stay trusted.
pub(crate) async fn rotation_is_asked_for_once(plane: &mut Plane) {
    plane.stop(names::AUTOSCALER);
    for name in [names::GATEWAY_CERTIFICATE, names::NODE_CERTIFICATE] {
        age(plane, name).await;
    }
    assert!(odigos(plane, &["rotate"]).status.success());
    let again = odigos(plane, &["rotate"]);
    assert!(again.status.code() == Some(1) && said(&again).contains("has not begun"), "{}", said(&again));
    let status = said(&odigos(plane, &["status"]));
    assert!(status.contains("rotation asked for, not begun"), "{status}");
}
