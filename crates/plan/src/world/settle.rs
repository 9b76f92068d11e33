//! Runs the planners of all binaries in turn until nothing changes.
//!
//! The instrumentor's come first (they depend on nothing that the others write), then scheduler and autoscaler until the
//! groups and classes stand still. Every workload counts as ready at once, so that two-phase changes go through.

mod nodes;

use super::{Key, World};
use crate::actions::shared;
use crate::admission::source::exact_workload;
use crate::agents::{self, Backoff, Covered, NodeCollector};
use crate::configuration::{self, Configuration};
use crate::coverage::scope::Scope;
use crate::coverage::{self, Matcher};
use crate::covered::CoveredNames;
use crate::gateway::{self, GatewayPlan};
use crate::instrumentation::{self, Desired, Surroundings};
use crate::node::{self, NodePlan};
use crate::objects::Rank;
use crate::pools::{self, Pools};
use crate::quarantine::{self, Candidates};
use crate::sampling;
use crate::scheduling::{self, NodeGroupState};
use crate::streams::{self, classes::Existing};
use crate::unowned;
use crate::workload::template;
use jiff::Timestamp;
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupStatus, RoutedPool};
use odigos_api::condition::{INSTRUMENTATION_ORDER, merged};
use odigos_api::data_stream::{DataStream, DataStreamSpec, DataStreamStatus};
use odigos_api::destination::Destination;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::labels::{IMPLICIT_STREAM, STREAM_CLASS};
use odigos_api::sampling::Sampling;
use odigos_api::source::Source;
use odigos_api::{CollectorRole, Finding, Signal, WorkloadRef, names};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds after which settling stops whatever happens; three are enough unless a planner has a defect.
const ROUND_LIMIT: usize = 10;

/// What settling found besides the objects.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// What people should know, sorted, each once.
    pub findings: Vec<Finding>,
    /// The gateway as rendered last.
    pub gateway: Option<GatewayPlan>,
    /// Gateways of dedicated pools as rendered last, by name of their group.
    pub pools: BTreeMap<String, GatewayPlan>,
    /// The node collector as rendered last.
    pub node: Option<NodePlan>,
    /// Rounds until nothing changed.
    pub rounds: usize,
    /// What collectors do not start with and what is therefore left out, by its name in the quarantine, with what they said.
    pub quarantined: BTreeMap<String, String>,
    /// Stream sets that got no class, and why.
    pub refused_sets: BTreeMap<streams::StreamSet, streams::refusals::Refusal>,
}

impl World {
    /// Runs all planners until nothing changes. `now` is stamped on conditions.
    pub fn settle(&mut self, now: Timestamp) -> Settled {
        let mut findings = Vec::new();
        let configuration = self.configure(&mut findings);
        findings.extend(self.reject_destinations(&configuration));
        self.instrument(&configuration, now, &mut findings);
        let mut settled = Settled::default();
        let held_traces = self.holds_traces();
        for round in 1..=ROUND_LIMIT {
            let before = (self.groups.clone(), self.classes_of_configs());
            settled.refused_sets = self.schedule(&configuration, now);
            self.render(&configuration, now, &mut settled);
            settled.rounds = round;
            if before == (self.groups.clone(), self.classes_of_configs()) {
                break;
            }
        }
        if !held_traces && self.holds_traces() {
            findings.extend(self.first_sampling_rule(&configuration));
        }
        self.decide_agents(&configuration, now);
        self.describe_rules(&configuration, now, &mut findings);
        self.describe_streams(&configuration, now, &settled);
        findings.extend(streams::refusals::findings(&settled.refused_sets));
        findings.extend(settled.gateway.iter().flat_map(|plan| plan.findings.iter().cloned()));
        findings.extend(settled.node.iter().flat_map(|plan| plan.findings.iter().cloned()));
        findings.extend(self.unmatched_pools(&configuration));
        findings.extend(self.without_effect());
        findings.extend(self.rejected(&findings));
        self.locate(&mut findings);
        findings.sort();
        findings.dedup();
        settled.findings = findings;
        settled
    }

    /// Whether gateways wait for whole traces.
    fn holds_traces(&self) -> bool {
        let group = self.groups.get(&(self.namespace.clone(), names::GATEWAY.to_owned()));
        let sampling = group.and_then(|group| group.spec.tail_sampling.as_ref());
        sampling.is_some_and(|sampling| sampling.disabled != Some(true))
    }

