//! Whether a rollout may begin: the brake, and the places of the workloads that are under way.

use super::options::Options;
use super::places::{self, Standing};
use super::{brake, rollback};
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::ROLLBACK_RECOVERY;
use std::collections::BTreeMap;

/// How long who waits for a place sleeps at most; those whose turn it is are woken.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);

/// When one looks again that has just begun to wait.
const ONCE_MORE: SignedDuration = SignedDuration::from_secs(3);

/// Whether a rollout may begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    #[default]
    Open,
    /// It waits, for this reason, and looks again after this time.
    Closed(String, SignedDuration),
}

/// All workloads, as far as it matters to the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Those that have a place or wait for one.
    pub standings: BTreeMap<WorkloadRef, Standing>,
    /// Those whose rollback stands, and since when.
    pub rollbacks: Vec<(WorkloadRef, Timestamp)>,
}

impl Others {
    /// Takes one over as its object states it.
    pub fn add(&mut self, workload: &WorkloadRef, config: &InstrumentationConfig) {
        if let Some(standing) = places::standing(config) {
            self.standings.insert(workload.clone(), standing);
        }
        if let Some(at) = config.status.as_ref().and_then(brake::rolled_back_at) {
            self.rollbacks.push((workload.clone(), at));
        }
    }
}

/// Decides for a workload that is ready to begin.
#[must_use]
pub fn decide(
    options: &Options,
    workload: &WorkloadRef,
    config: &InstrumentationConfig,
    others: &Others,
    now: Timestamp,
) -> Gate {
    if config.spec.agent_injection_enabled {
        let recovery =
            config.metadata.annotations.as_ref().and_then(|all| all.get(ROLLBACK_RECOVERY)).map(String::as_str);
        let closed = brake::closed(options.brake, &others.rollbacks, now);
        if let Some(closed) = closed.filter(|closed| !closed.is_overruled(recovery)) {
            let left = closed.until.duration_since(now).max(SignedDuration::from_secs(1));
            return Gate::Closed(closed.message, left);
        }
    }
    let holds = matches!(others.standings.get(workload), Some(Standing::Holds(_)));
    if !options.limits.are_set() || holds {
        return Gate::Open;
    }
    let mut all = others.standings.clone();
    all.insert(workload.clone(), Standing::Waits(places::changed(config)));
    if places::next(options.limits, &all, now).contains(workload) {
        return Gate::Open;
    }
    // Nobody wakes one of which it is not known yet that it waits, so it looks once more by itself.
    let is_known = matches!(others.standings.get(workload), Some(Standing::Waits(_)));
    let longest = if is_known { LONGEST } else { ONCE_MORE };
    let left = places::next_timeout(options.limits, &all, now).map_or(longest, |left| left.min(longest));
    Gate::Closed(
        "As many rollouts go on as rollout.maxConcurrentRollouts and rollout.maxConcurrentRolloutsPerNamespace allow; who has \
         waited longest is next."
            .to_owned(),
        left,
    )
}

/// Whether a rollback of this workload stands.
#[must_use]
pub fn is_rolled_back(config: &InstrumentationConfig) -> bool {
    config.status.as_ref().is_some_and(|status| status.rollback_occurred == Some(true))
}

/// Whether a person has asked to try a rolled back workload once more.
#[must_use]
pub fn is_recovery_due(config: &InstrumentationConfig, recovery: Option<&str>) -> bool {
    let annotations = config.metadata.annotations.as_ref();
    let processed =
        annotations.and_then(|all| all.get(odigos_api::labels::ROLLBACK_RECOVERY_PROCESSED)).map(String::as_str);
    rollback::is_recovery_due(config.status.as_ref(), recovery, processed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use odigos_api::WorkloadKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn places_brake_and_who_overrules_it() {
        let name = |name: &str| WorkloadRef::new("shop", WorkloadKind::Deployment, name);
        let mut config = InstrumentationConfig::default();
        config.spec.agent_injection_enabled = true;
        config.spec.agents_meta_hash_changed_time = Some(Time(at(500)));
        let mut options = Options::default();
        let mut others = Others::default();
        let open = |options: &Options, config: &InstrumentationConfig, others: &Others| {
            decide(options, &name("web"), config, others, at(1000)) == Gate::Open
        };
        assert!(open(&options, &config, &others));
        options.limits.total = Some(1);
        others.standings.insert(name("other"), Standing::Waits(at(400)));
        assert!(!open(&options, &config, &others), "the other has waited for longer");
        others.standings.insert(name("web"), Standing::Holds(at(900)));
        assert!(open(&options, &config, &others), "it has begun");
        options.limits.total = None;
        others.rollbacks = ["a", "b", "c"].map(|one| (name(one), at(900))).to_vec();
        assert!(!open(&options, &config, &others), "the brake holds also what has begun with one pod");
        config.metadata.annotations = Some([(ROLLBACK_RECOVERY.to_owned(), "1970-01-01T00:15:01Z".to_owned())].into());
        assert!(open(&options, &config, &others), "a person wants it");
        config.metadata.annotations = None;
        config.spec.agent_injection_enabled = false;
        assert!(open(&options, &config, &others), "agents always go");
    }
}
