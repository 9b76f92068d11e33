//! Whose each environment variable and file with a value of a Secret is: two Destinations never share one.
//!
//! Names of variables end in a short hash, so that two Destinations with nearly the same name could come to one, and the pod would give the
//! value of one to both. Owns who keeps it: whoever came first. Never names a variable (`odigos_catalog`).

use super::destinations::{DestinationPlan, SecretTarget};
use super::{Observed, capacity};
use odigos_api::Finding;
use odigos_api::condition::{ConditionDraft, kind};
use std::collections::{BTreeMap, BTreeSet};

/// Takes out the Destinations whose variables or files are another's, or hold two keys of their own.
pub(super) fn refuse_shared(seen: &Observed<'_>, destinations: &mut DestinationPlan) {
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    let mut taken: BTreeMap<(bool, &str), &str> = BTreeMap::new();
    let mut by_destination: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for used in &destinations.secrets {
        by_destination.entry(&used.destination).or_default().push(used);
    }
    let order = capacity::by_age(seen, destinations);
    for name in &order {
        let uses = by_destination.get(name.as_str()).into_iter().flatten();
        let slots = uses.map(|used| match &used.target {
            SecretTarget::Variable(variable) => ((true, variable.as_str()), used.key.as_str()),
            SecretTarget::File(path) => ((false, path.as_str()), used.key.as_str()),
        });
        let slots: BTreeSet<_> = slots.collect();
        let own: BTreeMap<_, _> = slots.iter().copied().collect();
        let twice = slots.iter().find(|(slot, key)| own.get(slot) != Some(key));
        let foreign = own.keys().find_map(|slot| Some((slot, taken.get(slot)?)));
        let message = match (foreign, twice) {
            (Some(((_, slot), owner)), _) => format!(
                "its {slot} would be that of the Destination {owner}, and both would get the value of one: give one of them another name"
            ),
            (None, Some(((_, slot), key))) => {
                format!("two keys of its Secret, one of them {key}, come to one {slot}: rename a key")
            }
            (None, None) => {
                taken.extend(own.into_keys().map(|slot| (slot, name.as_str())));
                continue;
            }
        };
        refused.insert(name.clone(), message);
    }
    for (name, message) in &refused {
        let draft =
            ConditionDraft::no(kind::DESTINATION_CONFIGURED, "NameConflict", format!("metadata.name: {message}."));
        destinations.conditions.insert(name.clone(), draft);
        let object = format!("Destination {}/{name}", seen.namespace);
        destinations.findings.push(Finding::error(object, "metadata.name", message));
    }
    destinations.retain(|one| !refused.contains_key(&one.name));
}