    /// The rule that makes gateways wait for whole traces.
    fn first_sampling_rule(&self, configuration: &Configuration) -> Option<Finding> {
        let accepted = sampling::accept_with(configuration.built_in_sampling(), self.own_samplings());
        let group = self.groups.get(&(self.namespace.clone(), names::GATEWAY.to_owned()))?;
        let mode = match group.spec.sampling_dry_run {
            Some(true) => sampling::report::Mode::DryRun,
            _ => sampling::report::Mode::Sampling,
        };
        let wait = gateway::sampling::wait(&group.spec);
        sampling::buffering::first_rule(
            &accepted,
            configuration.health_probes().is_some(),
            &self.namespace,
            mode,
            &wait,
        )
    }

    fn classes_of_configs(&self) -> BTreeMap<Key, Option<String>> {
        let class = |labels: &Option<BTreeMap<String, String>>| {
            labels.as_ref().and_then(|labels| labels.get(STREAM_CLASS).cloned())
        };
        self.configs.iter().map(|(key, config)| (key.clone(), class(&config.metadata.labels))).collect()
    }

    /// Templates to the workloads that refer to them, and pods of Jobs that people made to their CronJobs.
    fn link(&mut self) {
        template::link(&mut self.workloads, &self.templates);
        for pod in self.pods.values_mut() {
            let job = pod.workload.as_ref().and_then(|workload| self.workloads.get(workload));
            if let Some(cron_job) = job.and_then(|job| job.made_by.clone()) {
                pod.workload = Some(cron_job);
            }
        }
    }

