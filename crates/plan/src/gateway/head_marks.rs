//! Attributes for spans whose trace an agent decided about (`spec/sampling.md` 5, `spec/collectors-and-pipelines.md` A43).
//!
//! Agents that sample at the head write the W3C tracestate member
//! `odigos=c:<letter>;dr.p:<percentage>;dr.id:<rule id>;dry:<t|f>`; this processor turns it into the attributes that the
//! gateway's own decisions have. It never decides, and overwrites nothing that the sampler of the gateway wrote.

use super::sampling::Marks;
use crate::sampling::{Category, Rule};
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use serde_json::{Value, json};

/// Id of the processor.
pub(super) const ID: &str = "transform/tracestate";

const CATEGORIES: [(char, Category); 3] =
    [('n', Category::Noisy), ('h', Category::HighlyRelevant), ('c', Category::CostReduction)];

/// Whether agents may have been told to sample: only noisy rules are decided at the head (section 7).
pub(super) fn are_needed(marks: Marks, rules: &[Rule]) -> bool {
    marks.decision() && rules.iter().any(|rule| rule.enabled && rule.category == Category::Noisy)
}

/// The processor's settings.
pub(super) fn settings(marks: Marks) -> Value {
    let mut statements = Vec::new();
    if marks.category {
        for (letter, category) in CATEGORIES {
            let editor = set(attribute("category"), category.attribute().into());
            statements.push(editor.when(vec![says(&format!("c:{letter}")), is_absent("category")]));
        }
    }
    if marks.rule {
        for (member, name) in [("dr.id", "id"), ("dr.p", "keep_percentage")] {
            let name = format!("trace.deciding_rule.{name}");
            // The rest of the member is cut off in place: OTTL has no other way to a part of a text that may be missing.
            let value = format!("^(?:.*;)?{}:([^;]*).*$", member.replace('.', "\\."));
            statements.push(set(attribute(&name), member_value()).when(vec![says(member), is_absent(&name)]));
            let cut = Statement {
                editor: "replace_pattern",
                arguments: vec![attribute(&name), value.as_str().into(), "$1".into()],
                condition: None,
            };
            statements.push(cut.to_string());
        }
    }
    let dry_run = set(attribute("dry_run"), Path::field("true").into());
    statements.push(dry_run.when(vec![says("dry:t")]));
    // Nearly all spans carry no tracestate at all; for them this is one comparison.
    let condition = Condition::All(vec![
        Condition::NotEqual(Path::field("span.trace_state").into(), "".into()),
        Condition::NotEqual(member_value(), "".into()),
    ]);
    json!({
        "error_mode": "ignore",
        "trace_statements": [{"conditions": [condition.to_string()], "statements": statements}],
    })
}

fn member_value() -> Expression {
    Path::keyed("span.trace_state", "odigos").into()
}

fn attribute(name: &str) -> Expression {
    Path::keyed("span.attributes", format!("odigos.sampling.{name}")).into()
}

fn is_absent(name: &str) -> Condition {
    Condition::Equal(attribute(name), Expression::Nil)
}

/// Whether the member has a part that begins with `part`.
fn says(part: &str) -> Condition {
    let pattern = format!("(^|;){}", part.replace('.', "\\."));
    Condition::Call("IsMatch", vec![member_value(), pattern.as_str().into()])
}

struct Set(Vec<Expression>);

fn set(target: Expression, value: Expression) -> Set {
    Set(vec![target, value])
}

impl Set {
    fn when(self, conditions: Vec<Condition>) -> String {
        Statement { editor: "set", arguments: self.0, condition: Some(Condition::All(conditions)) }.to_string()
    }
}
