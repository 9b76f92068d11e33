//! A work queue of keys: each key once, never twice at a time, later again after a failure.
//!
//! Owned here since kube's `Controller` wants one root kind for each controller, while our keys span eight workload
//! kinds. Keys are held while this replica does not lead.

use crate::leader_election::Leadership;
use crate::metrics::{ControllerLabel, Metrics, OutcomeLabels};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a key must be able to do.
pub trait Key: Ord + Clone + Debug + Send + Sync + 'static {}
impl<T: Ord + Clone + Debug + Send + Sync + 'static> Key for T {}

/// Keys that wait, each with the time from which it is due.
#[derive(Debug)]
pub struct Queue<K> {
    state: Arc<Mutex<State<K>>>,
    wake: Arc<Notify>,
    debounce: Duration,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), wake: self.wake.clone(), debounce: self.debounce }
    }
}

#[derive(Debug)]
struct State<K> {
    due: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
    running: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Key> State<K> {
    /// Moves a key to `at` unless it is due earlier already.
    fn schedule(&mut self, key: K, at: Instant) {
        match self.due.get(&key) {
            Some(present) if *present <= at => {}
            Some(present) => {
                self.order.remove(&(*present, key.clone()));
                self.order.insert((at, key.clone()));
                self.due.insert(key, at);
            }
            None => {
                self.order.insert((at, key.clone()));
                self.due.insert(key, at);
            }
        }
    }

    /// The next key that is due and not being worked on, or when to look again.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let next = self.order.iter().find(|(_, key)| !self.running.contains(key)).cloned();
        match next {
            Some((at, key)) if at <= now => {
                self.order.remove(&(at, key.clone()));
                self.due.remove(&key);
                self.running.insert(key.clone());
                Ok(key)
            }
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }
}

/// How a queue is worked off.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Name of the controller, for logs and metrics.
    pub controller: &'static str,
    /// Keys worked on at the same time.
    pub concurrency: usize,
}

/// What a reconcile asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When to look at the key again although nothing changed.
    pub recheck_after: Option<Duration>,
}

/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

impl<K: Key> Queue<K> {
    /// An empty queue that waits `debounce` for more changes of the same key.
    #[must_use]
    pub fn new(debounce: Duration) -> Self {
        let state =
            State { due: BTreeMap::new(), order: BTreeSet::new(), running: BTreeSet::new(), failures: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), wake: Arc::new(Notify::new()), debounce }
    }

    /// Adds a key.
    pub fn add(&self, key: K) {
        self.add_after(key, self.debounce);
    }

    /// Adds a key that is due later.
    pub fn add_after(&self, key: K, after: Duration) {
        self.lock().schedule(key, Instant::now() + after);
        self.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        // A panic while the lock is held leaves plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().due.len()
    }

    /// Whether no key waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn finished(&self, key: K, result: Result<Outcome, String>) {
        let mut state = self.lock();
        state.running.remove(&key);
        let now = Instant::now();
        match result {
            Ok(outcome) => {
                state.failures.remove(&key);
                if let Some(after) = outcome.recheck_after {
                    state.schedule(key, now + after);
                }
            }
            Err(_) => {
                let failures = state.failures.entry(key.clone()).or_default();
                let pause = Duration::from_millis(500u64 << (*failures).min(8)).min(LONGEST_PAUSE);
                *failures = failures.saturating_add(1);
                // Spread retries, so that many failures do not return as one wave.
                let jitter = pause.mul_f64(f64::from(rand::random::<u8>()) / 255.0 * 0.2);
                state.schedule(key, now + pause + jitter);
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Works the queue off until the token is cancelled; what is under way then is finished.
    pub async fn run<F, R, E>(
        self,
        settings: Settings,
        mut leadership: Leadership,
        metrics: Metrics,
        stop: CancellationToken,
        reconcile: F,
    ) where
        F: Fn(K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        tokio::select! {
            () = leadership.wait() => {}
            () = stop.cancelled() => return,
        }
        let label = ControllerLabel { controller: settings.controller };
        let mut running: JoinSet<(K, Result<Outcome, String>)> = JoinSet::new();
        loop {
            if stop.is_cancelled() || !leadership.is_leader() {
                break;
            }
            let next = if running.len() < settings.concurrency { self.lock().take(Instant::now()) } else { Err(None) };
            metrics.depth.get_or_create(&label).set(i64::try_from(self.len()).unwrap_or(i64::MAX));
            let wait_until = match next {
                Ok(key) => {
                    let work = reconcile(key.clone());
                    let (metrics, controller) = (metrics.clone(), settings.controller);
                    running.spawn(async move {
                        let begun = std::time::Instant::now();
                        let result = work.await.map_err(|error| error.to_string());
                        metrics
                            .duration
                            .get_or_create(&ControllerLabel { controller })
                            .observe(begun.elapsed().as_secs_f64());
                        let outcome = if result.is_ok() { "ok" } else { "error" };
                        metrics.reconciles.get_or_create(&OutcomeLabels { controller, outcome }).inc();
                        if let Err(error) = &result {
                            tracing::warn!(controller, key = ?key, %error, "reconcile failed, it is tried again");
                        }
                        (key, result)
                    });
                    continue;
                }
                Err(at) => at,
            };
            let sleep = async {
                match wait_until {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(joined) = running.join_next(), if !running.is_empty() => {
                    match joined {
                        Ok((key, result)) => self.finished(key, result),
                        // The key of a reconcile that panicked is not known; nothing else may run for it meanwhile, so
                        // the process ends and starts anew.
                        Err(error) => { tracing::error!(%error, "a reconcile panicked"); break; }
                    }
                }
                () = self.wake.notified() => {}
                () = sleep => {}
                () = stop.cancelled() => {}
            }
        }
        while let Some(joined) = running.join_next().await {
            if let Ok((key, result)) = joined {
                self.finished(key, result);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn queue() -> Queue<u32> {
        Queue::new(Duration::from_millis(10))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_taken_once_and_not_while_it_runs() {
        let queue = queue();
        queue.add(1);
        queue.add(1);
        tokio::time::advance(Duration::from_millis(20)).await;
        let now = Instant::now();
        assert_eq!(queue.lock().take(now), Ok(1));
        queue.add(1);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(queue.lock().take(Instant::now()), Err(None), "it runs");
        queue.finished(1, Ok(Outcome::default()));
        assert_eq!(queue.lock().take(Instant::now()), Ok(1), "it was added meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time() {
        let queue = queue();
        let mut pauses = Vec::new();
        for _ in 0..3 {
            queue.lock().running.insert(1);
            queue.finished(1, Err("no".into()));
            let at = queue.lock().due[&1];
            pauses.push(at - Instant::now());
            queue.lock().due.clear();
            queue.lock().order.clear();
        }
        assert!(
            pauses[0] >= Duration::from_millis(500) && pauses[1] > pauses[0] && pauses[2] > pauses[1],
            "{pauses:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_done_with_bounded_concurrency() {
        let queue = queue();
        (0..20).for_each(|key| queue.add(key));
        let (done, now, most) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = CancellationToken::new();
        let counters = (done.clone(), now, most.clone());
        let settings = Settings { controller: "test", concurrency: 4 };
        let run = queue.clone().run(settings, Leadership::always(), Metrics::default(), stop.clone(), move |_| {
            let (done, now, most) = counters.clone();
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Ok::<_, String>(Outcome::default())
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), run).await;
        assert_eq!((done.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (20, 4));
    }
}
