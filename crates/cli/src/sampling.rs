//! `odigos sampling`: rules in plain words, tried on recorded traces before they are switched on.

use crate::output::Format;
use crate::recording::{self, Position};
use crate::{Failure, input, output};
use clap::{Args, Subcommand};
use odigos_api::data_stream::SamplingView;
use odigos_api::sampling::Sampling;
use odigos_api::{Finding, names};
use odigos_pipeline::yaml;
use odigos_plan::actions::report;
use odigos_plan::objects::title;
use odigos_plan::sampling::simulate::{RuleCounts, Simulation, Totals};
use odigos_plan::sampling::{Accepted, Rule, accept_with, explain, legacy};
use odigos_plan::streams::object_name;
use odigos_plan::world::{BeforeSampling, World};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `odigos sampling`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Decide about recorded traces as the gateway would, and count what each rule does.
    #[command(after_help = "\
Record traces with the collector's file exporter (OTLP JSON, one TracesData a line) or a Destination of type file, then:
  odigos sampling simulate -f rules.yaml --traces traces.json
  odigos sampling simulate -f rules.yaml --traces traces.json -o json | jq 'select(.keep | not)'

With -o json there is one line for each trace:
  {\"traceId\",\"keep\",\"category\",\"rule\",\"percentage\"}   category: noisy, highlyRelevant, costReduction or none")]
    Simulate(Simulate),
    /// Say in plain sentences what the rules do, which can never decide, and where two contradict.
    Explain(Explain),
    /// Check rules; findings go to standard error, exit code 1 when one of them is an error.
    Validate(Validate),
    /// Translate samplers of older releases into Sampling objects.
    Convert(Validate),
}

#[derive(Args, Debug)]
struct Simulate {
    #[command(flatten)]
    rules: RuleFiles,
    /// Recorded traces: OTLP JSON, one TracesData a line, pretty-printed or in an array, also compressed with gzip.
    #[arg(long, value_name = "FILE")]
    traces: PathBuf,
    /// Rules of this data stream: its own and those of all streams. Default: those of all streams.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Args, Debug)]
struct Explain {
    #[command(flatten)]
    rules: RuleFiles,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Args, Debug)]
struct Validate {
    #[command(flatten)]
    rules: RuleFiles,
}

#[derive(Args, Debug)]
struct RuleFiles {
    /// Manifests of rules (Sampling, DataStream, the ConfigMap odigos-configuration for built-in rules, Actions and Processors that
    /// change what rules see): files, directories, or - for standard input.
    #[arg(short, long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
}

/// Rules and views as read, with everything that there is to say about them.
struct Read {
    accepted: Accepted,
    world: World,
    converted: Vec<Sampling>,
    findings: Vec<Finding>,
}

impl RuleFiles {
    fn read(&self) -> anyhow::Result<Read> {
        let mut world = World::new(&self.namespace);
        let (others, mut findings) = input::load_with(&mut world, &self.filename, |object| {
            object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("Sampler"))
                || object.pointer("/spec/samplers").is_some()
        })?;
        let mut converted = Vec::new();
        for object in &others {
            if let Some((sampling, said)) = legacy::translate(object) {
                findings.extend(said);
                // An object of which nothing could be translated would only look like rules.
                if !holds_rules(&sampling) {
                    let message = "no rule follows from it, so no Sampling is made of it";
                    findings.push(Finding::warning(title(object), "spec", message));
                    continue;
                }
                let mut sampling = sampling;
                sampling.metadata.namespace.get_or_insert_with(|| self.namespace.clone());
                converted.push(sampling);
            }
        }
        let own = world.samplings.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        findings.extend(world.misplaced());
        let own_actions = world.actions.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        findings.extend(own_actions.flat_map(|(_, action)| report::findings(action)));
        let configuration = world.stated_configuration(&mut findings);
        let accepted = accept_with(configuration.built_in_sampling(), own.map(|(_, object)| object).chain(&converted));
        findings.extend(accepted.findings.iter().cloned());
        findings.sort();
        findings.dedup();
        Ok(Read { accepted, world, converted, findings })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Simulate(arguments) => simulate(arguments),
        Command::Explain(arguments) => explain_rules(arguments),
        Command::Validate(arguments) => {
            let mut read = arguments.rules.read()?;
            read.accepted.remark_vain();
            read.findings.append(&mut read.accepted.findings);
            read.findings.sort();
            read.findings.dedup();
            let failed = output::findings(&read.findings);
            let rules = read.accepted.rules.len();
            let enabled = read.accepted.enabled().count();
            output::text(&format!(
                "{rules} usable rules, {enabled} enabled, in {} objects\n",
                read.accepted.objects.len()
            ));
            Ok(code(failed))
        }
        Command::Convert(arguments) => {
            let read = arguments.rules.read()?;
            let failed = output::findings(&read.findings);
            let texts = read
                .converted
                .iter()
                .map(|one| serde_json::to_value(one).map(|one| format!("---\n{}", yaml::to_string(&one))));
            output::text(&texts.collect::<Result<String, _>>()?);
            Ok(code(failed))
        }
    }
}

