//! `make run`: everything that the demonstration needs is built, two things at a time, and then shown.

use crate::board::{Board, both, minutes};
use crate::{command, doctor, needs};
use odigos_tools::catalog::SAMPLE_COLLECTOR;
use odigos_tools::{SAMPLE_TOOLS, Tool, build};
use std::ffi::OsString;

const ETCD: &str = "etcd";
const KUBERNETES: &str = "API server and controller manager";
const COLLECTOR: &str = "collector with the components of the sample";
const PRODUCT: &str = "controllers, command line tool and demonstration";
const DEMONSTRATION: &str = "demonstration";

/// Builds what is missing and runs the demonstration.
///
/// # Errors
/// When something is missing on the machine, does not build, or telemetry does not arrive where it should.
pub(crate) fn run(keep: bool) -> anyhow::Result<()> {
    doctor::require(needs::Task::Run)?;
    let board = Board::new("run", &[ETCD, KUBERNETES, COLLECTOR, PRODUCT, DEMONSTRATION]);
    std::thread::scope(|scope| {
        // Both compilers have phases that keep one core busy; together they use two.
        let product = scope.spawn(|| board.step(PRODUCT, command::build_binaries));
        let peers = build_peers(&board);
        both(product.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the build of the product panicked"))), peers)
    })?;
    let arguments: Vec<OsString> = keep.then(|| OsString::from("--keep")).into_iter().collect();
    let took = board.close();
    // It prints its own steps, and keeps the terminal.
    crate::say(&format!("[5/5] {}  {DEMONSTRATION}", minutes(took)));
    let status = command::dev_command("demo", &arguments).status()?;
    anyhow::ensure!(status.success(), "{DEMONSTRATION} ended with {status}");
    Ok(())
}

fn build_peers(board: &Board) -> anyhow::Result<()> {
    let of =
        |names: &[&str]| -> Vec<Tool> { SAMPLE_TOOLS.into_iter().filter(|tool| names.contains(&tool.name)).collect() };
    board.step(ETCD, |progress| build(&of(&["etcd"]), progress))?;
    board.step(KUBERNETES, |progress| build(&of(&["kube-apiserver", "kube-controller-manager"]), progress))?;
    board.step(COLLECTOR, |progress| build(&of(&[SAMPLE_COLLECTOR]), progress))
}
