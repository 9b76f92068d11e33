//! What a gateway can hold: the files of its configuration, and its pods with what they read from Secrets.
//!
//! Where it is full, the Destinations that came last are left out, and say so; all others go on. Owns these limits and the order in which
//! Destinations came. Never decides how files are cut ([`crate::config_files`]).

use super::Observed;
use super::destinations::{DestinationPlan, SecretTarget, SecretUse};
use odigos_api::Finding;
use odigos_api::condition::{ConditionDraft, kind};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a pod may take for what its containers read from Secrets. The API server stores objects of 1.5 MiB; the rest is for everything
/// else of a pod.
const OBJECT_LIMIT: usize = 5 * (1 << 20) / 4;
/// Bytes of all environment variables from Secrets: a kernel starts no program with more than 2 MiB of arguments and environment.
const ENVIRONMENT_LIMIT: usize = 3 * (1 << 20) / 2;
/// Bytes that one environment variable takes beside names, in both containers: its form, and what the API server records of its fields.
const VARIABLE: usize = 2 * 150;
/// The same of a volume with a file, and of where both containers mount it.
const FILE: usize = 640;

/// What one Destination may take of both before others go first: whoever came early could otherwise push out others by growing.
const SHARE: [usize; 2] = [OBJECT_LIMIT / 16, ENVIRONMENT_LIMIT / 12];

/// What a value of a Secret takes: bytes in the object of a pod, and bytes in the environment.
fn sizes(used: &SecretUse) -> [usize; 2] {
    match &used.target {
        // The name stands twice for each container. A variable has two bytes more, and a pointer to it.
        SecretTarget::Variable(name) => {
            let object = VARIABLE + 4 * name.len() + 2 * (used.secret.len() + used.key.len());
            [object, name.len() + used.size + 10]
        }
        SecretTarget::File(path) => [FILE + 4 * path.len() + used.secret.len() + used.key.len(), 0],
    }
}

/// Why pods have no room for Secrets of these sizes.
fn problem([object, environment]: [usize; 2]) -> Option<String> {
    let (what, limit) = match (object > OBJECT_LIMIT, environment > ENVIRONMENT_LIMIT) {
        (true, _) => ("their object names more values of Secrets than fit into", OBJECT_LIMIT),
        (_, true) => ("values of Secrets in their environment have more than", ENVIRONMENT_LIMIT),
        (false, false) => return None,
    };
    Some(format!(
        "the pods of the gateway have no room for it: {what} {} KiB; give streams gateways of their own (collectorGateway.pools), or delete Destinations",
        limit / 1024
    ))
}

/// Names of the Destinations that take part, in the order in which they came.
pub(super) fn by_age(seen: &Observed<'_>, destinations: &DestinationPlan) -> Vec<String> {
    let created: BTreeMap<&str, _> = seen
        .destinations
        .iter()
        .map(|one| {
            let time = one.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (one.metadata.name.as_deref().unwrap_or_default(), time)
        })
        .collect();
    let mut names: Vec<&str> = destinations.fragments.iter().map(|one| one.name.as_str()).collect();
    // What was not created yet comes last.
    let time = |name: &str| created.get(name).copied().flatten();
    names.sort_by_key(|name| (time(name).is_none(), time(name), *name));
    names.into_iter().map(str::to_owned).collect()
}

/// Leaves out the Destinations whose Secrets pods have no room for.
pub(super) fn fit_secrets(seen: &Observed<'_>, destinations: &mut DestinationPlan) {
    let mut by_name: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for used in &destinations.secrets {
        let [object, environment] = sizes(used);
        let sum = by_name.entry(&used.destination).or_default();
        *sum = [sum[0] + object, sum[1] + environment];
    }
    let (mut sum, mut why) = ([0, 0], None);
    let mut late = BTreeSet::new();
    let is_beyond = |name: &String| by_name.get(name.as_str()).is_some_and(|[a, b]| *a > SHARE[0] || *b > SHARE[1]);
    let (beyond, within): (Vec<String>, Vec<String>) = by_age(seen, destinations).into_iter().partition(is_beyond);
    for name in within.into_iter().chain(beyond) {
        let Some([object, environment]) = by_name.get(name.as_str()) else { continue };
        sum = [sum[0] + object, sum[1] + environment];
        if let Some(problem) = problem(sum) {
            why.get_or_insert(problem);
            late.insert(name);
        }
    }
    if let Some(why) = why {
        leave_out(seen, destinations, &late, &why);
    }
}

/// Leaves out as few of the last Destinations as make `fits` true; none where not even the first one alone does: then the last configuration
/// stays. `problem` is what does not fit.
pub(super) fn fit(
    seen: &Observed<'_>,
    destinations: &mut DestinationPlan,
    problem: &str,
    fits: impl Fn(&DestinationPlan) -> bool,
) {
    let names = by_age(seen, destinations);
    let first = |count: usize| names.iter().skip(count).cloned().collect::<BTreeSet<String>>();
    // The largest number of first ones that fits lies in between.
    let (mut least, mut most) = (0, names.len());
    while least + 1 < most {
        let middle = usize::midpoint(least, most);
        let late = first(middle);
        let mut attempt = destinations.clone();
        attempt.retain(|one| !late.contains(&one.name));
        if fits(&attempt) { least = middle } else { most = middle }
    }
    if least > 0 {
        leave_out(seen, destinations, &first(least), problem);
    }
}

fn leave_out(seen: &Observed<'_>, destinations: &mut DestinationPlan, late: &BTreeSet<String>, problem: &str) {
    let message =
        format!("the gateway is full, and this Destination is one of the {} that came last: {problem}", late.len());
    for name in late {
        let draft = ConditionDraft::no(kind::DESTINATION_CONFIGURED, "GatewayFull", message.clone());
        destinations.conditions.insert(name.clone(), draft);
        destinations.findings.push(Finding::error(format!("Destination {}/{name}", seen.namespace), "spec", &message));
    }
    destinations.retain(|one| !late.contains(&one.name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As the API server stores it: both containers, and the fields that it records for the autoscaler.
    #[test]
    fn secret_takes_what_the_objects_show() {
        let used = SecretUse {
            destination: "d".into(),
            secret: "team-with-a-name".into(),
            key: "OTLP_HTTP_BASIC_AUTH_PASSWORD".into(),
            target: SecretTarget::Variable("D_TEAM_WITH_A_NAME_7112B1E8_OTLP_HTTP_BASIC_AUTH_PASSWORD".into()),
            digest: String::new(),
            size: 16,
            is_escaped: false,
        };
        let SecretTarget::Variable(name) = &used.target else { panic!("a variable") };
        let entry = json!({"name": name, "valueFrom": {"secretKeyRef": {"name": used.secret, "key": used.key}}});
        let field = json!({format!("k:{}", json!({ "name": name })): {".": {}, "f:name": {}, "f:valueFrom": {"f:secretKeyRef": {}}}});
        let size = 2 * (entry.to_string().len() + field.to_string().len());
        let [object, environment] = sizes(&used);
        assert!((size..size + size / 5).contains(&object), "{object} for {size}");
        assert_eq!(environment, name.len() + "=\0".len() + 8 + 16);
    }
}
