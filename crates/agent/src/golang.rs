//! The program that instruments Go processes of the node through the kernel (`deploy/images/golang`): what it is sent, and what
//! it says.
//!
//! Owns the connection, a socket of the pod. It is sent the whole list each time, so nothing is lost when either side starts anew;
//! what is instrumented stays so meanwhile. Which processes those are is decided in [`crate::instances`].

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use odigos_detect::presence::Marks;
use odigos_plan::detection::subject::Subject;

/// Before it is tried again to reach the program.
const AGAIN: Duration = Duration::from_secs(3);

/// A process: its number on the node and when it started, in clock ticks since boot.
pub(crate) type ProcessKey = (u32, u64);

/// What the program says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// `Starting`, or a reason of `spec/sources-and-instrumentation.md` 1.3.
    pub(crate) state: String,
    /// Why, for people.
    pub(crate) message: String,
}

/// The way to the program; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct GoAgent {
    socket: PathBuf,
    targets: Arc<watch::Sender<BTreeMap<ProcessKey, Value>>>,
    /// `None` while it does not answer.
    said: Arc<Mutex<Option<BTreeMap<ProcessKey, Said>>>>,
    changed: Arc<Notify>,
}

impl GoAgent {
    /// The program behind a socket; `changed` is notified when it reports something.
    pub(crate) fn new(socket: PathBuf, changed: Arc<Notify>) -> Self {
        Self { socket, targets: Arc::new(watch::Sender::default()), said: Arc::default(), changed }
    }

    /// These processes shall be instrumented, and no others.
    pub(crate) fn want(&self, targets: BTreeMap<ProcessKey, Value>) {
        self.targets.send_if_modified(|before| {
            let differs = *before != targets;
            *before = targets;
            differs
        });
    }

    /// What it says of a process: `None` while it cannot be reached, and an empty state when it has not said anything yet.
    pub(crate) fn says(&self, process: ProcessKey) -> Option<Said> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.as_ref().map(|said| said.get(&process).cloned().unwrap_or_default())
    }

    fn set(&self, said: Option<BTreeMap<ProcessKey, Said>>) {
        let mut before = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != said {
            *before = said;
            self.changed.notify_one();
        }
    }

    /// Keeps the connection until the token is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let talk = async {
                if let Err(error) = self.talk().await {
                    tracing::debug!(%error, socket = %self.socket.display(), "the program that instruments Go does not answer");
                }
                self.set(None);
                tokio::time::sleep(AGAIN).await;
            };
            tokio::select! {
                () = talk => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn talk(&self) -> std::io::Result<()> {
        let (from, mut to) = UnixStream::connect(&self.socket).await?.into_split();
        let mut lines = BufReader::new(from).lines();
        let mut targets = self.targets.subscribe();
        targets.mark_changed();
        let mut said = BTreeMap::new();
        self.set(Some(said.clone()));
        loop {
            tokio::select! {
                changed = targets.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let list: Vec<Value> = targets.borrow_and_update().values().cloned().collect();
                    let mut line = serde_json::to_vec(&json!({"targets": list}))?;
                    line.push(b'\n');
                    to.write_all(&line).await?;
                }
                line = lines.next_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    if let Some((process, one)) = heard(&line) {
                        tracing::info!(pid = process.0, state = one.state, message = one.message, "a Go process");
                        said.insert(process, one);
                        let wanted = targets.borrow();
                        said.retain(|process, _| wanted.contains_key(process));
                        drop(wanted);
                        self.set(Some(said.clone()));
                    }
                }
            }
        }
    }
}

fn heard(line: &str) -> Option<(ProcessKey, Said)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
    Some(((pid, value.get("started")?.as_u64()?), Said { state: text("state"), message: text("message") }))
}

