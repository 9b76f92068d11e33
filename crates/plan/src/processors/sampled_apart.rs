//! What is said of a Processor or Action for single data streams that sampling rules see the effect of.
//!
//! Rules decide behind it, so the sampler of its streams stands in their own pipelines and no longer before all streams
//! (`crate::gateway::sampling`). Owns the sentence and where it is reported. Never decides where samplers stand.

use super::Processors;
use odigos_api::processor::Processor;
use odigos_api::{Finding, Signal};
use odigos_pipeline::CollectorConfig;

/// What follows for the data streams, if a sampler stands behind the component in a pipeline of `config`; what concerns all streams runs
/// before every sampler and splits nothing.
pub(crate) fn sampled_apart(config: &CollectorConfig, id: &str, streams: Option<&[String]>) -> Option<String> {
    let streams = streams.filter(|names| !names.is_empty())?;
    let is_sampler = |one: &String| one.starts_with("tail_sampling/");
    let splits =
        config.pipelines.iter().filter(|(pipeline, _)| pipeline.signal == Signal::Traces).any(|(_, pipeline)| {
            let mut behind = pipeline.processors.iter().skip_while(|one| *one != id);
            behind.any(is_sampler)
        });
    splits.then(|| sentence(streams))
}

/// The sentence about these data streams.
pub(crate) fn sentence(streams: &[String]) -> String {
    format!(
        "sampling rules see its effect, so the data streams {} are sampled apart, behind it: a trace that is in several data streams is decided in each of them, by the spans there (samplingView: trace of a DataStream shows rules the whole trace)",
        streams.join(", ")
    )
}

impl Processors {
    /// Reports the Processors that split sampling; to be called after those that no pipeline names.
    pub fn report_sampled_apart<'a>(
        &mut self,
        config: &CollectorConfig,
        processors: impl IntoIterator<Item = &'a Processor>,
    ) {
        for processor in processors {
            let name = processor.metadata.name.clone().unwrap_or_default();
            let id = format!("{}/{name}", processor.spec.type_);
            let Some(message) = sampled_apart(config, &id, processor.spec.data_streams.as_deref()) else { continue };
            if let Some(draft) = self.conditions.get_mut(&name) {
                draft.message.push_str(&format!(" Note that {message}."));
            }
            let namespace = processor.metadata.namespace.as_deref().unwrap_or_default();
            self.findings.push(Finding::info(format!("Processor {namespace}/{name}"), "spec.dataStreams", message));
        }
    }
}
