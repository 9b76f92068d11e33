//! Settings of rollouts, from the effective configuration (`spec/sources-and-instrumentation.md` 8, and keys of ours), and what
//! is wrong with them: a value that is not accepted is reported and its default used, so that it stops nothing.

use super::rollback::stated;
use super::{brake, places, rollback};
use crate::configuration::Configuration;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Settings of restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing is restarted; agents come with the next rollout of the user. Pods that fail with agents lose them all the same.
    pub is_disabled: bool,
    /// How many rollouts go on at once.
    pub limits: places::Limits,
    /// How long the first pod must be ready before the others get their agents; zero for no such pod.
    pub canary: SignedDuration,
    /// Whether pods that were created while the webhook was away are replaced.
    pub heals: bool,
    /// When agents are taken out again.
    pub rollback: rollback::Options,
    /// When no further rollout begins.
    pub brake: brake::Options,
}

const CANARY_SECONDS: usize = 30;

impl Default for Options {
    fn default() -> Self {
        Self::of(&Configuration::default())
    }
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let canary = count(configuration, "rollout.canarySeconds").unwrap_or(CANARY_SECONDS);
        Self {
            is_disabled: configuration.flag("rollout.automaticRolloutDisabled").unwrap_or_default(),
            limits: places::Limits::of(configuration),
            canary: SignedDuration::from_secs(i64::try_from(canary).unwrap_or(i64::MAX)),
            heals: configuration.flag("rollout.healMissedPods").unwrap_or(true),
            rollback: rollback::Options::of(configuration),
            brake: brake::Options::of(configuration),
        }
    }
}

/// A whole number from 0 on, also one that a template has quoted; `None` when there is none.
pub(super) fn count(configuration: &Configuration, path: &str) -> Option<usize> {
    let value = configuration.get(path)?;
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    usize::try_from(number).ok()
}

/// What people should know about these settings: paths, and what is wrong with them.
#[must_use]
pub fn problems(configuration: &Configuration) -> Vec<(&'static str, String)> {
    let is_stated = |path: &str| configuration.get(path).is_some_and(|value| *value != Value::String(String::new()));
    let mut problems = rollback::problems(configuration);
    for (path, default) in [("rollout.slotTimeout", "15m"), ("rollout.brakeWindow", "1h")] {
        if let Err(text) = stated(configuration, path) {
            problems.push((path, format!("{text} is not a duration such as \"90s\" or \"5m\"; {default} is used")));
        }
    }
    for (path, default) in [
        ("rollout.maxConcurrentRollouts", "10"),
        ("rollout.maxConcurrentRolloutsPerNamespace", "2"),
        ("rollout.canarySeconds", "30"),
        ("rollout.brakeRollbacks", "3"),
    ] {
        if is_stated(path) && count(configuration, path).is_none() {
            problems.push((path, format!("it is not a whole number from 0 on; {default} is used")));
        }
    }
    let released = configuration.text("rollout.brakeReleasedAt");
    if released.is_some_and(|text| text.parse::<Timestamp>().is_err()) {
        let message = "it is not a time such as \"2026-01-31T12:00:00Z\"; the brake is not released".to_owned();
        problems.push(("rollout.brakeReleasedAt", message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Options, Vec<&'static str>) {
        let configuration = Configuration::parse(text).unwrap();
        let paths = problems(&configuration).into_iter().map(|(path, _)| path).collect();
        (Options::of(&configuration), paths)
    }

    #[test]
    fn value_that_is_not_accepted_is_reported_and_its_default_used() {
        let (options, paths) = of("{}");
        assert_eq!((options, paths), (Options::default(), vec![]));
        let (options, paths) = of(
            "rollbackGraceTime: soon\nrollbackStabilityWindow: 3\nrollout: {canarySeconds: -1, brakeWindow: x, slotTimeout: y, maxConcurrentRollouts: many, brakeReleasedAt: now}\n",
        );
        assert_eq!(options, Options::default());
        assert_eq!(paths.len(), 7, "{paths:?}");
    }

    /// As the table of `docs/rollouts.md` lists them.
    #[test]
    fn defaults_are_the_documented_ones() {
        let minutes = SignedDuration::from_mins;
        let expected = Options {
            is_disabled: false,
            limits: places::Limits { total: Some(10), in_namespace: Some(2), timeout: minutes(15) },
            canary: SignedDuration::from_secs(30),
            heals: true,
            rollback: rollback::Options { is_disabled: false, grace: minutes(5), window: minutes(60) },
            brake: brake::Options { rollbacks: 3, window: minutes(60), released_at: None },
        };
        assert_eq!(Options::default(), expected);
    }

    #[test]
    fn every_key_is_read() {
        let (options, paths) = of(
            "rollbackDisabled: 'true'\nrollbackGraceTime: 90s\nrollbackStabilityWindow: 2h\nrollout: {automaticRolloutDisabled: true, maxConcurrentRollouts: 4, maxConcurrentRolloutsPerNamespace: '2', slotTimeout: 20m, canarySeconds: 0, healMissedPods: false, brakeRollbacks: 5, brakeWindow: 30m, brakeReleasedAt: '2026-01-31T12:00:00Z'}\n",
        );
        assert!(paths.is_empty(), "{paths:?}");
        let minutes = SignedDuration::from_mins;
        let rollback =
            rollback::Options { is_disabled: true, grace: SignedDuration::from_secs(90), window: minutes(120) };
        let limits = places::Limits { total: Some(4), in_namespace: Some(2), timeout: minutes(20) };
        let released_at = Some("2026-01-31T12:00:00Z".parse().unwrap());
        let brake = brake::Options { rollbacks: 5, window: minutes(30), released_at };
        let canary = SignedDuration::ZERO;
        assert_eq!(options, Options { is_disabled: true, limits, canary, heals: false, rollback, brake });
    }

    #[test]
    fn the_keys_of_the_chart_of_the_reference_mean_the_same() {
        let merged = crate::configuration::effective(
            "autoRollback: {graceTime: 1m, stabilityWindowTime: 30s}\nrollout: {rollbackDisabled: false}\n",
            None,
            None,
            "odigos-system",
        );
        let options = Options::of(&merged.result.unwrap()).rollback;
        assert_eq!((options.grace, options.window), (SignedDuration::from_mins(1), SignedDuration::from_secs(30)));
        assert!(
            merged.findings.iter().any(|one| one.message.contains("nothing is ever rolled back")),
            "{:?}",
            merged.findings
        );
    }
}
