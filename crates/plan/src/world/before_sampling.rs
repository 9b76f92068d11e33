//! What changes spans before sampling rules look at them, for a simulation.
//!
//! Owns which Actions and Processors stand in front of the sampler of a data stream. Actions are carried out as collectors run them
//! ([`crate::actions::running`]); what Processors do, and what Kubernetes knows of pods, is not known here, so they are reported. Never
//! decides about traces.

use super::World;
use crate::actions::compile;
use crate::actions::item::Item;
use crate::actions::running::{Running, running};
use crate::processors::LATE_HINT;
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Finding, Signal};

/// Types that change no span.
const CHANGES_NOTHING: [&str; 2] = ["batch", "memory_limiter"];

/// What stands in front of a sampler.
#[derive(Debug, Default)]
pub struct BeforeSampling<'a> {
    actions: Vec<Running<'a>>,
    /// Processors whose effect is not simulated, each with the reason.
    pub findings: Vec<Finding>,
}

impl BeforeSampling<'_> {
    /// Whether any Action changes spans.
    #[must_use]
    pub fn changes_spans(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Names of the Actions, in the order in which they run.
    pub fn actions(&self) -> impl Iterator<Item = String> {
        self.actions.iter().flat_map(Running::names)
    }

    /// Changes a span as the Actions do, in their order.
    pub fn change(&self, span: &mut Item) {
        for one in &self.actions {
            // What drops spans is reported, and left out.
            if let Some(changed) = one.carry_out(span.clone()) {
                *span = changed;
            }
        }
    }
}

impl World {
    /// What stands in front of the sampler of a data stream; without one, of all streams.
    #[must_use]
    pub fn before_sampling(&self, stream: Option<&str>) -> BeforeSampling<'_> {
        let concerns = |streams: Option<&Vec<String>>| match streams.filter(|names| !names.is_empty()) {
            None => true,
            Some(names) => stream.is_some_and(|stream| names.iter().any(|name| name == stream)),
        };
        let own = |namespace: &str| namespace == self.namespace;
        let own_actions = self.actions.iter().filter(|((namespace, _), _)| own(namespace)).map(|(_, action)| action);
        let (mut actions, mut findings) = (Vec::new(), Vec::new());
        for one in running(own_actions, self.measures_spans()) {
            let step = &one.step;
            if step.hint >= LATE_HINT || !step.signals.contains(&Signal::Traces) || !concerns(step.streams.as_ref()) {
                continue;
            }
            let mut report = |field: &str, message: &str| {
                let objects = one.names().map(|name| format!("Action {}/{name}", self.namespace));
                findings.extend(objects.map(|object| Finding::warning(object, field, message)));
            };
            if step.drops() {
                report(
                    "spec.failurePolicy",
                    "it cannot be carried out and its failurePolicy is drop, so the spans that it is for are not exported; the simulation counts them",
                );
            } else if one.is_known() {
                actions.push(one);
            } else {
                report(
                    "spec.k8sAttributes",
                    "the simulation does not add what Kubernetes knows of pods; record behind the node collectors",
                );
            }
        }
        let processors = self.processors.iter().filter(|((namespace, _), _)| own(namespace));
        let changing = processors.filter(|(_, one)| may_change(&one.spec) && concerns(one.spec.data_streams.as_ref()));
        findings.extend(changing.map(|((namespace, name), one)| unsimulated(namespace, name, one)));
        BeforeSampling { findings, actions }
    }

    /// Data streams whose rules see the effect of Actions or Processors that are for them alone, each with these objects: their sampler
    /// stands in their own pipelines.
    #[must_use]
    pub fn sampled_behind(&self, stream: &str) -> Vec<String> {
        let own = |namespace: &str| namespace == self.namespace;
        let names =
            |streams: Option<&Vec<String>>| streams.is_some_and(|names| names.iter().any(|name| name == stream));
        let actions = self.actions.iter().filter(|((namespace, _), one)| {
            own(namespace)
                && names(one.spec.data_streams.as_ref())
                && compile(one).step.is_some_and(|step| step.hint < LATE_HINT && step.signals.contains(&Signal::Traces))
        });
        let processors = self.processors.iter().filter(|((namespace, _), one)| {
            own(namespace) && names(one.spec.data_streams.as_ref()) && runs_early_in_gateway(one)
        });
        let mut found: Vec<String> = actions.map(|((_, name), _)| format!("Action {name}")).collect();
        found.extend(processors.map(|((_, name), _)| format!("Processor {name}")));
        found
    }
}

