//! Paths of requests as templates, evaluated segment by segment (`spec/actions-and-rules.md` 2.6).
//!
//! A plain reading of the rules over one span. Shares with the compiler ([`super::url_templates`]) what the rules are, never how they
//! are carried out.

use super::item::{Attributes, Body, Item, SpanKind, Value};
use super::pattern::as_rust;
use super::url_templates::{
    CLIENT_TARGET, DATE, EMAIL, METHOD, PATH_OF_URL, RESULT, STATUS, Segment, TARGET, URLS, segments,
};
use crate::sampling::scope;
use odigos_api::action_kinds::{DefaultTemplates, TemplateRules, UrlTemplatization};
use regex::Regex;
use std::sync::LazyLock;

/// A whole segment that is a day.
static IS_DATE: LazyLock<Option<Regex>> = LazyLock::new(|| as_rust(&format!("^(?:{DATE})$")).ok());
/// A whole segment that is an address.
static IS_EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| as_rust(&format!("^(?:{EMAIL})$")).ok());
/// A letter of any script.
static HAS_LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| as_rust(r"\p{L}").ok());
/// A URL with its path.
static URL: LazyLock<Option<Regex>> = LazyLock::new(|| as_rust(PATH_OF_URL).ok());

fn finds(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// What a span is afterwards.
pub(super) fn templated(kinds: &[&UrlTemplatization], item: &mut Item) {
    let Body::Span { name, kind, .. } = &mut item.body else { return };
    let is_client = *kind == SpanKind::Client;
    let holds = |scopes| scope::holds(scopes, &item.resource);
    let rules: Vec<&TemplateRules> =
        kinds.iter().flat_map(|kind| &kind.rules).filter(|one| holds(one.scopes.as_ref())).collect();
    let defaults: Vec<&DefaultTemplates> =
        kinds.iter().flat_map(|kind| &kind.default).filter(|one| holds(one.scopes.as_ref())).collect();
    let method = METHOD.into_iter().find_map(|key| item.attributes.get(key)).cloned();
    let (Some(method), false) = (method, rules.is_empty() && defaults.is_empty()) else { return };
    let has_plain_name = method.text() == Some(name.as_str());
    let target = if is_client { CLIENT_TARGET } else { TARGET };
    if let Some(there) = item.attributes.get(target) {
        if there.text() == Some("") && has_plain_name {
            name.push_str(" /");
        }
        return;
    }
    let Some(path) = path(&item.attributes) else { return };
    let is_on = !defaults.is_empty() && defaults.iter().all(|one| one.disabled != Some(true));
    let found = if path.chars().all(|c| c == '/') {
        Some(("/".to_owned(), "path_normalization"))
    } else if let Some(template) = custom(&rules, &path) {
        Some((template, "custom_rule"))
    } else if is_on && (is_client || !is_skipped(&defaults, &item.attributes)) {
        let template: Vec<String> = path.split('/').map(placeholder).collect();
        let template = template.join("/");
        let result = if template == path { "static_path" } else { "default_heuristic" };
        Some((template, result))
    } else {
        None
    };
    let Some((template, result)) = found else { return };
    if has_plain_name {
        *name = format!("{name} {template}");
    }
    item.attributes.insert(target.to_owned(), template.as_str().into());
    item.attributes.insert(RESULT.to_owned(), result.into());
}

fn path(attributes: &Attributes) -> Option<String> {
    let text = |key: &str| attributes.get(key).and_then(Value::text);
    if let Some(path) = text("url.path") {
        return Some(path.to_owned());
    }
    if let Some(target) = text("http.target") {
        return target.split('?').next().map(str::to_owned);
    }
    let pattern = URL.as_ref()?;
    let of = |key: &str| Some(pattern.captures(text(key)?)?.name("v")?.as_str().to_owned());
    URLS.into_iter().find_map(of)
}

/// The first template that fits, written for a path.
fn custom(rules: &[&TemplateRules], path: &str) -> Option<String> {
    let mut templates: Vec<&str> = rules.iter().flat_map(|rule| &rule.templates).map(String::as_str).collect();
    templates.sort_unstable();
    let (slash, inner) = path.strip_prefix('/').map_or(("", path), |inner| ("/", inner));
    let written = |template: &str| {
        let (wanted, given) = (segments(template).ok()?, inner.split('/').collect::<Vec<_>>());
        if wanted.len() != given.len() {
            return None;
        }
        let one = |(wanted, given): (Segment, &str)| match wanted {
            Segment::Literal(text) => (text == given).then_some(text),
            Segment::Kept => Some(given.to_owned()),
            Segment::Named(name) => Some(name),
        };
        let all: Option<Vec<String>> = wanted.into_iter().zip(given).map(one).collect();
        Some(format!("{slash}{}", all?.join("/")))
    };
    templates.into_iter().find_map(written)
}

fn is_skipped(defaults: &[&DefaultTemplates], attributes: &Attributes) -> bool {
    let code = STATUS.into_iter().find_map(|key| attributes.get(key));
    let Some(Value::Integer(code)) = code else { return false };
    defaults.iter().filter_map(|one| one.skip_policy.as_ref()).any(|policy| {
        let is_failure = policy.skip_for_non_success_codes == Some(true) && !(200..300).contains(code);
        is_failure || policy.skip_http_status_codes.contains(code)
    })
}

/// What is written for a segment.
fn placeholder(segment: &str) -> String {
    let text = if segment.is_empty() {
        ""
    } else if finds(&IS_DATE, segment) {
        "{date}"
    } else if finds(&IS_EMAIL, segment) {
        "{email}"
    } else if is_id(segment) {
        "{id}"
    } else {
        segment
    };
    text.to_owned()
}

fn is_id(segment: &str) -> bool {
    let characters: Vec<char> = segment.chars().collect();
    let is_hexadecimal = characters.iter().all(char::is_ascii_hexdigit);
    let runs = segment.split(|c: char| !c.is_ascii_digit());
    !finds(&HAS_LETTER, segment)
        || runs.into_iter().any(|run| run.len() >= 7)
        || characters.get(..36).is_some_and(is_uuid)
        || characters.len().checked_sub(36).and_then(|from| characters.get(from..)).is_some_and(is_uuid)
        || is_hexadecimal && characters.len() >= 16 && characters.len().is_multiple_of(2)
        || characters.contains(&'\u{FFFD}')
}

fn is_uuid(text: &[char]) -> bool {
    text.iter().enumerate().all(|(position, c)| match position {
        8 | 13 | 18 | 23 => *c == '-',
        _ => c.is_ascii_hexdigit(),
    })
}
