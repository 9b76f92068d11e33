//! Asks the container runtime of the node what an image sets (`spec/sources-and-instrumentation.md` 4.7).
//!
//! Owns which socket, how long an answer may take, and what is remembered. A socket of a container runtime may do everything on
//! a node, so the agent asks only where it is enabled (`--container-runtime`), only for containers that depend on the answer
//! (`detect::image`), once for each image, and only what changes nothing. Of an image it keeps variables of agents, never others,
//! and it does not ask for the variables of containers, among which secrets are.

mod client;
mod messages;

use client::{Client, ClientError};
use odigos_detect::Environment;
use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Where container runtimes listen (4.7).
const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
];
/// How long one container's question may take (4.7).
const LIMIT: Duration = Duration::from_secs(5);
/// A runtime that did not answer in time is left alone so long: other pods wait behind each question.
const PAUSE: Duration = Duration::from_secs(30);
/// Images that are remembered. A node runs some hundreds at most.
const IMAGES: usize = 512;

/// The container runtime of the node; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct ContainerRuntime {
    sockets: Vec<PathBuf>,
    limit: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By the image with its digest.
    images: BTreeMap<String, Environment>,
    /// Whose answers were used last, to tell it once.
    runtime: String,
    silent_until: Option<Instant>,
}

/// Why an image's environment is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// No socket is there.
    #[error("no container runtime listens on {0}")]
    NoSocket(String),
    /// It takes too long.
    #[error("the container runtime does not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It said something else.
    #[error("the container runtime on {socket} was asked: {source}")]
    Answer {
        /// Its socket.
        socket: String,
        /// What came back.
        source: ClientError,
    },
}

impl ContainerRuntime {
    /// A runtime on one of the usual sockets, and before them on this one.
    pub(crate) fn new(first: Option<PathBuf>) -> Self {
        // Others write the variable as an address.
        let plain = |path: PathBuf| {
            path.to_str().and_then(|text| text.strip_prefix("unix://")).map(PathBuf::from).unwrap_or(path)
        };
        let sockets = first.map(plain).into_iter().chain(SOCKETS.map(PathBuf::from)).collect();
        Self { sockets, limit: LIMIT, state: Arc::default() }
    }

    /// What the image of a container sets. `image` is the one of the pod's status; it is remembered when it names a digest.
    ///
    /// # Errors
    /// When there is no answer, or not in time.
    pub(crate) async fn image_environment(&self, container: &str, image: &str) -> Result<Environment, RuntimeError> {
        {
            let state = self.state();
            if let Some(known) = state.images.get(image) {
                return Ok(known.clone());
            }
            if state.silent_until.is_some_and(|until| Instant::now() < until) {
                return Err(RuntimeError::Silent(self.limit));
            }
        }
        let Ok(answer) = tokio::time::timeout(self.limit, self.ask(container)).await else {
            self.state().silent_until = Some(Instant::now() + PAUSE);
            return Err(RuntimeError::Silent(self.limit));
        };
        let found = answer?;
        // A tag alone may mean another image tomorrow.
        if image.contains("sha256:") {
            let mut state = self.state();
            if state.images.len() >= IMAGES {
                state.images.clear();
            }
            state.images.insert(image.to_owned(), found.clone());
        }
        Ok(found)
    }

    async fn ask(&self, container: &str) -> Result<Environment, RuntimeError> {
        let (mut client, socket) = self.connect().await?;
        client.image_environment(container).await.map_err(|source| failed(socket, source))
    }

    /// The first socket behind which a runtime answers. A containerd that is there for Docker does not know the interface.
    async fn connect(&self) -> Result<(Client, &Path), RuntimeError> {
        let mut error = None;
        for socket in &self.sockets {
            let is_there = tokio::fs::metadata(socket).await.is_ok_and(|file| file.file_type().is_socket());
            if !is_there {
                continue;
            }
            match Client::connect(socket).await {
                Ok((client, runtime)) => {
                    let mut state = self.state();
                    if state.runtime != runtime {
                        tracing::info!(runtime, socket = %socket.display(), "images are asked for at the container runtime");
                        state.runtime = runtime;
                    }
                    return Ok((client, socket));
                }
                Err(source) => error = error.or(Some(failed(socket, source))),
            }
        }
        let tried = || self.sockets.iter().map(|one| one.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(error.unwrap_or_else(|| RuntimeError::NoSocket(tried())))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(socket: &Path, source: ClientError) -> RuntimeError {
    RuntimeError::Answer { socket: socket.display().to_string(), source }
}

#[cfg(test)]
mod tests;
