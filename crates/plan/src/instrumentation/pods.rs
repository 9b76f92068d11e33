//! Pods as rollouts look at them, and what is wrong with one (`spec/sources-and-instrumentation.md` 3.6).
//!
//! Tells what is seen, with its evidence; whether the agents are to blame is decided in `rollback`.

use crate::agents::Reason;
use crate::agents::inputs::{self, ClusterInputs};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::labels::{AGENTS_META_HASH, CLUSTER_INPUTS};
use odigos_api::rollout::PodsBaseline;
use serde_json::Value;

/// A failure counts for this long: the kubelet waits up to five minutes between two attempts.
const RECENT: SignedDuration = SignedDuration::from_mins(10);
/// Restarts from which failures count as repeated.
const REPEATED: u32 = 2;
/// How much of a container's last words is passed on, in characters.
const LAST_WORDS: usize = 300;

/// A pod that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Hash of the agents that it was created with; `None` without agents.
    pub hash: Option<String>,
    /// The cluster-wide inputs that its agents were started with; `None` where it does not say so.
    pub inputs: Option<ClusterInputs>,
    /// The revision of the pod template that it was made from; empty where the kind has none.
    pub revision: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When a kubelet took it on.
    pub started: Option<Timestamp>,
    /// It was asked to go.
    pub is_going: bool,
    /// It is ready.
    pub is_ready: bool,
    /// Since when it is ready, or is not.
    pub ready_changed: Option<Timestamp>,
    /// Why the scheduler finds no node for it.
    pub unscheduled: Option<String>,
    /// Containers about which there is something to say, init containers first.
    pub containers: Vec<ContainerSeen>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it does not run: the kubelet's word and message; empty when it is not waited for.
    pub waiting: (String, String),
    /// How it failed last.
    pub failure: Option<Failure>,
}

/// How a container failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Its exit code.
    pub exit_code: i32,
    /// The kubelet's word, e.g. `OOMKilled` or `Error`.
    pub reason: String,
    /// The end of what it left as its termination message.
    pub message: String,
    /// When it ended.
    pub at: Option<Timestamp>,
}

/// Ways in which a pod is not well, the clearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// The kubelet has given up starting a container for now.
    Backoff,
    /// An image cannot be had.
    Image,
    /// A container failed again and again, and runs at the moment.
    Crashing,
    /// It is not ready.
    Unready,
}

impl TroubleKind {
    /// The word of the API for it.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Image => Reason::ImagePullBackOff,
            Self::Backoff | Self::Crashing | Self::Unready => Reason::CrashLoopBackOff,
        }
    }
}

/// What is wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which way.
    pub kind: TroubleKind,
    /// Since when it may be held against the pod.
    pub since: Timestamp,
    /// What is seen, for people, without a full stop.
    pub evidence: String,
}

/// Labels that tell which revision of its template a pod was made from.
pub const REVISIONS: [&str; 3] = ["pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash"];

impl PodSeen {
    /// Reads a pod as the API server holds it. Containers are left out: a preview judges no failures.
    #[must_use]
    pub fn of_object(pod: &Value) -> Self {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        let owned = |pointer: &str| text(pointer).unwrap_or_default().to_owned();
        let time = |pointer: &str| text(pointer).and_then(|text| text.parse().ok());
        let of = |field: &str, key: &str| pod.get("metadata")?.get(field)?.get(key)?.as_str().map(str::to_owned);
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready");
        Self {
            name: owned("/metadata/name"),
            uid: owned("/metadata/uid"),
            hash: of("labels", AGENTS_META_HASH),
            inputs: of("annotations", CLUSTER_INPUTS).and_then(|text| inputs::parse(&text)),
            revision: REVISIONS.into_iter().find_map(|key| of("labels", key)).unwrap_or_default(),
            created: time("/metadata/creationTimestamp"),
            started: time("/status/startTime"),
            is_going: text("/metadata/deletionTimestamp").is_some(),
            is_ready: ready.is_some_and(|one| one["status"] == "True"),
            ready_changed: ready.and_then(|one| one["lastTransitionTime"].as_str()?.parse().ok()),
            unscheduled: None,
            containers: Vec::new(),
        }
    }