    /// The instrumentor: an InstrumentationConfig for every covered workload.
    fn instrument(&mut self, configuration: &Configuration, now: Timestamp, findings: &mut Vec<Finding>) {
        self.link();
        let options = instrumentation::Options::of(configuration, &self.namespace);
        let signals = self.node_signals();
        let rules: Vec<&InstrumentationRule> = self.own_rules().collect();
        let mut by_namespace: BTreeMap<&str, Vec<Matcher<'_>>> = BTreeMap::new();
        let mut sources_of: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
        for ((namespace, _), source) in &self.sources {
            by_namespace.entry(namespace).or_default().push(Matcher::new(source));
            sources_of.entry(namespace).or_default().push(source);
        }
        let mut exact: BTreeMap<(&str, &str, &str), Vec<&Source>> = BTreeMap::new();
        let mut broad: BTreeMap<&str, Vec<(&Matcher<'_>, &Source)>> = BTreeMap::new();
        for (namespace, matchers) in &by_namespace {
            for (matcher, source) in matchers.iter().zip(sources_of.get(namespace).into_iter().flatten()) {
                let is_pattern = source.spec.match_workload_name_as_regex == Some(true);
                if is_pattern || coverage::is_namespace_source(source) {
                    broad.entry(namespace).or_default().push((matcher, source));
                } else {
                    let workload = &source.spec.workload;
                    exact.entry((namespace, &workload.kind, &workload.name)).or_default().push(source);
                }
            }
        }
        let mut matched: BTreeMap<Key, (usize, BTreeSet<String>)> = BTreeMap::new();
        let mut configs = BTreeMap::new();
        for (reference, workload) in &self.workloads {
            let named = exact.get(&(reference.namespace.as_str(), reference.kind.as_str(), reference.name.as_str()));
            let patterns = broad.get(reference.namespace.as_str()).into_iter().flatten();
            let selecting: Vec<&Source> = named
                .into_iter()
                .flatten()
                .copied()
                .chain(patterns.filter(|(matcher, _)| matcher.selects(reference)).map(|(_, source)| *source))
                .collect();
            let key = (reference.namespace.clone(), reference.config_name());
            let existing = self.configs.get(&key);
            if selecting.is_empty() && options.scope.opt_out_labels(&reference.namespace).is_none() {
                continue;
            }
            let decided = coverage::decide(&options.scope, reference, &selecting);
            let rivals = rival_names(&selecting);
            for source in &selecting {
                let name = source.metadata.name.clone().unwrap_or_default();
                let entry = matched.entry((reference.namespace.clone(), name.clone())).or_default();
                entry.0 += 1;
                if !coverage::is_namespace_source(source) && rivals.len() > 1 {
                    entry.1.extend(rivals.iter().filter(|rival| **rival != name).cloned());
                }
            }
            let around = surroundings(&options, &signals, &rules, self.backoffs.get(reference), now);
            let plan = instrumentation::plan(workload, &decided, existing, &rivals.join(", "), &around);
            if decided.decision == coverage::Decision::Ambiguous {
                let object = reference.to_string();
                findings.push(Finding::error(
                    object,
                    "",
                    format!("several Sources select it: {}; delete all but one", rivals.join(", ")),
                ));
            }
            let config = match plan.desired {
                Desired::Delete => None,
                Desired::Keep => existing.cloned(),
                Desired::Apply(config) => {
                    let mut config = *config;
                    let class = existing.and_then(|config| config.metadata.labels.as_ref()?.get(STREAM_CLASS).cloned());
                    if let (Some(class), Some(labels)) = (class, config.metadata.labels.as_mut()) {
                        labels.insert(STREAM_CLASS.to_owned(), class);
                    }
                    let mut status = existing.and_then(|config| config.status.clone()).unwrap_or_default();
                    status.conditions = merged(&status.conditions, &plan.conditions, None, now);
                    config.status = Some(status);
                    Some(config)
                }
            };
            if let Some(config) = config {
                configs.insert(key, config);
            }
        }
        let mut statuses = Vec::new();
        for (key, source) in &self.sources {
            let matcher = Matcher::new(source);
            let (count, rivals) = matched.get(key).cloned().unwrap_or_default();
            let workload = exact_workload(source).and_then(|workload| self.workloads.get(&workload));
            let remarks = coverage::source_remarks(source, workload);
            let rivals: Vec<String> = rivals.into_iter().collect();
            let conditions = coverage::source_conditions(&options.scope, &matcher, count, &rivals, &remarks);
            let object = format!("Source {}/{}", key.0, key.1);
            findings
                .extend(remarks.into_iter().map(|(field, message)| Finding::warning(object.clone(), field, message)));
            for condition in &conditions {
                match condition.reason.as_str() {
                    "InvalidPattern" | "UnknownKind" | "WrongNamespace" => {
                        findings.push(Finding::error(object.clone(), "spec.workload", condition.message.clone()));
                    }
                    coverage::NAMESPACE_IGNORED => {
                        findings.push(Finding::warning(
                            object.clone(),
                            "metadata.namespace",
                            condition.message.clone(),
                        ));
                    }
                    "SelectedTwice" => {
                        findings.push(Finding::error(object.clone(), "spec.workload", condition.message.clone()))
                    }
                    "Accepted" if count == 0 => {
                        let message = coverage::impossible_name(source)
                            .unwrap_or_else(|| "no workload matches; it takes effect as soon as one exists".to_owned());
                        findings.push(Finding::warning(object.clone(), "spec.workload", message));
                    }
                    _ => {}
                }
            }
            let before = source.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            statuses.push((key.clone(), merged(&before, &conditions, source.metadata.generation, now)));
        }
        for (key, conditions) in statuses {
            if let Some(source) = self.sources.get_mut(&key) {
                source.status.get_or_insert_default().conditions = conditions;
            }
        }
        self.configs = configs;
    }

    /// What the collectors on the nodes take; `None` while they are not ready.
    fn node_signals(&self) -> Option<Vec<Signal>> {
        let group = self.groups.get(&(self.namespace.clone(), names::NODE_COLLECTOR.to_owned()))?;
        let status = group.status.as_ref().filter(|status| status.ready)?;
        Some(status.receiver_signals.clone().unwrap_or_default())
    }

    fn own_rules(&self) -> impl Iterator<Item = &InstrumentationRule> {
        self.rules.iter().filter(|((namespace, _), _)| *namespace == self.namespace).map(|(_, rule)| rule)
    }

    /// The instrumentor again, once the collectors on the nodes are there: which container gets which agent.
    fn decide_agents(&mut self, configuration: &Configuration, now: Timestamp) {
        let options = instrumentation::Options::of(configuration, &self.namespace);
        let signals = self.node_signals();
        let mut configs = std::mem::take(&mut self.configs);
        let rules: Vec<&InstrumentationRule> = self.own_rules().collect();
        for (key, config) in &mut configs {
            let Some(reference) = WorkloadRef::from_config_name(&key.0, &key.1) else { continue };
            let Some(workload) = self.workloads.get(&reference) else { continue };
            let around = surroundings(&options, &signals, &rules, self.backoffs.get(&reference), now);
            let drafts = instrumentation::decide_agents(workload, config, &around);
            let status = config.status.get_or_insert_default();
            let decided = merged(&status.conditions, &drafts, None, now);
            status.conditions.retain(|one| decided.iter().all(|other| other.type_ != one.type_));
            status.conditions.extend(decided);
            let position = |kind: &str| INSTRUMENTATION_ORDER.iter().position(|one| *one == kind);
            status.conditions.sort_by_key(|condition| position(&condition.type_));
        }
        self.configs = configs;
    }

    /// What became of InstrumentationRules. Pods count as made anew, and what pod templates set themselves is not kept.
    fn describe_rules(&mut self, configuration: &Configuration, now: Timestamp, findings: &mut Vec<Finding>) {
        let measures_network = instrumentation::Options::of(configuration, &self.namespace).measures_network;
        let configs = self.configs.iter().filter_map(|(key, config)| {
            let workload = WorkloadRef::from_config_name(&key.0, &key.1)?;
            Some(Covered { workload, config, is_outdated: false, stated: BTreeMap::new() })
        });
        let covered: Vec<Covered<'_>> = configs.collect();
        let names = CoveredNames::of(self.named_configs());
        let rules: Vec<&InstrumentationRule> = self.own_rules().collect();
        for rule in &rules {
            let object =
                format!("InstrumentationRule {}/{}", self.namespace, rule.metadata.name.as_deref().unwrap_or_default());
            let problems = agents::problems(&rule.spec).into_iter();
            let said = |message| format!("{message}; nothing of the rule is in force");
            findings.extend(problems.map(|one| Finding::error(object.clone(), one.field, said(one.message))));
            let missing = agents::missing(&rule.spec, &names).into_iter();
            findings.extend(missing.map(|(field, message)| Finding::warning(object.clone(), field, message)));
        }
        let mut drafts = agents::report(&rules, &covered, measures_network).into_iter();
        let own = |namespace: &str| namespace == self.namespace;
        for ((namespace, _), rule) in &mut self.rules {
            let Some(drafts) = own(namespace).then(|| drafts.next()).flatten() else { continue };
            let status = rule.status.get_or_insert_default();
            status.conditions = merged(&status.conditions, &drafts, rule.metadata.generation, now);
        }
    }

    /// What the configuration says about namespaces.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let configuration = self.stated_configuration(&mut Vec::new());
        Scope::of(&configuration, &self.namespace)
    }

