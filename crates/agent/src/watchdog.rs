//! Work that may hang, on threads of its own: a stranger's process can hold up whoever reads of it.
//!
//! Owns the limit on such threads. A thread that hangs cannot be ended from outside; it is left behind, and when too many are, no
//! further work is begun until one returns.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Threads that may hang at the same time.
const THREADS: usize = 4;
/// How long work may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Starts work that may hang.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    places: Arc<Semaphore>,
    limit: Duration,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(THREADS)), limit: LIMIT }
    }
}

/// The work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hung {
    /// It takes too long.
    #[error(
        "reading of its processes does not end; their memory or files may lie on a file system that does not answer"
    )]
    This,
    /// Earlier work still hangs.
    #[error("reading of other processes on the node does not end, so no more is begun")]
    Others,
    /// No thread can be started, or it ended without a result.
    #[error("no thread can be started")]
    NoThread,
}

impl Watchdog {
    /// Runs `work` on a thread and waits for it, but not for ever.
    ///
    /// # Errors
    /// When there is no result in time.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Hung> {
        let place = tokio::time::timeout(self.limit, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Hung::Others)?.map_err(|_| Hung::NoThread)?;
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("look".into()).spawn(move || {
            // Nobody may wait any more.
            let _ = sender.send(work());
            drop(place);
        });
        thread.map_err(|_| Hung::NoThread)?;
        match tokio::time::timeout(self.limit, receiver).await {
            Ok(result) => result.map_err(|_| Hung::NoThread),
            Err(_) => Err(Hung::This),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_hangs_is_left_behind_and_bounded() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // One limit for work that must not hang, one for work that does: neither depends on how busy the machine is.
            let places = Arc::new(Semaphore::new(1));
            let patient = Watchdog { places: places.clone(), limit: LIMIT };
            let hasty = Watchdog { places, limit: Duration::from_millis(100) };
            assert_eq!(patient.run(|| 7).await, Ok(7));
            let (release, waits) = mpsc::channel::<()>();
            assert_eq!(hasty.run(move || waits.recv().is_ok()).await, Err(Hung::This));
            assert_eq!(hasty.run(|| 7).await, Err(Hung::Others), "its place is taken");
            drop(release);
            assert_eq!(patient.run(|| 7).await, Ok(7), "it returned");
            // A panic without its report: printing where it came from may take seconds.
            let panics = || std::panic::resume_unwind(Box::new("work panics"));
            assert_eq!(patient.run(panics).await, Err::<(), _>(Hung::NoThread));
            assert_eq!(patient.run(|| 7).await, Ok(7), "its place is free again");
        });
    }
}
