//! Traces that data streams cut: real API server, scheduler, autoscaler and gateways; calls between two streams become a condition of
//! both, and go when one Destination has both.

use super::plane::{Gateways, Plane, TURN, destination, rendered};
use odigos_api::{API_VERSION, labels};
use odigos_plan::streams::class_id;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace, get_object};
use odigos_testkit::otlp::Sender;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};
use std::time::Duration;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn span(service: &str, class: &str, kind: i32, trace: u8) -> ResourceSpans {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: vec![trace; 16],
        span_id: vec![if kind == CLIENT { 1 } else { 2 }; 8],
        parent_span_id: if kind == CLIENT { Vec::new() } else { vec![1; 8] },
        name: service.to_owned(),
        kind,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        ..Span::default()
    };
    let attributes = vec![text("service.name", service), text(labels::STREAM_CLASS_ATTRIBUTE, class)];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// `Status/Reason` of what a stream says of its traces, and the message.
async fn says(plane: &Plane, stream: &str) -> (String, String) {
    let Ok(live) = get_object(&plane.client, API_VERSION, "DataStream", NAMESPACE, stream).await else {
        return (String::new(), String::new());
    };
    let conditions = live.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|one| one["type"] == "TraceCut").unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (format!("{}/{}", text("status"), text("reason")), text("message"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_say_who_calls_across_their_border_until_one_destination_has_both() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    let backend = free_port().unwrap();
    let taking = |name: &str, streams: &[&str]| {
        let mut one = destination(name, backend);
        one["spec"]["sourceSelector"] = json!({"dataStreams": streams});
        one
    };
    create_namespace(&plane.client, "shop").await.unwrap();
    for (workload, stream) in [("web", "upper"), ("stock", "lower")] {
        apply(&plane.client, &taking(stream, &[stream])).await.unwrap();
        let config = json!({
            "apiVersion": API_VERSION, "kind": "InstrumentationConfig",
            "metadata": {
                "name": format!("deployment-{workload}"), "namespace": "shop",
                "labels": {labels::stream_label(stream): "true"},
            },
            "spec": {"serviceName": workload, "agentInjectionEnabled": true},
        });
        apply(&plane.client, &config).await.unwrap();
    }
    let two = eventually("two gateways are wanted", Duration::from_secs(90), || async {
        plane.replicas().await == Some(2) && plane.least().await == Some(2)
    });
    two.await.unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    let [upper, lower] = ["upper", "lower"].map(|stream| class_id(&[stream.to_owned()].into()));
    let both = eventually("the gateway routes both classes", Duration::from_secs(120), || async {
        let group = plane.group().await;
        [&upper, &lower].iter().all(|id| group.spec.stream_classes.iter().any(|one| one.id == **id)) && {
            let config = rendered(&plane.client, |_| {}).await;
            config.contains(&upper) && config.contains(&lower)
        }
    });
    both.await.unwrap_or_else(|error| panic!("{error}: {}", plane.scheduler.process.tail()));
    let directory = tempfile::tempdir().unwrap();
    let config = rendered(&plane.client, |_| {}).await;
    let gateways = Gateways::start(&plane, &config, directory.path()).await;
    let endpoint = gateways.endpoints().remove(0);
    let (from, to) = (upper.clone(), lower.clone());
    #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as the test")]
    let calls = tokio::spawn(async move {
        for trace in 1..=u8::MAX {
            if let Ok(sender) = Sender::connect(&endpoint).await {
                let _ =
                    sender.send_spans(vec![span("web", &from, CLIENT, trace), span("stock", &to, SERVER, trace)]).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    for stream in ["upper", "lower"] {
        let told = eventually("the stream says that traces are cut", Duration::from_secs(300), || async {
            says(&plane, stream).await.0 == "True/HalvesOfTraces"
        });
        if let Err(error) = told.await {
            panic!("{error}: {:?}: {}", says(&plane, stream).await, plane.autoscaler.process.tail());
        }
        let (_, message) = says(&plane, stream).await;
        for part in [
            "web (data stream upper) calls",
            "stock (data stream lower) about 20 times a minute",
            "upper gets the part of",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    // Nothing of what is sent changes: where it goes does.
    for stream in ["upper", "lower"] {
        apply(&plane.client, &taking(stream, &["upper", "lower"])).await.unwrap();
    }
    for stream in ["upper", "lower"] {
        let whole = eventually("the stream says that traces are whole", Duration::from_secs(150), || async {
            says(&plane, stream).await.0 == "False/TracesWhole"
        });
        if let Err(error) = whole.await {
            panic!("{error}: {:?}: {}", says(&plane, stream).await, plane.autoscaler.process.tail());
        }
    }
    calls.abort();
    gateways.stop().await;
}
