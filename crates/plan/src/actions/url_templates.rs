//! Paths of requests as templates (`spec/actions-and-rules.md` 2.6): what is wrong with the rules, and their compiler.
//!
//! Owns the order of the steps: what is there stays, then the path is found, then templates of users, then the built-in placeholders.
//! All Actions of the kind are one set of rules, since what one of them writes ends the others. [`super::url_paths`] evaluates them.

use super::limits::{check_count, check_names, check_text};
use super::problem::Problem;
use super::sql::replace;
use super::transform::{Context, Group, attribute, cache, group_of, is_absent, is_match, is_there, set};
use crate::sampling::scope;
use odigos_api::action_kinds::{SkipPolicy, UrlTemplatization};
use odigos_api::scope::SourcesScopes;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use std::collections::BTreeMap;

/// Where a client's template is written, and any other's.
pub(super) const CLIENT_TARGET: &str = "url.template";
/// Where any other template is written.
pub(super) const TARGET: &str = "http.route";
/// Says how a template was found.
pub(super) const RESULT: &str = "odigos.url_templatization.result";
/// Method of a request, in both generations of the conventions.
pub(super) const METHOD: [&str; 2] = ["http.request.method", "http.method"];
/// Where a URL stands whole, in both generations.
pub(super) const URLS: [&str; 2] = ["url.full", "http.url"];
/// Status of an answer, in both generations.
pub(super) const STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// The path of a whole URL.
pub(super) const PATH_OF_URL: &str = "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*(?P<v>[^?#]*)";
/// A day, with or without time and zone.
pub(super) const DATE: &str = "[0-9]{4}(?:-[0-9]{2}){2}(?:T[0-9]{2}(?::[0-9]{2}){1,2})?(?:Z|[-+][0-9]{4})?";
/// An address.
pub(super) const EMAIL: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}";
/// A UUID.
const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
/// Names of the segments that a template keeps, in one expression.
const KEPT: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Itself.
    Literal(String),
    /// Anything, which stays.
    Kept,
    /// Anything, for which this is written.
    Named(String),
}

/// The segments of a template.
///
/// # Errors
/// What is wrong with it.
pub(super) fn segments(template: &str) -> Result<Vec<Segment>, String> {
    let path = template.strip_prefix('/').unwrap_or(template);
    if path.chars().all(|c| c == '/') {
        return Err("it has no segment; write a path such as /users/{id}".to_owned());
    }
    let all: Vec<Segment> = path.split('/').map(segment).collect::<Result<_, _>>()?;
    let kept = all.iter().filter(|one| **one == Segment::Kept).count();
    if kept > KEPT.len() {
        return Err(format!("it has {kept} segments *, and at most {} are taken", KEPT.len()));
    }
    Ok(all)
}

fn segment(text: &str) -> Result<Segment, String> {
    if text == "*" {
        return Ok(Segment::Kept);
    }
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if inner.unwrap_or(text).contains(['*', '{', '}']) {
        return Err(format!("the segment {text:?} is neither *, nor {{name}}, nor a text without * {{ }}"));
    }
    Ok(match inner {
        Some("") => Segment::Named("{id}".to_owned()),
        Some(_) => Segment::Named(text.to_owned()),
        None => Segment::Literal(text.to_owned()),
    })
}

