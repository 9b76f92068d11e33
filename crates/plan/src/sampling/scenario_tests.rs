//! The rows of `spec/sampling.md` 12, and random rules with random traces: judge, model and every compiled form agree.

use super::compile::{self, Form};
use super::generate::{Random, random_id, random_rules, random_trace};
use super::judge;
use super::model;
use super::rule::{Category, Percentage, Rule};
use super::scenarios::{accepted, rows, rules, rules_of, trace_of};
use serde_json::json;

#[test]
fn every_row_is_decided_as_expected() {
    let rows = rows();
    assert_eq!(rows.iter().map(|row| row["row"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=64).collect::<Vec<_>>());
    let mut random = Random::new(12);
    for row in &rows {
        let accepted = rules_of(row);
        let rules: Vec<&Rule> = accepted.rules.iter().collect();
        let expected = Percentage::new(row["expect"].as_f64().unwrap()).unwrap();
        let forms = [Form::Shared, Form::ByCategory, Form::ByRule].map(|form| compile::compile(&rules, form).policies);
        let (mut kept, mut ids) = (0, 0);
        for _ in 0..400 {
            let trace = trace_of(row, random_id(&mut random, &[]));
            let decision = judge::decide(&rules, &trace);
            assert_eq!(decision.percentage, expected, "row {}", row["row"]);
            for policies in &forms {
                assert_eq!(model::keeps(policies, &trace).0, decision.keep, "row {}: {policies:#?}", row["row"]);
            }
            kept += usize::from(decision.keep);
            ids += 1;
        }
        let share = kept as f64 / f64::from(ids) * 100.0;
        assert!((share - expected.as_f64()).abs() < 10.0, "row {}: {share} %", row["row"]);
    }
}

#[test]
fn row_2_a_tenth_of_many_ids() {
    let rules = rules("{costReductionRules: [{percentageAtMost: 10}]}");
    let rules: Vec<&Rule> = rules.iter().collect();
    let mut random = Random::new(2);
    let row = json!({"trace": [{}]});
    let kept =
        (0..100_000).filter(|_| judge::decide(&rules, &trace_of(&row, random_id(&mut random, &[]))).keep).count();
    // Three standard deviations of a binomial distribution.
    assert!((10_000_i64 - i64::try_from(kept).unwrap()).abs() < 285, "{kept}");
}

#[test]
fn rows_44_to_48_at_the_edges_of_the_gate() {
    let decide = |spec: &str, low: u64| {
        let rules = rules(spec);
        let rules: Vec<&Rule> = rules.iter().collect();
        let mut id = [7; 16];
        id[8..].copy_from_slice(&low.to_be_bytes());
        let trace = trace_of(&json!({"trace": [{}]}), id);
        let decision = judge::decide(&rules, &trace);
        let policies = compile::compile(&rules, Form::Shared).policies;
        assert_eq!(model::keeps(&policies, &trace).0, decision.keep);
        decision.keep
    };
    let cap = |percent: &str| format!("{{costReductionRules: [{{percentageAtMost: {percent}}}]}}");
    assert!(!decide(&cap("0"), (1 << 56) - 1));
    assert!(decide(&cap("100"), 0));
    assert!(decide(&cap("10"), 0xe6_6666_6666_6666));
    assert!(!decide(&cap("10"), 0xe6_6666_6666_6665));
    for low in (0..1 << 56).step_by(1 << 47) {
        // 10 % is part of 50 %, on every instance.
        assert!(!decide(&cap("10"), low) || decide(&cap("50"), low));
    }
}

#[test]
fn rows_61_and_62_what_switches_the_sampler_on() {
    let policies = |spec: &str| {
        let rules = rules(spec);
        compile::compile(&rules.iter().collect::<Vec<_>>(), Form::Shared).policies.len()
    };
    assert_eq!(policies("{}"), 0);
    assert_eq!(policies("{highlyRelevantOperations: [{error: true}]}"), 0, "a floor of 100 % alone drops nothing");
    let never = "{highlyRelevantOperations: [{}], costReductionRules: [{percentageAtMost: 1}]}";
    assert_eq!(policies(never), 0, "the cap can never decide");
    assert_eq!(policies("{costReductionRules: [{percentageAtMost: 100}]}"), 0);
    assert_eq!(policies("{noisyOperations: [{operation: {httpServer: {route: /a}}}]}"), 2);
}

#[test]
fn row_63_bad_rules_are_named_and_left_out() {
    let spec = json!({
        "noisyOperations": [
            {"operation": {"httpServer": {}, "grpcServer": {}}},
            {"percentageAtMost": 12.345_678_901_234_567_f64},
            {"operation": {"httpServer": {"method": "G$T"}}},
            {"sourceScopes": ["text"]},
            {"sourceScopes": {"sources": [{"namespace": "a", "kind": "Pod", "name": "x"}]}},
            {"sourceScopes": {"languages": ["*"]}},
            {"operation": {"httpServer": {"route": "/a.(b)+[c]$", "queryParams": [{"name": "a&b", "valueExact": ""}]}}},
        ],
        "highlyRelevantOperations": [{"durationAtLeastMs": -1}, {"percentageAtLeast": 100.5}],
        "costReductionRules": [{"percentageAtMost": 10}, {"percentageAtMost": -3}],
    });
    let accepted = accepted(&[spec]);
    assert_eq!(accepted.rules.len(), 1, "{:?}", accepted.rules);
    let problems = &accepted.objects["s0"].problems;
    assert_eq!(problems.len(), 10, "{problems:#?}");
    for field in [
        "noisyOperations[0].operation: holds httpServer and grpcServer",
        "noisyOperations[1].percentageAtMost: 12.345678901234567",
        "noisyOperations[2].operation.httpServer.method",
        "noisyOperations[3].sourceScopes: must be",
        "noisyOperations[4].sourceScopes.sources[0].kind",
        "noisyOperations[5].sourceScopes.languages[0]",
        "noisyOperations[6].operation.httpServer.queryParams[0]",
        "highlyRelevantOperations[0].durationAtLeastMs",
        "highlyRelevantOperations[1].percentageAtLeast",
        "costReductionRules[1].percentageAtMost",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(field)), "{field}: {problems:#?}");
    }
}

