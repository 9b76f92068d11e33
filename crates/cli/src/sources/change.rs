//! What asking for a workload, or taking it back, writes (`spec/sources-and-instrumentation.md` 2.2, 2.5, 2.13).
//!
//! At most one Source is created, changed or deleted, and fields that nobody asked to change stay as they are.

use super::manifest;
use anyhow::bail;
use odigos_api::labels::{STREAM_PREFIX, stream_labels};
use odigos_api::source::Source;
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_plan::coverage::{self, Matcher, is_namespace_source, is_terminating};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Enable,
    Disable,
}

/// What it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Workload(WorkloadRef),
    Namespace(String),
}

impl Target {
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Workload(workload) => &workload.namespace,
            Self::Namespace(name) => name,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Workload(workload) => workload.to_string(),
            Self::Namespace(name) => format!("Namespace {name}"),
        }
    }

    /// Whether a workload is part of it.
    pub(crate) fn holds(&self, workload: &WorkloadRef) -> bool {
        match self {
            Self::Workload(one) => one == workload,
            Self::Namespace(name) => name == &workload.namespace,
        }
    }

    fn is_selected_by(&self, source: &Source) -> bool {
        match self {
            Self::Workload(workload) => !is_namespace_source(source) && Matcher::new(source).selects(workload),
            Self::Namespace(name) => is_namespace_source(source) && &source.spec.workload.name == name,
        }
    }
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Nothing,
    Create(Value),
    Patch { name: String, patch: Value },
    Delete { name: String },
}

/// A change in words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) change: Change,
    /// What it does, or why there is nothing to do.
    pub(crate) why: String,
    /// What people should know besides.
    pub(crate) notes: Vec<String>,
    /// Whether the target is covered before and afterwards.
    pub(crate) is_covered_before: bool,
    pub(crate) is_covered_after: bool,
}

/// Decides. `all` are the Sources of the target's namespace.
pub(crate) fn plan(target: &Target, action: Action, streams: &[String], all: &[Source]) -> anyhow::Result<Plan> {
    if let Some(bad) = streams.iter().find(|name| !is_stream(name)) {
        bail!("{bad:?} is no name of a data stream: letters, digits, - and _ only, at most 40");
    }
    let live: Vec<&Source> = all.iter().filter(|source| !is_terminating(source)).collect();
    let of_target: Vec<&Source> = live.iter().copied().filter(|source| target.is_selected_by(source)).collect();
    if of_target.len() > 1 {
        let names: Vec<String> = of_target.iter().map(|source| name_of(source)).collect();
        bail!("several Sources select {}: {}; delete all but one", target.words(), names.join(", "));
    }
    let own = of_target.first().copied();
    if let Some(pattern) = own.filter(|source| source.spec.match_workload_name_as_regex == Some(true)) {
        return by_pattern(target, action, streams, pattern);
    }
    let of_namespace = live.iter().copied().find(|source| is_namespace_source(source) && is_enabled(source));
    let of_namespace = of_namespace.filter(|_| matches!(target, Target::Workload(_)));
    let mut plan = match action {
        Action::Enable => enable(target, streams, own, of_namespace),
        Action::Disable => disable(target, streams, own, of_namespace),
    };
    plan.is_covered_before = own.map_or(of_namespace.is_some(), is_enabled);
    plan.notes.extend(disagreements(target, plan.is_covered_after, &live));
    Ok(plan)
}

fn is_stream(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let ends = name.bytes().next().into_iter().chain(name.bytes().last());
    !name.is_empty()
        && name.len() <= 40
        && name.bytes().all(is_inner)
        && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
}

fn name_of(source: &Source) -> String {
    source.metadata.name.clone().unwrap_or_default()
}

fn is_enabled(source: &Source) -> bool {
    source.spec.disable_instrumentation != Some(true)
}

/// Streams that the labels of a Source name, with whether it joins them.
fn stated(source: &Source) -> BTreeMap<String, bool> {
    let none = BTreeMap::new();
    let stated = stream_labels(source.metadata.labels.as_ref().unwrap_or(&none));
    stated.into_iter().collect()
}

fn joins(source: Option<&Source>, stream: &str) -> bool {
    source.is_some_and(|source| stated(source).get(stream) == Some(&true))
}

fn label(stream: &str) -> String {
    format!("{STREAM_PREFIX}{stream}")
}

fn made(change: Change, why: String, is_covered_after: bool) -> Plan {
    Plan { change, why, notes: Vec::new(), is_covered_before: false, is_covered_after }
}