/// What is wrong with the rules of one Action; what is not named here stands for itself.
pub(super) fn check(kind: &UrlTemplatization, problems: &mut Vec<Problem>) {
    const FIELD: &str = "spec.urlTemplatization";
    if kind.rules.is_empty() && kind.default.is_empty() {
        problems.push(Problem::new(FIELD, "it changes nothing; write rules, or default for the built-in placeholders"));
    }
    check_names(kind.rules.iter().map(|one| one.templates.len()).sum(), &format!("{FIELD}.rules"), problems);
    check_count(kind.rules.len(), &format!("{FIELD}.rules"), problems);
    check_count(kind.default.len(), &format!("{FIELD}.default"), problems);
    let check_scope = |field: String, scopes: Option<&SourcesScopes>, problems: &mut Vec<Problem>| {
        if let Err((inner, message)) = scope::condition(scopes) {
            problems.push(Problem::new(format!("{FIELD}.{field}.scopes{inner}"), message));
        }
    };
    for (position, rule) in kind.rules.iter().enumerate() {
        check_scope(format!("rules[{position}]"), rule.scopes.as_ref(), problems);
        if rule.templates.is_empty() {
            problems
                .push(Problem::new(format!("{FIELD}.rules[{position}].templates"), "it has no template; write one"));
        }
        for (number, template) in rule.templates.iter().enumerate() {
            let field = || format!("{FIELD}.rules[{position}].templates[{number}]");
            check_text(template, field, problems);
            if let Err(message) = segments(template) {
                problems.push(Problem::new(field(), message));
            }
        }
    }
    for (position, one) in kind.default.iter().enumerate() {
        check_scope(format!("default[{position}]"), one.scopes.as_ref(), problems);
        let codes = one.skip_policy.iter().flat_map(|policy| &policy.skip_http_status_codes).enumerate();
        for (number, code) in codes.filter(|(_, code)| !(100..600).contains(*code)) {
            let field = format!("{FIELD}.default[{position}].skipPolicy.skipHttpStatusCodes[{number}]");
            problems.push(Problem::new(field, format!("{code} is no status of HTTP, which are 100 to 599")));
        }
    }
}

/// Scopes of rules, each looked at once for a span.
#[derive(Default)]
struct Scopes(Vec<Condition>);

impl Scopes {
    /// What tells whether a span is of a scope; `None` for a scope that cannot be read.
    fn flag(&mut self, scopes: Option<&SourcesScopes>) -> Option<Condition> {
        let Some(condition) = scope::condition(scopes).ok()? else { return Some(Condition::All(Vec::new())) };
        let number = self.0.iter().position(|one| *one == condition).unwrap_or_else(|| {
            self.0.push(condition);
            self.0.len() - 1
        });
        Some(is_there(cache(&format!("s{number}"))))
    }

    fn statements(&self) -> impl Iterator<Item = Statement> {
        let numbered = self.0.iter().enumerate();
        numbered.map(|(number, condition)| set(cache(&format!("s{number}")), "1".into(), Some(condition.clone())))
    }
}

fn is_always(condition: &Condition) -> bool {
    matches!(condition, Condition::All(parts) if parts.is_empty())
}

/// Any of some conditions.
fn any(all: impl IntoIterator<Item = Condition>) -> Condition {
    let all: Vec<Condition> = all.into_iter().collect();
    match all.iter().any(is_always) {
        true => Condition::All(Vec::new()),
        false => Condition::Any(all),
    }
}

/// All of some conditions.
fn all(parts: impl IntoIterator<Item = Condition>) -> Condition {
    Condition::All(parts.into_iter().filter(|one| !is_always(one)).collect())
}

