//! What Kubernetes knows of a pod, as attributes of resources (`spec/actions-and-rules.md` 2.5): compiled to one `k8s_attributes`
//! processor of node collectors, and evaluated over what is known of a pod.
//!
//! Owns which fields, labels and annotations are read. All Actions of the kind are one processor, since each watches the cluster. What an
//! item brings stays: the collector writes only what is missing or empty.

use super::item::{Attributes, Item, Value};
use super::limits::{check_count, check_key, check_name};
use super::problem::Problem;
use odigos_api::action_kinds::{AttributeSource, K8sAttributes};
use odigos_pipeline::expansion;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Name of the pod; always read.
const POD_NAME: &str = "k8s.pod.name";
const CONTAINER: [&str; 4] = ["k8s.container.name", "container.id", "container.image.name", "container.image.tag"];
const REPLICA_SET: &str = "k8s.replicaset.name";
const REPLICA_SET_UID: &str = "k8s.replicaset.uid";
const WORKLOAD_UIDS: [&str; 3] = ["k8s.deployment.uid", "k8s.daemonset.uid", "k8s.statefulset.uid"];
const CLUSTER_UID: &str = "k8s.cluster.uid";

/// Where a value is read: what comes first is written first, and what comes last wins.
const SOURCES: [AttributeSource; 3] = [AttributeSource::Node, AttributeSource::Namespace, AttributeSource::Pod];

/// A label or an annotation that becomes an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Rank of where it is read: the node, the namespace, the pod.
    from: usize,
    /// Its key.
    key: String,
    /// Name of the attribute.
    attribute: String,
}

/// What one processor reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    metadata: BTreeSet<&'static str>,
    labels: BTreeSet<Field>,
    annotations: BTreeSet<Field>,
}

const fn word(from: usize) -> &'static str {
    match from {
        0 => "node",
        1 => "namespace",
        _ => "pod",
    }
}

/// Why an Action of the kind names no streams.
pub(super) const FOR_ALL_STREAMS: &str =
    "it runs on nodes, where streams are not apart yet, so its attributes go to all streams: remove dataStreams";

/// An entry: key, attribute, and ranks of its sources.
type Entry<'a> = (&'a str, &'a str, Vec<usize>);

/// Ranks of the sources of an entry; of both fields the newer one counts.
fn ranks(from: Option<AttributeSource>, sources: &[AttributeSource]) -> Vec<usize> {
    let one = [from.unwrap_or(AttributeSource::Pod)];
    let stated = if sources.is_empty() { &one[..] } else { sources };
    stated.iter().filter_map(|source| SOURCES.iter().position(|one| one == source)).collect()
}

