//! Rows of the specification's acceptance scenarios (`spec/sources-and-instrumentation.md` 7) as they are written there, through a
//! real API server: the instrumentor runs with the permissions of the chart, pods do well under a stand-in for the kubelet, and the
//! tests write what the agent of a node would have found. `tests/scenarios.md` says which row is where.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something unexpected happens"
)]

mod admission;
mod asking;
mod decisions;
mod pull_secret;
mod restarts;
mod scope;
mod selection;

use odigos_testkit::instrumentor::Plane;

/// Nothing was asked for that the chart does not permit.
fn permissions_suffice(plane: &Plane) {
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sources_are_taken_and_what_they_select() {
    let plane = Plane::start().await.unwrap();
    let _instrumentor = plane.start_instrumentor().await.unwrap();
    admission::labels_are_filled_in_and_no_finalizer(&plane).await;
    admission::what_contradicts_itself_is_refused(&plane).await;
    admission::one_source_for_each_workload(&plane).await;
    admission::the_workload_stays_and_the_rest_may_change(&plane).await;
    admission::patterns_and_exact_names_do_not_overlap(&plane).await;
    admission::finalizers_of_old_releases_go(&plane).await;
    selection::a_namespace_covers_every_kind(&plane).await;
    selection::one_is_excluded_and_comes_back(&plane).await;
    selection::one_is_asked_for_where_nothing_else_is(&plane).await;
    selection::the_namespace_goes_and_one_stays(&plane).await;
    selection::a_source_waits_for_its_workload(&plane).await;
    selection::patterns_cover_later_ones_too(&plane).await;
    selection::kinds_of_one_name_are_independent(&plane).await;
    selection::streams_come_from_both_sources(&plane).await;
    selection::without_sources_nothing_is_left(&plane).await;
    permissions_suffice(&plane);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn which_agents_are_decided() {
    let plane = Plane::start().await.unwrap();
    plane.configure(decisions::CONFIGURATION).await.unwrap();
    let _instrumentor = plane.start_instrumentor().await.unwrap();
    decisions::without_pods_it_is_waited_for_one(&plane).await;
    decisions::old_versions_are_left_alone(&plane).await;
    decisions::what_has_no_agent_gets_none(&plane).await;
    decisions::a_stated_language_needs_no_pod(&plane).await;
    decisions::other_vendors_are_respected(&plane).await;
    decisions::variables_of_the_owner_do_not_replace_the_users(&plane).await;
    decisions::what_nothing_covers_is_the_same_to_the_byte(&plane).await;
    decisions::the_last_destination_takes_no_agent_out(&plane).await;
    pull_secret::of_agents_is_named_where_it_exists(&plane).await;
    permissions_suffice(&plane);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_restarted_and_when() {
    let plane = Plane::start().await.unwrap();
    restarts::install_argo(&plane).await;
    let instrumentor = plane.start_instrumentor().await.unwrap();
    restarts::agents_come_and_go_with_one_restart_each(&plane).await;
    restarts::one_that_is_made_again_is_restarted_once(&plane).await;
    restarts::another_stream_restarts_nothing(&plane).await;
    restarts::a_paused_one_goes_on_when_it_is_resumed(&plane).await;
    restarts::a_cron_job_waits_for_its_next_job(&plane).await;
    restarts::a_job_made_by_hand_is_its_cron_jobs(&plane).await;
    restarts::a_static_pod_cannot_be_restarted(&plane).await;
    restarts::argo_rollouts_restart_in_their_own_way(&plane).await;
    restarts::a_rollout_runs_the_template_of_a_deployment(&plane).await;
    restarts::without_automatic_restarts_a_person_does_it(&plane).await;
    let _instrumentor = restarts::only_one_at_a_time_even_through_a_restart(&plane, instrumentor).await;
    permissions_suffice(&plane);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn which_namespaces_are_covered() {
    let plane = Plane::start().await.unwrap();
    let instrumentor = plane.start_instrumentor().await.unwrap();
    scope::ignored_namespace_is_uninstrumented_and_comes_back(&plane).await;
    scope::control_plane_is_never_covered(&plane).await;
    scope::opt_out_covers_namespaces_created_later(&plane).await;
    let _instrumentor = scope::lost_configuration_takes_nothing_back(&plane, instrumentor).await;
    permissions_suffice(&plane);
}
