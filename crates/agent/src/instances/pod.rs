//! One pod with agents: its processes, and what was seen of them.

use super::Instances;
use super::object::{self, Instance};
use crate::golang::{self, ProcessKey};
use crate::processes::{Carrier, Processes};
use crate::watchdog::Watchdog;
use odigos_catalog::distribution::{self, Attach, Distribution};
use odigos_detect::parse::{Member, Peer};
use odigos_detect::presence::{self, Health, INSTANCES, Seen};
use odigos_plan::detection::subject::Subject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A connection that was seen is looked for again at every so many looks.
const SELDOM: usize = 5;
/// A process may become another program for this long.
const BECOMES: Duration = Duration::from_secs(120);
/// A program may load what tells its language for this long.
const LOADS: Duration = Duration::from_secs(15);
/// It is given up after so many looks without it.
const MISSED: u32 = 2;

/// A pod that is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) due: Instant,
    pub(super) looks: usize,
    fingerprint: Vec<String>,
    processes: BTreeMap<ProcessKey, Tracked>,
    /// Whether its workload's decision wants traces of what attaches from outside; `None` until it was read.
    wants_traces: Option<bool>,
    has_more: bool,
}

#[derive(Clone, Debug)]
struct Tracked {
    container: String,
    /// `None` for a process without an agent.
    carrier: Option<Carrier>,
    is_connected: bool,
    missed: u32,
    age: Duration,
    /// What it ran when its agent was looked for.
    program: Option<(u64, u64)>,
}

/// How long a process has run that started so many clock ticks after the node.
fn age(uptime: Duration, started: u64) -> Duration {
    uptime.saturating_sub(Duration::from_secs(started / rustix::param::clock_ticks_per_second().max(1)))
}

impl Tracked {
    /// The agent, if it is one for what runs here: helpers inherit the variables of the application beside them.
    fn agent(&self) -> Option<(&Carrier, &'static Distribution)> {
        let carrier = self.carrier.as_ref()?;
        let distribution = distribution::find(&carrier.marks.distribution)?;
        let is_its = distribution.language == carrier.language.as_str();
        (is_its && carrier.marks.container == self.container).then_some((carrier, distribution))
    }

    fn attaches_from_node(&self) -> bool {
        self.agent().is_some_and(|(_, distribution)| distribution.attach == Attach::Ebpf)
    }
}

impl Watched {
    pub(super) fn new(now: Instant) -> Self {
        let (fingerprint, processes) = (Vec::new(), BTreeMap::new());
        Self { due: now, looks: 0, fingerprint, processes, wants_traces: None, has_more: false }
    }

    /// A container that was started anew begins anew.
    pub(super) fn settle(&mut self, subject: &Subject, now: Instant) {
        let fingerprint = subject.fingerprint();
        if self.fingerprint != fingerprint {
            (self.fingerprint, self.due, self.looks) = (fingerprint, now, 0);
        }
    }