    /// The effective configuration, from what the ConfigMaps of the control plane's namespace say.
    pub fn stated_configuration(&self, findings: &mut Vec<Finding>) -> Configuration {
        let text = |name: &str| {
            let key = (self.namespace.clone(), name.to_owned());
            self.config_maps.get(&key).and_then(|data| data.get(names::CONFIGURATION_KEY)).cloned()
        };
        let base = text(names::CONFIGURATION).unwrap_or_default();
        let (remote, ui) = (text(names::REMOTE_CONFIGURATION), text(names::UI_CONFIGURATION));
        let effective = configuration::effective(&base, remote.as_deref(), ui.as_deref(), &self.namespace);
        findings.extend(effective.findings);
        for name in configuration::SOURCES {
            let data = self.config_maps.get(&(self.namespace.clone(), name.to_owned()));
            let keys = data.into_iter().flatten().map(|(key, _)| key.as_str());
            findings.extend(configuration::unread_data(&self.namespace, name, keys));
        }
        effective.result.unwrap_or_else(|finding| {
            findings.push(finding);
            let last = text(names::EFFECTIVE_CONFIGURATION).unwrap_or_default();
            configuration::effective(&last, None, None, &self.namespace).result.unwrap_or_default()
        })
    }

    /// The scheduler's first half: the effective configuration, and what is reported about it.
    fn configure(&mut self, findings: &mut Vec<Finding>) -> Configuration {
        let mut about = Vec::new();
        let configuration = self.stated_configuration(&mut about);
        let object = format!("ConfigMap {}/{}", self.namespace, names::CONFIGURATION);
        about.extend(scheduling::unreached_opt_out(&configuration, &self.own_destinations(), &object));
        let text = scheduling::findings_text(&about);
        findings.extend(about);
        let object = scheduling::effective_configuration_object(&self.namespace, &configuration.to_yaml(), &text);
        self.put(Rank::Configuration, object);
        configuration
    }

    fn put(&mut self, rank: Rank, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (rank, text("/kind"), (text("/metadata/namespace"), text("/metadata/name")));
        self.outputs.insert(key, object);
    }

    fn own_destinations(&self) -> Vec<&Destination> {
        self.destinations
            .iter()
            .filter(|((namespace, _), _)| *namespace == self.namespace)
            .map(|(_, one)| one)
            .collect()
    }

