//! What the autoscaler does for the collectors of the nodes, in memory.
//!
//! Owns what their planner is given and where its result goes. Never decides what they run: that is [`crate::node`].

use super::{Settled, World};
use crate::actions::shared;
use crate::configuration::Configuration;
use crate::node;
use crate::quarantine;
use crate::scheduling::{self, NodeGroupState};
use jiff::Timestamp;
use odigos_api::action::Action;
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupStatus};
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, names};

impl World {
    /// Whether nodes compute metrics from spans: as their group says, else as Destinations and the configuration want it. Where no
    /// Destination is known at all, the configuration alone decides.
    #[must_use]
    pub fn measures_spans(&self) -> bool {
        let key = (self.namespace.clone(), names::NODE_COLLECTOR.to_owned());
        if let Some(group) = self.groups.get(&key) {
            return node::measures_spans(Some(group));
        }
        let configuration = self.stated_configuration(&mut Vec::new());
        let destinations = self.own_destinations();
        if destinations.is_empty() {
            return configuration.flag("metricsSources.spanMetrics.disabled") != Some(true);
        }
        let known = |type_id: &str| odigos_catalog::destination::find(type_id).is_some();
        let state = NodeGroupState { any_instrumentation_config: true, gateway_ready: true, exists: true };
        let spec = scheduling::node_group(&configuration, &destinations, &known, state);
        spec.is_some_and(|spec| node::measures_spans(Some(&CollectorsGroup::new(names::NODE_COLLECTOR, spec))))
    }

    /// Renders the node collectors and keeps their objects and the status of their group.
    pub(super) fn render_node(
        &mut self,
        configuration: &Configuration,
        processors: &[Processor],
        actions: &[Action],
        now: Timestamp,
        settled: &mut Settled,
    ) {
        let key = |name: &str| (self.namespace.clone(), name.to_owned());
        let gateway = self.groups.get(&key(names::GATEWAY)).cloned();
        let group = self.groups.get(&key(names::NODE_COLLECTOR)).cloned();
        let pools: Vec<CollectorsGroup> =
            self.groups.values().filter(|group| group.spec.pool.is_some()).cloned().collect();
        let mut candidates = quarantine::processors(CollectorRole::NodeCollector, processors);
        let measures_spans = node::measures_spans(group.as_ref());
        let of_nodes = shared::run_by(CollectorRole::NodeCollector, measures_spans, actions);
        candidates.extend(quarantine::actions(of_nodes));
        let set_aside = self.quarantined(names::NODE_COLLECTOR, &candidates, now);
        settled.quarantined.extend(set_aside.clone());
        let covered = self.sampling_rules(configuration).covered;
        let seen = node::Observed {
            namespace: &self.namespace.clone(),
            gateway: gateway.as_ref(),
            pools: pools.iter().collect(),
            group: group.as_ref(),
            processors: processors.iter().collect(),
            actions: actions.iter().collect(),
            set_aside: &set_aside,
            covered: covered.as_ref(),
            configuration,
            provider: self.provider,
            has_certificate: true,
            authorities: None,
            is_own_collector: self.installation.is_own_collector(CollectorRole::NodeCollector),
        };
        let Some(plan) = node::plan(&seen) else { return };
        for one in node::objects::desired(&seen, &plan, &self.installation) {
            self.put(one.rank, one.object);
        }
        if let Some(group) = self.groups.get_mut(&(self.namespace.clone(), names::NODE_COLLECTOR.to_owned())) {
            group.status = Some(CollectorsGroupStatus {
                ready: true,
                receiver_signals: Some(plan.receiver_signals.clone()),
                routed_pools: plan.pools.clone(),
                unowned_stream_classes: plan.unowned_class.iter().cloned().collect(),
                ..CollectorsGroupStatus::default()
            });
        }
        settled.node = Some(plan);
    }
}
