//! What rules would do with recorded traces: counts for each rule, a decision for each trace.
//!
//! Traces may be scattered over the recording, so it is read twice: the first pass collects which rules match each trace,
//! in a few bytes for each trace and none for its spans; then everything is decided by the judge.

use super::judge;
use super::rule::Rule;
use super::span::Span;
use std::collections::BTreeMap;

/// What is known of a trace after the first pass.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Positions of the rules that match, sorted.
    matched: Vec<u32>,
    spans: u32,
    bytes: u64,
}

/// Counts of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Traces that it matches.
    pub matched: u64,
    /// Traces that it decides.
    pub decided: u64,
    /// Of those, kept.
    pub kept: u64,
    /// Spans of traces that it decides and that are dropped.
    pub spans_saved: u64,
    /// Their bytes.
    pub bytes_saved: u64,
}

/// Sums over the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Traces.
    pub traces: u64,
    /// Traces that are kept.
    pub kept: u64,
    /// Spans.
    pub spans: u64,
    /// Spans that are kept.
    pub spans_kept: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bytes that are kept.
    pub bytes_kept: u64,
}

/// A simulation under way.
#[derive(Debug)]
pub struct Simulation<'a> {
    rules: Vec<&'a Rule>,
    traces: BTreeMap<[u8; 16], Seen>,
}

/// The decision about one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceDecision {
    /// Its id.
    pub trace_id: [u8; 16],
    /// What the judge says; positions are those of the given rules.
    pub decision: judge::Decision,
}

impl<'a> Simulation<'a> {
    /// Starts with these rules; disabled ones are matched, never decide, and are counted (9.8).
    #[must_use]
    pub fn new(rules: Vec<&'a Rule>) -> Self {
        Self { rules, traces: BTreeMap::new() }
    }

    /// How many traces were seen so far.
    #[must_use]
    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    /// Takes a span in, with the bytes that it took in the recording.
    pub fn add(&mut self, span: &Span, bytes: u64) {
        let seen = self.traces.entry(span.trace_id).or_default();
        seen.spans += 1;
        seen.bytes += bytes;
        for (position, rule) in self.rules.iter().enumerate() {
            let number = u32::try_from(position).unwrap_or(u32::MAX);
            let Err(place) = seen.matched.binary_search(&number) else { continue };
            // A noisy rule looks at roots, the others at any span: what the judge says of a trace of this one span.
            if judge::matches_trace(rule, std::slice::from_ref(span)) {
                seen.matched.insert(place, number);
            }
        }
    }

    /// Decides every trace, in the order of ids, and counts.
    pub fn finish(&self, mut tell: impl FnMut(TraceDecision)) -> (Totals, Vec<RuleCounts>) {
        let mut totals = Totals::default();
        let mut counts = vec![RuleCounts::default(); self.rules.len()];
        for (trace_id, seen) in &self.traces {
            let matched: Vec<usize> = seen.matched.iter().map(|number| *number as usize).collect();
            matched.iter().for_each(|position| counts[*position].matched += 1);
            let deciding: Vec<usize> =
                matched.iter().copied().filter(|position| self.rules[*position].enabled).collect();
            let decision = judge::decide_matched(&self.rules, &deciding, *trace_id);
            totals.traces += 1;
            totals.spans += u64::from(seen.spans);
            totals.bytes += seen.bytes;
            if decision.keep {
                totals.kept += 1;
                totals.spans_kept += u64::from(seen.spans);
                totals.bytes_kept += seen.bytes;
            }
            if let Some((_, position)) = decision.decided_by {
                let of_rule = &mut counts[position];
                of_rule.decided += 1;
                if decision.keep {
                    of_rule.kept += 1;
                } else {
                    of_rule.spans_saved += u64::from(seen.spans);
                    of_rule.bytes_saved += seen.bytes;
                }
            }
            tell(TraceDecision { trace_id: *trace_id, decision });
        }
        (totals, counts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate::{Random, random_rules, random_trace};
    use super::*;

    #[test]
    fn a_scattered_recording_is_decided_as_the_judge_decides_whole_traces() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let rules = random_rules(&mut random);
            let rules: Vec<&Rule> = rules.iter().collect();
            let traces: Vec<Vec<Span>> = (0..10).map(|_| random_trace(&mut random, &rules)).collect();
            let mut simulation = Simulation::new(rules.clone());
            let longest = traces.iter().map(Vec::len).max().unwrap_or_default();
            for position in 0..longest {
                traces.iter().filter_map(|trace| trace.get(position)).for_each(|span| simulation.add(span, 10));
            }
            let mut decisions = BTreeMap::new();
            let (totals, counts) = simulation.finish(|one| {
                decisions.insert(one.trace_id, one.decision);
            });
            // A repeated id merges two traces; then there is nothing to compare them with.
            if decisions.len() == traces.len() {
                for trace in &traces {
                    assert_eq!(decisions[&trace[0].trace_id], judge::decide(&rules, trace), "seed {seed}");
                }
            }
            assert_eq!(totals.traces as usize, decisions.len());
            assert!(counts.iter().all(|one| one.kept <= one.decided && one.decided <= one.matched));
        }
    }
}