    /// The scheduler's second half: classes, groups, and the class of every InstrumentationConfig and pod. Returns the stream sets that
    /// got no class.
    fn schedule(
        &mut self,
        configuration: &Configuration,
        now: Timestamp,
    ) -> BTreeMap<streams::StreamSet, streams::refusals::Refusal> {
        let destinations = self.own_destinations();
        let selected = streams::selected_namespaces(destinations.iter().copied());
        let (pools, _) = Pools::of(configuration);
        let mut usage = streams::Usage::default();
        let mut wanted: BTreeMap<Key, streams::StreamSet> = BTreeMap::new();
        for (key, config) in &self.configs {
            let set = pools.membership((&key.0, &key.1), config.metadata.labels.as_ref(), &selected);
            wanted.insert(key.clone(), set.clone());
            usage.add(&key.0, set);
        }
        unowned::add_usage(&mut usage, configuration, &destinations);
        let mut carried: BTreeSet<String> = self.classes_of_configs().into_values().flatten().collect();
        carried.extend(self.pods.values().filter_map(|pod| pod.stream_class.clone()));
        let gateway_key = (self.namespace.clone(), names::GATEWAY.to_owned());
        let node_key = (self.namespace.clone(), names::NODE_COLLECTOR.to_owned());
        let node_status = self.groups.get(&node_key).and_then(|group| group.status.as_ref());
        carried.extend(node_status.iter().flat_map(|status| status.unowned_stream_classes.iter().cloned()));
        let current = self.groups.get(&gateway_key);
        let existing = Existing {
            carried: &carried,
            current: current.map_or(&[], |group| &group.spec.stream_classes),
            drain: streams::DRAIN_PERIOD,
            quota: scheduling::stream_quota(configuration),
        };
        let classes = streams::plan_classes(&usage, &existing, now);
        let status = current.and_then(|group| group.status.clone());
        let accepted = sampling::accept_with(configuration.built_in_sampling(), self.own_samplings());
        let sampling = sampling::is_wanted(&accepted, configuration.health_probes(), !self.configs.is_empty());
        let spec = scheduling::gateway_group(configuration, &destinations, sampling, classes.classes);
        let of_pools = pools.plan(&pools::Seen {
            configuration,
            destinations: &destinations,
            sampling,
            classes: &spec.stream_classes,
            existing: pools::existing(self.groups.values()),
            routed: &self.routed_pools(),
            drain: streams::DRAIN_PERIOD,
            now,
        });
        let mut gateway = CollectorsGroup::new(names::GATEWAY, spec);
        gateway.metadata.namespace = Some(self.namespace.clone());
        gateway.status = status.clone();
        let state = NodeGroupState {
            any_instrumentation_config: !self.configs.is_empty(),
            gateway_ready: status.as_ref().is_some_and(|status| status.ready),
            exists: self.groups.contains_key(&node_key),
        };
        let known = |type_id: &str| odigos_catalog::destination::find(type_id).is_some();
        let node = scheduling::node_group(configuration, &destinations, &known, state).map(|spec| {
            let mut node = CollectorsGroup::new(names::NODE_COLLECTOR, spec);
            node.metadata.namespace = Some(self.namespace.clone());
            node.status = self.groups.get(&node_key).and_then(|group| group.status.clone());
            node
        });
        self.groups.insert(gateway_key, gateway);
        match node {
            Some(node) => drop(self.groups.insert(node_key, node)),
            None => drop(self.groups.remove(&node_key)),
        }
        for name in of_pools.gone {
            self.groups.remove(&(self.namespace.clone(), names::pool_gateway(&name)));
        }
        for (name, spec) in of_pools.groups {
            let key = (self.namespace.clone(), names::pool_gateway(&name));
            let mut group = CollectorsGroup::new(&key.1, spec);
            group.metadata.namespace = Some(key.0.clone());
            group.status = self.groups.get(&key).and_then(|group| group.status.clone());
            self.groups.insert(key, group);
        }
        self.assign_classes(&wanted, &classes.refused);
        classes.refused
    }

    /// What nodes may send to dedicated pools.
    fn routed_pools(&self) -> Vec<RoutedPool> {
        let node = self.groups.get(&(self.namespace.clone(), names::NODE_COLLECTOR.to_owned()));
        node.and_then(|group| group.status.as_ref()).map(|status| status.routed_pools.clone()).unwrap_or_default()
    }

