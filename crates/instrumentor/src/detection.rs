//! Detection pods, where nodes have no agent: takes what ended ones say into statuses, removes them, and makes those that
//! `plan::detection::pods` asks for (`spec/sources-and-instrumentation.md` 4.11).
//!
//! Findings are written as field manager `odigos-agent`, by the rules of the agent itself: who looks may change, the writer of the
//! fields does not. One key for all, since pods are shared by workloads and few at a time.

use crate::pods::{self, PodFacts};
use crate::state::State;
use crate::workloads::Error;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::names::{DETECTION, INSTRUMENTOR};
use odigos_kit::queue::Outcome;
use odigos_plan::detection::message::{self, Request, Told};
use odigos_plan::detection::pods::{Batch, DetectionPod, Memory, Seen, Verdict, plan};
use odigos_plan::detection::report::{Finding, change};
use odigos_plan::detection::subject::Subject;
use odigos_plan::detection::waiting::{self, Waiting};
use odigos_plan::detection::{Mode, Options, object};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(crate) async fn reconcile(state: Arc<State>) -> Result<Outcome, Error> {
    let options = state.detection.load_full();
    if options.mode != Mode::Pod {
        return Ok(Outcome::default());
    }
    // Nobody else works on it: there is one key.
    let mut memory = state.looks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let outcome = pass(&state, &options, &mut memory).await;
    *state.looks.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    outcome
}

async fn pass(state: &State, options: &Options, memory: &mut Memory) -> Result<Outcome, Error> {
    let open = take_what_ended(state, memory).await?;
    let waiting = waiting(state);
    memory.keep(&waiting);
    for batch in plan(&Seen { options, waiting: &waiting, open: &open, memory, now: Timestamp::now() }).batches {
        make(state, options, &batch, memory).await?;
    }
    for one in &waiting {
        if let Some(why) = memory.failure(&one.workload) {
            tell(state, &one.workload, &Finding::Failed(why.to_owned())).await?;
        }
    }
    // Pods that were just made come back through the hub.
    let now = Timestamp::now();
    let recheck = plan(&Seen { options, waiting: &waiting, open: &open, memory, now }).recheck;
    let after = recheck.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    Ok(Outcome { recheck_after: after.map(|after| after + Duration::from_millis(50)) })
}

/// Writes down what ended pods say and removes them; returns those that are open.
async fn take_what_ended(state: &State, memory: &mut Memory) -> Result<Vec<DetectionPod>, Error> {
    let mut open = Vec::new();
    for facts in state.pods.namespace(&state.namespace) {
        let Some((pod, request)) = facts.detection() else { continue };
        match pod.verdict(Timestamp::now()) {
            Verdict::Open(_) => {
                open.push(pod);
                continue;
            }
            Verdict::Failed(why) => fail(&request, &why, memory),
            Verdict::Ended(message) => match message::read(&request, &message) {
                Err(why) => fail(&request, &format!("the detection pod on node {}: {why}", pod.node), memory),
                Ok(told) => {
                    for (subject, told) in request.pods.iter().zip(told) {
                        take(state, &subject.workload, told, memory).await?;
                    }
                }
            },
        }
        remove(state, &facts).await?;
    }
    Ok(open)
}

fn fail(request: &Request, why: &str, memory: &mut Memory) {
    tracing::warn!(why, pods = request.pods.len(), "a detection pod came to nothing");
    request.pods.iter().for_each(|subject| memory.failed(&subject.workload, why));
}

async fn take(state: &State, workload: &WorkloadRef, told: Told, memory: &mut Memory) -> Result<(), Error> {
    match told {
        Told::Found(containers, problem) => {
            let languages: Vec<&str> = containers.iter().map(|one| one.details.language.as_str()).collect();
            tracing::info!(%workload, ?languages, problem, "a detection pod has looked at it");
            tell(state, workload, &Finding::Found(containers)).await?;
            memory.looked_at(workload);
        }
        Told::Failed(why) => memory.failed(workload, &why),
        Told::LeftOut => memory.left_out(workload, Timestamp::now()),
    }
    Ok(())
}

/// Workloads that need a look.
fn waiting(state: &State) -> Vec<Waiting> {
    let configs = state.configs.all();
    let waiting = configs.iter().filter_map(|(key, config)| {
        let workload = WorkloadRef::from_config_name(&key.0, &key.1)?;
        waiting::waiting(&workload, config, &state.index.candidates(&workload))
    });
    waiting.collect()
}

