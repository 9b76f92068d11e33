//! Sampling: rules in words become decisions that are exact.
//!
//! Owns `spec/sampling.md`. The parts and what each may know of the others:
//! - [`rule`] is the accepted rule set as data, [`accept`] reads it from objects and says what is wrong with single rules;
//! - [`judge`] is the law, a plain reading of section 6 over [`span`]s; it shares nothing with the compiler but the data;
//! - [`compile`] turns rules into policies of the stock collector's `tail_sampling` (9.4), with [`predicate`], [`path`] and
//!   [`gate`]; where they stand in the gateway's pipelines is decided in `gateway::sampling`;
//! - [`foreign`] warns about matchers in another tool's language, [`missing`] about names that are not there, [`buffering`] says which rules need whole traces;
//! - [`limits`] says how much a gateway takes of all that;
//! - [`report`] writes conditions, [`explain`] sentences, [`simulate`] counts what rules would do with recorded traces;
//! - [`probes`] makes rules of health probes, [`built_in`] of settings, [`legacy`] of older samplers.

pub mod accept;
pub mod buffering;
pub mod built_in;
pub mod compile;
pub mod explain;
mod foreign;
mod gate;
pub mod judge;
pub mod legacy;
pub mod limits;
mod missing;
mod neighbours;
pub mod otlp_json;
mod path;
mod predicate;
pub mod probes;
pub mod report;
pub mod rule;
pub(crate) mod scope;
pub mod simulate;
pub mod span;
mod vain;

#[cfg(any(test, feature = "testing"))]
pub mod generate;
#[cfg(test)]
mod model;
#[cfg(test)]
mod scenario_tests;
#[cfg(any(test, feature = "testing"))]
pub mod scenarios;

/// Whether the gateway has to see whole traces: some stream's rules may drop something.
#[must_use]
pub fn is_active(accepted: &Accepted) -> bool {
    !buffering::rules(accepted).is_empty()
}

/// Whether the scheduler asks for tail sampling. Health probes are rules of their own; which there are is known only where
/// they are compiled, so that any covered workload may have some is enough.
#[must_use]
pub fn is_wanted(accepted: &Accepted, health_probes: Option<Percentage>, any_workload: bool) -> bool {
    is_active(accepted) || any_workload && health_probes.is_some_and(|keep| keep < Percentage::HUNDRED)
}

pub use accept::{Accepted, accept, accept_with};
pub use rule::{Category, Percentage, Rule};
