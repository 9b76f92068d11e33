//! `odigos describe`: where a workload, a source, a destination or a data stream stands, the first cause that blocks it, what
//! to do.

use crate::explain::{self, Blocked, read};
use crate::output::View;
use crate::{Failure, input, live, output};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use odigos_api::condition::kind;
use odigos_api::destination::Destination;
use odigos_api::source::Source;
use odigos_api::{API_VERSION, Finding, Severity, WorkloadRef, names};
use odigos_plan::actions::explain::{InForce, in_order};
use odigos_plan::admission::source::exact_workload;
use odigos_plan::coverage::scope::Scope;
use odigos_plan::coverage::{self, Matcher};
use odigos_plan::streams;
use odigos_plan::world::World;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `odigos describe`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos describe workload deployment/cart -n shop
  odigos describe source cart -n shop
  odigos describe destination jaeger -f manifests/
  odigos describe stream checkout -o yaml

Exit codes: 0 nothing blocks it, 1 something does, 2 failed to read the input or the cluster.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    subject: Subject,
    /// Look at manifests instead of a cluster: files, directories, or -.
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1.., global = true)]
    filename: Vec<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE, global = true)]
    control_plane: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = View::Table, global = true)]
    output: View,
}

#[derive(Subcommand, Debug)]
enum Subject {
    /// A workload: which Sources cover it, what runs in its containers, agents, restarts, pods. Needs a cluster.
    Workload {
        /// KIND/NAME or KIND NAME: deployment, statefulset, daemonset, cronjob, rollout, deploymentconfig, staticpod.
        #[arg(value_name = "KIND/NAME", num_args = 1..=2, required = true)]
        workload: Vec<String>,
        /// Its namespace.
        #[arg(short, long, default_value = "default")]
        namespace: String,
    },
    /// A Source: which workloads it covers, in which streams, and whether they are routed. In a cluster, a Source of one
    /// workload shows that workload.
    Source {
        /// Name of the Source.
        name: String,
        /// Its namespace.
        #[arg(short, long, default_value = "default")]
        namespace: String,
    },
    /// A Destination: whether the gateway sends to it, and why not.
    Destination {
        /// Name of the Destination.
        name: String,
    },
    /// A data stream: who is in it and where it leads.
    Stream {
        /// Name of the stream.
        name: String,
    },
}

/// What to do about a finding.
const CHANGE: &str = "change the field named above";

/// What is known of a subject.
#[derive(Debug, Default)]
struct Report {
    title: String,
    facts: Vec<(String, String)>,
    blocked: Option<Blocked>,
    /// What does not block it and is not as it could be, or not yet.
    notices: Vec<Blocked>,
}

impl Report {
    /// Keeps the first cause as what blocks the subject, and further ones as notices.
    fn block(&mut self, cause: impl Into<String>, remedy: impl Into<String>) {
        let found = Blocked { cause: cause.into(), remedy: remedy.into() };
        match &self.blocked {
            None => self.blocked = Some(found),
            Some(known) if *known == found => {}
            Some(_) => self.notices.push(found),
        }
    }