    fn assign_classes(
        &mut self,
        wanted: &BTreeMap<Key, streams::StreamSet>,
        refused: &BTreeMap<streams::StreamSet, streams::refusals::Refusal>,
    ) {
        let gateway = self.groups.get(&(self.namespace.clone(), names::GATEWAY.to_owned()));
        let mut class_of: BTreeMap<WorkloadRef, String> = BTreeMap::new();
        for (key, config) in &mut self.configs {
            let labels = config.metadata.labels.get_or_insert_default();
            let current = labels.get(STREAM_CLASS).cloned();
            let assigned = wanted
                .get(key)
                .and_then(|set| streams::assign(set, current.as_deref(), gateway, refused.contains_key(set)));
            let Some(class) = assigned else { continue };
            labels.insert(STREAM_CLASS.to_owned(), class.clone());
            if let Some(workload) = WorkloadRef::from_config_name(&key.0, &key.1) {
                class_of.insert(workload, class);
            }
        }
        for pod in self.pods.values_mut() {
            pod.stream_class = pod.workload.as_ref().and_then(|workload| class_of.get(workload).cloned());
        }
    }

    /// The autoscaler: both collectors, and the status of everything that took part.
    fn render(&mut self, configuration: &Configuration, now: Timestamp, settled: &mut Settled) {
        let gateway_key = (self.namespace.clone(), names::GATEWAY.to_owned());
        let Some(group) = self.groups.get(&gateway_key).cloned() else { return };
        let secrets = self.secrets.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        let secrets = secrets.map(|((_, name), digests)| (name.clone(), digests.clone())).collect();
        let marks = self.secret_marks.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        let marks = marks.map(|((_, name), mark)| (name.clone(), mark.clone())).collect();
        let (own_processors, own_actions) = (self.own(&self.processors), self.own(&self.actions));
        let nodes = self.groups.get(&(self.namespace.clone(), names::NODE_COLLECTOR.to_owned()));
        let measures_spans = node::measures_spans(nodes);
        let of_gateways = shared::run_by(CollectorRole::ClusterGateway, measures_spans, &own_actions);
        let mut of_all_gateways = quarantine::actions(of_gateways);
        of_all_gateways.extend(quarantine::processors(CollectorRole::ClusterGateway, &own_processors));
        let destinations: Vec<Destination> = self.own_destinations().into_iter().cloned().collect();
        let mut candidates = quarantine::destinations(&destinations.iter().collect::<Vec<_>>(), &secrets);
        candidates.extend(of_all_gateways.clone());
        let set_aside = self.quarantined(names::GATEWAY, &candidates, now);
        settled.quarantined = set_aside.clone();
        let rules = self.sampling_rules(configuration);
        let seen = gateway::Observed {
            namespace: &self.namespace.clone(),
            group: &group,
            destinations: destinations.iter().collect(),
            processors: own_processors.iter().collect(),
            actions: own_actions.iter().collect(),
            secrets: &secrets,
            marks: &marks,
            configuration,
            rules: &rules,
            set_aside: &set_aside,
            senders: gateway::Senders { measures_spans, ..gateway::Senders::default() },
            is_own_collector: self.installation.is_own_collector(CollectorRole::ClusterGateway),
            is_name_taken: group
                .spec
                .deployment_name
                .as_ref()
                .is_some_and(|name| self.foreign_workloads.contains(name)),
        };
        let mut plan = gateway::plan(&seen);
        let objects = gateway::objects::desired(&seen, &plan, &self.installation);
        self.outputs.retain(|(rank, kind, _), object| !is_collector_output(*rank, kind, object));
        for one in objects {
            self.put(one.rank, one.object);
        }
        // Everything becomes ready at once here, so every class that is rendered is served.
        if let Some(group) = self.groups.get_mut(&gateway_key) {
            group.status = Some(served(&plan));
        }
        let pools: Vec<Key> =
            self.groups.iter().filter(|(_, group)| group.spec.pool.is_some()).map(|(key, _)| key.clone()).collect();
        for key in pools {
            let Some(group) = self.groups.get(&key).cloned() else { continue };
            let reached = pools::destinations(&group.spec, destinations.iter().collect());
            let mut candidates = quarantine::destinations(&reached, &secrets);
            candidates.extend(of_all_gateways.clone());
            let set_aside = self.quarantined(&key.1, &candidates, now);
            let pool = group.spec.pool.as_ref().map(|pool| pool.name.clone()).unwrap_or_default();
            for (object, said) in &set_aside {
                let said = format!("in the gateways of the pool {pool}: {said}");
                settled.quarantined.entry(object.clone()).or_insert(said);
            }
            plan.note_left_out(&pool, &set_aside);
            let seen = gateway::Observed {
                group: &group,
                destinations: reached,
                processors: own_processors.iter().collect(),
                actions: own_actions.iter().collect(),
                set_aside: &set_aside,
                is_name_taken: false,
                ..seen
            };
            let of_pool = gateway::plan(&seen);
            for one in gateway::objects::desired(&seen, &of_pool, &self.installation) {
                self.put(one.rank, one.object);
            }
            if let Some(group) = self.groups.get_mut(&key) {
                group.status = Some(served(&of_pool));
            }
            settled.pools.insert(key.1, of_pool);
        }
        for (name, condition) in &plan.destinations {
            if let Some(destination) = self.destinations.get_mut(&(self.namespace.clone(), name.clone())) {
                let generation = destination.metadata.generation;
                let status = destination.status.get_or_insert_default();
                status.conditions = merged(&status.conditions, std::slice::from_ref(condition), generation, now);
            }
        }
        self.render_node(configuration, &own_processors, &own_actions, now, settled);
        settled.gateway = Some(plan);
    }

