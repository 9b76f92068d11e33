//! Keeps an InstrumentationInstance for each process with an agent, and has Go processes instrumented
//! (`spec/sources-and-instrumentation.md` 1.3, 3.9; rows 64 to 66 of section 7).
//!
//! Owns when pods are looked at: often while they start, then now and then; all that are due together, with one walk over the
//! processes. How an agent does is judged in `detect::presence`, what is written about it in [`object`].

mod object;
mod pod;

use crate::golang::GoAgent;
use crate::sight::{GATHER, Sight};
use crate::watchdog::Watchdog;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use odigos_api::instrumentation_instance::InstrumentationInstance;
use odigos_api::labels;
use odigos_plan::detection::subject::Subject;
use pod::Watched;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pauses between the first looks at a pod; the last one stays. An agent that sends nothing is reported after three minutes.
const PAUSES: [Duration; 11] = {
    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }
    let (ten, thirty) = (seconds(10), seconds(30));
    [seconds(2), seconds(3), seconds(5), ten, thirty, thirty, thirty, thirty, thirty, thirty, seconds(60)]
};
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

/// Where an object is, and a digest of what was written of it last, without the time: nodes have thousands of them.
type Written = BTreeMap<(String, String), Said>;

/// What an object said: of itself, and with its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    itself: u64,
    whole: u64,
}

impl Said {
    fn of(object: &Value) -> Self {
        let digest = |values: &[&Value]| {
            let mut hasher = DefaultHasher::new();
            values.hash(&mut hasher);
            hasher.finish()
        };
        Self { itself: digest(&[&object["metadata"], &object["spec"]]), whole: digest(&[object]) }
    }
}

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
                    return list
                        .items
                        .iter()
                        .filter(|one| is_ours(one))
                        .filter_map(object::written)
                        .map(|(key, object)| (key, Said::of(&object)))
                        .collect();
                }
                Err(kube::Error::Api(status)) if status.code == 404 => return Written::new(),
                Err(error) => {
                    tracing::warn!(%error, "failed to read what is written about agents of this node, retrying");
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
            let watched = subjects.iter().filter_map(|(uid, subject)| Some((state.pods.get(uid)?, subject)));
            go.want(watched.flat_map(|(pod, subject)| pod.go_targets(subject, &self.endpoint)).collect());
        }
        self.write(state, &subjects).await;
    }

    /// Brings the objects in line with what was seen.
    async fn write(&self, state: &mut State, subjects: &BTreeMap<String, Subject>) {
        let applier = &self.sight.reporter.applier;
        let mut gone: BTreeSet<(String, String)> = state.written.keys().cloned().collect();
        for (uid, subject) in subjects {
            let objects = state.pods.get(uid).map(|pod| pod.instances(self, subject)).unwrap_or_default();
            for object in objects {
                let key = object::key(&object);
                gone.remove(&key);
                if self.say(state, &key, &object).await {
                    continue;
                }
                let due = Instant::now() + AGAIN;
                state.pods.get_mut(uid).into_iter().for_each(|pod| pod.due = pod.due.min(due));
            }
        }
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
    }

    /// Writes an object if it says something new; false when it is to be tried again.
    async fn say(&self, state: &mut State, key: &(String, String), object: &Value) -> bool {
        let said = Said::of(object);
        let before = state.written.get(key);
        if before == Some(&said) {
            return true;
        }
        let applier = &self.sight.reporter.applier;
        let (whole, status) = object::applied(object, Timestamp::now());
        let is_other = before.is_none_or(|before| before.itself != said.itself);
        let outcome = async {
            if is_other {
                applier.apply(&whole).await?;
            }
            applier.apply_status(&status).await
        };
        match outcome.await {
            Ok(()) => {
                state.written.insert(key.clone(), said);
                true
            }
            Err(error) => {
                // One that went away in between is made anew.
                state.written.remove(key);
                tracing::debug!(error = format!("{error:#}"), "what is to be said about an agent is tried again");
                false
            }
        }
    }
}
