//! A rule set in plain sentences: what is dropped, what is always kept, what can never decide, what contradicts.
//!
//! Shadowing is reported only where it is certain: by comparing scopes and operations, never by guessing about traffic.

use super::compile;
use super::report::Mode;
use super::rule::{Alternative, Category, Operation, PathRule, Percentage, Rule, Scope};
use crate::scheduling::DEFAULT_TRACE_WAIT;

/// The explanation of a rule set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence for each enabled rule, in the order in which categories decide.
    pub rules: Vec<String>,
    /// Rules that are switched off.
    pub disabled: Vec<String>,
    /// Rules that can never decide, with the rule that is always stronger.
    pub shadowed: Vec<String>,
    /// Pairs of rules that pull in different directions, and which one wins.
    pub contradictions: Vec<String>,
    /// What all of it comes to.
    pub outcome: String,
    /// Which rules make gateways wait for whole traces, and what that costs; absent where none does.
    pub buffering: Option<String>,
}

/// Explains the rules of one rule set.
#[must_use]
pub fn explain(rules: &[&Rule]) -> Explanation {
    let enabled: Vec<&Rule> = rules.iter().copied().filter(|rule| rule.enabled).collect();
    let mut out = Explanation {
        rules: enabled.iter().map(|rule| sentence(rule)).collect(),
        disabled: rules
            .iter()
            .filter(|rule| !rule.enabled)
            .map(|rule| format!("{}: {}", rule.title(), subject(rule)))
            .collect(),
        outcome: outcome(&enabled),
        buffering: buffering(&enabled),
        ..Explanation::default()
    };
    for (position, rule) in enabled.iter().enumerate() {
        let others = enabled.iter().enumerate().filter(move |(other, _)| *other != position);
        out.shadowed.extend(others.clone().find_map(|(other, stronger)| shadowing(rule, position, stronger, other)));
        for (_, other) in others.filter(|(other, _)| *other > position) {
            out.contradictions.extend(contradiction(rule, other));
        }
    }
    out
}

/// The sentence about a rule that can never decide because of `stronger`, if so.
pub(super) fn shadowing(rule: &Rule, position: usize, stronger: &Rule, other: usize) -> Option<String> {
    is_shadowed(rule, position, stronger, other).then(|| {
        format!(
            "{} can never decide: whatever it matches is matched by {} too, which {}.",
            quoted(rule),
            quoted(stronger),
            why_stronger(rule, stronger)
        )
    })
}

fn buffering(enabled: &[&Rule]) -> Option<String> {
    let dropping: Vec<&Rule> = compile::dropping(enabled).collect();
    let wait = format!("{DEFAULT_TRACE_WAIT} (or sampling.tailSampling.traceAggregationWaitDuration)");
    super::buffering::sentence(&dropping, Mode::Sampling, &wait)
}

fn quoted(rule: &Rule) -> String {
    format!("\"{}\"", rule.title())
}

fn sentence(rule: &Rule) -> String {
    let what = subject(rule);
    let percent = rule.percentage;
    let verdict = match (rule.category, percent) {
        (Category::Noisy, Percentage::ZERO) => format!("All traces that begin with {what} are dropped"),
        (Category::Noisy, Percentage::HUNDRED) => {
            format!("All traces that begin with {what} are kept, and no other rule is asked")
        }
        (Category::Noisy, _) => {
            format!("{percent} % of the traces that begin with {what} are kept, whatever else they hold")
        }
        (Category::HighlyRelevant, Percentage::HUNDRED) => {
            format!("All traces with {what} are kept, unless a noisy rule decides")
        }
        (Category::HighlyRelevant, _) => {
            format!("At least {percent} % of the traces with {what} are kept, unless a noisy rule decides")
        }
        (Category::CostReduction, Percentage::ZERO) => format!("Other traces with {what} are dropped"),
        (Category::CostReduction, _) => format!("Of other traces with {what}, at most {percent} % are kept"),
    };
    format!("{}: {verdict}.", rule.title())
}

/// What a rule is about, e.g. `a span of GET /healthz that failed, of namespace shop`.
fn subject(rule: &Rule) -> String {
    let root = if rule.category == Category::Noisy { "a root span" } else { "a span" };
    let mut text = format!("{root}{}", operation(&rule.operation));
    if rule.error {
        text.push_str(" that failed");
    }
    if let Some(ms) = rule.duration_at_least_ms {
        text.push_str(&format!("{} took {ms} ms or more", if rule.error { " and" } else { " that" }));
    }
    text.push_str(&scope(&rule.scope));
    text
}