    /// What stays in quarantine for a group: as the autoscaler recorded it, as long as the object is as it was then.
    fn quarantined(&self, group: &str, candidates: &Candidates, now: Timestamp) -> BTreeMap<String, String> {
        let store = self.config_maps.get(&(self.namespace.clone(), quarantine::STORE.to_owned()));
        let store = store.map(quarantine::Store::read).unwrap_or_default();
        quarantine::in_force(&store.of(group), candidates, now)
    }

    /// Rules of Sampling objects and of health probes, and the views that DataStreams choose.
    fn sampling_rules(&self, configuration: &Configuration) -> gateway::sampling::Rules {
        let configs = self.named_configs();
        let streams = self.data_streams.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        let streams = streams.map(|(_, object)| object);
        gateway::sampling::Rules::of(configuration, self.own_samplings(), configs, streams)
    }

    fn own_samplings(&self) -> impl Iterator<Item = &Sampling> {
        self.samplings.iter().filter(|((namespace, _), _)| *namespace == self.namespace).map(|(_, object)| object)
    }

    /// DataStreams: those that something names exist, with their status.
    fn describe_streams(&mut self, configuration: &Configuration, now: Timestamp, settled: &Settled) {
        let (pools, _) = Pools::of(configuration);
        let destinations: Vec<Destination> = self.own_destinations().into_iter().cloned().collect();
        let labels =
            self.configs.iter().filter_map(|(key, config)| Some((key.0.as_str(), config.metadata.labels.as_ref()?)));
        let has_object =
            |stream: &str| self.data_streams.contains_key(&(self.namespace.clone(), streams::object_name(stream)));
        let named = streams::named_streams(labels, &destinations, has_object, scheduling::stream_quota(configuration));
        let existing = |name: &str| {
            let object = self.data_streams.get(&(self.namespace.clone(), name.to_owned()))?;
            implicit_stream_of(name, object.metadata.labels.as_ref(), object.spec.display_name.as_deref())
        };
        let (named, _) = streams::objects(&named.streams, existing);
        let refusals = streams::refusals::conditions(&settled.refused_sets);
        let selected = streams::selected_namespaces(&destinations);
        let memberships: Vec<streams::StreamSet> = self
            .configs
            .iter()
            .map(|(key, config)| pools.membership((&key.0, &key.1), config.metadata.labels.as_ref(), &selected))
            .collect();
        let own = self.namespace.clone();
        self.data_streams.retain(|(namespace, name), stream| {
            let labels = stream.metadata.labels.as_ref();
            let is_implicit = labels.is_some_and(|labels| labels.contains_key(IMPLICIT_STREAM));
            *namespace != own || !is_implicit || named.contains_key(name)
        });
        for (name, stream) in named {
            let key = (self.namespace.clone(), name);
            let object = self.data_streams.entry(key.clone()).or_insert_with(|| implicit_stream(&key, &stream));
            object.status = Some(stream_status(&stream, &memberships, &destinations));
            if let (Some(plan), Some(status)) = (&settled.gateway, object.status.as_mut()) {
                let mut drafts = vec![gateway::stream_condition(plan, &stream)];
                drafts.extend(refusals.get(&stream).cloned());
                status.conditions = merged(&[], &drafts, None, now);
            }
        }
    }

