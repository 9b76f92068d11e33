//! How streams treat the items of a class of workloads: by what their processors are set to, not by whose they are.
//!
//! Owns when two streams treat items alike, and the processors of the pipeline that stands for both. An Action whose scope is for none of the
//! workloads of a class does nothing to its items. It still stands in the joint pipeline: a workload that joins the class tomorrow is masked
//! from its first item on. Never decides which pipelines there are ([`super::routing`]).

use crate::covered::CoveredNames;
use crate::processors::{LATE_HINT, Processors, UsableProcessor};
use odigos_api::collectors_group::StreamClass;
use serde_json::Value;
use std::collections::BTreeMap;

/// What one processor does: its type and its settings; of one of the product, its id.
pub(super) type Treatment<'a> = (&'a str, Option<&'a Value>);

/// The processors of users by id, and what scopes can match.
pub(super) struct Treatments<'a> {
    pub(super) processors: &'a Processors,
    by_id: BTreeMap<&'a str, (usize, &'a UsableProcessor)>,
    covered: Option<&'a CoveredNames>,
}

impl<'a> Treatments<'a> {
    pub(super) fn new(processors: &'a Processors, covered: Option<&'a CoveredNames>) -> Self {
        let by_id = processors.usable.iter().enumerate().map(|(at, one)| (one.id.as_str(), (at, one))).collect();
        Self { processors, by_id, covered }
    }

    /// Whether a processor may do anything to items of a class.
    pub(super) fn counts(&self, class: &StreamClass, id: &str) -> bool {
        let scopes = self.by_id.get(id).and_then(|(_, one)| one.scopes());
        let (Some(scopes), Some(covered)) = (scopes, self.covered) else { return true };
        scopes.iter().any(|scopes| covered.may_hold(scopes, &class.id))
    }

    /// What a processor does.
    pub(super) fn of(&self, id: &'a str) -> Treatment<'a> {
        match self.by_id.get(id) {
            Some((_, one)) => (one.id.split('/').next().unwrap_or_default(), Some(&one.settings)),
            None => (id, None),
        }
    }

    /// What some processors do to items of a class, in order.
    pub(super) fn of_class(&self, class: &StreamClass, ids: &'a [String]) -> Vec<Treatment<'a>> {
        ids.iter().filter(|id| self.counts(class, id)).map(|id| self.of(id)).collect()
    }

    /// The processors of a pipeline for streams that treat items of a class alike: those of `base`, and what only others have and does
    /// nothing to the class as it is now.
    pub(super) fn joint(&self, class: &StreamClass, base: &[String], others: &[&[String]]) -> Vec<String> {
        let mut all = base.to_vec();
        for id in others.iter().copied().flatten().filter(|id| !self.counts(class, id)) {
            let Some((place, one)) = self.by_id.get(id.as_str()) else { continue };
            if all.contains(id) {
                continue;
            }
            let is_behind = |other: &String| match self.by_id.get(other.as_str()) {
                Some((at, _)) => at > place,
                // Samplers stand in front of what is late.
                None => one.hint < LATE_HINT,
            };
            let at = all.iter().position(is_behind).unwrap_or(all.len());
            all.insert(at, id.clone());
        }
        all
    }
}
