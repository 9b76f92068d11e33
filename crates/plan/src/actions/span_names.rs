//! Names of the spans of one library (`spec/actions-and-rules.md` 2.9): compiled, and evaluated.
//!
//! Applies to every span that names the language and the library, whatever agent sent it.

use super::item::{Body, Item};
use super::limits::{LONGEST_SPAN_NAME, MOST, check_count, check_text};
use super::pattern::{Pattern, as_rust};
use super::problem::Problem;
use super::transform::{Context, Group};
use crate::workload::sdk_language;
use odigos_api::action_kinds::SpanRenamer;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};

/// Most groups that a template puts in.
const MOST_GROUPS: usize = 8;

/// A replacement in the form that both sides read: `$1` and `${1}` are groups, `$$` is a dollar.
///
/// Groups may be put in a few times: a name grows with each of them.
fn check_template(template: &str, groups: usize) -> Result<(), String> {
    let (mut rest, mut used) = (template, 0);
    while let Some(at) = rest.find('$') {
        let after = rest.get(at + 1..).unwrap_or_default();
        if let Some(tail) = after.strip_prefix('$') {
            rest = tail;
            continue;
        }
        let (name, tail) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').ok_or("a ${ has no }")?,
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            }
        };
        match name.parse::<usize>() {
            Ok(number) if number <= groups && used < MOST_GROUPS => used += 1,
            Ok(number) if number <= groups => {
                return Err(format!("it puts in more than {MOST_GROUPS} groups; use fewer"));
            }
            _ => {
                return Err(format!(
                    "${name} names no group of the expression, which has {groups}; write ${{1}} for the first group, $$ for a dollar"
                ));
            }
        }
        rest = tail;
    }
    Ok(())
}

/// Every replacement that can be compiled: pattern and template.
fn replacements(kind: &SpanRenamer, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    const FIELD: &str = "spec.spanRenamer.regexReplacements";
    check_count(kind.regex_replacements.len(), FIELD, problems);
    let mut all = Vec::new();
    for (position, one) in kind.regex_replacements.iter().take(MOST).enumerate() {
        let field = |name: &str| format!("{FIELD}[{position}].{name}");
        let pattern = match Pattern::replaced(&one.regex_pattern) {
            Ok(pattern) => pattern,
            Err(message) => {
                problems.push(Problem::new(field("regexPattern"), message));
                continue;
            }
        };
        check_text(&one.template_text, || field("templateText"), problems);
        if pattern.repeats_nested_groups() {
            let message =
                "a capture group stands in another one, and one of them is repeated; write the inner one as (?:…)";
            problems.push(Problem::new(field("regexPattern"), message));
            continue;
        }
        match check_template(&one.template_text, pattern.groups()) {
            Ok(()) => all.push((one.regex_pattern.clone(), one.template_text.clone())),
            Err(message) => problems.push(Problem::new(field("templateText"), message)),
        }
    }
    all
}

/// Whether a resource speaks the language.
pub(super) fn language(kind: &SpanRenamer) -> Condition {
    let language = Path::keyed("resource.attributes", "telemetry.sdk.language");
    Condition::Equal(language.into(), sdk_language(&kind.programming_language).into())
}

/// Whether a span is of the library.
pub(super) fn of_library(kind: &SpanRenamer) -> Condition {
    let library = Path::field("instrumentation_scope.name");
    Condition::All(vec![language(kind), Condition::Equal(library.into(), kind.scope_name.as_str().into())])
}

/// [`language`] over an item.
pub(super) fn is_of_language(kind: &SpanRenamer, item: &Item) -> bool {
    let language = item.resource.get("telemetry.sdk.language").and_then(super::item::Value::text);
    language == Some(sdk_language(&kind.programming_language))
}

/// [`of_library`] over an item.
pub(super) fn is_of_library(kind: &SpanRenamer, item: &Item) -> bool {
    is_of_language(kind, item) && item.scope_name == kind.scope_name
}

/// The group that renames.
pub(super) fn group(kind: &SpanRenamer, problems: &mut Vec<Problem>) -> Option<Group> {
    for (name, value) in [("programmingLanguage", &kind.programming_language), ("scopeName", &kind.scope_name)] {
        if value.is_empty() {
            problems.push(Problem::new(format!("spec.spanRenamer.{name}"), "it must not be empty"));
        }
    }
    if kind.regex_replacements.is_empty() {
        problems.push(Problem::new(
            "spec.spanRenamer.regexReplacements",
            "it renames nothing; write at least one replacement",
        ));
    }
    let condition = of_library(kind);
    let statement = |(pattern, template): (String, String)| Statement {
        editor: "replace_pattern",
        arguments: vec![Path::field("name").into(), pattern.into(), template.into()],
        condition: Some(Condition::Less(
            Expression::Call("Len", vec![Path::field("name").into()]),
            Expression::Integer(i64::try_from(LONGEST_SPAN_NAME).unwrap_or(i64::MAX)),
        )),
    };
    let statements: Vec<Statement> = replacements(kind, problems).into_iter().map(statement).collect();
    (!statements.is_empty()).then_some(Group { context: Context::Span, condition: Some(condition), statements })
}

/// What a span is afterwards.
pub(super) fn renamed(kind: &SpanRenamer, item: &mut Item) {
    if !is_of_library(kind, item) {
        return;
    }
    let Body::Span { name, .. } = &mut item.body else { return };
    for (pattern, template) in replacements(kind, &mut Vec::new()) {
        if let Ok(pattern) = as_rust(&pattern)
            && name.len() < LONGEST_SPAN_NAME
        {
            *name = pattern.replace_all(name, template.as_str()).into_owned();
        }
    }
}