    /// Adds what planning found about the subject, except what blocks it anyway.
    fn add_findings(&mut self, findings: &[Finding], object: &str) {
        let blocked = self.blocked.as_ref().map(|one| one.cause.clone()).unwrap_or_default();
        for finding in findings.iter().filter(|finding| finding.object == object && !blocked.contains(&finding.message))
        {
            let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
            let said = format!("{field}{}", finding.message);
            if finding.severity > Severity::Warning {
                self.facts.push((finding.severity.to_string(), said));
            } else if !self.notices.iter().any(|known| known.cause == said) {
                // Not among the facts: that nothing blocks the subject would stand beside it.
                self.notices.push(Blocked { cause: said, remedy: CHANGE.into() });
            }
        }
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(workload) = single_workload(arguments).await? {
        let facts = read::workload(&live::client().await?, &workload, &arguments.control_plane).await?;
        let report = explain::workload::report(&facts);
        match arguments.output {
            View::Table => output::text(&explain::workload::text(&report, Timestamp::now())),
            view => output::value(&json!(report), view)?,
        }
        return Ok(if report.blocked.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    let mut world = if arguments.filename.is_empty() {
        live::world(&live::client().await?, &arguments.control_plane).await?
    } else {
        let (world, findings) = input::world(&arguments.filename, &arguments.control_plane)?;
        output::findings(&findings);
        world
    };
    let live = world.clone();
    // What is not written yet is shown as it will be; what stands in a status of a live object is shown as it is.
    let settled = world.settle(Timestamp::now());
    let report = match &arguments.subject {
        Subject::Workload { .. } => {
            return Err(anyhow::anyhow!("a workload is described from a cluster only; leave out -f").into());
        }
        Subject::Source { name, namespace } => source(&world, namespace, name, &settled.findings)?,
        Subject::Destination { name } => {
            let mut report = destination(&world, &live, name)?;
            report.add_findings(&settled.findings, &format!("Destination {}/{name}", world.namespace));
            report
        }
        Subject::Stream { name } => {
            let mut report = stream(&world, &live, name)?;
            let object = streams::object_name(name);
            report.add_findings(&settled.findings, &format!("DataStream {}/{object}", world.namespace));
            report
        }
    };
    match arguments.output {
        View::Table => output::text(&printed(&report)),
        view => {
            let facts: BTreeMap<&String, &String> = report.facts.iter().map(|(key, value)| (key, value)).collect();
            let (blocked, notices) = (&report.blocked, &report.notices);
            output::value(
                &json!({"subject": report.title, "facts": facts, "blocked": blocked, "notices": notices}),
                view,
            )?;
        }
    }
    Ok(if report.blocked.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The workload to show: the one that is named, or the one that a Source of a cluster is for.
async fn single_workload(arguments: &Arguments) -> anyhow::Result<Option<WorkloadRef>> {
    if !arguments.filename.is_empty() {
        return Ok(None);
    }
    match &arguments.subject {
        Subject::Workload { workload, namespace } => explain::workload_of(workload, namespace).map(Some),
        Subject::Source { name, namespace } => {
            let object = json!({
                "apiVersion": API_VERSION, "kind": "Source", "metadata": {"namespace": namespace, "name": name},
            });
            let found = live::get(&live::client().await?, &object).await?;
            let found: Option<Source> = found.map(serde_json::from_value).transpose()?;
            Ok(found.as_ref().and_then(exact_workload))
        }
        Subject::Destination { .. } | Subject::Stream { .. } => Ok(None),
    }
}

fn printed(report: &Report) -> String {
    let width = report.facts.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let mut out = format!("{}\n", report.title);
    for (key, value) in &report.facts {
        out.push_str(&format!("  {key:<width$}  {value}\n"));
    }
    out.push_str(&explain::workload::ending(report.blocked.as_ref(), &report.notices));
    out
}

fn joined(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "none".into() } else { items.join(", ") }
}

/// The streams of a workload that people named, and those of namespaces that Destinations select.
fn shown_streams(set: &streams::StreamSet) -> String {
    let shown = set.iter().filter(|one| streams::has_pipeline(one));
    joined(shown.map(|one| match one.strip_prefix(streams::NAMESPACE_STREAM) {
        Some(namespace) => format!("namespace {namespace}"),
        None => one.clone(),
    }))
}

/// Whether a covered workload is in a stream that a Destination selects.
fn has_workload(world: &World, destination: &Destination) -> bool {
    let selected = streams::selected_namespaces(world.destinations.values());
    let selection = streams::Selection::of(&destination.spec);
    let none = BTreeMap::new();
    world.configs.iter().any(|((namespace, _), config)| {
        let labels = config.metadata.labels.as_ref().unwrap_or(&none);
        streams::membership(labels, namespace, &selected).iter().any(|stream| selection.includes(stream))
    })
}

fn source(world: &World, namespace: &str, name: &str, findings: &[Finding]) -> anyhow::Result<Report> {
    let key = (namespace.to_owned(), name.to_owned());
    let Some(source) = world.sources.get(&key) else {
        let near = joined(world.sources.keys().filter(|(of, _)| of == namespace).map(|(_, name)| name.clone()));
        bail!("there is no Source {name} in the namespace {namespace}; there are: {near}");
    };
    let matcher = Matcher::new(source);
    let scope = world.scope();
    let configuration = world.stated_configuration(&mut Vec::new());
    let workloads: Vec<_> = world.workloads.keys().filter(|workload| matcher.selects(workload)).collect();
    let none = BTreeMap::new();
    let selected = streams::selected_namespaces(world.destinations.values());
    let mut report = Report { title: format!("Source {namespace}/{name}"), ..Report::default() };
    let target = &source.spec.workload;
    report.facts.push(("Selects".into(), format!("{} {}/{}", target.kind, target.namespace, target.name)));
    report.facts.push(("Disabled".into(), source.spec.disable_instrumentation.unwrap_or_default().to_string()));
    for workload in &workloads {
        let config = world.configs.get(&(workload.namespace.clone(), workload.config_name()));
        let Some(config) = config else {
            report.facts.push((workload.to_string(), "not instrumented".into()));
            uncovered(&mut report, world, &scope, workload, source);
            continue;
        };
        let set = streams::membership(config.metadata.labels.as_ref().unwrap_or(&none), &workload.namespace, &selected);
        let reached: Vec<&Destination> = world
            .destinations
            .values()
            .filter(|one| {
                set.iter().any(|stream| streams::Selection::of(&one.spec).includes(stream))
                    && one.spec.disabled != Some(true)
            })
            .collect();
        let broken: Vec<Blocked> =
            reached.iter().filter_map(|one| explain::workload::broken_destination(one)).collect();
        let is_any_well = broken.len() < reached.len();
        let untaken = explain::workload::nothing_taken(workload, config, &reached);
        report.notices.extend(explain::workload::agent_signals_untaken(
            workload,
            config,
            &reached,
            Some(&configuration),
        ));
        let reached = joined(reached.iter().filter_map(|one| one.metadata.name.clone()));
        report.facts.push((workload.to_string(), format!("streams {} → destinations {reached}", shown_streams(&set))));
        if let Some(untaken) = untaken {
            report.block(untaken.cause, untaken.remedy);
        }
        let off: Vec<&str> = streams::SWITCHES
            .iter()
            .filter(|(_, signal)| set.contains(&streams::off_stream(*signal)))
            .map(|(_, signal)| signal.as_pipeline())
            .collect();
        if !off.is_empty() {
            report.facts.push(("  switched off".into(), format!("{}, by an InstrumentationRule", off.join(", "))));
        }
        let agent = config.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == "AgentEnabled");
        if let Some(condition) = agent {
            report.facts.push(("  agent".into(), format!("{}: {}", condition.reason, condition.message)));
            if condition.status != "True" {
                let cause = format!("{workload}, {}: {}", condition.reason, condition.message);
                let remedy = explain::next_step::next_step_for(&condition.reason, &condition.message, workload);
                // What is only waited for blocks nothing, and is not done either.
                match condition.status == "False" {
                    true => report.block(cause, remedy.unwrap_or_else(|| "follow the message".into())),
                    false => {
                        let remedy = remedy.unwrap_or_else(|| explain::WAIT.into());
                        report.notices.push(Blocked { cause, remedy });
                    }
                }
            }
        }
        let without =
            config.spec.containers.iter().filter(|one| config.spec.agent_injection_enabled && !one.agent_enabled);
        for one in without.filter(|one| one.agent_enabled_reason != "IgnoredContainer") {
            let cause = format!(
                "container {} of {workload} has no agent, {}: {}",
                one.container_name, one.agent_enabled_reason, one.agent_enabled_message
            );
            let remedy =
                explain::next_step::next_step_for(&one.agent_enabled_reason, &one.agent_enabled_message, workload);
            report.notices.push(Blocked { cause, remedy: remedy.unwrap_or_else(|| "follow the message".into()) });
        }
        if reached == "none" {
            let cause = format!("no Destination is in the streams of {workload}: {}", shown_streams(&set));
            report.block(cause, "add one of the streams to spec.sourceSelector.dataStreams of a Destination");
        }
        for one in broken {
            match is_any_well {
                true => report.notices.push(one),
                false => report.block(one.cause, one.remedy),
            }
        }
    }
    let mut known = BTreeSet::new();
    report.notices.retain(|one| known.insert(one.cause.clone()));
    let title = format!("Source {namespace}/{name}");
    let own = || findings.iter().filter(|finding| finding.object == title && finding.severity <= Severity::Warning);
    for finding in own() {
        report.block(format!("{}: {}", finding.field, finding.message), CHANGE);
    }
    if own().next().is_none() && workloads.is_empty() {
        report.block("no workload matches", "create the workload, or correct spec.workload");
    }
    Ok(report)
}

/// A workload that the Source selects and nothing covers, unless the Source itself excludes it.
fn uncovered(report: &mut Report, world: &World, scope: &Scope, workload: &WorkloadRef, source: &Source) {
    if source.spec.disable_instrumentation == Some(true) {
        return;
    }
    let selecting: Vec<&Source> = world.sources.values().filter(|one| Matcher::new(one).selects(workload)).collect();
    let names = joined(selecting.iter().filter_map(|one| one.metadata.name.clone()));
    let decided = coverage::decide(scope, workload, &selecting);
    let draft = coverage::marked(&decided, workload, &names);
    let remedy = explain::next_step::next_step_for(&draft.reason, &draft.message, workload);
    let cause = format!("{workload}, {}: {}", draft.reason, draft.message);
    report.block(cause, remedy.unwrap_or_else(|| "follow the message".into()));
}

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn destination(world: &World, live: &World, name: &str) -> anyhow::Result<Report> {
    let key = (world.namespace.clone(), name.to_owned());
    let near =
        || joined(world.destinations.keys().filter(|(of, _)| *of == world.namespace).map(|(_, name)| name.clone()));
    let found = world.destinations.get(&key);
    let destination = found
        .with_context(|| format!("there is no Destination {name} in {}; there are: {}", world.namespace, near()))?;
    let spec = &destination.spec;
    let mut report = Report { title: format!("Destination {}/{name}", world.namespace), ..Report::default() };
    report.facts.push(("Type".into(), spec.type_.clone()));
    report.facts.push(("Signals".into(), joined(spec.signals.iter().map(ToString::to_string))));
    let streams = match streams::Selection::of(spec) {
        streams::Selection::Every => "every stream".to_owned(),
        streams::Selection::Streams(streams) => joined(streams),
    };
    report.facts.push(("Streams".into(), streams));
    let conditions = destination.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if let Some(condition) = condition(conditions, "DestinationConfigured") {
        report.facts.push(("Configured".into(), format!("{} ({})", condition.status, condition.reason)));
        if condition.status != "True" {
            let remedy = "change the field that the message names; it is tried again at once";
            report.block(condition.message.clone(), remedy);
        }
    } else if spec.disabled == Some(true) {
        report.block(
            "the Destination is switched off (spec.disabled)",
            "set spec.disabled to false, if it shall be used",
        );
    }
    if report.blocked.is_none() && !has_workload(world, destination) {
        report.notices.push(Blocked {
            cause: "no covered workload is in its streams, so no application sends to it".into(),
            remedy: "odigos sources enable, with --stream and one of its streams, or change spec.sourceSelector".into(),
        });
    }
    let written = live.destinations.get(&key).and_then(|one| one.status.as_ref());
    if let Some(written) = written.and_then(|status| condition(&status.conditions, "DestinationConfigured")) {
        report.facts.push(("In the cluster".into(), format!("{} ({})", written.status, written.reason)));
        // What the control plane says of the object counts, also where it would be decided otherwise now.
        if written.status == "False" && report.blocked.is_none() {
            let remedy = "wait until the control plane has looked at it again; odigos plan shows what is outstanding";
            report.block(format!("{}: {}", written.reason, written.message), remedy);
        }
    }
    Ok(report)
}

fn stream(world: &World, live: &World, name: &str) -> anyhow::Result<Report> {
    let key = (world.namespace.clone(), streams::object_name(name));
    let near = || joined(world.data_streams.keys().map(|(_, name)| name.clone()));
    let object = world
        .data_streams
        .get(&key)
        .with_context(|| format!("there is no data stream {name}; there are: {}", near()))?;
    let status = object.status.clone().unwrap_or_default();
    let mut report = Report { title: format!("Data stream {name}"), ..Report::default() };
    report.facts.push(("Members".into(), format!("{} workloads", status.members)));
    report.facts.push(("Classes".into(), joined(status.classes)));
    report.facts.push(("Destinations".into(), joined(status.destinations)));
    if let Some(condition) = condition(&status.conditions, "Rendered").filter(|condition| condition.status != "True") {
        report.block(condition.message.clone(), "put a Destination into the stream");
    } else if status.members == 0 {
        let remedy = format!("label a Source odigos.io/data-stream-{name}: \"true\"");
        report.block("no workload is in the stream", remedy);
    }
    // What gateways count is known to the cluster alone.
    let written = live.data_streams.get(&key).and_then(|one| one.status.as_ref());
    let cut = written.and_then(|status| condition(&status.conditions, kind::TRACE_CUT));
    if let Some(cut) = cut.filter(|condition| condition.status == "True") {
        let remedy = "put both workloads into one data stream (odigos sources enable, with --stream), or let one Destination select both streams";
        report.notices.push(Blocked { cause: cut.message.clone(), remedy: remedy.into() });
    }
    let actions = world.actions.iter().filter(|((namespace, _), _)| *namespace == world.namespace).map(|(_, one)| one);
    let mut changed = Vec::new();
    for action in in_order(actions, name, world.measures_spans()) {
        let (title, state) = (action.metadata.name.clone().unwrap_or_default(), InForce::of(action));
        let cause = match state {
            InForce::Disabled => continue,
            InForce::Whole => None,
            InForce::Drops => Some(format!(
                "Action {title} cannot be carried out, and its failurePolicy is drop: the items that it is for are not exported"
            )),
            InForce::Part => {
                Some(format!("Action {title} cannot be carried out whole: items pass without the rest of it"))
            }
            InForce::Nothing => Some(format!("Action {title} cannot be carried out: items pass as they are")),
        };
        changed.push(format!("{title}{}", state.mark()));
        if let Some(cause) = cause {
            report.notices.push(Blocked { cause, remedy: "correct it; odigos actions list says what is wrong".into() });
        }
    }
    report.facts.push(("Actions".into(), joined(changed)));
    let led_to = world.destinations.values().filter(|one| {
        let name = one.metadata.name.as_ref();
        name.is_some_and(|name| object.status.iter().any(|status| status.destinations.contains(name)))
    });
    let broken: Vec<Blocked> = led_to.filter_map(explain::workload::broken_destination).collect();
    for one in broken {
        if report.blocked.as_ref().is_none_or(|known| !known.cause.contains(&one.cause)) {
            report.notices.push(one);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn world(objects: &[Value]) -> World {
        let mut world = World::new("odigos-system");
        for object in objects {
            world.insert(object.clone()).unwrap();
        }
        world
    }

    fn deployment(language: &str) -> [Value; 2] {
        let stated = json!({"language": language, "runtimeVersion": if language == "java" { "17" } else { "" }});
        [
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "namespace": "shop"},
                "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}, "status": {"availableReplicas": 1},
            }),
            json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": "cart", "namespace": "shop"},
                "spec": {
                    "workload": {"name": "cart", "namespace": "shop", "kind": "Deployment"},
                    "containerOverrides": [{"containerName": "app", "runtimeInfo": stated}],
                },
            }),
        ]
    }