    /// Looks at its processes.
    pub(super) async fn look(
        &mut self,
        with: &Instances,
        subject: &Subject,
        found: &BTreeMap<Member, Vec<u32>>,
        watchdog: &Watchdog,
    ) {
        let pids: Vec<(String, u32)> = subject
            .containers
            .iter()
            .flat_map(|one| found.get(&one.member).into_iter().flatten().map(|pid| (one.name.clone(), *pid)))
            .collect();
        let (processes, known) = (with.sight.processes.clone(), std::mem::take(&mut self.processes));
        let is_seldom = self.looks.is_multiple_of(SELDOM);
        let before = known.clone();
        let work = move || survey(&processes, &pids, known, is_seldom);
        self.processes = match watchdog.run(work).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, pod = subject.pod, "its processes cannot be looked at");
                before
            }
        };
        let count = self.processes.values().filter(|one| one.agent().is_some()).count();
        if count > INSTANCES && !self.has_more {
            tracing::info!(
                namespace = subject.workload.namespace,
                pod = subject.pod,
                count,
                "only the oldest {INSTANCES} agents are told of"
            );
        }
        self.has_more = count > INSTANCES;
        if self.wants_traces.is_none() && self.processes.values().any(Tracked::attaches_from_node) {
            self.wants_traces = wants_traces(with, subject).await;
        }
    }

    /// The agents that are told of: the oldest ones.
    fn agents(&self) -> impl Iterator<Item = (ProcessKey, &Tracked, &Carrier, &'static Distribution)> {
        let mut all: Vec<_> = self
            .processes
            .iter()
            .filter_map(|(key, one)| one.agent().map(|(carrier, distribution)| (*key, one, carrier, distribution)))
            .collect();
        all.sort_by_key(|(key, ..)| (key.1, key.0));
        all.into_iter().take(INSTANCES)
    }

    /// Go processes that are to be instrumented from outside.
    pub(super) fn go_targets(&self, subject: &Subject, endpoint: &str) -> impl Iterator<Item = (ProcessKey, Value)> {
        let agents = self.agents().filter(|(_, one, ..)| self.wants_traces == Some(true) && one.attaches_from_node());
        agents.map(move |(key, _, carrier, _)| (key, golang::target(key, subject, &carrier.marks, endpoint)))
    }

    /// The objects about it.
    pub(super) fn instances(&self, with: &Instances, subject: &Subject) -> Vec<Value> {
        let mut objects: Vec<Value> = Vec::new();
        for (key, tracked, carrier, distribution) in self.agents() {
            let is_on_node = distribution.attach != Attach::Environment;
            let is_neighbour = |(other, one): (&ProcessKey, &Tracked)| {
                *other != key && one.container == tracked.container && one.is_connected
            };
            let health = match distribution.attach {
                Attach::Environment => presence::judge(&Seen {
                    marks: &carrier.marks,
                    is_connected: tracked.is_connected,
                    is_neighbour_connected: self.processes.iter().any(is_neighbour),
                    age: tracked.age,
                }),
                Attach::Ebpf => self.of_go(with, key, tracked.age),
            };
            let instance = Instance {
                pid: if is_on_node { key.0 } else { carrier.inner_pid },
                is_on_node,
                language: carrier.language.as_str(),
                marks: &carrier.marks,
                health,
                sends: (!is_on_node).then_some(tracked.is_connected),
            };
            let is_taken = |name: &str| objects.iter().any(|one| one["metadata"]["name"] == name);
            let object = object::of(subject, &with.sight.node, &instance, is_taken);
            objects.push(object);
        }
        objects
    }

    fn of_go(&self, with: &Instances, process: ProcessKey, age: Duration) -> Health {
        let health = |healthy, reason, message: &str| Health { healthy, reason, message: message.to_owned() };
        if self.wants_traces == Some(false) {
            return health(None, "Unknown", "Nobody takes traces of it, and it sends nothing else.");
        }
        let Some(go) = &with.go else {
            let message = "Go is not instrumented on this node: agent.golang.enabled of the chart is false.";
            return health(Some(false), "FailedToInitialize", message);
        };
        let starting = health(None, "Starting", "It is being instrumented.");
        match go.says(process) {
            None if age < Duration::from_secs(75) => starting,
            None => {
                let message =
                    "The program that instruments Go does not answer; see container golang of this node's odiglet pod.";
                health(Some(false), "FailedToInitialize", message)
            }
            Some(said) => match said.state.as_str() {
                "LoadedSuccessfully" => health(Some(true), "LoadedSuccessfully", &said.message),
                "FailedToInitialize" => health(Some(false), "FailedToInitialize", &said.message),
                "FailedToLoad" => health(Some(false), "FailedToLoad", &said.message),
                "FailedToRun" => health(Some(false), "FailedToRun", &said.message),
                _ => starting,
            },
        }
    }
}

/// Reads what is new of the processes of a pod. Those that ended are left out.
fn survey(
    processes: &Processes,
    pids: &[(String, u32)],
    mut known: BTreeMap<ProcessKey, Tracked>,
    is_seldom: bool,
) -> BTreeMap<ProcessKey, Tracked> {
    let uptime = processes.uptime();
    let mut peers: Option<Vec<Peer>> = None;
    let mut all = BTreeMap::new();
    for (container, pid) in pids {
        let Some(started) = processes.started(*pid) else { continue };
        let key = (*pid, started);
        let mut tracked = known.remove(&key).unwrap_or_else(|| Tracked {
            container: container.clone(),
            program: processes.program(*pid),
            carrier: processes.carrier(*pid),
            is_connected: false,
            missed: 0,
            age: Duration::ZERO,
        });
        tracked.age = age(uptime, started);
        // A container's first process is often a small one that becomes the application: its variables come with it, its
        // language does not. A young one may still load what tells its language.
        if tracked.agent().is_none() && tracked.age < BECOMES {
            let program = processes.program(*pid);
            if program != tracked.program || tracked.age < LOADS {
                (tracked.program, tracked.carrier) = (program, processes.carrier(*pid));
            }
        }
        if let Some((carrier, _)) = tracked.agent()
            && !carrier.marks.endpoint.is_empty()
            && (!tracked.is_connected || is_seldom)
        {
            let sockets = processes.sockets(*pid);
            // Containers of a pod share one network.
            let is_seen = !sockets.is_empty()
                && carrier.marks.is_connected(&sockets, peers.get_or_insert_with(|| processes.peers(*pid)));
            tracked.missed = if is_seen { 0 } else { tracked.missed.saturating_add(1) };
            tracked.is_connected = is_seen || (tracked.is_connected && tracked.missed < MISSED);
        }
        all.insert(key, tracked);
    }
    all
}

/// Whether the decision about the workload wants traces of any container that is instrumented from outside.
async fn wants_traces(with: &Instances, subject: &Subject) -> Option<bool> {
    let config = with.sight.reporter.config(&subject.workload).await.ok()??;
    let mut containers = config.spec.containers.iter();
    Some(containers.any(|one| {
        let attach = distribution::find(&one.otel_distro_name).map(|one| one.attach);
        one.agent_enabled && attach == Some(Attach::Ebpf) && one.traces.is_some()
    }))
}
