//! Path templates as regular expressions of the collector (RE2), `spec/sampling.md` 2.2.
//!
//! A wildcard stands for one segment, of any content. The two forms differ in what may follow: on `http.target` a query.

use super::rule::PathRule;
use regex::escape;

/// Where the path is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An attribute that holds a path and nothing else.
    Path,
    /// `http.target`, which may carry a query.
    Target,
}

/// An expression that fits nothing.
const NEVER: &str = "[^\\x00-\\x{10FFFF}]";

/// The expression for a rule; `None` when every path fits.
pub(super) fn expression(rule: &PathRule, subject: Subject) -> Option<String> {
    let (template, exact) = match rule {
        PathRule::Exact(template) => (template, true),
        PathRule::Prefix(template) => (template, false),
        PathRule::Literal(path) => return Some(literal_expression(path, subject)),
    };
    let stripped = template.strip_prefix('/').unwrap_or(template);
    let parts: Vec<&str> = stripped.split('/').collect();
    if !exact && (stripped.is_empty() || (parts.len() == 1 && is_wildcard(stripped))) {
        return None;
    }
    if subject == Subject::Target && parts.iter().any(|part| !is_wildcard(part) && part.contains('?')) {
        // The path of a target ends before its first question mark.
        return Some(NEVER.to_owned());
    }
    // A path segment ends where the query begins, so on a target a wildcard must not run into it.
    let any = match subject {
        Subject::Path => "[^/]*",
        Subject::Target => "[^/?]*",
    };
    let mut text = String::from("^");
    for (position, part) in parts.iter().enumerate() {
        match (position, is_wildcard(part)) {
            // One slash is optional in front; an empty first segment and one that begins with a slash differ.
            (0, true) if parts.len() == 1 => text.push_str(&format!("/?{any}")),
            (0, true) => text.push_str(&format!("(?:/{any}|{})", any.replace('*', "+"))),
            (0, false) if part.is_empty() && parts.len() > 1 => text.push('/'),
            (0, false) => text.push_str(&format!("/?{}", escape(part))),
            (_, true) => text.push_str(&format!("/{any}")),
            (_, false) => text.push_str(&format!("/{}", escape(part))),
        }
    }
    text.push_str(match (exact, subject) {
        (true, Subject::Path) => "$",
        (true, Subject::Target) => "(?:\\?|$)",
        (false, Subject::Path) => "(?:/|$)",
        (false, Subject::Target) => "(?:[/?]|$)",
    });
    Some(text)
}

/// The expression for exactly this path, whose first slash is optional as everywhere.
fn literal_expression(path: &str, subject: Subject) -> String {
    let end = match subject {
        Subject::Path => "$",
        Subject::Target if path.contains('?') => return NEVER.to_owned(),
        Subject::Target => "(?:\\?|$)",
    };
    let stripped = path.strip_prefix('/').unwrap_or(path);
    // An empty first segment is one by its slash, which is not optional then.
    let start = if stripped.starts_with('/') { "^/" } else { "^/?" };
    format!("{start}{}{end}", escape(stripped))
}

/// The path without its first slash, where the rule is for exactly this path and nothing in it stands for anything else.
pub(super) fn literal(rule: &PathRule) -> Option<&str> {
    let template = match rule {
        PathRule::Exact(template) => template,
        PathRule::Literal(path) => return Some(path.strip_prefix('/').unwrap_or(path)),
        PathRule::Prefix(_) => return None,
    };
    let stripped = template.strip_prefix('/').unwrap_or(template);
    (!stripped.split('/').any(is_wildcard)).then_some(stripped)
}

/// Whether a segment stands for any other.
pub(super) fn is_wildcard(segment: &str) -> bool {
    segment == "*" || (segment.starts_with('{') && segment.ends_with('}') && segment.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::super::rule::{Category, Operation, Origin, Percentage, Rule, Scope};
    use super::super::span::{Span, SpanKind};
    use super::*;
    use regex::Regex;
    use std::collections::BTreeSet;

    /// What the judge says of a path that stands in `key`.
    fn judged(path_rule: &PathRule, key: &str, value: &str) -> bool {
        let operation = Operation::HttpServer { path: Some(path_rule.clone()), method: None, query: vec![] };
        let rule = Rule {
            category: Category::CostReduction,
            id: String::new(),
            name: String::new(),
            percentage: Percentage::ZERO,
            scope: Scope::Everything,
            operation,
            error: false,
            duration_at_least_ms: None,
            enabled: true,
            origin: Origin::default(),
            streams: BTreeSet::new(),
        };
        let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let span = Span {
            kind: SpanKind::Server,
            attributes: text(&[("http.method", "GET"), (key, value)]),
            resource: std::sync::Arc::new(text(&[("k8s.namespace.name", "n"), ("odigos.workload.name", "w")])),
            ..Span::default()
        };
        judge::matches_span(&rule, &span)
    }

    /// Every path of up to three segments over a small alphabet, with and without slashes at both ends.
    fn paths(alphabet: &[&str]) -> Vec<String> {
        let mut all = vec![String::new(), "/".to_owned(), "//".to_owned()];
        let mut level = vec![String::new()];
        for _ in 0..3 {
            level = level.iter().flat_map(|head| alphabet.iter().map(move |tail| format!("{head}/{tail}"))).collect();
            all.extend(level.iter().cloned());
            all.extend(level.iter().map(|path| path.trim_start_matches('/').to_owned()));
            all.extend(level.iter().map(|path| format!("{path}/")));
        }
        all
    }

    #[test]
    fn expressions_and_segments_agree_everywhere() {
        let templates = paths(&["a", "*", "{id}", "a.b", "", "a?"]);
        let subjects = paths(&["a", "aXb", "a.b", "*", "", "{id}"]);
        let mut compared = 0_u64;
        for template in &templates {
            let forms = [PathRule::Exact, PathRule::Prefix, PathRule::Literal];
            for rule in forms.map(|form| form(template.clone())) {
                let on_path = expression(&rule, Subject::Path).map(|text| Regex::new(&text).unwrap());
                let on_target = expression(&rule, Subject::Target).map(|text| Regex::new(&text).unwrap());
                for subject in &subjects {
                    let path = on_path.as_ref().is_none_or(|regex| regex.is_match(subject));
                    assert_eq!(path, judged(&rule, "url.path", subject), "{rule:?} {subject:?}");
                    for query in ["", "?", "?a/b=1"] {
                        let target = format!("{subject}{query}");
                        let found = on_target.as_ref().is_none_or(|regex| regex.is_match(&target));
                        assert_eq!(found, judged(&rule, "http.target", &target), "{rule:?} {target:?} {on_target:?}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 400_000, "{compared}");
    }
}
