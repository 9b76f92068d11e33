//! What asking for a workload, or taking it back, writes (`spec/sources-and-instrumentation.md` 2.2, 2.5, 2.13).
//!
//! At most one Source is created, changed or deleted, and fields that nobody asked to change stay as they are.

use super::manifest;
use anyhow::bail;
use odigos_api::labels::{STREAM_PREFIX, stream_labels};
use odigos_api::source::Source;
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_plan::coverage::scope::Scope;
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

/// What covers a target without a Source of its own.
#[derive(Clone, Debug)]
enum Background<'a> {
    Nothing,
    /// The enabled Source of the workload's namespace.
    Namespace(&'a Source),
    /// `instrumentation.mode: optOut`, in these streams.
    OptOut(BTreeMap<String, bool>),
}

impl Background<'_> {
    fn of<'a>(target: &Target, live: &[&'a Source], scope: &Scope) -> Background<'a> {
        let of_namespace: Vec<&'a Source> = live.iter().copied().filter(|source| is_namespace_source(source)).collect();
        let is_workload = matches!(target, Target::Workload(_));
        if is_workload && let Some(source) = of_namespace.iter().copied().find(|source| is_enabled(source)) {
            return Background::Namespace(source);
        }
        match scope.opt_out_labels(target.namespace()) {
            Some(labels) if !is_workload || of_namespace.is_empty() => Background::OptOut(stream_labels(&labels)),
            _ => Background::Nothing,
        }
    }

    const fn covers(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn streams(&self) -> BTreeMap<String, bool> {
        match self {
            Self::Nothing => BTreeMap::new(),
            Self::Namespace(source) => stated(source),
            Self::OptOut(streams) => streams.clone(),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Namespace(source) => format!("Source {} of the namespace", name_of(source)),
            _ => "instrumentation.mode: optOut".to_owned(),
        }
    }

    /// What an exclusion takes the target from.
    const fn excluded_from(&self) -> &'static str {
        match self {
            Self::OptOut(_) => "although instrumentation.mode is optOut",
            _ => "from its namespace",
        }
    }
}

/// Decides. `all` are the Sources of the target's namespace, `scope` is what the configuration says about namespaces.
pub(crate) fn plan(
    target: &Target,
    action: Action,
    streams: &[String],
    all: &[Source],
    scope: &Scope,
) -> anyhow::Result<Plan> {
    let exclusion = scope.exclusion(target.namespace());
    if let Some(exclusion) = exclusion.as_ref().filter(|_| action == Action::Enable) {
        bail!("{}", exclusion.message(target.namespace()));
    }
    if let Some(bad) = streams.iter().find(|name| !odigos_plan::streams::is_name(name)) {
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
    let background = Background::of(target, &live, scope);
    let mut plan = match action {
        Action::Enable => enable(target, streams, own, &background),
        Action::Disable => disable(target, streams, own, &background),
    };
    plan.is_covered_before = exclusion.is_none() && own.map_or(background.covers(), is_enabled);
    plan.is_covered_after &= exclusion.is_none();
    plan.notes.extend(disagreements(target, plan.is_covered_after, &live));
    Ok(plan)
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

fn enable(target: &Target, streams: &[String], own: Option<&Source>, background: &Background<'_>) -> Plan {
    let words = target.words();
    let Some(own) = own else {
        let covered_in = background.streams();
        if background.covers() && streams.iter().all(|stream| covered_in.get(stream) == Some(&true)) {
            return made(Change::Nothing, format!("{} covers {words} already", background.words()), true);
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

fn disable(target: &Target, streams: &[String], own: Option<&Source>, background: &Background<'_>) -> Plan {
    let words = target.words();
    if !streams.is_empty() {
        return leave(target, streams, own, background);
    }
    match (own, background.covers()) {
        (None, false) => made(Change::Nothing, format!("no Source covers {words}"), false),
        (None, true) => {
            let change = Change::Create(object(target, std::iter::empty(), true));
            made(change, format!("excludes {words} {}", background.excluded_from()), false)
        }
        (Some(own), _) if !is_enabled(own) => {
            made(Change::Nothing, format!("Source {} excludes {words} already", name_of(own)), false)
        }
        (Some(own), true) => {
            let patch = json!({"spec": {"disableInstrumentation": true}});
            let why = format!("excludes {words} {}", background.excluded_from());
            made(Change::Patch { name: name_of(own), patch }, why, false)
        }
        (Some(own), false) => delete(target, own),
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
fn leave(target: &Target, streams: &[String], own: Option<&Source>, background: &Background<'_>) -> Plan {
    let words = target.words();
    let of_own = own.map(stated).unwrap_or_default();
    // Streams of the mode count only where no Source names one.
    let inherited = match background {
        Background::OptOut(_) if !of_own.is_empty() => BTreeMap::new(),
        background => background.streams(),
    };
    let mut effective: BTreeMap<String, bool> = inherited.clone();
    effective.extend(of_own);
    let left: Vec<&String> = streams.iter().filter(|stream| effective.get(*stream) == Some(&true)).collect();
    if left.is_empty() {
        let covered = own.map_or(background.covers(), is_enabled);
        return made(
            Change::Nothing,
            format!("{words} is in none of {}", joined(&streams.iter().collect::<Vec<_>>())),
            covered,
        );
    }
    let stays = effective.iter().any(|(stream, joined)| *joined && !left.contains(&stream));
    if !stays {
        return disable(target, &[], own, background);
    }
    let why = format!("takes {words} out of {}", joined(&left));
    // A Source that names one stream of the mode has to name those that stay too.
    let is_opt_out = matches!(background, Background::OptOut(_));
    let kept = inherited.keys().filter(|stream| is_opt_out && !left.contains(stream));
    let Some(own) = own else {
        let labels = left.iter().map(|stream| (*stream, "false")).chain(kept.map(|stream| (stream, "true")));
        return made(Change::Create(object(target, labels, false)), why, true);
    };
    let mut patch = json!({});
    for stream in kept {
        patch["metadata"]["labels"][label(stream)] = json!("true");
    }
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
