//! What became of every rule: the conditions of its status (`spec/actions-and-rules.md` 4.2, 5; scenarios 54–70).
//!
//! Counts containers and names few, so that a message stays short and stands still however large the cluster is.

use super::express::{Expressed, expressed};
use super::merge::merged;
use super::signals::switched_off;
use super::{Rules, in_scope, missing, problems, settings, variables};
use crate::covered::CoveredNames;
use crate::streams;
use odigos_api::condition::kind::{RULE_APPLIED, RULE_VALIDATION};
use odigos_api::condition::{ConditionDraft, Status};
use odigos_api::instrumentation_config::{ContainerAgentConfig, InstrumentationConfig};
use odigos_api::instrumentation_rule::{InstrumentationRule, InstrumentationRuleSpec};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_catalog::distribution::{self, Distribution, RuleKind};
use std::collections::{BTreeMap, BTreeSet};

/// How many shortfalls, variables or names a message lists.
const LISTED: usize = 5;

/// A workload with agents, as far as rules ask.
#[derive(Clone, Debug)]
pub struct Covered<'a> {
    /// Which one.
    pub workload: WorkloadRef,
    /// What is decided for it.
    pub config: &'a InstrumentationConfig,
    /// Whether a pod of it runs that was not made with what is decided now.
    pub is_outdated: bool,
    /// Variables that its pod template sets itself, by container; at least those that agents read.
    pub stated: BTreeMap<String, BTreeSet<String>>,
}