fn runs_early_in_gateway(processor: &Processor) -> bool {
    let spec = &processor.spec;
    let is_guarded_on_nodes =
        !spec.collector_roles.contains(&CollectorRole::ClusterGateway) && spec.type_ == "transform";
    may_change(spec) && !is_guarded_on_nodes
}

/// Whether a Processor runs in front of samplers and may change spans.
fn may_change(spec: &odigos_api::processor::ProcessorSpec) -> bool {
    let on_nodes = spec.collector_roles.contains(&CollectorRole::NodeCollector);
    spec.disabled != Some(true)
        && spec.signals.contains(&Signal::Traces)
        && !CHANGES_NOTHING.contains(&spec.type_.as_str())
        && !spec.collector_roles.is_empty()
        && (on_nodes || spec.order_hint.unwrap_or_default() < LATE_HINT)
}

fn unsimulated(namespace: &str, name: &str, processor: &Processor) -> Finding {
    let message = format!(
        "the simulation does not run a Processor: {} may change or drop spans before rules look at them; record behind it (a Destination of type file), or try the rules with sampling.dryRun",
        processor.spec.type_
    );
    Finding::warning(format!("Processor {namespace}/{name}"), "spec.type", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::actions::item::SpanKind;
    use serde_json::{Value, json};

    fn world(objects: &[Value]) -> World {
        let mut world = World::new("odigos-system");
        for object in objects {
            let mut object = object.clone();
            object["apiVersion"] = json!(odigos_api::API_VERSION);
            world.insert(object).unwrap();
        }
        world
    }

    fn action(name: &str, kind: Value) -> Value {
        let mut spec = json!({"signals": ["TRACES"]});
        spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        json!({"kind": "Action", "metadata": {"name": name}, "spec": spec})
    }

    fn processor(name: &str, spec: Value) -> Value {
        let mut whole = json!({
            "type": "transform", "processorConfig": {}, "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY"],
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"kind": "Processor", "metadata": {"name": name}, "spec": whole})
    }

    #[test]
    fn actions_run_in_the_order_of_the_gateway() {
        let delete = |names: Value| json!({"deleteAttribute": {"attributeNamesToDelete": names}});
        let rename = json!({"renameAttribute": {"renames": {"a": "b"}}});
        let mut of_stream = action("of-stream", delete(json!(["a"])));
        of_stream["spec"]["dataStreams"] = json!(["money"]);
        let mut off = action("off", delete(json!(["b"])));
        off["spec"]["disabled"] = json!(true);
        let world = world(&[action("z-delete", delete(json!(["x"]))), action("a-rename", rename), of_stream, off]);
        let names = |stream| world.before_sampling(stream).actions().collect::<Vec<_>>();
        assert_eq!(names(None), ["z-delete", "a-rename"]);
        assert_eq!(names(Some("money")), ["z-delete", "of-stream", "a-rename"]);
        assert_eq!(names(Some("other")), ["z-delete", "a-rename"]);
        let changed = |stream| {
            let mut item = Item::span("n", SpanKind::Other);
            item.attributes.extend([("a".to_owned(), "1".into()), ("x".to_owned(), "2".into())]);
            world.before_sampling(stream).change(&mut item);
            item.attributes.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(changed(None), ["b"]);
        assert_eq!(changed(Some("money")), [] as [&str; 0]);
        let mut broken = action("broken", json!({"deleteAttribute": {"attributeNamesToDelete": [""]}}));
        broken["spec"]["failurePolicy"] = json!("drop");
        let with_broken = self::world(&[broken]);
        let dropping = with_broken.before_sampling(None);
        assert!(!dropping.changes_spans() && dropping.findings.len() == 1, "{:?}", dropping.findings);
        assert_eq!(world.sampled_behind("money"), ["Action of-stream"]);
        assert_eq!(world.sampled_behind("other"), [] as [&str; 0]);
    }

    #[test]
    fn processors_that_may_change_spans_are_reported() {
        for (spec, is_reported) in [
            (json!({}), true),
            (json!({"collectorRoles": ["NODE_COLLECTOR"], "orderHint": 20}), true),
            (json!({"orderHint": 10}), false),
            (json!({"signals": ["LOGS"]}), false),
            (json!({"type": "batch"}), false),
            (json!({"disabled": true}), false),
            (json!({"dataStreams": ["money"]}), false),
        ] {
            let found = world(&[processor("p", spec.clone())]).before_sampling(None).findings;
            assert_eq!(!found.is_empty(), is_reported, "{spec}: {found:?}");
        }
        let of_stream = world(&[processor("p", json!({"dataStreams": ["money"]}))]);
        assert_eq!(of_stream.before_sampling(Some("money")).findings.len(), 1);
        assert_eq!(of_stream.sampled_behind("money"), ["Processor p"]);
    }
}