fn holds_rules(sampling: &Sampling) -> bool {
    let spec = &sampling.spec;
    !(spec.noisy_operations.is_empty()
        && spec.highly_relevant_operations.is_empty()
        && spec.cost_reduction_rules.is_empty())
}

fn code(failed: bool) -> ExitCode {
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

// ---- simulate

/// The decision about one trace, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    trace_id: String,
    keep: bool,
    category: &'static str,
    rule: Option<String>,
    percentage: f64,
}

fn simulate(arguments: &Simulate) -> Result<ExitCode, Failure> {
    let read = arguments.rules.read()?;
    let failed = output::findings(&read.findings);
    let rules = of_stream(&read.accepted, arguments.stream.as_deref());
    let mut simulation = Simulation::new(rules.clone());
    let before = read.world.before_sampling(arguments.stream.as_deref());
    output::findings(&before.findings);
    output::findings(&feed(&mut simulation, &before, &arguments.traces)?);
    if arguments.output == Format::Json {
        let out = std::io::stdout();
        let mut out = std::io::BufWriter::new(out.lock());
        let mut broken = None;
        simulation.finish(|one| {
            let decided = one.decision.decided_by;
            let line = Line {
                trace_id: one.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                keep: one.decision.keep,
                category: decided.map_or("none", |(category, _)| category.word()),
                rule: decided.map(|(_, position)| rules[position].title()),
                percentage: one.decision.percentage.as_f64(),
            };
            let written = serde_json::to_writer(&mut out, &line).map_err(std::io::Error::from);
            if let Err(error) = written.and_then(|()| out.write_all(b"\n")) {
                broken.get_or_insert(error);
            }
        });
        // A reader that has seen enough closes the pipe; that is no failure.
        if broken.as_ref().is_some_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
            return Err(Failure::Input(anyhow::anyhow!("the output cannot be written")));
        }
        return Ok(code(failed));
    }
    let (totals, counts) = simulation.finish(|_| {});
    output::text(&table(&rules, &counts, &totals));
    let actions: Vec<String> = before.actions().collect();
    if !actions.is_empty() {
        output::text(&format!("Rules see what these Actions leave, in this order: {}\n", actions.join(", ")));
    }
    Ok(code(failed))
}

/// Feeds the recording to the simulation, and says what of it is not counted.
fn feed(simulation: &mut Simulation<'_>, before: &BeforeSampling<'_>, path: &Path) -> anyhow::Result<Vec<Finding>> {
    let size = std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    let progress = std::io::stderr().is_terminal();
    let position = Position::default();
    let (mut spans, mut told) = (0_u64, Instant::now());
    let summary = recording::read(path, before, &position, &mut |span, bytes| {
        simulation.add(span, bytes);
        spans += 1;
        if progress && spans.is_multiple_of(1024) && told.elapsed() > Duration::from_millis(250) {
            let percent = (position.bytes() * 100).checked_div(size).unwrap_or_default();
            output::progress(&format!("reading {percent} %: {spans} spans, {} traces", simulation.traces()));
            told = Instant::now();
        }
    });
    if progress {
        output::progress("");
    }
    let recording = format!("recording {}", path.display());
    let remarks = summary?.remarks();
    Ok(remarks.into_iter().map(|remark| Finding::warning(recording.clone(), "", remark)).collect())
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 / whole as f64 * 100.0) }
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn table(rules: &[&Rule], counts: &[RuleCounts], totals: &Totals) -> String {
    let head = ["RULE", "CATEGORY", "PERCENT", "MATCHED", "DECIDED", "KEPT", "SPANS SAVED", "BYTES SAVED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (rule, count) in rules.iter().zip(counts) {
        let off = if rule.enabled { "" } else { " (disabled)" };
        rows.push(vec![
            format!("{}{off}", rule.title()),
            rule.category.word().to_owned(),
            rule.percentage.to_string(),
            count.matched.to_string(),
            count.decided.to_string(),
            count.kept.to_string(),
            count.spans_saved.to_string(),
            size(count.bytes_saved),
        ]);
    }
    format!(
        "{}\n{} of {} traces are kept ({}), {} of {} spans ({}), {} of {} ({})\n",
        output::aligned(&rows, &[2, 3, 4, 5, 6, 7]),
        totals.kept,
        totals.traces,
        share(totals.kept, totals.traces),
        totals.spans_kept,
        totals.spans,
        share(totals.spans_kept, totals.spans),
        size(totals.bytes_kept),
        size(totals.bytes),
        share(totals.bytes_kept, totals.bytes)
    )
}