/// The conditions of every rule, in the order of `rules`. `measures_network` is the setting
/// `metricsSources.networkMetrics.enabled`.
#[must_use]
pub fn report(
    rules: &[&InstrumentationRule],
    covered: &[Covered<'_>],
    measures_network: bool,
) -> Vec<Vec<ConditionDraft>> {
    let known: BTreeSet<&WorkloadRef> = covered.iter().map(|one| &one.workload).collect();
    let uncovered = |rule: &&InstrumentationRule| {
        named_workloads(&rule.spec).filter(|workload| !known.contains(workload)).collect()
    };
    let configs = covered.iter().map(|one| (one.workload.namespace.clone(), one.workload.config_name(), one.config));
    let configs: Vec<_> = configs.collect();
    let names =
        CoveredNames::of(configs.iter().map(|(namespace, name, config)| (namespace.as_str(), name.as_str(), *config)));
    let mut tallies = judge(rules, covered, measures_network, uncovered);
    for (rule, tally) in rules.iter().zip(&mut tallies) {
        tally.missing = missing(&rule.spec, &names).into_iter().filter(|(field, _)| !is_noted(field)).collect();
    }
    conditions(rules, tallies, measures_network)
}

/// Fields whose notes are counted: workloads, distributions.
fn is_noted(field: &str) -> bool {
    ["spec.scopes.sources", "spec.workloads", "spec.otelDistros"].iter().any(|noted| field.starts_with(noted))
}

fn conditions(rules: &[&InstrumentationRule], tallies: Vec<Tally>, measures_network: bool) -> Vec<Vec<ConditionDraft>> {
    let judged = rules.iter().zip(tallies);
    judged.map(|(rule, tally)| vec![validation(rule), tally.condition(rule, measures_network)]).collect()
}

/// What became of every rule in the containers; `uncovered` are the workloads that a rule names and that no Source covers.
fn judge(
    rules: &[&InstrumentationRule],
    covered: &[Covered<'_>],
    measures_network: bool,
    uncovered: impl Fn(&&InstrumentationRule) -> BTreeSet<WorkloadRef>,
) -> Vec<Tally> {
    let of_rule = |rule| Tally { uncovered: uncovered(rule), ..Tally::default() };
    let mut tallies: Vec<Tally> = rules.iter().map(of_rule).collect();
    for one in covered {
        let none = BTreeMap::new();
        let labels = one.config.metadata.labels.as_ref().unwrap_or(&none);
        let streams = streams::membership(labels, &one.workload.namespace, &BTreeSet::new());
        for container in &one.config.spec.containers {
            let known = language_of(one.config, &container.container_name);
            let language = known.unwrap_or_default();
            let in_force = Rules::of(rules, &one.workload, &streams, language);
            let seen = Seen { covered: one, container, language, streams: &streams, in_force: &in_force };
            let is_pending = seen.is_pending();
            for (rule, tally) in rules.iter().zip(&mut tallies) {
                // What is switched off for a workload is so before it is known what runs in it.
                let concerns = known.is_some() || !switched_off(&rule.spec).is_empty();
                if concerns && in_scope(&rule.spec, &one.workload, &streams, language) {
                    tally.add(rule, &seen, is_pending, measures_network);
                }
            }
        }
    }
    tallies
}

/// What of the enabled rules that are meant for one workload does not hold in it, or not in all of it: the name of each rule, and
/// the sentence of its condition, counted over this workload alone.
#[must_use]
pub fn remarks(rules: &[&InstrumentationRule], covered: &Covered<'_>, measures_network: bool) -> Vec<(String, String)> {
    let none = BTreeMap::new();
    let labels = covered.config.metadata.labels.as_ref().unwrap_or(&none);
    let streams = streams::membership(labels, &covered.workload.namespace, &BTreeSet::new());
    let containers = covered.config.spec.containers.iter();
    let mut languages: BTreeSet<&str> =
        containers.filter_map(|one| language_of(covered.config, &one.container_name)).collect();
    languages.insert("");
    let is_meant = |spec: &InstrumentationRuleSpec| {
        let fits = |language: &&str| in_scope(spec, &covered.workload, &streams, language);
        spec.disabled != Some(true) && languages.iter().any(fits)
    };
    let tallies = judge(rules, std::slice::from_ref(covered), measures_network, |_| BTreeSet::new());
    let drafts = conditions(rules, tallies, measures_network);
    let judged = rules.iter().zip(drafts).filter(|(rule, _)| is_meant(&rule.spec));
    judged
        .filter_map(|(rule, drafts)| {
            let is_whole = |one: &ConditionDraft| one.status == Status::True && one.reason != "PartiallyApplied";
            let first = drafts.into_iter().find(|one| !is_whole(one))?;
            Some((rule.metadata.name.clone().unwrap_or_default(), first.message))
        })
        .collect()
}

/// The workloads that a rule names.
fn named_workloads(spec: &InstrumentationRuleSpec) -> impl Iterator<Item = WorkloadRef> {
    let scopes = spec.scopes.iter().flat_map(|scopes| &scopes.sources);
    scopes.chain(spec.workloads.iter().flatten()).filter_map(|one| {
        let kind = WorkloadKind::parse(&one.kind)?;
        Some(WorkloadRef::new(one.namespace.clone(), kind, one.name.clone()))
    })
}

fn validation(rule: &InstrumentationRule) -> ConditionDraft {
    let found = problems(&rule.spec);
    let Some(first) = found.first() else {
        return ConditionDraft::yes(RULE_VALIDATION, "Valid", "The rule makes sense.");
    };
    let listed = found.iter().take(LISTED).map(|one| format!("{} {}", one.field, one.message));
    let message = format!("Nothing of the rule is in force: {}.", listed.collect::<Vec<_>>().join("; "));
    ConditionDraft::no(RULE_VALIDATION, first.reason, message)
}

fn language_of<'a>(config: &'a InstrumentationConfig, container: &str) -> Option<&'a str> {
    let stated = config.spec.containers_overrides.iter().find(|one| one.container_name == container);
    let stated = stated.and_then(|one| one.runtime_info.as_ref());
    let found =
        || config.status.as_ref()?.runtime_details_by_container.iter().find(|one| one.container_name == container);
    stated.or_else(found).map(|details| details.language.as_str())
}

/// A container that rules may be for.
struct Seen<'a> {
    covered: &'a Covered<'a>,
    container: &'a ContainerAgentConfig,
    language: &'a str,
    streams: &'a BTreeSet<String>,
    in_force: &'a Rules<'a>,
}

