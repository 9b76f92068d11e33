//! Terminal output: the only place that prints.

use clap::ValueEnum;
use odigos_api::{Finding, Severity};
use std::io::{IsTerminal, Write};

/// What a command that shows something prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What a command that explains prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// For people.
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
    /// For programs, and for people who read much of it.
    Yaml,
}

/// Prints a value for programs.
pub(crate) fn value(value: &serde_json::Value, view: View) -> anyhow::Result<()> {
    match view {
        View::Yaml => text(&odigos_pipeline::yaml::to_string(value)),
        View::Json | View::Table => text(&format!("{}\n", serde_json::to_string_pretty(value)?)),
    }
    Ok(())
}

/// What a command that writes manifests prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manifests {
    /// One document for each object.
    Yaml,
    /// One JSON document.
    Json,
}

/// Writes to standard output; a closed pipe (`| head`) is no error.
pub(crate) fn text(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(crate) fn error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes over the last progress line of a terminal; an empty one clears it.
pub(crate) fn progress(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "\r\u{1b}[K{line}");
    let _ = out.flush();
}

/// Asks a question on a terminal, without a line end.
pub(crate) fn ask(question: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{question}");
    let _ = out.flush();
}

/// Rows as aligned columns; those at `right` are flush right.
pub(crate) fn aligned(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match right.contains(&column) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Writes findings to standard error, the worst first; true when one of them is an error.
pub(crate) fn findings(findings: &[Finding]) -> bool {
    let colour = std::io::stderr().is_terminal();
    for finding in findings {
        let line = finding.to_string();
        let code = match finding.severity {
            Severity::Error => "31",
            Severity::Warning => "33",
            Severity::Info => "36",
        };
        match line.split_once(' ').filter(|_| colour) {
            Some((word, rest)) => error(&format!("\u{1b}[{code}m{word}\u{1b}[0m {rest}")),
            None => error(&line),
        }
    }
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
