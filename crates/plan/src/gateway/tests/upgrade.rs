//! Gateways while node collectors of the release before are left.

use super::*;

#[test]
fn gateway_takes_what_node_collectors_of_the_release_before_send() {
    let given = Given::new(vec![otlp("d", &["TRACES"], json!(null))]);
    let senders = Senders { has_old_nodes: true, connection_seconds: 60, measures_spans: false };
    let plan = plan(&Observed { senders, ..given.seen() });
    let root = plan.config.pipelines.get(&odigos_pipeline::PipelineId::new(Signal::Traces, "in")).unwrap();
    assert_eq!(root.receivers, ["otlp/nodes", "otlp"], "their classes count");
    let grpc = &plan.config.get(ComponentKind::Receiver, "otlp").unwrap()["protocols"]["grpc"];
    assert_eq!(grpc["max_recv_msg_size_mib"], 128, "their batches have no limit in bytes");
    assert_eq!(grpc["keepalive"]["server_parameters"]["max_connection_age"], "60s");
    let seconds = |senders: Senders| {
        let seen = Observed { senders, ..given.seen() };
        let all = crate::gateway::objects::desired(
            &seen,
            &crate::gateway::plan(&seen),
            &crate::gateway::objects::Installation::default(),
        );
        all.iter().find(|one| one.object["kind"] == "Deployment").unwrap().object["spec"]["minReadySeconds"].clone()
    };
    assert_eq!(seconds(senders), 30, "gateways of that release have time to deliver");
    assert_eq!(seconds(given.seen().senders), Value::Null);
}
