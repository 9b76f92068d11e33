//! Whose an item is: what every pipeline of the node collector starts with.
//!
//! Owns the processors that name the node and the workload of an item (its pod and class: [`super::senders`]), and which detectors can
//! answer where the cluster runs (`spec/collectors-and-pipelines.md` 5.4). Never decides where an item goes ([`super::routes`]).

use super::Observed;
use super::pipelines::Build;
use super::senders::{self, Origin};
use crate::collector;
use crate::workload::resource_attribute;
use odigos_api::WorkloadKind;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Value, json};

/// Where the cluster runs; decides which detectors can answer (spec 5.4, A23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloudProvider {
    /// Not known: the detectors that the configuration enables, `gcp` aside, since it blocks elsewhere.
    #[default]
    Unknown,
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Google,
    /// None of them.
    Other,
}

impl CloudProvider {
    /// Reads a node's `spec.providerID`.
    #[must_use]
    pub fn from_provider_id(id: &str) -> Self {
        match id.split("://").next().unwrap_or_default() {
            "" => Self::Unknown,
            "aws" => Self::Aws,
            "azure" => Self::Azure,
            "gce" => Self::Google,
            _ => Self::Other,
        }
    }
}

impl Build<'_> {
    /// Adds the processors that [`Self::opening`] names.
    pub(super) fn add_identity(&self, config: &mut CollectorConfig, seen: &Observed<'_>) {
        config.add(
            ComponentKind::Processor,
            "resource/node-name",
            json!({"attributes": [{"key": "k8s.node.name", "action": "upsert", "value": "${env:NODE_NAME}"}]}),
        );
        senders::add(config, self.namespace);
        config.add(ComponentKind::Processor, WORKLOAD, workload_identity());
        let detectors = detectors(self.spec, seen.provider);
        if !detectors.is_empty() {
            config.add(
                ComponentKind::Processor,
                "resource_detection",
                json!({"detectors": detectors, "timeout": "2s"}),
            );
        }
    }

    /// Processors that every pipeline starts with. The class that an application claims is removed before the pod's own
    /// is read, so that it cannot choose its stream (A49).
    pub(super) fn opening(&self, config: &CollectorConfig, origin: Origin) -> Vec<String> {
        let mut ids = vec![collector::MEMORY_LIMITER.to_owned()];
        ids.extend(origin.order().iter().map(|id| (*id).to_owned()));
        ids.extend([WORKLOAD.to_owned(), "resource/node-name".to_owned()]);
        if config.get(ComponentKind::Processor, "resource_detection").is_some() {
            ids.push("resource_detection".into());
        }
        ids
    }
}

/// Id of the processor that names the workload.
const WORKLOAD: &str = "transform/workload";

/// Names the workload of a covered pod in the product's own attributes, by what the cluster says of the pod: sampling rules tell by
/// them what is a source. Pods that are not covered carry no class and get none (`spec/sampling.md` 3). The kinds are those of
/// [`crate::workload::pod_workload`].
fn workload_identity() -> Value {
    let attribute = |key: &str| Expression::from(Path::keyed("attributes", key));
    let is_there = |key: &str| Condition::NotEqual(attribute(key), Expression::Nil);
    let of_kind = |kind: WorkloadKind| Some((kind, vec![resource_attribute(kind)?]));
    // Owners before what they own: a Job of a CronJob has both names. The last key holds the name, all others must be there too.
    let rows = [
        of_kind(WorkloadKind::CronJob),
        Some((WorkloadKind::CronJob, vec!["k8s.job.name", senders::CRON_JOB_NAME])),
        of_kind(WorkloadKind::Job),
        of_kind(WorkloadKind::Deployment),
        of_kind(WorkloadKind::StatefulSet),
        of_kind(WorkloadKind::DaemonSet),
        Some((WorkloadKind::Rollout, vec![senders::ROLLOUT_HASH, senders::REPLICA_SET])),
        Some((WorkloadKind::DeploymentConfig, vec![senders::DEPLOYMENT_CONFIG])),
    ];
    let mut statements: Vec<String> = senders::judgement().iter().map(ToString::to_string).collect();
    for (kind, keys) in rows.into_iter().flatten() {
        let Some(name) = keys.last() else { continue };
        let condition = || {
            let mut all = vec![
                is_there(STREAM_CLASS_ATTRIBUTE),
                Condition::Equal(attribute(senders::WORKLOAD_NAME), Expression::Nil),
            ];
            all.extend(keys.iter().map(|key| is_there(key)));
            Condition::All(all)
        };
        // The kind first: once the name is there, no other kind is looked at.
        for (target, value) in
            [(senders::WORKLOAD_KIND, kind.as_str().into()), (senders::WORKLOAD_NAME, attribute(name))]
        {
            let arguments = vec![attribute(target), value];
            statements.push(Statement { editor: "set", arguments, condition: Some(condition()) }.to_string());
        }
    }
    // The ReplicaSet of a Rollout is called like it, with a hash behind.
    let is_rollout = Condition::Equal(attribute(senders::WORKLOAD_KIND), WorkloadKind::Rollout.as_str().into());
    let arguments = vec![attribute(senders::WORKLOAD_NAME), "-[^-]+$".into(), "".into()];
    statements.push(Statement { editor: "replace_pattern", arguments, condition: Some(is_rollout) }.to_string());
    statements.extend(senders::rest().iter().map(ToString::to_string));
    let group = json!([{"context": "resource", "statements": statements}]);
    json!({"error_mode": "ignore", "trace_statements": group, "metric_statements": group, "log_statements": group})
}

/// Detectors that the configuration enables and that can answer where the cluster runs. A detector that asks in vain
/// blocks the start for seconds, so each runs only at home.
fn detectors(spec: &CollectorsGroupSpec, provider: CloudProvider) -> Vec<&'static str> {
    let Some(settings) = &spec.resource_detectors else { return Vec::new() };
    let on = |detector: &Option<odigos_api::collectors_group::ResourceDetector>| {
        detector.as_ref().is_some_and(|detector| detector.enabled == Some(true))
    };
    let all = [
        ("ec2", on(&settings.ec2), CloudProvider::Aws),
        ("eks", on(&settings.eks), CloudProvider::Aws),
        ("azure", on(&settings.azure), CloudProvider::Azure),
        ("aks", on(&settings.aks), CloudProvider::Azure),
        ("gcp", on(&settings.gcp), CloudProvider::Google),
    ];
    let fits = |home: CloudProvider| match provider {
        CloudProvider::Unknown => home != CloudProvider::Google,
        known => home == known,
    };
    all.into_iter().filter(|(_, enabled, home)| *enabled && fits(*home)).map(|(name, _, _)| name).collect()
}
