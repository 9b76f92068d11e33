//! Keeps an InstrumentationInstance for each process with an agent, and has Go processes instrumented
//! (`spec/sources-and-instrumentation.md` 1.3, 3.9; rows 64 to 66 of section 7).
//!
//! Owns when pods are looked at: often while they start, then now and then; all that are due together, with one walk over the
//! processes. How an agent does is judged in `detect::presence`, what is written about it in [`object`].

mod object;
mod pod;

use crate::golang::GoAgent;
use crate::sight::{GATHER, Sight};
use crate::subject::Subject;
use crate::watchdog::Watchdog;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use odigos_api::instrumentation_instance::InstrumentationInstance;
use odigos_api::labels;
use pod::Watched;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pauses between the first looks at a pod; the last one stays.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// Pods that are due this soon are looked at together with those that are due.
const TOGETHER: Duration = Duration::from_secs(8);
/// Before something is tried again that the API server did not take.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks at agents and writes how they do.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    pub(crate) sight: Sight,
    /// What instruments Go here, if anything does.
    pub(crate) go: Option<GoAgent>,
    /// Where telemetry of Go processes goes: the collector of the node.
    pub(crate) endpoint: String,
}

/// Where an object is, and what was written of it last, without the time.
type Written = BTreeMap<(String, String), Value>;

#[derive(Debug, Default)]
struct State {
    pods: BTreeMap<String, Watched>,
    written: Written,
}

impl Instances {
    /// Works until the token is cancelled; `changed` wakes it.
    pub(crate) async fn run(self, changed: Arc<Notify>, stop: CancellationToken) {
        tokio::select! {
            () = self.sight.pods.synced() => {}
            () = stop.cancelled() => return,
        }
        let watchdog = Watchdog::default();
        let mut state = State::default();
        tokio::select! {
            written = self.written_before() => state.written = written,
            () = stop.cancelled() => return,
        }
        loop {
            tokio::select! {
                () = self.pass(&mut state, &watchdog) => {}
                () = stop.cancelled() => return,
            }
            let due = state.pods.values().map(|pod| pod.due).min();
            let pause = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(GATHER).await,
                () = pause => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// What an agent before this one has written of this node. Asked once, when this one starts.
    async fn written_before(&self) -> Written {
        let api: Api<InstrumentationInstance> = Api::all(self.sight.reporter.client.clone());
        let own = ListParams::default().labels(&format!("{}={}", object::NODE, labels::value(&self.sight.node)));
        loop {
            match api.list(&own).await {
                Ok(list) => {
                    let here: Vec<String> =
                        self.sight.pods.all().iter().filter_map(|(_, pod)| pod.metadata.uid.clone()).collect();
                    // Names of nodes are cut to what a label holds; pods tell for certain.
                    let is_ours = |one: &InstrumentationInstance| {
                        let owners = one.metadata.owner_references.iter().flatten();
                        owners.into_iter().any(|owner| here.contains(&owner.uid))
                    };
                    return list.items.iter().filter(|one| is_ours(one)).filter_map(object::written).collect();
                }
                Err(kube::Error::Api(status)) if status.code == 404 => return Written::new(),
                Err(error) => {
                    tracing::warn!(%error, "what is written about agents of this node cannot be read; it is tried again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn pass(&self, state: &mut State, watchdog: &Watchdog) {
        let now = Instant::now();
        let subjects = self.sight.subjects(Subject::carrying);
        state.pods.retain(|uid, _| subjects.contains_key(uid));
        for (uid, subject) in &subjects {
            let pod = state.pods.entry(uid.clone()).or_insert_with(|| Watched::new(now));
            pod.settle(subject, now);
        }
        let due: Vec<&Subject> = subjects
            .iter()
            .filter(|(uid, _)| state.pods.get(*uid).is_some_and(|pod| pod.due <= now + TOGETHER))
            .map(|(_, subject)| subject)
            .collect();
        if !due.is_empty() {
            match self.sight.find(due.iter().copied(), watchdog).await {
                Some(found) => {
                    for subject in due {
                        let Some(pod) = state.pods.get_mut(&subject.uid) else { continue };
                        pod.look(self, subject, &found, watchdog).await;
                        let pause = PAUSES.get(pod.looks).or(PAUSES.last()).copied().unwrap_or(AGAIN);
                        pod.looks = pod.looks.saturating_add(1);
                        pod.due = Instant::now() + pause;
                    }
                }
                None => state.pods.values_mut().for_each(|pod| pod.due = now + AGAIN),
            }
        }
        if let Some(go) = &self.go {
            go.want(state.pods.values().flat_map(|pod| pod.go_targets(&self.endpoint)).collect());
        }
        self.write(state, &subjects).await;
    }

    /// Brings the objects in line with what was seen.
    async fn write(&self, state: &mut State, subjects: &BTreeMap<String, Subject>) {
        let mut desired: Written = BTreeMap::new();
        let mut owners: BTreeMap<(String, String), String> = BTreeMap::new();
        for (uid, subject) in subjects {
            let Some(pod) = state.pods.get(uid) else { continue };
            for object in pod.instances(self, subject) {
                let key = object::key(&object);
                owners.insert(key.clone(), uid.clone());
                desired.insert(key, object);
            }
        }
        let applier = &self.sight.reporter.applier;
        let gone: Vec<(String, String)> =
            state.written.keys().filter(|key| !desired.contains_key(key)).cloned().collect();
        for key in gone {
            match applier.delete(&object::named(&key), None).await {
                Ok(()) => {
                    state.written.remove(&key);
                }
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "what is written about an agent stays for now")
                }
            }
        }
        for (key, object) in desired {
            if state.written.get(&key) == Some(&object) {
                continue;
            }
            let (whole, status) = object::applied(&object, Timestamp::now());
            let outcome = async {
                if state.written.get(&key).is_none_or(|before| before.get("spec") != object.get("spec")) {
                    applier.apply(&whole).await?;
                }
                applier.apply_status(&status).await
            };
            match outcome.await {
                Ok(()) => {
                    state.written.insert(key, object);
                }
                Err(error) => {
                    // One that went away in between is made anew.
                    state.written.remove(&key);
                    tracing::debug!(error = format!("{error:#}"), "what is to be said about an agent is tried again");
                    let due = Instant::now() + AGAIN;
                    let pod = owners.get(&key).and_then(|uid| state.pods.get_mut(uid));
                    pod.into_iter().for_each(|pod| pod.due = pod.due.min(due));
                }
            }
        }
    }
}