fn path(rule: Option<&PathRule>) -> String {
    match rule {
        None => String::new(),
        Some(PathRule::Exact(path) | PathRule::Literal(path)) => format!(" {path}"),
        Some(PathRule::Prefix(path)) => format!(" {}/…", path.trim_end_matches('/')),
    }
}

fn operation(operation: &Operation) -> String {
    let method = |method: &Option<String>| method.as_deref().unwrap_or("any method").to_owned();
    let named =
        |what: &str, name: &Option<String>| name.as_ref().map(|name| format!(" {what} {name}")).unwrap_or_default();
    match operation {
        Operation::Any => String::new(),
        Operation::HttpServer { path: rule, method: m, query } => {
            let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
            format!(" of an HTTP server ({}{}{query})", method(m), path(rule.as_ref()))
        }
        Operation::HttpClient { server_address, path: rule, method: m } => {
            format!(" of an HTTP client ({}{}{})", method(m), path(rule.as_ref()), named("to", server_address))
        }
        Operation::GrpcServer { service, method } => {
            format!(" of a gRPC server{}{}", named("service", service), named("method", method))
        }
        Operation::GrpcClient { service, method, server_address } => format!(
            " of a gRPC client{}{}{}",
            named("service", service),
            named("method", method),
            named("to", server_address)
        ),
        Operation::KafkaConsumer { topic } => format!(" that receives from Kafka{}", named("topic", topic)),
        Operation::KafkaProducer { topic } => format!(" that sends to Kafka{}", named("topic", topic)),
    }
}

fn scope(scope: &Scope) -> String {
    let join = |list: Vec<String>| list.join(" or ");
    match scope {
        Scope::Everything => " anywhere in the cluster".to_owned(),
        Scope::Lists { sources, namespaces, languages } => {
            let mut parts = Vec::new();
            if !sources.is_empty() {
                parts.push(join(
                    sources.iter().map(|s| format!("{} {}/{}", s.kind.as_str(), s.namespace, s.name)).collect(),
                ));
            }
            if !namespaces.is_empty() {
                parts.push(format!("namespace {}", join(namespaces.iter().cloned().collect())));
            }
            if !languages.is_empty() {
                parts.push(format!("language {}", join(languages.iter().cloned().collect())));
            }
            format!(" of {}", parts.join(" and "))
        }
        Scope::AnyOf(alternatives) => format!(" of {}", join(alternatives.iter().map(alternative).collect())),
        Scope::Containers(containers) => format!(" of {} containers", containers.len()),
    }
}

fn alternative(one: &Alternative) -> String {
    let mut parts = Vec::new();
    match (one.kind, &one.name) {
        (Some(kind), Some(name)) => parts.push(format!("{} {name}", kind.as_str())),
        (Some(kind), None) => parts.push(format!("any {}", kind.as_str())),
        (None, Some(name)) => parts.push(format!("workload {name}")),
        (None, None) => {}
    }
    parts.extend(one.namespace.as_ref().map(|name| format!("namespace {name}")));
    parts.extend(one.language.as_ref().map(|name| format!("language {name}")));
    if parts.is_empty() { "any source".to_owned() } else { parts.join(" in ") }
}

fn outcome(rules: &[&Rule]) -> String {
    let of = |category: Category| rules.iter().filter(move |rule| rule.category == category);
    let everything = |rule: &&&Rule| rule.scope == Scope::Everything && rule.operation == Operation::Any;
    if rules.iter().all(|rule| match rule.category {
        Category::HighlyRelevant | Category::Noisy | Category::CostReduction => rule.percentage == Percentage::HUNDRED,
    }) {
        return "Nothing is ever dropped, so no sampler runs and no trace is delayed.".to_owned();
    }
    match of(Category::CostReduction).filter(everything).map(|rule| rule.percentage).min() {
        Some(percentage) => {
            format!(
                "A trace of covered sources that no noisy and no highly relevant rule matches is kept at {percentage} % at most."
            )
        }
        None => "A trace that no rule matches is kept.".to_owned(),
    }
}

