//! The agent as a pod that looks once (`spec/sources-and-instrumentation.md` 4.11): it is asked by a variable, answers by its
//! termination message, and ends. It talks to nobody and writes nothing else.
//!
//! Owns when it looks: like the agent of a node, a few times while something is unclear. What is reported, within what a kubelet keeps,
//! is decided in `plan::detection::message`.

use crate::look::{self, Look};
use crate::processes::Processes;
use crate::watchdog::Watchdog;
use anyhow::Context;
use odigos_detect::parse::Member;
use odigos_plan::detection::message::{self, Request, Seen};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Looks once at the processes of some containers of the node.
#[derive(clap::Parser, Debug)]
#[command(name = "odigos-agent detect", bin_name = "odigos-agent detect")]
pub struct DetectArguments {
    /// What shall be looked at, as the instrumentor writes it.
    #[arg(long, env = "ODIGOS_DETECTION_REQUEST")]
    request: String,
    /// Name of the node.
    #[arg(long, env = "NODE_NAME", default_value = "")]
    node: String,
    /// Where the processes of the node are seen.
    #[arg(long, env = "ODIGOS_PROC_DIR", default_value = "/proc")]
    proc: PathBuf,
    /// The file that the kubelet reads when this has ended.
    #[arg(long, default_value = "/dev/termination-log")]
    message: PathBuf,
    /// Which log lines are written, e.g. info or debug.
    #[arg(long, env = "ODIGOS_LOG", default_value = "info")]
    log: String,
}

/// Looks, and leaves the answer; of a failure its reason.
///
/// # Errors
/// When it cannot be told what to look at, processes cannot be listed, or the answer cannot be left.
pub async fn detect(arguments: DetectArguments) -> anyhow::Result<()> {
    let _level = odigos_kit::telemetry::start(&arguments.log);
    let outcome = answer(&arguments).await;
    let message = match &outcome {
        Ok(answer) => answer.clone(),
        Err(error) => format!("{error:#}"),
    };
    let path = arguments.message.display();
    std::fs::write(&arguments.message, message).with_context(|| format!("the answer cannot be written to {path}"))?;
    outcome.map(drop)
}

async fn answer(arguments: &DetectArguments) -> anyhow::Result<String> {
    let request = Request::parse(&arguments.request).map_err(anyhow::Error::msg)?;
    let processes = Processes { root: arguments.proc.clone() };
    let watchdog = Watchdog::default();
    let mut seen: BTreeMap<usize, Look> = BTreeMap::new();
    for pause in look::AGAIN.iter().map(Some).chain([None]) {
        let unclear: Vec<_> = request
            .pods
            .iter()
            .enumerate()
            .filter(|(index, _)| !seen.get(index).is_some_and(|one| one.is_clear))
            .collect();
        let subjects = unclear.iter().map(|(_, subject)| *subject);
        let found: BTreeMap<Member, Vec<u32>> = look::find(&processes, subjects, &watchdog)
            .await
            .with_context(|| format!("the processes in {} cannot be listed", arguments.proc.display()))?;
        for (index, subject) in unclear {
            let look = Look::at(subject, &found, (&processes, &arguments.node), None, &watchdog).await;
            seen.insert(index, look);
        }
        match pause {
            Some(pause) if seen.values().any(|one| !one.is_clear) => tokio::time::sleep(*pause).await,
            _ => break,
        }
    }
    let seen: Vec<Seen> =
        seen.into_values().map(|one| Seen { containers: one.containers, problems: one.problems }).collect();
    Ok(message::answer(&seen))
}
