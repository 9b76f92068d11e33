//! What is said of Actions: the conditions `TransformedToProcessor`, `AddedToCollectorConfig` and `Approximate`, and findings
//! (`spec/actions-and-rules.md` 1.2).
//!
//! Knows the steps and the pipelines of collectors; never compiles, never renders.

use super::transform::Settings;
use super::{Compiled, Kind, Step, compile, failure, names, shared};
use crate::covered::CoveredNames;
use crate::processors::sampled_apart::sampled_apart;
use crate::processors::{is_missing_everywhere, items, missing_streams, notes};
use crate::quarantine::action_key;
use odigos_api::action::Action;
use odigos_api::collectors_group::StreamClass;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::{CollectorRole, Finding, Signal};
use odigos_pipeline::CollectorConfig;
use std::collections::BTreeMap;

/// An Action with what it becomes.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The object.
    pub action: &'a Action,
    /// The collector that runs it.
    pub role: CollectorRole,
    /// What it becomes.
    pub compiled: Compiled,
    /// What the collector said that failed with it.
    pub refusal: Option<String>,
    /// What is said of its data streams that no workload is in.
    pub missing_streams: Vec<String>,
    /// What is said of its scopes that match nothing, each with its field.
    pub missing_scopes: Vec<(String, String)>,
    /// What takes its place while it is set aside.
    dropping: Option<Step>,
    /// What is said of destinations that get items more than once.
    pub versions: Vec<String>,
    /// Nodes compute metrics from spans.
    measures_spans: bool,
}

/// Compiles Actions, in the order of their names. `classes` hold the streams that are in use, where that is known, and `covered` what scopes can
/// match; `measures_spans` tells whether nodes compute metrics from spans.
pub fn known<'a>(
    actions: impl IntoIterator<Item = &'a Action>,
    set_aside: &BTreeMap<String, String>,
    classes: Option<&[StreamClass]>,
    covered: Option<&CoveredNames>,
    measures_spans: bool,
) -> Vec<Known<'a>> {
    let mut all: Vec<Known<'a>> = actions
        .into_iter()
        .map(|action| {
            let mut compiled = compile(action);
            let role = shared::role(&action.spec, measures_spans);
            let refusal = set_aside.get(&action_key(name(action))).cloned();
            let missing = |classes| missing_streams(action.spec.data_streams.as_deref(), classes);
            let missing_streams = classes.map(missing).unwrap_or_default();
            // What drops items in the place of an Action does so in gateways.
            let is_dropping = compiled.step.as_ref().is_some_and(Step::drops);
            let role = if is_dropping { CollectorRole::ClusterGateway } else { role };
            let dropping = failure::dropping(action).filter(|_| refusal.is_some()).map(|step| Step { role, ..step });
            if let Some(step) = &mut compiled.step {
                step.role = role;
            }
            let missing_scopes = covered.map(|covered| names::missing(action, covered)).unwrap_or_default();
            Known {
                action,
                role,
                compiled,
                refusal,
                missing_streams,
                missing_scopes,
                dropping,
                versions: Vec::new(),
                measures_spans,
            }
        })
        .collect();
    all.sort_by_key(|one| name(one.action));
    let specs = all.iter().filter(|one| one.step().is_some()).map(|one| &one.action.spec);
    if let Some(note) = shared::too_many_templates(specs) {
        let steps = all.iter_mut().filter(|one| one.action.spec.url_templatization.is_some());
        steps.filter_map(|one| one.compiled.step.as_mut()).for_each(|step| step.notes.push(note.clone()));
    }
    all
}

/// The processors of Actions; those that share one are joined.
#[must_use]
pub fn steps(all: &[Known<'_>]) -> Vec<Step> {
    shared::joined(all.iter().filter_map(|one| Some((one.action, one.step()?))))
}

/// The collector of a role, in words.
const fn collector(role: CollectorRole) -> &'static str {
    match role {
        CollectorRole::ClusterGateway => "gateway",
        CollectorRole::NodeCollector => "node collector",
    }
}