/// Labels of one Action, and its annotations: field of the list, field of the key, and the entries.
fn entries(kind: &K8sAttributes) -> [(&'static str, &'static str, Vec<Entry<'_>>); 2] {
    let labels = kind
        .labels_attributes
        .iter()
        .map(|one| (one.label_key.as_str(), one.attribute_key.as_str(), ranks(one.from, &one.from_sources)));
    let annotations = kind
        .annotations_attributes
        .iter()
        .map(|one| (one.annotation_key.as_str(), one.attribute_key.as_str(), ranks(one.from, &one.from_sources)));
    [
        ("labelsAttributes", "labelKey", labels.collect()),
        ("annotationsAttributes", "annotationKey", annotations.collect()),
    ]
}

/// What is wrong with one Action; an entry that is not named here stands for itself.
pub(super) fn check(kind: &K8sAttributes, problems: &mut Vec<Problem>) {
    const FIELD: &str = "spec.k8sAttributes";
    if extraction(&[kind]).is_empty() {
        let message = "it adds nothing; switch on a collect… field, or name labels or annotations";
        problems.push(Problem::new(FIELD, message));
    }
    for (list, key_field, all) in entries(kind) {
        check_count(all.len(), &format!("{FIELD}.{list}"), problems);
        for (position, (key, attribute, _)) in all.iter().enumerate() {
            check_key(key, || format!("{FIELD}.{list}[{position}].{key_field}"), problems);
            check_name(attribute, || format!("{FIELD}.{list}[{position}].attributeKey"), problems);
        }
    }
}

/// What all Actions of the kind read together.
pub(super) fn extraction(kinds: &[&K8sAttributes]) -> Extraction {
    let any = |is_on: fn(&K8sAttributes) -> Option<bool>| kinds.iter().any(|kind| is_on(kind) == Some(true));
    let mut found = Extraction { metadata: BTreeSet::from([POD_NAME]), ..Extraction::default() };
    let uids = any(|kind| kind.collect_workload_u_i_d);
    if any(|kind| kind.collect_container_attributes) {
        found.metadata.extend(CONTAINER);
    }
    if any(|kind| kind.collect_replica_set_attributes) {
        found.metadata.insert(REPLICA_SET);
        found.metadata.extend(uids.then_some(REPLICA_SET_UID));
    }
    if uids {
        found.metadata.extend(WORKLOAD_UIDS);
    }
    if any(|kind| kind.collect_cluster_u_i_d) {
        found.metadata.insert(CLUSTER_UID);
    }
    for kind in kinds {
        let [labels, annotations] = entries(kind).map(|(_, _, all)| {
            let usable = all.into_iter().filter(|(key, attribute, _)| is_usable(key, attribute));
            let fields = usable.flat_map(|(key, attribute, ranks)| {
                ranks.into_iter().map(move |from| Field { from, key: key.to_owned(), attribute: attribute.to_owned() })
            });
            fields.collect::<Vec<_>>()
        });
        found.labels.extend(labels);
        found.annotations.extend(annotations);
    }
    found
}

fn is_usable(key: &str, attribute: &str) -> bool {
    let mut problems = Vec::new();
    check_key(key, String::new, &mut problems);
    check_name(attribute, String::new, &mut problems);
    problems.is_empty()
}

impl Extraction {
    /// Whether it reads nothing that items do not have anyway.
    pub(super) fn is_empty(&self) -> bool {
        self.metadata.len() == 1 && self.labels.is_empty() && self.annotations.is_empty()
    }

    /// The settings as the collector reads them. It does not wait for what it watches: where it may not watch something, items pass
    /// without it.
    pub(super) fn rendered(&self) -> Json {
        let fields = |all: &BTreeSet<Field>| -> Vec<Json> {
            let one = |field: &Field| {
                let [tag, key] = [&field.attribute, &field.key].map(|text| expansion::escape(text));
                json!({"tag_name": tag, "key": key, "from": word(field.from)})
            };
            all.iter().map(one).collect()
        };
        let mut extract = json!({"metadata": self.metadata});
        for (name, all) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !all.is_empty() {
                extract[name] = json!(fields(all));
            }
        }
        let from = |name: &str| json!({"from": "resource_attribute", "name": name});
        json!({
            "auth_type": "serviceAccount",
            "passthrough": false,
            "filter": {"node_from_env_var": "NODE_NAME"},
            "extract": extract,
            "pod_association": [{"sources": [from("k8s.pod.uid")]}, {"sources": [from(POD_NAME), from("k8s.namespace.name")]}],
        })
    }

    /// A model of what the collector does with these settings: fields in their order, later ones over earlier ones; then onto the item,
    /// pod before namespace before node, what is missing or empty alone.
    #[cfg(test)]
    pub(super) fn run(&self, known: &Known, item: &mut Item) {
        let mut found: [BTreeMap<&str, &str>; 3] = Default::default();
        for name in &self.metadata {
            if let Some(value) = known.metadata.get(*name) {
                found[2].insert(name, value);
            }
        }
        for (fields, texts) in [(&self.labels, &known.labels), (&self.annotations, &known.annotations)] {
            for field in fields {
                if let Some(value) = texts[field.from].get(&field.key) {
                    found[field.from].insert(&field.attribute, value);
                }
            }
        }
        for (key, value) in found.iter().rev().flatten() {
            let is_missing = item.resource.get(*key).is_none_or(|there| there.text() == Some(""));
            if is_missing {
                item.resource.insert((*key).to_owned(), Value::from(*value));
            }
        }
    }
}

/// What the cluster knows of the pod that an item is of.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Values of fields, by the names of their attributes.
    pub metadata: BTreeMap<String, String>,
    /// Labels of the node, the namespace and the pod.
    pub labels: [BTreeMap<String, String>; 3],
    /// Annotations of the node, the namespace and the pod.
    pub annotations: [BTreeMap<String, String>; 3],
}