    /// Every object that the control plane would write, in apply order, without status.
    #[must_use]
    pub fn written_objects(&self) -> Vec<Value> {
        let outputs =
            |custom: bool| self.outputs.iter().filter(move |((rank, ..), _)| (*rank == Rank::Custom) == custom);
        let mut objects: Vec<Value> = Vec::new();
        objects.extend(
            outputs(false)
                .filter(|((_, _, key), _)| key.1 == names::EFFECTIVE_CONFIGURATION)
                .map(|(_, object)| object.clone()),
        );
        let own = |key: &Key| key.0 == self.namespace;
        objects.extend(
            self.data_streams
                .iter()
                .filter(|(key, _)| own(key))
                .filter_map(|(_, one)| without_status("DataStream", one)),
        );
        objects.extend(self.groups.values().filter_map(|one| without_status("CollectorsGroup", one)));
        objects.extend(
            outputs(false)
                .filter(|((_, _, key), _)| key.1 != names::EFFECTIVE_CONFIGURATION)
                .map(|(_, object)| object.clone()),
        );
        objects.extend(self.configs.values().filter_map(|one| without_status("InstrumentationConfig", one)));
        for object in &mut objects {
            // Owners are known only in a cluster.
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|key, value| {
                    key != "ownerReferences" || value.as_array().is_some_and(|list| !list.is_empty())
                });
            }
        }
        objects
    }
}

/// Status of a gateway that is ready at once.
fn served(plan: &GatewayPlan) -> CollectorsGroupStatus {
    CollectorsGroupStatus {
        ready: true,
        receiver_signals: Some(plan.receiver_signals.clone()),
        served_stream_classes: plan.classes.clone(),
        ..CollectorsGroupStatus::default()
    }
}

/// What the decision about a workload depends on beside the workload.
fn surroundings<'a>(
    options: &'a instrumentation::Options,
    signals: &'a Option<Vec<Signal>>,
    rules: &'a [&'a InstrumentationRule],
    backoff: Option<&'a Backoff>,
    now: Timestamp,
) -> Surroundings<'a> {
    Surroundings {
        options,
        node_collector: signals.as_deref().map_or(NodeCollector::NotReady, NodeCollector::Ready),
        rules,
        backoff,
        // Manifests need not hold it, and a cluster is not asked for Secrets of applications.
        pull_secret: None,
        now,
    }
}

/// Whether an output belongs to a collector and is rendered anew in each round.
fn is_collector_output(rank: Rank, kind: &str, object: &Value) -> bool {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    rank != Rank::Custom && !(kind == "ConfigMap" && name == names::EFFECTIVE_CONFIGURATION)
}

/// The Sources of single workloads among those that select one, by name.
fn rival_names(selecting: &[&Source]) -> Vec<String> {
    let rivals =
        selecting.iter().filter(|source| !coverage::is_namespace_source(source) && !coverage::is_terminating(source));
    let names: BTreeSet<String> = rivals.filter_map(|source| source.metadata.name.clone()).collect();
    names.into_iter().collect()
}

fn without_status<K: serde::Serialize>(kind: &str, object: &K) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
        map.insert("apiVersion".into(), json!(odigos_api::API_VERSION));
        map.insert("kind".into(), json!(kind));
    }
    Some(value)
}

/// A DataStream that exists because a label or a selector names it.
#[must_use]
pub fn implicit_stream(key: &Key, stream: &str) -> DataStream {
    let spec = DataStreamSpec {
        display_name: (streams::object_name(stream) != stream).then(|| stream.to_owned()),
        ..DataStreamSpec::default()
    };
    let mut object = DataStream::new(&key.1, spec);
    object.metadata.namespace = Some(key.0.clone());
    object.metadata.labels = Some(BTreeMap::from([(IMPLICIT_STREAM.to_owned(), "true".to_owned())]));
    object
}

/// The stream whose object an implicit DataStream is; `None` for one that people wrote.
#[must_use]
pub fn implicit_stream_of(
    name: &str,
    labels: Option<&BTreeMap<String, String>>,
    display_name: Option<&str>,
) -> Option<String> {
    let is_implicit = labels.is_some_and(|labels| labels.contains_key(IMPLICIT_STREAM));
    is_implicit.then(|| display_name.unwrap_or(name).to_owned())
}

/// Members, classes and destinations of a stream.
#[must_use]
pub fn stream_status(
    stream: &str,
    memberships: &[streams::StreamSet],
    destinations: &[Destination],
) -> DataStreamStatus {
    let of_stream = memberships.iter().filter(|set| set.contains(stream));
    let classes: BTreeSet<String> = of_stream.clone().map(streams::class_id).collect();
    let selecting = streams::enabled(destinations).filter(|one| streams::Selection::of(&one.spec).includes(stream));
    let mut names: Vec<String> = selecting.filter_map(|one| one.metadata.name.clone()).collect();
    names.sort();
    DataStreamStatus {
        members: i32::try_from(of_stream.count()).unwrap_or(i32::MAX),
        classes: classes.into_iter().collect(),
        destinations: names,
        conditions: Vec::new(),
    }
}
