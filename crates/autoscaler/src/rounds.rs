//! Rounds in which the leading replica asks gateways for their metrics.
//!
//! Owns when a round begins, with which certificate gateways are asked, and how many at once. Never decides about what they answer.

use crate::scrape::Asker;
use crate::state::{State, is_of_gateway};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::names;
use odigos_kit::leader_election::Leadership;
use odigos_plan::scaling::pods::{metrics_port, runs};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How many gateways are asked at once.
const AT_ONCE: usize = 16;

/// The rounds of one task.
pub(crate) struct Rounds {
    asker: Asker,
    interval: Interval,
    leadership: Leadership,
    stop: CancellationToken,
}

impl Rounds {
    /// A round every `period`, until the token is cancelled.
    pub(crate) fn new(period: Duration, leadership: Leadership, stop: CancellationToken) -> Self {
        let mut interval = interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { asker: Asker::new(), interval, leadership, stop }
    }

    /// Waits until this replica leads and a round begins; none once the token is cancelled.
    pub(crate) async fn next(&mut self, state: &State) -> Option<&Asker> {
        let next = async {
            self.leadership.wait().await;
            self.interval.tick().await;
        };
        tokio::select! {
            () = self.stop.cancelled() => return None,
            () = next => {}
        }
        self.asker.certify(state.certificates.reader());
        Some(&self.asker)
    }
}

/// The running gateways of a group with the metrics that they serve, as they answer; none where one does not.
pub(crate) fn answers(
    state: &State,
    asker: &Asker,
    group: &CollectorsGroup,
) -> impl Stream<Item = (Arc<Pod>, Option<String>)> {
    let pool = group.spec.pool.as_ref().map(|pool| pool.name.as_str());
    // Gateways of releases without an endpoint for readers serve their metrics here.
    let port = u16::try_from(group.spec.collector_own_metrics_port).unwrap_or(names::GATEWAY_METRICS_PORT);
    let pods = state.pods.namespace(&state.namespace).into_iter();
    let running = pods.filter(|pod| is_of_gateway(&pod.metadata, pool) && runs(pod));
    let asked: Vec<_> = running.map(|pod| ask(asker.clone(), pod, port)).collect();
    futures::stream::iter(asked).buffer_unordered(AT_ONCE)
}

async fn ask(asker: Asker, pod: Arc<Pod>, port: u16) -> (Arc<Pod>, Option<String>) {
    let address: Option<IpAddr> =
        pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    let Some(address) = address else { return (pod, None) };
    let answer = asker.metrics(address, metrics_port(&pod, port)).await;
    if let Err(error) = &answer {
        tracing::debug!(pod = pod.metadata.name, %error, "failed to read the metrics of a gateway");
    }
    (pod, answer.ok())
}