/// How a process is described to the program. Its environment may say what it likes, and the collector believes the agent: so the pod is the
/// one that the process was found in.
pub(crate) fn target(process: ProcessKey, subject: &Subject, marks: &Marks, endpoint: &str) -> Value {
    const KEPT: [&str; 4] = ["k8s.container.name", "k8s.node.name", "k8s.replicaset.name", "k8s.replicaset.uid"];
    let is_identity = |key: &str| key.starts_with("odigos.") || (key.starts_with("k8s.") && !KEPT.contains(&key));
    let mut attributes = marks.attributes.clone();
    attributes.retain(|key, _| !is_identity(key));
    let own = [
        ("k8s.pod.uid", subject.uid.as_str()),
        ("k8s.pod.name", subject.pod.as_str()),
        ("k8s.namespace.name", subject.workload.namespace.as_str()),
    ];
    attributes.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    json!({
        "pid": process.0, "started": process.1, "service": marks.service, "attributes": attributes, "endpoint": endpoint,
        "sampler": marks.sampler, "samplerArgument": marks.sampler_argument,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::{WorkloadKind, WorkloadRef};
    use tokio::net::UnixListener;

    fn subject() -> Subject {
        Subject {
            uid: "u-1".into(),
            pod: "cart-5d4f-x2x7p".into(),
            workload: WorkloadRef::new("shop", WorkloadKind::Deployment, "cart"),
            created: None,
            has_agents: true,
            containers: Vec::new(),
        }
    }

    /// A tenant writes the variables of his pods; the collector believes what the agent says.
    #[test]
    fn identity_of_process_is_that_of_its_pod_whatever_its_environment_says() {
        let claimed = [
            ("k8s.pod.uid", "u-of-another"),
            ("k8s.pod.name", "vault-0"),
            ("k8s.namespace.name", "payments"),
            ("k8s.deployment.name", "vault"),
            ("odigos.workload.name", "vault"),
            ("odigos.stream.class", "c1"),
            ("k8s.container.name", "app"),
            ("team", "x"),
        ];
        let attributes = claimed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let told = target((7, 70), &subject(), &Marks { attributes, ..Marks::default() }, "http://c:4318");
        let expected = json!({
            "k8s.pod.uid": "u-1", "k8s.pod.name": "cart-5d4f-x2x7p", "k8s.namespace.name": "shop",
            "k8s.container.name": "app", "team": "x",
        });
        assert_eq!(told["attributes"], expected);
    }

    #[tokio::test]
    async fn it_is_told_the_whole_list_whenever_it_starts_anew() {
        let folder = tempfile::TempDir::new().unwrap();
        let socket = folder.path().join("go.sock");
        let changed = Arc::new(Notify::new());
        let agent = GoAgent::new(socket.clone(), changed.clone());
        let marks = Marks { service: "cart".into(), ..Marks::default() };
        assert_eq!(agent.says((7, 70)), None);
        agent.want([((7, 70), target((7, 70), &subject(), &marks, "http://c:4318"))].into());
        let mut tasks = odigos_kit::tasks::Tasks::new();
        tasks.spawn("connection", agent.clone().run(tasks.stop()));
        for round in 0..2 {
            let _ = std::fs::remove_file(&socket);
            let listener = UnixListener::bind(&socket).unwrap();
            let (from, mut to) = listener.accept().await.unwrap().0.into_split();
            let mut lines = BufReader::new(from).lines();
            let line = lines.next_line().await.unwrap().unwrap();
            let told: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&told["targets"][0]["pid"], &told["targets"][0]["service"]),
                (&json!(7), &json!("cart")),
                "{round}"
            );
            to.write_all(b"garbage\n{\"pid\":7,\"started\":70,\"state\":\"LoadedSuccessfully\",\"message\":\"m\"}\n")
                .await
                .unwrap();
            while agent.says((7, 70)).is_none_or(|said| said.state.is_empty()) {
                changed.notified().await;
            }
            assert_eq!(agent.says((8, 1)), Some(Said::default()));
        }
        tasks.stop().cancel();
        tasks.wait().await.unwrap();
    }
}
