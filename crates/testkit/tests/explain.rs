//! The command line tool on a real API server: asks for a workload, explains it and its pods, takes it back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and shows the screens"
)]

use kube::api::{Api, ListParams};
use odigos_api::API_VERSION;
use odigos_api::source::Source;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;

const SECRET: &str = "never-show-this";

/// What came of a run of the tool.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    said: String,
}

impl Ran {
    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- output\n{}\n--- errors\n{}", self.out, self.said);
        assert!(!self.out.contains(SECRET) && !self.said.contains(SECRET), "values are shown");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn odigos_as(kubeconfig: &Path, arguments: &[&str]) -> Ran {
    let binary = binaries::built().unwrap().join("odigos");
    let mut command = tokio::process::Command::new(binary);
    command.args(arguments).env("KUBECONFIG", kubeconfig).env_remove("ODIGOS_NAMESPACE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), said: text(&output.stderr) };
    println!("$ odigos {}\n{}{}[{}]\n", arguments.join(" "), ran.out, ran.said, ran.code);
    ran
}

async fn odigos(plane: &Plane, arguments: &[&str]) -> Ran {
    odigos_as(&plane.api.kubeconfig(), arguments).await
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Somebody who may read one namespace and nothing else.
async fn reader(plane: &Plane) -> std::path::PathBuf {
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "shop"}});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "shop"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["odigos.io"], "resources": ["instrumentationconfigs"], "verbs": ["get"]},
            {"apiGroups": ["odigos.io"], "resources": ["sources"], "verbs": ["list"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": "shop"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "shop"}],
    });
    for object in [account, role, binding] {
        apply(&plane.client, &object).await.unwrap();
    }
    plane.api.kubeconfig_of("shop", "reader").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_is_asked_for_explained_and_taken_back() {
    let plane = Plane::start().await.unwrap();
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    create_namespace(&plane.client, "shop").await.unwrap();
    let env =
        json!([{"name": "TOKEN", "value": SECRET}, {"name": "JAVA_TOOL_OPTIONS", "value": format!("-Dp={SECRET}")}]);
    let pod = json!({"containers": [{"name": "app", "image": "none", "env": env}]});
    plane.deploy("shop", "cart", &pod).await.unwrap();
    let first = name(&plane.newest("shop", "cart", &[]).await.unwrap());
    let sources: Api<Source> = Api::namespaced(plane.client.clone(), "shop");

    // Nothing asks for it.
    let ran = odigos(&plane, &["why", &first, "-n", "shop"]).await.ended(1);
    assert!(ran.out.contains("To do    odigos sources enable deployment/cart -n shop\n"));
    odigos(&plane, &["sources", "list"]).await.ended(0);
    let ran = odigos(&plane, &["sources", "enable", "deployment/basket", "-n", "shop"]).await.ended(2);
    assert!(ran.said.contains("Deployment shop/basket does not exist"));
    let ran = odigos(&plane, &["sources", "enable", "deployment/cart", "-n", "shop", "--dry-run"]).await.ended(10);
    assert!(ran.out.contains("would create Source in shop") && ran.out.contains("1 pod is made anew"));
    assert!(sources.list(&ListParams::default()).await.unwrap().items.is_empty());

    // Asked for, in a stream of its own.
    odigos(&plane, &["sources", "enable", "deployment", "cart", "-n", "shop", "--stream", "checkout"]).await.ended(0);
    let written = sources.list(&ListParams::default()).await.unwrap().items.remove(0);
    let labels = written.metadata.labels.clone().unwrap();
    assert_eq!(labels.get("odigos.io/data-stream-checkout").map(String::as_str), Some("true"));
    assert_eq!(labels.get("odigos.io/data-stream-default"), None);
    assert!(written.metadata.name.as_deref().unwrap().starts_with("source-"));
    let waits =
        async || odigos(&plane, &["describe", "workload", "deployment/cart", "-n", "shop"]).await.out.contains("waits");
    eventually("the workload waits for detection", LIMIT, waits).await.unwrap();
    // Nothing is detected meanwhile, so whoever waits does so in vain.
    let again =
        ["sources", "enable", "deployment/cart", "-n", "shop", "--stream", "checkout", "--wait", "--timeout", "1"];
    odigos(&plane, &again).await.ended(6);
    let java = json!([{"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false}]);
    plane.detect("shop", "deployment-cart", &java).await.unwrap();
    let ran = odigos(&plane, &["sources", "enable", "deployment/cart", "-n", "shop", "--wait", "--timeout", "90"])
        .await
        .ended(0);
    assert!(ran.out.starts_with("Nothing to do: ") && ran.said.contains("Deployment shop/cart is instrumented"));

    // One screen says where it stands; the last thing that lacks is a destination.
    let ran = odigos(&plane, &["describe", "workload", "deployment/cart", "-n", "shop"]).await.ended(1);
    assert!(ran.out.contains("no Destination is in its data streams"));
    let destination = json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": "jaeger", "namespace": NAMESPACE},
        "spec": {"type": "jaeger", "destinationName": "Jaeger", "data": {"JAEGER_URL": "jaeger:4317"}, "signals": ["TRACES"], "sourceSelector": {"dataStreams": ["checkout"]}},
    });
    apply(&plane.client, &destination).await.unwrap();
    let ran = odigos(&plane, &["describe", "workload", "deployment/cart", "-n", "shop"]).await.ended(0);
    assert!(ran.out.starts_with("Deployment shop/cart: instrumented, 1 of 1 pods with the current agents\n"));
    assert!(ran.out.contains("Streams   checkout → jaeger\n") && ran.out.ends_with("\nNothing blocks it.\n"));
    assert!(ran.out.lines().count() <= 40 && ran.out.lines().all(|line| line.chars().count() <= 110));
    let source = written.metadata.name.unwrap();
    let same = odigos(&plane, &["describe", "source", &source, "-n", "shop", "-o", "json"]).await.ended(0).json();
    assert_eq!(same["containers"][0]["distribution"], "java-community");
    assert_eq!(same["pods"]["current"], 1);
    let yaml = odigos(&plane, &["describe", "workload", "deploy/cart", "-n", "shop", "-o", "yaml"]).await.ended(0).out;
    assert!(yaml.contains("\nworkload: \"Deployment shop/cart\"\n"), "{yaml}");

    // Its pod, also for somebody who may read little.
    let pod = name(&plane.newest("shop", "cart", &[]).await.unwrap());
    let limited = reader(&plane).await;
    for kubeconfig in [plane.api.kubeconfig(), limited] {
        let ran = odigos_as(&kubeconfig, &["why", &pod, "-n", "shop"]).await.ended(0);
        assert!(
            ran.out.contains("JAVA_TOOL_OPTIONS")
                && ran.out.contains("/var/odigos/java")
                && ran.out.ends_with("\nNothing blocks it.\n")
        );
    }
    let rows = odigos(&plane, &["sources", "list", "-o", "json"]).await.ended(0).json();
    assert_eq!(
        (&rows[0]["withAgents"], &rows[0]["state"], &rows[0]["streams"]),
        (&json!(1), &json!("enabled"), &json!(["checkout"]))
    );
    odigos(&plane, &["sources", "list"]).await.ended(0);
    let ran = odigos(&plane, &["sources", "status"]).await.ended(0);
    assert!(ran.out.starts_with("1 workload covered in 1 namespace, nothing is blocked\n"));

    // A pod that nobody changed at admission, and that stays so.
    plane.configure("rollout: {healMissedPods: false}\n").await.unwrap();
    instrumentor.kill();
    let missed = name(&plane.replaced("shop", "cart").await.unwrap());
    let ran = odigos(&plane, &["why", &missed, "-n", "shop"]).await.ended(1);
    assert!(ran.out.contains("admission would give it its agents now"), "{}", ran.out);
    let _again = plane.start_instrumentor().await.unwrap();
    let noticed = async || odigos(&plane, &["sources", "status"]).await.code == 1;
    eventually("the missed pod is noticed", LIMIT, noticed).await.unwrap();

    // Taken back.
    let ran = odigos(&plane, &["sources", "disable", "deployment/cart", "-n", "shop", "--wait", "--timeout", "90"])
        .await
        .ended(0);
    assert!(ran.out.contains(&format!("deleted Source {source}")) && ran.said.contains("is no longer instrumented"));
    let is_deleted = async || sources.get_opt(&source).await.unwrap().is_none();
    eventually("the Source is deleted", LIMIT, is_deleted).await.unwrap();
    odigos(&plane, &["sources", "disable", "deployment/cart", "-n", "shop"]).await.ended(0);
    // In a covered namespace it is excluded instead.
    odigos(&plane, &["sources", "enable", "namespace", "shop"]).await.ended(0);
    odigos(&plane, &["sources", "disable", "deployment/cart", "-n", "shop", "-o", "json"]).await.ended(0);
    let rows = odigos(&plane, &["sources", "list", "-n", "shop", "-o", "json"]).await.ended(0).json();
    let states: Vec<(&str, &str)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["kind"].as_str().unwrap(), row["state"].as_str().unwrap()))
        .collect();
    assert!(states.contains(&("Deployment", "excluded")) && states.contains(&("Namespace", "enabled")), "{states:?}");
}
