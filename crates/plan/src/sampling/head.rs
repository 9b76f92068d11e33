//! Noisy rules at 0 % for agents, as the composite sampler of a declarative configuration file (`spec/sampling.md` 8).
//!
//! Pushing is an optimisation: every rule stays at the gateway, so a span that the agent lets pass is dropped there. Only
//! what the agent decides exactly as the gateway would is pushed; everything else is left to the gateway.

use super::predicate::any_case;
use super::rule::{Category, Operation, Percentage, Rule};
use serde_json::{Value, json};

/// What decides whether anything may be pushed (H6, H8, H9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `sampling.headSampling: onRestart`; off by default.
    pub on_restart: bool,
    /// Rules are only counted.
    pub dry_run: bool,
    /// Span metrics count spans that are not sampled, so agents must record them.
    pub metrics_of_all_spans: bool,
}

impl Policy {
    /// Whether rules may be pushed at all.
    #[must_use]
    pub const fn allows(self) -> bool {
        self.on_restart && !self.dry_run && !self.metrics_of_all_spans
    }
}

/// Whether stock agents of a language read a rule-based sampler from a declarative file (8, support matrix).
#[must_use]
pub fn is_supported(language: &str) -> bool {
    matches!(language, "java" | "javascript" | "python" | "php")
}

/// The rules that an agent decides exactly. The caller has chosen those in scope of the agent's container.
///
/// Left out: percentages above 0 (H1); more than one query pair (H5); paths, since the gateway looks at `http.route`, which
/// no agent knows when a span begins, and a catch-all route would make the two differ; everything that is not HTTP, whose
/// attributes are not known at the start of a span either.
pub fn pushable<'a>(rules: &'a [&'a Rule]) -> impl Iterator<Item = &'a Rule> {
    rules.iter().copied().filter(|rule| {
        rule.enabled
            && rule.category == Category::Noisy
            && rule.percentage == Percentage::ZERO
            && match &rule.operation {
                Operation::HttpServer { path, query, .. } => path.is_none() && query.len() <= 1,
                Operation::HttpClient { path, .. } => path.is_none(),
                _ => false,
            }
    })
}

/// The `tracer_provider.sampler` block of a declarative configuration file; `None` when nothing can be pushed.
#[must_use]
pub fn sampler(rules: &[&Rule]) -> Option<Value> {
    let mut table: Vec<Value> = pushable(rules).flat_map(rows).collect();
    if table.is_empty() {
        return None;
    }
    // No match means drop in this sampler, so the last row keeps everything else.
    table.push(json!({"sampler": {"always_on": {}}}));
    let root = json!({"rule_based": {"rules": table}});
    Some(json!({"composite/development": {"parent_threshold": {"root": root}}}))
}

/// One row for each attribute spelling, since a row needs all of its attributes.
fn rows(rule: &Rule) -> Vec<Value> {
    let pattern = |key: &str, text: String| json!({"key": key, "included": [text]});
    let (kind, method, host, query) = match &rule.operation {
        Operation::HttpServer { method, query, .. } => ("server", method, None, query.first()),
        Operation::HttpClient { server_address, method, .. } => ("client", method, server_address.as_ref(), None),
        _ => return Vec::new(),
    };
    let spellings = ["http.request.method", "http.method"];
    let rows = spellings.iter().map(|key| {
        let text = method.as_deref().map_or_else(|| ".*".to_owned(), any_case);
        let mut patterns = vec![pattern(key, text)];
        if let Some((name, value)) = query {
            let pair = format!("{}={}", regex::escape(name), regex::escape(value));
            patterns.push(pattern("url.query", format!("(?:^|&){pair}(?:&|$)")));
        }
        let mut row = json!({
            "span_kinds": [kind],
            "parent": ["none"],
            "attribute_patterns": patterns,
            "sampler": {"always_off": {}},
        });
        if let Some(host) = host {
            row["attribute_values"] = json!({"key": "server.address", "values": [host]});
        }
        row
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::rules;
    use super::*;

    #[test]
    fn only_what_an_agent_decides_exactly_is_pushed() {
        let rules = rules(
            "{noisyOperations: [{name: a, operation: {httpServer: {method: OPTIONS}}}, {name: f, operation: {httpServer: {route: /healthz}}}, \
              {name: b, percentageAtMost: 1, operation: {httpServer: {route: /x}}}, \
              {name: c, operation: {grpcServer: {service: s}}}, \
              {name: d, disabled: true, operation: {httpServer: {route: /d}}}, \
              {name: e, operation: {httpServer: {route: /e, queryParams: [{name: a, valueExact: '1'}, {name: b, valueExact: '2'}]}}}], \
              costReductionRules: [{percentageAtMost: 0}]}",
        );
        let rules: Vec<&Rule> = rules.iter().collect();
        assert_eq!(pushable(&rules).map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["a"]);
        let sampler = sampler(&rules).unwrap();
        let rows =
            sampler["composite/development"]["parent_threshold"]["root"]["rule_based"]["rules"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0]["parent"], json!(["none"]));
        assert_eq!(rows[2], json!({"sampler": {"always_on": {}}}));
        assert_eq!(super::sampler(&[]), None);
    }

    #[test]
    fn modes_in_which_a_head_would_change_results_push_nothing() {
        let on = Policy { on_restart: true, ..Policy::default() };
        assert!(on.allows());
        assert!(!Policy::default().allows());
        assert!(!Policy { dry_run: true, ..on }.allows());
        assert!(!Policy { metrics_of_all_spans: true, ..on }.allows());
        assert!(is_supported("java") && !is_supported("dotnet"));
    }
}
