//! Terminal output: the only place that prints.

use odigos_api::{Finding, Severity};
use std::io::{IsTerminal, Write};

/// Writes to standard output; a closed pipe (`| head`) is no error.
pub(crate) fn text(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(crate) fn error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
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
