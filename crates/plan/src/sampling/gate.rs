//! The gate: whether a trace id passes a percentage, as a condition of the collector (`spec/sampling.md` 9.2).
//!
//! The last 14 hex digits of the id are compared with a threshold; equal lengths make text order number order. What is
//! always or never true is folded away, since the threshold of 0 % does not fit into 14 digits.

use super::rule::Percentage;
use odigos_pipeline::ottl::{Condition, Expression, Path};

/// A condition that may be known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Gate {
    Always,
    Never,
    When(Condition),
}

/// T(p) of 9.2 as 14 lower-case hex digits; `None` for 0 %, whose threshold is 2⁵⁶.
fn threshold(percentage: Percentage) -> Option<String> {
    let rest = 100_000_000_u128 - u128::from(percentage.millionths());
    let threshold = ((rest << 56) + 50_000_000) / 100_000_000;
    (threshold < 1 << 56).then(|| format!("{threshold:014x}"))
}

fn digits() -> Expression {
    let id = Expression::from(Path::field("span.trace_id.string"));
    Expression::Call("Substring", vec![id, Expression::Integer(18), Expression::Integer(14)])
}

/// Whether the id passes.
pub(super) fn pass(percentage: Percentage) -> Gate {
    match threshold(percentage) {
        _ if percentage == Percentage::HUNDRED => Gate::Always,
        None => Gate::Never,
        Some(hex) => Gate::When(Condition::AtLeast(digits(), Expression::Text(hex))),
    }
}

/// Whether the id does not pass.
pub(super) fn fail(percentage: Percentage) -> Gate {
    match threshold(percentage) {
        _ if percentage == Percentage::HUNDRED => Gate::Never,
        None => Gate::Always,
        Some(hex) => Gate::When(Condition::Less(digits(), Expression::Text(hex))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_specification() {
        for (percent, hex) in [(50.0, "80000000000000"), (10.0, "e6666666666666"), (1.0, "fd70a3d70a3d71")] {
            assert_eq!(threshold(Percentage::new(percent).unwrap()).as_deref(), Some(hex));
        }
        assert_eq!(threshold(Percentage::ZERO), None);
        assert_eq!(threshold(Percentage::HUNDRED).as_deref(), Some("00000000000000"));
        // The smallest percentage that can be stated still keeps something.
        assert_eq!(threshold(Percentage::from_millionths(1)).as_deref(), Some("ffffffd50ce23c"));
    }

    #[test]
    fn ends_are_folded() {
        assert_eq!((pass(Percentage::HUNDRED), fail(Percentage::HUNDRED)), (Gate::Always, Gate::Never));
        assert_eq!((pass(Percentage::ZERO), fail(Percentage::ZERO)), (Gate::Never, Gate::Always));
        let Gate::When(condition) = fail(Percentage::new(10.0).unwrap()) else { unreachable!() };
        assert_eq!(condition.to_string(), r#"Substring(span.trace_id.string, 18, 14) < "e6666666666666""#);
    }
}
