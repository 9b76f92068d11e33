//! What the gateways of a pool run without, as the conditions of these objects say it.
//!
//! What is wrong with an object is told by the main gateways, which have all of them. What keeps the gateways of a pool alone from starting goes
//! on here, so its condition would be all well. Never decides what is left out ([`crate::quarantine`]).

use super::GatewayPlan;
use odigos_api::condition::{ConditionDraft, Status, kind};
use std::collections::BTreeMap;

impl GatewayPlan {
    /// Says of objects that a pool runs without them; `out` has what its gateways said, by name among what can be set aside.
    pub fn note_left_out(&mut self, pool: &str, out: &BTreeMap<String, String>) {
        for (key, said) in out {
            let (reason, draft) = match key.rsplit_once('_') {
                None => ("ExporterStartFailed", self.destinations.get_mut(key)),
                Some(("action", name)) => {
                    let mut all = self.actions.get_mut(name).into_iter().flatten();
                    ("ProcessorStartFailed", all.find(|one| one.kind == kind::ADDED_TO_COLLECTOR))
                }
                Some((_, name)) => ("ProcessorStartFailed", self.processors.get_mut(name)),
            };
            if let Some(draft) = draft.filter(|draft| draft.status == Status::True) {
                let message = format!("the gateways of the pool {pool} do not run with it: {said}");
                *draft = ConditionDraft::no(draft.kind, reason, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, jaeger};
    use super::*;
    use serde_json::Value;

    /// What a pool alone runs without is in the main gateways, and its condition says both.
    #[test]
    fn condition_names_the_pool_that_runs_without_an_object() {
        let given = Given::new(vec![jaeger("d-1", Value::Null), jaeger("d-2", Value::Null)]);
        let mut plan = given.plan();
        plan.note_left_out("busy", &[("d-1".to_owned(), "no memory".to_owned())].into());
        let (one, other) = (&plan.destinations["d-1"], &plan.destinations["d-2"]);
        assert_eq!((one.status, one.reason.as_str()), (Status::False, "ExporterStartFailed"));
        assert!(one.message.contains("the pool busy") && one.message.contains("no memory"), "{}", one.message);
        assert_eq!(other.status, Status::True);
    }
}
