//! Leader election on a Lease: only the leader writes, the others keep their stores warm.
//!
//! Owns the requests and the answer to "may this process write now?", which ends by itself when the lease could not be renewed in time,
//! whatever hangs. Never decides ([`candidate`] does), and never lets a process that lost its lease go on.

mod candidate;
#[cfg(test)]
mod outage_tests;

use crate::metrics::Metrics;
use candidate::{Candidate, Step};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::Client;
use kube::api::{Api, PostParams};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether a replica leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another one does, or nobody.
    Follows,
    /// It does, unless the lease is not renewed by then.
    LeadsUntil(Instant),
    /// It is alone.
    LeadsAlways,
}

/// Whether this replica leads, as it changes.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    /// For a process that is alone.
    #[must_use]
    pub fn always() -> Self {
        let (sender, receiver) = watch::channel(Standing::LeadsAlways);
        // The value outlives the sender; nothing will change it.
        drop(sender);
        Self(receiver)
    }

    /// Whether this replica leads now. A process that slept through its lease does not, from the first moment on.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        match *self.0.borrow() {
            Standing::Follows => false,
            Standing::LeadsUntil(until) => Instant::now() < until,
            Standing::LeadsAlways => true,
        }
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
    /// Seconds after which a leader that is gone is replaced. It stops to lead after four fifths of them without a renewal.
    pub seconds: u64,
}

/// The two ends of a leadership: [`run`] writes, queues read.
#[must_use]
pub fn channel() -> (watch::Sender<Standing>, Leadership) {
    let (sender, receiver) = watch::channel(Standing::Follows);
    (sender, Leadership(receiver))
}

/// Takes part in the election until the token is cancelled, then releases the lease so that the next leader need not
/// wait. Losing the lease ends the process: what it was about to write may be another's by now.
pub async fn run(
    client: Client,
    lease: Lease,
    metrics: Metrics,
    leadership: watch::Sender<Standing>,
    stop: CancellationToken,
) {
    let api: Api<LeaseObject> = Api::namespaced(client, &lease.namespace);
    let identity = format!("{}-{:08x}", hostname(), rand::random::<u32>());
    let mut candidate = Candidate::new(identity, Duration::from_secs(lease.seconds.max(1)));
    let mut led = false;
    let mut complained = false;
    loop {
        let begun = Instant::now();
        let patience = candidate.patience();
        let attempt = tokio::time::timeout(patience, attempt(&api, lease.name, &mut candidate, begun)).await;
        let failure = match attempt {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {patience:?}")),
        };
        if let Some(error) = failure.as_deref().filter(|_| !complained) {
            tracing::warn!(error, lease = lease.name, "failed to read or update the lease, retrying");
        }
        complained = failure.is_some();
        let until = candidate.leads_until().filter(|until| Instant::now() < *until);
        metrics.leading.set(i64::from(until.is_some()));
        match until {
            Some(until) => {
                if !led {
                    tracing::info!(lease = lease.name, identity = candidate.identity(), "started leading");
                }
                led = true;
                leadership.send_replace(Standing::LeadsUntil(until));
            }
            None => {
                leadership.send_replace(Standing::Follows);
                if led {
                    tracing::error!(
                        lease = lease.name,
                        "leadership lost: lease held by another replica or not renewable"
                    );
                    return;
                }
            }
        }
        let pause = if failure.is_some() { candidate.retry() } else { candidate.period() };
        // A leader looks again no later than when it would stop to be one.
        let again = Instant::now() + pause;
        let again = until.map_or(again, |until| again.min(until));
        tokio::select! {
            () = tokio::time::sleep_until(again) => {}
            () = stop.cancelled() => break,
        }
    }
    leadership.send_replace(Standing::Follows);
    if led {
        let release = release(&api, lease.name, candidate.identity());
        match tokio::time::timeout(Duration::from_secs(5), release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, lease = lease.name, "failed to release the lease"),
            Err(_) => tracing::warn!(lease = lease.name, "failed to release the lease within 5 s"),
        }
    }
}

/// Reads the Lease and does what is to be done about it.
async fn attempt(
    api: &Api<LeaseObject>,
    name: &str,
    candidate: &mut Candidate,
    begun: Instant,
) -> Result<(), kube::Error> {
    let found = api.get_opt(name).await?;
    let written = match candidate.step(found, Instant::now(), Timestamp::now()) {
        Step::Follow => return Ok(()),
        Step::Create(mut lease) => {
            lease.metadata.name = Some(name.to_owned());
            api.create(&PostParams::default(), &lease).await
        }
        Step::Replace(lease) => replace(api, name, &lease).await,
    };
    match written {
        Ok(lease) => {
            candidate.holds(&lease, begun);
            Ok(())
        }
        // Another replica was faster; the next look tells who.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn release(api: &Api<LeaseObject>, name: &str, identity: &str) -> Result<(), kube::Error> {
    let found = api.get_opt(name).await?;
    let Some(lease) = found.filter(|lease| candidate::holder(lease) == Some(identity)) else { return Ok(()) };
    replace(api, name, &Candidate::released(lease)).await?;
    Ok(())
}

/// Writes over the version that was read, or fails with a conflict.
async fn replace(api: &Api<LeaseObject>, name: &str, lease: &LeaseObject) -> Result<LeaseObject, kube::Error> {
    #[allow(clippy::disallowed_methods, reason = "the version that was read decides between two who try")]
    api.replace(name, &PostParams::default(), lease).await
}

fn hostname() -> String {
    std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "local".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use std::sync::{Arc, Mutex};

    /// The API server answers until its connection hangs for ever.
    #[tokio::test(start_paused = true)]
    async fn leader_whose_connection_hangs_stops_to_lead_before_anybody_could_take_over() {
        let held: Arc<Mutex<Option<LeaseObject>>> = Arc::default();
        let hangs = CancellationToken::new();
        let (kept, hung) = (held.clone(), hangs.clone());
        let answer = move |request: http::Request<kube::client::Body>| {
            let (kept, hung) = (kept.clone(), hung.clone());
            async move {
                if hung.is_cancelled() {
                    std::future::pending::<()>().await;
                }
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut kept = kept.lock().unwrap();
                if !body.is_empty() {
                    *kept = Some(serde_json::from_slice(&body).unwrap());
                }
                let (code, text) = match &*kept {
                    Some(lease) => (200, serde_json::to_string(lease).unwrap()),
                    None => (404, r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404}"#.to_owned()),
                };
                let body = kube::client::Body::from(text.into_bytes());
                Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
            }
        };
        let client = Client::new(tower::service_fn(answer), "of");
        let (sender, mut leadership) = channel();
        let lease = Lease { namespace: "of".into(), name: "one", seconds: 15 };
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods, reason = "it lives as long as the test")]
        let election = tokio::spawn(run(client, lease, Metrics::default(), sender, stop.clone()));
        leadership.wait().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(leadership.is_leader(), "it renews");
        hangs.cancel();
        let begun = Instant::now();
        while leadership.is_leader() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(begun.elapsed() <= Duration::from_secs(12), "{:?}", begun.elapsed());
        tokio::time::timeout(Duration::from_secs(5), election).await.unwrap().unwrap();
    }
}
