//! Each way in which a graph can be broken, and that a sound one passes.

use crate::config::{CollectorConfig, ComponentKind, Pipeline};
use odigos_api::Signal;
use serde_json::json;

fn sound() -> CollectorConfig {
    let mut config = CollectorConfig::default();
    config.add(ComponentKind::Receiver, "otlp", json!({}));
    config.add(ComponentKind::Exporter, "debug/d", json!({}));
    config.add(
        ComponentKind::Connector,
        "routing/traces",
        json!({"default_pipelines": ["traces/stream.default"], "table": []}),
    );
    *config.pipeline(Signal::Traces, "in") = pipeline(&["otlp"], &["routing/traces"]);
    *config.pipeline(Signal::Traces, "stream.default") = pipeline(&["routing/traces"], &["debug/d"]);
    config
}

fn pipeline(receivers: &[&str], exporters: &[&str]) -> Pipeline {
    Pipeline {
        receivers: receivers.iter().map(ToString::to_string).collect(),
        processors: vec![],
        exporters: exporters.iter().map(ToString::to_string).collect(),
    }
}

fn problems(config: &CollectorConfig) -> String {
    config.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sound_graph_passes() {
    assert_eq!(problems(&sound()), "");
}

#[test]
fn no_pipeline_at_all() {
    assert_eq!(problems(&CollectorConfig::default()), "service: has no pipeline");
}

#[test]
fn a_pipeline_without_receiver_or_exporter() {
    let mut config = sound();
    *config.pipeline(Signal::Logs, "in") = pipeline(&[], &[]);
    assert_eq!(problems(&config), "pipeline logs/in: has no exporter\npipeline logs/in: has no receiver");
}

#[test]
fn undefined_components() {
    let mut config = sound();
    let broken = Pipeline { processors: vec!["batch".into()], ..pipeline(&["zipkin"], &["nop"]) };
    *config.pipeline(Signal::Traces, "x") = broken;
    let found = problems(&config);
    for part in ["exporter nop", "receiver zipkin", "processor batch"] {
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn a_connector_that_is_only_fed_or_only_feeds() {
    let mut config = sound();
    config.add(ComponentKind::Connector, "forward/a", json!({}));
    config.add(ComponentKind::Connector, "forward/b", json!({}));
    config.pipeline(Signal::Traces, "in").exporters.push("forward/a".into());
    config.pipeline(Signal::Traces, "stream.default").receivers.push("forward/b".into());
    assert_eq!(
        problems(&config),
        "connectors forward/a: is fed by pipelines, but no pipeline receives from it\n\
         connectors forward/b: feeds pipelines, but no pipeline exports to it"
    );
}

#[test]
fn a_forward_between_signals() {
    let mut config = sound();
    config.add(ComponentKind::Connector, "forward/a", json!({}));
    config.pipeline(Signal::Traces, "in").exporters.push("forward/a".into());
    *config.pipeline(Signal::Logs, "x") = pipeline(&["forward/a"], &["debug/d"]);
    assert_eq!(problems(&config), "connectors forward/a: joins pipelines of different signals");
}

#[test]
fn a_route_to_nowhere() {
    let mut config = sound();
    config.add(
        ComponentKind::Connector,
        "routing/traces",
        json!({"default_pipelines": ["traces/stream.default"], "table": [{"pipelines": ["traces/stream.a", "traces/in"]}]}),
    );
    assert_eq!(
        problems(&config),
        "connectors routing/traces: routes to the pipeline traces/in, which does not receive from it\n\
         connectors routing/traces: routes to the pipeline traces/stream.a, which does not exist"
    );
}

#[test]
fn extensions_must_be_started() {
    let mut config = sound();
    config.add(ComponentKind::Exporter, "debug/d", json!({"auth": {"authenticator": "basicauth/d"}}));
    config.started_extensions.insert("pprof".into());
    assert_eq!(
        problems(&config),
        "exporters debug/d: needs the extension basicauth/d, which is not started\n\
         service.extensions: names pprof, which is not defined"
    );
}

#[test]
fn cycles_are_found() {
    let mut config = sound();
    config.add(ComponentKind::Connector, "forward/loop", json!({}));
    config.pipeline(Signal::Traces, "in").receivers.push("forward/loop".into());
    config.pipeline(Signal::Traces, "stream.default").exporters.push("forward/loop".into());
    assert_eq!(
        problems(&config),
        "pipeline traces/in: is part of a cycle\npipeline traces/stream.default: is part of a cycle"
    );
}

#[test]
fn ids_that_collectors_refuse() {
    for bad in ["1x", "", "debug/", "debug/a b", "debug/a$b", "de-bug/x"] {
        assert!(super::check_component_id(bad).is_err(), "{bad}");
    }
    for good in ["debug", "otlp_grpc/jaeger-odigos.io.dest.jaeger-x7k2p", "forward/traces/jaeger-d", "nop/namespace:a"]
    {
        assert_eq!(super::check_component_id(good), Ok(()), "{good}");
    }
}