/// Makes the pod of a batch, or remembers why there is none.
async fn make(state: &State, options: &Options, batch: &Batch, memory: &mut Memory) -> Result<(), Error> {
    let now = Timestamp::now();
    if options.image.is_empty() {
        memory.refused("no image of the agent is named (agentsImage of the configuration)".into(), now);
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(state.client.0.clone());
    let Some(node) = nodes.get_metadata_opt(&batch.node).await.map_err(Error::Read)? else {
        memory.unfit(batch, &format!("node {} is gone", batch.node), now);
        return Ok(());
    };
    if let Some(why) = object::unfit(&batch.node, &node.metadata.labels.unwrap_or_default(), options) {
        memory.unfit(batch, &why, now);
        return Ok(());
    }
    let request = Request { pods: subjects(state, batch).await? };
    memory.begun(batch, now);
    if request.pods.is_empty() {
        return Ok(());
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(state.client.0.clone(), &state.namespace);
    let account = match accounts.get_metadata(DETECTION).await {
        Ok(account) => account.metadata.uid.unwrap_or_default(),
        Err(error) => return refused(memory, error),
    };
    let pod = object::pod(options, &state.namespace, &batch.node, &request, &account, now);
    let pod: Pod = serde_json::from_value(pod).map_err(|error| Error::Read(kube::Error::SerdeError(error)))?;
    let api: Api<Pod> = Api::namespaced(state.client.0.clone(), &state.namespace);
    let parameters = PostParams { field_manager: Some(INSTRUMENTOR.to_owned()), ..PostParams::default() };
    match api.create(&parameters, &pod).await {
        Ok(made) => {
            memory.accepted();
            let workloads: Vec<String> = request.pods.iter().map(|one| one.workload.to_string()).collect();
            tracing::info!(node = batch.node, pod = made.metadata.name, ?workloads, "a detection pod is made");
            let facts = serde_json::to_value(&made).and_then(serde_json::from_value::<PodFacts>);
            if let (Ok(mut facts), Some(name)) = (facts, made.metadata.name) {
                pods::prune(&mut facts, &state.namespace);
                // The next pass must not make it again before the watch tells.
                state.pods.put((state.namespace.clone(), name), Some(facts));
            }
            Ok(())
        }
        Err(error) => refused(memory, error),
    }
}

/// What the API server does not take now it would not take from others either.
fn refused(memory: &mut Memory, error: kube::Error) -> Result<(), Error> {
    match error {
        kube::Error::Api(status) => {
            let why = format!("the API server refuses detection pods: {}", status.message);
            tracing::warn!(why, "no detection pod is made for now");
            memory.refused(why, Timestamp::now());
            Ok(())
        }
        error => Err(Error::Read(error)),
    }
}

/// What is asked of the pods of a batch; those that changed meanwhile are left out.
async fn subjects(state: &State, batch: &Batch) -> Result<Vec<Subject>, Error> {
    let mut subjects = Vec::new();
    for target in &batch.targets {
        let workload = &target.workload;
        let Some(config) = state.configs.get(&workload.namespace, &workload.config_name()) else { continue };
        let api: Api<Pod> = Api::namespaced(state.client.0.clone(), &workload.namespace);
        let Some(pod) = api.get_opt(&target.pod).await.map_err(Error::Read)? else { continue };
        let ready = Subject::ready(&pod).filter(|subject| subject.uid == target.uid && subject.workload == *workload);
        let asked = ready.map(|one| message::asked(one, &waiting::containers(&config), waiting::known(&config)));
        subjects.extend(asked.filter(|subject| !subject.containers.is_empty()));
    }
    Ok(subjects)
}

async fn remove(state: &State, facts: &PodFacts) -> Result<(), Error> {
    let name = facts.metadata.name.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(state.client.0.clone(), &state.namespace);
    let preconditions = Preconditions { uid: facts.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&name, &parameters).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(Error::Read(error)),
    }
    state.pods.put((state.namespace.clone(), name), None);
    Ok(())
}

/// Brings the status of a workload in line with a finding.
async fn tell(state: &State, workload: &WorkloadRef, finding: &Finding) -> Result<(), Error> {
    let known = state.configs.get(&workload.namespace, &workload.config_name());
    if known.is_none_or(|known| change(&known, workload, finding, Timestamp::now()).is_none()) {
        return Ok(());
    }
    let api: Api<InstrumentationConfig> = Api::namespaced(state.client.0.clone(), &workload.namespace);
    let change = |config: &InstrumentationConfig| change(config, workload, finding, Timestamp::now());
    state.reporter.change_status(&api, &workload.config_name(), change).await?;
    Ok(())
}
