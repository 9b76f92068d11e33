//! Why a workload or a pod is instrumented, or is not: from the objects of the cluster to one screen.
//!
//! Owns what is said and in which order; the words of conditions are the control plane's. `read` fetches objects with plain
//! `get` and `list`, everything else is pure: `workload` and `pod` make reports, `next_step` says what to do about a reason,
//! `layout` folds text. A report is printed as text, or as JSON and YAML with the names of its fields.

pub(crate) mod layout;
pub(crate) mod next_step;
pub(crate) mod pod;
pub(crate) mod read;
pub(crate) mod workload;

use anyhow::{Context, bail};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::{AGENTS_META_HASH, CLUSTER_INPUTS};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_plan::agents::inputs;
use serde::Serialize;
use serde_json::Value;

/// What to do where nothing has to be done.
pub(crate) const WAIT: &str = "wait; it continues automatically";

/// The first thing that keeps a subject from what was asked for, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blocked {
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

/// How a pod stands to what is decided for its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Carries {
    /// It carries nothing.
    Nothing,
    /// It carries agents of an earlier decision.
    Older,
    /// It carries what is decided now.
    Current,
}

impl Carries {
    pub(crate) fn of(pod: &Value, config: Option<&InstrumentationConfig>) -> Self {
        let hash =
            pod.pointer("/metadata/labels").and_then(|labels| labels.get(AGENTS_META_HASH)).and_then(Value::as_str);
        let wanted = config.map(|config| config.spec.agents_meta_hash.as_str()).filter(|hash| !hash.is_empty());
        match hash {
            None => Self::Nothing,
            Some(hash) if wanted == Some(hash) => Self::Current,
            Some(_) => Self::Older,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "no agents",
            Self::Older => "older agents",
            Self::Current => "current agents",
        }
    }
}

/// Cluster-wide settings of which a pod with the current agents runs with older values.
pub(crate) fn outdated_inputs(pod: &Value, config: Option<&InstrumentationConfig>) -> Vec<String> {
    let Some(config) = config.filter(|_| Carries::of(pod, config) == Carries::Current) else { return Vec::new() };
    let annotation =
        pod.pointer("/metadata/annotations").and_then(|all| all.get(CLUSTER_INPUTS)).and_then(Value::as_str);
    let older = annotation.and_then(inputs::parse).unwrap_or_default();
    inputs::changed(&older, &config.spec.cluster_inputs).into_iter().map(str::to_owned).collect()
}

/// The command that brings the newest settings to a workload.
pub(crate) fn restart(workload: &WorkloadRef) -> String {
    let kind = workload.kind.as_str().to_lowercase();
    format!("odigos sources restart {kind}/{} -n {}", workload.name, workload.namespace)
}

/// Reads `deployment/cart`, or a kind and a name; kinds in any case, with kubectl's short names.
pub(crate) fn workload_of(words: &[String], namespace: &str) -> anyhow::Result<WorkloadRef> {
    let (kind, name) = kind_and_name(words)?;
    let kind = kind_of(&kind).with_context(|| {
        let known: Vec<String> = WorkloadKind::ALL.iter().map(|kind| kind.as_str().to_lowercase()).collect();
        format!("{kind:?} is no kind of workload; use one of {}", known.join(", "))
    })?;
    Ok(WorkloadRef::new(namespace, kind, name))
}

/// Splits `KIND/NAME`, or takes `KIND NAME`.
pub(crate) fn kind_and_name(words: &[String]) -> anyhow::Result<(String, String)> {
    match words {
        [one] => match one.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok((kind.to_owned(), name.to_owned())),
            _ => bail!("{one:?} names no workload; write KIND/NAME, for example deployment/cart"),
        },
        [kind, name] => Ok((kind.clone(), name.clone())),
        _ => bail!("write KIND/NAME, for example deployment/cart"),
    }
}

/// A kind as people write it.
pub(crate) fn kind_of(word: &str) -> Option<WorkloadKind> {
    let word = word.to_lowercase();
    let short = match word.as_str() {
        "deploy" => "deployment",
        "sts" => "statefulset",
        "ds" => "daemonset",
        "cj" => "cronjob",
        "dc" => "deploymentconfig",
        other => other,
    };
    let is_it = |kind: &WorkloadKind| {
        let name = kind.as_str().to_lowercase();
        name == short || format!("{name}s") == short
    };
    WorkloadKind::ALL.into_iter().find(is_it)
}

/// How a workload is named to kubectl.
pub(crate) fn kubectl_name(workload: &WorkloadRef) -> String {
    let kind = match workload.kind {
        WorkloadKind::StaticPod => "pod".to_owned(),
        kind => kind.as_str().to_lowercase(),
    };
    format!("{kind}/{} -n {}", workload.name, workload.namespace)
}

#[cfg(test)]
mod tests;
