//! `cargo xtask tools`: builds the real peers, all or by name.

use crate::board::Board;
use odigos_tools::{TEST_TOOLS, Tool, build, catalog};

/// Builds the tools of these names; without names all that `make test` needs.
///
/// # Errors
/// When a name is unknown, or a build fails.
pub(crate) fn tools(names: &[String]) -> anyhow::Result<()> {
    let all: Vec<Tool> = catalog::all().collect();
    let wanted: Vec<Tool> = if names.is_empty() { TEST_TOOLS.to_vec() } else { named(&all, names)? };
    let labels: Vec<&str> = wanted.iter().map(|tool| tool.name).collect();
    let board = Board::new("tools", &labels);
    for tool in &wanted {
        board.step(tool.name, |progress| build(&[*tool], progress))?;
    }
    board.close();
    Ok(())
}

fn named(all: &[Tool], names: &[String]) -> anyhow::Result<Vec<Tool>> {
    let known: Vec<&str> = all.iter().map(|tool| tool.name).collect();
    let find = |name: &String| {
        let tool = all.iter().find(|tool| tool.name == name).copied();
        tool.ok_or_else(|| anyhow::anyhow!("unknown tool {name:?}; there are {}", known.join(", ")))
    };
    names.iter().map(find).collect()
}
