//! The CustomResourceDefinitions of every kind, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use std::collections::BTreeMap;

/// The definitions, sorted by name.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        crate::action::Action::crd(),
        crate::collectors_group::CollectorsGroup::crd(),
        crate::data_stream::DataStream::crd(),
        crate::destination::Destination::crd(),
        crate::instrumentation_config::InstrumentationConfig::crd(),
        crate::instrumentation_instance::InstrumentationInstance::crd(),
        crate::instrumentation_rule::InstrumentationRule::crd(),
        crate::processor::Processor::crd(),
        crate::sampling::Sampling::crd(),
        crate::source::Source::crd(),
    ];
    for crd in &mut all {
        crd.metadata.labels = Some(BTreeMap::from([(crate::labels::SYSTEM_OBJECT.to_owned(), "true".to_owned())]));
    }
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}
