//! `odigos destinations`: what can be sent to, what each type needs, add one, try one.

use crate::output::{Format, Manifests};
use crate::{Failure, connection, credentials, live, output};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::destination::Destination;
use odigos_api::{API_VERSION, Signal, names};
use odigos_catalog::destination::{DestinationType, find, types};
use odigos_catalog::plain_credentials;
use odigos_catalog::render::{self, Instance, Secret};
use odigos_catalog::{ComponentType, Field};
use odigos_pipeline::yaml;
use odigos_plan::admission::destination::review;
use odigos_plan::configuration::Configuration;
use odigos_plan::gateway::destinations::{SECRET_FIELD, value_problems, value_remarks};
use odigos_plan::gateway::{SecretKeys, SecretValue};
use odigos_plan::spelling::nearest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

/// Arguments of `odigos destinations`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the types of backends that telemetry can be sent to.
    List {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Show the settings of a type, with an example.
    Show {
        /// The type, as `odigos destinations list` shows it.
        #[arg(value_name = "TYPE")]
        type_id: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Add a Destination: writes the object, and a Secret for its credentials. Asks on a terminal for what is missing.
    #[command(after_help = "\
Examples:
  odigos destinations add jaeger --set JAEGER_URL=jaeger.tracing:4317
  odigos destinations add honeycomb --set HONEYCOMB_API_KEY=- --stream checkout < key.txt
  odigos destinations add otlp --set OTLP_GRPC_ENDPOINT=collector:4317 --set-file OTLP_GRPC_CA_PEM=ca.pem
  odigos destinations add otlp --set OTLP_GRPC_ENDPOINT=collector:4317 --dry-run -o yaml

A value of - is all of standard input, so that a credential never stands in the history of a shell. A line break at the
end of standard input or of a file is no part of the value.")]
    Add(Add),
    /// Mark the Secrets that Destinations name, so that they may read them.
    MarkSecret {
        /// Names of Destinations. Default: all of them.
        #[arg(value_name = "DESTINATION")]
        names: Vec<String>,
        /// Namespace of the control plane.
        #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
        namespace: String,
        /// Print what would be marked, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Move the credentials among the settings of a Destination into its Secret.
    MoveSecret {
        /// Name of the Destination.
        #[arg(value_name = "DESTINATION")]
        name: String,
        /// Namespace of the control plane.
        #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
        namespace: String,
    },
    /// Send an empty request to the backend of a Destination from this machine, and say what came back.
    Test {
        /// Name of the Destination.
        name: String,
        /// Namespace of the control plane.
        #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
        namespace: String,
        /// Connect to addresses of private networks and of this machine too. The credentials of the Destination are sent there.
        #[arg(long)]
        allow_private: bool,
        /// Seconds to wait for an answer.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
        timeout: u64,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

#[derive(Args, Debug)]
struct Add {
    /// The type, as `odigos destinations list` shows it.
    #[arg(value_name = "TYPE")]
    type_id: String,
    /// Name of the object. Default: the type.
    #[arg(long)]
    name: Option<String>,
    /// A setting; repeat it for each.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// A setting whose value is the content of a file; repeat it for each.
    #[arg(long = "set-file", value_name = "KEY=PATH")]
    files: Vec<String>,
    /// A data stream that feeds it; repeat it for each. Default: the stream default.
    #[arg(long = "stream", value_name = "NAME")]
    streams: Vec<String>,
    /// Signals to send. Default: all that the type takes.
    #[arg(long, value_delimiter = ',', value_parser = ["traces", "metrics", "logs"])]
    signals: Vec<String>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Print the objects instead of writing them; credentials are left out.
    #[arg(long)]
    dry_run: bool,
    /// Format of what is printed.
    #[arg(short, long, value_enum, default_value_t = Manifests::Yaml)]
    output: Manifests,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::List { output } => list(*output),
        Command::Show { type_id, output } => show(known(type_id)?, *output),
        Command::Add(arguments) => add(arguments).await,
        Command::MarkSecret { names, namespace, dry_run } => mark(names, namespace, *dry_run).await,
        Command::MoveSecret { name, namespace } => {
            let client = live::client().await?;
            let (moved, secret) = credentials::move_into_secret(&client, namespace, name).await?;
            let text = match moved.as_slice() {
                [] => format!("destination {name} has no credentials among its settings\n"),
                moved => format!("{} moved into Secret {secret}\n", moved.join(", ")),
            };
            output::text(&text);
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { name, namespace, allow_private, timeout, output } => {
            let client = live::client().await?;
            let reach = if *allow_private { connection::Reach::Private } else { connection::Reach::Public };
            let outcome = connection::test(&client, namespace, name, *timeout, reach).await?;
            match output {
                Format::Json => output::text(&format!(
                    "{}\n",
                    json!({"destination": name, "succeeded": outcome.succeeded, "message": outcome.message})
                )),
                Format::Table => {
                    let word = if outcome.succeeded { "ok" } else { "failed" };
                    output::text(&format!("{name}: {word}: {}\n", outcome.message));
                }
            }
            Ok(if outcome.succeeded { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

async fn mark(names: &[String], namespace: &str, dry_run: bool) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    let destinations = credentials::read(&client, namespace, names).await?;
    let markings = credentials::markings(&client, namespace, &destinations).await?;
    for marking in &markings {
        if !dry_run {
            credentials::apply(&client, namespace, marking).await?;
        }
        let readers: Vec<&str> = marking.destinations.iter().map(String::as_str).collect();
        let word = if dry_run { "would be marked" } else { "marked" };
        output::text(&format!("Secret {}: {word} for {}\n", marking.secret, readers.join(", ")));
    }
    if markings.is_empty() {
        output::text("nothing to mark\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn known(type_id: &str) -> anyhow::Result<&'static DestinationType> {
    if let Some(found) = find(type_id) {
        return Ok(found);
    }
    let ids = || types().keys().map(String::as_str);
    let near: Vec<&str> = match nearest(type_id, ids()) {
        Some(near) => vec![near],
        None => ids().filter(|id| id.contains(type_id) || type_id.contains(*id)).collect(),
    };
    let hint = if near.is_empty() {
        "`odigos destinations list` shows all".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    bail!("unknown destination type {type_id:?}; {hint}")
}

fn signals(definition: &DestinationType) -> Vec<&'static str> {
    definition.signals.iter().map(|signal| signal.as_pipeline()).collect()
}

fn list(format: Format) -> Result<ExitCode, Failure> {
    if format == Format::Json {
        let all: Vec<Value> = types().values().map(describe).collect();
        output::text(&format!("{}\n", serde_json::to_string_pretty(&all)?));
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["TYPE", "NAME", "CATEGORY", "SIGNALS"].map(str::to_owned).to_vec()];
    for (id, one) in types() {
        rows.push(vec![id.clone(), one.display_name.clone(), one.category.clone(), signals(one).join(",")]);
    }
    output::text(&output::aligned(&rows, &[]));
    Ok(ExitCode::SUCCESS)
}

fn describe(one: &DestinationType) -> Value {
    let fields: Vec<Value> = one
        .fields
        .iter()
        .map(|field| {
            json!({
                "name": field.name, "displayName": field.display_name, "required": field.is_required(), "secret": field.secret,
                "initialValue": field.initial_value, "values": field.component_props.get("values"),
            })
        })
        .collect();
    json!({
        "type": one.id, "displayName": one.display_name, "category": one.category, "signals": signals(one),
        "testConnectionSupported": one.test_connection_supported,
        "computesSpanMetrics": one.computes_span_metrics.is_some(), "fields": fields,
    })
}

fn show(one: &DestinationType, format: Format) -> Result<ExitCode, Failure> {
    if format == Format::Json {
        output::text(&format!("{}\n", serde_json::to_string_pretty(&describe(one))?));
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{} ({}, {}): {}\n\n", one.display_name, one.id, one.category, signals(one).join(", "));
    if !one.fields.is_empty() {
        let mut rows = vec![["SETTING", "WHAT", "NEEDED", "STARTS AS", "VALUES"].map(str::to_owned).to_vec()];
        for field in &one.fields {
            let values = field.component_props.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
            let mut values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let more = values.len().saturating_sub(6);
            values.truncate(6);
            let more = if more > 0 { format!(" … {more} more") } else { String::new() };
            rows.push(vec![
                format!("{}{}", field.name, if field.secret { " (secret)" } else { "" }),
                field.display_name.clone(),
                if field.is_required() { "yes" } else { "" }.to_owned(),
                field.initial_value.clone().unwrap_or_default(),
                format!("{}{more}", values.join(" ")),
            ]);
        }
        text.push_str(&output::aligned(&rows, &[]));
        text.push('\n');
    }
    text.push_str(&odigos_catalog::example::manifest(one));
    output::text(&text);
    Ok(ExitCode::SUCCESS)
}

// ---- add

/// Refuses values that cannot work where the type uses them, and prints what is said of the others.
fn judge_values(destination: &Destination, values: &SecretKeys, secret: &str) -> Result<(), Failure> {
    let spec = &destination.spec;
    let signals: BTreeSet<Signal> = spec.signals.iter().copied().collect();
    let keys: BTreeSet<String> = values.keys().cloned().collect();
    let id = destination.metadata.name.as_deref().unwrap_or_default();
    let given = Secret::Keys { name: secret, keys: &keys };
    let instance = Instance { id, type_id: &spec.type_, data: &spec.data, signals: &signals, secret: given };
    // What keeps it from being rendered is reported by the review.
    let Ok(rendered) = render::render(&instance) else { return Ok(()) };
    if let Some((_, problem)) = value_problems(&rendered, Some(values), secret).into_iter().next() {
        return Err(Failure::Input(anyhow::anyhow!("{problem}")));
    }
    let unused = rendered.warnings.iter().filter(|one| one.field == SECRET_FIELD).map(|one| one.message.clone());
    let remarks = value_remarks(&rendered, Some(values), secret).into_iter().map(|(_, remark)| remark);
    unused.chain(remarks).for_each(|remark| output::error(&format!("warning: {remark}")));
    Ok(())
}

async fn add(arguments: &Add) -> Result<ExitCode, Failure> {
    let definition = known(&arguments.type_id)?;
    let name = arguments.name.clone().unwrap_or_else(|| definition.id.clone());
    if let Some(problem) = name_problem(&name) {
        return Err(Failure::Input(anyhow::anyhow!("--name: {problem}")));
    }
    let mut values = stated(definition, arguments)?;
    if std::io::stdin().is_terminal() && !arguments.dry_run {
        ask(definition, &mut values)?;
    }
    let (mut data, mut credentials) = (BTreeMap::new(), BTreeMap::new());
    let mut values_known = SecretKeys::new();
    for (key, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
        let field = definition.field(&key);
        if field.is_some_and(|field| field.secret) {
            let known = SecretValue::of(value.as_bytes());
            if let Some(obstacle) = known.obstacle() {
                return Err(Failure::Input(anyhow::anyhow!("{key}: {obstacle}")));
            }
            values_known.insert(key.clone(), known);
            credentials.insert(key, value)
        } else {
            data.insert(key, value)
        };
    }
    // A header with a token refers to the Secret, as admission wants it.
    let (settings, of_headers) = plain_credentials::move_headers(definition, &data);
    data.extend(settings);
    values_known.extend(of_headers.iter().map(|(key, value)| (key.clone(), SecretValue::of(value.as_bytes()))));
    credentials.extend(of_headers);
    let chosen: Vec<String> = match arguments.signals.as_slice() {
        [] => signals(definition).into_iter().filter(|one| *one != "profiles").map(str::to_uppercase).collect(),
        stated => stated.iter().map(|one| one.to_uppercase()).collect(),
    };
    let mut spec = json!({
        "type": definition.id, "destinationName": definition.display_name, "data": data, "signals": chosen,
    });
    if !arguments.streams.is_empty() {
        spec["sourceSelector"] = json!({"dataStreams": arguments.streams});
    }
    let secret_name = format!("{name}{CREDENTIALS}");
    if !credentials.is_empty() {
        spec["secretRef"] = json!({"name": secret_name});
    }
    let destination = json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": arguments.namespace}, "spec": spec,
    });
    let typed: Destination = serde_json::from_value(destination.clone())?;
    judge_values(&typed, &values_known, &secret_name)?;
    let reviewed = review(&typed, None, &Configuration::default(), &arguments.namespace);
    if let Some(refusal) = reviewed.refusals.first() {
        return Err(Failure::Input(anyhow::anyhow!("{}: {}", refusal.field, refusal.message)));
    }
    reviewed.warnings.iter().for_each(|warning| output::error(&format!("warning: {warning}")));
    let secret = |shown: bool| {
        let words =
            credentials.iter().map(|(key, value)| (key.clone(), if shown { value.clone() } else { "…".to_owned() }));
        let words: BTreeMap<String, String> = words.collect();
        let mut metadata = credentials::mark([name.as_str()]);
        metadata["name"] = json!(secret_name);
        metadata["namespace"] = json!(arguments.namespace);
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": words})
    };
    if arguments.dry_run {
        let mut objects = vec![destination];
        if !credentials.is_empty() {
            objects.insert(0, secret(false));
        }
        output::text(&match arguments.output {
            Manifests::Yaml => {
                objects.iter().map(|object| format!("---\n{}", yaml::to_string(object))).collect::<String>()
            }
            Manifests::Json => format!("{}\n", serde_json::to_string_pretty(&objects)?),
        });
        return Ok(ExitCode::SUCCESS);
    }
    write(arguments, &destination, (!credentials.is_empty()).then(|| secret(true))).await?;
    output::text(&format!(
        "destination {name} is written; `odigos describe destination {name}` says where it stands\n"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the Secret first, so that the Destination never waits for it; then the Secret belongs to the Destination.
async fn write(arguments: &Add, destination: &Value, secret: Option<Value>) -> anyhow::Result<()> {
    let client = live::client().await?;
    let parameters = PatchParams::apply(crate::lifecycle::MANAGER);
    let resource =
        |group: &str, version: &str, kind: &str| ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let secrets: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &arguments.namespace, &resource("", "v1", "Secret"));
    let destinations: Api<DynamicObject> = Api::namespaced_with(
        client,
        &arguments.namespace,
        &resource(odigos_api::GROUP, odigos_api::VERSION, "Destination"),
    );
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(secret) = &secret {
        secrets
            .patch(&name(secret), &parameters, &Patch::Apply(secret))
            .await
            .context("the Secret cannot be written")?;
    }
    let written = destinations
        .patch(&name(destination), &parameters, &Patch::Apply(destination))
        .await
        .context("the Destination cannot be written; another tool may own its fields")?;
    if let (Some(mut secret), Some(uid)) = (secret, written.metadata.uid) {
        secret["metadata"]["ownerReferences"] =
            json!([{"apiVersion": API_VERSION, "kind": "Destination", "name": name(destination), "uid": uid}]);
        secrets
            .patch(&name(&secret), &parameters, &Patch::Apply(&secret))
            .await
            .context("the Secret cannot be written")?;
    }
    Ok(())
}

/// End of the name of a Destination's Secret.
const CREDENTIALS: &str = credentials::SUFFIX;
/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// Why an object cannot have that name, or its Secret the name that follows from it.
fn name_problem(name: &str) -> Option<String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_inner) && label.ends_with(is_inner) && label.chars().all(|c| is_inner(c) || c == '-')
    };
    if !name.split('.').all(is_label) {
        let lower = name.to_ascii_lowercase();
        let hint =
            if lower != name && lower.split('.').all(is_label) { format!("; use {lower}") } else { String::new() };
        return Some(format!(
            "{name:?} is not a name of an object: lower case letters, digits, - and . that begin and end with a letter or digit{hint}"
        ));
    }
    let most = LONGEST_NAME - CREDENTIALS.len();
    (name.len() > most).then(|| format!("it has {} characters; with its Secret {most} are possible", name.len()))
}

/// The settings of the command line; unknown ones are refused, since they would be without effect.
fn stated(definition: &DestinationType, arguments: &Add) -> anyhow::Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut from_input: Option<&str> = None;
    let settings = arguments.settings.iter().map(|setting| (setting, false));
    for (setting, is_file) in settings.chain(arguments.files.iter().map(|setting| (setting, true))) {
        let form = if is_file { "KEY=PATH" } else { "KEY=VALUE" };
        let (key, value) = setting.split_once('=').with_context(|| format!("{setting:?} is not {form}"))?;
        if definition.field(key).is_none() {
            let names = || definition.fields.iter().map(|field| field.name.as_str());
            match nearest(key, names()) {
                Some(near) => bail!("{} has no setting {key}; did you mean {near}?", definition.id),
                None => {
                    bail!("{} has no setting {key}; it has {}", definition.id, names().collect::<Vec<_>>().join(", "))
                }
            }
        }
        let value = if is_file {
            let text = std::fs::read(value).with_context(|| format!("{key}: failed to read {value}"))?;
            without_last_break(String::from_utf8(text).with_context(|| format!("{key}: {value} is not UTF-8 text"))?)
        } else if value == "-" {
            if let Some(other) = from_input.replace(key) {
                bail!("{other} and {key} cannot both be read from standard input; use --set-file {key}=PATH");
            }
            without_last_break(from_standard_input(key)?)
        } else {
            value.to_owned()
        };
        if values.insert(key.to_owned(), value).is_some() {
            bail!("{key} is set twice");
        }
    }
    Ok(values)
}

/// All of standard input; on a terminal, where questions follow, one line.
fn from_standard_input(key: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock();
    let read = if input.is_terminal() { input.read_line(&mut text) } else { input.read_to_string(&mut text) };
    read.with_context(|| format!("{key}: failed to read standard input as UTF-8 text"))?;
    Ok(text)
}

/// The text without one line break at its end, which editors and `echo` write.
fn without_last_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Asks for required settings that were not stated.
fn ask(definition: &DestinationType, values: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for field in definition.fields.iter().filter(|field| field.is_required()) {
        if values.contains_key(&field.name) {
            continue;
        }
        let answer = if field.secret {
            rpassword::prompt_password(prompt(field)).context("nothing was entered")?
        } else {
            output::ask(&prompt(field));
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        };
        let answer = answer.trim();
        let value = if answer.is_empty() { field.initial_value.clone().unwrap_or_default() } else { answer.to_owned() };
        values.insert(field.name.clone(), value);
    }
    Ok(())
}

fn prompt(field: &Field) -> String {
    let start = field.initial_value.as_deref().map(|value| format!(" [{value}]")).unwrap_or_default();
    let shape = match field.component_type {
        ComponentType::MultiInput => " (JSON list)",
        ComponentType::KeyValuePairs => " (JSON list of {key, value})",
        ComponentType::Checkbox => " (true or false)",
        _ => "",
    };
    format!("{}{shape}{start}: ", field.display_name)
}
