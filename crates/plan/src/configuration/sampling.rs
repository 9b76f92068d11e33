//! Settings of sampling that depend on each other, or that this release cannot keep.
//!
//! Owns how built-in rules are switched on, and why sampling by agents is rejected. Types of single values are in
//! [`super::shapes`], health probes in `configuration`. Never makes rules.

use super::{Configuration, shapes};
use crate::sampling::built_in::{BuiltIns, DROP_TRACES_CLUSTER_WIDE, KEEP_ALL_ERROR_TRACES};

/// The share that the cluster-wide rule keeps.
const KEEP: &str = "sampling.dropTracesClusterWide.keepPercentage";

impl Configuration {
    /// Which built-in sampling rules are switched on. A cap that is missing or no percentage leaves its rule out, which is reported: every
    /// guess would drop traces.
    #[must_use]
    pub fn built_in_sampling(&self) -> BuiltIns {
        let is_on = |setting: &str| self.flag(&format!("{setting}.enabled")) == Some(true);
        let keep = self.get(KEEP).and_then(shapes::percentage);
        BuiltIns {
            keep_all_error_traces: is_on(KEEP_ALL_ERROR_TRACES),
            drop_traces_cluster_wide: keep.filter(|_| is_on(DROP_TRACES_CLUSTER_WIDE)),
        }
    }
}

/// Path and message of each setting that is well-formed and not acted on.
pub(super) fn problems(configuration: &Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let is_reduced = configuration.flag(&format!("{DROP_TRACES_CLUSTER_WIDE}.enabled")) == Some(true);
    if is_reduced && configuration.get(KEEP).is_none() {
        let message = "required while the rule is enabled: a number from 0 to 100; without it the rule is off";
        found.push((KEEP.to_owned(), message.to_owned()));
    }
    if configuration.text("sampling.headSampling") == Some("onRestart") {
        let message = "no agent of this release takes sampling rules, so the setting has no effect: ratio samplers of agents keep other traces than \
                       gateways, and agents know neither routes nor errors when a trace begins. Gateways apply all rules; remove the setting";
        found.push(("sampling.headSampling".to_owned(), message.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Percentage;

    fn read(text: &str) -> Configuration {
        Configuration::parse(text).unwrap()
    }

    #[test]
    fn built_ins_are_off_unless_enabled_with_a_readable_cap() {
        let built_in = |text: &str| read(text).built_in_sampling();
        for text in [
            "{}",
            "sampling: {keepAllErrorTraces: {enabled: false}, dropTracesClusterWide: {keepPercentage: 10}}",
            "sampling: {dropTracesClusterWide: {enabled: true}}",
            "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: most}}",
            "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: 150}}",
        ] {
            assert_eq!(built_in(text), BuiltIns::default(), "{text}");
        }
        let on = built_in(
            "sampling: {keepAllErrorTraces: {enabled: \"true\"}, dropTracesClusterWide: {enabled: true, keepPercentage: \"0.5\"}}",
        );
        assert!(on.keep_all_error_traces);
        assert_eq!(on.drop_traces_cluster_wide.map(Percentage::as_f64), Some(0.5));
    }

    #[test]
    fn setting_that_is_not_acted_on_is_reported() {
        let paths = |text: &str| problems(&read(text)).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(paths("sampling: {dropTracesClusterWide: {enabled: true}}"), [KEEP]);
        assert_eq!(paths("sampling: {headSampling: onRestart}"), ["sampling.headSampling"]);
        let fine = "sampling: {headSampling: \"off\", dropTracesClusterWide: {enabled: true, keepPercentage: 0}}";
        assert_eq!(paths(fine), [] as [&str; 0]);
        assert_eq!(paths("{}"), [] as [&str; 0]);
    }
}
