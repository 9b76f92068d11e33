//! Pods: the stream class label that a new pod carries (design 4.1), and whether what is known of its workload may be outdated.
//!
//! The label comes from the InstrumentationConfig of the pod's workload and from nowhere else, so that an application
//! cannot choose its stream. Agents come from `injection`.

use crate::instrumentation::rollout::RESTARTED_AT;
use jiff::{SignedDuration, Timestamp};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::STREAM_CLASS;
use std::collections::BTreeMap;

/// What is to be done with the label of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelChange {
    /// It is as it should be.
    None,
    /// It shall have this value.
    Set(String),
    /// It shall go.
    Remove,
}

/// The change that brings the pod's label in line with its workload's InstrumentationConfig; the same again changes
/// nothing.
#[must_use]
pub fn stream_class_change(
    labels: Option<&BTreeMap<String, String>>,
    config: Option<&InstrumentationConfig>,
) -> LabelChange {
    let has = labels.and_then(|labels| labels.get(STREAM_CLASS));
    let wanted = config.and_then(|config| config.metadata.labels.as_ref()).and_then(|labels| labels.get(STREAM_CLASS));
    match (has, wanted) {
        (Some(has), Some(wanted)) if has == wanted => LabelChange::None,
        (_, Some(wanted)) => LabelChange::Set(wanted.clone()),
        (Some(_), None) => LabelChange::Remove,
        (None, None) => LabelChange::None,
    }
}

/// How long after a restart pods may come before their decision does: watches lag by less.
const LAG: SignedDuration = SignedDuration::from_secs(60);

/// Whether a pod was made for a decision that is younger than the known one: restarts are stamped with the time of the decision,
/// and the stamp comes with the pod. Another replica decided, and what it wrote has not arrived here yet.
#[must_use]
pub fn is_younger(
    annotations: Option<&BTreeMap<String, String>>,
    known: &InstrumentationConfig,
    now: Timestamp,
) -> bool {
    let stamp = annotations.and_then(|all| all.get(RESTARTED_AT)).and_then(|text| text.parse::<Timestamp>().ok());
    let Some(stamp) = stamp.filter(|stamp| now.duration_since(*stamp).abs() < LAG) else { return false };
    // Stamps are told in whole seconds.
    known.spec.agents_meta_hash_changed_time.as_ref().is_none_or(|changed| changed.0.as_second() < stamp.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn config(class: Option<&str>) -> InstrumentationConfig {
        let mut config = InstrumentationConfig::default();
        config.metadata.labels = class.map(|class| BTreeMap::from([(STREAM_CLASS.to_owned(), class.to_owned())]));
        config
    }

    #[test]
    fn the_config_decides() {
        let labelled = |class: &str| BTreeMap::from([(STREAM_CLASS.to_owned(), class.to_owned())]);
        let (a, b) = (config(Some("c-a")), config(None));
        assert_eq!(stream_class_change(None, Some(&a)), LabelChange::Set("c-a".into()));
        assert_eq!(stream_class_change(Some(&labelled("c-other")), Some(&a)), LabelChange::Set("c-a".into()));
        assert_eq!(stream_class_change(Some(&labelled("c-a")), Some(&a)), LabelChange::None);
        assert_eq!(stream_class_change(Some(&labelled("c-a")), Some(&b)), LabelChange::Remove);
        assert_eq!(stream_class_change(Some(&labelled("c-a")), None), LabelChange::Remove);
        assert_eq!(stream_class_change(None, None), LabelChange::None);
    }

    #[test]
    fn a_pod_may_come_before_its_decision() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let stamped = |seconds: i64| BTreeMap::from([(RESTARTED_AT.to_owned(), at(seconds).to_string())]);
        let decided = |seconds: Option<i64>| {
            let mut config = config(None);
            config.spec.agents_meta_hash_changed_time = seconds.map(|one| Time(at(one)));
            config
        };
        let rows = [
            (Some(stamped(0)), None, 1, true),
            (Some(stamped(0)), Some(-5), 1, true),
            (Some(stamped(0)), Some(0), 1, false),
            (Some(stamped(0)), Some(5), 6, false),
            // Somebody restarted it long ago, or never.
            (Some(stamped(0)), Some(-500), 120, false),
            (None, None, 1, false),
            (Some(BTreeMap::from([(RESTARTED_AT.to_owned(), "yesterday".to_owned())])), None, 1, false),
        ];
        for (annotations, known, now, expected) in rows {
            assert_eq!(
                is_younger(annotations.as_ref(), &decided(known), at(now)),
                expected,
                "{annotations:?} {known:?}"
            );
        }
    }
}
