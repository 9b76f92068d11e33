//! `odigos actions`: what Actions do, in words and on recorded items, before they are applied.
//!
//! Owns arguments, files and printing. Order, sentences and results are `plan`'s (`actions::explain`, `actions::simulate`).

use crate::output::View;
use crate::{Failure, input, live, output};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kube::Client;
use odigos_api::action::Action;
use odigos_api::destination::Destination;
use odigos_api::labels::DEFAULT_STREAM;
use odigos_api::{CollectorRole, Finding, names};
use odigos_pipeline::yaml;
use odigos_plan::actions::explain::InForce;
use odigos_plan::actions::item::Item;
use odigos_plan::actions::running::{Running, running};
use odigos_plan::actions::simulate::{Outcome, through};
use odigos_plan::actions::{explain, failure, legacy, otlp_json, report};
use odigos_plan::streams::{self, Selection};
use odigos_plan::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `odigos actions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos actions list
  odigos actions explain -f actions.yaml
  odigos actions try -f actions.yaml --items spans.json
  odigos actions convert -f legacy.yaml | kubectl apply -f -

Exit codes: 0 fine, 1 an Action cannot be carried out whole, 2 failed to read the input or the cluster.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List Actions: kind, signals, data streams, where they run, and whether they are in force.
    List(Given),
    /// Say in sentences what Actions do, in the order in which they run, for each data stream.
    Explain(Explain),
    /// Show recorded items before and after Actions, for each data stream and destination. No cluster.
    #[command(after_help = "\
Record items with the collector's file exporter (OTLP JSON, one object a line) or a Destination of type file, then:
  odigos actions try -f actions.yaml --items spans.json
  odigos actions try -f actions.yaml -f destinations.yaml --items - < spans.json
  odigos actions try -f actions.yaml --items spans.json --stream audit -o json | jq .after

With -o json there is one object for each item and stream:
  {\"item\",\"stream\",\"destinations\",\"changedBy\",\"dropped\",\"before\",\"after\",\"alike\"}
A destination gets an item once from streams that are alike for it, and once from each other one.
Every item is tried in every stream that Actions, Destinations or DataStreams name. Processors, k8sAttributes and sampling are not applied.")]
    Try(Try),
    /// Translate Actions of older releases (actions.odigos.io/v1alpha1) into Actions of today: those of manifests, or of the cluster.
    #[command(after_help = "\
Nothing is written: apply what is printed, look at it with odigos actions explain, and delete the older objects.
  odigos actions convert | kubectl apply -f -
  odigos actions convert -f legacy.yaml > actions.yaml

An Action is named migrated-legacy-NAME. The older objects have no effect, so that both can be there.")]
    Convert(Convert),
}

#[derive(Args, Debug)]
struct Given {
    /// Look at manifests instead of the current cluster: files, directories, or - for standard input.
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = View::Table)]
    output: View,
}

#[derive(Args, Debug)]
struct Explain {
    #[command(flatten)]
    given: Given,
    /// This data stream alone.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
}

#[derive(Args, Debug)]
struct Try {
    /// Manifests of Actions, and of Destinations to be told which of them get what: files, directories, or - for standard input.
    #[arg(short, long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Recorded items: OTLP JSON, one object a line, pretty-printed or in an array; - for standard input.
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// This data stream alone.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = View::Table)]
    output: View,
}

#[derive(Args, Debug)]
struct Convert {
    /// Manifests of older Actions instead of the current cluster: files, directories, or - for standard input.
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Namespace of the control plane, and of manifests that name none.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::List(given) => list(given).await,
        Command::Explain(arguments) => explain_actions(arguments).await,
        Command::Try(arguments) => try_out(arguments),
        Command::Convert(arguments) => convert(arguments).await,
    }
}

fn code(failed: bool) -> ExitCode {
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

impl Given {
    /// The manifests as a world, or what the cluster holds of Actions, Destinations and DataStreams.
    async fn world(&self) -> anyhow::Result<(World, Vec<Finding>)> {
        if !self.filename.is_empty() {
            return input::world(&self.filename, &self.namespace);
        }
        let client = live::client().await?;
        let (mut world, mut findings) = (World::new(&self.namespace), Vec::new());
        for (kind, plural) in [
            ("Action", "actions"),
            ("Destination", "destinations"),
            ("DataStream", "datastreams"),
            ("CollectorsGroup", "collectorsgroups"),
        ] {
            for object in live::list(&client, odigos_api::API_VERSION, kind, plural, Some(&self.namespace)).await? {
                findings.extend(world.insert(object).err());
            }
        }
        for object in older(&client, &self.namespace).await? {
            let [kind, name] = ["/kind", "/metadata/name"].map(|at| object.pointer(at).and_then(Value::as_str));
            let title = format!("{} {}/{}", kind.unwrap_or_default(), self.namespace, name.unwrap_or_default());
            findings
                .extend(legacy::conversion::remark(&object).map(|said| Finding::warning(title, "apiVersion", said)));
        }
        Ok((world, findings))
    }
}

/// Actions of the control plane's namespace.
fn actions(world: &World) -> Vec<&Action> {
    world.actions.iter().filter(|((namespace, _), _)| *namespace == world.namespace).map(|(_, one)| one).collect()
}

fn destinations(world: &World) -> Vec<&Destination> {
    world.destinations.iter().filter(|((namespace, _), _)| *namespace == world.namespace).map(|(_, one)| one).collect()
}

/// What is wrong with Actions; those elsewhere count for nothing.
fn findings(world: &World) -> Vec<Finding> {
    let mut all: Vec<Finding> = actions(world).into_iter().flat_map(report::findings).collect();
    all.extend(world.misplaced().into_iter().filter(|one| one.object.starts_with("Action ")));
    all
}

/// Every stream that Actions, Destinations or DataStreams name, and the default one.
fn named_streams(world: &World) -> BTreeSet<String> {
    let of_actions = actions(world).into_iter().flat_map(|one| one.spec.data_streams.clone().unwrap_or_default());
    let of_destinations = destinations(world).into_iter().flat_map(|one| match Selection::of(&one.spec) {
        Selection::Streams(streams) => streams.into_iter().collect::<Vec<_>>(),
        Selection::Every => Vec::new(),
    });
    let objects = world.data_streams.keys().map(|(_, name)| name.clone());
    let all = of_actions.chain(of_destinations).chain(objects).chain([DEFAULT_STREAM.to_owned()]);
    all.filter(|stream| !streams::is_virtual(stream)).collect()
}

fn name(action: &Action) -> &str {
    action.metadata.name.as_deref().unwrap_or_default()
}

fn state(action: &Action) -> String {
    if action.spec.disabled == Some(true) {
        return "disabled".to_owned();
    }
    let conditions = action.status.iter().flat_map(|status| &status.conditions);
    let refused = conditions.clone().find(|one| one.status == "False");
    if let Some(condition) = refused {
        return condition.reason.clone();
    }
    if conditions.clone().any(|one| one.type_ == "AddedToCollectorConfig" && one.status == "True") {
        return "in force".to_owned();
    }
    let state = match InForce::of(action) {
        InForce::Whole => "not applied yet",
        InForce::Drops => "ItemsDropped",
        InForce::Part | InForce::Nothing | InForce::Disabled => "InvalidAction",
    };
    state.to_owned()
}

fn place(action: &Action, measures_spans: bool) -> (&'static str, i32) {
    let place = explain::place(action, measures_spans);
    let role = match place.role {
        CollectorRole::ClusterGateway => "gateway",
        CollectorRole::NodeCollector => "node",
    };
    (role, place.hint)
}

fn streams_of(action: &Action) -> String {
    let named = action.spec.data_streams.as_deref().unwrap_or_default();
    if named.is_empty() { "all".to_owned() } else { named.join(",") }
}

async fn list(given: &Given) -> Result<ExitCode, Failure> {
    let (world, mut found) = given.world().await?;
    found.extend(findings(&world));
    let failed = output::findings(&found);
    let all = actions(&world);
    let measures_spans = world.measures_spans();
    if given.output == View::Table {
        let head = ["NAME", "KIND", "SIGNALS", "STREAMS", "RUNS IN", "ORDER", "ON FAILURE", "STATE"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(all.iter().map(|action| {
            let (role, hint) = place(action, measures_spans);
            let signals: Vec<&str> = action.spec.signals.iter().map(|signal| signal.as_str()).collect();
            vec![
                name(action).to_owned(),
                explain::kind(&action.spec),
                signals.join(","),
                streams_of(action),
                role.to_owned(),
                hint.to_string(),
                failure::word(&action.spec).to_owned(),
                state(action),
            ]
        }));
        match all.is_empty() {
            true => output::text(&format!("no Actions in {}\n", world.namespace)),
            false => output::text(&output::aligned(&rows, &[5])),
        }
        return Ok(code(failed));
    }
    let all: Vec<Value> = all.iter().map(|action| described(action, measures_spans)).collect();
    output::value(&json!(all), given.output)?;
    Ok(code(failed))
}

fn described(action: &Action, measures_spans: bool) -> Value {
    let (role, hint) = place(action, measures_spans);
    json!({
        "name": name(action), "kind": explain::kind(&action.spec), "signals": action.spec.signals,
        "dataStreams": action.spec.data_streams.clone().unwrap_or_default(), "runsIn": role, "order": hint,
        "failurePolicy": failure::word(&action.spec), "state": state(action), "does": explain::sentence(&action.spec),
    })
}

/// The streams to tell of: the one that is named, or all.
fn chosen(world: &World, stream: Option<&str>) -> BTreeSet<String> {
    stream.map_or_else(|| named_streams(world), |stream| [stream.to_owned()].into())
}

async fn explain_actions(arguments: &Explain) -> Result<ExitCode, Failure> {
    let (world, mut found) = arguments.given.world().await?;
    found.extend(findings(&world));
    let failed = output::findings(&found);
    let measures_spans = world.measures_spans();
    let sets: Vec<(String, Vec<&Action>)> = chosen(&world, arguments.stream.as_deref())
        .into_iter()
        .map(|stream| (stream.clone(), explain::in_order(actions(&world), &stream, measures_spans)))
        .collect();
    if arguments.given.output != View::Table {
        let all: Vec<Value> = sets
            .iter()
            .map(|(stream, actions)| json!({"stream": stream, "actions": actions.iter().map(|one| described(one, measures_spans)).collect::<Vec<_>>()}))
            .collect();
        output::value(&json!(all), arguments.given.output)?;
        return Ok(code(failed));
    }
    let mut text = String::new();
    for (stream, actions) in sets {
        text.push_str(&format!("Data stream {stream}\n"));
        if actions.is_empty() {
            text.push_str("  no Action changes it\n");
        }
        for (position, action) in actions.iter().enumerate() {
            let (role, hint) = place(action, measures_spans);
            let signals: Vec<String> = action.spec.signals.iter().map(|one| one.as_str().to_lowercase()).collect();
            let off = InForce::of(action).mark();
            let own = if streams_of(action) == "all" { "of all streams" } else { "of this stream" };
            text.push_str(&format!(
                "  {}. {}{off} {} [{}; {own}; {role}, order {hint}; on failure: {}]\n",
                position + 1,
                name(action),
                explain::sentence(&action.spec),
                signals.join(", "),
                failure::word(&action.spec),
            ));
        }
    }
    output::text(&text);
    Ok(code(failed))
}

/// The items of a recording: objects of any layout, one after another or in arrays.
fn recorded(path: &Path) -> anyhow::Result<Vec<Item>> {
    let (shown, mut bytes) = (path.display(), Vec::new());
    match path == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?,
        false => {
            bytes = std::fs::read(path).with_context(|| format!("failed to read {shown}"))?;
            bytes.len()
        }
    };
    let mut items = Vec::new();
    for (number, document) in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().enumerate() {
        let document = document.with_context(|| format!("object {} of {shown} is no JSON", number + 1))?;
        let all = match document {
            Value::Array(all) => all,
            one => vec![one],
        };
        for one in all {
            let read =
                otlp_json::items(&one).map_err(|error| anyhow::anyhow!("object {} of {shown}: {error}", number + 1));
            items.extend(read?);
        }
    }
    if items.is_empty() {
        bail!(
            "{shown} holds no items: record them with the collector's file exporter (format json) or a Destination of type file"
        );
    }
    Ok(items)
}

fn try_out(arguments: &Try) -> Result<ExitCode, Failure> {
    let (world, mut found) = input::world(&arguments.filename, &arguments.namespace)?;
    found.extend(findings(&world));
    let left_out = world.processors.keys().map(|(namespace, name)| {
        let message = "it is not applied here: odigos actions try knows Actions alone";
        Finding::info(format!("Processor {namespace}/{name}"), "", message)
    });
    found.extend(left_out);
    let running = running(actions(&world), world.measures_spans());
    let unknown = running.iter().filter(|one| !one.is_known()).flat_map(Running::names).map(|name| {
        let message = "it is not applied here: what Kubernetes knows of pods is not known to odigos actions try";
        Finding::info(format!("Action {}/{name}", world.namespace), "spec.k8sAttributes", message)
    });
    found.extend(unknown);
    let failed = output::findings(&found);
    let items = recorded(&arguments.items)?;
    let streams = chosen(&world, arguments.stream.as_deref());
    let taking = destinations(&world);
    let mut all = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let outcomes: Vec<Outcome> =
            streams.iter().map(|stream| through(&running, taking.iter().copied(), stream, item)).collect();
        if arguments.output == View::Table {
            output::text(&tried(number + 1, item, &outcomes));
            continue;
        }
        all.extend(outcomes.iter().map(|one| {
            let is_alike = |other: &&Outcome| other.stream != one.stream && other.treatment == one.treatment;
            let alike: Vec<&str> = outcomes.iter().filter(is_alike).map(|other| other.stream.as_str()).collect();
            json!({
                "alike": alike,
                "item": number + 1, "stream": one.stream, "destinations": one.destinations, "changedBy": one.by,
                "dropped": one.item.is_none(), "before": otlp_json::short(item),
                "after": one.item.as_ref().map(otlp_json::short),
            })
        }));
    }
    if arguments.output != View::Table {
        output::value(&json!(all), arguments.output)?;
    }
    Ok(code(failed))
}

/// One item for people: what it is, and what becomes of it in each stream.
fn tried(number: usize, item: &Item, outcomes: &[Outcome]) -> String {
    let before = otlp_json::short(item);
    let mut text = format!("Item {number}: {}\n  before: {before}\n", item.signal().as_str());
    for one in outcomes {
        let to = match one.destinations.as_slice() {
            [] => String::new(),
            all => format!(" → {}", all.join(", ")),
        };
        let by = one.by.join(", ");
        match &one.item {
            None => text.push_str(&format!("  stream {}: dropped by {by}, no destination gets it\n", one.stream)),
            Some(after) if after == item => text.push_str(&format!("  stream {}{to}: as it is\n", one.stream)),
            Some(after) => text.push_str(&format!(
                "  stream {}{to}: changed by {by}\n    after: {}\n",
                one.stream,
                otlp_json::short(after)
            )),
        }
    }
    // A workload in several streams of one destination: that gets each version.
    let shared: BTreeSet<&String> = outcomes.iter().flat_map(|one| &one.destinations).collect();
    for destination in shared {
        let got: Vec<&Outcome> =
            outcomes.iter().filter(|one| one.item.is_some() && one.destinations.contains(destination)).collect();
        let names: Vec<&str> = got.iter().map(|one| one.stream.as_str()).collect();
        let names = names.join(" and ");
        let differs =
            |by: &dyn Fn(&Outcome, &Outcome) -> bool| got.windows(2).any(|pair| matches!(pair, [a, b] if by(a, b)));
        if differs(&|a, b| a.item != b.item) {
            text.push_str(&format!(
                "  {destination} gets several versions of it from a workload in the streams {names}\n"
            ));
        } else if differs(&|a, b| a.treatment != b.treatment) {
            text.push_str(&format!(
                "  {destination} gets it several times, with the same content, from a workload in the streams {names}: their Actions differ, also where they do not change it\n"
            ));
        }
    }
    text
}

/// Objects of the older kinds in the control plane's namespace; a cluster may not serve them.
async fn older(client: &Client, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for (kind, plural) in legacy::PLURALS {
        all.extend(live::list(client, legacy::GROUP, kind, plural, Some(namespace)).await?);
    }
    Ok(all)
}

async fn convert(arguments: &Convert) -> Result<ExitCode, Failure> {
    let mut world = World::new(&arguments.namespace);
    let (others, mut found) = match arguments.filename.is_empty() {
        true => (older(&live::client().await?, &arguments.namespace).await?, Vec::new()),
        false => input::load_with(&mut world, &arguments.filename, legacy::is_of_group)?,
    };
    let mut text = String::new();
    let (actions, said) = legacy::translate_all(&others, &arguments.namespace);
    found.extend(said);
    for action in actions {
        text.push_str(&format!("---\n{}", yaml::to_string(&serde_json::to_value(&action)?)));
    }
    let failed = output::findings(&found);
    output::text(&text);
    Ok(code(failed))
}
