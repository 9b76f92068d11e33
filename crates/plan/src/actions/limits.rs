//! How much one Action may hold: what it becomes is read by collectors that all share.
//!
//! Owns the numbers and how they are said; the kinds call these checks.

use super::problem::Problem;

/// Most expressions of users in one Action, and rules; more are not looked at, since an expression takes milliseconds.
pub(super) const MOST: usize = 64;
/// Most names, pairs and templates of one Action, which take no time to look at.
pub(super) const MOST_NAMES: usize = 512;
/// Longest name of an attribute and longest key, in bytes.
const LONGEST_NAME: usize = 256;
/// Longest value and longest template, in bytes.
const LONGEST_TEXT: usize = 1024;
/// Longest name of a span that is still renamed, in bytes: replacements may lengthen it each time.
pub(super) const LONGEST_SPAN_NAME: usize = 4096;

/// Reports a list of rules or expressions that is too long.
pub(super) fn check_count(count: usize, field: &str, problems: &mut Vec<Problem>) {
    check_most(count, MOST, field, problems);
}

/// Reports a list of names that is too long.
pub(super) fn check_names(count: usize, field: &str, problems: &mut Vec<Problem>) {
    check_most(count, MOST_NAMES, field, problems);
}

fn check_most(count: usize, most: usize, field: &str, problems: &mut Vec<Problem>) {
    if count > most {
        problems.push(Problem::new(
            field,
            format!("it has {count} entries, and at most {most} are taken; write several Actions"),
        ));
    }
}

/// Reports what is wrong with the name of an attribute.
pub(super) fn check_name(name: &str, field: impl Fn() -> String, problems: &mut Vec<Problem>) {
    if name.is_empty() {
        problems.push(Problem::new(field(), "the name of an attribute must not be empty"));
    }
    if name.len() > LONGEST_NAME {
        let message = format!("it has {} bytes, and a name of an attribute has at most {LONGEST_NAME}", name.len());
        problems.push(Problem::new(field(), message));
    }
    if name.starts_with("odigos.") {
        let message = format!(
            "{name:?} is an attribute of the product itself, by which telemetry finds its data streams; leave it as it is"
        );
        problems.push(Problem::new(field(), message));
    }
}

/// Reports a key that is empty or too long.
pub(super) fn check_key(key: &str, field: impl Fn() -> String, problems: &mut Vec<Problem>) -> bool {
    let message = match key.len() {
        0 => "the key must not be empty".to_owned(),
        length if length > LONGEST_NAME => format!("it has {length} bytes, and a key has at most {LONGEST_NAME}"),
        _ => return true,
    };
    problems.push(Problem::new(field(), message));
    false
}

/// Reports a text that is too long.
pub(super) fn check_text(text: &str, field: impl Fn() -> String, problems: &mut Vec<Problem>) {
    if text.len() > LONGEST_TEXT {
        problems
            .push(Problem::new(field(), format!("it has {} bytes, and at most {LONGEST_TEXT} are taken", text.len())));
    }
}
