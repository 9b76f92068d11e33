//! Actions in sentences, in the order in which they run.
//!
//! Owns that order for people ([`in_order`]: ascending hint, what is for all streams first, then name, as [`crate::processors`] places
//! them) and the words for each kind. Never judges: what is wrong with an Action is said by [`super::report`].

use super::{Kind, compile, shared};
use odigos_api::CollectorRole;
use odigos_api::action::{Action, ActionSpec};
use odigos_api::action_kinds::{DataFormat, PiiCategory, PiiMasking};
use odigos_api::scope::SourcesScopes;

/// Where an Action stands among the processors of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The collector that runs it.
    pub role: CollectorRole,
    /// Its hint.
    pub hint: i32,
}

/// Whether an Action is for the items of a stream.
#[must_use]
pub fn is_for(action: &Action, stream: &str) -> bool {
    let named = action.spec.data_streams.as_deref().unwrap_or_default();
    named.is_empty() || named.iter().any(|one| one == stream)
}

fn is_for_all(action: &Action) -> bool {
    action.spec.data_streams.as_deref().unwrap_or_default().is_empty()
}

/// Where it runs; `measures_spans` tells whether nodes compute metrics from spans.
#[must_use]
pub fn place(action: &Action, measures_spans: bool) -> Place {
    let hint = Kind::of(&action.spec).map_or(0, Kind::order_hint);
    let role = match shared::role(&action.spec, measures_spans) {
        CollectorRole::ClusterGateway => CollectorRole::ClusterGateway,
        // What cannot be carried out, or drops, is the gateways'.
        CollectorRole::NodeCollector => match compile(action).step {
            Some(step) if !step.drops() => CollectorRole::NodeCollector,
            _ => CollectorRole::ClusterGateway,
        },
    };
    Place { role, hint }
}

/// How much of an Action collectors carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// All of it.
    Whole,
    /// What of it can be carried out.
    Part,
    /// Its items are dropped.
    Drops,
    /// Nothing.
    Nothing,
    /// It is disabled.
    Disabled,
}

impl InForce {
    /// Of an Action, as it is written.
    #[must_use]
    pub fn of(action: &Action) -> Self {
        let compiled = compile(action);
        match compiled.step {
            _ if action.spec.disabled == Some(true) => Self::Disabled,
            Some(step) if step.drops() => Self::Drops,
            Some(_) if compiled.problems.is_empty() => Self::Whole,
            Some(_) => Self::Part,
            None => Self::Nothing,
        }
    }

    /// What stands behind the name of an Action; nothing for one that is carried out whole.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Part => " (in force in part)",
            Self::Drops => " (cannot be carried out: its items are dropped)",
            Self::Nothing => " (not in force)",
            Self::Disabled => " (disabled)",
        }
    }
}

/// What orders Actions: nodes before gateways, then as their processors stand. Those that share a processor stand together.
pub(super) fn rank(action: &Action, measures_spans: bool) -> (bool, i32, bool, String, String) {
    let Place { role, hint } = place(action, measures_spans);
    let name = action.metadata.name.clone().unwrap_or_default();
    let processor =
        shared::id(&action.spec).and_then(|id| id.rsplit('/').next()).map_or_else(|| name.clone(), str::to_owned);
    (role == CollectorRole::ClusterGateway, hint, !is_for_all(action), processor, name)
}

/// The Actions for a stream, disabled ones too, in the order in which they run: nodes before gateways.
pub fn in_order<'a>(
    actions: impl IntoIterator<Item = &'a Action>,
    stream: &str,
    measures_spans: bool,
) -> Vec<&'a Action> {
    let mut all: Vec<&Action> = actions.into_iter().filter(|action| is_for(action, stream)).collect();
    all.sort_by_cached_key(|action| rank(action, measures_spans));
    all
}

/// The field of its kind, e.g. `piiMasking`; every one of them where it holds several.
#[must_use]
pub fn kind(spec: &ActionSpec) -> String {
    let stated: Vec<&str> = Kind::stated(spec).into_iter().map(Kind::field).collect();
    if stated.is_empty() { "none".to_owned() } else { stated.join(",") }
}