fn is_client() -> Condition {
    Condition::Equal(Path::field("kind.string").into(), "Client".into())
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn is_text(key: &str) -> Condition {
    all([is_there(attribute(key)), Condition::Call("IsString", vec![attribute(key)])])
}

fn joined(parts: Vec<Expression>, between: &str) -> Expression {
    Expression::Call("Concat", vec![Expression::List(parts), between.into()])
}

/// The method into `cache["m"]`.
fn method() -> [Statement; 2] {
    let [new, old] = METHOD;
    [set(cache("m"), attribute(new), None), set(cache("m"), attribute(old), Some(is_absent(cache("m"))))]
}

/// The groups that make templates of paths; none where no rule can be read.
pub(super) fn groups(kinds: &[&UrlTemplatization]) -> Vec<Group> {
    let mut scopes = Scopes::default();
    let mut of_anyone = Vec::new();
    let mut templates: BTreeMap<&str, Vec<Condition>> = BTreeMap::new();
    for rule in kinds.iter().flat_map(|kind| &kind.rules) {
        let (Some(flag), Ok(condition)) = (scopes.flag(rule.scopes.as_ref()), scope::condition(rule.scopes.as_ref()))
        else {
            continue;
        };
        of_anyone.push(condition.unwrap_or(Condition::All(Vec::new())));
        for template in &rule.templates {
            templates.entry(template).or_default().push(flag.clone());
        }
    }
    let (mut on, mut off, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for one in kinds.iter().flat_map(|kind| &kind.default) {
        let (Some(flag), Ok(condition)) = (scopes.flag(one.scopes.as_ref()), scope::condition(one.scopes.as_ref()))
        else {
            continue;
        };
        of_anyone.push(condition.unwrap_or(Condition::All(Vec::new())));
        if one.disabled == Some(true) {
            off.push(flag);
            continue;
        }
        skipped.extend(one.skip_policy.as_ref().and_then(is_skipped).map(|condition| all([flag.clone(), condition])));
        on.push(flag);
    }
    if of_anyone.is_empty() {
        return Vec::new();
    }
    let mut distinct: Vec<Condition> = Vec::new();
    of_anyone.into_iter().for_each(|one| {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    });
    let [new, old] = METHOD;
    let has_method = Condition::Any(vec![is_there(attribute(new)), is_there(attribute(old))]);
    let meant = all([has_method, any(distinct)]);
    let target = |is: &dyn Fn(&str) -> Condition| {
        Condition::Any(vec![all([is_client(), is(CLIENT_TARGET)]), all([not(is_client()), is(TARGET)])])
    };
    let is_empty = target(&|key| Condition::Equal(attribute(key), "".into()));
    let is_open = target(&|key| is_absent(attribute(key)));

    let mut nothing = method().to_vec();
    let has_plain_name = || Condition::Equal(Path::field("name").into(), cache("m"));
    nothing.push(set(Path::field("name").into(), joined(vec![cache("m"), "/".into()], " "), Some(has_plain_name())));

    let mut statements: Vec<Statement> = scopes.statements().collect();
    statements.extend(method());
    statements.extend(path());
    if !templates.is_empty() {
        statements.push(set(cache("l"), "/".into(), Some(is_match(cache("p"), "^/"))));
        statements.push(set(cache("l"), "".into(), Some(is_absent(cache("l")))));
        statements.push(set(cache("i"), cache("p"), None));
        statements.push(replace("i", "^/", ""));
        statements.extend(templates.iter().flat_map(|(template, flags)| of_template(template, any(flags.clone()))));
        let is_new = all([is_there(cache("u")), is_absent(cache("r"))]);
        statements.push(set(cache("r"), "custom_rule".into(), Some(is_new)));
    }
    if !on.is_empty() {
        statements.extend(built_in(&all([any(on), not_any(off)]), skipped));
    }
    statements.push(set(attribute(CLIENT_TARGET), cache("u"), Some(is_client())));
    statements.push(set(attribute(TARGET), cache("u"), Some(not(is_client()))));
    statements.push(set(attribute(RESULT), cache("r"), None));
    let renamed = all([is_there(cache("u")), has_plain_name()]);
    statements.push(set(Path::field("name").into(), joined(vec![cache("m"), cache("u")], " "), Some(renamed)));
    vec![
        Group { context: Context::Span, condition: Some(all([meant.clone(), is_empty])), statements: nothing },
        Group { context: Context::Span, condition: Some(all([meant, is_open])), statements },
    ]
}

fn not_any(conditions: Vec<Condition>) -> Condition {
    if conditions.is_empty() { Condition::All(Vec::new()) } else { not(any(conditions)) }
}

/// The path into `cache["p"]`; one without segments is settled at once.
fn path() -> Vec<Statement> {
    let of_target = all([is_text("http.target"), not(is_text("url.path"))]);
    let mut statements = vec![
        set(cache("p"), attribute("http.target"), Some(of_target)),
        replace("p", r"(?s)\?.*$", ""),
        set(cache("p"), attribute("url.path"), Some(is_text("url.path"))),
    ];
    for key in URLS {
        let condition = all([is_absent(cache("p")), is_text(key), is_match(attribute(key), PATH_OF_URL)]);
        statements.push(set(cache("p"), group_of(attribute(key), PATH_OF_URL, "v"), Some(condition)));
    }
    statements.push(set(cache("u"), "/".into(), Some(is_match(cache("p"), "^/*$"))));
    statements.push(set(cache("r"), "path_normalization".into(), Some(is_there(cache("u")))));
    statements
}

/// A template that is tried where none before it fits.
fn of_template(template: &str, flag: Condition) -> Option<Statement> {
    let segments = segments(template).ok()?;
    let (mut pattern, mut texts) = (String::from("^"), vec![String::new()]);
    let mut kept = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        if position > 0 {
            pattern.push('/');
            texts.last_mut()?.push('/');
        }
        match segment {
            Segment::Literal(text) => {
                pattern.push_str(&regex::escape(text));
                texts.last_mut()?.push_str(text);
            }
            Segment::Named(name) => {
                pattern.push_str("[^/]*");
                texts.last_mut()?.push_str(name);
            }
            Segment::Kept => {
                let name = *KEPT.get(kept.len())?;
                pattern.push_str(&format!("(?P<{name}>[^/]*)"));
                kept.push(name);
                texts.push(String::new());
            }
        }
    }
    pattern.push('$');
    let mut parts = vec![cache("l")];
    for (number, text) in texts.into_iter().enumerate() {
        if let Some(name) = number.checked_sub(1).and_then(|before| kept.get(before)) {
            parts.push(group_of(cache("i"), &pattern, name));
        }
        if !text.is_empty() {
            parts.push(text.into());
        }
    }
    let condition = all([is_absent(cache("u")), flag, is_match(cache("i"), &pattern)]);
    Some(set(cache("u"), joined(parts, ""), Some(condition)))
}

/// Whether the built-in placeholders are not for a request, by its status.
fn is_skipped(policy: &SkipPolicy) -> Option<Condition> {
    let code = |number: i64| Expression::Integer(number);
    let mut any: Vec<Condition> = Vec::new();
    if policy.skip_for_non_success_codes == Some(true) {
        any.push(Condition::Less(cache("c"), code(200)));
        any.push(Condition::AtLeast(cache("c"), code(300)));
    }
    any.extend(policy.skip_http_status_codes.iter().map(|number| Condition::Equal(cache("c"), code(*number))));
    (!any.is_empty()).then_some(Condition::Any(any))
}

/// The built-in placeholders: every segment gets slashes of its own, so that replacing one never takes its neighbour's.
fn built_in(is_on: &Condition, skipped: Vec<Condition>) -> Vec<Statement> {
    let [new, old] = STATUS;
    let mut statements = Vec::new();
    let mut wanted = vec![is_absent(cache("u")), is_there(cache("p")), is_on.clone()];
    if !skipped.is_empty() {
        statements.push(set(cache("c"), attribute(new), None));
        statements.push(set(cache("c"), attribute(old), Some(is_absent(cache("c")))));
        let has_code = all([is_there(cache("c")), Condition::Call("IsInt", vec![cache("c")])]);
        wanted.push(not(all([not(is_client()), has_code, any(skipped)])));
    }
    let id = format!(r"/(?:(?:{UUID})[^/]*|[^/]*{UUID}|(?:[0-9a-fA-F]{{2}}){{8,}}|[^\p{{L}}/]+|[^/]*\x{{FFFD}}[^/]*)/");
    statements.extend([
        set(cache("t"), joined(vec!["/".into(), cache("p"), "/".into()], ""), Some(all(wanted))),
        replace("t", "/", "//"),
        replace("t", &format!("/{DATE}/"), "/{date}/"),
        replace("t", &format!("/{EMAIL}/"), "/{email}/"),
        replace("t", r"/[^/]*\d{7,}[^/]*/", "/{id}/"),
        replace("t", &id, "/{id}/"),
        replace("t", "//", "/"),
        replace("t", "^/|/$", ""),
        set(cache("u"), cache("t"), None),
    ]);
    let is = |same: Condition| Some(all([is_there(cache("t")), same]));
    statements.push(set(cache("r"), "default_heuristic".into(), is(Condition::NotEqual(cache("t"), cache("p")))));
    statements.push(set(cache("r"), "static_path".into(), is(Condition::Equal(cache("t"), cache("p")))));
    statements
}
