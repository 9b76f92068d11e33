//! Kinds whose Actions are one processor together (`spec/actions-and-rules.md` 1, S-class).
//!
//! Owns what is joined: all `k8sAttributes`, which each would watch the cluster, and all `urlTemplatization` for every stream, of which
//! each would end the others. Never compiles a kind of its own.

use super::transform::Settings;
use super::{Kind, Step, kubernetes, url_templates};
use odigos_api::action::{Action, ActionSpec};
use odigos_api::{CollectorRole, Signal};
use std::collections::{BTreeMap, BTreeSet};

/// Most templates of one cluster before users are warned: every request is matched against each of them.
const MOST_TEMPLATES: usize = 200;

/// The id of the processor that an Action shares with others of its kind.
#[must_use]
pub(super) fn id(spec: &ActionSpec) -> Option<&'static str> {
    let is_for_all = spec.data_streams.as_ref().is_none_or(Vec::is_empty);
    match Kind::of(spec)? {
        Kind::K8sAttributes => Some("k8s_attributes/actions/k8s-attributes"),
        Kind::UrlTemplatization if is_for_all => Some("transform/actions/url-templatization"),
        _ => None,
    }
}

/// The collector that runs an Action. Templates are made before spans are measured, where they are measured.
#[must_use]
pub fn role(spec: &ActionSpec, measures_spans: bool) -> CollectorRole {
    match Kind::of(spec) {
        Some(Kind::K8sAttributes) => CollectorRole::NodeCollector,
        Some(Kind::UrlTemplatization) if measures_spans && id(spec).is_some() => CollectorRole::NodeCollector,
        _ => CollectorRole::ClusterGateway,
    }
}

/// Whether metrics that nodes compute from spans could show what an Action hides.
#[must_use]
pub fn hides_from_metrics(spec: &ActionSpec, measures_spans: bool) -> bool {
    let replaces = spec.add_cluster_info.as_ref().is_some_and(|kind| kind.overwrite_existing_values == Some(true));
    let hides_nothing = match Kind::stated(spec).as_slice() {
        [Kind::K8sAttributes] => true,
        [Kind::AddClusterInfo] if !replaces => true,
        // Gateways do the same to the metrics that were computed.
        [Kind::AddClusterInfo | Kind::DeleteAttribute | Kind::RenameAttribute] => {
            spec.signals.contains(&Signal::Metrics)
        }
        _ => false,
    };
    measures_spans && !hides_nothing && spec.disabled != Some(true) && spec.signals.contains(&Signal::Traces)
}

/// Whether nodes carry it out a second time, on the spans from which they compute metrics. What is limited to data streams is not, since
/// nodes do not tell streams apart; a mask is, for every class of its streams.
#[must_use]
pub fn is_measured(spec: &ActionSpec, measures_spans: bool) -> bool {
    let is_limited = spec.data_streams.as_ref().is_some_and(|names| !names.is_empty());
    hides_from_metrics(spec, measures_spans) && (!is_limited || Kind::of(spec) == Some(Kind::PiiMasking))
}

/// The Actions that the collector of a role runs, and so may not start with.
pub fn run_by<'a>(
    role: CollectorRole,
    measures_spans: bool,
    actions: impl IntoIterator<Item = &'a Action>,
) -> impl Iterator<Item = &'a Action> {
    actions.into_iter().filter(move |action| {
        self::role(&action.spec, measures_spans) == role
            || role == CollectorRole::NodeCollector && is_measured(&action.spec, measures_spans)
    })
}

/// Steps with those of one shared processor joined, in the order of their first Action.
pub(super) fn joined<'a>(all: impl Iterator<Item = (&'a Action, &'a Step)>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut members: BTreeMap<String, Vec<&ActionSpec>> = BTreeMap::new();
    for (action, step) in all {
        let of_step = members.entry(step.id.clone()).or_default();
        of_step.push(&action.spec);
        match steps.iter_mut().find(|one| one.id == step.id) {
            None => steps.push(step.clone()),
            Some(joined) => {
                let signals: BTreeSet<Signal> = joined.signals.iter().chain(&step.signals).copied().collect();
                joined.signals = signals.into_iter().collect();
                joined.scopes.extend(step.scopes.iter().cloned());
                joined.propagates |= step.propagates;
                joined.limits = joined.limits.take().zip(step.limits.clone()).map(|(one, other)| [one, other].concat());
            }
        }
    }
    for step in &mut steps {
        let specs = members.get(&step.id).map(Vec::as_slice).unwrap_or_default();
        if specs.len() > 1 {
            step.settings = settings(specs).unwrap_or_else(|| step.settings.clone());
        }
    }
    steps
}

fn settings(specs: &[&ActionSpec]) -> Option<Settings> {
    match Kind::of(specs.first()?)? {
        Kind::K8sAttributes => {
            let kinds: Vec<_> = specs.iter().filter_map(|spec| spec.k8s_attributes.as_ref()).collect();
            Some(Settings::KubernetesAttributes(kubernetes::extraction(&kinds)))
        }
        Kind::UrlTemplatization => {
            let kinds: Vec<_> = specs.iter().filter_map(|spec| spec.url_templatization.as_ref()).collect();
            Some(Settings::Transform(BTreeMap::from([(Signal::Traces, url_templates::groups(&kinds))])))
        }
        _ => None,
    }
}

/// What is said of templates that are too many together.
pub(super) fn too_many_templates<'a>(all: impl Iterator<Item = &'a ActionSpec>) -> Option<String> {
    let rules = all.filter_map(|spec| spec.url_templatization.as_ref()).flat_map(|kind| &kind.rules);
    let count = rules.flat_map(|rule| &rule.templates).collect::<BTreeSet<_>>().len();
    (count > MOST_TEMPLATES).then(|| {
        format!("the cluster has {count} path templates, and every request is matched against each of them: more than {MOST_TEMPLATES} are slow")
    })
}
