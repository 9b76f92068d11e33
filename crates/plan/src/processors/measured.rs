//! What gateways do to spans, done to those that nodes compute metrics from.
//!
//! Metrics must not show what an Action hides from spans, so nodes carry out the Actions of gateways on the copy that is measured. Spans
//! themselves are changed once, in the gateway. Owns which Actions these are and how one for single data streams is limited. Never decides in
//! which pipeline they stand ([`crate::node`]).

use super::Processors;
use super::placement::Guard;
use crate::actions::Step;
use crate::actions::report::Known;
use crate::actions::transform::Settings;
use odigos_api::collectors_group::StreamClass;
use odigos_api::{CollectorRole, Signal};
use odigos_pipeline::ottl::Condition;

impl Processors {
    /// The processors for spans that are measured, of all Actions that are known.
    #[must_use]
    pub fn of_measured_spans(actions: &[Known<'_>], classes: &[StreamClass]) -> Self {
        let steps = actions.iter().filter(|one| one.is_measured()).filter_map(Known::step);
        let steps: Vec<Step> = steps.filter_map(|step| on_node(step, classes)).collect();
        let mut processors = Self::default();
        processors.add_steps(CollectorRole::NodeCollector, &steps);
        processors
    }
}

/// A step of gateways as nodes run it; none where no item can be meant.
fn on_node(step: &Step, classes: &[StreamClass]) -> Option<Step> {
    let mut step = Step { role: CollectorRole::NodeCollector, ..step.clone() };
    if let Settings::Filter { signals, .. } = &mut step.settings {
        *signals = vec![Signal::Traces];
    }
    step.signals = vec![Signal::Traces];
    let Some(streams) = step.streams.take() else { return Some(step) };
    let guard = Guard::of(&streams, classes);
    if guard.is_empty {
        return None;
    }
    step.settings = step.settings.limited(&guard.condition);
    Some(step)
}

impl Settings {
    /// The same settings for items for which a condition over their resource holds too.
    fn limited(self, guard: &Condition) -> Self {
        let both =
            |condition: Option<Condition>| Some(Condition::All([guard.clone()].into_iter().chain(condition).collect()));
        match self {
            Self::Transform(mut signals) => {
                for group in signals.values_mut().flatten() {
                    group.condition = both(group.condition.take());
                }
                Self::Transform(signals)
            }
            Self::Filter { signals, condition } => Self::Filter { signals, condition: both(condition) },
            other => other,
        }
    }
}
