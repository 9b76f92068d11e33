//! Checks and what they found, for people and programs: the same shape for preflight and for verification.

use crate::output;
use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Cannot be seen from here, or does not apply.
    Skipped,
    /// Worth knowing; nothing is stopped by it.
    Warning,
    /// Stops, or is left behind.
    Error,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    /// What was looked at, a few words.
    pub(super) check: &'static str,
    /// How it ended.
    pub(super) state: State,
    /// What was found, with names.
    pub(super) message: String,
    /// What to do; empty when nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) advice: String,
}

impl Check {
    /// A check that ended well.
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, state: State::Ok, message: message.into(), advice: String::new() }
    }

    /// A check that does not apply.
    pub(super) fn skipped(check: &'static str, message: impl Into<String>) -> Self {
        Self { state: State::Skipped, ..Self::ok(check, message) }
    }

    /// Something worth knowing.
    pub(super) fn warning(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warning, advice: advice.into(), ..Self::ok(check, message) }
    }

    /// Something that stops.
    pub(super) fn error(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Error, advice: advice.into(), ..Self::ok(check, message) }
    }

    /// Nothing left, or what is left by name.
    pub(super) fn nothing_left(check: &'static str, left: &[String], advice: &str) -> Self {
        match left {
            [] => Self::ok(check, "nothing is left"),
            left => Self::error(check, names(left), advice),
        }
    }
}

/// The first names of a list.
pub(super) fn names(all: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        shown.push_str(&format!(" and {} more", all.len() - SHOWN));
    }
    shown
}

/// Whether any check stops.
pub(super) fn failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.state == State::Error)
}

/// Checks as a table.
pub(super) fn table(checks: &[Check]) -> String {
    let mut rows = Vec::new();
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok",
            State::Skipped => "-",
            State::Warning => "warning",
            State::Error => "FAILED",
        };
        rows.push(vec![mark.to_owned(), check.check.to_owned(), check.message.clone()]);
        if !check.advice.is_empty() {
            rows.push(vec![String::new(), String::new(), format!("-> {}", check.advice)]);
        }
    }
    output::aligned(&rows, &[])
}
