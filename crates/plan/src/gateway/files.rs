//! Which stream or Destination each part of a gateway's configuration belongs to, for its files.
//!
//! Owns the owners by which [`ConfigFiles`] keeps parts together. Never decides about sizes.

use super::delivery::QUEUE_STORAGE;
use super::destinations::Fragment;
use super::routing::STREAM_PIPELINES;
use crate::collector::STRIP_CLASS;
use crate::config_files::ConfigFiles;
use odigos_pipeline::{CollectorConfig, ComponentKind};
use std::collections::BTreeMap;

/// Makes files of a configuration.
pub(super) fn of(config: &mut CollectorConfig, fragments: &[Fragment]) -> ConfigFiles {
    let mut owners: Option<BTreeMap<(String, String), String>> = None;
    ConfigFiles::of(config, |section, id| {
        let owners = owners.get_or_insert_with(|| of_destinations(fragments));
        let key = (section.to_owned(), id.to_owned());
        owners.get(&key).cloned().or_else(|| stream(section, id))
    })
}

/// What each Destination brings, by section and id; what several share stays with the first file.
fn of_destinations(fragments: &[Fragment]) -> BTreeMap<(String, String), String> {
    let mut owners = BTreeMap::new();
    for fragment in fragments {
        let owner = format!("destination/{}", fragment.name);
        // Sizes of queues do not matter here.
        let config = fragment.to_config(1);
        for kind in ComponentKind::ALL {
            let ids = config.section(kind).map(|(id, _)| id).filter(|id| *id != QUEUE_STORAGE);
            owners.extend(ids.map(|id| ((kind.section().to_owned(), id.clone()), owner.clone())));
        }
        let pipelines = config.pipelines.keys().map(|id| (("pipelines".to_owned(), id.to_string()), owner.clone()));
        owners.extend(pipelines);
    }
    owners
}

/// The stream or class that a pipeline is for, with the processor of its own.
fn stream(section: &str, id: &str) -> Option<String> {
    let name = match section {
        "pipelines" => id.split_once('/')?.1,
        "processors" => id.strip_prefix(STRIP_CLASS)?.strip_prefix('/')?,
        _ => return None,
    };
    STREAM_PIPELINES.iter().any(|prefix| name.starts_with(prefix)).then(|| name.to_owned())
}