/// A pattern selects others too, so it is not edited from here.
fn by_pattern(target: &Target, action: Action, streams: &[String], pattern: &Source) -> anyhow::Result<Plan> {
    let (name, enabled) = (name_of(pattern), is_enabled(pattern));
    let wanted = action == Action::Enable;
    if enabled != wanted || !streams.is_empty() {
        bail!(
            "Source {name} selects {} by the pattern {:?}, and others too; edit or delete that Source instead",
            target.words(),
            pattern.spec.workload.name
        );
    }
    let verb = if wanted { "asks for" } else { "excludes" };
    let mut plan = made(Change::Nothing, format!("Source {name} {verb} it by a pattern already"), wanted);
    plan.is_covered_before = enabled;
    Ok(plan)
}

fn enable(target: &Target, streams: &[String], own: Option<&Source>, of_namespace: Option<&Source>) -> Plan {
    let words = target.words();
    let Some(own) = own else {
        let is_there = of_namespace.filter(|source| streams.iter().all(|stream| joins(Some(source), stream)));
        if let Some(source) = is_there {
            return made(
                Change::Nothing,
                format!("Source {} of the namespace covers {words} already", name_of(source)),
                true,
            );
        }
        let labels = streams.iter().map(|stream| (stream, "true"));
        return made(Change::Create(object(target, labels, false)), format!("asks for {words}"), true);
    };
    let missing: Vec<&String> = streams.iter().filter(|stream| !joins(Some(own), stream)).collect();
    if is_enabled(own) && missing.is_empty() {
        return made(Change::Nothing, format!("Source {} asks for {words} already", name_of(own)), true);
    }
    let mut patch = json!({});
    if !is_enabled(own) {
        patch["spec"]["disableInstrumentation"] = json!(false);
    }
    for stream in &missing {
        patch["metadata"]["labels"][label(stream)] = json!("true");
    }
    let why = match (is_enabled(own), missing.is_empty()) {
        (false, true) => format!("asks for {words} again"),
        (false, false) => format!("asks for {words} again, in {}", joined(&missing)),
        _ => format!("puts {words} into {}", joined(&missing)),
    };
    made(Change::Patch { name: name_of(own), patch }, why, true)
}

fn disable(target: &Target, streams: &[String], own: Option<&Source>, of_namespace: Option<&Source>) -> Plan {
    let words = target.words();
    if !streams.is_empty() {
        return leave(target, streams, own, of_namespace);
    }
    match (own, of_namespace) {
        (None, None) => made(Change::Nothing, format!("no Source covers {words}"), false),
        (None, Some(_)) => {
            let change = Change::Create(object(target, std::iter::empty(), true));
            made(change, format!("excludes {words} from its namespace"), false)
        }
        (Some(own), _) if !is_enabled(own) => {
            made(Change::Nothing, format!("Source {} excludes {words} already", name_of(own)), false)
        }
        (Some(own), Some(_)) => {
            let patch = json!({"spec": {"disableInstrumentation": true}});
            made(Change::Patch { name: name_of(own), patch }, format!("excludes {words} from its namespace"), false)
        }
        (Some(own), None) => delete(target, own),
    }
}

fn delete(target: &Target, own: &Source) -> Plan {
    let mut plan = made(Change::Delete { name: name_of(own) }, format!("no longer asks for {}", target.words()), false);
    let spec = &own.spec;
    if !spec.container_overrides.is_empty() || spec.otel_service_name.as_ref().is_some_and(|name| !name.is_empty()) {
        plan.notes.push(
            "Its service name and container overrides go with the Source; keep a copy if they are wanted again.".into(),
        );
    }
    plan
}

/// Takes the target out of streams. Without any stream left it is no longer asked for.
fn leave(target: &Target, streams: &[String], own: Option<&Source>, of_namespace: Option<&Source>) -> Plan {
    let words = target.words();
    let inherited = of_namespace.map(stated).unwrap_or_default();
    let mut effective: BTreeMap<String, bool> = inherited.clone();
    effective.extend(own.map(stated).unwrap_or_default());
    let left: Vec<&String> = streams.iter().filter(|stream| effective.get(*stream) == Some(&true)).collect();
    if left.is_empty() {
        let covered = own.map_or(of_namespace.is_some(), is_enabled);
        return made(
            Change::Nothing,
            format!("{words} is in none of {}", joined(&streams.iter().collect::<Vec<_>>())),
            covered,
        );
    }
    let stays = effective.iter().any(|(stream, joined)| *joined && !left.contains(&stream));
    if !stays {
        return disable(target, &[], own, of_namespace);
    }
    let why = format!("takes {words} out of {}", joined(&left));
    let Some(own) = own else {
        let labels = left.iter().map(|stream| (*stream, "false"));
        return made(Change::Create(object(target, labels, false)), why, true);
    };
    let mut patch = json!({});
    for stream in &left {
        // What the namespace says would count again if the label were only removed.
        patch["metadata"]["labels"][label(stream)] =
            if inherited.get(*stream) == Some(&true) { json!("false") } else { Value::Null };
    }
    made(Change::Patch { name: name_of(own), patch }, why, is_enabled(own))
}

