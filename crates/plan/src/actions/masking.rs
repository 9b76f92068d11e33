//! Personal data in span attributes (`spec/actions-and-rules.md` 2.4): compiled to replacements, and evaluated.
//!
//! Owns the patterns of the categories and of the formats, in their order: categories first, then formats, then expressions. Texts
//! are masked; lists and maps are left as they are, and [`LIMIT`] says so.

use super::formats::before_value;
use super::item::{Body, Item, Value};
use super::limits::{MOST, check_count, check_key};
use super::pattern::{Pattern, as_rust};
use super::problem::Problem;
use super::transform::{Context, Group};
use odigos_api::action_kinds::{DataFormat, PiiCategory, PiiMasking};
use odigos_pipeline::ottl::{Condition, Path, Statement};
use std::collections::BTreeSet;

/// What is not masked, for the condition.
pub(super) const LIMIT: &str = "It masks texts; texts within lists and maps are left as they are: delete lists that must not leave the cluster, such as captured headers of requests (http.request.header.authorization), by deleteAttribute";

/// What takes the place of what a format or an expression finds.
const MASK: &str = "${1}****${2}";

/// A pattern and what takes its place.
type Replacement = (String, &'static str);

/// What a category looks like. The order is that of the categories' names, so that a set of them is one configuration.
fn of_category(category: PiiCategory) -> Vec<Replacement> {
    let texts: (&[&str], &'static str) = match category {
        PiiCategory::CreditCard => (&["4[0-9]{12}(?:[0-9]{3})?", "5[1-5][0-9]{14}"], "***CREDIT_CARD***"),
        PiiCategory::Email => (&[r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"], "***EMAIL***"),
        PiiCategory::Jwt => (&[r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"], "***JWT***"),
        PiiCategory::Uuid => {
            (&["[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"], "***UUID***")
        }
    };
    texts.0.iter().map(|text| ((*text).to_owned(), texts.1)).collect()
}

/// The forms that a value has: quoted first, so that the bare form sees only the mask.
fn forms(format: DataFormat, key: &str) -> Vec<String> {
    let before = before_value(format, key);
    match format {
        DataFormat::Json => vec![
            format!(r#"({before}")(?:(?:\\.|[^"\\])*)()"#),
            format!(r#"({before}')(?:(?:\\.|[^'\\])*)()"#),
            format!(r#"({before})(?:[^\s"',}}\]{{\[][^\s"',}}\]]*)()"#),
        ],
        DataFormat::Sql => {
            vec![format!(r"({before}')(?:(?:''|\\.|[^'\\])*)()"), format!(r#"({before})(?:[^\s"',;)]+)()"#)]
        }
        DataFormat::ResourcePath => vec![format!(r#"({before})(?:[^/\s"?&#]+)()"#)],
    }
}

/// An expression that would mask its own mask would lengthen a text each time.
fn never_its_mask(pattern: String) -> Result<String, String> {
    match as_rust(&pattern)?.is_match(&"*".repeat(64)) {
        true => Err("it matches the mask **** itself; write one that does not match asterisks".to_owned()),
        false => Ok(pattern),
    }
}

/// Every replacement, in its order; what cannot be compiled is reported and left out.
fn replacements(kind: &PiiMasking, problems: &mut Vec<Problem>) -> Vec<Replacement> {
    const FIELD: &str = "spec.piiMasking";
    let categories: BTreeSet<PiiCategory> = kind.pii_categories.iter().copied().collect();
    let mut all: Vec<Replacement> = categories.into_iter().flat_map(of_category).collect();
    check_count(kind.custom_format_maskings.len(), &format!("{FIELD}.customFormatMaskings"), problems);
    check_count(kind.custom_regex_maskings.len(), &format!("{FIELD}.customRegexMaskings"), problems);
    for (position, one) in kind.custom_format_maskings.iter().take(MOST).enumerate() {
        let field = || format!("{FIELD}.customFormatMaskings[{position}].lookupKey");
        if check_key(&one.lookup_key, field, problems) {
            all.extend(forms(one.data_format, &one.lookup_key).into_iter().map(|text| (text, MASK)));
        }
    }
    for (position, one) in kind.custom_regex_maskings.iter().take(MOST).enumerate() {
        match Pattern::new(&one.regex).and_then(|pattern| pattern.around_its_first_group()).and_then(never_its_mask) {
            Ok(text) => all.push((text, MASK)),
            Err(message) => {
                problems.push(Problem::new(format!("{FIELD}.customRegexMaskings[{position}].regex"), message))
            }
        }
    }
    all
}

/// The group that masks, for spans of `scope`.
pub(super) fn group(kind: &PiiMasking, scope: Option<Condition>, problems: &mut Vec<Problem>) -> Option<Group> {
    let is_empty = kind.pii_categories.is_empty()
        && kind.custom_format_maskings.is_empty()
        && kind.custom_regex_maskings.is_empty();
    if is_empty {
        let message = "it masks nothing; write piiCategories, customFormatMaskings or customRegexMaskings";
        problems.push(Problem::new("spec.piiMasking", message));
        return None;
    }
    let statement = |(pattern, replacement): Replacement| Statement {
        editor: "replace_all_patterns",
        arguments: vec![Path::field("attributes").into(), "value".into(), pattern.into(), replacement.into()],
        condition: None,
    };
    let statements: Vec<Statement> = replacements(kind, problems).into_iter().map(statement).collect();
    (!statements.is_empty()).then_some(Group { context: Context::Span, condition: scope, statements })
}

/// What a span is afterwards, if the scope is for it.
pub(super) fn masked(kind: &PiiMasking, item: &mut Item) {
    if !matches!(item.body, Body::Span { .. }) {
        return;
    }
    let texts = item.attributes.values_mut().filter_map(|value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    });
    let compiled = |(pattern, replacement): (String, &'static str)| Some((as_rust(&pattern).ok()?, replacement));
    let all: Vec<_> = replacements(kind, &mut Vec::new()).into_iter().filter_map(compiled).collect();
    for text in texts {
        for (pattern, replacement) in &all {
            *text = pattern.replace_all(text, *replacement).into_owned();
        }
    }
}
