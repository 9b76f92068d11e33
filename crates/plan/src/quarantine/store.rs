//! What of the quarantine is remembered across restarts of the autoscaler, and by which group of collectors.
//!
//! Owns the form of the ConfigMap [`super::STORE`]. Each group (the main gateways, those of a pool, the nodes) accuses, confirms and acquits
//! for itself: what keeps the gateways of a pool from starting goes on in all others. Never decides what goes.

use super::Quarantined;
use crate::objects::hash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest key of a ConfigMap.
const KEY_LIMIT: usize = 253;

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The group whose collectors failed. None was written by older releases: it counts for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The object, by its name among the candidates; where it is not written, it is the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(flatten)]
    quarantined: Quarantined,
}

impl Store {
    /// Reads the data of the ConfigMap; entries that are no entries are passed over.
    #[must_use]
    pub fn read(data: &BTreeMap<String, String>) -> Self {
        let read = |(key, text): (&String, &String)| Some((key.clone(), serde_json::from_str(text).ok()?));
        Self { entries: data.iter().filter_map(read).collect() }
    }

    /// What a group remembers, by the names of objects.
    #[must_use]
    pub fn of(&self, group: &str) -> BTreeMap<String, Quarantined> {
        let mut found = BTreeMap::new();
        // What the group itself says counts more than what an older release wrote for all.
        for is_own in [false, true] {
            let of_group = self.entries.iter().filter(|(_, entry)| match &entry.group {
                Some(of) => is_own && of == group,
                None => !is_own,
            });
            found.extend(
                of_group.map(|(key, entry)| {
                    (entry.object.clone().unwrap_or_else(|| key.clone()), entry.quarantined.clone())
                }),
            );
        }
        found
    }

    /// What changes in the ConfigMap where a group comes to these entries: new texts by key, and none for what is forgotten.
    #[must_use]
    pub fn change(
        &self,
        group: &str,
        entries: &BTreeMap<String, Quarantined>,
        now: Timestamp,
    ) -> BTreeMap<String, Option<String>> {
        let forgotten = self.entries.iter().filter(|(_, entry)| !entry.quarantined.is_kept(now));
        let mut changed: BTreeMap<String, Option<String>> = forgotten.map(|(key, _)| (key.clone(), None)).collect();
        for (object, quarantined) in entries {
            let entry =
                Entry { group: Some(group.to_owned()), object: Some(object.clone()), quarantined: quarantined.clone() };
            changed.insert(key(group, object), serde_json::to_string(&entry).ok());
        }
        changed
    }
}

/// The key of an object for a group. Names of both hold no `_` where they are apart.
fn key(group: &str, object: &str) -> String {
    let key = format!("{group}__{object}");
    if key.len() <= KEY_LIMIT { key } else { format!("{group}__{}", hash(object, 32)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(said: &str) -> Quarantined {
        Quarantined {
            fingerprint: "f".into(),
            said: said.into(),
            since: Timestamp::UNIX_EPOCH,
            is_confirmed: false,
            is_acquitted: false,
            is_out_of_memory: false,
        }
    }

    /// The store as the API server has it after a change.
    fn after(store: &Store, group: &str, object: &str, quarantined: Quarantined) -> BTreeMap<String, String> {
        let mut data: BTreeMap<String, String> =
            store.entries.iter().map(|(key, one)| (key.clone(), serde_json::to_string(one).unwrap())).collect();
        for (key, text) in store.change(group, &[(object.to_owned(), quarantined)].into(), Timestamp::UNIX_EPOCH) {
            match text {
                Some(text) => drop(data.insert(key, text)),
                None => drop(data.remove(&key)),
            }
        }
        data
    }

    #[test]
    fn group_that_accuses_takes_an_object_out_for_itself() {
        let store = Store::read(&after(&Store::default(), "odigos-gateway-big", "action_x", entry("pool")));
        assert_eq!(store.of("odigos-gateway-big")["action_x"], entry("pool"));
        assert!(store.of("odigos-gateway").is_empty() && store.of("odigos-data-collection").is_empty());
        // Another group says something else of the same object, and neither loses its word.
        let both = Store::read(&after(&store, "odigos-gateway", "action_x", entry("main")));
        assert_eq!(
            (both.of("odigos-gateway")["action_x"].said.as_str(), both.of("odigos-gateway-big").len()),
            ("main", 1)
        );
        assert_eq!(both.of("odigos-gateway-big")["action_x"].said, "pool");
    }

    #[test]
    fn entries_of_older_releases_count_for_all_until_a_group_says_otherwise() {
        let older =
            BTreeMap::from([("d".to_owned(), serde_json::to_string(&entry("old")).unwrap()), ("x".into(), "?".into())]);
        let store = Store::read(&older);
        assert_eq!((store.of("a").len(), store.of("b")["d"].said.as_str()), (1, "old"));
        let acquitted = Quarantined { is_acquitted: true, ..entry("old") };
        let next = Store::read(&after(&store, "a", "d", acquitted.clone()));
        assert_eq!((next.of("a")["d"].clone(), next.of("b")["d"].clone()), (acquitted, entry("old")));
    }

    /// A name that leaves no room for the group must not keep the quarantine from being written.
    #[test]
    fn long_names_have_keys_that_are_stored() {
        let name = format!("node_processor_{}", "n".repeat(253));
        let data = after(&Store::default(), "odigos-data-collection", &name, entry("no"));
        assert!(data.keys().all(|key| key.len() <= KEY_LIMIT), "{data:?}");
        assert_eq!(Store::read(&data).of("odigos-data-collection")[&name], entry("no"));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let store = Store::read(&after(&Store::default(), "a", "d", entry("no")));
        let later = Timestamp::UNIX_EPOCH + super::super::RETRY_AFTER;
        assert_eq!(store.change("b", &BTreeMap::new(), later), [("a__d".to_owned(), None)].into());
        assert!(store.change("b", &BTreeMap::new(), Timestamp::UNIX_EPOCH).is_empty());
    }
}