impl Seen<'_> {
    fn distribution(&self) -> Option<&'static Distribution> {
        distribution::find(&self.container.otel_distro_name).filter(|_| self.container.agent_enabled)
    }

    /// No signal is left, so it has no agent: what a rule that switches traces off may lead to.
    fn is_without_signals(&self) -> bool {
        !self.container.agent_enabled && self.container.agent_enabled_reason == "NoCollectedSignals"
    }

    /// Whether its pods run with something other than what the rules in force ask for now.
    fn is_pending(&self) -> bool {
        let Some(distribution) = self.distribution() else { return self.covered.is_outdated };
        let is_silenced = self.in_force.traces_off().is_some();
        let mut expected = ContainerAgentConfig {
            traces: self.container.traces.as_ref().map(|_| Default::default()),
            agent_diagnostics: None,
            ..self.container.clone()
        };
        let all = merged(self.in_force.0.iter().map(|rule| &rule.spec), self.language);
        settings::record(&mut expected, &all, distribution);
        self.covered.is_outdated
            || (is_silenced && self.container.traces.is_some())
            || variables(&expected, distribution) != variables(self.container, distribution)
    }

    fn stated_variables(&self) -> Option<&BTreeSet<String>> {
        self.covered.stated.get(&self.container.container_name)
    }
}