fn name(action: &Action) -> &str {
    action.metadata.name.as_deref().unwrap_or_default()
}

/// What an Action takes away or overwrites that others look at, with what follows. Scopes of Actions are judged before.
fn silenced(action: &Action) -> Vec<(String, String)> {
    let spec = &action.spec;
    let deleted = spec.delete_attribute.iter().flat_map(|kind| &kind.attribute_names_to_delete);
    let deleted = deleted.map(|name| ("spec.deleteAttribute.attributeNamesToDelete".to_owned(), name));
    let renamed = spec.rename_attribute.iter().flat_map(|kind| &kind.renames);
    let renamed = renamed.flat_map(|(old, new)| {
        let field = format!("spec.renameAttribute.renames[{old:?}]");
        [(field.clone(), old), (field, new)]
    });
    let replacing = spec.add_cluster_info.iter().filter(|kind| kind.overwrite_existing_values == Some(true));
    let replaced = replacing.flat_map(|kind| kind.cluster_attributes.iter().enumerate());
    let replaced =
        replaced.map(|(n, one)| (format!("spec.addClusterInfo.clusterAttributes[{n}]"), &one.attribute_name));
    let changed = deleted.chain(renamed).chain(replaced);
    let changed = changed.filter(|_| spec.signals.contains(&Signal::Traces));
    changed.filter_map(|(field, name)| Some((field, read_by_others(name)?))).collect()
}

/// Who looks at an attribute behind Actions.
fn read_by_others(name: &str) -> Option<String> {
    match name {
        "k8s.namespace.name" | "telemetry.sdk.language" => Some(format!(
            "scopes of sampling rules look at {name} behind it: they match by what it leaves there, and match nothing where that is nothing"
        )),
        "service.name" => Some(
            "the service graph and the condition TraceCut of data streams tell workloads apart by service.name behind it: they show what it leaves there, and nothing where that is nothing".to_owned(),
        ),
        _ => None,
    }
}

/// What happens to the items of an Action that cannot be carried out whole; its step tells whether they are dropped.
fn consequence(action: &Action, step: Option<&Step>) -> String {
    let spec = &action.spec;
    match step {
        Some(step) if step.drops() => format!(
            "failurePolicy is drop: {}{} are not exported until it can be carried out",
            items(&step.signals, step.streams.as_deref()),
            if is_limited(&step.settings) { " within its scopes" } else { "" },
        ),
        Some(_) if failure::drops(spec) => {
            "What else it says is in force; items of the other signals pass as they are: failurePolicy drops none that its kind cannot change"
                .to_owned()
        }
        Some(_) => format!(
            "What else it says is in force; failurePolicy is {}: items pass without the rest",
            failure::word(spec)
        ),
        None if failure::drops(spec) => {
            "failurePolicy is drop, and it names no signal whose items could be held back".to_owned()
        }
        None => "Nothing of it is in force; failurePolicy is ignore: items pass as they are".to_owned(),
    }
}

const fn is_limited(settings: &Settings) -> bool {
    matches!(settings, Settings::Filter { condition: Some(_), .. })
}

/// What people should know of an Action, whatever collectors there are.
#[must_use]
pub fn findings(action: &Action) -> Vec<Finding> {
    let namespace = action.metadata.namespace.as_deref().unwrap_or_default();
    let object = format!("Action {namespace}/{}", name(action));
    let compiled = compile(action);
    let finding = match action.spec.disabled {
        Some(true) => Finding::warning,
        _ => Finding::error,
    };
    let policy = (!compiled.problems.is_empty() && action.spec.disabled != Some(true))
        .then(|| finding(object.clone(), "spec.failurePolicy".into(), consequence(action, compiled.step.as_ref())));
    let problems = compiled.problems.into_iter();
    let mut all: Vec<Finding> =
        problems.map(|problem| finding(object.clone(), problem.field, problem.message)).collect();
    all.extend(policy);
    let remarks =
        silenced(action).into_iter().chain(names::remarks(&action.spec)).chain(names::no_streams(&action.spec));
    all.extend(remarks.map(|(field, message)| Finding::warning(object.clone(), field, message)));
    let step = compiled.step.filter(|step| !step.drops());
    let differs = Kind::of(&action.spec).and_then(Kind::approximation).map(str::to_owned);
    let notes = step.into_iter().flat_map(|step| step.notes.into_iter().chain(differs.clone()));
    all.extend(notes.map(|note| Finding::info(object.clone(), "", note)));
    all
}