    fn destination(name: &str, url: &str) -> Value {
        json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": name, "namespace": "odigos-system"},
            "spec": {"type": "jaeger", "destinationName": name, "data": {"JAEGER_URL": url}, "signals": ["TRACES"]},
        })
    }

    fn screen(objects: &[Value]) -> (String, bool) {
        let configuration = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odigos-configuration", "namespace": "odigos-system"},
            "data": {"config.yaml": "agentsImage: registry/agents:1\n"},
        });
        let mut world = world(&[objects, &[configuration]].concat());
        let settled = world.settle(Timestamp::UNIX_EPOCH);
        let report = source(&world, "shop", "cart", &settled.findings).unwrap();
        (printed(&report), report.blocked.is_some())
    }

    /// Each finding stands on the screen and in JSON, and "nothing blocks it" beside none.
    #[test]
    fn every_finding_of_a_destination_is_a_note() {
        let mut one = destination("jaeger", "jaeger:4317");
        one["spec"]["metricsSettings"] = json!({"odigosOwnMetricsEnabled": true, "hostMetricsEnabled": true});
        let mut world = world(&[one]);
        let live = world.clone();
        let settled = world.settle(Timestamp::UNIX_EPOCH);
        let mut report = super::destination(&world, &live, "jaeger").unwrap();
        report.add_findings(&settled.findings, "Destination odigos-system/jaeger");
        report.add_findings(&settled.findings, "Destination odigos-system/jaeger");
        let causes = report.notices.iter().map(|one| one.cause.as_str());
        let causes: Vec<&str> = causes.filter(|one| !one.starts_with("no covered workload")).collect();
        assert_eq!(causes.len(), 2, "{causes:?}");
        assert!(causes[0].starts_with("spec.metricsSettings.hostMetricsEnabled: "), "{causes:?}");
        let out = printed(&report);
        assert!(out.contains("Note") && !out.contains(WELL) && report.blocked.is_none(), "{out}");
    }

    const WELL: &str = "Nothing blocks it.";

    fn rule(name: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "InstrumentationRule",
            "metadata": {"name": name, "namespace": "odigos-system"}, "spec": spec,
        })
    }

    #[test]
    fn destination_that_no_workload_reaches_is_not_well() {
        let of = |objects: &[Value]| {
            let mut world = world(objects);
            let live = world.clone();
            world.settle(Timestamp::UNIX_EPOCH);
            let report = super::destination(&world, &live, "jaeger").unwrap();
            (printed(&report), report.blocked.is_some())
        };
        let (out, is_blocked) = of(&[destination("jaeger", "jaeger:4317")]);
        assert!(out.contains("no covered workload is in its streams") && !out.contains(WELL) && !is_blocked, "{out}");
        let mut elsewhere = destination("jaeger", "jaeger:4317");
        elsewhere["spec"]["sourceSelector"] = json!({"dataStreams": ["payments"]});
        let (out, _) = of(&[&deployment("java")[..], &[elsewhere]].concat());
        assert!(out.contains("no covered workload is in its streams") && !out.contains(WELL), "{out}");
        let (out, _) = of(&[&deployment("java")[..], &[destination("jaeger", "jaeger:4317")]].concat());
        assert!(out.contains(WELL), "{out}");
    }

    #[test]
    fn value_of_a_secret_that_cannot_work_is_shown() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": "s", "namespace": "odigos-system", "labels": {"odigos.io/destination-secret": "true"},
                "annotations": {"odigos.io/destinations": "*"},
            },
            "stringData": {"LUMIGO_TOKEN": "hunter2hunter2\n"},
        });
        let mut one = destination("lumigo", "");
        one["spec"] = json!({
            "type": "lumigo", "destinationName": "l", "data": {"LUMIGO_ENDPOINT": "https://l"}, "signals": ["TRACES"],
            "secretRef": {"name": "s"},
        });
        let mut world = world(&[secret, one]);
        let live = world.clone();
        let settled = world.settle(Timestamp::UNIX_EPOCH);
        let mut report = super::destination(&world, &live, "lumigo").unwrap();
        report.add_findings(&settled.findings, "Destination odigos-system/lumigo");
        let out = printed(&report);
        assert!(out.contains("key LUMIGO_TOKEN of Secret s: it ends with a line break"), "{out}");
        assert!(report.blocked.is_some() && !out.contains("hunter2") && !out.contains(WELL), "{out}");
    }

    #[test]
    fn workload_of_which_nothing_is_taken_is_not_well() {
        let with = |rules: &[Value], signals: &[&str]| {
            let mut one = destination("jaeger", "otlp:4317");
            one["spec"]["type"] = json!("otlp");
            one["spec"]["data"] = json!({"OTLP_GRPC_ENDPOINT": "otlp:4317"});
            one["spec"]["signals"] = json!(signals);
            screen(&[&deployment("java")[..], &[one], rules].concat())
        };
        let off = rule("quiet", json!({"metricsConfig": {"disabled": true}}));
        let (out, is_blocked) = with(std::slice::from_ref(&off), &["METRICS"]);
        assert!(out.contains("nothing of Deployment shop/cart is taken") && !out.contains(WELL) && is_blocked, "{out}");
        assert!(!out.contains("off:metrics") && out.contains("metrics, by an InstrumentationRule"), "{out}");
        let (out, is_blocked) = with(&[off], &["TRACES", "METRICS"]);
        assert!(!out.contains("off:metrics") && out.contains("streams default →") && !is_blocked, "{out}");
        let (out, _) = with(&[], &["TRACES"]);
        assert!(out.contains(WELL), "{out}");
    }

    #[test]
    fn source_is_well_only_where_no_cause_is_printed() {
        let with = |language: &str, destinations: &[Value]| screen(&[&deployment(language)[..], destinations].concat());
        let (out, is_blocked) = with("java", &[destination("jaeger", "jaeger:4317")]);
        assert!(out.contains(WELL) && !is_blocked, "{out}");
        let (out, is_blocked) = with("cplusplus", &[destination("jaeger", "jaeger:4317")]);
        assert!(
            out.contains("NoAvailableAgent") && out.contains("Blocked") && !out.contains(WELL) && is_blocked,
            "{out}"
        );
        let (out, is_blocked) = with("java", &[]);
        assert!(out.contains("Blocked") && !out.contains(WELL) && is_blocked, "{out}");
        // One destination of two is broken, then both.
        let broken = destination("broken", "not a url at all::");
        let (out, is_blocked) = with("java", &[destination("jaeger", "jaeger:4317"), broken.clone()]);
        assert!(out.contains("Note") && out.contains("Destination broken") && !out.contains(WELL), "{out}");
        assert!(!is_blocked, "{out}");
        let (out, is_blocked) = with("java", &[broken]);
        assert!(out.contains("Blocked") && !out.contains(WELL) && is_blocked, "{out}");
        // What was not inspected is waited for.
        let mut objects = deployment("java");
        objects[1]["spec"].as_object_mut().unwrap().remove("containerOverrides");
        let (out, is_blocked) = screen(&[&objects[..], &[destination("jaeger", "jaeger:4317")]].concat());
        assert!(out.contains("WaitingForRuntimeInspection") && !out.contains(WELL) && !is_blocked, "{out}");
        // Another Source excludes it.
        let whole = json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"workload": {"name": "shop", "namespace": "shop", "kind": "Namespace"}},
        });
        let mut excluded = deployment("java");
        excluded[1]["metadata"]["name"] = json!("out");
        excluded[1]["spec"]["disableInstrumentation"] = json!(true);
        let (out, is_blocked) = screen(&[&excluded[..], &[whole, destination("jaeger", "jaeger:4317")]].concat());
        assert!(out.contains("WorkloadSourceDisabled") && !out.contains(WELL) && is_blocked, "{out}");
    }
}
