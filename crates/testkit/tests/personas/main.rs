//! Personas: what a person or a pod with few permissions can reach through the product, on the real API server and the real collector.
//!
//! One file a persona, each with the attacks that an outside review carried out; what they took then must not be had now. The
//! controllers run with the permissions of the chart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

mod admission;
mod authors;
#[path = "../collector/certificate_files.rs"]
mod certificate_files;
mod connection;
mod crowd;
mod destination;
mod identity;
mod node;
mod node_reports;
mod plane;
mod pod;
mod processor;
mod reader;
mod tenant;
mod webhook;

use plane::Plane;

/// Who may create Processors in the namespace of the control plane, and nothing else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processor_author_reads_no_secret_and_no_file() {
    let _turn = plane::TURN.lock().await;
    let mut plane = Plane::start().await;
    processor::references_are_text_on_both_collectors(&plane).await;
    processor::glutton_goes_alone(&plane).await;
    processor::mask_that_takes_all_memory_is_held(&plane).await;
    plane.permissions_suffice();
    processor::types_that_reach_further_are_rejected(&mut plane).await;
}

/// Who may create Destinations in the namespace of the control plane, and nothing else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destination_author_gets_no_secret_of_others() {
    let _turn = plane::TURN.lock().await;
    let mut plane = Plane::start().await;
    let author = destination::author(&plane).await;
    destination::secrets_of_others_are_not_read(&plane, &author).await;
    destination::marked_secret_is_read(&plane, &author).await;
    destination::values_of_secrets_are_text(&plane).await;
    destination::destination_of_another_cannot_be_led_elsewhere(&plane, &author).await;
    destination::settings_and_types_are_limited(&plane, &author).await;
    destination::forged_message_quarantines_its_author(&plane, &author).await;
    plane.permissions_suffice();
    plane.stop(odigos_api::names::INSTRUMENTOR);
    destination::nothing_is_admitted_unseen(&author).await;
}

/// Who has a role of the chart, and who may create Actions or Samplings in the namespace of the control plane, and nothing else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_of_roles_reach_what_the_documentation_says() {
    let _turn = plane::TURN.lock().await;
    let mut plane = Plane::start().await;
    authors::roles_give_what_the_table_says(&plane).await;
    authors::sampling_author_reads_nothing(&plane).await;
    reader::reader_is_certified_and_authority_rotates(&plane).await;
    plane.permissions_suffice();
    authors::action_author_reads_nothing_and_chooses_no_stream(&mut plane).await;
    authors::sampling_beyond_the_limits_stops_nothing(&plane).await;
    reader::rotation_is_asked_for_once(&mut plane).await;
}

/// Who may create InstrumentationRules, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_author_reads_no_variable_and_stops_no_pod() {
    let _turn = plane::TURN.lock().await;
    authors::rule_author_reads_nothing_and_stops_no_pod().await;
}

/// The same author with more Destinations than one ConfigMap holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_destinations_fill_no_config_map() {
    let _turn = plane::TURN.lock().await;
    let mut plane = Plane::start().await;
    crowd::many_destinations_stop_nobody(&mut plane).await;
    plane.permissions_suffice();
}

/// Root on a node that runs no pod of a workload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_reaches_no_pod_of_workloads_that_it_does_not_run() {
    let _turn = plane::TURN.lock().await;
    node_reports::reports_reach_pods_of_own_workloads_alone().await;
}

/// Who may write Sources and pods in a namespace of their own, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_takes_no_telemetry_of_others_and_stops_nothing() {
    let _turn = plane::TURN.lock().await;
    let plane = Plane::start().await;
    tenant::ids_that_collided_are_apart(&plane).await;
    tenant::source_names_few_streams(&plane).await;
    tenant::class_of_pods_is_not_theirs_to_set(&plane).await;
    tenant::many_streams_hold_nobody_up(&plane).await;
    tenant::gateway_never_mounts_a_config_map_that_is_missing(&plane).await;
    plane.permissions_suffice();
}

/// Any pod that reaches the port of the webhooks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_held_open_keep_no_review_waiting() {
    let _turn = plane::TURN.lock().await;
    let plane = Plane::start().await;
    // Another address than the API server's, and the one that it has itself.
    for address in ["127.0.0.2", "127.0.0.1"] {
        webhook::reviews_are_answered_while_connections_are_held(&plane, address).await;
    }
    plane.permissions_suffice();
}

/// Pods that the release before labelled keep their route until they carry the id of this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_with_an_earlier_class_keep_their_route_and_are_relabelled() {
    let _turn = plane::TURN.lock().await;
    tenant::earlier_classes_are_routed_until_no_pod_carries_them().await;
}

/// Pod Security by the configuration of the API server, as distributions of Kubernetes set it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_refused_where_baseline_is_the_default() {
    let _turn = plane::TURN.lock().await;
    admission::no_pod_is_refused(Some("baseline"), false).await;
}

/// The strictest level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_refused_where_restricted_is_the_default() {
    let _turn = plane::TURN.lock().await;
    admission::no_pod_is_refused(Some("restricted"), false).await;
}

/// A policy that no label tells of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_refused_where_a_policy_refuses_host_paths() {
    let _turn = plane::TURN.lock().await;
    admission::no_pod_is_refused(None, true).await;
}