#[test]
fn too_many_conditions_are_compiled_and_reported() {
    let rule = |n: usize| json!({"operation": {"httpServer": {"route": format!("/r{n}")}}});
    let spec = json!({"noisyOperations": (0..520).map(rule).collect::<Vec<_>>()});
    let accepted = accepted(&[spec]);
    let rules: Vec<&Rule> = accepted.enabled().collect();
    let compiled = compile::compile(&rules, Form::Shared);
    assert_eq!(compiled.conditions, 520);
    let outcome = super::report::Outcome {
        mode: super::report::Mode::Sampling,
        conditions: compiled.conditions,
        wait: "30s",
        rolled_out: true,
    };
    let told = super::report::conditions(&accepted, &outcome);
    assert_eq!(told["s0"][3].reason, "TooManyConditions");
}

/// Every rule set with every trace: the judge, the three forms and the complement agree.
fn agree(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let rules = random_rules(&mut random);
        let rules: Vec<&Rule> = rules.iter().collect();
        let forms = [Form::Shared, Form::ByCategory, Form::ByRule].map(|form| compile::compile(&rules, form));
        let complement = compile::complement(&rules);
        for _ in 0..15 {
            let trace = random_trace(&mut random, &rules);
            let decision = judge::decide(&rules, &trace);
            for compiled in &forms {
                let (keep, policy) = model::keeps(&compiled.policies, &trace);
                assert_eq!(keep, decision.keep, "seed {seed}: {rules:#?}\n{trace:#?}\n{:#?}", compiled.policies);
                let told = policy.and_then(|policy| compiled.told.get(&policy));
                let by_rule = compiled == &forms[2];
                if keep && by_rule && !compiled.policies.is_empty() {
                    let decided =
                        decision.decided_by.map(|(category, position)| (category, rules[position].percentage));
                    let told = told.map(|told| (told.category, told.rule.as_ref().unwrap().2));
                    assert_eq!(told, decided, "seed {seed}: the deciding rule is recorded");
                }
                if keep && compiled == &forms[1] && !compiled.policies.is_empty() {
                    let category = decision.decided_by.map(|(category, _)| category);
                    assert_eq!(told.map(|told| told.category), category, "seed {seed}: the category is recorded");
                }
            }
            let dropped = !complement.is_empty() && model::keeps(&complement, &trace).0;
            assert_eq!(dropped, !decision.keep, "seed {seed}: the complement");
        }
    }
}

#[test]
fn judge_and_policies_agree_on_random_rules_and_traces() {
    let sets = std::env::var("ODIGOS_SAMPLING_SETS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    agree(0..sets);
}

#[test]
fn the_law_has_the_properties_that_follow_from_it() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let rules = random_rules(&mut random);
        let all: Vec<&Rule> = rules.iter().collect();
        for _ in 0..20 {
            let mut trace = random_trace(&mut random, &all);
            let decision = judge::decide(&all, &trace);
            let mut turned = all.clone();
            turned.reverse();
            trace.reverse();
            let again = judge::decide(&turned, &trace);
            assert_eq!((again.keep, again.percentage), (decision.keep, decision.percentage), "order does not matter");
            // One more highly relevant rule never lowers what highly relevant rules decided.
            let mut more = all.clone();
            let extra = Rule { category: Category::HighlyRelevant, ..rules[0].clone() };
            more.push(&extra);
            let relevant = |one: &judge::Decision| matches!(one.decided_by, Some((Category::HighlyRelevant, _)));
            let with = judge::decide(&more, &trace);
            if relevant(&decision) && relevant(&with) {
                assert!(with.percentage >= decision.percentage);
            }
        }
    }
}

#[test]
fn condition_says_which_rule_needs_whole_traces_and_what_is_taken_literally() {
    let object = |spec: serde_json::Value| accepted(&[spec]);
    let told = |accepted: &super::Accepted, mode| {
        let outcome = super::report::Outcome { mode, conditions: 1, wait: "10s", rolled_out: true };
        let drafts = super::report::conditions(accepted, &outcome).remove("s0").unwrap();
        (drafts[0].message.clone(), drafts[1].message.clone())
    };
    let glob =
        object(json!({"noisyOperations": [{"name": "glob", "operation": {"httpServer": {"route": "/health*"}}}]}));
    let (usable, active) = told(&glob, super::report::Mode::Sampling);
    assert!(
        usable.contains(
            "Every rule is usable. Check: spec.noisyOperations[0].operation.httpServer.route: is taken literally"
        ),
        "{usable}"
    );
    assert!(
        active.contains("\"glob\" is the first and only rule that needs whole traces: every trace is held"),
        "{active}"
    );
    assert!(
        active.contains("for 10s before it is exported") && active.ends_with("even if no trace ever matches."),
        "{active}"
    );
    let (_, dry) = told(&glob, super::report::Mode::DryRun);
    assert!(dry.contains("a copy of every trace is held"), "{dry}");
    let (_, off) = told(&glob, super::report::Mode::Disabled);
    assert!(!off.contains("is held"), "{off}");
    let kept = object(json!({"highlyRelevantOperations": [{"error": true}]}));
    let (usable, active) = told(&kept, super::report::Mode::Sampling);
    assert_eq!(usable, "Every rule is usable.");
    assert!(!active.contains("whole traces"), "{active}");
}