    /// What is wrong with it at `now`.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<Trouble> {
        let created = self.created.unwrap_or(now);
        let found =
            self.containers.iter().filter_map(|one| Some((one.trouble(now)?, one))).min_by_key(|(kind, _)| *kind);
        if let Some((kind, container)) = found {
            let evidence = format!("container {} of pod {}: {}", container.name, self.name, container.evidence(kind));
            return Some(Trouble { kind, since: self.started.unwrap_or(created), evidence });
        }
        if self.is_ready {
            return None;
        }
        let why = self
            .unscheduled
            .as_ref()
            .map_or_else(|| "is not ready".to_owned(), |why| format!("finds no node: {}", why.trim_end_matches('.')));
        let mut evidence = format!("pod {} {why}", self.name);
        let failed = self.containers.iter().filter(|one| one.failed_recently(now));
        if let Some((name, failure)) = failed.filter_map(|one| Some((&one.name, one.failed()?))).next() {
            evidence.push_str(&format!("; container {name} failed before, {failure}"));
        }
        Some(Trouble {
            kind: TroubleKind::Unready,
            since: self.ready_changed.unwrap_or(created).max(created),
            evidence,
        })
    }

    /// Whether it waits only for room on the nodes, which agents have no part in. Resources that agents' files come by are of
    /// our own group.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.unscheduled.as_ref().is_some_and(|why| why.contains("Insufficient") && !why.contains("odigos.io/"))
    }

    /// Whether a container failed shortly before `now`.
    #[must_use]
    pub fn has_failed(&self, now: Timestamp) -> bool {
        self.containers.iter().any(|one| one.failed_recently(now))
    }
}

impl ContainerSeen {
    fn trouble(&self, now: Timestamp) -> Option<TroubleKind> {
        match self.waiting.0.as_str() {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ImageInspectError" | "ErrImageNeverPull" => {
                Some(TroubleKind::Image)
            }
            "CrashLoopBackOff" | "CreateContainerError" | "CreateContainerConfigError" | "RunContainerError" => {
                Some(TroubleKind::Backoff)
            }
            _ if self.restarts >= REPEATED && self.failed_recently(now) => Some(TroubleKind::Crashing),
            _ => None,
        }
    }

    fn failed_recently(&self, now: Timestamp) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.at.is_none_or(|at| now.duration_since(at) < RECENT))
    }

    /// How it failed last, for people.
    fn failed(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        let reason = if failure.reason.is_empty() { String::new() } else { format!(" ({})", failure.reason) };
        let said = match tail(&failure.message) {
            message if message.is_empty() => String::new(),
            message => format!(", its last words: {message}"),
        };
        Some(format!("exit code {}{reason}{said}", failure.exit_code))
    }

    fn evidence(&self, kind: TroubleKind) -> String {
        let (word, words) = (&self.waiting.0, tail(&self.waiting.1));
        match (kind, self.failed()) {
            (TroubleKind::Image, _) if !words.is_empty() => format!("{word}, {words}"),
            (TroubleKind::Image, _) => word.clone(),
            (TroubleKind::Crashing, Some(failure)) => format!("fails again and again, {failure}"),
            (_, Some(failure)) => format!("{word}, {failure}"),
            (_, None) if words.is_empty() => word.clone(),
            (_, None) => format!("{word}, {words}"),
        }
    }
}

/// The end of a text, on one line.
fn tail(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let line = line.trim_end_matches('.');
    let skipped = line.chars().count().saturating_sub(LAST_WORDS);
    let kept: String = line.chars().skip(skipped).collect();
    if skipped > 0 { format!("…{kept}") } else { kept }
}

/// A time as the API keeps it, in whole seconds, so that what is remembered compares equal to what is read back.
#[must_use]
pub fn stamp(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// How pods are that do not carry `hash`: what those that do are compared with.
#[must_use]
pub fn baseline(pods: &[PodSeen], hash: &str, now: Timestamp) -> PodsBaseline {
    let others = pods.iter().filter(|pod| !pod.is_going && pod.hash.as_deref() != Some(hash));
    others.fold(PodsBaseline::default(), |mut baseline, pod| {
        baseline.pods += 1;
        baseline.ready_pods += u32::from(pod.is_ready);
        baseline.crashed_pods += u32::from(pod.has_failed(now));
        baseline
    })
}