/// What an item is after all Actions of the kind: every attribute that is asked for and that it lacks, read where it is known, of the
/// pod before the namespace before the node; of several keys of one source the greatest one, annotations over labels.
pub fn evaluate(kinds: &[&K8sAttributes], known: &Known, item: &mut Item) {
    let asks = |is_on: fn(&K8sAttributes) -> Option<bool>| kinds.iter().any(|kind| is_on(kind) == Some(true));
    let uids = asks(|kind| kind.collect_workload_u_i_d);
    let replica_set = asks(|kind| kind.collect_replica_set_attributes);
    let fields: [(bool, &[&str]); 6] = [
        (true, &[POD_NAME]),
        (asks(|kind| kind.collect_container_attributes), &CONTAINER),
        (replica_set, &[REPLICA_SET]),
        (replica_set && uids, &[REPLICA_SET_UID]),
        (uids, &WORKLOAD_UIDS),
        (asks(|kind| kind.collect_cluster_u_i_d), &[CLUSTER_UID]),
    ];
    let mut wanted = Attributes::new();
    for (rank, _) in SOURCES.iter().enumerate() {
        if rank == 2 {
            let names = fields.iter().filter(|(is_on, _)| *is_on).flat_map(|(_, names)| *names);
            let value = |name: &&str| Some(((*name).to_owned(), Value::from(known.metadata.get(*name)?.as_str())));
            wanted.extend(names.filter_map(value));
        }
        for (which, texts) in [(0, &known.labels), (1, &known.annotations)] {
            let Some(texts) = texts.get(rank) else { continue };
            let mut asked: Vec<(&str, &str)> = Vec::new();
            for kind in kinds {
                let [labels, annotations] = entries(kind).map(|(_, _, all)| all);
                let all = if which == 0 { labels } else { annotations };
                let of_rank =
                    all.into_iter().filter(|(key, name, ranks)| ranks.contains(&rank) && is_usable(key, name));
                asked.extend(of_rank.map(|(key, name, _)| (key, name)));
            }
            asked.sort_unstable();
            let value = |(key, name): (&str, &str)| Some((name.to_owned(), Value::from(texts.get(key)?.as_str())));
            wanted.extend(asked.into_iter().filter_map(value));
        }
    }
    for (name, value) in wanted {
        if item.resource.get(&name).is_none_or(|there| there.text() == Some("")) {
            item.resource.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::item::SpanKind;
    use crate::sampling::generate::Random;

    fn kind(spec: Json) -> K8sAttributes {
        serde_json::from_value(spec).unwrap()
    }

    fn random(dice: &mut Random) -> K8sAttributes {
        let names = ["app", "team", "${env:X}", "q\"\\", "", "odigos.x"];
        let tags = ["a", "b", "k8s.pod.name", "$1", ""];
        let mut list = |key_field: &str| -> Vec<Json> {
            (0..dice.below(4))
                .map(|_| {
                    let sources: &[&str] =
                        [&[][..], &["pod"], &["node", "namespace"], &["pod", "namespace", "node"]][dice.below(4)];
                    let (key, tag) = (names[dice.below(names.len())], tags[dice.below(tags.len())]);
                    let from = ["pod", "namespace", "node"][dice.below(3)];
                    json!({
                        key_field: key, "attributeKey": tag,
                        "from": from, "fromSources": sources,
                    })
                })
                .collect()
        };
        let (labels, annotations) = (list("labelKey"), list("annotationKey"));
        let mut flag = || dice.below(2) == 0;
        kind(json!({
            "collectContainerAttributes": flag(), "collectReplicaSetAttributes": flag(), "collectWorkloadUID": flag(),
            "collectClusterUID": flag(), "labelsAttributes": labels, "annotationsAttributes": annotations,
        }))
    }

    fn known(dice: &mut Random) -> Known {
        let mut texts = |names: &[&str]| -> BTreeMap<String, String> {
            let some: Vec<&&str> = names.iter().filter(|_| dice.below(2) == 0).collect();
            some.into_iter().map(|name| ((*name).to_owned(), format!("{name}-{}", dice.below(100)))).collect()
        };
        let keys = ["app", "team", "${env:X}", "q\"\\"];
        let metadata = texts(&[POD_NAME, CONTAINER[0], REPLICA_SET, REPLICA_SET_UID, WORKLOAD_UIDS[0], CLUSTER_UID]);
        Known {
            metadata,
            labels: std::array::from_fn(|_| texts(&keys)),
            annotations: std::array::from_fn(|_| texts(&keys)),
        }
    }

    /// 10,000 random sets of Actions, pods and items.
    #[test]
    fn processor_and_evaluator_agree() {
        let mut dice = Random::new(5);
        let mut changed = 0;
        for _ in 0..10_000 {
            let kinds: Vec<K8sAttributes> = (0..dice.below(4)).map(|_| random(&mut dice)).collect();
            let kinds: Vec<&K8sAttributes> = kinds.iter().collect();
            let known = known(&mut dice);
            let mut item = Item::span("GET", SpanKind::Server);
            for key in ["a", "b", POD_NAME] {
                match dice.below(3) {
                    0 => drop(item.resource.insert(key.to_owned(), "brought".into())),
                    1 => drop(item.resource.insert(key.to_owned(), "".into())),
                    _ => {}
                }
            }
            let (before, mut run) = (item.clone(), item.clone());
            extraction(&kinds).run(&known, &mut run);
            evaluate(&kinds, &known, &mut item);
            assert_eq!(item, run, "{kinds:?}\n{known:?}");
            changed += usize::from(item != before);
        }
        assert!(changed > 5000, "{changed}");
    }

    #[test]
    fn golden_output_of_rows_28_and_29() {
        let container = kind(json!({"collectContainerAttributes": true}));
        let label = kind(json!({"labelsAttributes": [
            {"labelKey": "environment", "attributeKey": "env", "fromSources": ["pod", "namespace"], "from": "node"},
            {"labelKey": "app", "attributeKey": "app"},
        ], "annotationsAttributes": [{"annotationKey": "x/$y", "attributeKey": "y", "from": "node"}]}));
        assert_eq!(
            extraction(&[&container, &label]).rendered(),
            json!({
                "auth_type": "serviceAccount",
                "passthrough": false,
                "filter": {"node_from_env_var": "NODE_NAME"},
                "extract": {
                    "metadata": ["container.id", "container.image.name", "container.image.tag", "k8s.container.name", "k8s.pod.name"],
                    "labels": [
                        {"tag_name": "env", "key": "environment", "from": "namespace"},
                        {"tag_name": "app", "key": "app", "from": "pod"},
                        {"tag_name": "env", "key": "environment", "from": "pod"},
                    ],
                    "annotations": [{"tag_name": "y", "key": "x/$$y", "from": "node"}],
                },
                "pod_association": [
                    {"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]},
                    {"sources": [
                        {"from": "resource_attribute", "name": "k8s.pod.name"}, {"from": "resource_attribute", "name": "k8s.namespace.name"},
                    ]},
                ],
            })
        );
        let mut facts = Known::default();
        facts.labels[1].insert("environment".into(), "of-namespace".into());
        let of = |facts: &Known| {
            let mut item = Item::span("GET", SpanKind::Server);
            evaluate(&[&label], facts, &mut item);
            item.resource["env"].clone()
        };
        assert_eq!(of(&facts), "of-namespace".into(), "row 29");
        facts.labels[2].insert("environment".into(), "of-pod".into());
        assert_eq!(of(&facts), "of-pod".into(), "row 29");
    }

    #[test]
    fn what_adds_nothing_is_refused() {
        let problems = |spec: Json| {
            let mut problems = Vec::new();
            check(&kind(spec), &mut problems);
            problems.into_iter().map(|one| one.field).collect::<Vec<_>>()
        };
        assert_eq!(problems(json!({})), ["spec.k8sAttributes"]);
        let app = json!({"labelsAttributes": [{"labelKey": "app", "attributeKey": "app"}]});
        assert_eq!(problems(app), Vec::<String>::new());
        let bad = json!({"collectClusterUID": true, "labelsAttributes": [{"labelKey": "", "attributeKey": "a"}, {"labelKey": "a", "attributeKey": "odigos.x"}]});
        assert_eq!(
            problems(bad),
            ["spec.k8sAttributes.labelsAttributes[0].labelKey", "spec.k8sAttributes.labelsAttributes[1].attributeKey"]
        );
        let many = vec![json!({"annotationKey": "a", "attributeKey": "b"}); 65];
        assert_eq!(problems(json!({"annotationsAttributes": many})), ["spec.k8sAttributes.annotationsAttributes"]);
    }
}
