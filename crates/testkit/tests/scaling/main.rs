//! Gateways that are added for what they refuse: real API server with its own autoscaling controller, real collectors that
//! refuse, the three controllers as processes. Only the kubelet is a stand-in; gateways answer on loopback addresses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

mod custom_metrics;
mod legacy_actions;
mod plane;
mod trace_cuts;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, Patch, PatchParams};
use odigos_api::{labels, names};
use odigos_testkit::control_plane::{NAMESPACE, apply};
use odigos_testkit::otlp::Sink;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use plane::{Gateways, Plane, TURN, destination, rendered};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_add_gateways_and_a_backend_that_is_down_does_not() {
    let _turn = TURN.lock().await;
    let mut plane = Plane::start().await;
    // Nothing listens there yet.
    let backend = free_port().unwrap();
    apply(&plane.client, &destination("shop", backend)).await.unwrap();
    let two = eventually("two gateways are wanted", Duration::from_secs(90), || async {
        plane.replicas().await == Some(2) && plane.least().await == Some(2)
    });
    two.await.unwrap_or_else(|error| {
        panic!("{error}: {}{}", plane.scheduler.process.tail(), plane.autoscaler.process.tail())
    });
    let directory = tempfile::tempdir().unwrap();

    // A backend that is down: its queue fills, items are refused, and nobody adds gateways for it.
    let config = rendered(&plane.client, |config| {
        let exporters = config["exporters"].as_object_mut().unwrap();
        let (_, exporter) = exporters.iter_mut().find(|(id, _)| id.ends_with("shop")).unwrap();
        exporter["sending_queue"]["queue_size"] = json!(60_000);
        // The sink of the tests takes nothing compressed.
        exporter["compression"] = json!("none");
    })
    .await;
    let begun = Instant::now();
    let gateways = Gateways::start(&plane, &config, &directory.path().join("down")).await;
    let message = plane.comes_to_say("DestinationBackpressure", "True/DestinationsFail", 240).await;
    assert!(message.contains("send to shop:"), "{message}");
    plane.comes_to_say("ItemsRefused", "True/DestinationBackpressure", 120).await;
    println!("a backend that is down is reported after {:?}", begun.elapsed());
    // Figures are renewed once a minute. What differs in the end is reported by the assertions below.
    let _ = eventually("the figures and the autoscaler follow", Duration::from_secs(120), || async {
        let load = plane.load().await;
        let shop = load.destinations.iter().find(|one| one.name == "shop");
        shop.is_some_and(|one| one.queue_percent > 70 && one.sent_per_second == 0) && plane.metrics().await == ["cpu"]
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((plane.least().await, plane.note().await, plane.replicas().await), (Some(2), None, Some(2)));
    assert_eq!(plane.metrics().await, ["cpu"], "what waits in the queue is memory");
    let load = plane.load().await;
    assert_eq!(load.destinations[0].name, "shop");
    assert!(load.destinations[0].queue_percent > 70 && load.destinations[0].sent_per_second == 0, "{load:?}");
    // It comes back, and all is as before. Between attempts to connect, gRPC pauses longer and longer, up to two minutes.
    let sink = Sink::listen_counting(backend).await.unwrap();
    plane.comes_to_say("DestinationBackpressure", "False/DestinationsKeepUp", 300).await;
    let both =
        eventually("memory counts again", Duration::from_secs(60), || async { plane.metrics().await.len() == 2 });
    both.await.unwrap();
    assert_eq!((plane.least().await, plane.note().await), (Some(2), None));
    drop(sink);
    gateways.stop().await;

    // Gateways without the memory for what they are sent: more are asked for, and Kubernetes brings them.
    let config = rendered(&plane.client, |config| {
        config["processors"]["memory_limiter"]["limit_mib"] = json!(2);
        config["processors"]["memory_limiter"]["spike_limit_mib"] = json!(1);
    })
    .await;
    let begun = Instant::now();
    let gateways = Gateways::start(&plane, &config, &directory.path().join("small")).await;
    let raised = eventually("at least four gateways are wanted", Duration::from_secs(180), || async {
        plane.least().await == Some(4)
    });
    raised.await.unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    println!("the floor is raised after {:?}", begun.elapsed());
    let note = plane.note().await.expect("the floor is noted");
    assert_eq!(note["minReplicas"], 4, "{note}");
    let follows =
        eventually("the cluster follows", Duration::from_secs(120), || async { plane.replicas().await == Some(4) });
    follows.await.unwrap();
    let message = plane.comes_to_say("ItemsRefused", "True/GatewaysAdded", 120).await;
    assert!(message.contains("at least 4 gateways run until 2"), "{message}");
    println!("Kubernetes wants four after {:?}", begun.elapsed());

    // Whatever else is written, the floor stays, and nobody fights for it.
    let generation = |hpa: &HorizontalPodAutoscaler| hpa.metadata.generation;
    let before = generation(&plane.hpa().await);
    apply(&plane.client, &destination("other", backend)).await.unwrap();
    let both = eventually("the new destination is rendered", Duration::from_secs(60), || async {
        rendered(&plane.client, |_| {}).await.contains("other")
    });
    both.await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plane.least().await, Some(4));
    let hpa = plane.hpa().await;
    assert_eq!(generation(&hpa), before, "nothing else was written meanwhile");

    // Another leader finds the floor.
    plane.autoscaler.process.kill();
    plane.autoscaler = plane.launch.start(&plane.api, names::AUTOSCALER, 1).await.unwrap();
    let leads = eventually("the new replica leads", Duration::from_secs(90), || async {
        plane.autoscaler.metrics().await.contains("\nodigos_leading 1\n")
    });
    leads.await.unwrap();
    // Its second round is over by then. After its third, 20 s from now, it may rightly add more.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(plane.least().await, Some(4));
    assert_eq!(generation(&plane.hpa().await), generation(&hpa), "nothing was taken back meanwhile");
    gateways.stop().await;

    // The lease ends (here: it has ended when the next leader comes), and the configuration decides again.
    plane.autoscaler.process.kill();
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let past = json!({"minReplicas": 4, "until": "2026-01-01T00:00:00Z"}).to_string();
    let live = plane.hpa().await;
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": names::GATEWAY, "ownerReferences": live.metadata.owner_references,
            "annotations": {labels::SCALING_HINT: past},
        },
        "spec": live.spec,
    });
    api.patch(names::GATEWAY, &PatchParams::apply(names::AUTOSCALER).force(), &Patch::Apply(&object)).await.unwrap();
    plane.autoscaler = plane.launch.start(&plane.api, names::AUTOSCALER, 2).await.unwrap();
    let restored = eventually("the configuration decides again", Duration::from_secs(120), || async {
        plane.least().await == Some(2)
    });
    restored.await.unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    assert_eq!(plane.note().await, None);

    // There is no metrics server here, and that is reported.
    let message = plane.comes_to_say("HPAMetricsUnavailable", "True/FailedGetResourceMetric", 300).await;
    assert!(message.contains("Install metrics-server"), "{message}");
    // No gateway answers at the addresses any more. The condition may have been written by the previous leader; metrics are
    // those of this one.
    let _ = eventually("the metrics follow", Duration::from_secs(60), || async {
        let metrics = plane.autoscaler.metrics().await;
        !metrics.contains("odigos_gateway_pods{state=\"silent\"} 0")
            && metrics.contains("odigos_gateway_autoscaler_blind 1")
    })
    .await;
    let metrics = plane.autoscaler.metrics().await;
    assert!(!metrics.contains("odigos_gateway_pods{state=\"silent\"} 0"), "{metrics}");
    assert!(metrics.contains("odigos_gateway_autoscaler_blind 1") && metrics.contains("odigos_gateway_raised_floor 0"));
}
