//! New span attributes that are read out of texts (`spec/actions-and-rules.md` 2.7): compiled, and evaluated.
//!
//! Owns the attributes that are looked at, in their order. A target that is there is never overwritten.

use super::formats::before_value;
use super::item::{Body, Item, Value};
use super::limits::{MOST, check_count, check_key, check_name};
use super::pattern::{Pattern, as_rust};
use super::problem::Problem;
use super::transform::{Context, Group, attribute, group_of, is_absent, is_match, is_there, set};
use odigos_api::action_kinds::{DataFormat, ExtractAttribute, Extraction};
use odigos_pipeline::ottl::Condition;
use std::collections::BTreeSet;

/// Where texts are looked for, the first one with a match first.
const TEXTS: [&str; 5] =
    ["db.statement", "db.query.text", "messaging.message.payload", "http.request.payload", "http.response.payload"];
/// Name of the group that is taken.
const GROUP: &str = "v";

/// The pattern of a key in a format, with one group: its value without quotes.
fn of_format(format: DataFormat, key: &str) -> String {
    let before = before_value(format, key);
    match format {
        DataFormat::Json => format!(r#"{before}["']?(?P<{GROUP}>[^\s"',}}\]{{\[]+)"#),
        DataFormat::Sql => format!(r#"{before}'?(?P<{GROUP}>[^\s"',;)]+)"#),
        DataFormat::ResourcePath => format!(r#"{before}(?P<{GROUP}>[^/\s"?&#]+)"#),
    }
}

/// The pattern of an extraction, with the one group that is taken.
fn pattern(one: &Extraction, position: usize) -> Result<String, Problem> {
    let field = |name: &str| format!("spec.extractAttribute.extractions[{position}].{name}");
    match (&one.regex, &one.lookup_key, one.data_format) {
        (Some(regex), None, None) => {
            let pattern = Pattern::read(regex).map_err(|message| Problem::new(field("regex"), message))?;
            match pattern.groups() {
                1 => Ok(pattern.naming_its_group(GROUP)),
                count => {
                    let message =
                        format!("it has {count} capture groups; exactly one is taken. Write the others as (?:…)");
                    Err(Problem::new(field("regex"), message))
                }
            }
        }
        (None, Some(key), Some(format)) => {
            let mut problems = Vec::new();
            check_key(key, || field("lookupKey"), &mut problems);
            problems.pop().map_or_else(|| Ok(of_format(format, key)), Err)
        }
        _ => Err(Problem::new(field("regex"), "give either regex, or lookupKey with dataFormat")),
    }
}

/// Every extraction that can be compiled: target and pattern.
fn extractions(kind: &ExtractAttribute, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    const FIELD: &str = "spec.extractAttribute.extractions";
    if kind.extractions.is_empty() {
        problems.push(Problem::new(FIELD, "it extracts nothing; write at least one extraction"));
    }
    check_count(kind.extractions.len(), FIELD, problems);
    let (mut all, mut targets) = (Vec::new(), BTreeSet::new());
    for (position, one) in kind.extractions.iter().take(MOST).enumerate() {
        let target = || format!("{FIELD}[{position}].targetAttributeName");
        let before = problems.len();
        check_name(&one.target_attribute_name, target, problems);
        if problems.len() > before {
            continue;
        }
        if !targets.insert(&one.target_attribute_name) {
            let message =
                format!("{:?} is the target of two extractions; give each its own", one.target_attribute_name);
            problems.push(Problem::new(target(), message));
        } else {
            match pattern(one, position) {
                Ok(pattern) => all.push((one.target_attribute_name.clone(), pattern)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    all
}

/// The group that extracts.
pub(super) fn group(kind: &ExtractAttribute, problems: &mut Vec<Problem>) -> Option<Group> {
    let statement = |target: &str, pattern: &str, text: &str| {
        let condition = Condition::All(vec![
            is_absent(attribute(target)),
            is_there(attribute(text)),
            Condition::Call("IsString", vec![attribute(text)]),
            is_match(attribute(text), pattern),
        ]);
        set(attribute(target), group_of(attribute(text), pattern, GROUP), Some(condition))
    };
    let all = extractions(kind, problems);
    let statements: Vec<_> = all
        .iter()
        .flat_map(|(target, pattern)| TEXTS.iter().map(move |text| statement(target, pattern, text)))
        .collect();
    (!statements.is_empty()).then(|| Group::always(Context::Span, statements))
}

/// What a span is afterwards.
pub(super) fn extracted(kind: &ExtractAttribute, item: &mut Item) {
    if !matches!(item.body, Body::Span { .. }) {
        return;
    }
    for (target, pattern) in extractions(kind, &mut Vec::new()) {
        let Ok(pattern) = as_rust(&pattern) else { continue };
        if item.attributes.contains_key(&target) {
            continue;
        }
        let first = |text: &&str| {
            let text = item.attributes.get(*text)?.text()?;
            Some(Value::from(pattern.captures(text)?.name(GROUP).map_or("", |found| found.as_str())))
        };
        if let Some(value) = TEXTS.iter().find_map(first) {
            item.attributes.insert(target, value);
        }
    }
}