/// Whether whatever `narrow` matches is certainly matched by `wide`.
pub(super) fn covers(wide: &Rule, narrow: &Rule) -> bool {
    // A noisy rule needs a root span, so it never covers a rule that does not.
    if wide.category == Category::Noisy && narrow.category != Category::Noisy {
        return false;
    }
    let error = !wide.error || narrow.error;
    let duration = wide
        .duration_at_least_ms
        .is_none_or(|wanted| narrow.duration_at_least_ms.is_some_and(|stated| stated >= wanted));
    error
        && duration
        && scope_covers(&wide.scope, &narrow.scope)
        && operation_covers(&wide.operation, &narrow.operation)
}

fn scope_covers(wide: &Scope, narrow: &Scope) -> bool {
    match (wide, narrow) {
        (wide, narrow) if wide == narrow => true,
        // Sources that are named need not be known otherwise (section 3), so they are no part of everything for sure.
        (Scope::Everything, Scope::Lists { sources, .. }) => sources.is_empty(),
        (Scope::Everything, Scope::AnyOf(_)) => true,
        (
            Scope::Lists { sources: ws, namespaces: wn, languages: wl },
            Scope::Lists { sources: ns, namespaces: nn, languages: nl },
        ) => {
            let sources = if ws.is_empty() { ns.is_empty() } else { !ns.is_empty() && ns.is_subset(ws) };
            let namespaces = wn.is_empty() || (!nn.is_empty() && nn.is_subset(wn));
            let languages = wl.is_empty() || (!nl.is_empty() && nl.is_subset(wl));
            sources && namespaces && languages
        }
        _ => false,
    }
}

fn operation_covers(wide: &Operation, narrow: &Operation) -> bool {
    fn text<T: PartialEq>(wide: Option<&T>, narrow: Option<&T>) -> bool {
        wide.is_none() || wide == narrow
    }
    fn word(wide: &Option<String>, narrow: &Option<String>) -> bool {
        match (wide, narrow) {
            (None, _) => true,
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (Some(_), None) => false,
        }
    }
    match (wide, narrow) {
        (Operation::Any, _) => true,
        (
            Operation::HttpServer { path: wp, method: wm, query: wq },
            Operation::HttpServer { path: np, method: nm, query: nq },
        ) => text(wp.as_ref(), np.as_ref()) && word(wm, nm) && wq.iter().all(|pair| nq.contains(pair)),
        (
            Operation::HttpClient { server_address: wa, path: wp, method: wm },
            Operation::HttpClient { server_address: na, path: np, method: nm },
        ) => text(wa.as_ref(), na.as_ref()) && text(wp.as_ref(), np.as_ref()) && word(wm, nm),
        (Operation::GrpcServer { service: ws, method: wm }, Operation::GrpcServer { service: ns, method: nm }) => {
            text(ws.as_ref(), ns.as_ref()) && text(wm.as_ref(), nm.as_ref())
        }
        (
            Operation::GrpcClient { service: ws, method: wm, server_address: wa },
            Operation::GrpcClient { service: ns, method: nm, server_address: na },
        ) => text(ws.as_ref(), ns.as_ref()) && text(wm.as_ref(), nm.as_ref()) && text(wa.as_ref(), na.as_ref()),
        (Operation::KafkaConsumer { topic: w }, Operation::KafkaConsumer { topic: n })
        | (Operation::KafkaProducer { topic: w }, Operation::KafkaProducer { topic: n }) => {
            text(w.as_ref(), n.as_ref())
        }
        _ => false,
    }
}

/// Whether the rule at `position` can never decide, because some other always does instead.
pub(super) fn is_silent(rules: &[&Rule], position: usize) -> bool {
    let rule = rules[position];
    rules.iter().enumerate().any(|(other, stronger)| other != position && is_shadowed(rule, position, stronger, other))
}

/// Whether `rule` can never be the one whose percentage applies, because of `other`. Of two equal rules the later one is
/// told.
fn is_shadowed(rule: &Rule, position: usize, other: &Rule, other_position: usize) -> bool {
    if !covers(other, rule) {
        return false;
    }
    let tie = other_position < position;
    match (rule.category, other.category) {
        (Category::Noisy, Category::Noisy) | (Category::CostReduction, Category::CostReduction) => {
            other.percentage < rule.percentage || (other.percentage == rule.percentage && tie)
        }
        (Category::HighlyRelevant, Category::HighlyRelevant) => {
            other.percentage > rule.percentage || (other.percentage == rule.percentage && tie)
        }
        (Category::CostReduction, Category::HighlyRelevant) => true,
        _ => false,
    }
}