// ---- explain

fn explain_rules(arguments: &Explain) -> Result<ExitCode, Failure> {
    let read = arguments.rules.read()?;
    let failed = output::findings(&read.findings);
    let mut named: BTreeSet<&str> =
        read.accepted.rules.iter().flat_map(|rule| rule.streams.iter().map(String::as_str)).collect();
    // Where an Action or Processor is for one data stream, its rules stand apart from those of the others.
    let streams = read.world.actions.values().filter_map(|one| one.spec.data_streams.as_ref());
    let streams = streams.chain(read.world.processors.values().filter_map(|one| one.spec.data_streams.as_ref()));
    named.extend(streams.flatten().map(String::as_str).filter(|stream| !read.world.sampled_behind(stream).is_empty()));
    let mut sets = vec![(None, of_stream(&read.accepted, None))];
    sets.extend(named.into_iter().map(|stream| (Some(stream), of_stream(&read.accepted, Some(stream)))));
    if arguments.output == Format::Json {
        let list: Vec<Value> = sets
            .iter()
            .map(|(stream, rules)| {
                let told = explain::explain(rules);
                json!({
                    "stream": stream, "rules": told.rules, "disabled": told.disabled, "shadowed": told.shadowed,
                    "contradictions": told.contradictions, "outcome": told.outcome, "buffering": told.buffering,
                    "behind": stream.map(|stream| read.world.sampled_behind(stream)).unwrap_or_default(),
                })
            })
            .collect();
        output::text(&format!("{}\n", serde_json::to_string_pretty(&list)?));
        return Ok(code(failed));
    }
    let mut text = String::new();
    for (stream, rules) in &sets {
        let told = explain::explain(rules);
        match stream {
            None => text.push_str("Every data stream without rules of its own\n"),
            Some(stream) => text.push_str(&format!("Data stream {stream} ({})\n", view(&read.world, stream))),
        }
        let mut part = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("  {title}:\n"));
                lines.iter().for_each(|line| text.push_str(&format!("    - {line}\n")));
            }
        };
        part("Rules", &told.rules);
        part("Switched off", &told.disabled);
        part("Can never decide", &told.shadowed);
        part("Contradictions", &told.contradictions);
        text.push_str(&format!("  {}\n", told.outcome));
        told.buffering.iter().for_each(|sentence| text.push_str(&format!("  {sentence}\n")));
        let behind = stream.map(|stream| read.world.sampled_behind(stream)).unwrap_or_default();
        if !behind.is_empty() {
            let sentence = format!(
                "Rules see what {} of this data stream leaves, so it is sampled apart from the others: a trace in several data streams is decided in each.",
                behind.join(", ")
            );
            text.push_str(&format!("  {sentence}\n"));
        }
        text.push('\n');
    }
    output::text(&text);
    Ok(code(failed))
}

fn of_stream<'a>(accepted: &'a Accepted, stream: Option<&str>) -> Vec<&'a Rule> {
    accepted.rules.iter().filter(|rule| rule.is_for_stream(stream)).collect()
}

fn view(world: &World, stream: &str) -> &'static str {
    let key = (world.namespace.clone(), object_name(stream));
    match world.data_streams.get(&key).and_then(|one| one.spec.sampling_view) {
        Some(SamplingView::Trace) => "rules see whole traces",
        _ => "rules see the stream's own spans",
    }
}
