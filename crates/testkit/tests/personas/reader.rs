//! A reader of collectors' metrics gets its certificate from the command line, and the authority is replaced on request.

use crate::plane::{LIMIT, Plane};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::names;
use odigos_kit::certificates::{Mounted, client_config};
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{NAMESPACE, apply};
use odigos_testkit::process::eventually;
use serde_json::json;
use std::process::{Command, Output};

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
    for name in [names::GATEWAY_CERTIFICATE, names::NODE_CERTIFICATE] {
        let api: Api<Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
        let made = k8s_openapi::jiff::Timestamp::now() - k8s_openapi::jiff::SignedDuration::from_mins(11);
        let change = json!({"stringData": {"made": made.to_string()}});
        api.patch(name, &Default::default(), &kube::api::Patch::Merge(&change)).await.unwrap();
    }
    let rotated = odigos(plane, &["rotate"]);
    assert!(rotated.status.success(), "{}", said(&rotated));
    let mut turn = 0;
    let is_replaced = async || {
        let data = secret(plane, NAMESPACE, names::COLLECTOR_AUTHORITY).await.data.unwrap();
        let text =
            |key: &str| String::from_utf8(data.get(key).map(|bytes| bytes.0.clone()).unwrap_or_default()).unwrap();
        text("previous.crt") == gateway.issuer && text("ca.crt") != gateway.issuer
    };
    let replaced = eventually("the authority is replaced", LIMIT, is_replaced);
    // Something happens, so that the autoscaler looks.
    let stirred = async {
        loop {
            turn += 1;
            let marked = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
                "data": {names::CONFIGURATION_KEY: format!("collectorGateway: {{requestCPUm: {}}}", 500 + turn)},
            });
            apply(&plane.client, &marked).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        outcome = replaced => outcome.unwrap(),
        () = stirred => {}
    }
    let early = odigos(plane, &["rotate"]);
    assert!(early.status.code() == Some(1) && said(&early).contains("not all certified"), "{}", said(&early));
    let status = said(&odigos(plane, &["status"]));
    assert!(
        status.contains("the one before is trusted too")
            && status.lines().any(|line| line.ends_with("  the one before")),
        "{status}"
    );
}