fn why_stronger(rule: &Rule, stronger: &Rule) -> &'static str {
    match (rule.category, stronger.category) {
        (Category::CostReduction, Category::HighlyRelevant) => "is highly relevant and decides before cost reduction",
        _ if rule.percentage == stronger.percentage => "has the same percentage",
        (Category::HighlyRelevant, _) => "has the higher floor",
        _ => "has the lower cap",
    }
}

/// Which of two rules wins where they pull in different directions, if they do.
pub(super) fn contradiction(one: &Rule, other: &Rule) -> Option<String> {
    let (earlier, later) = if one.category <= other.category { (one, other) } else { (other, one) };
    let same = earlier.operation == later.operation && earlier.scope == later.scope;
    let overlap = covers(earlier, later) || covers(later, earlier) || same;
    match (earlier.category, later.category) {
        (Category::Noisy, Category::HighlyRelevant) if overlap && earlier.percentage < later.percentage => {
            Some(format!(
                "{} keeps at most {} % of what {} wants to keep at {} %: the noisy rule wins where the span is the root.",
                quoted(earlier),
                earlier.percentage,
                quoted(later),
                later.percentage
            ))
        }
        (Category::HighlyRelevant, Category::CostReduction) if overlap && earlier.percentage < later.percentage => {
            Some(format!(
                "{} keeps {} % although {} would let {} % pass: a highly relevant rule wins even where it is lower.",
                quoted(earlier),
                earlier.percentage,
                quoted(later),
                later.percentage
            ))
        }
        (a, b) if a == b && one.id == other.id && one.percentage != other.percentage => Some(format!(
            "{} and {} match the same and state {} % and {} %: the {} wins.",
            quoted(one),
            quoted(other),
            one.percentage,
            other.percentage,
            if a == Category::HighlyRelevant { "higher floor" } else { "lower cap" }
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate::{Random, random_rules, random_trace};
    use super::super::judge;
    use super::super::scenarios::rules;
    use super::*;

    #[test]
    fn sentences_for_people() {
        let rules = rules(
            "{noisyOperations: [{name: health, operation: {httpServer: {route: /healthz, method: GET}}}], \
              highlyRelevantOperations: [{name: errors, error: true}, {name: slow errors, error: true, durationAtLeastMs: 500, percentageAtLeast: 50}], \
              costReductionRules: [{name: all, percentageAtMost: 10}, {name: shop, percentageAtMost: 50, sourceScopes: {namespaces: [shop]}}]}",
        );
        let told = explain(&rules.iter().collect::<Vec<_>>());
        assert_eq!(
            told.rules[0],
            "health: All traces that begin with a root span of an HTTP server (GET /healthz) anywhere in the cluster are dropped."
        );
        assert_eq!(told.shadowed.len(), 2, "{:?}", told.shadowed);
        assert!(
            told.shadowed[0].starts_with("\"slow errors\" can never decide")
                && told.shadowed[0].contains("higher floor")
        );
        assert!(told.shadowed[1].starts_with("\"shop\" can never decide") && told.shadowed[1].contains("lower cap"));
        assert!(told.outcome.contains("10 %"), "{}", told.outcome);
        assert!(told.buffering.is_some_and(|text| text.starts_with("\"health\" is the first of two rules")));
        assert!(explain(&[]).outcome.starts_with("Nothing is ever dropped"));
        assert_eq!(explain(&[]).buffering, None);
    }

    #[test]
    fn a_shadowed_rule_never_decides() {
        let mut shadowed = 0;
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let rules = random_rules(&mut random);
            let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
            let silent: Vec<usize> = (0..rules.len()).filter(|position| is_silent(&rules, *position)).collect();
            shadowed += silent.len();
            for _ in 0..40 {
                let trace = random_trace(&mut random, &rules);
                let decision = judge::decide(&rules, &trace);
                // Leaving the shadowed rules out must not change anything.
                let loud: Vec<&Rule> =
                    rules.iter().enumerate().filter(|(n, _)| !silent.contains(n)).map(|(_, rule)| *rule).collect();
                let without = judge::decide(&loud, &trace);
                assert_eq!((decision.keep, decision.percentage), (without.keep, without.percentage), "seed {seed}");
            }
        }
        assert!(shadowed > 50, "{shadowed}");
    }
}
