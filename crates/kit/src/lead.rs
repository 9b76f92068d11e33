//! Leader election on a Lease: only the leader writes, the others keep their stores warm.

use crate::metrics::Metrics;
use kube::Client;
use kube::api::Api;
use kube_lease_manager::LeaseManagerBuilder;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether this replica leads, as it changes.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// For a process that is alone.
    #[must_use]
    pub fn always() -> Self {
        let (sender, receiver) = watch::channel(true);
        // The value outlives the sender; nothing will change it.
        drop(sender);
        Self(receiver)
    }

    /// Whether this replica leads now.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until this replica leads.
    pub async fn wait(&mut self) {
        while !self.is_leader() {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// How a lease is held.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: &'static str,
    /// Seconds after which a leader that is gone is replaced.
    pub seconds: u64,
}

/// Takes part in the election until the token is cancelled, then gives the lease back so that the next leader need not
/// wait. Losing the lease ends the process: what it was about to write may be another's by now.
pub async fn take_part(
    client: Client,
    lease: Lease,
    metrics: Metrics,
    leadership: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let identity = format!("{}-{:08x}", hostname(), rand::random::<u32>());
    let manager = loop {
        let built = LeaseManagerBuilder::new(client.clone(), lease.name)
            .with_namespace(&lease.namespace)
            .with_identity(&identity)
            .with_duration(lease.seconds)
            .with_grace((lease.seconds / 3).max(1))
            // The field manager stays the library's, unique for each replica: with a shared one both would win.
            .build()
            .await;
        match built {
            Ok(manager) => break manager,
            Err(error) => {
                tracing::warn!(%error, lease = lease.name, "the lease cannot be created yet");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(2)) => {}
                }
            }
        }
    };
    let (mut channel, task) = manager.watch().await;
    let api: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client, &lease.namespace);
    let mut fence = tokio::time::interval(Duration::from_secs((lease.seconds / 3).max(1)));
    let mut confirmed = Instant::now();
    let mut was_leader = false;
    loop {
        let leads = *channel.borrow_and_update();
        metrics.leading.set(i64::from(leads));
        if was_leader && !leads {
            tracing::error!(lease = lease.name, "the lease was lost");
            let _ = leadership.send(false);
            return;
        }
        if leads && !was_leader {
            tracing::info!(lease = lease.name, identity, "leading");
            was_leader = true;
            confirmed = Instant::now();
            let _ = leadership.send(true);
        }
        tokio::select! {
            changed = channel.changed() => if changed.is_err() { return },
            // The object itself has the last word: a replica that only believes to lead must not write.
            _ = fence.tick(), if was_leader => {
                let found = api.get(lease.name).await;
                let holder = found.as_ref().ok().and_then(holder);
                if holder == Some(&identity) {
                    confirmed = Instant::now();
                }
                let is_anothers = holder.is_some_and(|holder| *holder != identity);
                if is_anothers || confirmed.elapsed() > Duration::from_secs(lease.seconds) {
                    tracing::error!(lease = lease.name, "the lease is another's or cannot be confirmed");
                    metrics.leading.set(0);
                    let _ = leadership.send(false);
                    return;
                }
            }
            () = stop.cancelled() => break,
        }
    }
    // Give the queue a moment to finish what it began, then release.
    drop(channel);
    let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
}

fn holder(lease: &k8s_openapi::api::coordination::v1::Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|identity| !identity.is_empty())
}

fn hostname() -> String {
    std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "local".into())
}

/// The two ends of a leadership: [`take_part`] writes, queues read.
pub fn channel() -> (watch::Sender<bool>, Leadership) {
    let (sender, receiver) = watch::channel(false);
    (sender, Leadership(receiver))
}