/// What became of one rule.
#[derive(Default)]
struct Tally {
    workloads: BTreeSet<WorkloadRef>,
    /// Containers with an agent that the rule asks something of.
    containers: usize,
    /// Those in scope that have none.
    without_agent: usize,
    /// Those in which something of it holds, and everything.
    applied: usize,
    whole: usize,
    /// Those of `applied` whose pods are older.
    pending: usize,
    /// What agents cannot do, by distribution and words.
    shortfalls: BTreeMap<(String, String), usize>,
    /// Variables that workloads set themselves, with one of these workloads.
    kept: BTreeMap<String, (WorkloadRef, usize)>,
    /// Streams that see the effect although the rule does not name them.
    other_streams: BTreeSet<String>,
    /// Workloads that the rule names and that no Source covers.
    uncovered: BTreeSet<WorkloadRef>,
    /// What else the rule names and is not there, by field.
    missing: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, rule: &InstrumentationRule, seen: &Seen<'_>, is_pending: bool, measures_network: bool) {
        let silences = rule.spec.instrumentation_libraries.is_none()
            && rule.spec.trace_config.as_ref().is_some_and(|config| config.disabled == Some(true));
        if silences && seen.is_without_signals() {
            self.count(rule, seen);
            self.applied += 1;
            self.whole += 1;
            self.pending += usize::from(is_pending);
            return;
        }
        let is_off = !switched_off(&rule.spec).is_empty();
        let Some(distribution) = seen.distribution() else {
            if is_off {
                // Signals are switched off whether there is an agent or not.
                self.count(rule, seen);
                self.applied += 1;
                self.whole += 1;
            } else {
                self.without_agent += 1;
            }
            return;
        };
        let mut blocks = expressed(&rule.spec, distribution, seen.language);
        if !measures_network {
            blocks.remove(&RuleKind::NetworkMetrics);
        }
        if let Some(how) = blocks.get_mut(&RuleKind::OtelDistros)
            && let Some(why) = other_distribution(rule, seen, distribution)
        {
            *how = Expressed::Nothing(why);
        }
        if blocks.is_empty() && !is_off {
            return;
        }
        self.count(rule, seen);
        let kept = self.add_kept(rule, seen, distribution);
        let holds = blocks.values().any(|how| !matches!(how, Expressed::Nothing(_)));
        let is_whole = !kept && blocks.values().all(|how| *how == Expressed::Whole);
        self.applied += usize::from(holds || is_off);
        self.whole += usize::from(is_whole);
        self.pending += usize::from(holds && is_pending);
        for words in super::express::shortfalls(&blocks) {
            *self.shortfalls.entry((distribution.name.clone(), words)).or_default() += 1;
        }
    }

    fn count(&mut self, rule: &InstrumentationRule, seen: &Seen<'_>) {
        self.containers += 1;
        self.workloads.insert(seen.covered.workload.clone());
        if let Some(named) = rule.spec.data_streams.as_ref().filter(|named| !named.is_empty()) {
            self.other_streams.extend(seen.streams.iter().filter(|stream| !named.contains(stream)).cloned());
        }
    }

    /// Variables of the rule that the workload sets itself; returns whether there is one.
    fn add_kept(&mut self, rule: &InstrumentationRule, seen: &Seen<'_>, distribution: &Distribution) -> bool {
        let Some(stated) = seen.stated_variables().filter(|stated| !stated.is_empty()) else { return false };
        let mut alone = ContainerAgentConfig { traces: Some(Default::default()), ..Default::default() };
        settings::record(&mut alone, &merged(std::iter::once(&rule.spec), seen.language), distribution);
        let wanted = variables(&alone, distribution).into_keys();
        let kept: Vec<String> = wanted.filter(|name| stated.contains(name)).collect();
        for name in &kept {
            let entry = self.kept.entry(name.clone());
            entry.or_insert_with(|| (seen.covered.workload.clone(), 0)).1 += 1;
        }
        !kept.is_empty()
    }

    fn condition(self, rule: &InstrumentationRule, measures_network: bool) -> ConditionDraft {
        let is_invalid = !problems(&rule.spec).is_empty();
        if rule.spec.disabled == Some(true) || is_invalid {
            return self.out_of_force(rule, is_invalid);
        }
        let waits = rule.spec.network_metrics.is_some() && !measures_network;
        let notes = self.notes(rule, waits);
        let all = self.containers;
        let workloads = self.workloads.len();
        let said = |text: String| [text].into_iter().chain(notes.iter().cloned()).collect::<Vec<_>>().join(" ");
        let counted =
            |some: usize| format!("In {some} of {} ({}).", count(all, "container"), count(workloads, "workload"));
        if all == 0 && waits {
            return ConditionDraft::no(RULE_APPLIED, "WaitingForClusterConfig", notes.join(" "));
        }
        if all == 0 {
            let reason = if self.names_no_distribution(rule) { "Unsupported" } else { "NoMatchingSources" };
            let text = match self.without_agent {
                0 => "No container with an agent is in its scope, or it asks nothing of those that are.".to_owned(),
                some => format!(
                    "{} in its scope, and none has an agent that it asks something of.",
                    count(some, "container")
                ),
            };
            return ConditionDraft::no(RULE_APPLIED, reason, said(text));
        }
        if self.applied == 0 {
            return ConditionDraft::no(RULE_APPLIED, "Unsupported", said(counted(0)));
        }
        if self.pending > 0 {
            let text = format!(
                "{} {} older pods; it holds when they are replaced.",
                counted(self.applied),
                if self.pending == 1 {
                    "1 of them runs in".to_owned()
                } else {
                    format!("{} of them run in", self.pending)
                },
            );
            return ConditionDraft::unknown(RULE_APPLIED, "PendingRestart", said(text));
        }
        let is_whole = self.whole == all && self.unknown_distributions(rule).is_empty() && !waits;
        let reason = if is_whole { "Applied" } else { "PartiallyApplied" };
        ConditionDraft::yes(RULE_APPLIED, reason, said(counted(self.applied)))
    }

    /// A rule that is switched off or makes no sense: what it set may still run.
    fn out_of_force(&self, rule: &InstrumentationRule, is_invalid: bool) -> ConditionDraft {
        let before = rule.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == RULE_APPLIED);
        let held =
            before.is_some_and(|one| matches!(one.reason.as_str(), "Applied" | "PartiallyApplied" | "PendingRestart"));
        if held && self.pending > 0 {
            let verb = if self.pending == 1 { "runs" } else { "run" };
            let message = format!(
                "No longer in force; {} {verb} with it until their pods are replaced.",
                count(self.pending, "container")
            );
            return ConditionDraft::unknown(RULE_APPLIED, "PendingRestart", message);
        }
        let (reason, message) = if is_invalid {
            (
                "InvalidRule",
                "Correct what InstrumentationRuleValidation names; until then nothing of the rule is in force.",
            )
        } else {
            ("Disabled", "The rule is switched off (spec.disabled).")
        };
        ConditionDraft::no(RULE_APPLIED, reason, message)
    }

    fn names_no_distribution(&self, rule: &InstrumentationRule) -> bool {
        let names = rule.spec.otel_distros.as_ref().map(|block| block.otel_distro_names.len()).unwrap_or_default();
        names > 0 && names == self.unknown_distributions(rule).len()
    }

    /// Names of distributions that a rule cannot choose, with the reason.
    #[allow(clippy::unused_self, reason = "reads as a part of the tally's condition")]
    fn unknown_distributions(&self, rule: &InstrumentationRule) -> Vec<String> {
        let names = rule.spec.otel_distros.iter().flat_map(|block| &block.otel_distro_names);
        let words = names.filter_map(|name| match distribution::find(name) {
            None => Some(format!("there is no distribution {name}")),
            Some(_) => None,
        });
        words.collect()
    }

    fn notes(&self, rule: &InstrumentationRule, waits_for_network: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.uncovered.is_empty() {
            let listed: Vec<String> = self.uncovered.iter().take(LISTED).map(ToString::to_string).collect();
            let more = self.uncovered.len().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!("No Source covers {}{more}, or it does not exist.", listed.join(", ")));
        }
        notes.extend(self.missing.iter().take(LISTED).map(|(field, message)| format!("{field}: {message}.")));
        let unknown = self.unknown_distributions(rule);
        if !unknown.is_empty() {
            let known: Vec<&str> = distribution::all().values().map(|one| one.name.as_str()).collect();
            notes.push(format!("otelDistros: {}; there are {}.", unknown.join(", "), known.join(", ")));
        }
        for ((distribution, words), containers) in self.shortfalls.iter().take(LISTED) {
            notes.push(format!("{distribution} ({}): {words}.", count(*containers, "container")));
        }
        if self.shortfalls.len() > LISTED {
            notes.push(format!("{} more.", self.shortfalls.len() - LISTED));
        }
        for (variable, (workload, containers)) in self.kept.iter().take(LISTED) {
            let more = if *containers > 1 { format!(" and {} more", containers - 1) } else { String::new() };
            notes.push(format!("{workload}{more}: sets {variable} itself, which stays."));
        }
        if waits_for_network {
            notes.push("networkMetrics: waits for metricsSources.networkMetrics.enabled in the configuration.".into());
        }
        if rule.spec.head_sampling_fallback_fraction.is_some() {
            notes.push("headSamplingFallbackFraction: not acted on any more; create a Sampling.".into());
        }
        if !self.other_streams.is_empty() {
            let listed: Vec<&str> = self.other_streams.iter().map(String::as_str).take(LISTED).collect();
            notes.push(format!("A process has one agent, so the streams {} see its effect too.", listed.join(", ")));
        }
        notes
    }
}

/// Why a container does not have the distribution that the rule asks for; `None` where it has.
fn other_distribution(rule: &InstrumentationRule, seen: &Seen<'_>, chosen: &Distribution) -> Option<String> {
    let names = rule.spec.otel_distros.iter().flat_map(|block| &block.otel_distro_names);
    let wanted = names.filter_map(|name| distribution::find(name)).rfind(|one| one.language == seen.language)?;
    let mut overrides = seen.covered.config.spec.containers_overrides.iter();
    let stated = overrides.find(|one| one.container_name == seen.container.container_name);
    if let Some(name) = stated.and_then(|one| one.otel_distro_name.as_ref()) {
        return (*name != wanted.name).then(|| format!("the Source asks for {name}"));
    }
    let mut next = Some(wanted);
    while let Some(one) = next {
        if one.name == chosen.name {
            return None;
        }
        next = one.fallback.as_deref().and_then(distribution::find);
    }
    Some(format!("another rule asks for {}", chosen.name))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