/// What an Action does, in a sentence without its name.
#[must_use]
pub fn sentence(spec: &ActionSpec) -> String {
    let mut parts = Vec::new();
    if let Some(kind) = &spec.add_cluster_info {
        let pair = |one: &odigos_api::action_kinds::ClusterAttribute| {
            format!("{}={:?}", one.attribute_name, one.attribute_string_value.as_deref().unwrap_or_default())
        };
        let stays = if kind.overwrite_existing_values == Some(true) { "is replaced" } else { "stays" };
        let pairs = joined(kind.cluster_attributes.iter().map(pair));
        parts.push(format!("adds {pairs} to resources; a value that is there {stays}"));
    }
    if let Some(kind) = &spec.delete_attribute {
        let names = joined(kind.attribute_names_to_delete.iter().cloned());
        parts.push(format!("deletes {names} of resources, scopes, items and span events"));
    }
    if let Some(kind) = &spec.rename_attribute {
        let pairs = joined(kind.renames.iter().map(|(old, new)| format!("{old} to {new}")));
        parts.push(format!("renames {pairs} in resources, scopes, items and span events, all at once"));
    }
    if let Some(kind) = &spec.pii_masking {
        let scopes = scope(kind.scopes.as_ref());
        parts.push(format!("masks {} in texts of span attributes{scopes}", joined(masked(kind))));
    }
    if let Some(kind) = &spec.extract_attribute {
        let one = |one: &odigos_api::action_kinds::Extraction| {
            let from = match (&one.regex, &one.lookup_key, one.data_format) {
                (Some(regex), ..) => format!("the group of {regex:?}"),
                (None, Some(key), Some(format)) => of_key(key, format),
                _ => "nothing".to_owned(),
            };
            format!("{} from {from}", one.target_attribute_name)
        };
        parts.push(format!("sets {}, where it is not set yet", joined(kind.extractions.iter().map(one))));
    }
    if let Some(kind) = &spec.span_renamer {
        let pairs =
            kind.regex_replacements.iter().map(|one| format!("{:?} to {:?}", one.regex_pattern, one.template_text));
        let (language, library) = (&kind.programming_language, &kind.scope_name);
        parts.push(format!("replaces {} in the names of spans of {library} ({language})", joined(pairs)));
    }
    if let Some(kind) = &spec.k8s_attributes {
        let flag = |is_on: Option<bool>, word: &str| (is_on == Some(true)).then(|| word.to_owned());
        let flags = [
            flag(kind.collect_container_attributes, "the container"),
            flag(kind.collect_replica_set_attributes, "the replica set"),
            flag(kind.collect_workload_u_i_d, "the workload's uid"),
            flag(kind.collect_cluster_u_i_d, "the cluster's uid"),
        ];
        let labels =
            kind.labels_attributes.iter().map(|one| format!("label {} as {}", one.label_key, one.attribute_key));
        let annotations = kind
            .annotations_attributes
            .iter()
            .map(|one| format!("annotation {} as {}", one.annotation_key, one.attribute_key));
        let what = joined(flags.into_iter().flatten().chain(labels).chain(annotations));
        parts.push(format!("adds what Kubernetes knows of the pod: {what}"));
    }
    if let Some(kind) = &spec.url_templatization {
        let own = kind
            .rules
            .iter()
            .flat_map(|one| one.templates.iter().map(move |text| format!("{text}{}", scope(one.scopes.as_ref()))));
        let default = kind.default.iter().map(|one| {
            let what = if one.disabled == Some(true) { "no built-in placeholders" } else { "built-in placeholders" };
            format!("{what}{}", scope(one.scopes.as_ref()))
        });
        parts.push(format!("turns paths of requests into templates: {}", joined(own.chain(default))));
    }
    if let Some(kind) = &spec.db_query_templatization {
        let literals = (kind.templatize_literals == Some(true)).then(|| "replaces numbers and texts by ?".to_owned());
        let casts =
            (kind.remove_postgres_cast_operator == Some(true)).then(|| "removes casts of PostgreSQL".to_owned());
        let what = joined(literals.into_iter().chain(casts));
        parts.push(format!("{what} in database queries{}", scope(kind.scopes.as_ref())));
    }
    if let Some(kind) = &spec.infer_db_attributes {
        parts.push(format!("reads operation and table out of database queries{}", scope(kind.scopes.as_ref())));
    }
    joined(parts.into_iter())
}

fn joined(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn masked(kind: &PiiMasking) -> impl Iterator<Item = String> {
    let category = |one: &PiiCategory| match one {
        PiiCategory::CreditCard => "numbers of credit cards",
        PiiCategory::Email => "e-mail addresses",
        PiiCategory::Jwt => "JSON web tokens",
        PiiCategory::Uuid => "UUIDs",
    };
    let formats = kind.custom_format_maskings.iter().map(|one| of_key(&one.lookup_key, one.data_format));
    let groups = kind.custom_regex_maskings.iter().map(|one| format!("the first group of {:?}", one.regex));
    kind.pii_categories.iter().map(move |one| category(one).to_owned()).chain(formats).chain(groups)
}

fn of_key(key: &str, format: DataFormat) -> String {
    match format {
        DataFormat::Json => format!("the value of {key} in JSON"),
        DataFormat::Sql => format!("the value of {key} in SQL"),
        DataFormat::ResourcePath => format!("what follows {key}/ in a path"),
    }
}

/// Of which sources, with a comma before; nothing for all of them.
fn scope(scopes: Option<&SourcesScopes>) -> String {
    let Some(scopes) = scopes else { return String::new() };
    let mut parts = Vec::new();
    if !scopes.sources.is_empty() {
        parts.push(format!("{} workloads", scopes.sources.len()));
    }
    if !scopes.namespaces.is_empty() {
        parts.push(format!("namespaces {}", scopes.namespaces.join(", ")));
    }
    if !scopes.languages.is_empty() {
        parts.push(format!("languages {}", scopes.languages.join(", ")));
    }
    if parts.is_empty() { String::new() } else { format!(", of {}", parts.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn action(name: &str, streams: &[&str], mut spec: Value) -> Action {
        spec["signals"] = json!(["TRACES"]);
        spec["dataStreams"] = json!(streams);
        Action::new(name, serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn actions_are_told_in_the_order_in_which_they_run() {
        let all = [
            action("z", &[], json!({"renameAttribute": {"renames": {"a": "b"}}})),
            action("a", &["audit"], json!({"renameAttribute": {"renames": {"c": "d"}}})),
            action(
                "mask",
                &["audit"],
                json!({"piiMasking": {"piiCategories": ["EMAIL"], "scopes": {"namespaces": ["shop"]}}}),
            ),
            action("del", &["other"], json!({"deleteAttribute": {"attributeNamesToDelete": ["x"]}})),
        ];
        let names = |stream: &str| -> Vec<String> {
            in_order(&all, stream, true).iter().map(|one| one.metadata.name.clone().unwrap()).collect()
        };
        assert_eq!(names("audit"), ["z", "a", "mask"]);
        assert_eq!(names("other"), ["del", "z"]);
        assert_eq!(sentence(&all[2].spec), "masks e-mail addresses in texts of span attributes, of namespaces shop");
        assert_eq!(kind(&all[3].spec), "deleteAttribute");
    }
}
