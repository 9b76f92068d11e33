//! Replicas around an API server that is simulated, for as long as a real outage takes: time is paused, so minutes pass at once.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tasks live as long as the test, which ends where something fails"
)]

use super::*;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The one Lease, with the version that decides between two who write.
#[derive(Default)]
struct Store {
    lease: Option<LeaseObject>,
    version: u64,
}

impl Store {
    /// Status and body.
    fn answer(&mut self, method: &http::Method, body: &[u8], skew: SignedDuration) -> (u16, String) {
        let failure = |code: u16, reason: &str| {
            let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code});
            (code, status.to_string())
        };
        if *method != http::Method::GET {
            let mut written: LeaseObject = serde_json::from_slice(body).unwrap();
            let current = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
            let is_current = written.metadata.resource_version == current;
            if !is_current || (*method == http::Method::POST && self.lease.is_some()) {
                return failure(409, "Conflict");
            }
            self.version += 1;
            written.metadata.resource_version = Some(self.version.to_string());
            // What a replica with another clock would have written.
            if let Some(spec) = &mut written.spec {
                for time in [&mut spec.renew_time, &mut spec.acquire_time].into_iter().flatten() {
                    *time = MicroTime(time.0 + skew);
                }
            }
            self.lease = Some(written);
        }
        match &self.lease {
            Some(lease) => (200, serde_json::to_string(lease).unwrap()),
            None => failure(404, "NotFound"),
        }
    }
}

/// A process that is started again, as a kubelet does, whenever its election ends.
struct Replica {
    leadership: Arc<Mutex<Leadership>>,
    starts: Arc<AtomicUsize>,
    hangs: watch::Sender<bool>,
}

impl Replica {
    fn start(store: &Arc<Mutex<Store>>, skew: SignedDuration) -> Self {
        let hangs = watch::Sender::new(false);
        let (store, connection) = (store.clone(), hangs.subscribe());
        let answer = move |request: http::Request<kube::client::Body>| {
            let (store, mut connection) = (store.clone(), connection.clone());
            async move {
                let _ = connection.wait_for(|hangs| !hangs).await;
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let (code, text) = store.lock().unwrap().answer(&method, &body, skew);
                let body = kube::client::Body::from(text.into_bytes());
                Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
            }
        };
        let client = Client::new(tower::service_fn(answer), "of");
        let leadership = Arc::new(Mutex::new(channel().1));
        let starts = Arc::new(AtomicUsize::new(0));
        let (current, count) = (leadership.clone(), starts.clone());
        tokio::spawn(async move {
            loop {
                count.fetch_add(1, Ordering::SeqCst);
                let (sender, leadership) = channel();
                *current.lock().unwrap() = leadership;
                let lease = Lease { namespace: "of".into(), name: "one", seconds: 15 };
                run(client.clone(), lease, Metrics::default(), sender, CancellationToken::new()).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { leadership, starts, hangs }
    }

    /// Whether the API server answers nothing from now on, until it is called off.
    fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    fn leads(&self) -> bool {
        self.leadership.lock().unwrap().is_leader()
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }
}

/// Lets time pass; returns for how much of it nobody led. Two leaders at a time fail.
async fn pass(replicas: &[&Replica], time: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    let (until, mut vacant) = (Instant::now() + time, Duration::ZERO);
    while Instant::now() < until {
        tokio::time::sleep(STEP).await;
        let leaders = replicas.iter().filter(|one| one.leads()).count();
        assert!(leaders <= 1, "{leaders} leaders");
        vacant += if leaders == 0 { STEP } else { Duration::ZERO };
    }
    vacant
}

/// Clocks a minute apart in both directions, and a leader whose connection hangs for ten minutes.
#[tokio::test(start_paused = true)]
async fn outage_of_ten_minutes_and_clocks_a_minute_apart_leave_one_leader_and_one_restart() {
    for skew in [-60, 60] {
        let store = Arc::default();
        let first = Replica::start(&store, SignedDuration::ZERO);
        let vacant = pass(&[&first], Duration::from_secs(60)).await;
        assert!(vacant < Duration::from_secs(20) && first.leads(), "{vacant:?}");
        let second = Replica::start(&store, SignedDuration::from_secs(skew));
        let both = [&first, &second];
        assert_eq!(pass(&both, Duration::from_secs(300)).await, Duration::ZERO);
        assert!(first.leads(), "a clock that differs steals nothing");
        first.hang(true);
        let vacant = pass(&both, Duration::from_secs(600)).await;
        assert!(vacant < Duration::from_secs(30) && second.leads(), "{vacant:?}");
        // It ended once, and then waits without leading and without ending again.
        assert_eq!((first.starts(), second.starts()), (2, 1));
        first.hang(false);
        assert_eq!(pass(&both, Duration::from_secs(300)).await, Duration::ZERO);
        assert!(second.leads());
        assert_eq!((first.starts(), second.starts()), (2, 1));
        // Both connections hang: nobody leads, and whoever is first leads afterwards.
        both.iter().for_each(|one| one.hang(true));
        pass(&both, Duration::from_secs(600)).await;
        assert!(!first.leads() && !second.leads());
        both.iter().for_each(|one| one.hang(false));
        pass(&both, Duration::from_secs(60)).await;
        assert!(first.leads() != second.leads());
        assert_eq!((first.starts(), second.starts()), (2, 2));
    }
}
