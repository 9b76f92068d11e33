//! Tasks and shutdown: every long-lived future is spawned here, and the end of any of them ends the process.

use std::future::Future;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The long-lived tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
    stop: CancellationToken,
}

/// A task ended although nobody asked for it.
#[derive(Debug, thiserror::Error)]
#[error("the task {0:?} ended unexpectedly")]
pub struct Ended(String);

impl Tasks {
    /// No tasks yet; ends on SIGTERM and SIGINT.
    #[must_use]
    pub fn new() -> Self {
        let mut tasks = Self::default();
        let stop = tasks.stop.clone();
        tasks.set.spawn(async move {
            terminated().await;
            tracing::info!("stopping");
            stop.cancel();
            "signals"
        });
        tasks
    }

    /// The token that asks every task to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a future until the process ends.
    pub fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            future.await;
            name
        });
    }

    /// Waits until the process is asked to end, then lets the tasks finish.
    ///
    /// # Errors
    /// When a task ends or panics before that.
    pub async fn wait(mut self) -> Result<(), Ended> {
        let mut outcome = Ok(());
        while let Some(ended) = self.set.join_next().await {
            if !self.stop.is_cancelled() {
                outcome = Err(Ended(ended.map_or_else(|error| error.to_string(), str::to_owned)));
                self.stop.cancel();
            }
            if self.stop.is_cancelled() {
                break;
            }
        }
        // What is under way may finish; what does not within the limit is cut off.
        let drain = async { while self.set.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(8), drain).await;
        outcome
    }
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be handled");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