fn joined(streams: &[&String]) -> String {
    let word = if streams.len() == 1 { "the stream" } else { "the streams" };
    let names: Vec<&str> = streams.iter().map(|one| one.as_str()).collect();
    format!("{word} {}", names.join(", "))
}

fn object<'a>(target: &Target, labels: impl Iterator<Item = (&'a String, &'static str)>, is_excluded: bool) -> Value {
    let (kind, name) = match target {
        Target::Workload(workload) => (workload.kind.as_str(), &workload.name),
        Target::Namespace(name) => ("Namespace", name),
    };
    let namespace = target.namespace();
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": "Source",
        "metadata": {"generateName": "source-", "namespace": namespace},
        "spec": {"workload": {"kind": kind, "name": name, "namespace": namespace}},
    });
    for (stream, joins) in labels {
        object["metadata"]["labels"][label(stream)] = json!(joins);
    }
    if is_excluded {
        object["spec"]["disableInstrumentation"] = json!(true);
    }
    object
}

/// Sources of single workloads that say otherwise than their namespace.
fn disagreements(target: &Target, is_covered_after: bool, live: &[&Source]) -> Vec<String> {
    let Target::Namespace(_) = target else { return Vec::new() };
    let others =
        live.iter().filter(|source| !coverage::is_namespace_source(source) && is_enabled(source) != is_covered_after);
    let names: Vec<String> =
        others.map(|source| format!("{} {}", source.spec.workload.kind, source.spec.workload.name)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let verb = if is_covered_after { "stay excluded" } else { "stay covered" };
    vec![format!("By Sources of their own {verb}: {}.", names.join(", "))]
}

/// The word for what is done to which object.
fn deed(plan: &Plan) -> (&'static str, String) {
    match &plan.change {
        Change::Nothing => ("nothing", String::new()),
        Change::Create(object) => {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            ("create", format!("Source in {namespace}"))
        }
        Change::Patch { name, .. } => ("change", format!("Source {name}")),
        Change::Delete { name } => ("delete", format!("Source {name}")),
    }
}

/// The plan for people.
pub(crate) fn words(plan: &Plan, is_dry: bool, pods: usize) -> String {
    let (verb, subject) = deed(plan);
    if plan.change == Change::Nothing {
        return format!("Nothing to do: {}.\n{}", plan.why, noted(plan));
    }
    let done = match (is_dry, verb) {
        (true, verb) => format!("would {verb}"),
        (false, "create") => "created".to_owned(),
        (false, "change") => "changed".to_owned(),
        (false, _) => "deleted".to_owned(),
    };
    let mut out = format!("{done} {subject}: {}\n{}", plan.why, noted(plan));
    if is_dry {
        match &plan.change {
            Change::Create(object) => out.push_str(&manifest(object)),
            Change::Patch { patch, .. } => out.push_str(&manifest(patch)),
            Change::Delete { .. } | Change::Nothing => {}
        }
    }
    if plan.is_covered_before != plan.is_covered_after && pods > 0 {
        let (noun, verb) = if pods == 1 { ("pod", "is") } else { ("pods", "are") };
        let when = if plan.is_covered_after { "once agents are decided" } else { "if it carries agents" };
        let when = if pods > 1 && !plan.is_covered_after { "where they carry agents" } else { when };
        out.push_str(&format!("{pods} {noun} {verb} made anew by a rolling restart, {when}\n"));
    }
    out
}

fn noted(plan: &Plan) -> String {
    plan.notes.iter().map(|note| format!("{note}\n")).collect()
}

/// The plan for programs.
pub(crate) fn value(plan: &Plan, is_dry: bool, pods: usize) -> Value {
    let (verb, _) = deed(plan);
    let mut value = json!({
        "action": verb, "dryRun": is_dry, "why": plan.why, "notes": plan.notes,
        "coveredBefore": plan.is_covered_before, "coveredAfter": plan.is_covered_after, "pods": pods,
    });
    match &plan.change {
        Change::Nothing => {}
        Change::Create(object) => value["object"] = object.clone(),
        Change::Patch { name, patch } => {
            value["source"] = json!(name);
            value["patch"] = patch.clone();
        }
        Change::Delete { name } => value["source"] = json!(name),
    }
    value
}
