//! Pods: the stream class label that a new pod carries (design 4.1).
//!
//! The label comes from the InstrumentationConfig of the pod's workload and from nowhere else, so that an application
//! cannot choose its stream. Agents come from `injection`.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