impl Known<'_> {
    /// Name of the Action.
    #[must_use]
    pub fn name(&self) -> &str {
        name(self.action)
    }

    /// Whether nodes carry it out on the spans that they compute metrics from, too.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.role == CollectorRole::ClusterGateway && shared::is_measured(&self.action.spec, self.measures_spans)
    }

    /// What is said of metrics from spans that show what it changes: streams are apart in gateways alone.
    fn unmeasured(&self) -> Option<String> {
        let is_hiding = shared::hides_from_metrics(&self.action.spec, self.measures_spans);
        (is_hiding && self.role == CollectorRole::ClusterGateway && self.step().is_some() && !self.is_measured()).then(|| {
            "metrics that node collectors compute from spans do not see it, since data streams are told apart in gateways: leave dataStreams out, or name nothing in additionalDimensions that it changes".to_owned()
        })
    }

    /// The processor that collectors run; while it is set aside, none or what drops its items.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        if self.refusal.is_some() { self.dropping.as_ref() } else { self.compiled.step.as_ref() }
    }

    /// What people should know of its place in its collector's configuration.
    pub fn findings(&self, config: &CollectorConfig) -> impl Iterator<Item = Finding> + use<> {
        let namespace = self.action.metadata.namespace.as_deref().unwrap_or_default();
        let object = format!("Action {namespace}/{}", name(self.action));
        let missing = self.missing_streams.iter().map(|one| ("spec.dataStreams", one.clone()));
        let added = self.added(Some(config));
        // Where every one of its streams is missing, that is the reason, and it is reported.
        let streams = self.action.spec.data_streams.as_deref();
        let is_explained = is_missing_everywhere(streams, &self.missing_streams);
        let is_idle = added.reason == "NotInPipeline" && !is_explained;
        let idle = is_idle.then_some(("spec.signals", added.message.clone()));
        let versions = self.versions.iter().map(|one| ("spec.dataStreams", one.clone()));
        let refused = (added.reason == "ProcessorStartFailed").then_some(("spec", added.message));
        let unmeasured = self.unmeasured().map(|message| ("spec.dataStreams", message));
        let warnings = missing.chain(idle).chain(versions).chain(refused).chain(unmeasured);
        let warnings = warnings.map(|(field, message)| Finding::warning(object.clone(), field, message));
        let scopes = self.missing_scopes.iter();
        let scopes = scopes.map(|(field, message)| Finding::warning(object.clone(), field.clone(), message.clone()));
        let apart =
            self.sampled_apart(config).map(|message| Finding::info(object.clone(), "spec.dataStreams", message));
        let all: Vec<Finding> = warnings.chain(scopes).chain(apart).collect();
        all.into_iter()
    }

    /// What is said where it splits sampling by data streams.
    fn sampled_apart(&self, config: &CollectorConfig) -> Option<String> {
        let step = self.step()?;
        sampled_apart(config, &step.id, step.streams.as_deref())
    }

    /// Its conditions; `config` is that of its collector, if there is one.
    #[must_use]
    pub fn conditions(&self, config: Option<&CollectorConfig>) -> Vec<ConditionDraft> {
        let mut all = vec![self.transformed(), self.added(config)];
        all.extend(self.approximate());
        all
    }

    /// Said of a kind that the collector can only come near to, while it is in force.
    fn approximate(&self) -> Option<ConditionDraft> {
        let differs = Kind::of(&self.action.spec)?.approximation()?;
        self.step().filter(|step| !step.drops())?;
        let mut message = differs.to_owned();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Some(ConditionDraft::yes(kind::APPROXIMATE, "NoParser", format!("{message}.")))
    }

    fn transformed(&self) -> ConditionDraft {
        let no = |reason: &str, message: String| ConditionDraft::no(kind::TRANSFORMED, reason, message);
        if self.action.spec.disabled == Some(true) {
            return no("ActionDisabled", "The Action is disabled.".to_owned());
        }
        let problems: Vec<String> = self.compiled.problems.iter().map(ToString::to_string).collect();
        let consequence = || consequence(self.action, self.compiled.step.as_ref());
        let Some(step) = self.compiled.step.as_ref().filter(|_| problems.is_empty()) else {
            return no("InvalidAction", format!("{}. {}.", problems.join("; "), consequence()));
        };
        let mut message = format!(
            "It is compiled to a {} processor of the {}s{}.",
            step.settings.component_type(),
            collector(self.role),
            if self.is_measured() {
                ", and of the node collectors for the metrics that they compute from spans"
            } else {
                ""
            },
        );
        for note in &step.notes {
            message.push_str(&format!(" {note}."));
        }
        if self.action.spec.failure_policy.is_some() || Kind::of(&self.action.spec) == Some(Kind::PiiMasking) {
            let then = if failure::drops(&self.action.spec) { "would not be exported" } else { "would be exported" };
            let word = failure::word(&self.action.spec);
            message.push_str(&format!(" failurePolicy is {word}: if it could not be carried out, items {then}."));
        }
        for (_, warning) in silenced(self.action) {
            message.push_str(&format!(" But {warning}."));
        }
        for (field, remark) in names::remarks(&self.action.spec).iter().chain(&self.missing_scopes).take(20) {
            message.push_str(&format!(" Warning: {field}: {remark}."));
        }
        if let Some(warning) = self.unmeasured() {
            message.push_str(&format!(" Warning: spec.dataStreams: {warning}."));
        }
        ConditionDraft::yes(kind::TRANSFORMED, "ProcessorCreated", message)
    }

    fn added(&self, config: Option<&CollectorConfig>) -> ConditionDraft {
        let no = |reason: &str, message: String| ConditionDraft::no(kind::ADDED_TO_COLLECTOR, reason, message);
        if let Some(said) = &self.refusal {
            let consequence = consequence(self.action, self.dropping.as_ref());
            return no(
                "ProcessorStartFailed",
                format!(
                    "the {} does not run with it: {}. {consequence}.",
                    collector(self.role),
                    said.trim_end_matches('.')
                ),
            );
        }
        if self.action.spec.disabled == Some(true) {
            return no("ConfigRemovedDisabled", "The Action is disabled.".to_owned());
        }
        let Some(step) = &self.compiled.step else {
            return no(
                "NotTransformed",
                "Nothing of it is part of a collector's configuration; TransformedToProcessor says why.".to_owned(),
            );
        };
        let Some(config) = config else {
            return no(
                "NotInPipeline",
                format!("There is no {} yet. It is added as soon as there is one.", collector(self.role)),
            );
        };
        if !config.pipelines.values().any(|pipeline| pipeline.processors.contains(&step.id)) {
            let wanted = items(&step.signals, step.streams.as_deref());
            let message = format!(
                "The {} has no pipeline for {wanted} now. It is added as soon as there is one.",
                collector(self.role)
            );
            return no("NotInPipeline", format!("{message}{}", notes(&self.missing_streams)));
        }
        if step.drops() {
            let message = format!("{} drops what it is for. {}.", step.id, consequence(self.action, Some(step)));
            return no("ItemsDropped", message);
        }
        let apart = self.sampled_apart(config).map(|message| format!(" Note that {message}.")).unwrap_or_default();
        let mut message = format!(
            "{} is part of the {}'s configuration.{}{apart}",
            step.id,
            collector(self.role),
            notes(&self.missing_streams)
        );
        for versions in &self.versions {
            message.push_str(&format!(" {versions}."));
        }
        ConditionDraft::yes(kind::ADDED_TO_COLLECTOR, "ConfigUpdated", message)
    }
}
